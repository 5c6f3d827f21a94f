"""The loops over time of `persistent` for networks whose weights do not fit on chip: read again in each time step.

All programs of a network read the same weights, which stay in the card's cache. What a step needs of the one before,
all units of a tile of trials, a program reads back from memory a block of units at a time, as it reads the weights.
"""

from typing import no_type_check

import triton
import triton.language as tl

from insd.networks.engine.elementary import rates_of, slopes_of

TILE = 16
"""The trials of a program."""
WARPS = 8
"""The warps of a program."""
FROM = 32
"""Presynaptic units at a time."""
STAGES = 3
"""How many blocks of weights are on chip, or on their way."""


@triton.jit
@no_type_check
def _streamed(
    values,
    weights,
    plus,
    trial,
    unit,
    there,
    factor,
    units: tl.constexpr,
    FROM: tl.constexpr,  # noqa: N803
    STAGES: tl.constexpr,  # noqa: N803
):
    """``factor * values @ weights + plus``; values (trial, unit_from) where `there`, and weights (unit_from, unit)."""
    for first in tl.range(0, units, FROM, num_stages=STAGES):
        before = first + tl.arange(0, FROM)
        inside = (before < units)[:, None] & (unit < units)[None, :]
        some = tl.load(weights + before[:, None] * units + unit[None, :], mask=inside, other=0.0)
        known = there[:, None] & (before < units)[None, :]
        left = factor * tl.load(values + trial[:, None] * units + before[None, :], mask=known, other=0.0)
        plus = tl.dot(left, some, acc=plus, input_precision="tf32x3")
    return plus


@triton.jit(do_not_specialize=["times", "trials", "channels"])
@no_type_check
def forward(
    inputs,  # (network, time, trial, channel)
    recurrent_weights,  # (network, unit_from, unit)
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
    FROM: tl.constexpr,  # noqa: N803
    STAGES: tl.constexpr,  # noqa: N803
):
    """`persistent._forward`, with the weights from unit to unit."""
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
    recurrent_weights += network * units * units
    of_inputs = alpha * tl.load(
        input_weights + network * units * channels + unit[None, :] * channels + channel[:, None],
        mask=(channel < channels)[:, None] & (unit < units)[None, :],
        other=0.0,
    )
    constant = alpha * tl.load(bias + network * units + unit, mask=unit < units, other=0.0)
    first = tl.load(initial_state + network * units + unit, mask=unit < units, other=0.0)
    state = tl.zeros((TILE, UNITS), tl.float32) + first[None, :]
    for time in range(times):
        now = tl.load(inputs + time * trials * channels + of_input, mask=has_input, other=0.0)
        drive = tl.dot(now, of_inputs, input_precision="tf32x3") + constant[None, :]
        if has_noise:
            drive += tl.load(noise + time * trials * units + element, mask=inside, other=0.0)
        state = (1.0 - alpha) * state + drive
        state = _streamed(
            *(rates + time * trials * units, recurrent_weights, state, trial, unit, trial < trials, alpha),
            *(units, FROM, STAGES),
        )
        tl.store(rates + (time + 1) * trials * units + element, rates_of(state, nonlinearity), mask=inside)
        tl.debug_barrier()


@triton.jit(do_not_specialize=["times", "trials", "channels", "every"])
@no_type_check
def backward(
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
    FROM: tl.constexpr,  # noqa: N803
    STAGES: tl.constexpr,  # noqa: N803
):
    """`persistent._backward`."""
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
    recurrent_weights += network * units * units
    if has_outputs:
        readout = tl.load(
            output_weights + network * channels * units + channel[:, None] * units + unit[None, :],
            mask=(channel < channels)[:, None] & (unit < units)[None, :],
            other=0.0,
        )
    following = tl.zeros((TILE, UNITS), tl.float32)
    for back in range(times + 1):
        # The last is the step before the first, whose states are the initial ones.
        time = times - 1 - back
        grad = tl.zeros((TILE, UNITS), tl.float32)
        if has_outputs:
            there = has_output & (of_output * 0 + time >= 0)
            error = tl.load(grad_outputs + time * trials * channels + of_output, mask=there, other=0.0)
            grad = tl.dot(error, readout, input_precision="tf32x3")
        if has_rates:
            sampled = inside & (nothing + time >= 0) & (nothing + time % every == 0)
            grad += tl.load(grad_rates + (time // every) * trials * units + element, mask=sampled, other=0.0)
        rate = tl.load(rates + (time + 1) * trials * units + element, mask=inside, other=0.0)
        later = (trial < trials) & (trial * 0 + back > 0)
        grad = _streamed(
            *(grad_states + (time + 1) * trials * units, recurrent_weights, grad, trial, unit, later, alpha),
            *(units, FROM, STAGES),
        )
        following = (1.0 - alpha) * following + grad * slopes_of(rate, nonlinearity)
        tl.store(grad_states + time * trials * units + element, following, mask=inside & (nothing + time >= 0))
        tl.debug_barrier()
    # Sums over trials; those that there are not have no gradient.
    earliest = tl.sum(tl.where(inside, following, 0.0), 0)
    row = network * tl.num_programs(1) + tl.program_id(1)
    tl.store(grad_initial + row * units + unit, earliest, mask=unit < units)
