"""How far activity that a fitted network generates is from activity that it has not seen.

Single trials of a noisy or chaotic system cannot be predicted step by step for long. Compared are therefore where its
states lie and which frequencies it has. Both scores are 0 for equal activity.

Source: Pals et al. (2024), after Brenner et al. (2022), "Tractable dendritic RNNs for reconstructing nonlinear
dynamical systems"; smoothing and scaling as stated here are ours.
"""

import numpy as np
import scipy.ndimage
from jaxtyping import Float
from scipy.special import logsumexp


def state_space_divergence(
    held_out: Float[np.ndarray, "state channel"],
    generated: Float[np.ndarray, "generated_state channel"],
    width: float = 0.3,
    draws: int = 1000,
    seed: int = 0,
) -> float:
    """D_stsp: the Kullback-Leibler divergence of the density of held-out states from that of generated ones, in nats.

    Densities are mixtures of a Gaussian around each state, whose standard deviation is `width` times that of the
    held-out states, channel by channel. The divergence is the mean over `draws` from the first density of the
    difference of both logarithms. It takes memory for as many numbers as `draws` times states. Raises ValueError where
    a held-out channel does not vary.
    """
    scales = held_out.std(0)
    if not scales.all():
        raise ValueError(f"channel {int(scales.argmin())} of the held-out states does not vary: leave it out")
    random = np.random.default_rng(seed)
    centres, others = held_out / (width * scales), generated / (width * scales)
    drawn = centres[random.integers(len(centres), size=draws)] + random.standard_normal((draws, centres.shape[1]))
    return float(np.mean(_log_density(drawn, centres) - _log_density(drawn, others)))


def _log_density(
    at: Float[np.ndarray, "draw channel"], centres: Float[np.ndarray, "state channel"]
) -> Float[np.ndarray, "draw"]:
    """Of a mixture of unit Gaussians, without the constant that all of as many channels have."""
    squares = np.square(at).sum(1)[:, None] + np.square(centres).sum(1) - 2 * at @ centres.T
    return logsumexp(-squares / 2, axis=1) - np.log(len(centres))


def spectral_distance(
    held_out: Float[np.ndarray, "trial time channel"],
    generated: Float[np.ndarray, "generated_trial time channel"],
    smoothing: float = 20.0,
) -> float:
    """D_H: the Hellinger distance of power spectra, from 0 to 1, the mean over channels.

    Spectra are of channels z-scored within each trial, are averaged over trials, smoothed by a Gaussian with a standard
    deviation of `smoothing` frequencies, and add up to 1. The distance of two is ``sqrt(1 - sum sqrt(p q))``. The
    default is for series of a thousand steps and more; trials of a hundred have 50 frequencies, and need less. Raises
    ValueError where a channel does not vary.
    """
    overlap = np.sqrt(_spectra(held_out, smoothing) * _spectra(generated, smoothing)).sum(0)
    return float(np.sqrt(np.clip(1 - overlap, 0, None)).mean())


def _spectra(
    activity: Float[np.ndarray, "trial time channel"], smoothing: float
) -> Float[np.ndarray, "frequency channel"]:
    spread = activity.std(1, keepdims=True)
    if not spread.any((0, 1)).all():
        raise ValueError("a channel does not vary in any trial: leave it out")
    scored = (activity - activity.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
    power = np.square(np.abs(np.fft.rfft(scored, axis=1)))[:, 1:].mean(0)
    if smoothing > 0:
        power = scipy.ndimage.gaussian_filter1d(power, smoothing, axis=0)
    return power / power.sum(0)
