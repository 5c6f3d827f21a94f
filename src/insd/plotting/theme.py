"""One look for all figures: sizes in mm, small sans text, greys for standards by gain, one hue per round."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ONE_COLUMN, TWO_COLUMNS = 88.0, 180.0
"""Widths in mm."""
ROUND_HUES = sns.color_palette("colorblind").as_hex()
"""Colour-blind-safe hues: round k takes the k-th, the reference the first."""
UNTRAINED = sns.color_palette("colorblind").as_hex()[4]
SHUFFLED = "#c44e52"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 0.9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # The same figure gives the same file.
    "svg.hashsalt": "insd",
}


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of a size in mm, in the theme."""
    plt.rcParams.update(STYLE)
    return plt.figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def letter(axes: Axes, text: str) -> None:
    """Letter a panel, left of its top corner."""
    axes.set_title(text, loc="left", fontweight="bold", fontsize=9)


def save(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Write a figure in the formats that the names end in, without dates, and close it."""
    for path in paths:
        date = "CreationDate" if str(path).endswith(".pdf") else "Date"
        figure.savefig(path, metadata={date: None})
    plt.close(figure)


def round_name(round_number: int) -> str:
    """What figures call a round of a deflated population."""
    return "reference" if round_number == 0 else f"alt-{round_number}"


def is_standard(rows: pd.DataFrame) -> bool:
    """Whether a group of networks was trained, and on the task alone."""
    return bool((rows["round"] == 0).all() and (rows["iterations"] > 0).all())


def groups(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """The networks of a table as figures group them: (name, colour, rows) by population, deflated ones by round.

    The name of a deflated population is left out where there is only one. Standards are greys, darker for larger
    gains; untrained populations are pink.
    """
    chains = set(table.loc[table["round"] > 0, "population"])
    gains = sorted(set(table.loc[~table["population"].isin(chains), "gain"]))
    greys = np.linspace(0.75, 0.15, max(len(gains), 2))
    found = []
    for population in dict.fromkeys(table["population"]):
        rows = table[table["population"] == population]
        if population in chains:
            prefix = f"{population} " if len(chains) > 1 else ""
            for number, part in rows.groupby("round"):
                colour = ROUND_HUES[int(str(number)) % len(ROUND_HUES)]
                found.append((prefix + round_name(int(str(number))), colour, part))
        elif (rows["iterations"] == 0).all():
            found.append((population, UNTRAINED, rows))
        else:
            found.append((population, str(greys[gains.index(rows["gain"].iloc[0])]), rows))
    return found
