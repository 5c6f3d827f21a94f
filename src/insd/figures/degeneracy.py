"""How much the networks of a recipe differ, against each factor that controls it, and how much more alternatives do."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.figures import base
from insd.figures.theme import CONDITION_HUES, TWO_COLUMNS, key, letters, log_axis, new_figure, note
from insd.tables.degeneracy import COMPLEXITY, FACTORS

ROWS = {
    "behaviour": "behaviour:\nsd of losses",
    "dynamics": "dynamics:\nDSA (rad)",
    "weights": "weights:\ndistance per weight",
}
"""The levels that are drawn, with their labels."""
SHORT = {"feature_learning": "γ", "width": "N", "gain": "g", "nuclear_norm": "nuclear", "l1_norm": "L1"}
"""Names of factors under the ratios."""
MARKERS = "os^DvP*"
"""Markers of comparisons, in order."""
Look = tuple[str, str]
"""Colour and marker of a comparison."""


def degeneracy_figure(factors: pd.DataFrame, ratios: pd.DataFrame) -> Figure:
    """Rows: behaviour, dynamics, weights. Columns: each factor, then the ratios of all factors and of alternatives.

    Points are groups of networks at a level of the factor, joined by lines for each comparison, with intervals over
    resampled networks; hollow: the loss is not matched with that of the lowest level. Dotted, of dynamics: two samples
    of trials of one network. Last column: the ratio of the highest level to the lowest, of alternatives to standards:
    small points are comparisons at matched loss, large ones geometric means with intervals.

    `factors` is `degeneracy_factors.csv`, `ratios` is `degeneracy_ratios.csv`.
    """
    figure = new_figure(TWO_COLUMNS, 128.0)
    if factors.empty:
        note(figure.subplots(), "no degeneracy\nin this grid")
        return figure
    drawn = factors[factors["factor"].isin(list(FACTORS))]
    names = list(dict.fromkeys(drawn["compared"]))
    looks = {
        name: (CONDITION_HUES[place % len(CONDITION_HUES)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(names)
    }
    axes = np.asarray(
        figure.subplots(len(ROWS), len(FACTORS) + 1, sharex="col", width_ratios=[1.0] * len(FACTORS) + [2.6])
    )
    for column, (factor, label) in enumerate(FACTORS.items()):
        own = drawn[drawn["factor"] == factor]
        places = _places(own, factor)
        for row, level in enumerate(ROWS):
            _levels(axes[row, column], own, places, level, looks)
        # In two lines, since columns are narrow.
        axes[-1, column].set_xlabel(label.replace(" ", "\n", 1))
        ticks = [f"{value:g}" for value in places] if len(own) else []
        # Long ones upright, for the same reason.
        upright = any(len(tick) > 1 for tick in ticks)
        axes[-1, column].set_xticks(list(places.values()), ticks, rotation=90 if upright else 0)
        axes[-1, column].set_xlim(-0.4, max([1, *places.values()]) + 0.4)
    for row, (level, label) in enumerate(ROWS.items()):
        axes[row, 0].set_ylabel(label)
        _ratios(axes[row, -1], factors, ratios[ratios["level"] == level], level)
    letters(axes.flat)
    figure.align_xlabels(axes[-1, :-1])
    keys = [
        key(name.replace("_", " "), color=colour, marker=marker, markersize=3)
        for name, (colour, marker) in looks.items()
    ]
    keys += [
        key("loss not matched", color="0.3", marker="o", linestyle="", markersize=3, markerfacecolor="none"),
        key("one network, resampled", color="0.3", linestyle=":"),
        key("geometric mean", color="black", marker="o", markersize=4),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)
    return figure


def _places(rows: pd.DataFrame, factor: str) -> dict[float, int]:
    """Places along the axis by the level of a factor; of complexity, by its rank, since parameters are of any unit."""
    if factor == COMPLEXITY:
        most = rows.groupby("compared").size().max() if len(rows) else 0
        return {float(rank + 1): rank for rank in range(int(most))}
    return {value: place for place, value in enumerate(sorted(set(rows["value"].astype(float))))}


def _levels(axes: Axes, rows: pd.DataFrame, places: Mapping[float, int], level: str, looks: Mapping[str, Look]) -> None:
    known = rows.dropna(subset=[level])
    known = known[known[level] > 0]
    if known.empty:
        note(axes, "one level\nin this grid" if rows.empty else "too few\nsolved")
        axes.set_yticks([])
        return
    count = rows["compared"].nunique()
    for number, (compared, own) in enumerate(known.groupby("compared", sort=False)):
        colour, marker = looks[str(compared)]
        values = own["value"].astype(float)
        at = values.rank(method="dense") - 1 if own["factor"].iloc[0] == COMPLEXITY else values.map(places)
        at = at + 0.3 * ((number + 0.5) / count - 0.5)
        axes.plot(at, own[level], "-", color=colour, linewidth=0.8)
        axes.vlines(at, own[f"{level}_low"].clip(lower=1e-9), own[f"{level}_high"], color=colour, linewidth=0.6)
        matched = own["matched"].to_numpy(bool)
        for chosen, face in ((matched, colour), (~matched, "none")):
            axes.plot(
                at[chosen],
                own[level][chosen],
                marker,
                color=colour,
                markersize=3,
                markerfacecolor=face,
                markeredgewidth=0.6,
            )
        if level == "dynamics":
            axes.plot(at, own["null"], ":", color=colour, linewidth=0.8)
    drawn = [known[level], *([known["null"].dropna()] if level == "dynamics" else [])]
    values = pd.concat(drawn)
    # Intervals of few networks may reach nearly to 0.
    axes.set_ylim(0.6 * values[values > 0].min(), 1.7 * max(values.max(), known[f"{level}_high"].max()))
    log_axis(axes)


def _ratios(axes: Axes, factors: pd.DataFrame, ratios: pd.DataFrame, level: str) -> None:
    names = [*(name for name in FACTORS if name in set(ratios["factor"]))]
    names += [name for name in dict.fromkeys(ratios["factor"]) if name not in FACTORS]
    highest = factors.groupby(["factor", "compared"])["value"].transform("max")
    ends = factors[(factors["value"] == highest) & factors["matched"].astype(bool)]
    for place, name in enumerate(names):
        of_factor = ends.loc[ends["factor"] == name, f"ratio_{level}"].dropna()
        axes.plot(place + np.linspace(-0.25, -0.1, len(of_factor)), of_factor, "o", color="0.5", markersize=2)
        for row in ratios[ratios["factor"] == name].dropna(subset=["ratio"]).to_dict("records"):
            axes.vlines(place + 0.1, row["ratio_low"], row["ratio_high"], color="black", linewidth=0.8)
            axes.plot([place + 0.1], [row["ratio"]], "o", color="black", markersize=4)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), [SHORT.get(name, name) for name in names], rotation=90)
    axes.set_ylabel("ratio")
    if ratios["ratio"].isna().all():
        note(axes, "no level at\nmatched loss")
        axes.set_yticks([])
    else:
        axes.axhline(1.0, color="0.6", linestyle="--", linewidth=0.6, zorder=0)
        log_axis(axes)


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return degeneracy_figure(drawing.table("degeneracy_factors"), drawing.table("degeneracy_ratios"))


FIGURE = base.Figure(
    title="degeneracy",
    description="how much independently trained networks differ in behaviour, dynamics and weights, against task "
    "complexity, feature learning, width, initial gain and penalties, and how much more alternatives differ than "
    "standards (made for `config/studies/degeneracy.yaml`)",
    per="grid",
    reads=("tables/degeneracy_factors", "tables/degeneracy_ratios"),
    draw=draw,
)
"""What the workflow knows of this figure."""
