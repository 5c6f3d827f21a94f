"""Statements on walks at constant loss (Hessian null-space continuation, HNC), in our words; criteria are ours.

Source: arXiv 2609.38081. Criteria were fixed before any network of the study `generators` was trained; flat shares of a
few networks were known from a first look (docs/analyses/curvature.md). That of further training was fixed before any
network was trained further, and that of the ceiling before any excursion of a trained network was looked at.

They are judged for every population with alternatives, so that walks and penalties stand side by side.
"""

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
    Publication,
    by_share,
)
from insd.cohorts import CONTROL, of_references, of_role, solved

ACCURATE, LOW_LOSS = 0.999, 0.01
"""The accuracy that their walks were above, and the loss that they were below."""
DRIFTING = 0.5
"""Share of autonomous runs that end on slow states from which on there are drifting regions (ours)."""
FLAT = 0.9
"""Share of directions with at most 1e-4 of the largest eigenvalue: 89.9 % in their networks."""
BACK = 0.5
"""Share of the way back to its reference that a network which is pulled back has gone (ours)."""


def other_points(evidence: Evidence) -> Answer:
    """Alternatives that solve the task as well have another number of stable points than their references."""
    rows = _as_good(evidence)
    if rows.empty:
        return _none_as_good(evidence)
    changed = rows["n_stable_fixed_points"] != rows["points_before"]
    found = (
        f"{_count(evidence, rows)}; stable points {rows['n_stable_fixed_points'].median():.0f}, before "
        f"{rows['points_before'].median():.0f}, in the median; another number in {changed.sum()} of {len(rows)}"
    )
    return found, by_share(float(changed.mean()))


def points_dissolve(evidence: Evidence) -> Answer:
    """In alternatives that solve the task as well, stable points are gone, and runs drift."""
    rows = _as_good(evidence).dropna(subset=["runs_drifting"])
    rows = rows[rows["points_before"] > 0]
    if rows.empty:
        return _none_as_good(evidence)
    gone = rows["n_stable_fixed_points"] == 0
    drifting = gone & (rows["runs_drifting"] >= DRIFTING)
    found = (
        f"{_count(evidence, rows)}; no stable point in {gone.sum()} of {len(rows)}, and runs drift in "
        f"{drifting.sum()} of these; share of runs that drift {rows['runs_drifting'].median():.2f} in the median"
    )
    if drifting.mean() >= MOST:
        return found, REPRODUCED
    return found, PARTLY if gone.mean() >= 0.5 else NOT


def flat_directions(evidence: Evidence) -> Answer:
    """At standards and at alternatives, most directions hardly change the loss."""
    if "flat_share" not in evidence.table:
        return "no curvature in this grid", NO_ANSWER
    found, shares = [], []
    for name, group in (("standards", evidence.standards), ("alternatives", solved(evidence.alternatives))):
        rows = group[group["flat_share"].notna()]
        if rows.empty:
            return TOO_FEW
        shares.append(float((rows["flat_share"] >= FLAT).mean()))
        found.append(
            f"{name}: {100 * rows['flat_share'].median():.1f} % flat, at least {100 * rows['flat_share'].min():.1f} %; "
            f"curved directions {rows['curved_directions'].median():.1f}, largest eigenvalue "
            f"{rows['top_eigenvalue'].median():.1f}"
        )
    return (
        f"{'. '.join(found)}. Theirs: 89.9 %, 23.2 and 10.8",
        REPRODUCED if min(shares) >= MOST else PARTLY if max(shares) >= MOST else NOT,
    )


def stays(evidence: Evidence) -> Answer:
    """Alternatives that solve the task as well, and are trained further on it alone, do not go back."""
    if "r2_null_to_itself_after" not in evidence.table:
        return "no further training in this grid", NO_ANSWER
    rows = _with_reference(evidence, "r2_null_to_itself_after", "drift")
    before, after = rows["r2_null_to_reference"], rows["r2_null_to_reference_after"]
    # Nearer than the reference stays to itself, there is no way back.
    rows = rows[(before < rows["drift"]) & after.notna()]
    if rows.empty:
        return f"{_none_as_good(evidence)[0]}, and away from their references", NO_ANSWER
    before, after = rows["r2_null_to_reference"], rows["r2_null_to_reference_after"]
    back = (after - before) / (rows["drift"] - before) >= BACK
    found = (
        f"{_count(evidence, rows)}, and away from their references; r2 to these {before.median():.2f}, after it "
        f"{after.median():.2f}, and to themselves {rows['r2_null_to_itself_after'].median():.2f}; references to "
        f"themselves {rows['drift'].median():.2f}; all in the median. Pulled back: {back.sum()} of {len(rows)}. "
        f"Loss {rows['test_loss'].median():.2g}, after it {rows['test_loss_after'].median():.2g}"
    )
    points = rows[["n_stable_fixed_points", "n_stable_fixed_points_after"]].median()
    # Fixed points before are of an analysis that may leave out populations.
    if points.notna().all():
        found += f"; stable points {points.iloc[0]:.0f}, after it {points.iloc[1]:.0f}"
    return found, by_share(float(1 - back.mean()))


def crosses(evidence: Evidence) -> Answer:
    """On the way to alternatives that are solved, the loss rises above its ceiling with a penalty, not on a walk."""
    if "excursion" not in evidence.table:
        return "no histories in this grid", NO_ANSWER
    made = solved(evidence.alternatives)
    rows = made.dropna(subset=["excursion"])
    count = f"{len(rows)} of {len(made)} solved alternatives were at or below their ceiling on the way"
    if rows.empty:
        return count, NO_ANSWER
    above = rows["excursion"] > rows["ceiling"]
    found = (
        f"{count}; above it after that: {above.sum()} of {len(rows)}; largest loss since: median "
        f"{rows['excursion'].median():.2g}, at most {rows['excursion'].max():.2g}; ceiling "
        f"{rows['ceiling'].median():.2g}"
    )
    walks = rows["excursion_tried"].notna()
    if walks.all():
        tried = rows["excursion_tried"] > rows["ceiling"]
        found += (
            f"; with steps that were restored or taken back: {tried.sum()} of {len(rows)}, at most "
            f"{rows['excursion_tried'].max():.2g}"
        )
        return found, NOT if above.any() else REPRODUCED if 1 - tried.mean() >= MOST else PARTLY
    controls = solved(of_role(evidence.table, CONTROL)).dropna(subset=["excursion"])
    # Those of other kinds have a penalty, or walk.
    controls = controls[controls["term"].isna() & controls["excursion_tried"].isna()]
    too = controls["excursion"] > controls["ceiling"]
    found += f"; of controls: {too.sum()} of {len(controls)}"
    if above.mean() < 0.5:
        return found, NOT
    return found, REPRODUCED if above.mean() >= MOST and len(too) and too.mean() < 0.5 else PARTLY


def _as_good(evidence: Evidence) -> pd.DataFrame:
    """The alternatives within their bounds on accuracy and loss, with the stable points of their references."""
    rows = _with_reference(evidence, "n_stable_fixed_points", "points_before")
    return rows.dropna(subset=["n_stable_fixed_points", "points_before"])


def _with_reference(evidence: Evidence, column: str, name: str) -> pd.DataFrame:
    """The alternatives within their bounds on accuracy and loss, with a column of their references by another name.

    Where the score is no accuracy, the loss alone counts.
    """
    rows = evidence.alternatives
    rows = rows.assign(**{name: of_references(evidence.table, rows, column)})
    rows = rows[rows["test_loss"] < LOW_LOSS]
    return rows[rows["score"] > ACCURATE] if _is_accuracy(evidence) else rows


def _is_accuracy(evidence: Evidence) -> bool:
    """Whether the score of the task can be an accuracy; errors of angles, which are better the smaller, are not."""
    return bool((evidence.table["score"].astype(float).dropna() <= 1).all())


def _none_as_good(evidence: Evidence) -> Answer:
    return f"0 of {len(evidence.alternatives)} to compare {_bounds(evidence)}", NO_ANSWER


def _count(evidence: Evidence, rows: pd.DataFrame) -> str:
    return f"{len(rows)} of {len(evidence.alternatives)} {_bounds(evidence)}"


def _bounds(evidence: Evidence) -> str:
    """The bounds on accuracy and loss in words."""
    if _is_accuracy(evidence):
        return f"above {ACCURATE:g} accuracy and below a loss of {LOW_LOSS:g}"
    return f"below a loss of {LOW_LOSS:g}; the score of this task is no accuracy"


_AS_GOOD = (
    f"alternatives with an accuracy above {ACCURATE:g} (where the score is an accuracy) and a loss below "
    f"{LOW_LOSS:g} on the regime test"
)
CLAIMS = Publication(
    citation="HNC (2026)",
    source="arXiv 2609.38081",
    claims=(
        Claim(
            id="fixed_points_change_at_the_same_accuracy",
            text="At the same accuracy, networks away from their anchor have another number of fixed points",
            criterion=f"{_AS_GOOD}, against their references: numbers of stable fixed points. Reproduced: different in "
            f"{100 * MOST:.0f} % of them; partly: in half",
            judge=other_points,
        ),
        Claim(
            id="fixed_points_dissolve_into_drift",
            text="At the same accuracy, stable points dissolve into drifting regions",
            criterion=f"{_AS_GOOD}, whose references have stable points. Reproduced: {100 * MOST:.0f} % have none, and "
            f"{100 * DRIFTING:.0f} % of their autonomous runs end slowly drifting; partly: half have none",
            judge=points_dissolve,
        ),
        Claim(
            id="most_directions_are_flat",
            text="Most directions in the weights hardly change the loss, at solutions of either kind",
            criterion="share of the Gauss-Newton matrix's eigenvalues that are at most 1e-4 of the largest. "
            f"Reproduced: at least {100 * FLAT:.0f} % in {100 * MOST:.0f} % of solved standards and of solved "
            "alternatives; partly: of one of the two. It depends on the number of trials, and G has at most as many "
            "curved directions as these have scored outputs",
            judge=flat_directions,
        ),
        Claim(
            id="further_training_does_not_bring_back",
            text="Further training on the task alone does not pull networks back",
            criterion=f"{_AS_GOOD}, whose null-space r2 to their references is below that of the references to "
            f"themselves after the same further training. Pulled back: it has gone {100 * BACK:.0f} % of the way to "
            f"the latter. Reproduced: {100 * MOST:.0f} % are not; partly: half are not. Theirs are 8,000 iterations",
            judge=stays,
        ),
        Claim(
            id="penalties_cross_the_ceiling_and_walks_do_not",
            text="On the way to another solution, penalties raise the loss above a ceiling, and walks do not",
            criterion="largest held-out loss on the way since it was first at or below the ceiling (`excursion` and "
            "`ceiling` in networks.csv) of solved alternatives that ever were. Walks, reproduced: no step that was "
            f"kept is above it, which they are built for, and in {100 * MOST:.0f} % none that was restored or taken "
            f"back either; partly: none that was kept. Penalties, reproduced: {100 * MOST:.0f} % are above it later, "
            "and less than half of the task's solved controls are, which are trained without a penalty; partly: half "
            "are, whatever controls do. Training is seen at its evaluations alone. Theirs begin at a trained anchor, "
            "and penalties here at random weights",
            judge=crosses,
        ),
    ),
    tasks=("flip_flop",),
)
"""The statements, in the order of the paper's argument."""
