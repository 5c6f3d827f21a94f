"""The settings of moment networks."""

from insd.networks.settings.base import NetworkSettings
from insd.settings.base import Positive


class MomentSettings(NetworkSettings):
    """Moment networks of leaky integrate-and-fire cells."""

    architecture: str = "moment"
    """`moment`."""
    background: Positive = 1.0
    """Standard deviation of each cell's own white current, in mV/sqrt(ms), in addition to what other cells give it."""
