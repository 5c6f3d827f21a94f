"""A self-contained HTML page that shows any two networks of a task side by side.

The page holds, for each network, its activity on some trials in three principal components, its fixed points, slow
points and cycles in the same components, the eigenvalues at them, and its row of the table. Numbers are 16-bit integers
in base64 with one scale per array: 60 networks of 100 units take 2 to 3 MB, and plotly's own bundle another 5 MB. What
draws them is `templates/explorer.html`.
"""

import base64
import html
import json
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from insd.cohorts import alternatives, every_network, left_out, network_label, network_labels, round_name, solved
from insd.dynamics.orbits import cycle_orbit
from insd.members import Member
from insd.networks.base import rates_at, state_size
from insd.predictivity import leading_components
from insd.tasks import Task

SHOWN_TRIALS = 48
"""Trials on a page."""
SHOWN_TIMES = 100
"""Times of a trial at most: longer trials are shown at every second one, or fewer."""
SHOWN_POINTS = 48
"""Points of a network at most: stable fixed points first, then the others, the slowest first."""
SHOWN_CYCLES = 12
"""Most cycles on a page per network and static input."""
CYCLE_STATES = 60
"""States of a cycle at most."""
STABLE, UNSTABLE, SLOW = range(3)
"""The kinds of points, as pages have them."""
DIGITS = 4
"""Significant digits of the table's numbers."""


def packed(values: Float[np.ndarray, "..."]) -> dict[str, Any]:
    """An array as 16-bit integers in base64, with the size of one step; the error is at most half a step.

    NaN is the least of these integers, which no number is.
    """
    missing = np.isnan(values)
    finite = np.where(missing, 0.0, values)
    largest = float(np.abs(finite).max(initial=0.0))
    step = largest / 32767 if largest else 1.0
    integers = np.where(missing, -32768, np.round(finite / step)).astype("<i2")
    return {"step": step, "shape": list(values.shape), "data": base64.b64encode(integers.tobytes()).decode()}


def network_view(
    label: str,
    rates: Float[np.ndarray, "trial time unit"],
    network: xr.Dataset,
    points: xr.Dataset,
    static_inputs: dict[str, list[float]],
) -> dict[str, Any]:
    """The page's data of one network, except its row of the table.

    Parameters
    ----------
    rates : on all test trials; the first `SHOWN_TRIALS` of them are shown.
    network : a `network.nc` of one seed (without the dimension).
    points : a `fixed_points` dataset that has the network.
    static_inputs : of the task, by name.
    """
    mean, axes, shares = leading_components(rates)
    variables = state_size(network)

    def project(states: np.ndarray) -> np.ndarray:
        """Components of the rates of states (..., unit)."""
        # Networks without a smooth flow have no points, and no rates at states.
        if not len(states):
            return np.empty((0, axes.shape[1]))
        return (rates_at(network, states[..., :variables]) - mean) @ axes

    conditions = list(static_inputs)
    mine = points.isel(point=points["network"].values == label)
    kind = np.select([mine["kind"].values == "slow", mine["stable"].values], [SLOW, STABLE], UNSTABLE)
    order = np.lexsort((mine["speed"].values, kind))
    mine, kind = mine.isel(point=order[:SHOWN_POINTS]), kind[order[:SHOWN_POINTS]]

    cycles = []
    chosen = np.flatnonzero(points["cycle_network"].values == label)[:SHOWN_CYCLES]
    for cycle in chosen:
        one = points.isel(cycle=cycle)
        condition = str(one["cycle_condition"].item())
        period = float(one["cycle_period"])
        orbit = cycle_orbit(network, np.array(static_inputs[condition]), one["cycle_state"].values[:variables], period)
        stride = math.ceil(len(orbit) / CYCLE_STATES)
        cycles.append(
            {"condition": conditions.index(condition), "period": period, "place": packed(project(orbit[::stride]))}
        )
    stride = _time_stride(rates.shape[1])
    return {
        "label": label,
        "shares": [round(float(share), 4) for share in shares],
        "place": packed((rates[:SHOWN_TRIALS, ::stride].astype(np.float64) - mean) @ axes),
        "points": {
            "place": packed(project(mine["state"].values)),
            "kind": kind.tolist(),
            "condition": [conditions.index(name) for name in mine["condition"].values],
            "speed": [float(f"{speed:.2g}") for speed in mine["speed"].values],
            # Networks of fewer variables than others fill their rows with what is no number.
            "rate": packed(mine["eigenvalues_real"].values[:, :variables]),
            "frequency": packed(mine["eigenvalues_imag"].values[:, :variables] / (2 * np.pi)),
            "not_shown": int(order.size - len(mine["point"])),
            "reason": left_out(points).get(label, ""),
        },
        "cycles": cycles,
    }


def explorer_page(
    name: str,
    task: Task,
    members: Iterable[Member],
    trials: xr.Dataset,
    points: xr.Dataset,
    table: pd.DataFrame,
    chain: str | None,
    meanings: Mapping[str, str] | None = None,
) -> str:
    """The page of a task.

    Parameters
    ----------
    name : of the task.
    members : networks with their rates on `trials`.
    trials : those of the regime `test`.
    points : the task's `fixed_points` dataset.
    table : the rows of `networks.csv` of the task.
    chain : the deflated population that the page begins with, if any.
    meanings : of the columns of the table, shown under the pointer.
    """
    shown = trials.isel(trial=slice(SHOWN_TRIALS), time=slice(None, None, _time_stride(trials.sizes["time"])))
    static_inputs = task.static_inputs()
    points = every_network(points, network_labels(table))
    rows = {
        network_label(str(row["population"]), int(row["seed"]), int(row["round"])): row
        for row in table.to_dict("records")
    }
    networks = []
    for member in members:
        assert member.network is not None
        label, rates = member.label, member.rates
        view = network_view(label, rates, member.network.isel(seed=0), points, static_inputs)
        role = round_name(member.round) if member.role in ("reference", "alternative") else member.role
        networks.append({**view, "role": role, "row": {str(key): _shown(value) for key, value in rows[label].items()}})
    data = {
        "task": name.replace("_", " "),
        "time": [round(float(time), 4) for time in shown["time"].values],
        "colours": _colours(task, trials),
        "conditions": list(static_inputs),
        "networks": networks,
        "meanings": dict(meanings or {}),
        "first": _first_pair([str(network["label"]) for network in networks], table, chain),
    }
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - half a second, and nothing else here needs it

    # A closing tag within the data would end the script that holds them.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    page = files("insd").joinpath("templates/explorer.html").read_text(encoding="utf-8")
    for mark, content in (("@TASK@", html.escape(str(data["task"]))), ("@PLOTLY@", get_plotlyjs()), ("@DATA@", text)):
        page = page.replace(mark, content)
    return page


def _time_stride(times: int) -> int:
    return math.ceil(times / SHOWN_TIMES)


def _colours(task: Task, trials: xr.Dataset) -> list[dict[str, Any]]:
    """The variables that can colour the trajectories that are shown; they may change within a trial."""
    stride = _time_stride(trials.sizes["time"])
    return [
        {
            "name": name.replace("_", " "),
            "kind": variable.kind,
            "values": packed(np.asarray(variable.values[:SHOWN_TRIALS, ::stride], float)),
        }
        for name, variable in task.variables(trials).items()
    ]


def _first_pair(labels: list[str], table: pd.DataFrame, chain: str | None) -> list[str]:
    """The networks that the page begins with: a reference and its first alternative, or the first two."""
    later = table.iloc[:0] if chain is None else alternatives(table, chain)
    if later.empty:
        return [labels[0], labels[min(1, len(labels) - 1)]]
    row = (solved(later) if later["solved"].any() else later).iloc[0]
    first = network_label(row["population"], int(row["seed"]), int(row["round"]))
    reference = network_label(row["reference"], int(row["seed"]), 0)
    # A recording cannot be shown as a network.
    return [reference if reference in labels else next((label for label in labels if label != first), first), first]


def _shown(value: object) -> str:
    """A cell of the table as the page shows it; empty for NaN."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)
