"""Path integration: report the position, from where it was at the start and the velocity since."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.tasks.base import Duration, GridField, Noise, NotNegative, RegimesField, Task
from insd.tasks.variables import Variable

AXES = ("x", "y", "z")
"""The names of the coordinates; there are as many as dimensions."""


@dataclass(frozen=True, kw_only=True)
class PathIntegration(Task):
    """Path integration in a box of 2 or 3 dimensions after Huang et al. (2025, arXiv 2410.03972).

    Inputs: the position at which the trial begins, as a share of `size`, while nothing moves (ours; Huang et al. begin
    at a random position, and do not say how networks know it); then the velocity, in units of `speed`, see `velocity`.
    All have white noise. Outputs: the position, in [-size, size] along each axis, scored from the first movement on.

    The velocity is an Ornstein-Uhlenbeck process along each axis, which the walls reflect (ours).

    Score: share of the targets' variance that the outputs explain. Huang et al. train until the mean squared error is
    .05, which is .006 of the variance of positions that are uniform in their box; the criterion here is .9 (ours).
    """

    dimensions: Literal[2, 3] = 2
    """Number of dimensions (both in Huang et al. 2025)."""
    size: NotNegative = 5.0
    """Distance of each wall from the centre (Huang et al. 2025, without a unit)."""
    velocity: Literal["polar", "cartesian"] = "polar"
    """How the velocity is shown. `polar`: by its direction, the azimuth as a share of pi and in 3 dimensions the
    elevation as a share of pi / 2, and by its speed (direction and speed: Huang et al. 2025). `cartesian`: along each
    axis (ours), which leaves nothing but the sum to compute."""
    speed: NotNegative = 4.0
    """Standard deviation of the velocity along each axis, per s (ours)."""
    persistence: Duration = 0.5
    """Correlation time of the velocity in s (ours)."""
    start: Duration = 0.1
    """Time for which the position at the beginning is shown, in s (ours)."""
    duration: Duration = 2.0
    """Length of a trial in s (ours)."""
    input_noise: Noise = 0.1
    """Standard deviation of the inputs' noise per step of 20 ms, in units of the inputs (ours), or a span of it."""
    regimes: RegimesField = field(
        default_factory=lambda: {
            "noisy": {"input_noise": 0.4},
            "long": {"duration": 4.0},
            "noisy_long": {"input_noise": 0.4, "duration": 4.0},
        }
    )
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{"input_noise": sd} for sd in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)],
            "duration": [{"duration": length} for length in (2.0, 4.0, 6.0, 12.0)],
        }
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("size", "speed"):
            if not getattr(self, name):
                raise ValueError(f"{name} = 0: must be positive")
        if not 0 < self.steps(self.start) < self.steps(self.duration):
            raise ValueError(
                f"start = {self.start} s: needs at least one time step, dt = {self.dt} s, and to end before the trial, "
                f"duration = {self.duration} s"
            )

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        still = self.steps(self.start)
        moving = self.steps(self.duration) - still
        begins, path = self._walk(n_trials, moving, random)
        positions = np.concatenate([np.repeat(begins[:, None], still, axis=1), path], axis=1)
        velocity = np.diff(positions, axis=1, prepend=begins[:, None]) / self.dt
        moves = np.arange(still + moving)[:, None] >= still
        names = list(AXES[: self.dimensions])
        shown = ["azimuth", *["elevation"] * (self.dimensions - 2), "speed"]
        return self.dataset(
            np.concatenate([~moves * begins[:, None] / self.size, self._shown(velocity)], axis=-1),
            positions,
            np.broadcast_to(moves, positions.shape),
            [f"start_{name}" for name in names]
            + (shown if self.velocity == "polar" else [f"velocity_{name}" for name in names]),
            names,
            {f"start_{name}": begins[:, index] for index, name in enumerate(names)},
            noise=self.draw_noise(self.input_noise, n_trials, random),
            random=random,
        )

    def _walk(
        self, n_trials: int, steps: int, random: np.random.Generator
    ) -> tuple[Float[np.ndarray, "trial axis"], Float[np.ndarray, "trial time axis"]]:
        """Where trials begin, uniform in the box, and the position after each step."""
        shape = (n_trials, self.dimensions)
        begins = position = random.uniform(-self.size, self.size, shape)
        velocity = self.speed * random.standard_normal(shape)
        kept = np.exp(-self.dt / self.persistence) if self.persistence else 0.0
        kicks = self.speed * np.sqrt(1 - kept**2) * random.standard_normal((steps, *shape))
        path = np.empty((steps, *shape))
        for step in range(steps):
            velocity = kept * velocity + kicks[step]
            velocity = np.where(np.abs(position + velocity * self.dt) > self.size, -velocity, velocity)
            # A step that is longer than the box ends at the wall.
            position = np.clip(position + velocity * self.dt, -self.size, self.size)
            path[step] = position
        return begins, path.swapaxes(0, 1)

    def _shown(self, velocity: Float[np.ndarray, "trial time axis"]) -> Float[np.ndarray, "trial time input"]:
        """The velocity as inputs show it."""
        if self.velocity == "cartesian":
            return velocity / self.speed
        azimuth = np.arctan2(velocity[..., 1], velocity[..., 0]) / np.pi
        flat, speed = (np.linalg.norm(velocity[..., :count], axis=-1) for count in (2, self.dimensions))
        elevation = [np.arctan2(velocity[..., 2], flat) / (np.pi / 2)] if self.dimensions == 3 else []
        return np.stack([azimuth, *elevation, speed / self.speed], axis=-1)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The position at each time, along each axis."""
        targets = trials["targets"].astype(np.float64)
        return {str(name): Variable(targets.sel(output=name).values, "value") for name in trials["output"].values}

    def static_inputs(self) -> dict[str, list[float]]:
        """At rest: neither a start is shown nor a velocity."""
        return {"rest": [0.0] * 2 * self.dimensions}
