"""One look for all figures: sizes in mm, small sans text, greys for standards by gain, one hue per round."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from PIL import Image

from insd.cohorts import (
    ALTERNATIVE,
    CONTROL,
    REFERENCE,
    STANDARD,
    UNTRAINED,
    controls,
    deflated_populations,
    of_role,
    references,
    round_name,
    standards_of,
)
from insd.files import written_whole
from insd.tables.comparisons import expanded_tail

ONE_COLUMN, TWO_COLUMNS = 88.0, 180.0
"""Widths in mm."""
_PALETTE = sns.color_palette("colorblind").as_hex()
ROUND_HUES = [_PALETTE[number] for number in (0, 1, 2, 3, 9, 5, 8)]
"""Colour-blind-safe hues: round k takes the k-th, the reference the first; after the last, they begin again.

Grey is left to standards and pink to untrained networks."""
UNTRAINED_HUE = _PALETTE[4]
"""Colour of untrained networks."""
CONTROL_HUES = ("#999933", "#661100", "#6699cc")
"""Colours of controls, one population after the other; after the last, they begin again."""
SHUFFLED = "#c44e52"
"""Colour of the trial-shuffled baseline."""
CONDITION_HUES = ("#332288", "#88ccee", "#882255", "#cc6677", "#117733", "#44aa99", "#999933", "#ddcc77")
"""Colours of the conditions of trials, dark and light in turn (of the colour-blind-safe scheme "muted" by Paul Tol)."""
MANY_HUES = (
    *CONDITION_HUES,
    *("#6666ee", "#ee88ff", "#22dd77", "#ff8800", "#995500", "#007799", "#bb55cc", "#eeaabb"),
    *("#7733aa", "#004400", "#551122", "#8899ff", "#886699", "#00aa33", "#bb1122", "#0055bb"),
)
"""Colours for more populations than there are conditions. After those of conditions, each is the one farthest in OKLab
from all before it and from greys. So many are not safe for colour-blind people: give each a marker, too."""
ANGLES: Colormap = LinearSegmentedColormap.from_list("angles", ["#332288", "#44aa99", "#ddcc77", "#cc6677", "#332288"])
"""A cyclic map of the same hues, visible on white throughout."""
NUMBERS: Colormap = LinearSegmentedColormap.from_list("numbers", ["#332288", "#44aa99", "#ddcc77"])
"""A map of the same hues for numbers, from the least to the largest."""
STANDARDS = "0.35"
"""The grey of standards of all gains together."""
HOLLOW = "hollow circle"
"""A marker."""
STATE_MARKERS = {"": "o", "not solved": HOLLOW, "not deflated": "x", "not matched": "s"}
"""The marker of a network by its state (`insd.cohorts.states`)."""
RESAMPLES = 2000
"""Resamples of the bootstrap behind intervals."""
PIXELS_PER_INCH = 290
"""Of figures as PNG: more than 2,000 pixels across two columns."""
Group = tuple[str, str, pd.DataFrame]
"""Name, colour and rows of `networks.csv` of networks that figures draw together."""
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
    values: Float[np.ndarray, "network *condition"], confidence: float
) -> tuple[Float[np.ndarray, "*condition"], Float[np.ndarray, "*condition"]]:
    """Bootstrap interval of the mean over networks in each condition, at a level of confidence between 0 and 1.

    Between quantiles of resampled means, widened for few networks as in `insd.tables.comparisons`: at 95 %, it is the
    range of two networks. It never leaves the range of the values. NaN for fewer than two networks, and where the value
    of a network is not finite.
    """
    count = len(values)
    if count < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    chosen = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    times_chosen = np.stack([(chosen == network).sum(1) for network in range(count)], axis=1)
    tail = expanded_tail(count, confidence)
    with np.errstate(invalid="ignore"):
        means = np.tensordot(times_chosen / count, values, axes=1)
        low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def dots(
    axes: Axes,
    position: float | int,
    values: Float[np.ndarray, "network"],
    states: Shaped[np.ndarray, "network"],
    colour: str,
    confidence: float,
    size: float = 2.5,
    width: float = 0.6,
) -> None:
    """One point per network side by side, by its state; a bar at the mean of all with its interval.

    `states` are those of `insd.cohorts.states`. All within `width` around the position. Networks without a value have
    no point.
    """
    places = position + np.linspace(-0.45 * width, 0.45 * width, len(values) + 2)[1:-1]
    network_points(axes, places, values, states, colour, size)
    known = values[np.isfinite(values)]
    if len(known) > 1:
        low, high = interval(known, confidence)
        axes.plot([position] * 2, [low, high], "-", color="black", linewidth=0.7, zorder=3)
        axes.plot(
            [position - width / 2, position + width / 2],
            [known.mean()] * 2,
            "-",
            color="black",
            linewidth=1.1,
            zorder=3,
        )


def network_points(
    axes: Axes,
    places: Float[np.ndarray, "network"],
    values: Float[np.ndarray, "network"],
    states: Shaped[np.ndarray, "network"],
    colour: str,
    size: float,
) -> None:
    """One point per network: by its state (`STATE_MARKERS`)."""
    for state, marker in STATE_MARKERS.items():
        chosen = states == state
        if chosen.any():
            axes.plot(places[chosen], values[chosen], **_marker(marker, colour, size))


def state_keys(states: Iterable[str], **style: Any) -> list[Line2D]:
    """The entries of a legend for the states that are drawn, in black."""
    drawn = set(states)
    return [
        key(label=state or "a network", **_marker(marker, "black", 3.0), **style)
        for state, marker in STATE_MARKERS.items()
        if state in drawn or not state
    ]


def _marker(marker: str, colour: str, size: float) -> dict[str, Any]:
    face = "none" if marker == HOLLOW else colour
    shape = "o" if marker == HOLLOW else marker
    return {
        "marker": shape,
        "linestyle": "none",
        "markersize": size * (1.5 if shape == "x" else 1),
        "color": colour,
        "markerfacecolor": face,
        "markeredgewidth": 0.5,
    }


def band(
    axes: Axes,
    x: Sequence[int] | np.ndarray,
    values: Float[np.ndarray, "network x"],
    colour: str,
    confidence: float,
    style: str = "-",
) -> None:
    """The mean over networks as a line, with its interval as a band; nothing for no networks.

    Networks without any value do not count.
    """
    values = values[np.isfinite(values).any(axis=1)]
    if not len(values):
        return
    low, high = interval(values, confidence)
    axes.plot(x, values.mean(0), style, color=colour, linewidth=0.9, markersize=1.8)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def key(label: str, **style: Any) -> Line2D:
    """An entry of a legend, of a line or a marker that no panel need have."""
    return Line2D([], [], label=label, **style)


def interval_key(confidence: float) -> Line2D:
    """The entry of a legend for means and their intervals."""
    return key(f"mean and {100 * confidence:g} % interval", color="black", linewidth=1.1)


def note(axes: Axes, text: str) -> None:
    """Say in an otherwise empty panel why it is empty."""
    axes.text(0.5, 0.5, text, ha="center", va="center", color="0.4", transform=axes.transAxes)


def gap(axes: Axes, position: float | int, text: str) -> None:
    """Say at the place of a group why it has no values."""
    transform = axes.get_xaxis_transform()
    axes.text(position, 0.5, text, rotation=90, ha="center", va="center", color="0.5", transform=transform)


def log_axis(axes: Axes) -> None:
    """A logarithmic vertical axis with plain numbers: exponents would be smaller than other text."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
    # Between two powers of ten there may be no such number.
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6) if high / low > 5 else MaxNLocator(3))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def letters(panels: Iterable[Axes]) -> None:
    """Letter panels in turn."""
    for axes, text in zip(panels, "abcdefghijklmnopqrstuvwxyz", strict=False):
        letter(axes, text)


def is_standard(rows: pd.DataFrame) -> bool:
    """Whether a group of networks are standards."""
    return bool((rows["role"] == STANDARD).all())


def control_hues(table: pd.DataFrame) -> dict[str, str]:
    """The colour of each population of controls; of all tasks of a figure at once, it is the same in all its panels."""
    return dict(zip(dict.fromkeys(of_role(table, CONTROL)["population"]), cycle(CONTROL_HUES), strict=False))


def groups(table: pd.DataFrame, hues: Mapping[str, str] | None = None) -> list[Group]:
    """The networks of a table as figures group them: (name, colour, rows) by population, those of chains by round.

    The name of a deflated population is left out where there is only one. Standards are greys, darker for larger
    gains; untrained populations are pink, controls have `hues` or, without them, the `control_hues` of the table.
    """
    several = len(deflated_populations(table)) > 1
    gains = sorted(set(of_role(table, STANDARD)["gain"]))
    greys = np.linspace(0.75, 0.15, max(len(gains), 2))
    found: list[Group] = []
    hues = control_hues(table) if hues is None else hues
    for population in dict.fromkeys(table["population"]):
        rows = table[table["population"] == population]
        for number, part in rows.groupby("round"):
            round_number, role = int(str(number)), part["role"].iloc[0]
            if role in (REFERENCE, ALTERNATIVE):
                prefix = f"{population} " if several else ""
                colour = ROUND_HUES[round_number % len(ROUND_HUES)]
                found.append((prefix + round_name(round_number), colour, part))
            elif role == STANDARD:
                found.append((population, str(greys[gains.index(part["gain"].iloc[0])]), part))
            else:
                name = population if round_number == 0 else f"{population} {round_number}"
                found.append((name, UNTRAINED_HUE if role == UNTRAINED else hues[population], part))
    return found


def short_names(grouped: Sequence[Group]) -> list[str]:
    """Names of `groups` for narrow axes: standards by their gain, unless two groups of them have the same."""
    of_standards = [rows["gain"].iloc[0] if is_standard(rows) else None for _, _, rows in grouped]
    gains = [gain for gain in of_standards if gain is not None]
    if len(set(gains)) < len(gains):
        return [name for name, _, _ in grouped]
    return [name if gain is None else f"g = {gain:g}" for (name, _, _), gain in zip(grouped, of_standards, strict=True)]


def standards_and_alternatives(
    table: pd.DataFrame, chain: str | None, hues: Mapping[str, str] | None = None
) -> list[Group]:
    """The groups to compare: the standards of all gains together, the controls with the references of the deflated
    population `chain`, and each of its rounds.

    If there are references but no standards, references take their place. `hues` are those of controls.
    """
    grouped = groups(table, hues)
    later = []
    if chain is not None:
        beside = set(controls(table, chain)["population"])
        # Controls are in the place of standards that train for longer.
        later = [one for one in grouped if one[2]["population"].iloc[0] in beside]
        later += [one for one in grouped if is_round_of(one[2], chain)]
    standard = of_role(table, STANDARD) if chain is None else standards_of(table, chain)
    if len(standard):
        return [("standards", STANDARDS, standard), *later]
    return [*_references(table, chain), *later]


def chain_rounds(table: pd.DataFrame, chain: str | None) -> list[Group]:
    """The rounds of the deflated population `chain` of one task, with its references; without one, all groups."""
    compared = standards_and_alternatives(table, chain)
    later = [group for group in compared if group[2]["role"].iloc[0] == ALTERNATIVE]
    return [*_references(table, chain), *later] if later else compared


def is_round_of(rows: pd.DataFrame, chain: str) -> bool:
    """Whether a group of networks are the alternatives of one round of a population."""
    return rows["population"].iloc[0] == chain and rows["role"].iloc[0] == ALTERNATIVE


def _references(table: pd.DataFrame, chain: str | None) -> list[Group]:
    rows = table.iloc[:0] if chain is None else references(table, chain)
    return [(round_name(0), ROUND_HUES[0], rows)] if len(rows) else []
