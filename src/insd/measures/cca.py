"""Canonical correlation analysis."""

import numpy as np
from jaxtyping import Float

from insd.measures.base import LinearMeasure, Map, Statistics


class CCA(LinearMeasure):
    """Mean canonical correlation, in [0, 1]: the mean singular value of C.

    Dominated by the many directions of little variance, as it is invariant to all invertible linear maps.
    """

    name = "cca"
    long_name = "CCA"
    bounds = (0.0, 1.0)
    invariant_to = (Map.INVERTIBLE_LINEAR, Map.TRANSLATION)
    source = 'Hotelling (1936), "Relations between two sets of variates"'

    def value(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        """See the class."""
        return np.linalg.svd(overlap, compute_uv=False).mean()
