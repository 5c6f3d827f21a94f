"""Rounds of small networks: solved, repeatable, independent of their neighbours, deflated, restarted, stopped."""

import logging

import numpy as np
import pytest
import torch
import xarray as xr

from insd.activity import loss_and_score, record_activity, simulate_trials
from insd.attempt import Attempt, TrainingError
from insd.bank import Bank
from insd.checkpoints import Checkpoint
from insd.datasets import DatasetError
from insd.measures.predictivity import linear_predictivity
from insd.networks.base import load_networks
from insd.networks.rate import RateRNN
from insd.objectives.base import join_earlier
from insd.objectives.settings.predictivity import PredictivitySettings
from insd.predictivity import null_projector_array
from insd.provenance import array_fingerprint
from insd.settings.recipe import Recipe, Training
from insd.tasks.base import target_variance
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.8)


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    made.attrs["fingerprint"] = array_fingerprint(made, ["inputs", "targets", "mask"])
    return made


BANK, TEST = trials("train", 256, 1), trials("test", 64, 2)


def recipe(iterations=150, deflation=None, **training):
    chosen = {"iterations": iterations, "batch_size": 32, "evaluate_every": 25, "validation_trials": 64, "restarts": 0}
    return Recipe(
        network={"units": 24, "gain": 1.0},
        training=Training(**(chosen | {"step_size": 1e-2} | training)),
        terms={"predictivity": deflation or {}},
    )


def name(seed, round_number=0):
    return ("flip_flop", "test", seed, round_number)


@pytest.fixture(scope="module")
def reference():
    network, history = train_round(TASK, BANK, recipe(), [name(0), name(1)])
    return network, history, record_activity(network, TASK, BANK, TEST, Recipe().terms)


def test_task_loss_equals_a_numpy_sum():
    bank = Bank.from_trials(BANK)
    targets, mask = bank.targets.numpy(), bank.mask.numpy()
    scored = targets[mask > 0]
    variance = target_variance(bank.targets, bank.mask)
    assert variance == pytest.approx(scored.var(), rel=1e-5)
    outputs = np.random.default_rng(0).standard_normal((2, *targets.shape)).astype(np.float32)
    expected = [np.square(o[mask > 0] - scored).mean() / scored.var() for o in outputs]
    loss = TASK.loss(torch.from_numpy(outputs), bank.targets, bank.mask, variance)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    best_constant = torch.full((1, *targets.shape), float(scored.mean()))
    assert TASK.loss(best_constant, bank.targets, bank.mask, variance).item() == pytest.approx(1, rel=1e-4)


def test_networks_learn_the_task(reference):
    network, history, activity = reference
    assert activity["solved"].all()
    assert float(history["held_out_loss"].isel(iteration=-1).max()) < 0.1
    assert float(history["held_out_loss"].isel(iteration=0).min()) > 0.5
    assert network.attrs["nonlinearity"] == "tanh"


def test_the_same_command_twice_gives_equal_arrays(reference):
    again, history = train_round(TASK, BANK, recipe(), [name(0), name(1)])
    assert again.equals(reference[0])
    assert history.equals(reference[1])


def test_a_network_in_a_block_equals_the_same_network_alone(reference):
    alone, history = train_round(TASK, BANK, recipe(), [name(1)])
    for weights in RateRNN.dimensions:
        np.testing.assert_allclose(alone[weights], reference[0][weights].isel(seed=[1]), atol=1e-5)
    np.testing.assert_allclose(
        history["held_out_loss"].values[..., -1],
        reference[1]["held_out_loss"].isel(seed=[1]).values[..., -1],
        atol=1e-5,
    )
    assert not np.allclose(alone["recurrent_weights"], reference[0]["recurrent_weights"].isel(seed=[0]))


def test_stored_activity_is_that_of_the_network(reference):
    network, _, activity = reference
    rates, outputs = simulate_trials(network, TEST)
    np.testing.assert_array_equal(activity["rates"], rates)
    weights, bias = (network[part].values for part in ("output_weights", "output_bias"))
    expected = np.einsum("sbtu,sou->sbto", rates, weights) + bias[:, None, None]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert loss_and_score(TASK, outputs, TEST)[1].tolist() == activity["score"].values.tolist()
    # The stored components span the null-space rates on the bank, up to the share of variance left out.
    bank_rates = simulate_trials(network, BANK)[0].numpy()[1, :, ::2] @ null_projector_array(weights[1])
    components = activity["null_activity"].values[1]
    spanned = linear_predictivity(components.reshape(-1, components.shape[-1]), bank_rates.reshape(-1, 24))
    assert spanned == pytest.approx(float(activity["null_variance_kept"][1]), abs=1e-4)
    assert spanned >= PredictivitySettings().variance_kept - 1e-4


def test_deflation_lowers_null_space_predictivity_on_new_trials(reference):
    network, _, activity = reference
    deflation = {"multiplier": 1.0, "schedule": "constant", "task_only": 0.2, "ramp": 0.2}
    r2 = {}
    for label, factor in (("deflated", 1.0), ("free", 1e-6)):
        settings = recipe(600, deflation | {"multiplier": factor}, loss_bound=1e-6)
        stored = join_earlier(Recipe().terms, [activity.isel(seed=[0])], BANK, ["activity.nc"])
        alternative, history = train_round(TASK, BANK, settings, [name(0, 1)], stored)
        recorded = record_activity(alternative, TASK, BANK, TEST, Recipe().terms)
        assert recorded["solved"].all()
        new, old = (
            a["rates"].values[0].reshape(-1, 24) @ null_projector_array(n["output_weights"].values[0])
            for n, a in ((alternative, recorded), (network, activity))
        )
        r2[label] = linear_predictivity(new.astype(np.float64), old.astype(np.float64))
        assert history["penalty"].dims == ("attempt", "seed", "iteration", "earlier")
        assert history["multiplier"].isel(iteration=-1).item() == pytest.approx(factor)
    assert r2["deflated"] < r2["free"] - 0.3


def test_training_stops_early_once_all_bounds_have_held(reference):
    network, history = train_round(TASK, BANK, recipe(2000, loss_bound=0.2, patience=2), [name(0), name(1)])
    assert history["iteration"].max() < 2000
    for seed in range(2):
        own = history.isel(attempt=0, seed=seed)[["held_out_loss", "held_out_score"]].dropna("iteration")
        good = ((own["held_out_loss"] <= 0.2) & (own["held_out_score"] >= TASK.criterion)).values
        assert good[-2:].all() and not good[-3]
    alone, _ = train_round(TASK, BANK, recipe(2000, loss_bound=0.2, patience=2), [name(1)])
    np.testing.assert_allclose(alone["recurrent_weights"], network["recurrent_weights"].isel(seed=[1]), atol=1e-5)


def test_unsolved_networks_restart_a_bounded_number_of_times_and_are_kept():
    network, history = train_round(TASK, BANK, recipe(2, restarts=2), [name(0), name(1)])
    assert network["restarts"].values.tolist() == [2, 2]
    assert history.sizes["attempt"] == 3
    starts = history["held_out_loss"].isel(iteration=0, seed=0).values
    assert len(set(starts.tolist())) == 3
    activity = record_activity(network, TASK, BANK, TEST, Recipe().terms)
    assert not activity["solved"].any()
    assert np.isfinite(network["recurrent_weights"]).all()


def test_zero_iterations_leave_networks_untrained():
    network, history = train_round(TASK, BANK, recipe(0, restarts=2), [name(0)])
    assert network["restarts"].item() == 0
    assert history["iteration"].values.tolist() == [0]
    assert not network["bias"].any()


def test_a_loss_that_is_not_finite_stops_with_what_to_change():
    with pytest.raises(
        TrainingError, match=r"flip_flop/test/0/0: the loss is not finite at iteration \d+; lower train"
    ):
        train_round(TASK, BANK, recipe(step_size=1e38), [name(0)])
    too_large = BANK.assign(targets=BANK["targets"] * 1e25)
    with pytest.raises(TrainingError, match=r"before any training: .* the targets 1e\+25.* scale the trials"):
        train_round(TASK, too_large, recipe(), [name(0)])


def test_what_becomes_of_a_network_after_it_has_stopped_does_not_matter(monkeypatch):
    # The first network stops after five iterations, and diverges at the 21st if it stays in the block.
    monkeypatch.setattr(Attempt, "SHRINKS_AT", {"cpu": 0.0})
    settings = Recipe(
        network={"units": 24, "gain": 1.0, "nonlinearity": "relu"},
        training=Training(
            **{"iterations": 100, "batch_size": 32, "evaluate_every": 1, "validation_trials": 64, "restarts": 0},
            **{"step_size": 7.0, "patience": 1, "loss_bound": 1.0},
        ),
        terms={"predictivity": {}},
    )
    easy = type("Easy", (FlipFlop,), {"criterion": 0.0})(channels=1, duration=0.8)
    network, _ = train_round(easy, BANK, settings, [name(28), name(23)])
    assert network["iterations"].values.tolist() == [5, 100]


def test_activity_that_does_not_vary_stops_with_the_name_of_the_network():
    settings = Recipe(
        network={"units": 4, "gain": 1.0, "nonlinearity": "relu"},
        training=Training(
            **{"iterations": 60, "batch_size": 16, "evaluate_every": 10, "validation_trials": 32, "restarts": 0}
        ),
        terms={"predictivity": {}},
    )
    earlier, _ = train_round(TASK, BANK, settings, [name(0)])
    stored = join_earlier(settings.terms, [record_activity(earlier, TASK, BANK, TEST, settings.terms)], BANK, ["a"])
    still = earlier.assign({part: 0 * earlier[part] for part in ("input_weights", "bias", "initial_state")})
    start = load_networks([still], BANK.attrs["dt"])
    attempt = Attempt(TASK, BANK, settings, [name(7, 1)], stored, torch.device("cpu"), start)
    with pytest.raises(TrainingError, match=r"flip_flop/test/7: the loss is not finite before any training: .* vary"):
        next(attempt.train(False))


def test_a_bank_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"the bank has 80 trials: too few for training.validation_trials = 64"):
        train_round(TASK, BANK.isel(trial=slice(80)), recipe(), [name(0)])


def test_progress_goes_to_the_log(caplog):
    with caplog.at_level(logging.INFO, logger="insd"):
        train_round(TASK, BANK, recipe(50), [name(0)])
    assert "iteration 50/50: task loss" in caplog.text
    assert "it/s" in caplog.text


def test_a_progress_bar_is_shown_where_it_is_wanted(capsys):
    train_round(TASK, BANK, recipe(50), [name(0)])
    assert capsys.readouterr().err == ""
    train_round(TASK, BANK, recipe(50), [name(0)], progress_bar=True)
    assert "50/50" in capsys.readouterr().err


def test_earlier_activity_of_another_bank_or_seeds_is_refused(reference):
    activity = reference[2]
    foreign = trials("train", 256, seed=9)
    with pytest.raises(DatasetError, match=r"old.nc: holds activity on a different trial bank"):
        join_earlier(Recipe().terms, [activity], foreign, ["old.nc"])
    with pytest.raises(DatasetError, match=r"b.nc: its 'seed' differs from that of a.nc"):
        join_earlier(Recipe().terms, [activity, activity.assign_coords(seed=[5, 6])], BANK, ["a.nc", "b.nc"])


def test_earlier_rounds_stand_side_by_side(reference):
    activity = reference[2]
    narrower = activity.isel(component=slice(2))
    joined = join_earlier(Recipe().terms, [activity, narrower], BANK, ["a.nc", "b.nc"])["predictivity"]
    count = activity.sizes["component"]
    assert joined.shared["membership"].sum(0).tolist() == [count, 2]
    assert (joined.every, joined.earlier) == (2, 2)
    np.testing.assert_array_equal(
        joined.of_networks["components"][1, 7, 3, count:], activity["null_activity"][1, 7, 3, :2]
    )


def test_history_is_a_dataset(reference):
    assert isinstance(reference[1], xr.Dataset)
    assert np.isnan(reference[1]["task_loss"].isel(iteration=0)).all()
    assert np.isfinite(reference[1]["task_loss"].isel(iteration=-1)).all()


def stopping_at_different_times(share, monkeypatch, round_number=0, earlier=None, **options):
    """Four networks that stop one after the other, with the share at which their block shrinks; and its sizes."""
    monkeypatch.setattr(Attempt, "SHRINKS_AT", {"cpu": share})
    sizes = []
    keep = Attempt._keep
    monkeypatch.setattr(Attempt, "_keep", lambda self, rows: (sizes.append(len(rows)), keep(self, rows)))
    settings = recipe(
        300, {"task_only": 0.0, "bound": 0.99, "multiplier": 0.05}, patience=1, loss_bound=0.12, evaluate_every=10
    )
    names = [name(seed, round_number) for seed in range(4)]
    network, history = train_round(TASK, BANK, settings, names, earlier, **options)
    monkeypatch.setattr(Attempt, "_keep", keep)
    return network, history, sizes


def test_networks_that_have_stopped_leave_their_block_and_change_rounding_alone(monkeypatch):
    whole, history, sizes = stopping_at_different_times(0.0, monkeypatch)
    shrunken, shorter, smaller = stopping_at_different_times(0.75, monkeypatch)
    assert not sizes and min(smaller) < 4
    ends = history["held_out_loss"][0].notnull().sum("iteration")
    assert len(set(ends.values)) > 1, "they stop at different times"
    xr.testing.assert_allclose(shrunken, whole, rtol=1e-3, atol=1e-4)
    xr.testing.assert_allclose(shorter, history, rtol=1e-3, atol=1e-4)

    activity = record_activity(whole, TASK, BANK, TEST, Recipe().terms)
    earlier = join_earlier(Recipe().terms, [activity], BANK, ["activity.nc"])
    whole, history, _ = stopping_at_different_times(0.0, monkeypatch, 1, earlier)
    shrunken, shorter, smaller = stopping_at_different_times(0.75, monkeypatch, 1, earlier)
    assert min(smaller) < 4
    xr.testing.assert_allclose(shrunken, whole, rtol=1e-2, atol=1e-3)
    xr.testing.assert_allclose(shorter, history, rtol=1e-2, atol=1e-3)


def test_a_block_that_has_shrunk_resumes_from_its_checkpoint(monkeypatch, tmp_path):
    whole, history, _ = stopping_at_different_times(0.75, monkeypatch)
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 0.0)
    evaluate, count = Attempt._evaluate, len(history["iteration"]) - 2

    def interrupted(self, iteration):
        if len(self.rows) == count and len(self.names) < 4:
            raise KeyboardInterrupt
        return evaluate(self, iteration)

    monkeypatch.setattr(Attempt, "_evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stopping_at_different_times(0.75, monkeypatch, checkpoint=tmp_path / "state")
    monkeypatch.setattr(Attempt, "_evaluate", evaluate)
    resumed, after, _ = stopping_at_different_times(0.75, monkeypatch, checkpoint=tmp_path / "state")
    xr.testing.assert_equal(resumed, whole)
    xr.testing.assert_equal(after, history)
