"""The settings of what a teacher asks of its students."""

from typing import Literal

from insd.objectives.settings.base import TermSettings
from insd.settings.base import Count, Positive, Share


class TeacherSettings(TermSettings):
    """The squared error to the rates of recorded units of a teacher: of the one that the maker `teach` names or, in a
    chain, of each earlier round."""

    schedule: Literal["constant", "yielding", "constrained"] = "constant"
    """`constant`: one weight mu. `yielding`: the same as far as the task affords it. `constrained`: a multiplier that
    is raised while the error is above `bound` and the task within `training.loss_bound`, and lowered otherwise."""
    multiplier: Positive = 1.0
    """The weight mu of the error: that of the constant schedule, or where the constrained schedule starts."""
    task_only: Share = 0.0
    """Share of the iterations that train on the task alone, before the term starts."""
    ramp: Share = 0.0
    """Constant and yielding schedules: share of the iterations over which the weight then rises linearly from 0."""
    bound: Positive = 1e-3
    """Mean squared error that is low enough: held by the constrained schedule, and needed to stop early."""
    share: Share = 0.25
    """Share q of the teacher's units that is recorded: round(q N) of its N units, drawn by its seed. With 0, the
    student learns from the task alone."""
    time_stride: Count = 2
    """Stride, in time steps of the bank, at which rates are compared."""
