"""How the task loss curves around a network: the spectrum of its Gauss-Newton matrix, and the sharpness.

Both are found by products with the matrices alone (`insd.gauss_newton`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, eigsh

from insd.bank import Bank
from insd.gauss_newton import GaussNewton, as_trained
from insd.tasks import Task
from insd.tasks.base import target_variance

CONVERGED = 1e-3
"""Residual of a Ritz value, as a share of it, below which it is one eigenvalue."""
TOLERANCE = 1e-4
"""Relative error of the sharpness."""
NULL = 1e-13
"""Eigenvalues, as a share of the largest, that are zeros as far as rounding tells."""


def loss_at(network: xr.Dataset, task: Task, trials: xr.Dataset) -> GaussNewton:
    """The noise-free task loss of a `network.nc` of one seed on some trials, in double precision."""
    bank = Bank.from_trials(trials)
    targets, mask, variance = bank.targets.double(), bank.mask.double(), target_variance(bank.targets, bank.mask)
    return GaussNewton(
        as_trained(network, trials.attrs["dt"]).double(),
        bank.inputs.double()[None],
        lambda outputs: task.loss(outputs, targets, mask, variance).sum(),
    )


@dataclass(frozen=True)
class Spectrum:
    """An estimate of the eigenvalues of a positive semidefinite matrix of some size."""

    values: Float[np.ndarray, "value"]
    """The largest first."""
    counts: Float[np.ndarray, "value"]
    """How many eigenvalues each stands for; their sum is the size."""
    uncertain: Float[np.ndarray, "value"]
    """How many of these may have other values: 0 for an eigenvalue."""

    @property
    def participation_ratio(self) -> float:
        """``(sum l)^2 / sum l^2`` over the eigenvalues l: how many directions are curved."""
        return float((self.counts @ self.values) ** 2 / (self.counts @ self.values**2))

    def flat_share(self, threshold: float) -> float:
        """Share of the eigenvalues that are at most a threshold times the largest."""
        return float(self.counts[self._above(threshold) :].sum() / self.counts.sum())

    def flat_share_error(self, threshold: float) -> float:
        """The most by which the share is off: the cumulative weights of a quadrature are those of its density but for
        the nodes on both sides (Chebyshev, Markov and Stieltjes). Most errors are much smaller.
        """
        above = self._above(threshold)
        return float(self.uncertain[max(above - 1, 0) : above + 1].sum() / self.counts.sum())

    def _above(self, threshold: float) -> int:
        """How many of the values are above a threshold times the largest."""
        return int((self.values > threshold * self.values[0]).sum())


def spectrum(matrix: LinearOperator, steps: int, seed: int) -> Spectrum:
    """The spectrum of a positive semidefinite matrix by stochastic Lanczos quadrature.

    Lanczos' iteration from a vector of random signs, with full orthogonalisation, gives nodes and weights of a Gauss
    quadrature of the spectral density. Nodes that have converged are eigenvalues, and count 1 each; the others share
    what is left of the size by their weights. With as many steps as there are distinct eigenvalues, it is exact; with
    fewer it is an estimate, also by the draw of the signs. Several equal eigenvalues other than 0 count as one.

    Parameters
    ----------
    steps : products with the matrix at most. The more, the smaller the eigenvalues that are told from 0.
    seed : of the signs.

    Source: Ubaru, Chen & Saad (2017), "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature"; counting what
    has converged is ours.
    """
    size = matrix.shape[0]
    basis = np.empty((min(steps, size), size))
    diagonal, beside = [], []
    vector = np.random.default_rng(seed).choice([-1.0, 1.0], size)
    norm = np.linalg.norm(vector)
    for step in range(len(basis)):
        basis[step] = vector / norm
        vector = matrix @ basis[step]
        diagonal.append(basis[step] @ vector)
        for _ in range(2):
            vector = vector - (basis[: step + 1] @ vector) @ basis[: step + 1]
        norm = np.linalg.norm(vector)
        beside.append(norm)
        if norm <= NULL * max(diagonal):
            break
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1])
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    residuals = beside[-1] * abs(vectors[-1])
    known = (residuals <= CONVERGED * values) & (values > NULL * values[0])
    shares = np.where(known, 0.0, vectors[0] ** 2)
    others = (size - known.sum()) * shares / shares.sum() if shares.sum() else shares
    # Where no further vector was to be found, all that is left is the null space.
    return Spectrum(values, known + others, np.zeros_like(others) if norm <= NULL * max(diagonal) else others)


def curvature(
    network: xr.Dataset, task: Task, trials: xr.Dataset, thresholds: Sequence[float], steps: int, seed: int
) -> dict[str, float | list[float]]:
    """Curvature of the task loss at a `network.nc` of one seed by the variables of `curvature.nc`.

    Of the Gauss-Newton matrix: `top_eigenvalue`, `trace`, `participation_ratio`, and by threshold (over the largest
    eigenvalue) `flat_share` and `flat_share_error`. Of the Hessian: `sharpness`, its largest eigenvalue.

    Parameters
    ----------
    trials : that the loss is of, noise-free.
    steps, seed : see `spectrum`.
    """
    loss = loss_at(network, task, trials)
    found, hessian = spectrum(loss.operator(), steps, seed), loss.hessian()
    start = np.random.default_rng(seed).standard_normal(hessian.shape[0])
    sharpness = eigsh(hessian, 1, which="LA", v0=start, tol=TOLERANCE, return_eigenvectors=False)
    return {
        "top_eigenvalue": float(found.values[0]),
        "trace": float(found.counts @ found.values),
        "participation_ratio": found.participation_ratio,
        "flat_share": [found.flat_share(threshold) for threshold in thresholds],
        "flat_share_error": [found.flat_share_error(threshold) for threshold in thresholds],
        "sharpness": float(sharpness[0]),
    }
