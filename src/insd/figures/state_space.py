"""Panels of activity in state space, with fixed points and cycles, and of the spectra at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import SubFigure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from insd.cohorts import left_out
from insd.dynamics.orbits import cycle_orbit
from insd.figures.panels import TIGHT, in_words, why_empty
from insd.figures.shown import Shown
from insd.figures.theme import ANGLES, CONDITION_HUES, NUMBERS, key, letter, note
from insd.members import Member
from insd.networks.base import rates_at, state_size
from insd.predictivity import leading_components
from insd.samples import lasting, samples
from insd.tasks.variables import Variable

TRIALS_SHOWN = 24
"""Trajectories in each panel."""
SHAPES = "os^Dv<>"
"""Markers of points by the static input under which they were found."""


@dataclass(frozen=True)
class Condition:
    """What the trajectories of trials are coloured by."""

    title: str
    values: Float[np.ndarray, "trial time"]
    """Angles in rad, numbers, or which of `names` it is."""
    names: list[str]
    """Combinations of signs, or categories; empty for angles and numbers."""
    ends: tuple[float, float] | None = None
    """The least and the largest number; None unless the values are numbers."""

    def colour(self, value: float | int) -> tuple[float, ...] | str:
        """Of a trial at a time."""
        if self.ends is not None:
            low, high = self.ends
            return NUMBERS((value - low) / (high - low) if high > low else 0.5)
        if not self.names:
            return ANGLES((value + np.pi) / (2 * np.pi))
        if len(self.names) <= len(CONDITION_HUES):
            return CONDITION_HUES[int(value)]
        return ANGLES(value / len(self.names))


def condition_of(variables: Mapping[str, Variable], trials: xr.Dataset) -> Condition:
    """What trajectories are coloured by: the first angle of the task or, without any, all its signs together; without
    those, its first category, and otherwise its first number."""
    first = {variable.kind: (in_words(name), variable) for name, variable in reversed(list(variables.items()))}
    if "angle" in first:
        name, variable = first["angle"]
        return Condition(f"{name} (deg)", variable.values, [])
    if "sign" not in first and "category" in first:
        name, variable = first["category"]
        numbers, index = np.unique(variable.values, return_inverse=True)
        labels = variable.labels or [f"{number:g}" for number in numbers]
        return Condition(name, index.reshape(variable.values.shape).astype(float), list(labels))
    if "sign" not in first and "value" in first:
        name, variable = first["value"]
        return Condition(name, variable.values, [], (float(variable.values.min()), float(variable.values.max())))
    signs = {name: variable.values > 0 for name, variable in variables.items() if variable.kind == "sign"}
    values = np.zeros((trials.sizes["trial"], trials.sizes["time"]))
    for digit, positive in enumerate(signs.values()):
        values = values + 2**digit * positive
    names = [
        " ".join("+" if number >> digit & 1 else "−" for digit in range(len(signs)))
        for number in range(2 ** len(signs))
    ]
    return Condition(", ".join(map(in_words, signs)), values, names)


def activity_row(
    figure: SubFigure,
    shown: Sequence[Shown],
    rounds: Mapping[str, Member],
    points: xr.Dataset,
    condition: Condition,
    inputs: Mapping[str, Sequence[float]],
) -> None:
    """Rates of some test trials in the leading principal components of each network, with its points and cycles."""
    panels = figure.subplots(1, len(shown), squeeze=False, subplot_kw={"projection": "3d", "computed_zorder": False})
    for axes, one in zip(panels[0], shown, strict=True):
        state = f", {one.state}" if one.state else ""
        axes.set_title(f"{one.name} ({one.label}{state})", color=one.colour)
        _activity(axes, rounds[one.label], _of_network(points, one.label), condition, inputs)
        if one.label in left_out(points):
            axes.text2D(0.5, 0.9, "points left out", ha="center", color="0.4", transform=axes.transAxes)
    # In the space of the panel, since titles of 3D axes stand higher than others.
    figure.text(0.005, 0.99, "a", fontsize=9, fontweight="bold", va="top")


def _of_network(points: xr.Dataset, label: str) -> xr.Dataset:
    """The points and cycles of one network."""
    return points.isel(point=points["network"].values == label, cycle=points["cycle_network"].values == label)


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
    lines, colours, lasts = [], [], lasting(rates)
    for trial in chosen:
        path, values = project(rates[trial, lasts[trial]]), condition.values[trial, lasts[trial]]
        changes = np.flatnonzero(np.diff(values)) + 1
        for start, stop in zip([0, *changes], [*changes, len(path)], strict=True):
            lines.append(path[start : stop + 1])
            colours.append(condition.colour(values[start]))
    axes.add_collection3d(Line3DCollection(lines, colors=colours, linewidths=0.5, alpha=0.8))

    conditions = list(points["searched_condition"].values)
    slow, stable = (points["kind"] == "slow").values, points["stable"].values.astype(bool)
    variables = state_size(network)
    # Networks without a flow have no points, and no rates of states.
    states = points["state"].values[:, :variables]
    places = project(rates_at(network, states)) if len(states) else np.empty((0, 3))
    for name, shape in zip(conditions, SHAPES * len(conditions), strict=False):
        here = (points["condition"] == name).values
        for which, style in (
            (here & slow, {"c": "0.55", "s": 5, "linewidths": 0}),
            (here & ~slow & ~stable, {"facecolors": "white", "edgecolors": "black", "s": 13}),
            (here & ~slow & stable, {"c": "black", "s": 13}),
        ):
            # Above the trajectories: stable points are where these end, and would drown in them.
            axes.scatter(*places[which].T, marker=shape, depthshade=False, zorder=4, **{"linewidths": 0.6, **style})
        cycles = (points["cycle_condition"] == name).values & ~points["cycle_step_artefact"].values.astype(bool)
        for cycle in np.flatnonzero(cycles):
            state = points["cycle_state"].values[cycle, :variables]
            period = float(points["cycle_period"][cycle])
            orbit = cycle_orbit(network, np.array(inputs[name]), state, period)
            axes.plot(*project(rates_at(network, orbit)).T, "-", color="black", linewidth=1.1, zorder=3)

    everything = np.concatenate([project(samples(rates[chosen])), places[~slow]])
    low, high = everything.min(0), everything.max(0)
    for which, start, stop, share in zip("xyz", low, high, shares, strict=False):
        room = 0.05 * max(stop - start, 1e-6)
        getattr(axes, f"set_{which}lim")(start - room, stop + room)
        getattr(axes, f"set_{which}ticks")([])
        getattr(axes, f"set_{which}label")(f"PC {'xyz'.index(which) + 1} ({share:.0%})", labelpad=-14)
        getattr(axes, f"{which}axis").set_pane_color((1, 1, 1, 0))
    axes.set_box_aspect((1, 1, 0.85), zoom=1.3)


def activity_key(figure: SubFigure, condition: Condition, conditions: Sequence[str]) -> None:
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
        low, high = condition.ends or (-180, 180)
        mappable = ScalarMappable(Normalize(low, high), NUMBERS if condition.ends else ANGLES)
        bar = figure.colorbar(mappable, cax=axes, orientation="horizontal", ticks=[low, (low + high) / 2, high])
        bar.ax.set_xticklabels([])
        left, right = (f"{end:.3g}".replace("-", "−") for end in (low, high))
        for place, text, side in ((-0.03, f"{condition.title}  {left}", "right"), (1.03, right, "left")):
            axes.text(place, 0.5, text, ha=side, va="center", transform=axes.transAxes)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
    black: dict[str, Any] = {"color": "black", "linestyle": "none", "markersize": 3.5, "markeredgewidth": 0.6}
    marks = [
        key(marker=shape, markerfacecolor="none", label=in_words(str(name)), **black)
        for name, shape in zip(conditions, SHAPES * len(conditions), strict=False)
        if len(conditions) > 1
    ]
    marks += [
        key(marker="o", label="stable", **black),
        key(marker="o", markerfacecolor="white", label="unstable", **black),
        key(marker="o", linestyle="none", color="0.55", markersize=2, label="slow"),
        key(color="black", linewidth=1.1, label="cycle"),
    ]
    figure.legend(handles=marks, loc="lower center", ncols=len(marks), **TIGHT)


def spectra_row(figure: SubFigure, shown: Sequence[Shown], points: xr.Dataset) -> None:
    """Eigenvalues of the Jacobians at the points of each network, real parts and frequencies."""
    panels = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
    for axes, one in zip(panels, shown, strict=True):
        _spectrum(axes, _of_network(points, one.label), one.colour, why_empty(points, one.label))
        axes.set_xlabel("real part (1/s)")
    panels[0].set_ylabel("frequency (Hz)")
    # What decays within a time step says nothing of the dynamics.
    left, right = panels[0].get_xlim()
    panels[0].set_xlim(max(left, -25.0), right)
    panels[0].set_ylim(bottom=-0.3)
    letter(panels[0], "b")


def _spectrum(axes: Axes, points: xr.Dataset, colour: str, why_empty: str) -> None:
    if not points.sizes["point"]:
        note(axes, why_empty or "no fixed or slow points found")
        return
    growth, frequency = points["eigenvalues_real"].values, np.abs(points["eigenvalues_imag"].values) / (2 * np.pi)
    fixed = (points["kind"] == "fixed").values
    axes.axvline(0, linestyle="--", color="0.6", linewidth=0.6, zorder=0)
    axes.plot(
        growth[fixed].ravel(), frequency[fixed].ravel(), ".", color=colour, markersize=1.2, alpha=0.35, rasterized=True
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
                growth[which, 0],
                frequency[which, 0],
                shape,
                markersize=size,
                markerfacecolor=face,
                color=edge,
                markeredgewidth=0.6,
            )
