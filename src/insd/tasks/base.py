"""The base of all tasks: a frozen dataclass of numbers that samples trials and scores outputs."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import ArrayLike
from pydantic import Field, TypeAdapter

from insd.datasets import DatasetError
from insd.tasks.arrays import assembled
from insd.tasks.variables import Variable, of_conditions

RegimesField = Annotated[
    Mapping[str, Mapping[str, Any]],
    Field(description="What each harder regime replaces, by name; `train` and `test` replace nothing."),
]
"""Regimes as a task's field."""

GridAxis = Literal["noise", "duration"]
"""The axes along which a task is made harder step by step."""
GridField = Annotated[
    Mapping[GridAxis, Sequence[Mapping[str, Any]]],
    Field(
        description="What each level of `noise` and of `duration` replaces, the first in distribution; networks are "
        "scored at all pairs of levels. The defaults (ours) were fixed before any network was scored on them."
    ),
]
"""The grid as a task's field."""


class Rule(Enum):
    """Constraints on a task's field; fields of types not listed below take any value."""

    NOT_NEGATIVE = "not negative"
    """A number of at least 0."""
    DURATION = "duration"
    """A duration in s."""
    SPAN = "span"
    """Shortest and longest duration in s."""
    NOISE = "noise"
    """A number of at least 0, or the two ends of a span of such numbers."""


NotNegative = Annotated[float, Rule.NOT_NEGATIVE]
"""A number of at least 0, such as a standard deviation, as a task's field."""
Duration = Annotated[float, Rule.DURATION]
"""A duration in s as a task's field; settings refuse one of too many time steps."""
Span = Annotated[tuple[float, float], Rule.SPAN]
"""Shortest and longest duration in s as a task's field."""
Noise = Annotated[float | tuple[float, float], Rule.NOISE]
"""Standard deviation of noise as a task's field: a number of at least 0, or the ends of a span in which that of each
trial is drawn, uniformly (`Task.draw_noise`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A generator of trials. Its fields are the numbers of the regime `train`; a regime replaces some of them.

    A subclass defines `_sample`. Its fields may have any type; those of `Duration`, `Span`, `NotNegative` and `Noise`
    are checked. The rest may stay as it is: networks are then trained on the share of the targets' variance that their
    outputs leave unexplained (`loss`) and scored by what they explain, there are no harder regimes, the conditions of
    the trials are decoded (`variables`), fixed points are those without input, and no ideal observer is known
    (`ideal_outputs`). A subclass with a score of its own (`_score`) also says its `score_name` with its unit, the
    `criterion` that a solved network meets, whether higher is better, and the score of a network that guesses
    (`chance`), and may say the error of each trial (`trial_errors`).
    """

    # Described here, since only docstrings of a class's own fields reach the table of keys.
    dt: Annotated[float, Field(description="Time step in s (ours; the same in Dubreuil et al. 2022).")] = 0.02
    regimes: RegimesField = dataclasses.field(default_factory=dict)
    grid: GridField = dataclasses.field(default_factory=lambda: {"noise": [{}], "duration": [{}]})

    # Read by the settings: unknown parameters are refused, and the docstrings below fields describe them.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "use_attribute_docstrings": True}

    score_name: ClassVar[str] = "explained variance"
    criterion: ClassVar[float] = 0.9
    higher_is_better: ClassVar[bool] = True
    chance: ClassVar[float] = 0.0
    score_point: ClassVar[float] = 0.01
    """One point of the score: by how much a network may do worse than standards that it counts as matched with."""
    evidence_inputs: ClassVar[tuple[str, ...]] = ()
    """Inputs that are integrated, if any: line attractors are sought for them."""

    def __post_init__(self) -> None:
        if self.dt <= 0:
            raise ValueError(f"dt = {self.dt}: the time step must be positive (seconds)")
        for field in dataclasses.fields(self):
            value, rule = getattr(self, field.name), self.rule(field.name)
            if rule is Rule.SPAN:
                if len(value) != 2 or not 0 <= value[0] <= value[1]:
                    raise ValueError(f"{field.name} = {value}: needs 0 <= shortest <= longest (seconds)")
            elif rule is Rule.NOISE and isinstance(value, tuple):
                if not 0 <= value[0] <= value[1]:
                    raise ValueError(f"{field.name} = {value}: needs 0 <= least <= largest standard deviation")
            elif rule and value < 0:
                raise ValueError(f"{field.name} = {value}: must not be negative")
        for axis in get_args(GridAxis):
            if not self.grid.get(axis):
                raise ValueError(f"grid.{axis}: needs at least one level")

    @classmethod
    def rule(cls, field: str) -> Rule | None:
        """The constraint on a field by its type, `NotNegative`, `Noise`, `Duration` or `Span`; None for all others."""
        marks = getattr(_declared(cls)[field], "__metadata__", ())
        return next((mark for mark in marks if isinstance(mark, Rule)), None)

    @classmethod
    def whole(cls, field: str) -> bool:
        """Whether a field holds whole numbers alone by its type; in a field of floats, 1 is a number like any other."""
        types = list(_parts(_declared(cls)[field]))
        return int in types and float not in types

    def in_regime(self, regime: str) -> "Task":
        """The same task with the fields of a regime replaced.

        Raises ValueError if the regime is unknown or replaces a field that the task does not have.
        """
        if regime in ("train", "test"):
            return dataclasses.replace(self, regimes={})
        if regime not in self.regimes:
            raise ValueError(f"unknown regime '{regime}'; this task has: {', '.join(self.regime_names())}")
        return self._replaced(self.regimes[regime], f"regimes.{regime}")

    def in_grid(self, noise: int, duration: int) -> "Task":
        """The same task at a level of each axis of the grid.

        Raises ValueError if a level replaces a field that the task does not have or that the other axis replaces.
        """
        changes = {**self.grid["noise"][noise], **self.grid["duration"][duration]}
        where = f"grid.noise.{noise}, grid.duration.{duration}"
        if both := set(self.grid["noise"][noise]) & set(self.grid["duration"][duration]):
            raise ValueError(f"{where}: both axes replace {', '.join(sorted(both))}")
        return self._replaced(changes, where)

    def grid_labels(self, axis: GridAxis) -> list[str]:
        """What each level of an axis of the grid replaces, in readable form."""
        return [
            ", ".join(f"{name} = {_shown(value)}" for name, value in changes.items()) or "unchanged"
            for changes in self.grid[axis]
        ]

    def _replaced(self, changes: Mapping[str, Any], where: str) -> "Task":
        """The same task with some fields replaced; `where` names the changes in the message."""
        fields = {field.name for field in dataclasses.fields(self)} - {"regimes", "grid"}
        if unknown := set(changes) - fields:
            raise ValueError(
                f"{where}: no field {', '.join(sorted(unknown))}; what may be replaced: {', '.join(sorted(fields))}"
            )
        declared = _declared(type(self))
        # YAML gives lists where fields have tuples.
        values = {
            name: TypeAdapter(declared[name]).validate_python(value) if isinstance(value, list) else value
            for name, value in changes.items()
        }
        return dataclasses.replace(self, regimes={}, **values)

    def regime_names(self) -> list[str]:
        """All regimes that can be sampled, `train` and `test` first."""
        return ["train", "test", *self.regimes]

    def sample(self, regime: str, n_trials: int, seed: int) -> xr.Dataset:
        """Trials of a regime: inputs (trial, time, input), targets and mask (trial, time, output).

        `time` is in s from the start of the trial, at the end of each step; `mask` is 1 where an output is scored and
        0 elsewhere; each condition variable is a coordinate along `trial`. Where trials differ in length, `valid`
        (trial, time) is true until the end of each (`insd.samples`). The same seed gives the same trials.
        """
        if n_trials < 1:
            raise ValueError(f"n_trials = {n_trials}: at least one trial is needed")
        dataset = self.in_regime(regime)._sample(n_trials, np.random.default_rng(seed))
        if not isinstance(dataset, xr.Dataset):
            returned = "nothing" if dataset is None else f"a {type(dataset).__name__}"
            raise DatasetError(f"`_sample` returned {returned}; return `self.dataset(...)`")
        dataset.attrs["dt"] = self.in_regime(regime).dt
        return dataset

    @abstractmethod
    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        """Trials of this task, with regimes already applied."""

    def score(
        self, trials: xr.Dataset, outputs: Float[np.ndarray, "*network trial time output"]
    ) -> Float[np.ndarray, "*network"]:
        """Score of outputs on trials that this task sampled, one number per network; unit as in `score_name`."""
        return np.asarray(self._score(trials, outputs), dtype=np.float64)

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        """Score of outputs (..., trial, time, output), of shape (...).

        By default: the share of the scored targets' variance that the outputs explain, at most 1, and 0
        for the best constant output.
        """
        targets, mask = trials["targets"].values.astype(float), trials["mask"].values
        mean = (targets * mask).sum((0, 1)) / mask.sum((0, 1))
        total = (np.square(targets - mean) * mask).sum()
        return 1 - (np.square(outputs - targets) * mask).sum((-3, -2, -1)) / total

    def trial_errors(
        self, trials: xr.Dataset, outputs: Float[np.ndarray, "*network trial time output"]
    ) -> Float[np.ndarray, "*network trial"]:
        """Error of each trial, lower being better, by which networks are compared trial by trial.

        By default the mean squared error over the scored outputs; a task with a score of its own should say here what
        one trial adds to it. NaN for trials that are not scored.
        """
        mask = trials["mask"].values
        errors = (np.square(outputs - trials["targets"].values) * mask).sum((-2, -1))
        scored = mask.sum((-2, -1))
        return np.divide(errors, scored, out=np.full_like(errors, np.nan), where=scored > 0)

    def loss(
        self,
        outputs: Float[Any, "network time trial output"],
        targets: Float[Any, "*network time trial output"],
        mask: Float[Any, "*network time trial output"],
        variance: float,
    ) -> Float[Any, "network"]:
        """What training minimises for the task, one number per network, from PyTorch's tensors and differentiable.

        Unless a task has its own: the squared error over the scored outputs as a share of the targets' variance (ours).
        1 is then the loss of the best constant output; with it, one multiplier means the same for every task.
        `variance` is that of the scored targets of all trials that the batch is from (`target_variance`). Axes are in
        the order in which networks run: time before trials.
        """
        errors = ((outputs - targets).square() * mask).sum((1, 2, 3))
        return errors / (mask.sum((-3, -2, -1)) * variance)

    def free_running(self, trials: xr.Dataset) -> xr.Dataset:
        """Trials of the regime `train` without anything that networks are only given in training, on which the held-out
        ones are scored. By default nothing is, and they are the trials themselves.
        """
        return trials

    def ideal_outputs(self, trials: xr.Dataset) -> Float[np.ndarray, "trial time output"] | None:
        """What an ideal observer of trials that this task sampled would output: the mean of its posterior of the
        targets at each scored time, given the inputs so far and all that a network can at best know besides, such as
        the times of events and the size of the noise. By default None: it is not known.
        """
        return None

    def floor(self, trials: xr.Dataset) -> float | None:
        """The loss of the ideal observer on trials that this task sampled: a share of the scored targets' variance.

        No network has a lower expected loss than the mean of the posterior; on few trials, one may by luck. None where
        the observer is not known, or where the loss is the task's own.
        """
        outputs = self.ideal_outputs(trials) if type(self).loss is Task.loss else None
        if outputs is None:
            return None
        targets, mask = trials["targets"].values.astype(float), trials["mask"].values
        mean = (targets * mask).sum((0, 1)) / mask.sum((0, 1))
        return float((np.square(outputs - targets) * mask).sum() / (np.square(targets - mean) * mask).sum())

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The task variables of trials that this task sampled, by name, which are decoded and colour trajectories.

        By default the conditions of the trials that differ among them (`insd.tasks.variables.of_conditions`): signs
        if they are true or false, or -1 or 1; categories if there are few different ones; otherwise values. Times of
        events, and names of single trials, are left out. Return {} for none.
        """
        return of_conditions(trials)

    def static_inputs(self) -> dict[str, list[float]]:
        """Constant inputs by name, in the order of the trials' inputs, under which the dynamics are autonomous.

        They are the inputs that persist during a trial, without noise; by default, all zero.
        """
        return {"no_input": [0.0] * self.sample("train", 1, 0).sizes["input"]}

    def solved(self, score: float) -> bool:
        """Whether a score on the regime `test` meets the criterion; False for NaN."""
        return bool(score >= self.criterion if self.higher_is_better else score <= self.criterion)

    def steps(self, seconds: float) -> int:
        """Number of time steps in a duration."""
        return round(seconds / self.dt)

    def draw_steps(self, span: tuple[float, float], n_trials: int, random: np.random.Generator) -> np.ndarray:
        """Uniform duration in steps per trial, both ends of the span (in s) included; shape (trial, 1)."""
        return random.integers(self.steps(span[0]), self.steps(span[1]) + 1, (n_trials, 1))

    def check_grace(self, grace: float, response: float) -> None:
        """Raise ValueError where a trial could end before anything of its response is scored."""
        if self.steps(grace) >= self.steps(response):
            raise ValueError(f"grace = {grace} s: must end before the shortest response does ({response} s)")

    def draw_periods(
        self,
        fixation: tuple[float, float],
        stimulus: tuple[float, float],
        delay: tuple[float, float],
        response: float,
        n_trials: int,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Time steps (time,), and the steps (trial, 1) of stimulus onset, stimulus offset and go.

        Periods of uniform duration between the ends of their spans; trials last until the longest has its response.
        """
        stimulus_on = self.draw_steps(fixation, n_trials, random)
        stimulus_off = stimulus_on + self.draw_steps(stimulus, n_trials, random)
        go = stimulus_off + self.draw_steps(delay, n_trials, random)
        longest = fixation[1] + stimulus[1] + delay[1] + response
        return np.arange(self.steps(longest)), stimulus_on, stimulus_off, go

    def step_noise(self, sd: float) -> float:
        """Standard deviation per step of white input noise whose power does not depend on dt; `sd` is for 20 ms."""
        return sd * float(np.sqrt(0.02 / self.dt))

    def draw_noise(
        self, noise: float | tuple[float, float], n_trials: int, random: np.random.Generator
    ) -> Float[np.ndarray, "trial 1 1"]:
        """Standard deviation per step of each trial's noise (`step_noise`); drawn only where trials differ in it."""
        if isinstance(noise, tuple):
            return self.step_noise(1.0) * random.uniform(*noise, (n_trials, 1, 1))
        return np.full((n_trials, 1, 1), self.step_noise(noise))

    def dataset(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        mask: np.ndarray,
        input_names: list[str],
        output_names: list[str],
        conditions: dict[str, np.ndarray],
        steps: ArrayLike | None = None,
        noise: float | np.ndarray | None = None,
        random: np.random.Generator | None = None,
    ) -> xr.Dataset:
        """The arrays of a sample in the contract of trial files: inputs (trial, time, input), targets and mask
        (trial, time, output), and conditions, (trial) each, by name.

        `steps` (trial) or (trial, 1) says how many time steps each trial lasts; what follows is padding, which counts
        nowhere and is stored as zeros. Without it, all trials last to the end.

        `noise` is the standard deviation per step of white noise, of a shape that fits (trial, time, input), which is
        drawn from `random` and added to the inputs. The dataset then holds `clean_inputs` and `noise_sd` (trial, time,
        input), too, so that training can draw the noise of the same trials again.

        Raises ValueError, which names the array and the shape that it needs, if arrays, names and conditions do not
        belong together, `noise` does not fit or comes without `random`, or `steps` are not one whole number for each
        trial, from 1 to the length of the arrays.
        """
        time = self.dt * np.arange(1, np.shape(inputs)[1] + 1) if np.ndim(inputs) > 1 else np.empty(0)
        return assembled(inputs, targets, mask, input_names, output_names, conditions, time, steps, noise, random)


def target_variance(targets: Float[Any, "time trial output"], mask: Float[Any, "time trial output"]) -> float:
    """Mean squared deviation of the scored targets from each output's own mean."""
    mean = (targets * mask).sum((0, 1)) / mask.sum((0, 1))
    return float(((targets - mean).square() * mask).sum() / mask.sum())


def response_mean(
    trials: xr.Dataset, outputs: Float[np.ndarray, "*network trial time output"]
) -> Float[np.ndarray, "*network trial output"]:
    """Outputs averaged over the scored times after go (trials with the coordinate `go_time`)."""
    weights = trials["mask"].values * (trials["time"].values > trials["go_time"].values[:, None])[..., None]
    return (outputs * weights).sum(-2) / weights.sum(-2)


@cache
def _declared(task: type) -> dict[str, Any]:
    """The types of a task's fields, with their annotations."""
    return get_type_hints(task, include_extras=True)


def _parts(declared: Any) -> Iterator[Any]:
    """A type, and all that it is made of."""
    yield declared
    for part in get_args(declared):
        yield from _parts(part)


def _shown(value: Any) -> str:
    """A value of a field as labels show it: a span by its two ends, or by one number if they are equal."""
    if isinstance(value, list | tuple):
        return " to ".join(str(end) if isinstance(end, str) else f"{end:g}" for end in dict.fromkeys(value))
    return f"{value:g}" if isinstance(value, float) else str(value)
