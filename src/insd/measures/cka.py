"""Centred kernel alignment."""

import numpy as np
from jaxtyping import Float

from insd.hsic import unbiased_hsic
from insd.measures.base import LinearMeasure, Map, Statistics


class CKA(LinearMeasure):
    """Debiased linear centred kernel alignment, at most 1; near 0 for unrelated activity.

    ``HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))`` with the unbiased estimator of HSIC from kernels without their
    diagonals, in feature space (`insd.hsic.unbiased_hsic`).
    """

    name = "cka"
    long_name = "CKA"
    bounds = (-np.inf, 1.0)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = (
        'Kornblith et al. (2019), "Similarity of neural network representations revisited"; Song et al. (2012), '
        '"Feature selection via dependence maximization", eq. 5'
    )

    def value(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        """See the class."""
        squares = a.variances @ np.square(overlap) @ b.variances
        return _hsic(squares, a, b) / np.sqrt(
            _hsic(np.square(a.variances).sum(), a, a) * _hsic(np.square(b.variances).sum(), b, b)
        )


def _hsic(squares: float, a: Statistics, b: Statistics) -> float:
    return unbiased_hsic(squares, a.squared_norms, b.squared_norms, a.squared_norms.size)
