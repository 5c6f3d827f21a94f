"""How unlike the networks of a task are, by each level of description, and how their training went."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import REFERENCE, UNTRAINED, network_labels, round_name, states
from insd.figures import base
from insd.figures.theme import (
    ROUND_HUES,
    SHUFFLED,
    TWO_COLUMNS,
    gap,
    groups,
    is_standard,
    letter,
    log_axis,
    network_points,
    new_figure,
    note,
)
from insd.tables.networks import PENALTIES

LEVELS = ("activity", "dynamics", "topology")
"""The levels of description of `levels.csv`."""
BOUND: Any = {"linestyle": ":", "color": "0.3", "linewidth": 0.7, "zorder": 0}
"""The look of bounds of the loss and of terms."""


def deflation_figure(
    table: pd.DataFrame,
    predictivity: xr.Dataset,
    levels: pd.DataFrame,
    histories: Mapping[tuple[str, int], list[xr.Dataset]],
) -> Figure:
    """The figure of one task.

    a: null-space r2 between standards, between untrained networks, and of each alternative towards its reference, with
    the shuffled baseline; hollow where the predictor is not solved, a cross where it is but is not deflated. b: how
    many pairs of a solved network and a reference are the same by activity, dynamics and topology
    (`insd.tables.levels`). c: held-out task loss of every attempt. d: S, or the term in its place, towards each earlier
    round, on held-out trials, noise-free. e: its multiplier in the loss. Dotted: the bounds of the loss and of the
    term, all of which training without a finishing phase must meet to stop early.

    Parameters
    ----------
    table, levels : the rows of `networks.csv` and of `levels.csv` of this task.
    histories : by (population, round), the history files of its seeds.
    """
    figure = new_figure(TWO_COLUMNS, 150.0)
    grid = figure.add_gridspec(3, 2, height_ratios=[1.2, 1, 1])
    activity, agreement = (figure.add_subplot(grid[0, column]) for column in range(2))
    losses, penalties, multipliers = (figure.add_subplot(grid[place]) for place in ((1, slice(None)), (2, 0), (2, 1)))
    grouped = groups(table)
    _null_r2(activity, grouped, predictivity)
    _levels(figure, agreement, grouped, levels)
    _losses(losses, grouped, histories)
    penalty = _penalty_name(histories)
    _by_earlier(penalties, histories, "held_out_penalty", f"held-out penalty {penalty}")
    for bound in sorted({term["bound"] for recipe in _recipes(histories) for term in recipe["terms"].values()}):
        penalties.axhline(bound, **BOUND)
    _by_earlier(multipliers, histories, "multiplier", f"multiplier of {penalty}")
    # The lines of both panels are the same.
    if penalties.get_legend_handles_labels()[0]:
        penalties.legend(loc="upper right", labelspacing=0.2, handlelength=2, borderaxespad=0)
    _room_for_legend(penalties)
    for axes, text in zip((activity, agreement, losses, penalties, multipliers), "abcde", strict=True):
        letter(axes, text)
    return figure


def _levels(figure: Figure, axes: Axes, grouped: list[tuple[str, str, pd.DataFrame]], levels: pd.DataFrame) -> None:
    """Shares of solved networks that are the same as a reference, by group and level, with their numbers."""
    levels = levels[levels["solved"].astype(bool)] if len(levels) else levels
    found = {}
    for name, rows in _compared(grouped).items():
        of_group = levels[np.isin(network_labels(levels), list(rows))]
        if len(of_group):
            found[name] = [of_group[f"same_{level}"].dropna().astype(float) for level in LEVELS]
    if not found:
        note(axes, "nothing to compare with a reference")
        return
    shares = np.array([[values.mean() if len(values) else np.nan for values in of] for of in found.values()]).T
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    for column, of in enumerate(found.values()):
        for row, values in enumerate(of):
            text = f"{values.sum():.0f} of {len(values)}" if len(values) else "not known"
            axes.text(
                column, row, text, ha="center", va="center", color="white" if shares[row, column] > 0.5 else "0.2"
            )
    axes.set_xticks(range(len(found)), found)
    axes.set_yticks(range(len(LEVELS)), LEVELS)
    axes.set_title("same as a reference, pairs of networks")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share")


def _compared(grouped: list[tuple[str, str, pd.DataFrame]]) -> dict[str, set[str]]:
    """The labels of the networks that `levels.csv` compares with references, standards of all gains together."""
    found: dict[str, set[str]] = {}
    for name, _, rows in grouped:
        if rows["role"].iloc[0] not in (REFERENCE, UNTRAINED):
            found.setdefault("standards" if is_standard(rows) else name, set()).update(network_labels(rows))
    return found


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
        for of_group, chosen in rows.groupby("colour"):
            network_points(
                axes, chosen["place"].to_numpy(), chosen["r2"].to_numpy(), states(chosen), str(of_group), size
            )
        axes.plot(rows["place"], rows["r2_shuffled"], ".", markersize=size / 2, color=SHUFFLED)
        if not np.isfinite(rows["r2"]).any():
            gap(axes, position, "left out")
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
    for bound in sorted({recipe["training"]["loss_bound"] for recipe in _recipes(histories)}):
        axes.axhline(bound, **BOUND)
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


def _penalty_name(histories: Mapping[tuple[str, int], list[xr.Dataset]]) -> str:
    """S, or the names of the terms that were compared with earlier rounds in its place."""
    # The variable is without a name where its term is the only one.
    shown = {
        round_of: [file for file in files if "held_out_penalty" in file]
        for round_of, files in histories.items()
        if round_of[1]
    }
    terms = {name.rpartition(":")[2] for recipe in _recipes(shown) for name in recipe["terms"]}
    return ", ".join(sorted({"S" if name in PENALTIES else name for name in terms})) or "S"


def _recipes(histories: Mapping[tuple[str, int], list[xr.Dataset]]) -> list[dict[str, Any]]:
    """The recipes of the rounds that were deflated, or of all where none was."""
    recipes = {
        round_of: [json.loads(file.attrs["settings"])["recipe"] for file in files if "settings" in file.attrs]
        for round_of, files in histories.items()
    }
    later = [recipe for (_, number), of in recipes.items() if number for recipe in of]
    return later or [recipe for of in recipes.values() for recipe in of]


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
    return deflation_figure(
        drawing.table("networks"),
        drawing.dataset("analysis/predictivity"),
        drawing.table("levels"),
        drawing.histories(),
    )


FIGURE = base.Figure(
    title="predictivity and training",
    description="r² of alternatives to their reference, and where activity, dynamics and topology disagree; learning "
    "curves of task loss, penalty and multipliers",
    per="task",
    reads=("tables/networks", "tables/levels", "analysis/predictivity", "rounds/history"),
    draw=draw,
)
"""What the workflow knows of this figure."""
