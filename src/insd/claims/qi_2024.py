"""Statements on moments of noisy networks, in our words, with criteria that are ours.

Source: Qi, Zhu, Wei, Cao, Wang, Zhang, Lu & Feng (arXiv:2305.13982, version of 2024), "Toward stochastic neural
computing". Theirs are networks of spiking cells, here the closure is that of rate networks (`insd.dynamics.moments`),
and alternatives are ours. Criteria were fixed before any network was looked at.
"""

import numpy as np
import pandas as pd

from insd.claims.base import (
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    TOO_FEW,
    Answer,
    Claim,
    Evidence,
    Publication,
    by_share,
    interval_text,
)
from insd.cohorts import network_labels, solved

CLOSE = 0.1
"""Relative error of a predicted standard deviation that counts as close."""
OFTEN = 0.9
"""Share of times at which it must be."""
MISSING: Answer = ("no moments in this grid: add `analysis.moments`", NO_ANSWER)
"""The answer where the analysis `moments` was not made."""


def _measured(evidence: Evidence, rows: pd.DataFrame) -> pd.DataFrame:
    """The solved networks with moments: networks that are not additive have none."""
    rows = solved(rows)
    return rows[rows["output_sd_ratio"].notna()] if "output_sd_ratio" in evidence.table else rows[:0]


def standards_predicted(evidence: Evidence) -> Answer:
    """The predicted standard deviation of outputs of standards is the simulated one."""
    if "output_sd_ratio" not in evidence.table:
        return MISSING
    rows = _measured(evidence, evidence.standards)
    if rows.empty:
        return TOO_FEW
    ratios = rows["output_sd_ratio"]
    share = float((abs(ratios - 1) < CLOSE).mean())
    found = (
        f"predicted over simulated {ratios.median():.3f} in the median, {ratios.min():.3f} to {ratios.max():.3f}; "
        f"within 10 % in {round(share * len(rows))} of {len(rows)}"
    )
    return found, by_share(share)


def at_all_times(evidence: Evidence) -> Answer:
    """It is so at nearly all times, not only over all of them together."""
    if "output_sd_close" not in evidence.table:
        return MISSING
    rows = _measured(evidence, evidence.standards)
    if rows.empty:
        return TOO_FEW
    often = rows["output_sd_close"]
    share = float((often >= OFTEN).mean())
    found = (
        f"within 10 % at {100 * often.median():.0f} % of times in the median, at least {100 * often.min():.0f} %; at "
        f"90 % of times in {round(share * len(rows))} of {len(rows)}"
    )
    return found, by_share(share)


def alternatives_not_predicted(evidence: Evidence) -> Answer:
    """The prediction is worse for alternatives, and fails for them."""
    if "output_sd_ratio" not in evidence.table:
        return MISSING
    rows = _measured(evidence, evidence.alternatives)
    if rows.empty:
        return TOO_FEW
    everyone = pd.concat([solved(evidence.alternatives), evidence.standards])
    errors = np.abs(np.log(everyone["output_sd_ratio"])).set_axis(network_labels(everyone))
    difference = evidence.difference(errors)
    if not np.isfinite(difference[0]):
        return TOO_FEW
    ratios = rows["output_sd_ratio"]
    fails = abs(ratios - 1) >= CLOSE
    found = (
        f"predicted over simulated {ratios.median():.3f} in the median of alternatives, {ratios.min():.3f} to "
        f"{ratios.max():.3f}, off by 10 % or more in {fails.sum()} of {len(rows)}; size of its logarithm, alternatives "
        f"minus standards {interval_text(difference, 3)}"
    )
    worse = difference[1] > 0
    if worse and fails.mean() >= 0.5:
        return found, REPRODUCED
    return found, PARTLY if worse else NOT


CLAIMS = Publication(
    citation="Qi et al. (2024)",
    source="Qi et al. (2024), Toward stochastic neural computing, arXiv 2305.13982",
    claims=(
        Claim(
            id="standards_predicted",
            text="The propagation of mean and covariance predicts how much outputs of standards vary from noise",
            criterion=(
                "standard deviation of outputs under private noise, predicted over simulated. Reproduced: between .9 "
                "and 1.1 in 90 % of solved standards; partly: in half"
            ),
            judge=standards_predicted,
        ),
        Claim(
            id="at_all_times",
            text="It does so at all times",
            criterion=(
                "share of trials, times and outputs at which the predicted standard deviation is within 10 % of the "
                "simulated one. Reproduced: at least .9 in 90 % of solved standards; partly: in half"
            ),
            judge=at_all_times,
        ),
        Claim(
            id="alternatives_not_predicted",
            text="It fails for alternatives, whose phase diffuses (our expectation)",
            criterion=(
                "size of the logarithm of predicted over simulated, mean over solved alternatives minus standards. "
                "Reproduced: the interval is above 0, and the prediction is off by 10 % or more in half of the "
                "alternatives; partly: the interval alone"
            ),
            judge=alternatives_not_predicted,
            intervals=1,
        ),
    ),
)
"""The statements."""
