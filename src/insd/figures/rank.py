"""How good fits of low rank are, and the rank that is needed, by round of the fitted networks."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from insd.cohorts import network_labels, states
from insd.figures import base
from insd.figures.panels import group_keys
from insd.figures.theme import (
    TWO_COLUMNS,
    Group,
    band,
    dots,
    groups,
    interval_key,
    key,
    letters,
    log_axis,
    new_figure,
    note,
    state_keys,
)

QUALITIES = {
    "log_likelihood": "log-likelihood above that\nof no dynamics (nats per step)",
    "d_h": "distance of spectra D_H",
    "d_stsp": "distance of states D_stsp (nats)",
}
"""What is drawn of `rank.nc`, with its label."""
NEEDED = {"log_likelihood": "likelihood", "d_h": "D_H", "d_stsp": "D_stsp"}
"""The qualities by which a rank is needed, with their names."""


def rank_figure(table: pd.DataFrame, found: xr.Dataset, confidence: float) -> Figure:
    """Six panels: three qualities of fits and their score in the task against their rank, the rank that is needed by
    each quality, and the latent noise of fits.

    Rank 0 is activity without dynamics; dashed lines are second draws of the fitted networks themselves. Colours are
    the groups of fitted networks, each of which is a point or a part of a mean.

    Parameters
    ----------
    table : the rows of `networks.csv` of the task.
    found : its `rank.nc`.
    """
    figure = new_figure(TWO_COLUMNS, 105.0)
    axes = np.asarray(figure.subplots(2, 3))
    if not found.sizes["fitted"]:
        note(axes[0, 0], "no fits of networks\nin this grid")
        return figure
    labels = set(found["fitted"].values.tolist())
    grouped = [
        (name, colour, fitted)
        for name, colour, rows in groups(table)
        if len(fitted := rows[[label in labels for label in network_labels(rows)]])
    ]
    # Of networks that are no fits, NaN.
    ranks = sorted({int(rank) for rank in found["rank"].values if np.isfinite(rank)})
    scores = table.set_index(pd.Index(network_labels(table)))["score"]
    fits = found.assign(score=("network", scores.reindex(found["network"].values).to_numpy(float)))
    for panel, (quality, label) in zip(axes.flat, QUALITIES.items(), strict=False):
        for _, colour, rows in grouped:
            own = found.sel(fitted=network_labels(rows), quality=quality)
            values = _by_rank(fits["value"].sel(quality=quality), fits, network_labels(rows), ranks)
            without = own["without_dynamics"].values[:, None]
            if quality == "log_likelihood":
                values, without = values - without, np.zeros_like(without)
            band(panel, [0, *ranks], np.hstack([without, values]), colour, confidence, "o-")
            if np.isfinite(own["itself"]).any():
                panel.axhline(float(own["itself"].mean()), color=colour, linestyle="--", linewidth=0.6)
        _ranks(panel, [0, *ranks])
        panel.set_ylabel(label)
    log_axis(axes[0, 2])
    for panel, name, label in (
        (axes[1, 0], "score", "score of fits in the task"),
        (axes[1, 2], "latent_noise", "s.d. of rates per step\nby latent noise"),
    ):
        for _, colour, rows in grouped:
            band(panel, ranks, _by_rank(fits[name], fits, network_labels(rows), ranks), colour, confidence, "o-")
        _ranks(panel, ranks)
        panel.set_ylabel(label)
    axes[1, 2].set_ylim(bottom=0.0)
    _needed(axes[1, 1], grouped, found, confidence)
    letters(axes.flat)
    handles = [
        *group_keys(grouped),
        *state_keys(np.concatenate([states(rows) for _, _, rows in grouped])),
        key("the network itself", color="black", linestyle="--", linewidth=0.6),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def _by_rank(values: xr.DataArray, fits: xr.Dataset, labels: list[str], ranks: list[int]) -> np.ndarray:
    """Values of fits as (fitted, rank); of several fits of a rank the likeliest, NaN where there is none."""
    likelihood = fits["value"].sel(quality="log_likelihood").values
    rows = pd.DataFrame(
        {"of": fits["fit_of"].values, "rank": fits["rank"].values, "value": values.values, "likelihood": likelihood}
    )
    best = rows.sort_values("likelihood").drop_duplicates(["of", "rank"], keep="last")
    return best.pivot(index="of", columns="rank", values="value").reindex(index=labels, columns=ranks).to_numpy(float)


def _ranks(axes: Axes, ranks: list[int]) -> None:
    axes.set_xticks(ranks)
    axes.set_xlabel("rank of the fit")


def _needed(axes: Axes, grouped: list[Group], found: xr.Dataset, confidence: float) -> None:
    """The rank that is needed: by quality, a column of points for each group."""
    width = 0.8 / len(grouped)
    for place, quality in enumerate(NEEDED):
        for number, (_, colour, rows) in enumerate(grouped):
            needed = found["rank_needed"].sel(fitted=network_labels(rows), quality=quality).values
            shift = (number - (len(grouped) - 1) / 2) * width
            dots(axes, place + shift, needed, states(rows), colour, confidence, 2.0, 0.9 * width)
    axes.set_xticks(range(len(NEEDED)), list(NEEDED.values()))
    axes.set_ylim(0.0, float(found["largest_rank"].max()) + 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"rank needed for\n{100 * found.attrs['share']:g} % of the gain")


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return rank_figure(drawing.table("networks"), drawing.dataset("analysis/rank"), drawing.confidence)


FIGURE = base.Figure(
    title="rank",
    description="how good fits of low rank are and how well they perform the task, against their rank, the rank that "
    "is needed, and latent noise (for tasks with fits of networks, as in `config/studies/low_rank.yaml`)",
    per="task",
    reads=("tables/networks", "analysis/rank"),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
