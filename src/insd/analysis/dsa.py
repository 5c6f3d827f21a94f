"""Dynamical similarity of networks: how alike the rules are by which their activity goes on, whatever its geometry.

Each network's activity is fitted once by a linear operator A that takes the delay-embedded state one time step on.
Networks are compared by the angle between their operators after the best orthogonal change of coordinates,

    d(A, B) = min_C arccos(<A, C B C^T> / (|A| |B|)),   C in O(n),

with the Frobenius inner product and norm. C acts by isometries, so that d is a metric between classes of operators.
The traces cannot be changed by C, and as one step moves the state little, they are most of A and B. The search
therefore sees the rest, a = A - tr(A)/n I and b alike, each divided by its norm. With M = C b C^T it minimises

    f(C) = |a - M|^2 / 2 = 1 - <a, M>.

A step C <- exp(W) C with W skew changes f by <G, W> to first order and, where M is near a, by |[W, a]|^2 / 2 to second
order, where

    G = (X - X^T) / 2,   X = M^T a - a M^T.

f has local minima: the search goes from several starts, most of them computed from the operators. It takes steps along
the gradient that is preconditioned by the second-order term, of Barzilai-Borwein lengths, on the Cayley transform
(both Wen & Yin 2013, "A feasible method for optimization with orthogonality constraints"; the preconditioner is ours),
all pairs of one network and all starts in one batch.

Source of the method: Ostrow et al. (2023), "Beyond geometry: comparing the temporal structure of computation in neural
circuits with dynamical similarity analysis".
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
import xarray as xr
from jaxtyping import Complex, Float
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.manifold import MDS
from torch import Tensor

from insd.members import Round, network_label

logger = logging.getLogger("insd.analysis.dsa")

ABSENT = 1e-9
"""Variance relative to the largest below which a direction of the embedded activity counts as absent. The rounding of
stored rates is ten times smaller."""
CONVERGED = 1e-5
"""Relative gradient norm at which a search ends."""
AGREEMENT = 1e-4
"""Starts agree with the best one if they end within this angle of it, in rad."""
DAMPING = 0.03
"""Added to the second-order term, relative to the mean of its eigenvalues: f is not its model far from a minimum."""


@dataclass(frozen=True)
class DelayModel:
    """The linear operator of a network's delay-embedded activity, with its coordinates."""

    mean: Float[np.ndarray, "unit"]
    axes: Float[np.ndarray, "embedded direction"]
    """Leading principal axes of the embedded activity, orthonormal, the largest variance first."""
    scales: Float[np.ndarray, "direction"]
    """Root of the sum of squares along each axis. Coordinates are divided by it."""
    operator: Float[np.ndarray, "direction direction"]


def _embed(rates: Float[np.ndarray, "trial time unit"], delays: int) -> Float[np.ndarray, "trial step embedded"]:
    """`delays` successive states of one trial side by side, the latest last: the rows of the Hankel matrix."""
    windows = sliding_window_view(rates, delays, axis=1)
    return windows.swapaxes(-1, -2).reshape(*windows.shape[:2], -1)


def fit(rates: Float[np.ndarray, "trial time unit"], delays: int, rank: int) -> DelayModel:
    """Fit the operator on the leading `rank` directions of the embedded activity, or as many as there are.

    Centred rates are embedded and whitened along their principal axes, from their covariance: the coordinates v are
    the leading right singular vectors of the Hankel matrix. The operator is the least-squares solution of
    ``v(t + 1) = A v(t)`` over all steps within trials. Raises ValueError if trials have no more than `delays` steps.

    Source: Ostrow et al. (2023), delay-embedded dynamic mode decomposition.
    """
    if rates.shape[1] <= delays:
        raise ValueError(f"{delays} delays need trials of more than {delays} time steps, not {rates.shape[1]}")
    rates = rates.astype(np.float64)
    mean = rates.mean((0, 1))
    embedded = _embed(rates - mean, delays)
    flat = embedded.reshape(-1, embedded.shape[-1])
    variances, axes = np.linalg.eigh(flat.T @ flat)
    kept = np.flatnonzero(variances > max(ABSENT * variances[-1], delays * _rounding(rates)))[::-1][:rank]
    axes, scales = axes[:, kept], np.sqrt(variances[kept])
    coordinates = embedded @ (axes / scales)
    before, after = (np.concatenate(list(part)) for part in (coordinates[:, :-1], coordinates[:, 1:]))
    return DelayModel(mean, axes, scales, np.linalg.lstsq(before, after)[0].T)


def fit_operator(rates: Float[np.ndarray, "trial time unit"], delays: int, rank: int) -> Float[np.ndarray, "rank rank"]:
    """The linear operator of a network's activity: see `fit`.

    Invariant to rotation and scaling of the rates, up to the signs of its coordinates. Activity with fewer than `rank`
    directions gets rows and columns of zeros; activity that does not vary an operator of values that are no numbers.
    """
    operator = fit(rates, delays, rank).operator
    if not operator.size:
        return np.full((rank, rank), np.nan)
    return np.pad(operator, (0, rank - len(operator)))


def prediction_error(
    train: Float[np.ndarray, "trial time unit"],
    held_out: Float[np.ndarray, "trial_held_out time unit"],
    delays: int,
    rank: int,
    first: int | None = None,
) -> float:
    """Error of predicting the rates of held-out trials one step ahead, as a share of their variance.

    The operator's prediction is mapped back to the rates of all units, so that what a small rank leaves out counts as
    error, and values can be compared across delays and ranks. `first` is the first time step that is predicted, at
    least `delays`, which is the default; it must be the same for delays that are compared. Not a number where the
    activity does not vary.
    """
    model = fit(train, delays, rank)
    first = delays if first is None else first
    embedded = _embed(held_out.astype(np.float64) - model.mean, delays)[:, first - delays : -1]
    coordinates = embedded @ (model.axes / model.scales)
    latest = model.axes[-len(model.mean) :] * model.scales
    predicted = model.mean + coordinates @ (latest @ model.operator).T
    return _share_of_variance(held_out[:, first:] - predicted, held_out[:, first:])


def persistence_error(held_out: Float[np.ndarray, "trial time unit"], first: int) -> float:
    """The error of `prediction_error` if nothing changed from one step to the next: what an operator must beat."""
    return _share_of_variance(held_out[:, first:] - held_out[:, first - 1 : -1], held_out[:, first:])


def _share_of_variance(errors: np.ndarray, values: np.ndarray) -> float:
    centred = values - values.mean((0, 1), dtype=np.float64)
    total = float(np.square(centred).sum())
    return float(np.square(errors).sum()) / total if total > _rounding(values) else float("nan")


def _rounding(values: np.ndarray) -> float:
    """Sum of squares that values may have about their mean by rounding of the mean alone, without varying."""
    return values.size * float(1e-12 * np.abs(values).max()) ** 2


def network_operators(
    rounds: Iterable[Round], delays: int, rank: int
) -> tuple[dict[str, Float[np.ndarray, "rank rank"]], dict[str, float]]:
    """Operators of all networks of some rounds by label, and their prediction errors.

    The operators are fitted on all trials, those whose prediction is tested on every second one.
    """
    operators, errors = {}, {}
    for current in rounds:
        for seed in current.activity["seed"].values:
            label = network_label(current.population, int(seed), current.round_number)
            rates = current.activity["rates"].sel(seed=seed).values
            operators[label] = fit_operator(rates, delays, rank)
            errors[label] = prediction_error(rates[::2], rates[1::2], delays, rank)
            logger.info("%s: prediction error %.4f", label, errors[label])
    return operators, errors


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
    them. A search ends when its relative gradient norm is below `CONVERGED`, or after so many `iterations`.
    """
    pairs, count, rank, _ = starts.shape
    others = operators[:, None].expand(-1, count, -1, -1).reshape(-1, rank, rank)
    transforms, gradient_norms = _search(_traceless(target), _traceless(others), starts.flatten(0, 1), iterations)
    residuals = _unit(target) - transforms @ _unit(others) @ transforms.mT
    # The arc cosine of the inner product would lose half of the digits near 0.
    angles = 2 * torch.asin((torch.linalg.matrix_norm(residuals) / 2).clamp(max=1))
    angles = angles.view(pairs, count)
    best = angles.argmin(1)
    chosen = torch.arange(pairs), best
    return Alignment(
        angles[chosen],
        transforms.view_as(starts)[chosen],
        gradient_norms.view(pairs, count)[chosen],
        (angles <= angles[chosen][:, None] + AGREEMENT).double().mean(1),
    )


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
    iterations: int,
) -> tuple[Float[Tensor, "item rank rank"], Float[Tensor, "item"]]:
    """Local minima of f from the given transforms on, and their relative gradient norms.

    Skew matrices are vectors of their entries above the diagonal, times sqrt(2) to keep norms.
    """
    rank = a.shape[-1]
    identity = torch.eye(rank, dtype=a.dtype)
    rows, columns = torch.triu_indices(rank, rank, 1)
    preconditioner = _preconditioner(a)

    def evaluate(c: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = c @ b @ c.mT
        x = m.mT @ a - a @ m.mT
        gradient = (x[:, rows, columns] - x[:, columns, rows]) / 2**0.5
        return (a - m).square().sum((-1, -2)) / 2, gradient, gradient @ preconditioner

    def relative_norm(gradient: Tensor, f: Tensor) -> Tensor:
        # f = 0 between equivalent operators: there the residual counts as if it were 1e-6.
        return gradient.norm(dim=-1) / (2 * f).sqrt().clamp(min=1e-6)

    final = transforms.clone()
    norms = torch.empty(len(b), dtype=b.dtype)
    items = torch.arange(len(b))
    c = transforms
    f, gradient, direction = evaluate(c, b)
    length = torch.ones_like(f)
    # Barzilai-Borwein steps do not descend every time: they are held against a running mean of f.
    reference, weight = f, torch.ones_like(f)
    for iteration in range(iterations):
        going = (relative_norm(gradient, f) > CONVERGED) & (length > 1e-10)
        if not going.all():
            ended = ~going
            final[items[ended]] = c[ended]
            norms[items[ended]] = relative_norm(gradient, f)[ended]
            items, b, c, f, gradient, direction, length, reference, weight = (
                x[going] for x in (items, b, c, f, gradient, direction, length, reference, weight)
            )
            if not len(items):
                break
        skew = torch.zeros_like(b)
        half_step = -length[:, None] * direction / 2**1.5
        skew[:, rows, columns], skew[:, columns, rows] = half_step, -half_step
        new_c = (2 * torch.linalg.inv(identity - skew) - identity) @ c
        new_f, new_gradient, new_direction = evaluate(new_c, b)
        slope = (gradient * direction).sum(-1)
        accepted = new_f <= reference - 1e-4 * length * slope

        change = new_gradient - gradient
        curvature = (length * (direction * change).sum(-1)).abs().clamp(min=1e-300)
        if iteration % 2:
            new_length = curvature / (change * (new_direction - direction)).sum(-1).clamp(min=1e-300)
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
    for frame_a, frame_b in zip(_frames(a), _frames(b), strict=True):
        products = (frame_a.mT @ a @ frame_a) * (frame_b.mT @ b @ frame_b)
        products = (products + products.mT) / 2
        leading = torch.linalg.eigh(products)[1][..., -1]
        signs = torch.where(leading < 0, -1.0, 1.0).to(a.dtype)
        products = products - torch.diag_embed(products.diagonal(dim1=-2, dim2=-1))
        for _ in range(2 * rank):
            # What changing one sign costs, over 4.
            cost, worst = (signs * (products @ signs[..., None])[..., 0]).min(-1, keepdim=True)
            signs = signs.scatter(-1, worst, torch.where(cost < 0, -1.0, 1.0) * signs.gather(-1, worst))
        cheapest = (signs * (products @ signs[..., None])[..., 0]).argmin(-1, keepdim=True)
        for chosen in (signs, signs.scatter(-1, cheapest, -signs.gather(-1, cheapest))):
            starts.append((frame_a * chosen[:, None]) @ frame_b.mT)
    return torch.stack(starts, 1)


def _frames(operators: Float[Tensor, "*pair rank rank"]) -> tuple[Tensor, Tensor, Tensor]:
    left, _, right = torch.linalg.svd(operators)
    return left, right.mT, torch.linalg.eigh((operators + operators.mT) / 2)[1]


def random_starts(count: int, rank: int, seed: int) -> Float[Tensor, "start rank rank"]:
    """Random orthogonal matrices, of determinant 1 and -1 by turns."""
    random = np.random.default_rng(seed)
    starts = np.linalg.qr(random.standard_normal((count, rank, rank)))[0]
    starts[:, :, 0] *= (np.linalg.det(starts).round() * (-1.0) ** np.arange(count))[:, None]
    return torch.from_numpy(starts)


def spectral_distance(eigenvalues: Complex[np.ndarray, "mode"], eigenvalues_to: Complex[np.ndarray, "mode"]) -> float:
    """Wasserstein-2 distance between two spectra of equal size, ``min over matchings of sqrt(mean |l - m|^2)``.

    Blind to everything of an operator but its eigenvalues.

    Source: Redman et al. (2024), "Identifying equivalent training dynamics", where Koopman spectra are compared so.
    """
    costs = np.square(np.abs(eigenvalues[:, None] - eigenvalues_to))
    return float(np.sqrt(costs[scipy.optimize.linear_sum_assignment(costs)].mean()))


def dynamical_similarity(
    operators: Mapping[str, Float[np.ndarray, "rank rank"]],
    prediction_errors: Mapping[str, float],
    starts: int,
    iterations: int,
    seed: int,
) -> xr.Dataset:
    """Distances between the dynamics of all networks, and maps of them, by the contract of `dsa.nc`.

    Parameters
    ----------
    operators : by label, `fit_operator` of each network.
    prediction_errors : by label, their `prediction_error`, kept with the results.
    starts : of the search per pair; the first six are computed, further ones random.
    iterations : of the search from each start at most.
    seed : of the random starts, which are the same for all pairs.

    Returns
    -------
    distance (network, network_to) : angular distance in rad, a metric; 0 between equivalent operators.
    gradient_norm, agreement (network, network_to) : how well each search converged, see `Alignment`.
    spectral_distance (network, network_to) : Wasserstein-2 distance between eigenvalues per step.
    embedding, spectral_embedding (network, axis) : the networks as points in a plane whose distances are nearest to
        those two distances by metric multidimensional scaling.
    stress, spectral_stress : Kruskal's stress-1 of the planes.
    eigenvalues_real, eigenvalues_imag (network, mode) : of the operators, the largest modulus first.
    prediction_error (network) : as given.

    A network whose operator is not finite has no numbers in its rows.
    """
    labels = list(operators)
    count = len(labels)
    stacked = np.stack([operators[label] for label in labels])
    rank = stacked.shape[-1]
    finite = np.flatnonzero(np.isfinite(stacked).all((1, 2)))
    eigenvalues = np.full((count, rank), np.nan, dtype=complex)
    for i in finite:
        values = np.linalg.eigvals(stacked[i]).astype(complex)
        eigenvalues[i] = values[np.lexsort((values.imag, -np.abs(values).round(12)))]

    measured = {
        name: np.full((count, count), np.nan)
        for name in ("distance", "gradient_norm", "agreement", "spectral_distance")
    }
    for name, values in measured.items():
        values[finite, finite] = 1.0 if name == "agreement" else 0.0
    matrices = torch.tensor(stacked)
    drawn = random_starts(max(starts - 6, 0), rank, seed)
    for number, i in enumerate(finite[:-1]):
        later = finite[number + 1 :]
        begin = torch.cat(
            [computed_starts(matrices[i], matrices[later])[:, :starts], drawn.expand(len(later), -1, -1, -1)], dim=1
        )
        found = align(matrices[i], matrices[later], begin, iterations)
        for name, values in (
            ("distance", found.angles.numpy()),
            ("gradient_norm", found.gradient_norms.numpy()),
            ("agreement", found.agreement.numpy()),
            ("spectral_distance", np.array([spectral_distance(eigenvalues[i], eigenvalues[j]) for j in later])),
        ):
            measured[name][i, later] = measured[name][later, i] = values
        logger.info(
            "network %d of %d: %d pairs, largest relative gradient %.1e, mean agreement of starts %.2f",
            number + 1,
            len(finite),
            len(later),
            found.gradient_norms.max(),
            found.agreement.mean(),
        )

    maps: dict[str, tuple] = {}
    for name, distances in (("embedding", "distance"), ("spectral_embedding", "spectral_distance")):
        coordinates = np.full((count, 2), np.nan)
        coordinates[finite], stress = _plane(measured[distances][np.ix_(finite, finite)])
        maps[name] = (("network", "axis"), coordinates, {"long_name": f"plane nearest to {distances}"})
        maps[name.replace("embedding", "stress")] = ((), stress, {"long_name": "Kruskal's stress-1"})
    return xr.Dataset(
        {name: (("network", "network_to"), values) for name, values in measured.items()}
        | maps
        | {
            "eigenvalues_real": (("network", "mode"), eigenvalues.real),
            "eigenvalues_imag": (("network", "mode"), eigenvalues.imag),
            "prediction_error": ("network", [prediction_errors[label] for label in labels]),
        },
        coords={"network": labels, "network_to": labels},
    )


def _plane(distances: Float[np.ndarray, "network network"]) -> tuple[Float[np.ndarray, "network 2"], float]:
    """Points in a plane by metric multidimensional scaling from the classical solution on, and their stress-1."""
    if not distances.any():
        return np.zeros((len(distances), 2)), 0.0
    scaling = MDS(
        n_components=2,
        metric="precomputed",
        init="classical_mds",
        n_init=1,
        max_iter=1000,
        eps=1e-9,
        normalized_stress=True,
        random_state=0,
    )
    return scaling.fit_transform(distances), float(scaling.stress_)
