"""Errors and planes of networks against planted ones, and the verdicts of the claims on them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import config_of
from matplotlib.pyplot import close

from insd import plugins
from insd.activity import simulate_trials
from insd.analysis.base import Job
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, judged, publications
from insd.datasets import validate
from insd.evaluation.behaviour import decoded_items, errors_of, planes_of
from insd.figures.behaviour import behaviour_figure, fitted_density
from insd.figures.files import figure_files
from insd.grid import Grid
from insd.members import Member
from insd.networks.base import initialise
from insd.networks.settings.base import network_settings
from insd.rounds import network_dataset
from insd.settings.load import load
from insd.tasks.denoising import items_of
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.vwm_guess import VWMGuess
from insd.tasks.vwm_swap import VWMSwap

SWAPPED = [(reported, item) for reported in ("cued", "other") for item in ("cued", "other")]


@pytest.fixture(scope="module")
def trials():
    return VWMSwap(cue_kind="feature", guesses=0.1).sample("test", 3000, 0)


def test_errors_of_one_who_responds_by_the_model(trials):
    found = errors_of(trials["targets"].values[:, -1], trials, 2.5, 20, 0)
    assert found["weight"].values == pytest.approx(found["expected_weight"].values, abs=0.03)
    assert (found["weight_low"] <= found["weight"]).all() and (found["weight"] <= found["weight_high"]).all()
    assert found["swaps"].values == pytest.approx(found["expected_swaps"].values, abs=0.05)
    assert np.diff(found["expected_swaps"]).max() < 0 and found["bic_without_swaps"] > 100
    assert found["error_density"].sum() * 2 * np.pi / 60 == pytest.approx(1)
    assert found["length"] == pytest.approx(2.5, rel=0.02)


def test_errors_of_one_who_responds_by_the_mean():
    """Two items at .7 and .3: the predicted lengths are 1.904 at 90 degrees and 1.000 at 180."""
    trials = VWMSwap(behaviour="mean").sample("test", 3000, 0)
    angles, probabilities, _ = items_of(trials)
    mean = 2.5 * (probabilities[..., None] * np.stack([np.cos(angles), np.sin(angles)], -1)).sum(1)
    found = errors_of(mean, trials, 2.5, 0, 0)
    assert found["length_ratio"].values == pytest.approx([1, 1])
    between = np.abs(np.angle(np.exp(1j * (angles[:, 0] - angles[:, 1]))))
    for apart, expected in ((np.pi / 2, 1.904), (np.pi, 1.0)):
        near = np.abs(between - apart) < 0.05
        assert np.linalg.norm(mean[near], axis=1).mean() == pytest.approx(expected, abs=0.03)
    # Of trials with one item, the rest is NaN.
    one = VWMGuess().sample("test", 200, 0)
    alone = errors_of(one["targets"].values[:, -1], one, 2.5, 0, 0)
    assert alone["weight"].sel(component="swapped") == 0 and alone["length_ratio"].isnull().all()
    # The mean of guesses has no length.
    guesses = VWMSwap(guesses=1.0).sample("test", 200, 0)
    of_guesses = errors_of(guesses["targets"].values[:, -1], guesses, 2.5, 0, 0)
    assert of_guesses["length_ratio"].isnull().all() and of_guesses["weight"].sel(component="uniform") > 0.8


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_planes_that_are_planted(trials, angle):
    """At first there is nothing; then each item has a plane of its own; then that of the other item is turned to it."""
    angles, _, cued = items_of(trials)
    rows = np.arange(len(cued))
    codes = [np.stack([np.cos(one), np.sin(one)], 1) for one in (angles[rows, cued], angles[rows, 1 - cued])]
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    turned = np.cos(np.deg2rad(angle)) * axes[:2] + np.sin(np.deg2rad(angle)) * axes[2:4]
    memory = np.zeros((len(cued), 3, 9))
    memory[:, 1] = codes[0] @ axes[:2] + 0.5 * codes[1] @ axes[2:4]
    memory[:, 2] = codes[0] @ axes[:2] + codes[1] @ turned
    found = planes_of(memory, trials)
    assert np.isnan(found["alignment"][0])
    assert found["alignment"].values[1:] == pytest.approx([0, np.cos(np.deg2rad(angle))], abs=1e-6)
    assert found["plane_share"].sel(item="cued").values[1] == pytest.approx(0.8, abs=0.02)


def test_planes_of_two_given_items_before_they_are_cued(trials):
    """Each item has a plane of its own, whichever is cued; then the cued one is moved to a common plane."""
    angles, _, cued = items_of(trials)
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    codes = [np.stack([np.cos(one), np.sin(one)], 1) for one in angles.T]
    memory = np.zeros((len(cued), 2, 9))
    memory[:, 0] = codes[0] @ axes[:2] + codes[1] @ axes[2:4]
    memory[:, 1] = codes[0] @ axes[:2] + np.where(cued == 1, 1, 0)[:, None] * (codes[1] @ axes[:2])
    memory[:, 1] += np.where(cued == 0, 1, 0)[:, None] * (codes[1] @ axes[2:4])
    found = planes_of(memory, trials)
    # Apart, and apart or the same in half of the trials each. By the cue alone, they seem the same from the start.
    assert found["item_alignment"].values == pytest.approx([0, 0.5], abs=0.01)
    assert found["alignment"].values[0] > 0.99


def test_when_memory_turns_to_the_item_that_is_reported(trials):
    """Memory that holds nothing, then each item in a plane of its own, then the cued one in a plane that both share,
    and at last the reported one there, next to the cued one of trials with swaps.
    """
    angles, _, cued = items_of(trials)
    rows, source = np.arange(len(cued)), trials["source"].values - 1
    swapped = source == 1 - cued
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    codes = np.stack([np.cos(angles), np.sin(angles)], -1)
    of_cued, of_reported = codes[rows, cued], codes[rows, np.where(swapped, 1 - cued, cued)]
    memory = 0.01 * np.random.default_rng(1).normal(size=(len(cued), 4, 9))
    memory[:, 1] += codes[:, 0] @ axes[:2] + codes[:, 1] @ axes[2:4]
    memory[:, 2] += of_cued @ axes[:2]
    memory[:, 3] += of_reported @ axes[:2] + swapped[:, None] * (of_cued @ axes[2:4])
    found = decoded_items(memory, trials["targets"].values[:, -1], trials, 4, 0)
    cosine = {name: found.sel(reported=name[0], item=name[1]).values for name in SWAPPED}
    # The mean cosine of a half of the angle between two items is 2 / pi.
    assert cosine["cued", "cued"] == pytest.approx([0, 2 / np.pi, 1, 1], abs=0.08)
    assert cosine["cued", "other"] == pytest.approx([0, 2 / np.pi, 0, 0], abs=0.08)
    assert cosine["other", "cued"] == pytest.approx([0, 2 / np.pi, 1, 0], abs=0.08)
    assert cosine["other", "other"] == pytest.approx([0, 2 / np.pi, 0, 1], abs=0.08)
    # Without swaps there is nothing to decode of them.
    never = decoded_items(memory, codes[rows, cued], trials, 4, 0)
    assert never.sel(reported="other").isnull().all() and never.sel(reported="cued").notnull().all()


def test_the_analysis_keeps_its_contract(trials):
    """Of a random network: errors on fresh trials, the time of the rise on stored activity."""
    task = VWMSwap(cue_kind="feature", guesses=0.1)
    analysis = plugins.find("analysis", "behaviour")
    settings = network_settings({"architecture": "behaviour_plane", "units": 6, "hidden": 8})
    made = initialise(settings, trials.sizes["input"], 2, 0.2, [torch.Generator().manual_seed(0)])
    network = network_dataset(
        made, made.weights(), {"restarts": ("seed", [0])}, [("t", "p", 0, 0)], trials, settings.tau
    )
    random = np.random.default_rng(0)
    rates = random.normal(size=(1, 3000, 46, 6)).astype(np.float32)
    outputs = np.broadcast_to(trials["targets"].values[:, -1:], (3000, 46, 2))[None]
    activity = xr.Dataset(
        {
            "rates": (("seed", "trial", "time", "unit"), rates),
            "outputs": (("seed", "trial", "time", "output"), outputs),
        },
        {"seed": [0]},
    )
    members = Member.of_datasets("p", 0, "standard", network, activity)
    job = Job("t", task, members, analysis.settings(trials=2500, resamples=5), {"test": trials})
    found = analysis.join([analysis.run(job)["behaviour"]])
    validate(found, analysis.writes["behaviour"], "behaviour.nc")
    for name in ("alignment", "item_alignment"):
        rise = found[name].values[0, 25] - found[name].values[0, 19]
        assert found[f"{name}_rise"].values == pytest.approx([rise])
    # Stored responses follow the model; those of the network say nothing of the items.
    assert found["concentration"].item() < 1
    assert found["decoded"].notnull().any()
    others = task.sample("test", 2500, 77)
    again = errors_of(simulate_trials(network, others)[1][0, :, -1].numpy(), others, 2.5, 0, 0)
    assert found["error_density"].values[0] == pytest.approx(again["error_density"].values, abs=0.12)
    assert found["length"].item() == pytest.approx(again["length"].item(), rel=0.02)


def test_the_fitted_density_is_that_of_responses(trials):
    found = errors_of(trials["targets"].values[:, -1], trials, 2.5, 0, 0)
    fine = (np.arange(1200) + 0.5) * 2 * np.pi / 1200 - np.pi
    density = fitted_density(found, trials, fine)
    assert density.mean() * 2 * np.pi == pytest.approx(1)
    binned = density.reshape(60, 20).mean(1)
    assert binned == pytest.approx(found["error_density"].values, abs=0.3) and binned.max() > 2


def test_the_figure_shows_features_or_lengths_and_says_what_there_is_not(trials):
    """Of a network, then of a reference with an alternative, one of them without features."""
    times = trials["time"].values
    without_features = trials.drop_vars(["feature_1", "feature_2"])
    drawn = []
    for shown, rounds in ((trials, [("standard", 0)]), (without_features, [("reference", 0), ("alternative", 1)])):
        errors = errors_of(shown["targets"].values[:, -1], shown, 2.5, 0, 0)
        planes = planes_of(np.random.default_rng(0).normal(size=(3000, 1, 6)), shown).isel(time=[0] * len(times))
        one = errors.merge(planes.assign_coords(time=times))
        decoded = np.full((2, 2, len(times)), np.nan)
        decoded[0] = 0.5
        one["decoded"] = (("reported", "item", "time"), decoded)
        one = one.assign_coords(reported=["cued", "other"])
        found = one.expand_dims(network=[f"p/0/{number}" for _, number in rounds])
        table = pd.DataFrame(
            [
                {"population": "p", "seed": 0, "round": number, "role": role, "solved": True, "deflated": None}
                | {"gain": 1.0, "reference": "p", "r2_null_to_reference": 0.2}
                for role, number in rounds
            ]
        )
        figure = behaviour_figure(table, found, shown, VWMSwap(cue_kind="feature", guesses=0.1), 0.95)
        drawn.append([[panel.get_ylabel() for panel in figure.axes], [t for a in figure.axes for t in a.texts]])
        close(figure)
    (first, notes), (second, none) = drawn
    assert first[2] == "weight of swaps" and second[2].startswith("length") and len(first) == len(second) == 8
    assert [text.get_text() for text in notes] == ["no alternatives\nof this task", "too few\nsuch trials"]
    assert [text.get_text() for text in none] == ["too few\nsuch trials"]


def known(**changes):
    """What the analysis may have found of five standards, a reference and its alternatives."""
    labels = [f"standard/{seed}/0" for seed in range(5)] + [f"insd/{s}/{r}" for s in range(5) for r in range(2)]
    count = len(labels)
    values = {
        "weight": (("network", "component"), np.tile([0.7, 0.3, 0.0], (count, 1))),
        "expected_weight": (("network", "component"), np.tile([0.7, 0.3, 0.0], (count, 1))),
        "bic_without_swaps": ("network", np.full(count, 50.0)),
        "length_ratio": (("network", "apart"), np.ones((count, 2))),
        "swaps": (("network", "distance"), np.full((count, 4), 0.2)),
        "expected_swaps": (("network", "distance"), np.full((count, 4), 0.2)),
        **dict.fromkeys(("alignment_rise", "item_alignment_rise"), ("network", np.linspace(0.1, 0.2, count))),
    }
    coords = {"network": labels, "component": ["cued", "swapped", "uniform"], "apart": ["90", "180"]}
    found = xr.Dataset(values, coords)
    for name, change in changes.items():
        found[name] = found[name] + xr.DataArray(change, dims=found[name].dims[-1:] if np.ndim(change) else ())
    return found


def verdicts(result):
    rows = []
    for task in ("vwm_swap", "vwm_swap_mean", "vwm_feature", "vwm_certain"):
        for population, role, number in (
            ("standard", "standard", 0),
            ("insd", "reference", 0),
            ("insd", "alternative", 1),
        ):
            if population == "insd" and task != "vwm_swap":
                continue
            rows += [
                {"task": task, "population": population, "seed": seed, "round": number, "role": role, "solved": True}
                | {"reference": population, "standards": "standard", "chain": f"{population}/{seed}"}
                | {"r2_null_to_reference": 0.2 if role == "alternative" else np.nan}
                for seed in range(5)
            ]
    table = pd.DataFrame(rows)
    found = judged(
        publications(["radmard_2025"]), table, {"behaviour": dict.fromkeys(table["task"], result)}, {}, 0.95, 200
    )
    return dict(zip(found["id"], found["verdict"], strict=True))


def test_verdicts():
    positive = ("learned_shares", "least_squares_average", "swaps_by_distance", "planes_align", "item_planes_align")
    assert verdicts(known()) == {
        **dict.fromkeys((*positive, "other_circuits"), REPRODUCED),
        **dict.fromkeys(("planes_stay", "item_planes_stay"), NOT),
    }
    off = verdicts(known(weight=[0.04, -0.04, 0], length_ratio=0.06, swaps=[0, 0, 0, 0.06], alignment_rise=-0.3))
    assert off["item_planes_align"] == REPRODUCED
    for name in set(positive) - {"item_planes_align"}:
        assert off[name] == NOT
    assert off["planes_stay"] == REPRODUCED
    turned = verdicts(known(item_alignment_rise=-0.114))
    assert turned["item_planes_align"] == PARTLY and turned["item_planes_stay"] == REPRODUCED
    some = known()
    some["bic_without_swaps"][0] = -5.0
    some["weight"][{"network": [6, 8]}] = [0.6, 0.4, 0.0]
    assert verdicts(some)["learned_shares"] == PARTLY and verdicts(some)["other_circuits"] == PARTLY
    empty = judged(
        publications(["radmard_2025"]), pd.DataFrame(columns=["task", "role", "solved"]), {"behaviour": {}}, {}, 0.95, 9
    )
    assert not len(empty) and NO_ANSWER not in verdicts(known()).values()


def test_the_study_has_the_tasks_of_its_claims():
    study = config_of("failure")
    settings = load(study)
    claimed = {task for claim in publications(["radmard_2025"])["radmard_2025"].claims for task in claim.tasks}
    assert claimed == set(settings.tasks)
    assert settings.recipe("vwm_swap", "insd", 1).training.iterations == 8000
    assert {"predictivity"} == set(settings.recipe("vwm_swap", "insd", 1).terms)
    applies = plugins.find("analysis", "behaviour").applies
    assert all(applies(settings, task) for task in settings.tasks)
    assert not applies(SimpleNamespace(task=lambda name: FlipFlop()), "flip_flop")
    made, of_default = (
        {f for f in figure_files(Grid(load(one))) if "/behaviour_" in f} for one in (study, config_of())
    )
    assert len(made) == 3 * 4 and not of_default
