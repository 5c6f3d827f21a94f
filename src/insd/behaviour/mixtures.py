"""Which share of responses is about the cued item, about another one, or a guess: a mixture fitted to their angles.

The density of a response r in a trial with items at angles ``theta_j``, c of which is cued, is

    w_cued f(r - theta_c) + w_swapped mean over j != c of f(r - theta_j) + w_uniform / (2 pi),

with f a von Mises density of concentration kappa. In trials with one item there is nothing to swap: the other two
weights are divided by their sum. Weights and kappa maximise the likelihood, by expectation maximisation from several
starts.

Source: Bays, Catalao & Husain (2009), "The precision of visual working memory is set by allocation of a shared
resource". Intervals are those of a bootstrap over trials (ours).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy.special import i0e, i1e

from insd.behaviour.swaps import wrapped

Component = Literal["cued", "swapped", "uniform"]
"""What a response may be about."""
COMPONENTS: tuple[Component, ...] = get_args(Component)
"""The components of the mixture, in the order of their weights."""
STARTS = ((0.8, 2.0), (0.8, 20.0), (0.4, 5.0))
"""Weights of the cued item and concentrations from which fits start."""
MOST_CONCENTRATED = 1e5
"""The largest concentration, a standard deviation of .2 degrees: equal angles have no likelihood otherwise."""
TOLERANCE = 1e-11
"""Fits end where an iteration raises the mean log-likelihood of a trial by less."""
MOST_ITERATIONS = 5000
"""Of expectation maximisation from each start."""


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture."""

    weights: dict[Component, float]
    """They sum to 1; components that were not fitted, and swaps where there is one item, have 0."""
    concentration: float
    """kappa."""
    log_likelihood: float
    """Of all responses."""
    trials: int
    parameters: int
    """How many were fitted: all weights but one, and kappa."""
    intervals: dict[str, tuple[float, float]] | None = None
    """95 % intervals of each weight and of `concentration`."""

    @property
    def bic(self) -> float:
        """Bayesian information criterion; of two mixtures of the same responses, the lower one is preferred."""
        return self.parameters * float(np.log(self.trials)) - 2 * self.log_likelihood

    @property
    def sd(self) -> float:
        """Circular standard deviation of f in rad, ``sqrt(-2 log(I_1(kappa) / I_0(kappa)))``; infinite for kappa 0."""
        resultant = _resultant(self.concentration)
        return float(np.sqrt(-2 * np.log(resultant))) if resultant > 0 else float("inf")


def fit_mixture(
    responses: Float[np.ndarray, "trial"],
    items: Float[np.ndarray, "trial item"],
    cued: Int[np.ndarray, "trial"],
    components: Sequence[Component] = COMPONENTS,
    resamples: int = 0,
    seed: int = 0,
) -> Mixture:
    """The mixture of highest likelihood.

    Parameters
    ----------
    responses, items : angles in rad. Items that a trial does not have are NaN.
    cued : which of the items is cued, from 0.
    components : those that the mixture has, `cued` among them.
    resamples : of the bootstrap that gives the intervals, with this seed; without any, there are none.

    Raises ValueError if there is no response, an angle that is needed is not finite, or `cued` is not among the
    components.
    """
    errors = _errors(responses, items, cued)
    if "cued" not in components:
        raise ValueError("components: `cued` must be one of them")
    others = np.isfinite(errors[:, 1:])
    fitted = [name for name in COMPONENTS if name in components and (name != "swapped" or bool(others.any()))]
    ones = np.ones(len(errors))
    best = max((_maximised(errors, fitted, ones, *start) for start in _starts(fitted)), key=lambda found: found[2])
    weights, concentration, log_likelihood = best
    mixture = Mixture(
        {name: float(weights[fitted.index(name)]) if name in fitted else 0.0 for name in COMPONENTS},
        concentration,
        log_likelihood,
        len(errors),
        len(fitted),
    )
    if not resamples:
        return mixture
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        counts = random.multinomial(len(errors), ones / len(errors)).astype(float)
        # From the fit to all trials: no weight of 0 is ever left.
        start = np.maximum(weights, 0.01)
        of_counts = _maximised(errors, fitted, counts, start / start.sum(), concentration, 1e-8)
        drawn.append([*of_counts[0], of_counts[1]])
    ends = np.percentile(drawn, [2.5, 97.5], axis=0).T
    names = [*fitted, "concentration"]
    return replace(mixture, intervals={name: (float(a), float(b)) for name, (a, b) in zip(names, ends, strict=True)})


def responsibilities(
    mixture: Mixture,
    responses: Float[np.ndarray, "trial"],
    items: Float[np.ndarray, "trial item"],
    cued: Int[np.ndarray, "trial"],
) -> Float[np.ndarray, "trial component"]:
    """The probability that each response is about the cued item, about another one, or a guess (`COMPONENTS`)."""
    densities = _densities(_errors(responses, items, cued), list(COMPONENTS), mixture.concentration)
    joint = densities * [mixture.weights[name] for name in COMPONENTS]
    return joint / joint.sum(1, keepdims=True)


def _errors(responses: np.ndarray, items: np.ndarray, cued: np.ndarray) -> Float[np.ndarray, "trial item"]:
    """Response minus item for the cued item, which comes first, and all others."""
    if not len(responses):
        raise ValueError("there is no response to fit")
    rows = np.arange(len(responses))
    order = np.argsort(np.arange(items.shape[1]) != np.asarray(cued)[:, None], axis=1, kind="stable")
    errors = wrapped(np.asarray(responses, dtype=float)[:, None] - items[rows[:, None], order])
    if not np.isfinite(errors[:, 0]).all():
        raise ValueError(f"trial {int(np.argmin(np.isfinite(errors[:, 0])))}: its response or cued item is not finite")
    return errors


def _starts(fitted: Sequence[Component]) -> list[tuple[np.ndarray, float]]:
    """Weights in the order of the components fitted, and a concentration, each."""
    starts = []
    for cued, concentration in STARTS:
        rest = (1 - cued) / (len(fitted) - 1) if len(fitted) > 1 else 0.0
        starts.append((np.array([cued if len(fitted) > 1 else 1.0] + [rest] * (len(fitted) - 1)), concentration))
    return starts


def _densities(
    errors: Float[np.ndarray, "trial item"], fitted: Sequence[Component], concentration: float
) -> Float[np.ndarray, "trial component"]:
    """The density of each response under each component."""
    at = np.exp(concentration * (np.cos(errors) - 1)) / (2 * np.pi * i0e(concentration))
    there = np.isfinite(errors[:, 1:])
    others = np.where(there, at[:, 1:], 0.0).sum(1) / np.maximum(there.sum(1), 1)
    uniform = np.full(len(errors), 1 / (2 * np.pi))
    of = {"cued": at[:, 0], "swapped": others, "uniform": uniform}
    return np.stack([of[name] for name in fitted], axis=1)


def _maximised(
    errors: Float[np.ndarray, "trial item"],
    fitted: Sequence[Component],
    counts: Float[np.ndarray, "trial"],
    weights: Float[np.ndarray, "component"],
    concentration: float,
    tolerance: float = TOLERANCE,
) -> tuple[Float[np.ndarray, "component"], float, float]:
    """Weights, concentration and log-likelihood by expectation maximisation; `counts` says how often a trial counts."""
    total, cosines = counts.sum(), np.cos(errors)
    there = np.isfinite(errors)
    cosines = np.where(there, cosines, 0.0)
    alone = ~there[:, 1:].any(1)
    swapped = fitted.index("swapped") if "swapped" in fitted and alone.any() else None
    before = -np.inf
    for _ in range(MOST_ITERATIONS):
        joint = _densities(errors, fitted, concentration) * weights
        if swapped is not None:
            joint[alone] /= max(1 - weights[swapped], np.finfo(float).tiny)
        likelihood = np.maximum(joint.sum(1), np.finfo(float).tiny)
        log_likelihood = float(counts @ np.log(likelihood))
        if log_likelihood - before < tolerance * total:
            break
        before = log_likelihood
        shares = joint / likelihood[:, None] * counts[:, None]
        weights = shares.sum(0) / total
        if swapped is not None:
            # Of trials that can have swaps; what is left is divided as among the rest of all trials.
            share = shares[:, swapped].sum() / max(counts[~alone].sum(), 1)
            weights *= (1 - share) / max(1 - weights[swapped], np.finfo(float).tiny)
            weights[swapped] = share
        # How much of each response is about each item, given that it is about one.
        about = np.where(there, np.exp(concentration * (cosines - 1)), 0.0)
        about[:, 1:] /= np.maximum(about[:, 1:].sum(1, keepdims=True), np.finfo(float).tiny)
        about[:, 0] = shares[:, fitted.index("cued")]
        about[:, 1:] *= shares[:, [fitted.index("swapped")]] if "swapped" in fitted else 0.0
        concentration = _concentration(float((about * cosines).sum() / max(about.sum(), np.finfo(float).tiny)))
    return weights, concentration, log_likelihood


def _resultant(concentration: float) -> float:
    """``A(kappa) = I_1(kappa) / I_0(kappa)``, the mean cosine of a von Mises distribution."""
    return float(i1e(concentration) / i0e(concentration))


def _concentration(resultant: float) -> float:
    """The kappa of a mean cosine, by Newton's method from the estimate of Best & Fisher (1981)."""
    if resultant <= 0:
        return 0.0
    if resultant >= _resultant(MOST_CONCENTRATED):
        return MOST_CONCENTRATED
    kappa = resultant * (2 - resultant**2) / (1 - resultant**2)
    for _ in range(20):
        at = _resultant(kappa)
        step = (at - resultant) / (1 - at**2 - at / kappa)
        kappa = max(kappa - step, kappa / 2)
        if abs(step) < 1e-12 * kappa:
            break
    return min(kappa, MOST_CONCENTRATED)
