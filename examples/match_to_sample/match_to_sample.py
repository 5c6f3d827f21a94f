"""A whole task of your own: delayed match to sample, with everything that a task may say. Copy it and change it."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr

from insd.tasks import Duration, GridField, NotNegative, RegimesField, Span, Task, Variable


@dataclass(frozen=True, kw_only=True)
class MatchToSample(Task):
    """A sample is shown and, after a delay, a test. After the test, the output says whether they were the same.

    Inputs: fixation (1 until the end of the test), and the direction of a stimulus as (cos, sin) while it is on, each
    with white noise. Output: 0 until the end of the test, then +1 for a match and -1 otherwise.

    Score: share of trials in which the mean output after go has the right sign.
    """

    directions: int = 4
    """Number of stimuli, evenly spaced on the circle."""
    fixation: Duration = 0.1
    """Time before the sample in s."""
    sample_time: Duration = 0.2
    """Duration of the sample in s."""
    delay: Span = (0.2, 0.6)
    """Shortest and longest delay between sample and test in s."""
    test_time: Duration = 0.2
    """Duration of the test in s."""
    response: Duration = 0.3
    """Shortest response in s."""
    grace: Duration = 0.1
    """Time after go that is not scored, in s."""
    input_noise: NotNegative = 0.1
    """Standard deviation of the inputs' noise per step of 20 ms."""
    # Each harder regime, by name: the fields that it replaces.
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.4},
            "long": {"delay": (1.2, 1.8)},
            "noisy_long": {"input_noise": 0.4, "delay": (1.2, 1.8)},
        }
    )
    # Levels of noise and of duration, the first of each like training: networks are scored at all pairs.
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.1, 0.2, 0.4, 0.8)],
            "duration": [{"delay": span} for span in ((0.2, 0.6), (0.6, 1.2), (1.2, 1.8))],
        }
    )

    score_name: ClassVar[str] = "accuracy of matches"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.directions < 2:
            raise ValueError(f"directions = {self.directions}: at least two are needed, for tests that do not match")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        # All arrays are (trial, time) or (trial, time, input); what does not differ along an axis has length 1 there.
        time, sample_on, sample_off, test_on = self.draw_periods(
            (self.fixation, self.fixation),
            (self.sample_time, self.sample_time),
            self.delay,
            self.test_time + self.response,
            n_trials,
            random,
        )
        go = test_on + self.steps(self.test_time)
        sample = random.integers(self.directions, size=n_trials)
        match = random.choice([-1, 1], n_trials)
        # A test that does not match is any of the other directions.
        other = (sample + random.integers(1, self.directions, n_trials)) % self.directions
        test = np.where(match == 1, sample, other)

        inputs = np.zeros((n_trials, time.size, 3))
        inputs[..., 0] = time < go
        for shown, stimulus in (
            ((time >= sample_on) & (time < sample_off), sample),
            ((time >= test_on) & (time < go), test),
        ):
            angle = 2 * np.pi * stimulus / self.directions
            inputs[..., 1:] += shown[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)[:, None]
        targets = np.where(time >= go, match[:, None], 0.0)[..., None]
        scored = (time < go) | (time >= go + self.steps(self.grace))
        return self.dataset(
            inputs,
            targets,
            scored[..., None],
            ["fixation", "cos", "sin"],
            ["match"],
            {
                "sample": sample,
                "test": test,
                "match": match,
                "delay_time": sample_off[:, 0] * self.dt,
                "go_time": go[:, 0] * self.dt,
            },
            noise=self.step_noise(self.input_noise),
            random=random,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """Of outputs (..., trial, time, output), in the shape of the first axes: there may be many networks."""
        after_go = trials["mask"].values[..., 0] * (trials["time"].values > trials["go_time"].values[:, None])
        sign = np.sign((outputs[..., 0] * after_go).sum(-1))
        return (sign == trials["match"].values).mean(-1)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """What activity may carry: the sample and the test, which have no order, and whether they match."""
        values = {name: trials[name].values.astype(float) for name in ("match", "sample", "test")}
        times = trials.sizes["time"]
        return {
            "match": Variable.constant(values["match"], times, "sign"),
            "sample": Variable.constant(values["sample"], times, "category"),
            "test": Variable.constant(values["test"], times, "category"),
        }

    def static_inputs(self) -> dict[str, list[float]]:
        """No stimulus, before go (delay) and after it (response)."""
        return {"delay": [1.0, 0.0, 0.0], "response": [0.0, 0.0, 0.0]}
