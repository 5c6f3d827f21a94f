"""Flip-flop: each output holds the sign of the last pulse in its channel."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Task
from insd.tasks.observers import mean_sign
from insd.tasks.variables import Kind, Variable


@dataclass(frozen=True, kw_only=True)
class FlipFlop(Task):
    """The 3-bit flip-flop after Sussillo & Barak (2013, Neural Computation 25:626).

    Inputs: one channel per bit with sparse pulses of +1 or -1 and white noise. Outputs: the sign of each channel's
    last pulse. Every channel starts with a pulse, so that no state is left undefined (ours; see `first_pulse`). Not
    scored: a reaction window after the onset of each pulse.

    Score: share of scored outputs with the correct sign, where the target is not 0.
    """

    channels: int = 3
    """Number of bits (Sussillo & Barak 2013)."""
    duration: Duration = 1.8
    """Length of a trial in s (ours)."""
    pulse_rate: NotNegative = 3.0
    """Rate of pulses per channel in 1/s while none is on (ours)."""
    pulse_width: Duration = 0.06
    """Width of a pulse in s (ours)."""
    refractory: Duration = 0.1
    """Least time from the onset of a pulse to that of the next in its channel, in s (ours)."""
    reaction: Duration = 0.1
    """Time from the onset of a pulse that is not scored, in s (ours; CtDB: four steps)."""
    first_pulse: bool = True
    """Whether every channel starts with a pulse (ours); without, its target is 0 until its first pulse."""
    input_noise: Noise = 0.1
    """Standard deviation of the inputs' noise per step of 20 ms (ours; CtDB: 0.15), or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.4},
            "long": {"duration": 5.4, "pulse_rate": 0.6},
            "noisy_long": {"input_noise": 0.4, "duration": 5.4, "pulse_rate": 0.6},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)],
            "duration": [
                {"duration": length, "pulse_rate": rate}
                for length, rate in ((1.8, 3.0), (3.6, 1.2), (5.4, 0.6), (10.8, 0.3))
            ],
        }
    )

    score_name: ClassVar[str] = "sign accuracy"
    criterion: ClassVar[float] = 0.98
    chance: ClassVar[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels < 1:
            raise ValueError(f"channels = {self.channels}: at least one channel is needed")
        if not 0 < self.pulse_width <= self.refractory:
            raise ValueError(
                f"pulse_width = {self.pulse_width} s: must be positive and at most refractory = {self.refractory} s"
            )
        if not self.steps(self.pulse_width):
            raise ValueError(f"pulse_width = {self.pulse_width} s: is less than half of the time step dt = {self.dt} s")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        time = np.arange(self.steps(self.duration))
        refractory = self.steps(self.refractory)
        # Onsets are sums of waiting times: as many as could fit into a trial are drawn, and later ones fall off.
        most = 1 + time.size // refractory
        waits = random.exponential(1 / (self.pulse_rate * self.dt), (n_trials, most, self.channels))
        waits[:, 1:] += refractory
        if self.first_pulse:
            waits[:, 0] = 0
        onsets = np.floor(waits.cumsum(1)).astype(int)
        signs = random.choice([-1.0, 1.0], onsets.shape)

        trial, pulse, channel = np.nonzero(onsets < time.size)
        onset_sign = np.zeros((n_trials, time.size, self.channels))
        onset_sign[trial, onsets[trial, pulse, channel], channel] = signs[trial, pulse, channel]
        # The step of the last onset up to each time: a running maximum holds it.
        last = np.maximum.accumulate(np.where(onset_sign != 0, time[:, None], 0), axis=1)
        since = time[:, None] - last
        held = np.take_along_axis(onset_sign, last, axis=1)

        noise = self.draw_noise(self.input_noise, n_trials, random)
        names = [str(index + 1) for index in range(self.channels)]
        return self.dataset(
            held * (since < self.steps(self.pulse_width)),
            held,
            # There is nothing to react to before the first pulse.
            (since >= self.steps(self.reaction)) | (held == 0),
            [f"pulse_{name}" for name in names],
            [f"bit_{name}" for name in names],
            {f"final_bit_{name}": held[:, -1, index].astype(int) for index, name in enumerate(names)},
            noise=noise,
            random=random,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        targets = trials["targets"].values
        mask = trials["mask"].values * (targets != 0)
        correct = np.sign(outputs) == targets
        return (correct * mask).sum((-3, -2, -1)) / mask.sum()

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """Share of the trial's scored outputs that have the wrong sign; NaN without any."""
        targets = trials["targets"].values
        scored = trials["mask"].values * (targets != 0)
        wrong = ((np.sign(outputs) != targets) * scored).sum((-2, -1))
        total = scored.sum((-2, -1))
        return np.divide(wrong, total, out=np.full_like(wrong, np.nan), where=total > 0)

    def ideal_outputs(self, trials: xr.Dataset) -> Float[np.ndarray, "trial time output"] | None:
        """An observer that knows the noise and, what networks must find out, when pulses begin (`mean_sign`)."""
        if "noise_sd" not in trials:
            return None
        pulses = np.sign(trials["clean_inputs"].values)
        times = np.arange(pulses.shape[1])[:, None]
        before = np.concatenate([np.zeros_like(pulses[:, :1]), pulses[:, :-1]], axis=1)
        begins = np.maximum.accumulate(np.where(pulses != before, times, 0), axis=1)
        # Pulses of one sign may touch: the next one begins when the width of the last is over.
        onset = (pulses != 0) & ((times - begins) % self.steps(self.pulse_width) == 0)
        last = np.maximum.accumulate(np.where(onset, times, 0), axis=1)
        sd = trials["noise_sd"].values.astype(float)
        seen = (trials["inputs"].values.astype(float) * (pulses != 0)).cumsum(1)
        earlier = np.concatenate([np.zeros_like(seen[:, :1]), seen[:, :-1]], axis=1)
        return mean_sign(seen - np.take_along_axis(earlier, last, axis=1), sd)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The bits that are held at each time: the targets. With 0 before the first pulse, they are categories."""
        targets = trials["targets"].astype(np.float64)
        kind: Kind = "sign" if self.first_pulse else "category"
        return {str(name): Variable(targets.sel(output=name).values, kind) for name in trials["output"].values}

    def static_inputs(self) -> dict[str, list[float]]:
        """No pulse in any channel."""
        return {"hold": [0.0] * self.channels}
