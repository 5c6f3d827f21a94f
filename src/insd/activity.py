"""Activity of trained networks: on the test trials for analyses, on the bank for later rounds."""

import math
from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.bank import Bank
from insd.networks.base import load_networks
from insd.objectives.base import make_terms
from insd.objectives.settings.base import TermSettings
from insd.samples import samples, valid_steps
from insd.tasks.base import Task, target_variance

CHUNK = 512
"""Trials simulated at once, which bounds memory."""


def simulate_trials(network: xr.Dataset, trials: xr.Dataset) -> tuple[Tensor, Tensor]:
    """Noise-free rates (seed, trial, time, unit) and outputs (seed, trial, time, output) of a `network.nc`.

    The rates after the end of a trial are NaN (`insd.samples`); the outputs go on.
    """
    networks = load_networks([network], trials.attrs["dt"])
    inputs = Bank.from_trials(trials).inputs.expand(network.sizes["seed"], -1, -1, -1)
    rates, outputs = [], []
    with torch.no_grad():
        for chunk in inputs.split(CHUNK, dim=2):
            rates.append(networks(chunk).transpose(1, 2).contiguous())
            outputs.append(networks.readout(rates[-1]))
    whole = torch.cat(rates, 1)
    whole[:, ~torch.from_numpy(valid_steps(trials))] = math.nan
    return whole, torch.cat(outputs, 1)


def loss_and_score(
    task: Task, outputs: Float[Tensor, "seed trial time output"], trials: xr.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Task loss and score of each network on some trials."""
    bank = Bank.from_trials(trials)
    variance = target_variance(bank.targets, bank.mask)
    loss = task.loss(outputs.transpose(1, 2), bank.targets, bank.mask, variance)
    return loss.numpy(), task.score(trials, outputs.numpy())


def free_running_score(
    task: Task, network: xr.Dataset, outputs: Float[Tensor, "seed trial time output"], trials: xr.Dataset
) -> np.ndarray:
    """Score of each network on `Task.free_running` of trials: of `outputs`, where these are the trials themselves."""
    free = task.free_running(trials)
    return task.score(free, (outputs if free is trials else simulate_trials(network, free)[1]).numpy())


def record_activity(
    network: xr.Dataset, task: Task, bank: xr.Dataset, test: xr.Dataset, terms: Mapping[str, TermSettings]
) -> xr.Dataset:
    """The activity of a round by the contract of activity files.

    Rates and outputs on the test trials, with loss and score; and what the terms keep of the networks on the bank, with
    which later rounds are compared.
    """
    rates, outputs = simulate_trials(network, test)
    losses, scores = loss_and_score(task, outputs, test)
    measured = xr.Dataset(
        {
            "rates": (("seed", "trial", "time", "unit"), rates.numpy()),
            "outputs": (("seed", "trial", "time", "output"), outputs.numpy()),
            "test_loss": ("seed", losses),
            "score": ("seed", scores, {"long_name": task.score_name}),
            "solved": ("seed", np.array([task.solved(score) for score in scores])),
        },
        coords={"seed": network["seed"], "time": test["time"], "output": test["output"]},
        attrs={"bank_fingerprint": bank.attrs["fingerprint"], "test_fingerprint": test.attrs["fingerprint"]},
    )
    kept = [term.stores(network, bank) for term in make_terms(terms).values()]
    return measured.merge(xr.merge([part for part in kept if part is not None]))


def participation_ratio(rates: Float[np.ndarray, "*any unit"]) -> float:
    """Effective dimension ``(sum l)^2 / sum l^2`` of rates with the covariance's eigenvalues l.

    Between 1 and the number of units.
    Source: Gao et al. (2017), "A theory of multineuronal dimensionality, dynamics and measurement". NaN for
    rates that do not vary.
    """
    covariance = np.cov(samples(rates).T)
    total = float(np.trace(covariance))
    return total**2 / float(np.square(covariance).sum()) if total > 0 else math.nan
