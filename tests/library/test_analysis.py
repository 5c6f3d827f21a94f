"""Analyses of activity and the reading of rounds, against independent computations."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import xarray as xr
from tables import assert_described, with_roles

from insd.activity import participation_ratio
from insd.analysis.base import Job
from insd.analysis.dimensions import run as dimensions_of
from insd.datasets import DatasetError, write
from insd.members import read_members
from insd.provenance import settings_fingerprint
from insd.tables.excursions import with_excursions
from insd.tables.levels import LEVEL_COLUMNS, levels
from insd.tables.networks import (
    dictionary,
    identity,
    join_columns,
    meanings,
    network_table,
    with_deflated,
    with_matched,
)
from insd.tasks.flip_flop import FlipFlop

TRIALS, TIMES, UNITS = 40, 20, 8
DEFLATION = {"bound": 0.05, "schedule": "constant", "multiplier": 0.5, "ridge": 1e-3}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_participation_ratio(random):
    isotropic = random.standard_normal((5000, 4, 6))
    assert participation_ratio(isotropic) == pytest.approx(6, rel=0.02)
    assert participation_ratio(isotropic[..., :1] @ np.ones((1, 6))) == pytest.approx(1)
    assert np.isnan(participation_ratio(np.ones((10, 6))))


SETTINGS = {
    "task": {"name": "flip_flop", "parameters": {}},
    "recipe": {
        "network": {"gain": 1.5, "architecture": "rate"},
        "training": {"iterations": 7},
        "terms": {"predictivity": DEFLATION},
    },
}
MADE_WITH = settings_fingerprint(SETTINGS["task"], SETTINGS["recipe"])


def files_of_a_round(folder, random, population="p", seed=0, round_number=0, **changes):
    weights = {
        "recurrent_weights": (("seed", "unit", "unit_from"), random.standard_normal((1, UNITS, UNITS))),
        "input_weights": (("seed", "unit", "input"), random.standard_normal((1, UNITS, 2))),
        "output_weights": (("seed", "output", "unit"), random.standard_normal((1, 2, UNITS))),
        "output_bias": (("seed", "output"), np.zeros((1, 2))),
        **{name: (("seed", "unit"), np.zeros((1, UNITS))) for name in ("bias", "initial_state")},
        "restarts": ("seed", [1]),
        "iterations": ("seed", [5]),
    }
    if round_number:
        penalties = np.linspace(0.04, 0.02 * (1 + round_number), round_number)
        weights["held_out_penalty"] = (("seed", "earlier"), penalties[None])
    attributes = {
        "dt": 0.02,
        "tau": 0.1,
        "nonlinearity": "tanh",
        "settings": json.dumps(SETTINGS | changes.get("settings", {})),
        "code_fingerprint": changes.get("code", "c"),
    }
    network = xr.Dataset(weights, coords={"seed": [seed]}, attrs=attributes).astype(np.float32)
    activity = xr.Dataset(
        {
            "rates": (("seed", "trial", "time", "unit"), random.standard_normal((1, TRIALS, TIMES, UNITS))),
            "outputs": (("seed", "trial", "time", "output"), np.zeros((1, TRIALS, TIMES, 2))),
            "null_activity": (("seed", "bank_trial", "bank_time", "component"), np.zeros((1, 3, 2, 1))),
            "test_loss": ("seed", [0.1]),
            "score": ("seed", [0.99]),
            "solved": ("seed", [True]),
        },
        coords={"seed": [seed]},
        attrs={"bank_fingerprint": changes.get("bank", "b"), "test_fingerprint": changes.get("test", "t")},
    )
    paths = [str(folder / f"{population}-{seed}-{round_number}/{name}.nc") for name in ("network", "activity")]
    write(network, paths[0], "network")
    write(activity, paths[1], "activity")
    return paths


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"settings": {"recipe": {"network": {"gain": 1.0}}}},
            "/network.nc: was made with a different task or recipe than",
        ),
        (
            {"settings": {"task": {"name": "flip_flop", "parameters": {"dt": 0.01}}}},
            "/network.nc: was made with a d",
        ),
        (
            {"code": "d"},
            r"/network.nc: was made with a different version of the code \(train, rate, predictivity\) than "
            r".*p-0-0/network.nc",
        ),
        ({"test": "u"}, "/activity.nc: was made with a different set of test trials than .*p-0-0/activity.nc"),
        ({"bank": "c"}, "/activity.nc: was made with a different training bank than .*p-0-0/activity.nc"),
    ],
)
def test_rounds_that_do_not_belong_together_are_refused_by_name(tmp_path, random, change, message):
    """Also of other populations and rounds, each of which has a recipe of its own."""
    first = files_of_a_round(tmp_path, random)
    for population, seed, number in (("p", 1, 0), ("p", 0, 1), ("q", 0, 0)):
        blocks = [("p", "0", 0, "reference", MADE_WITH), (population, str(seed), number, "standard", MADE_WITH)]
        same = files_of_a_round(tmp_path, random, population, seed, number)
        assert len(list(read_members([first[0], same[0]], [first[1], same[1]], blocks))) == 2
        other = files_of_a_round(tmp_path, random, population, seed, number, **change)
        with pytest.raises(DatasetError, match=f"{population}-{seed}-{number}{message}"):
            list(read_members([first[0], other[0]], [first[1], other[1]], blocks))


def test_networks_are_matched_with_the_standards_of_their_population():
    rows = [("a", n, "standard", "a", loss, 0.99, n < 3) for n, loss in enumerate((0.01, 0.02, 0.03, 9.0))]
    rows += [("b", n, "standard", "b", 0.1, 0.95, True) for n in range(3)]
    rows += [
        ("x", n, "alternative", "a", *one, True) for n, one in enumerate(((0.03, 0.98), (0.031, 1.0), (0.0, 0.97)))
    ]
    rows += [("y", 0, "alternative", "b", 0.0, 1.0, True), ("z", 0, "alternative", "", 0.0, 1.0, True)]
    names = ["population", "seed", "role", "standards", "fresh_loss", "fresh_score", "solved"]
    table = with_matched(pd.DataFrame(rows, columns=names), 0.01, True)
    of = dict(list(table.groupby("population")))
    assert of["x"]["matched"].tolist() == [True, False, False]
    assert of["x"]["excess_loss"].tolist() == pytest.approx([0.01, 0.011, -0.02])
    assert of["a"]["matched"].tolist() == [True, True, True, False]
    assert of["y"]["matched"].tolist() == [True] and of["y"]["excess_loss"].tolist() == pytest.approx([-0.1])
    assert of["z"]["matched"].tolist() == [None] and of["z"]["excess_loss"].isna().all()
    # Of degrees, one point is 1 and lower is better.
    worse = with_matched(
        table.drop(columns=["matched", "excess_loss"]).assign(fresh_score=[5.0] * 7 + [6.0, 6.1, 1, 5, 5]), 1.0, False
    )
    assert worse.loc[worse["population"] == "x", "matched"].tolist() == [True, False, True]


def test_a_single_file_of_another_recipe_is_refused(tmp_path, random):
    network, activity = files_of_a_round(tmp_path, random)
    recipe = SETTINGS["recipe"] | {"training": {"iterations": 8}}
    block = ("p", "0", 0, "reference", settings_fingerprint(SETTINGS["task"], recipe))
    with pytest.raises(DatasetError, match=r"p-0-0/network.nc: .* than the config has for round 0 of p; .* delete"):
        list(read_members([network], [activity], [block]))


def points_and_dsa(labels, stable, cycles):
    """What the table and the levels read of `fixed_points.nc` and `dsa.nc`."""
    searched = ("searched_network", "searched_condition")
    points = xr.Dataset(
        {
            "n_fixed_points": (searched, np.add(stable, 1)),
            "n_stable_fixed_points": (searched, stable),
            "n_not_returned_to": (searched, np.ones_like(stable)),
            "n_slow_points": (searched, np.zeros_like(stable)),
            "n_cycles": (searched, cycles),
            "share_elsewhere": (searched, np.full(np.shape(stable), 0.25)),
            "share_drifting": (searched, np.full(np.shape(stable), 0.125)),
            "share_recurrent": (searched, np.zeros(np.shape(stable))),
        },
        coords={"searched_network": labels, "searched_condition": ["one", "other"]},
    )
    count = np.arange(len(labels)) / 10
    distance = (("network", "network_to"), np.abs(count[:, None] - count))
    return points, xr.Dataset({"distance": distance}, coords={"network": labels, "network_to": labels})


def test_a_meaning_is_a_line_with_unit_range_and_place():
    lines = meanings(["dimensions"])
    assert lines["dominant_frequency"].endswith("; unit: Hz; range: ≥ 0; from analysis/dimensions.nc")
    assert lines["solved"] == "whether the score meets the criterion of the task; from activity.nc"


def test_table_rows_and_predictivity_towards_earlier_rounds(tmp_path, random):
    rounds = []
    for k in range(3):
        paths = files_of_a_round(tmp_path, random, "insd", 4, k)
        rounds += list(read_members([paths[0]], [paths[1]], [("insd", "4", k, "alternative", MADE_WITH)]))
    labels = [f"insd/4/{k}" for k in range(3)]
    r2 = np.arange(18.0).reshape(2, 3, 3) / 18
    dimensions = ("space", "predictor", "target")
    predictivity = xr.Dataset(
        {
            "r2": (dimensions, r2),
            "r2_shuffled": (dimensions, r2 / 2),
            "r2_shuffled_residual": (dimensions, r2 / 4),
        },
        coords={"space": ["full", "null"], "predictor": labels, "target": labels},
    )
    recovery = np.linspace(1, 0.4, 7) * np.array([1, 1, 2])[:, None, None, None] * np.array([0.5, 1])[:, None, None]
    robustness = xr.Dataset(
        {
            "half_step_score": ("network", [0.99, 0.979, 0.98], {"higher_is_better": 1, "criterion": 0.98}),
            "kick_recovery": (("network", "kick_level", "space", "time_after"), recovery),
        },
        coords={
            "network": labels,
            "kick_level": [2.0, 0.1],
            "space": ["full"],
            "time_after": 0.02 * np.arange(7),
        },
    )
    points, dsa = points_and_dsa(labels, stable=[[8, 1], [0, 2], [3, 0]], cycles=[[0, 0], [1, 4], [0, 0]])
    found = {"similarity": predictivity, "dsa": dsa, "fixed_points": points, "robustness": robustness}
    found |= dimensions_of(Job("flip_flop", FlipFlop(), rounds, None))
    # One cell, in which the last network beats the bar and the first one wins.
    of_cell = {"loss": [0.5] * 3, "score": [0.8, 0.6, 0.8], "error": [0.2] * 3, "bar": [0.7] * 3, "p": [1e-3, 1, 0.5]}
    found["hard_cells"] = xr.Dataset(
        {name: (("network", "cell"), np.array(values)[:, None]) for name, values in of_cell.items()}
        | {name: ("network", np.ones(3)) for name in ("fresh_loss", "fresh_loss_se", "fresh_score")},
        {"network": labels, "standards": ("cell", ["insd"])},
        {"score_higher_is_better": 1},
    )
    identities = pd.DataFrame(identity("flip_flop", one, "insd") for one in rounds).set_index("label")
    joined = join_columns(identities, found)
    matched = with_matched(with_deflated(joined, largest_r2=1.0), 0.01, True)
    table = network_table([with_excursions(matched, {}, 0.01)])
    assert table["gain"].tolist() == [1.5] * 3
    assert table["iterations"].tolist() == [5] * 3 and table["max_iterations"].tolist() == [7] * 3
    # S towards the earlier network where it is largest, .04 and .06, and a bound of .05.
    np.testing.assert_allclose(table["penalty"].astype(float), [np.nan, 0.04, 0.06])
    assert table["deflated"].tolist() == [None, True, False]
    assert with_deflated(joined, largest_r2=0.1)["deflated"].tolist() == [None, False, False]
    assert table["hard_cells_beaten"].tolist() == [1, 0, 1] and table["hard_cells_won"].tolist() == [1, 0, 0]
    assert set(table) == set(dictionary(found))
    assert_described(table)
    assert table["restarts"].tolist() == [1] * 3
    assert table["multiplier"].tolist()[1:] == [0.5] * 2 and np.isnan(table["multiplier"][0])
    pd.testing.assert_series_equal(
        table["r2_null_to_reference"], pd.Series([np.nan, r2[1, 1, 0], r2[1, 2, 0]]), check_names=False
    )
    pd.testing.assert_series_equal(
        table["r2_null_max_to_earlier"], pd.Series([np.nan, r2[1, 1, 0], r2[1, 2, 1]]), check_names=False
    )
    rates = rounds[0].rates
    null = rates @ scipy.linalg.null_space(rounds[0].output_weights)
    share = null.var((0, 1)).sum() / rates.var((0, 1)).sum()
    assert table["null_variance_share"][0] == pytest.approx(share)
    assert table["mean_squared_rate"][0] == pytest.approx(np.square(rates).mean())
    assert table["n_stable_fixed_points"].tolist() == [9, 2, 3]
    assert table["n_fixed_points"].tolist() == [11, 4, 5]
    assert table["n_cycles"].tolist() == [0, 5, 0]
    assert table["n_not_returned_to"].tolist() == [2, 2, 2]
    assert table["runs_elsewhere"].tolist() == [0.25] * 3
    assert table["runs_drifting"].tolist() == [0.125] * 3 and not table["runs_recurrent"].any()
    # Baselines are those of the pair that they stand beside: alt-2 predicts alt-1 best.
    np.testing.assert_allclose(table["r2_null_shuffled_to_reference"], [np.nan, r2[1, 1, 0] / 2, r2[1, 2, 0] / 2])
    np.testing.assert_allclose(table["r2_null_shuffled_max_to_earlier"], [np.nan, r2[1, 1, 0] / 2, r2[1, 2, 1] / 2])
    np.testing.assert_allclose(
        table["r2_null_shuffled_residual_to_reference"], [np.nan, r2[1, 1, 0] / 4, r2[1, 2, 0] / 4]
    )
    assert table["score_half_step"].tolist() == [0.99, 0.979, 0.98]
    assert table["solved_half_step"].tolist() == [True, False, True]
    # The smallest kick counts: in the last network it never is at half.
    np.testing.assert_allclose(table["kick_half_time"], [0.1, 0.1, np.inf])
    np.testing.assert_allclose(table["kick_left"], [0.4, 0.4, 0.8])
    assert table["lowest_frequency"].tolist() == pytest.approx([2 / (TIMES * 0.02)] * 3)
    np.testing.assert_allclose(table["dsa_to_reference"], [np.nan, 0.1, 0.2])


def test_levels_say_where_activity_dynamics_and_topology_disagree():
    names = [("standard", 0, 0), ("standard", 1, 0), ("standard", 2, 0), ("insd", 0, 0), ("insd", 0, 1), ("insd", 0, 2)]
    table = pd.DataFrame(names, columns=["population", "seed", "round"]).assign(
        task="flip_flop", solved=True, iterations=1, reference=lambda rows: rows["population"]
    )
    table = with_roles(table)
    labels = [f"{population}/{seed}/{number}" for population, seed, number in names]
    # Standards differ from each other by up to one stable point and .2 rad.
    stable, cycles = [[8, 0], [7, 0], [8, 0], [8, 0], [7, 0], [0, 0]], [[0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 3]]
    points, dsa = points_and_dsa(labels, stable, cycles)
    r2 = np.full((2, 6, 6), 0.9)
    r2[1, 4, 3] = 0.1
    r2[1, 5, 3] = 0.7
    predictivity = xr.Dataset(
        {"r2": (("space", "predictor", "target"), r2)},
        coords={"space": ["full", "null"], "predictor": labels, "target": labels},
    )
    found = levels(table, "insd", {"flip_flop": predictivity}, {"flip_flop": dsa}, {"flip_flop": points})
    assert found["population"].tolist() == ["standard"] * 3 + ["insd"] * 2
    assert set(found["compared_to"]) == {"insd/0/0"}
    assert found["dsa_bound"].tolist() == pytest.approx([np.quantile([0.1, 0.1, 0.2], 0.95)] * 5)
    assert found["topology"].tolist() == [0, 1, 0, 1, 8]
    assert found["same_activity"].tolist() == [True, True, True, False, True]
    assert found["same_dynamics"].tolist() == [False, False, True, True, False]
    assert found["same_topology"].tolist() == [True, True, True, True, False]
    assert found["disagreement"].tolist()[2:] == ["", "same dynamics and topology only", "same activity only"]
    alone = levels(
        table.assign(solved=False), "insd", {"flip_flop": predictivity}, {"flip_flop": dsa}, {"flip_flop": points}
    )
    assert alone[["dsa_bound", "same_dynamics", "same_topology"]].isna().all(axis=None)
    assert (alone["disagreement"] == "").all()


def test_levels_of_a_grid_without_chains():
    table = pd.DataFrame({"population": ["a"], "seed": [0], "round": [0], "task": ["flip_flop"], "iterations": [1]})
    table = table.assign(solved=True, reference="a")
    table = with_roles(table)
    points, dsa = points_and_dsa(["a/0/0"], [[1, 1]], [[0, 0]])
    predictivity = xr.Dataset(coords={"target": ["a/0/0"]})
    none = levels(table, None, {"flip_flop": predictivity}, {"flip_flop": dsa}, {"flip_flop": points})
    # A table without rows is a table: pages are made of it.
    assert none.empty and list(none) == LEVEL_COLUMNS
