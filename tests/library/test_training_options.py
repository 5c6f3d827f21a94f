"""What training can do besides: finish above a hinge, draw noise anew, take several steps for a sample; the adjoint."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import xarray as xr

from insd.activity import record_activity
from insd.attempt import Attempt
from insd.bank import BankError
from insd.objectives.adjoint_norm import AdjointNorm, _signs
from insd.objectives.base import Stored, TermError, join_earlier
from insd.objectives.objective import Objective
from insd.objectives.settings.adjoint_norm import AdjointNormSettings
from insd.objectives.settings.predictivity import PredictivitySettings
from insd.provenance import array_fingerprint
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.6)
CONSTANT = {"schedule": "constant", "task_only": 0.0, "ramp": 0.0}


def trials(count, seed, task=TASK):
    clean = dataclasses.replace(task, input_noise=0.0).sample("train", count, seed)
    made = task.sample("train", count, seed)
    made = made.assign(clean_inputs=clean["inputs"], noise_sd=xr.full_like(clean["inputs"], task.input_noise))
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK = trials(96, 1)


def recipe(terms=None, **training):
    chosen = {"iterations": 20, "batch_size": 16, "evaluate_every": 10, "validation_trials": 32, "restarts": 0}
    return Recipe(network={"units": 12}, training=chosen | {"step_size": 1e-2} | training, terms=terms or {})


def attempt(seeds=(0,), bank=BANK, earlier=None, **settings):
    streams = [("flip_flop", "p", seed, 0, 0) for seed in seeds]
    return Attempt(TASK, bank, recipe(**settings), streams, earlier or {}, torch.device("cpu"))


def name(seed, number=0):
    return ("flip_flop", "p", seed, number)


@pytest.fixture(scope="module")
def earlier():
    terms = {"predictivity": CONSTANT}
    network, _ = train_round(TASK, BANK, recipe(terms), [name(0)])
    kept = record_activity(network, TASK, BANK, BANK, recipe(terms).terms)
    return kept


def test_when_finishing_a_term_counts_above_its_bound_alone(earlier):
    chosen = recipe({"predictivity": CONSTANT | {"multiplier": 2.0, "bound": 0.3}})
    stored = join_earlier(chosen.terms, [earlier], BANK, ["a.nc"])
    objective, networks = Objective(chosen.terms, stored, 0.05, 1, torch.device("cpu")), attempt().networks
    for value, finishing, expected, slope in (
        (0.2, 0.0, 0.4, 2.0),
        (0.2, 1.0, 0.0, 0.0),
        (0.7, 0.0, 1.4, 2.0),
        (0.7, 1.0, 0.8, 2.0),
    ):
        values = torch.full((1, 1), value, dtype=torch.float64, requires_grad=True)
        objective._value = lambda *_, values=values: values
        loss, _ = objective.weighed(torch.zeros(1), [1.0], finishing, None, networks, torch.zeros(1, 1).long())
        loss.sum().backward()
        assert float(loss.detach()) == pytest.approx(expected) and float(values.grad) == pytest.approx(slope)


def test_the_last_share_of_the_iterations_finishes_and_nothing_stops_before(earlier):
    # The term starts with the second half, in which it does not count while finishing: it cannot exceed 1.
    terms = {"predictivity": CONSTANT | {"task_only": 0.5, "bound": 1.0, "multiplier": 50.0}}
    stored = join_earlier(recipe(terms).terms, [earlier], BANK, ["a.nc"])
    easy = {"loss_bound": 10.0, "patience": 4, "evaluate_every": 5}
    made = {
        share: train_round(TASK, BANK, recipe(terms, finishing=share, **easy), [name(0, 1)], stored)[0]
        for share in (0.0, 0.5)
    }
    free, _ = train_round(TASK, BANK, recipe({}, finishing=0.5, **easy), [name(0, 1)])
    assert made[0.5]["recurrent_weights"].equals(free["recurrent_weights"])
    assert not made[0.0]["recurrent_weights"].equals(free["recurrent_weights"])
    # No network stops before the end.
    patient = {**easy, "patience": 1}
    _, history = train_round(TASK, BANK, recipe(terms, finishing=0.5, **patient), [name(0, 1)], stored)
    assert history["iteration"].values[-1] == 20


def test_fresh_noise_is_of_the_task_s_size_on_the_bank_s_conditions():
    run = attempt((0, 1), fresh_noise=True)
    chosen = torch.stack([torch.arange(16), torch.arange(16, 32)])
    drawn = [run.fresh_noise.inputs(chosen, torch.tensor(draw)) for draw in (1, 2)]
    clean = torch.from_numpy(BANK["clean_inputs"].values)[chosen].transpose(1, 2)
    noise = torch.stack(drawn) - clean
    assert noise.std().item() == pytest.approx(TASK.input_noise, rel=0.05)
    flat = noise.flatten(2).flatten(0, 1).numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.15
    # That of a network alone.
    alone = attempt((1,), fresh_noise=True).fresh_noise.inputs(chosen[[1]], torch.tensor(2))
    torch.testing.assert_close(alone, drawn[1][[1]])


def test_networks_learn_under_fresh_noise_and_a_bank_without_it_is_refused():
    _, history = train_round(TASK, BANK, recipe(fresh_noise=True, iterations=60), [name(0)])
    loss = history["held_out_loss"].isel(attempt=0, seed=0)
    assert loss[-1] < 0.5 * loss[0]
    with pytest.raises(BankError, match=r"training.fresh_noise = true: .* must give `noise` to `self.dataset`"):
        train_round(TASK, BANK.drop_vars("noise_sd"), recipe(fresh_noise=True), [name(0)])


def test_several_steps_for_a_sample_are_an_integration_with_a_smaller_step():
    run = attempt()
    run.networks.recurrent_noise = 0.0
    run.objective.every = 2
    run.workspaces = {substeps: run.evaluation_workspace.__class__() for substeps in (1, 2, 64, 128)}
    inputs = run._of(torch.arange(16)[None], run.bank.inputs)
    found = {}
    for substeps in run.workspaces:
        outputs, rates = run._noisy_outputs(inputs, torch.tensor(1), substeps)
        found[substeps] = outputs.detach().clone(), rates.detach().clone()
    # Against an integration by hand.
    networks = run.networks
    state, expected = networks.initial_state[:, None].expand(-1, 16, -1), []
    for sample in inputs.unbind(1):
        for _ in range(2):
            state = state + networks.alpha / 2 * networks.force(state, sample)
        expected.append(networks.rates_of(state))
    expected = torch.stack(expected, 1).detach()
    torch.testing.assert_close(found[2][1], expected[:, ::2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[2][0], networks.readout(expected).detach(), atol=1e-5, rtol=1e-5)
    # The limit: halving a small step changes little, and less than halving a large one.
    change = [float((found[a][0] - found[b][0]).abs().max()) for a, b in ((1, 2), (64, 128))]
    assert change[1] < 0.05 * change[0]
    assert networks.alpha == pytest.approx(0.2)


def test_private_noise_of_substeps_has_the_same_stationary_size():
    run = attempt()
    run.workspaces = {substeps: run.evaluation_workspace.__class__() for substeps in (1, 4)}
    networks = run.networks
    networks.recurrent_weights.data.zero_()
    networks.input_weights.data.zero_()
    networks.recurrent_noise, networks.output_weights.data = 0.01, torch.eye(12)[None, :1]
    networks.output_bias.data.zero_()
    inputs = torch.zeros(1, 200, 64, 1)
    spread = [float(run._noisy_outputs(inputs, torch.tensor(1), n)[0][:, 50:].detach().std()) for n in (1, 4)]
    alpha = networks.alpha
    for found, step in zip(spread, (alpha, alpha / 4), strict=True):
        # Of x <- (1 - a) x + sqrt(2 a) sigma xi.
        assert found == pytest.approx(0.01 * math.sqrt(2 * step / (1 - (1 - step) ** 2)), rel=0.03)


def test_iterations_take_each_number_of_steps_and_blocks_are_as_networks_alone():
    chosen = recipe(substeps=[1, 2], fresh_noise=True)
    both, _ = train_round(TASK, BANK, chosen, [name(0), name(1)])
    alone, _ = train_round(TASK, BANK, chosen, [name(1)])
    plain, _ = train_round(TASK, BANK, recipe(fresh_noise=True), [name(1)])
    np.testing.assert_allclose(both["recurrent_weights"][1], alone["recurrent_weights"][0], atol=2e-4)
    assert np.abs(alone["recurrent_weights"] - plain["recurrent_weights"]).max() > 1e-3
    gru = Recipe(network={"architecture": "gru", "units": 8}, training=chosen.training, terms={})
    assert train_round(TASK, BANK, gru, [name(0)])[0]["iterations"].item() == 20


def test_the_adjoint_norm_is_that_of_automatic_differentiation():
    run = attempt((0, 1))
    networks = run.networks.double()
    chosen = torch.stack([torch.arange(16), torch.arange(16, 32)])
    inputs = run._of(chosen, run.bank.inputs).double()
    term = AdjointNorm(AdjointNormSettings(trials=5))
    valid = torch.ones(2, inputs.shape[1], 16, dtype=torch.float64)
    valid[:, 20:, 3] = 0
    rates = networks.simulate(inputs, states=True)[0]
    value = term.value(rates, networks, Stored(), chosen, valid)
    noise = torch.zeros(2, inputs.shape[1], 5, 12, dtype=torch.float64, requires_grad=True)
    outputs = networks.readout(networks.simulate(inputs[:, :, :5], noise, states=True)[0])
    signs = _signs(chosen, outputs[0].numel()).view_as(outputs) * valid[:, :, :5, None]
    (by_noise,) = torch.autograd.grad((outputs * signs).sum(), noise, create_graph=True)
    expected = by_noise.square().sum((1, 2, 3)) / signs.square().sum((1, 2, 3))
    torch.testing.assert_close(value[:, 0], expected, rtol=1e-4, atol=0)
    # The gradient goes through the trajectory, too.
    found = torch.autograd.grad(value.sum(), networks.recurrent_weights, retain_graph=True)[0]
    reference = torch.autograd.grad(expected.sum(), networks.recurrent_weights)[0]
    torch.testing.assert_close(found, reference, rtol=1e-3, atol=1e-6)


def test_a_shuffled_reference_can_be_predicted_by_its_time_course_alone(earlier):
    found = {}
    for shuffled in (False, True):
        settings = PredictivitySettings(shuffled=shuffled)
        stored = join_earlier({"predictivity": settings}, [earlier], BANK, ["a.nc"])["predictivity"]
        found[shuffled] = stored.of_networks["components"]
    moved, plain = found[True][0], found[False][0]
    assert sorted(moved.sum((1, 2)).tolist()) == pytest.approx(sorted(plain.sum((1, 2)).tolist()))
    assert (moved != plain).any((1, 2)).double().mean() > 0.9
    torch.testing.assert_close(moved.mean(0), plain.mean(0), atol=1e-5, rtol=1e-5)


def test_trials_that_cannot_change_places_are_refused(earlier):
    """Each is the only one of its length: shuffled, they would be as they were."""
    steps = np.minimum(np.arange(96), BANK.sizes["time"])[:, None]
    alone = BANK.isel(trial=slice(30)).assign(valid=(("trial", "time"), (np.arange(BANK.sizes["time"]) < steps)[:30]))
    settings = PredictivitySettings(shuffled=True)
    with pytest.raises(TermError, match=r"terms\.predictivity\.shuffled = true: too many trials.*fewer lengths"):
        join_earlier({"predictivity": settings}, [earlier.isel(bank_trial=slice(30))], alone, ["a.nc"])


def test_a_constant_step_size():
    _, history = train_round(TASK, BANK, recipe(step_schedule="constant"), [name(0)])
    assert set(history["step_size"].values[0, 0, 1:].tolist()) == {np.float32(1e-2)}
