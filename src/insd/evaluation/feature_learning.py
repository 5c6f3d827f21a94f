"""How far training moved a network from its initial weights, and how much it turned the tangent kernel.

Initial weights are not stored: they are drawn again from the random streams of the network's name and attempt, as
`insd.attempt` draws them. Which attempt was kept is read off the weights: those of a trained network are correlated
with the weights that it began with, and not with those of other attempts.
"""

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.bank import Bank
from insd.gauss_newton import as_trained
from insd.members import Member
from insd.networks.base import Flowing, Networks, initialise
from insd.networks.settings.base import network_settings
from insd.provenance import random_seed

RECOGNISED = 4.0
"""The least correlation of a network's weights with its initial ones, over the standard deviation that it has by
chance."""
NOT_FROM_RANDOM_WEIGHTS = "not trained here from random weights"
"""Why an imported network or the end of a walk has no initial weights to compare with."""
NOT_RECOGNISED = "its weights do not show which initial weights it began with"
"""Why a network has none whose attempt cannot be told."""


@dataclass(frozen=True)
class Initial:
    """The network that training began with."""

    network: xr.Dataset
    """Like a `network.nc` of one seed, with the initial weights."""
    attempt: int
    score: float
    """Correlation with the trained weights over the standard deviation by chance (`similarity_to`)."""


def initial_network(member: Member, task: str) -> Initial | str:
    """The network that the training of a member began with; or, in words, why it is not known.

    `task` is the name of the task in the config, which is part of the names of random streams.
    """
    made = member.settings.get("recipe", {})
    if made.get("make", "train") not in ("train", "teach") or "network" not in made:
        return NOT_FROM_RANDOM_WEIGHTS
    assert member.network is not None
    network = member.network
    settings = network_settings(made["network"])
    name = (task, member.population, member.seed, member.round)
    attempts = range(int(network["restarts"][0]) + 1)
    streams = [torch.Generator().manual_seed(random_seed(*name, attempt, "weights")) for attempt in attempts]
    alpha = network.attrs["dt"] / network.attrs["tau"]
    drawn = initialise(settings, network.sizes["input"], network.sizes["output"], alpha, streams)
    weights = drawn.weights()
    trained = {key: network[key].values[0] for key in weights}
    if any(trained[key].shape != tuple(values.shape[1:]) for key, values in weights.items()):
        return NOT_RECOGNISED
    scores = [
        similarity_to(trained, {key: one[attempt].numpy() for key, one in weights.items()}) for attempt in attempts
    ]
    attempt = int(np.argmax(scores))
    if scores[attempt] < RECOGNISED:
        return NOT_RECOGNISED
    stored = drawn.stored_weights({key: values[attempt : attempt + 1] for key, values in weights.items()})
    initial = network.assign({key: (network[key].dims, values.numpy()) for key, values in stored.items()})
    return Initial(initial, attempt, scores[attempt])


def similarity_to(weights: dict[str, np.ndarray], initial: dict[str, np.ndarray]) -> float:
    """Sum over matrices of the cosine of weights and initial weights, over its standard deviation by chance.

    The cosine with n numbers that are drawn on their own has the standard deviation ``1 / sqrt(n)``. Initial weights
    that are all 0 count for nothing.
    """
    total, variance = 0.0, 0.0
    for name, first in initial.items():
        one, other = weights[name].astype(float), first.astype(float)
        scale = np.linalg.norm(one) * np.linalg.norm(other)
        if scale > 0:
            total += float((one * other).sum() / scale)
            variance += 1 / other.size
    return float(total / np.sqrt(variance)) if variance > 0 else 0.0


def scored_places(trials: xr.Dataset, times: int) -> list[list[tuple[int, int]]]:
    """By trial, the (time, output) at which outputs are scored, at so many times, evenly spaced over those that are."""
    found = []
    for mask in trials["mask"].values > 0:
        scored = np.flatnonzero(mask.any(1))
        chosen = scored[np.unique(np.linspace(0, max(len(scored) - 1, 0), times).round().astype(int))[: len(scored)]]
        found.append([(int(time), int(output)) for time in chosen for output in np.flatnonzero(mask[time])])
    return found


def output_jacobian(network: xr.Dataset, trials: xr.Dataset, times: int) -> Float[np.ndarray, "place weight"]:
    """Derivatives of a network's noise-free outputs at the `scored_places` of trials in all its trained weights.

    The places are those of the first trial, then of the second, and so on; weights are in the order of
    `insd.gauss_newton.weights_of`. In double precision.
    """
    places = scored_places(trials, times)
    one = as_trained(network, trials.attrs["dt"]).double()
    count = trials.sizes["trial"]
    # Each trial has a copy of the network to itself, so that one backward pass gives a row of each.
    weights = {name: values.expand(count, *values.shape[1:]).clone() for name, values in one.weights().items()}
    networks = _like(one, weights)
    inputs = Bank.from_trials(trials).inputs.double().transpose(0, 1)[:, :, None]
    simulated = networks.simulate(inputs, states=True)[0] if isinstance(networks, Flowing) else networks(inputs)
    outputs = networks.readout(simulated)[:, :, 0]
    parameters = list(networks.parameters())
    rows: list[list[np.ndarray]] = [[] for _ in places]
    for number in range(max(map(len, places))):
        towards = torch.zeros_like(outputs)
        having = [trial for trial, of_trial in enumerate(places) if number < len(of_trial)]
        for trial in having:
            towards[trial, *places[trial][number]] = 1.0
        gradients = torch.autograd.grad(
            outputs, parameters, towards, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        found = torch.cat([gradient.flatten(1) for gradient in gradients], 1).numpy()
        for trial in having:
            rows[trial].append(found[trial])
    return np.array([row for of_trial in rows for row in of_trial])


def _like(networks: Networks, weights: dict[str, Tensor]) -> Networks:
    """Networks of the same class and constants, without private noise, with other weights."""
    constants = {name: getattr(networks, name) for name in networks.constants}
    return type(networks)(weights, networks.alpha, 0.0, **constants)


def kernel_alignment(first: Float[np.ndarray, "place weight"], second: Float[np.ndarray, "place weight"]) -> float:
    """``Tr(K_1 K_2) / (|K_1| |K_2|)`` of the tangent kernels ``K = J J^T`` of two Jacobians; NaN for one that is 0.

    Between 0 and 1, since both are positive semidefinite. Source: arXiv:2410.03972.
    """
    one, other = first @ first.T, second @ second.T
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return float((one * other).sum() / norms) if norms > 0 else float("nan")


def feature_learning(member: Member, task: str, trials: xr.Dataset, times: int) -> dict[str, float | int | str]:
    """The variables of `feature_learning.nc` for one network; NaN, and -1 for the attempt, where it says why.

    Parameters
    ----------
    member : `Connected`.
    task : see `initial_network`.
    trials, times : the outputs of the tangent kernel are at the `scored_places` of these trials.
    """
    initial = initial_network(member, task)
    if isinstance(initial, str):
        nan = dict.fromkeys(("weight_change", "weight_change_per_weight", "relative_weight_change"), float("nan"))
        return {**nan, "kernel_alignment": float("nan"), "attempt": -1, "unknown": initial}
    assert member.network is not None
    before, after = (
        network["recurrent_weights"].values[0].astype(np.float64) for network in (initial.network, member.network)
    )
    change, norm = float(np.linalg.norm(after - before)), float(np.linalg.norm(before))
    return {
        "weight_change": change,
        "weight_change_per_weight": change / before.size,
        "relative_weight_change": change / norm if norm > 0 else float("nan"),
        "kernel_alignment": kernel_alignment(
            *(output_jacobian(network, trials, times) for network in (member.network, initial.network))
        ),
        "attempt": initial.attempt,
        "unknown": "",
    }
