"""Figure 1: standard networks predict each other's activity; what measures of similarity make of added dimensions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from insd.cohorts import network_label, network_labels, round_name, states
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
    state_keys,
)
from insd.measures.responses import NEW_TO_REFERENCE, REFERENCE_TO_NEW

MEASURE_HUES = ("#332288", "#44aa99", "#999933", "#ddcc77", "#882255", "#88ccee", "#cc6677", "#117733")
"""Colours of the measures of similarity in turn, after linear predictivity, which is black."""
MEASURE_MARKERS = ("s", "^", "v", "D", "P", "X", "<")
"""Markers of the same; their number does not divide evenly by that of the colours, so more combinations differ."""
INPUTS_HUE = "#117733"
"""Colour of what the inputs alone predict."""
CHANGES = ("added dimensions", "scale")
"""The changes of a copy, as `responses.nc` names them."""
LABELS = {
    "added dimensions": ("variance of 20 added units / own", "similarity to a copy\nwith added dimensions", 1.0),
    "scale": ("factor", "similarity to a\nscaled copy", 0.5),
}
"""Of each change, the labels of both axes and the height of its row."""
RESPONSE = 0.01
"""A measure that varies by less than this does not respond."""
LEAST_UNPREDICTED = 1e-4
"""Less than this is drawn as this: stored rates are rounded."""
MEASURES_PER_ROW = 6
"""Measures in a row of the legend."""


@dataclass(frozen=True)
class Group:
    """One position on the axis of networks: of each network, its mean over some targets."""

    name: str
    colour: str
    r2: np.ndarray
    shuffled: np.ndarray
    inputs: np.ndarray
    states: np.ndarray


def collapse_figure(
    table: pd.DataFrame,
    predictivity: Mapping[str, xr.Dataset],
    responses: Mapping[str, xr.Dataset],
    inputs: Mapping[str, xr.Dataset],
    confidence: float,
) -> Figure:
    """A column per task: predictivity in full (first row) and null space (second), and responses of measures below.

    First two rows: each point is a network, hollow if it does not solve the task, a cross if it does but is not
    deflated, at 1 - r2, the share that it does not predict, of the other networks of its group, in the mean; for
    standards also of those of other gains, and for alternatives of the earlier networks of their own chain. Black: mean
    over networks with its interval. Dash-dotted: the same with the targets' trials shuffled. Dashed: mean of the
    untrained networks. Dotted: what the inputs alone, filtered, leave unpredicted of the targets.

    Third row: a network against a copy of it that has further units of noise; every measure is drawn so that equal
    activity has 1. Fourth row, where any measure responds to it: against a copy that is multiplied by a factor.

    Parameters
    ----------
    table : `networks.csv`.
    predictivity, responses, inputs : by task, `predictivity.nc`, `responses.nc` and `inputs.nc`.
    confidence : the level of confidence of intervals.
    """
    tasks = list(predictivity)
    changes = [change for change in CHANGES if change == CHANGES[0] or _any_responds(responses.values(), change)]
    heights = [1.2, 1.2, *(height for _, _, height in (LABELS[change] for change in changes))]
    figure = new_figure(TWO_COLUMNS, 50.0 * sum(heights))
    axes = np.asarray(
        figure.subplots(len(heights), len(tasks), squeeze=False, sharey="row", gridspec_kw={"height_ratios": heights})
    )
    for column, task in enumerate(tasks):
        rows = table[table["task"] == task]
        for row, space in enumerate(("full", "null")):
            alone = inputs[task]["r2_inputs"].sel(space=space)
            _networks(axes[row, column], of_networks(rows, predictivity[task].sel(space=space), alone), confidence)
        axes[0, column].set_title(task.replace("_", " "))
        axes[0, column].set_xticklabels([])
        for panel, change in zip(axes[2:, column], changes, strict=True):
            _responses(panel, responses[task].sel(change=change))
            panel.set_xlabel(LABELS[change][0])
    for row, space in enumerate(("full", "null")):
        unpredicted_axis(axes[row])
        axes[row, 0].set_ylabel(f"1 − r², {space} space")
    for panel, change in zip(axes[2:, 0], changes, strict=True):
        panel.set_ylabel(LABELS[change][1])
    letters(axes.flat)
    _legends(figure, axes[2, 0], states(table), confidence)
    return figure


def _legends(figure: Figure, responses: Axes, drawn: Iterable[str], confidence: float) -> None:
    of_networks = [
        *state_keys(drawn),
        interval_key(confidence),
        key(color=SHUFFLED, linestyle="-.", linewidth=1, label="trials shuffled"),
        key(color=UNTRAINED_HUE, linestyle="--", linewidth=0.6, label="untrained"),
        key(color=INPUTS_HUE, linestyle=":", linewidth=1, label="inputs alone"),
    ]
    measures = responses.get_legend_handles_labels()[0]
    # Rows of equal length.
    rows = -(-len(measures) // MEASURES_PER_ROW)
    ncols = -(-len(measures) // rows) if rows else 1
    tight = {"columnspacing": 1.2, "handlelength": 2.2, "handletextpad": 0.4}
    figure.legend(handles=of_networks, loc="outside upper center", ncols=len(of_networks), **tight)
    figure.legend(handles=measures, loc="outside lower center", ncols=ncols, **tight)


def unpredicted_axis(row: np.ndarray) -> None:
    """A logarithmic axis of 1 - r2, downwards, that ends at what is predicted best in a row of panels."""
    shown = np.concatenate([line.get_ydata() for axes in row for line in axes.lines] or [np.ones(1)])
    shown = shown[np.isfinite(shown)]
    least = max(float(shown.min(initial=1.0)), LEAST_UNPREDICTED)
    for axes in row:
        axes.set_yscale("log")
        axes.set_ylim(1.25, 0.7 * least)
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def of_networks(table: pd.DataFrame, predictivity: xr.Dataset, inputs: xr.DataArray) -> list[Group]:
    """The mean r2 of each network of a task towards the targets of its group, in one space.

    `inputs` is what the inputs alone predict of each network.
    """
    # What the inputs predict of targets, so that it can be taken as their mean like the other two.
    alone = inputs.rename(network="target").reindex(target=predictivity["target"])
    predictivity = predictivity.assign(r2_inputs=alone.broadcast_like(predictivity["r2"]))
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
    r2, shuffled, inputs = (
        np.array([float(one[variable]) for one in means]) for variable in ("r2", "r2_shuffled", "r2_inputs")
    )
    return Group(name, colour, r2, shuffled, inputs, states(rows)[known])


def _networks(axes: Axes, found: list[Group], confidence: float) -> None:
    for position, group in enumerate(found):
        left = np.maximum(1 - group.r2, LEAST_UNPREDICTED)
        dots(axes, position, left, group.states, group.colour, confidence, size=1.8)
        r2, shuffled, inputs = (values[np.isfinite(values)] for values in (group.r2, group.shuffled, group.inputs))
        if group.colour == UNTRAINED_HUE and len(r2):
            axes.axhline(np.mean(1 - r2), linestyle="--", color=UNTRAINED_HUE, linewidth=0.6, zorder=0)
        ends = [position - 0.38, position + 0.38]
        for values, style, colour in ((shuffled, "-.", SHUFFLED), (inputs, ":", INPUTS_HUE)):
            if len(values):
                axes.plot(ends, [np.mean(1 - values)] * 2, style, color=colour, linewidth=1)
        if len(group.r2) and not len(r2):
            gap(axes, position, "left out")
    axes.set_xticks(range(len(found)), [group.name for group in found], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(found) - 0.4)


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


def _any_responds(responses: Iterable[xr.Dataset], change: str) -> bool:
    """Whether any measure is not the same over all amounts of a change."""
    values = [np.asarray(one["value"].sel(change=change)) for one in responses]
    return any(float(np.nan_to_num(np.nanmax(row) - np.nanmin(row))) > RESPONSE for of in values for row in of)


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
        drawing.datasets("analysis/inputs"),
        drawing.confidence,
    )


FIGURE = base.Figure(
    title="collapse (figure 1)",
    description="predictivity among standard networks of each gain in full and null space, with the levels of "
    "untrained networks, of shuffled trials and of the inputs alone, and of alternatives to earlier rounds; how every "
    "measure of similarity "
    "responds to added dimensions and to scale",
    per="grid",
    reads=("tables/networks", "analysis/predictivity", "analysis/responses", "analysis/inputs"),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
