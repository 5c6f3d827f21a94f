"""Signatures of paths against iterated sums, and what the measure and the decoder of them see."""

import itertools
import math

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from insd.evaluation.signature_decoding import decode_with_signatures
from insd.measures.base import Activity
from insd.measures.signature import Signature
from insd.signatures import signature
from insd.tasks.variables import Variable


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


def test_the_signature_of_a_straight_path_is_that_of_an_exponential():
    """Level n is d^n / n!, whatever the steps; of two paths in a row, levels are products (Chen's identity)."""
    step = np.array([0.7, -1.2, 2.0])
    for level, found in enumerate(signature(np.array([0.0, 0.1, 0.7, 1.0])[:, None] * step, 4), 1):
        words = itertools.product(step, repeat=level)
        np.testing.assert_allclose(found, [np.prod(word) / math.factorial(level) for word in words], atol=1e-12)
    whole = np.random.default_rng(3).standard_normal((8, 2)).cumsum(0)
    one, two = ([np.ones(1), *signature(part)] for part in (whole[:5], whole[4:]))
    for level, found in enumerate(signature(whole), 1):
        products = [np.kron(one[order], two[level - order]) for order in range(level + 1)]
        np.testing.assert_allclose(found, np.sum(products, 0), atol=1e-12)


def walks(count=120, steps=15, units=4):
    """Rates of random walks that begin at their mean, with the area of the first two, and whether it is positive."""
    random = np.random.default_rng(4)
    rates = random.standard_normal((count, steps, units)).cumsum(1) * [3.0, 2.0, 0.1, 0.0]
    path = np.pad(rates, ((0, 0), (1, 0), (0, 0)))
    d = np.diff(path, axis=1)
    area = (path[:, :-1, 0] * d[..., 1] - path[:, :-1, 1] * d[..., 0]).sum(1) / 2
    return rates, {
        "area": Variable.constant(area, steps, "value"),
        "sign": Variable.constant(np.sign(area), steps, "sign"),
        "end": Variable(rates[..., 0], "value"),
    }


def test_decoding_by_signatures_is_a_regression_on_iterated_sums():
    """Against words that are summed step by step, and scikit-learn."""
    rates, variables = walks(60, 12)
    time, folds = 7, 3
    centred = rates - rates.reshape(-1, 4).mean(0)
    _, _, axes = np.linalg.svd(centred.reshape(-1, 4), full_matrices=False)
    scaled = centred @ axes[:2].T / np.sqrt(np.square(centred).sum(-1).mean())
    features = []
    for course in scaled[:, : time + 1]:
        path = np.column_stack([np.arange(time + 2) / 12, np.concatenate([np.zeros((1, 2)), course])])
        words = {word: 0.0 for level in (1, 2) for word in itertools.product(range(3), repeat=level)}
        for d in np.diff(path, axis=0):
            for a, b in itertools.product(range(3), repeat=2):
                words[a, b] += words[a,] * d[b] + d[a] * d[b] / 2
            for a in range(3):
                words[a,] += d[a]
        features.append(list(words.values()))
    x, y = np.array(features), variables["area"].values[:, time]
    expected = []
    for train, test in KFold(folds, shuffle=True, random_state=5).split(x):
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-6, 2, 9) * len(train)))
        errors = y[test] - model.fit(x[train], y[train]).predict(x[test])
        expected.append(1 - np.square(errors).sum() / np.square(y[test] - y[test].mean()).sum())
    found = decode_with_signatures(rates, variables, np.array([time]), folds, 5, components=2, depth=2)
    assert found.shape == (3, 2, 1)
    assert found[0, 1, 0] == pytest.approx(np.mean(expected), abs=1e-9)


def test_the_course_tells_what_the_state_does_not():
    rates, variables = walks()
    # A rotation of the units, and steps after the end of all trials.
    rotated = rates @ np.linalg.qr(np.random.default_rng(6).standard_normal((4, 4)))[0]
    padded = np.concatenate([rotated, np.full((120, 3, 4), np.nan)], 1)
    longer = {name: Variable(np.pad(one.values, ((0, 0), (0, 3))), one.kind) for name, one in variables.items()}
    for own, known in ((rates, variables), (padded, longer)):
        found = decode_with_signatures(own, known, np.array([14]), 4, 7)[..., 0]
        (state, course), (sign, by_course), (end, also) = found
        assert min(course, by_course, end, also) > 0.8 and state < 0.3 and sign < 0.65
    few = decode_with_signatures(rates[:10], {"end": variables["end"]}, np.array([3]), 4, 7)
    assert np.isnan(few).all()
