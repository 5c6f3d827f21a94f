"""Limit cycles: whether an orbit of the Euler map is on a closed curve, and whether other runs are on the same one."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from jaxtyping import Bool, Float
from torch import Tensor

HARMONICS = 40
"""Harmonics of the Fourier series that describes a limit cycle."""
CYCLE_ERROR = 1e-3
"""Share of a run's variance that the series of a limit cycle may leave unexplained: tori of trained networks left 0.01,
and an amplitude that changes by 3 % within 5 s leaves as much as this."""
LEFT_OUT = 1e-10
"""Share of a run's variance that may lie outside the axes along which a series is fitted to it."""
CYCLE_DISTANCE = 0.08
"""Distance from a cycle's curve, as a share of its amplitude, within which a run is on it. Runs on the same cycle of a
trained network were within 0.03 of its curve, distinct cycles at least 0.13 apart."""
ARTEFACT_PERIOD = 4.5
"""Cycles of fewer time steps are artefacts of the step: those of 2 to 4."""


@dataclass(frozen=True)
class Cycle:
    """A limit cycle: a closed curve of states, on which the Euler map moves by a constant share of the period."""

    state: Float[Tensor, "unit"]
    """One state on it."""
    curve: Float[Tensor, "phase unit"]
    period: float
    """Period in time steps."""
    amplitude: float
    """Root mean square distance of the states from their mean."""

    @classmethod
    def of_orbit(cls, orbit: Float[Tensor, "time unit"]) -> "Cycle | None":
        """The cycle that an orbit is on, if it is on one (see `find_cycle`)."""
        found = find_cycle(orbit.double().numpy())
        if found is None:
            return None
        curve = torch.from_numpy(found[1]).float()
        amplitude = float((curve - curve.mean(0)).square().sum(1).mean().sqrt())
        return cls(orbit[-1], curve, found[0], amplitude)

    def holds(self, orbit: Float[Tensor, "time run unit"]) -> Bool[Tensor, "run"]:
        """Which runs are on the cycle at all times given: within `CYCLE_DISTANCE` of the curve."""
        # Most are off it at the first time already.
        held = self._is_near(orbit[:1])
        held[held.clone()] = self._is_near(orbit[:, held])
        return held

    def _is_near(self, orbit: Float[Tensor, "time run unit"]) -> Bool[Tensor, "run"]:
        distances = torch.cdist(orbit.flatten(0, 1), self.curve).amin(1).view(orbit.shape[:2])
        return (distances < CYCLE_DISTANCE * self.amplitude).all(0)


def find_cycle(orbit: Float[np.ndarray, "time unit"]) -> tuple[float, Float[np.ndarray, "phase unit"]] | None:
    """Period in time steps and closed curve of a periodic orbit; None for any other.

    A step of the Euler map does not divide the period, so the orbit visits a closed curve without ever returning to
    where it was. It is on one if a Fourier series in a single frequency, fitted to the first half, predicts the second
    half up to `CYCLE_ERROR` of the variance; chaotic orbits, tori and orbits that still converge do not pass. The
    frequency is that of the strongest line of the spectrum, or a half to a quarter of it, refined to the best fit.
    The period must fit into half of the orbit.
    """
    times, half = np.arange(len(orbit)), len(orbit) // 2
    roughness = np.square(np.concatenate([[1], *2 * [np.arange(1, HARMONICS + 1)]]))
    centred = orbit - orbit.mean(0)
    variance = np.square(centred).sum()
    # Along its own axes an orbit has far fewer coordinates than units.
    along, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, along.cumsum() > LEFT_OUT * variance]
    centred = centred @ axes

    def series(frequency: float, at: np.ndarray) -> np.ndarray:
        turn = np.exp(2j * np.pi * frequency * at)[:, None]
        harmonics = np.repeat(turn, HARMONICS, axis=1).cumprod(1)
        return np.concatenate([np.ones((len(at), 1)), harmonics.real, harmonics.imag], axis=1)

    def fit(design: np.ndarray) -> np.ndarray:
        length = len(design)
        normal = design.T @ design
        # Of harmonics that coincide at all times of an orbit, or nearly so, the lowest explain it: the curve is smooth.
        normal[np.diag_indices_from(normal)] += 1e-6 * length * roughness
        return scipy.linalg.solve(normal, design.T @ centred[:length], assume_a="pos", check_finite=False)

    def error(frequency: float, length: int) -> float:
        design = series(frequency, times)
        return float(np.square(centred - design @ fit(design[:length])).sum() / variance)

    windowed = np.hanning(len(orbit))[:, None] * centred

    def power(frequency: float) -> float:
        return float(np.square(np.abs(np.exp(-2j * np.pi * frequency * times) @ windowed)).sum())

    spectrum = np.square(np.abs(np.fft.rfft(windowed, axis=0))).sum(1)
    # The first line next to zero would not fit twice into the orbit.
    line = 2 + spectrum[2:].argmax()
    strongest = scipy.optimize.minimize_scalar(
        lambda frequency: -power(frequency),
        bounds=((line - 1) / len(orbit), (line + 1) / len(orbit)),
        options={"xatol": 1e-3 / len(orbit)},
    ).x
    for divisor in (1, 2, 3, 4):
        # The window keeps lines apart, so that the strongest is known to a small part of a line's width. Farther away,
        # where the frequency is nearly one over a whole number of steps, lies its mirror image, which fits as well.
        guess, width = strongest / divisor, 0.02 / len(orbit) / divisor
        if guess * half < 1:
            return None
        if error(guess, len(orbit)) > 50 * CYCLE_ERROR:
            continue
        best = scipy.optimize.minimize_scalar(
            error, bounds=(guess - width, guess + width), args=(len(orbit),), options={"xatol": 1e-3 * width}
        )
        if best.fun < CYCLE_ERROR and error(best.x, half) < CYCLE_ERROR:
            phases = np.arange(256) / 256 / best.x
            curve = series(best.x, phases) @ fit(series(best.x, times)) @ axes.T
            return float(1 / best.x), curve + orbit.mean(0)
    return None
