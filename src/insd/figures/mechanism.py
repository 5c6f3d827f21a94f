"""Figures 2 to 4: how a reference and its alternatives solve one task, side by side."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from insd.cohorts import alternatives, network_label, network_labels, references, trained
from insd.datasets import DatasetError
from insd.dynamics.orbits import cycle_orbit
from insd.figures.panels import predictivity_matrix
from insd.figures.theme import (
    ANGLES,
    CONDITION_HUES,
    SHUFFLED,
    TWO_COLUMNS,
    band,
    groups,
    is_round_of,
    key,
    letter,
    new_figure,
    note,
)
from insd.members import Block, Member
from insd.networks.base import rates_at, state_size
from insd.tasks import Task
from insd.tasks.base import Variable

COLUMNS = 3
"""Networks shown side by side: a reference and its first two alternatives."""
TRIALS_SHOWN = 24
"""Trajectories in each panel."""
SHAPES = "os^Dv<>"
"""Markers of points by the static input under which they were found."""
LINES = ("-", "--")
"""Styles of decoding from all activity and from that in the null space."""
TIGHT: dict[str, Any] = {
    "handlelength": 1.2,
    "handletextpad": 0.4,
    "columnspacing": 1.2,
    "borderaxespad": 0.1,
    "borderpad": 0.1,
}
"""Of legends in rows of their own."""


@dataclass(frozen=True)
class Shown:
    """A network that the figure shows, and the networks of the same group that it stands for."""

    label: str
    name: str
    colour: str
    solved: bool
    group: list[str]
    """Labels of the solved networks of its group or, where there are none, of all."""


@dataclass(frozen=True)
class Condition:
    """What the trajectories of trials are coloured by."""

    title: str
    values: Float[np.ndarray, "trial time"]
    """Angles in rad, or numbers of the combinations of signs in `names`."""
    names: list[str]
    """Empty for angles."""

    def colour(self, value: float | int) -> tuple[float, ...] | str:
        """Of a trial at a time."""
        if not self.names:
            return ANGLES((value + np.pi) / (2 * np.pi))
        if len(self.names) <= len(CONDITION_HUES):
            return CONDITION_HUES[int(value)]
        return ANGLES(value / len(self.names))


def shown_networks(table: pd.DataFrame, chain: str | None) -> list[Shown]:
    """The networks of one task that are shown side by side.

    Of the deflated population `chain`, the first chain whose networks are all solved, else its first: the reference and
    the first two alternatives. Without deflation, the first solved network, else the first, of the first three trained
    populations, or of the untrained ones if none was trained.
    """
    grouped = groups(table)
    later = [group for group in grouped if chain is not None and is_round_of(group[2], chain)]
    if chain is None or not later:
        known = [group for group in grouped if len(trained(group[2]))] or grouped
        return [_shown(group, _first_solved(group[2])) for group in known[:COLUMNS]]
    labels = set(network_labels(references(table, chain)))
    first = [group for group in grouped if labels & set(network_labels(group[2]))]
    rounds = [*first, *later][:COLUMNS]
    rows = pd.concat([group[2] for group in rounds])
    seeds = sorted(set(alternatives(table, chain)["seed"]))
    all_solved = [seed for seed in seeds if rows.loc[rows["seed"] == seed, "solved"].all()]
    seed = (all_solved or seeds)[0]
    return [_shown(group, group[2][group[2]["seed"] == seed].iloc[0]) for group in rounds]


def _first_solved(rows: pd.DataFrame) -> pd.Series:
    return (rows[rows["solved"]] if rows["solved"].any() else rows).iloc[0]


def _shown(group: tuple[str, str, pd.DataFrame], row: pd.Series) -> Shown:
    name, colour, rows = group
    label = network_label(row["population"], int(row["seed"]), int(row["round"]))
    standing_for = rows[rows["solved"]] if rows["solved"].any() else rows
    return Shown(label, name, colour, bool(row["solved"]), network_labels(standing_for))


def read_shown(
    shown: Sequence[Shown], networks: Sequence[str], activities: Sequence[str], blocks: Sequence[Block]
) -> dict[str, Member]:
    """The networks that are shown, by label; arguments as of `insd.members.read_members`.

    Raises DatasetError if no file holds a network.
    """
    wanted = [one.label for one in shown]
    found = {member.label: member for member in read_members(networks, activities, blocks) if member.label in wanted}
    for label in wanted:
        if label not in found:
            raise DatasetError(f"{label}: is in the table of networks, but in none of {', '.join(networks)}")
    return found


def condition_of(variables: Mapping[str, Variable], trials: xr.Dataset) -> Condition:
    """What trajectories are coloured by: the first angle of the task or, without any, all its signs together."""
    for name, variable in variables.items():
        if variable.kind == "angle":
            return Condition(f"{_shown_name(name)} (deg)", variable.values, [])
    signs = {name: variable.values > 0 for name, variable in variables.items() if variable.kind == "sign"}
    values = np.zeros((trials.sizes["trial"], trials.sizes["time"]))
    for digit, positive in enumerate(signs.values()):
        values = values + 2**digit * positive
    names = [
        " ".join("+" if number >> digit & 1 else "−" for digit in range(len(signs)))
        for number in range(2 ** len(signs))
    ]
    return Condition(", ".join(map(_shown_name, signs)), values, names)


def _shown_name(name: str) -> str:
    return name.replace("_", " ")


def mechanism_figure(
    task: Task,
    trials: xr.Dataset,
    table: pd.DataFrame,
    shown: Sequence[Shown],
    rounds: Mapping[str, Member],
    points: xr.Dataset,
    predictivity: xr.Dataset,
    dynamics: xr.Dataset,
    decoding: xr.Dataset,
) -> Figure:
    """The figure of one task; a column per network that is shown, in the order of `shown`.

    a: rates of some test trials in the network's own leading three principal components, coloured by the condition of
    the trial, with fixed points (filled: stable; open: unstable), slow points (small, grey) and cycles (black lines);
    the marker tells the static input. b: eigenvalues of the Jacobians at the fixed points (small: all; large: the
    leading one of each point), and the leading ones at slow points (grey). c: r2 between all networks in full and null
    space. d: two-dimensional scaling of the distances of dynamical similarity; rings mark the networks that are shown,
    hollow points do not solve the task. e: decoding from activity at the same time; lines are means over the solved
    networks of the group (all, if none is solved), bands their interval; an R2 below the axis, which has no bound,
    counts as its end. f: decoding across times of the first variable that is a sign or an angle, for the network that
    is shown, in full and null space, from chance up.

    Parameters
    ----------
    trials : those of the regime `test`, on which the rates were recorded.
    table : the rows of `networks.csv` of this task.
    shown, rounds : of `shown_networks` and `read_shown`.
    points, predictivity, dynamics, decoding : `fixed_points.nc`, `predictivity.nc`, `dsa.nc` and `decoding.nc`.
    """
    figure = new_figure(TWO_COLUMNS, 235.0)
    rows = figure.subfigures(7, 1, height_ratios=[50, 12, 36, 54, 33, 9, 37], squeeze=False)[:, 0]
    condition = condition_of(task.variables(trials), trials)
    _activity_row(rows[0], shown, rounds, points, condition, task.static_inputs())
    _activity_key(rows[1], condition, list(points["searched_condition"].values))
    _spectra_row(rows[2], shown, points)
    _population_row(rows[3], shown, table, predictivity, dynamics)
    _decoding_row(rows[4], shown, decoding)
    _decoding_key(rows[5], decoding)
    _maps_row(rows[6], shown, decoding)
    return figure


def _activity_row(
    figure: SubFigure,
    shown: Sequence[Shown],
    rounds: Mapping[str, Member],
    points: xr.Dataset,
    condition: Condition,
    inputs: Mapping[str, Sequence[float]],
) -> None:
    panels = figure.subplots(1, len(shown), squeeze=False, subplot_kw={"projection": "3d", "computed_zorder": False})
    for axes, one in zip(panels[0], shown, strict=True):
        solved = "" if one.solved else ", not solved"
        axes.set_title(f"{one.name} ({one.label}{solved})", color=one.colour)
        _activity(axes, rounds[one.label], _of_network(points, one.label), condition, inputs)
    # In the space of the panel, since titles of 3D axes stand higher than others.
    figure.text(0.005, 0.99, "a", fontsize=9, fontweight="bold", va="top")


def _of_network(points: xr.Dataset, label: str) -> xr.Dataset:
    """The points and cycles of one network."""
    return points.isel(point=points["network"].values == label, cycle=points["cycle_network"].values == label)


def leading_components(
    rates: Float[np.ndarray, "trial time unit"],
) -> tuple[Float[np.ndarray, "unit"], Float[np.ndarray, "unit 3"], Float[np.ndarray, "3"]]:
    """Mean, leading three principal axes (the largest entry of each positive) and the share of variance along each.

    Axes that a network of one or two units lacks are zero.
    """
    flat = rates.reshape(-1, rates.shape[-1]).astype(np.float64)
    variances, axes = np.linalg.eigh(np.cov(flat.T))
    axes, variances = axes[:, ::-1][:, :3], variances[::-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), range(axes.shape[1])])
    shares = variances[:3] / max(variances.sum(), np.finfo(float).tiny)
    missing = (0, 3 - axes.shape[1])
    return flat.mean(0), np.pad(axes, ((0, 0), missing)), np.pad(shares, missing)


def _activity(
    axes: Axes3D, member: Member, points: xr.Dataset, condition: Condition, inputs: Mapping[str, Sequence[float]]
) -> None:
    assert member.network is not None
    rates, network = member.rates, member.network.isel(seed=0)
    mean, directions, shares = leading_components(rates)

    def project(activity: np.ndarray) -> np.ndarray:
        return (activity - mean) @ directions

    # Trials evenly spaced in the order of their condition, so that all are shown.
    order = condition.values[:, -1].argsort(kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(TRIALS_SHOWN, len(order))).astype(int)]
    lines, colours = [], []
    for trial in chosen:
        path, values = project(rates[trial]), condition.values[trial]
        changes = np.flatnonzero(np.diff(values)) + 1
        for start, stop in zip([0, *changes], [*changes, len(path)], strict=True):
            lines.append(path[start : stop + 1])
            colours.append(condition.colour(values[start]))
    axes.add_collection3d(Line3DCollection(lines, colors=colours, linewidths=0.5, alpha=0.8))

    conditions = list(points["searched_condition"].values)
    slow = (points["kind"] == "slow").values
    variables = state_size(network)
    places = project(rates_at(network, points["state"].values[:, :variables]))
    for name, shape in zip(conditions, SHAPES * len(conditions), strict=False):
        here = (points["condition"] == name).values
        for which, style in (
            (here & slow, {"c": "0.55", "s": 5, "linewidths": 0}),
            (here & ~slow & ~points["stable"].values, {"facecolors": "white", "edgecolors": "black", "s": 13}),
            (here & ~slow & points["stable"].values, {"c": "black", "s": 13}),
        ):
            # Above the trajectories: stable points are where these end, and would drown in them.
            axes.scatter(*places[which].T, marker=shape, depthshade=False, zorder=4, **{"linewidths": 0.6, **style})
        cycles = (points["cycle_condition"] == name).values & ~points["cycle_step_artefact"].values.astype(bool)
        for cycle in np.flatnonzero(cycles):
            state = points["cycle_state"].values[cycle, :variables]
            period = float(points["cycle_period"][cycle])
            orbit = cycle_orbit(network, np.array(inputs[name]), state, period)
            axes.plot(*project(rates_at(network, orbit)).T, "-", color="black", linewidth=1.1, zorder=3)

    everything = np.concatenate([project(rates[chosen].reshape(-1, len(mean))), places[~slow]])
    low, high = everything.min(0), everything.max(0)
    for which, start, stop, share in zip("xyz", low, high, shares, strict=False):
        room = 0.05 * max(stop - start, 1e-6)
        getattr(axes, f"set_{which}lim")(start - room, stop + room)
        getattr(axes, f"set_{which}ticks")([])
        getattr(axes, f"set_{which}label")(f"PC {'xyz'.index(which) + 1} ({share:.0%})", labelpad=-14)
        getattr(axes, f"{which}axis").set_pane_color((1, 1, 1, 0))
    axes.set_box_aspect((1, 1, 0.85), zoom=1.3)


def _activity_key(figure: SubFigure, condition: Condition, conditions: Sequence[str]) -> None:
    """What the colours of trajectories and the markers of points mean, in two lines."""
    handles = []
    if condition.names:
        handles.append(key(linestyle="none", label=f"{condition.title}:" if condition.title else "trials"))
        handles += [
            key(color=condition.colour(number), linewidth=1.5, label=name)
            for number, name in enumerate(condition.names)
            if name
        ]
        figure.legend(handles=handles, loc="center", ncols=len(handles), **TIGHT)
    else:
        axes = figure.add_axes((0.4, 0.45, 0.2, 0.1))
        mappable = ScalarMappable(Normalize(-180, 180), ANGLES)
        bar = figure.colorbar(mappable, cax=axes, orientation="horizontal", ticks=[-180, 0, 180])
        bar.ax.set_xticklabels([])
        for place, text, side in ((-0.03, f"{condition.title}  −180", "right"), (1.03, "180", "left")):
            axes.text(place, 0.5, text, ha=side, va="center", transform=axes.transAxes)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
    black: dict[str, Any] = {"color": "black", "linestyle": "none", "markersize": 3.5, "markeredgewidth": 0.6}
    marks = [
        key(marker=shape, markerfacecolor="none", label=_shown_name(str(name)), **black)
        for name, shape in zip(conditions, SHAPES * len(conditions), strict=False)
    ]
    marks += [
        key(marker="o", label="stable", **black),
        key(marker="o", markerfacecolor="white", label="unstable", **black),
        key(marker="o", linestyle="none", color="0.55", markersize=2, label="slow"),
        key(color="black", linewidth=1.1, label="cycle"),
    ]
    figure.legend(handles=marks, loc="lower center", ncols=len(marks), **TIGHT)


def _spectra_row(figure: SubFigure, shown: Sequence[Shown], points: xr.Dataset) -> None:
    panels = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
    for axes, one in zip(panels, shown, strict=True):
        _spectrum(axes, _of_network(points, one.label), one.colour)
        axes.set_xlabel("decay rate (1/s)")
    panels[0].set_ylabel("frequency (Hz)")
    # What decays within a time step says nothing of the dynamics.
    left, right = panels[0].get_xlim()
    panels[0].set_xlim(left, min(right, 25.0))
    panels[0].set_ylim(bottom=-0.3)
    letter(panels[0], "b")


def _spectrum(axes: Axes, points: xr.Dataset, colour: str) -> None:
    if not points.sizes["point"]:
        note(axes, "no fixed or slow points found")
        return
    decay, frequency = -points["eigenvalues_real"].values, np.abs(points["eigenvalues_imag"].values) / (2 * np.pi)
    fixed = (points["kind"] == "fixed").values
    axes.axvline(0, linestyle="--", color="0.6", linewidth=0.6, zorder=0)
    axes.plot(
        decay[fixed].ravel(), frequency[fixed].ravel(), ".", color=colour, markersize=1.2, alpha=0.35, rasterized=True
    )
    conditions = list(points["searched_condition"].values)
    for name, shape in zip(conditions, SHAPES * len(conditions), strict=False):
        here = (points["condition"] == name).values
        for which, size, face, edge in (
            (here & ~fixed, 1.5, "0.55", "0.55"),
            (here & fixed & ~points["stable"].values, 3.2, "white", colour),
            (here & fixed & points["stable"].values, 3.2, colour, colour),
        ):
            axes.plot(
                decay[which, 0],
                frequency[which, 0],
                shape,
                markersize=size,
                markerfacecolor=face,
                color=edge,
                markeredgewidth=0.6,
            )


def _population_row(
    figure: SubFigure, shown: Sequence[Shown], table: pd.DataFrame, predictivity: xr.Dataset, dynamics: xr.Dataset
) -> None:
    full, null, scaling = figure.subplots(1, 3, width_ratios=[1, 1, 1])
    grouped = groups(table)
    for axes, space in ((full, "full"), (null, "null")):
        predictivity_matrix(axes, grouped, predictivity["r2"].sel(space=space))
        axes.set_title(f"{space} space")
    full.set_ylabel("predictor")
    null.set_yticklabels([])
    figure.colorbar(null.images[0], ax=[full, null], label="r²", shrink=0.6, pad=0.01, aspect=15)
    letter(full, "c")

    for _, colour, rows in grouped:
        for label, solved in zip(network_labels(rows), rows["solved"], strict=True):
            place = dynamics["embedding"].sel(network=label).values[:2]
            face = colour if solved else "none"
            scaling.plot(*place, "o", markersize=2.8, color=colour, markerfacecolor=face, markeredgewidth=0.6)
    for one in shown:
        place = dynamics["embedding"].sel(network=one.label).values[:2]
        scaling.plot(*place, "o", markersize=6, color="black", markerfacecolor="none", markeredgewidth=0.6)
    if np.isfinite(dynamics["embedding"].values).any():
        scaling.set_aspect("equal", adjustable="datalim")
    else:
        note(scaling, "no distances")
    scaling.set_xlabel("scaling 1 (rad)")
    scaling.set_ylabel("scaling 2 (rad)")
    scaling.set_title(f"DSA (stress {float(dynamics['stress']):.2f})")
    letter(scaling, "d")


def _decoding_row(figure: SubFigure, shown: Sequence[Shown], decoding: xr.Dataset) -> None:
    panels = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
    times = decoding["time"].values
    lowest = min(decoding["chance"].values, default=0.0) - 0.15
    for axes, one in zip(panels, shown, strict=True):
        of_group = decoding.sel(network=one.group)
        for name, colour in zip(decoding["variable"].values, CONDITION_HUES * 9, strict=False):
            of_variable = of_group.sel(variable=name)
            for scores, style in zip(("score", "score_null"), LINES, strict=True):
                # At the same time: the diagonal over times of training and test.
                same = np.diagonal(of_variable[scores].values, axis1=1, axis2=2).clip(lowest)
                band(axes, times, same, colour, style=style)
            axes.plot(times, of_variable["score_shuffled"].mean("network"), color=SHUFFLED, linewidth=0.5)
        for level in sorted(set(decoding["chance"].values)):
            axes.axhline(level, linestyle=":", color="0.3", linewidth=0.7)
        axes.set_title(f"{one.name} (n = {len(one.group)})", color=one.colour)
        axes.set_xlabel("time (s)")
    panels[0].set_ylim(lowest, 1.05)
    panels[0].set_ylabel("\n".join(["decoding:", *dict.fromkeys(map(str, decoding["score_name"].values))]))
    letter(panels[0], "e")


def _decoding_key(figure: SubFigure, decoding: xr.Dataset) -> None:
    handles = [
        key(color=colour, label=_shown_name(str(name)))
        for name, colour in zip(decoding["variable"].values, CONDITION_HUES * 9, strict=False)
    ]
    more = [
        key(color="0.3", linestyle=style, label=name)
        for name, style in zip(("all activity", "null space"), LINES, strict=True)
    ]
    more += [
        key(color=SHUFFLED, linewidth=0.5, label="labels shuffled"),
        key(color="0.3", linestyle=":", linewidth=0.7, label="chance"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), **TIGHT)
    figure.legend(handles=more, loc="lower center", ncols=len(more), **(TIGHT | {"handlelength": 2}))


def _maps_row(figure: SubFigure, shown: Sequence[Shown], decoding: xr.Dataset) -> None:
    if not decoding.sizes["variable"]:
        figure.text(0.5, 0.5, "the task names no variables to decode", ha="center")
        return
    panels = figure.subplots(1, 2 * len(shown), squeeze=False, sharex=True, sharey=True)[0]
    letter(panels[0], "f")
    discrete = [str(name) for name in decoding["variable"].values[decoding["kind"].values != "value"]]
    name = (discrete or [str(name) for name in decoding["variable"].values])[0]
    of_variable = decoding.sel(variable=name)
    times, chance = decoding["time"].values, float(of_variable["chance"])
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    extent = (times[0] - half, times[-1] + half, times[0] - half, times[-1] + half)
    for number, axes in enumerate(panels):
        one, scores, space = shown[number // 2], ("score", "score_null")[number % 2], ("full", "null")[number % 2]
        image = of_variable[scores].sel(network=one.label).transpose("time", "time_to").values
        axes.imshow(image, vmin=chance, vmax=1, cmap="magma", origin="lower", extent=extent, interpolation="nearest")
        axes.set_title(f"{one.name}, {space}", color=one.colour)
        axes.set_xlabel("test at (s)")
    panels[0].set_ylabel("trained at (s)")
    # As high as a panel.
    text = textwrap.fill(f"{_shown_name(name)}: {of_variable['score_name'].values!s}", 18)
    bar = figure.colorbar(panels[0].images[0], ax=list(panels), pad=0.01, shrink=0.9, aspect=15, extend="min")
    bar.set_label(text, labelpad=1)
    bar.ax.yaxis.set_major_locator(MaxNLocator(2))
