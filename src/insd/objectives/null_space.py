"""The small matrices of INSD's penalty (`insd.objectives.predictivity`) on a GPU, as one kernel each way.

They are as large as a network has units, outputs and components to predict: dozens of products in double precision,
each of which takes a GPU longer to start than to compute. Here a program computes all of a network. With G = X^T X and
C = X^T Y of centred rates X and of components Y divided by their networks' norms, and W = L B as in
`insd.predictivity.row_space`, `project` gives A = Q G Q + rho I and D = Q C; and from M = A^-1 D, `gradients` gives

    dS/dX = X P + Y R,   P = 2 c Q - 2 M M_w^T,   R = 2 s M_w^T,   dS/dW = -2 L^-T (B (C - G M) M_w^T + c B G Q),

where M_w is M with each column times the gradient with respect to its network's S, s divides Y, and
c = -(ridge / units) sum_ij M_ij M_w_ij: the gradient of `predictivity._Penalty` with its products multiplied out.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

MOST_UNITS = 128
"""Matrices of more do not fit on chip."""
MOST_COMPONENTS = 256
"""Nor do more components."""
WARPS = 16
"""Of a program, so that it has registers for two matrices in double precision."""


@triton.jit
@no_type_check
def _row(matrix, chosen):
    """One row of a matrix on chip."""
    return tl.sum(tl.where(chosen[:, None], matrix, 0.0), 0)


@triton.jit
@no_type_check
def _project(
    output_weights,  # (network, output, unit)
    gram,  # (network, unit, unit)
    cross,  # (network, unit, component)
    basis,  # (network, output, unit); B, filled
    inverse,  # (network, output, output); L^-1, filled
    shifted,  # (network, unit, unit); A, filled
    null_cross,  # (network, unit, component); D, filled
    outputs,
    components,
    ridge,
    units: tl.constexpr,
    OUTPUTS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
    COMPONENTS: tl.constexpr,  # noqa: N803
):
    network = tl.program_id(0).to(tl.int64)
    output = tl.arange(0, OUTPUTS)
    unit = tl.arange(0, UNITS)
    component = tl.arange(0, COMPONENTS)

    # Gram and Schmidt's orthonormal rows, each a combination of rows of the readout.
    rows = tl.zeros((OUTPUTS, UNITS), tl.float64)
    combined = tl.zeros((OUTPUTS, OUTPUTS), tl.float64)
    for one in range(outputs):
        weights = tl.load(output_weights + (network * outputs + one) * units + unit, mask=unit < units, other=0.0)
        weights = weights.to(tl.float64)
        along = tl.sum(rows * weights[None, :], 1)
        rest = weights - tl.sum(rows * along[:, None], 0)
        length = tl.sqrt(tl.sum(rest * rest, 0))
        # A row that the others make up, but for rounding, has no direction: what is divided by 0 is not finite.
        length = tl.where(length > 1e-8 * tl.sqrt(tl.sum(weights * weights, 0)), length, 0.0)
        made = (tl.where(output == one, 1.0, 0.0).to(tl.float64) - tl.sum(combined * along[:, None], 0)) / length
        rows = tl.where((output == one)[:, None], (rest / length)[None, :], rows)
        combined = tl.where((output == one)[:, None], made[None, :], combined)
    there = (output < outputs)[:, None]
    tl.store(
        basis + (network * outputs + output[:, None]) * units + unit[None, :],
        rows,
        mask=there & (unit < units)[None, :],
    )
    tl.store(
        inverse + (network * outputs + output[:, None]) * outputs + output[None, :],
        combined,
        mask=there & (output < outputs)[None, :],
    )

    of_units = network * units * units + unit[:, None] * units + unit[None, :]
    inside = (unit < units)[:, None] & (unit < units)[None, :]
    matrix = tl.load(gram + of_units, mask=inside, other=0.0).to(tl.float64)
    of_components = network * units * components + unit[:, None] * components + component[None, :]
    known = (unit < units)[:, None] & (component < components)[None, :]
    right = tl.load(cross + of_components, mask=known, other=0.0)
    for one in range(outputs):
        row = _row(rows, output == one)
        matrix -= row[:, None] * tl.sum(row[:, None] * matrix, 0)[None, :]
        matrix -= tl.sum(row[None, :] * matrix, 1)[:, None] * row[None, :]
        right -= row[:, None] * tl.sum(row[:, None] * right, 0)[None, :]
    diagonal = unit[:, None] == unit[None, :]
    trace = tl.sum(tl.sum(tl.where(diagonal, matrix, 0.0), 1), 0)
    matrix += tl.where(diagonal, ridge * trace / units, 0.0)
    tl.store(shifted + of_units, matrix, mask=inside)
    tl.store(null_cross + of_components, right, mask=known)


@triton.jit
@no_type_check
def _gradients(
    basis,  # (network, output, unit)
    inverse,  # (network, output, output)
    gram,  # (network, unit, unit)
    cross,  # (network, unit, component)
    weights,  # (network, unit, component); M
    factors,  # (network, component); the gradient with respect to each component's S
    scale,  # (network, component)
    of_rates,  # (network, unit, unit); P, filled
    of_earlier,  # (network, component, unit); R, filled
    of_readout,  # (network, output, unit); dS/dW, filled
    outputs,
    components,
    ridge,
    units: tl.constexpr,
    OUTPUTS: tl.constexpr,  # noqa: N803
    UNITS: tl.constexpr,  # noqa: N803
):
    network = tl.program_id(0).to(tl.int64)
    output = tl.arange(0, OUTPUTS)
    unit = tl.arange(0, UNITS)
    of_units = network * units * units + unit[:, None] * units + unit[None, :]
    inside = (unit < units)[:, None] & (unit < units)[None, :]
    of_outputs = (network * outputs + output[:, None]) * units + unit[None, :]
    there = (output < outputs)[:, None] & (unit < units)[None, :]
    rows = tl.load(basis + of_outputs, mask=there, other=0.0)
    matrix = tl.load(gram + of_units, mask=inside, other=0.0).to(tl.float64)
    seen = tl.zeros((OUTPUTS, UNITS), tl.float64)  # B G
    for one in range(outputs):
        row = _row(rows, output == one)
        seen = tl.where((output == one)[:, None], tl.sum(row[:, None] * matrix, 0)[None, :], seen)

    product = tl.zeros((UNITS, UNITS), tl.float64)
    inner = tl.zeros((OUTPUTS, UNITS), tl.float64)
    total = tl.sum(tl.zeros((UNITS,), tl.float64), 0)
    for one in range(components):
        places = (network * units + unit) * components + one
        column = tl.load(weights + places, mask=unit < units, other=0.0)
        weighted = column * tl.load(factors + network * components + one)
        total += tl.sum(column * weighted, 0)
        product += column[:, None] * weighted[None, :]
        seen_column = tl.load(cross + places, mask=unit < units, other=0.0)
        residual = tl.sum(rows * seen_column[None, :] - seen * column[None, :], 1)
        inner += residual[:, None] * weighted[None, :]
        divided = tl.load(scale + network * components + one)
        tl.store(
            of_earlier + (network * components + one) * units + unit,
            (2.0 * divided * weighted).to(tl.float32),
            mask=unit < units,
        )
    of_ridge = -(ridge / units) * total
    product = tl.where(unit[:, None] == unit[None, :], of_ridge, 0.0) - product
    readout = tl.zeros((OUTPUTS, UNITS), tl.float64)
    for one in range(outputs):
        chosen = output == one
        row = _row(rows, chosen)
        product -= of_ridge * row[:, None] * row[None, :]
        here = _row(seen, chosen)
        along = tl.sum(rows * here[None, :], 1)
        whole = _row(inner, chosen) + of_ridge * (here - tl.sum(rows * along[:, None], 0))
        made_of = tl.load(inverse + (network * outputs + one) * outputs + output, mask=output < outputs, other=0.0)
        readout += made_of[:, None] * whole[None, :]
    tl.store(of_rates + of_units, (2.0 * product).to(tl.float32), mask=inside)
    tl.store(of_readout + of_outputs, -2.0 * readout, mask=there)


def project(
    output_weights: Float[Tensor, "network output unit"],
    gram: Float[Tensor, "network unit unit"],
    cross: Float[Tensor, "network unit component"],
    ridge: float,
) -> tuple[
    Float[Tensor, "network output unit"],
    Float[Tensor, "network output output"],
    Float[Tensor, "network unit unit"],
    Float[Tensor, "network unit component"],
]:
    """B, L^-1, A and D, all in double precision; from G, and C in double precision."""
    networks, outputs, units = output_weights.shape
    components = cross.shape[-1]
    new = cross.new_empty
    basis, inverse = new(networks, outputs, units), new(networks, outputs, outputs)
    shifted, null_cross = new(networks, units, units), new(networks, units, components)
    _project[(networks,)](
        *(output_weights.contiguous(), gram.contiguous(), cross.contiguous()),
        *(basis, inverse, shifted, null_cross, outputs, components, ridge),
        *(units, _padded(outputs), _padded(units), _padded(components)),
        num_warps=WARPS,
    )
    return basis, inverse, shifted, null_cross


def gradients(
    basis: Float[Tensor, "network output unit"],
    inverse: Float[Tensor, "network output output"],
    gram: Float[Tensor, "network unit unit"],
    cross: Float[Tensor, "network unit component"],
    weights: Float[Tensor, "network unit component"],
    factors: Float[Tensor, "network component"],
    scale: Float[Tensor, "network component"],
    ridge: float,
) -> tuple[
    Float[Tensor, "network unit unit"], Float[Tensor, "network component unit"], Float[Tensor, "network output unit"]
]:
    """P and R in single precision, and dS/dW in double; from G, C, M, and what columns are divided by."""
    networks, outputs, units = basis.shape
    components = cross.shape[-1]
    of_rates = basis.new_empty(networks, units, units, dtype=torch.float32)
    of_earlier = basis.new_empty(networks, components, units, dtype=torch.float32)
    of_readout = torch.empty_like(basis)
    _gradients[(networks,)](
        *(basis, inverse, gram.contiguous(), cross.contiguous(), weights.contiguous(), factors.contiguous()),
        *(scale.contiguous(), of_rates, of_earlier, of_readout, outputs, components, ridge),
        *(units, _padded(outputs), _padded(units)),
        num_warps=WARPS,
    )
    return of_rates, of_earlier, of_readout


def _padded(size: int) -> int:
    """The size of a tile that holds so many."""
    return max(4, triton.next_power_of_2(size))
