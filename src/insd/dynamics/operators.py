"""The linear operator that maps a network's delay-embedded activity from one time step to the next.

Source: Ostrow et al. (2023), "Beyond geometry: comparing the temporal structure of computation in neural circuits with
dynamical similarity analysis".
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float
from numpy.lib.stride_tricks import sliding_window_view

from insd.samples import chosen, lasting

ABSENT = 1e-9
"""Variance relative to the largest below which a direction of the embedded activity counts as absent. The rounding of
stored rates is ten times smaller."""


@dataclass(frozen=True)
class DelayModel:
    """The linear operator of a network's delay-embedded activity, with its coordinates."""

    mean: Float[np.ndarray, "unit"]
    axes: Float[np.ndarray, "embedded direction"]
    """Leading principal axes of the embedded activity, orthonormal, the largest variance first."""
    scales: Float[np.ndarray, "direction"]
    """Root of the sum of squares along each axis. Coordinates are divided by it."""
    operator: Float[np.ndarray, "direction direction"]


def _embed(rates: Float[np.ndarray, "trial time unit"], delays: int) -> Float[np.ndarray, "trial step embedded"]:
    """`delays` successive states of one trial side by side, the latest last: the rows of the Hankel matrix."""
    windows = sliding_window_view(rates, delays, axis=1)
    return windows.swapaxes(-1, -2).reshape(*windows.shape[:2], -1)


def fit(rates: Float[np.ndarray, "trial time unit"], delays: int, rank: int) -> DelayModel:
    """Fit the operator on the leading `rank` directions of the embedded activity, or as many as there are.

    Centred rates are embedded and whitened along their principal axes, from their covariance: the coordinates v are
    the leading right singular vectors of the Hankel matrix. The operator is the least-squares solution of
    ``v(t + 1) = A v(t)`` over all steps within trials, until their ends. Raises ValueError if no trial has more than
    `delays` steps.

    Source: Ostrow et al. (2023), delay-embedded dynamic mode decomposition.
    """
    lasts = lasting(rates)
    if lasts.sum(1).max() <= delays:
        raise ValueError(f"{delays} delays need trials of more than {delays} time steps, not {lasts.sum(1).max()}")
    rates = rates.astype(np.float64)
    seen = chosen(rates, lasts)
    mean = seen.mean(0)
    embedded = _embed(rates - mean, delays)
    # A window ends with its latest state: it is within the trial where that is.
    flat = chosen(embedded, lasts[:, delays - 1 :])
    variances, axes = np.linalg.eigh(flat.T @ flat)
    kept = np.flatnonzero(variances > max(ABSENT * variances[-1], delays * _rounding(seen)))[::-1][:rank]
    axes, scales = axes[:, kept], np.sqrt(variances[kept])
    coordinates = embedded @ (axes / scales)
    before, after = (part[lasts[:, delays:]] for part in (coordinates[:, :-1], coordinates[:, 1:]))
    return DelayModel(mean, axes, scales, np.linalg.lstsq(before, after)[0].T)


def fit_operator(rates: Float[np.ndarray, "trial time unit"], delays: int, rank: int) -> Float[np.ndarray, "rank rank"]:
    """The linear operator of a network's activity: see `fit`.

    Invariant to rotation and scaling of the rates, up to the signs of its coordinates. Activity with fewer than `rank`
    directions gets rows and columns of zeros; activity that does not vary has an operator of NaN.
    """
    operator = fit(rates, delays, rank).operator
    if not operator.size:
        return np.full((rank, rank), np.nan)
    return np.pad(operator, (0, rank - len(operator)))


def prediction_error(
    train: Float[np.ndarray, "trial time unit"],
    held_out: Float[np.ndarray, "trial_held_out time unit"],
    delays: int,
    rank: int,
    first: int | None = None,
) -> float:
    """Error of predicting the rates of held-out trials one step ahead, as a share of their variance.

    The operator's prediction is mapped back to the rates of all units, so that what a small rank leaves out counts as
    error, and values can be compared across delays and ranks. `first` is the first time step that is predicted, at
    least `delays`, which is the default; it must be the same for delays that are compared. NaN where the
    activity does not vary.
    """
    model = fit(train, delays, rank)
    first = delays if first is None else first
    embedded = _embed(held_out.astype(np.float64) - model.mean, delays)[:, first - delays : -1]
    coordinates = embedded @ (model.axes / model.scales)
    latest = model.axes[-len(model.mean) :] * model.scales
    predicted = model.mean + coordinates @ (latest @ model.operator).T
    return _share_of_variance(held_out[:, first:] - predicted, held_out[:, first:])


def persistence_error(held_out: Float[np.ndarray, "trial time unit"], first: int) -> float:
    """The error of `prediction_error` if nothing changed from one step to the next: what an operator must beat."""
    return _share_of_variance(held_out[:, first:] - held_out[:, first - 1 : -1], held_out[:, first:])


def _share_of_variance(errors: np.ndarray, values: np.ndarray) -> float:
    lasts = lasting(values)
    values, errors = chosen(values, lasts), chosen(errors, lasts)
    centred = values - values.mean(0, dtype=np.float64)
    total = float(np.square(centred).sum())
    return float(np.square(errors).sum()) / total if total > _rounding(values) else float("nan")


def _rounding(values: np.ndarray) -> float:
    """Sum of squares that values may have about their mean by rounding of the mean alone, without varying."""
    return values.size * float(1e-12 * np.abs(values).max()) ** 2


def spectrum(operator: Float[np.ndarray, "rank rank"]) -> Complex[np.ndarray, "rank"]:
    """Eigenvalues of an operator per time step, the largest modulus first; NaN where the operator is not finite."""
    if not np.isfinite(operator).all():
        return np.full(len(operator), np.nan, dtype=complex)
    values = np.linalg.eigvals(operator).astype(complex)
    return values[np.lexsort((values.imag, -np.abs(values).round(12)))]
