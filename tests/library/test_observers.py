"""Ideal observers, checked by closed forms, by counting trials, and by Bayes' rule on a grid of the prior."""

import numpy as np
import pytest
import torch
from known import TASKS
from scipy.stats import norm

from insd.activity import loss_and_score
from insd.tasks import Task, observers
from insd.tasks.context_integration import ContextIntegration
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro
from insd.tasks.parity import Parity
from insd.tasks.sine_wave import SineWave

N = 20_000


def expected(posterior_mean, shift, sd):
    """Unexplained share of a sign, by integration over evidence that is normal around +shift."""
    x = np.linspace(shift - 9 * sd, shift + 9 * sd, 20_001)
    return np.trapezoid(np.square(1 - posterior_mean(x)) * norm.pdf(x, shift, sd), x)


def test_one_level_is_decided_as_often_as_phi_says():
    """Of n steps of the mean m with noise s, a share Phi(m sqrt(n) / s) of signs is correct."""
    fixed = {"stimulus": (0.4, 0.4), "delay": (0.1, 0.1), "levels": (0.1,), "evidence_noise": 0.4, "target": "sign"}
    task = ContextIntegration(**fixed)
    trials = task.sample("test", N, 0)
    share = norm.cdf(0.1 * np.sqrt(20) / 0.4)
    assert task.score(trials, task.ideal_outputs(trials)) == pytest.approx(share, abs=4 * np.sqrt(0.25 / N))
    # The sum of the evidence has the mean 20 m and the standard deviation s sqrt(20).
    lost = expected(lambda x: np.tanh(0.1 * x / 0.16), 20 * 0.1, 0.4 * np.sqrt(20))
    assert task.floor(trials) == pytest.approx(lost, abs=4 * 0.7 / np.sqrt(N))


def moments_by_hand(total, steps, sd, values):
    """Of one trial, with values of equal prior."""
    log = norm.logpdf(total, steps * values, sd * np.sqrt(steps))
    weights = np.exp(log - log.max())
    return (weights * np.sign(values)).sum() / weights.sum(), (weights * values).sum() / weights.sum()


@pytest.mark.parametrize("levels", [(0.1, 0.2, 0.4), (0.04,), ()])
def test_coherences_are_weighed_by_bayes_rule(levels):
    random = np.random.default_rng(0)
    total, steps, sd = random.normal(0, 3, 50), random.integers(1, 80, 50), random.uniform(0.1, 1, 50)
    values = np.concatenate([levels, np.negative(levels)]) if levels else (np.arange(40_000) + 0.5) / 5e4 - 0.4
    by_hand = np.transpose([moments_by_hand(*trial, values) for trial in zip(total, steps, sd, strict=True)])
    found = observers.of_levels(total, steps, sd, levels) if levels else observers.of_uniform(total, steps, sd, 0.4)
    np.testing.assert_allclose(found, by_hand, atol=1e-4 if not levels else 1e-9)


def test_evidence_far_beyond_all_coherences_is_certain():
    sign, mean = observers.of_uniform(np.array([-900.0, 900.0]), np.array([10, 10]), np.array([0.1, 0.1]), 0.4)
    np.testing.assert_allclose(sign, [-1, 1])
    np.testing.assert_allclose(mean, [-0.4, 0.4], atol=1e-4)


def test_the_strength_of_uniform_coherences_is_known_up_to_the_noise_of_their_mean():
    """Little noise: a normal posterior of variance s² / n, against c² / 3 of the coherences; the ends hardly count."""
    fixed = {"stimulus": (0.8, 0.8), "delay": (0.1, 0.1), "levels": (), "evidence_noise": 0.1}
    task = ContextIntegration(**fixed)
    assert task.floor(task.sample("test", N, 0)) == pytest.approx(0.1**2 / 40 / (0.4**2 / 3), rel=0.06)


def test_direction_is_weighed_by_bayes_rule():
    random = np.random.default_rng(0)
    total, sd = random.normal(0, 2, (40, 2)), random.uniform(0.4, 2, 40)
    angles = np.linspace(-np.pi, np.pi, 5000, endpoint=False)
    shown = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    log = total @ shown.T / np.square(sd)[:, None]
    weights = np.exp(log - log.max(1, keepdims=True))
    by_hand = weights @ shown / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(observers.mean_direction(total, sd), by_hand, atol=1e-9)


def test_flip_flop_by_the_closed_form_of_one_pulse():
    """After a pulse of w steps, of a single channel and in trials of a single pulse."""
    task = FlipFlop(channels=1, pulse_rate=1e-9, input_noise=0.8)
    trials = task.sample("test", N, 0)
    assert task.floor(trials) == pytest.approx(expected(lambda x: np.tanh(x / 0.64), 3.0, 0.8 * np.sqrt(3)), rel=0.05)
    outputs = task.ideal_outputs(trials)
    assert (np.diff(outputs[:, 3:], axis=1) == 0).all() and (np.diff(outputs[:, :3], axis=1) != 0).all()
    assert task.score(trials, outputs) == pytest.approx(norm.cdf(np.sqrt(3) / 0.8), abs=4 * np.sqrt(0.25 / N))


def test_flip_flop_observer_by_a_loop():
    """Pulses that may touch, also with equal signs, and a silence before the first one."""
    task = FlipFlop(
        first_pulse=False,
        pulse_width=0.04,
        refractory=0.04,
        reaction=0.0,
        pulse_rate=20.0,
        duration=1.0,
        input_noise=0.7,
    )
    trials = task.sample("test", 30, 0)
    found, clean, inputs = task.ideal_outputs(trials), trials["clean_inputs"].values, trials["inputs"].values
    for trial in range(30):
        for channel in range(3):
            seen, steps = 0.0, 2
            for time in range(trials.sizes["time"]):
                pulse = clean[trial, time, channel]
                if pulse:
                    begins = (
                        steps == 2 or not clean[trial, time - 1, channel] or clean[trial, time - 1, channel] != pulse
                    )
                    seen, steps = (0.0, 0) if begins else (seen, steps)
                    seen, steps = seen + float(inputs[trial, time, channel]), steps + 1
                assert found[trial, time, channel] == pytest.approx(np.tanh(seen / 0.49), abs=1e-5)


OBSERVED = [name for name, task in TASKS.items() if task.ideal_outputs is not Task.ideal_outputs]


@pytest.mark.parametrize("name", OBSERVED)
def test_no_simple_change_beats_the_ideal_observer(name):
    """Its error is that of a posterior mean: larger by the square of whatever is added, and of any shrinkage."""
    field = "evidence_noise" if name == "context_integration" else "input_noise"
    task = TASKS[name](**{field: (0.3, 1.2)})
    trials = task.sample("test", 4000, 0)
    ideal, floor = task.ideal_outputs(trials), task.floor(trials)
    assert 0 < floor < 1
    loss, _ = loss_and_score(task, torch.from_numpy(ideal[None].astype(np.float32)), trials)
    assert loss[0] == pytest.approx(floor, rel=1e-3)
    for changed in (0.9 * ideal, 1.1 * ideal, ideal * np.abs(ideal), np.sign(ideal)):
        loss, _ = loss_and_score(task, torch.from_numpy(changed[None].astype(np.float32)), trials)
        assert loss[0] > floor
    # Half of the evidence leaves more unexplained.
    noise = np.random.default_rng(1).standard_normal(trials["inputs"].shape)
    blurred = trials.assign(inputs=trials["inputs"] + trials["noise_sd"] * noise)
    assert task.floor(blurred) > floor


def test_frequencies_are_weighed_by_bayes_rule():
    """The products of the densities of all inputs so far, by a loop."""
    task = SineWave(channels=2, frequencies=4, input_noise=(0.5, 2.0), duration=0.5)
    trials = task.sample("test", 6, 0)
    found, known = task.ideal_outputs(trials), np.array([0.1, 1.0667, 2.0333, 3.0])
    for trial, channel in np.ndindex(6, 2):
        weights = np.ones(4)
        for step in range(trials.sizes["time"]):
            seen, sd = (float(trials[name][trial, step, channel]) for name in ("inputs", "noise_sd"))
            weights = weights * norm.pdf(seen, known / 3, sd)
            sines = np.sin(2 * np.pi * known * 0.02 * (step + 1))
            assert found[trial, step, channel] == pytest.approx(weights @ sines / weights.sum(), abs=1e-3)


def test_parity_is_weighed_by_bayes_rule_over_all_pairs_of_inputs():
    task = Parity(input_noise=(0.5, 2.0), duration=0.2, reaction=0.0, levels=(0.3, 1.0))
    trials = task.sample("test", 8, 0)
    found = task.ideal_outputs(trials)
    pairs = [(one, other) for one in (-1.0, -0.3, 0.3, 1.0) for other in (-1.0, -0.3, 0.3, 1.0)]
    for trial, steps in ((trial, steps) for trial in range(8) for steps in (1, 10)):
        shown = trials["inputs"].values[trial, :steps].astype(float)
        weights = np.array([norm.pdf(shown, pair, float(trials["noise_sd"][trial, 0, 0])).prod() for pair in pairs])
        expected = weights @ np.sign(pairs).prod(1) / weights.sum()
        assert found[trial, steps - 1, 0] == pytest.approx(expected, abs=1e-5)


def test_what_has_no_noise_is_known():
    noiseless = [task(input_noise=0.0) for task in (FlipFlop, MemoryPro, SineWave)]
    for task in (*noiseless, ContextIntegration(evidence_noise=0.0)):
        assert task.floor(task.sample("test", 50, 0)) == pytest.approx(0, abs=1e-9)
    integral = ContextIntegration(target="integral")
    assert integral.floor(integral.sample("test", 50, 0)) == 0


@pytest.mark.parametrize("levels", [(), (0.2,)])
def test_of_what_is_not_shown_the_prior_remains(levels):
    task = ContextIntegration(levels=levels, stimulus=(0.0, 0.04), target="sign", evidence_noise=0.4)
    trials = task.sample("test", 60, 0)
    hidden = trials["stimulus_time"].values == trials["delay_time"].values
    ideal = task.ideal_outputs(trials)
    assert 5 < hidden.sum() < 55 and (ideal[hidden] == 0).all() and (ideal[~hidden, -1] != 0).all()
    assert 0 < task.floor(trials) < 2


def test_tasks_without_an_observer_or_with_a_loss_of_their_own_have_no_floor():
    class Silent(FlipFlop):
        def ideal_outputs(self, trials):
            return None

    class OwnLoss(FlipFlop):
        def loss(self, outputs, targets, mask, variance):
            return super().loss(outputs, targets, mask, variance)

    for task in (Silent(), OwnLoss()):
        assert task.floor(task.sample("test", 5, 0)) is None
    assert FlipFlop().floor(FlipFlop().sample("test", 5, 0).drop_vars("noise_sd")) is None
