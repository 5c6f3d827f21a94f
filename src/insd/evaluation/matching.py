"""Which unit of one network is which of another: networks are the same up to a permutation of their units.

Where the nonlinearity is odd, as tanh is, a unit and all its weights may change sign, too: permutations are then
signed. They are found by a linear assignment of activity, or by a search for the assignment under which all weights
agree best: a quadratic one, of which only local optima are within reach.

Networks are `Additive` and may run side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from insd.networks.base import rates_at, simulated_as

STEPS = 200
"""Most steps of the search from one start."""
PRECISION = 1e-5
"""The search ends where a step promises to raise the agreement by less than this share of its bound. With 1e-9 it takes
twice the time, and the distance of all weights is lower by 1e-4 at most, in 91 pairs of networks of MemoryPro."""

Permutation = Float[np.ndarray, "unit unit_to"]
"""A signed permutation P, or a mean of several: P x is x of a second network in the places of the first one's units."""


@dataclass(frozen=True)
class Matching:
    """The unit of a second network that each unit of a first one is matched with, and its sign."""

    units: Int[np.ndarray, "unit"]
    signs: Float[np.ndarray, "unit"]

    @property
    def matrix(self) -> Permutation:
        """The signed permutation."""
        found = np.zeros((len(self.units), len(self.units)))
        found[np.arange(len(self.units)), self.units] = self.signs
        return found

    def apply(self, network: xr.Dataset) -> xr.Dataset:
        """The second network, a `network.nc`, with its units in the places of the first one's, and with their signs."""
        found = {}
        for name in simulated_as(network).parameter_names():
            dims, values = network[name].dims, network[name].values
            signs = self.signs.astype(values.dtype)
            for axis, along in enumerate(dims):
                if along in ("unit", "unit_from"):
                    values = values.take(self.units, axis) * signs.reshape(-1, *[1] * (values.ndim - axis - 1))
            found[name] = (dims, values)
        return network.assign(found)


def unmatched(units: int) -> Matching:
    """Every unit with the one of the same number."""
    return Matching(np.arange(units), np.ones(units))


def is_odd(network: xr.Dataset) -> bool:
    """Whether rates are an odd function of states, so that a unit may change sign: ``phi(-x) = -phi(x)``."""
    states = np.repeat(np.linspace(0, 5, 50, dtype=np.float32)[:, None], network.sizes["unit"], 1)
    return bool(np.allclose(rates_at(network, -states), -rates_at(network, states), atol=1e-6))


def best_assignment(gain: Permutation, signed: bool) -> Matching:
    """The (signed) permutation P that maximises ``sum(P * gain)``: a linear assignment."""
    units = linear_sum_assignment(abs(gain) if signed else gain, maximize=True)[1]
    chosen = gain[np.arange(len(units)), units]
    return Matching(units, np.where(signed & (chosen < 0), -1.0, 1.0))


def by_activity(
    first: Float[np.ndarray, "sample unit"], second: Float[np.ndarray, "sample unit_to"], signed: bool
) -> Matching:
    """The matching under which the rates at the same samples are nearest: it minimises ``|R_1 - R_2 P^T|``."""
    return best_assignment(first.T.astype(np.float64) @ second.astype(np.float64), signed)


def by_weights(first: xr.Dataset, second: xr.Dataset, signed: bool, starts: Sequence[Matching] = ()) -> Matching:
    """The matching of two `network.nc` of one seed under which all weights are nearest, as far as the search finds it.

    It maximises, over signed permutations, the inner product of the weights

        f(P) = <J_1, P J_2 P^T> + <L_1, P L_2>,

    with the recurrent weights J and, in the rows of L, all other weights of a unit. From each start, a Frank-Wolfe
    search among means of permutations steps towards the best permutation by the gradient, and ends at the permutation
    nearest to where it is; one starts at the mean of all permutations. The best of ends and starts is returned.

    Source: Vogelstein et al. (2015), "Fast approximate quadratic programming for graph matching", PLoS ONE 10:e0121002,
    here with a linear part and with signs.
    """
    agreement = _Agreement(_recurrent(first), _recurrent(second), _others(first), _others(second), signed)
    units = first.sizes["unit"]
    middle = np.zeros((units, units)) if signed else np.full((units, units), 1 / units)
    ends = [agreement.search(start) for start in (middle, *(start.matrix for start in starts))]
    return max([*ends, *starts], key=lambda one: agreement.of(one.matrix))


def distance(first: xr.Dataset, second: xr.Dataset) -> float:
    """Distance of all weights of two `network.nc`, ``|w_1 - w_2| / sqrt(|w_1|² + |w_2|²)``.

    It is 0 for the same weights, 1 for orthogonal ones and sqrt(2) for opposite ones.
    """
    one, other = (
        np.concatenate([network[name].values.ravel() for name in simulated_as(network).parameter_names()], dtype=float)
        for network in (first, second)
    )
    return float(np.linalg.norm(one - other) / np.sqrt(one @ one + other @ other))


@dataclass(frozen=True)
class _Agreement:
    """f(P) of `by_weights`."""

    recurrent: Float[np.ndarray, "unit unit"]
    recurrent_to: Float[np.ndarray, "unit unit"]
    others: Float[np.ndarray, "unit weight"]
    others_to: Float[np.ndarray, "unit weight"]
    signed: bool

    def of(self, permutation: Permutation) -> float:
        moved = permutation @ self.recurrent_to @ permutation.T
        return float((self.recurrent * moved).sum() + (self.others * (permutation @ self.others_to)).sum())

    def gradient(self, permutation: Permutation) -> Permutation:
        return (
            self.recurrent @ permutation @ self.recurrent_to.T
            + self.recurrent.T @ permutation @ self.recurrent_to
            + self.others @ self.others_to.T
        )

    def search(self, start: Permutation) -> Matching:
        """The end of the search from one start."""
        norms = [np.linalg.norm(part) for part in (self.recurrent, self.recurrent_to, self.others, self.others_to)]
        most = norms[0] * norms[1] + norms[2] * norms[3]
        at = start
        for _ in range(STEPS):
            gradient = self.gradient(at)
            step = best_assignment(gradient, self.signed).matrix - at
            slope = float((gradient * step).sum())
            if slope <= PRECISION * most:
                break
            curvature = float((self.recurrent * (step @ self.recurrent_to @ step.T)).sum())
            # Along the step f is slope * t + curvature * t^2: highest inside, or at the whole step.
            at = at + min(1.0, -slope / (2 * curvature) if curvature < 0 else 1.0) * step
        return best_assignment(at, self.signed)


def _recurrent(network: xr.Dataset) -> Float[np.ndarray, "unit unit"]:
    return network["recurrent_weights"].values[0].astype(np.float64)


def _others(network: xr.Dataset) -> Float[np.ndarray, "unit weight"]:
    """All weights of each unit but those to and from other units."""
    parts = [
        network[name].transpose("unit", ...).values.reshape(network.sizes["unit"], -1)
        for name in simulated_as(network).parameter_names()
        if "unit" in network[name].dims and "unit_from" not in network[name].dims
    ]
    return np.concatenate(parts, 1, dtype=np.float64)
