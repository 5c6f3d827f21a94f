"""The trade between solving the task and being unlike the reference, over all deflated networks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.plotting.theme import ROUND_HUES, TWO_COLUMNS, letter, new_figure
from insd.tasks import Task

CONSTRAINED, CONSTANT, CHOSEN = ROUND_HUES[1], "0.35", ROUND_HUES[3]
"""Colours of the alternatives of each schedule, and of the multiplier that was chosen."""


def front_figure(table: pd.DataFrame, made_tasks: Mapping[str, Task]) -> Figure:
    """Score (top) and test loss (bottom) against null-space r2 to the reference, a column per task.

    Every alternative is a point, hollow if it is not solved. Medians of the populations with a constant lambda are
    joined in its order and labelled with it; a ring marks the one that is chosen: the lowest median r2 with all its
    alternatives solved. The dashed line is the criterion of the task.

    `table` is `networks.csv`, `made_tasks` has its tasks by name. Populations with another ridge than most are labelled
    with it and not joined.
    """
    alternatives = table[table["round"] > 0]
    tasks = list(dict.fromkeys(alternatives["task"]))
    figure = new_figure(TWO_COLUMNS, 110.0)
    axes = np.asarray(figure.subplots(2, max(len(tasks), 1), sharex=True, squeeze=False))
    if not tasks:
        axes[0, 0].text(0.5, 0.5, "no deflated population", ha="center", transform=axes[0, 0].transAxes)
    for column, task in enumerate(tasks):
        rows = alternatives[alternatives["task"] == task]
        for row, (name, text) in enumerate((("score", made_tasks[task].score_name), ("test_loss", "test loss"))):
            _panel(axes[row, column], rows, name)
            axes[row, column].set_ylabel(text)
        axes[0, column].axhline(made_tasks[task].criterion, color="0.6", linestyle="--", linewidth=0.6)
        axes[0, column].set_title(task.replace("_", " "))
        axes[1, column].set_yscale("log")
        axes[1, column].set_xlabel("null-space r² to the reference")
        axes[1, column].set_xlim(-0.03, 1.03)
    for panel, text in zip(axes.flat, "abcdefghijklmnopqrstuvwxyz", strict=False):
        letter(panel, text)
    axes[0, 0].plot([], [], "o", markersize=3, color=CONSTRAINED, label="constrained")
    axes[0, 0].plot([], [], "o-", markersize=3, color=CONSTANT, label="constant λ")
    axes[0, 0].legend(loc="best")
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    for row in rows.to_dict("records"):
        colour = CONSTRAINED if row["schedule"] == "constrained" else CONSTANT
        face = colour if row["solved"] else "none"
        axes.plot(row["r2_null_to_reference"], row[name], "o", markersize=2.5, color=colour, markerfacecolor=face)
    constant = rows[rows["schedule"] == "constant"]
    if constant.empty:
        return
    usual = constant["ridge"].mode().iloc[0]
    medians = constant.groupby(["ridge", "multiplier"])[["r2_null_to_reference", name]].median().reset_index()
    joined = medians[medians["ridge"] == usual].sort_values("multiplier")
    axes.plot(joined["r2_null_to_reference"], joined[name], "-", color=CONSTANT, linewidth=0.7)
    for point in medians.to_dict("records"):
        text = f"{point['multiplier']:g}" if point["ridge"] == usual else f"ridge {point['ridge']:g}"
        axes.annotate(
            text, (point["r2_null_to_reference"], point[name]), (3, 3), textcoords="offset points", fontsize=6
        )
    chosen = chosen_multiplier(constant[constant["ridge"] == usual])
    ring = joined[joined["multiplier"] == chosen]
    axes.plot(ring["r2_null_to_reference"], ring[name], "o", markersize=8, color=CHOSEN, markerfacecolor="none")


def chosen_multiplier(rows: pd.DataFrame) -> float:
    """The constant lambda with the lowest median r2 to the reference among those whose alternatives are all solved.

    Not a number if there is none.
    """
    by_multiplier = rows.groupby("multiplier").agg(r2=("r2_null_to_reference", "median"), solved=("solved", "all"))
    solved = by_multiplier[by_multiplier["solved"]]
    return float(str(solved["r2"].idxmin())) if len(solved) else float("nan")
