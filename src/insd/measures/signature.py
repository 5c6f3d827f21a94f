"""Similarity of the courses of activity within trials, by the signatures of their leading components."""

import numpy as np
from jaxtyping import Float

from insd.measures.base import TIME_STRIDE, Activity, Map, Measure
from insd.samples import lasting, placed
from insd.signatures import DEPTH, signature

COMPONENTS = 3
"""Leading principal components of the activity whose course is compared."""
TRIALS = 512
"""Trials at most that are compared: all pairs of them are stored for every network."""
LEAST_TRIALS = 4
"""Fewer leave nothing after centring without the diagonal."""


class Signature(Measure):
    """Debiased linear centred kernel alignment of signatures to depth 3; 1 for equal courses, near 0 for unrelated.

    The path of a trial is the time, from 0 at its start to 1 at its end, and the three leading principal components,
    over the root of the summed variance of all; it begins at the mean activity. For each level of its signature the
    products of all pairs of trials are centred without their diagonal; levels are scaled to the same norm and added.
    Rotated components rotate every level of the signature, which products do not see.

    It compares trials by how activity moves: which direction follows which, and when. At most `TRIALS`, every n-th.
    """

    name = "signature"
    long_name = "signature"
    bounds = (-1.0, 1.0)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = (
        'Chen (1957), "Integration of paths, geometric invariants and a generalized Baker-Hausdorff formula"; features '
        "of time and leading components after Boutaib et al. (2022); their kernel and its alignment are ours, debiased "
        'as in Székely & Rizzo (2014), "Partial distance correlation with methods for dissimilarities"'
    )

    def prepare(self, activity: Activity) -> Float[np.ndarray, "trial_pair"]:
        """Centred products of all pairs of trials, of unit norm; NaN where activity does not vary."""
        lasts = lasting(activity.rates[:, ::TIME_STRIDE])
        stride = -(-len(lasts) // TRIALS)
        pairs = np.triu_indices(len(lasts[::stride]), 1)
        samples = activity.samples
        if len(lasts[::stride]) < LEAST_TRIALS or not samples.size:
            return np.full(pairs[0].size, np.nan, np.float32)
        components = samples[:, :COMPONENTS] / np.sqrt(np.square(samples).sum() / len(samples))
        kept = lasts[::stride]
        time = np.where(kept, np.arange(1, kept.shape[1] + 1) / kept.sum(1, keepdims=True), np.nan)
        course = np.where(kept[..., None], placed(components, lasts)[::stride], np.nan)
        path = np.concatenate([time[..., None], course], -1)
        levels = signature(np.pad(path, ((0, 0), (1, 0), (0, 0))), DEPTH)
        found = np.zeros(pairs[0].size)
        for level in levels:
            products = _centred(level - level.mean(0))[pairs]
            norm = np.linalg.norm(products)
            found += products / norm if norm > 1e-9 else 0.0
        norm = np.linalg.norm(found)
        return (found / norm if norm else np.full_like(found, np.nan)).astype(np.float32)

    def compare(self, a: Float[np.ndarray, "trial_pair"], b: Float[np.ndarray, "trial_pair"]) -> float:
        """See the class."""
        return float(a @ b)


def _centred(features: Float[np.ndarray, "trial word"]) -> Float[np.ndarray, "trial trial_to"]:
    """Products of trials less their means over other trials, as if the diagonal were not there."""
    products = features @ features.T
    np.fill_diagonal(products, 0)
    count = len(products)
    means = products.sum(0) / (count - 2)
    return products - means[:, None] - means + products.sum() / ((count - 1) * (count - 2))
