"""Tasks whose responses are a distribution, and networks with a fixed plane of behaviour, by loops and closed forms."""

import re

import numpy as np
import pytest
import torch
import xarray as xr

from insd.activity import loss_and_score, simulate_trials
from insd.behaviour.mixtures import fit_mixture
from insd.cli import main
from insd.evaluation.perturbations import robustness
from insd.members import Member
from insd.networks.base import initialise
from insd.networks.settings.base import network_settings
from insd.rounds import network_dataset
from insd.settings.recipe import Recipe
from insd.tasks.denoising import items_of
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.vwm_guess import VWMGuess
from insd.tasks.vwm_swap import VWMSwap
from insd.training import train_round


def responses(trials):
    """The angles that the targets of the last step have."""
    return np.arctan2(trials["targets"].values[:, -1, 1], trials["targets"].values[:, -1, 0])


def test_periods_of_a_trial():
    task = VWMSwap()
    trials = task.sample("train", 20, 0)
    names = trials["input"].values.tolist()
    assert names[:6] == ["cos_1", "sin_1", "cos_2", "sin_2", "cue_1", "cue_2"]
    assert names[-3:] == ["noise_x", "noise_y", "clamp"] and trials.sizes["time"] == task.report_begins + 20 == 46
    for trial in range(20):
        one = trials.isel(trial=trial)
        inputs = one["inputs"].values
        angles = [float(one["angle_1"]), float(one["angle_2"])]
        shown = [part for angle in angles for part in (np.cos(angle), np.sin(angle))]
        np.testing.assert_allclose(inputs[:5, :4], [shown] * 5, rtol=1e-5)
        assert not inputs[5:, :4].any() and not inputs[:20, 4:].any() and not inputs[25].any()
        cue = [int(one["cued"]) == 1, int(one["cued"]) == 2]
        assert (inputs[20:25, 4:6] == cue).all() and not inputs[25:, 4:6].any()
        assert (inputs[26:, 6] == 1).all() and (inputs[26:, -1] == 1).all()
        assert not one["mask"].values[:26].any() and one["mask"].values[26:].all()


def test_teacher_forcing_and_its_targets():
    """The targets of each step are the mean of the next noised response, by the recursion of one step of noise."""
    task = VWMSwap(report_steps=12)
    trials = task.sample("train", 4000, 0)
    schedule, begins = task.schedule, task.report_begins
    response = trials["targets"].values[:, -1]
    assert np.linalg.norm(response, axis=1).mean() == pytest.approx(2.5, abs=0.02)
    for time in range(12):
        t = 12 - time  # counted as noise is added
        noised = trials["inputs"].values[:, begins + time, -3:-1]
        residual = noised - schedule.kept[t - 1] * response
        assert residual.std() == pytest.approx(schedule.noise[t - 1], rel=0.05)
        if time < 11:
            after = trials["inputs"].values[:, begins + time + 1, -3:-1]
            off = after - trials["targets"].values[:, begins + time]
            assert off.mean() == pytest.approx(0, abs=0.02)
            assert off.std() == pytest.approx(schedule.sampling_sd[t - 1], rel=0.05)
            assert abs(np.corrcoef(off.ravel(), noised.ravel())[0, 1]) < 0.05


def test_sampled_behaviour_has_its_noise_as_inputs():
    task = VWMSwap()
    trials, sd = task.sample("test", 3000, 0), task.schedule.sampling_sd
    behaviour = trials["inputs"].values[:, task.report_begins :, -3:]
    assert (behaviour[:, 0, 2] == 1).all() and not behaviour[:, 1:, 2].any()
    assert behaviour[..., :2].std((0, 2)) == pytest.approx([task.schedule.noise[-1], *sd[:0:-1]], rel=0.05)
    assert not VWMSwap(behaviour="mean").sample("train", 3, 0)["inputs"].values[..., -3:-1].any()


def test_held_out_trials_are_scored_without_teacher_forcing():
    """They are the same trials with the noise of sampled behaviour; the score of a round is that of free reports."""
    task = VWMSwap(stimulus=0.04, delay=0.04, cue=0.04, report_steps=8)
    bank, begins = task.sample("train", 3000, 0), task.report_begins
    free, sampled = task.free_running(bank), task.sample("test", 3000, 1)
    np.testing.assert_array_equal(free["inputs"][..., :-3], bank["inputs"][..., :-3])
    np.testing.assert_array_equal(free["inputs"][:, :begins], bank["inputs"][:, :begins])
    xr.testing.assert_identical(free.drop_vars("inputs"), bank.drop_vars("inputs"))
    behaviour, expected = (one["inputs"].values[:, begins:, -3:] for one in (free, sampled))
    np.testing.assert_array_equal(behaviour[..., 2], expected[..., 2])
    assert behaviour[..., :2].std((0, 2)) == pytest.approx(expected[..., :2].std((0, 2)), rel=0.05)
    xr.testing.assert_identical(free, task.free_running(bank))
    for other in (VWMSwap(behaviour="mean"), FlipFlop()):
        trials = other.sample("train", 4, 0)
        assert other.free_running(trials) is trials

    training = {"iterations": 40, "batch_size": 16, "validation_trials": 64, "evaluate_every": 20, "restarts": 1}
    recipe = Recipe(network={"architecture": "behaviour_plane", "units": 6, "hidden": 8}, training=training, terms={})
    network, history = train_round(task, bank.isel(trial=slice(200)), recipe, [("t", "p", 0, 0)])
    held_out = task.free_running(bank.isel(trial=slice(136, 200)))
    ends = history["held_out_score"].values[:, 0, -1]
    score = task.score(held_out, simulate_trials(network, held_out)[1].numpy())
    assert score == pytest.approx([ends.min()], rel=1e-5) and not task.solved(score[0])


def test_the_command_scores_without_teacher_forcing(tmp_path, capsys):
    """A network that knows nothing of the items is not called solved on the trials that it was trained on."""
    folder = str(tmp_path / "chain")
    changes = ["trials.train=96", "trials.evaluation=64", "task.report_steps=8", "network.architecture=behaviour_plane"]
    training = {"iterations": 2, "batch_size": 16, "evaluate_every": 2, "validation_trials": 64, "restarts": 0}
    changes += [f"training.{name}={value}" for name, value in training.items()]
    assert main(["train", "vwm_swap", folder, "--set", *changes]) == 0
    capsys.readouterr()
    scores = []
    for regime in ("train", "test"):
        assert main(["score", f"{folder}/round-0/network.nc", f"{folder}/{regime}.nc"]) == 0
        scores.append(float(re.search(r": not solved, error of the shares (\S+),", capsys.readouterr().out)[1]))
    with xr.open_dataset(f"{folder}/round-0/activity.nc") as activity:
        assert scores[1] == pytest.approx(activity["score"].item(), abs=1e-3)


@pytest.mark.parametrize(
    ("task", "expected"),
    [(VWMSwap(guesses=0.1), (0.63, 0.27, 0.1)), (VWMGuess(), (0.7, 0.0, 0.3)), (VWMSwap(items=3), (0.7, 0.3, 0.0))],
)
def test_responses_are_those_of_the_model(task, expected):
    trials = task.sample("test", 3000, 1)
    angles, probabilities, cued = items_of(trials)
    assert probabilities.sum(1) == pytest.approx(np.full(3000, 1 - task.guesses))
    found = fit_mixture(responses(trials), angles, cued)
    assert list(found.weights.values()) == pytest.approx(expected, abs=0.03)
    assert found.sd == pytest.approx(0.05, rel=0.1)


def test_swaps_between_features_follow_their_distance():
    trials = VWMSwap(cue_kind="feature").sample("test", 6000, 2)
    inputs, cued = trials["inputs"].values, trials["cued"].values - 1
    features = np.arctan2(inputs[:, 0, [5, 7]], inputs[:, 0, [4, 6]])
    of_cue = np.arctan2(inputs[:, 20, 9], inputs[:, 20, 8])
    np.testing.assert_allclose(of_cue, features[np.arange(6000), cued], atol=1e-5)
    distance = np.abs((features[:, 0] - features[:, 1] + np.pi) % (2 * np.pi) - np.pi)
    swapped = trials["source"].values - 1 != cued
    for low, high in ((0, 0.5), (0.5, 1), (1, 2), (2, np.pi)):
        inside = (distance >= low) & (distance < high)
        odds = np.exp(-(distance[inside] ** 2) / 3)
        assert swapped[inside].mean() == pytest.approx((odds / (1 + odds)).mean(), abs=0.04)


def test_the_loss_of_one_who_does_not_know_the_trial():
    """Of the best linear guess from the noised response alone, for responses that have no direction on average."""
    task = VWMSwap()
    trials = task.sample("train", 4000, 3)
    schedule, begins = task.schedule, task.report_begins
    power = np.square(trials["targets"].values[:, -1]).mean()
    outputs = np.zeros_like(trials["targets"].values)
    for time in range(20):
        kept, noise = schedule.kept[19 - time], schedule.noise[19 - time]
        noised = trials["inputs"].values[:, begins + time, -3:-1]
        of_noised, of_response = (part[19 - time] for part in schedule.weights)
        outputs[:, begins + time] = (of_noised + of_response * kept * power / (noise**2 + kept**2 * power)) * noised

    def loss(outputs):
        arrays = (outputs[None], trials["targets"].values, trials["mask"].values)
        return task.loss(*(torch.from_numpy(array).transpose(-3, -2) for array in arrays), 1.0).item()

    assert loss(outputs) == pytest.approx(1, abs=0.03)
    assert loss(trials["targets"].values) == 0
    # Behaviour before the report has a price of its own.
    outputs = trials["targets"].values.copy()
    outputs[:, begins - 1] = 2.5
    assert loss(outputs) == pytest.approx(1e-3 * 2.5**2 / power, rel=0.02)


def test_longer_trials_have_the_loss_of_their_own_task():
    """As analyses take it: the task's own, on trials of its regimes and of the levels of its grid."""
    task = VWMSwap()
    for longer, trials in (
        (task.in_regime("long"), task.sample("long", 8, 5)),
        (task.in_grid(0, 3), task.in_grid(0, 3).sample("test", 8, 5)),
    ):
        outputs = torch.randn(2, *trials["targets"].shape, generator=torch.Generator().manual_seed(0))
        own, its = (loss_and_score(one, outputs, trials) for one in (task, longer))
        np.testing.assert_array_equal(own, its)
        before = np.square(outputs[:, :, longer.report_begins - 1].numpy()).mean((1, 2))
        error = np.square(outputs[:, :, -1].numpy() - trials["targets"].values[:, -1]).mean((1, 2))
        power = 2.5**2 * (0.5 + 0.05**2)
        np.testing.assert_allclose(own[0], (error + 1e-3 * before) / power, rtol=1e-5)


def test_the_mean_of_the_modes_solves_the_control_alone():
    """It is what the squared error asks for; of a distribution it has the wrong shares."""
    for behaviour, solves in (("mean", True), ("sampled", False)):
        task = VWMSwap(behaviour=behaviour)
        trials = task.sample("test", 3000, 4)
        angles, probabilities, _ = items_of(trials)
        mean = (probabilities[..., None] * np.stack([np.cos(angles), np.sin(angles)], -1)).sum(1)
        outputs = np.zeros(trials["targets"].shape)
        outputs[:, -1] = 2.5 * mean
        assert task.solved(float(task.score(trials, outputs))) == solves
        # No response is as wrong in both.
        assert task.score(trials, 0 * outputs) == pytest.approx(0.7, abs=0.03)


def test_only_schedules_that_end_in_noise():
    with pytest.raises(ValueError, match=r"report_steps = 10, last_variance = 0\.3: after 10 steps"):
        VWMSwap(report_steps=10, last_variance=0.3)
    with pytest.raises(ValueError, match="items = 1: swaps need at least 2"):
        VWMSwap(items=1)
    with pytest.raises(ValueError, match=r"stimulus = 0\.0 s: needs at least one time step"):
        VWMSwap(stimulus=0.0)


def networks(inputs, **own):
    streams = [torch.Generator().manual_seed(seed) for seed in range(2)]
    return initialise(network_settings({"units": 16, **own}), inputs, 2, 0.1, streams)


def two_layers(weights, r, u):
    hidden = np.tanh(weights["hidden_weights"] @ r + weights["input_weights"][:, :2] @ u[:2] + weights["hidden_bias"])
    return weights["drift_weights"] @ hidden + weights["drift_bias"]


def tree(weights, r, u):
    """The tree of each unit, node by node."""
    units, children = len(r), 3
    drift = np.zeros(units)
    for unit in range(units):
        soma = weights["soma_bias"][unit]
        for j in range(children):
            place = j * units + unit
            branch = weights["branch_bias"][place]
            for k in range(children):
                leaf = k * children * units + place
                current = weights["leaf_weights"][leaf] @ r + weights["input_weights"][leaf, :2] @ u[:2]
                branch += weights["branch_weights"][k, place] * np.logaddexp(0, current + weights["leaf_bias"][leaf])
            soma += weights["soma_weights"][j, unit] * np.logaddexp(0, branch)
        drift[unit] = np.logaddexp(0, soma)
    return drift


@pytest.mark.parametrize(
    ("own", "drift"),
    [
        ({"architecture": "behaviour_plane", "hidden": 20}, two_layers),
        ({"architecture": "dendritic_plane", "branching": 3}, tree),
    ],
)
def test_what_acts_on_behaviour_leaves_memory_as_it_is(own, drift):
    """A clamp has the effect of setting the plane, by the step that is spelled out with NumPy."""
    made = networks(5, **own)
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))
    state = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(5))
    inputs = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(6))
    inputs[:, :2, 4], inputs[:, 2:, 4] = 1.0, 0.0
    after = state + 0.1 * made.force(state, inputs)
    weights = {name: values.numpy() for name, values in made.weights().items()}
    plane = made.output_weights[0].numpy()
    np.testing.assert_allclose(plane @ plane.T, np.eye(2), atol=1e-6)
    for network in range(2):
        for trial in range(4):
            r, u = state[network, trial].numpy(), inputs[network, trial].numpy()
            behaviour, memory = plane @ r, r - plane.T @ (plane @ r)
            behaviour = (behaviour if trial >= 2 else 0) + u[2:4]
            r = memory + plane.T @ behaviour
            expected = 0.9 * r + 0.1 * drift({name: values[network] for name, values in weights.items()}, r, u)
            np.testing.assert_allclose(after[network, trial].detach().numpy(), expected, atol=1e-5)


def test_a_network_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="2 inputs and 2 outputs"):
        networks(2, architecture="behaviour_plane")


def test_planes_of_behaviour_are_kicked_and_have_no_half_step():
    """Inputs act on behaviour once a step: twice as many steps would add their noise twice. The readout is fixed, and
    would see silent units."""
    task = VWMSwap(stimulus=0.04, delay=0.04, cue=0.04, report_steps=8)
    trials = task.sample("test", 8, 0)
    settings = network_settings({"architecture": "behaviour_plane", "units": 6, "hidden": 8})
    networks = initialise(settings, trials.sizes["input"], 2, 0.2, [torch.Generator().manual_seed(0)])
    network = network_dataset(networks, networks.weights(), {}, [("t", "p", 0, 0)], trials, settings.tau)
    levels = {"noise_levels": [0.1], "jitter_levels": [0.1], "silenced_shares": [0.1], "kick_levels": [0.5], "draws": 1}
    found = robustness(task, "t", Member.of_datasets("p", 0, "standard", network, xr.Dataset()), trials, **levels)
    assert np.isfinite(found["kick_loss"]).all() and np.isfinite(found["kick_recovery"]).all()
    for absent in ("half_step_loss", "silence_loss"):
        assert np.isnan(found[absent]).all()
