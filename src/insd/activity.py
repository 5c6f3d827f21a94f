"""Activity of trained networks: on the test trials for analyses, on the bank for later rounds."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.datasets import DatasetError, read
from insd.networks.base import load_networks
from insd.predictivity import null_projector_array, principal_components
from insd.settings.config import Deflation
from insd.tasks import Task
from insd.training import Bank, Earlier, target_variance, task_loss

CHUNK = 512
"""Trials simulated at once, which bounds memory."""


def simulate_trials(network: xr.Dataset, trials: xr.Dataset) -> tuple[Tensor, Tensor]:
    """Noise-free rates (seed, trial, time, unit) and outputs (seed, trial, time, output) of a `network.nc`."""
    networks = load_networks([network], trials.attrs["dt"])
    inputs = Bank.from_trials(trials).inputs.expand(network.sizes["seed"], -1, -1, -1)
    rates, outputs = [], []
    with torch.no_grad():
        for chunk in inputs.split(CHUNK, dim=2):
            rates.append(networks(chunk).transpose(1, 2).contiguous())
            outputs.append(networks.readout(rates[-1]))
    return torch.cat(rates, 1), torch.cat(outputs, 1)


def loss_and_score(
    task: Task, outputs: Float[Tensor, "seed trial time output"], trials: xr.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Task loss (share of the targets' variance that is not explained) and score of each network on some trials."""
    bank = Bank.from_trials(trials)
    variance = target_variance(bank.targets, bank.mask)
    loss = task_loss(outputs.transpose(1, 2), bank.targets, bank.mask, variance)
    return loss.numpy(), task.score(trials, outputs.numpy())


def record_activity(
    network: xr.Dataset, task: Task, bank: xr.Dataset, test: xr.Dataset, deflation: Deflation
) -> xr.Dataset:
    """The activity of a round by the contract of activity files.

    Rates and outputs on the test trials, with loss and score; and the null-space rates on the bank (every
    `time_stride`-th step), as the scores of as many leading principal components as hold `variance_kept`, which later
    rounds are deflated against. Seeds with fewer components are filled up with zeros, which weigh nothing.
    """
    rates, outputs = simulate_trials(network, test)
    losses, scores = loss_and_score(task, outputs, test)

    kept, shares = [], []
    for seed in range(network.sizes["seed"]):
        one = network.isel(seed=[seed])
        bank_rates = simulate_trials(one, bank)[0][0, :, :: deflation.time_stride]
        projector = null_projector_array(one["output_weights"].values[0])
        components, share = principal_components(bank_rates.numpy() @ projector, deflation.variance_kept)
        kept.append(components)
        shares.append(share)
    most = max(components.shape[-1] for components in kept)
    filled = [np.pad(c, ((0, 0), (0, 0), (0, most - c.shape[-1]))) for c in kept]
    null_activity = np.stack(filled).astype(np.float32)

    return xr.Dataset(
        {
            "rates": (("seed", "trial", "time", "unit"), rates.numpy()),
            "outputs": (("seed", "trial", "time", "output"), outputs.numpy()),
            "null_activity": (("seed", "bank_trial", "bank_time", "component"), null_activity),
            "null_variance_kept": ("seed", shares),
            "test_loss": ("seed", losses),
            "score": ("seed", scores, {"long_name": task.score_name}),
            "solved": ("seed", np.array([task.solved(score) for score in scores])),
        },
        coords={
            "seed": network["seed"],
            "time": test["time"],
            "bank_time": ("bank_time", bank["time"].values[:: deflation.time_stride], {"units": "s"}),
            "output": test["output"],
        },
        attrs={"bank_fingerprint": bank.attrs["fingerprint"], "test_fingerprint": test.attrs["fingerprint"]},
    )


def read_earlier(path: str) -> xr.Dataset:
    """The null-space activity of an earlier round, or of the recording in its place, by the name of its file."""
    contract = "recording" if Path(path).name == "recording.nc" else "activity"
    return read(path, contract, ["null_activity"])


def join_earlier(activities: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]) -> Earlier:
    """The null-space activity of all earlier rounds, in order, ready for training on that bank.

    Raises DatasetError, naming the file, if an activity is of another bank, of other seeds or at other times.
    """
    first = activities[0]
    for activity, file in zip(activities, files, strict=True):
        if activity.attrs["bank_fingerprint"] != bank.attrs["fingerprint"]:
            raise DatasetError(
                f"{file}: holds activity on another trial bank ({activity.attrs['bank_fingerprint']}) than the one to "
                f"train on ({bank.attrs['fingerprint']}); delete it and run its round again"
            )
        for name in ("seed", "bank_time"):
            if not np.array_equal(activity[name].values, first[name].values):
                raise DatasetError(f"{file}: its '{name}' differs from that of {files[0]}; run its round again")
    components = [torch.from_numpy(activity["null_activity"].values) for activity in activities]
    membership = torch.block_diag(*[torch.ones(part.shape[-1], 1) for part in components])
    steps = np.searchsorted(bank["time"].values, first["bank_time"].values - bank.attrs["dt"] / 2)
    stride = int(steps[1]) if len(steps) > 1 else len(bank["time"])
    if not np.array_equal(bank["time"].values[::stride], first["bank_time"].values):
        raise DatasetError(f"{files[0]}: its 'bank_time' is no regular selection of the bank's; run its round again")
    return Earlier(torch.cat(components, -1), membership, stride)


def participation_ratio(rates: np.ndarray) -> float:
    """Effective dimension ``(sum l)^2 / sum l^2`` of rates (..., unit) with the covariance's eigenvalues l.

    Between 1 and the number of units.
    Source: Gao et al. (2017), "A theory of multineuronal dimensionality, dynamics and measurement". Not a number for
    rates that do not vary.
    """
    covariance = np.cov(rates.reshape(-1, rates.shape[-1]).T)
    total = float(np.trace(covariance))
    return total**2 / float(np.square(covariance).sum()) if total > 0 else math.nan
