"""A task that is not in this repository's source, with all that a task may define."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from timing import periods

from insd.tasks import GridField, NotNegative, RegimesField, Span, Task, Variable
from insd.tasks.base import response_mean


@dataclass(frozen=True, kw_only=True)
class DelayedDiscrimination(Task):
    """Say which of two pulses, apart by a delay, was the larger (Romo et al. 1999, Nature 399:470)."""

    delay: Span = (0.2, 0.4)
    """Shortest and longest time between the pulses in s."""
    input_noise: NotNegative = 0.05
    """Standard deviation of the noise per step of 20 ms."""
    regimes: RegimesField = field(default_factory=lambda: {"long": {"delay": (0.6, 0.8)}})
    grid: GridField = field(
        default_factory=lambda: {"noise": [{"input_noise": 0.05}, {"input_noise": 0.2}], "duration": [{}]}
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        first, second = random.uniform(0.2, 1.0, (2, n_trials, 1))
        first_off, second_on, go, length = periods(self, n_trials, random)
        time = np.arange(length)
        shown = first * (time < first_off) + second * ((time >= second_on) & (time < go))
        inputs = np.stack([shown, np.broadcast_to(time < go, shown.shape)], axis=-1)
        inputs = inputs + self.step_noise(self.input_noise) * random.standard_normal(inputs.shape)
        targets = (np.sign(first - second) * (time >= go))[..., None]
        conditions = {
            "difference": (first - second)[:, 0],
            "delay_time": np.full(n_trials, first_off * self.dt),
            "go_time": go[:, 0] * self.dt,
        }
        mask = np.ones(targets.shape, bool)
        return self.dataset(inputs, targets, mask, ["pulse", "fixation"], ["choice"], conditions)

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        return (np.sign(response_mean(trials, outputs)[..., 0]) == np.sign(trials["difference"].values)).mean(-1)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """Which pulse was larger."""
        choice = np.sign(trials["difference"].values)
        return {"choice": Variable.constant(choice, trials.sizes["time"], "sign")}

    def static_inputs(self) -> dict[str, list[float]]:
        """No pulse, before and after go."""
        return {"delay": [0.0, 1.0], "response": [0.0, 0.0]}
