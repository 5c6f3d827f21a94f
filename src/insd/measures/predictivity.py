"""Linear predictivity from one network to the other."""

import numpy as np
from jaxtyping import Float

from insd.measures.base import LinearMeasure, Map, MeasureError, Statistics, orthonormal_basis, rounding
from insd.samples import chosen, lasting


class Predictivity(LinearMeasure):
    """r2(X -> Y): share of Y's variance that a linear map of X explains, ``sum_j |C[:, j]|^2 v_y[j] / sum_j v_y[j]``.

    Without ridge. A predictor that does not vary explains a share of 0. Chance level: about rank(X) / samples.
    """

    name = "predictivity"
    long_name = "r²"
    symmetric = False
    bounds = (0.0, 1.0)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    first_invariant_to = (Map.INVERTIBLE_LINEAR,)
    source = "Qian & Pehlevan (2026), linear predictivity"

    def compare(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"] | None = None) -> float:
        """The share of b's variance that a explains."""
        if b.variances.size and not a.variances.size:
            return 0.0
        return super().compare(a, b, overlap)

    def value(self, a: Statistics, b: Statistics, overlap: Float[np.ndarray, "rank rank_to"]) -> float:
        """See the class."""
        return explained_share(overlap, b.variances)


def explained_share(overlap: Float[np.ndarray, "rank rank_to"], variances: Float[np.ndarray, "rank_to"]) -> float:
    """Share of the variance along a target's axes within a predictor's, by the product of their bases."""
    return float(np.square(overlap).sum(0) @ variances / variances.sum())


def linear_predictivity(
    predictor: Float[np.ndarray, "*samples unit"], target: Float[np.ndarray, "*samples_to unit_to"]
) -> float:
    """`Predictivity` from one array to the other, in double precision; NaN where the target does not vary.

    Both are (sample, unit), or (trial, time, unit) on the same trials, with NaN after the end of each (`insd.samples`).
    Raises MeasureError if they are on different samples or hold other values that are not finite.

    Source: Qian & Pehlevan (2026), linear predictivity.
    """
    for name, one in (("predictor", predictor), ("target", target)):
        if one.ndim not in (2, 3):
            raise MeasureError(f"{name}: has shape {one.shape}; needs (sample, unit) or (trial, time, unit)")
    if predictor.shape[:-1] != target.shape[:-1]:
        raise MeasureError(
            f"the predictor is on {predictor.shape[:-1]} samples and the target on {target.shape[:-1]}; record both on "
            "the same trials"
        )
    if predictor.ndim == 3:
        lasts = lasting(predictor)
        if not np.array_equal(lasts, lasting(target)):
            raise MeasureError("trials end at different times in predictor and target; record both on the same trials")
        predictor, target = chosen(predictor, lasts), chosen(target, lasts)
    for name, one in (("predictor", predictor), ("target", target)):
        if not np.isfinite(one).all():
            raise MeasureError(
                f"{name}: holds NaN or infinite values before the end of a trial; leave these samples out"
            )
    centred = target - target.mean(0)
    total = float(np.square(centred).sum())
    if total <= rounding(target):
        return float("nan")
    return float(np.square(orthonormal_basis(predictor)[0].T @ centred).sum()) / total
