import base64
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from insd.dynamics.search import fixed_points
from insd.dynamics.settings import FixedPoints
from insd.explorer import SHOWN_TRIALS, _first_pair, explorer_page, packed
from insd.members import Member
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings
from insd.predictivity import leading_components
from insd.tasks.flip_flop import FlipFlop

UNITS = 6


def unpacked(array):
    integers = np.frombuffer(base64.b64decode(array["data"]), "<i2").reshape(array["shape"])
    return integers * array["step"]


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros((0, 3)), np.linspace(-7, 3, 12).reshape(3, 4)])
def test_packed_arrays_keep_their_values(values):
    found = unpacked(packed(values))
    assert found.shape == values.shape
    assert np.allclose(found, values, atol=np.abs(values).max(initial=0) / 65000)


@pytest.fixture
def grid():
    """One population of two seeds with its points, on few trials."""
    import torch  # noqa: PLC0415 - after the import hook

    task = FlipFlop()
    trials = task.sample("test", SHOWN_TRIALS + 10, seed=0)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    weights = RateRNN.initialise(RateSettings(units=UNITS, gain=3.0), 3, 3, 0.2, generators).weights()
    network = xr.Dataset(
        {name: (dimensions, weights[name].numpy()) for name, dimensions in RateRNN.dimensions.items()},
        {"seed": [0, 1]},
        {"tau": 0.1, "dt": 0.02},
    )
    rates = np.random.default_rng(1).uniform(-1, 1, (2, trials.sizes["trial"], trials.sizes["time"], UNITS))
    activity = xr.Dataset({"rates": (("seed", "trial", "time", "unit"), rates)}, {"seed": [0, 1]})
    rounds = Member.of_datasets("standard</script>", 0, "standard", network, activity)
    points = fixed_points(task, rounds, trials, FixedPoints(starts=16, block=4.0, blocks=2))
    row = {
        "population": "standard</script>",
        "reference": "x",
        "round": 0,
        "role": "standard",
        "solved": True,
        "score": np.nan,
    }
    table = pd.DataFrame([{**row, "seed": seed} for seed in (0, 1)])
    return task, rounds, trials, points, table


def test_a_page_holds_all_networks_and_nothing_from_elsewhere(grid):
    task, rounds, trials, points, table = grid
    page = explorer_page("flip_flop", task, rounds, trials, points, table, None, {"score": "its meaning"})
    assert "@" not in page.split("<body>")[0].split("<script>")[0]
    text = page.split('id="data">')[1].split("</script>")[0]
    data = json.loads(text)
    assert [network["label"] for network in data["networks"]] == ["standard</script>/0/0", "standard</script>/1/0"]
    assert data["meanings"] == {"score": "its meaning"}
    assert data["first"] == [network["label"] for network in data["networks"]]
    for index, network in enumerate(data["networks"]):
        rates = rounds[index].rates
        mean, axes, _ = leading_components(rates)
        assert unpacked(network["place"]) == pytest.approx((rates[:SHOWN_TRIALS] - mean) @ axes, abs=1e-3)
        mine = points["network"].values == network["label"]
        kinds = network["points"]["kind"]
        assert len(kinds) + network["points"]["not_shown"] == mine.sum()
        assert kinds == sorted(kinds)
        found = unpacked(network["points"]["rate"]).max(axis=1)
        assert sorted(found) == pytest.approx(sorted(points["eigenvalues_real"].values[mine][:, 0]), abs=1e-2)
        assert len(network["cycles"]) == (points["cycle_network"].values == network["label"]).sum()
        for cycle in network["cycles"]:
            orbit = unpacked(cycle["place"])
            # It closes: the last state is near the first, at the scale of its steps.
            steps = np.linalg.norm(np.diff(orbit, axis=0), axis=1)
            assert np.linalg.norm(orbit[-1] - orbit[0]) < 3 * steps.max()
        assert network["row"]["score"] == ""


def test_a_page_begins_with_two_networks_also_where_the_reference_is_a_recording():
    rows = [("standard", "standard", 0), ("recorded", "recorded", 1), ("recorded", "recorded", 2)]
    table = pd.DataFrame(
        [{"population": name, "reference": of, "round": k, "seed": 0, "solved": True} for name, of, k in rows]
    ).assign(role=["standard", "alternative", "alternative"])
    labels = [f"{name}/0/{k}" for name, _, k in rows]
    assert _first_pair(labels, table, "recorded") == ["standard/0/0", "recorded/0/1"]
    assert _first_pair(["recorded/0/1"], table, "recorded") == ["recorded/0/1"] * 2
    assert _first_pair(["recorded/0/0", "recorded/0/1"], table, "recorded") == ["recorded/0/0", "recorded/0/1"]
