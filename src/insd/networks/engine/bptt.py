"""Simulation of rate networks and its hand-written gradient (backpropagation through time).

The Euler step of ``tau dx/dt = -x + J r + W_in u + b + noise`` with rates ``r = phi(x)`` and ``alpha = dt / tau`` is

    x[t] = (1 - alpha) x[t-1] + alpha (J r[t-1] + W_in u[t] + b) + noise[t].

With outputs ``y = W_out r + b_out``, errors ``e[t] = dL/dy[t]``, and the gradient ``g[t]`` of what else depends on the
rates, the gradient with respect to the states runs backwards in time,

    d[t] = (1 - alpha) d[t+1] + (g[t] + W_out^T e[t] + alpha J^T d[t+1]) * phi'(x[t]),

where phi' follows from the rates, ``1 - r^2`` for tanh (`insd.networks.engine.nonlinearity`); and every weight gradient
is one large matrix product over all times and trials, outside the loop (Werbos 1990, "Backpropagation through time:
what it does and how to do it").

Several networks run side by side along a leading axis. Arrays are (network, time, trial, ...): a time step is a
contiguous (trial, unit) matrix per network, and all times and trials of a network are one matrix without a copy.

The loops over time are compiled C on a CPU (`insd.networks.engine.loops`), one kernel each on a GPU where Triton is
installed and the weights fit on chip (`insd.networks.engine.persistent`), and otherwise PyTorch, as a CUDA graph on a
GPU. All give the same numbers up to rounding.
"""

from collections.abc import Callable, Hashable
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from insd.errors import InsdError
from insd.networks.engine.keyed import KeyedNoise
from insd.networks.engine.loops import COMPILED, CompiledLoops
from insd.networks.engine.nonlinearity import NONLINEARITIES, Nonlinearity

try:
    from insd.networks.engine import persistent
except ImportError:  # Triton is not installed: a GPU runs CUDA graphs
    persistent = None  # type: ignore[assignment]

Loop = Callable[[], object]
"""One loop over time."""


class Workspace:
    """Memory, and loops over time in it, that one simulation after another uses, each with its gradient.

    Blocks of megabytes that are taken anew for every batch cost more than the arithmetic on them; and on a GPU, loops
    in memory that stays where it is become CUDA graphs, which start all their steps at once. What `simulate` returns
    from a workspace is overwritten by the next simulation in it.
    """

    def __init__(self) -> None:
        self.blocks: dict[str, Tensor] = {}
        self.loops: dict[Hashable, Loop] = {}

    def block(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The block of that name, of any content, with the type and device of another tensor."""
        block = self.blocks.get(name)
        if block is None or (block.shape, block.dtype, block.device) != (shape, like.dtype, like.device):
            block = self.blocks[name] = like.new_empty(shape)
            self.loops.clear()
        return block

    def run(self, key: Hashable, make: Callable[[], Loop]) -> None:
        """Run the loop of that key, made once for blocks as they are; it may read and write nothing but blocks."""
        if key not in self.loops:
            loop, blocks = make(), list(self.blocks.values())
            self.loops[key] = _as_cuda_graph(loop, blocks) if blocks[0].is_cuda else loop
        self.loops[key]()


def _as_cuda_graph(loop: Loop, blocks: list[Tensor]) -> Loop:
    """The same loop, with one launch for all its kernels."""
    # The libraries that it calls must have been called before, on a stream of its own; this changes the blocks.
    contents = [block.clone() for block in blocks]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        loop()
    torch.cuda.current_stream().wait_stream(aside)
    for block, content in zip(blocks, contents, strict=True):
        block.copy_(content)
    graph = torch.cuda.CUDAGraph()
    # Gradients run in a thread of their own, while the one that asked for them waits.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        loop()
    return graph.replay


def _forward_loop(
    states: Float[Tensor, "network time trial unit"],
    rates: Float[Tensor, "network time_and_first trial unit"],
    step: Float[Tensor, "network unit unit"],
    first: Float[Tensor, "network 1 unit"],
    keep: float,
    nonlinearity: Nonlinearity,
) -> Loop:
    """Turns the external drive in `states` into the states, and fills `rates` from its second time on."""
    transposed, state_at, rate_at = step.transpose(1, 2), states.unbind(1), rates.unbind(1)

    def loop() -> None:
        previous = first
        for state, presynaptic, rate in zip(state_at, rate_at, rate_at[1:], strict=False):
            state.add_(previous, alpha=keep)
            state.baddbmm_(presynaptic, transposed)
            nonlinearity.fill_rates(state, rate)
            previous = state

    return loop


def _backward_loop(
    grad_states: Float[Tensor, "network time trial unit"],
    rates: Float[Tensor, "network time_and_first trial unit"],
    step: Float[Tensor, "network unit unit"],
    slope: Float[Tensor, "network trial unit"],
    one: Float[Tensor, ""],
    keep: float,
    nonlinearity: Nonlinearity,
) -> Loop:
    """Turns the gradient with respect to the rates in `grad_states` into that with respect to the states."""
    grad_at, rate_at = grad_states.unbind(1), rates.unbind(1)[1:]

    def loop() -> None:
        following = None
        for grad, rate in zip(reversed(grad_at), reversed(rate_at), strict=True):
            # Step by step the slopes stay in the processor's cache.
            nonlinearity.fill_slopes(rate, one, slope)
            if following is None:
                grad.mul_(slope)
            else:
                grad.baddbmm_(following, step).mul_(slope).add_(following, alpha=keep)
            following = grad

    return loop


def compiled_for(array: Tensor) -> CompiledLoops | None:
    """The compiled loops, if they can work on arrays like this one."""
    return COMPILED if array.device.type == "cpu" and array.dtype == torch.float32 else None


def persistent_for(array: Tensor, units: int, inputs: int, outputs: int) -> ModuleType | None:
    """The kernels that walk all time steps at once, if they can work on arrays like this one and on such networks."""
    if persistent is None or not array.is_cuda or array.dtype != torch.float32:
        return None
    fits = units <= persistent.MOST_UNITS and max(inputs, outputs) <= persistent.MOST_CHANNELS
    return persistent if fits else None


class SimulationError(InsdError):
    """Arrays whose shapes do not fit each other; the message names one."""


def _fitting(inputs: Tensor, units: int, outputs: int, **arrays: Tensor | None) -> list[Tensor | None]:
    """The arrays, in their order and in the type of the inputs.

    Compiled loops would take numbers of another type for their own, and read what is not there where shapes do not fit.
    """
    networks, times, trials, n_inputs = inputs.shape
    shapes = {
        "recurrent_weights": (networks, units, units),
        "input_weights": (networks, units, n_inputs),
        "bias": (networks, units),
        "initial_state": (networks, units),
        "output_weights": (networks, outputs, units),
        "output_bias": (networks, outputs),
        "noise": (networks, times, trials, units),
    }
    for name, array in arrays.items():
        if array is not None and array.shape != shapes[name]:
            raise SimulationError(
                f"{name}: has the shape {tuple(array.shape)}; with inputs of the shape {tuple(inputs.shape)} and "
                f"{units} units it must be {shapes[name]}"
            )
    return [None if array is None else array.to(inputs.dtype) for array in arrays.values()]


class _Simulation(torch.autograd.Function):
    """Outputs (None without a readout) and the rates at every n-th time (None without n)."""

    @staticmethod
    def forward(
        ctx,
        inputs,
        recurrent_weights,
        input_weights,
        bias,
        initial_state,
        output_weights,
        output_bias,
        noise,
        alpha,
        every,
        workspace,
        nonlinearity,
    ):
        networks, times, trials, n_inputs = inputs.shape
        units = recurrent_weights.shape[-1]
        keep = 1.0 - alpha

        # The first rates are those of the initial state, so that all but the last are the presynaptic ones of a step.
        rates = workspace.block("rates", (networks, times + 1, trials, units), inputs)
        rates[:, 0] = nonlinearity.rates(initial_state)[:, None]
        weights = recurrent_weights, input_weights, bias, initial_state
        n_outputs = 0 if output_weights is None else output_weights.shape[1]
        compiled, kernels = compiled_for(inputs), persistent_for(inputs, units, n_inputs, n_outputs)
        if compiled:
            compiled.forward(inputs, *weights, noise, alpha, nonlinearity.number, rates)
        elif kernels:
            kernels.forward(inputs, *weights, noise, alpha, nonlinearity.number, rates)
        else:
            # The whole external drive in one product; the loop then turns it into the states, in place.
            states = workspace.block("states", (networks, times, trials, units), inputs)
            driving = inputs.reshape(networks, times * trials, n_inputs)
            drive = states.view(networks, times * trials, units)
            torch.baddbmm((alpha * bias)[:, None], driving, (alpha * input_weights).transpose(1, 2), out=drive)
            if noise is not None:
                states += noise
            step = torch.mul(recurrent_weights, alpha, out=workspace.block("step", recurrent_weights.shape, inputs))
            first = workspace.block("first", (networks, 1, units), inputs).copy_(initial_state[:, None])
            workspace.run(
                ("forward", keep, nonlinearity.number),
                lambda: _forward_loop(states, rates, step, first, keep, nonlinearity),
            )

        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs, recurrent_weights, input_weights, output_weights, rates)
        ctx.alpha, ctx.every, ctx.workspace, ctx.nonlinearity = alpha, every, workspace, nonlinearity
        outputs = None if output_weights is None else read_out(rates[:, 1:], output_weights, output_bias)
        return outputs, rates[:, 1::every] if every else None

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_outputs, grad_rates):
        inputs, recurrent_weights, input_weights, output_weights, rates = ctx.saved_tensors
        alpha, keep, every, workspace = ctx.alpha, 1.0 - ctx.alpha, ctx.every or 1, ctx.workspace
        nonlinearity = ctx.nonlinearity
        networks, times, trials, n_inputs = inputs.shape
        units = recurrent_weights.shape[-1]

        grad_states = workspace.block("grad_states", (networks, times, trials, units), rates)
        flat = grad_states.view(networks, times * trials, units)
        errors = grad_outputs.flatten(1, 2) if grad_outputs is not None else None
        weights = recurrent_weights, output_weights
        n_outputs = 0 if output_weights is None else output_weights.shape[1]
        compiled, kernels = compiled_for(rates), persistent_for(rates, units, n_inputs, n_outputs)
        if compiled:
            grad_input_weights, grad_bias, grad_output_weights = compiled.backward(
                inputs, grad_outputs, grad_rates, every, rates, *weights, alpha, nonlinearity.number, grad_states
            )
        elif kernels:
            grad_initial_state = kernels.backward(
                grad_outputs, grad_rates, every, rates, *weights, alpha, nonlinearity.number, grad_states
            )
            grad_recurrent, grad_input_weights, grad_bias, grad_output_weights = kernels.weight_gradients(
                inputs, grad_outputs, rates, grad_states, alpha
            )
        else:
            if errors is None:
                grad_states.zero_()
            else:
                torch.bmm(errors, output_weights, out=flat)
            if grad_rates is not None:
                grad_states[:, ::every] += grad_rates
            step = workspace.block("step", recurrent_weights.shape, rates)
            slope = workspace.block("slope", (networks, trials, units), rates)
            one = workspace.block("one", (), rates).fill_(1.0)
            workspace.run(
                ("backward", keep, nonlinearity.number),
                lambda: _backward_loop(grad_states, rates, step, slope, one, keep, nonlinearity),
            )
            grad_output_weights = None
            if errors is not None:
                grad_output_weights = torch.bmm(errors.transpose(1, 2), rates[:, 1:].flatten(1, 2))
            # Few rows and many columns: the product the other way round takes five times as long.
            grad_input_weights = alpha * torch.bmm(inputs.flatten(1, 2).transpose(1, 2), flat).transpose(1, 2)
            grad_bias = alpha * flat.sum(1)

        if not kernels:
            grad_recurrent = alpha * torch.bmm(flat.transpose(1, 2), rates[:, :-1].flatten(1, 2))
            earliest = grad_states[:, 0]
            slopes = nonlinearity.slopes(rates[:, 0])
            grad_initial_state = (
                torch.bmm(earliest, alpha * recurrent_weights).mul_(slopes).add_(earliest, alpha=keep).sum(1)
            )
        grad_inputs = grad_noise = None
        if ctx.needs_input_grad[0]:
            grad_inputs = torch.bmm(flat, alpha * input_weights).view_as(inputs)
        if ctx.needs_input_grad[7]:
            grad_noise = grad_states.clone()
        of_drive = grad_recurrent, grad_input_weights, grad_bias, grad_initial_state
        of_readout = (grad_output_weights, errors.sum(1)) if errors is not None else (None, None)
        return grad_inputs, *of_drive, *of_readout, grad_noise, None, None, None, None


def read_out(
    rates: Float[Tensor, "network time trial unit"],
    output_weights: Float[Tensor, "network output unit"],
    output_bias: Float[Tensor, "network output"],
) -> Float[Tensor, "network time trial output"]:
    """Outputs ``y = W_out r + b_out``."""
    outputs = torch.baddbmm(output_bias[:, None], rates.flatten(1, 2), output_weights.transpose(1, 2))
    return outputs.unflatten(1, rates.shape[1:3])


def simulate(
    inputs: Float[Tensor, "network time trial input"],
    recurrent_weights: Float[Tensor, "network unit unit"],
    input_weights: Float[Tensor, "network unit input"],
    bias: Float[Tensor, "network unit"],
    initial_state: Float[Tensor, "network unit"],
    noise: Float[Tensor, "network time trial unit"] | None,
    alpha: float,
    workspace: Workspace | None = None,
    nonlinearity: str = "tanh",
) -> Float[Tensor, "network time trial unit"]:
    """Rates of networks driven by their inputs, differentiable in every tensor argument.

    Parameters
    ----------
    inputs : external input ``u``; at least one time step.
    recurrent_weights : ``J``; row = postsynaptic unit, column = presynaptic unit.
    input_weights, bias, initial_state : ``W_in``, ``b`` and the state ``x`` before the first step.
    noise : added to the state at each step as it is (see `Networks.draw_noise` for its scale), or None.
    alpha : Euler step over time constant, ``dt / tau``, in (0, 1].
    workspace : memory to work in: the rates are then valid until the next simulation in it; None for memory of its own.
    nonlinearity : phi, one of `NONLINEARITIES`.

    Returns
    -------
    Rates ``r = phi(x)`` after each step, dimensionless.

    All is computed in the type of the inputs. Raises SimulationError where shapes do not fit.
    Source: Qian & Pehlevan (2026), the rate RNN of section 2; recursion as in this module's head.
    """
    *weights, noise = _fitting(
        *(inputs, recurrent_weights.shape[-1], 0),
        recurrent_weights=recurrent_weights,
        input_weights=input_weights,
        bias=bias,
        initial_state=initial_state,
        noise=noise,
    )
    settings = alpha, 1, workspace or Workspace(), NONLINEARITIES[nonlinearity]
    return _Simulation.apply(inputs, *weights, None, None, noise, *settings)[1]


def simulate_outputs(
    inputs: Float[Tensor, "network time trial input"],
    recurrent_weights: Float[Tensor, "network unit unit"],
    input_weights: Float[Tensor, "network unit input"],
    bias: Float[Tensor, "network unit"],
    initial_state: Float[Tensor, "network unit"],
    output_weights: Float[Tensor, "network output unit"],
    output_bias: Float[Tensor, "network output"],
    noise: Float[Tensor, "network time trial unit"] | KeyedNoise | None,
    alpha: float,
    every: int | None = None,
    workspace: Workspace | None = None,
    nonlinearity: str = "tanh",
) -> tuple[Float[Tensor, "network time trial output"], Float[Tensor, "network sampled_time trial unit"] | None]:
    """Outputs ``y = W_out r + b_out`` of the networks that `simulate` simulates, and their rates at every n-th time.

    As one function, since errors of the outputs enter the recursion backwards as inputs enter it forwards, and the
    gradient with respect to all rates need not be stored. The rates are a view of the workspace; None without `every`.
    Noise by its keys is for networks that `persistent_for` has kernels for.
    """
    keyed, drawn = (noise, None) if isinstance(noise, KeyedNoise) else (None, noise)
    outputs, units = output_weights.shape[1:]
    *weights, drawn = _fitting(
        *(inputs, units, outputs),
        recurrent_weights=recurrent_weights,
        input_weights=input_weights,
        bias=bias,
        initial_state=initial_state,
        output_weights=output_weights,
        output_bias=output_bias,
        noise=drawn,
    )
    settings = alpha, every, workspace or Workspace(), NONLINEARITIES[nonlinearity]
    return _Simulation.apply(inputs, *weights, keyed or drawn, *settings)
