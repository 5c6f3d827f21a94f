"""The statements of Qian & Pehlevan on how well alternatives do, in distribution and on harder trials.

Criteria are ours. Those of `wins_somewhere` and `nearly_equal` were fixed before any number was looked at
(docs/analyses/hard_cells.md).
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

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
    by_share,
    interval_text,
)
from insd.cohorts import matched, round_name
from insd.tables.comparisons import IN_WORDS, WITHOUT_INTERVAL
from insd.tables.existence import existence, winning


def nearly_equal(evidence: Evidence) -> Answer:
    """Alternatives are matched with the standards in distribution."""
    rows = evidence.alternatives
    if rows.empty or evidence.standards.empty:
        return TOO_FEW
    level = matched(rows)
    found = (
        f"{level.sum()} of {len(rows)} matched; loss above the median of the standards "
        f"{rows['excess_loss'].median():.4f} ({rows['excess_loss'].min():.4f} to {rows['excess_loss'].max():.4f})"
    )
    share = level.mean()
    return found, by_share(share)


def wins_somewhere(round_number: int) -> Callable[[Evidence], Answer]:
    """In some hard cell the alternative of a chain is better than nearly all standards, and it is matched.

    All chains of the round count, also those whose network does not solve the task (`insd.tables.existence`). Controls
    with the same references are counted, too, and do not change the verdict.
    """

    def answer(evidence: Evidence) -> Answer:
        rows = evidence.alternatives
        rows, standards = rows[rows["round"] == round_number], evidence.standards
        shown = existence(rows)
        if shown.verdict == NO_ANSWER:
            return "no hard cells in this grid", NO_ANSWER
        tested = standards[standards["hard_cells"] > 0]
        found = (
            f"wins in at least one of {shown.cells} cells in {shown.winning} of {shown.chains} chains, "
            f"matched in {shown.matched}, both in {shown.both}; beats 90 % of standards in "
            f"{100 * rows['hard_cells_beaten'].mean():.0f} % of cells; standards, each against the others: "
            f"{100 * tested['hard_cells_beaten'].mean():.0f} % of cells, {winning(tested).sum()} "
            f"of {len(tested)} win"
        )
        for (population, number), controls in evidence.controls.groupby(["population", "round"], sort=False):
            of_controls = existence(controls)
            which = f"{population} {number}" if int(str(number)) > 1 else population
            found += f"; control {which}: {of_controls.winning} of {of_controls.chains} win, both in {of_controls.both}"
        return found, shown.verdict

    return answer


def not_better_in_distribution(evidence: Evidence) -> Answer:
    """In distribution, alternatives do as well as standards or worse."""
    rows = _scores(evidence.comparisons)
    return _answer(rows[(rows["measure"] == "regime") & (rows["level"] == "test")], lambda verdict: verdict != "better")


def better_when_hard(round_number: int, regime: str, longer: bool) -> Callable[[Evidence], Answer]:
    """Alternatives of a round do better where input noise is high and, if `longer`, trials are long.

    `regime` is the task's own with the same changes; points of the grid of noise and duration are those beyond the
    first level of noise and beyond (`longer`) or at the first duration.
    """

    def answer(evidence: Evidence) -> Answer:
        rows = _scores(evidence.comparisons)
        rows = rows[rows["round"] == round_number]
        named = rows[(rows["measure"] == "regime") & (rows["level"] == regime)]
        if named.empty or named["verdict"].iloc[0] in WITHOUT_INTERVAL:
            return _unanswered(named)
        grid = _harder(rows[rows["measure"] == "grid"], longer)
        one = named.iloc[0]
        found = (
            f"{regime}: {_difference(one.to_dict())}, {IN_WORDS[one['verdict']]}; points of the grid: {_count(grid)}; "
            f"{one['matched_alternatives']:.0f} of {one['n_alternatives']:.0f} matched in distribution"
        )
        better, worse = ((grid["verdict"] == word).sum() for word in ("better", "worse"))
        if one["verdict"] == "worse":
            return found, NOT
        return found, (NOT, PARTLY, REPRODUCED)[int(one["verdict"] == "better") + int(better > worse)]

    return answer


def poor_everywhere(round_number: int) -> Callable[[Evidence], Answer]:
    """Alternatives of a round do worse in every regime."""

    def answer(evidence: Evidence) -> Answer:
        rows = _scores(evidence.comparisons)
        rows = rows[rows["round"] == round_number]
        regimes, grid = rows[rows["measure"] == "regime"], rows[rows["measure"] == "grid"]
        if regimes.empty or regimes["verdict"].isin(WITHOUT_INTERVAL).all():
            return _unanswered(regimes)
        each = "; ".join(f"{row['level']}: {_difference(row)}" for row in regimes.to_dict("records"))
        found = f"{each}; regimes: {_count(regimes)}; points of the grid: {_count(grid)}"
        if (regimes["verdict"] == "worse").all() and (grid["verdict"] != "better").all():
            return found, REPRODUCED
        return found, PARTLY if (regimes["verdict"] == "worse").mean() >= 0.5 else NOT

    return answer


def _scores(comparisons: pd.DataFrame) -> pd.DataFrame:
    if comparisons.empty:
        return pd.DataFrame(columns=["measure", "quantity", "level", "duration", "round", "verdict"])
    return comparisons[comparisons["quantity"] == "score"]


def _harder(grid: pd.DataFrame, longer: bool) -> pd.DataFrame:
    """Points of the grid beyond the first level of noise, and beyond or at the first duration."""
    if grid.empty:
        return grid
    noise, duration = grid["level"].iloc[0], grid["duration"].iloc[0]
    same_duration = grid["duration"] == duration
    return grid[(grid["level"] != noise) & (~same_duration if longer else same_duration)]


def _answer(rows: pd.DataFrame, holds: Callable[[str], bool]) -> Answer:
    """What rows of comparisons say round by round, and whether a statement on their verdicts holds in all of them."""
    known = ~rows["verdict"].isin(WITHOUT_INTERVAL)
    if not known.any():
        return _unanswered(rows)
    rows = rows[known]
    found = "; ".join(
        f"{round_name(int(row['round']))}: {_difference(row)}, {IN_WORDS[row['verdict']]}"
        for row in rows.to_dict("records")
    )
    return found, by_share(float(np.mean([holds(verdict) for verdict in rows["verdict"]])), most=1.0)


def _unanswered(rows: pd.DataFrame) -> Answer:
    """Why rows of comparisons, none of which has an interval, give no answer."""
    reasons = dict.fromkeys(rows["verdict"])
    if set(reasons) <= {"too few"}:
        return TOO_FEW
    conditions = ", ".join(dict.fromkeys(rows["level"]))
    return f"{conditions}: {', '.join(IN_WORDS[reason] for reason in reasons)}", NO_ANSWER


def _count(rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    found = [f"{text} at {counts[word]}" for word, text in IN_WORDS.items() if word in counts]
    return f"{', '.join(found) or 'none'} of {len(rows)}"


def _difference(row: Mapping[Hashable, Any]) -> str:
    if row["verdict"] in WITHOUT_INTERVAL:
        return IN_WORDS[row["verdict"]]
    return interval_text((row["difference"], row["low"], row["high"]), 3)


_BETTER = (
    "reproduced: better in the regime, and at more points of the grid than it is worse at; partly: one of the two, and "
    "not worse in the regime. Better and worse: the interval of the difference to the standards excludes 0"
)
_EXISTS = (
    "an alternative wins in a hard cell where its score is better than that of the standard at the 90th percentile "
    "and its errors are smaller on the same trials (signed-rank test, p < 0.01 after Holm over cells). Reproduced: in "
    "half of the chains it wins in at least one cell and is matched in distribution (loss at most 0.01, and score at "
    "most one point worse than the median of the standards); partly: wins in half of them, or both in fewer"
)
REGIMES = (
    Claim(
        id="not_better_in_distribution",
        text="In distribution, alternatives do as well as standards or worse",
        criterion="reproduced: no round is better in the regime test; partly: half of the rounds",
        judge=not_better_in_distribution,
        reads=("comparisons",),
        tasks=("context_integration", "memory_pro"),
    ),
    Claim(
        id="alt_2_better_when_noisy_and_long",
        text="alt-2 does better with high noise and longer trials",
        criterion=_BETTER,
        judge=better_when_hard(2, "noisy_long", longer=True),
        reads=("comparisons",),
        tasks=("context_integration",),
    ),
    Claim(
        id="alt_2_better_when_noisy",
        text="alt-2 does better with high noise",
        criterion=_BETTER,
        judge=better_when_hard(2, "noisy", longer=False),
        reads=("comparisons",),
        tasks=("flip_flop",),
    ),
    Claim(
        id="alt_1_better_when_noisy_and_loaded",
        text="alt-1 does better with high noise and high load",
        criterion=_BETTER,
        judge=better_when_hard(1, "noisy_long", longer=True),
        reads=("comparisons",),
        tasks=("memory_pro",),
    ),
    Claim(
        id="alt_2_poor_everywhere",
        text="alt-2 is poor everywhere",
        criterion="reproduced: worse in every regime, and better at no point of the grid; partly: worse in half of "
        "the regimes",
        judge=poor_everywhere(2),
        reads=("comparisons",),
        tasks=("memory_pro",),
    ),
    Claim(
        id="nearly_equal_in_distribution",
        text="In distribution, alternatives of the flip-flop do nearly as well as standards",
        criterion=f"alternatives, solved or not, that are matched: test loss at most 0.01 above the median of the "
        f"solved standards, score at most one point worse. Reproduced: {100 * MOST:.0f} % of them; partly: half",
        judge=nearly_equal,
        unsolved="alternatives",
        tasks=("flip_flop",),
    ),
    *(
        Claim(
            id=f"alt_{number}_wins_in_some_hard_cell",
            text=f"There are hard trials on which alt-{number} does better than nearly all standards",
            criterion=_EXISTS,
            judge=wins_somewhere(number),
            unsolved="alternatives",
        )
        for number in (1, 2)
    ),
)
"""The statements, in the order of the paper's argument."""
