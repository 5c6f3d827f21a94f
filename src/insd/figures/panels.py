"""Panels that several figures share."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from insd.cohorts import left_out, network_labels
from insd.figures.theme import short_names

TIGHT: dict[str, Any] = {
    "handlelength": 1.2,
    "handletextpad": 0.4,
    "columnspacing": 1.2,
    "borderaxespad": 0.1,
    "borderpad": 0.1,
}
"""Of legends in rows of their own."""


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
