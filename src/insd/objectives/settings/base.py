"""The settings that all terms of an objective have, and where those of each term are found."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from insd.plugins import settings_of
from insd.settings.base import Positive, Section, Share


class TermSettings(Section):
    """The weight of a term against the task; a term may have keys of its own."""

    compares: ClassVar[bool] = True
    """Whether the term compares a network with those of earlier rounds, and so is without effect in round 0."""

    schedule: Literal["constant", "yielding", "constrained"] = "constrained"
    """`constant`: one lambda for all earlier rounds (the paper's). `yielding`: the same as far as the task affords it,
    all of it at `training.loss_bound` and none at twice that. `constrained`: one multiplier per earlier round, raised
    while its term is above `bound` and the task within `training.loss_bound`, and lowered otherwise."""
    multiplier: Positive = 0.1
    """The weight of the term for each earlier round: lambda of the constant and yielding schedules, or where the
    constrained schedule starts."""
    task_only: Share = 0.1
    """Share of the iterations that train on the task alone, before the term starts."""
    ramp: Share = 0.6
    """Constant and yielding schedules: share of the iterations over which lambda then rises linearly from 0; 0 for no
    ramp."""
    bound: Positive = 0.05
    """Value for each earlier round that is low enough: held by the constrained schedule, and needed to stop early."""
    multiplier_rate: Positive = 0.01
    """Constrained schedule: largest change of the logarithm of a multiplier per iteration."""
    multiplier_max: Positive = 10.0
    """Constrained schedule: largest multiplier."""

    def problems(self, path: str) -> Iterator[str]:
        """What no key shows alone, one message each; `path` is that of the term in the config."""
        if self.task_only + self.ramp > 1:
            yield (
                f"{path}.task_only = {self.task_only} and {path}.ramp = {self.ramp} are shares of the iterations: "
                "together at most 1"
            )


class UncomparedSettings(TermSettings):
    """The weight of a term that looks at no other network, and so may never be within a bound: constant by default."""

    compares: ClassVar[bool] = False
    schedule: Literal["constant", "yielding", "constrained"] = "constant"
    """`constant`: one lambda. `yielding`: the same as far as the task affords it. `constrained`: a multiplier that is
    raised while the term is above `bound` and the task within `training.loss_bound`, and lowered otherwise."""


def term_settings(name: str) -> type[TermSettings]:
    """The settings of a term; raises PluginError if there is no such term."""
    return settings_of("term", name)
