"""Statements on the costs that divide the space of solutions, in our words, with criteria that are ours.

Source: arXiv 2610.04697, on linear recall and on tanh networks: none of the tasks here. Criteria were fixed before any
network of the study `generators` was trained.

The coordinates of a solution are what it costs, not what costs were worth in its training, which no table has: that
stable points vanish at one ratio of *these* two weights is therefore judged by the ratio of the costs themselves.
"""

import numpy as np
import pandas as pd

from insd.claims.base import (
    MOST,
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    TOO_FEW,
    Answer,
    Claim,
    Evidence,
    Interval,
    Publication,
    by_share,
    interval_text,
)
from insd.cohorts import network_labels, solved

SEPARATED, HARDLY = 0.9, 0.75
"""Balanced accuracies from which on a threshold tells networks apart, and does so in part (ours)."""
LEAST = 3
"""Networks of either kind that a threshold needs."""


def attractors(evidence: Evidence) -> Answer:
    """Alternatives with smaller weights than standards hold what they remember by stable points or lines."""
    weights = _difference(evidence, "mean_squared_recurrent_weight")
    if np.isnan(weights).any():
        return TOO_FEW
    found = f"weights {_times(weights)}"
    if weights[2] >= 0:
        return f"{found}: not smaller", NO_ANSWER
    rows = solved(evidence.alternatives).dropna(subset=["n_stable_fixed_points"])
    if rows.empty:
        return f"{found}; fixed points of none of them in this grid", NO_ANSWER
    holding = (rows["n_stable_fixed_points"] > 0) | (rows.get("line_attractors", pd.Series(0.0, rows.index)) > 0)
    found += f"; a stable point or a line in {holding.sum()} of {len(rows)}"
    return found, by_share(float(holding.mean()))


def transient(evidence: Evidence) -> Answer:
    """Alternatives with less activity than standards have fewer stable points, or none."""
    activity = _difference(evidence, "mean_squared_rate")
    rows = evidence.table.set_axis(network_labels(evidence.table))
    points = evidence.difference(rows["n_stable_fixed_points"])
    if np.isnan([*activity, *points]).any():
        return TOO_FEW
    found = f"activity {_times(activity)}"
    if activity[2] >= 0:
        return f"{found}: not less", NO_ANSWER
    alternatives = solved(evidence.alternatives)["n_stable_fixed_points"].dropna()
    none = float((alternatives == 0).mean())
    found += f"; stable points {interval_text(points, 1)}, none in {100 * none:.0f} % of {len(alternatives)}"
    return found, (NOT, PARTLY, REPRODUCED)[int(points[2] < 0) + int(points[2] < 0 and none >= MOST)]


def sensitive(evidence: Evidence) -> Answer:
    """Alternatives with less activity than standards are more sensitive to private noise."""
    activity, noise = (_difference(evidence, name) for name in ("mean_squared_rate", "noise_sensitivity"))
    if np.isnan([*activity, *noise]).any():
        return TOO_FEW
    found = f"activity {_times(activity)}"
    if activity[2] >= 0:
        return f"{found}: not less", NO_ANSWER
    found += f"; sensitivity to private noise {_times(noise)}"
    return found, REPRODUCED if noise[1] > 0 else PARTLY if noise[0] > 0 else NOT


def critical_ratio(evidence: Evidence) -> Answer:
    """Where weights are large and activity is small there are no stable points, and one ratio divides the two."""
    rows = pd.concat([evidence.standards, solved(evidence.alternatives)])
    rows = rows.dropna(subset=["mean_squared_recurrent_weight", "mean_squared_rate", "n_stable_fixed_points"])
    values = np.log10((rows["mean_squared_recurrent_weight"] / rows["mean_squared_rate"]).to_numpy(float))
    none = (rows["n_stable_fixed_points"] == 0).to_numpy(bool)
    if min(none.sum(), (~none).sum()) < LEAST:
        return f"no stable point in {none.sum()} of {len(none)}: too few of one kind", NO_ANSWER
    right = {bound: ((values[none] >= bound).mean() + (values[~none] < bound).mean()) / 2 for bound in values.tolist()}
    threshold = max(right, key=lambda bound: right[bound])
    best = float(right[threshold])
    found = (
        f"no stable point in {none.sum()} of {len(none)}; log10 of weights over activity, in the median, "
        f"{np.median(values[none]):+.2f} in these and {np.median(values[~none]):+.2f} in others; a threshold of "
        f"{threshold:+.2f} is right in {100 * best:.0f} % of either kind, in the mean"
    )
    return found, REPRODUCED if best >= SEPARATED else PARTLY if best >= HARDLY else NOT


def _difference(evidence: Evidence, name: str) -> Interval:
    """That of the logarithms of a column: how many times as large it is in alternatives."""
    values = evidence.table[name].set_axis(network_labels(evidence.table))
    return evidence.difference(np.log10(values.where(values > 0)))


def _times(logarithms: Interval) -> str:
    value, low, high = (10**value for value in logarithms)
    return f"{value:.2f} ({low:.2f} to {high:.2f}) times that of standards"


_AGAINST = "geometric means of solved alternatives against those of solved standards"
CLAIMS = Publication(
    citation="Qian & Pehlevan (2026, on costs)",
    source="arXiv 2610.04697",
    claims=(
        Claim(
            id="small_weights_hold_by_attractors",
            text="Solutions that are efficient in weights are line or point attractors",
            criterion=f"mean squared recurrent weights, {_AGAINST}; judged where the interval of the ratio is below 1. "
            f"Reproduced: at least one stable point, or a line attractor, in {100 * MOST:.0f} % of solved "
            "alternatives; partly: in half",
            judge=attractors,
            intervals=1,
        ),
        Claim(
            id="little_activity_is_transient",
            text="Solutions that are efficient in activity are transient: they have no attractors",
            criterion=f"mean squared rates, {_AGAINST}; judged where the interval of the ratio is below 1. Reproduced: "
            f"fewer stable points than standards, with an interval that excludes 0, and none in {100 * MOST:.0f} % of "
            "solved alternatives; partly: fewer only",
            judge=transient,
            intervals=2,
        ),
        Claim(
            id="little_activity_is_sensitive_to_noise",
            text="Solutions that are efficient in activity are sensitive to noise",
            criterion=f"mean squared rates, {_AGAINST}; judged where the interval of the ratio is below 1. Reproduced: "
            "the variance that private noise adds to the outputs is larger, with an interval of the ratio above 1; "
            "partly: larger in the mean",
            judge=sensitive,
            intervals=2,
        ),
        Claim(
            id="points_vanish_at_a_critical_ratio",
            text="Stable points vanish at a critical ratio of the two costs",
            criterion="mean squared recurrent weight over mean squared rate, of solved standards and alternatives, and "
            "the best threshold at or above which networks have no stable points and below which they have some. "
            f"Reproduced: right in {100 * SEPARATED:.0f} % of networks with and without, in the mean of both shares; "
            f"partly: in {100 * HARDLY:.0f} %. No answer with fewer than {LEAST} of either kind. The paper's ratio is "
            "that of the weights of both costs in training, which no table has",
            judge=critical_ratio,
        ),
    ),
    tasks=("linear_recall",),
)
"""The statements, in the order of the paper's argument."""
