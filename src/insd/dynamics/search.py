"""Fixed points, slow points and limit cycles of trained networks under constant inputs.

Zeros of F and minima of its speed (`insd.dynamics.zeros`) are sought from states along trajectories, from the ends of
long autonomous runs (`insd.dynamics.long_runs`), which show what attracts the dynamics, and from midpoints of the zeros
found. F is that of `insd.dynamics.flow`.
"""

import logging
import math
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from insd.activity import CHUNK
from insd.dynamics.flow import Flow, FlowError, flow_of
from insd.dynamics.limit_cycles import ARTEFACT_PERIOD
from insd.dynamics.linearisation import linearise
from insd.dynamics.long_runs import long_runs, returns
from insd.dynamics.settings import FixedPoints
from insd.dynamics.zeros import ZERO_SPEED, merge, newton, seek
from insd.members import Member
from insd.samples import valid_steps
from insd.tasks import Task

OUTLIER = 2.0
"""Points farther from the middle of the states than this many times the farthest of them are outliers: a gated cell,
for example, nearly stands still wherever its gates saturate, far from all states that it visits. The states are those
that the search starts from, and those where its long runs end."""

logger = logging.getLogger("insd.dynamics.search")


def trajectory_states(
    network: xr.Dataset, trials: xr.Dataset, settings: FixedPoints, random: np.random.Generator
) -> Float[Tensor, "start unit"]:
    """States to start from: drawn along the trajectories of one seed of a `network.nc` on trials, half with noise."""
    chosen = random.permutation(trials.sizes["trial"])[:CHUNK]
    inputs = torch.from_numpy(trials["inputs"].values[chosen]).double()
    dt = float(trials.attrs["dt"])
    flow = flow_of(network, np.zeros(inputs.shape[-1]), dt)
    states = torch.from_numpy(network["initial_state"].values).double().expand(len(chosen), -1)
    trajectories = states.new_empty(*inputs.shape[:2], states.shape[1])
    for step in range(inputs.shape[1]):
        states = states + flow.alpha * flow.driven_force(states, inputs[:, step])
        trajectories[:, step] = states
    visited = trajectories[torch.from_numpy(valid_steps(trials)[chosen])]
    starts = visited[torch.from_numpy(random.integers(len(visited), size=settings.starts))]
    noisy = starts[settings.starts // 2 :]
    noisy += settings.noise * visited.std(0) * torch.from_numpy(random.standard_normal(noisy.shape))
    return starts


def search(
    flow: Flow,
    starts: Float[Tensor, "start unit"],
    settings: FixedPoints,
    random: np.random.Generator,
) -> xr.Dataset:
    """Points (`point`) and cycles (`cycle`) of one network under one input, and where its autonomous runs end.

    Points are sought from the starts, the distinct ends of runs that do not go on moving, and midpoints of the zeros
    found so far. The variables are those of `fixed_points`.
    """
    runs = long_runs(flow, starts, settings)
    at_cycles = runs.cycle_of_run >= 0
    # Runs that go on moving end at states like any others along trajectories.
    ends = runs.ends[~(at_cycles | runs.recurrent)]
    distinct_ends = ends[merge(ends, flow.speed(ends), settings.merge_radius)[0]]
    states, speed = seek(flow, torch.cat([starts, distinct_ends]), settings, random)

    # Sorted by speed, zeros stand before slow points, so a slow point near a zero is merged into it.
    slow_enough = speed < settings.slow_speed
    kept, counts = merge(states[slow_enough], speed[slow_enough], settings.merge_radius)
    points, zero = states[slow_enough][kept], speed[slow_enough][kept] < ZERO_SPEED
    near = _near(points, torch.cat([starts, runs.ends]), settings.merge_radius)
    points, zero, counts = points[near], zero[near], counts[near]
    # Newton's method takes zeros that Levenberg-Marquardt ended at to the last digits.
    points[zero] = newton(flow, points[zero])[0]

    modes = linearise(flow, points)
    attracting = torch.from_numpy(modes["stable"][1]) & zero
    returned = torch.zeros(len(points), dtype=torch.bool)
    returned[attracting] = returns(flow, points[attracting], settings, random)

    settled = (flow.speed(runs.ends) < settings.slow_speed) & ~at_cycles
    within = torch.cdist(runs.ends, points) < settings.merge_radius
    at_points = settled & within[:, returned].any(1)
    at_others = settled & within.any(1) & ~at_points
    elsewhere = ~(at_cycles | at_points | at_others)

    cycle_speeds = []
    for cycle in runs.cycles:
        one_period = flow.run(cycle.state.double()[None], int(np.ceil(cycle.period)), int(np.ceil(cycle.period)))[1]
        along = flow.speed(one_period[:, 0])
        cycle_speeds.append((float(along.min()), float(along.max())))
    speeds = np.array(cycle_speeds).reshape(-1, 2)
    period = np.array([cycle.period for cycle in runs.cycles])
    units = points.shape[1]
    return xr.Dataset(
        {
            "state": (("point", "unit"), points.numpy()),
            "speed": (("point",), flow.speed(points).numpy()),
            **modes,
            "returns": (("point",), returned.numpy()),
            "n_starts": (("point",), counts.numpy()),
            "cycle_state": (("cycle", "unit"), np.array([c.state.numpy() for c in runs.cycles]).reshape(-1, units)),
            "cycle_period": (("cycle",), period * flow.dt),
            "cycle_step_artefact": (("cycle",), period < ARTEFACT_PERIOD),
            "cycle_amplitude": (("cycle",), np.array([cycle.amplitude for cycle in runs.cycles])),
            "cycle_speed_min": (("cycle",), speeds[:, 0]),
            "cycle_speed_max": (("cycle",), speeds[:, 1]),
            "cycle_n_runs": (
                ("cycle",),
                np.array([int((runs.cycle_of_run == number).sum()) for number in range(len(period))], int),
            ),
            "n_fixed_points": int(zero.sum()),
            "n_stable_fixed_points": int(returned.sum()),
            "n_not_returned_to": int((attracting & ~returned).sum()),
            "n_slow_points": int((~zero).sum()),
            "n_outliers": int((~near).sum()),
            "n_cycles": int((period >= ARTEFACT_PERIOD).sum()),
            "share_at_points": float(at_points.double().mean()),
            "share_at_cycles": float(at_cycles.double().mean()),
            "share_slow": float(at_others.double().mean()),
            "share_elsewhere": float(elsewhere.double().mean()),
            "share_drifting": float((elsewhere & settled).double().mean()),
            "share_recurrent": float((elsewhere & ~settled & runs.recurrent).double().mean()),
        },
        coords={"kind": ("point", np.where(zero.numpy(), "fixed", "slow")), "unit": np.arange(units)},
    )


def _near(
    points: Float[Tensor, "point unit"], states: Float[Tensor, "state unit"], radius: float
) -> Bool[Tensor, "point"]:
    """Which points are no outliers among states, nor far outside a radius; runs that diverged do not count."""
    visited = states[states.isfinite().all(1)]
    middle = visited.mean(0)
    farthest = (visited - middle).norm(dim=1).max()
    return (points - middle).norm(dim=1) <= OUTLIER * farthest.clamp(min=radius)


def fixed_points(
    task: Task,
    members: Iterable[Member],
    trials: xr.Dataset,
    settings: FixedPoints,
    seed: int = 0,
    progress_bar: bool = False,
) -> xr.Dataset:
    """Fixed points, slow points and limit cycles of all networks of a task under each of its static inputs.

    `trials` are those whose trajectories the search starts from; another `seed` starts from other states;
    `progress_bar` shows one over the static inputs of each network in the terminal.

    Returns
    -------
    A dataset, ragged by `point` (fixed and slow points of all networks) and by `cycle`, with these variables.

    - By point: `network` (label), `condition` (name of the static input) and `kind` ("fixed" or "slow") as
      coordinates; `state` (point, unit); `speed` q; `eigenvalues_real` and `eigenvalues_imag` (1/s), `stable`,
      `stable_flow`, the leading mode's `right_eigenvector` and `left_eigenvector` (real and imaginary parts) and
      `input_selection` (see `linearise`); `returns`, whether perturbed starts return to a stable fixed point (false
      for all others); `n_starts`, the starts, midpoints among them, that the search led to it.
    - By cycle: `cycle_network`, `cycle_condition`; `cycle_state`, one state on it; `cycle_period` (s);
      `cycle_step_artefact`, a period of 2 to 4 time steps, which the differential equation does not have;
      `cycle_amplitude`, root mean square distance from the mean state; least and largest speed q on it,
      `cycle_speed_min` and `cycle_speed_max`; `cycle_n_runs`.
    - By (`searched_network`, `searched_condition`): `n_fixed_points`, `n_stable_fixed_points` (stable as simulated, and
      returned to), `n_not_returned_to` (stable by their eigenvalues, but perturbed starts do not return),
      `n_slow_points`, `n_outliers` (points left out since they are far outside all states started from or ended at, see
      `OUTLIER`), `n_cycles` (without artefacts of the step), and where long autonomous runs end:
      `share_at_points` (at stable points listed), `share_at_cycles` (on cycles listed), `share_slow` (below the speed
      of slow points, within the merging radius of another point listed) and `share_elsewhere` (at none of them), which
      add up to 1. Of those that end elsewhere, `share_drifting` are slow as well, `share_recurrent` move with an
      amplitude that no longer changes (tori and chaos), and the rest is unsettled.
    """
    static_inputs = task.static_inputs()
    labels: list[str] = []
    found: list[xr.Dataset] = []
    for member in members:
        assert member.network is not None
        labels.append(member.label)
        network = member.network.isel(seed=0)
        if not math.isclose(network.attrs["dt"], trials.attrs["dt"]):
            raise FlowError(
                f"{member.label}: runs at dt = {network.attrs['dt']:g} s, and at that of the trials, "
                f"{trials.attrs['dt']:g} s, it would be a different network; give it trials at its own step"
            )
        random = np.random.default_rng([seed, zlib.crc32(labels[-1].encode())])
        starts = trajectory_states(network, trials, settings, random)
        for condition, inputs in tqdm(static_inputs.items(), desc=labels[-1], disable=not progress_bar):
            flow = flow_of(network, np.array(inputs, dtype=float), float(trials.attrs["dt"]))
            one = search(flow, starts, settings, random)
            logger.info(
                "%s, %s: %d fixed points (%d stable), %d slow points, %d cycles; %.0f %% of runs end elsewhere",
                labels[-1],
                condition,
                *(one[name] for name in ("n_fixed_points", "n_stable_fixed_points", "n_slow_points", "n_cycles")),
                100 * one["share_elsewhere"],
            )
            found.append(named(one, labels[-1], condition))
    return joined(found, labels, list(static_inputs)).assign_coords(input=trials["input"].values)


def named(found: xr.Dataset, network: str, condition: str) -> xr.Dataset:
    """What `search` found, with the network and the static input of each point and cycle."""
    return found.assign_coords(
        {
            name: (along, np.full(found.sizes[along], value))
            for along, prefix in (("point", ""), ("cycle", "cycle_"))
            for name, value in ((f"{prefix}network", network), (f"{prefix}condition", condition))
        }
    )


def joined(found: Sequence[xr.Dataset], networks: Sequence[str], conditions: Sequence[str]) -> xr.Dataset:
    """The `named` results of all searches, network by network and, of each, condition by condition, as one dataset."""

    def ragged(along: str) -> xr.Dataset:
        # Networks of fewer units than others leave the rest of their rows empty.
        parts = [one[[name for name in one.variables if along in one[name].dims]] for one in found]
        return xr.concat(parts, along, join="outer")

    shape = len(networks), len(conditions)
    per_search = xr.Dataset(
        {
            name: (
                ("searched_network", "searched_condition"),
                np.array([one[name].item() for one in found]).reshape(shape),
            )
            for name in found[0].data_vars
            if found[0][name].ndim == 0
        },
        coords={"searched_network": list(networks), "searched_condition": list(conditions)},
    )
    return xr.merge([ragged("point"), ragged("cycle"), per_search])


def of_networks(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """The results of `fixed_points` of several networks under the same static inputs, one after the other, as one."""

    def along(dimension: str) -> xr.Dataset:
        pieces = [one[[name for name in one.variables if dimension in one[name].dims]] for one in parts]
        return xr.concat(pieces, dimension, join="outer")

    joined_parts = [along(dimension) for dimension in ("point", "cycle", "searched_network")]
    return xr.merge(joined_parts).assign_coords(input=parts[0]["input"].values)
