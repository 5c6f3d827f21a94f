"""Equilibria ``a = clip((W a + h) / V, 0, 1)``: how many there are, and the rates of spiking networks of the weights.

Source: Xiao et al. (2021, arXiv 2109.14247) for the spiking networks and their rates.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

SAME = 1e-6
"""Largest difference in any rate between points that count as one."""
ZERO = 1e-10
"""Points that the map moves by less than this, in any rate, are fixed."""
MOST_STEPS = 100
"""Most steps from each start."""
BLOCK = 64
"""Starts whose Jacobians are held at once."""


def fixed_points(
    weights: Float[np.ndarray, "unit unit_from"],
    drive: Float[np.ndarray, "unit"],
    threshold: float,
    starts: Float[np.ndarray, "start unit"],
) -> tuple[Float[np.ndarray, "point unit"], float]:
    """The distinct fixed points of the map that starts lead to, stable or not, and the share of starts that reach none.

    Sought by Newton's method, which is exact as soon as the right units are silent and saturated.
    """
    ends = np.concatenate([_newton(weights, drive, threshold, part) for part in _parts(starts)])
    moved = np.abs(_mapped(weights, drive, threshold, ends) - ends).max(1)
    reached = ends[moved < ZERO]
    points = []
    remaining = reached
    while len(remaining):
        points.append(remaining[0])
        remaining = remaining[np.abs(remaining - points[-1]).max(1) > SAME]
    return np.array(points).reshape(len(points), len(drive)), 1 - len(reached) / len(starts)


def _parts(starts: np.ndarray) -> list[np.ndarray]:
    return [starts[begin : begin + BLOCK] for begin in range(0, len(starts), BLOCK)]


def _mapped(weights: np.ndarray, drive: np.ndarray, threshold: float, rates: np.ndarray) -> np.ndarray:
    return np.clip((rates @ weights.T + drive) / threshold, 0, 1)


def _newton(weights: np.ndarray, drive: np.ndarray, threshold: float, rates: np.ndarray) -> np.ndarray:
    identity = np.eye(len(drive))
    for _ in range(MOST_STEPS):
        step = _mapped(weights, drive, threshold, rates) - rates
        if np.abs(step).max() < ZERO / 100:
            break
        current = (rates @ weights.T + drive) / threshold
        slopes = ((current > 0) & (current < 1)) / threshold
        rates = rates + np.linalg.solve(identity - slopes[..., None] * weights, step[..., None])[..., 0]
    return rates


def spiking_rates(
    weights: Float[np.ndarray, "unit unit_from"],
    drive: Float[np.ndarray, "sample unit"],
    threshold: float,
    steps: Sequence[int],
    leak: float = 1.0,
) -> Float[np.ndarray, "step sample unit"]:
    """Rates of the spiking network of some weights under a constant drive h, after so many steps from rest.

    In each step, potentials u and spikes s change as

        u <- u + W s + h,  s <- 1 where u >= V, else 0,  u <- leak (u - V s),

    by integrate-and-fire units without a leak (1), and by leaky ones with a smaller one. Rates are the means of all
    spikes so far, weighted by the leak to the power of the steps since: ``sum leak^(T - t) s_t / sum leak^(T - t)``.

    The rates a of T steps solve ``a = (W a' + h - p / S) / V``, with the rates a' of one step earlier, the potentials p
    that are left, and ``S = sum leak^(T - t)``. Without a leak S is T, and a comes as close to the equilibrium as 1/T;
    with one, S is at most ``1 / (1 - leak)``, and a difference remains.
    """
    potential, spikes = np.zeros(drive.shape), np.zeros(drive.shape)
    total, norm, found = np.zeros(drive.shape), 0.0, {}
    for step in range(1, max(steps) + 1):
        potential += spikes @ weights.T + drive
        spikes = (potential >= threshold).astype(float)
        potential = leak * (potential - threshold * spikes)
        total, norm = leak * total + spikes, leak * norm + 1
        if step in steps:
            found[step] = total / norm
    return np.stack([found[step] for step in steps])
