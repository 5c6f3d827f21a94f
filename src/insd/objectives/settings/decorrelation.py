"""The settings of decorrelation."""

from typing import ClassVar, Literal

from insd.objectives.settings.base import TermSettings
from insd.settings.base import Positive


class DecorrelationSettings(TermSettings):
    """The penalty on correlations between the units of a network: a control, since it makes no solutions unlike."""

    compares: ClassVar[bool] = False
    schedule: Literal["constant", "constrained"] = "constant"
    """`constant`: one lambda. `constrained`: a multiplier that is raised while the term is above `bound` and the task
    within `training.loss_bound`, and lowered otherwise."""
    multiplier: Positive = 3.0
    """The weight of the term: lambda of the constant schedule, or where the constrained schedule starts."""
