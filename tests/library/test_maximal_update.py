"""Maximal-update rate networks: training is that of the publication's parametrisation, the same at any width, and the
knob sets how far features move."""

import numpy as np
import pytest
import torch

from insd.activity import simulate_trials
from insd.networks.base import initialise, load_networks
from insd.networks.settings.base import network_settings
from insd.provenance import array_fingerprint
from insd.settings.recipe import Recipe
from insd.tasks.base import target_variance
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.6)


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 64, 1), trials("test", 8, 2)
HELD_OUT = 32


def trained(iterations, units, seeds=4, step_size=0.02, clip=1.0, architecture="maximal_update", **own):
    """`network.nc` of networks of the same streams after so many iterations on all trials."""
    training = {"batch_size": BANK.sizes["trial"] - HELD_OUT, "validation_trials": HELD_OUT, "gradient_clip": clip}
    training |= {"step_size": step_size, "step_schedule": "constant", "evaluate_every": 100, "restarts": 0}
    network = {"architecture": architecture, "units": units, "recurrent_noise": 0.0, **own}
    recipe = Recipe(network=network, training=training | {"iterations": iterations}, terms={})
    return train_round(TASK, BANK, recipe, [("flip_flop", "p", seed, 0) for seed in range(seeds)])[0]


def moved(iterations, units, **settings):
    """How far training moves outputs and rates (root of mean squares), and recurrent weights (norm)."""
    start, end = (trained(number, units, **settings) for number in (0, iterations))
    pairs = zip(simulate_trials(start, TEST), simulate_trials(end, TEST), strict=True)
    rates, outputs = (float((after - before).square().mean().sqrt()) for before, after in pairs)
    weights = np.linalg.norm(end["recurrent_weights"] - start["recurrent_weights"], axis=(1, 2)).mean()
    return {"outputs": outputs, "rates": rates, "weights": weights}


def test_initial_outputs_fall_with_the_width_and_the_knob():
    def made(architecture, **own):
        settings = network_settings({"architecture": architecture, "units": 64, "gain": 1.2, **own})
        return initialise(settings, 3, 2, 0.2, [torch.Generator().manual_seed(0)]).weights()

    rate, knob = made("rate"), made("maximal_update", feature_learning=4.0)
    # Variance 1 / N against 1 / (4 N)^2, and all else the same.
    torch.testing.assert_close(knob.pop("output_weights"), rate.pop("output_weights") / 32)
    assert all(torch.equal(values, rate[name]) for name, values in knob.items())


@pytest.mark.parametrize("gamma", [0.5, 3.0])
def test_training_is_adam_in_the_parametrisation_of_the_publication(gamma):
    units, iterations, eta = 16, 4, 0.01
    settings = {"seeds": 1, "step_size": eta, "clip": 1e6, "feature_learning": gamma}
    start, end = (trained(number, units, **settings) for number in (0, iterations))
    bank, alpha = BANK.isel(trial=slice(-HELD_OUT)), BANK.attrs["dt"] / start.attrs["tau"]
    inputs, targets, mask = (
        torch.from_numpy(bank[name].values).double().transpose(0, 1) for name in ("inputs", "targets", "mask")
    )
    every = [torch.from_numpy(BANK[name].values).double().transpose(0, 1) for name in ("targets", "mask")]
    variance = target_variance(*every)
    names = ("recurrent_weights", "output_weights", "input_weights", "bias", "initial_state", "output_bias")
    named = {name: torch.from_numpy(start[name].values[0]).double() for name in names}
    k, c, *others = named.values()
    k, c = k * units, c * gamma * units
    weights = [one.clone().requires_grad_() for one in (k, c, *others)]
    groups = [{"params": weights[:-1], "lr": gamma * eta}, {"params": weights[-1:], "lr": eta}]
    optimiser = torch.optim.Adam(groups, eps=1e-14)
    for _ in range(iterations):
        k, c, u, bias, first, output_bias = weights
        state, outputs = first.expand(inputs.shape[1], -1), []
        for now in inputs:
            state = state + alpha * (-state + torch.tanh(state) @ k.T / units + now @ u.T + bias)
            outputs.append(torch.tanh(state) @ c.T / (gamma * units) + output_bias)
        loss = TASK.loss(torch.stack(outputs)[None], targets[None], mask[None], variance)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    k, c, *others = (one.detach() for one in weights)
    expected = dict(zip(names, (k / units, c / (gamma * units), *others), strict=True))
    for name, values in expected.items():
        steps = (torch.from_numpy(end[name].values[0]) - named[name]), values - named[name]
        torch.testing.assert_close(*steps, rtol=0, atol=0.01 * float(steps[1].abs().max()), msg=name)
        assert float(steps[1].abs().max()) > 0


def test_a_few_steps_move_outputs_and_rates_alike_at_any_width():
    found = [moved(5, units) for units in (64, 128, 256, 512)]
    for name, within in (("outputs", 1.1), ("rates", 1.2), ("weights", 1.05)):
        values = [one[name] for one in found]
        assert max(values) / min(values) < within, name
    # With one step size for all parameters, weights move in proportion to the width.
    narrow, wide = (moved(5, units, architecture="rate", step_size=0.001) for units in (64, 512))
    assert wide["weights"] > 3 * narrow["weights"]


def kernel(network):
    """Of the tangents in the recurrent weights, between outputs at some times of all test trials; per seed."""
    networks = load_networks([network], TEST.attrs["dt"])
    inputs = torch.from_numpy(TEST["inputs"].values).transpose(0, 1).expand(network.sizes["seed"], -1, -1, -1)
    outputs = networks.outputs(inputs)[0][:, 5::8].flatten(1)
    rows = [
        torch.autograd.grad(one.sum(), networks.recurrent_weights, retain_graph=True)[0].flatten(1)
        for one in outputs.unbind(1)
    ]
    tangents = torch.stack(rows, 1)
    return tangents @ tangents.mT


def test_the_knob_moves_weights_and_tangent_kernels():
    weights, alignment = [], []
    for gamma in (0.25, 1.0, 4.0):
        start, end = (trained(number, 64, feature_learning=gamma) for number in (0, 60))
        before, after = start["recurrent_weights"].values, end["recurrent_weights"].values
        weights.append(np.linalg.norm(after - before, axis=(1, 2)) / np.linalg.norm(before, axis=(1, 2)))
        kernels = kernel(start), kernel(end)
        alignment.append(torch.nn.functional.cosine_similarity(*(one.flatten(1) for one in kernels), dim=1).numpy())
    assert (np.diff(weights, axis=0) > 0.5 * np.array(weights[:-1])).all()
    assert (np.diff(alignment, axis=0).mean(1) < -0.05).all()
