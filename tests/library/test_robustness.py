"""Grids, perturbations and costs against plain loops, smaller networks and explicit Jacobians."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from known import GRID, TASKS
from trained import evaluation_trials, trained_network, trained_task

from insd.activity import loss_and_score, record_activity, simulate_trials
from insd.datasets import validate
from insd.evaluation import performance as performance_module
from insd.evaluation import perturbations as robustness_module
from insd.evaluation.costs import costs, noise_sensitivity
from insd.evaluation.performance import evaluated, grid_performance, performance
from insd.evaluation.perturbations import kick_steps, robustness
from insd.members import Member
from insd.networks.rate import RateRNN
from insd.provenance import random_seed
from insd.settings.recipe import Recipe
from insd.tasks.context_integration import ContextIntegration
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro

TAU = 0.1
NOTHING = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [0.0], "kick_levels": [0.0], "draws": 2}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def random_networks(random, task, seeds=1, units=12, tau=TAU, scale=1.0):
    """Networks whose weights are noise, in the contract of `network.nc`."""
    trials = task.sample("test", 1, 0)
    inputs, outputs = trials.sizes["input"], trials.sizes["output"]

    def normal(*shape):
        return (scale * random.standard_normal((seeds, *shape))).astype(np.float32)

    return xr.Dataset(
        {
            "recurrent_weights": (("seed", "unit", "unit_from"), normal(units, units) / np.float32(np.sqrt(units))),
            "input_weights": (("seed", "unit", "input"), normal(units, inputs)),
            "output_weights": (("seed", "output", "unit"), normal(outputs, units)),
            "bias": (("seed", "unit"), normal(units)),
            "output_bias": (("seed", "output"), np.zeros((seeds, outputs), np.float32)),
            "initial_state": (("seed", "unit"), normal(units)),
        },
        coords={"seed": np.arange(seeds)},
        attrs={"tau": tau},
    )


def members(network, number=0):
    """One per seed of a network file."""
    return Member.of_datasets("p", number, "standard", network, xr.Dataset())


# Grids


@pytest.mark.parametrize("name", TASKS)
def test_grids_begin_in_distribution_and_replace_what_they_say(name):
    task = TASKS[name]()
    assert len(task.grid["noise"]) >= 5 and len(task.grid["duration"]) >= 4
    assert task.in_grid(0, 0) == dataclasses.replace(task, regimes={})
    for axis in ("noise", "duration"):
        labels = task.grid_labels(axis)
        assert len(set(labels)) == len(labels)
    for noise, duration in itertools.product(range(len(task.grid["noise"])), range(len(task.grid["duration"]))):
        harder = task.in_grid(noise, duration)
        for field, value in {**task.grid["noise"][noise], **task.grid["duration"][duration]}.items():
            assert getattr(harder, field) == value


def test_labels_of_grid_levels():
    assert MemoryPro().grid_labels("duration")[1] == "delay = 0.8 to 1.2"
    assert ContextIntegration().grid_labels("duration")[2] == "stimulus = 3.2"
    assert FlipFlop().grid_labels("duration")[1] == "duration = 3.6, pulse_rate = 1.2"
    assert FlipFlop(grid={"noise": [{}], "duration": [{}]}).grid_labels("noise") == ["unchanged"]


def test_grids_that_cannot_be_are_refused_by_name():
    with pytest.raises(ValueError, match=r"grid\.duration: needs at least one level"):
        FlipFlop(grid={"noise": [{}]})
    with pytest.raises(
        ValueError, match=r"grid\.noise\.0, grid\.duration\.0: no field delay; what may be replaced: ch"
    ):
        FlipFlop(grid={"noise": [{"delay": 1.0}], "duration": [{}]}).in_grid(0, 0)
    with pytest.raises(ValueError, match="both axes replace duration"):
        FlipFlop(grid={"noise": [{"duration": 1.0}], "duration": [{"duration": 2.0}]}).in_grid(0, 0)
    with pytest.raises(ValueError, match="input_noise = -1"):
        FlipFlop(grid={"noise": [{"input_noise": -1.0}], "duration": [{}]}).in_grid(0, 0)
    from_yaml = MemoryPro(grid={"noise": [{}], "duration": [{"delay": [1, 2]}]})
    assert from_yaml.in_grid(0, 0).delay == (1.0, 2.0)


@pytest.mark.parametrize("name", GRID)
def test_networks_of_noise_score_at_chance_everywhere(name, random):
    task = TASKS[name]()
    network = random_networks(random, task, seeds=30)
    trials = {regime: task.sample(regime, 60, 1) for regime in task.regime_names()[1:]}
    result = performance(task, name, members(network), trials, 30)
    for scores in (result["score"], result["grid_score"].stack(point=["noise", "duration"])):
        error = scores.std("network", ddof=1) / np.sqrt(scores.sizes["network"])
        assert (np.abs(scores.mean("network") - task.chance) < 4.5 * error).all()
        assert not any(task.solved(score) for score in scores.values.ravel())
    assert result["grid_score"].attrs["chance"] == task.chance
    for regime, floor in zip(trials, result["floor"].values, strict=True):
        assert floor == task.in_regime(regime).floor(trials[regime])


@pytest.mark.parametrize("name", GRID)
def test_a_trained_network_with_noise_for_weights_scores_at_chance_everywhere(name, random):
    task, network = trained_task(name), trained_network(name, 0)
    trials = {regime: task.sample(regime, 60, 1) for regime in task.regime_names()[1:]}
    noise = xr.concat([network.assign_coords(seed=[seed]) for seed in range(30)], "seed").assign_attrs(network.attrs)
    # In an order that does not change from one process to the next, as that of a set does: so neither do the draws.
    for key in sorted(set(network.data_vars) - {"restarts"}):
        # Of the same size, array by array, but without anything that was learned.
        values = network[key].values.std() * random.standard_normal(noise[key].shape)
        noise[key] = noise[key].dims, values.astype(np.float32)
    # Of 24 scored trials, one of 720 networks of noise gets 22 right now and then: twice as many keep it from solving.
    at_chance = performance(task, name, members(noise), trials, 60)
    for scores in (at_chance["score"], at_chance["grid_score"].stack(point=["noise", "duration"])):
        error = scores.std("network", ddof=1) / np.sqrt(scores.sizes["network"])
        assert (np.abs(scores.mean("network") - task.chance) < 4.5 * error).all()
        assert not any(task.solved(score) for score in scores.values.ravel())
    # With its own weights, by the same path, it solves the task.
    learned = performance(task, name, members(network), {"test": trials["test"]}, 5)
    assert task.solved(learned["score"].item())


def plain_outputs(network, trials):
    """Outputs by a loop over time, in double precision."""
    one = {key: values[0].astype(float) for key, values in network.data_vars.items() if key != "restarts"}
    inputs, alpha = trials["inputs"].values.astype(float), trials.attrs["dt"] / network.attrs["tau"]
    state = np.repeat(one["initial_state"].values[None], len(inputs), axis=0)
    outputs = []
    for t in range(inputs.shape[1]):
        drive = np.tanh(state) @ one["recurrent_weights"].values.T + inputs[:, t] @ one["input_weights"].values.T
        state = state + alpha * (-state + drive + one["bias"].values)
        outputs.append(np.tanh(state) @ one["output_weights"].values.T + one["output_bias"].values)
    return np.stack(outputs, axis=1)


def plain_score(name, trials, outputs):
    """The scores of the three tasks, trial by trial."""
    scored, targets = trials["mask"].values == 1, trials["targets"].values
    if name == "flip_flop":
        return np.mean((np.sign(outputs) == targets)[scored])
    responses = []
    for trial, go in enumerate(trials["go_time"].values):
        after = scored[trial, :, -1] & (trials["time"].values > go)
        responses.append(outputs[trial, after].mean(0))
    if name == "context_integration":
        coherence = trials["relevant_coherence"].values
        clear = np.abs(coherence) > np.quantile(np.abs(coherence), 0.2)
        return np.mean(np.sign([response[0] for response in responses])[clear] == np.sign(coherence[clear]))
    errors = [
        np.angle(np.exp(1j * (np.arctan2(response[2], response[1]) - angle)), deg=True)
        for response, angle in zip(responses, trials["angle"].values, strict=True)
    ]
    return np.median(np.abs(errors))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", GRID)
def test_the_regime_test_has_the_stored_score(name, number):
    task, network, trials = trained_task(name), trained_network(name, number), evaluation_trials(name)
    found = performance(task, name, members(network), {"test": trials}, 5)["score"].item()
    bank = task.sample("train", 8, 0).assign_attrs(fingerprint="b", dt=trials.attrs["dt"])
    assert found == record_activity(network, task, bank, trials, Recipe().terms)["score"].item()
    # Other machines may round otherwise. One more wrong sign would change the flip-flop's share by 2e-5.
    close = pytest.approx(found, rel=1e-5 if name == "memory_pro" else 1e-6)
    assert network.attrs["score"] == close
    assert plain_score(name, trials, plain_outputs(network, trials)) == close


@pytest.mark.parametrize("name", GRID)
def test_each_point_of_the_grid_has_the_score_of_a_plain_loop_on_its_trials(name):
    full = trained_task(name).grid
    task = dataclasses.replace(trained_task(name), grid={axis: [levels[0], levels[2]] for axis, levels in full.items()})
    network = trained_network(name, 0)
    (_, scores, *_), floors = grid_performance(task, name, [network], 60)
    for noise, duration in itertools.product(range(2), range(2)):
        level = task.in_grid(noise, duration)
        trials = level.sample("test", 60, random_seed("grid", name, noise, duration))
        assert floors[noise, duration] == level.floor(trials)
        expected = plain_score(name, trials, plain_outputs(network, trials))
        assert scores[0, noise, duration] == pytest.approx(expected, rel=1e-4)
    # The levels differ, so that none stands for another; the first is that of the training trials.
    assert len(np.unique(scores)) > 1
    assert task.solved(scores[0, 0, 0])


def test_grid_in_blocks_equals_one_network_at_a_time(random, monkeypatch):
    task = FlipFlop(grid={"noise": [{}, {"input_noise": 0.5}], "duration": [{}, {"duration": 2.5}]})
    same = random_networks(random, task, seeds=5, units=12)
    networks = [same.isel(seed=[i]) for i in range(5)]
    networks.insert(1, random_networks(random, task, units=7))
    networks.insert(3, random_networks(random, task, units=12, tau=0.2))
    # Blocks of 3 networks, chunks of 10 of the 25 trials.
    monkeypatch.setattr(performance_module, "CHUNK", 10)
    monkeypatch.setattr(performance_module, "STATES_AT_ONCE", 3 * 10 * 125 * 12)
    (losses, scores, *_), _ = grid_performance(task, "flip_flop", networks, 25)
    assert losses.shape == scores.shape == (7, 2, 2)
    for index, network in enumerate(networks):
        alone, _ = grid_performance(task, "flip_flop", [network], 25)
        np.testing.assert_allclose(losses[index], alone[0][0], rtol=1e-5)
        np.testing.assert_array_equal(scores[index], alone[1][0])


def test_regimes_are_scored_as_activity_was_recorded(random):
    task = MemoryPro(grid={"noise": [{}], "duration": [{}]})
    networks = [random_networks(random, task, seeds=2), random_networks(random, task, seeds=1)]
    test = task.sample("test", 40, 3)
    result = performance(task, "memory_pro", [*members(networks[0]), *members(networks[1], 1)], {"test": test}, 5)
    assert result["network"].values.tolist() == ["p/0/0", "p/1/0", "p/0/1"]
    stored = [loss_and_score(task, simulate_trials(network, test)[1], test)[1] for network in networks]
    np.testing.assert_array_equal(result["score"].sel(regime="test"), np.concatenate(stored))


# Networks that diverge


def test_a_network_that_diverges_has_an_infinite_loss_there_and_the_others_their_own(random, caplog):
    """A state that grows by a fifth each step, as its weight says, is beyond all numbers after a thousand of them."""
    task = FlipFlop(grid={"noise": [{}], "duration": [{}, {"duration": 20.0}]}, regimes={"long": {"duration": 20.0}})
    network = random_networks(random, task, seeds=2, units=4, scale=0.1).assign_attrs(nonlinearity="relu")
    network["recurrent_weights"][1] = 2.0 * np.eye(4)
    network["initial_state"][1] = 1.0
    trials = {regime: task.sample(regime, 4, 0) for regime in ("test", "long")}
    with caplog.at_level("WARNING"):
        found = performance(task, "flip_flop", members(network), trials, 4)
    validate(found, "performance", "performance.nc")
    alone = performance(task, "flip_flop", members(network.isel(seed=[0])), trials, 4)
    assert found["loss"].values[1, 0] > 1e3 and found["loss"].values[1, 1] == np.inf
    np.testing.assert_array_equal(found["grid_loss"].values[1], [[found["grid_loss"].values[1, 0, 0], np.inf]])
    for name in ("loss", "score", "grid_loss", "grid_score", "loss_blocks"):
        np.testing.assert_array_equal(found[name][:1], alone[name])
    (line,) = [record.message for record in caplog.records if "diverges" in record.message]
    assert line.startswith("p/1/0: diverges in the regime long, at 1 of 2 points of the grid;")
    found = robustness(task, "flip_flop", members(network), trials["long"], **NOTHING)
    validate(found, "robustness", "robustness.nc")
    assert (found[["unperturbed_loss", "noise_loss"]].to_array().sel(network="p/1/0") == np.inf).all()


@pytest.mark.parametrize(("name", "worst"), [("sine_wave", -np.inf), ("memory_pro", np.inf), ("flip_flop", None)])
def test_a_score_that_is_no_number_is_the_worst(name, worst):
    task = TASKS[name]()
    trials = task.sample("test", 8, 0)
    outputs = torch.from_numpy(trials["targets"].values).float()[None].repeat(2, 1, 1, 1)
    outputs[1, 0] = torch.nan
    loss, score, *_ = evaluated(task, outputs, trials)
    assert loss.tolist() == [0.0, np.inf] and loss.dtype == np.float32 and score.dtype == np.float64
    # Of signs, those that are no number are wrong.
    assert 0.5 < score[1] < score[0] == 1 if worst is None else score[1] == worst


# Perturbations


@pytest.mark.parametrize("name", TASKS)
def test_perturbations_of_size_zero_change_nothing(name, random, tmp_path):
    task = TASKS[name]()
    trials = task.sample("test", 20, 2)
    network = random_networks(random, task, seeds=2)
    result = robustness(task, name, members(network), trials, **NOTHING)
    loss, score = loss_and_score(task, simulate_trials(network, trials)[1], trials)
    for kind in ("unperturbed", "noise", "jitter", "silence", "kick"):
        # Networks run side by side or alone may differ in the last digit of single precision.
        for index in range(2):
            np.testing.assert_allclose(result[f"{kind}_score"][index], score[index], rtol=1e-5)
            np.testing.assert_allclose(result[f"{kind}_loss"][index], loss[index], rtol=1e-5)
    assert result["kick_recovery"].isnull().all()
    result.to_netcdf(tmp_path / "robustness.nc", engine="netcdf4")


def test_perturbations_have_the_size_they_say(random, monkeypatch):
    task = FlipFlop()
    network = random_networks(random, task, units=60)
    recurrent = network["recurrent_weights"].values[0]
    seen = []
    original = robustness_module.chunked_outputs

    def spy(networks, inputs, noise=None):
        seen.append((networks.recurrent_weights.detach().numpy(), noise))
        return original(networks, inputs, noise)

    monkeypatch.setattr(robustness_module, "chunked_outputs", spy)
    levels = NOTHING | {"noise_levels": [0.1, 0.4], "jitter_levels": [0.5], "silenced_shares": [0.25]}
    robustness(task, "flip_flop", members(network), task.sample("test", 10, 0), **levels)
    (noise,) = [noise for _, noise in seen if noise is not None]
    np.testing.assert_allclose(noise.std(dim=(1, 2, 3)), np.sqrt(2 * 0.02 / TAU) * np.array([0.1, 0.4]), rtol=0.02)
    changes = [weights - recurrent for weights, _ in seen if weights.shape[0] == 2]
    jitter, silence = (change for change in changes if change.any())
    np.testing.assert_allclose(jitter.std(axis=(1, 2)), 0.5 * recurrent.std(), rtol=0.05)
    assert not np.array_equal(jitter[0], jitter[1])
    # A quarter of the columns is gone, the rest untouched.
    silenced = (silence != 0).all(axis=1)
    assert silenced.sum(1).tolist() == [15, 15] and (silenced[0] != silenced[1]).any()
    assert not silence[~np.broadcast_to(silenced[:, None], silence.shape)].any()


def test_draws_do_not_depend_on_the_networks_beside(random):
    task = FlipFlop()
    network = random_networks(random, task, seeds=3)
    trials = task.sample("test", 10, 0)
    levels = {
        "noise_levels": [0.1, 0.5],
        "jitter_levels": [0.5],
        "silenced_shares": [0.3],
        "kick_levels": [1.0],
        "draws": 3,
    }
    together = robustness(task, "flip_flop", members(network), trials, **levels)
    last = robustness(task, "flip_flop", members(network.isel(seed=[2])), trials, **levels)
    xr.testing.assert_identical(together.isel(network=[2]), last)
    for kind in ("jitter", "silence"):
        assert np.unique(together[f"{kind}_loss"]).size == 9


def test_silencing_equals_removing_units(random):
    task = FlipFlop()
    trials = task.sample("test", 15, 0)
    network = random_networks(random, task, units=3)
    levels = NOTHING | {"silenced_shares": [2 / 3, 1.0], "draws": 20}
    losses = robustness(task, "flip_flop", members(network), trials, **levels)["silence_loss"].values[0]
    kept = [network.isel(unit=[i], unit_from=[i]) for i in range(3)]
    expected = [loss_and_score(task, simulate_trials(one, trials)[1], trials)[0][0] for one in kept]
    nearest = np.abs(losses[0][:, None] / expected - 1)
    assert (nearest.min(1) < 1e-5).all()
    assert set(nearest.argmin(1)) == {0, 1, 2}
    # Without any unit the outputs are their biases, which are 0.
    scored = trials["mask"].values == 1
    targets = trials["targets"].values[scored]
    variance = np.mean([trials["targets"].values[..., i][scored[..., i]].var() for i in range(3)])
    np.testing.assert_allclose(losses[1], np.square(targets).mean() / variance, rtol=1e-3)


def test_kicks_come_halfway_through_delay_or_trial():
    for task in (MemoryPro(), ContextIntegration()):
        trials = task.sample("test", 30, 0)
        for step, begin, end in zip(kick_steps(trials), trials["delay_time"], trials["go_time"], strict=True):
            assert abs(step * 0.02 - (begin + end) / 2) <= 0.0101
    # At the kick of context integration the evidence is over, and the response has not begun.
    at_kick = trials["inputs"].values[np.arange(30), kick_steps(trials)]
    assert not at_kick[:, :2].any() and (at_kick[:, 4] == 1).all()
    assert set(kick_steps(FlipFlop().sample("test", 5, 0))) == {45}
    with_go_alone = trials.drop_vars("delay_time")
    np.testing.assert_allclose(kick_steps(with_go_alone) * 0.02, trials["go_time"] / 2, atol=0.0101)
    # A trial without go has its end.
    go = np.where(np.arange(30) % 2, trials["go_time"], np.nan)
    without = trials.assign_coords(go_time=("trial", go))
    end = np.where(np.arange(30) % 2, trials["go_time"], trials.sizes["time"] * 0.02)
    np.testing.assert_allclose(kick_steps(without) * 0.02, (trials["delay_time"] + end) / 2, atol=0.0101)


def test_recovery_of_units_without_recurrence_is_their_leak(random):
    task = FlipFlop()
    network = random_networks(random, task, units=20, scale=0.5)
    for name in ("recurrent_weights", "input_weights"):
        network[name][:] = 0.0
    network["initial_state"][:] = network["bias"]
    trials = task.sample("test", 8, 0)
    levels = NOTHING | {"kick_levels": [0.01, 0.1]}
    result = robustness(task, "flip_flop", members(network), trials, **levels)
    recovery = result["kick_recovery"].sel(network="p/0/0")
    assert recovery["time_after"].values[[0, -1]].tolist() == pytest.approx([0.0, 0.88])
    expected = (1 - 0.02 / TAU) ** np.arange(45)
    for space in ("full", "null"):
        np.testing.assert_allclose(recovery.sel(kick_level=0.01, space=space)[:20], expected[:20], rtol=0.02)


def test_kicks_have_the_norm_they_say_at_one_step(random, monkeypatch):
    task = FlipFlop()
    network = random_networks(random, task, units=20, scale=0.5)
    for name in ("recurrent_weights", "input_weights"):
        network[name][:] = 0.0
    network["initial_state"][:] = network["bias"]
    kicks = []
    original = RateRNN.forward

    def spy(self, inputs, noise=None):
        if noise is not None and len(noise) == 3:
            kicks.append(noise.numpy())
        return original(self, inputs, noise)

    monkeypatch.setattr(RateRNN, "forward", spy)
    levels = NOTHING | {"kick_levels": [0.1, 2.0]}
    robustness(task, "flip_flop", members(network), task.sample("test", 8, 0), **levels)
    norms = np.linalg.norm(kicks[0], axis=-1)
    assert not norms[0].any() and not np.delete(norms, 45, axis=1).any()
    # The state rests at the bias.
    size = np.linalg.norm(network["bias"].values[0])
    np.testing.assert_allclose(norms[1:, 45], np.outer([0.1, 2.0], np.full(8, size)), rtol=1e-4)


def test_half_step_equals_a_plain_loop(random):
    task = ContextIntegration()
    trials = task.sample("test", 6, 0)
    network = random_networks(random, task, units=5)
    weights = {name: network[name].values[0].astype(float) for name in network.data_vars}
    outputs = np.zeros(trials["targets"].shape, np.float32)
    for trial in range(6):
        state = weights["initial_state"].copy()
        for t, inputs in enumerate(trials["inputs"].values[trial]):
            for _ in range(2):
                drive = weights["recurrent_weights"] @ np.tanh(state) + weights["input_weights"] @ inputs
                state = state + 0.5 * 0.02 / TAU * (-state + drive + weights["bias"])
            outputs[trial, t] = weights["output_weights"] @ np.tanh(state)
    loss, score = loss_and_score(task, torch.from_numpy(outputs)[None], trials)
    result = robustness(task, "context_integration", members(network), trials, **NOTHING)
    assert float(result["half_step_loss"][0]) == pytest.approx(float(loss[0]), rel=1e-4)
    assert float(result["half_step_score"][0]) == float(score[0])


def test_half_step_converges():
    """With ever finer steps of the same trials, half the step matters half as much: Euler is of first order."""
    task = ContextIntegration(evidence_noise=0.0)
    trials = task.sample("test", 10, 0)
    network = random_networks(np.random.default_rng(1), task, seeds=6, units=6, scale=0.3)
    differences = []
    for finer in (4, 8, 16):
        fine = trials.isel(time=np.repeat(np.arange(trials.sizes["time"]), finer))
        fine = fine.assign_coords(time=0.02 / finer * np.arange(1, fine.sizes["time"] + 1))
        fine.attrs["dt"] = 0.02 / finer
        result = robustness(task, "context_integration", members(network), fine, **NOTHING)
        differences.append(float(np.abs(result["half_step_loss"] - result["unperturbed_loss"]).mean()))
    np.testing.assert_allclose(np.divide(differences[1:], differences[:-1]), 0.5, atol=0.1)


# Costs


def tiny_problem(random):
    """A network of 4 units and 3 short trials."""
    task = FlipFlop(duration=0.24, pulse_rate=8.0, reaction=0.06, channels=2)
    return random_networks(random, task, units=4), task.sample("test", 3, 0)


def outputs_with_noise(network, trials, noise):
    """A plain loop in double precision; noise (time, trial, unit), outputs (trial, time, output)."""
    weights = {name: torch.from_numpy(network[name].values[0]).double() for name in network.data_vars}
    inputs = torch.from_numpy(trials["inputs"].values).double()
    alpha = trials.attrs["dt"] / network.attrs["tau"]
    state, outputs = weights["initial_state"].expand(inputs.shape[0], -1), []
    for t in range(inputs.shape[1]):
        drive = torch.tanh(state) @ weights["recurrent_weights"].T + inputs[:, t] @ weights["input_weights"].T
        state = (1 - alpha) * state + alpha * (drive + weights["bias"]) + noise[t]
        outputs.append(torch.tanh(state) @ weights["output_weights"].T + weights["output_bias"])
    return torch.stack(outputs, 1)


def explicit_sensitivity(network, trials):
    noise = torch.zeros(trials.sizes["time"], trials.sizes["trial"], network.sizes["unit"], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda n: outputs_with_noise(network, trials, n), noise)
    by_output = jacobian.square().sum(dim=(3, 4, 5)).numpy()
    mask = trials["mask"].values
    return (by_output * mask).sum() / mask.sum()


def test_noise_sensitivity_equals_the_explicit_jacobian(random):
    network, trials = tiny_problem(random)
    expected = explicit_sensitivity(network, trials)
    assert noise_sensitivity(network, trials, 600, 1) == pytest.approx(expected, rel=0.05)
    # With one scored output in each trial there are no cross terms: a single probe is exact.
    single = trials.copy(deep=True)
    single["mask"][:] = 0.0
    for trial, (time, output) in enumerate([(4, 0), (11, 1), (8, 0)]):
        single["mask"][trial, time, output] = 1.0
    assert noise_sensitivity(network, single, 1, 1) == pytest.approx(explicit_sensitivity(network, single), rel=1e-4)


def test_noise_sensitivity_is_the_variance_of_the_outputs(random):
    network, trials = tiny_problem(random)
    sd, repeats = 1e-3, 3000
    many = trials.isel(trial=np.repeat(np.arange(3), repeats))
    noise = torch.from_numpy(sd * random.standard_normal((trials.sizes["time"], 3 * repeats, 4)))
    outputs = outputs_with_noise(network, many, noise).numpy()
    variance = outputs.reshape(3, repeats, *outputs.shape[1:]).var(axis=1)
    mask = trials["mask"].values
    expected = (variance * mask).sum() / mask.sum() / sd**2
    assert explicit_sensitivity(network, trials) == pytest.approx(expected, rel=0.03)


def test_costs(random):
    task = FlipFlop()
    network = random_networks(random, task, seeds=1)
    found = costs(network, task.sample("test", 10, 0), 2, seed=0)
    arrays = [network[name].values.astype(float) for name in network.data_vars]
    assert found["sum_squared_weights"] == pytest.approx(sum((array**2).sum() for array in arrays))
    recurrent = network["recurrent_weights"].values.astype(float)
    assert found["mean_squared_recurrent_weight"] == pytest.approx((recurrent**2).mean())
    assert found["noise_sensitivity"] > 0
