"""The settings of the nuclear norm."""

from insd.objectives.settings.base import UncomparedSettings
from insd.settings.base import Positive


class NuclearNormSettings(UncomparedSettings):
    """The penalty on the singular values of the recurrent weights, which lowers their rank."""

    multiplier: Positive = 0.1
    """The weight of the mean singular value, which is near .85 g in a network of gain g before training: lambda of the
    constant schedule, or where the constrained schedule starts."""
