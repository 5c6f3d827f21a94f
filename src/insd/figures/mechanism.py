"""Figures 2 to 4: how a reference and its alternatives solve one task, side by side."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from insd.cohorts import left_out, network_labels, states
from insd.figures import base
from insd.figures.panels import TIGHT, in_words, matrix_label, predictivity_matrix, why_empty
from insd.figures.shown import Shown, read_shown, shown_networks
from insd.figures.state_space import activity_key, activity_row, condition_of, spectra_row
from insd.figures.theme import (
    CONDITION_HUES,
    SHUFFLED,
    TWO_COLUMNS,
    band,
    groups,
    key,
    letter,
    network_points,
    new_figure,
    note,
)
from insd.members import Member
from insd.tasks.base import Task

LINES = ("-", "--")
"""Styles of decoding from all activity and from that in the null space."""


def mechanism_figure(
    task: Task,
    trials: xr.Dataset,
    table: pd.DataFrame,
    shown: Sequence[Shown],
    rounds: Mapping[str, Member],
    points: xr.Dataset,
    predictivity: xr.Dataset,
    dynamics: xr.Dataset,
    decoding: xr.Dataset,
    confidence: float,
) -> Figure:
    """The figure of one task; a column per network that is shown, in the order of `shown`.

    a: rates of some test trials in the network's own leading three principal components, coloured by the condition of
    the trial, with fixed points (filled: stable; open: unstable), slow points (small, grey) and cycles (black lines);
    the marker tells the static input. b: eigenvalues of the Jacobians at the fixed points (small: all; large: the
    leading one of each point), and the leading ones at slow points (grey); to the right of the line, they grow. c: r2
    between all networks in full and null space. d: two-dimensional scaling of the distances of dynamical similarity;
    rings mark the networks that are shown, hollow points do not solve the task, crosses do but are not deflated. e:
    decoding from activity at the same time; lines are means over the solved networks of the group (all, if none is
    solved), bands their interval; an R2 below the axis, which has no bound, counts as its end. f: decoding across times
    of the first variable that is not a number (without one, of the first), for the network that is shown, in full and
    null space, from chance up.

    Parameters
    ----------
    trials : those of the regime `test`, on which the rates were recorded.
    table : the rows of `networks.csv` of this task.
    shown, rounds : of `shown_networks` and `read_shown`.
    points, predictivity, dynamics, decoding : `fixed_points.nc`, `predictivity.nc`, `dsa.nc` and `decoding.nc`.
    confidence : the level of confidence of intervals.
    """
    figure = new_figure(TWO_COLUMNS, 235.0)
    rows = figure.subfigures(7, 1, height_ratios=[50, 12, 36, 54, 33, 9, 37], squeeze=False)[:, 0]
    condition = condition_of(task.variables(trials), trials)
    activity_row(rows[0], shown, rounds, points, condition, task.static_inputs())
    activity_key(rows[1], condition, list(points["searched_condition"].values))
    spectra_row(rows[2], shown, points)
    _population_row(rows[3], shown, table, predictivity, dynamics)
    _decoding_row(rows[4], shown, decoding, confidence)
    _decoding_key(rows[5], decoding)
    _maps_row(rows[6], shown, decoding)
    return figure


def _population_row(
    figure: SubFigure, shown: Sequence[Shown], table: pd.DataFrame, predictivity: xr.Dataset, dynamics: xr.Dataset
) -> None:
    full, null, scaling = figure.subplots(1, 3, width_ratios=[1, 1, 1])
    grouped = groups(table)
    for axes, space in ((full, "full"), (null, "null")):
        predictivity_matrix(axes, grouped, predictivity["r2"], space)
    full.set_ylabel("predictor")
    null.set_yticklabels([])
    figure.colorbar(
        null.images[0], ax=[full, null], label=matrix_label(predictivity["r2"]), shrink=0.6, pad=0.01, aspect=15
    )
    letter(full, "c")

    for _, colour, rows in grouped:
        places = dynamics["embedding"].sel(network=network_labels(rows)).values
        network_points(scaling, places[:, 0], places[:, 1], states(rows), colour, 2.8)
    for one in shown:
        place = dynamics["embedding"].sel(network=one.label).values[:2]
        scaling.plot(*place, "o", markersize=6, color="black", markerfacecolor="none", markeredgewidth=0.6)
    if np.isfinite(dynamics["embedding"].values).any():
        scaling.set_aspect("equal", adjustable="datalim")
        if missing := left_out(dynamics):
            note(scaling, f"{len(missing)} networks left out")
    else:
        note(scaling, "no distances")
    scaling.set_xlabel("scaling 1 (rad)")
    scaling.set_ylabel("scaling 2 (rad)")
    scaling.set_title(f"DSA (stress {float(dynamics['stress']):.2f})")
    letter(scaling, "d")


def _decoding_row(figure: SubFigure, shown: Sequence[Shown], decoding: xr.Dataset, confidence: float) -> None:
    panels = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
    times = decoding["time"].values
    lowest = min(decoding["chance"].values, default=0.0) - 0.15
    for axes, one in zip(panels, shown, strict=True):
        of_group = decoding.sel(network=one.group)
        note(axes, why_empty(decoding, one.label))
        for name, colour in zip(decoding["variable"].values, CONDITION_HUES * 9, strict=False):
            of_variable = of_group.sel(variable=name)
            for scores, style in zip(("score", "score_null"), LINES, strict=True):
                # At the same time: the diagonal over times of training and test.
                same = np.diagonal(of_variable[scores].values, axis1=1, axis2=2).clip(lowest)
                band(axes, times, same, colour, confidence, style=style)
            axes.plot(times, of_variable["score_shuffled"].mean("network"), color=SHUFFLED, linewidth=0.5)
        for level in sorted(set(decoding["chance"].values)):
            axes.axhline(level, linestyle=":", color="0.3", linewidth=0.7)
        axes.set_title(f"{one.name} (n = {len(one.group)})", color=one.colour)
        axes.set_xlabel("time (s)")
    panels[0].set_ylim(lowest, 1.05)
    panels[0].set_ylabel("\n".join(["decoding:", *dict.fromkeys(map(str, decoding["score_name"].values))]))
    letter(panels[0], "e")


def _decoding_key(figure: SubFigure, decoding: xr.Dataset) -> None:
    handles = [
        key(color=colour, label=in_words(str(name)))
        for name, colour in zip(decoding["variable"].values, CONDITION_HUES * 9, strict=False)
    ]
    more = [
        key(color="0.3", linestyle=style, label=name)
        for name, style in zip(("all activity", "null space"), LINES, strict=True)
    ]
    more += [
        key(color=SHUFFLED, linewidth=0.5, label="labels shuffled"),
        key(color="0.3", linestyle=":", linewidth=0.7, label="chance"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), **TIGHT)
    figure.legend(handles=more, loc="lower center", ncols=len(more), **(TIGHT | {"handlelength": 2}))


def _maps_row(figure: SubFigure, shown: Sequence[Shown], decoding: xr.Dataset) -> None:
    if not decoding.sizes["variable"]:
        figure.text(0.5, 0.5, "the task has no variables to decode", ha="center")
        return
    panels = figure.subplots(1, 2 * len(shown), squeeze=False, sharex=True, sharey=True)[0]
    letter(panels[0], "f")
    discrete = [str(name) for name in decoding["variable"].values[decoding["kind"].values != "value"]]
    name = (discrete or [str(name) for name in decoding["variable"].values])[0]
    of_variable = decoding.sel(variable=name)
    times, chance = decoding["time"].values, float(of_variable["chance"])
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    extent = (times[0] - half, times[-1] + half, times[0] - half, times[-1] + half)
    for number, axes in enumerate(panels):
        one, scores, space = shown[number // 2], ("score", "score_null")[number % 2], ("full", "null")[number % 2]
        image = of_variable[scores].sel(network=one.label).transpose("time", "time_to").values
        axes.imshow(image, vmin=chance, vmax=1, cmap="magma", origin="lower", extent=extent, interpolation="nearest")
        note(axes, "left out" if one.label in left_out(decoding) else "")
        axes.set_title(f"{one.name}, {space}", color=one.colour)
        axes.set_xlabel("test at (s)")
    panels[0].set_ylabel("trained at (s)")
    # As high as a panel.
    text = textwrap.fill(f"{in_words(name)}: {of_variable['score_name'].values!s}", 18)
    bar = figure.colorbar(panels[0].images[0], ax=list(panels), pad=0.01, shrink=0.9, aspect=15, extend="min")
    bar.set_label(text, labelpad=1)
    bar.ax.yaxis.set_major_locator(MaxNLocator(2))


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    table = drawing.table("networks")
    shown = shown_networks(table, drawing.chain)
    return mechanism_figure(
        drawing.task,
        drawing.dataset("trials/test"),
        table,
        shown,
        read_shown(shown, drawing.paths("shown/network"), drawing.paths("shown/activity"), drawing.blocks["shown"]),
        drawing.dataset("analysis/fixed_points"),
        drawing.dataset("analysis/predictivity"),
        drawing.dataset("analysis/dsa"),
        drawing.dataset("analysis/decoding"),
        drawing.confidence,
    )


FIGURE = base.Figure(
    title="mechanism (figures 2 to 4)",
    description="reference, alt-1 and alt-2 of one chain side by side: activity with fixed points and cycles, "
    "eigenvalues, predictivity and dynamical similarity of all networks, decoding over and across times",
    per="task",
    reads=(
        "tables/networks",
        "trials/test",
        "shown/network",
        "shown/activity",
        "analysis/fixed_points",
        "analysis/predictivity",
        "analysis/dsa",
        "analysis/decoding",
    ),
    uses=("chain", "confidence"),
    draw=draw,
)
"""What the workflow knows of this figure."""
