"""What figures of scores over regimes and perturbations share: lines, marks of verdicts, axes and the legend."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from insd.cohorts import network_labels
from insd.figures.theme import Group, band, interval_key, key, note, state_keys

Groups = Sequence[Group]
"""What is compared in one task."""


def letters_in_turn(each: int) -> list[str]:
    """The letters of the panels of each task, in turn."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return [alphabet[start : start + each] for start in range(0, len(alphabet) - each + 1, each)]


def verdicts_on_scores(comparisons: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of the table of comparisons on the score of one task."""
    verdicts = comparisons[(comparisons["task"] == task) & (comparisons["quantity"] == "score")]
    # Conditions without a level or a duration have empty cells in the table.
    return verdicts.fillna({"level": "", "duration": ""})


def score_lines(axes: Axes, grouped: Groups, scores: xr.DataArray, positions: Sequence[int], confidence: float) -> None:
    """Means over the solved networks of each group with their intervals, at the levels of a condition."""
    of_solved = [scores.sel(network=network_labels(rows[rows["solved"]])).values for _, _, rows in grouped]
    if not any(map(len, of_solved)):
        note(axes, "no network\nsolves the task")
    elif not any(np.isfinite(values).any() for values in of_solved):
        note(axes, "left out")
    note_groups(axes, {"diverge somewhere": diverging(grouped, of_solved)})
    for (_, colour, _), values in zip(grouped, of_solved, strict=True):
        band(axes, positions, values, colour, confidence, style="o-")


def diverging(grouped: Groups, values: Iterable[np.ndarray]) -> list[str]:
    """The names of groups of which networks diverge somewhere, from the scores of each group."""
    return [name for (name, *_), of_group in zip(grouped, values, strict=True) if np.isinf(of_group).any()]


def note_groups(axes: Axes, named: Mapping[str, Sequence[str]]) -> None:
    """Say at the top of a panel which groups lack points, by why they do."""
    lines = [f"{why}:\n{textwrap.fill(', '.join(names), 16)}" for why, names in named.items() if names]
    if lines:
        axes.text(0.5, 0.98, "\n".join(lines), ha="center", va="top", color="0.5", transform=axes.transAxes)


def verdict_on(verdicts: pd.DataFrame, rows: pd.DataFrame, measure: str, level: str, duration: str = "") -> str:
    """The verdict on a group of alternatives at a level; an empty one on standards."""
    same = of_group(verdicts, rows) & (verdicts["measure"] == measure)
    same &= (verdicts["level"] == level) & (verdicts["duration"] == duration)
    return str(verdicts.loc[same, "verdict"].squeeze()) if same.any() else ""


def of_group(verdicts: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Which comparisons are those of a group of networks."""
    return (verdicts["population"] == rows["population"].iloc[0]) & (verdicts["round"] == rows["round"].iloc[0])


def mark(axes: Axes, position: float | int, verdict: str, colour: str, grouped: Groups) -> None:
    """A triangle in a line of its own for each group, near the bottom of a panel; none unless better or worse."""
    shape = {"better": "^", "worse": "v"}.get(verdict)
    if shape:
        line = [group_colour for _, group_colour, _ in grouped].index(colour)
        place = 0.04 + 0.075 * (len(grouped) - 1 - line)
        transform = axes.get_xaxis_transform()
        axes.plot(position, place, shape, color=colour, markersize=3, markeredgewidth=0, transform=transform)


def score_axis(row: Sequence[Axes] | np.ndarray, about: Mapping[str, Any]) -> None:
    """Chance and criterion, and an axis from below chance to perfect, upwards."""
    best, chance = (1.0 if about["higher_is_better"] else 0.0), float(about["chance"])
    row[0].set_ylim(chance - 0.35 * (best - chance), best + 0.06 * (best - chance))
    for axes in row:
        axes.axhline(chance, linestyle=":", color="0.3", linewidth=0.7, zorder=0)
        axes.axhline(about["criterion"], linestyle="--", color="0.6", linewidth=0.6, zorder=0)


def wrapped(text: str) -> str:
    """The name of a score in lines that fit next to a panel."""
    return textwrap.fill(text, 16)


def score_legend(
    figure: Figure, names: Mapping[str, str], drawn: Iterable[str], confidence: float, more: Sequence[Line2D] = ()
) -> None:
    """The legend below a figure of scores: groups by name and colour, `more`, and what lines and marks mean.

    `drawn` are the states of the networks whose points the figure shows.
    """
    handles = [key(color=colour, marker="o", markersize=2.5, label=name) for name, colour in names.items()]
    mark: dict[str, Any] = {"linestyle": "none", "markersize": 3.5}
    handles += [
        *more,
        *state_keys(drawn)[1:],
        interval_key(confidence),
        key(color="0.3", linestyle=":", linewidth=0.7, label="chance"),
        key(color="0.6", linestyle="--", linewidth=0.6, label="criterion"),
        key(marker="^", color="0.3", markeredgewidth=0, label="better than standards", **mark),
        key(marker="v", color="0.3", markeredgewidth=0, label="worse", **mark),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        # As many in a row as the width holds.
        ncols=-(-len(handles) // (2 if len(handles) <= 14 else 3)),
        columnspacing=1.0,
        handlelength=1.4,
        handletextpad=0.4,
    )
