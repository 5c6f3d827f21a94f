"""Distance of the recurrent weights of two networks, the least over all orders of their units.

The source of the distance is arXiv:2410.03972, "Measuring and controlling solution degeneracy across task-trained
recurrent neural networks": permutations alone, and recurrent weights alone. The least distance is a quadratic
assignment, of which a search finds local optima; it is an upper bound.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.optimize import quadratic_assignment

from insd.kept import Kept, Pair
from insd.members import Member

logger = logging.getLogger(__name__)

VARIABLES = ("distance", "distance_per_weight", "relative_distance", "unmatched_distance", "spread")
"""What is known of each pair."""
PRECISION = 1e-12
"""The least gain of a swap, as a share of the product of both norms: less is rounding."""

Weights = Float[np.ndarray, "unit unit"]
"""Recurrent weights, from the units of the last axis."""


@dataclass(frozen=True)
class Matched:
    """The order of a second network's units under which its recurrent weights are nearest to those of a first one."""

    units: Int[np.ndarray, "unit"]
    """The unit of the second network in the place of each unit of the first one."""
    agreement: float
    """Inner product of the weights in this order."""
    agreements: Float[np.ndarray, "start"]
    """The same at the end of the search from each start."""


def match(first: Weights, second: Weights, starts: int, seed: int) -> Matched:
    """The order of units that maximises ``<W_1, P W_2 P^T>``, and so minimises ``|W_1 - P W_2 P^T|``, by search.

    From each start, the fast approximate search among means of permutations (Vogelstein et al. 2015,
    `scipy.optimize.quadratic_assignment`), and then swaps of two units while any helps, the best one first. The first
    start is the mean of all permutations; further ones are random, by the seed alone.

    Source: Vogelstein et al. (2015), "Fast approximate quadratic programming for graph matching", PLoS ONE 10:e0121002.
    """
    random = np.random.default_rng(seed)
    found = []
    for start in range(starts):
        options = {"maximize": True, "P0": "randomized" if start else "barycenter", "rng": random}
        found.append(swapped(first, second, quadratic_assignment(first, second, options=options).col_ind))
    agreements = np.array([float((first * second[np.ix_(units, units)]).sum()) for units in found])
    best = int(agreements.argmax())
    return Matched(found[best], float(agreements[best]), agreements)


def swapped(first: Weights, second: Weights, units: Int[np.ndarray, "unit"]) -> Int[np.ndarray, "unit"]:
    """An order of the second network's units from which no swap of two units raises the agreement."""
    units, least = units.copy(), PRECISION * np.linalg.norm(first) * np.linalg.norm(second)
    while True:
        gains = swap_gains(first, second[np.ix_(units, units)])
        pair = list(np.unravel_index(gains.argmax(), gains.shape))
        if gains[tuple(pair)] <= least:
            return units
        units[pair] = units[pair[::-1]]


def swap_gains(first: Weights, second: Weights) -> Float[np.ndarray, "unit unit"]:
    """By how much the inner product of two matrices grows where units i and j of the second change places.

    With A and B, and the sums over all other units k, it is
    ``sum_k (a_ik - a_jk)(b_jk - b_ik) + (a_ki - a_kj)(b_kj - b_ki)``, and what both units have between them.
    """
    products = first @ second.T + first.T @ second
    own = products.diagonal()
    sums = products + products.T - own[:, None] - own
    a, b = (matrix.diagonal()[:, None] for matrix in (first, second))
    among = (
        *((a - first.T) * (second.T - b), (a - first) * (second - b)),
        *((first - a.T) * (b.T - second), (first.T - a.T) * (b.T - second.T)),
    )
    return sums - sum(among) + (a - a.T) * (b.T - b) + (first - first.T) * (second.T - second)


def distances(
    first: Weights, second: Float[np.ndarray, "unit_to unit_to"], starts: int, seed: int
) -> dict[str, np.ndarray]:
    """The variables of `weight_distances` for two matrices, by name; NaN for those of different sizes."""
    if first.shape != second.shape:
        return {name: np.array(np.nan) for name in VARIABLES}
    norms = np.square(first).sum() + np.square(second).sum()
    found = match(first, second, starts, seed)
    # From the difference: that of squared norms and agreement rounds to 1e-8 of the norms where it should be 0.
    distance, unmatched = (
        np.linalg.norm(first - second[np.ix_(units, units)]) for units in (found.units, np.arange(len(first)))
    )
    ends = np.sqrt((norms - 2 * found.agreements).clip(0))
    values = (distance, distance / first.size, distance / np.sqrt(norms), unmatched, ends.max() - ends.min())
    return {name: np.array(float(value)) for name, value in zip(VARIABLES, values, strict=True)}


def compare(members: Sequence[Member], pairs: Sequence[Pair], starts: int, within: bool, seed: int, kept: Kept) -> None:
    """Add to `kept` what `distances` finds of the pairs of `Connected` networks that `weight_distances` asks for."""
    weights = {member.label: _recurrent(member) for member in members}
    wanted = _wanted(members, within)
    missing = [pair for pair in pairs if wanted(*pair)]
    for done, (label, label_to) in enumerate(missing, start=1):
        kept.add_pair((label, label_to), distances(weights[label], weights[label_to], starts, seed))
        if done % 100 == 0:
            logger.info("%d of %d pairs", done, len(missing))


def weight_distances(members: Sequence[Member], starts: int, within: bool, seed: int, kept: Kept) -> xr.Dataset:
    """Distances of the recurrent weights of networks, `Connected`, by the contract of `weight_distance.nc`.

    Parameters
    ----------
    starts : of the search for each pair (`match`).
    within : only pairs of one population and round; the others are NaN.
    seed : of the random starts, which are the same for all pairs.
    kept : pairs that are not computed again; those that are computed are added to it.

    Returns
    -------
    distance (network, network_to) : ``min over P of |W - P W_to P^T|``, in the Frobenius norm.
    distance_per_weight : the same over the number of weights, N².
    relative_distance : the same over ``sqrt(|W|² + |W_to|²)``: 0 for the same weights, 1 for orthogonal ones.
    unmatched_distance : ``|W - W_to|``, with all units in their own places.
    spread : how far above `distance` the worst start ended.

    NaN for networks with different numbers of units.
    """
    labels, wanted = [member.label for member in members], _wanted(members, within)
    compare(members, kept.missing(labels), starts, within, seed, kept)
    found = {name: np.where(np.eye(len(labels), dtype=bool), 0.0, np.nan) for name in VARIABLES}
    for i, j, of_pair in kept.found(labels):
        if wanted(labels[i], labels[j]):
            for name, values in found.items():
                values[i, j] = values[j, i] = of_pair[name]
    return xr.Dataset(
        {name: (("network", "network_to"), values) for name, values in found.items()},
        coords={"network": labels, "network_to": labels},
    )


def _wanted(members: Sequence[Member], within: bool) -> Callable[[str, str], bool]:
    """Whether the distance of two networks is asked for."""
    groups = {member.label: (member.population, member.round) for member in members}
    return lambda one, other: one != other and (not within or groups[one] == groups[other])


def _recurrent(member: Member) -> Weights:
    assert member.network is not None
    return member.network["recurrent_weights"].values[0].astype(np.float64)
