"""Eigenvalues and leading modes of a flow at its points."""

import numpy as np
import scipy.linalg
from jaxtyping import Float
from torch import Tensor

from insd.dynamics.flow import Flow


def linearise(flow: Flow, points: Float[Tensor, "point unit"]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Eigenvalues of the flow's Jacobian ``A / tau`` at points, and the leading mode, as variables of a dataset.

    Eigenvalues are sorted by falling real part (then by falling imaginary part, so of a pair the one of positive
    frequency comes first): `eigenvalues_real` is the growth rate in 1/s and `eigenvalues_imag` / 2 pi the frequency in
    Hz. `stable` says whether the simulated map is stable, ``|1 + dt lambda| < 1``, and `stable_flow` whether the
    differential equation is. The right eigenvector of the first eigenvalue has unit norm and its largest component is
    real and positive; the left one is a row vector l with ``l A = tau lambda l``, scaled so that its product with the
    right one (without conjugation) is 1. `input_selection` is the modulus of its product with the derivative of F in
    each input, for rate networks a column of W_in: how strongly an input drives the mode (the selection vector of Mante
    et al. 2013, for real modes).
    """
    count, units = points.shape
    eigenvalues = np.empty((count, units), complex)
    right, left = np.empty((count, units), complex), np.empty((count, units), complex)
    for point, jacobian in enumerate(flow.jacobian(points).numpy()):
        values, left_vectors, right_vectors = scipy.linalg.eig(jacobian / flow.tau, left=True)
        order = np.lexsort((-values.imag, -values.real))
        eigenvalues[point] = values[order]
        vector = right_vectors[:, order[0]]
        largest = vector[np.abs(vector).argmax()]
        right[point] = vector / np.linalg.norm(vector) * (largest.conjugate() / abs(largest))
        row = left_vectors[:, order[0]].conjugate()
        left[point] = row / (row @ right[point])
    by_input = np.einsum("pu,pui->pi", left, flow.input_jacobian(points).numpy())
    return {
        "eigenvalues_real": (("point", "unit"), eigenvalues.real),
        "eigenvalues_imag": (("point", "unit"), eigenvalues.imag),
        "stable": (("point",), (np.abs(1 + flow.dt * eigenvalues) < 1).all(1)),
        "stable_flow": (("point",), (eigenvalues.real < 0).all(1)),
        "right_eigenvector_real": (("point", "unit"), right.real),
        "right_eigenvector_imag": (("point", "unit"), right.imag),
        "left_eigenvector_real": (("point", "unit"), left.real),
        "left_eigenvector_imag": (("point", "unit"), left.imag),
        "input_selection": (("point", "input"), np.abs(by_input)),
    }
