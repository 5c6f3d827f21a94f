"""Ramberg-Osgood: the stress of a metal that yields gradually, from its strain and its yield strength."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Task


@dataclass(frozen=True, kw_only=True)
class RambergOsgood(Task):
    """Nonlinear elasticity after Ramberg & Osgood (1943), as a regression in Henkes et al. (2024).

    Inputs: the strain, which rises evenly from 0 to `strain`, as a share of that; and the yield strength s0 of the
    trial, as a share of the largest, throughout. Both may have white noise. Output: the stress s with

        strain = s / E + offset (s / s0)^exponent,

    as a share of the largest stress of all trials (Henkes et al. standardise all numbers). The first step is not
    scored (Henkes et al.). The stress is a function of the inputs of the same step.

    Score: mean of |output - stress| / stress (Henkes et al.). The criterion of 3 % and the span of noise are ours.
    """

    modulus: NotNegative = 2.1e5
    """Young's modulus E in MPa (Henkes et al. 2024)."""
    strength: tuple[float, float] = (100.0, 500.0)
    """Least and largest yield strength s0 in MPa, uniform in between (Henkes et al. 2024)."""
    exponent: NotNegative = 10.0
    """Exponent n (Henkes et al. 2024)."""
    offset: NotNegative = 0.002
    """Plastic strain at the yield strength (Henkes et al. 2024)."""
    strain: NotNegative = 0.01
    """Strain at the end (Henkes et al. 2024)."""
    duration: Duration = 0.4
    """Length of a trial in s: at the default time step, 20 steps (Henkes et al. 2024)."""
    input_noise: Noise = 0.0
    """Standard deviation of the inputs' noise per step of 20 ms (none in Henkes et al. 2024), or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.05},
            "long": {"duration": 0.8},
            "noisy_long": {"input_noise": 0.05, "duration": 0.8},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)],
            "duration": [{"duration": length} for length in (0.4, 0.8, 1.2, 2.4)],
        }
    )

    score_name: ClassVar[str] = "relative error"
    criterion: ClassVar[float] = 0.03
    higher_is_better: ClassVar[bool] = False
    # Of the best constant output, with the defaults.
    chance: ClassVar[float] = 0.37

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strength[0] <= self.strength[1]:
            raise ValueError(f"strength = {self.strength}: needs 0 < least <= largest (MPa)")
        for name in ("modulus", "exponent", "offset", "strain"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} = 0: must be positive")

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        steps = self.steps(self.duration)
        share = np.arange(1, steps + 1) / steps
        strength = random.uniform(*self.strength, n_trials)
        stress = self.stress(self.strain * share, strength[:, None])
        (largest,) = self.stress(np.array([self.strain]), np.array([self.strength[1]]))
        shown = np.broadcast_arrays(share, strength[:, None] / self.strength[1])
        return self.dataset(
            np.stack(shown, -1),
            stress[..., None] / largest,
            np.broadcast_to((np.arange(steps) > 0)[:, None], (n_trials, steps, 1)),
            ["strain", "strength"],
            ["stress"],
            {"strength": strength},
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def stress(
        self, strain: Float[np.ndarray, "*#any"], strength: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "..."]:
        """The stress in MPa at strains of at least 0, of materials of these yield strengths in MPa, by Newton's method.

        Each of the two parts of the strain alone bounds the stress from above. From there the iteration falls to the
        solution, for an exponent of at least 1, since the strain is a convex function of the stress.
        """
        by_yield = strength * (strain / self.offset) ** (1 / self.exponent)
        found = np.minimum(self.modulus * strain, by_yield)
        for _ in range(60):
            part = self.offset * (found / strength) ** self.exponent
            slope = 1 / self.modulus + self.exponent * part / np.maximum(found, np.finfo(float).tiny)
            found = found - (found / self.modulus + part - strain) / slope
        return found

    def _score(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray | np.floating:
        targets, mask = trials["targets"].values.astype(float), trials["mask"].values
        relative = np.abs(outputs - targets) / np.where(mask > 0, targets, 1.0)
        return (relative * mask).sum((-3, -2, -1)) / mask.sum()

    def trial_errors(self, trials: xr.Dataset, outputs: np.ndarray) -> np.ndarray:
        """Mean of |output - stress| / stress of each trial."""
        targets, mask = trials["targets"].values.astype(float), trials["mask"].values
        relative = np.abs(outputs - targets) / np.where(mask > 0, targets, 1.0)
        return (relative * mask).sum((-2, -1)) / mask.sum((-2, -1))

    def static_inputs(self) -> dict[str, list[float]]:
        """No strain, and the mean strength."""
        return {"rest": [0.0, sum(self.strength) / 2 / self.strength[1]]}
