"""How similar the activity of networks is: linear predictivity and the usual measures, for all pairs of a task.

Every measure needs only small statistics of each network and one product per pair. With centred activity
X (sample, unit) of rank r, let U (sample, r) be an orthonormal basis of its columns along its principal axes and
v (r) the sum of squares along each, and U_y, v_y those of Y. All measures but RSA are functions of

    C = U^T U_y,   v,   v_y,

since X^T Y = diag(v)^1/2 C diag(v_y)^1/2 up to rotations, which no measure sees. The null space of a readout lies
within the same basis, so one product of all networks' bases with each other serves both spaces.

In formulas ``|.|`` is the Frobenius norm. Samples are trials x every `TIME_STRIDE`-th time step.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import scipy.spatial.distance
import scipy.stats
import xarray as xr
from jaxtyping import Float

from insd.predictivity import RANK, null_projector_array, orthonormal_basis

logger = logging.getLogger("insd.analysis.similarity")

SPACES = ("full", "null")
"""The spaces in which activity is compared: all of it, and the null space of the readout."""
TIME_STRIDE = 2
"""Activity is smooth over a time constant of several steps: every second step halves the work."""
PATTERNS = 512
"""Samples at most whose dissimilarities RSA compares: all pairs of them are stored for every network."""
BLOCK = 4
"""Networks whose products with all others are held at once: one at a time, a product takes a sixth longer."""
SVCCA_VARIANCE = 0.99
"""Share of the variance that SVCCA keeps (Raghu et al. 2017)."""
ADDED_DIMENSIONS = 20
"""Irrelevant dimensions that `responses` adds."""
ADDED_VARIANCES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variance of the added dimensions over that of the reference, in the study of responses."""
SCALES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Factors by which `responses` multiplies activity."""


@dataclass(frozen=True)
class Space:
    """What the measures ask of one network's activity in one space."""

    basis: Float[np.ndarray, "direction rank"]
    """Principal axes in terms of the network's `directions`: orthonormal columns, the largest variance first."""
    variances: Float[np.ndarray, "rank"]
    """Sum of squares along each axis."""
    residual_basis: Float[np.ndarray, "direction residual_rank"]
    """Takes the network's `directions`, less their `time_course`, to orthonormal columns: principal axes of the
    activity without its mean over trials at each time, the largest variance first."""
    residual_variances: Float[np.ndarray, "residual_rank"]
    """Sum of squares along each of those axes."""
    squared_norms: Float[np.ndarray, "sample"]
    """Squared norm of each sample's centred activity."""
    ranked_dissimilarities: Float[np.ndarray, "pair"]
    """Ranks of the squared distances between patterns, centred and of unit norm."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of one network: an orthonormal basis of its activity over samples, and each space within it."""

    directions: Float[np.ndarray, "trial time direction"]
    spaces: Mapping[str, Space]

    @property
    def time_course(self) -> Float[np.ndarray, "time direction"]:
        """Mean of the directions over trials: what all trials share."""
        return self.directions.mean(0, dtype=np.float64)


def network_statistics(
    rates: Float[np.ndarray, "trial time unit"], output_weights: Float[np.ndarray, "output unit"] | None = None
) -> Statistics:
    """Statistics of a network's activity in full space and, given its readout, in the readout's null space.

    Directions of a relative variance below `insd.predictivity.RANK` count as absent.
    """
    sampled = rates[:, ::TIME_STRIDE]
    flat = sampled.reshape(-1, rates.shape[-1]).astype(np.float64)
    directions = orthonormal_basis(flat)[0]
    # The activity within the basis, (direction, unit): the basis is centred, so that the mean drops out.
    within = directions.T @ flat
    time_course = directions.reshape(*sampled.shape[:2], -1).mean(0)
    residual_gram = np.eye(directions.shape[1]) - len(sampled) * time_course.T @ time_course
    spaces = {"full": _space(directions, within, residual_gram)}
    if output_weights is not None:
        spaces["null"] = _space(directions, within @ null_projector_array(output_weights), residual_gram)
    return Statistics(directions.astype(np.float32).reshape(*sampled.shape[:2], -1), spaces)


def _principal(covariance: Float[np.ndarray, "row row"], least: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Variances above `least` and above `RANK` of the largest, and their axes (row, axis), the largest first."""
    variances, axes = np.linalg.eigh(covariance) if covariance.size else (np.zeros(0), np.zeros((0, 0)))
    kept = variances > max(RANK * variances.max(initial=0.0), least, np.finfo(np.float64).tiny)
    return variances[kept][::-1], axes[:, kept][:, ::-1]


def _space(
    directions: Float[np.ndarray, "sample direction"],
    within: Float[np.ndarray, "direction unit"],
    residual_gram: Float[np.ndarray, "direction direction"],
) -> Space:
    variances, basis = _principal(within @ within.T)
    scaled = basis * np.sqrt(variances)
    activity = directions @ scaled
    # Trials that are all the same leave nothing but rounding.
    residual_variances, axes = _principal(scaled.T @ residual_gram @ scaled, RANK * variances.max(initial=0.0))
    residual_basis = scaled @ axes / np.sqrt(residual_variances)
    stride = -(-len(activity) // PATTERNS)
    # In float64 equal distances could differ by rounding and take different ranks in rotated copies.
    distances = scipy.spatial.distance.pdist(activity[::stride], "sqeuclidean").astype(np.float32)
    ranks = scipy.stats.rankdata(distances)
    ranks -= ranks.mean()
    norm = np.linalg.norm(ranks)
    ranked = (ranks / norm if norm else ranks).astype(np.float32)
    return Space(basis, variances, residual_basis, residual_variances, np.square(activity).sum(1), ranked)


def linear_predictivity(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """r2(X -> Y): share of Y's variance that a linear map of X explains, ``sum_j |C[:, j]|^2 v_y[j] / sum_j v_y[j]``.

    Source: Qian & Pehlevan (2026); see `insd.predictivity.linear_predictivity`.
    """
    return _explained(cross, y.variances)


def _explained(cross: Float[np.ndarray, "rank rank_to"], variances: Float[np.ndarray, "rank_to"]) -> float:
    return float(np.square(cross).sum(0) @ variances / variances.sum())


def cka(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """Debiased linear centred kernel alignment, at most 1; near 0 for unrelated activity.

    ``HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))`` with the unbiased estimator of HSIC from kernels without their
    diagonals, in feature space: ``|X^T Y|^2 - n / (n - 2) k.l + sum(k) sum(l) / ((n - 1)(n - 2))`` for squared norms k
    and l of the n samples. Invariant to rotation and isotropic scaling.

    Source: Kornblith et al. (2019), "Similarity of neural network representations revisited"; Song et al. (2012),
    "Feature selection via dependence maximization", eq. 5.
    """
    squares = x.variances @ np.square(cross) @ y.variances
    return float(
        _hsic(squares, x, y)
        / np.sqrt(_hsic(np.square(x.variances).sum(), x, x) * _hsic(np.square(y.variances).sum(), y, y))
    )


def _hsic(squares: float, x: Space, y: Space) -> float:
    k, l = x.squared_norms, y.squared_norms  # noqa: E741 - as in the formula
    n = k.size
    return squares - n / (n - 2) * (k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2))


def cca(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """Mean canonical correlation, in [0, 1]: the mean singular value of C.

    Invariant to invertible linear maps, and so dominated by the many directions of little variance.

    Source: Hotelling (1936), "Relations between two sets of variates".
    """
    return float(np.linalg.svd(cross, compute_uv=False).mean())


def svcca(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """Mean canonical correlation of the leading principal components that hold `SVCCA_VARIANCE` of each variance.

    Invariant to rotation and isotropic scaling.

    Source: Raghu et al. (2017), "SVCCA: singular vector canonical correlation analysis".
    """
    kept = [int(np.searchsorted(one.variances.cumsum(), SVCCA_VARIANCE * one.variances.sum())) + 1 for one in (x, y)]
    return cca(x, y, cross[: kept[0], : kept[1]])


def procrustes(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """Angular orthogonal Procrustes distance ``arccos(|X^T Y|_nuclear / (|X| |Y|))`` in rad, in [0, pi / 2].

    A metric; invariant to rotation and isotropic scaling.

    Source: Williams et al. (2021), "Generalized shape metrics on neural representations".
    """
    scaled = np.sqrt(x.variances)[:, None] * cross * np.sqrt(y.variances)
    cosine = np.linalg.svd(scaled, compute_uv=False).sum() / np.sqrt(x.variances.sum() * y.variances.sum())
    return float(np.arccos(min(cosine, 1.0)))


def rsa(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """Representational similarity: Spearman's correlation of the squared distances between the same patterns.

    A pattern is the activity at one time of one trial; every n-th sample, at most `PATTERNS`. Invariant to rotation and
    isotropic scaling.

    Source: Kriegeskorte et al. (2008), "Representational similarity analysis".
    """
    return float(x.ranked_dissimilarities @ y.ranked_dissimilarities)


Measure = Callable[[Space, Space, Float[np.ndarray, "rank rank_to"]], float]
"""A measure of two networks, from what is known of each and the product of their bases."""
MEASURES: dict[str, Measure] = {"cka": cka, "rsa": rsa, "cca": cca, "svcca": svcca, "procrustes": procrustes}
"""The symmetric measures by name."""
DISTANCES = {"procrustes"}
"""Those that are 0 between equal networks; the others are 1."""


def similarity(networks: Mapping[str, Statistics], seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """All measures between all networks of a task, by the contracts of `predictivity.nc` and `similarity.nc`.

    Parameters
    ----------
    networks : by label, their `network_statistics` on the same trials, with readouts.
    seed : of the permutation of trials in the shuffled baseline of predictivity.

    Returns
    -------
    Two datasets, predictivity and similarity.

    r2 (space, predictor, target) : in [0, 1], without ridge.
    r2_shuffled (space, predictor, target) : the same with the trials of the targets permuted, which keeps what all
        trials have in common; about rank / samples where they have nothing.
    r2_shuffled_residual (space, predictor, target) : the same with the mean over trials at each time taken out of both
        networks' activity, and so without the time course that all trials share: what is left of `r2_shuffled` is
        chance, about rank / independent samples, of which there are fewer than samples where activity is slow.
    value (measure, network, network_to) : measures named ``{measure}_{space}``; `kind` says whether equal networks have
        1 (similarity) or 0 (distance).

    Values are not numbers where a network's activity does not vary; such a target has no r2, and such a predictor an
    r2 of 0.
    """
    labels = list(networks)
    count = len(labels)
    statistics = list(networks.values())
    edges = np.cumsum([0] + [one.directions.shape[-1] for one in statistics])
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    stacked = np.concatenate([one.directions for one in statistics], axis=-1)
    flat = stacked.reshape(-1, stacked.shape[-1])
    logger.info("%d networks of %d directions in all, over %d samples", count, flat.shape[1], flat.shape[0])
    unshuffled = np.argsort(np.random.default_rng(seed).permutation(stacked.shape[0]))

    names = [f"{measure}_{space}" for measure in MEASURES for space in SPACES]
    values = np.full((len(names), count, count), np.nan)
    time_courses = np.concatenate([one.time_course for one in statistics], axis=-1)
    r2 = np.full((3, len(SPACES), count, count), np.nan)
    for i, one in enumerate(statistics):
        if i % BLOCK == 0:
            # The products of a few networks with all: those of all with all would outgrow every memory.
            block = slice(edges[i], edges[min(i + BLOCK, count)])
            of_block = flat[:, block].T @ flat[:, block.start :]
            # Shuffling the trials of the others is the same as shuffling back those of the block.
            of_shuffled = stacked[unshuffled, :, block].reshape(len(flat), -1).T @ flat
            # Their means over trials are those of the unshuffled ones.
            of_residual = of_shuffled - len(stacked) * time_courses[:, block].T @ time_courses
        rows = slice(parts[i].start - block.start, parts[i].stop - block.start)
        for (number, space), (j, other) in product(enumerate(SPACES), enumerate(statistics)):
            x, y = one.spaces[space], other.spaces[space]
            shuffled = x.basis.T @ of_shuffled[rows, parts[j]].astype(np.float64) @ y.basis
            r2[1, number, i, j] = _within_bounds(x, y, shuffled)
            if y.residual_variances.size:
                residual = x.residual_basis.T @ of_residual[rows, parts[j]] @ y.residual_basis
                r2[2, number, i, j] = min(max(_explained(residual, y.residual_variances), 0.0), 1.0)
            if j < i:
                continue
            columns = slice(parts[j].start - block.start, parts[j].stop - block.start)
            cross = x.basis.T @ of_block[rows, columns].astype(np.float64) @ y.basis
            r2[0, number, i, j] = _within_bounds(x, y, cross)
            r2[0, number, j, i] = _within_bounds(y, x, cross.T)
            if cross.size:
                for measure, function in MEASURES.items():
                    value = function(x, y, cross)
                    values[names.index(f"{measure}_{space}"), [i, j], [j, i]] = value
    dimensions = ("space", "predictor", "target")
    predictivity = xr.Dataset(
        {"r2": (dimensions, r2[0]), "r2_shuffled": (dimensions, r2[1]), "r2_shuffled_residual": (dimensions, r2[2])},
        coords={"space": list(SPACES), "predictor": labels, "target": labels},
    )
    kinds = ["distance" if name.rsplit("_", 1)[0] in DISTANCES else "similarity" for name in names]
    similarities = xr.Dataset(
        {"value": (("measure", "network", "network_to"), values)},
        coords={"measure": names, "kind": ("measure", kinds), "network": labels, "network_to": labels},
    )
    return predictivity, similarities


def _within_bounds(x: Space, y: Space, cross: Float[np.ndarray, "rank rank_to"]) -> float:
    """`linear_predictivity` without what rounding puts outside [0, 1]; not a number for a target that does not vary."""
    return min(max(linear_predictivity(x, y, cross), 0.0), 1.0) if y.variances.size else np.nan


def responses(rates: Float[np.ndarray, "trial time unit"], seed: int) -> xr.Dataset:
    """How every measure between a reference and a changed copy of it responds to the change.

    The copy has either `ADDED_DIMENSIONS` further units of white noise, whose summed variance is one of
    `ADDED_VARIANCES` times that of the reference's rates, or its rates multiplied by one of `SCALES`. The code of the
    reference is whole in every copy: a measure that falls takes a network that keeps the old code for another one.

    Returns
    -------
    value (change, measure, level) : changes "added dimensions" and "scale"; the symmetric measures by name, and
        "predictivity_new_to_reference" and "predictivity_reference_to_new".
    amount (change, level) : the relative variance, or the factor.

    Rows with fewer levels end in values that are not numbers.

    Source: the argument of Qian & Pehlevan (2026) for the direction new -> old of the penalty.
    """
    random = np.random.default_rng(seed)
    noise = random.standard_normal((*rates.shape[:2], ADDED_DIMENSIONS))
    deviation = np.sqrt(rates.var((0, 1)).sum() / ADDED_DIMENSIONS)
    changes = {
        "added dimensions": {
            level: np.concatenate([rates, np.sqrt(level) * deviation * noise], axis=-1) for level in ADDED_VARIANCES
        },
        "scale": {scale: scale * rates for scale in SCALES},
    }
    names = ["predictivity_new_to_reference", "predictivity_reference_to_new", *MEASURES]
    most = max(map(len, changes.values()))
    values = np.full((len(changes), len(names), most), np.nan)
    amounts = np.full((len(changes), most), np.nan)
    reference = network_statistics(rates)
    for row, copies in enumerate(changes.values()):
        for column, (amount, copy) in enumerate(copies.items()):
            changed = network_statistics(copy)
            x, y = changed.spaces["full"], reference.spaces["full"]
            flat = [one.directions.reshape(-1, one.directions.shape[-1]) for one in (changed, reference)]
            cross = x.basis.T @ (flat[0].T @ flat[1]).astype(np.float64) @ y.basis
            amounts[row, column] = amount
            values[row, :, column] = [
                linear_predictivity(x, y, cross),
                linear_predictivity(y, x, cross.T),
                *(function(x, y, cross) for function in MEASURES.values()),
            ]
    return xr.Dataset(
        {"value": (("change", "measure", "level"), values), "amount": (("change", "level"), amounts)},
        coords={"change": list(changes), "measure": names},
    )
