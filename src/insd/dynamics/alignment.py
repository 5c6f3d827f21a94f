"""The best orthogonal change of coordinates between two linear operators, by search.

For operators A and B the search minimises the angle

    d(A, B) = min_C arccos(<A, C B C^T> / (|A| |B|)),   C in O(n),

with the Frobenius inner product and norm. C acts by isometries, so that d is a metric between classes of operators.
The traces cannot be changed by C, and as one step moves the state little, they are most of A and B. The search
therefore sees the rest, a = A - tr(A)/n I and b alike, each divided by its norm. With M = C b C^T it minimises

    f(C) = |a - M|^2 / 2 = 1 - <a, M>.

A step C <- exp(W) C with W skew changes f by <G, W> to first order and, where M is near a, by |[W, a]|^2 / 2 to second
order, where

    G = (X - X^T) / 2,   X = M^T a - a M^T.

f has local minima: the search goes from several starts, some of them computed from the operators. It takes steps along
the gradient that is preconditioned by the second-order term, of Barzilai-Borwein lengths, on the Cayley transform
(both Wen & Yin 2013, "A feasible method for optimization with orthogonality constraints"; the preconditioner is ours),
all pairs of one operator with others and all starts in one batch.

The starts are searched from in single precision, and given up where f is so far above that of another start of the same
pair that no gradient like theirs leads below it. The best is then followed in double precision.

Source of the distance: Ostrow et al. (2023), "Beyond geometry: comparing the temporal structure of computation in
neural circuits with dynamical similarity analysis".
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CONVERGED = 1e-5
"""Relative gradient norm at which a search ends."""
NEARLY_CONVERGED = 1e-4
"""That at which one in single precision ends, whose gradients round to less."""
OUTLOOK = 300.0
"""A start is given up where so many times the fall of f by a first full step does not lead below another start."""
AGREEMENT = 1e-4
"""Starts agree with the best one if they end within this angle of it, in rad."""
DAMPING = 0.03
"""Added to the second-order term, relative to the mean of its eigenvalues: f is not its model far from a minimum."""
COMPUTED_STARTS = 6
"""Starts that are computed from the operators; further ones are random."""


@dataclass(frozen=True)
class Alignment:
    """The best orthogonal change of coordinates from several operators to one other."""

    angles: Float[Tensor, "pair"]
    """Angular distances in rad."""
    transforms: Float[Tensor, "pair rank rank"]
    gradient_norms: Float[Tensor, "pair"]
    """Norm of the gradient G at the end, relative to that of the residual a - M (which counts as 1e-6 at least)."""
    agreement: Float[Tensor, "pair"]
    """Share of the starts that ended within `AGREEMENT` of the best."""


def align(
    target: Float[Tensor, "rank rank"],
    operators: Float[Tensor, "pair rank rank"],
    starts: Float[Tensor, "pair start rank rank"],
    iterations: int,
) -> Alignment:
    """Minimise the angle between ``C B C^T`` and the target over orthogonal C for every operator B.

    `starts` are orthogonal; a search stays in its start's component of O(n), so that both determinants belong among
    them. The search from the best ends when its relative gradient norm is below `CONVERGED`, or after so many
    `iterations`, like those from all starts before it.
    """
    pairs, count, rank, _ = starts.shape
    a, b = _traceless(target), _traceless(operators)
    single = b.float()[:, None].expand(-1, count, -1, -1).reshape(-1, rank, rank)
    nearly, _ = _search(a.float(), single, starts.float().flatten(0, 1), count, iterations, NEARLY_CONVERGED)
    ends = _orthogonal(nearly.double()).view_as(starts)
    angles = _angles(target, operators[:, None], ends)
    best = ends[torch.arange(pairs), angles.argmin(1)]
    transforms, gradient_norms = _search(a, b, best, 1, iterations, CONVERGED)
    found = _angles(target, operators, transforms)
    agreement = (angles <= torch.minimum(found, angles.min(1).values)[:, None] + AGREEMENT).double().mean(1)
    return Alignment(found, transforms, gradient_norms, agreement)


def _angles(
    target: Float[Tensor, "rank rank"],
    operators: Float[Tensor, "*pair rank rank"],
    transforms: Float[Tensor, "*item rank rank"],
) -> Float[Tensor, "*item"]:
    residuals = _unit(target) - transforms @ _unit(operators) @ transforms.mT
    # The arc cosine of the inner product would lose half of the digits near 0.
    return 2 * torch.asin((torch.linalg.matrix_norm(residuals) / 2).clamp(max=1))


def _orthogonal(nearly: Float[Tensor, "item rank rank"]) -> Float[Tensor, "item rank rank"]:
    """The nearest orthogonal matrices to those that are so in single precision, by Newton and Schulz's steps."""
    for _ in range(2):
        nearly = 1.5 * nearly - 0.5 * nearly @ nearly.mT @ nearly
    return nearly


def _unit(operators: Float[Tensor, "*pair rank rank"]) -> Float[Tensor, "*pair rank rank"]:
    norms = torch.linalg.matrix_norm(operators, keepdim=True)
    return operators / norms.clamp(min=torch.finfo(operators.dtype).tiny)


def _traceless(operators: Float[Tensor, "*pair rank rank"]) -> Float[Tensor, "*pair rank rank"]:
    means = operators.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(operators.shape[-1], dtype=operators.dtype)
    return _unit(operators - means[..., None, None] * identity)


def _search(
    a: Float[Tensor, "rank rank"],
    b: Float[Tensor, "item rank rank"],
    transforms: Float[Tensor, "item rank rank"],
    count: int,
    iterations: int,
    converged: float,
) -> tuple[Float[Tensor, "item rank rank"], Float[Tensor, "item"]]:
    """Local minima of f from the given transforms on, and their relative gradient norms; `count` of each pair in turn.

    Those of a pair that are hopeless are given up. Skew matrices are vectors of their entries above the diagonal, times
    sqrt(2) to keep norms.
    """
    rank = a.shape[-1]
    identity, tiny = torch.eye(rank, dtype=a.dtype), torch.finfo(a.dtype).tiny
    above, below, entry = _places(rank)
    # A direction needs no more digits than those of single precision.
    preconditioner = _preconditioner(a.double()).float()

    def evaluate(c: Tensor, b: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = c @ b @ c.mT
        x = (m.mT @ a - a @ m.mT).flatten(1)
        gradient = (x.index_select(1, above) - x.index_select(1, below)) / 2**0.5
        direction = _times(gradient.float(), preconditioner, items // count).to(a.dtype)
        return (a - m).square().sum((-1, -2)) / 2, gradient, direction

    # f = 0 between equivalent operators: there the residual counts as if it were larger than by rounding.
    smallest = 1e-6 if b.dtype == torch.float64 else 1e-2

    def relative_norm(gradient: Tensor, f: Tensor) -> Tensor:
        return gradient.norm(dim=-1) / (2 * f).sqrt().clamp(min=smallest)

    final, norms, items = transforms.clone(), torch.empty(len(b), dtype=b.dtype), torch.arange(len(b))
    lowest = torch.full((len(b) // count,), torch.inf, dtype=b.dtype)
    c = transforms
    f, gradient, direction = evaluate(c, b, items)
    length = torch.ones_like(f)
    # Barzilai-Borwein steps do not descend every time: they are held against a running mean of f.
    reference, weight = f, torch.ones_like(f)
    for iteration in range(iterations):
        lowest = lowest.scatter_reduce(0, items // count, f, "amin")
        hopeful = f - OUTLOOK * (gradient * direction).sum(-1) <= lowest[items // count]
        going = hopeful & (relative_norm(gradient, f) > converged) & (length > 1e-10)
        if not going.all():
            ended = ~going
            final[items[ended]] = c[ended]
            norms[items[ended]] = relative_norm(gradient, f)[ended]
            items, b, c, f, gradient, direction, length, reference, weight = (
                x[going] for x in (items, b, c, f, gradient, direction, length, reference, weight)
            )
            if not len(items):
                break
        half_step = functional.pad(-length[:, None] * direction / 2**1.5, (0, 1))
        skew = torch.cat([half_step, -half_step], 1).index_select(1, entry).view_as(b)
        new_c = (2 * torch.linalg.inv(identity - skew) - identity) @ c
        new_f, new_gradient, new_direction = evaluate(new_c, b, items)
        slope = (gradient * direction).sum(-1)
        accepted = new_f <= reference - 1e-4 * length * slope

        change = new_gradient - gradient
        curvature = (length * (direction * change).sum(-1)).abs().clamp(min=tiny)
        if iteration % 2:
            new_length = curvature / (change * (new_direction - direction)).sum(-1).clamp(min=tiny)
        else:
            new_length = length.square() * slope / curvature
        length = torch.where(accepted, new_length.clamp(1e-3, 1e3), 0.3 * length)
        c = torch.where(accepted[:, None, None], new_c, c)
        gradient = torch.where(accepted[:, None], new_gradient, gradient)
        direction = torch.where(accepted[:, None], new_direction, direction)
        f = torch.where(accepted, new_f, f)
        new_weight = 0.85 * weight + 1
        reference = torch.where(accepted, (0.85 * weight * reference + f) / new_weight, reference)
        weight = torch.where(accepted, new_weight, weight)
    final[items] = c
    norms[items] = relative_norm(gradient, f)
    return final, norms


def _times(
    rows: Float[Tensor, "item entry"], matrix: Float[Tensor, "entry entry"], pairs: Int[Tensor, "item"]
) -> Float[Tensor, "item entry"]:
    """The product of rows with a matrix, pair by pair: how a product rounds depends on its number of rows and on where
    in memory they begin, and the numbers of a pair are not to depend on which others there are.
    """
    counts = torch.unique_consecutive(pairs, return_counts=True)[1].tolist()
    return torch.cat([part.clone() @ matrix for part in rows.split(counts)])


def _places(rank: int) -> tuple[Int[Tensor, "entry"], Int[Tensor, "entry"], Int[Tensor, "place"]]:
    """Where in a matrix, row by row, the entries above the diagonal and their mirror images are; and where each place
    is among those entries and a zero, and the same again with the other sign.
    """
    rows, columns = torch.triu_indices(rank, rank, 1)
    above, below = rows * rank + columns, columns * rank + rows
    entry = torch.full((rank * rank,), len(rows))
    entry[above] = torch.arange(len(rows))
    entry[below] = torch.arange(len(rows)) + len(rows) + 1
    return above, below, entry


def _preconditioner(a: Float[Tensor, "rank rank"]) -> Float[Tensor, "entry entry"]:
    """Damped inverse of the quadratic form ``|[W, a]|^2`` of skew matrices W."""
    rank = a.shape[-1]
    rows, columns = torch.triu_indices(rank, rank, 1)
    entries = torch.arange(len(rows))
    basis = torch.zeros(len(rows), rank, rank, dtype=a.dtype)
    basis[entries, rows, columns], basis[entries, columns, rows] = 0.5**0.5, -(0.5**0.5)
    commutators = (basis @ a - a @ basis).flatten(1)
    form = commutators @ commutators.T
    # An operator that is a multiple of the identity has a form of zeros.
    damping = DAMPING * form.diagonal().sum() / max(len(rows), 1) + 1e-12
    return torch.linalg.inv(form + damping * torch.eye(len(rows), dtype=a.dtype))


def computed_starts(
    target: Float[Tensor, "rank rank"], operators: Float[Tensor, "pair rank rank"]
) -> Float[Tensor, "pair 6 rank rank"]:
    """Starts from frames of the operators: of left and of right singular vectors, and of the symmetric parts' axes.

    Frames F_A and F_B make ``C = F_A D F_B^T``, but for the signs d on the diagonal of D. Those should maximise
    ``<A, C B C^T> = d^T P d`` with the entrywise product ``P = (F_A^T A F_A) o (F_B^T B F_B)``: they are taken from the
    leading eigenvector of P and changed one by one while that helps.
    For B = C^T A C no entry of D P D is negative and the signs, and so C, are exact. Each frame gives a second start of
    the other determinant, with the sign changed that costs least.
    """
    a, b = _traceless(target), _traceless(operators)
    rank = a.shape[-1]
    starts = []
    for frame_a, frame_b in zip(_frames(a[None]), _frames(b), strict=True):
        products = (frame_a.mT @ a @ frame_a) * (frame_b.mT @ b @ frame_b)
        products = (products + products.mT) / 2
        leading = _axes(products)[..., -1]
        signs = torch.where(leading < 0, -1.0, 1.0).to(a.dtype)
        products = products - torch.diag_embed(products.diagonal(dim1=-2, dim2=-1))
        for _ in range(2 * rank):
            # What changing one sign costs, over 4.
            cost, worst = (signs * (products * signs[..., None, :]).sum(-1)).min(-1, keepdim=True)
            signs = signs.scatter(-1, worst, torch.where(cost < 0, -1.0, 1.0) * signs.gather(-1, worst))
        cheapest = (signs * (products * signs[..., None, :]).sum(-1)).argmin(-1, keepdim=True)
        for chosen in (signs, signs.scatter(-1, cheapest, -signs.gather(-1, cheapest))):
            starts.append((frame_a * chosen[:, None]) @ frame_b.mT)
    return torch.stack(starts, 1)


def _frames(operators: Float[Tensor, "pair rank rank"]) -> tuple[Tensor, Tensor, Tensor]:
    # One by one: see `_times`.
    left, _, right = zip(*(torch.linalg.svd(one.clone()) for one in operators), strict=True)
    return torch.stack(left), torch.stack(right).mT, _axes((operators + operators.mT) / 2)


def _axes(matrices: Float[Tensor, "pair rank rank"]) -> Float[Tensor, "pair rank rank"]:
    """Eigenvectors of symmetric matrices."""
    return torch.stack([torch.linalg.eigh(one.clone())[1] for one in matrices])


def random_starts(count: int, rank: int, seed: int) -> Float[Tensor, "start rank rank"]:
    """Random orthogonal matrices, of determinant 1 and -1 by turns."""
    random = np.random.default_rng(seed)
    starts = np.linalg.qr(random.standard_normal((count, rank, rank)))[0]
    starts[:, :, 0] *= (np.linalg.det(starts).round() * (-1.0) ** np.arange(count))[:, None]
    return torch.from_numpy(starts)


def best_alignment(
    target: Float[Tensor, "rank rank"],
    operators: Float[Tensor, "pair rank rank"],
    starts: int,
    iterations: int,
    seed: int,
) -> Alignment:
    """`align` from so many starts: the first `COMPUTED_STARTS` are computed, further ones random and the same for all.

    `seed` is that of the random starts, and `iterations` are the most from each start.
    """
    if target.shape[-1] % 2 and len(operators) > 1:
        # Not all matrices of odd rank begin at a multiple of 16 bytes, on which rounding depends: see `_times`.
        alone = [best_alignment(target, one[None].clone(), starts, iterations, seed) for one in operators]
        return Alignment(*(torch.cat([getattr(one, part.name) for one in alone]) for part in fields(Alignment)))
    drawn = random_starts(max(starts - COMPUTED_STARTS, 0), target.shape[-1], seed)
    begin = torch.cat([computed_starts(target, operators)[:, :starts], drawn.expand(len(operators), -1, -1, -1)], dim=1)
    return align(target, operators, begin, iterations)
