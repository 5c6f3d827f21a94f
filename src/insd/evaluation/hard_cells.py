"""Trials that are so hard that there is something to win: found from standards alone, then the same for all networks.

A cell is a task at a level of noise and duration at which the standards' median score has gone a given share of the way
from its value in distribution to chance. Alternatives are not looked at until the cells are fixed.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Float

from insd.activity import loss_and_score
from insd.cohorts import STANDARD, UNTRAINED
from insd.errors import InsdError
from insd.evaluation.blocks import jackknife_error
from insd.evaluation.performance import about_score, log_divergence, outputs_of, with_divergence
from insd.members import Member
from insd.provenance import random_seed
from insd.tasks import Task
from insd.tasks.base import GridAxis

logger = logging.getLogger(__name__)

DIRECTIONS = ("noise", "duration", "both")
"""Along which trials get harder: one axis of the task's grid with the other at its first level, or both together."""
LEAST_STANDARDS = 5
"""With fewer solved standards there are no cells (ours)."""
TOLERANCE = 0.005
"""The search ends where the standards' median is that close to the share that is sought."""
HALVINGS = 10
"""Most halvings of the step between two levels of the grid."""


class NoCellError(InsdError):
    """There is no cell; the message says why."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where the search along a direction ended for one share."""

    direction: str
    share: float
    """Sought, of the way from the standards' median in distribution to chance."""
    position: float = np.nan
    """From 0, in distribution, to 1, the last level of the grid; NaN where there is no cell."""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What it replaces of the task's fields."""
    search_score: float = np.nan
    """Median score of the standards there, on the trials of the search."""
    reason: str = ""
    """Why there is no cell."""


def interpolated(task: Task, axis: GridAxis, position: float) -> dict[str, Any]:
    """What a position between the levels of an axis of a task's grid replaces, by field.

    `position` counts levels from 0. Numbers are interpolated geometrically where both are positive, else linearly,
    and rounded in fields of whole numbers alone; spans and other sequences end by end. A field that a level does not
    name has the task's own value there.

    Raises NoCellError, which names the field, where two levels differ in something else.
    """
    levels = task.grid[axis]
    first = min(int(position), len(levels) - 1)
    second = min(first + 1, len(levels) - 1)
    names = dict.fromkeys([*levels[first], *levels[second]])
    return {
        name: _between(
            levels[first].get(name, getattr(task, name)),
            levels[second].get(name, getattr(task, name)),
            position - first,
            task.whole(name),
            f"grid.{axis}: {name}",
        )
        for name in names
    }


def _between(first: Any, second: Any, share: float, whole: bool, where: str) -> Any:
    ends = [value if isinstance(value, list | tuple) else (value,) for value in (first, second)]
    numbers = [isinstance(end, int | float) and not isinstance(end, bool) for value in ends for end in value]
    if first == second or share == 0:
        return tuple(first) if isinstance(first, list) else first
    if not all(numbers) or len(ends[0]) != len(ends[1]):
        raise NoCellError(f"{where} cannot be interpolated between {first!r} and {second!r}")
    low, high = (np.array(value, float) for value in ends)
    # All ends in the same way, so that those of a span keep their order.
    positive = (low > 0).all() and (high > 0).all()
    found = low ** (1 - share) * high**share if positive else low + share * (high - low)
    values = tuple(round(float(value)) if whole else float(value) for value in found)
    return values if isinstance(first, list | tuple) else values[0]


def find_cells(
    task: Task, median_score: Callable[[Task], float], shares: Sequence[float], directions: Sequence[str] = DIRECTIONS
) -> list[Cell]:
    """The cells of a task, by bisection between those two levels of its grid that enclose each share.

    `median_score` gives the standards' median score on trials of a task. Where scores are not monotone, the first
    crossing counts. Shares that the last level does not reach have no cell.
    """
    cells: list[Cell] = []
    for direction in directions:
        # All shares of a direction ask for the scores at the levels of the grid.
        score = cache(partial(_score_at, task, median_score, direction))
        for share in shares:
            try:
                cells.append(_cell(task, direction, share, score))
            except NoCellError as error:
                cells.append(Cell(direction, share, reason=str(error)))
    return cells


def _score_at(task: Task, median_score: Callable[[Task], float], direction: str, position: float) -> float:
    return median_score(dataclasses.replace(task, regimes={}, **_changes(task, direction, position)))


def _cell(task: Task, direction: str, share: float, score: Callable[[float], float]) -> Cell:
    """The cell of one share of the way to chance, by the standards' median score at each position."""
    levels = max(len(task.grid[axis]) for axis in _axes(direction))
    if levels == 1:
        raise NoCellError("beyond the range of the grid: it has one level")
    if score(0.0) == task.chance:
        raise NoCellError(f"the standards' median score in distribution is that of chance, {task.chance:g}")

    def progress(position: float) -> float:
        return (score(position) - score(0.0)) / (task.chance - score(0.0))

    knots = np.linspace(0, 1, levels).tolist()
    reached = [progress(knot) for knot in knots]
    enclosing = next((knot for knot in range(1, levels) if reached[knot] >= share), None)
    if enclosing is None:
        raise NoCellError(f"beyond the range of the grid: it reaches {max(0.0, *reached):.2f}")
    low, position = knots[enclosing - 1 : enclosing + 1]
    high = position
    for _ in range(HALVINGS):
        if abs(progress(position) - share) <= TOLERANCE:
            break
        position = (low + high) / 2
        low, high = (low, position) if progress(position) >= share else (position, high)
    return Cell(direction, share, position, _changes(task, direction, position), score(position))


def _axes(direction: str) -> tuple[GridAxis, ...]:
    return ("noise", "duration") if direction == "both" else ("noise",) if direction == "noise" else ("duration",)


def _changes(task: Task, direction: str, position: float) -> dict[str, Any]:
    """What a position from 0 to 1 along a direction replaces."""
    found: dict[str, Any] = {}
    for axis in ("noise", "duration"):
        along = position * (len(task.grid[axis]) - 1) if axis in _axes(direction) else 0.0
        found |= interpolated(task, axis, along)
    return found


def hard_cells(
    task: Task,
    name: str,
    members: Iterable[Member],
    standards: Mapping[str, Sequence[str]],
    *,
    shares: Sequence[float],
    search_trials: int,
    trials: int,
    test_trials: int,
) -> xr.Dataset:
    """Cells of a task and how all networks do in them, noise-free, as `hard_cells.nc` has them.

    Parameters
    ----------
    name : the task's name, which seeds the trials.
    members : the networks; of activity, only whether they solve the task is read.
    standards : by population, the populations of standards that its networks are compared with. Populations with the
        same standards share their cells; standards and untrained networks have no cells that no others have.
    shares : of the way from the standards' median score in distribution to chance.
    search_trials, trials : trials at each position of the search, and in each cell. Their seeds differ; within a cell,
        all networks see the same trials and noise.
    test_trials : fresh trials in distribution.

    Returns
    -------
    fresh_loss, fresh_loss_se, fresh_score : of each network in distribution, on many fresh trials that are the same for
        all, and the standard error of the loss over trials (`jackknife_error`).

    The rest is over `network` and `cell`; NaN where a network is not compared with the standards of a cell, or there is
    no cell.

    loss, score : the share of the targets' variance that is not explained, and the task's score.
    error : mean over trials of the task's error of each trial (`insd.tasks.Task.trial_errors`).
    bar : score of the standard at the 90th percentile (`percentile_standard`); for a standard, among the others.
    p : of the one-sided Wilcoxon signed-rank test that errors are smaller than that standard's, trial by trial.

    Each cell has the coordinates of `Cell`, with `parameters` as JSON, and `standards`, the populations that it was
    found from.
    """
    labels, networks, populations, roles, solved = [], [], [], [], []
    for member in members:
        assert member.network is not None
        labels.append(member.label)
        networks.append(member.network)
        populations.append(member.population)
        roles.append(member.role)
        solved.append(bool(member.read(["solved"])["solved"]))
    fresh = _in_distribution(task, name, networks, test_trials)
    for label, loss in zip(labels, fresh["fresh_loss"], strict=True):
        log_divergence(label, ["on fresh trials in distribution"] * bool(np.isinf(loss)))
    parts = []
    # Standards have the cells of those that are compared with them. Of a grid without others, they are found by theirs.
    compared_with = [one for one, role in zip(populations, roles, strict=True) if role not in (STANDARD, UNTRAINED)]
    groups = dict.fromkeys(tuple(sorted(standards[population])) for population in compared_with or populations)
    for group in groups:
        good = [
            index
            for index, population in enumerate(populations)
            if population in group and roles[index] == STANDARD and solved[index]
        ]
        cells = _cells_of(task, name, [networks[index] for index in good], shares, search_trials)
        compared = [
            index for index, population in enumerate(populations) if tuple(sorted(standards[population])) == group
        ]
        compared = sorted({*compared, *good})
        for cell in cells:
            found = np.full((5, len(labels)), np.nan)
            if not cell.reason:
                seed = random_seed("hard cells", name, cell.direction, f"{cell.share:g}")
                changed = dataclasses.replace(task, regimes={}, **cell.parameters)
                sample = changed.sample("test", trials, seed)
                found[:, compared] = _in_cell(
                    changed,
                    sample,
                    [networks[index] for index in compared],
                    [compared.index(index) for index in good],
                )
            parts.append((group, cell, found))
    result = _dataset(task, labels, parts, len(groups) > 1, trials)
    return result.assign({key: ("network", values) for key, values in fresh.items()})


def _in_distribution(task: Task, name: str, networks: Sequence[xr.Dataset], trials: int) -> dict[str, np.ndarray]:
    sample = task.sample("test", trials, random_seed("fresh trials", name))
    found = {key: np.full(len(networks), np.nan) for key in ("fresh_loss", "fresh_loss_se", "fresh_score")}
    for block, outputs in outputs_of(networks, sample):
        found["fresh_loss"][block], found["fresh_score"][block] = with_divergence(
            task, outputs, *loss_and_score(task, outputs, sample)
        )
        found["fresh_loss_se"][block] = jackknife_error(task, outputs, sample)
    return found


def _cells_of(
    task: Task, name: str, standards: Sequence[xr.Dataset], shares: Sequence[float], trials: int
) -> list[Cell]:
    if len(standards) < LEAST_STANDARDS:
        reason = f"{len(standards)} solved standards, {LEAST_STANDARDS} needed"
        return [Cell(direction, share, reason=reason) for direction in DIRECTIONS for share in shares]
    started, asked = time.monotonic(), 0

    def median_score(changed: Task) -> float:
        nonlocal asked
        asked += 1
        # The same draws at all positions, so that the median changes with the position alone.
        sample = changed.sample("test", trials, random_seed("search of hard cells", name))
        scores = np.full(len(standards), changed.chance)
        for block, outputs in outputs_of(standards, sample):
            scores[block] = changed.score(sample, outputs.numpy())
        return float(np.median(np.nan_to_num(scores, nan=changed.chance)))

    cells = find_cells(task, median_score, shares)
    logger.info("search: %d positions, %d standards, %.0f s", asked, len(standards), time.monotonic() - started)
    return cells


def _in_cell(
    task: Task, trials: xr.Dataset, networks: Sequence[xr.Dataset], standards: Sequence[int]
) -> Float[np.ndarray, "5 network"]:
    """Loss, score, error, bar and p of networks on the trials of a cell; `standards` are indices of some of them."""
    losses, scores = np.full(len(networks), np.nan), np.full(len(networks), np.nan)
    errors = np.full((len(networks), trials.sizes["trial"]), np.nan)
    for block, outputs in outputs_of(networks, trials):
        losses[block], scores[block] = with_divergence(task, outputs, *loss_and_score(task, outputs, trials))
        errors[block] = task.trial_errors(trials, outputs.numpy())
    bars, p = against_standards(scores, errors, standards, task.higher_is_better)
    return np.stack([losses, scores, np.nanmean(errors, axis=1), bars, p])


def against_standards(
    scores: Float[np.ndarray, "network"],
    errors: Float[np.ndarray, "network trial"],
    standards: Sequence[int],
    higher_is_better: bool,
) -> tuple[Float[np.ndarray, "network"], Float[np.ndarray, "network"]]:
    """Score of the standard at the 90th percentile, and p of the paired test against it, for each network.

    A standard, one of the indices in `standards`, is compared with the others. The test is the one-sided Wilcoxon
    signed-rank test on the errors of the same trials, by its normal approximation; trials with equal errors, or without
    one, count for nothing.
    """
    goodness = np.nan_to_num(scores if higher_is_better else -scores, nan=-np.inf)
    bars, p = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    for index in range(len(scores)):
        others = [standard for standard in standards if standard != index]
        if not others:
            continue
        at_bar = others[percentile_standard(goodness[others])]
        bars[index], p[index] = scores[at_bar], paired_p(errors[index], errors[at_bar])
    return bars, p


def percentile_standard(goodness: Float[np.ndarray, "standard"]) -> int:
    """Index of the standard at the 90th percentile: of n, from the worst, the one at place ``ceil(0.9 (n + 1))``.

    With this order statistic, a network that is like the standards beats it with a probability of at most 10 % and, for
    n + 1 a multiple of 10, of exactly that. With n < 9, it is the best, which is beaten with probability 1 / (n + 1).
    """
    count = len(goodness)
    place = min(-(-9 * (count + 1) // 10), count)
    return int(np.argsort(goodness, kind="stable")[place - 1])


def paired_p(errors: Float[np.ndarray, "trial"], others: Float[np.ndarray, "trial"]) -> float:
    """p of the one-sided Wilcoxon signed-rank test that `errors` are smaller than `others` on the same trials."""
    differences = errors - others
    differences = differences[np.isfinite(differences) & (differences != 0)]
    if not differences.size:
        return 1.0
    return float(scipy.stats.wilcoxon(differences, alternative="less", method="asymptotic").pvalue)


def _dataset(
    task: Task,
    labels: Sequence[str],
    parts: Sequence[tuple[tuple[str, ...], Cell, np.ndarray]],
    several: bool,
    trials: int,
) -> xr.Dataset:
    names = ("loss", "score", "error", "bar", "p")
    values = np.stack([found for _, _, found in parts], axis=-1)
    cells = [cell for _, cell, _ in parts]
    groups = [" ".join(group) for group, _, _ in parts]
    coordinates: dict[str, list[Any]] = {
        field.name: [getattr(cell, field.name) for cell in cells] for field in dataclasses.fields(Cell)
    }
    coordinates["parameters"] = [json.dumps(dict(parameters)) for parameters in coordinates["parameters"]]
    shown = [f"{cell.direction} {100 * cell.share:g} %" for cell in cells]
    return xr.Dataset(
        {name: (("network", "cell"), values[number]) for number, name in enumerate(names)},
        coords={
            "network": list(labels),
            "cell": [f"{group}: {text}" if several else text for group, text in zip(groups, shown, strict=True)],
            "standards": ("cell", groups),
            **{name: ("cell", of_cells) for name, of_cells in coordinates.items()},
        },
        attrs={"cell_trials": trials, **{f"score_{key}": value for key, value in about_score(task).items()}},
    )
