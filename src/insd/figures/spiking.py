"""Spiking networks next to others: scores, with shuffled weights too, shares of spikes, and how alike networks are."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from insd.cohorts import network_labels, states
from insd.figures import base
from insd.figures.panels import dots_of_groups, group_keys, of_class, r2_of_groups, slanted
from insd.figures.theme import TWO_COLUMNS, band, interval_key, key, letters, new_figure, state_keys

SPIKING = "lif"
"""The architecture."""


def spiking_figure(
    table: pd.DataFrame, r2: xr.DataArray, performance: xr.Dataset, score_name: str, confidence: float
) -> Figure:
    """Four panels, the first three with a column for each population and round.

    Score on the regime `test`, with crosses for that with recurrent weights in a random order; share of steps with a
    spike, and as triangles of units that never spike; null-space r2; score by regime.

    Parameters
    ----------
    table : the rows of `networks.csv` of the task.
    r2 : (space, predictor, target), of its `predictivity.nc`.
    performance : its `performance.nc`.
    score_name : name and unit of its score.
    """
    figure = new_figure(TWO_COLUMNS, 70.0)
    axes = np.asarray(figure.subplots(1, 4))
    grouped = of_class(table, SPIKING)
    dots_of_groups(axes[0], grouped, lambda rows: rows["score"].to_numpy(float), confidence)
    dots_of_groups(axes[1], grouped, lambda rows: rows["spike_share"].to_numpy(float), confidence, "no spikes")
    for place, (_, _, rows) in enumerate(grouped):
        at = place + np.linspace(-0.27, 0.27, len(rows) + 2)[1:-1]
        axes[0].plot(at, rows["shuffled_score"], "x", color="0.5", markersize=2.5, markeredgewidth=0.6)
        axes[1].plot(at, rows["silent_share"], "^", color="0.5", markersize=2.0)
    axes[0].set_ylabel(score_name)
    axes[1].set_ylabel("share of steps with a spike;\ntriangles: of silent units")
    axes[1].set_ylim(bottom=0.0)
    r2_of_groups(axes[2], grouped, r2, confidence)
    regimes = performance["regime"].values.tolist()
    others = (table["architecture"] != SPIKING).any()
    for _, colour, rows in grouped:
        own = performance["score"].sel(network=network_labels(rows)).values
        # Populations of two classes may have one colour.
        style = "o-" if (rows["architecture"] == SPIKING).all() else "o:"
        band(axes[3], range(len(regimes)), own, colour, confidence, style)
    slanted(axes[3], regimes)
    axes[3].set_ylabel(score_name)
    letters(axes)
    handles = [
        *group_keys(grouped),
        *state_keys(states(table)),
        key("recurrent weights in a random order", color="0.5", marker="x", linestyle="", markersize=3),
        *([key("d: without spikes", color="black", linestyle=":")] if others else []),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    r2, performance = drawing.dataset("analysis/predictivity")["r2"], drawing.dataset("analysis/performance")
    return spiking_figure(drawing.table("networks"), r2, performance, drawing.task.score_name, drawing.confidence)


FIGURE = base.Figure(
    title="spiking networks",
    description="by population: score, also with recurrent weights in a random order, share of steps with a spike, "
    "null-space r² to the reference or in the group, and score by regime (for tasks with spiking networks and the "
    "analysis `spikes`, as in `config/studies/classes.yaml`)",
    per="task",
    reads=("tables/networks", "analysis/spikes", "analysis/predictivity", "analysis/performance"),
    uses=("confidence",),
    architectures=("lif",),
    draw=draw,
)
"""What the workflow knows of this figure."""
