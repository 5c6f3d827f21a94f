"""What a GPU does of INSD's penalty with all samples, which are times and trials: `insd.objectives.null_space`."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def _samples(
    rates,
    stored,
    chosen,
    valid,
    sample,
    inside,
    column,
    component,
    of_time,
    of_trial,
    times,
    trials,
    units,
    components,
    has_valid: tl.constexpr,
):
    """Some columns of the rates and of the components, whichever there are, at some samples; and which of these count.

    The pointers are those of one network.
    """
    time, trial = sample // trials, sample % trials
    of_rates = time.to(tl.int64) * of_time + trial * of_trial
    of_stored = (tl.load(chosen + trial, mask=inside, other=0) * times + time) * components
    counted = inside
    if has_valid:
        counted = inside & (tl.load(valid + sample, mask=inside, other=0.0) > 0.0)
    found = tl.load(
        rates + of_rates[:, None] + column[None, :], mask=counted[:, None] & (column < units)[None, :], other=0.0
    )
    there = counted[:, None] & ((component >= 0) & (component < components))[None, :]
    found += tl.load(stored + of_stored[:, None] + component[None, :], mask=there, other=0.0)
    return found, counted


@triton.jit
@no_type_check
def _mean(values, counted):
    """Over the samples that count, of values that are zero at the others."""
    return tl.sum(values, 0) / tl.maximum(tl.sum(tl.where(counted, 1.0, 0.0), 0), 1.0)


@triton.jit(do_not_specialize=["times", "trials", "of_part", "bank_trials", "components"])
@no_type_check
def moments_of(
    rates,  # (network, time, trial, unit), of any strides but for units
    stored,  # (network, bank trial, time, component)
    chosen,  # (network, trial); which of the bank
    valid,  # (network, time, trial); read with `has_valid`
    moments,  # (network, part, unit and 3, unit and component); filled: products, sums, squares, and how many
    near,  # (network, unit and component); filled: a row near the mean, which is taken from all others
    of_network,
    of_time,
    of_trial,
    times,
    trials,
    of_part,
    bank_trials,
    components,
    units: tl.constexpr,
    has_valid: tl.constexpr,
    SAMPLES: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
):
    """Sums over a part of a network's samples: of some units times some columns of the rates or of the components."""
    network = tl.program_id(2).to(tl.int64)
    blocks: tl.constexpr = UNITS // COLUMNS
    column = tl.program_id(0) // blocks * COLUMNS + tl.arange(0, COLUMNS)
    unit = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)
    whole = tl.num_programs(0) // blocks * COLUMNS
    samples = times * trials
    rates += network * of_network
    stored += network * bank_trials * times * components
    chosen += network * trials
    valid += network * samples

    # Products of numbers less a row near their mean lose no digits when the rest of the mean is taken out.
    spread = (tl.arange(0, SAMPLES).to(tl.int64) * samples // SAMPLES).to(tl.int32)
    some, counted = _samples(
        *(rates, stored, chosen, valid, spread, spread < samples, column, column - UNITS, of_time, of_trial),
        *(times, trials, units, components, has_valid),
    )
    of_some = _mean(some, counted)
    every, counted = _samples(
        *(rates, stored, chosen, valid, spread, spread < samples, unit, unit - UNITS, of_time, of_trial),
        *(times, trials, units, components, has_valid),
    )
    of_every = _mean(every, counted)

    product = tl.zeros((COLUMNS, COLUMNS), tl.float32)
    total = tl.zeros((COLUMNS,), tl.float32)
    square = tl.zeros((COLUMNS,), tl.float32)
    count = 0.0
    begin = tl.program_id(1) * of_part
    end = tl.minimum(begin + of_part, samples)
    for start in range(begin, end, SAMPLES):
        sample = start + tl.arange(0, SAMPLES)
        some, counted = _samples(
            *(rates, stored, chosen, valid, sample, sample < end, column, column - UNITS, of_time, of_trial),
            *(times, trials, units, components, has_valid),
        )
        every, counted = _samples(
            *(rates, stored, chosen, valid, sample, sample < end, unit, unit - UNITS, of_time, of_trial),
            *(times, trials, units, components, has_valid),
        )
        some = tl.where(counted[:, None], some - of_some[None, :], 0.0)
        every = tl.where(counted[:, None], every - of_every[None, :], 0.0)
        product = tl.dot(tl.trans(every), some, acc=product, input_precision="tf32x3")
        total += tl.sum(some, 0)
        square += tl.sum(some * some, 0)
        count += tl.sum(tl.where(counted, 1.0, 0.0), 0)
    moments += (network * tl.num_programs(1) + tl.program_id(1)) * (UNITS + 3) * whole
    tl.store(moments + unit[:, None] * whole + column[None, :], product)
    tl.store(moments + UNITS * whole + column, total)
    tl.store(moments + (UNITS + 1) * whole + column, square)
    tl.store(moments + (UNITS + 2) * whole + column, tl.zeros((COLUMNS,), tl.float32) + count)
    tl.store(near + network * whole + column, of_some)


@triton.jit(do_not_specialize=["times", "trials", "of_part", "bank_trials", "components"])
@no_type_check
def apply(
    rates,  # (network, time, trial, unit), of any strides but for units
    stored,  # (network, bank trial, time, component)
    chosen,  # (network, trial)
    valid,  # (network, time, trial); read with `has_valid`
    mean,  # (network, unit and component)
    of_rates,  # (network, unit, unit); P
    of_earlier,  # (network, component, unit); R
    found,  # (network, time, trial, unit); filled
    of_network,
    of_time,
    of_trial,
    times,
    trials,
    of_part,
    bank_trials,
    components,
    units: tl.constexpr,
    has_valid: tl.constexpr,
    TILE: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    COMPONENTS: tl.constexpr,  # noqa: N803
):
    """The gradient with respect to a part of a network's rates, of some of its units."""
    network = tl.program_id(2).to(tl.int64)
    unit = tl.arange(0, UNITS)
    row = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    samples = times * trials
    rates += network * of_network
    stored += network * bank_trials * times * components
    chosen += network * trials
    valid += network * samples
    mean += network * (UNITS + COMPONENTS)
    matrix = tl.load(of_rates + (network * UNITS + unit[:, None]) * UNITS + row[None, :])
    centre = tl.load(mean + unit)
    begin = tl.program_id(1) * of_part
    end = tl.minimum(begin + of_part, samples)
    for start in range(begin, end, TILE):
        sample = start + tl.arange(0, TILE)
        inside = sample < end
        every, counted = _samples(
            *(rates, stored, chosen, valid, sample, inside, unit, unit - UNITS, of_time, of_trial),
            *(times, trials, units, components, has_valid),
        )
        every = tl.where(counted[:, None], every - centre[None, :], 0.0)
        made = tl.dot(every, matrix, input_precision="tf32x3")
        for first in tl.static_range(0, COMPONENTS, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            some, counted = _samples(
                *(rates, stored, chosen, valid, sample, inside, column + UNITS, column, of_time, of_trial),
                *(times, trials, units, components, has_valid),
            )
            some = tl.where(counted[:, None], some - tl.load(mean + UNITS + column)[None, :], 0.0)
            right = tl.load(of_earlier + (network * COMPONENTS + column[:, None]) * UNITS + row[None, :])
            made = tl.dot(some, right, acc=made, input_precision="tf32x3")
        places = (network * samples + sample[:, None]) * units + row[None, :]
        tl.store(found + places, made, mask=inside[:, None] & (row < units)[None, :])
