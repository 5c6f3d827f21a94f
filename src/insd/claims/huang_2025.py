"""Statements on how much independently trained networks differ, in our words, with criteria that are ours.

Source: arXiv 2410.03972, "Measuring and controlling solution degeneracy across task-trained recurrent neural networks".
Criteria were fixed before any network of the study `degeneracy` was trained.

A factor is a setting of networks or a parameter of tasks that varies alone (`insd.tables.degeneracy`). A comparison is
of its highest level with its lowest, on one task or, for a parameter of tasks, between tasks of one class.
"""

from math import comb

import pandas as pd

from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, Answer, Claim, Evidence, Publication

CHANCE = 0.05
"""Largest probability of the sign test for a statement to be reproduced (ours): all of five, or seven of eight."""
LEAST = 3
"""With fewer comparisons there is no verdict (ours)."""
FACTORS = {
    "complexity": ("tasks are more complex", {"dynamics": -1, "behaviour": -1, "weights": 1}),
    "feature_learning": ("features are learned more (gamma)", {"dynamics": -1, "weights": 1, "behaviour": 1}),
    "width": ("they are wider, at the same gamma", {"dynamics": -1, "behaviour": -1, "weights": -1}),
    "nuclear_norm": (
        "the nuclear norm of recurrent weights is penalised more",
        {"dynamics": -1, "behaviour": -1, "weights": -1},
    ),
    "l1_norm": ("the L1 norm of recurrent weights is penalised more", {"dynamics": -1, "behaviour": -1, "weights": -1}),
}
"""By factor, what a higher level of it is, and in which direction the degeneracy of each level goes by the paper."""


def chance(right: int, of: int) -> float:
    """Probability of at least as many right signs by chance: the one-sided sign test."""
    return sum(comb(of, count) for count in range(right, of + 1)) / 2**of


def verdict(rows: pd.DataFrame, sign: int) -> Answer:
    """By a row of `degeneracy_ratios.csv`, or none."""
    if not len(rows) or rows["comparisons"].iloc[0] < LEAST:
        count = int(rows["comparisons"].iloc[0]) if len(rows) else 0
        some = f"{count or 'no'} comparison{'' if count == 1 else 's'}"
        return f"{some} at matched loss in this grid, {LEAST} needed", NO_ANSWER
    row = rows.iloc[0]
    count, right = int(row["comparisons"]), int(row["higher"] if sign > 0 else row["lower"])
    by_chance = chance(right, count)
    found = (
        f"{'higher' if sign > 0 else 'lower'} in {right} of {count} comparisons at matched loss (sign test p = "
        f"{by_chance:.3f}; {int(row['unmatched'])} more not matched), in the geometric mean "
        f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f}) times"
    )
    if by_chance < CHANCE:
        return found, REPRODUCED
    clear = row["ratio_low"] > 1 if sign > 0 else row["ratio_high"] < 1
    return found, PARTLY if clear else NOT


def _judge(factor: str, level: str, sign: int, evidence: Evidence) -> Answer:
    rows = evidence.tables["degeneracy_ratios"]
    return verdict(rows[(rows["factor"] == factor) & (rows["level"] == level)], sign)


def _claim(factor: str, level: str, sign: int, why: str) -> Claim:
    way = "more" if sign > 0 else "less"
    return Claim(
        id=f"{factor}_{level}",
        text=f"Networks differ {way} in {level} where {why}",
        criterion=(
            f"degeneracy of {level} at the highest level of the factor over that at the lowest, on each task or, for "
            "complexity, for each class of tasks and parameter that varies alone, among comparisons whose median "
            f"losses are matched. Reproduced: {'above' if sign > 0 else 'below'} 1 in so many that the one-sided sign "
            f"test gives p < {CHANCE:g}, such as all of five; partly: the geometric mean is, with an interval of "
            f"resampled networks that excludes 1. No answer with fewer than {LEAST} comparisons"
        ),
        judge=lambda evidence: _judge(factor, level, sign, evidence),
        reads=("degeneracy_ratios",),
        over="grid",
        intervals=1,
    )


CLAIMS = Publication(
    citation="Huang et al. (2025)",
    source="arXiv 2410.03972",
    claims=tuple(
        _claim(factor, level, sign, why) for factor, (why, signs) in FACTORS.items() for level, sign in signs.items()
    ),
)
"""The statements, in the order of the paper's argument."""
