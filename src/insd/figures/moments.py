"""How much private noise makes outputs vary: predicted by a Gaussian closure, and simulated."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from insd.cohorts import network_labels, states
from insd.figures import base
from insd.figures.panels import against_noise, dots_of_groups, group_keys, of_class
from insd.figures.theme import TWO_COLUMNS, band, interval_key, key, letters, new_figure, note, state_keys

CLOSE = 0.1
"""Relative error of a predicted standard deviation that counts as close."""
RATE = "rate"
"""The architecture whose standards are told apart."""


def moments_figure(table: pd.DataFrame, found: xr.Dataset, confidence: float) -> Figure:
    """Four panels, of the populations and rounds of which moments are known.

    Standard deviation of the outputs over the trial at the first level of noise, simulated and predicted; over all
    times, predicted over simulated, and the share of trials, times and outputs at which it is close, against the level
    of noise; standard deviation of each network at the first level.

    Parameters
    ----------
    table : the rows of `networks.csv` of the task.
    found : its `moments.nc`, with a place for each network of the table.
    """
    figure = new_figure(TWO_COLUMNS, 66.0)
    axes = np.asarray(figure.subplots(1, 4))
    known = found["sd"].notnull().all("noise_level").to_series()
    grouped = [
        (name, colour, rows) for name, colour, rows in of_class(table, RATE) if known[network_labels(rows)].any()
    ]
    first = found.isel(noise_level=0)
    for _, colour, rows in grouped:
        own = first.sel(network=network_labels(rows))
        band(axes[0], found["time"].values, own["simulated_sd"].values, colour, confidence)
        axes[0].plot(found["time"], own["predicted_sd"].mean("network"), "--", color=colour, linewidth=0.7)
    axes[0].set_xlabel("time (s)")
    axes[0].set_ylabel(f"s.d. of outputs, σ_rec = {float(first['noise_level']):g}")
    axes[0].set_ylim(bottom=0.0)
    against_noise(axes[1], grouped, found["sd_ratio"], confidence)
    axes[1].axhspan(1 - CLOSE, 1 + CLOSE, color="0.5", alpha=0.15, linewidth=0)
    axes[1].set_ylabel("s.d. predicted / simulated")
    against_noise(axes[2], grouped, found["close_share"], confidence)
    axes[2].set_ylim(0.0, 1.03)
    axes[2].set_ylabel(f"share predicted to {100 * CLOSE:g} %")
    dots_of_groups(axes[3], grouped, lambda rows: first["sd"].sel(network=network_labels(rows)).values, confidence)
    axes[3].set_ylim(bottom=0.0)
    if not grouped:
        note(axes[0], "no rate networks")
    axes[3].set_ylabel(f"s.d. of outputs, σ_rec = {float(first['noise_level']):g}")
    letters(axes)
    drawn = pd.concat([rows for _, _, rows in grouped]) if grouped else table[:0]
    handles = [
        *group_keys(grouped),
        *state_keys(states(drawn) if len(drawn) else ()),
        key("predicted", color="black", linestyle="--"),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return moments_figure(drawing.table("networks"), drawing.dataset("analysis/moments"), drawing.confidence)


FIGURE = base.Figure(
    title="moments",
    description="standard deviation of outputs under private noise, predicted by a Gaussian closure and simulated, "
    "over the trial and against the noise (for tasks with the analysis `moments`, as in `config/studies/classes.yaml`)",
    per="task",
    reads=("tables/networks", "analysis/moments"),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
