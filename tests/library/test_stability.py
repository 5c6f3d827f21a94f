"""Further training against a loop written out, and networks that are known to stay or to slide."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from insd import plugins
from insd.activity import record_activity, simulate_trials
from insd.analysis.base import Job
from insd.dynamics.settings import FixedPoints
from insd.evaluation import stability as code
from insd.evaluation.stability import further, looked_at, stability
from insd.kept import Kept
from insd.members import Member
from insd.networks.base import initialise
from insd.networks.settings.base import network_settings
from insd.provenance import trials_fingerprint
from insd.rounds import network_dataset
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.base import target_variance
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(channels=1, duration=0.6)
BANK, TEST = (TASK.sample("test", count, count) for count in (40, 24))
BANK.attrs["fingerprint"], TEST.attrs["fingerprint"] = trials_fingerprint(BANK), trials_fingerprint(TEST)
SEARCH = FixedPoints(starts=8, block=1.0, blocks=1)
NAME = ("flip_flop", "p", 0, 1, "stability")


def network(architecture="rate", units=10, **settings):
    """A random network, by the contract of `network.nc`."""
    chosen = network_settings({"architecture": architecture, "units": units, **settings})
    made = initialise(chosen, 1, 1, BANK.attrs["dt"] / chosen.tau, [torch.Generator().manual_seed(5)])
    return network_dataset(made, made.weights(), {"restarts": ("seed", [0])}, [NAME], BANK, chosen.tau)


def recipe(**training):
    """All trials that are not held out in each iteration, without noise: only their order is random."""
    chosen = {"batch_size": 32, "validation_trials": 8, "step_schedule": "constant"} | training
    return Recipe(network={"recurrent_noise": 0.0}, training=chosen, terms={})


def member(made, population="p", number=1, role="alternative"):
    return Member.of_datasets(population, number, role, made, record_activity(made, TASK, BANK, TEST, {}))[0]


def along(members, iterations=40, kept=None, **training):
    used = recipe(**training)
    return stability(
        *(TASK, "flip_flop", members, BANK, TEST, lambda _: used, iterations, SEARCH), Kept() if kept is None else kept
    )


def test_further_training_is_that_of_a_loop_written_out():
    start, weights = network(), {}
    names = ["recurrent_weights", "input_weights", "output_weights", "bias", "output_bias", "initial_state"]
    for name in names:
        weights[name] = torch.from_numpy(start[name].values[0].copy()).requires_grad_()
    inputs, targets, mask = (torch.from_numpy(BANK[name].values) for name in ("inputs", "targets", "mask"))
    variance, alpha = target_variance(targets.transpose(0, 1), mask.transpose(0, 1)), BANK.attrs["dt"] / 0.1
    optimiser, after = torch.optim.Adam(weights.values(), lr=3e-3), []
    for iteration in range(17):
        if iteration in (0, 2, 4, 8):
            after.append({name: one.detach().clone() for name, one in weights.items()})
        state, outputs = weights["initial_state"].expand(32, -1), []
        for time in range(BANK.sizes["time"]):
            drive = torch.tanh(state) @ weights["recurrent_weights"].T + inputs[:32, time] @ weights["input_weights"].T
            state = state + alpha * (-state + drive + weights["bias"])
            outputs.append(torch.tanh(state) @ weights["output_weights"].T + weights["output_bias"])
        wrong = (torch.stack(outputs, 1) - targets[:32]).square() * mask[:32]
        optimiser.zero_grad()
        (wrong.sum() / mask[:32].sum() / variance).backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 0.2)
        optimiser.step()
    found = further(TASK, start, BANK, recipe(gradient_clip=0.2), 17, NAME)
    assert found["iteration"].values.tolist() == looked_at(17) == [0, 2, 4, 8, 17]
    for name in names:
        expected = np.stack([one[name].numpy() for one in [*after, {k: v.detach() for k, v in weights.items()}]])
        assert found[name].dims[:2] == ("iteration", "seed")
        np.testing.assert_allclose(found[name].values[:, 0], expected, atol=2e-5)
    assert found.attrs["architecture"] == "rate" and np.abs(expected - start[name].values).max() > 0.01


def test_the_end_is_not_early_and_terms_do_not_count():
    # Of a recipe that would stop at the first evaluation, and finishes.
    bounds = {"loss_bound": 1e9, "patience": 1, "evaluate_every": 1, "finishing": 0.5}
    usual = further(TASK, network(), BANK, recipe(), 8, NAME)
    xr.testing.assert_identical(further(TASK, network(), BANK, recipe(**bounds), 8, NAME), usual)


@pytest.mark.parametrize("architecture, own", [("rate", {}), ("low_rank", {"rank": 2}), ("gru", {})])
def test_a_network_that_takes_no_steps_stays(architecture, own):
    made = network(architecture, **own)
    found = along([member(made)], 8, step_size=1e-12).isel(network=0)
    np.testing.assert_allclose(found["weight_distance"], 0, atol=1e-7)
    np.testing.assert_allclose(found["r2_to_itself"], 1, atol=1e-5)
    np.testing.assert_allclose(found["task_loss"], member(made).read(["test_loss"])["test_loss"], rtol=1e-4)
    assert len(set(found["n_stable_fixed_points"].values)) == 1
    assert found.sizes["reference"] == 0


def test_a_network_slides_to_where_the_task_alone_leads():
    made = network()
    name = ("flip_flop", "p", 0, 1, "stability")
    end = further(TASK, made, BANK, recipe(), 40, name).isel(iteration=-1, drop=True)
    # What it is trained towards is the reference of its chain, which stays where the task is solved by other weights.
    reference = member(end.assign(restarts=("seed", [0])), "r", 0, "reference")
    found = along([member(made), reference])
    assert found["network"].values.tolist() == ["p/0/1", "r/0/0"] and found["reference"].values.tolist() == ["r/0/0"]
    to_reference = found["r2_to_reference"].sel(network="p/0/1", reference="r/0/0").values
    assert to_reference[0] < 0.995 and to_reference[-1] == pytest.approx(1, abs=1e-5)
    of_network = found.sel(network="p/0/1")
    assert (np.diff(of_network["task_loss"]) < 0).all() and (np.diff(of_network["weight_distance"]) > 0).all()
    assert of_network["r2_to_itself"][0] == pytest.approx(1, abs=1e-5) and of_network["r2_to_itself"][-1] < 0.995
    # Predictivity by regression on samples of the null space.
    rates, onto = (simulate_trials(one, TEST)[0].numpy()[0] for one in (made, end))
    x, y = (
        (one[:, ::2].reshape(-1, 10) @ (np.eye(10) - np.linalg.pinv(w) @ w)).astype(float)
        for one, w in ((rates, made["output_weights"].values[0]), (onto, end["output_weights"].values[0]))
    )
    x, y = x - x.mean(0), y - y.mean(0)
    left = y - x @ np.linalg.lstsq(x, y, rcond=1e-4)[0]
    assert to_reference[0] == pytest.approx(1 - (left**2).sum() / (y**2).sum(), abs=2e-3)
    back = x - y @ np.linalg.lstsq(y, x, rcond=1e-4)[0]
    from_reference = float(found["r2_from_reference"].sel(network="p/0/1", reference="r/0/0")[0])
    assert from_reference == pytest.approx(1 - (back**2).sum() / (x**2).sum(), abs=2e-3)
    of_reference = found.sel(network="r/0/0", reference="r/0/0")
    np.testing.assert_array_equal(of_reference["r2_to_reference"], of_reference["r2_to_itself"])
    np.testing.assert_array_equal(of_reference["r2_from_reference"], of_reference["r2_from_itself"])


def test_a_new_reference_trains_no_network_again(monkeypatch):
    kept, one = Kept(), member(network())
    before = along([one], 8, kept)
    reference = member(network(units=8), "r", 0, "reference")
    trained, of_all = [], code.further
    monkeypatch.setattr(code, "further", lambda *given: trained.append(given[-1][1]) or of_all(*given))
    found = along([one, reference], 8, kept)
    assert trained == ["r"] and found.sizes["reference"] == 1
    assert found["network"].values.tolist() == ["p/0/1", "r/0/0"]
    for name, values in before.drop_dims("reference").items():
        np.testing.assert_array_equal(found[name][0], values[0])


def test_which_networks_are_trained_and_by_which_recipe(monkeypatch):
    analysis, given = plugins.find("analysis", "stability"), {}

    def found(task, name, members, bank, trials, recipe_of, iterations, search, kept):
        given.update({one.label: recipe_of(one) for one in members}, iterations=iterations, search=search)
        return xr.Dataset()

    monkeypatch.setattr(code, "stability", found)
    own = {"network": {"recurrent_noise": 0.3}, "training": {"batch_size": 7}, "terms": {}}
    made = [
        ("p", 0, "standard", own),
        ("p", 1, "standard", own),
        ("w", 0, "alternative", {"training": {}}),
        ("u", 0, "untrained", own),
    ]
    members = [
        Member(population, seed, 0, role, {"recipe": settings}, None, lambda names: xr.Dataset())
        for population, seed, role, settings in made
    ]
    defaults = {"training": {"batch_size": 9}, "network": {"gain": 1.5, "recurrent_noise": 0.2}}
    defaults["by_task"] = {"flip_flop": {"training": {"step_size": 0.5}}}
    config = load(
        {
            "tasks": {"flip_flop": {}},
            "populations": {"p": {"seeds": 2}},
            "defaults": defaults,
            "analysis": {"fixed_points": {"starts": 3}},
        }
    )
    settings = analysis.settings(iterations=16, seeds=1)
    more = analysis.more(config, "flip_flop")
    analysis.run(Job("flip_flop", TASK, members, settings, {"train": BANK, "test": TEST}, more=more))
    assert list(given) == ["p/0/0", "w/0/0", "iterations", "search"]
    assert given["iterations"] == 16 and given["search"].starts == 3
    chosen = {label: given[label] for label in ("p/0/0", "w/0/0")}
    assert {label: one.network.recurrent_noise for label, one in chosen.items()} == {"p/0/0": 0.3, "w/0/0": 0.2}
    assert {label: one.training.batch_size for label, one in chosen.items()} == {"p/0/0": 7, "w/0/0": 9}
    assert given["w/0/0"].training.step_size == 0.5


def test_no_networks_make_a_file_without_networks():
    found = along([])
    assert dict(found.sizes) == {"network": 0, "iteration": 5, "reference": 0}


def test_columns_are_the_end_and_the_own_reference():
    labels, references = ["p/0/0", "p/0/1", "q/0/0"], ["p/0/0", "q/0/0"]
    values = np.arange(15.0).reshape(3, 5)
    one = {
        name: (("network", "iteration"), values + 100 * k) for k, name in enumerate([*code.KNOWN_ALONE, "r2_to_itself"])
    }
    r2 = (("network", "reference", "iteration"), np.arange(30.0).reshape(3, 2, 5))
    one |= {"r2_to_reference": r2, "r2_from_reference": (r2[0], r2[1] + 50)}
    result = xr.Dataset(one, {"network": labels, "reference": references, "iteration": looked_at(16)})
    table = pd.DataFrame(
        {"round": [0, 1, 1], "reference_label": ["p/0/0", "p/0/0", "gone/0/0"]}, ["p/0/0", "p/0/1", "x/0/1"]
    )
    found = plugins.find("analysis", "stability").columns(result, table)
    np.testing.assert_array_equal(found["r2_null_to_reference_after"], [np.nan, 14, np.nan])
    np.testing.assert_array_equal(found["r2_null_from_reference_after"], [np.nan, 64, np.nan])
    np.testing.assert_array_equal(found["test_loss_after"], [4, 9, np.nan])
    np.testing.assert_array_equal(found["weight_distance_after"], [204, 209, np.nan])
    np.testing.assert_array_equal(found["n_stable_fixed_points_after"], [304, 309, np.nan])
    np.testing.assert_array_equal(found["n_cycles_after"], [404, 409, np.nan])
    np.testing.assert_array_equal(found["r2_null_to_itself_after"], [504, 509, np.nan])
