"""Figure 5: how well standards and alternatives do in harder regimes and under perturbations."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from insd.cohorts import ALTERNATIVE, network_labels
from insd.figures.panels import numbers
from insd.figures.theme import (
    TWO_COLUMNS,
    Group,
    band,
    chain_rounds,
    dots,
    key,
    letter,
    new_figure,
    note,
    standards_and_alternatives,
)

Groups = Sequence[Group]

PERTURBATIONS = {
    "noise": ("noise_level", "private noise", "private noise σ"),
    "jitter": ("jitter_level", "weight jitter", "weight jitter (s.d.)"),
    "silence": ("silenced_share", "silenced units", "share of units silenced"),
    "kick": ("kick_level", "state kick", "kick of the state (norm)"),
}
"""Dimension of the levels, name in the table of comparisons and label of each perturbation."""
DIFFERENCES = "RdBu"
"""Colour map of differences to the standards: red is worse, blue better."""
RECOVERY = {"full": "-", "null": "--"}
"""Line of the way back after a kick, in all activity and in the null space of the readout."""


def regimes_figure(
    table: pd.DataFrame,
    chain: str | None,
    performance: Mapping[str, xr.Dataset],
    robustness: Mapping[str, xr.Dataset],
    comparisons: pd.DataFrame,
) -> Figure:
    """Two rows per task: score by regime, over noise and duration, and the way back after kicks; under perturbations.

    First column: one point per network, hollow if it does not solve the task, with the mean of all and its interval;
    in the second row with the network's own time step and with half of it. First row, middle: the score of each
    alternative minus that of the standards over noise and duration, with a dot where the interval of the difference
    excludes 0; positive (blue) is better. First row, right: the distance to the unperturbed rates after the smallest
    and the largest kick, as a share of that right after it, reference and alternatives. Second row: score against
    the strength of each perturbation. Curves are means over the solved networks with their interval. Up is better in
    all panels of scores. Dotted: chance; dashed: the criterion of a solved network. Triangles below mark levels at
    which an alternative is better (up) or worse (down) than the standards: where the interval of the difference
    excludes 0. `regime_grids_figure` has the scores that the differences are of.

    Parameters
    ----------
    table : `networks.csv`.
    chain : the deflated population that is shown, if any.
    performance, robustness : by task, `performance.nc` and `robustness.nc`.
    comparisons : `comparisons.csv`.
    """
    figure = new_figure(TWO_COLUMNS, 15.0 + 72.0 * len(performance))
    parts = figure.subfigures(len(performance), 1, squeeze=False)[:, 0]
    names: dict[str, str] = {}
    for part, letters, (task, scores) in zip(parts, _letters(5), performance.items(), strict=False):
        rows = table[table["task"] == task]
        grouped, rounds = standards_and_alternatives(rows, chain), chain_rounds(rows, chain)
        names |= {name: colour for name, colour, _ in [*grouped, *rounds]}
        verdicts = _verdicts(comparisons, task)
        about = scores["score"].attrs
        above, below = part.subfigures(2, 1, height_ratios=[1.2, 1])
        alternatives = [group for group in grouped if group[2]["role"].iloc[0] == ALTERNATIVE]
        # The heat maps, with a bar of their own, have the room of two panels.
        first, maps, after = above.subfigures(1, 3, width_ratios=[1.2, 2.2, 1.7])
        regimes = first.subplots()
        _regimes(regimes, grouped, scores["score"], verdicts)
        regimes.set_title(task.replace("_", " "), fontweight="bold")
        _levels([regimes], about)
        _maps(maps, alternatives, scores["grid_score"], verdicts, letters[1])
        _recovery(after, rounds, robustness[task], letters[2])
        panels = list(below.subplots(1, 1 + len(PERTURBATIONS), sharey=True))
        _steps(panels[0], grouped, robustness[task], verdicts)
        _perturbations(panels[1:], grouped, robustness[task], verdicts)
        _levels(panels, about)
        for axes, text in ((regimes, letters[0]), (panels[0], letters[3])):
            axes.set_ylabel(_wrapped(about["long_name"]))
            _letter(axes, text)
        _letter(panels[1], letters[4], -0.1)
    _legend(figure, names, recovery=True)
    return figure


def regime_grids_figure(
    table: pd.DataFrame, chain: str | None, performance: Mapping[str, xr.Dataset], comparisons: pd.DataFrame
) -> Figure:
    """Supplement: a row per task, score against noise in a panel per duration; means over the solved networks.

    Bands are intervals of the means, triangles as in `regimes_figure`, whose arguments it takes.
    """
    columns = max(dataset.sizes["duration"] for dataset in performance.values())
    figure = new_figure(TWO_COLUMNS, 15.0 + 45.0 * len(performance))
    axes = figure.subplots(len(performance), columns, sharey="row", squeeze=False)
    names: dict[str, str] = {}
    for panels, text, (task, scores) in zip(axes, _letters(1), performance.items(), strict=False):
        grouped = standards_and_alternatives(table[table["task"] == task], chain)
        names |= {name: colour for name, colour, _ in grouped}
        about = scores["grid_score"].attrs
        _grid(panels, grouped, scores["grid_score"], _verdicts(comparisons, task))
        _levels(panels, about)
        panels[0].set_ylabel(f"{task.replace('_', ' ')}\n{_wrapped(about['long_name'])}")
        letter(panels[0], text)
    _legend(figure, names)
    return figure


def _letters(each: int) -> list[str]:
    """The letters of the panels of each task, in turn."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return [alphabet[start : start + each] for start in range(0, len(alphabet) - each + 1, each)]


def _letter(axes: Axes, text: str, left: float = -0.3) -> None:
    """Farther left than in other figures: the name of a task fills the width of a panel."""
    axes.annotate(text, (left, 1.04), xycoords="axes fraction", fontweight="bold", fontsize=9)


def _verdicts(comparisons: pd.DataFrame, task: str) -> pd.DataFrame:
    """The rows of the table of comparisons on the score of one task."""
    verdicts = comparisons[(comparisons["task"] == task) & (comparisons["quantity"] == "score")]
    # Conditions without a level or a duration have empty cells in the table.
    return verdicts.fillna({"level": "", "duration": ""})


def _maps(figure: SubFigure, alternatives: Groups, scores: xr.DataArray, verdicts: pd.DataFrame, text: str) -> None:
    """The difference of each alternative to the standards over noise and duration, in colours that are the same."""
    noises, durations = ([str(level) for level in scores[axis].values] for axis in ("noise", "duration"))
    maps = [_differences(verdicts, rows, noises, durations) for _, _, rows in alternatives]
    panels = figure.subplots(1, max(len(maps), 1), sharey=True, squeeze=False)[0]
    _letter(panels[0], text)
    title, ticks = numbers(noises)
    length, lengths = numbers(durations)
    if not length:
        # The first field that replaces another one says how long, such as "duration = 1.8, pulse_rate = 3".
        length, lengths = numbers([level.partition(", ")[0] for level in durations])
    known = [np.abs(difference[np.isfinite(difference)]) for difference, _ in maps]
    most = max((float(part.max()) for part in known if part.size), default=0.0)
    if not most:
        for axes in panels:
            axes.set_axis_off()
        note(panels[0], "nothing to compare")
        return
    for axes, (name, colour, _), (difference, certain) in zip(panels, alternatives, maps, strict=True):
        image = axes.pcolormesh(difference.T, cmap=DIFFERENCES, norm=Normalize(-most, most))
        noise, duration = np.nonzero(certain)
        axes.plot(noise + 0.5, duration + 0.5, "o", markersize=1.8, color="black", markeredgewidth=0)
        axes.set_xticks(np.arange(len(noises)) + 0.5, ticks, rotation=90)
        axes.set_yticks(np.arange(len(durations)) + 0.5, lengths)
        axes.tick_params(length=0)
        axes.set_xlabel(title or "noise")
        axes.set_title(name, color=colour)
    panels[0].set_ylabel(f"{length} (s)" if length else "duration")
    bar = figure.colorbar(image, ax=list(panels), pad=0.02, aspect=12)
    bar.set_label("difference to standards\n(> 0: better)")
    bar.ax.yaxis.set_major_locator(MaxNLocator(4))
    bar.outline.set_visible(False)


def _differences(
    verdicts: pd.DataFrame, rows: pd.DataFrame, noises: Sequence[str], durations: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Differences (noise, duration) of alternatives to the standards, and whether their interval excludes 0."""
    found = verdicts[_of_group(verdicts, rows) & (verdicts["measure"] == "grid")].set_index(["level", "duration"])
    cells = found.reindex(pd.MultiIndex.from_product([noises, durations]))
    shape = len(noises), len(durations)
    return (
        cells["difference"].to_numpy(float).reshape(shape),
        cells["verdict"].isin(["better", "worse"]).to_numpy(bool).reshape(shape),
    )


def _recovery(figure: SubFigure, rounds: Groups, robustness: xr.Dataset, text: str) -> None:
    """The way back after the smallest and the largest kick."""
    recovery, levels = robustness["kick_recovery"], robustness["kick_level"].values
    panels = figure.subplots(1, 2, sharey=True)
    for axes, level in zip(panels, (levels.min(), levels.max()), strict=True):
        for _, colour, rows in rounds:
            networks = network_labels(rows[rows["solved"]])
            for space, style in RECOVERY.items():
                chosen = recovery.sel(network=networks, space=space).isel(kick_level=int(np.argmax(levels == level)))
                band(axes, recovery["time_after"].values, chosen.values, colour, style)
        axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
        axes.set_title(f"kick {level:g}")
        axes.set_xlabel("time after it (s)")
    if not any(rows["solved"].any() for _, _, rows in rounds):
        note(panels[0], "no network\nsolves the task")
    panels[0].set_ylabel("distance to unperturbed\n(share of the first)")
    panels[0].set_ylim(bottom=-0.05)
    _letter(panels[0], text)


def _regimes(axes: Axes, grouped: Groups, scores: xr.DataArray, verdicts: pd.DataFrame) -> None:
    regimes = [str(name) for name in scores["regime"].values]
    _side_by_side(axes, grouped, scores.transpose("network", "regime"), regimes)
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        for position, regime in enumerate(regimes):
            _mark(axes, position + place, _verdict_on(verdicts, rows, "regime", regime), colour, grouped)
    names = [name.replace("_", " ") for name in regimes]
    axes.set_xticks(range(len(regimes)), names, rotation=45, ha="right", rotation_mode="anchor")


def _steps(axes: Axes, grouped: Groups, robustness: xr.Dataset, verdicts: pd.DataFrame) -> None:
    scores = xr.concat([robustness["unperturbed_score"], robustness["half_step_score"]], "step")
    _side_by_side(axes, grouped, scores.transpose("network", "step"), ["own step", "half step"])
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        _mark(axes, 1 + place, _verdict_on(verdicts, rows, "half the time step", ""), colour, grouped)
    axes.set_xticks([0, 1], ["own\ntime step", "half"])


def _places(count: int) -> np.ndarray:
    """Offsets of groups that stand side by side."""
    return np.linspace(-0.4, 0.4, 2 * count + 1)[1::2]


def _side_by_side(axes: Axes, grouped: Groups, scores: xr.DataArray, names: Sequence[str]) -> None:
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        values, solved = scores.sel(network=network_labels(rows)).values, rows["solved"].to_numpy(bool)
        for position in range(len(names)):
            dots(axes, position + place, values[:, position], solved, colour, size=1.6, width=0.8 / len(grouped))
    axes.set_xlim(-0.55, len(names) - 0.45)


def _grid(panels: Sequence[Axes] | np.ndarray, grouped: Groups, scores: xr.DataArray, verdicts: pd.DataFrame) -> None:
    title, ticks = numbers([str(level) for level in scores["noise"].values])
    length, lengths = numbers([str(level) for level in scores["duration"].values])
    for axes in panels[scores.sizes["duration"] :]:
        axes.axis("off")
    for axes, duration, text in zip(panels, scores["duration"].values, lengths, strict=False):
        levels = [str(level) for level in scores["noise"].values]
        of_duration = scores.sel(duration=duration).transpose("network", "noise")
        _lines(axes, grouped, of_duration, range(len(levels)))
        for _, colour, rows in grouped:
            for position, level in enumerate(levels):
                _mark(axes, position, _verdict_on(verdicts, rows, "grid", level, str(duration)), colour, grouped)
        axes.set_xticks(range(len(levels)), ticks)
        axes.set_xlabel(title or "noise")
        axes.set_title(f"{length} {text} s" if length else text.replace("_", " ").replace(", ", ",\n"))


def _perturbations(panels: Sequence[Axes], grouped: Groups, robustness: xr.Dataset, verdicts: pd.DataFrame) -> None:
    for axes in panels[len(PERTURBATIONS) :]:
        axes.axis("off")
    for axes, (name, (dimension, measure, label)) in zip(panels, PERTURBATIONS.items(), strict=False):
        scores = robustness[f"{name}_score"]
        if "draw" in scores.dims:
            scores = scores.mean("draw")
        without = robustness["unperturbed_score"].expand_dims({dimension: [0.0]})
        scores = xr.concat([without, scores], dimension).transpose("network", dimension)
        levels = scores[dimension].values
        _lines(axes, grouped, scores, range(len(levels)))
        for _, colour, rows in grouped:
            for position, level in enumerate(levels):
                _mark(axes, position, _verdict_on(verdicts, rows, measure, str(level)), colour, grouped)
        axes.set_xticks(range(len(levels)), [f"{level:g}".removeprefix("0") or "0" for level in levels])
        axes.set_xlabel(label)


def _lines(axes: Axes, grouped: Groups, scores: xr.DataArray, positions: Sequence[int]) -> None:
    if not any(rows["solved"].any() for _, _, rows in grouped):
        note(axes, "no network\nsolves the task")
    for _, colour, rows in grouped:
        solved = rows[rows["solved"]]
        band(axes, positions, scores.sel(network=network_labels(solved)).values, colour, style="o-")


def _verdict_on(verdicts: pd.DataFrame, rows: pd.DataFrame, measure: str, level: str, duration: str = "") -> str:
    """The verdict on a group of alternatives at a level; an empty one on standards."""
    same = _of_group(verdicts, rows) & (verdicts["measure"] == measure)
    same &= (verdicts["level"] == level) & (verdicts["duration"] == duration)
    return str(verdicts.loc[same, "verdict"].squeeze()) if same.any() else ""


def _of_group(verdicts: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Which comparisons are those of a group of networks."""
    return (verdicts["population"] == rows["population"].iloc[0]) & (verdicts["round"] == rows["round"].iloc[0])


def _mark(axes: Axes, position: float | int, verdict: str, colour: str, grouped: Groups) -> None:
    """A triangle in a line of its own for each group, near the bottom of a panel; none unless better or worse."""
    shape = {"better": "^", "worse": "v"}.get(verdict)
    if shape:
        line = [group_colour for _, group_colour, _ in grouped].index(colour)
        place = 0.04 + 0.075 * (len(grouped) - 1 - line)
        transform = axes.get_xaxis_transform()
        axes.plot(position, place, shape, color=colour, markersize=3, markeredgewidth=0, transform=transform)


def _levels(row: Sequence[Axes] | np.ndarray, about: Mapping[str, Any]) -> None:
    """Chance and criterion, and an axis from below chance to perfect, upwards."""
    best, chance = (1.0 if about["higher_is_better"] else 0.0), float(about["chance"])
    row[0].set_ylim(chance - 0.35 * (best - chance), best + 0.06 * (best - chance))
    for axes in row:
        axes.axhline(chance, linestyle=":", color="0.3", linewidth=0.7, zorder=0)
        axes.axhline(about["criterion"], linestyle="--", color="0.6", linewidth=0.6, zorder=0)


def _wrapped(text: str) -> str:
    """The name of a score in lines that fit beside a panel."""
    return textwrap.fill(text, 16)


def _legend(figure: Figure, names: Mapping[str, str], recovery: bool = False) -> None:
    handles = [key(color=colour, marker="o", markersize=2.5, label=name) for name, colour in names.items()]
    mark: dict[str, Any] = {"linestyle": "none", "markersize": 3.5}
    if recovery:
        ways = {"full": "kicks: all activity", "null": "kicks: null space"}
        handles += [key(color="0.3", linestyle=style, label=ways[space]) for space, style in RECOVERY.items()]
    handles += [
        key(marker="o", color="black", markerfacecolor="none", label="not solved", **mark),
        key(color="black", linewidth=1.1, label="mean and 95 % interval"),
        key(color="0.3", linestyle=":", linewidth=0.7, label="chance"),
        key(color="0.6", linestyle="--", linewidth=0.6, label="criterion"),
        key(marker="^", color="0.3", markeredgewidth=0, label="better than standards", **mark),
        key(marker="v", color="0.3", markeredgewidth=0, label="worse", **mark),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=-(-len(handles) // 2),
        columnspacing=1.0,
        handlelength=1.4,
        handletextpad=0.4,
    )
