"""Path classification: report the sign of a number that a path has as a whole."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, RegimesField, Task, response_mean
from insd.tasks.variables import Variable


@dataclass(frozen=True, kw_only=True)
class PathClassification(Task):
    """Classification of random paths, as of Boutaib et al. (2022, arXiv 2108.03090); paths and labels are ours.

    Inputs: the velocity of a path in each channel, an Ornstein-Uhlenbeck process with a variance of 1, with white
    noise. Output: after the end of the path, the sign of a functional of the path, see `functional`. The output is not
    scored before.

    Score: share of trials with the correct sign of the output averaged over the response.
    """

    channels: int = 2
    """Number of channels of the path (ours)."""
    functional: Literal["displacement", "integral", "area"] = "integral"
    """What has the sign. `displacement`: where the path ends in the first channel. `integral`: its mean in the first
    channel. `area`: the signed area between the path and its chord in the first two channels (Lévy area). The first two
    are linear in the path, words of its partial signature; the last is not (all ours)."""
    duration: Duration = 1.0
    """Duration of the path in s (ours)."""
    persistence: Duration = 0.2
    """Correlation time of the velocity in s (ours)."""
    response: Duration = 0.1
    """Duration of the response in s (ours)."""
    input_noise: Noise = 0.1
    """Standard deviation of the inputs' noise per step of 20 ms, in units of the inputs (ours), or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.4},
            "long": {"duration": 2.0},
            "noisy_long": {"input_noise": 0.4, "duration": 2.0},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)],
            "duration": [{"duration": length} for length in (1.0, 2.0, 3.0, 4.0)],
        }
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 2 if self.functional == "area" else 1
        if self.channels < least:
            raise ValueError(f"channels = {self.channels}: functional = {self.functional!r} needs at least {least}")
        for name in ("duration", "response"):
            if not self.steps(getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)} s: needs at least one time step, dt = {self.dt} s")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        moving, answering = self.steps(self.duration), self.steps(self.response)
        velocity = self._velocity(n_trials, moving, random)
        numbers = functionals(self.dt * velocity)
        labels = np.where(numbers[self.functional] > 0, 1.0, -1.0)
        answers = np.arange(moving + answering) >= moving
        shape = (n_trials, moving + answering, 1)
        return self.dataset(
            np.pad(velocity, ((0, 0), (0, answering), (0, 0))),
            np.broadcast_to(answers[:, None], shape) * labels[:, None, None],
            np.broadcast_to(answers[:, None], shape),
            [f"velocity_{number + 1}" for number in range(self.channels)],
            ["sign"],
            {**numbers, "go_time": np.full(n_trials, moving * self.dt)},
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def _velocity(
        self, n_trials: int, steps: int, random: np.random.Generator
    ) -> Float[np.ndarray, "trial time channel"]:
        """Stationary velocities at each step of the path."""
        kept = np.exp(-self.dt / self.persistence) if self.persistence else 0.0
        drawn = random.standard_normal((steps, n_trials, self.channels))
        for step in range(1, steps):
            drawn[step] = kept * drawn[step - 1] + np.sqrt(1 - kept**2) * drawn[step]
        return drawn.swapaxes(0, 1)

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        return 1 - self.trial_errors(trials, outputs).mean(-1)

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """1 where the sign is wrong, else 0."""
        correct = trials["targets"].values[:, -1, 0]
        return (np.sign(response_mean(trials, outputs)[..., 0]) != correct).astype(float)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The functionals of the path, and the sign that is reported."""
        times = trials.sizes["time"]
        found = {
            name: Variable.constant(trials[name].values, times, "value")
            for name in ("displacement", "integral", "area")
            if name in trials.coords
        }
        return found | {"sign": Variable.constant(trials["targets"].values[:, -1, 0], times, "sign")}

    def static_inputs(self) -> dict[str, list[float]]:
        """At rest, as in the response."""
        return {"rest": [0.0] * self.channels}


def functionals(increments: Float[np.ndarray, "trial time channel"]) -> dict[str, Float[np.ndarray, "trial"]]:
    """The functionals of paths that begin at 0 and are linear within steps; without the area in one channel.

    displacement : ``x_T`` in the first channel.
    integral : the mean over time of x in the first channel.
    area : ``1/2 integral of x_1 dx_2 - x_2 dx_1``, in units of the path squared.
    """
    path = increments.cumsum(1)
    before = path - increments
    first = (path + before)[..., 0] / 2
    found = {"displacement": path[:, -1, 0], "integral": first.mean(1)}
    if increments.shape[-1] > 1:
        turns = before[..., 0] * increments[..., 1] - before[..., 1] * increments[..., 0]
        found["area"] = turns.sum(1) / 2
    return found
