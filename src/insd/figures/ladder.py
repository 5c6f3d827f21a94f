"""When does an alternative win? Rung by rung: loss, likeness, hard cells and half the time step."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import ALTERNATIVE, CONTROL, round_name
from insd.figures import base
from insd.figures.theme import CONTROL_HUES, ROUND_HUES, STANDARDS, TWO_COLUMNS, key, letters, new_figure, note
from insd.tables.networks import LARGEST_EXCESS
from insd.tasks.base import Task

QUANTITIES = {
    "excess_loss": "loss above that\nof standards",
    "r2": "null-space r²\nto earlier networks",
    "beaten": "share of hard\ncells beaten",
    "half_step": "share solved at\nhalf the time step",
}
"""Columns of `ladder.csv`, and `half_step`, the share of its networks; each a row of panels, with their labels."""
RANGES = {"excess_loss": ("excess_loss_lowest", "excess_loss_highest"), "r2": ("r2", "r2_largest")}
"""Columns of the ends of a bar."""
CHANCE = 0.1
"""The share of cells that a network like the standards beats."""


def ladder_figure(rungs: pd.DataFrame, tasks: Mapping[str, Task], largest_r2: float) -> Figure:
    """A column per kind of task, a row per quantity; along the axis the populations with alternatives or controls.

    Parameters
    ----------
    rungs : `ladder.csv`; what is missing is not drawn.
    tasks : those of the grid, by name. Tasks of one class are in one column.
    largest_r2 : null-space r2 of a network that is unlike earlier ones.

    Dots are medians of a round (of cells: means), with bars from the lowest to the highest loss and to the largest r2.
    Dashed: the largest loss of a matched network, the largest r2 of one that is unlike earlier ones, and the 10 % of
    cells that a network like the standards wins; grey: the share that the standards left out beat.
    """
    rungs = rungs.assign(half_step=rungs["solved_half_step"].astype(float) / rungs["networks"].astype(float))
    kinds: dict[str, list[str]] = {}
    for name, task in tasks.items():
        kinds.setdefault(type(task).__name__, []).append(name)
    figure = new_figure(TWO_COLUMNS, 30.0 + 32.0 * len(QUANTITIES))
    axes = np.asarray(figure.subplots(len(QUANTITIES), len(kinds), squeeze=False, sharex="col", sharey="row"))
    for column, names in enumerate(kinds.values()):
        of_kind = rungs[rungs["task"].isin(names)]
        # A population of several tasks has a place in each.
        groups = [(str(name), rows) for (_, name), rows in of_kind.groupby(["task", "population"], sort=False)]
        axes[0, column].set_title(names[0].replace("_", " "))
        if not groups:
            note(axes[0, column], "no deflated population")
        for row, quantity in enumerate(QUANTITIES):
            _bound(axes[row, column], quantity, largest_r2)
            for place, (_, rounds) in enumerate(groups):
                _rung(axes[row, column], place, quantity, rounds)
        if groups and not of_kind["standards"].astype(int).any():
            note(axes[0, column], "no standard solves the task")
        if groups and not of_kind["beaten"].notna().any():
            note(axes[list(QUANTITIES).index("beaten"), column], "no hard cells in this grid")
        labels = [name for name, _ in groups]
        axes[-1, column].set_xticks(range(len(groups)), labels, rotation=45, ha="right", rotation_mode="anchor")
        axes[-1, column].set_xlim(-0.5, max(len(groups), 1) - 0.5)
    for row, label in enumerate(QUANTITIES.values()):
        axes[row, 0].set_ylabel(label)
    figure.align_ylabels(axes[:, 0])
    letters(axes.flat)
    _legend(figure, rungs)
    return figure


def _hue(role: str, number: int) -> str:
    return CONTROL_HUES[0] if role == CONTROL else ROUND_HUES[number % len(ROUND_HUES)]


def _rung(axes: Axes, place: int, quantity: str, rounds: pd.DataFrame) -> None:
    if quantity == "beaten":
        axes.plot(place - 0.3, rounds["standard_beaten"].astype(float).iloc[0], ".", color=STANDARDS, markersize=3)
    offsets = np.linspace(-0.12, 0.12, len(rounds)) if len(rounds) > 1 else [0.0]
    for offset, row in zip(offsets, rounds.to_dict("records"), strict=True):
        hue, value = _hue(row["role"], int(row["round"])), float(row[quantity])
        axes.plot(place + offset, value, "o", color=hue, markersize=2.5)
        if quantity in RANGES:
            ends = [float(row[end]) for end in RANGES[quantity]]
            axes.plot([place + offset] * 2, ends, color=hue, linewidth=0.8)


def _bound(axes: Axes, quantity: str, largest_r2: float) -> None:
    bounds = {"excess_loss": LARGEST_EXCESS, "r2": largest_r2, "beaten": CHANCE}
    if quantity in bounds:
        axes.axhline(bounds[quantity], color="0.6", linestyle="--", linewidth=0.6)
    if quantity == "excess_loss":
        axes.set_yscale("symlog", linthresh=LARGEST_EXCESS)
    else:
        axes.set_ylim(-0.05, 1.05)


def _legend(figure: Figure, rungs: pd.DataFrame) -> None:
    keys = [key("standards", color=STANDARDS, marker=".", linestyle="")]
    for number in sorted(set(rungs[rungs["role"] == ALTERNATIVE]["round"].astype(int))):
        keys.append(key(round_name(number), color=_hue(ALTERNATIVE, number), marker="o", linestyle=""))
    if (rungs["role"] == CONTROL).any():
        keys.append(key("controls", color=_hue(CONTROL, 1), marker="o", linestyle=""))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return ladder_figure(drawing.table("ladder"), drawing.tasks, drawing.deflated_r2)


FIGURE = base.Figure(
    title="the ladder",
    description="by population: loss above that of its standards, r² to earlier networks, share of hard cells beaten, "
    "and share solved at half the time step",
    per="grid",
    reads=("tables/ladder",),
    uses=("deflated_r2",),
    draw=draw,
)
"""What the workflow knows of this figure."""
