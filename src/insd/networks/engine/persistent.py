"""The loops over time of `bptt` for a GPU, each as one kernel written in Triton, and a third for weights' gradients.

A program holds the recurrent weights of one network on chip and walks all time steps of a tile of its trials, while the
loop of `bptt` launches several kernels for each step. Inputs are weighted, and errors of the outputs led back, inside;
the gradients of all weights, large products over all times and trials, then read everything once. Products are made of
three in TF32, which is single precision up to its last digits, and sums are in single precision. (The card's units of
single precision itself took six times as long.)

Where Triton's interpreter is on (`TRITON_INTERPRET=1`), the kernels run on a CPU, for tests.
"""

from typing import Any, no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from insd.networks.engine import streamed
from insd.networks.engine.elementary import draw_noise, parts_of, product_of, rates_of, slopes_of
from insd.networks.engine.keyed import KeyedNoise

ON_CHIP = 128
"""The weights of more units do not fit into a program's registers, and are streamed (`streamed`)."""
MOST_UNITS = 256
"""The most units of networks that run by these kernels at all: an iteration of 40 networks of 256 units takes 4.3 ms,
and as a graph 7.9 (one H100, docs/benchmarks.md)."""
MOST_CHANNELS = 63
"""The most inputs or outputs."""
TILE = 16
"""The trials of a program."""
WARPS = 8
"""The warps of a program; with `TILE` the fastest of those that `benchmarks/gpu.py` compares."""
SAMPLES = 32
"""Of the gradients of weights: samples at a time."""
ROWS = 32
"""Of the same: units of a program."""
STAGES = 2
"""Of the same: how many sets of samples are on chip, or on their way."""
GRADIENT_WARPS = 4
"""Of the same: the warps of a program; with the three above the fastest of seven settings on an H100."""
PROGRAMS = 792
"""Six for each multiprocessor of a large card, to which few networks' gradients of weights are divided."""


# Numbers are not compiled in, so that all tasks share what is compiled.
@triton.jit(do_not_specialize=["times", "trials", "channels"])
@no_type_check
def _forward(
    inputs,  # (network, time, trial, channel)
    recurrent_weights,  # (network, unit, unit_from)
    input_weights,  # (network, unit, channel)
    bias,  # (network, unit)
    initial_state,  # (network, unit)
    noise,  # (network, time, trial, unit), of any stride of networks; read with `has_noise`
    rates,  # (network, time and first, trial, unit); filled from the second time on
    of_network,
    times,
    trials,
    alpha,
    channels,
    units: tl.constexpr,
    nonlinearity: tl.constexpr,
    has_noise: tl.constexpr,
    TILE: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    CHANNELS: tl.constexpr,  # noqa: N803
):
    """All time steps of a tile of trials of one network; capitals are sizes of tiles, which are powers of two."""
    network = tl.program_id(0).to(tl.int64)
    trial = tl.program_id(1) * TILE + tl.arange(0, TILE)
    unit = tl.arange(0, UNITS)
    channel = tl.arange(0, CHANNELS)
    inside = (trial < trials)[:, None] & (unit < units)[None, :]
    element = trial[:, None] * units + unit[None, :]
    of_input = trial[:, None] * channels + channel[None, :]
    has_input = (trial < trials)[:, None] & (channel < channels)[None, :]
    inputs += network * times * trials * channels
    noise += network * of_network
    rates += network * (times + 1) * trials * units

    # Transposed, (from, to): a row of rates times these is a row of drives.
    weights = alpha * tl.load(
        recurrent_weights + network * units * units + unit[None, :] * units + unit[:, None],
        mask=(unit < units)[:, None] & (unit < units)[None, :],
        other=0.0,
    )
    of_inputs = alpha * tl.load(
        input_weights + network * units * channels + unit[None, :] * channels + channel[:, None],
        mask=(channel < channels)[:, None] & (unit < units)[None, :],
        other=0.0,
    )
    leading, rest = parts_of(weights)
    zero = 0.0 * alpha
    constant = alpha * tl.load(bias + network * units + unit, mask=unit < units, other=0.0)
    first = tl.load(initial_state + network * units + unit, mask=unit < units, other=0.0)
    state = tl.zeros((TILE, UNITS), tl.float32) + first[None, :]
    rate = rates_of(state, nonlinearity)

    # Each step's inputs and noise are on their way while the step before is computed.
    now = tl.load(inputs + of_input, mask=has_input, other=0.0)
    if has_noise:
        noisy = tl.load(noise + element, mask=inside, other=0.0)
    for time in range(times):
        drive = tl.dot(now, of_inputs, input_precision="tf32x3") + constant[None, :]
        following = tl.minimum(time + 1, times - 1)
        now = tl.load(inputs + following * trials * channels + of_input, mask=has_input, other=0.0)
        if has_noise:
            drive += noisy
            noisy = tl.load(noise + following * trials * units + element, mask=inside, other=0.0)
        state = product_of(rate, leading, rest, (1.0 - alpha) * state + drive, zero)
        rate = rates_of(state, nonlinearity)
        tl.store(rates + (time + 1) * trials * units + element, rate, mask=inside)

    # Never stored: for a use after the loop, the compiler holds the weights in registers, and does not read them from
    # shared memory in each step.
    state = product_of(rate, leading, rest, state, zero)
    tl.store(rates + element, state, mask=inside & (element * 0 + times < 0))


@triton.jit(do_not_specialize=["times", "trials", "channels", "every"])
@no_type_check
def _backward(
    grad_outputs,  # (network, time, trial, channel); read with `has_outputs`
    grad_rates,  # (network, sampled time, trial, unit); read with `has_rates`
    rates,  # (network, time and first, trial, unit)
    recurrent_weights,  # (network, unit, unit_from)
    output_weights,  # (network, channel, unit)
    grad_states,  # (network, time, trial, unit); filled
    grad_initial,  # (network, tile, unit); filled with the sums over the trials of each tile
    times,
    trials,
    every,
    alpha,
    channels,
    units: tl.constexpr,
    nonlinearity: tl.constexpr,
    has_outputs: tl.constexpr,
    has_rates: tl.constexpr,
    TILE: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    CHANNELS: tl.constexpr,  # noqa: N803
):
    """The gradient with respect to the states, from the last time step to the first, of a tile of trials."""
    network = tl.program_id(0).to(tl.int64)
    trial = tl.program_id(1) * TILE + tl.arange(0, TILE)
    unit = tl.arange(0, UNITS)
    channel = tl.arange(0, CHANNELS)
    inside = (trial < trials)[:, None] & (unit < units)[None, :]
    element = trial[:, None] * units + unit[None, :]
    nothing = element * 0  # the interpreter wants masks of whole tiles
    of_output = trial[:, None] * channels + channel[None, :]
    has_output = (trial < trials)[:, None] & (channel < channels)[None, :]
    grad_outputs += network * times * trials * channels
    grad_rates += network * ((times + every - 1) // every) * trials * units
    rates += network * (times + 1) * trials * units
    grad_states += network * times * trials * units

    weights = alpha * tl.load(
        recurrent_weights + network * units * units + unit[:, None] * units + unit[None, :],
        mask=(unit < units)[:, None] & (unit < units)[None, :],
        other=0.0,
    )
    leading, rest = parts_of(weights)
    zero = 0.0 * alpha
    if has_outputs:
        readout = tl.load(
            output_weights + network * channels * units + channel[:, None] * units + unit[None, :],
            mask=(channel < channels)[:, None] & (unit < units)[None, :],
            other=0.0,
        )
        error = tl.load(grad_outputs + (times - 1) * trials * channels + of_output, mask=has_output, other=0.0)
    rate = tl.load(rates + times * trials * units + element, mask=inside, other=0.0)
    if has_rates:
        sampled = inside & (nothing + (times - 1) % every == 0)
        of_rates = tl.load(grad_rates + ((times - 1) // every) * trials * units + element, mask=sampled, other=0.0)
    following = tl.zeros((TILE, UNITS), tl.float32)
    for back in range(times):
        time = times - 1 - back
        grad = tl.zeros((TILE, UNITS), tl.float32)
        if has_outputs:
            grad = tl.dot(error, readout, input_precision="tf32x3")
            before = tl.maximum(time - 1, 0)
            error = tl.load(grad_outputs + before * trials * channels + of_output, mask=has_output, other=0.0)
        if has_rates:
            grad += of_rates
            sampled = inside & (nothing + (time - 1) % every == 0) & (nothing + time > 0)
            of_rates = tl.load(grad_rates + ((time - 1) // every) * trials * units + element, mask=sampled, other=0.0)
        slope = slopes_of(rate, nonlinearity)
        # The rates before this step, for the next one.
        rate = tl.load(rates + time * trials * units + element, mask=inside, other=0.0)
        grad = product_of(following, leading, rest, grad, zero)
        following = (1.0 - alpha) * following + grad * slope
        tl.store(grad_states + time * trials * units + element, following, mask=inside)

    grad = product_of(following, leading, rest, tl.zeros((TILE, UNITS), tl.float32), zero)
    earliest = tl.sum((1.0 - alpha) * following + grad * slopes_of(rate, nonlinearity), 0)
    row = network * tl.num_programs(1) + tl.program_id(1)
    tl.store(grad_initial + row * units + unit, earliest, mask=unit < units)


@triton.jit(do_not_specialize=["samples", "of_part", "trials", "n_inputs", "n_outputs"])
@no_type_check
def _weight_gradients(
    inputs,  # (network, time, trial, input)
    grad_outputs,  # (network, time, trial, output); read with `has_outputs`
    rates,  # (network, time and first, trial, unit)
    grad_states,  # (network, time, trial, unit)
    of_recurrent,  # (network, part, unit, unit_from); filled, as are the next
    of_drive,  # (network, part, input and bias, unit)
    of_readout,  # (network, part, output, unit); filled with `has_outputs`
    samples,
    of_part,
    trials,
    alpha,
    n_inputs,
    n_outputs,
    units: tl.constexpr,
    has_outputs: tl.constexpr,
    SAMPLES: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    INPUTS: tl.constexpr,  # noqa: N803
    OUTPUTS: tl.constexpr,  # noqa: N803
):
    """For some units of a network, sums over a part of its samples, which are times and trials."""
    network = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, UNITS)
    channel = tl.arange(0, INPUTS)
    output = tl.arange(0, OUTPUTS)
    inputs += network * samples * n_inputs
    grad_outputs += network * samples * n_outputs
    rates += network * (samples + trials) * units
    grad_states += network * samples * units
    recurrent = tl.zeros((ROWS, UNITS), tl.float32)
    drive = tl.zeros((INPUTS, ROWS), tl.float32)
    readout = tl.zeros((OUTPUTS, ROWS), tl.float32)
    begin = tl.program_id(1) * of_part
    for start in range(begin, tl.minimum(begin + of_part, samples), SAMPLES):
        sample = start + tl.arange(0, SAMPLES)
        places = sample[:, None] * units + row[None, :]
        inside = (sample < samples)[:, None] & (row < units)[None, :]
        state = tl.load(grad_states + places, mask=inside, other=0.0)
        before = tl.load(
            rates + sample[:, None] * units + unit[None, :],
            mask=(sample < samples)[:, None] & (unit < units)[None, :],
            other=0.0,
        )
        recurrent = tl.dot(tl.trans(state), before, acc=recurrent, input_precision="tf32x3")
        driving = tl.load(
            inputs + sample[:, None] * n_inputs + channel[None, :],
            mask=(sample < samples)[:, None] & (channel < n_inputs)[None, :],
            other=0.0,
        )
        # A last input of 1, whose weight is the bias.
        driving = tl.where((channel == n_inputs)[None, :], 1.0, driving)
        drive = tl.dot(tl.trans(driving), state, acc=drive, input_precision="tf32x3")
        if has_outputs:
            after = tl.load(rates + trials * units + places, mask=inside, other=0.0)
            error = tl.load(
                grad_outputs + sample[:, None] * n_outputs + output[None, :],
                mask=(sample < samples)[:, None] & (output < n_outputs)[None, :],
                other=0.0,
            )
            readout = tl.dot(tl.trans(error), after, acc=readout, input_precision="tf32x3")
    part = network * tl.num_programs(1) + tl.program_id(1)
    tl.store(
        of_recurrent + part * units * units + row[:, None] * units + unit[None, :],
        alpha * recurrent,
        mask=(row < units)[:, None] & (unit < units)[None, :],
    )
    tl.store(
        of_drive + part * (n_inputs + 1) * units + channel[:, None] * units + row[None, :],
        alpha * drive,
        mask=(channel <= n_inputs)[:, None] & (row < units)[None, :],
    )
    if has_outputs:
        tl.store(
            of_readout + part * n_outputs * units + output[:, None] * units + row[None, :],
            readout,
            mask=(output < n_outputs)[:, None] & (row < units)[None, :],
        )


def forward(
    inputs: Float[Tensor, "network time trial input"],
    recurrent_weights: Float[Tensor, "network unit unit"],
    input_weights: Float[Tensor, "network unit input"],
    bias: Float[Tensor, "network unit"],
    initial_state: Float[Tensor, "network unit"],
    noise: Float[Tensor, "network time trial unit"] | KeyedNoise | None,
    alpha: float,
    nonlinearity: int,
    rates: Float[Tensor, "network time_and_first trial unit"],
) -> None:
    """Fill the rates, which are contiguous and whose first are those of the initial state, from the second on.

    The nonlinearity is given by its number. All tensors are in single precision.
    """
    networks, times, trials, channels = inputs.shape
    units = rates.shape[-1]
    if isinstance(noise, KeyedNoise):
        # Where the rates will be, which are stored only after the noise of their time has been read.
        noise = draw_noise(noise, rates[:, 1:])
    # What a kernel does not read stands for what it has not got.
    given = rates if noise is None else noise if noise[0].is_contiguous() else noise.contiguous()
    streams = units > ON_CHIP
    if streams:
        recurrent_weights = recurrent_weights.transpose(1, 2)
    loop, tile, more, warps = _way(streams, _forward, streamed.forward)
    loop[networks, triton.cdiv(trials, tile)](
        *(part.contiguous() for part in (inputs, recurrent_weights, input_weights, bias, initial_state)),
        *(given, rates, given.stride(0)),
        *(times, trials, alpha),
        *(channels, units, nonlinearity, noise is not None),
        *(tile, _padded(units), _padded(channels), *more),
        num_warps=warps,
    )


def backward(
    grad_outputs: Float[Tensor, "network time trial output"] | None,
    grad_rates: Float[Tensor, "network sampled_time trial unit"] | None,
    every: int,
    rates: Float[Tensor, "network time_and_first trial unit"],
    recurrent_weights: Float[Tensor, "network unit unit"],
    output_weights: Float[Tensor, "network output unit"] | None,
    alpha: float,
    nonlinearity: int,
    grad_states: Float[Tensor, "network time trial unit"],
) -> Float[Tensor, "network unit"]:
    """Fill the gradient with respect to the states, which is contiguous; returns that of the initial states.

    The gradient with respect to the rates is of every n-th time, from the first on.
    """
    networks, times, trials, units = grad_states.shape
    channels = grad_outputs.shape[-1] if grad_outputs is not None else 1
    loop, tile, more, warps = _way(units > ON_CHIP, _backward, streamed.backward)
    tiles = triton.cdiv(trials, tile)
    grad_initial = rates.new_empty(networks, tiles, units)
    loop[networks, tiles](
        *(part.contiguous() if part is not None else rates for part in (grad_outputs, grad_rates)),
        *(rates, recurrent_weights.contiguous()),
        *(output_weights.contiguous() if output_weights is not None else rates, grad_states, grad_initial),
        *(times, trials, every, alpha),
        *(channels, units, nonlinearity, grad_outputs is not None, grad_rates is not None),
        *(tile, _padded(units), _padded(channels), *more),
        num_warps=warps,
    )
    return grad_initial.sum(1)


def weight_gradients(
    inputs: Float[Tensor, "network time trial input"],
    grad_outputs: Float[Tensor, "network time trial output"] | None,
    rates: Float[Tensor, "network time_and_first trial unit"],
    grad_states: Float[Tensor, "network time trial unit"],
    alpha: float,
) -> tuple[
    Float[Tensor, "network unit unit"],
    Float[Tensor, "network unit input"],
    Float[Tensor, "network unit"],
    Float[Tensor, "network output unit"] | None,
]:
    """Gradients with respect to the weights between units and of the inputs, the bias, and the weights of the outputs.

    The last is None where there is no gradient with respect to the outputs.
    """
    networks, times, trials, n_inputs = inputs.shape
    units, samples = rates.shape[-1], times * trials
    n_outputs = grad_outputs.shape[-1] if grad_outputs is not None else 0
    # Few networks are divided into parts, so that there are enough programs for the card.
    rows = triton.cdiv(units, ROWS)
    parts = min(max(1, PROGRAMS // (networks * rows)), triton.cdiv(samples, 8 * SAMPLES))
    of_part = SAMPLES * triton.cdiv(triton.cdiv(samples, parts), SAMPLES)
    shapes = (units, units), (n_inputs + 1, units), (n_outputs, units)
    found = [rates.new_empty(networks, parts, *shape) for shape in shapes]
    _weight_gradients[rows, parts, networks](
        *(inputs.contiguous(), grad_outputs.contiguous() if grad_outputs is not None else rates),
        *(rates, grad_states, *found),
        *(samples, of_part, trials, alpha),
        *(n_inputs, n_outputs, units, grad_outputs is not None),
        *(SAMPLES, ROWS, _padded(units), _padded(n_inputs + 1), _padded(n_outputs)),
        num_warps=GRADIENT_WARPS if units <= ON_CHIP else WARPS,
        num_stages=STAGES,
    )
    recurrent, drive, readout = (part.sum(1) if parts > 1 else part[:, 0] for part in found)
    return recurrent, drive[:, :-1].transpose(1, 2), drive[:, -1], readout if n_outputs else None


def _way(streams: bool, on_chip: Any, by_blocks: Any) -> tuple[Any, int, tuple[int, ...], int]:
    """A loop over time, the trials of its programs, the further sizes that it takes, and its warps."""
    if streams:
        return by_blocks, streamed.TILE, (streamed.FROM, streamed.STAGES), streamed.WARPS
    return on_chip, TILE, (), WARPS


def _padded(size: int) -> int:
    """The size of a tile that holds so many: a power of two, at least the 16 of a product's smallest side."""
    return max(16, triton.next_power_of_2(size))
