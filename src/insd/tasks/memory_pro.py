"""MemoryPro: remember an angle over a delay and report it after the go cue."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, RegimesField, Span, Task, response_mean
from insd.tasks.observers import during_stimulus, mean_direction
from insd.tasks.variables import Variable


@dataclass(frozen=True, kw_only=True)
class MemoryPro(Task):
    """The delayed response with a circular variable after Yang et al. (2019) and Driscoll et al. (2024).

    Inputs: fixation (1 until go) and the angle as (cos, sin) during the stimulus, each with white noise. Outputs:
    fixation (1 until go) and, after go, the angle as (cos, sin). Periods: fixation, stimulus, delay, response, the
    last until the end of the trial.

    Score: median over trials of the absolute error, in degrees, of the angle of the output averaged over the scored
    response.
    """

    fixation: Span = (0.1, 0.3)
    """Shortest and longest time before the stimulus in s (ours; Driscoll et al. 2024: 0.3 to 0.7)."""
    stimulus: Span = (0.2, 0.4)
    """Shortest and longest stimulus in s (ours; Driscoll et al. 2024: 0.2 to 1.6)."""
    delay: Span = (0.2, 0.8)
    """Shortest and longest delay in s (ours; Driscoll et al. 2024: 0.2 to 1.6)."""
    response: Duration = 0.3
    """Shortest response in s (Driscoll et al. 2024: 0.3 to 0.7)."""
    grace: Duration = 0.1
    """Time after go that is not scored, in s (Driscoll et al. 2024)."""
    input_noise: Noise = 0.1
    """Standard deviation of the inputs' noise per step of 20 ms (ours; Driscoll et al. 2024: 0.316), or its span."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.4},
            "long": {"delay": (1.6, 2.4)},
            "noisy_long": {"input_noise": 0.4, "delay": (1.6, 2.4)},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)],
            "duration": [{"delay": span} for span in ((0.2, 0.8), (0.8, 1.2), (1.6, 2.4), (3.2, 4.8))],
        }
    )

    score_name: ClassVar[str] = "median angular error (deg)"
    criterion: ClassVar[float] = 10.0
    higher_is_better: ClassVar[bool] = False
    chance: ClassVar[float] = 90.0
    score_point: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_grace(self.grace, self.response)

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        time, stimulus_on, stimulus_off, go = self.draw_periods(
            self.fixation, self.stimulus, self.delay, self.response, n_trials, random
        )
        angle = random.uniform(-np.pi, np.pi, n_trials)
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]

        fixating = (time < go)[..., None]
        shown = ((time >= stimulus_on) & (time < stimulus_off))[..., None]
        inputs = np.concatenate([fixating, shown * direction], axis=-1)
        noise = self.draw_noise(self.input_noise, n_trials, random)
        targets = np.concatenate([fixating, ~fixating * direction], axis=-1)
        scored = fixating | (time >= go + self.steps(self.grace))[..., None]
        return self.dataset(
            inputs,
            targets,
            np.broadcast_to(scored, targets.shape),
            ["fixation", "cos", "sin"],
            ["fixation", "cos", "sin"],
            {
                "angle": angle,
                "stimulus_time": stimulus_on[:, 0] * self.dt,
                "delay_time": stimulus_off[:, 0] * self.dt,
                "go_time": go[:, 0] * self.dt,
            },
            noise=noise,
            random=random,
        )

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        return np.median(self.trial_errors(trials, outputs), axis=-1)

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """Absolute angular error in degrees, of which the score is the median."""
        mean = response_mean(trials, outputs)
        error = np.arctan2(mean[..., 2], mean[..., 1]) - trials["angle"].values
        return np.abs(np.rad2deg((error + np.pi) % (2 * np.pi) - np.pi))

    def ideal_outputs(self, trials: xr.Dataset) -> Float[np.ndarray, "trial time output"] | None:
        """An observer that knows the times, the noise, and that all angles are equally likely (`mean_direction`)."""
        if "noise_sd" not in trials:
            return None
        shown = during_stimulus(trials, self.dt)[..., None]
        total = (trials["inputs"].values[..., 1:].astype(float) * shown).sum(1)
        mean = mean_direction(total, trials["noise_sd"].values[:, 0, 1].astype(float))
        outputs = trials["targets"].values.astype(float)
        outputs[..., 1:] = (1.0 - outputs[..., :1]) * mean[:, None]
        return outputs

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The angle of the stimulus."""
        return {"angle": Variable.constant(trials["angle"].values, trials.sizes["time"], "angle")}

    def static_inputs(self) -> dict[str, list[float]]:
        """No angle shown, before go (memory) and after it (response)."""
        return {"memory": [1.0, 0.0, 0.0], "response": [0.0, 0.0, 0.0]}
