"""Spiking networks: their equations and derivatives by loops in NumPy, their spikes and shuffled weights, the materials
that they regress by closed forms, and the claims of Henkes et al. (2024)."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import config_of
from scipy.optimize import brentq

from insd import datasets, plugins
from insd.activity import record_activity, simulate_trials
from insd.analysis.base import Job, capable
from insd.analysis.spikes import SpikesSettings
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, judged, publications
from insd.figures.shown import Shown
from insd.figures.state_space import activity_row, condition_of
from insd.figures.theme import new_figure
from insd.grid import Grid
from insd.members import Member
from insd.networks.base import initialise, load_networks
from insd.networks.lif import SurrogateStep
from insd.networks.settings.base import network_settings
from insd.objectives.base import join_earlier
from insd.provenance import array_fingerprint
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.isotropic_hardening import IsotropicHardening
from insd.tasks.ramberg_osgood import RambergOsgood
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.6, regimes={})


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 96, 1), trials("test", 32, 2)


def networks(**changes):
    """Two networks in double precision; no two units are alike."""
    settings = network_settings({"architecture": "lif", "units": 6} | changes)
    made = initialise(settings, 3, 2, 0.3, [torch.Generator().manual_seed(seed) for seed in range(2)]).double()
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    return made


def by_loop(weights, inputs, noise, alpha, direction=None):
    """Membranes, spikes and filtered spikes (time, unit) of one network in one trial; with a direction in all weights,
    derivatives along it instead, with 1 / (1 + (pi v)^2) for that of a spike.
    """
    units = len(weights["bias"])
    along = direction or {name: np.zeros_like(values) for name, values in weights.items()}
    leak, threshold = 1 / (1 + np.exp(-weights["leak_logit"])), np.exp(weights["log_threshold"])
    leak_along, threshold_along = leak * (1 - leak) * along["leak_logit"], threshold * along["log_threshold"]
    membrane, membrane_along = weights["initial_state"].copy(), along["initial_state"].copy()
    filtered, filtered_along = np.zeros(units), np.zeros(units)
    values, derivatives = [], []

    def spiked():
        beyond = membrane - threshold
        return (beyond > 0) * 1.0, (membrane_along - threshold_along) / (1 + np.pi**2 * beyond**2)

    spikes, spikes_along = spiked()
    for time in range(len(inputs)):
        before, before_along = membrane.copy(), membrane_along.copy()
        membrane, membrane_along = np.zeros(units), np.zeros(units)
        for i in range(units):
            membrane[i] = leak[i] * before[i] - threshold[i] * spikes[i] + weights["bias"][i] + noise[time, i]
            membrane_along[i] = leak_along[i] * before[i] + leak[i] * before_along[i] + along["bias"][i]
            membrane_along[i] -= threshold_along[i] * spikes[i] + threshold[i] * spikes_along[i]
            for j in range(units):
                membrane[i] += weights["recurrent_weights"][i, j] * spikes[j]
                membrane_along[i] += along["recurrent_weights"][i, j] * spikes[j]
                membrane_along[i] += weights["recurrent_weights"][i, j] * spikes_along[j]
            for k in range(inputs.shape[1]):
                membrane[i] += weights["input_weights"][i, k] * inputs[time, k]
                membrane_along[i] += along["input_weights"][i, k] * inputs[time, k]
        spikes, spikes_along = spiked()
        filtered = filtered + alpha * (spikes - filtered)
        filtered_along = filtered_along + alpha * (spikes_along - filtered_along)
        values.append((membrane, spikes, filtered))
        derivatives.append((membrane_along, spikes_along, filtered_along))
    return np.stack(values if direction is None else derivatives, 1)


@pytest.mark.parametrize("reads", ["spikes", "membrane"])
def test_simulation_and_surrogate_gradient_are_those_of_the_equations(reads):
    made = networks(reads=reads)
    inputs, noise = torch.randn(2, 9, 4, 3).double(), 0.1 * torch.randn(2, 9, 4, 6).double()
    rates, spikes = made(inputs, noise), made.spikes(inputs, noise)
    towards = torch.randn_like(rates)
    (rates * towards).sum().backward()
    directions = {name: torch.randn_like(weights) for name, weights in made.named_parameters()}
    unread = ("output_weights", "output_bias")
    found = sum((made.get_parameter(name).grad * directions[name]).sum() for name in set(directions) - set(unread))
    expected, index = 0.0, {"membrane": 0, "spikes": 2}[reads]
    for network in range(2):
        weights = {name: values.detach()[network].numpy() for name, values in made.named_parameters()}
        direction = {name: values[network].numpy() for name, values in directions.items()}
        for trial in range(4):
            given = inputs[network, :, trial].numpy(), noise[network, :, trial].numpy(), 0.3
            values = by_loop(weights, *given)
            np.testing.assert_allclose(rates[network, :, trial].detach(), values[index], atol=1e-12)
            np.testing.assert_array_equal(spikes[network, :, trial].detach(), values[1])
            derivative = by_loop(weights, *given, direction)[index]
            expected += (derivative * towards[network, :, trial].numpy()).sum()
    assert 0.05 < spikes.mean() < 0.95
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_a_spike_is_a_step_with_the_derivative_of_an_arctan():
    distance = torch.tensor([-2.0, -0.1, 0.0, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    spikes = SurrogateStep.apply(distance)
    spikes.sum().backward()
    assert spikes.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(distance.grad, 1 / (1 + (np.pi * distance.detach().numpy()) ** 2))


def recipe(iterations, terms=None, **network):
    training = {"batch_size": 32, "validation_trials": 32, "evaluate_every": 50, "restarts": 0, "step_size": 0.01}
    settings = {"architecture": "lif", "units": 16, **network}
    return Recipe(network=settings, training=training | {"iterations": iterations}, terms=terms or {})


def test_without_recurrence_recurrent_weights_stay_zero():
    one = train_round(TASK, BANK, recipe(5, recurrence="none"), [("t", "p", 0, 0)])[0]
    assert (one["recurrent_weights"] == 0).all() and one.attrs["recurrence"] == "none"
    changed = one.assign(recurrent_weights=one["recurrent_weights"] + 1)
    torch.testing.assert_close(simulate_trials(changed, TEST), simulate_trials(one, TEST))


@pytest.fixture(scope="module")
def trained():
    """Settings and `network.nc` of a network that holds a bit."""
    chosen = recipe(150, {"predictivity": {}})
    return chosen, train_round(TASK, BANK, chosen, [("t", "p", 0, 0)])[0]


def spikes_of(network, draws=4):
    one = Member.of_datasets("p", 0, "standard", network, xr.Dataset())
    job = Job("t", TASK, one, SpikesSettings(draws=draws), {"test": TEST})
    result = plugins.find("analysis", "spikes").run(job)["spikes"]
    datasets.validate(result, "spikes", "spikes.nc")
    return result


def test_a_bit_is_held_by_recurrent_weights(trained):
    network = trained[1]
    result = spikes_of(network)
    assert TASK.score(TEST, simulate_trials(network, TEST)[1].numpy())[0] > 0.95
    assert result["shuffled_score"].mean() < 0.75
    loaded = load_networks([network], TEST.attrs["dt"])
    with torch.no_grad():
        spikes = loaded.spikes(torch.from_numpy(TEST["inputs"].values).transpose(0, 1)[None]).numpy()
    assert result["spike_share"].item() == pytest.approx(spikes.mean())
    assert result["silent_share"].item() == pytest.approx((spikes.sum((0, 1, 2)) == 0).mean())
    # Where all weights are alike, their order changes nothing.
    alike = network.assign(recurrent_weights=0 * network["recurrent_weights"] - 0.05)
    score = TASK.score(TEST, simulate_trials(alike, TEST)[1].numpy())[0]
    np.testing.assert_allclose(spikes_of(alike)["shuffled_score"], score, atol=1e-9)
    found = plugins.find("analysis", "spikes").columns(result, pd.DataFrame(index=["p/0/0"]))
    assert found.loc["p/0/0", "shuffled_score"] == pytest.approx(float(result["shuffled_score"].mean()))


def test_spiking_networks_are_deflated_and_left_out_of_what_needs_a_flow(trained):
    chosen, network = trained
    network.attrs["settings"] = json.dumps({})
    activity = record_activity(network, TASK, BANK, TEST, chosen.terms)
    rates = activity["rates"].values
    assert rates.min() >= 0 and rates.max() <= 1
    earlier = join_earlier(chosen.terms, [activity], BANK, ["file"])
    deflated, history = train_round(TASK, BANK, recipe(5, {"predictivity": {}}), [("t", "p", 0, 1)], earlier)
    assert np.isfinite(deflated["recurrent_weights"]).all() and np.isfinite(history["held_out_penalty"]).all()
    one = Member.of_datasets("p", 0, "reference", network, xr.Dataset())
    assert capable(one, ("Flowing",)) == ([], {"p/0/0": "lif: is not flowing"})
    assert len(capable(one, ("Connected",))[0]) == 1


def test_a_task_without_a_flow_has_a_file_without_points_and_a_figure_that_says_so(trained, tmp_path):
    _, network = trained
    network.attrs["settings"] = json.dumps({})
    analysis = plugins.find("analysis", "fixed_points")
    found = analysis.run(Job("flip_flop", TASK, [], analysis.settings(), {"test": TEST}, {}))["fixed_points"]
    found = found.assign_coords(left_out=["p/0/0"], reason=("left_out", ["lif: is not flowing"]))
    datasets.write(found, tmp_path / "fixed_points.nc", analysis.writes["fixed_points"])
    points = datasets.read(tmp_path / "fixed_points.nc", analysis.writes["fixed_points"])
    assert analysis.columns(points, pd.DataFrame(index=["p/0/0"])).isna().all(axis=None)
    activity = record_activity(network, TASK, BANK, TEST, {})
    (one,) = Member.of_datasets("p", 0, "standard", network, activity)
    figure = new_figure(80.0, 60.0)
    shown, condition = Shown("p/0/0", "standard", "black", "", ["p/0/0"]), condition_of(TASK.variables(TEST), TEST)
    (row,) = figure.subfigures(1, 1, squeeze=False)[0]
    activity_row(row, [shown], {"p/0/0": one}, points, condition, TASK.static_inputs())
    (axes,) = row.axes
    assert [text.get_text() for text in axes.texts] == ["points left out"]


def test_networks_that_do_not_spike_have_shuffled_scores_alone():
    settings = Recipe(network={"units": 8}, training=recipe(2).training.model_dump(), terms={})
    result = spikes_of(train_round(TASK, BANK, settings, [("t", "p", 0, 0)])[0])
    assert result["spike_share"].isnull().all() and np.isfinite(result["shuffled_score"]).all()


# Materials


def test_ramberg_osgood_by_its_equation():
    task = RambergOsgood()
    np.testing.assert_allclose(
        task.stress(np.array([0.001, 0.005, 0.01]), np.array([300.0])), [201.97, 317.17, 346.10], atol=0.005
    )
    made = task.sample("test", 8, 0)
    strength, targets = made["strength"].values, made["targets"].values[..., 0].astype(float)
    largest = brentq(lambda s: s / 2.1e5 + 0.002 * (s / 500) ** 10 - 0.01, 0, 2100, xtol=1e-9)
    for trial, time in np.ndindex(targets.shape):
        strain = 0.01 * (time + 1) / 20
        residual = targets[trial, time] * largest
        assert residual / 2.1e5 + 0.002 * (residual / strength[trial]) ** 10 == pytest.approx(strain, rel=1e-4)
        np.testing.assert_allclose(made["inputs"][trial, time], [strain / 0.01, strength[trial] / 500], rtol=1e-6)
    assert (made["mask"].values[:, 0] == 0).all() and made["mask"].values[:, 1:].all()
    # All outputs 10 % too large: the first, unscored one counts for nothing.
    outputs = 1.1 * targets[..., None]
    outputs[:, 0] = 99
    assert task.score(made, outputs) == pytest.approx(0.1)
    np.testing.assert_allclose(task.trial_errors(made, outputs), 0.1)


def test_isotropic_hardening_by_its_closed_forms():
    task = IsotropicHardening(peak=(0.01, 0.01))
    way = np.concatenate([np.linspace(0, 0.01, 51), np.linspace(0.01, 0, 50)[1:]])[None]
    stress = task.stress(way)[0]
    assert (stress[50], stress[-1]) == pytest.approx((317.82, -332.32), abs=0.005)
    tangent = 2.1e5 * 2.1e3 / (2.1e5 + 2.1e3)
    turn = 0.01 - 2 * stress[50] / 2.1e5  # where it yields on the way back
    for strain, found, back in zip(way[0], stress, np.arange(100) > 50, strict=True):
        if not back:
            expected = min(2.1e5 * strain, 300 + tangent * (strain - 300 / 2.1e5))
        else:
            expected = max(stress[50] - 2.1e5 * (0.01 - strain), -stress[50] - tangent * (turn - strain))
        assert found == pytest.approx(expected, abs=1e-6)
    made = task.sample("test", 20, 0)
    assert made["targets"].values.min() == pytest.approx(-1) and made["inputs"].values[:, -1] == pytest.approx(0)
    assert (made["inputs"].values.max((1, 2)) == 1).all()
    before, after = (task.sample(regime, 20, 0)["mask"].values for regime in ("loading", "unloading"))
    np.testing.assert_array_equal(before + after, made["mask"])
    peak = np.round(made["turn_time"].values / 0.02).astype(int)
    assert all((after[trial, turn:] == 1).all() and not after[trial, :turn].any() for trial, turn in enumerate(peak))


def test_elasticity_has_no_history():
    task = IsotropicHardening(yield_stress=1e6)
    made = task.sample("test", 20, 0)
    np.testing.assert_allclose(made["targets"], made["inputs"], atol=1e-6)
    assert task.score(made, 0.9 * made["targets"].values) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "task, message",
    [
        (lambda: RambergOsgood(strength=(0.0, 1.0)), r"strength = \(0.0, 1.0\): needs 0 < least"),
        (lambda: RambergOsgood(offset=0.0), "offset = 0: must be positive"),
        (lambda: IsotropicHardening(peak=(0.2, 0.1)), r"peak = \(0.2, 0.1\): needs 0 <"),
        (lambda: IsotropicHardening(turn=(0.2, 1.0)), r"turn = \(0.2, 1.0\): needs 0 <"),
    ],
)
def test_materials_that_cannot_be_are_refused(task, message):
    with pytest.raises(ValueError, match=message):
        task()


# The study


def rows(task, role, score, **more):
    population = "spiking-standard" if role == "standard" else "none"
    common = {"task": task, "population": population, "role": role, "architecture": "lif", "round": 0, "solved": True}
    common |= {"standards": "spiking-standard", "reference": population}
    return [
        common
        | {"seed": seed, "chain": f"{population}/{seed}", "score": score}
        | {name: values[seed] for name, values in more.items()}
        for seed in range(5)
    ]


def judge(accuracy, shuffled, share, error, history, elastic):
    """Verdicts by the id of the claim; errors of history are with and without recurrence."""
    table, analyses = rows("flip_flop_1", "standard", accuracy, shuffled_score=shuffled, spike_share=share), {}
    table += rows("ramberg_osgood", "standard", error)
    for task, errors, regime in (("isotropic_hardening", history, "unloading"), ("elasticity", elastic, "test")):
        of_task = [
            row for role, _ in zip(("standard", "control"), errors, strict=True) for row in rows(task, role, 0.0)
        ]
        labels = [f"{row['population']}/{row['seed']}/0" for row in of_task]
        values = np.repeat(errors, 5)[:, None]
        analyses[task] = xr.Dataset({"score": (("network", "regime"), values)}, {"network": labels, "regime": [regime]})
        table += of_task
    found = judged(publications(["henkes_2024"]), pd.DataFrame(table), {"performance": analyses}, {}, 0.95, 99)
    return dict(zip(found["id"], found["verdict"], strict=True))


def test_verdicts():
    right = judge(0.99, [0.5] * 5, [0.3] * 5, 0.01, (0.02, 0.05), (0.01, 0.04))
    assert len(right) == 6 and set(right.values()) == {REPRODUCED}
    wrong = judge(0.9, [0.7] * 5, [0.6] * 5, 0.04, (0.05, 0.04), (0.01, 0.06))
    assert set(wrong.values()) == {NOT}
    partly = judge(0.99, [0.5] * 3 + [0.8] * 2, [0.3] * 3 + [0.005] * 2, 0.01, (0.04, 0.06), (0.04, 0.06))
    assert {name for name, verdict in partly.items() if verdict == PARTLY} == {
        "memory_by_recurrence",
        "spikes",
        "history_by_recurrence",
        "no_history_without_it",
    }
    empty = pd.DataFrame(rows("flip_flop", "control", 1.0))
    found = judged(publications(["henkes_2024"]), empty, {"performance": {}}, {}, 0.95, 99)
    assert set(found["verdict"]) == {NO_ANSWER}
    unmeasured = pd.DataFrame(rows("flip_flop_1", "standard", 0.99))
    found = judged(publications(["henkes_2024"]), unmeasured, {"performance": {}}, {}, 0.95, 99).set_index("id")
    assert found.loc["memory", "verdict"] == REPRODUCED
    assert found.loc["spikes", "number"] == "no `spike_share` in this grid: add `analysis.spikes`"


def test_the_study_has_spiking_networks_and_their_analysis():
    settings = load(config_of("classes"))
    for task, units in (("flip_flop_1", 32), ("flip_flop", 64), ("ramberg_osgood", 64)):
        found = settings.recipe(task, "spiking-standard", 0).network
        assert (found.architecture, found.units, settings.role(task, "spiking-standard", 0)) == (
            "lif",
            units,
            "standard",
        )
    assert settings.recipe("flip_flop", "spiking", 1).network.gain == 1.5
    assert settings.recipe("elasticity", "spiking-no-recurrence", 0).network.recurrence == "none"
    assert "results/elasticity/analysis/spikes.nc" in Grid(settings).analysis_files()
