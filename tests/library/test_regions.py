"""Enumeration of the fixed points of piecewise-linear low-rank networks against all patterns of active units."""

import math
from itertools import product

import numpy as np
import pytest

from insd.dynamics.regions import all_fixed_points, regions

INFINITE = np.inf


def network(units, rank, seed, gain):
    random = np.random.default_rng(seed)
    left, right = random.standard_normal((units, rank)), random.standard_normal((units, rank))
    thresholds, currents = random.standard_normal(units), 0.3 * random.standard_normal(units)
    # Right vectors near the left ones make J nearly symmetric, and many points.
    return left, gain * (left + 0.3 * right) / units, thresholds, 0.7, currents


def by_brute_force(left, right, thresholds, decay, currents, pieces):
    """z of all patterns in which each unit is on one of the linear pieces of phi: slope, offset, and from where to
    where."""
    found, modulus = [], []
    for pattern in product(pieces, repeat=len(left)):
        slope, offset, low, high = np.array([piece(h) for piece, h in zip(pattern, thresholds, strict=True)]).T
        matrix = decay * np.eye(left.shape[1]) + (right.T * slope) @ left
        latent = np.linalg.solve(np.eye(left.shape[1]) - matrix, right.T @ (slope * currents + offset))
        current = left @ latent + currents
        if ((current > low) & (current <= high)).all():
            found.append(latent)
            modulus.append(abs(np.linalg.eigvals(matrix)).max())
    return np.array(found), np.array(modulus)


RELU = (lambda h: (0, 0, -INFINITE, h), lambda h: (1, -h, h, INFINITE))
CLIPPED = (lambda h: (0, 0, -INFINITE, -h), lambda h: (1, h, -h, 0), lambda h: (0, h, 0, INFINITE))


@pytest.mark.parametrize(
    ("nonlinearity", "units", "rank", "gain", "seed", "count"),
    [
        ("relu", 12, 1, 0.6, 4, 2),
        ("relu", 12, 2, 0.9, 2, 4),
        ("relu", 12, 2, 0.6, 0, 0),
        ("relu", 12, 3, 2.0, 3, 6),
        ("clipped_relu", 7, 1, 1.3, 2, 3),
        ("clipped_relu", 7, 2, 3.0, 5, 11),
    ],
)
def test_enumeration_finds_what_all_patterns_have(nonlinearity, units, rank, gain, seed, count):
    left, right, thresholds, decay, currents = network(units, rank, seed, gain)
    if nonlinearity == "clipped_relu":
        thresholds = abs(thresholds) + 0.2
    found = all_fixed_points(left, right, thresholds, decay, currents, nonlinearity)
    pieces = RELU if nonlinearity == "relu" else CLIPPED
    expected, modulus = by_brute_force(left, right, thresholds, decay, currents, pieces)
    assert len(found.latents) == len(expected) == count
    if not count:
        return
    ours, theirs = np.lexsort(found.latents.T), np.lexsort(expected.T)
    np.testing.assert_allclose(found.latents[ours], expected[theirs], atol=1e-9)
    np.testing.assert_allclose(abs(found.multipliers[:, 0])[ours], modulus[theirs], atol=1e-9)
    assert (found.stable[ours] == (modulus[theirs] < 1)).all()


def test_two_kinks_a_unit_are_parallel_hyperplanes():
    left, right, thresholds, decay, currents = network(40, 2, 0, 1.0)
    found = all_fixed_points(left, right, abs(thresholds), decay, currents, "clipped_relu")
    assert found.regions == 1 + 2 * 40 + 4 * math.comb(40, 2)


@pytest.mark.parametrize(("units", "rank"), [(12, 1), (12, 3), (100, 2), (40, 3)])
def test_there_are_as_many_regions_as_hyperplanes_in_general_position_have(units, rank):
    left, _, thresholds, _, _ = network(units, rank, 0, 1.0)
    found = regions(left, thresholds)
    assert len(found) == sum(math.comb(units, r) for r in range(rank + 1))
    # A point drawn at random is in one of them.
    points = 3 * np.random.default_rng(1).standard_normal((500, rank))
    known = {row.tobytes() for row in found}
    assert all(row.tobytes() in known for row in np.packbits(points @ left.T > thresholds, axis=1))


def test_counts_of_the_largest():
    """n = 100, R = 3: 166,751 regions from 161,700 corners."""
    left, _, thresholds, _, _ = network(100, 3, 0, 1.0)
    assert len(regions(left, thresholds)) == 166_751 == 5_051 + math.comb(100, 3)


def test_all_hyperplanes_in_one_corner():
    """Without thresholds, the 2n sectors of a plane are among the regions."""
    left = network(12, 2, 0, 0.6)[0]
    points = np.random.default_rng(1).standard_normal((500, 2))
    known = {row.tobytes() for row in regions(left, np.zeros(12))}
    assert all(row.tobytes() in known for row in np.packbits(points @ left.T > 0, axis=1))


def test_vectors_that_do_not_span_are_refused():
    left, right, thresholds, decay, currents = network(12, 2, 0, 0.6)
    left[:, 1] = 2 * left[:, 0]
    with pytest.raises(ValueError, match="span"):
        all_fixed_points(left, right, thresholds, decay, currents)
