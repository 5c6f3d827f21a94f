"""Angular orthogonal Procrustes distance."""

import numpy as np
from jaxtyping import Float

from insd.measures.base import LinearMeasure, Map, Statistics


class Procrustes(LinearMeasure):
    """Angular orthogonal Procrustes distance ``arccos(|X^T Y|_nuclear / (|X| |Y|))`` in rad; a metric."""

    name = "procrustes"
    long_name = "Procrustes"
    zero_is_equal = True
    bounds = (0.0, np.pi / 2)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = 'Williams et al. (2021), "Generalized shape metrics on neural representations"'

    def value(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        """See the class."""
        scaled = np.sqrt(a.variances)[:, None] * overlap * np.sqrt(b.variances)
        cosine = np.linalg.svd(scaled, compute_uv=False).sum() / np.sqrt(a.variances.sum() * b.variances.sum())
        return np.arccos(min(cosine, 1.0))
