"""Dynamical similarity of trained networks, by the default settings, against the published tool and a bound."""

import itertools

import numpy as np
import pytest
import torch
from known import GRID
from trained import evaluation_trials, oracle, trained_network

from insd.activity import simulate_trials
from insd.dynamics.operators import fit_operator
from insd.dynamics.settings import DynamicalSimilarity
from insd.dynamics.similarity import dynamical_similarity

SETTINGS = DynamicalSimilarity()
SEEDS = 3


@pytest.fixture(scope="module")
def operators():
    found = {}
    for name in GRID:
        trials = evaluation_trials(name)
        for number in (0, 1):
            rates = simulate_trials(trained_network(name, number), trials)[0][0].numpy()
            found[f"{name}/0/{number}"] = fit_operator(rates, SETTINGS.delays, SETTINGS.rank)
    return found


@pytest.fixture(scope="module")
def distances(operators):
    errors = dict.fromkeys(operators, 0.0)
    return dynamical_similarity(operators, errors, SETTINGS.starts, SETTINGS.iterations, seed=0)["distance"]


def test_no_distance_is_below_the_bound_of_von_neumann(operators, distances):
    for one, other in itertools.combinations(operators, 2):
        a, b = (np.linalg.svd(operators[label], compute_uv=False) for label in (one, other))
        bound = np.arccos(min(a @ b / np.linalg.norm(a) / np.linalg.norm(b), 1.0))
        found = float(distances.sel(network=one, network_to=other))
        assert bound - 1e-9 <= found < 1.0
        assert found > 0.01


@pytest.mark.parametrize("name", GRID)
def test_no_distance_is_above_the_published_tools_best(operators, distances, name):
    simdist = oracle("DSA.simdist")
    one, other = (f"{name}/0/{number}" for number in (0, 1))
    best = np.inf
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        # It normalises its arguments in place.
        pair = [torch.from_numpy(operators[label]).float().clone() for label in (one, other)]
        tool = simdist.SimilarityTransformDist(iters=700, score_method="angular", lr=0.01)
        best = min(best, float(tool.fit_score(*pair)))
    ours = float(distances.sel(network=one, network_to=other))
    print(f"{name}: {ours:.4f} rad, the published tool {best:.4f} rad")
    assert ours <= best + 2e-3
    assert ours > 0.5 * best
