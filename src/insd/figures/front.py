"""The trade between solving the task and being unlike the reference, over all deflated networks."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from insd.cohorts import ALTERNATIVE, of_role, round_name
from insd.figures import base
from insd.figures.theme import ROUND_HUES, TWO_COLUMNS, key, letters, log_axis, new_figure, note
from insd.tasks.base import Task

MARKERS = {"constrained": "o", "constant": "s", "yielding": "D"}
"""Marker of the alternatives of each schedule."""
JOINED = "0.35"
"""Colour of the line through the populations with a constant lambda."""
LEAST_SETTINGS = 3
"""Fewest settings of a task that the figure is drawn from."""
AS_UNLIKE = 0.01
"""Difference in r2 below which settings count as equally unlike the reference (`chosen_multiplier`)."""


def front_figure(table: pd.DataFrame, made_tasks: Mapping[str, Task]) -> Figure:
    """Score (top) and test loss (bottom) against null-space r2 to the reference, a column per task.

    Every alternative that was trained against S is a point in the hue of its round, with the marker of its schedule,
    hollow if it is not solved.
    Medians of the populations with a constant lambda are joined in its order, and labelled with it below; a ring marks
    the one that `chosen_multiplier` chooses. The dashed line is the criterion of the task.

    So are those of a schedule that seeks a bound of S, in the order of the bound, where there are several.

    `table` is `networks.csv`, `made_tasks` has its tasks by name. Populations with a constant lambda and an unusual
    ridge or bound are labelled with it and not joined.
    """
    alternatives = of_role(table, ALTERNATIVE)
    # Those of other terms have no multiplier of S.
    alternatives = alternatives.dropna(subset=["schedule"]) if len(alternatives) else alternatives
    by_setting = alternatives.drop_duplicates(
        [
            name
            for name in ("task", "population", "schedule", "multiplier", "ridge", "penalty_bound")
            if name in alternatives
        ]
    )
    settings = int(by_setting["task"].value_counts().max()) if len(by_setting) else 0
    # Points of one or two settings are no front.
    tasks = list(dict.fromkeys(alternatives["task"])) if settings >= LEAST_SETTINGS else []
    figure = new_figure(TWO_COLUMNS, 120.0)
    axes = np.asarray(figure.subplots(2, max(len(tasks), 1), sharex=True, squeeze=False))
    if not tasks:
        why = (
            f"drawn from {LEAST_SETTINGS} settings on; this grid has {settings}"
            if settings
            else "no deflated population"
        )
        for panel in axes.flat:
            panel.set_axis_off()
        note(axes[0, 0], why)
        return figure
    labels: list[list[Annotation]] = []
    for column, task in enumerate(tasks):
        rows = alternatives[alternatives["task"] == task]
        _panel(axes[0, column], rows, "score")
        axes[0, column].set_ylabel(made_tasks[task].score_name)
        # Labels of settings in the lower panel alone: that above has the same r2, and no room where scores are alike.
        labels.append(_named(axes[1, column], _panel(axes[1, column], rows, "test_loss")))
        axes[1, column].set_ylabel("test loss")
        axes[0, column].axhline(made_tasks[task].criterion, color="0.6", linestyle="--", linewidth=0.6)
        axes[0, column].set_title(task.replace("_", " "))
        log_axis(axes[1, column])
        axes[1, column].set_xlabel("null-space r² to the reference")
    r2 = alternatives["r2_null_to_reference"]
    # Most of a sweep is at low r2; the axis is that of all panels.
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_xticks((0.02, 0.05, 0.1, 0.2, 0.5, 1.0), ("0.02", "0.05", "0.1", "0.2", "0.5", "1"))
    axes[0, 0].set_xlim(min(0.02, 0.9 * r2[r2 > 0].min()), 1.5)
    letters(axes.flat)
    _legend(figure, alternatives)
    # Where panels stand is known only once all else is in the figure.
    figure.draw_without_rendering()
    for of_panel in labels:
        _apart(of_panel)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, name: str) -> list[tuple[str, tuple[float, float]]]:
    """Points, lines and ring of one quantity; names of the settings that are told apart, and their medians."""
    for row in rows.to_dict("records"):
        colour = ROUND_HUES[row["round"] % len(ROUND_HUES)]
        face = colour if row["solved"] else "none"
        style: Any = {"markersize": 2.5, "color": colour, "markerfacecolor": face, "markeredgewidth": 0.6}
        axes.plot(row["r2_null_to_reference"], row[name], MARKERS[row["schedule"]], **style)
    named = _of_bounds(axes, rows[rows["schedule"] != "constant"], name)
    constant = rows[rows["schedule"] == "constant"]
    if constant.empty:
        return named
    # The bound of S says only when training may stop early.
    ridge, bound = (constant[key].mode().iloc[0] for key in ("ridge", "penalty_bound"))
    medians = _medians(constant, ["ridge", "penalty_bound", "multiplier"], name)
    usual = (medians["ridge"] == ridge) & (medians["penalty_bound"] == bound)
    joined = medians[usual]
    axes.plot(joined["r2_null_to_reference"], joined[name], "-", color=JOINED, linewidth=0.7, zorder=1)
    chosen = chosen_multiplier(constant[(constant["ridge"] == ridge) & (constant["penalty_bound"] == bound)])
    ring = joined[joined["multiplier"] == chosen]
    axes.plot(ring["r2_null_to_reference"], ring[name], "o", markersize=8, color="black", markerfacecolor="none")
    for point in medians.to_dict("records"):
        unusual = [f"ridge {point['ridge']:g}"] * bool(point["ridge"] != ridge)
        unusual += [f"bound {point['penalty_bound']:g}"] * bool(point["penalty_bound"] != bound)
        label = ", ".join(unusual) or f"{point['multiplier']:g}"
        named.append((label, (point["r2_null_to_reference"], point[name])))
    return named


def _of_bounds(axes: Axes, rows: pd.DataFrame, name: str) -> list[tuple[str, tuple[float, float]]]:
    """Lines through the medians of the schedules that seek a bound of S, in its order, and their names, where a
    schedule has several.
    """
    named = []
    for _, own in rows.groupby("schedule"):
        medians = _medians(own, ["penalty_bound"], name)
        if len(medians) > 1:
            axes.plot(medians["r2_null_to_reference"], medians[name], "-", color=JOINED, linewidth=0.7, zorder=1)
            named += [
                (f"bound {point['penalty_bound']:g}", (point["r2_null_to_reference"], point[name]))
                for point in medians.to_dict("records")
            ]
    return named


def _medians(rows: pd.DataFrame, by: list[str], name: str) -> pd.DataFrame:
    """Of each setting, in the order of the last of `by`."""
    return rows.groupby(by)[["r2_null_to_reference", name]].median().reset_index().sort_values(by[-1])


def _named(axes: Axes, medians: list[tuple[str, tuple[float, float]]]) -> list[Annotation]:
    """Labels of settings at their medians."""
    labels = []
    for text, at in medians:
        # No part of the layout: the label is put where there is room.
        label = axes.annotate(text, at, (0, 0), textcoords="offset points", ha="center", va="center", fontsize=7)
        label.set_in_layout(False)
        labels.append(label)
    return labels


def _apart(labels: list[Annotation]) -> None:
    """Move the labels of one panel near what they name, and nearer to it than to what others name, to where they meet
    neither each other nor points nor lines.
    """
    if not labels:
        return
    axes = labels[0].axes
    assert axes is not None
    taken: list[Bbox] = []
    labelled: list[Bbox] = []
    for line in axes.lines:
        if line.get_linestyle() == "--":
            # The criterion.
            continue
        places = axes.transData.transform(np.column_stack(line.get_data()))
        if line.get_linestyle() == "-":
            # Points along it, from one to the next.
            steps = np.linspace(0, len(places) - 1, 20 * len(places))
            places = np.column_stack([np.interp(steps, range(len(places)), part) for part in places.T])
        taken += [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in places]
    room = axes.get_window_extent()
    named = axes.transData.transform([label.xy for label in labels])
    for number, label in enumerate(labels):
        best, least = (0.0, 0.0), np.inf
        for distance, angle in product((8.0, 14.0, 20.0, 28.0, 36.0), np.linspace(0, 2 * np.pi, 16, endpoint=False)):
            # Texts are wider than high.
            label.set_position((1.4 * distance * np.cos(angle), distance * np.sin(angle)))
            box = label.get_window_extent()
            outside = not (room.containsx(box.x0) and room.containsx(box.x1)) or not (
                room.containsy(box.y0) and room.containsy(box.y1)
            )
            away = np.hypot(*(named - ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)).T)
            met = sum(box.padded(1).overlaps(other) for other in taken) + 3 * (away.argmin() != number)
            met += 100 * outside + 10 * sum(box.padded(2).overlaps(other) for other in labelled)
            if met < least:
                best, least = label.get_position(), met
        label.set_position(best)
        labelled.append(label.get_window_extent())


def _legend(figure: Figure, alternatives: pd.DataFrame) -> None:
    mark: dict[str, Any] = {"linestyle": "none", "markersize": 3.5}
    handles = [
        key(marker="o", color=ROUND_HUES[number % len(ROUND_HUES)], label=round_name(number), **mark)
        for number in sorted(set(alternatives["round"]))
    ]
    schedules = set(alternatives["schedule"])
    handles += [
        key(marker=MARKERS[schedule], color="0.3", label=schedule, **mark)
        for schedule in ("constrained", "yielding")
        if schedule in schedules
    ]
    if "constant" in schedules:
        handles += [
            key(marker=MARKERS["constant"], color="0.3", linewidth=0.7, markersize=3.5, label="constant λ"),
            key(marker="o", color="black", markerfacecolor="none", linestyle="none", markersize=8, label="chosen λ"),
        ]
    handles += [
        key(marker="o", color="0.3", markerfacecolor="none", markeredgewidth=0.6, label="not solved", **mark),
        key(color="0.6", linestyle="--", linewidth=0.6, label="criterion"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.4)


def chosen_multiplier(rows: pd.DataFrame) -> float:
    """The constant lambda to use: as unlike the reference as any, at the least loss that comes with it.

    Of the values whose alternatives are all solved, and whose median r2 to the reference is within `AS_UNLIKE` of the
    lowest of these, it is the one with the lowest median test loss. NaN if no value has all its alternatives
    solved.
    """
    columns = {"r2": ("r2_null_to_reference", "median"), "loss": ("test_loss", "median"), "solved": ("solved", "all")}
    by_multiplier = rows.groupby("multiplier").agg(**columns)
    solved = by_multiplier[by_multiplier["solved"]]
    as_unlike = solved[solved["r2"] <= solved["r2"].min() + AS_UNLIKE]
    return float(as_unlike.nsmallest(1, "loss").index[0]) if len(as_unlike) else float("nan")


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return front_figure(drawing.table("networks"), drawing.tasks)


FIGURE = base.Figure(
    title="score and predictivity",
    description="task score and test loss against r² to the reference, over all alternatives of the grid, with the "
    "constant multiplier to choose (made for `config/sweep.yaml`)",
    per="grid",
    reads=("tables/networks",),
    draw=draw,
)
"""What the workflow knows of this figure."""
