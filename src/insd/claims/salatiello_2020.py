"""Statements on networks that learn from few recorded units of a teacher, in our words, with criteria that are ours.

Source: Salatiello & Giese (2020), "Recurrent neural network learning of performance and intrinsic population dynamics
from sparse neural data". The publication has no alternatives: teachers that are alternatives, and the statements on
standards, are ours. Criteria were fixed before any network of the study `sparse` was trained; that of `generalisation`
later, before any of its losses but those of the regime `test` was looked at.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from insd.claims.base import (
    MOST,
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    Answer,
    Claim,
    Evidence,
    Publication,
    by_majority,
    interval_text,
)
from insd.cohorts import ALTERNATIVE, REFERENCE, STANDARD
from insd.tables.teachers import R2, paired, students

HALF = 0.5
"""The share of units at which r2 is compared with that of students that learn from the outputs alone."""
FEW = (0.125, 0.25)
"""The shares at which r2 to units that were not recorded is."""
RISES, FLAT = 0.3, 0.02
"""Least rise of r2 towards alternatives, and bound of its change towards standards."""
LEAST = 3
"""With fewer teachers there is no verdict."""
_DIRECTIONS = dict(zip(R2, ("student → teacher", "teacher → student"), strict=True))


def _taught(evidence: Evidence, alternative: bool) -> pd.DataFrame:
    """The students of the population's alternatives; or those of standards and references."""
    if "teacher" not in evidence.analyses:
        return pd.DataFrame()
    rows = students(evidence.table, evidence.analyses["teacher"])
    if alternative:
        return rows[(rows["teacher_role"] == ALTERNATIVE) & (rows["teacher_population"] == evidence.population)]
    return rows[rows["teacher_role"].isin([STANDARD, REFERENCE])]


def _few(count: int) -> Answer:
    return f"{count} teachers with students that solve the task at both shares in this grid, {LEAST} needed", NO_ANSWER


def _at_half(evidence: Evidence, alternative: bool, holds: Callable[[float], bool]) -> Answer:
    """r2 at half of the units minus that at none, by direction, and whether it is as stated in both or in one."""
    rows = _taught(evidence, alternative)
    by_teacher = {name: paired(rows, name, HALF) if len(rows) else pd.Series(dtype=float) for name in R2}
    count = min(map(len, by_teacher.values()))
    if count < LEAST:
        return _few(count)
    # Over teachers: those of one chain have its seed, and one round each.
    found = {name: evidence.mean(values) for name, values in by_teacher.items()}
    said = ", ".join(f"{_DIRECTIONS[name]} {interval_text(values, 3)}" for name, values in found.items())
    held = [holds(values[0]) for values in found.values()]
    verdict = REPRODUCED if all(held) else PARTLY if any(held) else NOT
    return f"null-space r² at half of the units minus at none: {said}; {count} teachers", verdict


def alternatives_reproduced(evidence: Evidence) -> Answer:
    """r2 to alternatives rises with the share, in both directions."""
    return _at_half(evidence, alternative=True, holds=lambda rise: rise >= RISES)


def standards_flat(evidence: Evidence) -> Answer:
    """r2 to standards does not change, in either direction."""
    return _at_half(evidence, alternative=False, holds=lambda change: abs(change) < FLAT)


def unrecorded_units(evidence: Evidence) -> Answer:
    """Units that were not recorded are predicted better than by students of the outputs alone."""
    rows = _taught(evidence, alternative=True)
    said, above, counts = [], [], []
    for share in FEW:
        chosen = rows[rows["solved"] & (rows["share"] == share)] if len(rows) else rows
        by_teacher = (
            (chosen["r2_to_unrecorded"] - chosen["r2_output_only"]).groupby(chosen["teacher"]).mean().dropna()
            if len(chosen)
            else pd.Series(dtype=float)
        )
        counts.append(len(by_teacher))
        if len(by_teacher) >= LEAST:
            difference = evidence.mean(by_teacher)
            above.append(difference[1] > 0)
            said.append(f"q = {share:g}: {interval_text(difference, 3)}")
    if len(above) < len(FEW):
        return _few(min(counts))
    found = f"r² to these units minus that of output-only students: {'; '.join(said)}; {min(counts)} teachers"
    return found, REPRODUCED if all(above) else PARTLY if any(above) else NOT


def same_attractors(evidence: Evidence) -> Answer:
    """Students of half of the units have as many stable points as their teachers."""
    rows = _taught(evidence, alternative=True)
    if len(rows):
        rows = rows[rows["solved"] & (rows["share"] == HALF)].dropna(
            subset=["stable_points", "stable_points_of_teacher"]
        )
    if len(rows) < LEAST:
        return _few(len(rows))
    own, of_teacher = rows["stable_points"], rows["stable_points_of_teacher"]
    same = int((own == of_teacher).sum())
    pairs = ", ".join(f"{one:.0f} of {other:.0f}" for one, other in zip(own, of_teacher, strict=True))
    verdict = by_majority(same / len(rows))
    return f"as many in {same} of {len(rows)} (stable points of student and of teacher: {pairs})", verdict


def generalisation(evidence: Evidence) -> Answer:
    """Students of half of the units have a lower loss in harder regimes than students of the outputs alone."""
    if "performance" not in evidence.analyses:
        return "no losses in harder regimes in this grid", NO_ANSWER
    losses = evidence.analyses["performance"]["loss"]
    harder = [name for name in losses["regime"].values if name != "test"]
    said, below, counts = [], [], []
    for name, alternative in (("alternatives", True), ("standards and references", False)):
        rows = _taught(evidence, alternative)
        by_teacher = pd.Series(dtype=float)
        if harder and len(rows):
            of_students = losses.sel(regime=harder).reindex(network=rows.index).transpose("network", "regime")
            rows = rows.assign(logarithm=np.log(of_students.values).mean(1))
            by_teacher = paired(rows, "logarithm", HALF)
        counts.append(len(by_teacher))
        if len(by_teacher) >= LEAST:
            difference = evidence.mean(by_teacher)
            below.append(difference[2] < 0)
            ratio, low, high = np.exp(difference)
            said.append(f"students of {name} {ratio:.2f} ({low:.2f} to {high:.2f}; {len(by_teacher)} teachers)")
    if len(below) < len(counts):
        return _few(min(counts))
    found = f"loss in harder regimes over that of students of none, geometric means: {'; '.join(said)}"
    return found, REPRODUCED if all(below) else PARTLY if any(below) else NOT


_BOTH = "null-space r² of students of half of the units minus that of students of none, means over teachers,"
_NONE = f"No answer with fewer than {LEAST} teachers"

CLAIMS = Publication(
    citation="Salatiello & Giese (2020)",
    source="Salatiello & Giese (2020), RNN learning of performance and intrinsic population dynamics",
    claims=(
        Claim(
            id="alternatives_reproduced",
            text="Students reproduce the dynamics of alternatives, the more units they learn from",
            criterion=(
                f"{_BOTH} is at least {RISES:g} towards alternatives, student → teacher and teacher → student. Partly: "
                f"in one direction. {_NONE}"
            ),
            judge=alternatives_reproduced,
            reads=("teacher",),
            intervals=2,
        ),
        Claim(
            id="standards_flat",
            text="Towards standards there is nothing to learn but the task",
            criterion=(
                f"{_BOTH} is below {FLAT:g} in size for standards and references as teachers, in both directions. "
                f"Partly: in one direction. {_NONE}"
            ),
            judge=standards_flat,
            reads=("teacher",),
            intervals=2,
        ),
        Claim(
            id="unrecorded_units",
            text="A small sample of units is enough to reproduce units that were not recorded",
            criterion=(
                "r² of all rates, student → units of an alternative that were not recorded, minus that of students of "
                "the outputs alone to the same units: the interval excludes 0 from above at q = 1/8 and at q = 1/4. "
                f"Partly: at one of them. {_NONE}"
            ),
            judge=unrecorded_units,
            reads=("teacher",),
            intervals=2,
        ),
        Claim(
            id="same_attractors",
            text="Students of half of the units of an alternative have as many stable points as it has",
            criterion=(
                f"the same number, over all static inputs, in at least {100 * MOST:g} % of students; partly: in more "
                f"than half. {_NONE}"
            ),
            judge=same_attractors,
            reads=("teacher",),
        ),
        Claim(
            id="generalisation",
            text="Students that learn from a teacher's units generalise better than those of its outputs alone",
            criterion=(
                "mean over the regimes harder than `test` of the logarithm of the loss, of students of half of the "
                "units minus that of students of none, means over teachers: the interval is below 0 for alternatives "
                f"as teachers, and for standards and references. Partly: for one of them. {_NONE}"
            ),
            judge=generalisation,
            reads=("teacher", "performance"),
            intervals=2,
        ),
    ),
)
"""The statements."""
