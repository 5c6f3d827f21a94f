"""INSD's penalty (`insd.objectives.predictivity`) on a GPU, as four kernels.

With PyTorch it takes some 120 kernels, most of which a GPU runs in less time than it takes to start them. With X and Y
the centred rates and components (samples are times and trials), W = L B as in `insd.predictivity.row_space`,
Q = I - B^T B, and s the norms that divide components,

1. `_moments`: parts of G = X^T X, of X^T Y and of sums, straight from where rates and components are stored;
2. `_regress`: B, L^-1, G, C = s X^T Y, A = Q G Q + rho I and M = A^-1 Q C, by Gauss and Jordan's elimination of blocks of
   the symmetric A, and S = sum M * Q C of each earlier network: all of a network in one program, in double precision;
3. `_fold`: the matrices of dS/dX = X P + Y R, and dS/dW:

       P = 2 c Q - 2 M M_w^T,   R = 2 s M_w^T,   dS/dW = -2 L^-T (B (C - G M) M_w^T + c B G Q),

   where M_w is M with each column times the gradient with respect to its network's S, and
   c = -(ridge / units) sum_ij M_ij M_w_ij: the gradient of `predictivity._Penalty` with its products multiplied out;
4. `_apply`: dS/dX.

Products over samples, and with samples, are made of three in TF32, which is single precision up to its last digits.
Where Triton's interpreter is on (`TRITON_INTERPRET=1`), the kernels run on a CPU, for tests.
"""

import functools
from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

MOST = 128, 256, 64
"""Units, components and outputs: the matrices of more do not fit on chip."""
SAMPLES = 32
"""Of the moments: samples at a time; and those whose mean is near that of all."""
COLUMNS = 64
"""Of the moments and the elimination: columns of a matrix at a time."""
NARROW = 32
"""Of the projection: columns of a program."""
PROGRAMS = 264
"""Of the moments and of dS/dX: two for each multiprocessor of a large card, among which samples are divided."""
MOST_PARTS = 16
"""Of the moments: parts are added up by one program."""
WARPS = 8
"""Of all programs."""
ROWS = 32
"""Of the matrices of the gradient: rows of a program."""
TILE = 64
"""Of dS/dX: samples at a time."""
BLOCK = tl.constexpr(16)
"""Of the elimination: rows at a time; the smallest side of a product."""


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
def _moments(
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
    """For some columns of the rates or of the components, sums over a part of a network's samples."""
    network = tl.program_id(2).to(tl.int64)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    unit = tl.arange(0, UNITS)
    whole = tl.num_programs(0) * COLUMNS
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

    product = tl.zeros((UNITS, COLUMNS), tl.float32)
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


@triton.jit
@no_type_check
def _orthonormal(output_weights, outputs, units: tl.constexpr, OUTPUTS: tl.constexpr, UNITS: tl.constexpr):  # noqa: N803
    """Gram and Schmidt's orthonormal rows, each a combination of rows of a readout; and the weights of these."""
    output, unit = tl.arange(0, OUTPUTS), tl.arange(0, UNITS)
    rows = tl.zeros((OUTPUTS, UNITS), tl.float64)
    combined = tl.zeros((OUTPUTS, OUTPUTS), tl.float64)
    for one in range(outputs):
        weights = tl.load(output_weights + one * units + unit, mask=unit < units, other=0.0).to(tl.float64)
        along = tl.sum(rows * weights[None, :], 1)
        rest = weights - tl.sum(rows * along[:, None], 0)
        length = tl.sqrt(tl.sum(rest * rest, 0))
        # A row that the others make up, but for rounding, has no direction: what is divided by 0 is not finite.
        length = tl.where(length > 1e-8 * tl.sqrt(tl.sum(weights * weights, 0)), length, 0.0)
        made = (tl.where(output == one, 1.0, 0.0).to(tl.float64) - tl.sum(combined * along[:, None], 0)) / length
        rows = tl.where((output == one)[:, None], (rest / length)[None, :], rows)
        combined = tl.where((output == one)[:, None], made[None, :], combined)
    return rows, combined


@triton.jit
@no_type_check
def _centred_products(moments, row, column, inside, units, UNITS: tl.constexpr, whole: tl.constexpr):  # noqa: N803
    """Some products of rates with rates or components, less their means, in double precision."""
    of_row = tl.load(moments + UNITS * whole + row, mask=row < units, other=0.0).to(tl.float64)
    of_column = tl.load(moments + UNITS * whole + column, mask=inside, other=0.0).to(tl.float64)
    count = tl.load(moments + (UNITS + 2) * whole).to(tl.float64)
    both = (row < units)[:, None] & inside[None, :]
    products = tl.load(moments + row[:, None] * whole + column[None, :], mask=both, other=0.0).to(tl.float64)
    return products - of_row[:, None] * (of_column / count)[None, :]


@triton.jit
@no_type_check
def _inverse(matrix):
    """Of a symmetric positive definite matrix of `BLOCK` rows on chip, by sweeping all of its pivots."""
    row, column = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    for pivot in range(BLOCK):
        down = tl.sum(tl.where(column == pivot, matrix, 0.0), 1)[:, None]
        across = tl.sum(tl.where(row == pivot, matrix, 0.0), 0)[None, :]
        here = 1.0 / tl.sum(tl.sum(tl.where((row == pivot) & (column == pivot), matrix, 0.0), 1), 0)
        swept = matrix - down * (across * here)
        swept = tl.where(row == pivot, across * here, tl.where(column == pivot, down * here, swept))
        matrix = tl.where((row == pivot) & (column == pivot), -here, swept)
    return -matrix


@triton.jit(do_not_specialize=["outputs", "components", "earlier"])
@no_type_check
def _project(
    output_weights,  # (network, output, unit)
    membership,  # (component, earlier)
    moments,  # (network, unit and 3, unit and component); what `_moments` fills, of all parts together
    near,  # (network, unit and component); as `_moments` fills it
    mean,  # (network, unit and component); filled, as are the next, all but the first in double precision
    scale,  # (network, component)
    basis,  # (network, output, unit); B
    inverse,  # (network, output, output); L^-1
    seen,  # (network, output, unit); B G
    seen_cross,  # (network, output, component); B C
    null_cross,  # (network, unit, component); Q C
    system,  # (network, unit, unit and component); A and Q C
    outputs,
    components,
    earlier,
    ridge,
    units: tl.constexpr,
    COLUMNS: tl.constexpr,  # noqa: N803
    OUTPUTS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    COMPONENTS: tl.constexpr,  # noqa: N803
):
    """Some columns of A or C of a network. Sizes in capitals are those of what is between kernels."""
    network = tl.program_id(0).to(tl.int64)
    whole: tl.constexpr = UNITS + COMPONENTS
    output, unit, component = tl.arange(0, OUTPUTS), tl.arange(0, UNITS), tl.arange(0, COMPONENTS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    moments += network * (UNITS + 3) * whole
    basis += network * OUTPUTS * UNITS
    of_basis = output[:, None] * UNITS

    # All programs of a network write the same here.
    rows, combined = _orthonormal(output_weights + network * outputs * units, outputs, units, OUTPUTS, UNITS)
    tl.store(basis + of_basis + unit[None, :], rows)
    tl.store(inverse + (network * OUTPUTS + output[:, None]) * OUTPUTS + output[None, :], combined)
    tl.debug_barrier()
    across = tl.load(basis + output[None, :] * UNITS + unit[:, None])

    count = tl.load(moments + (UNITS + 2) * whole).to(tl.float64)
    here = tl.load(near + network * whole + column) + tl.load(moments + UNITS * whole + column) / count
    tl.store(mean + network * whole + column, here.to(tl.float32))
    if tl.program_id(1) * COLUMNS < UNITS:
        every = tl.zeros((OUTPUTS, UNITS), tl.float64)
        for first in range(0, UNITS, COLUMNS):
            some = first + tl.arange(0, COLUMNS)
            gram = _centred_products(moments, some, unit, unit < units, units, UNITS, whole)
            every = tl.dot(tl.load(basis + of_basis + some[None, :]), gram, acc=every, out_dtype=tl.float64)
        twice = tl.dot(every, across, out_dtype=tl.float64)
        # A = G - B^T B G - (G B^T - B^T B G B^T) B + rho I, and 1 in the diagonal of rows that there are not.
        gram = _centred_products(moments, unit, column, column < units, units, UNITS, whole)
        along = tl.dot(rows, gram, out_dtype=tl.float64)
        left = tl.trans(every) - tl.dot(across, twice, out_dtype=tl.float64)
        matrix = gram - tl.dot(across, along, out_dtype=tl.float64)
        matrix -= tl.dot(left, tl.load(basis + of_basis + column[None, :]), out_dtype=tl.float64)
        sums = tl.load(moments + UNITS * whole + unit, mask=unit < units, other=0.0).to(tl.float64)
        squares = tl.load(moments + (UNITS + 1) * whole + unit, mask=unit < units, other=0.0).to(tl.float64)
        trace = tl.sum(squares - sums * sums / count, 0)
        trace -= tl.sum(tl.sum(tl.where(output[:, None] == output[None, :], twice, 0.0), 1), 0)
        added = tl.where(unit < units, ridge * trace / units, 1.0)[:, None]
        matrix += tl.where(unit[:, None] == column[None, :], added, 0.0)
        tl.store(system + (network * UNITS + unit[:, None]) * whole + column[None, :], matrix)
        tl.store(seen + (network * OUTPUTS + output[:, None]) * UNITS + column[None, :], along)
    else:
        which = column - UNITS
        of_all = tl.load(moments + UNITS * whole + UNITS + component).to(tl.float64)
        square = tl.load(moments + (UNITS + 1) * whole + UNITS + component).to(tl.float64) - of_all * of_all / count
        # Each component is divided by its own network's norm, so that one sum per network gives S.
        divided = tl.zeros((COLUMNS,), tl.float64)
        for one in range(earlier):
            member = tl.load(membership + component * earlier + one, mask=component < components, other=0.0)
            mine = tl.load(membership + which * earlier + one, mask=which < components, other=0.0)
            divided += mine.to(tl.float64) / tl.sqrt(tl.sum(square * member.to(tl.float64), 0))
        tl.store(scale + network * COMPONENTS + which, divided)
        cross = _centred_products(moments, unit, column, which < components, units, UNITS, whole) * divided[None, :]
        seen_here = tl.dot(rows, cross, out_dtype=tl.float64)
        cross -= tl.dot(across, seen_here, out_dtype=tl.float64)
        tl.store(seen_cross + (network * OUTPUTS + output[:, None]) * COMPONENTS + which[None, :], seen_here)
        tl.store(null_cross + (network * UNITS + unit[:, None]) * COMPONENTS + which[None, :], cross)
        tl.store(system + (network * UNITS + unit[:, None]) * whole + column[None, :], cross)


@triton.jit(do_not_specialize=["components", "earlier"])
@no_type_check
def _regress(
    membership,  # (component, earlier)
    seen,  # (network, output, unit), as are the next: what `_project` fills
    seen_cross,
    null_cross,
    system,  # (network, unit, unit and component); M in its last columns takes the place of Q C
    residual,  # (network, output, component); B (C - G M), filled, as are the next
    of_component,  # (network, component); what each adds to S
    values,  # (network, earlier); S
    components,
    earlier,
    units: tl.constexpr,
    COLUMNS: tl.constexpr,  # noqa: N803
    OUTPUTS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    COMPONENTS: tl.constexpr,  # noqa: N803
):
    """The regression of a network's components on its rates, by Gauss and Jordan's elimination of blocks of A."""
    network = tl.program_id(0).to(tl.int64)
    whole: tl.constexpr = UNITS + COMPONENTS
    output, unit, component = tl.arange(0, OUTPUTS), tl.arange(0, UNITS), tl.arange(0, COMPONENTS)
    small = tl.arange(0, BLOCK)
    system += network * UNITS * whole
    for begin in range(0, units, BLOCK):
        corner = tl.load(system + (begin + small[:, None]) * whole + begin + small[None, :])
        panel = tl.load(system + unit[:, None] * whole + begin + small[None, :])
        panel -= tl.where(unit[:, None] == begin + small[None, :], 1.0, 0.0)
        tl.debug_barrier()
        corner = _inverse(corner)
        # The columns before the block are not needed any more.
        for first in range(begin // COLUMNS * COLUMNS, whole, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            of_block = tl.load(system + (begin + small[:, None]) * whole + column[None, :])
            of_block = tl.dot(corner, of_block, out_dtype=tl.float64)
            places = unit[:, None] * whole + column[None, :]
            matrix = tl.load(system + places) - tl.dot(panel, of_block, out_dtype=tl.float64)
            tl.debug_barrier()
            tl.store(system + places, matrix)
        tl.debug_barrier()

    every = tl.load(seen + (network * OUTPUTS + output[:, None]) * UNITS + unit[None, :])
    for first in range(0, COMPONENTS, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        weights = tl.load(system + unit[:, None] * whole + UNITS + column[None, :])
        cross = tl.load(null_cross + (network * UNITS + unit[:, None]) * COMPONENTS + column[None, :])
        tl.store(of_component + network * COMPONENTS + column, tl.sum(weights * cross, 0))
        places = (network * OUTPUTS + output[:, None]) * COMPONENTS + column[None, :]
        tl.store(residual + places, tl.load(seen_cross + places) - tl.dot(every, weights, out_dtype=tl.float64))
    tl.debug_barrier()
    added = tl.load(of_component + network * COMPONENTS + component)
    for one in range(earlier):
        member = tl.load(membership + component * earlier + one, mask=component < components, other=0.0).to(tl.float64)
        tl.store(values + network * earlier + one, tl.sum(added * member, 0))


@triton.jit(do_not_specialize=["outputs", "components", "earlier"])
@no_type_check
def _fold(
    grad,  # (network, earlier); with respect to S
    membership,  # (component, earlier)
    scale,  # (network, component), as are the next: what `_regress` fills
    basis,
    inverse,
    seen,
    residual,
    solved,
    of_rates,  # (network, unit, unit); P, filled
    of_earlier,  # (network, component, unit); R, filled
    of_readout,  # (network, output, unit); dS/dW, filled
    outputs,
    components,
    earlier,
    ridge,
    units: tl.constexpr,
    ROWS: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    OUTPUTS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    COMPONENTS: tl.constexpr,  # noqa: N803
):
    """For some units of a network, the matrices by which rates and components make its gradient."""
    network = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    output, unit = tl.arange(0, OUTPUTS), tl.arange(0, UNITS)
    whole: tl.constexpr = UNITS + COMPONENTS
    solved += network * UNITS * whole + UNITS
    basis += network * OUTPUTS * UNITS
    seen += network * OUTPUTS * UNITS
    of_basis = output[:, None] * UNITS
    total = tl.sum(tl.zeros((UNITS,), tl.float64), 0)
    product = tl.zeros((ROWS, UNITS), tl.float64)
    inner = tl.zeros((OUTPUTS, ROWS), tl.float64)
    for first in range(0, COMPONENTS, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        factor = tl.zeros((COLUMNS,), tl.float64)
        for one in range(earlier):
            member = tl.load(membership + column * earlier + one, mask=column < components, other=0.0)
            factor += tl.load(grad + network * earlier + one) * member.to(tl.float64)
        every = tl.load(solved + unit[:, None] * whole + column[None, :])
        weighted = every * factor[None, :]
        total += tl.sum(tl.sum(every * weighted, 1), 0)
        some = tl.load(solved + row[:, None] * whole + column[None, :])
        product = tl.dot(some, tl.trans(weighted), acc=product, out_dtype=tl.float64)
        made = tl.trans(some * factor[None, :])
        left = tl.load(residual + (network * OUTPUTS + output[:, None]) * COMPONENTS + column[None, :])
        inner = tl.dot(left, made, acc=inner, out_dtype=tl.float64)
        divided = tl.load(scale + network * COMPONENTS + column)
        tl.store(
            of_earlier + (network * COMPONENTS + column[:, None]) * UNITS + row[None, :],
            (2.0 * divided[:, None] * made).to(tl.float32),
        )
    of_ridge = -(ridge / units) * total
    rows = tl.load(basis + of_basis + unit[None, :])
    mine = tl.load(basis + of_basis + row[None, :])
    projector = tl.where(row[:, None] == unit[None, :], 1.0, 0.0) - tl.dot(tl.trans(mine), rows, out_dtype=tl.float64)
    tl.store(
        of_rates + (network * UNITS + row[:, None]) * UNITS + unit[None, :],
        (2.0 * (of_ridge * projector - product)).to(tl.float32),
    )
    twice = tl.dot(tl.load(seen + of_basis + unit[None, :]), tl.trans(rows), out_dtype=tl.float64)
    gram = tl.load(seen + of_basis + row[None, :]) - tl.dot(twice, mine, out_dtype=tl.float64)
    made_of = tl.load(inverse + (network * OUTPUTS + output[:, None]) * OUTPUTS + output[None, :])
    readout = tl.dot(tl.trans(made_of), inner + of_ridge * gram, out_dtype=tl.float64)
    tl.store(
        of_readout + (network * outputs + output[:, None]) * units + row[None, :],
        (-2.0 * readout).to(tl.float32),
        mask=(output < outputs)[:, None] & (row < units)[None, :],
    )


@triton.jit(do_not_specialize=["times", "trials", "of_part", "bank_trials", "components"])
@no_type_check
def _apply(
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


@dataclass(frozen=True)
class Samples:
    """What a penalty is computed on: some trials of a bank, at some times.

    rates : of the networks in training; units lie next to each other in memory.
    stored : components of earlier networks on all trials of the bank, at the same times.
    chosen : which trials of the bank these are, for each network.
    valid : 1 for the times and trials that count; None where all do.
    """

    rates: Float[Tensor, "network time trial unit"]
    stored: Float[Tensor, "network bank_trial time component"]
    chosen: Int[Tensor, "network trial"]
    valid: Float[Tensor, "network time trial"] | None

    @property
    def components(self) -> int:
        """How many components there are."""
        return self.stored.shape[-1]

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What kernels read of it; rates stand for what there is not."""
        valid = self.rates if self.valid is None else self.valid.contiguous()
        return self.rates, self.stored.contiguous(), self.chosen.contiguous(), valid

    def sizes(self, parts: int) -> tuple[int, int, int, int, int, int, int, int, int, bool]:
        """The strides of rates and how many there are of what, of which the samples are in parts."""
        _, times, trials, units = self.rates.shape
        strides = self.rates.stride()[:3]
        counts = times, trials, triton.cdiv(times * trials, parts), self.stored.shape[1], self.components
        return *strides, *counts, units, self.valid is not None

    def parts(self, programs: int, at_a_time: int, most: int) -> int:
        """Into how many parts the samples of each network are divided, for as many programs for all networks."""
        networks, times, trials, _ = self.rates.shape
        return max(1, min(programs // networks, triton.cdiv(times * trials, 2 * at_a_time), most))


def penalty(
    samples: Samples,
    output_weights: Float[Tensor, "network output unit"],
    membership: Float[Tensor, "component earlier"],
    ridge: float,
) -> tuple[Float[Tensor, "network earlier"], tuple[Tensor, ...]]:
    """S of each earlier network, in double precision; and what `gradients` needs."""
    networks, outputs, units = output_weights.shape
    rows, columns, some = _sizes(units, samples.components, outputs)
    whole = rows + columns
    parts = samples.parts(PROGRAMS * COLUMNS // whole, SAMPLES, MOST_PARTS)
    single, double = samples.rates.new_empty, functools.partial(output_weights.new_empty, dtype=torch.float64)
    moments, near = single(networks, parts, rows + 3, whole), single(networks, whole)
    _moments[whole // COLUMNS, parts, networks](
        *(*samples.arguments(), moments, near, *samples.sizes(parts)),
        *(SAMPLES, COLUMNS, rows),
        num_warps=WARPS,
        num_stages=2,
    )
    moments, mean = moments.sum(1) if parts > 1 else moments[:, 0], torch.empty_like(near)
    shapes = (columns,), (some, rows), (some, some), (some, rows), (some, columns), (rows, columns), (rows, whole)
    made = [double((networks, *shape)) for shape in shapes]
    membership, earlier = membership.contiguous(), membership.shape[1]
    _project[networks, whole // NARROW](
        *(output_weights.contiguous(), membership, moments, near, mean, *made),
        *(outputs, samples.components, earlier, ridge, units),
        *(NARROW, some, rows, columns),
        num_warps=WARPS,
        num_stages=1,
    )
    scale, basis, inverse, seen, seen_cross, null_cross, solved = made
    sizes = (some, columns), (columns,), (earlier,)
    residual, of_component, values = (double((networks, *size)) for size in sizes)
    _regress[(networks,)](
        *(membership, seen, seen_cross, null_cross, solved, residual, of_component, values),
        *(samples.components, earlier, units),
        *(COLUMNS, some, rows, columns),
        num_warps=WARPS,
        num_stages=1,
    )
    return values, (mean, scale, basis, inverse, seen, residual, solved)


def gradients(
    grad: Float[Tensor, "network earlier"],
    samples: Samples,
    output_weights: Float[Tensor, "network output unit"],
    membership: Float[Tensor, "component earlier"],
    ridge: float,
    found: tuple[Tensor, ...],
) -> tuple[Float[Tensor, "network time trial unit"], Float[Tensor, "network output unit"]]:
    """Gradients with respect to the rates and the readouts, from what `penalty` found and the gradient of its values."""
    networks, outputs, units = output_weights.shape
    rows, columns, some = _sizes(units, samples.components, outputs)
    mean, *others = found
    new = samples.rates.new_empty
    of_rates, of_earlier, of_readout = (
        new(networks, rows, rows),
        new(networks, columns, rows),
        new(output_weights.shape),
    )
    _fold[networks, rows // ROWS](
        *(grad.double().contiguous(), membership.contiguous(), *others, of_rates, of_earlier, of_readout),
        *(outputs, samples.components, membership.shape[1], ridge, units),
        *(ROWS, COLUMNS, some, rows, columns),
        num_warps=WARPS,
        num_stages=1,
    )
    of_samples = new(samples.rates.shape)
    blocks = rows // COLUMNS
    parts = samples.parts(PROGRAMS // blocks, TILE, PROGRAMS)
    _apply[blocks, parts, networks](
        *(*samples.arguments(), mean, of_rates, of_earlier, of_samples, *samples.sizes(parts)),
        *(TILE, COLUMNS, rows, columns),
        num_warps=WARPS,
        num_stages=1,
    )
    return of_samples, of_readout


def _sizes(units: int, components: int, outputs: int) -> tuple[int, int, int]:
    """Sizes of tiles that hold all units, all components and all outputs: powers of two."""
    return tuple(
        max(least, triton.next_power_of_2(size)) for size, least in ((units, 64), (components, 64), (outputs, 16))
    )
