"""The settings of multiplicative deflation."""

from typing import Literal

from insd.objectives.settings.predictivity import PredictivitySettings
from insd.settings.base import NotNegative, Positive


class MultiplicativeSettings(PredictivitySettings):
    """The task loss times factors that grow with null-space predictivity S towards earlier rounds."""

    schedule: Literal["constant", "yielding", "constrained"] = "constant"
    """How the exponents of the factors change. `constant`: one for all earlier rounds. `yielding`: the same as far as
    the task affords it. `constrained`: one per earlier round, raised while S is above `bound` and the task within
    `training.loss_bound`, and lowered otherwise."""
    multiplier: Positive = 1.0
    """The exponent of the factor of each earlier round, or where the constrained schedule starts."""
    power: Positive = 2.0
    """p of the factor (1 - S)^-p + shift: how steeply it grows near an earlier solution."""
    shift: NotNegative = 1.0
    """What is added to it: the larger, the less a solution is moved that is far from all earlier ones."""
