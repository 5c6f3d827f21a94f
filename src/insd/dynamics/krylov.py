"""Deflation of linear networks in closed form: S as a function of their Krylov matrices.

Without noise, the state of a linear network at step t is a sum over its inputs so far,

    x_t = sum_k M^k B u_{t-k} + m_t,   M = (1 - alpha) 1 + alpha J,   B = alpha W_in,

where m_t is what the initial state and the bias give. So the rates of all trials are ``X = H K^T``: the histories H
(sample, history), lagged inputs and one indicator per time step, are the same for all networks on the same trials, and

    K = (B, M B, M^2 B, ..., m_1, m_2, ...)

is the network's Krylov matrix. With G = H^T H of centred histories, P = Q K, and Q the projector on the null space of
the readout, INSD's penalty between two networks is

    S = tr(C^T A^-1 C) / tr(P_2 G P_2^T),   A = P_1 G P_1^T + rho 1,   C = P_1 G P_2^T:

no trial and no state are needed. Without ridge, only the row space of P_1 counts: the filters of the history that the
null space of the predicting network holds.

How far can S fall? Let W be the readout, with p outputs. The rows of ``W M^j K`` are those of the block Hankel matrix
of the function that the network computes, the same for all linear networks that compute it, whatever their size; let
them span d filters. Each of these networks holds all of them, ``(M^T)^j W^T`` being in its state space, and at least
d - p of them in its null space. S without ridge is thus at least what the d - p filters explain that explain the least
(`least_predictivity`); and a mere change of coordinates can leave out the p leading principal components of the
reference's null space (`deflated`).

Source of S: Qian & Pehlevan (2026). The rest is ours, by realisation theory (Ho & Kalman 1966).
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.datasets import architecture_of
from insd.errors import InsdError
from insd.predictivity import null_projector_array
from insd.samples import valid_steps

RANK = 1e-12
"""Variance relative to the largest below which a direction counts as absent."""


class KrylovError(InsdError):
    """There is no closed form; the message says why."""


def krylov_matrix(network: xr.Dataset, steps: int) -> Float[np.ndarray, "unit history"]:
    """K of one seed of a `network.nc` of linear networks, for trials of so many steps.

    Columns are lags times inputs, the latest first, then time steps. Raises KrylovError for other architectures.
    """
    weights = _weights(network)
    alpha, units = network.attrs["dt"] / network.attrs["tau"], len(weights["bias"])
    move = (1 - alpha) * np.eye(units) + alpha * weights["recurrent_weights"]
    lagged, state, course = [alpha * weights["input_weights"]], weights["initial_state"], []
    for _ in range(steps):
        lagged.append(move @ lagged[-1])
        state = move @ state + alpha * weights["bias"]
        course.append(state)
    return np.concatenate([*lagged[:-1], np.stack(course, 1)], 1)


def histories(trials: xr.Dataset) -> Float[np.ndarray, "trial time history"]:
    """H of the trials of a task, as `krylov_matrix` has its columns."""
    inputs = trials["inputs"].values.astype(np.float64)
    count, steps, channels = inputs.shape
    lagged = np.zeros((count, steps, steps, channels))
    for lag in range(steps):
        lagged[:, lag:, lag] = inputs[:, : steps - lag]
    course = np.broadcast_to(np.eye(steps), (count, steps, steps))
    return np.concatenate([lagged.reshape(count, steps, -1), course], -1)


def history_gram(trials: xr.Dataset, time_stride: int = 1) -> Float[np.ndarray, "history history"]:
    """G: sums of products of centred histories, at every `time_stride`-th step until the end of each trial."""
    found = histories(trials)[:, ::time_stride][valid_steps(trials)[:, ::time_stride]]
    centred = found - found.mean(0)
    return centred.T @ centred


def closed_form_predictivity(
    predictor: xr.Dataset, target: xr.Dataset, gram: Float[np.ndarray, "history history"], steps: int, ridge: float
) -> float:
    """S from one linear network's null-space rates to another's, without simulating either.

    Parameters
    ----------
    predictor, target : one seed each of a `network.nc` of linear networks, of any numbers of units.
    gram : of the trials (`history_gram`), which have so many `steps`.
    ridge : rho over the mean variance of the predictor's null-space rates per unit; 0 for r².
    """
    first, second = (_null_filters(network, steps) for network in (predictor, target))
    cross = first @ gram @ second.T
    own = first @ gram @ first.T
    total = np.einsum("uh,hg,ug->", second, gram, second)
    values, axes = np.linalg.eigh(own)
    shifted = values + ridge * values.mean()
    kept = shifted > RANK * shifted[-1]
    return float((np.square(axes[:, kept].T @ cross) / shifted[kept, None]).sum() / total)


def shared_filters(network: xr.Dataset, steps: int) -> Float[np.ndarray, "filter history"]:
    """Filters that span the rows of ``W M^j K`` for all j: those that all networks of the same function hold.

    Of an orthonormal basis of the state space that the readout sees, by block Arnoldi, since the powers themselves are
    nearly parallel.
    """
    weights = _weights(network)
    alpha, units = network.attrs["dt"] / network.attrs["tau"], len(weights["bias"])
    move = (1 - alpha) * np.eye(units) + alpha * weights["recurrent_weights"]
    seen, block = np.zeros((0, units)), weights["output_weights"]
    while len(block):
        scale = np.linalg.norm(block)
        for _ in range(2):
            block = block - block @ seen.T @ seen
        _, sizes, rows = np.linalg.svd(block, full_matrices=False)
        block = rows[sizes > RANK**0.5 * scale]
        seen, block = np.concatenate([seen, block]), block @ move
    return seen @ krylov_matrix(network, steps)


def least_predictivity(reference: xr.Dataset, gram: Float[np.ndarray, "history history"], steps: int) -> float:
    """Below this, no linear network of the reference's function has S to it, whatever its size; without ridge.

    The same function means the same ``W M^k B``, ``W M^k b`` and ``W M^k x_0`` for all k.
    """
    filters = shared_filters(reference, steps)
    values, axes = np.linalg.eigh(filters @ gram @ filters.T)
    kept = values > RANK * values[-1]
    orthonormal = (axes[:, kept] / np.sqrt(values[kept])).T @ filters
    target = _null_filters(reference, steps)
    explained = np.square(np.linalg.svd(orthonormal @ gram @ target.T, compute_uv=False))
    outputs = reference.sizes["output"]
    # The p filters that a null space may lack are at best those that explain most.
    lacking = np.sort(np.pad(explained, (0, max(0, int(kept.sum()) - explained.size))))[::-1][outputs:]
    return float(lacking.sum() / np.einsum("uh,hg,ug->", target, gram, target))


def deflated(reference: xr.Dataset, gram: Float[np.ndarray, "history history"], steps: int) -> xr.Dataset:
    """The reference in other coordinates, with the same readout and outputs, from whose null space S is least.

    With Sigma the covariance of the reference's rates and V the p leading principal axes of its null space, the columns
    of ``F = Sigma V (W Sigma V)^-1`` are how the rates go with these components. In the coordinates
    ``x' = T x``, ``T^-1 = F W + Z Z^T`` with Z an orthonormal basis of the null space of W, the null-space rates
    are uncorrelated with them, and explain all else: S without ridge is the share of the reference's null-space
    variance beyond its p leading components. Raises KrylovError where the readout does not see these components at
    all; where it hardly does, weights are large.
    """
    weights, krylov = _weights(reference), krylov_matrix(reference, steps)
    readout, rates = weights["output_weights"], krylov @ gram @ krylov.T
    projector = null_projector_array(readout)
    leading = np.linalg.eigh(projector @ rates @ projector)[1][:, : -1 - len(readout) : -1]
    seen = readout @ rates @ leading
    if np.linalg.cond(seen) * np.linalg.norm(readout) * np.linalg.norm(rates @ leading) > np.linalg.norm(seen) / RANK:
        raise KrylovError(
            "the readout is uncorrelated with the leading components of its null space: no coordinates lose them"
        )
    back = rates @ leading @ np.linalg.solve(seen, readout) + projector
    forth = np.linalg.inv(back)
    changed = {
        "recurrent_weights": forth @ weights["recurrent_weights"] @ back,
        **{name: forth @ weights[name] for name in ("input_weights", "bias", "initial_state")},
    }
    return reference.assign({name: (reference[name].dims, values) for name, values in changed.items()})


def _weights(network: xr.Dataset) -> dict[str, np.ndarray]:
    """The weights in double precision, of a linear network."""
    if (found := architecture_of(network)) != "linear":
        raise KrylovError(f"the architecture {found!r} has no closed form; give networks of the architecture linear")
    names = ("recurrent_weights", "input_weights", "output_weights", "bias", "initial_state")
    return {name: network[name].values.astype(np.float64) for name in names}


def _null_filters(network: xr.Dataset, steps: int) -> Float[np.ndarray, "unit history"]:
    """P: what the null space of the readout holds of the history."""
    return null_projector_array(network["output_weights"].values.astype(np.float64)) @ krylov_matrix(network, steps)
