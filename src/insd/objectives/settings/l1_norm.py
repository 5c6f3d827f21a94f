"""The settings of the L1 norm."""

from insd.objectives.settings.base import UncomparedSettings
from insd.settings.base import Positive


class L1NormSettings(UncomparedSettings):
    """The penalty on the sizes of the recurrent weights, which makes them sparse."""

    multiplier: Positive = 0.1
    """The weight of the mean size of recurrent weights, in units of 1/√N, which is near .8 g in a network of gain g
    before training: lambda of the constant schedule, or where the constrained schedule starts."""
