"""What becomes of trained networks that are trained further on the task loss alone: do they stay, or slide back?"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from insd.activity import loss_and_score, simulate_trials
from insd.attempt import Attempt
from insd.cohorts import REFERENCE
from insd.devices import CPU
from insd.dynamics.search import fixed_points
from insd.dynamics.settings import FixedPoints
from insd.evaluation.matching import distance
from insd.gauss_newton import as_trained
from insd.jobs import return_freed_memory, reuse_freed_memory
from insd.kept import Kept
from insd.measures.base import Statistics, both_ways, overlap_of
from insd.measures.pairs import prepare
from insd.measures.predictivity import Predictivity
from insd.members import Member
from insd.provenance import random_seed
from insd.rounds import NetworkName, network_dataset
from insd.settings.recipe import Recipe
from insd.tasks import Task

logger = logging.getLogger(__name__)

WEIGHTS, ALONE = "weights", "alone"
"""What is kept of a network: its weights along further training, and what is known of it without any other network."""
KNOWN_ALONE = ("task_loss", "score", "weight_distance", "n_stable_fixed_points", "n_cycles")
"""The variables of the latter."""


def looked_at(iterations: int) -> list[int]:
    """The iterations of further training at which a network is looked at; 8 iterations or more."""
    part = iterations // 8
    return [0, part, 2 * part, 4 * part, iterations]


def stability(
    task: Task,
    name: str,
    members: Sequence[Member],
    bank: xr.Dataset,
    trials: xr.Dataset,
    recipe_of: Callable[[Member], Recipe],
    iterations: int,
    search: FixedPoints,
    kept: Kept,
) -> xr.Dataset:
    """Each network along further training on the task loss alone, by the contract of `stability.nc`.

    Parameters
    ----------
    name : of the task.
    members : networks, `Flowing`; the references among them are what the others are compared with.
    bank : trials to train on.
    trials : those of the regime `test`, on which the activity of the members is stored.
    recipe_of : the training of a network, and its private noise.
    iterations : of further training, 8 or more.
    search : how fixed points are sought.
    kept : what is not computed again; what is computed is added to it.

    Returns
    -------
    By network and iteration (`looked_at`): `task_loss` and `score` on the trials, noise-free; `weight_distance` from
    the weights at the start (`insd.evaluation.matching.distance`); `n_stable_fixed_points` and `n_cycles`, over all
    static inputs; `r2_to_itself` and `r2_from_itself`, null-space r2 from the network to itself at the start and back;
    and, by reference too, `r2_to_reference` and `r2_from_reference`, those to each reference at the start and back. r2
    is NaN towards activity that does not vary.
    """
    references = [member for member in members if member.role == REFERENCE]
    prepared: dict[str, Statistics] = {}
    for number, member in enumerate(members, start=1):
        assert member.network is not None
        if member.label not in kept.networks:
            logger.info("%s, %d of %d networks: %d further iterations", member.label, number, len(members), iterations)
            names = (name, member.population, member.seed, member.round, "stability")
            weights = further(task, member.network, bank, recipe_of(member), iterations, names)
            found = alone(task, name, member, weights, trials, search)
            kept.add_network(member.label, {WEIGHTS: weights, ALONE: found})
            logger.info(
                "%s: task loss %s, stable fixed points %s",
                member.label,
                *(found[key].values.round(5).tolist() for key in ("task_loss", "n_stable_fixed_points")),
            )
        targets = {one.label: one for one in (member, *references) if (member.label, one.label) not in kept.pairs}
        if not targets:
            continue
        networks = _along(kept.networks[member.label][WEIGHTS])
        along = [null_space(simulate_trials(one, trials)[0].numpy()[0], one) for one in networks]
        for label, target in targets.items():
            if label not in prepared:
                assert target.network is not None
                prepared[label] = null_space(target.rates, target.network)
            measure, start = Predictivity(), prepared[label]
            r2 = [both_ways(measure, one, start, overlap_of(one, start)) for one in along]
            # Rounding may put shares outside their range.
            kept.add_pair((member.label, label), {"r2": np.clip(r2, 0.0, 1.0).T})
        # Of references, the activity is asked for again.
        if member.role != REFERENCE:
            prepared.pop(member.label, None)
    return _joined([member.label for member in members], [one.label for one in references], iterations, kept)


def further(
    task: Task, network: xr.Dataset, bank: xr.Dataset, recipe: Recipe, iterations: int, name: NetworkName
) -> xr.Dataset:
    """A `network.nc` of one seed at the iterations of `looked_at` of further training, along `iteration`.

    It is trained as the recipe says, on the task loss alone, without an early end: the optimiser and its schedule of
    step sizes begin again. `name` names the random streams.
    """
    start = as_trained(network, bank.attrs["dt"])
    start.recurrent_noise = recipe.network.recurrent_noise
    points = looked_at(iterations)
    changes = {"iterations": iterations, "evaluate_every": points[1], "patience": iterations, "finishing": 0.0}
    training = recipe.training.model_copy(update=changes)
    attempt = Attempt(task, bank, Recipe(training=training, terms={}), [name], {}, CPU, start)
    found = {0: start.weights()}
    reuse_freed_memory()
    for _ in attempt.train(progress_bar=False):
        if attempt.iteration in points:
            found[attempt.iteration] = attempt.networks.weights()
    found[iterations] = attempt.networks.weights()
    parts = [network_dataset(start, found[at], {}, [name], bank, network.attrs["tau"]) for at in points]
    return xr.concat(parts, pd.Index(points, name="iteration"), combine_attrs="override")


def alone(
    task: Task, name: str, member: Member, weights: xr.Dataset, trials: xr.Dataset, search: FixedPoints
) -> xr.Dataset:
    """What `stability` returns of one network but r2, (iteration)."""
    found: dict[str, list[float]] = {key: [] for key in KNOWN_ALONE}
    networks = _along(weights)
    for network in networks:
        outputs = simulate_trials(network, trials)[1]
        loss, score = loss_and_score(task, outputs, trials)
        return_freed_memory()
        then = Member.of_datasets(member.population, member.round, member.role, network, xr.Dataset())
        points = fixed_points(task, then, trials, search, random_seed("fixed points", name))
        found["task_loss"].append(float(loss[0]))
        found["score"].append(float(score[0]))
        found["weight_distance"].append(distance(networks[0], network))
        for count in ("n_stable_fixed_points", "n_cycles"):
            found[count].append(float(points[count].sum()))
    return xr.Dataset({key: ("iteration", values) for key, values in found.items()})


def null_space(rates: np.ndarray, network: xr.Dataset) -> Statistics:
    """What predictivity asks of rates (trial, time, unit) in the null space of the readout of a `network.nc`."""
    return prepare(rates, network["output_weights"].values[0], []).statistics["null"]


def _along(weights: xr.Dataset) -> list[xr.Dataset]:
    """The networks along further training, each a `network.nc` of one seed."""
    return [weights.isel(iteration=number, drop=True) for number in range(weights.sizes["iteration"])]


def _joined(labels: Sequence[str], references: Sequence[str], iterations: int, kept: Kept) -> xr.Dataset:
    """What is kept of all networks, as `stability` returns it."""
    points = looked_at(iterations)
    values = {key: [kept.networks[label][ALONE][key].values for label in labels] for key in KNOWN_ALONE}
    sizes = {"network": len(labels), "reference": len(references), "iteration": len(points)}

    def as_variable(dimensions: tuple[str, ...], numbers: list[Any]) -> tuple[tuple[str, ...], np.ndarray]:
        return dimensions, np.array(numbers, float).reshape([sizes[name] for name in dimensions])

    found = {key: as_variable(("network", "iteration"), rows) for key, rows in values.items()}
    for number, way in enumerate(("to", "from")):
        own = [kept.pairs[label, label]["r2"][number] for label in labels]
        found[f"r2_{way}_itself"] = as_variable(("network", "iteration"), own)
        towards = [[kept.pairs[label, one]["r2"][number] for one in references] for label in labels]
        found[f"r2_{way}_reference"] = as_variable(("network", "reference", "iteration"), towards)
    return xr.Dataset(found, {"network": list(labels), "reference": list(references), "iteration": points})
