"""Figure 5: how well standards and alternatives do in harder regimes and under perturbations."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from insd.cohorts import ALTERNATIVE, matches, network_labels
from insd.figures import base
from insd.figures.panels import numbers
from insd.figures.scores import (
    Groups,
    diverging,
    letters_in_turn,
    mark,
    note_groups,
    of_group,
    score_axis,
    score_legend,
    score_lines,
    verdict_on,
    verdicts_on_scores,
    wrapped,
)
from insd.figures.theme import (
    TWO_COLUMNS,
    band,
    chain_rounds,
    control_hues,
    dots,
    key,
    new_figure,
    note,
    standards_and_alternatives,
)

PERTURBATIONS = {
    "noise": ("noise_level", "private noise", "private noise σ"),
    "jitter": ("jitter_level", "weight jitter", "weight jitter (s.d.)"),
    "silence": ("silenced_share", "silenced units", "share of units silenced"),
    "kick": ("kick_level", "state kick", "kick of the state (norm)"),
}
"""Dimension of the levels, name in the table of comparisons and label of each perturbation."""
DIFFERENCES = "RdBu"
"""Colour map of differences to the standards: red is worse, blue better."""
RECOVERY = {"full": ("all activity", "-"), "null": ("null space", "--")}
"""Name and line of the way back after a kick, in all activity and in the null space of the readout."""


def regimes_figure(
    table: pd.DataFrame,
    chain: str | None,
    performance: Mapping[str, xr.Dataset],
    robustness: Mapping[str, xr.Dataset],
    comparisons: pd.DataFrame,
    confidence: float,
) -> Figure:
    """Two rows per task: score by regime, over noise and duration, and the way back after kicks; under perturbations.

    First column: one point per network, hollow if it does not solve the task and a square if it is an alternative that
    is not matched with the standards in distribution, with the mean of all and its interval;
    in the second row with the network's own time step and with half of it. First row, middle: the score of each
    alternative minus that of the standards over noise and duration, with a dot where the interval of the difference
    excludes 0; positive (blue) is better. First row, right: the distance to the unperturbed rates after the smallest
    and the largest kick, as a share of that right after it, reference and alternatives. Second row: score against
    the strength of each perturbation. Curves are means over the solved networks with their interval. Up is better in
    all panels of scores. Dotted: chance; dashed: the criterion of a solved network. Triangles below mark levels at
    which an alternative is better (up) or worse (down) than the standards: where the interval of the difference
    excludes 0. `regime_grids` has the scores that the differences are of.

    Parameters
    ----------
    table : `networks.csv`.
    chain : the deflated population that is shown, if any.
    performance, robustness : by task, `performance.nc` and `robustness.nc`.
    comparisons : `comparisons.csv`.
    confidence : the level of confidence of intervals.
    """
    figure = new_figure(TWO_COLUMNS, 15.0 + 72.0 * len(performance))
    parts = figure.subfigures(len(performance), 1, squeeze=False)[:, 0]
    names: dict[str, str] = {}
    for part, letters, (task, scores) in zip(parts, letters_in_turn(5), performance.items(), strict=False):
        rows = table[table["task"] == task]
        grouped, rounds = standards_and_alternatives(rows, chain, control_hues(table)), chain_rounds(rows, chain)
        names |= {name: colour for name, colour, _ in [*grouped, *rounds]}
        verdicts = verdicts_on_scores(comparisons, task)
        about = scores["score"].attrs
        above, below = part.subfigures(2, 1, height_ratios=[1.2, 1])
        alternatives = [group for group in grouped if group[2]["role"].iloc[0] == ALTERNATIVE]
        # The heat maps, with a bar of their own, have the room of two panels.
        first, maps, after = above.subfigures(1, 3, width_ratios=[1.2, 2.2, 1.7])
        regimes = first.subplots()
        _regimes(regimes, grouped, scores["score"], verdicts, confidence)
        regimes.set_title(task.replace("_", " "), fontweight="bold")
        score_axis([regimes], about)
        _maps(maps, alternatives, scores["grid_score"], verdicts, letters[1])
        _recovery(after, rounds, robustness[task], letters[2], confidence)
        panels = list(below.subplots(1, 1 + len(PERTURBATIONS), sharey=True))
        _steps(panels[0], grouped, robustness[task], verdicts, confidence)
        _perturbations(panels[1:], grouped, robustness[task], verdicts, confidence)
        score_axis(panels, about)
        for axes, text in ((regimes, letters[0]), (panels[0], letters[3])):
            axes.set_ylabel(wrapped(about["long_name"]))
            _letter(axes, text)
        _letter(panels[1], letters[4], -0.1)
    ways = [key(color="0.3", linestyle=style, label=f"kicks: {name}") for name, style in RECOVERY.values()]
    score_legend(figure, names, matches(table), confidence, ways)
    return figure


def _letter(axes: Axes, text: str, left: float = -0.3) -> None:
    """Farther left than in other figures: the name of a task fills the width of a panel."""
    axes.annotate(text, (left, 1.04), xycoords="axes fraction", fontweight="bold", fontsize=9)


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
    found = verdicts[of_group(verdicts, rows) & (verdicts["measure"] == "grid")].set_index(["level", "duration"])
    cells = found.reindex(pd.MultiIndex.from_product([noises, durations]))
    shape = len(noises), len(durations)
    return (
        cells["difference"].to_numpy(float).reshape(shape),
        cells["verdict"].isin(["better", "worse"]).to_numpy(bool).reshape(shape),
    )


def _recovery(figure: SubFigure, rounds: Groups, robustness: xr.Dataset, text: str, confidence: float) -> None:
    """The way back after the smallest and the largest kick."""
    recovery, levels = robustness["kick_recovery"], robustness["kick_level"].values
    panels = figure.subplots(1, 2, sharey=True)
    for axes, level in zip(panels, (levels.min(), levels.max()), strict=True):
        for _, colour, rows in rounds:
            networks = network_labels(rows[rows["solved"]])
            for space, (_, style) in RECOVERY.items():
                chosen = recovery.sel(network=networks, space=space).isel(kick_level=int(np.argmax(levels == level)))
                band(axes, recovery["time_after"].values, chosen.values, colour, confidence, style)
        axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
        axes.set_title(f"kick {level:g}")
        axes.set_xlabel("time after it (s)")
    if not panels[0].lines[:-1]:
        solved = any(rows["solved"].any() for _, _, rows in rounds)
        note(panels[0], "left out" if solved else "no network\nsolves the task")
        # None at the letter of the panel.
        panels[0].set_yticks([0.0, 0.5])
    panels[0].set_ylabel("distance to unperturbed\n(share of the first)")
    panels[0].set_ylim(bottom=-0.05)
    _letter(panels[0], text)


def _regimes(axes: Axes, grouped: Groups, scores: xr.DataArray, verdicts: pd.DataFrame, confidence: float) -> None:
    regimes = [str(name) for name in scores["regime"].values]
    _side_by_side(axes, grouped, scores.transpose("network", "regime"), regimes, confidence)
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        for position, regime in enumerate(regimes):
            mark(axes, position + place, verdict_on(verdicts, rows, "regime", regime), colour, grouped)
    names = [name.replace("_", " ") for name in regimes]
    axes.set_xticks(range(len(regimes)), names, rotation=45, ha="right", rotation_mode="anchor")


def _steps(axes: Axes, grouped: Groups, robustness: xr.Dataset, verdicts: pd.DataFrame, confidence: float) -> None:
    scores = xr.concat([robustness["unperturbed_score"], robustness["half_step_score"]], "step")
    _side_by_side(axes, grouped, scores.transpose("network", "step"), ["own step", "half step"], confidence)
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        mark(axes, 1 + place, verdict_on(verdicts, rows, "half the time step", ""), colour, grouped)
    axes.set_xticks([0, 1], ["own\ntime step", "half"])


def _places(count: int) -> np.ndarray:
    """Offsets of groups that stand side by side."""
    return np.linspace(-0.4, 0.4, 2 * count + 1)[1::2]


def _side_by_side(axes: Axes, grouped: Groups, scores: xr.DataArray, names: Sequence[str], confidence: float) -> None:
    for place, (_, colour, rows) in zip(_places(len(grouped)), grouped, strict=True):
        values = scores.sel(network=network_labels(rows)).values
        for position in range(len(names)):
            dots(
                axes,
                position + place,
                values[:, position],
                matches(rows),
                colour,
                confidence,
                size=1.6,
                width=0.8 / len(grouped),
            )
    axes.set_xlim(-0.55, len(names) - 0.45)
    of_groups = [scores.sel(network=network_labels(rows)).values for _, _, rows in grouped]
    empty = [name for (name, *_), values in zip(grouped, of_groups, strict=True) if np.isnan(values).all()]
    note_groups(axes, {"left out": empty, "diverge somewhere": diverging(grouped, of_groups)})


def _perturbations(
    panels: Sequence[Axes], grouped: Groups, robustness: xr.Dataset, verdicts: pd.DataFrame, confidence: float
) -> None:
    for axes in panels[len(PERTURBATIONS) :]:
        axes.axis("off")
    for axes, (name, (dimension, measure, label)) in zip(panels, PERTURBATIONS.items(), strict=False):
        scores = robustness[f"{name}_score"]
        if "draw" in scores.dims:
            scores = scores.mean("draw")
        without = robustness["unperturbed_score"].expand_dims({dimension: [0.0]})
        scores = xr.concat([without, scores], dimension).transpose("network", dimension)
        levels = scores[dimension].values
        score_lines(axes, grouped, scores, range(len(levels)), confidence)
        for _, colour, rows in grouped:
            for position, level in enumerate(levels):
                mark(axes, position, verdict_on(verdicts, rows, measure, str(level)), colour, grouped)
        axes.set_xticks(range(len(levels)), [f"{level:g}".removeprefix("0") or "0" for level in levels])
        axes.set_xlabel(label)


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return regimes_figure(
        drawing.table("networks"),
        drawing.chain,
        drawing.datasets("analysis/performance"),
        drawing.datasets("analysis/robustness"),
        drawing.table("comparisons"),
        drawing.confidence,
    )


FIGURE = base.Figure(
    title="regimes (figure 5)",
    description="scores of standards and alternatives by regime, their differences over noise and duration, the way "
    "back after kicks; scores under private noise, jitter of the recurrent weights, silenced units and kicks, and with "
    "half the time step; where alternatives are better or worse",
    per="grid",
    reads=("tables/networks", "tables/comparisons", "analysis/performance", "analysis/robustness"),
    uses=("chain", "confidence"),
    draw=draw,
)
"""What the workflow knows of this figure."""
