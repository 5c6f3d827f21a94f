"""Supplement: all networks in numbers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from insd.cohorts import ALTERNATIVE, states
from insd.figures import base
from insd.figures.theme import TWO_COLUMNS, dots, gap, groups, letters, log_axis, new_figure, note, short_names

QUANTITIES = {
    "score": ("score", "linear"),
    "test_loss": ("test loss", "log"),
    "participation_ratio": ("dimensions\n(null space)", "linear"),
    "mean_squared_rate": ("mean\nsquared rate", "linear"),
    "dominant_frequency": ("dominant\nfrequency (Hz)", "linear"),
    "n_stable_fixed_points": ("stable\nfixed points", "count"),
    "n_cycles": ("cycles", "count"),
    "r2_null_to_reference": ("null-space r²\nto reference", "log"),
    "dsa_to_reference": ("DSA distance\nto ref. (rad)", "linear"),
}
"""Columns of `networks.csv` that are drawn, with a label and what kind of axis they have."""
COUNTS = (10, 100, 1000)
"""Ticks of axes of counts, besides 0, 1 and the largest count."""


def networks_figure(table: pd.DataFrame, score_names: Mapping[str, str], confidence: float) -> Figure:
    """One column per task and one row per quantity: every network a point, hollow if it does not solve the task, a
    cross if it does but is not deflated.

    Black: mean over networks with its interval.

    Parameters
    ----------
    table : `networks.csv`, whose columns `network_table` (insd.tables.networks) explains.
    score_names : name and unit of the score of each task.
    confidence : the level of confidence of intervals.
    """
    tasks = list(dict.fromkeys(table["task"]))
    figure = new_figure(TWO_COLUMNS, 22.0 + 19.5 * len(QUANTITIES))
    axes = figure.subplots(len(QUANTITIES), len(tasks), squeeze=False, sharex="col")
    for column, task in enumerate(tasks):
        grouped = groups(table[table["task"] == task])
        for row, (name, (_, scale)) in enumerate(QUANTITIES.items()):
            _quantity(axes[row, column], grouped, name, scale, confidence)
        axes[-1, column].set_xticks(
            range(len(grouped)), short_names(grouped), rotation=45, ha="right", rotation_mode="anchor"
        )
        axes[0, column].set_title(f"{task.replace('_', ' ')}\nscore: {score_names[task]}")
    for row, (text, _) in enumerate(QUANTITIES.values()):
        axes[row, 0].set_ylabel(text)
    figure.align_ylabels(axes[:, 0])
    letters(axes[:, 0])
    return figure


def _quantity(
    axes: Axes, grouped: list[tuple[str, str, pd.DataFrame]], name: str, scale: str, confidence: float
) -> None:
    found, of_pairs = False, name.endswith("_to_reference")
    for position, (_, colour, rows) in enumerate(grouped):
        values = rows[name].to_numpy(float)
        found = found or bool(np.isfinite(values).any())
        dots(axes, position, values, states(rows), colour, confidence, size=1.8)
        expected = not of_pairs or rows["role"].iloc[0] == ALTERNATIVE
        if expected and not np.isfinite(values).any():
            gap(axes, position, "no value")
    axes.set_xlim(-0.6, len(grouped) - 0.4)
    if not found:
        if of_pairs and not any(rows["role"].iloc[0] == ALTERNATIVE for _, _, rows in grouped):
            note(axes, "no deflated population")
        axes.set_yticks([])
    elif scale == "log":
        log_axis(axes)
    elif scale == "count":
        most = max(float(np.nanmax(np.concatenate([rows[name] for _, _, rows in grouped]))), 1.0)
        axes.set_yscale("symlog", linthresh=1.0)
        # Nearer to the largest, labels would overlap.
        axes.set_yticks(sorted({0.0, 1.0, most, *(tick for tick in COUNTS if 3 * tick <= most)}))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylim(-0.3, most * 1.4)


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    score_names = {name: task.score_name for name, task in drawing.tasks.items()}
    return networks_figure(drawing.table("networks"), score_names, drawing.confidence)


FIGURE = base.Figure(
    title="all networks",
    description="all networks in numbers: score, loss, dimensions, frequency, stable fixed points, cycles, "
    "distance to the reference",
    per="grid",
    reads=("tables/networks",),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
