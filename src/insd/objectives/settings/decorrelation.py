"""The settings of decorrelation."""

from insd.objectives.settings.base import UncomparedSettings
from insd.settings.base import Positive


class DecorrelationSettings(UncomparedSettings):
    """The penalty on correlations between the units of a network: a control, since it makes no solutions unlike."""

    multiplier: Positive = 3.0
    """The weight of the term: lambda of the constant schedule, or where the constrained schedule starts."""
