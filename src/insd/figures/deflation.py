"""Predictivity between all networks of a task, and how their training went."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import REFERENCE, network_labels, round_name
from insd.figures import base
from insd.figures.panels import matrix_label, predictivity_matrix
from insd.figures.theme import (
    ROUND_HUES,
    SHUFFLED,
    TWO_COLUMNS,
    groups,
    is_standard,
    letter,
    log_axis,
    new_figure,
    note,
)


def deflation_figure(
    table: pd.DataFrame, predictivity: xr.Dataset, histories: Mapping[tuple[str, int], list[xr.Dataset]]
) -> Figure:
    """The figure of one task.

    a, b: r2 from each network (row) to each other (column) in full and null space. c: null-space r2 between standards,
    between untrained networks, and of each alternative towards its reference, with the shuffled baseline; hollow
    where the predictor is not solved. d: held-out task loss of every attempt, in the colours of a. e: S towards each
    earlier round, on held-out trials, noise-free. f: the multiplier of S in the loss.

    Parameters
    ----------
    table : the rows of `networks.csv` of this task.
    histories : by (population, round), the history files of its seeds.
    """
    figure = new_figure(TWO_COLUMNS, 195.0)
    grid = figure.add_gridspec(3, 2, height_ratios=[1.5, 1, 1])
    matrices = [figure.add_subplot(grid[0, column]) for column in range(2)]
    curves = [figure.add_subplot(grid[1 + row, column]) for row in range(2) for column in range(2)]
    grouped = groups(table)
    for axes, space, text in zip(matrices, ("full", "null"), "ab", strict=True):
        predictivity_matrix(axes, grouped, predictivity["r2"], space)
        letter(axes, text)
    matrices[0].set_ylabel("predictor")
    figure.colorbar(
        matrices[1].images[0], ax=matrices, label=f"linear predictivity {matrix_label(predictivity['r2'])}", shrink=0.7
    )
    _null_r2(curves[0], grouped, predictivity)
    _losses(curves[1], grouped, histories)
    _by_earlier(curves[2], histories, "held_out_penalty", "held-out penalty S")
    _by_earlier(curves[3], histories, "multiplier", "multiplier of S")
    # The lines of both panels are the same.
    if curves[2].get_legend_handles_labels()[0]:
        curves[2].legend(loc="upper right", labelspacing=0.2, handlelength=2, borderaxespad=0)
    _room_for_legend(curves[2])
    for axes, text in zip(curves, "cdef", strict=True):
        letter(axes, text)
    return figure


def _null_r2(axes: Axes, grouped: list[tuple[str, str, pd.DataFrame]], predictivity: xr.Dataset) -> None:
    """Pairs among the standards of all gains and among the untrained; alternatives to their references."""
    members: dict[str, list[pd.DataFrame]] = {}
    towards: dict[str, pd.DataFrame] = {}
    for name, colour, rows in grouped:
        if rows["round"].iloc[0] > 0:
            # From the table, since recordings are in no matrix of pairs.
            r2 = {"r2": rows["r2_null_to_reference"], "r2_shuffled": rows["r2_null_shuffled_to_reference"]}
            towards[name] = rows.assign(colour=colour, **r2)
        elif rows["role"].iloc[0] != REFERENCE:
            members.setdefault("standards" if is_standard(rows) else name, []).append(rows.assign(colour=colour))
    null = predictivity.sel(space="null")
    found = {kind: _pairs(pd.concat(parts), null) for kind, parts in members.items()} | towards
    found = {kind: rows for kind, rows in found.items() if len(rows)}
    for position, rows in enumerate(found.values()):
        size = 3.0 if len(rows) <= 50 else 1.0
        rows["place"] = position + np.linspace(-0.3, 0.3, len(rows) + 2)[1:-1]
        for (of_group, solved), chosen in rows.groupby(["colour", "solved"]):
            face = of_group if solved else "none"
            style: Any = {"markersize": size, "color": of_group, "markerfacecolor": face, "markeredgewidth": 0.5}
            axes.plot(chosen["place"], chosen["r2"], "o", **style)
        axes.plot(rows["place"], rows["r2_shuffled"], ".", markersize=size / 2, color=SHUFFLED)
    axes.plot([], [], ".", markersize=4, color=SHUFFLED, label="trials shuffled")
    axes.set_xticks(range(len(found)), list(found), rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("null-space r² (pairs; alternatives:\nto their reference)")
    _room_for_legend(axes)
    axes.legend(loc="upper right", handletextpad=0.2, borderaxespad=0)


def _pairs(rows: pd.DataFrame, null: xr.Dataset) -> pd.DataFrame:
    """The row of each network once for each other one, with r2 to that."""
    first, second = np.nonzero(~np.eye(len(rows), dtype=bool))
    labels = np.array(network_labels(rows))
    chosen = {name: xr.DataArray(labels[of], dims="pair") for name, of in (("predictor", first), ("target", second))}
    r2 = null.sel(chosen)
    return rows.iloc[first].assign(r2=r2["r2"].values, r2_shuffled=r2["r2_shuffled"].values)


def _losses(
    axes: Axes,
    grouped: list[tuple[str, str, pd.DataFrame]],
    histories: Mapping[tuple[str, int], list[xr.Dataset]],
) -> None:
    for _, colour, rows in grouped:
        # Networks that were not trained here have none.
        files = histories.get((rows["population"].iloc[0], int(rows["round"].iloc[0])), [])
        for curve in _curves(files, "held_out_loss"):
            axes.plot(curve["iteration"], curve, color=colour, linewidth=0.6)
    log_axis(axes)
    axes.set_xlabel("iteration")
    axes.set_ylabel("held-out task loss (share of variance)")


def _by_earlier(axes: Axes, histories: Mapping[tuple[str, int], list[xr.Dataset]], variable: str, label: str) -> None:
    """The course of a variable that each deflated network has for each earlier round."""
    styles = ["-", "--", ":", "-."]
    labelled = set()
    for (_, round_number), files in histories.items():
        for curve in _curves(files, variable) if round_number else ():
            for earlier in range(curve.sizes["earlier"]):
                name = f"{round_name(round_number)} → {round_name(earlier)}"
                axes.plot(
                    curve["iteration"],
                    curve.isel(earlier=earlier),
                    styles[earlier % len(styles)],
                    color=ROUND_HUES[round_number % len(ROUND_HUES)],
                    linewidth=0.7,
                    label=None if name in labelled else name,
                )
                labelled.add(name)
    axes.set_xlabel("iteration")
    axes.set_ylabel(label)
    if not labelled:
        note(axes, "no deflated population")


def _room_for_legend(axes: Axes) -> None:
    """An axis from 0 to 1 with a free band above."""
    axes.set_ylim(-0.03, 1.4)
    axes.set_yticks(np.linspace(0, 1, 6))


def _curves(files: list[xr.Dataset], name: str) -> list[xr.DataArray]:
    """The course of a variable in every attempt of every seed."""
    return [
        dataset[name].isel(attempt=attempt, seed=seed)
        for dataset in files
        if name in dataset
        for attempt in range(dataset.sizes["attempt"])
        for seed in range(dataset.sizes["seed"])
    ]


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return deflation_figure(drawing.table("networks"), drawing.dataset("analysis/predictivity"), drawing.histories())


FIGURE = base.Figure(
    title="predictivity and training",
    description="predictivity between all networks of a task; r² of alternatives to their reference; learning curves "
    "of task loss, penalty and multipliers",
    per="task",
    reads=("tables/networks", "analysis/predictivity", "rounds/history"),
    draw=draw,
)
"""What the workflow knows of this figure."""
