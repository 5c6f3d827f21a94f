"""Representational similarity analysis."""

import numpy as np
import scipy.spatial.distance
import scipy.stats
from jaxtyping import Float

from insd.measures.base import Activity, Map, Measure

PATTERNS = 512
"""Patterns at most whose dissimilarities are compared: all pairs of them are stored for every network."""


class RSA(Measure):
    """Representational similarity: Spearman's correlation of the squared distances between the same patterns.

    A pattern is the activity at one time of one trial; every n-th sample, at most `PATTERNS`.
    """

    name = "rsa"
    long_name = "RSA"
    bounds = (-1.0, 1.0)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = 'Kriegeskorte et al. (2008), "Representational similarity analysis"'

    def prepare(self, activity: Activity) -> Float[np.ndarray, "pattern_pair"]:
        """Ranks of the squared distances between patterns, centred and of unit norm; NaN where all are equal."""
        samples = activity.samples
        stride = -(-len(samples) // PATTERNS)
        # Their squares must be numbers of single precision in any unit of the rates; a power of two rounds nothing.
        samples = np.ldexp(samples, -int(np.frexp(np.abs(samples).max(initial=0.0))[1]))
        # In float64 equal distances could differ by rounding and take different ranks in rotated copies.
        distances = scipy.spatial.distance.pdist(samples[::stride], "sqeuclidean").astype(np.float32)
        ranks = scipy.stats.rankdata(distances)
        ranks -= ranks.mean()
        norm = np.linalg.norm(ranks)
        return (ranks / norm if norm else np.full_like(ranks, np.nan)).astype(np.float32)

    def compare(self, a: Float[np.ndarray, "pattern_pair"], b: Float[np.ndarray, "pattern_pair"]) -> float:
        """See the class."""
        return float(a @ b)
