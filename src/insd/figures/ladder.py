"""When does an alternative win? Rung by rung: loss, likeness, hard cells and half the time step."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import ALTERNATIVE, CONTROL, STANDARD, of_role, round_name
from insd.figures import base
from insd.figures.theme import CONTROL_HUES, ROUND_HUES, STANDARDS, TWO_COLUMNS, key, letters, new_figure, note
from insd.tables.networks import LARGEST_EXCESS
from insd.tasks.base import Task

QUANTITIES = {
    "excess_loss": "loss above that\nof standards",
    "r2_null_max_to_earlier": "null-space r²\nto earlier networks",
    "hard_cells_beaten": "share of hard\ncells beaten",
    "solved_half_step": "share solved at\nhalf the time step",
}
"""Columns of `networks.csv`, each a row of panels, with their labels."""


def ladder_figure(table: pd.DataFrame, tasks: Mapping[str, Task], largest_r2: float) -> Figure:
    """A column per kind of task, a row per quantity; along the axis the populations with alternatives or controls.

    Points are alternatives by round, controls, and the standards of that population in grey; black bars are means.
    Dashed: the largest loss of a matched network, the largest r2 of one that is unlike earlier ones, and the 10 % of
    cells that a network like the standards wins. Of half the time step the shares of each group are drawn.
    """
    kinds: dict[str, list[str]] = {}
    for name, task in tasks.items():
        kinds.setdefault(type(task).__name__, []).append(name)
    figure = new_figure(TWO_COLUMNS, 30.0 + 32.0 * len(QUANTITIES))
    axes = np.asarray(figure.subplots(len(QUANTITIES), len(kinds), squeeze=False, sharex="col"))
    for column, (_, names) in enumerate(kinds.items()):
        rungs = [
            (name, str(population), rows)
            for name in names
            for population, rows in of_role(table[table["task"] == name], ALTERNATIVE, CONTROL).groupby(
                "population", sort=False
            )
        ]
        axes[0, column].set_title(names[0].replace("_", " "))
        if not rungs:
            note(axes[0, column], "no deflated population")
        for row, quantity in enumerate(QUANTITIES):
            for position, (name, _, rows) in enumerate(rungs):
                standards = of_role(table[table["task"] == name], STANDARD)
                named = str(rows["standards"].iloc[0]).split()
                _points(axes[row, column], position, quantity, rows, standards[standards["population"].isin(named)])
            _bounds(axes[row, column], quantity, largest_r2)
            if quantity == "hard_cells_beaten" and rungs and not len(axes[row, column].lines[1:]):
                note(axes[row, column], "no hard cells in this grid")
        axes[-1, column].set_xticks(
            range(len(rungs)),
            [population for _, population, _ in rungs],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
        )
    for row, label in enumerate(QUANTITIES.values()):
        axes[row, 0].set_ylabel(label)
    figure.align_ylabels(axes[:, 0])
    letters(axes.flat)
    _legend(figure, table)
    return figure


def _points(axes: Axes, position: int, quantity: str, rows: pd.DataFrame, standards: pd.DataFrame) -> None:
    groups = [("standards", STANDARDS, standards)]
    for _, of_round in rows.groupby("round"):
        control = of_round["role"].iloc[0] == CONTROL
        groups.append(
            ("", CONTROL_HUES[0] if control else ROUND_HUES[int(of_round["round"].iloc[0]) % len(ROUND_HUES)], of_round)
        )
    for offset, (_, colour, group) in zip(np.linspace(-0.25, 0.25, len(groups)), groups, strict=True):
        values = group[quantity].astype(float).to_numpy()
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        place = position + offset
        if quantity == "solved_half_step":
            axes.plot(place, values.mean(), "o", color=colour, markersize=2.5)
            continue
        axes.plot(np.full(values.size, place), values, ".", color=colour, markersize=2, alpha=0.6)
        axes.plot([place - 0.08, place + 0.08], [values.mean()] * 2, color="black", linewidth=0.8)


def _bounds(axes: Axes, quantity: str, largest_r2: float) -> None:
    bounds = {"excess_loss": LARGEST_EXCESS, "r2_null_max_to_earlier": largest_r2, "hard_cells_beaten": 0.1}
    bound = bounds.get(quantity)
    if bound is not None:
        axes.axhline(bound, color="0.6", linestyle="--", linewidth=0.6)
    if quantity == "excess_loss":
        axes.set_yscale("symlog", linthresh=LARGEST_EXCESS)
    else:
        axes.set_ylim(-0.05, 1.05)


def _legend(figure: Figure, table: pd.DataFrame) -> None:
    rounds = sorted(set(of_role(table, ALTERNATIVE)["round"].astype(int)))
    keys = [key("standards", color=STANDARDS, marker=".", linestyle="")]
    keys += [key(round_name(one), color=ROUND_HUES[one % len(ROUND_HUES)], marker=".", linestyle="") for one in rounds]
    if len(of_role(table, CONTROL)):
        keys.append(key("controls", color=CONTROL_HUES[0], marker=".", linestyle=""))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return ladder_figure(drawing.table("networks"), drawing.tasks, drawing.deflated_r2)


FIGURE = base.Figure(
    title="the ladder",
    description="by population: loss above that of its standards, r² to earlier networks, share of hard cells beaten, "
    "and share solved at half the time step",
    per="grid",
    reads=("tables/networks",),
    uses=("deflated_r2",),
    draw=draw,
)
"""What the workflow knows of this figure."""
