"""Fixed points, slow points and limit cycles of trained networks under constant inputs.

Under a constant input u a network follows ``tau dx/dt = F(x)`` with

    F(x) = -x + J tanh(x) + W_in u + b,

simulated by the Euler map ``x <- x + alpha F(x)``, ``alpha = dt / tau``. F has the unit of the state (dimensionless).
The speed of a state is ``q = |F|^2 / 2`` (Sussillo & Barak 2013, "Opening the black box", eq. 2, there with
``dx/dt`` in place of F). The Jacobian of F is ``A = -I + J D`` with ``D = diag(1 - tanh(x)^2)``. Other architectures
have another F (`insd.networks`), with the Jacobian by automatic differentiation; all else is the same.

Zeros of F are sought from many starts in one batch, by Newton's method with a line search on q; starts from which it
cannot go on, because A is nearly singular, go over to Levenberg-Marquardt, which ends at zeros or at minima of q. On
trained networks Newton's method alone took a half to a tenth of the time of Levenberg-Marquardt alone and found as
many distinct zeros, but for a few saddles of the flip-flop. Neither cares about stability. What attracts the dynamics
is seen by letting them run.
"""

import copy
import logging
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from insd.activity import CHUNK
from insd.analysis.rounds import Round, network_label
from insd.networks import RateRNN, RecurrentNetworks, load_networks, simulated_as
from insd.settings import FixedPoints
from insd.tasks import Task

logger = logging.getLogger("insd.analysis.fixed_points")

ZERO_SPEED = 1e-14
"""Points below this speed q are zeros of F."""
TARGET_SPEED = 1e-26
"""Speed at which the search for a zero ends: rounding stops it near 1e-28."""
SETTLED_SPEED = 1e-7
"""Runs below this speed are not continued; they are in single precision, in which settled ones read 1e-13 to 1e-8."""
LEAST_SHARE = 0.02
"""Share of a Newton step that must lower the speed, for the method to go on."""
REPEATED_STEPS = 3
"""Most steps with the factors of one Jacobian after the first."""
CONVERGING = 0.1
"""Newton steps that lower the speed to less than this share of it are repeated with the same factors."""
BATCH = 128
"""Starts whose Jacobians are held at once (10 MB at 100 units in double precision)."""
DERIVATIVES = 16
"""States whose Jacobians automatic differentiation finds at once."""
HARMONICS = 40
"""Harmonics of the Fourier series that describes a limit cycle."""
CYCLE_ERROR = 1e-3
"""Share of a run's variance that the series of a limit cycle may leave unexplained: tori of trained networks left 0.01,
and an amplitude that changes by 3 % within 5 s leaves as much as this."""
CYCLE_DISTANCE = 0.08
"""Distance from a cycle's curve, as a share of its amplitude, within which a run is on it. Runs on the same cycle of a
trained network were within 0.03 of its curve, distinct cycles at least 0.13 apart."""
FAILURES = 32
"""Runs without a cycle after which no more are examined until the next block: each takes 0.01 s or more."""
ARTEFACT_PERIOD = 4.5
"""Cycles of fewer time steps are artefacts of the step: those of 2 to 4."""
STEADY = 0.2
"""A run whose amplitude changed by less than this share from one block to the next is recurrent (ours): tori are, and
chaotic runs, whose amplitude within half a block fluctuates by a tenth."""
PERTURBED_STARTS = 8
"""Perturbed starts per stable point that must return to it."""


@dataclass(frozen=True)
class Flow(ABC):
    """The dynamics of one network under one constant input, in double precision unless made `single`."""

    alpha: float
    """Euler step over time constant."""
    tau: float
    """Time constant in s."""

    @property
    def dt(self) -> float:
        """Time step in s."""
        return self.alpha * self.tau

    @abstractmethod
    def single(self) -> "Flow":
        """The same flow in single precision, in which it was trained and runs twice as fast."""

    @abstractmethod
    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        """F of each state."""

    @abstractmethod
    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        """F of each state under inputs of its own, added to the constant one."""

    @abstractmethod
    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        """Jacobian A of F at each state (row: of which component; column: in which unit)."""

    @abstractmethod
    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        """Derivative of F at each state in the inputs."""

    def speed(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state"]:
        """Speed ``q = |F|^2 / 2`` of each state."""
        return self.force(states).square().sum(1) / 2

    def normal_equations(
        self, states: Float[Tensor, "state unit"], force: Float[Tensor, "state unit"]
    ) -> tuple[Float[Tensor, "state unit unit"], Float[Tensor, "state unit"]]:
        """``A^T A`` and ``A^T F`` at each state, given F there."""
        transposed = self.jacobian(states).transpose(1, 2)
        return transposed @ transposed.transpose(1, 2), torch.bmm(transposed, force[..., None])[..., 0]

    def step(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        """The Euler map: each state one time step later."""
        return states + self.alpha * self.force(states)

    def run(
        self, states: Float[Tensor, "state unit"], steps: int, recorded: int = 0
    ) -> tuple[Float[Tensor, "state unit"], Float[Tensor, "time state unit"]]:
        """States after some steps of the Euler map, and those after each of the last `recorded` steps."""
        orbit = states.new_empty(recorded, *states.shape)
        for step in range(steps):
            states = self.step(states)
            if step >= steps - recorded:
                orbit[step - steps + recorded] = states
        return states, orbit


@dataclass(frozen=True)
class RateFlow(Flow):
    """The flow of a rate network, with its Jacobian in a formula."""

    recurrent_weights: Float[Tensor, "unit unit"]
    drive: Float[Tensor, "unit"]
    """Constant part of F: ``W_in u + b``."""
    input_weights: Float[Tensor, "unit input"]

    @classmethod
    def of_network(cls, network: xr.Dataset, inputs: Float[np.ndarray, "input"], dt: float) -> "RateFlow":
        """The flow of one seed of a `network.nc` under constant inputs."""
        input_weights = network["input_weights"].values.astype(np.float64)
        drive = input_weights @ inputs + network["bias"].values
        recurrent_weights = torch.from_numpy(network["recurrent_weights"].values).double()
        tau = float(network.attrs["tau"])
        return cls(dt / tau, tau, recurrent_weights, torch.from_numpy(drive), torch.from_numpy(input_weights))

    def single(self) -> "RateFlow":
        weights = (self.recurrent_weights.float(), self.drive.float(), self.input_weights.float())
        return RateFlow(self.alpha, self.tau, *weights)

    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        return torch.addmm(self.drive, torch.tanh(states), self.recurrent_weights.T) - states

    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        return self.force(states) + inputs @ self.input_weights.T

    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        matrices = self.recurrent_weights * (1 - torch.tanh(states).square())[:, None]
        matrices.diagonal(dim1=1, dim2=2).sub_(1)
        return matrices

    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        """W_in, whatever the state."""
        return self.input_weights.expand(len(states), -1, -1)

    @cached_property
    def gram(self) -> Float[Tensor, "unit unit"]:
        """``J^T J``: all that ``A^T A = I - J D - (J D)^T + D J^T J D`` needs of a product, at any state."""
        return self.recurrent_weights.T @ self.recurrent_weights

    def normal_equations(
        self, states: Float[Tensor, "state unit"], force: Float[Tensor, "state unit"]
    ) -> tuple[Float[Tensor, "state unit unit"], Float[Tensor, "state unit"]]:
        slopes = 1 - torch.tanh(states).square()
        weighted = self.recurrent_weights * slopes[:, None]
        normal = slopes[:, :, None] * self.gram * slopes[:, None]
        normal -= weighted
        normal -= weighted.transpose(1, 2)
        normal.diagonal(dim1=1, dim2=2).add_(1)
        return normal, torch.bmm(force[:, None], weighted)[:, 0] - force

    def step(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        constant, weights = self._step
        return torch.addmm(constant, torch.tanh(states), weights).add_(states, alpha=1 - self.alpha)

    @cached_property
    def _step(self) -> tuple[Float[Tensor, "unit"], Float[Tensor, "unit unit"]]:
        return self.alpha * self.drive, self.alpha * self.recurrent_weights.T


@dataclass(frozen=True)
class NetworkFlow(Flow):
    """The flow of a network of any architecture, with derivatives by automatic differentiation."""

    networks: RecurrentNetworks
    """One network, without gradients of its parameters."""
    inputs: Float[Tensor, "input"]

    @classmethod
    def of_network(cls, network: xr.Dataset, inputs: Float[np.ndarray, "input"], dt: float) -> "NetworkFlow":
        """The flow of one seed of a `network.nc` under constant inputs."""
        loaded = load_networks([network.expand_dims("seed")], dt).double().requires_grad_(False)
        return cls(loaded.alpha, float(network.attrs["tau"]), loaded, torch.from_numpy(inputs).double())

    def single(self) -> "NetworkFlow":
        return NetworkFlow(self.alpha, self.tau, copy.deepcopy(self.networks).float(), self.inputs.float())

    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        return self.networks.force(states[None], self.inputs.expand(1, len(states), -1))[0]

    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        return self.networks.force(states[None], (self.inputs + inputs)[None])[0]

    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        return self._derivative(states, 0)

    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        return self._derivative(states, 1)

    def _derivative(self, states: Tensor, argument: int) -> Tensor:
        """Derivatives of F in the state (0) or the inputs (1), state by state, in blocks that bound memory."""

        def force(state: Tensor, inputs: Tensor) -> Tensor:
            return self.networks.force(state[None, None], inputs[None, None])[0, 0]

        derivative = torch.func.vmap(torch.func.jacrev(force, argument), in_dims=(0, None))
        blocks = [derivative(block, self.inputs) for block in states.split(DERIVATIVES)]
        return torch.cat(blocks)


def flow_of(network: xr.Dataset, inputs: Float[np.ndarray, "input"], dt: float) -> Flow:
    """The flow of one seed of a `network.nc` of any architecture under constant inputs."""
    kind = RateFlow if issubclass(simulated_as(network), RateRNN) else NetworkFlow
    return kind.of_network(network, inputs, dt)


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
    visited = trajectories.flatten(0, 1)
    starts = visited[torch.from_numpy(random.integers(len(visited), size=settings.starts))]
    noisy = starts[settings.starts // 2 :]
    noisy += settings.noise * visited.std(0) * torch.from_numpy(random.standard_normal(noisy.shape))
    return starts


def minimise_speed(
    flow: Flow, starts: Float[Tensor, "start unit"]
) -> tuple[Float[Tensor, "start unit"], Float[Tensor, "start"]]:
    """Zeros of F, or where there is none to be reached, minima of the speed q, from each start; and their speeds."""
    ends = []
    for part in starts.split(BATCH):
        states, stalled = _newton(flow, part)
        states[stalled] = _levenberg_marquardt(flow, states[stalled])
        ends.append(states)
    states = torch.cat(ends) if ends else starts
    return states, flow.speed(states)


def _newton(
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
    for _ in range(iterations):
        if not len(active):
            break
        # Of the transposed Jacobian, since LAPACK's matrices are column by column, PyTorch's row by row.
        factors, pivots = torch.linalg.lu_factor_ex(single.jacobian(states[active].float()).mT)[:2]
        before = speed[active]
        steps = _newton_steps(factors, pivots, force[active])
        # Near a singular Jacobian steps are huge; beyond one unit of state per unit they lead nowhere.
        longest = steps.shape[1] ** 0.5
        steps *= (longest / steps.norm(dim=1, keepdim=True)).clamp(max=1)
        searching, share = torch.arange(len(active)), 1.0
        while len(searching) and share > LEAST_SHARE:
            index = active[searching]
            trial = states[index] + share * steps[searching]
            trial_force = flow.force(trial)
            trial_speed = trial_force.square().sum(1) / 2
            falls = trial_speed < speed[index] * (1 - 0.01 * share)
            moved = index[falls]
            states[moved], force[moved], speed[moved] = trial[falls], trial_force[falls], trial_speed[falls]
            searching, share = searching[~falls], share / 2
        for _ in range(REPEATED_STEPS):
            again = ((speed[active] < CONVERGING * before) & (speed[active] > TARGET_SPEED)).nonzero()[:, 0]
            if not len(again):
                break
            before, index = speed[active], active[again]
            trial = states[index] + _newton_steps(factors, pivots, force[active])[again]
            trial_force = flow.force(trial)
            trial_speed = trial_force.square().sum(1) / 2
            falls = trial_speed < speed[index]
            moved = index[falls]
            states[moved], force[moved], speed[moved] = trial[falls], trial_force[falls], trial_speed[falls]
        goes_on = torch.ones(len(active), dtype=torch.bool)
        goes_on[searching] = False
        active = active[goes_on & (speed[active] > TARGET_SPEED)]
    return states, speed > ZERO_SPEED


def _newton_steps(
    factors: Float[Tensor, "state unit unit"], pivots: Int[Tensor, "state unit"], force: Float[Tensor, "state unit"]
) -> Float[Tensor, "state unit"]:
    """Steps ``-A^-1 F`` from the factors of the transposed Jacobians."""
    right = force.to(factors.dtype)[..., None]
    return -torch.linalg.lu_solve(factors, pivots, right, adjoint=True)[..., 0].to(force.dtype)


def _levenberg_marquardt(
    flow: Flow, starts: Float[Tensor, "start unit"], iterations: int = 200
) -> Float[Tensor, "start unit"]:
    """Minimise q with steps ``-(A^T A + damping I)^-1 A^T F``, each start with a damping of its own.

    A start ends at a zero, where its steps vanish, or after three steps that each lower q by less than a thousandth.
    """
    states = starts.clone()
    force, speed = flow.force(states), flow.speed(states)
    damping = torch.full_like(speed, 1e-2)
    small_steps = torch.zeros(len(states), dtype=torch.long)
    active = torch.arange(len(states))
    for _ in range(iterations):
        if not len(active):
            break
        normal, gradient = flow.normal_equations(states[active], force[active])
        normal.diagonal(dim1=1, dim2=2).add_(damping[active, None])
        factor = torch.linalg.cholesky_ex(normal)[0]
        steps = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]

        trial = states[active] + steps
        trial_force = flow.force(trial)
        trial_speed = trial_force.square().sum(1) / 2
        falls = trial_speed < speed[active]
        small_steps[active[falls & (trial_speed > 0.999 * speed[active])]] += 1
        small_steps[active[trial_speed <= 0.999 * speed[active]]] = 0
        moved = active[falls]
        states[moved], force[moved], speed[moved] = trial[falls], trial_force[falls], trial_speed[falls]
        damping[active] *= torch.where(falls, 0.5, 4.0)
        goes_on = (speed[active] > TARGET_SPEED) & (small_steps[active] < 3) & ~(steps.norm(dim=1) < 1e-9)
        active = active[goes_on & (damping[active] < 1e6)]
    return states


def merge(
    states: Float[Tensor, "state unit"], speed: Float[Tensor, "state"], radius: float
) -> tuple[Int[Tensor, "point"], Int[Tensor, "point"]]:
    """Indices of the states that stand for all others within the radius, slowest first, and how many each stands for.

    The slowest state is kept, all within the radius of it are dropped, and so on with those that are left. So kept
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


@dataclass(frozen=True)
class Cycle:
    """A limit cycle: a closed curve of states, on which the Euler map moves by a constant share of the period."""

    state: Float[Tensor, "unit"]
    """One state on it."""
    curve: Float[Tensor, "phase unit"]
    period: float
    """Period in time steps."""
    amplitude: float
    """Root mean square distance of the states from their mean."""

    @classmethod
    def of_orbit(cls, orbit: Float[Tensor, "time unit"]) -> "Cycle | None":
        """The cycle that an orbit is on, if it is on one (see `find_cycle`)."""
        found = find_cycle(orbit.double().numpy())
        if found is None:
            return None
        curve = torch.from_numpy(found[1]).float()
        amplitude = float((curve - curve.mean(0)).square().sum(1).mean().sqrt())
        return cls(orbit[-1], curve, found[0], amplitude)

    def holds(self, orbit: Float[Tensor, "time run unit"]) -> Bool[Tensor, "run"]:
        """Which runs are on the cycle at all times given: within `CYCLE_DISTANCE` of the curve."""
        distances = torch.cdist(orbit.flatten(0, 1), self.curve).amin(1).view(orbit.shape[:2])
        return (distances < CYCLE_DISTANCE * self.amplitude).all(0)


def find_cycle(orbit: Float[np.ndarray, "time unit"]) -> tuple[float, Float[np.ndarray, "phase unit"]] | None:
    """Period in time steps and closed curve of a periodic orbit; None for any other.

    A step of the Euler map is no divisor of the period, so the orbit visits a closed curve without ever coming back to
    where it was. It is on one if a Fourier series in a single frequency, fitted to the first half, predicts the second
    half up to `CYCLE_ERROR` of the variance; chaotic orbits, tori and orbits that still converge do not pass. The
    frequency is that of the strongest line of the spectrum, or a half to a quarter of it, refined to the best fit.
    The period must fit into half of the orbit.
    """
    times, half = np.arange(len(orbit)), len(orbit) // 2
    roughness = np.square(np.concatenate([[1], *2 * [np.arange(1, HARMONICS + 1)]]))
    centred = orbit - orbit.mean(0)
    variance = np.square(centred).sum()

    def series(frequency: float, at: np.ndarray) -> np.ndarray:
        phases = 2 * np.pi * frequency * at[:, None] * np.arange(1, HARMONICS + 1)
        return np.concatenate([np.ones((len(at), 1)), np.cos(phases), np.sin(phases)], axis=1)

    def fit(frequency: float, length: int) -> np.ndarray:
        design = series(frequency, times[:length])
        normal = design.T @ design
        # Of harmonics that coincide at all times of an orbit, or nearly so, the lowest explain it: the curve is smooth.
        normal[np.diag_indices_from(normal)] += 1e-6 * length * roughness
        return np.linalg.solve(normal, design.T @ centred[:length])

    def error(frequency: float, length: int) -> float:
        return float(np.square(centred - series(frequency, times) @ fit(frequency, length)).sum() / variance)

    windowed = np.hanning(len(orbit))[:, None] * centred

    def power(frequency: float) -> float:
        return float(np.square(np.abs(np.exp(-2j * np.pi * frequency * times) @ windowed)).sum())

    spectrum = np.square(np.abs(np.fft.rfft(windowed, axis=0))).sum(1)
    # The first line next to zero would not fit twice into the orbit.
    line = 2 + spectrum[2:].argmax()
    strongest = scipy.optimize.minimize_scalar(
        lambda frequency: -power(frequency),
        bounds=((line - 1) / len(orbit), (line + 1) / len(orbit)),
        options={"xatol": 1e-3 / len(orbit)},
    ).x
    for divisor in (1, 2, 3, 4):
        # The window keeps lines apart, so that the strongest is known to a small part of a line's width. Farther away,
        # where the frequency is nearly one over a whole number of steps, lies its mirror image, which fits as well.
        guess, width = strongest / divisor, 0.02 / len(orbit) / divisor
        if guess * half < 1:
            return None
        if error(guess, len(orbit)) > 50 * CYCLE_ERROR:
            continue
        best = scipy.optimize.minimize_scalar(
            error, bounds=(guess - width, guess + width), args=(len(orbit),), options={"xatol": 1e-3 * width}
        )
        if best.fun < CYCLE_ERROR and error(best.x, half) < CYCLE_ERROR:
            phases = np.arange(256) / 256 / best.x
            return float(1 / best.x), series(best.x, phases) @ fit(best.x, len(orbit)) + orbit.mean(0)
    return None


def recurrence(orbit: Float[Tensor, "time run unit"]) -> Float[Tensor, "run"]:
    """How near runs come back to their last state, after half their way out, in lengths of their last time step.

    On a closed curve that is less than about 1, since one of two steps past a state is near it.
    """
    distances = (orbit - orbit[-1]).norm(dim=2).flip(0)
    left = (distances > distances.amax(0) / 2).cummax(0)[0]
    return torch.where(left, distances, torch.inf).amin(0) / distances[1]


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

    At the end of each block of time, the last half of it is searched for cycles.
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
        now = orbit.var(0, correction=0).sum(1).sqrt()
        moving = single.speed(ends[active]) > SETTLED_SPEED
        recurrent[active] = moving & ((now - amplitude[active]).abs() < STEADY * now)
        amplitude[active] = now
        active, orbit = active[moving], orbit[:, moving]
        some_times = orbit[:: len(orbit) // 16]
        for number, known in enumerate(cycles):
            cycle_of_run[active[known.holds(some_times)]] = number
        # Those that come back nearest go first: tori, which come back too, may otherwise use up the failures.
        nearness = recurrence(orbit)
        failures = 0
        for run in nearness.argsort().tolist():
            if nearness[run] > 1 or cycle_of_run[active[run]] >= 0:
                continue
            cycle = Cycle.of_orbit(orbit[:, run])
            if cycle is None:
                failures += 1
                if failures == FAILURES:
                    break
                continue
            cycles.append(cycle)
            on_it = cycle.holds(some_times) & (cycle_of_run[active] < 0)
            on_it[run] = True
            cycle_of_run[active[on_it]] = len(cycles) - 1
        active = active[cycle_of_run[active] < 0]
    confirmed, renumbered = _confirm(single, cycles, settings)
    on_cycle = cycle_of_run >= 0
    cycle_of_run[on_cycle] = renumbered[cycle_of_run[on_cycle]]
    return Runs(ends.double(), confirmed, cycle_of_run, recurrent)


def _confirm(flow: Flow, cycles: list[Cycle], settings: FixedPoints) -> tuple[list[Cycle], Int[Tensor, "cycle"]]:
    """Cycles that are still there after the longest run, each once, and which of them each given one has become.

    A slow spiral looks like a cycle for some time, and so does one cycle like two while orbits converge to it. The
    number is -1 for those that are no cycles any more.
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


def linearise(flow: Flow, points: Float[Tensor, "point unit"]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Eigenvalues of the flow's Jacobian ``A / tau`` at points, and the leading mode, as variables of a dataset.

    Eigenvalues are sorted by falling real part (then by falling imaginary part, so of a pair the one of positive
    frequency comes first): `eigenvalues_real` is the growth rate in 1/s and `eigenvalues_imag` / 2 pi the frequency in
    Hz. `stable` says whether the simulated map is stable, ``|1 + dt lambda| < 1``, and `stable_flow` whether the
    differential equation is. The right eigenvector of the first eigenvalue has unit norm and its largest component is
    real and positive; the left one is a row vector l with ``l A = tau lambda l``, scaled so that its product with the
    right one (without conjugation) is 1. `input_selection` is the modulus of its product with the derivative of F in
    each input, for rate networks a column of W_in: how strongly an input drives the mode (the selection vector of Mante
    et al. 2013, for real modes).
    """
    count, units = points.shape
    eigenvalues = np.empty((count, units), complex)
    right, left = np.empty((count, units), complex), np.empty((count, units), complex)
    for point, jacobian in enumerate(flow.jacobian(points).numpy()):
        values, left_vectors, right_vectors = scipy.linalg.eig(jacobian / flow.tau, left=True)
        order = np.lexsort((-values.imag, -values.real))
        eigenvalues[point] = values[order]
        vector = right_vectors[:, order[0]]
        largest = vector[np.abs(vector).argmax()]
        right[point] = vector / np.linalg.norm(vector) * (largest.conjugate() / abs(largest))
        row = left_vectors[:, order[0]].conjugate()
        left[point] = row / (row @ right[point])
    by_input = np.einsum("pu,pui->pi", left, flow.input_jacobian(points).numpy())
    return {
        "eigenvalues_real": (("point", "unit"), eigenvalues.real),
        "eigenvalues_imag": (("point", "unit"), eigenvalues.imag),
        "stable": (("point",), (np.abs(1 + flow.dt * eigenvalues) < 1).all(1)),
        "stable_flow": (("point",), (eigenvalues.real < 0).all(1)),
        "right_eigenvector_real": (("point", "unit"), right.real),
        "right_eigenvector_imag": (("point", "unit"), right.imag),
        "left_eigenvector_real": (("point", "unit"), left.real),
        "left_eigenvector_imag": (("point", "unit"), left.imag),
        "input_selection": (("point", "input"), np.abs(by_input)),
    }


def search(
    flow: Flow,
    starts: Float[Tensor, "start unit"],
    settings: FixedPoints,
    random: np.random.Generator,
) -> xr.Dataset:
    """Points (`point`) and cycles (`cycle`) of one network under one input, and where its autonomous runs end.

    Points are sought from the starts and from the distinct ends of the runs. The variables are those of `fixed_points`.
    """
    runs = long_runs(flow, starts, settings)
    distinct_ends = merge(runs.ends, flow.speed(runs.ends), settings.merge_radius)[0]
    states, speed = minimise_speed(flow, torch.cat([starts, runs.ends[distinct_ends]]))

    # Sorted by speed, zeros stand before slow points, so a slow point near a zero is merged into it.
    slow_enough = speed < settings.slow_speed
    kept, counts = merge(states[slow_enough], speed[slow_enough], settings.merge_radius)
    points, zero = states[slow_enough][kept], speed[slow_enough][kept] < ZERO_SPEED
    # Newton's method takes zeros that Levenberg-Marquardt ended at to the last digits.
    points[zero] = _newton(flow, points[zero])[0]

    modes = linearise(flow, points)
    attracting = torch.from_numpy(modes["stable"][1]) & zero
    returned = torch.zeros(len(points), dtype=torch.bool)
    returned[attracting] = returns(flow, points[attracting], settings, random)

    at_cycles = runs.cycle_of_run >= 0
    settled = (flow.speed(runs.ends) < settings.slow_speed) & ~at_cycles
    near = torch.cdist(runs.ends, points) < settings.merge_radius
    at_points = settled & near[:, returned].any(1)
    at_others = settled & near.any(1) & ~at_points
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


def fixed_points(
    task: Task,
    rounds: Iterable[Round],
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
      for all others); `n_starts`, the starts that the search led to it.
    - By cycle: `cycle_network`, `cycle_condition`; `cycle_state`, one state on it; `cycle_period` (s);
      `cycle_step_artefact`, a period of 2 to 4 time steps, which the differential equation does not have;
      `cycle_amplitude`, root mean square distance from the mean state; least and largest speed q on it,
      `cycle_speed_min` and `cycle_speed_max`; `cycle_n_runs`.
    - By (`searched_network`, `searched_condition`): `n_fixed_points`, `n_stable_fixed_points` (stable as simulated, and
      returned to), `n_not_returned_to` (stable by their eigenvalues, but perturbed starts do not return),
      `n_slow_points`, `n_cycles` (without artefacts of the step), and where long autonomous runs end:
      `share_at_points` (at stable points listed), `share_at_cycles` (on cycles listed), `share_slow` (below the speed
      of slow points, within the merging radius of another point listed) and `share_elsewhere` (at none of them), which
      add up to 1. Of those that end elsewhere, `share_drifting` are slow as well, `share_recurrent` move with an
      amplitude that no longer changes (tori and chaos), and the rest is unsettled.
    """
    static_inputs = task.static_inputs()
    labels: list[str] = []
    found: list[xr.Dataset] = []
    for current in rounds:
        for index, network_seed in enumerate(current.network["seed"].values):
            labels.append(network_label(current.population, int(network_seed), current.round_number))
            network = current.network.isel(seed=index)
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
                names = {
                    name: (along, np.full(one.sizes[along], value))
                    for along, prefix in (("point", ""), ("cycle", "cycle_"))
                    for name, value in ((f"{prefix}network", labels[-1]), (f"{prefix}condition", condition))
                }
                found.append(one.assign_coords(names))

    def ragged(along: str) -> xr.Dataset:
        # Networks of fewer units than others leave the rest of their rows empty.
        parts = [one[[name for name in one.variables if along in one[name].dims]] for one in found]
        return xr.concat(parts, along, join="outer")

    counts = {
        name: (("searched_network", "searched_condition"), np.array([one[name].item() for one in found]))
        for name in found[0].data_vars
        if found[0][name].ndim == 0
    }
    shape = len(labels), len(static_inputs)
    per_search = xr.Dataset(
        {name: (dimensions, values.reshape(shape)) for name, (dimensions, values) in counts.items()},
        coords={"searched_network": labels, "searched_condition": list(static_inputs)},
    )
    return xr.merge([ragged("point"), ragged("cycle"), per_search.assign_coords(input=trials["input"].values)])
