"""Figure 1: standard networks predict each other's activity; what measures of similarity make of added dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import network_label, network_labels, round_name
from insd.figures import base
from insd.figures.theme import (
    SHUFFLED,
    STANDARDS,
    TWO_COLUMNS,
    UNTRAINED_HUE,
    dots,
    gap,
    groups,
    interval_key,
    is_standard,
    key,
    letters,
    new_figure,
    note,
    short_names,
)
from insd.measures.responses import NEW_TO_REFERENCE, REFERENCE_TO_NEW

MEASURE_HUES = ("#332288", "#44aa99", "#999933", "#ddcc77", "#882255", "#88ccee", "#cc6677", "#117733")
"""Colours of the measures of similarity in turn, after linear predictivity, which is black."""
MEASURE_MARKERS = ("s", "^", "v", "D", "P", "X", "<")
"""Markers of the same; their number does not divide evenly by that of the colours, so more combinations differ."""
MEASURES_PER_ROW = 6
"""Measures in a row of the legend."""


@dataclass(frozen=True)
class Group:
    """One position on the axis of networks: of each network, its mean over some targets."""

    name: str
    colour: str
    r2: np.ndarray
    shuffled: np.ndarray
    solved: np.ndarray


def collapse_figure(
    table: pd.DataFrame,
    predictivity: Mapping[str, xr.Dataset],
    responses: Mapping[str, xr.Dataset],
    confidence: float,
) -> Figure:
    """A column per task: predictivity in full (first row) and null space (second), and responses of measures below.

    First two rows: each point is a network, hollow if it does not solve the task, at the mean r2 from it to the other
    networks of its group; for standards also to those of other gains, and for alternatives to the earlier networks of
    their own chain. Black: mean over networks with its interval. Dash-dotted: the same with the targets' trials
    shuffled. Dashed: mean of the untrained networks.

    Third and fourth row: a network against a copy of it that has further units of noise, and against a copy that is
    multiplied by a factor; every measure is drawn so that equal activity has 1.

    Parameters
    ----------
    table : `networks.csv`.
    predictivity, responses : by task, `predictivity.nc` and `responses.nc`.
    confidence : the level of confidence of intervals.
    """
    tasks = list(predictivity)
    figure = new_figure(TWO_COLUMNS, 200.0)
    axes = np.asarray(
        figure.subplots(4, len(tasks), squeeze=False, sharey="row", gridspec_kw={"height_ratios": [1.2, 1.2, 1, 0.5]})
    )
    for column, task in enumerate(tasks):
        rows = table[table["task"] == task]
        for row, space in enumerate(("full", "null")):
            _networks(axes[row, column], of_networks(rows, predictivity[task].sel(space=space)), confidence)
        axes[0, column].set_title(task.replace("_", " "))
        axes[0, column].set_xticklabels([])
        for row, change in ((2, "added dimensions"), (3, "scale")):
            _responses(axes[row, column], responses[task].sel(change=change))
        axes[2, column].set_xlabel("variance of 20 added units / own")
        axes[3, column].set_xlabel("factor")
    axes[0, 0].set_ylabel("r², full space")
    axes[1, 0].set_ylabel("r², null space")
    axes[2, 0].set_ylabel("similarity to a copy\nwith added dimensions")
    axes[3, 0].set_ylabel("similarity to a\nscaled copy")
    letters(axes.flat)
    _legends(figure, axes[2, 0], confidence)
    return figure


def _legends(figure: Figure, responses: Axes, confidence: float) -> None:
    circle: dict[str, Any] = {
        "marker": "o",
        "linestyle": "none",
        "color": "black",
        "markersize": 3,
        "markeredgewidth": 0.5,
    }
    of_networks = [
        key(label="a network", **circle),
        key(label="not solved", markerfacecolor="none", **circle),
        interval_key(confidence),
        key(color=SHUFFLED, linestyle="-.", linewidth=1, label="trials shuffled"),
        key(color=UNTRAINED_HUE, linestyle="--", linewidth=0.6, label="untrained"),
    ]
    measures = responses.get_legend_handles_labels()[0]
    # Rows of equal length.
    rows = -(-len(measures) // MEASURES_PER_ROW)
    ncols = -(-len(measures) // rows) if rows else 1
    tight: dict[str, Any] = {"columnspacing": 1.2, "handlelength": 2.2, "handletextpad": 0.4}
    figure.legend(handles=of_networks, loc="outside upper center", ncols=len(of_networks), **tight)
    figure.legend(handles=measures, loc="outside lower center", ncols=ncols, **tight)


def of_networks(table: pd.DataFrame, predictivity: xr.Dataset) -> list[Group]:
    """The mean r2 of each network of a task towards the targets of its group, in one space."""
    grouped = groups(table)
    found = []
    labels = set(predictivity["target"].values.tolist())
    standards = [rows for _, _, rows in grouped if is_standard(rows)]
    for name, (_, colour, rows) in zip(short_names(grouped), grouped, strict=True):
        own = network_labels(rows)
        if rows["round"].iloc[0] == 0:
            targets = {label: [other for other in own if other != label] for label in own}
            found.append(_group(name, colour, rows, targets, predictivity))
            if len(standards) > 1 and rows is standards[-1]:
                found.append(_across(standards, predictivity))
            continue
        # A recording is in no matrix of pairs.
        known = set(network_labels(rows.assign(population=rows["reference"], round=0))) <= labels
        for earlier in range(0 if known else 1, int(rows["round"].iloc[0])):
            targets = {
                label: [network_label(row["reference"] if earlier == 0 else row["population"], row["seed"], earlier)]
                for label, row in zip(own, rows.to_dict("records"), strict=True)
            }
            target_name = "ref." if earlier == 0 else round_name(earlier)
            found.append(_group(f"{name} → {target_name}", colour, rows, targets, predictivity))
    return found


def _across(standards: list[pd.DataFrame], predictivity: xr.Dataset) -> Group:
    """Each standard network towards those of all other populations."""
    of_population = {label: rows["population"].iloc[0] for rows in standards for label in network_labels(rows)}
    targets = {
        label: [other for other, of_other in of_population.items() if of_other != population]
        for label, population in of_population.items()
    }
    return _group("across g", STANDARDS, pd.concat(standards), targets, predictivity)


def _group(
    name: str, colour: str, rows: pd.DataFrame, targets: Mapping[str, list[str]], predictivity: xr.Dataset
) -> Group:
    # A group of one network has nothing to predict.
    known = np.array([len(others) > 0 for others in targets.values()], bool)
    means = [
        predictivity.sel(predictor=label, target=others).mean("target") for label, others in targets.items() if others
    ]
    r2, shuffled = (np.array([float(one[variable]) for one in means]) for variable in ("r2", "r2_shuffled"))
    return Group(name, colour, r2, shuffled, rows["solved"].to_numpy(bool)[known])


def _networks(axes: Axes, found: list[Group], confidence: float) -> None:
    for position, group in enumerate(found):
        dots(axes, position, group.r2, group.solved, group.colour, confidence, size=1.8)
        r2, shuffled = (values[np.isfinite(values)] for values in (group.r2, group.shuffled))
        if group.colour == UNTRAINED_HUE and len(r2):
            axes.axhline(r2.mean(), linestyle="--", color=UNTRAINED_HUE, linewidth=0.6, zorder=0)
        if len(shuffled):
            ends = [position - 0.38, position + 0.38]
            axes.plot(ends, [shuffled.mean()] * 2, "-.", color=SHUFFLED, linewidth=1)
        if len(group.r2) and not len(r2):
            gap(axes, position, "left out")
    axes.set_xticks(range(len(found)), [group.name for group in found], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(found) - 0.4)
    axes.set_ylim(-0.03, 1.05)


def _responses(axes: Axes, responses: xr.Dataset) -> None:
    known = np.isfinite(responses["amount"].values)
    amounts = responses["amount"].values[known]
    if not len(amounts):
        note(axes, "not measured")
        return
    # The axis is logarithmic, and 0 has a place of its own, at its left.
    positions = np.arange(len(amounts))
    measures = [
        str(name).removesuffix(NEW_TO_REFERENCE).removesuffix(REFERENCE_TO_NEW) for name in responses["measure"].values
    ]
    order = list(dict.fromkeys(measures))
    for row, measure in enumerate(measures):
        one = responses.isel(measure=row)
        number = order.index(measure) - 1
        first = number < 0
        axes.plot(
            positions,
            _as_similarity(one, one["value"].values[known]),
            "--" if str(one["measure"].item()).endswith(REFERENCE_TO_NEW) else "-",
            color="black" if first else MEASURE_HUES[number % len(MEASURE_HUES)],
            marker="o" if first else MEASURE_MARKERS[number % len(MEASURE_MARKERS)],
            markersize=2.5,
            # Below the others, which lie on it where they do not change either.
            linewidth=2.2 if row == 0 else 0.8,
            label=_similarity_name(one),
        )
    axes.set_xticks(positions, [f"{amount:g}" for amount in amounts])
    axes.set_ylim(-0.03, 1.05)


def _as_similarity(measure: xr.Dataset, values: np.ndarray) -> np.ndarray:
    """Values of a measure such that equal activity has 1."""
    if measure["kind"].item() == "similarity":
        return values
    highest = float(measure["highest"])
    return 1 - values / highest if np.isfinite(highest) else 1 / (1 + values)


def _similarity_name(measure: xr.Dataset) -> str:
    name = str(measure["long_name"].item())
    if measure["kind"].item() == "similarity":
        return name
    return f"1 − d/max ({name})" if np.isfinite(float(measure["highest"])) else f"1/(1 + d) ({name})"


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return collapse_figure(
        drawing.table("networks"),
        drawing.datasets("analysis/predictivity"),
        drawing.datasets("analysis/responses"),
        drawing.confidence,
    )


FIGURE = base.Figure(
    title="collapse (figure 1)",
    description="predictivity among standard networks of each gain in full and null space, with the level of untrained "
    "networks and that of shuffled trials, and of alternatives to earlier rounds; how every measure of similarity "
    "responds to added dimensions and to scale",
    per="grid",
    reads=("tables/networks", "analysis/predictivity", "analysis/responses"),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
