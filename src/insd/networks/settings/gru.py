"""The settings of gated recurrent units."""

from insd.networks.settings.base import NetworkSettings


class GRUSettings(NetworkSettings):
    """Gated recurrent units, without keys of their own."""

    architecture: str = "gru"
    """`gru`."""
