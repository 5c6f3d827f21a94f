"""Parity: report, while they are shown, whether the number of negative inputs is even. No memory is needed."""

from dataclasses import dataclass, field
from itertools import product
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, RegimesField, Task
from insd.tasks.observers import of_levels

MOST_CHANNELS = 10
"""Analyses of fixed points look at each combination of signs."""


@dataclass(frozen=True, kw_only=True)
class Parity(Task):
    """Parity of the signs of static inputs; of two inputs, exclusive or (Minsky & Papert 1969, "Perceptrons").

    Inputs: one number per channel, throughout the trial, with white noise. Output: the product of their signs, which no
    linear function of the inputs is. All that counts is shown at each time: with little noise, the inputs of a single
    time step are enough. All durations, levels and noise are ours.

    Score: share of trials in which the output, averaged over the scored times, has the right sign.
    """

    channels: int = 2
    """Number of inputs, from 1 to 10, which are independent."""
    levels: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0)
    """Absolute values of the inputs, equally likely, as are both signs."""
    duration: Duration = 0.5
    """Length of a trial in s."""
    reaction: Duration = 0.3
    """Time at the start of a trial that is not scored, in s."""
    input_noise: Noise = 0.1
    """Standard deviation of the inputs' noise per step of 20 ms, or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.8},
            "long": {"duration": 2.0},
            "noisy_long": {"input_noise": 0.8, "duration": 2.0},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)],
            "duration": [{"duration": length} for length in (0.5, 1.0, 2.0, 4.0)],
        }
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise ValueError(f"channels = {self.channels}: from 1 to {MOST_CHANNELS}")
        if not self.levels or any(level <= 0 for level in self.levels):
            raise ValueError(f"levels = {self.levels}: needs one or more numbers above 0, which have a sign")
        if self.steps(self.reaction) >= self.steps(self.duration):
            raise ValueError(f"reaction = {self.reaction} s: must end before the trial does ({self.duration} s)")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        shape = (n_trials, self.steps(self.duration), 1)
        values = random.choice(self.levels, (n_trials, self.channels)) * random.choice(
            [-1.0, 1.0], (n_trials, self.channels)
        )
        parity = np.sign(values).prod(1)
        scored = np.arange(shape[1])[:, None] >= self.steps(self.reaction)
        names = [f"value_{number + 1}" for number in range(self.channels)]
        return self.dataset(
            np.broadcast_to(values[:, None], (*shape[:2], self.channels)),
            np.broadcast_to(parity[:, None, None], shape),
            np.broadcast_to(scored, shape),
            names,
            ["parity"],
            {**dict(zip(names, values.T, strict=True)), "parity": parity.astype(int)},
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        """Share of correct signs of the mean scored output."""
        mean = (outputs * trials["mask"].values).sum((-2, -1))
        return (np.sign(mean) == trials["parity"].values).mean(-1)

    def trial_errors(
        self, trials: xr.Dataset, outputs: Float[np.ndarray, "*network trial time output"]
    ) -> Float[np.ndarray, "*network trial"]:
        """1 where the sign of the mean scored output is wrong, else 0."""
        mean = (outputs * trials["mask"].values).sum((-2, -1))
        return (np.sign(mean) != trials["parity"].values).astype(float)

    def ideal_outputs(self, trials: xr.Dataset) -> Float[np.ndarray, "trial time output"] | None:
        """An observer that knows the levels and the noise: the product of the mean signs of all channels by their
        posteriors, since channels are independent.
        """
        if "noise_sd" not in trials:
            return None
        seen = trials["inputs"].values.astype(float).cumsum(1)
        steps = np.broadcast_to(np.arange(1, seen.shape[1] + 1)[:, None], seen.shape)
        sd = np.broadcast_to(trials["noise_sd"].values.astype(float), seen.shape)
        signs = of_levels(seen.ravel(), steps.ravel(), sd.ravel(), self.levels)[0].reshape(seen.shape)
        return signs.prod(2, keepdims=True)

    def static_inputs(self) -> dict[str, list[float]]:
        """The largest level with all combinations of signs."""
        signs = {"plus": max(self.levels), "minus": -max(self.levels)}
        return {"_".join(names): [signs[name] for name in names] for names in product(signs, repeat=self.channels)}
