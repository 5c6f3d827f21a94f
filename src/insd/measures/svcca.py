"""Canonical correlation analysis of leading principal components."""

import numpy as np
from jaxtyping import Float

from insd.measures.base import LinearMeasure, Map, Statistics

VARIANCE_KEPT = 0.99
"""Share of the variance that is kept (Raghu et al. 2017)."""


class SVCCA(LinearMeasure):
    """Mean canonical correlation of the leading principal components that hold `VARIANCE_KEPT` of each variance."""

    name = "svcca"
    long_name = "SVCCA"
    bounds = (0.0, 1.0)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = 'Raghu et al. (2017), "SVCCA: singular vector canonical correlation analysis"'

    def value(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        """See the class."""
        rows, columns = (
            int(np.searchsorted(one.variances.cumsum(), VARIANCE_KEPT * one.variances.sum())) + 1 for one in (a, b)
        )
        return np.linalg.svd(overlap[:rows, :columns], compute_uv=False).mean()
