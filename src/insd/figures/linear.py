"""Linear networks next to others: noise, what the course of activity tells, and how far deflation can go."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import ALTERNATIVE, network_label, network_labels, of_role, reference_labels, states
from insd.datasets import architecture_of, read
from insd.dynamics.krylov import history_gram, least_predictivity
from insd.figures import base
from insd.figures.panels import OTHER_CLASS, against_noise, dots_of_groups, group_keys, of_class, slanted
from insd.figures.theme import (
    TWO_COLUMNS,
    Group,
    band,
    interval_key,
    key,
    letters,
    network_points,
    new_figure,
    note,
    state_keys,
)
from insd.measures.base import TIME_STRIDE

LINEAR = "linear"
"""The architecture."""
DECODERS = {"signature": "-", "state": ":"}
"""Decoders with their styles."""


def linear_figure(
    table: pd.DataFrame,
    robustness: xr.Dataset,
    performance: xr.Dataset,
    decoded: xr.Dataset,
    bounds: Mapping[str, float],
    score_name: str,
    confidence: float,
) -> Figure:
    """Four panels.

    Score against the private noise with which networks run; what noise in the inputs costs of it; decoding at the end
    of the trial, of linear networks and of others, by the signature of the course of activity and by its state;
    null-space r2 of alternatives to their reference against its bound.

    Parameters
    ----------
    table : the rows of `networks.csv` of the task.
    robustness, performance, decoded : its `robustness.nc`, `performance.nc` and `signature_decoding.nc`.
    bounds : by label of a linear reference, the least r2 to it (`insd.dynamics.krylov.least_predictivity`).
    score_name : name and unit of its score.
    """
    figure = new_figure(TWO_COLUMNS, 70.0)
    axes = np.asarray(figure.subplots(1, 4))
    grouped = of_class(table, LINEAR)
    against_noise(axes[0], grouped, robustness["noise_score"], confidence)
    axes[0].set_ylabel(score_name)
    scores = performance["score"]
    if "noisy" in scores["regime"]:
        lost = scores.sel(regime="test") - scores.sel(regime="noisy")
        dots_of_groups(axes[1], grouped, lambda rows: lost.sel(network=network_labels(rows)).values, confidence)
        axes[1].axhline(0.0, color="0.6", linestyle="--", linewidth=0.6)
    else:
        note(axes[1], "no regime\n“noisy”")
    axes[1].set_ylabel(f"{score_name} that\nnoise in the inputs costs")
    _decoding(axes[2], table, decoded, confidence)
    _bounds(axes[3], table, grouped, bounds)
    letters(axes)
    handles = [
        *group_keys(grouped),
        *state_keys(states(table)),
        key("c: linear networks", color="black"),
        key("c: other networks", color=OTHER_CLASS),
        *(key(f"c: {name}", color="0.4", linestyle=style) for name, style in DECODERS.items()),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, handletextpad=0.4, columnspacing=1.2)
    return figure


def _decoding(axes: Axes, table: pd.DataFrame, decoded: xr.Dataset, confidence: float) -> None:
    """Scores at the end of the trial, by variable."""
    variables = decoded["variable"].values.tolist()
    axes.set_ylabel("decoding at the end of the trial\n(R² or balanced accuracy)")
    axes.set_ylim(-0.05, 1.05)
    if not variables:
        note(axes, "no variables")
        return
    for linear, colour in ((True, "black"), (False, OTHER_CLASS)):
        own = decoded["score"].sel(network=network_labels(table[(table["architecture"] == LINEAR) == linear]))
        for decoder, style in DECODERS.items():
            values = own.sel(decoder=decoder).isel(time=-1).values
            band(axes, range(len(variables)), values, colour, confidence, f"o{style}")
    slanted(axes, variables)


def _bounds(axes: Axes, table: pd.DataFrame, grouped: list[Group], bounds: Mapping[str, float]) -> None:
    """Alternatives of linear references; where both are the same, dashed."""
    axes.set_xlabel("least r² of the\nreference's function")
    axes.set_ylabel("null-space r² to the reference")
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    if of_role(table, ALTERNATIVE).empty:
        note(axes, "no alternatives\nof this task")
        return
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=0.6)
    for _, colour, rows in grouped:
        if (rows["role"] == ALTERNATIVE).all():
            least = np.array([bounds.get(label, np.nan) for label in reference_labels(rows)])
            r2 = rows["r2_null_to_reference"].to_numpy(float)
            network_points(axes, least, r2, states(rows), colour, 3.0)


def bounds_of(drawing: base.Drawing) -> dict[str, float]:
    """The least r2 to each linear reference among the networks that are shown, by its label."""
    wanted = set(reference_labels(of_role(drawing.table("networks"), ALTERNATIVE)))
    if not wanted:
        return {}
    trials = drawing.dataset("trials/test")
    gram, steps = history_gram(trials, TIME_STRIDE), trials.sizes["time"]
    found = {}
    for path, (population, _, number, _, _) in zip(
        drawing.paths("shown/network"), drawing.blocks["shown"], strict=True
    ):
        networks = read(path, "network")
        if architecture_of(networks) != LINEAR:
            continue
        for place, seed in enumerate(networks["seed"].values.tolist()):
            label = network_label(population, seed, number)
            if label in wanted:
                found[label] = least_predictivity(networks.isel(seed=place), gram, steps)
    return found


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    robustness, performance, decoded = (
        drawing.dataset(f"analysis/{name}") for name in ("robustness", "performance", "signature_decoding")
    )
    table, score_name = drawing.table("networks"), drawing.task.score_name
    return linear_figure(table, robustness, performance, decoded, bounds_of(drawing), score_name, drawing.confidence)


FIGURE = base.Figure(
    title="linear networks",
    description="score against private noise, what noise in the inputs costs of it, decoding by the signature of the "
    "course of activity and by its state, and r² of alternatives against its bound in closed form (for tasks with "
    "linear networks and the analysis `signature_decoding`, as in `config/studies/classes.yaml`)",
    per="task",
    reads=(
        "tables/networks",
        "trials/test",
        "shown/network",
        "analysis/robustness",
        "analysis/performance",
        "analysis/signature_decoding",
    ),
    uses=("confidence",),
    architectures=("linear",),
    draw=draw,
)
"""What the workflow knows of this figure."""
