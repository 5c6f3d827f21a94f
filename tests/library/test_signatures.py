"""Signatures of paths against iterated sums, and what the measure of them sees."""

import itertools

import numpy as np
import pytest

from insd.measures.base import Activity
from insd.measures.signature import Signature
from insd.signatures import signature


def iterated(path, word):
    """One entry by its definition: the iterated integral of a path that is linear between points, on a fine grid."""
    fine = np.stack([np.interp(np.linspace(0, len(path) - 1, 6001), np.arange(len(path)), part) for part in path.T], 1)
    increments, value = np.diff(fine, axis=0), np.ones(len(fine))
    for letter in word:
        # Trapezoids of the integral so far.
        value = np.concatenate([[0.0], ((value[1:] + value[:-1]) / 2 * increments[:, letter]).cumsum()])
    return value[-1]


def test_levels_are_iterated_integrals():
    paths = np.random.default_rng(0).standard_normal((2, 6, 2)).cumsum(1)
    levels = signature(paths, 3)
    for trial, path in enumerate(paths):
        for level, found in enumerate(levels, 1):
            words = itertools.product(range(2), repeat=level)
            expected = [iterated(path, word) for word in words]
            np.testing.assert_allclose(found[trial], expected, atol=1e-4)


def test_shuffle_products_and_ends_of_trials():
    paths = np.random.default_rng(1).standard_normal((3, 9, 4))
    first, second, third = signature(paths)
    # Products of entries are sums of entries: two letters, and a letter with a word of two.
    pairs = second.reshape(3, 4, 4)
    np.testing.assert_allclose(first[:, :, None] * first[:, None], pairs + pairs.swapaxes(1, 2), atol=1e-12)
    words = third.reshape(3, 4, 4, 4)
    shuffled = words + np.einsum("tiaj->taij", words) + np.einsum("tija->taij", words)
    np.testing.assert_allclose(np.einsum("ta,tij->taij", first, pairs), np.einsum("taij->taij", shuffled), atol=1e-12)
    padded = np.concatenate([paths, np.full((3, 2, 4), np.nan)], 1)
    for whole, ended in zip(signature(paths), signature(padded), strict=True):
        np.testing.assert_array_equal(whole, ended)


def test_the_measure_sees_in_which_order_directions_follow():
    # Every trial goes along both directions: in some first along one, in the others first along the other.
    random, times = np.random.default_rng(2), 24
    early, late = (np.clip(np.linspace(start, start + 2, times), 0, 1) for start in (0, -1))

    def rates(first):
        courses = np.where(first[:, None, None], np.stack([early, late], 1), np.stack([late, early], 1))
        return courses + 0.05 * random.standard_normal((40, 1, 2)) * courses

    measure, orders = Signature(), np.repeat([[True, False]], 20, 0).reshape(-1)

    def value(a, b):
        return measure.compare(measure.prepare(Activity(a)), measure.prepare(Activity(b)))

    in_order = rates(orders)
    turned = in_order @ np.linalg.qr(random.standard_normal((2, 2)))[0]
    assert value(in_order, turned) == pytest.approx(1.0, abs=1e-5)
    assert value(in_order, rates(orders)) > 0.8
    assert abs(value(in_order, rates(random.permutation(orders)))) < 0.2
    assert np.isnan(value(in_order[:3], in_order[:3]))
    # Trials that end earlier: what follows their end counts nowhere.
    ended = np.where(np.arange(times)[:, None] >= np.where(np.arange(40) % 2, 24, 16)[:, None, None], np.nan, in_order)
    moved = np.concatenate([ended, np.full((40, 4, 2), np.nan)], 1)
    assert value(ended, moved) == pytest.approx(1.0, abs=1e-5)
