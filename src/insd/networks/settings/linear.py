"""The settings of linear networks."""

from insd.networks.settings.base import NetworkSettings


class LinearSettings(NetworkSettings):
    """Linear networks, without keys of their own; `recurrent_noise` is their process noise in training."""

    architecture: str = "linear"
    """`linear`."""
