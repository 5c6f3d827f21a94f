"""Which way leads to another solution: distance against loss and cost, topology, and rises of the loss on the way."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from insd.cohorts import matched
from insd.figures import base
from insd.figures.theme import MANY_HUES, STANDARDS, TWO_COLUMNS, key, letters, log_axis, new_figure, note
from insd.tables.generators import DISTANCES, POINTS
from insd.tables.networks import LARGEST_EXCESS

MARKERS = "osD^vP*"
"""Markers of populations. Each population has its own colour as long as there are colours, and colour and marker are
another pair up to 168 populations, since no number divides both 7 markers and 24 colours."""
X = {"excess_loss": "excess loss", "core_minutes": "core-minutes"}
"""What distances are drawn against."""
HEIGHT = 105.0
"""Of the panels of one task, in mm."""
Look = tuple[str, str]
"""Colour and marker of a population."""


def generators_figure(rows: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """Two rows of four panels per task, populations by colour and marker.

    The first three columns have the distances to the reference, against excess loss (top) and core-minutes (bottom).
    Small points are networks; large ones are means over matched networks, with their intervals. Networks that are not
    matched are hollow, in all panels. Dashed: the largest loss of a matched network; dotted: the largest distance
    between two standards. The last column: stable points and (crosses) cycles of every network, with the median of
    references as a grey bar; and the largest loss since it was first low, with the ceiling as a grey bar, and (crosses)
    that of steps of walks which were restored or taken back.

    `rows` is `generators.csv`, `means` is `generators_summary.csv`.
    """
    names = list(dict.fromkeys(rows["population"]))
    looks = {
        name: (MANY_HUES[place % len(MANY_HUES)], MARKERS[place % len(MARKERS)]) for place, name in enumerate(names)
    }
    tasks = list(dict.fromkeys(rows["task"]))
    # The legend takes a line for every five populations or so.
    figure = new_figure(TWO_COLUMNS, HEIGHT * max(len(tasks), 1) + 4.0 * (len(names) // 5 + 2))
    if not tasks:
        note(figure.subplots(), "no alternatives")
        return figure
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(tasks), 1)))
    panels: list[Axes] = []
    for part, task in zip(parts, tasks, strict=True):
        if len(tasks) > 1:
            part.suptitle(task.replace("_", " "), fontsize=7)
        panels += _task(part, rows[rows["task"] == task], means[means["task"] == task], looks)
    letters(panels)
    keys = [key(name, color=looks[name][0], marker=looks[name][1], linestyle="", markersize=4) for name in names]
    figure.legend(
        handles=keys + _marks(rows, means), loc="outside lower center", ncols=5, handletextpad=0.4, columnspacing=1.2
    )
    return figure


def _marks(rows: pd.DataFrame, means: pd.DataFrame) -> list[Line2D]:
    """The keys of marks and lines that the figure has."""
    distances = [f"distance_{name}" for name in DISTANCES]
    far = [f"far_{name}" for name in DISTANCES]
    marks = [
        (
            not matched(rows).all(),
            key("not matched", color="0.3", marker="o", linestyle="", markersize=3, markerfacecolor="none"),
        ),
        (
            means[distances].notna().any(axis=None),
            key("mean of matched", color="0.3", marker="o", markersize=6, markeredgecolor="black", linewidth=0.8),
        ),
        (
            rows["excess_loss"].notna().any(),
            key("largest matched loss", color="0.6", linestyle="--", linewidth=0.6),
        ),
        (rows[far].notna().any(axis=None), key("farthest standards", color=STANDARDS, linestyle=":", linewidth=0.8)),
        (
            rows[["stable_points_of_reference", "ceiling"]].notna().any(axis=None),
            key("references, or ceiling", color="0.6", linewidth=1.6),
        ),
        (
            rows[["cycles", "excursion_tried"]].notna().any(axis=None),
            key("cycles, or tried steps", color="0.3", marker="x", linestyle="", markersize=3),
        ),
    ]
    return [handle for there, handle in marks if there]


def _task(figure: SubFigure, rows: pd.DataFrame, means: pd.DataFrame, looks: Mapping[str, Look]) -> list[Axes]:
    axes = np.asarray(figure.subplots(2, len(DISTANCES) + 1, width_ratios=[1.0] * len(DISTANCES) + [1.35]))
    for column, (name, label) in enumerate(DISTANCES.items()):
        for row, (against, text) in enumerate(X.items()):
            panel = axes[row, column]
            known = rows.dropna(subset=[f"distance_{name}", against])
            panel.set_xlabel(text)
            panel.set_ylabel(f"distance: {label}")
            if known.empty:
                note(panel, f"no {text}\nin this grid" if rows[f"distance_{name}"].notna().any() else "not measured")
                continue
            _distances(panel, known, means, f"distance_{name}", against, looks)
            panel.axhline(rows[f"far_{name}"].max(), color=STANDARDS, linestyle=":", linewidth=0.8)
            panel.set_ylim(
                0.0, 1.08 * max(known[f"distance_{name}"].max(), 1e-3, np.nan_to_num(rows[f"far_{name}"].max()))
            )
    _topology(axes[0, -1], rows, looks)
    # The panel below has the same places, and their names.
    axes[0, -1].tick_params(labelbottom=False)
    _excursions(axes[1, -1], rows, looks)
    return list(axes.flat)


def _distances(
    axes: Axes, rows: pd.DataFrame, means: pd.DataFrame, distance: str, against: str, looks: Mapping[str, Look]
) -> None:
    for population, own in rows.groupby("population", sort=False):
        colour, marker = looks[str(population)]
        level = matched(own).to_numpy()
        for chosen, face in ((level, colour), (~level, "none")):
            axes.plot(
                own[against][chosen],
                own[distance][chosen],
                marker,
                color=colour,
                markersize=2.5,
                markerfacecolor=face,
                markeredgewidth=0.5,
                alpha=0.6,
            )
    for row in means.dropna(subset=[distance, against]).to_dict("records"):
        colour, marker = looks[row["population"]]
        centre = row[against], row[distance]
        for place, ends in enumerate([row[f"{one}_low"], row[f"{one}_high"]] for one in (against, distance)):
            along = [ends, [centre[1]] * 2] if place == 0 else [[centre[0]] * 2, ends]
            axes.plot(*along, "-", color=colour, linewidth=0.8)
        axes.plot(*centre, marker, color=colour, markersize=5.5, markeredgecolor="black", markeredgewidth=0.6, zorder=3)
    if against == "excess_loss":
        axes.set_xscale("symlog", linthresh=LARGEST_EXCESS)
        axes.axvline(LARGEST_EXCESS, color="0.6", linestyle="--", linewidth=0.6)
        # Labels of nearer ticks would meet.
        ticks = [-0.1, -0.01, 0.0, 0.01, 0.1, 1.0]
        axes.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks], minor=False)
        low, high = rows[against].min(), rows[against].max()
        axes.set_xlim(min(-0.2 * LARGEST_EXCESS, 1.2 * low), max(2 * LARGEST_EXCESS, 1.3 * high))
    else:
        axes.set_xlim(0.0, 1.08 * rows[against].max())


def _topology(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    axes.set_ylabel("stable points, cycles")
    _places(axes, looks)
    if rows[list(POINTS)].isna().all(axis=None):
        note(axes, "no fixed points\nin this grid")
        return
    _side_by_side(axes, rows, looks, bar="stable_points_of_reference", points="stable_points", crosses="cycles")
    # A few of many, and none, on one axis.
    axes.set_yscale("symlog", linthresh=10)
    ticks = [0, 2, 4, 6, 8, 10, 20, 50, 100, 200, 500]
    highest = max(10.0, np.nanmax(rows[[*POINTS, "stable_points_of_reference"]].to_numpy(float)))
    axes.set_yticks([tick for tick in ticks if tick <= 1.2 * highest], minor=False)
    axes.set_yticklabels([str(tick) for tick in ticks if tick <= 1.2 * highest])
    axes.minorticks_off()
    axes.set_ylim(-0.6, 1.2 * highest)


def _excursions(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    axes.set_ylabel("largest loss since low")
    _places(axes, looks)
    if rows["excursion"].isna().all():
        note(axes, "no loss was\never low")
        return
    _side_by_side(axes, rows, looks, bar="ceiling", points="excursion", crosses="excursion_tried")
    log_axis(axes)


def _places(axes: Axes, looks: Mapping[str, Look]) -> None:
    axes.set_xlim(-0.6, len(looks) - 0.4)
    axes.set_xticks(range(len(looks)), list(looks), rotation=90)


def _side_by_side(
    axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Look], *, bar: str, points: str, crosses: str
) -> None:
    """Two columns of the table, population by population, with the median of a third as a grey bar."""
    for place, (name, (colour, marker)) in enumerate(looks.items()):
        own = rows[rows["population"] == name]
        _bar(axes, place, own[bar].median())
        _column(axes, place - 0.12, own, points, marker, colour)
        _column(axes, place + 0.25, own, crosses, "x", colour)


def _column(axes: Axes, place: float, rows: pd.DataFrame, name: str, marker: str, colour: str) -> None:
    """The values of a population one above the other, side by side a little; hollow if they are not matched."""
    rows = rows.dropna(subset=[name])
    places = place + np.linspace(-0.1, 0.1, len(rows))
    level = matched(rows).to_numpy()
    for chosen, face in ((level, colour), (~level, "none")):
        axes.plot(
            places[chosen],
            rows[name].to_numpy(float)[chosen],
            marker,
            color=colour,
            markersize=2.5,
            markerfacecolor=face,
            markeredgewidth=0.6,
            alpha=0.8,
        )


def _bar(axes: Axes, place: int, value: float) -> None:
    axes.plot([place - 0.4, place + 0.4], [value] * 2, "-", color="0.6", linewidth=1.6, zorder=1)


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return generators_figure(drawing.table("generators"), drawing.table("generators_summary"))


FIGURE = base.Figure(
    title="generators",
    description="by population: distance to the reference in r², CKA and DSA against excess loss and core-minutes, "
    "stable points and cycles, and the largest loss on the way (made for `config/studies/generators.yaml`)",
    per="grid",
    reads=("tables/generators", "tables/generators_summary"),
    draw=draw,
)
"""What the workflow knows of this figure."""
