"""The loops over time of `bptt` for a GPU, each as one kernel written in Triton, and a third for weights' gradients.

A program holds the recurrent weights of one network on chip and walks all time steps of a tile of its trials, while the
loop of `bptt` launches several kernels for each step. Inputs are weighted, and errors of the outputs led back, inside;
the gradients of all weights, large products over all times and trials, then read everything once. Products are made of
three in TF32, which is single precision up to its last digits, and sums are in single precision. (The card's units of
single precision itself took six times as long.)

Where Triton's interpreter is on (`TRITON_INTERPRET=1`), the kernels run on a CPU, for tests.

Private noise is Philox numbers (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turned normal by Box
and Muller's method. They depend on the network's key, the number of the draw, the time, the trial and the unit alone:
not on the other networks, nor on how trials are divided into tiles.
"""

from typing import no_type_check

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from insd.networks.engine.keyed import KeyedNoise

MOST_UNITS = 128
"""The weights of more do not fit into a program's registers."""
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
ROUNDS = tl.constexpr(7)
"""Of Philox: the fewest that pass all tests of randomness in Salmon et al. (2011), who add three for safety."""
_NONE, _GIVEN, _DRAWN = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
_TANH, _RELU = tl.constexpr(0), tl.constexpr(1)
"""The numbers of `NONLINEARITIES`; softplus is the third."""


@triton.jit
@no_type_check
def _rates(states, nonlinearity: tl.constexpr):
    """phi of states; NaN stays NaN."""
    if nonlinearity == _TANH:
        rates = 1.0 - 2.0 / (tl.exp(2.0 * states) + 1.0)
    elif nonlinearity == _RELU:
        rates = tl.maximum(states, 0.0, propagate_nan=tl.PropagateNan.ALL)
    else:
        rates = tl.maximum(states, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(states)))
    return rates


@triton.jit
@no_type_check
def _slopes(rates, nonlinearity: tl.constexpr):
    """phi' from the rates."""
    if nonlinearity == _TANH:
        slopes = 1.0 - rates * rates
    elif nonlinearity == _RELU:
        slopes = tl.where(rates > 0.0, 1.0, 0.0)
    else:
        slopes = 1.0 - tl.exp(-rates)
    return slopes


@triton.jit
@no_type_check
def _parts(values):
    """A number in TF32, and the rest, also in TF32, of which the sum is the number but for its last digits."""
    bits = values.to(tl.int32, bitcast=True)
    leading = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return leading, values - leading


@triton.jit
@no_type_check
def _product(left, leading, rest, plus, zero):
    """``left @ right + plus``, with the parts of the right matrix.

    As three products that do not wait for each other: `zero`, a number that the compiler does not know, keeps it from
    adding them up one after the other, in which the arithmetic would wait for itself most of the time.
    """
    left_leading, left_rest = _parts(left)
    none = tl.zeros(plus.shape, tl.float32) + zero
    first = tl.dot(left_leading, leading, acc=plus, input_precision="tf32")
    second = tl.dot(left_rest, leading, acc=none, input_precision="tf32")
    third = tl.dot(left_leading, rest, acc=none, input_precision="tf32")
    return first + (second + third)


@triton.jit
@no_type_check
def _four_normals(key, element, draw, quarter):
    """Standard normal numbers of each element, for the four time steps from 4 `quarter` on."""
    zero = element * 0
    one, two, three, four = tl.philox(key, element, zero + quarter, zero + draw, zero, ROUNDS)
    first, second = _two_normals(one, two)
    third, fourth = _two_normals(three, four)
    return first, second, third, fourth


@triton.jit
@no_type_check
def _two_normals(radius, angle):
    """Two standard normal numbers from two of 32 random bits: Box and Muller's point in the plane."""
    distance = tl.sqrt(-2.0 * tl.log(tl.maximum(tl.uint_to_uniform_float(radius), 1e-7)))
    # An angle within an eighth of a turn from one axis, by series that are exact to 4e-7 there, and a random sign and
    # swap for all others: several times as fast as the library's functions of any angle.
    bits = angle.to(tl.int32, bitcast=True)
    turn = (bits >> 8).to(tl.float32) * (3.14159265 / 4 / 2**23)
    square = turn * turn
    sine = turn * (1.0 + square * (-1.0 / 6 + square * (1.0 / 120 - square * (1.0 / 5040))))
    cosine = 1.0 + square * (-0.5 + square * (1.0 / 24 + square * (-1.0 / 720 + square * (1.0 / 40320))))
    swapped = (bits & 1) == 0
    distance = tl.where((bits & 2) == 0, distance, -distance)
    return distance * tl.where(swapped, cosine, sine), distance * tl.where(swapped, sine, cosine)


# Numbers are not compiled in, so that all tasks share what is compiled.
@triton.jit(do_not_specialize=["times", "trials", "channels"])
@no_type_check
def _forward(
    inputs,  # (network, time, trial, channel)
    recurrent_weights,  # (network, unit, unit_from)
    input_weights,  # (network, unit, channel)
    bias,  # (network, unit)
    initial_state,  # (network, unit)
    noise,  # (network, time, trial, unit); read where `noise_is` given
    keys,  # (network); read where `noise_is` drawn, as is the next
    draw,  # ()
    rates,  # (network, time and first, trial, unit); filled from the second time on
    times,
    trials,
    alpha,
    scale,
    channels,
    units: tl.constexpr,
    nonlinearity: tl.constexpr,
    noise_is: tl.constexpr,
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
    nothing = element * 0  # the interpreter wants masks of whole tiles
    of_input = trial[:, None] * channels + channel[None, :]
    has_input = (trial < trials)[:, None] & (channel < channels)[None, :]
    inputs += network * times * trials * channels
    noise += network * times * trials * units
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
    leading, rest = _parts(weights)
    zero = 0.0 * alpha
    constant = alpha * tl.load(bias + network * units + unit, mask=unit < units, other=0.0)
    first = tl.load(initial_state + network * units + unit, mask=unit < units, other=0.0)
    state = tl.zeros((TILE, UNITS), tl.float32) + first[None, :]
    rate = _rates(state, nonlinearity)
    if noise_is == _DRAWN:
        key = tl.load(keys + network)
        number = tl.load(draw).to(tl.int32)

    # Each step's inputs are on their way while the step before is computed.
    now = tl.load(inputs + of_input, mask=has_input, other=0.0)
    for start in range(0, times, 4):
        if noise_is == _DRAWN:
            one, two, three, four = _four_normals(key, element, number, start // 4)
        for step in tl.static_range(4):
            time = start + step
            # Times after the last are computed, and stored nowhere.
            known = tl.minimum(time, times - 1)
            drive = tl.dot(now, of_inputs, input_precision="tf32x3") + constant[None, :]
            if noise_is == _GIVEN:
                drive += tl.load(noise + known * trials * units + element, mask=inside, other=0.0)
            if noise_is == _DRAWN:
                if step == 0:
                    drive += scale * one
                elif step == 1:
                    drive += scale * two
                elif step == 2:
                    drive += scale * three
                else:
                    drive += scale * four
            following = tl.minimum(time + 1, times - 1)
            now = tl.load(inputs + following * trials * channels + of_input, mask=has_input, other=0.0)
            state = _product(rate, leading, rest, (1.0 - alpha) * state + drive, zero)
            rate = _rates(state, nonlinearity)
            tl.store(rates + (time + 1) * trials * units + element, rate, mask=inside & (nothing + time < times))

    # Never stored: for a use after the loop, the compiler holds the weights in registers, and does not read them from
    # shared memory in each step.
    state = _product(rate, leading, rest, state, zero)
    tl.store(rates + element, state, mask=inside & (nothing + times < 0))


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
    nothing = element * 0
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
    leading, rest = _parts(weights)
    zero = 0.0 * alpha
    if has_outputs:
        readout = tl.load(
            output_weights + network * channels * units + channel[:, None] * units + unit[None, :],
            mask=(channel < channels)[:, None] & (unit < units)[None, :],
            other=0.0,
        )
        error = tl.load(grad_outputs + (times - 1) * trials * channels + of_output, mask=has_output, other=0.0)
    rate = tl.load(rates + times * trials * units + element, mask=inside, other=0.0)
    following = tl.zeros((TILE, UNITS), tl.float32)
    for back in range(times):
        time = times - 1 - back
        grad = tl.zeros((TILE, UNITS), tl.float32)
        if has_outputs:
            grad = tl.dot(error, readout, input_precision="tf32x3")
            before = tl.maximum(time - 1, 0)
            error = tl.load(grad_outputs + before * trials * channels + of_output, mask=has_output, other=0.0)
        if has_rates:
            sampled = inside & (nothing + time % every == 0)
            grad += tl.load(grad_rates + (time // every) * trials * units + element, mask=sampled, other=0.0)
        slope = _slopes(rate, nonlinearity)
        # The rates before this step, for the next one.
        rate = tl.load(rates + time * trials * units + element, mask=inside, other=0.0)
        grad = _product(following, leading, rest, grad, zero)
        following = (1.0 - alpha) * following + grad * slope
        tl.store(grad_states + time * trials * units + element, following, mask=inside)

    grad = _product(following, leading, rest, tl.zeros((TILE, UNITS), tl.float32), zero)
    earliest = tl.sum((1.0 - alpha) * following + grad * _slopes(rate, nonlinearity), 0)
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
    # What a kernel does not read stands for what it has not got.
    given, keys, draw, scale, kind = rates, rates, rates, 0.0, _NONE
    if isinstance(noise, KeyedNoise):
        keys, draw, scale, kind = noise.keys, noise.draw, noise.scale, _DRAWN
    elif noise is not None:
        given, kind = noise.contiguous(), _GIVEN
    _forward[networks, triton.cdiv(trials, TILE)](
        *(part.contiguous() for part in (inputs, recurrent_weights, input_weights, bias, initial_state)),
        *(given, keys, draw, rates),
        *(times, trials, alpha, scale),
        *(channels, units, nonlinearity, kind.value),
        *(TILE, _padded(units), _padded(channels)),
        num_warps=WARPS,
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
    tiles = triton.cdiv(trials, TILE)
    grad_initial = rates.new_empty(networks, tiles, units)
    _backward[networks, tiles](
        *(part.contiguous() if part is not None else rates for part in (grad_outputs, grad_rates)),
        *(rates, recurrent_weights.contiguous()),
        *(output_weights.contiguous() if output_weights is not None else rates, grad_states, grad_initial),
        *(times, trials, every, alpha),
        *(channels, units, nonlinearity, grad_outputs is not None, grad_rates is not None),
        *(TILE, _padded(units), _padded(channels)),
        num_warps=WARPS,
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
        num_warps=GRADIENT_WARPS,
        num_stages=STAGES,
    )
    recurrent, drive, readout = (part.sum(1) if parts > 1 else part[:, 0] for part in found)
    return recurrent, drive[:, :-1].transpose(1, 2), drive[:, -1], readout if n_outputs else None


def _padded(size: int) -> int:
    """The size of a tile that holds so many: a power of two, at least the 16 of a product's smallest side."""
    return max(16, triton.next_power_of_2(size))
