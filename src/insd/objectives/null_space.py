"""INSD's penalty (`insd.objectives.predictivity`) on a GPU, as five kernels.

With PyTorch it takes some 120 kernels, most of which a GPU runs in less time than it takes to start them. With X and Y
the centred rates and components (samples are times and trials), W = L B as in `insd.predictivity.row_space`,
Q = I - B^T B, and s the norms that divide components,

- `over_samples.moments_of` gives parts of G = X^T X, of X^T Y and of sums, straight from where rates and components
  are stored;
- `small_matrices.project` B, L^-1, C = s X^T Y, A = Q G Q + rho I and Q C;
- `small_matrices.regress` M = A^-1 Q C, by Gauss and Jordan's elimination of blocks of the symmetric A, and S of each
  earlier network, the sum of M times Q C, number by number;
- `small_matrices.fold` the matrices of dS/dX = X P + Y R, and dS/dW;
- `over_samples.apply` dS/dX.

The gradient is that of `predictivity._Penalty` with its products multiplied out,

    P = 2 c Q - 2 M M_w^T,   R = 2 s M_w^T,   dS/dW = -2 L^-T (B (C - G M) M_w^T + c B G Q),

where M_w is M with each column times the gradient with respect to its network's S, and
c = -(ridge / units) sum_ij M_ij M_w_ij.

Products over samples, and with samples, are made of three in TF32, which is single precision up to its last digits;
those of small matrices are in double precision. Where Triton's interpreter is on (`TRITON_INTERPRET=1`), the kernels
run on a CPU, for tests.
"""

import functools
from dataclasses import dataclass

import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor

from insd.objectives import over_samples, small_matrices

MOST = 128, 256, 64
"""Units, components and outputs: the matrices of more do not fit on chip."""
SAMPLES = 64
"""Of the moments: samples at a time; and those whose mean is near that of all."""
STAGES = 2
"""Of the same: how many sets of samples are on chip, or on their way."""
MOMENTS_WARPS = 4
"""Of the same: the warps of a program, of which several fit on a multiprocessor."""
COLUMNS = 64
"""Of the moments, the gradient's matrices and dS/dX: columns of a matrix at a time."""
ELIMINATION = 64, 8
"""Of the elimination: columns of a matrix at a time, and the warps of a program."""
NARROW = 32
"""Of the projection: columns of a program."""
PROGRAMS = 792
"""Of the moments and of dS/dX: six for each multiprocessor of a large card, among which samples are divided."""
MOST_PARTS = 16
"""Of the moments: into how many parts a network's samples are divided at most."""
WARPS = 8
"""Of the programs of all other kernels."""
ROWS = 32
"""Of the matrices of the gradient: rows of a program."""
TILE = 64
"""Of dS/dX: samples at a time."""


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

    def sizes(self, parts: int, at_a_time: int) -> tuple[int, int, int, int, int, int, int, int, int, bool]:
        """The strides of rates and how many there are of what, of which the samples are in parts of whole tiles."""
        _, times, trials, units = self.rates.shape
        strides = self.rates.stride()[:3]
        of_part = at_a_time * triton.cdiv(triton.cdiv(times * trials, parts), at_a_time)
        counts = times, trials, of_part, self.stored.shape[1], self.components
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
    blocks = rows // COLUMNS * (whole // COLUMNS)
    parts = samples.parts(PROGRAMS // blocks, SAMPLES, MOST_PARTS)
    single, double = samples.rates.new_empty, functools.partial(output_weights.new_empty, dtype=torch.float64)
    moments, near = single(networks, parts, rows + 3, whole), single(networks, whole)
    over_samples.moments_of[blocks, parts, networks](
        *(*samples.arguments(), moments, near, *samples.sizes(parts, SAMPLES)),
        *(SAMPLES, COLUMNS, rows),
        num_warps=MOMENTS_WARPS,
        num_stages=STAGES,
    )
    moments, mean = moments.sum(1) if parts > 1 else moments[:, 0], torch.empty_like(near)
    shapes = (columns,), (some, rows), (some, some), (some, rows), (some, columns), (rows, columns), (rows, whole)
    made = [double((networks, *shape)) for shape in shapes]
    membership, earlier = membership.contiguous(), membership.shape[1]
    small_matrices.project[networks, whole // NARROW](
        *(output_weights.contiguous(), membership, moments, near, mean, *made),
        *(outputs, samples.components, earlier, ridge, units),
        *(NARROW, some, rows, columns),
        num_warps=WARPS,
        num_stages=1,
    )
    scale, basis, inverse, seen, seen_cross, null_cross, solved = made
    (at_a_time, warps), sizes = ELIMINATION, ((some, columns), (columns,), (earlier,))
    residual, of_component, values = (double((networks, *size)) for size in sizes)
    small_matrices.regress[(networks,)](
        *(membership, seen, seen_cross, null_cross, solved, residual, of_component, values),
        *(samples.components, earlier, units),
        *(at_a_time, some, rows, columns),
        num_warps=warps,
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
    """Gradients with respect to the rates and the readouts, from that of the values and what `penalty` found."""
    networks, outputs, units = output_weights.shape
    rows, columns, some = _sizes(units, samples.components, outputs)
    mean, *others = found
    new = samples.rates.new_empty
    of_rates, of_earlier, of_readout = (
        new(networks, rows, rows),
        new(networks, columns, rows),
        new(output_weights.shape),
    )
    small_matrices.fold[networks, rows // ROWS](
        *(grad.double().contiguous(), membership.contiguous(), *others, of_rates, of_earlier, of_readout),
        *(outputs, samples.components, membership.shape[1], ridge, units),
        *(ROWS, COLUMNS, some, rows, columns),
        num_warps=WARPS,
        num_stages=1,
    )
    of_samples = new(samples.rates.shape)
    blocks = rows // COLUMNS
    parts = samples.parts(PROGRAMS // blocks, TILE, PROGRAMS)
    over_samples.apply[blocks, parts, networks](
        *(*samples.arguments(), mean, of_rates, of_earlier, of_samples, *samples.sizes(parts, TILE)),
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
