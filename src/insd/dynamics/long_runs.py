"""Long autonomous runs, which show what attracts the dynamics: where they end, and whether they return to a point."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insd.dynamics.flow import Flow
from insd.dynamics.limit_cycles import Cycle
from insd.dynamics.settings import FixedPoints

SETTLED_SPEED = 1e-7
"""Runs below this speed are not continued; they are in single precision, in which settled ones read 1e-13 to 1e-8."""
FAILURES = 32
"""Fits without a cycle, or with one that holds no other run, after which no more runs are examined until the next
block: each takes 0.01 s or more, and runs that still converge, each along a curve of its own, are one cycle later."""
STEADY = 0.2
"""A run whose amplitude changed by less than this share from one block to the next is recurrent (ours): tori are, and
chaotic runs, whose amplitude within half a block fluctuates by a tenth."""
IN_CACHE = 8
"""Time steps of all runs that are worked on at once."""
PERTURBED_STARTS = 8
"""Perturbed starts per stable point that must return to it."""


def recurrence(orbit: Float[Tensor, "time run unit"]) -> Float[Tensor, "run"]:
    """How near runs come back to their last state, after half their way out, in lengths of their last time step.

    On a closed curve that is less than about 1, since one of two steps past a state is near it.
    """
    distances = torch.cat([(part - orbit[-1]).norm(dim=2) for part in orbit.split(IN_CACHE)]).flip(0)
    left = (distances > distances.amax(0) / 2).cummax(0)[0]
    return torch.where(left, distances, torch.inf).amin(0) / distances[1]


def _amplitude(orbit: Float[Tensor, "time run unit"]) -> Float[Tensor, "run"]:
    """Root mean square distance of each run from its mean state."""
    mean = orbit.mean(0)
    return (sum((part - mean).square_().sum((0, 2)) for part in orbit.split(IN_CACHE)) / len(orbit)).sqrt()


@dataclass(frozen=True)
class Runs:
    """Where long autonomous runs ended."""

    ends: Float[Tensor, "run unit"]
    cycles: list[Cycle]
    cycle_of_run: Int[Tensor, "run"]
    """Which cycle a run ended on; -1 if on none."""
    recurrent: Bool[Tensor, "run"]
    """Whether a run moved to the end, and in its last two blocks with the same amplitude up to `STEADY`."""


def long_runs(flow: Flow, starts: Float[Tensor, "run unit"], settings: FixedPoints) -> Runs:
    """Let the dynamics run until they settle, are on a limit cycle, or the time is over.

    At the end of each block of time, the last half of it is searched for cycles. Runs that were not examined to the end
    count if a cycle found from others holds them.
    """
    single = flow.single()
    ends = starts.float()
    cycles: list[Cycle] = []
    cycle_of_run = torch.full((len(ends),), -1)
    amplitude = torch.full((len(ends),), torch.nan)
    recurrent = torch.zeros(len(ends), dtype=torch.bool)
    active = torch.arange(len(ends))
    steps = round(settings.block / flow.dt)
    for _ in range(settings.blocks):
        if not len(active):
            break
        ends[active], orbit = single.run(ends[active], steps, recorded=steps // 2)
        moving = single.speed(ends[active]) > SETTLED_SPEED
        recurrent[active] = False
        active, orbit = active[moving], orbit[:, moving]
        now = _amplitude(orbit)
        recurrent[active] = (now - amplitude[active]).abs() < STEADY * now
        amplitude[active] = now
        some_times = orbit[:: len(orbit) // 16]
        for number, known in enumerate(cycles):
            cycle_of_run[active[known.holds(some_times)]] = number
        # The closest returns go first: tori, which also return, could otherwise use up the failures.
        nearness = recurrence(orbit)
        failures = 0
        for run in nearness.argsort().tolist():
            if nearness[run] > 1 or cycle_of_run[active[run]] >= 0:
                continue
            cycle = Cycle.of_orbit(orbit[:, run])
            held = 0
            if cycle is not None:
                on_it = cycle.holds(some_times) & (cycle_of_run[active] < 0)
                on_it[run] = True
                cycle_of_run[active[on_it]] = len(cycles)
                cycles.append(cycle)
                held = int(on_it.sum())
            failures += held <= 1
            if failures == FAILURES:
                break
        left = cycle_of_run[active] < 0
        active, some_times = active[left], some_times[:, left]
    confirmed, renumbered = _confirm(single, cycles, settings)
    on_cycle = cycle_of_run >= 0
    cycle_of_run[on_cycle] = renumbered[cycle_of_run[on_cycle]]
    for number, cycle in enumerate(confirmed):
        cycle_of_run[active[cycle.holds(some_times)]] = number
    return Runs(ends.double(), confirmed, cycle_of_run, recurrent)


def _confirm(flow: Flow, cycles: list[Cycle], settings: FixedPoints) -> tuple[list[Cycle], Int[Tensor, "cycle"]]:
    """Cycles that are still there after the longest run, each once, and which of them each given one has become.

    A slow spiral looks like a cycle for some time, and so does one cycle like two while orbits converge to it. The
    number is -1 for those that are no longer cycles.
    """
    confirmed: list[Cycle] = []
    number = torch.full((len(cycles),), -1)
    if not cycles:
        return confirmed, number
    steps = round(settings.block / flow.dt)
    orbit = flow.run(torch.stack([cycle.state for cycle in cycles]), settings.blocks * steps, steps // 2)[1]
    for earlier in range(len(cycles)):
        if number[earlier] >= 0 or flow.speed(orbit[-1, [earlier]]) < SETTLED_SPEED:
            continue
        cycle = Cycle.of_orbit(orbit[:, earlier])
        if cycle is not None:
            same = (number < 0) & cycle.holds(orbit[:: len(orbit) // 16])
            same[earlier] = True
            number[same] = len(confirmed)
            confirmed.append(cycle)
    return confirmed, number


def returns(
    flow: Flow, points: Float[Tensor, "point unit"], settings: FixedPoints, random: np.random.Generator
) -> Bool[Tensor, "point"]:
    """Whether the dynamics return to points from all of several states a tenth of the merging radius away.

    They have if they come ten times as near, within the time of the longest run.
    """
    distance = settings.merge_radius / 10
    directions = torch.from_numpy(random.standard_normal((len(points), PERTURBED_STARTS, points.shape[1])))
    directions *= distance / directions.norm(dim=2, keepdim=True)
    states = (points[:, None] + directions).flatten(0, 1)
    back = torch.zeros(len(points), dtype=torch.bool)
    for _ in range(settings.blocks):
        states = flow.run(states, round(settings.block / flow.dt))[0]
        away = (states.view_as(directions) - points[:, None]).norm(dim=2).amax(1)
        back = away < distance / 10
        if back.all():
            break
    return back
