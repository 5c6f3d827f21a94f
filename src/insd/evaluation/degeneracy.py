"""How much the networks of a population differ: in behaviour, in dynamics, in weights and in representation.

A group is the networks of one population and round that solve the task: standards, references, and the alternatives of
each round of a chain are groups of their own. Intervals are of resamples of networks: a pair counts as often as both of
its networks were drawn, and a network is not compared with itself.

Source: arXiv:2410.03972, "Measuring and controlling solution degeneracy across task-trained recurrent neural networks";
resamples, and the network's own name for a group, are ours.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int

from insd.dynamics.alignment import best_alignment
from insd.dynamics.operators import fit_operator
from insd.dynamics.settings import DynamicalSimilarity
from insd.members import Member
from insd.provenance import random_seed

logger = logging.getLogger(__name__)

LEVELS = ("behaviour", "dynamics", "weights", "relative_weights", "representation")
"""What networks differ in."""
MEASURE = "svcca_full"
"""The measure of `similarity.nc` by which representations are compared."""

Counts = Int[np.ndarray, "resample network"]
"""How often each network was drawn."""


@dataclass(frozen=True)
class Group:
    """Networks of one population and round, by label."""

    name: str
    population: str
    round: int
    role: str
    labels: tuple[str, ...]
    recipe: str
    """The resolved settings that its networks were made with, as JSON."""


def groups_of(members: Sequence[Member]) -> list[Group]:
    """The groups of the networks of a task, in their order."""
    found: dict[tuple[str, int], list[Member]] = {}
    for member in members:
        found.setdefault((member.population, member.round), []).append(member)
    return [
        Group(
            f"{population}/{number}",
            population,
            number,
            one[0].role,
            tuple(member.label for member in one),
            json.dumps(one[0].settings.get("recipe", {}), sort_keys=True),
        )
        for (population, number), one in found.items()
    ]


def resampled(networks: int, resamples: int, seed: int) -> Counts:
    """How often each network is drawn in resamples of as many networks, with replacement."""
    random = np.random.default_rng(seed)
    return random.multinomial(networks, np.full(networks, 1 / networks), resamples)


def spread(values: Float[np.ndarray, "network"], counts: Counts) -> Float[np.ndarray, "resample"]:
    """Standard deviation over the networks that have a value, of each resample; NaN for fewer than two of them."""
    counts, values = counts[:, np.isfinite(values)], values[np.isfinite(values)]
    drawn = counts.sum(1)
    mean = (counts @ values) / np.maximum(drawn, 1)
    squares = (counts * np.square(values - mean[:, None])).sum(1)
    return np.where(drawn > 1, np.sqrt(squares / np.maximum(drawn - 1, 1)), np.nan)


def mean_of_pairs(matrix: Float[np.ndarray, "network network"], counts: Counts) -> Float[np.ndarray, "resample"]:
    """Mean over the pairs of different networks that have a value, of each resample; NaN where none has.

    A pair counts as often as it is drawn, the product of how often both of its networks are.
    """
    known = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    values = np.where(known, matrix, 0.0)
    total, number = (np.einsum("ri,ij,rj->r", counts, part, counts, optimize=True) for part in (values, known * 1.0))
    return np.where(number > 0, total / np.where(number > 0, number, 1), np.nan)


def null_distances(
    rates: Float[np.ndarray, "trial time unit"], own: DynamicalSimilarity, draws: int, seed: int
) -> Float[np.ndarray, "draw"]:
    """Distances of dynamical similarity between two samples of trials of one network: what it is without a difference.

    Each sample has as many trials as there are, drawn with replacement. NaN where the activity does not vary.
    """
    random = np.random.default_rng(seed)
    found = np.full(draws, np.nan)
    for draw in range(draws):
        samples = (rates[random.integers(len(rates), size=len(rates))] for _ in range(2))
        one, other = (fit_operator(sample, own.delays, own.rank) for sample in samples)
        if np.isfinite(one).all() and np.isfinite(other).all():
            pair = torch.from_numpy(one), torch.from_numpy(other)[None]
            found[draw] = float(best_alignment(*pair, own.starts, own.iterations, seed).angles[0])
    return found


@dataclass(frozen=True)
class Known:
    """What other analyses found of all networks of a task, by label: NaN for networks that they do not hold."""

    solved: xr.DataArray
    test_loss: xr.DataArray
    loss: xr.DataArray
    """In the regime in which behaviour is compared."""
    matrices: Mapping[str, xr.DataArray]
    """Of pairs, by level."""
    learning: xr.Dataset
    """Of `feature_learning.nc`."""


def known_of(
    labels: Sequence[str], analyses: Mapping[str, xr.Dataset], regime: str, solves: Callable[[float], bool]
) -> Known:
    """What is known of networks, from the files of the analyses by name.

    `solves` says of a score in the regime `test` whether it meets the task's criterion.
    """
    pairs = {"network": list(labels), "network_to": list(labels)}
    performance = analyses["performance"].reindex(network=list(labels))
    scores, weights = performance["score"].sel(regime="test"), analyses["weight_distance"]
    matrices = {
        "dynamics": analyses["dsa"]["distance"],
        "weights": weights["distance_per_weight"],
        "relative_weights": weights["relative_distance"],
        "representation": 1 - analyses["similarity"]["value"].sel(measure=MEASURE),
    }
    learning = analyses["feature_learning"][["weight_change", "relative_weight_change", "kernel_alignment"]]
    return Known(
        scores.copy(data=np.array([solves(float(score)) for score in scores.values], bool)),
        performance["loss"].sel(regime="test"),
        performance["loss"].sel(regime=regime),
        {level: matrix.reindex(pairs) for level, matrix in matrices.items()},
        learning.reindex(network=list(labels)),
    )


def degeneracy(
    task: str,
    members: Sequence[Member],
    known: Known,
    dsa: DynamicalSimilarity,
    null: tuple[int, int],
    resamples: int,
    confidence: float,
) -> xr.Dataset:
    """The degeneracy of each group of networks of a task, by the contract of `degeneracy.nc`.

    Parameters
    ----------
    task : its name, which seeds all draws.
    known : see `known_of`.
    dsa : the settings of the distances between dynamics, which those of the null distribution are made with, too.
    null : networks of each group that the null distribution is of, the first that solve the task, and draws of each.
    resamples, confidence : of the intervals.

    Returns
    -------
    value (level, group) : of `LEVELS`, over the networks of the group that solve the task. behaviour: standard
        deviation of their losses; the others: means over their pairs, of the distance of dynamical similarity in rad,
        of the distance of recurrent weights over their number and over their norms, and of 1 - SVCCA.
    draws (level, group, resample) : the same of each resample of networks, which are the same for all levels.
    interval (level, group, bound) : percentiles of these draws.
    null (group, draw) : `null_distances`, NaN where fewer networks solve the task.
    loss (group) : mean of the losses that `behaviour` is of.
    test_loss_range (group, bound) : the least and the largest, which show how far groups are matched.
    test_loss, weight_change, relative_weight_change, kernel_alignment (group) : medians.
    networks, solved, pairs (group) : numbers of networks, of those that solve the task, and of their pairs.
    """
    groups, by_label = groups_of(members), {member.label: member for member in members}
    names = ("test_loss", "weight_change", "relative_weight_change", "kernel_alignment")
    value = np.full((len(LEVELS), len(groups)), np.nan)
    draws = np.full((len(LEVELS), len(groups), resamples), np.nan)
    distances = np.full((len(groups), null[0] * null[1]), np.nan)
    medians = {name: np.full(len(groups), np.nan) for name in names}
    losses, solved = np.full(len(groups), np.nan), np.zeros(len(groups), int)
    ranges = np.full((len(groups), 2), np.nan)
    for number, group in enumerate(groups):
        labels = [label for label in group.labels if bool(known.solved.sel(network=label))]
        solved[number] = len(labels)
        if not labels:
            continue
        loss = known.loss.sel(network=labels).values
        if diverged := np.isinf(loss).sum():
            logger.warning("%s: %d of %d networks diverge, and have no loss here", group.name, diverged, len(loss))
        losses[number] = np.nanmean(loss[~np.isinf(loss)]) if np.isfinite(loss).any() else np.nan
        on_test = known.test_loss.sel(network=labels)
        ranges[number] = float(on_test.min()), float(on_test.max())
        for name, values in medians.items():
            of_group = known.test_loss if name == "test_loss" else known.learning[name]
            values[number] = _median(of_group.sel(network=labels).values)
        once = np.ones((1, len(labels)), int)
        counts = resampled(len(labels), resamples, random_seed("degeneracy", task, group.name))
        for place, level in enumerate(LEVELS):
            for found, of in ((value[place, number : number + 1], once), (draws[place, number], counts)):
                if level == "behaviour":
                    found[:] = spread(loss, of)
                else:
                    matrix = known.matrices[level].sel(network=labels, network_to=labels).values
                    found[:] = mean_of_pairs(matrix, of)
        own = [
            null_distances(by_label[label].rates, dsa, null[1], random_seed("degeneracy null", task, label))
            for label in labels[: null[0]]
        ]
        distances[number, : len(own) * null[1]] = np.concatenate(own)
        logger.info("%s: %d of %d networks solve the task", group.name, len(labels), len(group.labels))
    tail = 100 * (1 - confidence) / 2
    interval = np.full((*value.shape, 2), np.nan)
    for at in np.ndindex(value.shape):
        known_draws = draws[at][np.isfinite(draws[at])]
        if known_draws.size:
            interval[at] = np.percentile(known_draws, [tail, 100 - tail])
    return xr.Dataset(
        {
            "value": (("level", "group"), value),
            "interval": (("level", "group", "bound"), interval),
            "draws": (("level", "group", "resample"), draws.astype(np.float32)),
            "null": (("group", "draw"), distances),
            "loss": ("group", losses),
            "test_loss_range": (("group", "bound"), ranges),
            **{name: ("group", values) for name, values in medians.items()},
            "networks": ("group", [len(group.labels) for group in groups]),
            "solved": ("group", solved),
            "pairs": ("group", solved * (solved - 1) // 2),
        },
        coords={
            "level": list(LEVELS),
            "group": [group.name for group in groups],
            "population": ("group", [group.population for group in groups]),
            "round": ("group", [group.round for group in groups]),
            "role": ("group", [group.role for group in groups]),
            "recipe": ("group", [group.recipe for group in groups]),
            "bound": ["low", "high"],
        },
        attrs={"confidence": confidence},
    )


def _median(values: Float[np.ndarray, "network"]) -> float:
    """Of those that are known."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
