"""Supplement of figure 5: the scores over noise and duration of which it shows the differences."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.figures import base
from insd.figures.panels import numbers
from insd.figures.scores import (
    Groups,
    letters_in_turn,
    mark,
    score_axis,
    score_legend,
    score_lines,
    verdict_on,
    verdicts_on_scores,
    wrapped,
)
from insd.figures.theme import TWO_COLUMNS, control_hues, letter, new_figure, standards_and_alternatives


def regime_grids_figure(
    table: pd.DataFrame,
    chain: str | None,
    performance: Mapping[str, xr.Dataset],
    comparisons: pd.DataFrame,
    confidence: float,
) -> Figure:
    """Supplement: a row per task, score against noise in a panel per duration; means over the solved networks.

    Bands are intervals of the means, triangles as in `insd.figures.regimes.regimes_figure`, whose arguments it takes.
    """
    columns = max(dataset.sizes["duration"] for dataset in performance.values())
    figure = new_figure(TWO_COLUMNS, 15.0 + 45.0 * len(performance))
    axes = figure.subplots(len(performance), columns, sharey="row", squeeze=False)
    names: dict[str, str] = {}
    for panels, text, (task, scores) in zip(axes, letters_in_turn(1), performance.items(), strict=False):
        grouped = standards_and_alternatives(table[table["task"] == task], chain, control_hues(table))
        names |= {name: colour for name, colour, _ in grouped}
        about = scores["grid_score"].attrs
        _grid(panels, grouped, scores["grid_score"], verdicts_on_scores(comparisons, task), confidence)
        score_axis(panels, about)
        panels[0].set_ylabel(f"{task.replace('_', ' ')}\n{wrapped(about['long_name'])}")
        letter(panels[0], text)
    score_legend(figure, names, (), confidence)
    return figure


def _grid(
    panels: Sequence[Axes] | np.ndarray,
    grouped: Groups,
    scores: xr.DataArray,
    verdicts: pd.DataFrame,
    confidence: float,
) -> None:
    title, ticks = numbers([str(level) for level in scores["noise"].values])
    length, lengths = numbers([str(level) for level in scores["duration"].values])
    for axes in panels[scores.sizes["duration"] :]:
        axes.axis("off")
    for axes, duration, text in zip(panels, scores["duration"].values, lengths, strict=False):
        levels = [str(level) for level in scores["noise"].values]
        of_duration = scores.sel(duration=duration).transpose("network", "noise")
        score_lines(axes, grouped, of_duration, range(len(levels)), confidence)
        for _, colour, rows in grouped:
            for position, level in enumerate(levels):
                mark(axes, position, verdict_on(verdicts, rows, "grid", level, str(duration)), colour, grouped)
        axes.set_xticks(range(len(levels)), ticks)
        axes.set_xlabel(title or "noise")
        axes.set_title(f"{length} {text} s" if length else text.replace("_", " ").replace(", ", ",\n"))


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return regime_grids_figure(
        drawing.table("networks"),
        drawing.chain,
        drawing.datasets("analysis/performance"),
        drawing.table("comparisons"),
        drawing.confidence,
    )


FIGURE = base.Figure(
    title="regimes, scores",
    description="the scores over noise and duration of which `regimes` shows the differences",
    per="grid",
    reads=("tables/networks", "tables/comparisons", "analysis/performance"),
    uses=("chain", "confidence"),
    draw=draw,
)
"""What the workflow knows of this figure."""
