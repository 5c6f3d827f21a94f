"""Predictivity between all networks of a task, and how their training went."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.analysis.rounds import network_label
from insd.plotting.theme import ROUND_HUES, SHUFFLED, TWO_COLUMNS, groups, is_standard, letter, new_figure, round_name


def deflation_figure(
    table: pd.DataFrame, predictivity: xr.Dataset, histories: Mapping[tuple[str, int], list[xr.Dataset]]
) -> Figure:
    """The figure of one task.

    a, b: r2 from each network (row) to each other (column) in full and null space. c: null-space r2 between standards,
    between untrained networks, and of each alternative towards its reference, with the shuffled baseline; hollow
    where the predictor is not solved. d: held-out task loss, in the colours of a. e: S towards each earlier round, on
    held-out trials, noise-free.

    Parameters
    ----------
    table : the rows of `networks.csv` of this task.
    histories : by (population, round), the history files of its seeds.
    """
    figure = new_figure(TWO_COLUMNS, 150.0)
    grid = figure.add_gridspec(2, 6, height_ratios=[1.15, 1])
    matrices = [figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])]
    curves = [figure.add_subplot(grid[1, 2 * column : 2 * column + 2]) for column in range(3)]
    grouped = groups(table)
    for axes, space, text in zip(matrices, ("full", "null"), "ab", strict=True):
        _matrix(axes, grouped, predictivity["r2"].sel(space=space))
        axes.set_xlabel("target")
        letter(axes, text)
        axes.set_title(f"{space} space")
    matrices[0].set_ylabel("predictor")
    figure.colorbar(matrices[1].images[0], ax=matrices, label="linear predictivity r²", shrink=0.7)
    _null_r2(curves[0], grouped, predictivity)
    _losses(curves[1], grouped, histories)
    _penalties(curves[2], histories)
    for axes, text in zip(curves, "cde", strict=True):
        letter(axes, text)
    return figure


def _labels(rows: pd.DataFrame) -> list[str]:
    columns = (rows["population"], rows["seed"], rows["round"])
    return [
        network_label(population, int(seed), int(number)) for population, seed, number in zip(*columns, strict=True)
    ]


def _matrix(axes: Axes, grouped: list[tuple[str, str, pd.DataFrame]], r2: xr.DataArray) -> None:
    order = [label for _, _, rows in grouped for label in _labels(rows)]
    axes.imshow(r2.sel(predictor=order, target=order), vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    edges = np.cumsum([0] + [len(rows) for _, _, rows in grouped])
    middles = (edges[:-1] + edges[1:] - 1) / 2
    names = [name for name, _, _ in grouped]
    axes.set_xticks(middles, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names)
    axes.tick_params(length=0)
    for edge in edges[1:-1] - 0.5:
        axes.axhline(edge, color="white", linewidth=0.5)
        axes.axvline(edge, color="white", linewidth=0.5)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, (_, colour, _) in zip(ticks, grouped, strict=True):
            tick.set_color(colour)


def _null_r2(axes: Axes, grouped: list[tuple[str, str, pd.DataFrame]], predictivity: xr.Dataset) -> None:
    """Pairs: among the standards of all gains, among the untrained, and from alternatives to their references."""
    pairs: dict[str, list[tuple[str, str, str, bool]]] = {}
    chains = {rows["population"].iloc[0] for _, _, rows in grouped if rows["round"].iloc[0] > 0}
    members: dict[str, list[tuple[str, str, bool]]] = {}
    for name, colour, rows in grouped:
        solved_flags = rows["solved"].tolist()
        if rows["round"].iloc[0] > 0:
            references = _labels(rows.assign(population=rows["reference"], round=0))
            pairs[name] = list(zip(_labels(rows), references, [colour] * len(rows), solved_flags, strict=True))
        elif rows["population"].iloc[0] not in chains:
            kind = "standards" if is_standard(rows) else name
            members.setdefault(kind, []).extend(zip(_labels(rows), [colour] * len(rows), solved_flags, strict=True))
    for kind, networks in members.items():
        pairs[kind] = [
            (label, other, colour, good)
            for label, colour, good in networks
            for other, _, _ in networks
            if other != label
        ]
    names = [*members, *(name for name in pairs if name not in members)]
    null = predictivity.sel(space="null")
    for position, name in enumerate(names):
        size = 3.0 if len(pairs[name]) <= 50 else 1.0
        places = position + np.linspace(-0.3, 0.3, len(pairs[name]) + 2)[1:-1]
        for place, (predictor, target, colour, solved) in zip(places, pairs[name], strict=True):
            one = null.sel(predictor=predictor, target=target)
            face = colour if solved else "none"
            axes.plot(place, one["r2"], "o", markersize=size, color=colour, markerfacecolor=face, markeredgewidth=0.5)
            axes.plot(place, one["r2_shuffled"], ".", markersize=size / 2, color=SHUFFLED)
    axes.plot([], [], ".", markersize=4, color=SHUFFLED, label="trials shuffled")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("null-space r² (pairs; alternatives:\nto their reference)")
    _room_for_legend(axes)
    axes.legend(loc="upper right", handletextpad=0.2, borderaxespad=0)


def _losses(
    axes: Axes,
    grouped: list[tuple[str, str, pd.DataFrame]],
    histories: Mapping[tuple[str, int], list[xr.Dataset]],
) -> None:
    for _, colour, rows in grouped:
        files = histories[rows["population"].iloc[0], int(rows["round"].iloc[0])]
        for curve in _curves(files, "held_out_loss"):
            axes.plot(curve["iteration"], curve, color=colour, linewidth=0.6)
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("held-out task loss (share of variance)")


def _penalties(axes: Axes, histories: Mapping[tuple[str, int], list[xr.Dataset]]) -> None:
    styles = ["-", "--", ":", "-."]
    labelled = set()
    for (_, round_number), files in histories.items():
        for curve in _curves(files, "held_out_penalty") if round_number else ():
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
    axes.set_ylabel("held-out penalty S")
    _room_for_legend(axes)
    if labelled:
        axes.legend(loc="upper right", labelspacing=0.2, handlelength=2, borderaxespad=0)
    else:
        axes.text(0.5, 0.5, "no deflated population", ha="center", transform=axes.transAxes)


def _room_for_legend(axes: Axes) -> None:
    """An axis from 0 to 1 with a free band above."""
    axes.set_ylim(-0.03, 1.4)
    axes.set_yticks(np.linspace(0, 1, 6))


def _curves(files: list[xr.Dataset], name: str) -> list[xr.DataArray]:
    """The course of a variable in every attempt of every seed."""
    return [
        dataset[name].isel(attempt=attempt, seed=seed)
        for dataset in files
        for attempt in range(dataset.sizes["attempt"])
        for seed in range(dataset.sizes["seed"])
    ]
