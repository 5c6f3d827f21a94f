"""Zeros of the force F of a flow and minima of its speed, from many starts, and which of them coincide.

Zeros are sought in one batch, by Newton's method with a line search on the speed q; starts at which it stalls,
because the Jacobian A is nearly singular, switch to Levenberg-Marquardt, which ends at zeros or at minima of q. On
trained networks Newton's method alone took a half to a tenth of the time of Levenberg-Marquardt alone and found as
many distinct zeros, except a few saddles of the flip-flop. Both find stable and unstable points. The saddles that few
starts lead to lie between other zeros, so the search goes on from midpoints of those found.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insd.dynamics.flow import Flow
from insd.dynamics.settings import FixedPoints

ZERO_SPEED = 1e-14
"""Points below this speed q are zeros of F."""
TARGET_SPEED = 1e-26
"""Speed at which the search for a zero ends: rounding stops it near 1e-28."""
LEAST_SHARE = 0.02
"""Smallest share of a Newton step that is tried; the method stalls if none lowers the speed."""
CRAWLING = 0.9
"""Newton steps that leave more than this share of the speed lead slowly along where the Jacobian is nearly singular."""
CRAWLS = 3
"""So many in a row are a stall."""
REPEATED_STEPS = 3
"""Most steps with the factors of one Jacobian after the first."""
CONVERGING = 0.1
"""Newton steps that lower the speed to less than this share of it are repeated with the same factors."""
BATCH = 128
"""Starts whose Jacobians are held at once (5 MB at 100 units in single precision)."""
MIDPOINTS = 128
"""Midpoints to go on from at once: one batch."""
ROUNDS = 4
"""Most batches of midpoints; there is a next one only if the last led to a zero that was not known."""


def seek(
    flow: Flow, starts: Float[Tensor, "start unit"], settings: FixedPoints, random: np.random.Generator
) -> tuple[Float[Tensor, "end unit"], Float[Tensor, "end"]]:
    """Ends of `minimise_speed` from each start, then from midpoints of pairs of the zeros found; and their speeds."""
    radius = settings.merge_radius
    states, speed = minimise_speed(flow, starts, settings.slow_speed)
    zeros = _distinct_zeros(states, speed, radius)
    for _ in range(ROUNDS):
        more, speed_of_more = minimise_speed(flow, midpoints(zeros, random), settings.slow_speed)
        states, speed = torch.cat([states, more]), torch.cat([speed, speed_of_more])
        known, zeros = len(zeros), _distinct_zeros(states, speed, radius)
        if len(zeros) <= known:
            break
    return states, speed


def _distinct_zeros(
    states: Float[Tensor, "state unit"], speed: Float[Tensor, "state"], radius: float
) -> Float[Tensor, "point unit"]:
    zero = speed < ZERO_SPEED
    return states[zero][merge(states[zero], speed[zero], radius)[0]]


def midpoints(points: Float[Tensor, "point unit"], random: np.random.Generator) -> Float[Tensor, "start unit"]:
    """Midpoints of all pairs of points, or of as many as `MIDPOINTS`, drawn from all."""
    first, second = torch.triu_indices(len(points), len(points), 1)
    drawn = torch.from_numpy(random.permutation(len(first))[:MIDPOINTS])
    return (points[first[drawn]] + points[second[drawn]]) / 2


def minimise_speed(
    flow: Flow, starts: Float[Tensor, "start unit"], slow_speed: float = math.inf
) -> tuple[Float[Tensor, "start unit"], Float[Tensor, "start"]]:
    """Zeros of F, or where there is none to be reached, minima of the speed q, from each start; and their speeds.

    Minima above `slow_speed` are not followed to the end.
    """
    ends = []
    for part in starts.split(BATCH):
        states, stalled = newton(flow, part)
        states[stalled] = levenberg_marquardt(flow, states[stalled], slow_speed)
        ends.append(states)
    states = torch.cat(ends) if ends else starts
    return states, flow.speed(states)


def newton(
    flow: Flow, starts: Float[Tensor, "start unit"], iterations: int = 60
) -> tuple[Float[Tensor, "start unit"], Bool[Tensor, "start"]]:
    """Newton's method with steps halved until q falls; states, and which starts ended without reaching a zero.

    While steps lower q enough, more are taken with the same factors of the Jacobian (Shamanskii 1967), which is nearly
    all that an iteration costs. The Jacobian is in single precision: that decides how fast the method converges, but
    states, F and so the end are in double precision.
    """
    single = flow.single()
    states = starts.clone()
    force, speed = flow.force(states), flow.speed(states)
    active = (speed > TARGET_SPEED).nonzero()[:, 0]
    crawls = torch.zeros(len(states), dtype=torch.long)
    for _ in range(iterations):
        if not len(active):
            break
        # Of the transposed Jacobian, since LAPACK's matrices are column by column, PyTorch's row by row.
        factors, pivots = torch.linalg.lu_factor_ex(single.jacobian(states[active].float()).mT)[:2]
        first = before = speed[active]
        steps = _newton_steps(factors, pivots, force[active])
        # Near a singular Jacobian steps are huge; beyond one unit of state per unit they lead nowhere.
        longest = steps.shape[1] ** 0.5
        steps *= (longest / steps.norm(dim=1, keepdim=True)).clamp(max=1)
        searching, share = torch.arange(len(active)), 1.0
        while len(searching) and share > LEAST_SHARE:
            index = active[searching]
            trial = states[index] + share * steps[searching]
            falls, _ = _move(flow, (states, force, speed), index, trial, speed[index] * (1 - 0.01 * share))
            searching, share = searching[~falls], share / 2
        for _ in range(REPEATED_STEPS):
            again = ((speed[active] < CONVERGING * before) & (speed[active] > TARGET_SPEED)).nonzero()[:, 0]
            if not len(again):
                break
            before, index = speed[active], active[again]
            trial = states[index] + _newton_steps(factors, pivots, force[active])[again]
            _move(flow, (states, force, speed), index, trial, speed[index])
        crawls[active] = torch.where(speed[active] > CRAWLING * first, crawls[active] + 1, 0)
        goes_on = crawls[active] < CRAWLS
        goes_on[searching] = False
        active = active[goes_on & (speed[active] > TARGET_SPEED)]
    return states, speed > ZERO_SPEED


def _newton_steps(
    factors: Float[Tensor, "state unit unit"], pivots: Int[Tensor, "state unit"], force: Float[Tensor, "state unit"]
) -> Float[Tensor, "state unit"]:
    """Steps ``-A^-1 F`` from the factors of the transposed Jacobians."""
    right = force.to(factors.dtype)[..., None]
    return -torch.linalg.lu_solve(factors, pivots, right, adjoint=True)[..., 0].to(force.dtype)


def _move(
    flow: Flow,
    at: tuple[Float[Tensor, "start unit"], Float[Tensor, "start unit"], Float[Tensor, "start"]],
    index: Int[Tensor, "trial"],
    trial: Float[Tensor, "trial unit"],
    bound: Float[Tensor, "trial"],
) -> tuple[Bool[Tensor, "trial"], Float[Tensor, "trial"]]:
    """Move those of the states at an index, with their F and speeds, whose trial is slower than a bound.

    Returns which those are, and the speeds of all trials.
    """
    states, force, speed = at
    trial_force = flow.force(trial)
    trial_speed = trial_force.square().sum(1) / 2
    falls = trial_speed < bound
    moved = index[falls]
    states[moved], force[moved], speed[moved] = trial[falls], trial_force[falls], trial_speed[falls]
    return falls, trial_speed


def levenberg_marquardt(
    flow: Flow, starts: Float[Tensor, "start unit"], slow_speed: float = math.inf, iterations: int = 200
) -> Float[Tensor, "start unit"]:
    """Minimise q with steps ``-(A^T A + damping I)^-1 A^T F``, each start with a damping of its own.

    The damping follows how much of the decrease that the linear model predicts comes true (Nielsen 1999): it falls to a
    fifth where all of it does, and grows twice as fast with every refusal in a row.
    A start ends at a zero, where its steps vanish, or after three steps that each lower q by less than a thousandth or,
    above `slow_speed`, where no minimum counts, by less than a hundredth.
    Steps are in single precision, as those of `newton`; where that is too coarse for a small damping, no step comes of
    it or one that does not lower q, and the damping grows.
    """
    single = flow.single()
    states = starts.clone()
    force, speed = flow.force(states), flow.speed(states)
    damping, growth = torch.full_like(speed, 1e-2), torch.full_like(speed, 2.0)
    small_steps = torch.zeros(len(states), dtype=torch.long)
    active = torch.arange(len(states))
    for _ in range(iterations):
        if not len(active):
            break
        steps, gradient = _damped_steps(single, states[active], force[active], damping[active])
        before = speed[active]
        falls, trial_speed = _move(flow, (states, force, speed), active, states[active] + steps, before)
        predicted = (steps * (damping[active, None] * steps - gradient)).sum(1) / 2
        surplus = 2 * (before - trial_speed) / predicted - 1
        least = before * torch.where(before > slow_speed, 0.99, 0.999)
        small_steps[active[falls & (trial_speed > least)]] += 1
        small_steps[active[trial_speed <= least]] = 0
        damping[active] *= torch.where(falls, (1 - surplus**3).clamp(min=0.2), growth[active])
        growth[active] = torch.where(falls, 2.0, 2 * growth[active])
        goes_on = (speed[active] > TARGET_SPEED) & (small_steps[active] < 3) & ~(steps.norm(dim=1) < 1e-9)
        active = active[goes_on & (damping[active] < 1e6)]
    return states


def _damped_steps(
    flow: Flow,
    states: Float[Tensor, "state unit"],
    force: Float[Tensor, "state unit"],
    damping: Float[Tensor, "state"],
) -> tuple[Float[Tensor, "state unit"], Float[Tensor, "state unit"]]:
    """Steps ``-(A^T A + damping I)^-1 A^T F`` and ``A^T F`` of a flow in single precision, in double precision."""
    normal, gradient = flow.normal_equations(states.float(), force.float())
    normal.diagonal(dim1=1, dim2=2).add_(damping[:, None])
    # The transpose is the same matrix, and column by column as LAPACK has it.
    factor = torch.linalg.cholesky_ex(normal.mT)[0]
    steps = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return steps.double(), gradient.double()


def merge(
    states: Float[Tensor, "state unit"], speed: Float[Tensor, "state"], radius: float
) -> tuple[Int[Tensor, "point"], Int[Tensor, "point"]]:
    """Indices of the states that represent all others within the radius, slowest first, and how many each represents.

    The slowest state is kept, all within its radius are dropped, and so on with the rest. So kept
    points are at least a radius apart, and a line of slow points has no more of them than its length over the radius.
    """
    order = speed.argsort()
    near = torch.cdist(states[order], states[order]) < radius
    left = torch.ones(len(states), dtype=torch.bool)
    kept, counts = [], []
    for position in range(len(states)):
        if left[position]:
            same = near[position] & left
            left &= ~same
            kept.append(position)
            counts.append(int(same.sum()))
    return order[torch.tensor(kept, dtype=torch.long)], torch.tensor(counts, dtype=torch.long)
