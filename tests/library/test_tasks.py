"""Trials by the definitions of the tasks, checked with plain loops, and scores of perfect and guessed outputs."""

import re

import numpy as np
import pytest
from known import TASKS

from insd.datasets import validate
from insd.provenance import trials_fingerprint
from insd.tasks import Task
from insd.tasks.context_integration import ContextIntegration
from insd.tasks.delayed_discrimination import DelayedDiscrimination
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro
from insd.tasks.parity import Parity
from insd.tasks.path_integration import PathIntegration
from insd.tasks.sine_wave import SineWave

UNIFORM = {"levels": (), "stimulus": (0.8, 0.8), "delay": (0.1, 0.3), "target": "sign"}
"""Context integration whose sign some trials hide."""
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
    assert set(np.unique(trials["mask"])) in ({0.0, 1.0}, {1.0})


@pytest.mark.parametrize("name", TASKS)
def test_targets_score_perfectly_and_guesses_at_chance(name):
    task = TASKS[name]()
    trials = task.sample("test", 400, seed=3)
    targets = trials["targets"].values
    assert task.solved(float(task.score(trials, targets)))
    guesses = np.random.default_rng(0).standard_normal((20, *targets.shape))
    if task._score.__func__ is Task._score:
        # Of explained variance, chance is the best constant.
        scored = trials["mask"].values
        guesses = np.stack([np.broadcast_to((targets * scored).sum((0, 1)) / scored.sum((0, 1)), targets.shape)] * 20)
    elif task.score_name == "relative error":
        # Of errors, too: there it is not the mean.
        constants = np.broadcast_to(np.linspace(0, 1, 101)[:, None, None, None], (101, *targets.shape))
        guesses = np.stack([constants[task.score(trials, constants).argmin()]] * 20)
    scores = task.score(trials, guesses)
    assert scores.shape == (20,)
    assert scores.mean() == pytest.approx(task.chance, rel=0.05, abs=1e-6)
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


@pytest.mark.parametrize("target", ["strength", "sign"])
def test_context_integration_periods_and_target(target):
    task = ContextIntegration(target=target, evidence_noise=0.0)
    trials = task.sample("train", 50, seed=0)
    for trial in range(50):
        one = trials.isel(trial=trial)
        inputs = one["inputs"].values
        context = int(one["context"])
        relevant = float(one[f"coherence_{context}"])
        go = round(float(one["go_time"]) / task.dt)
        assert inputs[:, 1 + context].all() and not inputs[:, 4 - context].any()
        assert inputs[:go, 4].all() and not inputs[go:, 4].any()
        shown = inputs[:, 0] != 0
        on, off = (round(float(one[name]) / task.dt) for name in ("stimulus_time", "delay_time"))
        assert shown[on:off].all() and shown.sum() == off - on
        assert 20 <= off - on <= 80 and 0 <= go - off <= 30
        assert {round(abs(float(one[f"coherence_{index}"])), 6) for index in (1, 2)} <= {0.1, 0.2, 0.4}
        np.testing.assert_allclose(inputs[shown, context - 1], relevant, rtol=1e-6)
        target = one["targets"].values[:, 0]
        assert not target[:go].any()
        reported = {"strength": relevant / 0.4 * (off - on) * 0.02, "sign": np.sign(relevant)}[task.target]
        np.testing.assert_allclose(target[go:], reported, rtol=1e-6)
        scored = one["mask"].values[:, 0]
        assert scored[:go].all() and not scored[go : go + 5].any() and scored[go + 5 :].all()
        assert len(scored) - go >= 15


def test_levels_signs_and_contexts_of_context_integration_are_equally_likely():
    trials = ContextIntegration().sample("train", 6000, seed=0)
    kinds = np.stack([trials[name].values for name in ("coherence_1", "coherence_2", "context")], axis=1)
    _, counts = np.unique(kinds.round(6), axis=0, return_counts=True)
    assert len(counts) == 6 * 6 * 2
    assert np.abs(counts / 6000 - 1 / 72).max() < 4 * np.sqrt(1 / 72 / 6000)


def test_uniform_coherences_of_context_integration():
    trials = ContextIntegration(**UNIFORM).sample("train", 2000, seed=0)
    values = np.sort(trials["coherence_1"].values)
    assert np.abs(values - np.linspace(-0.4, 0.4, 2000)).max() < 0.8 * 1.63 / np.sqrt(2000)
    # The smallest fifth is not scored: a network that is wrong there has the full score.
    task, relevant = ContextIntegration(**UNIFORM), trials["relevant_coherence"].values
    hidden = np.abs(relevant) < np.quantile(np.abs(relevant), 0.199)
    outputs = trials["targets"].values * np.where(hidden, -1.0, 1.0)[:, None, None]
    assert task.score(trials, outputs) == 1.0


def test_all_levels_of_context_integration_are_scored():
    task = ContextIntegration()
    trials = task.sample("test", 600, seed=0)
    weak = np.isclose(np.abs(trials["relevant_coherence"].values), 0.1)
    outputs = trials["targets"].values * np.where(weak, -1.0, 1.0)[:, None, None]
    assert task.score(trials, outputs) == pytest.approx(1 - weak.mean())


@pytest.mark.parametrize("sd", [0.0, 0.3])
def test_context_integration_target_integral(sd):
    """The evidence that was shown, noise and all, summed up over time by a loop."""
    task = ContextIntegration(target="integral", evidence_noise=sd)
    trials = task.sample("train", 30, seed=0)
    assert trials["mask"].values.all() and "noise_sd" not in trials
    for trial in range(30):
        total, stream = 0.0, int(trials["context"][trial]) - 1
        for time in range(trials.sizes["time"]):
            total += float(trials["inputs"][trial, time, stream]) * 0.02 / 0.4
            assert float(trials["targets"][trial, time, 0]) == pytest.approx(total, abs=1e-5)
    assert task.score(trials, trials["targets"].values) == 1.0


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


STORED = {
    ("flip_flop", "train"): "9b7d640ac84eab52",
    ("flip_flop", "noisy_long"): "55dc2fe4b36744cc",
    ("memory_pro", "train"): "e409d15336f6bfe5",
    ("memory_pro", "noisy_long"): "806bd97046e9840c",
}
"""Fingerprints of trials at commit ddc429e."""


@pytest.mark.parametrize("name, regime", STORED)
def test_trials_are_those_of_earlier_versions(name, regime):
    assert trials_fingerprint(TASKS[name]().sample(regime, 20, 5)) == STORED[name, regime]


def test_delayed_discrimination_periods_and_targets():
    task = DelayedDiscrimination(channels=2, auxiliary=True, input_noise=0.0)
    trials = task.sample("train", 60, seed=0)
    assert trials["output"].values.tolist() == ["sign_1", "sign_2", "magnitude_1", "magnitude_2"]
    delays = set()
    for trial in range(60):
        one = trials.isel(trial=trial)
        off, second, go = (round(float(one[name]) / 0.02) for name in ("delay_time", "second_time", "go_time"))
        delays.add(second - off)
        for channel in (1, 2):
            first, other = float(one[f"first_{channel}"]), float(one[f"second_{channel}"])
            assert 2 <= first <= 10 and 2 <= other <= 10
            shown = one["inputs"].sel(input=f"stimulus_{channel}").values
            # In units of 4, half of the range.
            for part, value in ((shown[:off], first / 4), (shown[second:go], other / 4)):
                np.testing.assert_allclose(part, [value] * 5, rtol=1e-6)
            assert not shown[off:second].any() and not shown[go:].any()
            for name, value in (("sign", np.sign(other - first)), ("magnitude", abs(other - first) / 4)):
                part = one.sel(output=f"{name}_{channel}")
                np.testing.assert_allclose(part["targets"][go:], value, rtol=1e-5)
                assert not part["targets"][:go].any()
                assert part["mask"][:second].all() and not part["mask"][second:go].any() and part["mask"][go:].all()
        assert len(one["time"]) - go >= 15
    assert min(delays) >= 5 and max(delays) <= 20 and len(delays) > 12


def test_an_auxiliary_output_adds_itself_alone_and_is_not_scored():
    plain, more = (DelayedDiscrimination(auxiliary=auxiliary).sample("test", 50, 0) for auxiliary in (False, True))
    for name in ("inputs", "targets", "mask"):
        kept = more[name].sel(output=plain["output"]) if "output" in more[name].dims else more[name]
        np.testing.assert_array_equal(kept, plain[name])
    outputs = more["targets"].values * [1.0, -3.0]
    assert DelayedDiscrimination(auxiliary=True).score(more, outputs) == 1.0
    outputs[:10] *= -1.0
    assert DelayedDiscrimination(auxiliary=True).score(more, outputs) == pytest.approx(0.8)


def test_sine_waves_have_the_frequency_that_their_input_names():
    task = SineWave(channels=2, input_noise=0.0)
    trials = task.sample("train", 300, seed=0)
    expected = 0.1 + np.arange(10) * 2.9 / 9
    for channel in (1, 2):
        frequency = trials[f"frequency_{channel}"].values
        np.testing.assert_allclose(np.unique(frequency), expected)
        shown, sine = (trials[name].values[..., channel - 1] for name in ("inputs", "targets"))
        np.testing.assert_allclose(shown, np.repeat(frequency[:, None] / 3, 100, axis=1), rtol=1e-6)
        for step in (0, 41, 99):
            np.testing.assert_allclose(sine[:, step], np.sin(2 * np.pi * frequency * 0.02 * (step + 1)), atol=1e-6)
        phase = task.variables(trials)[f"phase_{channel}"].values
        np.testing.assert_allclose(np.sin(phase), sine, atol=1e-5)
        assert np.abs(phase).max() <= np.pi


def test_parity_is_whether_an_even_number_of_inputs_is_negative():
    task = Parity(channels=3, input_noise=0.0)
    trials = task.sample("train", 400, seed=0)
    shown, targets = trials["inputs"].values, trials["targets"].values[..., 0]
    assert shown.shape == (400, 25, 3) and (shown == shown[:, :1]).all()
    np.testing.assert_allclose(np.unique(shown), [-1, -0.8, -0.6, -0.4, 0.4, 0.6, 0.8, 1], rtol=1e-6)
    even = (shown[:, 0] < 0).sum(1) % 2 == 0
    assert (targets == np.where(even, 1, -1)[:, None]).all() and 0.4 < even.mean() < 0.6
    assert not trials["mask"][:, :15].any() and trials["mask"][:, 15:].all()
    assert len(task.static_inputs()) == 8
    outputs = 0.1 * trials["targets"].values
    outputs[:100] *= -1.0
    # What is not scored counts for nothing.
    outputs[:, :15] = -100.0 * trials["targets"].values[:, :15]
    assert task.score(trials, outputs) == pytest.approx(0.75)
    assert task.variables(trials)["parity"].kind == "sign"


@pytest.mark.parametrize("dimensions", [2, 3])
def test_path_integration_is_the_sum_of_what_is_shown(dimensions):
    """Both ways of showing the velocity, summed up by a loop from the position that is shown first."""
    for shown in ("polar", "cartesian"):
        task = PathIntegration(dimensions=dimensions, velocity=shown, input_noise=0.0)
        trials = task.sample("train", 20, seed=0)
        inputs, targets = trials["inputs"].values.astype(float), trials["targets"].values
        assert np.abs(targets).max() <= 5 and not trials["mask"][:, :5].any() and trials["mask"][:, 5:].all()
        assert inputs.shape[2] == 2 * dimensions and not inputs[:, 5:, :dimensions].any()
        for trial in range(20):
            position = 5 * inputs[trial, 0, :dimensions]
            for time in range(100):
                moved = inputs[trial, time, dimensions:]
                if shown == "polar":
                    azimuth, elevation = moved[0] * np.pi, moved[1] * np.pi / 2 if dimensions == 3 else 0.0
                    flat = np.cos(elevation)
                    axes = [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]
                    moved = moved[-1] * np.array(axes[:dimensions])
                position = position + 4 * moved * 0.02
                np.testing.assert_allclose(targets[trial, time], position, atol=1e-4)


def test_paths_of_path_integration_fill_the_box_and_keep_their_direction():
    task = PathIntegration(velocity="cartesian", input_noise=0.0, duration=4.0)
    trials = task.sample("train", 2000, seed=0)
    # A walk that walls reflect stays uniform: a variance of 25 / 3.
    assert trials["targets"].values.var((0, 1)) == pytest.approx(25 / 3, rel=0.05)
    far = PathIntegration(velocity="cartesian", input_noise=0.0, duration=1.0, size=500.0).sample("train", 4000, 0)
    velocity = far["inputs"].values[:, 5:, 2:]
    assert velocity.std() == pytest.approx(1, rel=0.03)
    # The autocorrelation after 0.2 s is exp(-0.2 / 0.5).
    assert (velocity[:, 10:] * velocity[:, :-10]).mean() == pytest.approx(np.exp(-0.4), rel=0.05)
    with pytest.raises(ValueError, match=r"start = 4\.0 s: needs at least one time step"):
        PathIntegration(start=4.0)


def test_fixed_periods_and_outputs_that_are_always_scored():
    """30 steps each, as in KPFlow (arXiv 2507.06381)."""
    spans = dict.fromkeys(("fixation", "stimulus", "delay"), (0.6, 0.6))
    for task in (MemoryPro(**spans, response=0.6, grace=0.0), ContextIntegration(**spans, response=0.6, grace=0.0)):
        trials = task.sample("train", 8, seed=0)
        assert trials.sizes["time"] == 120 and trials["mask"].values.all()
        for name, steps in (("stimulus_time", 30), ("delay_time", 60), ("go_time", 90)):
            np.testing.assert_allclose(trials[name].values, steps * task.dt)
        noisy = trials["noise_sd"].values > 0
        assert noisy.any() and (noisy[:, 30:60].any() if isinstance(task, ContextIntegration) else noisy.all())


def test_flip_flop_without_a_first_pulse_and_with_pulses_of_one_step():
    rates = {"pulse_width": 0.02, "refractory": 0.02, "pulse_rate": 1 / (20 * 0.02)}
    task = FlipFlop(first_pulse=False, reaction=0.0, input_noise=0.0, **rates)
    trials = task.sample("train", 200, seed=0)
    inputs, targets = trials["inputs"].values, trials["targets"].values
    held = np.zeros(targets[:, 0].shape)
    for time in range(trials.sizes["time"]):
        held = np.where(inputs[:, time] != 0, inputs[:, time], held)
        assert (targets[:, time] == held).all()
    assert trials["mask"].values.all() and (targets == 0).any() and set(np.unique(inputs)) == {-1, 0, 1}
    # A pulse about every 20 steps after the step of the last one.
    assert (inputs != 0).mean() == pytest.approx(1 / 21, rel=0.1)
    assert {variable.kind for variable in task.variables(trials).values()} == {"category"}
    # What the output is before the first pulse is not scored.
    assert task.score(trials, np.where(targets == 0, 1.0, targets)) == 1.0


@pytest.mark.parametrize("name", TASKS)
def test_noise_may_differ_between_trials(name):
    field = "evidence_noise" if name == "context_integration" else "input_noise"
    task = TASKS[name](**{field: (0.2, 0.6)}, dt=0.01)
    trials = task.sample("train", 300, seed=0)
    sd = trials["noise_sd"].values.max((1, 2))
    # White noise of the same power at half the step has a standard deviation that is larger by the root of 2.
    assert np.quantile(sd, [0, 0.5, 1]) == pytest.approx(np.sqrt(2) * np.array([0.2, 0.4, 0.6]), rel=0.1)
    noise = (trials["inputs"] - trials["clean_inputs"]).values
    assert (noise[trials["noise_sd"].values == 0] == 0).all()
    scaled = noise[trials["noise_sd"].values > 0] / trials["noise_sd"].values[trials["noise_sd"].values > 0]
    assert scaled.std() == pytest.approx(1, abs=0.01) and scaled.mean() == pytest.approx(0, abs=0.01)
    level = TASKS[name](grid={"noise": [{field: [0.1, 0.3]}], "duration": [{}]}).in_grid(0, 0)
    assert getattr(level, field) == (0.1, 0.3)


def dataset(noise, steps=None, random=None):
    """Ones of 200 trials, 6 times and 2 inputs."""
    ones = np.ones((200, 6, 2))
    return FlipFlop().dataset(ones, ones, ones, ["a", "b"], ["c", "d"], {}, steps, noise, random)


def test_noise_of_a_dataset_can_be_drawn_again():
    sd = np.linspace(0, 1, 200)[:, None, None] * [1.0, 0.0]
    lasting = np.arange(6) < 4
    for steps, within in ((None, np.ones(6, bool)), (np.full(200, 4), lasting)):
        trials = dataset(sd, steps, np.random.default_rng(3))
        validate(trials.assign_attrs(dt=0.02, fingerprint=""), "trials", "sample")
        clean, stored, inputs = (trials[name].values for name in ("clean_inputs", "noise_sd", "inputs"))
        assert (clean == within[:, None]).all()
        np.testing.assert_allclose(stored, sd * within[:, None], rtol=1e-6)
        # Only inputs that have noise take numbers from the generator.
        drawn = np.random.default_rng(3).standard_normal((200, 6))
        np.testing.assert_allclose(inputs[..., 0], within * (1 + sd[..., 0] * drawn), rtol=1e-6)
        assert (inputs[..., 1] == within).all()
    assert "noise_sd" not in dataset(None)


@pytest.mark.parametrize(
    "noise, random, message",
    [
        (0.1, None, "noise: give `random`, too"),
        (np.ones((200, 1)), np.random.default_rng(0), "noise has shape (200, 1); needs one that fits (200, 6, 2)"),
        (-0.1, np.random.default_rng(0), "noise: a standard deviation is a finite number of at least 0"),
        (np.nan, np.random.default_rng(0), "noise: a standard deviation is a finite number of at least 0"),
    ],
)
def test_noise_that_does_not_fit_is_refused(noise, random, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dataset(noise, random=random)


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
        (lambda: SineWave(frequency=(1.0, 30.0)), "frequency = (1.0, 30.0): needs 0 < lowest <= highest < 25 Hz"),
        (lambda: DelayedDiscrimination(amplitude=(2.0, 2.0)), "amplitude = (2.0, 2.0): needs 0 <= smallest < largest"),
        (lambda: Parity(channels=0), "channels = 0: from 1 to 10"),
        (lambda: Parity(levels=(0.0, 1.0)), "levels = (0.0, 1.0): needs one or more numbers above 0"),
        (lambda: Parity(reaction=0.5), "reaction = 0.5 s: must end before the trial does (0.5 s)"),
        (lambda: FlipFlop(pulse_width=0.005), "pulse_width = 0.005 s: is less than half of the time step"),
        (lambda: FlipFlop(input_noise=(0.3, 0.1)), "input_noise = (0.3, 0.1): needs 0 <= least <= largest"),
        (lambda: ContextIntegration(levels=(0.0, 0.1)), "levels = (0.0, 0.1): a coherence of 0"),
        (lambda: MemoryPro(delay=(2.0, 1.0)), "shortest <= longest"),
        (lambda: MemoryPro(dt=0.0), "dt = 0.0: the time step must be positive"),
        (lambda: MemoryPro().sample("harder", 1, 0), "unknown regime 'harder'; this task has: train, test, noisy"),
        (lambda: MemoryPro(regimes={"x": {"nose": 1}}).sample("x", 1, 0), "regimes.x: no field nose"),
        (lambda: MemoryPro().sample("test", 0, 0), "at least one trial"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
