"""One look for all figures: sizes in mm, small sans text, greys for standards by gain, one hue per round."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from PIL import Image

from insd.files import written_whole
from insd.members import round_name
from insd.tables.comparisons import expanded_tail

ONE_COLUMN, TWO_COLUMNS = 88.0, 180.0
"""Widths in mm."""
_PALETTE = sns.color_palette("colorblind").as_hex()
ROUND_HUES = [_PALETTE[number] for number in (0, 1, 2, 3, 9, 5, 8)]
"""Colour-blind-safe hues: round k takes the k-th, the reference the first; after the last, they begin again.

Grey is left to standards and pink to untrained networks."""
UNTRAINED = _PALETTE[4]
"""Colour of untrained networks."""
SHUFFLED = "#c44e52"
"""Colour of the trial-shuffled baseline."""
CONDITION_HUES = ("#332288", "#88ccee", "#882255", "#cc6677", "#117733", "#44aa99", "#999933", "#ddcc77")
"""Colours of the conditions of trials, dark and light in turn (of the colour-blind-safe scheme "muted" by Paul Tol)."""
ANGLES: Colormap = LinearSegmentedColormap.from_list("angles", ["#332288", "#44aa99", "#ddcc77", "#cc6677", "#332288"])
"""A cyclic map of the same hues, no part of which vanishes on white."""
STANDARDS = "0.35"
"""The grey of standards of all gains together."""
CONFIDENCE = 0.95
"""Of every interval that figures show."""
RESAMPLES = 2000
"""Resamples of the bootstrap behind intervals."""
PIXELS_PER_INCH = 160
"""Of figures as PNG, the size at which they are shown in the documentation."""
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
"""Settings of matplotlib for all figures."""


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of a size in mm, in the theme."""
    plt.rcParams.update(STYLE)
    return plt.figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout="constrained")


def letter(axes: Axes, text: str) -> None:
    """Letter a panel, left of its top corner."""
    axes.set_title(text, loc="left", fontweight="bold", fontsize=9)


def save(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Write a figure in the formats that the names end in (svg, pdf or png), each file whole and without dates, and
    close it.

    A PNG has at most 256 colours, which makes it a third as large. They are spread over all colours of the figure: the
    usual median cut gives rare ones, such as the lines of a legend, to others that are near.
    """
    for path in map(Path, paths):
        with written_whole(path) as beside:
            if path.suffix == ".png":
                figure.savefig(beside, format="png", dpi=PIXELS_PER_INCH)
                image = Image.open(beside).convert("RGB")
                few_colours = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
                few_colours.save(beside, format="png", optimize=True)
            else:
                date = "CreationDate" if path.suffix == ".pdf" else "Date"
                figure.savefig(beside, format=path.suffix.removeprefix("."), metadata={date: None})
    plt.close(figure)


def interval(
    values: Float[np.ndarray, "network *condition"],
) -> tuple[Float[np.ndarray, "*condition"], Float[np.ndarray, "*condition"]]:
    """Bootstrap interval of the mean over networks in each condition, of the confidence that figures show.

    Between quantiles of resampled means, widened for few networks as in `insd.tables.comparisons`: of two networks it
    is their range, and it never leaves the range of the values. Not a number for fewer than two networks.
    """
    count = len(values)
    if count < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    chosen = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    times_chosen = np.stack([(chosen == network).sum(1) for network in range(count)], axis=1)
    means = np.tensordot(times_chosen / count, values, axes=1)
    tail = expanded_tail(count, CONFIDENCE)
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def dots(
    axes: Axes,
    position: float | int,
    values: Float[np.ndarray, "network"],
    solved: Bool[np.ndarray, "network"],
    colour: str,
    size: float = 2.5,
    width: float = 0.6,
) -> None:
    """One point per network side by side, hollow if it is not solved; a bar at the mean of all with its interval.

    All within `width` around the position. Values that are not numbers are left out.
    """
    places = position + np.linspace(-0.45 * width, 0.45 * width, len(values) + 2)[1:-1]
    for chosen, face in ((solved, colour), (~solved, "none")):
        if chosen.any():
            style: Any = {"markersize": size, "color": colour, "markerfacecolor": face, "markeredgewidth": 0.5}
            axes.plot(places[chosen], values[chosen], "o", **style)
    known = values[np.isfinite(values)]
    if len(known) > 1:
        low, high = interval(known)
        axes.plot([position] * 2, [low, high], "-", color="black", linewidth=0.7, zorder=3)
        axes.plot(
            [position - width / 2, position + width / 2],
            [known.mean()] * 2,
            "-",
            color="black",
            linewidth=1.1,
            zorder=3,
        )


def band(
    axes: Axes,
    x: Sequence[int] | np.ndarray,
    values: Float[np.ndarray, "network x"],
    colour: str,
    style: str = "-",
) -> None:
    """The mean over networks as a line, with its interval as a band; nothing for no networks."""
    if not len(values):
        return
    low, high = interval(values)
    axes.plot(x, values.mean(0), style, color=colour, linewidth=0.9, markersize=1.8)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def key(label: str, **style: Any) -> Line2D:
    """An entry of a legend, of a line or a marker that no panel need have."""
    return Line2D([], [], label=label, **style)


def note(axes: Axes, text: str) -> None:
    """Say in an otherwise empty panel why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.4", transform=axes.transAxes)


def log_axis(axes: Axes) -> None:
    """A logarithmic vertical axis for what is drawn, with plain numbers: exponents would be smaller than other text."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0), numticks=6))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def letters(panels: Iterable[Axes]) -> None:
    """Letter panels in turn."""
    for axes, text in zip(panels, "abcdefghijklmnopqrstuvwxyz", strict=False):
        letter(axes, text)


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


def short_names(grouped: Sequence[tuple[str, str, pd.DataFrame]]) -> list[str]:
    """Names of `groups` for narrow axes: standards by their gain, unless two groups of them have the same."""
    chains = {rows["population"].iloc[0] for _, _, rows in grouped if rows["round"].iloc[0] > 0}
    of_standards = [
        rows["gain"].iloc[0] if is_standard(rows) and rows["population"].iloc[0] not in chains else None
        for _, _, rows in grouped
    ]
    gains = [gain for gain in of_standards if gain is not None]
    if len(set(gains)) < len(gains):
        return [name for name, _, _ in grouped]
    return [name if gain is None else f"g = {gain:g}" for (name, _, _), gain in zip(grouped, of_standards, strict=True)]


def standards_and_alternatives(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """What is compared: the standards of all gains together, and each round of the last deflated population.

    Where there are no standards but references, these stand for them.
    """
    grouped = [group for group in groups(table) if (group[2]["iterations"] > 0).all()]
    chains = [rows["population"].iloc[0] for _, _, rows in grouped if rows["round"].iloc[0] > 0]
    alternatives = [group for group in grouped if group[2]["population"].iloc[0] in chains[-1:]]
    alternatives = [group for group in alternatives if group[2]["round"].iloc[0] > 0]
    standard = [rows for _, _, rows in grouped if rows["population"].iloc[0] not in chains]
    if standard:
        return [("standards", STANDARDS, pd.concat(standard)), *alternatives]
    used = {(rows["reference"].iloc[0], 0) for _, _, rows in alternatives}
    references = [group for group in grouped if (group[2]["population"].iloc[0], group[2]["round"].iloc[0]) in used]
    return [*references, *alternatives]


def chain_rounds(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """The rounds of the last deflated population of one task, with its references; without one, what is compared."""
    compared = standards_and_alternatives(table)
    alternatives = [group for group in compared if group[2]["round"].iloc[0] > 0]
    if not alternatives:
        return compared
    references = table["population"].isin(alternatives[0][2]["reference"]) & (table["round"] == 0)
    first = [(round_name(0), ROUND_HUES[0], table[references])] if references.any() else []
    return [*first, *alternatives]
