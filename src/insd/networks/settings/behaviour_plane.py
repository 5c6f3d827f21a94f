"""The settings of networks with a fixed plane of behaviour and a drift of two layers."""

from insd.networks.settings.plane import PlaneSettings
from insd.settings.base import Count


class BehaviourPlaneSettings(PlaneSettings):
    """Networks with a fixed plane of behaviour and a drift of two layers."""

    architecture: str = "behaviour_plane"
    """`behaviour_plane`."""
    hidden: Count = 128
    """Number of tanh units of the drift (ours)."""
