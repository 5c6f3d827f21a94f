"""Delayed discrimination: report which of two stimuli, separated by a delay, was the stronger."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr

from insd.tasks.base import Duration, GridField, Noise, RegimesField, Span, Task, response_mean
from insd.tasks.variables import Variable


@dataclass(frozen=True, kw_only=True)
class DelayedDiscrimination(Task):
    """Delayed discrimination after Huang et al. (2025, arXiv 2410.03972) and Romo et al. (1999, Nature 399:470).

    Inputs: one channel per comparison, which shows the amplitudes f1 and f2, each for the same time, with white noise.
    They are in units of half the range of amplitudes, so that they are of the order of 1 (ours). Outputs: silent until
    the end of the second stimulus, which is the go cue (ours), then sign(f2 - f1) of each channel. Periods: first
    stimulus, delay, second stimulus, response, the last until the end of the trial. Not scored: the second stimulus.

    Score: share of channels and trials with the correct sign of the output averaged over the response. Huang et al.
    train until the mean squared error of the sign is .01.
    """

    channels: int = 1
    """Number of comparisons, which are independent and simultaneous (Huang et al. 2025 vary it)."""
    amplitude: tuple[float, float] = (2.0, 10.0)
    """Smallest and largest amplitude f, between which both are drawn, uniformly (the range: Huang et al. 2025)."""
    stimulus: Duration = 0.1
    """Duration of each stimulus in s (ours; Huang et al. 2025 name none)."""
    delay: Span = (0.1, 0.4)
    """Shortest and longest delay in s: 5 and 20 steps (Huang et al. 2025)."""
    response: Duration = 0.3
    """Shortest response in s (ours); trials with a shorter delay have a longer one."""
    auxiliary: bool = False
    """Whether further outputs report the magnitude |f2 - f1| of each channel (Huang et al. 2025), in the same units as
    the inputs (ours)."""
    input_noise: Noise = 0.05
    """Standard deviation of the inputs' noise per step of 20 ms, in units of the inputs (ours), or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.2},
            "long": {"delay": (0.2, 0.8)},
            "noisy_long": {"input_noise": 0.2, "delay": (0.2, 0.8)},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)],
            "duration": [{"delay": span} for span in ((0.1, 0.4), (0.2, 0.8), (0.4, 1.6), (0.8, 3.2))],
        }
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.95
    chance: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels < 1:
            raise ValueError(f"channels = {self.channels}: at least one channel is needed")
        if not 0 <= self.amplitude[0] < self.amplitude[1]:
            raise ValueError(f"amplitude = {self.amplitude}: needs 0 <= smallest < largest")
        if not self.steps(self.stimulus) or not self.steps(self.response):
            raise ValueError(
                f"stimulus = {self.stimulus} s, response = {self.response} s: each needs at least one time step, "
                f"dt = {self.dt} s"
            )

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        shown = self.steps(self.stimulus)
        second = shown + self.draw_steps(self.delay, n_trials, random)
        go = second + shown
        time = np.arange(2 * shown + self.steps(self.delay[1]) + self.steps(self.response))
        first, other = random.uniform(*self.amplitude, (2, n_trials, self.channels))

        unit = (self.amplitude[1] - self.amplitude[0]) / 2
        during = ((time >= second) & (time < go))[..., None]
        inputs = ((time < shown)[:, None] * first[:, None] + during * other[:, None]) / unit
        reported = np.sign(other - first)
        if self.auxiliary:
            reported = np.concatenate([reported, np.abs(other - first) / unit], axis=1)
        targets = (time >= go)[..., None] * reported[:, None]
        numbers = [str(index + 1) for index in range(self.channels)]
        kinds = ["sign", "magnitude"] if self.auxiliary else ["sign"]
        return self.dataset(
            inputs,
            targets,
            np.broadcast_to(~during, targets.shape),
            [f"stimulus_{number}" for number in numbers],
            [f"{kind}_{number}" for kind in kinds for number in numbers],
            {
                **{f"first_{number}": first[:, index] for index, number in enumerate(numbers)},
                **{f"second_{number}": other[:, index] for index, number in enumerate(numbers)},
                "delay_time": np.full(n_trials, shown * self.dt),
                "second_time": second[:, 0] * self.dt,
                "go_time": go[:, 0] * self.dt,
            },
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        return 1 - self.trial_errors(trials, outputs).mean(-1)

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """Share of the trial's channels whose sign is wrong."""
        correct = trials["targets"].values[:, -1, : self.channels]
        return (np.sign(response_mean(trials, outputs)[..., : self.channels]) != correct).mean(-1)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """Both amplitudes of each channel, their difference f2 - f1, and its sign."""
        times, found = trials.sizes["time"], {}
        for number in range(1, self.channels + 1):
            first, second = (trials[f"{name}_{number}"].values for name in ("first", "second"))
            found[f"first_{number}"] = Variable.constant(first, times, "value")
            found[f"second_{number}"] = Variable.constant(second, times, "value")
            found[f"difference_{number}"] = Variable.constant(second - first, times, "value")
            found[f"sign_{number}"] = Variable.constant(np.sign(second - first), times, "sign")
        return found

    def static_inputs(self) -> dict[str, list[float]]:
        """No stimulus, as in the delay and in the response."""
        return {"no_stimulus": [0.0] * self.channels}
