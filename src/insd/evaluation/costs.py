"""What a solution costs: large weights, and outputs that private noise moves."""

import math

import numpy as np
import torch
import xarray as xr

from insd.bank import Bank
from insd.datasets import architecture_of
from insd.evaluation.performance import CHUNK
from insd.networks.base import load_networks, simulated_as
from insd.plugins import find


def costs(network: xr.Dataset, trials: xr.Dataset, probes: int, seed: int) -> dict[str, float]:
    """Costs of a `network.nc` of one seed, as in arXiv:2610.04697.

    `mean_squared_recurrent_weight`, NaN without weights from units to units; `sum_squared_weights` over all trained
    weights, with biases and the initial state; and `noise_sensitivity` on the trials (see there). The mean squared rate
    is in `insd.analysis.dimensions`.
    """
    names = find("network", architecture_of(network)).parameter_names()
    between_units = [network[name].values.ravel() for name in simulated_as(network).recurrent_names()]
    recurrent = np.concatenate([*between_units, np.zeros(0)])
    return {
        "mean_squared_recurrent_weight": float(np.square(recurrent).mean()) if recurrent.size else math.nan,
        "sum_squared_weights": sum(float(np.square(network[name].astype(float)).sum()) for name in names),
        "noise_sensitivity": noise_sensitivity(network, trials, probes, seed),
    }


def noise_sensitivity(network: xr.Dataset, trials: xr.Dataset, probes: int, seed: int) -> float:
    """Variance that private noise adds to the scored outputs of a network, per variance of the noise at each step.

    To first order in the noise, an output y has the variance ``sd^2 * sum_n (dy / dn)^2`` over the noise n of all units
    at all times up to it, where sd is the standard deviation of the noise added to the state of a unit at each step
    (`Networks.draw_noise`). This is the mean of that sum over the scored outputs of all trials, on the
    noise-free trajectory: ``|J|_F^2 / outputs`` with the Jacobian J of the scored outputs. It is estimated by
    ``E |J^T v|^2`` for vectors v of random signs; each costs one backward pass.

    It says what noise does only as long as that stays small: where trajectories close by part, as they may between two
    decisions, it can be far above the variance under noise of the size used in training, and rests on few trials.

    Parameters
    ----------
    network : a `network.nc` of one seed.
    trials : the trials that the outputs are of.
    probes : number of vectors v; every trial has its own signs, so that few are enough.
    seed : of the signs.

    Source: first-order perturbation theory with the adjoint method; random signs after Hutchinson (1990),
    Communications in Statistics 19:433.
    """
    networks = load_networks([network], trials.attrs["dt"]).requires_grad_(False)
    stream = torch.Generator().manual_seed(seed)
    bank = Bank.from_trials(trials)
    times, n_trials, _ = bank.inputs.shape
    total = 0.0
    for start in range(0, n_trials, CHUNK):
        inputs, mask = bank.inputs[None, :, start : start + CHUNK], bank.mask[:, start : start + CHUNK]
        noise = torch.zeros(1, times, inputs.shape[2], networks.initial_state.shape[1], requires_grad=True)
        rates = networks(inputs, noise)
        for _ in range(probes):
            signs = torch.randint(0, 2, mask.shape, generator=stream) * 2.0 - 1.0
            # What the readout passes back to the rates is the same product for every probe.
            gradient = (signs * mask) @ networks.output_weights[0]
            (by_noise,) = torch.autograd.grad(rates, noise, gradient[None], retain_graph=True)
            total += float(by_noise.double().square().sum())
    return total / (probes * float(bank.mask.sum()))
