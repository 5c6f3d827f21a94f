"""What every task is: a frozen dataclass of numbers that samples trials and scores outputs."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from pydantic import Field

RegimesField = Annotated[
    Mapping[str, Mapping[str, Any]],
    Field(description="What each harder regime replaces, by name; `train` and `test` replace nothing."),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A generator of trials. Its fields are the numbers of the regime `train`; a regime replaces some of them.

    Subclasses say how outputs are scored: `score_name` with its unit, the `criterion` that a solved network meets,
    whether higher is better, and the score of a network that guesses (`chance`).
    """

    # Described here and not below, since only a class's own docstrings of fields reach the table of keys.
    dt: Annotated[float, Field(description="Time step in s (ours; the same in Dubreuil et al. 2022).")] = 0.02
    regimes: RegimesField = dataclasses.field(default_factory=dict)

    # Read by the settings: unknown parameters are refused, and the docstrings below fields describe them.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "use_attribute_docstrings": True}

    score_name: ClassVar[str]
    criterion: ClassVar[float]
    higher_is_better: ClassVar[bool] = True
    chance: ClassVar[float]

    def __post_init__(self) -> None:
        if self.dt <= 0:
            raise ValueError(f"dt = {self.dt}: the time step must be positive (seconds)")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                if not 0 <= value[0] <= value[1]:
                    raise ValueError(f"{field.name} = {value}: needs 0 <= shortest <= longest (seconds)")
            elif isinstance(value, float) and value < 0:
                raise ValueError(f"{field.name} = {value}: must not be negative")

    def in_regime(self, regime: str) -> "Task":
        """The same task with the fields of a regime replaced.

        Raises ValueError if the regime is unknown or replaces a field that the task does not have.
        """
        if regime in ("train", "test"):
            return dataclasses.replace(self, regimes={})
        if regime not in self.regimes:
            raise ValueError(f"no regime '{regime}'; this task has: {', '.join(self.regime_names())}")
        changes = self.regimes[regime]
        fields = {field.name for field in dataclasses.fields(self)} - {"regimes"}
        if unknown := set(changes) - fields:
            raise ValueError(
                f"regimes.{regime}: no field {', '.join(sorted(unknown))}; a regime may replace: "
                f"{', '.join(sorted(fields))}"
            )
        return dataclasses.replace(self, regimes={}, **{name: _span(value) for name, value in changes.items()})

    def regime_names(self) -> list[str]:
        """All regimes that can be sampled, `train` and `test` first."""
        return ["train", "test", *self.regimes]

    def sample(self, regime: str, n_trials: int, seed: int) -> xr.Dataset:
        """Trials of a regime: inputs (trial, time, input), targets and mask (trial, time, output).

        `time` is in s from the start of the trial, at the end of each step; `mask` is 1 where an output is scored and
        0 elsewhere; each condition variable is a coordinate along `trial`. The same seed gives the same trials.
        """
        if n_trials < 1:
            raise ValueError(f"n_trials = {n_trials}: at least one trial is needed")
        dataset = self.in_regime(regime)._sample(n_trials, np.random.default_rng(seed))
        dataset.attrs["dt"] = self.in_regime(regime).dt
        return dataset

    @abstractmethod
    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        """Trials of this very task (regimes already applied)."""

    def score(
        self, trials: xr.Dataset, outputs: Float[np.ndarray, "*network trial time output"]
    ) -> Float[np.ndarray, "*network"]:
        """Score of outputs on trials that this task sampled, one number per network; unit as in `score_name`."""
        return np.asarray(self._score(trials, outputs), dtype=np.float64)

    @abstractmethod
    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        """Score of outputs (..., trial, time, output), of shape (...)."""

    def solved(self, score: float) -> bool:
        """Whether a score on the regime `test` meets the criterion; never for a score that is not a number."""
        return bool(score >= self.criterion if self.higher_is_better else score <= self.criterion)

    def steps(self, seconds: float) -> int:
        """Number of time steps in a duration."""
        return round(seconds / self.dt)

    def draw_steps(self, span: tuple[float, float], n_trials: int, random: np.random.Generator) -> np.ndarray:
        """Uniform duration in steps per trial, both ends of the span (in s) included; shape (trial, 1)."""
        return random.integers(self.steps(span[0]), self.steps(span[1]) + 1, (n_trials, 1))

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
        """Standard deviation of white input noise per step that keeps its power at any dt; `sd` is that at 20 ms."""
        return sd * float(np.sqrt(0.02 / self.dt))

    def dataset(
        self,
        inputs: Float[np.ndarray, "trial time input"],
        targets: Float[np.ndarray, "trial time output"],
        mask: Bool[np.ndarray, "trial time output"],
        input_names: list[str],
        output_names: list[str],
        conditions: dict[str, np.ndarray],
    ) -> xr.Dataset:
        """The arrays of a sample in the contract of trial files."""
        time = self.dt * np.arange(1, inputs.shape[1] + 1)
        return xr.Dataset(
            {
                "inputs": (("trial", "time", "input"), inputs.astype(np.float32)),
                "targets": (("trial", "time", "output"), targets.astype(np.float32)),
                "mask": (("trial", "time", "output"), mask.astype(np.float32)),
            },
            coords={
                "time": ("time", time, {"units": "s", "long_name": "time from trial start"}),
                "input": input_names,
                "output": output_names,
                **{name: ("trial", values) for name, values in conditions.items()},
            },
        )


def response_mean(
    trials: xr.Dataset, outputs: Float[np.ndarray, "*network trial time output"]
) -> Float[np.ndarray, "*network trial output"]:
    """Outputs averaged over the scored times after go (trials with the coordinate `go_time`)."""
    weights = trials["mask"].values * (trials["time"].values > trials["go_time"].values[:, None])[..., None]
    return (outputs * weights).sum(-2) / weights.sum(-2)


def _span(value: Any) -> Any:
    """A span of durations as the fields have it, where YAML gives a list."""
    return tuple(float(end) for end in value) if isinstance(value, list) else value
