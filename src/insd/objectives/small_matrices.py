"""What a GPU does of INSD's penalty with matrices of units and components: `insd.objectives.null_space`.

Each is as large as a network has units, outputs and components to predict. All is in double precision.
"""

from typing import no_type_check

import triton
import triton.language as tl

BLOCK = tl.constexpr(16)
"""Of the elimination: rows at a time; the smallest side of a product."""


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
def project(
    output_weights,  # (network, output, unit)
    membership,  # (component, earlier)
    moments,  # (network, unit and 3, unit and component); what `moments_of` fills, of all parts together
    near,  # (network, unit and component); as `moments_of` fills it
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
def regress(
    membership,  # (component, earlier)
    seen,  # (network, output, unit), as are the next: what `project` fills
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
def fold(
    grad,  # (network, earlier); with respect to S
    membership,  # (component, earlier)
    scale,  # (network, component), as are the next: what `regress` fills
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
