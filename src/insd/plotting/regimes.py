"""Figure 5: how well standards and alternatives do in harder regimes and under perturbations."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.analysis.rounds import network_labels
from insd.plotting.panels import numbers
from insd.plotting.theme import (
    TWO_COLUMNS,
    band,
    dots,
    key,
    new_figure,
    note,
    standards_and_alternatives,
)

Groups = Sequence[tuple[str, str, pd.DataFrame]]
"""Name, colour and rows of `networks.csv` of each group of networks."""

PERTURBATIONS = {
    "noise": ("noise_level", "private noise", "private noise σ"),
    "jitter": ("jitter_level", "weight jitter", "weight jitter (s.d.)"),
    "silence": ("silenced_share", "silenced units", "share of units silenced"),
    "kick": ("kick_level", "state kick", "kick of the state (norm)"),
}
"""Dimension of the levels, name in the table of comparisons and label of each perturbation."""


def regimes_figure(
    table: pd.DataFrame,
    performance: Mapping[str, xr.Dataset],
    robustness: Mapping[str, xr.Dataset],
    comparisons: pd.DataFrame,
) -> Figure:
    """Two rows per task: score by regime and on the grid of noise and duration; score under perturbations.

    First column: one point per network, hollow if it does not solve the task, with the mean of all and its interval;
    in the second row with the network's own time step and with half of it. Other columns: mean over the solved networks
    with its interval, against noise at one duration each, and against the strength of each perturbation. Up is better
    everywhere. Dotted: chance; dashed: the criterion of a solved network. Triangles below mark levels at which an
    alternative is better (up) or worse (down) than the standards: where the interval of the difference excludes 0.

    Parameters
    ----------
    table : `networks.csv`.
    performance, robustness : by task, `performance.nc` and `robustness.nc`.
    comparisons : `comparisons.csv`.
    """
    columns = max(1 + len(PERTURBATIONS), *(1 + dataset.sizes["duration"] for dataset in performance.values()))
    figure = new_figure(TWO_COLUMNS, 20.0 + 70.0 * len(performance))
    axes = figure.subplots(2 * len(performance), columns, sharey="row", squeeze=False)
    names: dict[str, str] = {}
    for number, (task, scores) in enumerate(performance.items()):
        rows = table[table["task"] == task]
        grouped = standards_and_alternatives(rows)
        names |= {name: colour for name, colour, _ in grouped}
        verdicts = comparisons[(comparisons["task"] == task) & (comparisons["quantity"] == "score")]
        # Conditions without a level or a duration have empty cells in the table.
        verdicts = verdicts.fillna({"level": "", "duration": ""})
        above, below = list(axes[2 * number]), list(axes[2 * number + 1])
        _regimes(above[0], grouped, scores["score"], verdicts)
        above[0].set_title(task.replace("_", " "), fontweight="bold")
        _grid(above[1:], grouped, scores["grid_score"], verdicts)
        _steps(below[0], grouped, robustness[task], verdicts)
        _perturbations(below[1:], grouped, robustness[task], verdicts)
        about = scores["score"].attrs
        for row, text in ((above, "abcdefghijklmnop"[2 * number]), (below, "abcdefghijklmnop"[2 * number + 1])):
            _levels(row, about)
            row[0].set_ylabel(_wrapped(about["long_name"]))
            # Farther left than in other figures: the name of a task fills the width of a panel.
            place = {"xy": (-0.3, 1.04), "xycoords": "axes fraction", "fontweight": "bold", "fontsize": 9}
            row[0].annotate(text, **place)
    _legend(figure, names)
    return figure


def _regimes(axes: Axes, grouped: Groups, scores: xr.DataArray, verdicts: pd.DataFrame) -> None:
    regimes = [str(name) for name in scores["regime"].values]
    _side_by_side(axes, grouped, scores.transpose("network", "regime"), regimes)
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        for position, regime in enumerate(regimes):
            _mark(axes, position + place, _verdict_on(verdicts, rows, "regime", regime), colour, grouped)
    names = [name.replace("_", "\n") for name in regimes]
    axes.set_xticks(range(len(regimes)), names)


def _steps(axes: Axes, grouped: Groups, robustness: xr.Dataset, verdicts: pd.DataFrame) -> None:
    scores = xr.concat([robustness["unperturbed_score"], robustness["half_step_score"]], "step")
    _side_by_side(axes, grouped, scores.transpose("network", "step"), ["own step", "half step"])
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        _mark(axes, 1 + place, _verdict_on(verdicts, rows, "half the time step", ""), colour, grouped)
    axes.set_xticks([0, 1], ["own\ntime step", "half"])


def _places(count: int) -> np.ndarray:
    """Offsets of groups that stand side by side."""
    return np.linspace(-0.4, 0.4, 2 * count + 1)[1::2]


def _side_by_side(axes: Axes, grouped: Groups, scores: xr.DataArray, names: Sequence[str]) -> None:
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        values, solved = scores.sel(network=network_labels(rows)).values, rows["solved"].to_numpy(bool)
        for position in range(len(names)):
            dots(axes, position + place, values[:, position], solved, colour, size=1.6, width=0.8 / len(grouped))
    axes.set_xlim(-0.55, len(names) - 0.45)


def _grid(panels: Sequence[Axes], grouped: Groups, scores: xr.DataArray, verdicts: pd.DataFrame) -> None:
    title, ticks = numbers([str(level) for level in scores["noise"].values])
    length, lengths = numbers([str(level) for level in scores["duration"].values])
    for axes in panels[scores.sizes["duration"] :]:
        axes.axis("off")
    for axes, duration, text in zip(panels, scores["duration"].values, lengths, strict=False):
        levels = [str(level) for level in scores["noise"].values]
        of_duration = scores.sel(duration=duration).transpose("network", "noise")
        _lines(axes, grouped, of_duration, range(len(levels)))
        for _, colour, rows in grouped:
            for position, level in enumerate(levels):
                _mark(axes, position, _verdict_on(verdicts, rows, "grid", level, str(duration)), colour, grouped)
        axes.set_xticks(range(len(levels)), ticks)
        axes.set_xlabel(title or "noise")
        axes.set_title(f"{length} {text} s" if length else text.replace("_", " ").replace(", ", ",\n"))


def _perturbations(panels: Sequence[Axes], grouped: Groups, robustness: xr.Dataset, verdicts: pd.DataFrame) -> None:
    for axes in panels[len(PERTURBATIONS) :]:
        axes.axis("off")
    for axes, (name, (dimension, measure, label)) in zip(panels, PERTURBATIONS.items(), strict=False):
        scores = robustness[f"{name}_score"]
        if "draw" in scores.dims:
            scores = scores.mean("draw")
        without = robustness["unperturbed_score"].expand_dims({dimension: [0.0]})
        scores = xr.concat([without, scores], dimension).transpose("network", dimension)
        levels = scores[dimension].values
        _lines(axes, grouped, scores, range(len(levels)))
        for _, colour, rows in grouped:
            for position, level in enumerate(levels):
                _mark(axes, position, _verdict_on(verdicts, rows, measure, str(level)), colour, grouped)
        axes.set_xticks(range(len(levels)), [f"{level:g}".removeprefix("0") or "0" for level in levels])
        axes.set_xlabel(label)


def _lines(axes: Axes, grouped: Groups, scores: xr.DataArray, positions: Sequence[int]) -> None:
    if not any(rows["solved"].any() for _, _, rows in grouped):
        note(axes, "no network\nsolves the task")
    for _, colour, rows in grouped:
        solved = rows[rows["solved"]]
        band(axes, positions, scores.sel(network=network_labels(solved)).values, colour, style="o-")


def _verdict_on(verdicts: pd.DataFrame, rows: pd.DataFrame, measure: str, level: str, duration: str = "") -> str:
    """The verdict on a group of alternatives at a level; an empty one on standards."""
    same = (verdicts["population"] == rows["population"].iloc[0]) & (verdicts["round"] == rows["round"].iloc[0])
    same &= (verdicts["measure"] == measure) & (verdicts["level"] == level) & (verdicts["duration"] == duration)
    return str(verdicts.loc[same, "verdict"].squeeze()) if same.any() else ""


def _mark(axes: Axes, position: float | int, verdict: str, colour: str, grouped: Groups) -> None:
    """A triangle in a line of its own for each group, near the bottom of a panel; none unless better or worse."""
    shape = {"better": "^", "worse": "v"}.get(verdict)
    if shape:
        line = [group_colour for _, group_colour, _ in grouped].index(colour)
        place = 0.04 + 0.075 * (len(grouped) - 1 - line)
        transform = axes.get_xaxis_transform()
        axes.plot(position, place, shape, color=colour, markersize=3, markeredgewidth=0, transform=transform)


def _levels(row: Sequence[Axes], about: Mapping[str, Any]) -> None:
    """Chance and criterion, and an axis from below chance to perfect, upwards."""
    best, chance = (1.0 if about["higher_is_better"] else 0.0), float(about["chance"])
    row[0].set_ylim(chance - 0.35 * (best - chance), best + 0.06 * (best - chance))
    for axes in row:
        axes.axhline(chance, linestyle=":", color="0.3", linewidth=0.7, zorder=0)
        axes.axhline(about["criterion"], linestyle="--", color="0.6", linewidth=0.6, zorder=0)


def _wrapped(text: str) -> str:
    """The name of a score in lines that fit beside a panel."""
    return textwrap.fill(text, 16)


def _legend(figure: Figure, names: Mapping[str, str]) -> None:
    handles = [key(color=colour, marker="o", markersize=2.5, label=name) for name, colour in names.items()]
    mark: dict[str, Any] = {"linestyle": "none", "markersize": 3.5}
    handles += [
        key(marker="o", color="black", markerfacecolor="none", label="not solved", **mark),
        key(color="black", linewidth=1.1, label="mean and 95 % interval"),
        key(color="0.3", linestyle=":", linewidth=0.7, label="chance"),
        key(color="0.6", linestyle="--", linewidth=0.6, label="criterion"),
        key(marker="^", color="0.3", markeredgewidth=0, label="better than standards", **mark),
        key(marker="v", color="0.3", markeredgewidth=0, label="worse", **mark),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        columnspacing=1.0,
        handlelength=1.4,
        handletextpad=0.4,
    )
