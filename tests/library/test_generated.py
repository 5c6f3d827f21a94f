"""Distances of generated from held-out activity, against closed forms."""

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from insd.dynamics.generated import spectral_distance, state_space_divergence

RANDOM = np.random.default_rng(0)


def test_divergence_of_gaussians():
    """Of normal states, each density is nearly a Gaussian of variance 1 + width^2."""
    states, others = RANDOM.standard_normal((800, 2)), RANDOM.standard_normal((800, 2)) + np.array([1.0, 0.0])
    assert state_space_divergence(states, states) == 0
    variance = 1 + 0.3**2
    found = state_space_divergence(states, others, draws=2000)
    # The difference of log-densities has this mean, and the root of twice as much for its standard deviation.
    expected = 1 / (2 * variance)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(2 * expected / 2000) + 0.08)
    scaled = state_space_divergence(100 * states, 100 * others, draws=2000)
    np.testing.assert_allclose(scaled, found)
    # One state each: two Gaussians at a distance of d widths, d^2 / 2.
    pair = np.array([[1.0], [-1.0]])
    far = state_space_divergence(pair, pair + 20, width=0.1, draws=2000)
    # The scale of `pair` is 1; states at -1 are 200 widths from the nearest other, those at 1 180.
    np.testing.assert_allclose(far, (200**2 + 180**2) / 4, rtol=0.02)


def test_distance_of_spectra():
    time = np.arange(500) / 500
    phases = RANDOM.uniform(0, 6, (8, 1))
    slow, fast = (np.sin(2 * np.pi * frequency * time + phases)[:, :, None] for frequency in (10, 40))
    assert spectral_distance(slow, slow, 0.0) == 0
    np.testing.assert_allclose(spectral_distance(slow, fast, 0.0), 1, atol=1e-6)
    assert spectral_distance(slow, 3 * slow[::-1] + 5, 0.0) < 1e-6
    # By smoothing, neighbouring frequencies come near each other.
    beside = np.sin(2 * np.pi * 12 * time + phases)[:, :, None]
    assert (
        spectral_distance(slow, beside, 2.0) < spectral_distance(slow, fast, 2.0) < spectral_distance(slow, beside, 0.0)
    )


def test_distance_of_spectra_is_that_of_an_independent_periodogram():
    activity, others = RANDOM.standard_normal((6, 64, 2)), RANDOM.standard_normal((4, 64, 2)).cumsum(1)
    expected = []
    for channel in range(2):
        shares = []
        for trials in (activity, others):
            scored = scipy.stats.zscore(trials[:, :, channel], axis=1)
            power = scipy.signal.periodogram(scored, scaling="spectrum")[1][:, 1:]
            power[:, -1] *= 2  # the highest frequency has no twin
            shares.append(power.mean(0) / power.mean(0).sum())
        expected.append(np.linalg.norm(np.sqrt(shares[0]) - np.sqrt(shares[1])) / np.sqrt(2))
    np.testing.assert_allclose(spectral_distance(activity, others, 0.0), np.mean(expected))


def test_channels_that_do_not_vary_are_refused():
    still = np.zeros((3, 10, 1))
    with pytest.raises(ValueError, match="does not vary"):
        spectral_distance(still, still)
    with pytest.raises(ValueError, match="channel 0"):
        state_space_divergence(still[0], still[0])
