"""How far losses and scores depend on the draw of trials: their values on blocks of them."""

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.bank import Bank
from insd.tasks.base import Task, target_variance

BLOCKS = 16
"""Blocks of the trials of one condition."""


def parts(n_trials: int, blocks: int) -> list[slice]:
    """The trials of each block, every so many; of few trials, each is a block."""
    count = min(blocks, n_trials)
    return [slice(start, None, count) for start in range(count)]


def losses_of_blocks(
    task: Task, outputs: Float[Tensor, "network trial time output"], trials: xr.Dataset, blocks: int = BLOCKS
) -> tuple[Float[np.ndarray, "network block"], Float[np.ndarray, "block"]]:
    """Task loss on each block, with the targets' variance of all trials, and the number of scored outputs in each."""
    bank = Bank.from_trials(trials)
    variance = target_variance(bank.targets, bank.mask)
    losses, scored = [], []
    for part in parts(trials.sizes["trial"], blocks):
        mask = bank.mask[:, part]
        losses.append(task.loss(outputs[:, part].transpose(1, 2), bank.targets[:, part], mask, variance))
        scored.append(mask.sum(dtype=torch.float64))
    return torch.stack(losses, 1).numpy(), torch.stack(scored).numpy()


def of_blocks(
    task: Task, outputs: Float[Tensor, "network trial time output"], trials: xr.Dataset, blocks: int = BLOCKS
) -> tuple[Float[np.ndarray, "network block"], Float[np.ndarray, "network block"]]:
    """Task loss and score of each network on each block of `blocks`, NaN for the blocks that few trials do not fill."""
    found = np.full((2, len(outputs), blocks), np.nan)
    count = min(blocks, trials.sizes["trial"])
    found[0, :, :count] = losses_of_blocks(task, outputs, trials, blocks)[0]
    arrays = outputs.numpy()
    for number, part in enumerate(parts(trials.sizes["trial"], blocks)):
        found[1, :, number] = task.score(trials.isel(trial=part), arrays[:, part])
    return found[0], found[1]


def jackknife_error(
    task: Task, outputs: Float[Tensor, "network trial time output"], trials: xr.Dataset, blocks: int = 64
) -> Float[np.ndarray, "network"]:
    """Standard error over trials of the task's loss, by leaving out each block of trials in turn.

    Losses are taken to be means over scored outputs, as `Task.loss` is unless a task has its own.

    Source: the grouped jackknife, Efron & Tibshirani (1993), "An introduction to the bootstrap", chapter 11.
    """
    losses, scored = losses_of_blocks(task, outputs, trials, blocks)
    count = losses.shape[1]
    if count < 2:
        return np.full(len(outputs), np.nan)
    sums = np.where(scored > 0, losses * scored, 0.0)
    left = (sums.sum(1, keepdims=True) - sums) / (scored.sum() - scored)
    return np.sqrt((count - 1) * np.var(left, axis=1))
