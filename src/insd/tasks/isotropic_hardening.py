"""Isotropic hardening: the stress of a metal that is strained and relaxed, and yields on both ways."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Task


@dataclass(frozen=True, kw_only=True)
class IsotropicHardening(Task):
    """One-dimensional plasticity with linear isotropic hardening, as a regression in Henkes et al. (2024).

    Input: the strain, which rises evenly from 0 to the peak of the trial and falls evenly back to 0 at its end, as a
    share of the largest peak, with white noise if any. Output: the stress, as a share of the largest in size of all
    trials (Henkes et al. standardise all numbers). The first step is not scored (Henkes et al.).

    The stress is E times the elastic strain. Its size is at most the yield stress plus `hardening` times the plastic
    strain so far, without regard to its sign. While the strain rises, the stress is a function of it; while it falls,
    of the peak, too, which the network must remember. With a yield stress above that of the peak it is E times the
    strain everywhere: elasticity, without a history.

    Score: sum of |output - stress| over the sum of |stress|, since stress passes through zero (ours; Henkes et al.
    average relative errors). The criterion of 5 % is ours.

    Source: Simo & Hughes (1998), "Computational inelasticity", box 1.4 (return mapping).
    """

    modulus: NotNegative = 2.1e5
    """Young's modulus E in MPa (Henkes et al. 2024)."""
    hardening: NotNegative = 2.1e3
    """Growth of the yield stress with plastic strain in MPa: E / 100 (Henkes et al. 2024)."""
    yield_stress: NotNegative = 300.0
    """Yield stress before any plastic strain in MPa (Henkes et al. 2024)."""
    peak: tuple[float, float] = (0.004, 0.01)
    """Least and largest strain at the turn, uniform in between (ours; Henkes et al. 2024 go to 0.01)."""
    turn: tuple[float, float] = (0.3, 0.7)
    """Earliest and latest turn, as a share of the trial, uniform in between: with the peak it makes the rate of the
    strain tell nothing of the peak by itself (ours)."""
    duration: Duration = 2.0
    """Length of a trial in s: at the default time step, 100 steps (Henkes et al. 2024)."""
    scored: Literal["all", "loading", "unloading"] = "all"
    """The times that are scored: all, or those before the turn or after it (ours)."""
    input_noise: Noise = 0.0
    """Standard deviation of the input's noise per step of 20 ms (none in Henkes et al. 2024), or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "loading": {"scored": "loading"},
            "unloading": {"scored": "unloading"},
            "noisy": {"input_noise": 0.05},
            "long": {"duration": 4.0},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)],
            "duration": [{"duration": length} for length in (2.0, 3.0, 4.0, 8.0)],
        }
    )

    score_name: ClassVar[str] = "relative error"
    criterion: ClassVar[float] = 0.05
    higher_is_better: ClassVar[bool] = False
    # Of the best constant output, with the defaults.
    chance: ClassVar[float] = 0.93

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.peak[0] <= self.peak[1]:
            raise ValueError(f"peak = {self.peak}: needs 0 < least <= largest strain")
        if not 0 < self.turn[0] <= self.turn[1] < 1:
            raise ValueError(f"turn = {self.turn}: needs 0 < earliest <= latest < 1 (shares of the trial)")
        for name in ("modulus", "yield_stress"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} = 0: must be positive (MPa)")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        steps = self.steps(self.duration)
        step = np.arange(1, steps + 1)
        peak = random.uniform(*self.peak, n_trials)
        # The peak is at a step; a last one remains for the way back.
        turn = np.clip(np.round(steps * random.uniform(*self.turn, (n_trials, 1))), 1, max(steps - 1, 1))
        strain = peak[:, None] * np.minimum(step / turn, (steps - step) / np.maximum(steps - turn, 1))
        within = {"all": step > 0, "loading": step <= turn, "unloading": step > turn}[self.scored]
        largest = np.abs(self.stress(np.array([[self.peak[1], 0.0]]))).max()
        return self.dataset(
            strain[..., None] / self.peak[1],
            self.stress(strain)[..., None] / largest,
            np.broadcast_to(within & (step > 1), strain.shape)[..., None],
            ["strain"],
            ["stress"],
            {"peak": peak, "turn_time": turn[:, 0] * self.dt},
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def stress(self, strain: Float[np.ndarray, "trial time"]) -> Float[np.ndarray, "trial time"]:
        """The stress in MPa along paths of strain from 0, by return mapping, which is exact where each step of a path
        goes one way.
        """
        plastic = grown = np.zeros(len(strain))
        found = np.empty(strain.shape)
        for time in range(strain.shape[1]):
            trial = self.modulus * (strain[:, time] - plastic)
            beyond = np.abs(trial) - (self.yield_stress + self.hardening * grown)
            flow = np.maximum(beyond, 0) / (self.modulus + self.hardening)
            plastic, grown = plastic + flow * np.sign(trial), grown + flow
            found[:, time] = self.modulus * (strain[:, time] - plastic)
        return found

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        targets, mask = trials["targets"].values.astype(float), trials["mask"].values
        return (np.abs(outputs - targets) * mask).sum((-3, -2, -1)) / (np.abs(targets) * mask).sum()

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """Sum of |output - stress| of each trial over its sum of |stress|; NaN where nothing is scored."""
        targets, mask = trials["targets"].values.astype(float), trials["mask"].values
        error, size = ((np.abs(values) * mask).sum((-2, -1)) for values in (outputs - targets, targets))
        return np.divide(error, size, out=np.full_like(error, np.nan), where=size > 0)

    def static_inputs(self) -> dict[str, list[float]]:
        """No strain."""
        return {"rest": [0.0]}
