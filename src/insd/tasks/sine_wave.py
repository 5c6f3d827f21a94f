"""Sine-wave generation: oscillate at the frequency that a constant input names."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, RegimesField, Task
from insd.tasks.observers import LEAST_NOISE
from insd.tasks.variables import Variable


@dataclass(frozen=True, kw_only=True)
class SineWave(Task):
    """Sine-wave generation after Huang et al. (2025, arXiv 2410.03972) and Sussillo & Barak (2013).

    Inputs: the frequency f of each channel, as a share of the highest (ours), throughout the trial, with white noise.
    Outputs: sin(2 pi f t) of each channel, t being the time from the start of the trial.

    The time base is ours. Huang et al. have f from 1 to 30, without a unit, and networks without a time constant; at 30
    per s, the period is less than two time steps of 20 ms. A factor of 30 between the frequencies is theirs.

    Score: share of the targets' variance that the outputs explain. The criterion of .9 is that of Huang et al., who
    train until the mean squared error is .05: a tenth of a sine's variance of .5.
    """

    channels: int = 1
    """Number of sines, whose frequencies are independent (Huang et al. 2025 vary it)."""
    frequency: tuple[float, float] = (0.1, 3.0)
    """Lowest and highest frequency in Hz (ours; see above)."""
    frequencies: int = 10
    """Number of frequencies, evenly spaced from the lowest to the highest and equally likely (Huang et al. 2025, who
    name no number)."""
    duration: Duration = 2.0
    """Length of a trial in s (ours)."""
    input_noise: Noise = 0.02
    """Standard deviation of the inputs' noise per step of 20 ms, as a share of the highest frequency (ours), or a span
    of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.08},
            "long": {"duration": 4.0},
            "noisy_long": {"input_noise": 0.08, "duration": 4.0},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)],
            "duration": [{"duration": length} for length in (2.0, 4.0, 6.0, 12.0)],
        }
    )

    criterion: ClassVar[float] = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels < 1:
            raise ValueError(f"channels = {self.channels}: at least one channel is needed")
        if self.frequencies < 1:
            raise ValueError(f"frequencies = {self.frequencies}: at least one frequency is needed")
        if not 0 < self.frequency[0] <= self.frequency[1] < 1 / (2 * self.dt):
            raise ValueError(
                f"frequency = {self.frequency}: needs 0 < lowest <= highest < {1 / (2 * self.dt):g} Hz, "
                f"of which dt = {self.dt} s is half a period"
            )

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        time = self.dt * np.arange(1, self.steps(self.duration) + 1)
        frequency = random.choice(self._frequencies(), (n_trials, self.channels))
        targets = np.sin(2 * np.pi * frequency[:, None] * time[:, None])
        numbers = [str(index + 1) for index in range(self.channels)]
        return self.dataset(
            np.broadcast_to(frequency[:, None] / self.frequency[1], targets.shape),
            targets,
            np.ones(targets.shape, bool),
            [f"frequency_{number}" for number in numbers],
            [f"sine_{number}" for number in numbers],
            {f"frequency_{number}": frequency[:, index] for index, number in enumerate(numbers)},
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def _frequencies(self) -> Float[np.ndarray, "frequency"]:
        """All frequencies in Hz."""
        return np.linspace(*self.frequency, self.frequencies)

    def ideal_outputs(self, trials: xr.Dataset) -> Float[np.ndarray, "trial time output"] | None:
        """An observer that knows the frequencies and the noise: the mean of the sines by their posterior.

        With the sum S of n inputs, noise of variance s² and the shares u of the highest frequency, the posterior is
        proportional to exp((u S - n u² / 2) / s²).
        """
        if "noise_sd" not in trials:
            return None
        shares = self._frequencies() / self.frequency[1]
        seen = trials["inputs"].values.astype(float).cumsum(1)[..., None]
        variance = np.maximum(trials["noise_sd"].values[..., None].astype(float), LEAST_NOISE) ** 2
        steps = np.arange(1, seen.shape[1] + 1)[:, None, None]
        evidence = (shares * seen - steps * shares**2 / 2) / variance
        weights = np.exp(evidence - evidence.max(-1, keepdims=True))
        sines = np.sin(2 * np.pi * self._frequencies() * trials["time"].values[:, None])[:, None]
        return (weights * sines).sum(-1) / weights.sum(-1)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The frequency of each channel, and the phase at each time."""
        time, found = trials["time"].values, {}
        for number in range(1, self.channels + 1):
            frequency = trials[f"frequency_{number}"].values
            found[f"frequency_{number}"] = Variable.constant(frequency, time.size, "value")
            # From -pi to pi, like all angles.
            phase = (2 * np.pi * frequency[:, None] * time + np.pi) % (2 * np.pi) - np.pi
            found[f"phase_{number}"] = Variable(phase, "angle")
        return found

    def static_inputs(self) -> dict[str, list[float]]:
        """The lowest, a middle and the highest frequency, in all channels."""
        every = self._frequencies()
        chosen = {"lowest": every[0], "middle": every[len(every) // 2], "highest": every[-1]}
        return {name: [float(one / self.frequency[1])] * self.channels for name, one in chosen.items()}
