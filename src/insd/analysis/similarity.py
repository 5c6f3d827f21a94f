"""How similar the activity of networks is: linear predictivity between all networks of a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.predictivity import null_projector_array, orthonormal_basis

SPACES = ("full", "null")


@dataclass(frozen=True)
class Basis:
    """Orthonormal basis of one network's centred activity and the variance along each of its directions.

    Everything that linear predictivity asks of a network: r2(X -> Y) is the share of Y's variance along the
    directions of Y that lie in the span of X's basis.
    """

    directions: Float[np.ndarray, "trial time rank"]
    variances: Float[np.ndarray, "rank"]


def activity_basis(rates: Float[np.ndarray, "trial time unit"]) -> Basis:
    """Basis of the activity as `insd.predictivity.orthonormal_basis` gives it, stored in single precision."""
    directions, variances = orthonormal_basis(rates.reshape(-1, rates.shape[-1]))
    return Basis(directions.astype(np.float32).reshape(*rates.shape[:-1], -1), variances)


def network_bases(
    rates: Float[np.ndarray, "trial time unit"], output_weights: Float[np.ndarray, "output unit"]
) -> dict[str, Basis]:
    """Bases of a network's activity in full space and in the null space of its own readout."""
    return {"full": activity_basis(rates), "null": activity_basis(rates @ null_projector_array(output_weights))}


def predictivity_matrix(networks: Mapping[str, Mapping[str, Basis]], seed: int) -> xr.Dataset:
    """Linear predictivity r2 between all networks of a task, by the contract of `predictivity.nc`.

    Parameters
    ----------
    networks : by label, the bases of `network_bases` on the same trials.
    seed : of the permutation of trials in the shuffled baseline.

    Returns
    -------
    r2 (space, predictor, target): share of the target's variance that a linear map of the predictor explains, without
    ridge, in [0, 1]; not a number towards a target that does not vary. r2_shuffled: the same with the trials of the
    targets permuted, which keeps what all trials have in common; about rank / samples where they have nothing.

    Source: Qian & Pehlevan (2026), linear predictivity; definition in `insd.predictivity`.
    """
    labels = list(networks)
    trials = next(iter(networks.values()))["full"].directions.shape[0]
    order = np.random.default_rng(seed).permutation(trials)
    shape = (len(SPACES), len(labels), len(labels))
    r2, shuffled = np.empty(shape), np.empty(shape)
    for row, space in enumerate(SPACES):
        bases = [networks[label][space] for label in labels]
        stacked = np.concatenate([basis.directions for basis in bases], axis=-1)
        flat = stacked.reshape(-1, stacked.shape[-1])
        r2[row] = _explained(flat.T @ flat, bases)
        shuffled[row] = _explained(flat.T @ stacked[order].reshape(flat.shape), bases)
    dimensions = ("space", "predictor", "target")
    return xr.Dataset(
        {"r2": (dimensions, r2), "r2_shuffled": (dimensions, shuffled)},
        coords={"space": list(SPACES), "predictor": labels, "target": labels},
    )


def _explained(cross: Float[np.ndarray, "rank rank"], bases: list[Basis]) -> Float[np.ndarray, "network network"]:
    """r2 of all pairs from the products of all directions with each other."""
    edges = np.cumsum([0] + [basis.variances.size for basis in bases])
    squares = np.square(cross.astype(np.float64))
    # Rows summed per predictor: the share of each direction of each target that the predictor spans.
    shares = np.stack([squares[start:stop].sum(0) for start, stop in pairwise(edges)])
    r2 = np.full((len(bases), len(bases)), np.nan)
    for target, basis in enumerate(bases):
        if basis.variances.size:
            r2[:, target] = shares[:, edges[target] : edges[target + 1]] @ basis.variances / basis.variances.sum()
    return r2.clip(0, 1)
