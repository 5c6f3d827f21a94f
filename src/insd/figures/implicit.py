"""Networks at equilibrium next to others: fixed points, how near spiking rates come, how alike networks are, loss."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from insd.cohorts import network_labels, states
from insd.figures import base
from insd.figures.panels import dots_of_groups, group_keys, of_class, r2_of_groups
from insd.figures.theme import (
    TWO_COLUMNS,
    Group,
    band,
    interval_key,
    key,
    letters,
    log_axis,
    new_figure,
    note,
    state_keys,
)

IMPLICIT = "implicit"
"""The architecture."""
LINES = {"if_error": ("-", "integrate-and-fire"), "lif_error": ("--", "leaky")}
"""The errors that are drawn, with their style and what they are of."""


def implicit_figure(table: pd.DataFrame, r2: xr.DataArray, found: xr.Dataset, confidence: float) -> Figure:
    """Four panels, all but the second with a column for each population and round.

    Fixed points over all static inputs, stable or not; mean distance of the rates of spiking networks to the
    equilibrium against their number of steps, with a line that falls as its inverse; null-space r2; test loss.

    Parameters
    ----------
    table : the rows of `networks.csv` of the task.
    r2 : (space, predictor, target), of its `predictivity.nc`.
    found : its `equilibria.nc`, with a place for each network of the table.
    """
    figure = new_figure(TWO_COLUMNS, 70.0)
    axes = np.asarray(figure.subplots(1, 4))
    grouped = of_class(table, IMPLICIT)

    def points(rows: pd.DataFrame) -> np.ndarray:
        own = found["n_equilibria"].sel(network=network_labels(rows)).sum("condition", skipna=False).values
        return np.where(np.isfinite(own), own, rows["n_fixed_points"].to_numpy(float))

    dots_of_groups(axes[0], grouped, points, confidence, "not sought")
    axes[0].set_ylim(bottom=0.0)
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("fixed points,\nover all static inputs")
    _spiking_rates(axes[1], grouped, found, confidence)
    r2_of_groups(axes[2], grouped, r2, confidence)
    dots_of_groups(axes[3], grouped, lambda rows: rows["test_loss"].to_numpy(float), confidence)
    log_axis(axes[3])
    axes[3].set_ylabel("test loss")
    letters(axes)
    handles = [
        *group_keys([one for one in grouped if (one[2]["architecture"] == IMPLICIT).any()]),
        *state_keys(states(table)),
        *(key(name, color="black", linestyle=style) for style, name in LINES.values()),
        key("1 / steps", color="0.6", linestyle=":"),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def _spiking_rates(axes: Axes, grouped: list[Group], found: xr.Dataset, confidence: float) -> None:
    steps = found["step"].values
    axes.set_xlabel("steps")
    axes.set_ylabel("distance of spiking rates\nto the equilibrium")
    if found["if_error"].isnull().all():
        note(axes, "no networks\nat equilibrium")
        return
    for _, colour, rows in grouped:
        for name, (style, _) in LINES.items():
            band(axes, steps, found[name].sel(network=network_labels(rows)).values, colour, confidence, style)
    first = float(found["if_error"].isel(step=0).mean())
    axes.plot(steps, first * steps[0] / steps, ":", color="0.6", linewidth=0.9)
    axes.set_xscale("log")
    log_axis(axes)
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    r2, found = drawing.dataset("analysis/predictivity")["r2"], drawing.dataset("analysis/equilibria")
    return implicit_figure(drawing.table("networks"), r2, found, drawing.confidence)


FIGURE = base.Figure(
    title="networks at equilibrium",
    description="by population: fixed points, distance of the rates of spiking networks to the equilibrium by steps, "
    "null-space r² to the reference or in the group, and test loss (for tasks with networks at equilibrium and the "
    "analysis `equilibria`, as in `config/studies/classes.yaml`)",
    per="task",
    reads=("tables/networks", "analysis/equilibria", "analysis/predictivity"),
    uses=("confidence",),
    architectures=("implicit",),
    draw=draw,
)
"""What the workflow knows of this figure."""
