"""Training of one round: task loss plus the terms of the objective, many networks side by side."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from insd.attempt import Attempt, joined
from insd.checkpoints import Checkpoint
from insd.devices import CPU
from insd.objectives.base import Stored
from insd.rounds import NetworkName, made_from, network_dataset
from insd.settings.recipe import Recipe
from insd.tasks.base import Task

log = logging.getLogger(__name__)


def train_round(
    task: Task,
    bank: xr.Dataset,
    recipe: Recipe,
    names: Sequence[NetworkName],
    earlier: Mapping[str, Stored] | None = None,
    progress_bar: bool = False,
    checkpoint: Path | None = None,
    device: torch.device = CPU,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Train one round of several networks on a bank of trials, restarting those that do not solve the task.

    Parameters
    ----------
    task : its loss is minimised, and it scores the held-out trials.
    bank : trials; the last `validation_trials` of them are held out from the gradient.
    recipe : settings of the network, its training and the terms of the objective.
    names : one per network, (task, population, seed, round); every random stream derives from it alone, so that a
        network does not depend on those trained alongside it.
    earlier : by the name of the term, what it reads of the earlier rounds on the same bank
        (`insd.objectives.base.join_earlier`); None in round 0.
    progress_bar : show a bar in the terminal; progress lines are always written to the log.
    checkpoint : file that keeps the state of training, at an evaluation every few minutes. If it holds that of an
        interrupted call with equal arguments, training resumes from there, to the same result. It is left
        in place at the end, for the caller to remove once the result is safe.
    device : where to train. Initial weights and minibatches are the same everywhere; private noise is drawn on the
        device, whose random numbers differ from those of a CPU. Results are on the CPU.

    Returns
    -------
    network, history : datasets by the contracts of `network.nc` and `history.nc`. The weights are those of the first
    attempt that solves the held-out trials, or of the best attempt if none does, with its number of iterations and the
    last held-out values of its terms; `history` holds all attempts.

    Raises ValueError if the bank is too small, and TrainingError if a loss is not finite.
    """
    count, earlier = len(names), earlier or {}
    kept = None
    if checkpoint is not None:
        architecture = recipe.network.architecture
        digest = made_from(__name__, architecture, task, bank, recipe, names, earlier, device.type)
        kept = Checkpoint(checkpoint, digest)
    state = (kept.load() if kept else None) or {
        "attempt": 0,
        "pending": list(range(count)),
        "weights": {},
        "best": [math.nan] * count,
        "restarts": [0] * count,
        "ends": [{} for _ in names],
        "records": [],
    }
    for attempt in range(state["attempt"], recipe.training.restarts + 1):
        pending = state["pending"]
        streams = [(*names[i], attempt) for i in pending]
        run = Attempt(task, bank, recipe, streams, _select(earlier, pending), device)
        if "run" in state:
            run.load_state_dict(state.pop("run"))
            log.info("resumed from iteration %d of attempt %d", run.iteration, attempt)
        for _ in run.train(progress_bar):
            if kept and kept.due():
                kept.save({**state, "attempt": attempt, "run": run.state_dict()})
        state["records"].append({"networks": pending, **run.record()})
        for row, network in enumerate(pending):
            state["restarts"][network] = attempt
            if _better(task, run.scores[row], state["best"][network]):
                state["best"][network] = float(run.scores[row])
                state["ends"][network] = run.end_of(row)
                for name, values in run.networks.weights().items():
                    best = state["weights"].setdefault(name, values.new_zeros(count, *values.shape[1:]))
                    best[network] = values[row]
        state["pending"] = [network for network in pending if not task.solved(state["best"][network])]
        if not state["pending"] or recipe.training.iterations == 0:
            break
        log.warning(
            "attempt %d did not solve the held-out trials: %s",
            attempt,
            ", ".join(joined(names[i]) for i in state["pending"]),
        )
    weights, restarts, ends = state["weights"], np.array(state["restarts"]), state["ends"]
    # Rounds that are compared with nothing end with iterations alone.
    penalties = {
        name: (("seed", "earlier")[: ends[0][name].ndim + 1], np.stack([end[name].numpy() for end in ends]))
        for name in ends[0]
        if name != "iteration"
    }
    histories = [_history(record, count) for record in state["records"]]
    variables = {"restarts": ("seed", restarts), "iterations": ("seed", [int(end["iteration"]) for end in ends])}
    trained = network_dataset(run.networks, weights, variables | penalties, names, bank, recipe.network.tau)
    return trained, xr.concat(histories, "attempt", join="outer").assign_coords(seed=trained["seed"])


def _history(record: dict[str, Any], count: int) -> xr.Dataset:
    """The evaluations of an attempt as a dataset over all `count` networks of the round; empty after each network's
    last one, and for networks that the attempt had not.
    """
    rows, last_row = record["rows"], record["last_row"].numpy()
    history = xr.Dataset(coords={"iteration": [int(row["iteration"]) for row in rows], "seed": record["networks"]})
    alive = xr.DataArray(np.arange(len(rows)) <= last_row[:, None], dims=("seed", "iteration"))
    for name in (name for name in rows[0] if name != "iteration"):
        values = np.stack([row[name].numpy() for row in rows], axis=1)
        history[name] = (("seed", "iteration", "earlier")[: values.ndim], values.astype(np.float32))
    return history.where(alive).transpose("seed", "iteration", ...).reindex(seed=range(count))


def _select(earlier: Mapping[str, Stored], networks: Sequence[int]) -> dict[str, Stored]:
    return {name: stored.select(networks) for name, stored in earlier.items()}


def _better(task: Task, score: float, than: float) -> bool:
    """Whether a score beats another; any score beats NaN."""
    return math.isnan(than) or bool(score > than if task.higher_is_better else score < than)
