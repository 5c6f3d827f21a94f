"""Statements on spiking networks in regression and memory, in our words, with criteria that are ours.

Source: Henkes et al. (2024), "Spiking neural networks for nonlinear regression", R. Soc. Open Sci. 11:231606. The
publication has no flip-flop: the statements on memory are ours. The criteria are those with which the study was planned
(docs/spiking.md says which were fixed after a first look).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from insd.claims.base import (
    LEAST_STANDARDS,
    MOST,
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    Answer,
    Claim,
    Evidence,
    Publication,
    by_share,
)
from insd.cohorts import CONTROL, STANDARD, network_labels, of_role

ARCHITECTURE = "lif"
"""The architecture of the networks that are judged."""
MEMORY, REGRESSION = "flip_flop_1", "ramberg_osgood"
"""The names of the tasks in the study: a flip-flop of one bit, and Ramberg-Osgood."""
PLASTIC, ELASTIC = "isotropic_hardening", "elasticity"
"""The names of the tasks that need the history of the strain, and that do not."""
ACCURACY = 0.95
"""Least sign accuracy of the flip-flop."""
NEAR_CHANCE = 0.1
"""Largest distance of a sign accuracy from 1/2 that counts as chance."""
SPIKES = (0.01, 0.5)
"""Least and largest share of steps with a spike."""
ERROR = 0.03
"""Bound of the relative error of Ramberg-Osgood."""
RATIO, WITHOUT_HISTORY = 2.0, 0.05
"""Least ratio of errors without and with recurrence where it matters; largest error without it where it does not."""


def _judge(task: str, column: str, what: str, holds: Callable[[pd.Series], pd.Series]) -> Callable[[Evidence], Answer]:
    """Whether a column of `networks.csv` is as stated in the spiking standards of a task, solved or not."""

    def judge(evidence: Evidence) -> Answer:
        rows = of_role(evidence.table, STANDARD)
        rows = rows[(rows["task"] == task) & (rows["architecture"] == ARCHITECTURE)]
        if len(rows) and column not in rows:
            return f"no `{column}` in this grid: add `analysis.spikes`", NO_ANSWER
        values = rows[column].dropna().astype(float) if column in rows else pd.Series(dtype=float)
        if len(values) < LEAST_STANDARDS:
            return f"{len(values)} spiking standards of {task} in this grid, {LEAST_STANDARDS} needed", NO_ANSWER
        right = int(holds(values).sum())
        found = f"{what} {values.median():.3f} ({values.min():.3f} to {values.max():.3f}); {right} of {len(values)}"
        share = right / len(values)
        return found, by_share(share)

    return judge


def _errors(evidence: Evidence, regime: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Relative errors in a regime of spiking networks with recurrence, the standards, and without it, the controls."""
    if "performance" not in evidence.analyses or regime not in evidence.analyses["performance"]["regime"]:
        return None
    scores = evidence.analyses["performance"]["score"].sel(regime=regime)
    found = []
    for role in (STANDARD, CONTROL):
        rows = of_role(evidence.table, role)
        labels = network_labels(rows[rows["architecture"] == ARCHITECTURE])
        found.append(scores.sel(network=labels).values)
    return (found[0], found[1]) if min(map(len, found)) >= LEAST_STANDARDS else None


_FEW: Answer = (f"fewer than {LEAST_STANDARDS} spiking networks with and without recurrence in this grid", NO_ANSWER)


def _text(errors: np.ndarray) -> str:
    return f"{np.median(errors):.3f} ({errors.min():.3f} to {errors.max():.3f})"


def history_by_recurrence(evidence: Evidence) -> Answer:
    """Without recurrence, errors after the turn are larger."""
    if (errors := _errors(evidence, "unloading")) is None:
        return _FEW
    with_it, without = errors
    ratio = float(np.median(without) / np.median(with_it))
    found = (
        f"relative error after the turn {_text(with_it)} with recurrence, {_text(without)} without: {ratio:.1f} times"
    )
    if ratio >= RATIO:
        return found, REPRODUCED
    return found, PARTLY if without.min() > with_it.max() else NOT


def no_history_without_it(evidence: Evidence) -> Answer:
    """Without recurrence, elasticity is learned, too."""
    if (errors := _errors(evidence, "test")) is None:
        return _FEW
    with_it, without = errors
    ratio = float(np.median(without) / np.median(with_it))
    found = f"relative error {_text(with_it)} with recurrence, {_text(without)} without: {ratio:.1f} times"
    if np.median(without) <= WITHOUT_HISTORY:
        return found, REPRODUCED
    return found, PARTLY if ratio < RATIO else NOT


_MOST = f"in {100 * MOST:.0f} % of spiking standards, solved or not; partly: in half"
_STANDARDS, _BOTH = "spiking standards", "networks with recurrence and without"

CLAIMS = Publication(
    citation="Henkes et al. (2024)",
    source="R. Soc. Open Sci. 11:231606",
    claims=(
        Claim(
            id="regression",
            text="Spiking networks regress stress on strain",
            criterion=f"Ramberg-Osgood: the relative error is below {ERROR:g} {_MOST}",
            judge=_judge(REGRESSION, "score", "relative error", lambda values: values < ERROR),
            unsolved=_STANDARDS,
            over="grid",
        ),
        Claim(
            id="history_by_recurrence",
            text="What depends on the history of the strain takes recurrence",
            criterion=(
                "isotropic hardening: the median relative error after the turn of networks without recurrence "
                f"(controls) is at least {RATIO:g} times that of standards; partly: all are above all"
            ),
            judge=history_by_recurrence,
            unsolved=_BOTH,
            reads=("performance",),
            tasks=(PLASTIC,),
        ),
        Claim(
            id="no_history_without_it",
            text="What does not depend on the history takes none",
            criterion=(
                "elasticity: the median relative error of networks without recurrence (controls) is at most "
                f"{WITHOUT_HISTORY:g}; partly: it is below {RATIO:g} times that of standards"
            ),
            judge=no_history_without_it,
            unsolved=_BOTH,
            reads=("performance",),
            tasks=(ELASTIC,),
        ),
        Claim(
            id="memory",
            text="Spiking networks hold a bit",
            criterion=f"flip-flop of one bit: the sign accuracy is at least {ACCURACY:g} {_MOST}",
            judge=_judge(MEMORY, "score", "sign accuracy", lambda values: values >= ACCURACY),
            unsolved=_STANDARDS,
            over="grid",
        ),
        Claim(
            id="memory_by_recurrence",
            text="The bit is held by the recurrent weights",
            criterion=(
                "flip-flop of one bit: with the recurrent weights in a random order, the sign accuracy, mean of all "
                f"draws, is within {NEAR_CHANCE:g} of 1/2 {_MOST}"
            ),
            judge=_judge(
                MEMORY,
                "shuffled_score",
                "sign accuracy with shuffled weights",
                lambda values: (values - 0.5).abs() <= NEAR_CHANCE,
            ),
            unsolved=_STANDARDS,
            over="grid",
        ),
        Claim(
            id="spikes",
            text="Units are neither silent nor always active",
            criterion=f"flip-flop of one bit: {SPIKES[0]:g} to {SPIKES[1]:g} of all steps have a spike {_MOST}",
            judge=_judge(MEMORY, "spike_share", "share of steps with a spike", lambda values: values.between(*SPIKES)),
            unsolved=_STANDARDS,
            over="grid",
        ),
    ),
)
"""The statements: on regression first, as in the publication, then on memory."""
