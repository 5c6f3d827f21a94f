"""How well networks do in every regime of a task and on a grid of harder ones, in distribution and beyond."""

import logging
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.activity import loss_and_score, simulate_trials
from insd.bank import Bank
from insd.members import Member
from insd.networks.base import Networks, load_networks, side_by_side
from insd.provenance import random_seed
from insd.tasks import Task

logger = logging.getLogger(__name__)

CHUNK = 128
"""Trials simulated at once."""
STATES_AT_ONCE = 2**24
"""States held at once, over networks, times and trials: about 64 MB, with as much again for each copy."""


def performance(
    task: Task, name: str, members: Iterable[Member], trials: Mapping[str, xr.Dataset], grid_trials: int
) -> xr.Dataset:
    """Noise-free loss and score of all networks in all regimes and on the task's grid, as `performance.nc` has them.

    Parameters
    ----------
    name : the task's name, which seeds the trials of the grid.
    members : the networks; activity is not needed.
    trials : the trials of each regime by name.
    grid_trials : trials sampled at each point of the grid, the same for all networks.

    Returns
    -------
    `loss` and `score` (network, regime), `grid_loss` and `grid_score` (network, noise, duration). A loss is the share
    of the targets' variance in that regime or at that point that is not explained; scores are the task's own, with
    their name, criterion and chance level as attributes. `floor` (regime) and `grid_floor` (noise, duration) are the
    losses of the ideal observer (`insd.tasks.base.Task.floor`), NaN for tasks without.
    """
    labels: list[str] = []
    networks: list[xr.Dataset] = []
    losses: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for member in members:
        assert member.network is not None
        labels.append(member.label)
        networks.append(member.network)
        # As the activity was recorded, so that the scores in the regime `test` are equal to the stored ones.
        results = [
            loss_and_score(task, simulate_trials(member.network, regime)[1], regime) for regime in trials.values()
        ]
        losses.append(np.stack([loss for loss, _ in results], axis=-1))
        scores.append(np.stack([score for _, score in results], axis=-1))
    grid_loss, grid_score, grid_floor = grid_performance(task, name, networks, grid_trials)
    about = about_score(task)
    return xr.Dataset(
        {
            "loss": (("network", "regime"), np.concatenate(losses)),
            "score": (("network", "regime"), np.concatenate(scores), about),
            "grid_loss": (("network", "noise", "duration"), grid_loss),
            "grid_score": (("network", "noise", "duration"), grid_score, about),
            "floor": ("regime", [floor_of(task.in_regime(regime), trials[regime]) for regime in trials]),
            "grid_floor": (("noise", "duration"), grid_floor),
        },
        coords={
            "network": labels,
            "regime": list(trials),
            "noise": task.grid_labels("noise"),
            "duration": task.grid_labels("duration"),
        },
        attrs={"grid_trials": grid_trials},
    )


def grid_performance(
    task: Task, name: str, networks: Sequence[xr.Dataset], n_trials: int
) -> tuple[
    Float[np.ndarray, "network noise duration"],
    Float[np.ndarray, "network noise duration"],
    Float[np.ndarray, "noise duration"],
]:
    """Noise-free loss and score of networks at every point of a task's grid, and the loss of the ideal observer.

    `networks` are `network.nc` datasets of one seed each. The trials of a point depend on the task's name and the two
    levels alone.
    """
    shape = (len(networks), len(task.grid["noise"]), len(task.grid["duration"]))
    losses, scores = np.full(shape, np.nan), np.full(shape, np.nan)
    floors = np.full(shape[1:], np.nan)
    started = time.monotonic()
    for noise in range(shape[1]):
        for duration in range(shape[2]):
            seed = random_seed("grid", name, noise, duration)
            level = task.in_grid(noise, duration)
            trials = level.sample("test", n_trials, seed)
            floors[noise, duration] = floor_of(level, trials)
            for block, outputs in outputs_of(networks, trials):
                losses[block, noise, duration], scores[block, noise, duration] = loss_and_score(task, outputs, trials)
    logger.info("grid of %d by %d points: %.0f s", *shape[1:], time.monotonic() - started)
    return losses, scores, floors


def floor_of(task: Task, trials: xr.Dataset) -> float:
    """The loss of the task's ideal observer; NaN where it has none."""
    floor = task.floor(trials)
    return np.nan if floor is None else floor


def outputs_of(
    networks: Sequence[xr.Dataset], trials: xr.Dataset
) -> Iterator[tuple[list[int], Float[Tensor, "network trial time output"]]]:
    """Noise-free outputs of networks on the same trials, some at a time, each block with its indices in `networks`.

    `networks` are `network.nc` datasets of one seed each. Those of one architecture, size and time constant run side
    by side, as many as memory allows.
    """
    alike: dict[Hashable, list[int]] = {}
    for index, network in enumerate(networks):
        alike.setdefault(side_by_side(network), []).append(index)
    inputs = Bank.from_trials(trials).inputs
    for indices in alike.values():
        states = trials.sizes["time"] * min(trials.sizes["trial"], CHUNK) * networks[indices[0]].sizes["unit"]
        at_once = max(1, STATES_AT_ONCE // states)
        for start in range(0, len(indices), at_once):
            block = indices[start : start + at_once]
            yield block, chunked_outputs(load_networks([networks[i] for i in block], trials.attrs["dt"]), inputs)


def chunked_outputs(
    networks: Networks,
    inputs: Float[Tensor, "time trial input"],
    noise: Float[Tensor, "network time trial unit"] | None = None,
) -> Float[Tensor, "network trial time output"]:
    """Outputs of networks on the same trials, in chunks of trials; only the outputs are kept."""
    outputs = []
    with torch.no_grad():
        for start in range(0, inputs.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            chunk = inputs[:, part].expand(len(networks.output_bias), -1, -1, -1)
            rates = networks(chunk, None if noise is None else noise[:, :, part])
            outputs.append(networks.readout(rates).transpose(1, 2))
    return torch.cat(outputs, 1)


def about_score(task: Task) -> dict[str, str | float | int]:
    """Attributes of a variable of scores: its name, criterion and chance level, and 1 where higher is better."""
    return {
        "long_name": task.score_name,
        "criterion": task.criterion,
        "chance": task.chance,
        "higher_is_better": int(task.higher_is_better),
    }
