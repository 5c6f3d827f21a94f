"""Ideal observers: what can be known of a trial from noisy inputs, for `Task.ideal_outputs`.

Each function gives the mean of a posterior. The noise is white and Gaussian with a known standard deviation, so that
the sum of the inputs over their steps is all that counts.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

LEAST_NOISE = 1e-3
"""Less noise per step than this counts as this: it leaves no doubt about anything that tasks show."""


def during_stimulus(trials: xr.Dataset, dt: float) -> Bool[np.ndarray, "trial time"]:
    """The steps from `stimulus_time` to `delay_time`, conditions of the trials in s; `dt` is their time step."""
    middle = trials["time"].values - dt / 2
    on, off = (trials[name].values[:, None] for name in ("stimulus_time", "delay_time"))
    return (middle > on) & (middle < off)


def mean_sign(total: Float[np.ndarray, "*any"], sd: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Of a pulse of +1 or -1, equally likely: tanh(S / s²), with the sum S of the inputs and their variance s²."""
    return np.tanh(total / np.maximum(sd, LEAST_NOISE) ** 2)


Moments = tuple[Float[np.ndarray, "trial"], Float[np.ndarray, "trial"]]
"""The means of the posteriors of a number's sign, and of the number."""


def of_levels(
    total: Float[np.ndarray, "trial"],
    steps: Int[np.ndarray, "trial"],
    sd: Float[np.ndarray, "trial"],
    levels: Sequence[float],
) -> Moments:
    """Of a constant that is one of some levels or their negatives, all equally likely, shown for so many steps."""
    values = np.asarray(levels, dtype=float)
    variance = np.maximum(sd, LEAST_NOISE)[:, None] ** 2
    evidence = values * total[:, None] / variance
    # The likelihoods of both signs, without what they share; the largest exponent is 0.
    width = steps[:, None] * values**2 / (2 * variance)
    largest = (np.abs(evidence) - width).max(1, keepdims=True)
    positive, negative = (np.exp(sign * evidence - width - largest) for sign in (1, -1))
    whole, difference = (positive + negative).sum(1), positive - negative
    return difference.sum(1) / whole, (difference * values).sum(1) / whole


def of_uniform(
    total: Float[np.ndarray, "trial"],
    steps: Int[np.ndarray, "trial"],
    sd: Float[np.ndarray, "trial"],
    largest: float,
) -> Moments:
    """Of a constant that is uniform in [-largest, largest]: a normal distribution that is cut off there."""
    from scipy.special import log_ndtr

    # Of what is not shown at all, the prior remains, with both means 0.
    shown, steps = steps > 0, np.maximum(steps, 1)
    mean, spread = total / steps, np.maximum(sd, LEAST_NOISE) / np.sqrt(steps)

    def log_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The logarithm of the normal distribution's mass between two numbers, which may be far in a tail."""
        flip = low > 0
        low, high = np.where(flip, -high, low), np.where(flip, -low, high)
        upper, lower = log_ndtr(high), log_ndtr(low)
        return upper + np.log1p(-np.exp(np.minimum(lower - upper, -np.finfo(float).eps)))

    zero, low, high = (end - mean / spread for end in (0.0, -largest / spread, largest / spread))
    negative, positive, whole = log_mass(low, zero), log_mass(zero, high), log_mass(low, high)
    density = [np.exp(-np.square(end) / 2 - whole) / np.sqrt(2 * np.pi) for end in (low, high)]
    sign, value = np.exp(positive - whole) - np.exp(negative - whole), mean + spread * (density[0] - density[1])
    return sign * shown, value * shown


def mean_direction(total: Float[np.ndarray, "trial 2"], sd: Float[np.ndarray, "trial"]) -> Float[np.ndarray, "trial 2"]:
    """Of a direction, all equally likely, shown as its (cos, sin).

    With the sum R of the inputs and their variance s², the posterior of the angle is the von Mises distribution around
    the direction of R with the concentration k = |R| / s². Its mean is that direction times I1(k) / I0(k), with the
    modified Bessel functions I0 and I1.
    """
    from scipy.special import i0e, i1e

    length = np.linalg.norm(total, axis=1)
    concentration = length / np.maximum(sd, LEAST_NOISE) ** 2
    shrunk = i1e(concentration) / i0e(concentration)
    return total * (shrunk / np.maximum(length, np.finfo(float).tiny))[:, None]
