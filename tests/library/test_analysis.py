"""Analyses of activity and the reading of rounds, against independent computations."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import xarray as xr

from insd.activity import participation_ratio
from insd.analysis.rounds import Round, read_rounds
from insd.analysis.similarity import network_bases, predictivity_matrix
from insd.analysis.table import network_table, round_rows
from insd.datasets import DatasetError, write

TRIALS, TIMES, UNITS = 40, 20, 8
DEFLATION = {"schedule": "constant", "multiplier": 0.5, "ridge": 1e-3}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def least_squares_r2(predictor, target):
    predictor, target = (a.reshape(-1, a.shape[-1]) - a.reshape(-1, a.shape[-1]).mean(0) for a in (predictor, target))
    residual = target - predictor @ scipy.linalg.lstsq(predictor, target)[0]
    return 1 - np.square(residual).sum() / np.square(target).sum()


def test_predictivity_matrix_equals_least_squares_for_every_pair(random):
    shared = random.standard_normal((TRIALS, TIMES, 5))
    rates = {
        name: (shared @ random.standard_normal((5, UNITS)) + noise * random.standard_normal((TRIALS, TIMES, UNITS)))
        for name, noise in (("a/0/0", 0.1), ("b/0/0", 0.5), ("c/0/0", 2.0))
    }
    weights = {name: random.standard_normal((2, UNITS)) for name in rates}
    bases = {name: network_bases(rates[name].astype(np.float32), weights[name].astype(np.float32)) for name in rates}
    result = predictivity_matrix(bases, seed=0)
    order = np.random.default_rng(0).permutation(TRIALS)
    null = {name: rates[name] @ scipy.linalg.null_space(weights[name]) for name in rates}
    for predictor, target in product(rates, rates):
        for space, activity in (("full", rates), ("null", null)):
            one = result.sel(space=space, predictor=predictor, target=target)
            x, y = activity[predictor], activity[target]
            assert float(one["r2"]) == pytest.approx(least_squares_r2(x, y), abs=1e-5)
            assert float(one["r2_shuffled"]) == pytest.approx(least_squares_r2(x, y[order]), abs=1e-5)


def test_predictivity_of_a_silent_network(random):
    rates = random.standard_normal((TRIALS, TIMES, UNITS))
    weights = random.standard_normal((1, UNITS))
    bases = {"a/0/0": network_bases(rates, weights), "b/0/0": network_bases(np.ones_like(rates), weights)}
    result = predictivity_matrix(bases, seed=0)["r2"].sel(space="full")
    assert np.isnan(result.sel(predictor="a/0/0", target="b/0/0"))
    assert float(result.sel(predictor="b/0/0", target="a/0/0")) == 0
    assert float(result.sel(predictor="a/0/0", target="a/0/0")) == pytest.approx(1, abs=1e-5)


def test_shuffled_baseline_is_near_rank_over_samples(random):
    bases = {
        f"{name}/0/0": network_bases(random.standard_normal((200, 20, 10)), random.standard_normal((1, 10)))
        for name in "ab"
    }
    r2 = predictivity_matrix(bases, seed=1)["r2_shuffled"].sel(space="full", predictor="a/0/0", target="b/0/0")
    assert float(r2) == pytest.approx(10 / 4000, rel=0.4)


def test_participation_ratio(random):
    isotropic = random.standard_normal((5000, 4, 6))
    assert participation_ratio(isotropic) == pytest.approx(6, rel=0.02)
    assert participation_ratio(isotropic[..., :1] @ np.ones((1, 6))) == pytest.approx(1)
    assert np.isnan(participation_ratio(np.ones((10, 6))))


def files_of_a_round(folder, random, population="p", seed=0, round_number=0, **changes):
    settings = {
        "task": {"name": "flip_flop", "parameters": {}},
        "recipe": {"network": {"gain": 1.5}, "training": {"iterations": 7}, "deflation": DEFLATION},
    }
    weights = {
        "recurrent_weights": (("seed", "unit", "unit_from"), random.standard_normal((1, UNITS, UNITS))),
        "input_weights": (("seed", "unit", "input"), random.standard_normal((1, UNITS, 3))),
        "output_weights": (("seed", "output", "unit"), random.standard_normal((1, 2, UNITS))),
        "output_bias": (("seed", "output"), np.zeros((1, 2))),
        **{name: (("seed", "unit"), np.zeros((1, UNITS))) for name in ("bias", "initial_state")},
        "restarts": ("seed", [1]),
    }
    attributes = {
        "dt": 0.02,
        "tau": 0.1,
        "nonlinearity": "tanh",
        "settings": json.dumps(settings | changes.get("settings", {})),
    }
    network = xr.Dataset(weights, coords={"seed": [seed]}, attrs=attributes)
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
        attrs={"bank_fingerprint": "b", "test_fingerprint": changes.get("test", "t")},
    )
    paths = [str(folder / f"{population}-{seed}-{round_number}-{name}.nc") for name in ("network", "activity")]
    write(network, paths[0], "network")
    write(activity, paths[1], "activity")
    return paths


def test_rounds_that_do_not_agree_are_refused_by_name(tmp_path, random):
    first = files_of_a_round(tmp_path, random)
    same = files_of_a_round(tmp_path, random, seed=1)
    blocks = [("p", "0", 0), ("p", "1", 0)]
    assert len(list(read_rounds([first[0], same[0]], [first[1], same[1]], blocks))) == 2
    for change, message in (
        ({"settings": {"recipe": {"network": {"gain": 1.0}}}}, "p-2-0-network.nc: was made with another recipe than"),
        (
            {"settings": {"task": {"name": "flip_flop", "parameters": {"dt": 0.01}}}},
            "another task than .*p-0-0-network",
        ),
        ({"test": "u"}, "p-2-0-activity.nc: was made with another set of test trials than"),
    ):
        other = files_of_a_round(tmp_path, random, seed=2, **change)
        with pytest.raises(DatasetError, match=message):
            list(read_rounds([first[0], other[0]], [first[1], other[1]], blocks))


def test_table_rows_and_predictivity_towards_earlier_rounds(tmp_path, random):
    rows, rounds = [], []
    for k in range(3):
        paths = files_of_a_round(tmp_path, random, "insd", 4, k)
        rounds += list(read_rounds([paths[0]], [paths[1]], [("insd", "4", k)]))
        rows += round_rows("flip_flop", "insd", rounds[-1])
    labels = [f"insd/4/{k}" for k in range(3)]
    r2 = np.arange(18.0).reshape(2, 3, 3) / 18
    predictivity = xr.Dataset(
        {"r2": (("space", "predictor", "target"), r2), "r2_shuffled": (("space", "predictor", "target"), r2 / 2)},
        coords={"space": ["full", "null"], "predictor": labels, "target": labels},
    )
    table = network_table(rows, {"flip_flop": predictivity})
    assert isinstance(rounds[0], Round)
    assert table["gain"].tolist() == [1.5] * 3
    assert table["iterations"].tolist() == [7] * 3
    assert table["restarts"].tolist() == [1] * 3
    assert table["multiplier"].tolist()[1:] == [0.5] * 2 and np.isnan(table["multiplier"][0])
    pd.testing.assert_series_equal(
        table["r2_null_to_reference"], pd.Series([np.nan, r2[1, 1, 0], r2[1, 2, 0]]), check_names=False
    )
    pd.testing.assert_series_equal(
        table["r2_null_max_to_earlier"], pd.Series([np.nan, r2[1, 1, 0], r2[1, 2, 1]]), check_names=False
    )
    rates = rounds[0].activity["rates"].values[0]
    null = rates @ scipy.linalg.null_space(rounds[0].network["output_weights"].values[0])
    share = null.var((0, 1)).sum() / rates.var((0, 1)).sum()
    assert table["null_variance_share"][0] == pytest.approx(share)
    assert table["mean_squared_rate"][0] == pytest.approx(np.square(rates).mean())
