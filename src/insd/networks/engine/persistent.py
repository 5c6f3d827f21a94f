"""The loops over time of `bptt` as two kernels for a GPU, written in Triton: one launch for all time steps.

A program holds the recurrent weights of one network on chip and walks all time steps of a tile of its trials, while the
loop of `bptt` launches several kernels for each step. Inputs are weighted, and errors of the outputs led back, inside;
what is one large matrix product over all times and trials stays outside. Products are made of three in TF32, which is
single precision up to its last digits (`PRECISION`), and sums are in single precision.

Where Triton's interpreter is on (`TRITON_INTERPRET=1`), the kernels run on a CPU, for tests.

Private noise is Philox numbers (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turned normal by Box
and Muller's method. They depend on the network's key, the number of the draw, the time, the trial and the unit alone:
not on the other networks, nor on how trials are divided into tiles.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from insd.networks.engine.keyed import KeyedNoise

MOST_UNITS = 128
"""The weights of more do not fit into a program's registers."""
MOST_CHANNELS = 64
"""The most inputs or outputs."""
PRECISION = "tf32x3"
"""How products are made: this, or `ieee`, which keeps to single precision's own units and holds more in registers."""
TILE, WARPS = 16, 8
"""The trials of a program, and its warps: the fastest of those that `benchmarks/gpu.py` compares."""

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
def _four_normals(key, element, draw, quarter):
    """Standard normal numbers of each element, for the four time steps from 4 `quarter` on."""
    zero = element * 0
    one, two, three, four = tl.philox(key, element, zero + quarter, zero + draw, zero)
    first, second = tl.pair_uniform_to_normal(tl.uint_to_uniform_float(one), tl.uint_to_uniform_float(two))
    third, fourth = tl.pair_uniform_to_normal(tl.uint_to_uniform_float(three), tl.uint_to_uniform_float(four))
    return first, second, third, fourth


@triton.jit(do_not_specialize=["draw"])
@no_type_check
def _forward(
    inputs,  # (network, time, trial, channel)
    recurrent_weights,  # (network, unit, unit_from)
    input_weights,  # (network, unit, channel)
    bias,  # (network, unit)
    initial_state,  # (network, unit)
    noise,  # (network, time, trial, unit); read where `noise_is` given
    keys,  # (network); read where `noise_is` drawn
    rates,  # (network, time and first, trial, unit); filled from the second time on
    times,
    trials,
    alpha,
    draw,
    scale,
    units: tl.constexpr,
    channels: tl.constexpr,
    nonlinearity: tl.constexpr,
    noise_is: tl.constexpr,
    TILE: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    CHANNELS: tl.constexpr,  # noqa: N803
    PRECISION: tl.constexpr,  # noqa: N803
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
    constant = alpha * tl.load(bias + network * units + unit, mask=unit < units, other=0.0)
    first = tl.load(initial_state + network * units + unit, mask=unit < units, other=0.0)
    state = tl.zeros((TILE, UNITS), tl.float32) + first[None, :]
    rate = _rates(state, nonlinearity)
    key = tl.load(keys + network) if noise_is == _DRAWN else 0

    # Each step's inputs are on their way while the step before is computed.
    now = tl.load(inputs + of_input, mask=has_input, other=0.0)
    for start in range(0, times, 4):
        if noise_is == _DRAWN:
            one, two, three, four = _four_normals(key, element, draw, start // 4)
        for step in tl.static_range(4):
            time = start + step
            # Times after the last are computed, and stored nowhere.
            known = tl.minimum(time, times - 1)
            drive = tl.dot(now, of_inputs, input_precision=PRECISION) + constant[None, :]
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
            state = tl.dot(rate, weights, acc=(1.0 - alpha) * state + drive, input_precision=PRECISION)
            rate = _rates(state, nonlinearity)
            tl.store(rates + (time + 1) * trials * units + element, rate, mask=inside & (nothing + time < times))


@triton.jit
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
    units: tl.constexpr,
    channels: tl.constexpr,
    nonlinearity: tl.constexpr,
    has_outputs: tl.constexpr,
    has_rates: tl.constexpr,
    TILE: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    CHANNELS: tl.constexpr,  # noqa: N803
    PRECISION: tl.constexpr,  # noqa: N803
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
            grad = tl.dot(error, readout, input_precision=PRECISION)
            before = tl.maximum(time - 1, 0)
            error = tl.load(grad_outputs + before * trials * channels + of_output, mask=has_output, other=0.0)
        if has_rates:
            sampled = inside & (nothing + time % every == 0)
            grad += tl.load(grad_rates + (time // every) * trials * units + element, mask=sampled, other=0.0)
        slope = _slopes(rate, nonlinearity)
        # The rates before this step, for the next one.
        rate = tl.load(rates + time * trials * units + element, mask=inside, other=0.0)
        grad = tl.dot(following, weights, acc=grad, input_precision=PRECISION)
        following = (1.0 - alpha) * following + grad * slope
        tl.store(grad_states + time * trials * units + element, following, mask=inside)

    grad = tl.dot(following, weights, input_precision=PRECISION)
    earliest = tl.sum((1.0 - alpha) * following + grad * _slopes(rate, nonlinearity), 0)
    row = network * tl.num_programs(1) + tl.program_id(1)
    tl.store(grad_initial + row * units + unit, earliest, mask=unit < units)


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
    keyed = isinstance(noise, KeyedNoise)
    given = noise.contiguous() if isinstance(noise, Tensor) else rates
    _forward[networks, triton.cdiv(trials, TILE)](
        *(part.contiguous() for part in (inputs, recurrent_weights, input_weights, bias, initial_state)),
        *(given, noise.keys if keyed else rates, rates),
        *(times, trials, alpha, noise.draw if keyed else 0, noise.scale if keyed else 0.0),
        *(units, channels, nonlinearity, _DRAWN.value if keyed else _NONE.value if noise is None else _GIVEN.value),
        *(TILE, _padded(units), _padded(channels), PRECISION),
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
        *(units, channels, nonlinearity, grad_outputs is not None, grad_rates is not None),
        *(TILE, _padded(units), _padded(channels), PRECISION),
        num_warps=WARPS,
    )
    return grad_initial.sum(1)


def _padded(size: int) -> int:
    """The size of a tile that holds so many: a power of two, at least the 16 of a product's smallest side."""
    return max(16, triton.next_power_of_2(size))
