"""Initial weights against those that training began with; tangent kernels by differences of outputs."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from insd.attempt import Attempt
from insd.evaluation.feature_learning import (
    NOT_FROM_RANDOM_WEIGHTS,
    NOT_RECOGNISED,
    feature_learning,
    initial_network,
    kernel_alignment,
    output_jacobian,
    scored_places,
)
from insd.gauss_newton import as_trained, set_weights, weights_of
from insd.members import Member
from insd.networks.base import initialise
from insd.networks.settings.base import network_settings
from insd.rounds import network_dataset
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.3)
BANK = TASK.sample("train", 48, 0)
TRIALS = TASK.sample("test", 3, 1)
NAMES = [("flip_flop", "p", seed, 1) for seed in range(2)]


class Unsolvable(FlipFlop):
    """Its criterion is never met: all attempts are made, and the best is kept."""

    def solved(self, score):
        return False


def recipe(**changes):
    training = {"iterations": 30, "batch_size": 16, "validation_trials": 16, "evaluate_every": 10, "restarts": 2}
    return Recipe(network={"units": 12, **changes}, training=training, terms={})


def members(networks, made):
    networks.attrs["settings"] = json.dumps({"recipe": {"make": "train"} | made.model_dump()})
    return Member.of_datasets("p", 1, "standard", networks, xr.Dataset())


@pytest.mark.parametrize("changes", [{}, {"architecture": "low_rank", "rank": 2}, {"gain": 0.01}])
def test_initial_weights_are_those_of_the_attempt_that_was_kept(changes, monkeypatch):
    begun = {}
    start = Attempt.__init__

    def noted(self, task, bank, recipe, names, *more):
        start(self, task, bank, recipe, names, *more)
        for row, name in enumerate(names):
            weights = {key: values[row : row + 1] for key, values in self.networks.weights().items()}
            begun[name[2], name[4]] = self.networks.stored_weights(weights)

    monkeypatch.setattr(Attempt, "__init__", noted)
    made = recipe(**changes)
    networks, history = train_round(Unsolvable(channels=1, duration=0.3), BANK, made, NAMES)
    assert len(begun) == 6
    last = history["held_out_score"].isel(iteration=-1)
    kept = last.argmax("attempt") if TASK.higher_is_better else last.argmin("attempt")
    assert set(kept.values.tolist()) != {2}
    for member in members(networks, made):
        found = initial_network(member, "flip_flop")
        assert found.attempt == int(kept.sel(seed=member.seed)) and found.score > 4
        for name, values in begun[member.seed, found.attempt].items():
            np.testing.assert_array_equal(found.network[name], values)
        change = member.network["recurrent_weights"] - found.network["recurrent_weights"]
        result = feature_learning(member, "flip_flop", TRIALS, 2)
        assert result["weight_change"] == pytest.approx(np.sqrt(float((change**2).sum())))
        assert result["weight_change_per_weight"] == pytest.approx(result["weight_change"] / 144)
        assert 0 < result["kernel_alignment"] < 1 and not result["unknown"]


def small(seed=3, **settings):
    """A network with 3 units that was not trained, with the name of its random streams or not."""
    chosen = network_settings({"units": 3, **settings})
    made = initialise(chosen, 1, 1, BANK.attrs["dt"] / chosen.tau, [torch.Generator().manual_seed(seed)])
    return network_dataset(made, made.weights(), {"restarts": ("seed", [1])}, NAMES[:1], BANK, chosen.tau)


def test_networks_that_were_not_trained_from_known_weights_say_so():
    strangers = members(small(units=40), recipe(units=40))
    assert feature_learning(strangers[0], "flip_flop", TRIALS, 2)["unknown"] == NOT_RECOGNISED
    (walked,) = members(small(), recipe(units=3))
    walked.settings["recipe"]["make"] = "walk"
    found = feature_learning(walked, "flip_flop", TRIALS, 2)
    assert found["unknown"] == NOT_FROM_RANDOM_WEIGHTS and found["attempt"] == -1
    assert np.isnan(found["weight_change"]) and np.isnan(found["kernel_alignment"])


@pytest.mark.parametrize("settings", [{}, {"architecture": "low_rank", "rank": 2}])
def test_the_jacobian_is_that_of_central_differences(settings):
    network, places = small(**settings), scored_places(TRIALS, 4)
    assert {len(of_trial) for of_trial in places} == {4}
    networks = as_trained(network, TRIALS.attrs["dt"]).double()
    at, inputs = weights_of(networks), torch.from_numpy(TRIALS["inputs"].values).double().transpose(0, 1)[None]

    def outputs(vector):
        set_weights(networks, vector)
        with torch.no_grad():
            found = networks.readout(networks.simulate(inputs, states=True)[0])[0].numpy()
        return np.array([found[time, trial, output] for trial, one in enumerate(places) for time, output in one])

    step = 1e-5 * np.eye(len(at))
    expected = np.stack([(outputs(at + one) - outputs(at - one)) / 2e-5 for one in step], 1)
    jacobian = output_jacobian(network, TRIALS, 4)
    np.testing.assert_allclose(jacobian, expected, atol=1e-8)
    other = output_jacobian(small(4, **settings), TRIALS, 4)
    kernels = [one @ one.T for one in (jacobian, other)]
    expected = np.trace(kernels[0] @ kernels[1]) / np.prod([np.sqrt(np.trace(one @ one)) for one in kernels])
    assert kernel_alignment(jacobian, other) == pytest.approx(expected) and expected < 0.999
    assert kernel_alignment(jacobian, 2 * jacobian) == pytest.approx(1)


def test_places_are_those_at_which_outputs_are_scored():
    mask = np.zeros((2, 9, 2))
    mask[0, 3:8, 0], mask[1, 5, 1], mask[1, 5, 0] = 1, 1, 1
    trials = xr.Dataset({"mask": (("trial", "time", "output"), mask)})
    assert scored_places(trials, 3) == [[(3, 0), (5, 0), (7, 0)], [(5, 0), (5, 1)]]
