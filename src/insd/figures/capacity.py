"""How many alternatives a chain can have: against the number of units, private noise and the weight of the penalty."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.cohorts import ALTERNATIVE, of_role
from insd.figures import base
from insd.figures.theme import ROUND_HUES, SHUFFLED, TWO_COLUMNS, key, letters, new_figure, note
from insd.tables.capacity import SETTINGS, median_of

VARIED = {"units": "number of units N", "recurrent_noise": "private noise", "multiplier": "constant λ"}
"""The settings that are drawn along the axis of a column, with their labels."""


def capacity_figure(chains: pd.DataFrame) -> Figure:
    """Rows: `k_max` of every chain, r2 of its last alternative with the baseline. Columns: settings that vary.

    Lines join medians of populations that differ in this setting alone, in the hue of the number of outputs (of a
    flip-flop, bits). Triangles and dashed lines: a chain that had not ended, and a median that is a lower bound.
    Dotted: medians where r2 alone decides.

    `chains` is `capacity.csv`. Controls, chains without a solved reference, and λ of other schedules than the constant
    are left out.
    """
    chains = of_role(chains, ALTERNATIVE).dropna(subset=["k_max"])
    outputs = sorted(set(chains["outputs"].dropna().astype(int)))
    hues = {count: ROUND_HUES[place % len(ROUND_HUES)] for place, count in enumerate(outputs)}
    figure = new_figure(TWO_COLUMNS, 100.0)
    axes = np.asarray(figure.subplots(2, len(VARIED), sharex="col", sharey="row"))
    drawn: set[int] = set()
    for column, (setting, label) in enumerate(VARIED.items()):
        compared = list(_compared(chains, setting))
        drawn |= {int(rows["outputs"].iloc[0]) for rows in compared}
        for rows in compared:
            _group(axes[:, column], rows, setting, hues)
        if not compared:
            note(axes[0, column], "one value in this grid")
            note(axes[1, column], "one value in this grid")
            axes[1, column].set_xticks([])
        else:
            _scale(axes[1, column], sorted(set(pd.concat(compared)[setting].astype(float))), setting)
        axes[1, column].set_xlabel(label)
    axes[0, 0].set_ylabel("alternatives before\nthe chain ends")
    axes[0, 0].set_ylim(-0.4, max([1.0, *chains["rounds"]]) + 0.6)
    axes[0, 0].yaxis.get_major_locator().set_params(integer=True)
    axes[1, 0].set_ylabel("null-space r²\nof the last")
    axes[1, 0].set_ylim(bottom=0.0)
    letters(axes.flat)
    handles = [key(f"{n} output{'s' * (n > 1)}", color=hues[n], marker="o", markersize=3) for n in sorted(drawn)]
    handles += [
        key("shuffled trials", color=SHUFFLED, marker=".", linestyle=""),
        key("not ended", color="0.3", marker="^", linestyle="", markersize=3),
        key("median, ≥", color="0.3", linestyle="--"),
        key("median, r² alone", color="0.3", linestyle=":"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _compared(chains: pd.DataFrame, setting: str) -> Iterator[pd.DataFrame]:
    """The chains of populations of a task that differ in one of `SETTINGS` alone, which has at least two values."""
    if setting == "multiplier":
        chains = chains[chains["schedule"] == "constant"]
    others = [name for name in SETTINGS if name != setting]
    for _, rows in chains.groupby(["task", *others], dropna=False, sort=False):
        if rows[setting].nunique() > 1:
            yield rows.dropna(subset=[setting])


def _group(axes: np.ndarray, rows: pd.DataFrame, setting: str, hues: dict[int, str]) -> None:
    outputs = int(rows["outputs"].iloc[0])
    # Groups of different numbers of outputs side by side, and the chains of each.
    shift = list(hues).index(outputs) - (len(hues) - 1) / 2
    medians, places, colour = [], [], hues[outputs]
    for value, chains in rows.groupby(setting):
        beside = shift + np.linspace(-0.3, 0.3, len(chains) + 2)[1:-1]
        for place, chain in zip(
            _placed(chains[setting], beside, setting, rows), chains.to_dict("records"), strict=True
        ):
            marker = "^" if chain["censored"] else "o"
            axes[0].plot(place, chain["k_max"], marker, color=colour, markersize=2.5, alpha=0.7)
            axes[1].plot(place, chain["last_r2"], ".", color=colour, markersize=3)
            axes[1].plot(place, chain["last_r2_shuffled"], ".", color=SHUFFLED, markersize=2)
        medians.append(median_of(chains))
        places += _placed(pd.Series([value]), np.array([shift]), setting, rows)
    axes[0].plot(places, rows.groupby(setting)["k_max_r2"].median(), ":", color=colour, linewidth=0.8)
    for pair in zip(range(len(places)), range(1, len(places)), strict=False):
        (left, left_bound), (right, right_bound) = (medians[one] for one in pair)
        style = "--" if left_bound or right_bound else "-"
        axes[0].plot([places[one] for one in pair], [left, right], style, color=colour, linewidth=0.8)


def _placed(values: pd.Series, beside: np.ndarray, setting: str, rows: pd.DataFrame) -> list[float]:
    """Places along the axis, a little beside the values: by a share of it or, where it is logarithmic, a factor."""
    if setting == "recurrent_noise":
        return (values.to_numpy(float) + 0.02 * beside * np.ptp(rows[setting])).tolist()
    return (values.to_numpy(float) * 1.06**beside).tolist()


def _scale(axes: Axes, values: list[float], setting: str) -> None:
    if setting != "recurrent_noise":
        axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return capacity_figure(drawing.table("capacity"))


FIGURE = base.Figure(
    title="capacity",
    description="how many alternatives chains have before one is not solved or like an earlier one, against the number "
    "of units, private noise and λ, by the number of outputs (made for `config/studies/capacity.yaml`)",
    per="grid",
    reads=("tables/capacity",),
    draw=draw,
)
"""What the workflow knows of this figure."""
