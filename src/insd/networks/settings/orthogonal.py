"""The settings of rate networks that start with orthogonal weights."""

from insd.networks.settings.rate import RateSettings


class OrthogonalSettings(RateSettings):
    """Rate networks whose recurrent weights are orthogonal before training, times the gain."""

    architecture: str = "orthogonal"
    """`orthogonal`."""
