"""How well networks do in every regime of a task and on a grid of harder ones, in distribution and beyond."""

import logging
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.activity import loss_and_score, simulate_trials
from insd.bank import Bank
from insd.evaluation.blocks import BLOCKS, of_blocks
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
    their name, criterion and chance level as attributes. Each has its values on blocks of its trials in a variable of
    the same name with `_blocks` (`insd.evaluation.blocks.of_blocks`). `floor` (regime) and `grid_floor` (noise,
    duration) are the losses of the ideal observer (`insd.tasks.base.Task.floor`), NaN for tasks without. What a network
    that diverges has, says `with_divergence`.
    """
    labels: list[str] = []
    networks: list[xr.Dataset] = []
    values: list[list[np.ndarray]] = []
    for member in members:
        assert member.network is not None
        labels.append(member.label)
        networks.append(member.network)
        # As the activity was recorded, so that the scores in the regime `test` are equal to the stored ones.
        results = [evaluated(task, simulate_trials(member.network, regime)[1], regime) for regime in trials.values()]
        values.append([np.stack(of_regimes, axis=1) for of_regimes in zip(*results, strict=True)])
    grid, grid_floor = grid_performance(task, name, networks, grid_trials)
    for number, label in enumerate(labels):
        regimes = [regime for regime, loss in zip(trials, values[number][0][0], strict=True) if np.isinf(loss)]
        points = np.isinf(grid[0][number])
        on_grid = [f"at {points.sum()} of {points.size} points of the grid"] * bool(points.any())
        log_divergence(label, [f"in the regime {regime}" for regime in regimes] + on_grid)
    loss, score, loss_blocks, score_blocks = (np.concatenate(of_networks) for of_networks in zip(*values, strict=True))
    about = about_score(task)
    return xr.Dataset(
        {
            "loss": (("network", "regime"), loss),
            "score": (("network", "regime"), score, about),
            "loss_blocks": (("network", "regime", "block"), loss_blocks),
            "score_blocks": (("network", "regime", "block"), score_blocks),
            "grid_loss": (("network", "noise", "duration"), grid[0]),
            "grid_score": (("network", "noise", "duration"), grid[1], about),
            "grid_loss_blocks": (("network", "noise", "duration", "block"), grid[2]),
            "grid_score_blocks": (("network", "noise", "duration", "block"), grid[3]),
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


Evaluated = tuple[
    Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "... block"], Float[np.ndarray, "... block"]
]
"""Losses and scores, and both on blocks of the trials."""


def evaluated(task: Task, outputs: Float[Tensor, "network trial time output"], trials: xr.Dataset) -> Evaluated:
    """Loss and score of networks on some trials, as `with_divergence` has them, and on blocks of them."""
    # The errors of outputs that are infinite or NaN.
    with np.errstate(invalid="ignore", over="ignore"):
        loss, score = loss_and_score(task, outputs, trials)
        of_parts = of_blocks(task, outputs, trials)
    return *with_divergence(task, outputs, loss, score), *of_parts


def with_divergence(
    task: Task,
    outputs: Float[Tensor, "network trial time output"],
    loss: Float[np.ndarray, "network"],
    score: Float[np.ndarray, "network"],
) -> tuple[Float[np.ndarray, "network"], Float[np.ndarray, "network"]]:
    """Loss and score of networks with an infinite loss of those that diverge: whose outputs, or the squares of their
    errors, are beyond all numbers on some trial.

    Their score is infinite, too, on the side of the worse, unless the task makes a number of such outputs, as the share
    of correct signs is.
    """
    numbers = torch.isfinite(outputs).flatten(1).all(1).numpy()
    diverged = np.isinf(loss) | (np.isnan(loss) & ~numbers)
    worst = -np.inf if task.higher_is_better else np.inf
    return np.where(diverged, np.inf, loss), np.where(diverged & ~np.isfinite(score), worst, score)


def log_divergence(label: str, places: Sequence[str]) -> None:
    """Say in the log where a network diverges, if it does anywhere."""
    if places:
        logger.warning("%s: diverges %s; its loss there is infinite", label, ", ".join(places))


def grid_performance(
    task: Task, name: str, networks: Sequence[xr.Dataset], n_trials: int
) -> tuple[Evaluated, Float[np.ndarray, "noise duration"]]:
    """Noise-free loss and score of networks at every point of a task's grid (network, noise, duration), and the loss of
    the ideal observer.

    `networks` are `network.nc` datasets of one seed each. The trials of a point depend on the task's name and the two
    levels alone.
    """
    shape = (len(networks), len(task.grid["noise"]), len(task.grid["duration"]))
    loss, score = (np.full(shape, np.nan) for _ in range(2))
    loss_blocks, score_blocks = (np.full((*shape, BLOCKS), np.nan) for _ in range(2))
    found = loss, score, loss_blocks, score_blocks
    floors = np.full(shape[1:], np.nan)
    started = time.monotonic()
    for (noise, duration), (trials, floor) in _sampled(_Grid(task, name, n_trials)).items():
        floors[noise, duration] = floor
        for block, outputs in outputs_of(networks, trials):
            for array, values in zip(found, evaluated(task, outputs, trials), strict=True):
                array[block, noise, duration] = values
    logger.info("grid of %d by %d points: %.0f s", *shape[1:], time.monotonic() - started)
    return found, floors


@dataclass(frozen=True)
class _Grid:
    task: Task
    name: str
    n_trials: int

    def __hash__(self) -> int:
        # Tasks hold mappings, which have no hash.
        return hash((self.name, self.n_trials))


@lru_cache(maxsize=1)
def _sampled(grid: _Grid) -> dict[tuple[int, int], tuple[xr.Dataset, float]]:
    """The trials of each point of a grid, and the loss of the ideal observer on them.

    They are kept, since networks come one at a time: sampling and the floor cost a third of an evaluation.
    """
    found = {}
    for noise, duration in np.ndindex(*(len(grid.task.grid[axis]) for axis in ("noise", "duration"))):
        level = grid.task.in_grid(noise, duration)
        trials = level.sample("test", grid.n_trials, random_seed("grid", grid.name, noise, duration))
        found[noise, duration] = (trials, floor_of(level, trials))
    return found


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
