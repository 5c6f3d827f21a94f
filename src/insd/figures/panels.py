"""Panels that several figures share."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from insd.cohorts import ALTERNATIVE, left_out, network_labels, states
from insd.figures.theme import CONDITION_HUES, Group, band, dots, gap, groups, is_standard, key, short_names

TIGHT: dict[str, Any] = {
    "handlelength": 1.2,
    "handletextpad": 0.4,
    "columnspacing": 1.2,
    "borderaxespad": 0.1,
    "borderpad": 0.1,
}
"""Of legends in rows of their own."""


OTHER_CLASS = CONDITION_HUES[2]
"""Colour of standards whose architecture is not the one that a figure is about."""


def of_class(table: pd.DataFrame, architecture: str) -> list[Group]:
    """The groups of a table in a figure on one architecture: its standards are greys in their order, those of other
    architectures have one colour.
    """
    grouped = groups(table)
    own = [name for name, _, rows in grouped if is_standard(rows) and (rows["architecture"] == architecture).all()]
    greys = dict(zip(own, map(str, np.linspace(0.1, 0.7, len(own)).round(2)), strict=True))
    return [
        (name, greys.get(name, OTHER_CLASS) if is_standard(rows) else colour, rows) for name, colour, rows in grouped
    ]


def dots_of_groups(
    axes: Axes,
    grouped: Sequence[Group],
    values: Callable[[pd.DataFrame], np.ndarray],
    confidence: float,
    without: str = "no value",
) -> None:
    """A column of points for each group: one per network, of the values of its rows; `without` where none has one."""
    for place, (_, colour, rows) in enumerate(grouped):
        own = values(rows)
        dots(axes, place, own, states(rows), colour, confidence, 2.0)
        if not np.isfinite(own).any():
            gap(axes, place, without)
    slanted(axes, [name for name, _, _ in grouped])


def slanted(axes: Axes, names: Sequence[str]) -> None:
    """Names along the horizontal axis, at 0, 1, ..."""
    axes.set_xticks(range(len(names)), list(map(in_words, names)), rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)


def group_keys(grouped: Sequence[Group]) -> list[Line2D]:
    """The entries of a legend for groups."""
    return [key(name, color=colour, marker="o", markersize=3) for name, colour, _ in grouped]


def r2_of_groups(axes: Axes, grouped: Sequence[Group], r2: xr.DataArray, confidence: float) -> None:
    """Null-space r2 of each network: of alternatives to their reference, of others in the mean to the rest of their
    group. `r2` (space, predictor, target).
    """

    def values(rows: pd.DataFrame) -> np.ndarray:
        if (rows["role"] == ALTERNATIVE).all():
            return rows["r2_null_to_reference"].to_numpy(float)
        labels = network_labels(rows)
        own = r2.sel(space="null", predictor=labels, target=labels).values.astype(float)
        if len(labels) < 2:
            return np.full(len(labels), np.nan)
        np.fill_diagonal(own, 0.0)
        return own.sum(1) / (len(labels) - 1)

    dots_of_groups(axes, grouped, values, confidence)
    axes.set_ylim(0.0, 1.02)
    axes.set_ylabel("null-space r² to the\nreference, or in the group")


def against_noise(axes: Axes, grouped: Sequence[Group], values: xr.DataArray, confidence: float) -> None:
    """A line for each group: the mean over its networks against the private noise. `values` (network, noise_level)."""
    levels = values["noise_level"].values
    for _, colour, rows in grouped:
        band(axes, levels, values.sel(network=network_labels(rows)).values, colour, confidence, "o-")
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("private noise σ_rec")


def predictivity_matrix(
    axes: Axes, grouped: Sequence[tuple[str, str, pd.DataFrame]], r2: xr.DataArray, space: str
) -> None:
    """r2 (space, predictor, target) between all networks of some groups (`groups`), predictors in rows, in one space.

    Networks that the analysis left out are grey; `matrix_label` says so.
    """
    order = [label for _, _, rows in grouped for label in network_labels(rows)]
    values = r2.sel(space=space, predictor=order, target=order).values
    axes.set_facecolor("0.85")
    axes.imshow(values, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    edges = np.cumsum([0] + [len(rows) for _, _, rows in grouped])
    middles = (edges[:-1] + edges[1:] - 1) / 2
    names = short_names(grouped)
    axes.set_xticks(middles, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names)
    axes.tick_params(length=0)
    for edge in edges[1:-1] - 0.5:
        axes.axhline(edge, color="white", linewidth=0.5)
        axes.axvline(edge, color="white", linewidth=0.5)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, (_, colour, _) in zip(ticks, grouped, strict=True):
            tick.set_color(colour)
    axes.set_xlabel("target")
    axes.set_title(f"{space} space")


def matrix_label(r2: xr.DataArray) -> str:
    """The label of the colours of `predictivity_matrix`."""
    return "r²" if np.isfinite(r2.values).all() else "r² (grey: left out)"


def why_empty(result: xr.Dataset, label: str) -> str:
    """Why an analysis left out a network, in lines that fit into its panel; empty if it did not."""
    reason = left_out(result).get(label)
    return "" if reason is None else "left out:\n" + textwrap.fill(reason, 24)


def numbers(levels: Sequence[str]) -> tuple[str, list[str]]:
    """Name and values of levels of one axis of a task's grid, as `Task.grid_labels` writes them ("name = value").

    Where they replace other fields, or several, the name is empty and the values are the levels as they are.
    """
    parts = [level.partition(" = ") for level in levels]
    names = {name for name, _, _ in parts}
    if len(names) == 1 and all(value and " = " not in value for _, _, value in parts):
        return names.pop().replace("_", " "), [value for _, _, value in parts]
    return "", list(levels)


def in_words(name: str) -> str:
    """A name of a file or of a config as people read it."""
    return name.replace("_", " ")
