"""Degeneracy of groups of networks against loops written out, and against groups whose degeneracy is known."""

from itertools import combinations

import numpy as np
import pytest
import torch
import xarray as xr

from insd import plugins
from insd.analysis.base import Job
from insd.datasets import validate
from insd.dynamics.alignment import best_alignment
from insd.dynamics.operators import fit_operator
from insd.dynamics.settings import DynamicalSimilarity
from insd.evaluation.degeneracy import (
    LEVELS,
    degeneracy,
    groups_of,
    known_of,
    mean_of_pairs,
    null_distances,
    resampled,
    spread,
)
from insd.members import Member
from insd.provenance import random_seed
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.tasks.flip_flop import FlipFlop

DSA = DynamicalSimilarity(delays=2, rank=7, starts=6, iterations=30)
NUMBERS = {"a": 5, "b": 4, "c": 1}
"""Networks by population; the chain `chain` has three seeds of three rounds."""


def rates(seed, noise=0.02):
    """Activity of 7 units that rotates, with trials of their own."""
    random = np.random.default_rng(seed)
    state, found = random.standard_normal((100, 7)), []
    turn = np.linalg.qr(np.eye(7) + 0.5 * np.random.default_rng(seed).standard_normal((7, 7)))[0]
    for _ in range(20):
        state = 0.98 * state @ turn + noise * random.standard_normal(state.shape)
        found.append(state)
    return np.stack(found, 1)


def members():
    def one(population, seed, number, role):
        activity = xr.Dataset({"rates": (("seed", "trial", "time", "unit"), rates(seed)[None])}, {"seed": [seed]})
        network = xr.Dataset({"recurrent_weights": ("seed", [0.0])}, {"seed": [seed]})
        return Member.of_datasets(population, number, role, network, activity)[0]

    found = [one(name, seed, 0, "standard") for name, count in NUMBERS.items() for seed in range(count)]
    for number in range(3):
        found += [one("chain", seed, number, "alternative" if number else "reference") for seed in range(3)]
    return found


MEMBERS = members()
LABELS = [member.label for member in MEMBERS]


def analyses(seed=0):
    """What the other analyses say, made up."""
    random, count = np.random.default_rng(seed), len(LABELS)

    def matrix(unknown=()):
        found = random.uniform(0.1, 1, (count, count))
        found = found + found.T
        np.fill_diagonal(found, 0)
        for label in unknown:
            found[LABELS.index(label)] = found[:, LABELS.index(label)] = np.nan
        return ("network", "network_to"), found

    both = {"network": LABELS, "network_to": LABELS}
    score = random.uniform(0.995, 1, (count, 2))
    score[LABELS.index("a/4/0")] = 0.2
    alike = np.ones((2, count, count)) * np.array([0.5, 0.9])[:, None, None]
    performance = {
        "loss": (("network", "regime"), random.uniform(0, 1, (count, 2))),
        "score": (("network", "regime"), score),
    }
    learning = {
        name: ("network", random.uniform(0, 1, count))
        for name in ("weight_change", "relative_weight_change", "kernel_alignment")
    }
    return {
        "performance": xr.Dataset(performance, {"network": LABELS, "regime": ["test", "long"]}),
        "dsa": xr.Dataset({"distance": matrix(["b/0/0"])}, both),
        "weight_distance": xr.Dataset({"distance_per_weight": matrix(), "relative_distance": matrix()}, both),
        "similarity": xr.Dataset(
            {"value": (("measure", "network", "network_to"), alike)}, {"measure": ["svcca_null", "svcca_full"], **both}
        ),
        # Not of all networks.
        "feature_learning": xr.Dataset(learning, {"network": LABELS}).isel(network=slice(1, None)),
    }


@pytest.fixture(scope="module")
def found():
    known = known_of(LABELS, analyses(), "long", FlipFlop().solved)
    return degeneracy("flip_flop", MEMBERS, known, DSA, (2, 2), 200, 0.9)


def test_values_are_those_of_loops_over_the_networks_that_solve_the_task(found):
    given = analyses()
    group = found.sel(group="a/0")
    labels = [f"a/{seed}/0" for seed in range(4)]
    assert (int(group["networks"]), int(group["solved"]), int(group["pairs"])) == (5, 4, 6)
    losses = [float(given["performance"]["loss"].sel(network=label, regime="long")) for label in labels]
    assert float(group["loss"]) == pytest.approx(np.mean(losses))
    assert float(group["value"].sel(level="behaviour")) == pytest.approx(np.std(losses, ddof=1))
    test_losses = [float(given["performance"]["loss"].sel(network=label, regime="test")) for label in labels]
    assert float(group["test_loss"]) == pytest.approx(np.median(test_losses))
    changes = [float(given["feature_learning"]["weight_change"].sel(network=label)) for label in labels[1:]]
    assert float(group["weight_change"]) == pytest.approx(np.median(changes))
    names = {"dynamics": ("dsa", "distance"), "weights": ("weight_distance", "distance_per_weight")}
    for level, (file, name) in names.items():
        values = [float(given[file][name].sel(network=i, network_to=j)) for i, j in combinations(labels, 2)]
        assert float(group["value"].sel(level=level)) == pytest.approx(np.mean(values))
    np.testing.assert_allclose(found["value"].sel(level="representation", group=["a/0", "b/0"]), 0.1)
    # A network whose dynamics are not known is left out there, and not elsewhere.
    values = [
        float(given["dsa"]["distance"].sel(network=i, network_to=j))
        for i, j in combinations([f"b/{seed}/0" for seed in (1, 2, 3)], 2)
    ]
    assert float(found["value"].sel(level="dynamics", group="b/0")) == pytest.approx(np.mean(values))


def test_groups_are_populations_and_rounds(found):
    assert found["group"].values.tolist() == ["a/0", "b/0", "c/0", "chain/0", "chain/1", "chain/2"]
    assert found["role"].values.tolist() == [*["standard"] * 3, "reference", *["alternative"] * 2]
    assert found["round"].values.tolist() == [0, 0, 0, 0, 1, 2]
    assert [len(group.labels) for group in groups_of(MEMBERS)] == [5, 4, 1, 3, 3, 3]
    # One network has no others to differ from.
    alone = found.sel(group="c/0")
    assert alone["value"].isnull().all() and alone["interval"].isnull().all() and int(alone["pairs"]) == 0
    assert found["value"].drop_sel(group="c/0").notnull().all()
    validate(found, plugins.find("analysis", "degeneracy").writes["degeneracy"], "degeneracy.nc")


def test_draws_are_those_of_resampled_networks_one_by_one():
    random = np.random.default_rng(0)
    counts = resampled(5, 40, 1)
    np.testing.assert_array_equal(counts.sum(1), 5)
    values, matrix = random.standard_normal(5), random.uniform(0, 1, (5, 5))
    matrix = matrix + matrix.T
    matrix[1, 3] = matrix[3, 1] = np.nan
    spreads, means = spread(values, counts), mean_of_pairs(matrix, counts)
    for row, (own_spread, own_mean) in zip(counts, zip(spreads, means, strict=True), strict=True):
        drawn = np.repeat(np.arange(5), row)
        assert own_spread == pytest.approx(np.std(values[drawn], ddof=1))
        pairs = [matrix[i, j] for i, j in combinations(drawn, 2) if i != j and np.isfinite(matrix[i, j])]
        assert own_mean == pytest.approx(np.mean(pairs) if pairs else np.nan, nan_ok=True)
    assert np.isnan(mean_of_pairs(matrix, np.array([[5, 0, 0, 0, 0]]))).all()


def test_intervals_hold_the_values_and_are_the_quantiles_of_the_draws(found):
    of_group = found.sel(group="a/0")
    draws = of_group["draws"].transpose("level", "resample").values
    expected = np.nanquantile(draws, [0.05, 0.95], axis=1).T
    np.testing.assert_allclose(of_group["interval"], expected, rtol=1e-5)
    inside = (of_group["interval"].sel(bound="low") <= of_group["value"] + 1e-9) & (
        of_group["value"] <= of_group["interval"].sel(bound="high") + 1e-9
    )
    assert inside.all() and of_group["level"].values.tolist() == list(LEVELS)


def test_the_null_distribution_is_below_the_distance_of_different_networks(found):
    null = found["null"].sel(group="a/0")
    assert null.notnull().sum() == 4 and found["null"].sel(group="c/0").notnull().sum() == 2
    np.testing.assert_array_equal(null[:2], null_distances_again("a/0/0"))
    one, other = (torch.from_numpy(fit_operator(rates(seed), DSA.delays, DSA.rank)) for seed in range(2))
    apart = float(best_alignment(one, other[None], DSA.starts, DSA.iterations, 0).angles[0])
    assert 0 < float(null.max()) < 0.5 * apart
    assert np.isnan(null_distances(np.ones((6, 9, 4)), DSA, 2, 0)).all()


def null_distances_again(label):
    return null_distances(
        MEMBERS[LABELS.index(label)].rates, DSA, 2, random_seed("degeneracy null", "flip_flop", label)
    )


def test_the_analysis_joins_the_files_of_others(found):
    analysis = plugins.find("analysis", "degeneracy")
    own = analysis.settings(null_networks=2, null_draws=2, resamples=200)
    more = {"dsa": DSA.model_dump(), "confidence": 0.9}
    result = analysis.run(Job("flip_flop", FlipFlop(), MEMBERS, own, analyses=analyses(), more=more))["degeneracy"]
    xr.testing.assert_equal(result, found)
    assert result.attrs["regime"] == "long"


def test_what_it_needs_of_the_config_is_said():
    config = {"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 2}}}
    with pytest.raises(SettingsError, match="regime = 'longer': the task flip_flop has the regimes test, noisy, long"):
        load(config | {"analysis": {"degeneracy": {"regime": "longer"}}})
    with pytest.raises(SettingsError, match="degeneracy compares representations by svcca"):
        load(config | {"analysis": {"degeneracy": {}, "similarity": {"measures": ["cka"]}}})
    with pytest.raises(SettingsError, match="all its populations have one seed; set `seeds` to 2 or more"):
        load(config | {"populations": {"standard": {"seeds": 1}}, "analysis": {"degeneracy": {}}})
    load(config | {"analysis": {"degeneracy": {}}})
    more = plugins.find("analysis", "degeneracy").more(load(config | {"analysis": {"dsa": {"rank": 9}}}), "flip_flop")
    assert more["dsa"]["rank"] == 9 and more["confidence"] == 0.95
