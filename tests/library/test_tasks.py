"""Trials by the definitions of the tasks, checked with plain loops, and scores of perfect and guessed outputs."""

import numpy as np
import pytest
from known import TASKS

from insd.datasets import validate
from insd.tasks.context_integration import ContextIntegration
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro

ALL = [(name, regime) for name, task in TASKS.items() for regime in task().regime_names()]


@pytest.mark.parametrize("name, regime", ALL)
def test_samples_keep_the_contract_and_are_seeded(name, regime):
    task = TASKS[name]()
    trials = task.sample(regime, 30, seed=1)
    trials.attrs["fingerprint"] = "x"
    validate(trials, "trials", "sample")
    assert trials.sizes["trial"] == 30
    assert trials.identical(task.sample(regime, 30, seed=1).assign_attrs(fingerprint="x"))
    assert not np.array_equal(trials["inputs"], task.sample(regime, 30, seed=2)["inputs"])
    np.testing.assert_allclose(np.diff(trials["time"]), task.dt)
    assert set(np.unique(trials["mask"])) == {0.0, 1.0}


@pytest.mark.parametrize("name", TASKS)
def test_targets_score_perfectly_and_guesses_at_chance(name):
    task = TASKS[name]()
    trials = task.sample("test", 400, seed=3)
    targets = trials["targets"].values
    assert task.solved(float(task.score(trials, targets)))
    guesses = np.random.default_rng(0).standard_normal((20, *targets.shape))
    scores = task.score(trials, guesses)
    assert scores.shape == (20,)
    assert scores.mean() == pytest.approx(task.chance, rel=0.05)
    assert not any(task.solved(score) for score in scores)
    assert not task.solved(float("nan"))


def test_flip_flop_holds_the_last_pulse():
    task = FlipFlop(input_noise=0.0, duration=3.0)
    trials = task.sample("train", 20, seed=0)
    inputs, targets, mask = (trials[name].values for name in ("inputs", "targets", "mask"))
    for trial in range(20):
        for channel in range(3):
            onset, previous = None, 0.0
            for t in range(trials.sizes["time"]):
                value = inputs[trial, t, channel]
                # Pulses are 3 steps wide and never touch: the refractory time is 5 steps.
                if value != 0 and (previous == 0 or t - onset >= 5):
                    onset, sign = t, value
                assert targets[trial, t, channel] == sign
                assert mask[trial, t, channel] == (t - onset >= 5)
                assert (value != 0) == (t - onset < 3)
                previous = value


def test_flip_flop_pulse_rate():
    """A pulse at the start, then waiting times of 0.1 s plus an exponential of mean 1/3 s (renewal theory)."""
    trials = FlipFlop(input_noise=0.0, duration=6.0).sample("train", 1000, seed=0)
    on = trials["inputs"].values != 0
    pulses = 1 + (on[:, 1:] & ~on[:, :-1]).sum(1).mean()
    mean, spread = 0.1 + 1 / 3, 1 / 3
    expected = 1 + 6.0 / mean + (spread**2 - mean**2) / (2 * mean**2)
    assert pulses == pytest.approx(expected, rel=0.01)


def test_context_integration_periods_and_target():
    task = ContextIntegration(evidence_noise=0.0)
    trials = task.sample("train", 50, seed=0)
    for trial in trials.transpose("trial", ...)["trial"].values:
        one = trials.isel(trial=trial)
        inputs = one["inputs"].values
        context = int(one["context"])
        relevant = float(one[f"coherence_{context}"])
        go = round(float(one["go_time"]) / task.dt)
        assert inputs[:, 1 + context].all() and not inputs[:, 4 - context].any()
        assert inputs[:go, 4].all() and not inputs[go:, 4].any()
        shown = inputs[:, 0] != 0
        assert shown.sum() == 40
        on, off = (round(float(one[name]) / task.dt) for name in ("stimulus_time", "delay_time"))
        assert shown[on:off].all() and 5 <= go - off <= 15
        np.testing.assert_allclose(inputs[shown, context - 1], relevant, rtol=1e-6)
        target = one["targets"].values[:, 0]
        assert not target[:go].any()
        assert (target[go:] == np.sign(relevant)).all()
        scored = one["mask"].values[:, 0]
        assert scored[:go].all() and not scored[go : go + 5].any() and scored[go + 5 :].all()
        assert len(scored) - go >= 15


def test_context_integration_target_integral():
    trials = ContextIntegration(target="integral", evidence_noise=0.0).sample("train", 50, seed=0)
    np.testing.assert_allclose(trials["targets"].values[:, -1, 0], trials["relevant_coherence"] / 0.4, atol=1e-6)


def test_memory_pro_periods_and_target():
    task = MemoryPro(input_noise=0.0)
    trials = task.sample("train", 50, seed=0)
    for trial in range(50):
        one = trials.isel(trial=trial)
        angle = float(one["angle"])
        on, off, go = (round(float(one[name]) / task.dt) for name in ("stimulus_time", "delay_time", "go_time"))
        inputs, targets = one["inputs"].values, one["targets"].values
        assert inputs[:go, 0].all() and not inputs[go:, 0].any()
        np.testing.assert_allclose(inputs[on:off, 1:], [[np.cos(angle), np.sin(angle)]] * (off - on), atol=1e-6)
        assert not inputs[:on, 1:].any() and not inputs[off:, 1:].any()
        assert (targets[:go] == [1, 0, 0]).all()
        np.testing.assert_allclose(targets[go:], [[0, np.cos(angle), np.sin(angle)]] * (len(targets) - go), atol=1e-6)
        assert 10 <= off - on <= 20 and 10 <= go - off <= 40


def test_memory_pro_score_is_the_median_angular_error():
    task = MemoryPro()
    trials = task.sample("test", 101, seed=0)
    error = np.deg2rad(np.linspace(-40, 40, 101))
    angle = trials["angle"].values + error
    outputs = np.zeros(trials["targets"].shape)
    outputs[..., 1], outputs[..., 2] = np.cos(angle)[:, None], np.sin(angle)[:, None]
    assert task.score(trials, outputs) == pytest.approx(np.median(np.abs(np.rad2deg(error))), abs=1e-6)


def test_half_the_time_step_keeps_noise_power_and_durations():
    coarse, fine = ContextIntegration(), ContextIntegration(dt=0.01)
    assert fine.step_noise(0.1) == pytest.approx(0.1 * np.sqrt(2))
    assert fine.sample("test", 2, 0).sizes["time"] == 2 * coarse.sample("test", 2, 0).sizes["time"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: FlipFlop(duration=-1.0), "duration = -1.0: must not be negative"),
        (lambda: FlipFlop(pulse_width=0.5), "pulse_width = 0.5 s: must be positive and at most refractory"),
        (lambda: FlipFlop(channels=0), "channels = 0"),
        (lambda: MemoryPro(delay=(2.0, 1.0)), "shortest <= longest"),
        (lambda: MemoryPro(dt=0.0), "dt = 0.0: the time step must be positive"),
        (lambda: MemoryPro().sample("harder", 1, 0), "unknown regime 'harder'; this task has: train, test, noisy"),
        (lambda: MemoryPro(regimes={"x": {"nose": 1}}).sample("x", 1, 0), "regimes.x: no field nose"),
        (lambda: MemoryPro().sample("test", 0, 0), "at least one trial"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make()
