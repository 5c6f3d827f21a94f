"""Which errors the networks of a task make, where memory holds the items, and whether alternatives make the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import i0e

from insd.cohorts import ALTERNATIVE, network_labels, of_role, reference_labels, states
from insd.figures import base
from insd.figures.theme import (
    TWO_COLUMNS,
    Group,
    band,
    dots,
    groups,
    interval_key,
    key,
    letters,
    network_points,
    new_figure,
    note,
    state_keys,
)
from insd.tasks.denoising import Denoising, items_of

COMPONENTS = {"cued": "cued", "swapped": "swap", "uniform": "guess"}
"""Of the mixture, with their labels."""
SHADE = 0.15
"""Opacity of the time at which the cue is on."""


def behaviour_figure(
    table: pd.DataFrame, found: xr.Dataset, trials: xr.Dataset, task: Denoising, confidence: float
) -> Figure:
    """Eight panels, in each of which networks are grouped by population and round.

    Distances of responses to the cued item with the fitted mixtures; the weights of these; swaps by the distance of
    features or, without features, the length of responses over that of the mean of the model; of alternatives, the
    largest difference of a weight from the reference against null-space r2; alignment of the planes of both items over
    the trial, and what these explain of memory; and which item is decoded from memory, without swaps and with.

    `table` are the rows of `networks.csv` of the task, `found` is its `behaviour.nc`, `trials` those of the regime
    `test`.
    """
    figure = new_figure(TWO_COLUMNS, 104.0)
    axes = np.asarray(figure.subplots(2, 4))
    grouped = groups(table)
    _density(axes[0, 0], grouped, found, trials, confidence)
    _weights(axes[0, 1], grouped, found, confidence)
    if found["swaps"].isnull().all():
        _lengths(axes[0, 2], grouped, found, confidence)
    else:
        _swaps(axes[0, 2], grouped, found, confidence)
    _alternatives(axes[0, 3], table, grouped, found)
    for panel in axes[1]:
        _time(panel, found, task)
    _planes(axes[1, :2], grouped, found, confidence)
    _decoded(axes[1, 2:], grouped, found, confidence)
    letters(axes.flat)
    handles = [key(name, color=colour, marker="o", markersize=3) for name, colour, _ in grouped]
    handles += [
        *state_keys(states(table)),
        key("fit, or model of responses", color="black", linestyle="--"),
        key("the other item", color="black", linestyle=":"),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def fitted_density(
    found: xr.Dataset, trials: xr.Dataset, errors: Float[np.ndarray, "error"]
) -> Float[np.ndarray, "error"]:
    """Density, in 1/rad, of the distance of responses to the cued item, by the mixture fitted to one network.

    Swaps are where the other items of the trials are.
    """
    angles, _, cued = items_of(trials)
    rows = np.arange(len(cued))
    others = np.ones(angles.shape, bool)
    others[rows, cued] = False
    apart = (angles - angles[rows, cued][:, None])[others]
    kappa = float(found["concentration"])

    def about(distances: np.ndarray) -> np.ndarray:
        return np.exp(kappa * (np.cos(distances) - 1)) / (2 * np.pi * i0e(kappa))

    weight = {name: float(found["weight"].sel(component=name)) for name in COMPONENTS}
    swapped = about(errors[:, None] - apart).mean(1) if len(apart) else np.zeros_like(errors)
    return weight["cued"] * about(errors) + weight["swapped"] * swapped + weight["uniform"] / (2 * np.pi)


def _of(found: xr.Dataset, rows: pd.DataFrame) -> xr.Dataset:
    return found.sel(network=network_labels(rows))


def _density(axes: Axes, grouped: Sequence[Group], found: xr.Dataset, trials: xr.Dataset, confidence: float) -> None:
    errors = found["error"].values
    for _, colour, rows in grouped:
        own = _of(found, rows)
        own = own.isel(network=np.isfinite(own["concentration"].values))
        band(axes, errors, own["error_density"].values, colour, confidence)
        if own.sizes["network"]:
            fitted = [fitted_density(own.isel(network=place), trials, errors) for place in range(own.sizes["network"])]
            axes.plot(errors, np.mean(fitted, axis=0), "--", color=colour, linewidth=0.7)
    axes.set_xticks([-np.pi, 0, np.pi], ["−π", "0", "π"])
    axes.set_xlabel("distance to the cued item (rad)")
    axes.set_ylabel("responses per rad")
    axes.set_ylim(bottom=0.0)


def _weights(axes: Axes, grouped: Sequence[Group], found: xr.Dataset, confidence: float) -> None:
    _dots(axes, grouped, found["weight"].sel(component=list(COMPONENTS)), "component", confidence)
    for place, name in enumerate(COMPONENTS):
        expected = found["expected_weight"].sel(component=name).mean("network")
        axes.plot([place - 0.45, place + 0.45], [expected, expected], "--", color="black", linewidth=0.7)
    axes.set_xticks(range(len(COMPONENTS)), list(COMPONENTS.values()))
    axes.set_ylabel("fitted weight")
    axes.set_ylim(-0.03, 1.03)


def _lengths(axes: Axes, grouped: Sequence[Group], found: xr.Dataset, confidence: float) -> None:
    ratio = found["length_ratio"]
    if ratio.isnull().all():
        note(axes, "neither features\nnor two items")
        axes.set_xticks([])
        axes.set_yticks([])
        return
    _dots(axes, grouped, ratio, "apart", confidence)
    axes.axhline(1.0, color="black", linestyle="--", linewidth=0.7)
    axes.set_xticks(range(ratio.sizes["apart"]), [f"{apart}°" for apart in ratio["apart"].values])
    axes.set_xlabel("distance of the two items")
    axes.set_ylabel("length of responses /\nlength of their mean")
    axes.set_ylim(bottom=0.0)


def _dots(axes: Axes, grouped: Sequence[Group], values: xr.DataArray, along: str, confidence: float) -> None:
    """Points of each group side by side, at each place along a dimension."""
    width = 0.8 / len(grouped)
    for number, (_, colour, rows) in enumerate(grouped):
        own = values.sel(network=network_labels(rows))
        for place in range(values.sizes[along]):
            at = place + (number - (len(grouped) - 1) / 2) * width
            dots(axes, at, own.isel({along: place}).values, states(rows), colour, confidence, 2.0, 0.9 * width)


def _swaps(axes: Axes, grouped: Sequence[Group], found: xr.Dataset, confidence: float) -> None:
    distances = found["distance"].values
    for _, colour, rows in grouped:
        band(axes, distances, _of(found, rows)["swaps"].values, colour, confidence, "o-")
    axes.plot(distances, found["expected_swaps"].mean("network"), "--", color="black", linewidth=0.7)
    axes.set_xticks([0, np.pi / 2, np.pi], ["0", "π/2", "π"])
    axes.set_xlabel("distance of the features (rad)")
    axes.set_ylabel("weight of swaps")
    axes.set_ylim(-0.02, 0.62)


def _time(panel: Axes, found: xr.Dataset, task: Denoising) -> None:
    """Time in the trial, with its cue and report."""
    start = found["time"].values[0]
    before = task.steps(task.stimulus) + task.steps(task.delay)
    # A time is that of the end of a step.
    cue = start + task.dt * (np.array([before, before + task.steps(task.cue)]) - 1)
    panel.axvspan(*cue, color="0.5", alpha=SHADE, linewidth=0)
    panel.axvline(start + task.dt * (task.report_begins - 1), color="0.5", linestyle=":", linewidth=0.7)
    panel.set_xlabel("time (s); grey: cue;\nline: report")


def _planes(panels: np.ndarray, grouped: Sequence[Group], found: xr.Dataset, confidence: float) -> None:
    """The alignment of both planes over the trial, and the share of memory that each explains."""
    times = found["time"].values
    for panel, label in zip(panels, ("alignment of the\nplanes of both items", "share of memory"), strict=True):
        panel.set_ylabel(label)
        panel.set_ylim(-0.02, 1.02)
    if found["item_alignment"].isnull().all():
        for panel in panels:
            note(panel, "not two items")
        return
    for _, colour, rows in grouped:
        own = _of(found, rows)
        band(panels[0], times, own["item_alignment"].values, colour, confidence)
        # One by one: networks of one recipe may differ.
        panels[0].plot(times, own["item_alignment"].values.T, color=colour, linewidth=0.4, alpha=0.6)
        for item, style in (("cued", "-"), ("other", ":")):
            band(panels[1], times, own["plane_share"].sel(item=item).values, colour, confidence, style)


def _decoded(panels: np.ndarray, grouped: Sequence[Group], found: xr.Dataset, confidence: float) -> None:
    """Which item is decoded from memory, in trials in which the cued item was reported and in those with a swap."""
    for panel, reported, label in zip(panels, ("cued", "other"), ("no swap", "swap"), strict=True):
        panel.set_ylabel(f"decoded from memory,\n{label} (mean cosine)")
        panel.set_ylim(-0.3, 1.02)
        shown = found["decoded"].sel(reported=reported)
        if shown.isnull().all():
            note(panel, "too few\nsuch trials")
            continue
        panel.axhline(0.0, color="0.7", linewidth=0.5)
        for _, colour, rows in grouped:
            own = shown.sel(network=network_labels(rows))
            for item, style in (("cued", "-"), ("other", ":")):
                band(panel, found["time"].values, own.sel(item=item).values, colour, confidence, style)


def _alternatives(axes: Axes, table: pd.DataFrame, grouped: Sequence[Group], found: xr.Dataset) -> None:
    """How far alternatives are from their references in their errors and in their activity."""
    colours = {label: colour for _, colour, rows in grouped for label in network_labels(rows)}
    rows = of_role(table, ALTERNATIVE)
    if rows.empty:
        note(axes, "no alternatives\nof this task")
        axes.set_xticks([])
        axes.set_yticks([])
        return
    known = found["weight"].reindex(network=list(dict.fromkeys([*network_labels(rows), *reference_labels(rows)])))
    own, reference = (known.sel(network=labels(rows)).values for labels in (network_labels, reference_labels))
    off, r2 = np.abs(own - reference).max(1), rows["r2_null_to_reference"].to_numpy(float)
    hues = np.array([colours[label] for label in network_labels(rows)])
    for colour in dict.fromkeys(hues):
        chosen = hues == colour
        network_points(axes, r2[chosen], off[chosen], states(rows)[chosen], colour, 3.0)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.2 * max(0.05, float(np.nanmax(off, initial=0.0))))
    axes.set_xlabel("null-space r²\nto the reference")
    axes.set_ylabel("largest difference\nof a weight from it")


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    task = drawing.task
    assert isinstance(task, Denoising)
    found, trials = drawing.dataset("analysis/behaviour"), drawing.dataset("trials/test")
    return behaviour_figure(drawing.table("networks"), found, trials, task, drawing.confidence)


FIGURE = base.Figure(
    title="errors as distributions",
    description="distances of responses to the cued item, weights of the fitted mixture, swaps by distance, how far "
    "alternatives are from their references, alignment of the planes of items in memory, and which item is decoded "
    "from it (for tasks with the analysis `behaviour`, as in `config/studies/failure.yaml`)",
    per="task",
    reads=("tables/networks", "trials/test", "analysis/behaviour"),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
