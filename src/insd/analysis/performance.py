"""How well networks do in every regime of a task, in distribution and beyond."""

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from insd.activity import loss_and_score, simulate_trials
from insd.analysis.rounds import Round, network_label
from insd.tasks import Task


def performance(task: Task, rounds: Iterable[Round], trials: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Noise-free loss and score of all networks in all regimes, by the contract of `performance.nc`.

    `trials` has the trials of each regime by name. The loss is the share of the targets' variance in that regime that
    is not explained; the score is the task's own, with its name, criterion and chance level as attributes.
    """
    labels: list[str] = []
    losses: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for current in rounds:
        seeds = current.network["seed"].values
        labels += [network_label(current.population, int(seed), current.round_number) for seed in seeds]
        results = [
            loss_and_score(task, simulate_trials(current.network, regime)[1], regime) for regime in trials.values()
        ]
        losses.append(np.stack([loss for loss, _ in results], axis=-1))
        scores.append(np.stack([score for _, score in results], axis=-1))
    about = {"long_name": task.score_name, "criterion": task.criterion, "chance": task.chance}
    return xr.Dataset(
        {
            "loss": (("network", "regime"), np.concatenate(losses)),
            "score": (("network", "regime"), np.concatenate(scores), about),
        },
        coords={"network": labels, "regime": list(trials)},
    )
