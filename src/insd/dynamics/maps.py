"""Fixed points, slow points, cycles and Jacobians of any step function: a network of your own, or any other map.

    from insd.dynamics import fixed_points_of

    found = fixed_points_of(lambda state, input: cell(input, state), states, inputs)

A step takes states (state, unit) and inputs (state, input) to the states one time step later, each row for itself. It
is written with PyTorch's operations and computes in double precision. A step x -> f(x) is searched as

    F(x) = (f(x) - x) / alpha,    alpha = dt / tau,

so that its fixed points are the zeros of F (`insd.dynamics.flow`). Of an Euler step of ``tau dx/dt = F(x)`` that is the
F of the differential equation; of a map that is nothing else, alpha is 1.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.dynamics.flow import Flow
from insd.dynamics.search import joined, named, search
from insd.dynamics.settings import FixedPoints
from insd.errors import InsdError
from insd.plugins import told

BLOCK = 1000
"""Time steps of one block of a long run, without settings."""
LEAST_BLOCK = 64
"""Fewest time steps of one block, half of which is searched for cycles."""
DIVERGED = 1e6
"""Runs whose states exceed the largest state given, or 1, by this factor have diverged: they end nowhere."""
DERIVATIVES = 1_000_000
"""Numbers in the Jacobians that automatic differentiation finds at once; each takes about 100 bytes."""
CHECKED = 8
"""States at which a step is checked before the search."""

Step = Callable[..., Any]
"""``step(state, input) -> state``; ``step(state) -> state`` where no inputs are given."""


class StepError(InsdError):
    """A step function cannot be searched; the message says why and what to do."""


@dataclass(frozen=True)
class StepFlow(Flow):
    """The flow whose Euler map is a given step, with derivatives by automatic differentiation."""

    map: Step
    """The step in double precision, of states and inputs."""
    inputs: Float[Tensor, "input"]
    farthest: float
    """Largest modulus of a variable of states that have not diverged."""
    precision: torch.dtype = torch.float64
    """Of the states, not of the step."""

    def single(self) -> "StepFlow":
        """The same with states in single precision; the step stays in double precision, in which alone it is given."""
        return replace(self, precision=torch.float32)

    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        return self._force(states, self.inputs.expand(len(states), -1))

    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        return self._force(states, self.inputs + inputs)

    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        matrices = self.step_jacobian(states)
        matrices.diagonal(dim1=1, dim2=2).sub_(1)
        return matrices / self.alpha

    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        return self._derivative(states, 1) / self.alpha

    def step_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        """Jacobian of the step itself at each state."""
        return self._derivative(states, 0)

    def step(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        """The step; NaN where it diverges."""
        after = self._next(states.double(), self.inputs.expand(len(states), -1))
        within = (after.abs() <= self.farthest).all(1, keepdim=True)
        return torch.where(within, after, torch.nan).to(self.precision)

    def _force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        before = states.double()
        return ((self._next(before, inputs.double()) - before) / self.alpha).to(self.precision)

    def _next(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        # Modules refuse batches without rows.
        return self.map(states, inputs).detach() if len(states) else states

    def _derivative(self, states: Tensor, argument: int) -> Tensor:
        """Derivatives of the step in the state (0) or the input (1), in blocks that bound memory.

        As rows do not depend on each other, those of the sum over rows are those of each row.
        """
        size = (states.shape[1], len(self.inputs))[argument]
        found = states.new_empty(len(states), states.shape[1], size, dtype=self.precision)
        if not found.numel():
            return found
        rows = max(1, DERIVATIVES // states.shape[1] ** 2)
        for block, into in zip(states.double().split(rows), found.split(rows), strict=True):
            both = block, self.inputs.expand(len(block), -1)
            summed = torch.func.jacrev(lambda *both: self.map(*both).sum(0), argument)
            into[:] = summed(*both).transpose(0, 1).detach()
        return found


def fixed_points_of(
    step: Step,
    states: Any,
    inputs: Any = None,
    *,
    readout: Any = None,
    dt: float = 1.0,
    tau: float | None = None,
    settings: FixedPoints | None = None,
    seed: int = 0,
    name: str = "network",
) -> xr.Dataset:
    """Fixed points, slow points and limit cycles of a step function under constant inputs.

    Parameters
    ----------
    step : ``step(state, input) -> state`` of tensors (state, unit) and (state, input), each row for itself;
        ``step(state) -> state`` if there are no inputs. Or a recurrent module of PyTorch: an `RNNCell` or `GRUCell`, an
        `LSTMCell` (whose state is h and c side by side), or an `RNN` or `GRU` of one layer and direction. Modules are
        copied into double precision; what any other function uses must be in double precision (``cell.double()``).
    states : where to start from, (state, unit) or (trial, time, unit), such as those along trajectories; NaN after the
        end of trials. If they are more than `settings.starts`, so many of them are drawn.
    inputs : a constant input (input,), or several of them by name. For modules without inputs given, zero.
    readout : what reads the outputs out of states, if anything: an array (output, unit), a `torch.nn.Linear`, or any
        function of states (state, unit).
    dt : duration of a step; 1 measures time in steps.
    tau : time constant, where the step is an Euler step of ``tau dx/dt = F(x)``. Without one, F is what a step adds.
    settings : of the search. Without any, starts are as given, without noise, and runs go on for up to five blocks of
        `BLOCK` steps; a cycle's period must fit four times into a block. `slow_speed` and `merge_radius` are in units
        of the states, and their defaults fit states of order 1.
    seed : of what is random in the search.
    name : of the network in the dataset.

    Returns
    -------
    The dataset of `insd.dynamics.search.fixed_points`, with times in the unit of `dt`, and as well:

    multipliers_real, multipliers_imag (point, unit) : eigenvalues of the step's own Jacobian, ``1 + dt lambda`` for
        eigenvalues lambda. A point is stable where all moduli are below 1. `stable_flow` has a meaning only with `tau`.
    jacobian (point, unit, unit_from) : the step's Jacobian.
    outputs (point, output), cycle_outputs (cycle, output) : of the state, where there is a readout.

    Without `tau`, cycles of two to four steps are no artefacts, and count. Runs that diverge count as ending elsewhere.
    Raises StepError, in one line, if the step, the states or the inputs cannot be used.
    """
    given = _flows(step, states, inputs, dt, tau)
    flows, starts = given.flows, given.starts
    if readout is not None:
        _outputs(readout, starts[:1])
    chosen = settings or FixedPoints(noise=0.0, block=BLOCK * dt)
    if round(chosen.block / dt) < LEAST_BLOCK:
        raise StepError(f"settings.block = {chosen.block:g} is less than {LEAST_BLOCK} steps of dt = {dt:g}; raise it")
    if seed < 0:
        raise StepError(f"seed = {seed}: must be 0 or more")
    random = np.random.default_rng(seed)
    if len(starts) > chosen.starts:
        starts = starts[torch.from_numpy(np.sort(random.choice(len(starts), chosen.starts, replace=False)))]
    if chosen.noise:
        noisy = starts[len(starts) // 2 :]
        noisy += chosen.noise * starts.std(0) * torch.from_numpy(random.standard_normal(noisy.shape))
    found = []
    for condition, flow in flows.items():
        one = search(flow, starts, chosen, random)
        points = torch.from_numpy(one["state"].values)
        one["jacobian"] = (("point", "unit", "unit_from"), flow.step_jacobian(points).numpy())
        for part, offset in (("real", 1), ("imag", 0)):
            one[f"multipliers_{part}"] = offset + dt * one[f"eigenvalues_{part}"]
        if tau is None:
            one["cycle_step_artefact"] = xr.zeros_like(one["cycle_step_artefact"])
            one["n_cycles"] = one.sizes["cycle"]
        if readout is not None:
            for variable, prefix in (("state", ""), ("cycle_state", "cycle_")):
                outputs = _outputs(readout, torch.from_numpy(one[variable].values).double())
                one[f"{prefix}outputs"] = ((one[variable].dims[0], "output"), outputs)
        found.append(named(one, name, condition))
    return joined(found, [name], list(flows)).assign_attrs(dt=dt, tau=dt if tau is None else tau)


def jacobians_of(step: Step, states: Any, inputs: Any = None) -> Float[np.ndarray, "state unit unit"]:
    """Jacobian of a step at each of the states (row: unit after the step; column: unit before it).

    The arguments are those of `fixed_points_of`, with one constant input.
    """
    found = _flows(step, states, inputs, 1.0, None)
    if len(found.flows) > 1:
        raise StepError(f"inputs: {len(found.flows)} inputs by name; give one (input,)")
    (flow,) = found.flows.values()
    return flow.step_jacobian(found.starts).numpy()


@dataclass(frozen=True)
class _Found:
    flows: dict[str, StepFlow]
    """By the name of the constant input."""
    starts: Float[Tensor, "start unit"]


def _flows(step: Step, states: Any, inputs: Any, dt: float, tau: float | None) -> _Found:
    """The flows of a step under each input, after checks, and the states to start from."""
    if not (0 < dt < math.inf and (tau is None or dt <= tau < math.inf)):
        raise StepError(f"dt = {dt:g} and tau = {tau}: dt must be positive, tau at least dt, and both finite")
    starts = _array("states", states)
    if starts.ndim == 3:
        starts = starts[~np.isnan(starts).all(-1)]
    if starts.ndim != 2 or not starts.size or not np.isfinite(starts).all():
        raise StepError(
            f"states: have shape {starts.shape}, or hold NaN; needs finite states (state, unit) or (trial, time, unit)"
        )
    map_of, width = _stepping(step)
    given = _inputs(inputs, width)
    farthest = DIVERGED * max(1.0, float(np.abs(starts).max()))
    flows = {}
    for name, values in given.items():
        of_states = map_of if values is not None else lambda states, inputs: map_of(states)
        constant = torch.from_numpy(np.zeros(0) if values is None else values)
        flows[name] = StepFlow(dt / (tau or dt), tau or dt, of_states, constant, farthest)
        _check(flows[name], torch.from_numpy(starts[:: -(-len(starts) // CHECKED)]))
    return _Found(flows, torch.from_numpy(starts))


def _stepping(step: Step) -> tuple[Step, int | None]:
    """The step in double precision; and for modules of PyTorch, how many inputs it takes."""
    module = step if isinstance(step, torch.nn.Module) else getattr(step, "__self__", None)
    if not isinstance(module, torch.nn.Module):
        return step, None
    copied = copy.deepcopy(module).double().eval().requires_grad_(False)
    if step is not module:
        return getattr(copied, step.__name__), None
    if isinstance(copied, torch.nn.LSTMCell):
        return lambda states, inputs: torch.cat(copied(inputs, states.chunk(2, -1)), -1), copied.input_size
    if isinstance(copied, torch.nn.RNNCellBase):
        return lambda states, inputs: copied(inputs, states), copied.input_size
    if isinstance(copied, torch.nn.RNN | torch.nn.GRU):
        if copied.num_layers > 1 or copied.bidirectional:
            raise StepError("step: is a module of several layers or directions; give a function of all their states")
        axis = 1 if copied.batch_first else 0
        return (
            lambda states, inputs: copied(inputs.unsqueeze(axis), states[None].contiguous())[1][0],
            copied.input_size,
        )
    if isinstance(copied, torch.nn.RNNBase):
        raise StepError("step: give a torch.nn.LSTMCell, or a function of h and c side by side")
    return copied, None


def _inputs(given: Any, width: int | None) -> dict[str, Float[np.ndarray, "input"] | None]:
    """Constant inputs by name; None where the step takes none."""
    if given is None:
        return {"no_input": None if width is None else np.zeros(width)}
    named = given if isinstance(given, Mapping) else {"input": given}
    found: dict[str, Any] = {str(name): _array(f"inputs, {name}", values) for name, values in named.items()}
    for name, values in found.items():
        if values.ndim != 1 or not np.isfinite(values).all() or (width is not None and len(values) != width):
            raise StepError(
                f"inputs, {name}: has shape {values.shape}; needs finite numbers ({width or 'input'},). Give several "
                "constant inputs by name: inputs={'left': [1, 0], 'right': [0, 1]}"
            )
    if not found:
        raise StepError("inputs: are empty; leave them out for a step without inputs")
    if len(lengths := {len(values) for values in found.values()}) > 1:
        raise StepError(f"inputs: have {' and '.join(map(str, sorted(lengths)))} numbers; give all of them the same")
    return found


def _check(flow: StepFlow, states: Float[Tensor, "state unit"]) -> None:
    """Raise StepError unless the step is what the search relies on, at some states."""
    inputs = flow.inputs.expand(len(states), -1)
    given = states.clone()
    try:
        after = flow.map(states, inputs)
    except Exception as error:  # the user's own code may raise anything
        if _works_in_single(flow, states):
            raise StepError(_SINGLE) from None
        takes_input = isinstance(error, TypeError) and not flow.inputs.numel()
        hint = '; if it takes an input, give inputs={"off": [...]}' if takes_input else ""
        raise StepError(f"step: fails for states {tuple(states.shape)} ({told(error)}){hint}") from None
    if not isinstance(after, Tensor) or after.shape != states.shape:
        what = f"a tensor {tuple(after.shape)}" if isinstance(after, Tensor) else f"a {type(after).__name__}"
        raise StepError(
            f"step: gives {what} for states {tuple(states.shape)}; needs the next states, a tensor of that shape"
        )
    if after.dtype != torch.float64:
        raise StepError(_SINGLE)
    after = after.detach()
    if not torch.equal(states, given):
        raise StepError("step: writes into the states that it is given; return new ones")
    if not torch.isfinite(after).all():
        raise StepError("step: gives values that are not finite for the states given")
    if not torch.equal(flow.map(states, inputs), after):
        raise StepError(
            "step: gives different states from the same ones; switch off noise and dropout (module.eval()), and keep "
            "no state between calls"
        )
    alone = torch.cat([flow.map(states[[row]], inputs[[row]]).detach() for row in range(len(states))])
    if not torch.allclose(alone, after, rtol=1e-6, atol=1e-9):
        raise StepError("step: a state's next one depends on the other rows; let each row step by itself")
    _check_derivative(flow, states)


def _check_derivative(flow: StepFlow, states: Float[Tensor, "state unit"]) -> None:
    """Compare the Jacobian with differences along one direction; a kink, as of relu, may be at some of the states."""
    scale = states.abs().amax().clamp(min=1e-3)
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(states.shape[1])) * 1e-5 * scale
    try:
        expected = (flow.step_jacobian(states) @ direction[:, None])[..., 0]
    except Exception as error:  # the user's own code may raise anything
        raise StepError(f"step: cannot be differentiated by torch.func ({told(error)})") from None
    inputs = flow.inputs.expand(len(states), -1)
    ahead, behind = (flow.map(states + sign * direction, inputs).detach() for sign in (1, -1))
    found = (ahead - behind) / 2
    errors = (found - expected).norm(dim=1)
    if not (errors < 1e-3 * (found.norm(dim=1) + 1e-3 * direction.norm())).any():
        raise StepError(
            "step: its derivative is not that of its values; compute with PyTorch's operations throughout, without "
            ".numpy(), .item() or .detach()"
        )


_SINGLE = (
    "step: computes in single precision, and points are found in double precision; give it weights in double precision "
    "(module.double()), or the module itself, which is copied"
)


def _works_in_single(flow: StepFlow, states: Float[Tensor, "state unit"]) -> bool:
    try:
        flow.map(states.float(), flow.inputs.float().expand(len(states), -1))
    except Exception:  # then that is not the reason
        return False
    return True


def _outputs(readout: Any, states: Float[Tensor, "state unit"]) -> Float[np.ndarray, "state output"]:
    """What a readout gives of states."""
    if isinstance(readout, torch.nn.Module):
        function: Any = copy.deepcopy(readout).double().eval()
    elif callable(readout) and not isinstance(readout, Tensor):
        function = readout
    else:
        weights = torch.from_numpy(_array("readout", readout))
        if weights.ndim != 2 or weights.shape[1] != states.shape[1]:
            raise StepError(
                f"readout: has shape {tuple(weights.shape)}; needs (output, unit) with {states.shape[1]} units"
            )
        function = lambda states: states @ weights.T  # noqa: E731 - as short as the others
    try:
        outputs = function(states).detach().numpy()
        return outputs[:, None] if outputs.ndim == 1 else outputs.reshape(len(states), np.prod(outputs.shape[1:]))
    except Exception as error:  # the user's own code may raise anything
        raise StepError(f"readout: fails for states {tuple(states.shape)} ({told(error)})") from None


def _array(what: str, given: Any) -> Float[np.ndarray, "..."]:
    try:
        plain = given.detach().cpu().numpy() if hasattr(given, "detach") else given
        return np.array(plain, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StepError(f"{what}: cannot be read as an array of numbers ({error})") from None
