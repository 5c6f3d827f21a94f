"""The distance of recurrent weights against planted permutations, all permutations, and swaps one by one."""

from itertools import combinations, permutations

import numpy as np
import pytest
import xarray as xr

from insd.evaluation.weight_distance import distances, match, swap_gains, swapped, weight_distances
from insd.kept import Kept
from insd.members import Member


def trained_like(units, seed):
    """Noise of gain 1 and three directions that stand out, as training makes them."""
    random = np.random.default_rng(seed)
    low_rank = sum(np.outer(*random.standard_normal((2, units))) for _ in range(3))
    return random.standard_normal((units, units)) / np.sqrt(units) + 1.5 * low_rank / units


@pytest.mark.parametrize("units", [16, 64, 128])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_planted_permutations_are_recovered(units, noise):
    random = np.random.default_rng(units)
    weights, hidden = trained_like(units, units), random.permutation(units)
    moved = weights + noise * random.standard_normal(weights.shape) / np.sqrt(units)
    found = match(weights, moved[np.ix_(hidden, hidden)], 3, 0)
    np.testing.assert_array_equal(found.units, np.argsort(hidden))
    of_pair = distances(weights, moved[np.ix_(hidden, hidden)], 3, 0)
    assert of_pair["distance"] == pytest.approx(np.linalg.norm(weights - moved), abs=1e-12)
    assert of_pair["distance_per_weight"] == pytest.approx(np.linalg.norm(weights - moved) / units**2, abs=1e-12)
    assert of_pair["unmatched_distance"] > 5 * of_pair["distance"]


def test_the_distance_of_few_units_is_the_least_of_all_permutations():
    for seed in range(4):
        first, second = np.random.default_rng(seed).standard_normal((2, 6, 6))
        least = min(np.linalg.norm(first - second[np.ix_(order, order)]) for order in permutations(range(6)))
        found = distances(first, second, 30, 0)
        assert found["distance"] == pytest.approx(least)
        norms = np.square(first).sum() + np.square(second).sum()
        assert found["relative_distance"] == pytest.approx(least / np.sqrt(norms))


def test_swaps_end_where_none_helps():
    first, second = np.random.default_rng(0).standard_normal((2, 9, 9))

    def agreement(units):
        return (first * second[np.ix_(units, units)]).sum()

    def gain_of(units, pair):
        changed = units.copy()
        changed[list(pair)] = changed[list(pair[::-1])]
        return agreement(changed) - agreement(units)

    start = np.arange(9)
    gains = swap_gains(first, second)
    for pair in combinations(range(9), 2):
        assert gains[pair] == pytest.approx(gain_of(start, pair))
    end = swapped(first, second, start)
    assert agreement(end) > agreement(start)
    assert max(gain_of(end, pair) for pair in combinations(range(9), 2)) < 1e-9


def member(population, seed, number, weights):
    network = xr.Dataset({"recurrent_weights": (("seed", "unit", "unit_from"), weights[None])}, {"seed": [seed]})
    return Member.of_datasets(population, number, "standard", network, xr.Dataset())[0]


def test_pairs_of_other_groups_and_sizes_have_no_distance():
    networks = [member("p", seed, 0, trained_like(8, seed)) for seed in range(2)]
    networks += [member("p", 2, 0, trained_like(6, 2)), member("p", 0, 1, trained_like(8, 3))]
    kept = Kept()
    within = weight_distances(networks, 4, True, 0, kept)
    assert len(kept.pairs) == 3
    known = np.zeros((4, 4), bool)
    known[[0, 1], [1, 0]] = known[range(4), range(4)] = True
    for values in within.values():
        np.testing.assert_array_equal(np.isfinite(values), known)
        np.testing.assert_array_equal(values, values.T)
    every = weight_distances(networks, 4, False, 0, kept)
    assert every["distance"].sel(network="p/0/1", network_to=["p/0/0", "p/1/0"]).notnull().all()
    assert every["distance"].sel(network="p/2/0").notnull().sum() == 1
    # What was kept of more pairs than are wanted is left out.
    xr.testing.assert_identical(weight_distances(networks, 4, True, 0, kept), within)
