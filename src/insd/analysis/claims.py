"""The paper's published statements, claim by claim, beside what the grid shows, with a verdict by a stated criterion.

The statements are those of Qian & Pehlevan (2026), in our words. The criteria are ours. Each is one function below that
returns what was found and its verdict, and `CLAIMS` is the list of them.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from insd.cohorts import (
    STANDARD,
    UNTRAINED,
    alternatives,
    deflated_populations,
    network_labels,
    of_role,
    round_name,
    solved,
    trained,
)
from insd.provenance import random_seed
from insd.tables.comparisons import IN_WORDS, clustered_interval, expanded_tail
from insd.tables.levels import QUANTILE, SAME_ACTIVITY

REPRODUCED, PARTLY, NOT, NO_ANSWER = "reproduced", "partly", "not", "no answer"
"""The verdicts."""
SAME_CODE = 0.9
"""Null-space r2 between standards from which on they count as collapsed (ours)."""
MOST = 0.9
"""Share of networks that a statement on all of them must hold for (ours)."""
CONFIDENCE, RESAMPLES = 0.95, 9999
"""Of the bootstrap intervals over networks, as in `comparisons.csv` by default."""
PAIR_RESAMPLES = 1999
"""Resamples of the interval of a median over pairs, each of which takes a median of all of them."""


@dataclass(frozen=True)
class Evidence:
    """What a grid shows of one task and one deflated population."""

    task: str
    population: str
    table: pd.DataFrame
    """The rows of `networks.csv` of the trained networks of the task."""
    predictivity: xr.Dataset
    dsa: xr.Dataset
    decoding: xr.Dataset
    comparisons: pd.DataFrame
    """The rows of `comparisons.csv` of the task and the population."""
    untrained: pd.DataFrame
    """The rows of `networks.csv` of networks that were not trained."""

    @property
    def standards(self) -> pd.DataFrame:
        """Solved standards."""
        return solved(of_role(self.table, STANDARD))

    @property
    def alternatives(self) -> pd.DataFrame:
        """The population's alternatives, solved or not."""
        return alternatives(self.table, self.population)

    def difference(self, values: pd.Series) -> tuple[float, float, float]:
        """Mean over solved alternatives minus that over solved standards, and the ends of its bootstrap interval.

        `values` are by the labels of networks; those that are not numbers are left out. Alternatives of one chain are
        resampled together.
        """
        first, second = (
            values[network_labels(rows)].set_axis(rows["chain"]).dropna()
            for rows in (solved(self.alternatives), self.standards)
        )
        seed = random_seed("claims", self.task, self.population)
        low, high = clustered_interval(first, second, CONFIDENCE, RESAMPLES, seed)
        difference = float(first.mean() - second.mean()) if np.isfinite(low) else float("nan")
        return difference, low, high


Answer = tuple[str, str]
"""What was found, in words and numbers, and the verdict."""
TOO_FEW: Answer = ("too few solved networks in this grid", NO_ANSWER)
"""The answer where nothing can be said."""


def collapse(evidence: Evidence) -> Answer:
    """Standard networks of all seeds and gains predict each other's null-space activity."""
    null = evidence.predictivity.sel(space="null")["r2"]
    between = _pairs(null, network_labels(evidence.standards))
    if not between.size:
        return TOO_FEW
    median, low = np.median(between), np.quantile(between, 1 - QUANTILE)
    found = f"null-space r² {median:.3f}, 5 % quantile {low:.3f}, over {between.size} pairs"
    floor = _pairs(null, network_labels(evidence.untrained))
    if not floor.size:
        return f"{found}; no untrained networks", PARTLY if median >= SAME_CODE else NOT
    seed = random_seed("claims", evidence.task, "floor")
    above = median_difference(null, network_labels(evidence.standards), network_labels(evidence.untrained), seed)
    found += f"; untrained networks {np.median(floor):.3f}, difference {_interval(above, 3)}"
    if np.median(floor) >= SAME_CODE:
        shown = "small" if above[1] > 0 else "not shown"
        found += f" is {shown}: networks that share no more than their inputs count as collapsed too"
    if low >= SAME_CODE and above[1] > 0:
        return found, REPRODUCED
    return found, PARTLY if median >= SAME_CODE and above[0] > 0 else NOT


def median_difference(r2: xr.DataArray, first: list[str], second: list[str], seed: int) -> tuple[float, float, float]:
    """Median over pairs of the first networks minus that over pairs of the second, and its bootstrap interval.

    Pairs share networks: networks are resampled, and pairs of different ones taken of what is drawn. The interval is
    widened for small groups as in `insd.tables.comparisons.difference_interval`.
    """
    random = np.random.default_rng(seed)
    resampled = []
    for labels in (first, second):
        values = r2.sel(predictor=labels, target=labels).values
        drawn = random.integers(len(labels), size=(PAIR_RESAMPLES, len(labels)))
        medians = []
        for chosen in drawn:
            pairs = values[np.ix_(chosen, chosen)][chosen[:, None] != chosen]
            # Of few networks, the same one may be drawn throughout.
            medians.append(np.nanmedian(pairs) if np.isfinite(pairs).any() else np.nan)
        resampled.append(np.array(medians))
    tail = expanded_tail(min(len(first), len(second)), CONFIDENCE)
    low, high = np.nanquantile(resampled[0] - resampled[1], [tail, 1 - tail])
    return float(np.median(_pairs(r2, first)) - np.median(_pairs(r2, second))), float(low), float(high)


def one_motif(evidence: Evidence) -> Answer:
    """Standard networks have the same stable points and cycles."""
    standards = evidence.standards
    if len(standards) < 2:
        return TOO_FEW
    counts = standards.groupby(["n_stable_fixed_points", "n_cycles"]).size()
    most = counts.reset_index(name="networks").sort_values("networks", kind="stable").iloc[-1]
    share = most["networks"] / len(standards)
    found = (
        f"{most['n_stable_fixed_points']:.0f} stable fixed points and {most['n_cycles']:.0f} cycles in "
        f"{most['networks']:.0f} of {len(standards)}"
    )
    return found, REPRODUCED if share >= MOST else PARTLY if share >= 0.5 else NOT


def unlike_solutions(evidence: Evidence) -> Answer:
    """Alternatives solve the task, and earlier solutions cannot be read out of them."""
    rows = evidence.alternatives
    solutions = solved(rows)
    if solutions.empty:
        return f"0 of {len(rows)} solved", NOT if len(rows) else NO_ANSWER
    highest = solutions["r2_null_max_to_earlier"]
    found = (
        f"{len(solutions)} of {len(rows)} solved; null-space r² to the reference "
        f"{solutions['r2_null_to_reference'].median():.3f}, largest to any earlier network {highest.max():.3f}"
    )
    share = len(solutions) / len(rows)
    if share >= MOST and highest.max() < SAME_ACTIVITY:
        return found, REPRODUCED
    return found, PARTLY if share >= 0.5 and highest.median() < SAME_ACTIVITY else NOT


def oscillation(evidence: Evidence) -> Answer:
    """Alternatives have fewer stable fixed points and oscillate more."""
    rows = evidence.table.set_axis(network_labels(evidence.table))
    points = evidence.difference(rows["n_stable_fixed_points"])
    # A peak below two periods a trial is no frequency: activity that only moves from one place to another has it there.
    resolved = rows["dominant_frequency"] >= rows["lowest_frequency"]
    frequency = evidence.difference(rows["dominant_frequency"].where(resolved, 0.0))
    if np.isnan([*points, *frequency]).any():
        return TOO_FEW
    groups = (solved(evidence.alternatives), evidence.standards)
    cycles = [group["n_cycles"].mean() for group in groups]
    oscillating = [f"{resolved[network_labels(group)].sum()} of {len(group)}" for group in groups]
    found = (
        f"stable fixed points {_interval(points, 1)}, dominant null-space frequency {_interval(frequency, 2)} Hz, both "
        f"alternatives minus standards; two periods a trial or more in {oscillating[0]} and {oscillating[1]}; cycles "
        f"{cycles[0]:.1f} and {cycles[1]:.1f} in the mean"
    )
    holding = int(points[2] < 0) + int(frequency[1] > 0)
    return found, (NOT, PARTLY, REPRODUCED)[holding]


def separated_by_dsa(evidence: Evidence) -> Answer:
    """Dynamical similarity tells alternatives from standards."""
    distance = evidence.dsa["distance"]
    standards, deflated = network_labels(evidence.standards), network_labels(solved(evidence.alternatives))
    between = _pairs(distance, standards)
    if between.size == 0 or len(deflated) < 2:
        return TOO_FEW
    bound = np.nanquantile(between, QUANTILE)
    to_standards = pd.Series(
        {
            label: np.nanmedian(
                distance.sel(network=label, network_to=[other for other in standards if other != label])
            )
            for label in [*standards, *deflated]
        }
    )
    beyond = int((to_standards[deflated] > bound).sum())
    difference = evidence.difference(to_standards)
    found = (
        f"{beyond} of {len(deflated)} farther from the standards than {100 * QUANTILE:.0f} % of pairs of these "
        f"({bound:.2f} rad); median distance {to_standards[deflated].median():.2f} and "
        f"{to_standards[standards].median():.2f} rad"
    )
    if beyond >= MOST * len(deflated):
        return found, REPRODUCED
    return found, PARTLY if difference[1] > 0 else NOT


def rotating_code(evidence: Evidence) -> Answer:
    """Decoders of one time fail at others more often in alternatives than in standards."""
    difference = evidence.difference(generalisation(evidence.decoding))
    if np.isnan(difference).any():
        return TOO_FEW
    means = [
        generalisation(evidence.decoding)[network_labels(rows)].mean()
        for rows in (solved(evidence.alternatives), evidence.standards)
    ]
    found = (
        f"share of the score that is kept at other times {means[0]:.2f}, standards {means[1]:.2f}; difference "
        f"{_interval(difference, 2)}"
    )
    if difference[2] >= 0:
        return found, NOT
    return found, REPRODUCED if means[0] < 0.5 else PARTLY


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
        if named.empty or named["verdict"].iloc[0] == "too few":
            return TOO_FEW
        grid = _harder(rows[rows["measure"] == "grid"], longer)
        one = named.iloc[0]
        found = (
            f"{regime}: {_difference(one.to_dict())}, {IN_WORDS[one['verdict']]}; points of the grid: {_count(grid)}"
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
        if regimes.empty or (regimes["verdict"] == "too few").all():
            return TOO_FEW
        each = "; ".join(f"{row['level']}: {_difference(row)}" for row in regimes.to_dict("records"))
        found = f"{each}; regimes: {_count(regimes)}; points of the grid: {_count(grid)}"
        if (regimes["verdict"] == "worse").all() and (grid["verdict"] != "better").all():
            return found, REPRODUCED
        return found, PARTLY if (regimes["verdict"] == "worse").mean() >= 0.5 else NOT

    return answer


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, and how it is judged."""

    text: str
    criterion: str
    judge: Callable[[Evidence], Answer]
    tasks: tuple[str, ...] | None = None
    """The tasks that it is on; all if none are named."""
    intervals: int = 0
    """Intervals that its verdict rests on, beside those of `comparisons.csv`."""


_BETTER = (
    "reproduced: better in the regime, and at more points of the grid than it is worse at; partly: one of the two, and "
    "not worse in the regime. Better and worse: the interval of the difference to the standards excludes 0"
)
CLAIMS = (
    Claim(
        "Standard networks collapse on one solution: they predict each other's activity, whatever the seed and gain",
        f"null-space r² between solved standards, and how far its median is above that between untrained networks. "
        f"Reproduced: its 5 % quantile is at least {SAME_CODE:g}, and the interval of the difference is above 0; "
        f"partly: its median is at least {SAME_CODE:g}, and above that of untrained networks without an interval that "
        "shows it, or there are none",
        collapse,
        intervals=1,
    ),
    Claim(
        "Their dynamics are the same motif of fixed points",
        "numbers of stable fixed points and of cycles, over all static inputs. Reproduced: the same in "
        f"{100 * MOST:.0f} % of solved standards; partly: in half. Along a line or ring of points numbers vary with "
        "the merging radius, and this criterion is strict",
        one_motif,
    ),
    Claim(
        "Alternatives solve the task, and earlier solutions cannot be read out of their null space",
        f"reproduced: {100 * MOST:.0f} % solved, and r² of solved ones to every earlier network below "
        f"{SAME_ACTIVITY:g}; partly: half solved, and the median below {SAME_ACTIVITY:g}",
        unlike_solutions,
    ),
    Claim(
        "Alternatives trade fixed points for oscillation",
        "reproduced: fewer stable fixed points, and a higher dominant frequency in the null space, than solved "
        "standards, both with intervals that exclude 0; partly: one of the two. A frequency of less than two periods a "
        "trial is none, and counts as 0",
        oscillation,
        intervals=2,
    ),
    Claim(
        "Dynamical similarity analysis separates alternatives from standards",
        f"reproduced: {100 * MOST:.0f} % of solved alternatives have a median distance to the standards beyond the "
        f"{100 * QUANTILE:.0f} % quantile of pairs of standards; partly: farther in the mean, with an "
        "interval that excludes 0",
        separated_by_dsa,
        intervals=1,
    ),
    Claim(
        "The code of alternatives rotates: decoders of one time fail at others",
        "share of the null-space score that decoders keep at other times, over times at which there is something to "
        "decode. Reproduced: less than in standards, with an interval that excludes 0, and below a half; partly: less "
        "only",
        rotating_code,
        intervals=1,
    ),
    Claim(
        "In distribution, alternatives do as well as standards or worse",
        "reproduced: no round is better in the regime test; partly: half of the rounds",
        not_better_in_distribution,
    ),
    Claim(
        "alt-2 does better with high noise and longer trials",
        _BETTER,
        better_when_hard(2, "noisy_long", longer=True),
        ("context_integration",),
    ),
    Claim("alt-2 does better with high noise", _BETTER, better_when_hard(2, "noisy", longer=False), ("flip_flop",)),
    Claim(
        "alt-1 does better with high noise and high load",
        _BETTER,
        better_when_hard(1, "noisy_long", longer=True),
        ("memory_pro",),
    ),
    Claim(
        "alt-2 is poor everywhere",
        "reproduced: worse in every regime, and better at no point of the grid; partly: worse in half of the regimes",
        poor_everywhere(2),
        ("memory_pro",),
    ),
)
"""The statements, in the order of the paper's argument."""


def claims(
    table: pd.DataFrame,
    comparisons: pd.DataFrame,
    predictivity: Mapping[str, xr.Dataset],
    dsa: Mapping[str, xr.Dataset],
    decoding: Mapping[str, xr.Dataset],
) -> pd.DataFrame:
    """One row per claim, task and deflated population: what was found, the verdict, and the criterion.

    `table` and `comparisons` are the rows of `networks.csv` and `comparisons.csv`, the rest is by task. Only solved
    networks count. The verdict is "reproduced", "partly", "not" or, where a grid has too few solved networks or no
    alternatives, "no answer".
    """
    rows = []
    for claim in CLAIMS:
        for task, networks in table.groupby("task", sort=False):
            if claim.tasks is not None and task not in claim.tasks:
                continue
            for population in deflated_populations(networks) or [""]:
                # A grid without alternatives has a table of comparisons without columns.
                compared = comparisons
                if len(comparisons):
                    compared = comparisons[(comparisons["task"] == task) & (comparisons["population"] == population)]
                evidence = Evidence(
                    str(task),
                    population,
                    trained(networks),
                    predictivity[str(task)],
                    dsa[str(task)],
                    decoding[str(task)],
                    compared,
                    of_role(networks, UNTRAINED),
                )
                number, verdict = claim.judge(evidence)
                rows.append(
                    {
                        "claim": claim.text,
                        "task": task,
                        "population": population,
                        "number": number,
                        "verdict": verdict,
                        "criterion": claim.criterion,
                    }
                )
    return pd.DataFrame(rows)


def generalisation(decoding: xr.Dataset) -> pd.Series:
    """Share of the null-space score that decoders keep at other times than their own, by network.

    For each variable, times count at which its decoder has at least half of its best score above chance (trained and
    tested at the same time). Scores at pairs of different such times, above chance and not below, over those that the
    decoders of the times of test have, averaged over pairs and then over variables. 1: one decoder does for all times
    (a static code); 0: none does for another (a code that rotates or moves on). Not a number where nothing can be
    decoded at two times.
    """
    above = (decoding["score_null"] - decoding["chance"]).clip(min=0)
    kept: dict[str, float] = {}
    for label in above["network"].values:
        shares = []
        for scores in above.sel(network=label).transpose("variable", "time", "time_to").values:
            own = np.diagonal(scores)
            times = np.flatnonzero(own >= max(own.max() / 2, 1e-3))
            if times.size < 2:
                continue
            others = ~np.eye(times.size, dtype=bool)
            shares.append(np.minimum(scores[np.ix_(times, times)] / own[times], 1)[others].mean())
        kept[str(label)] = float(np.mean(shares)) if shares else float("nan")
    return pd.Series(kept)


def page(table: pd.DataFrame, n_comparisons: int) -> str:
    """The claims as a page of Markdown: one table per claim, its criterion below.

    `n_comparisons` is the number of intervals in `comparisons.csv`.
    """
    own = {claim.text: claim.intervals for claim in CLAIMS}
    n_own = sum(own[row["claim"]] for row in table.to_dict("records") if row["verdict"] != NO_ANSWER)
    parts = [
        "# The paper's statements, claim by claim\n",
        "<!-- Generated by the rule `claims` from src/insd/analysis/claims.py. -->\n",
        "What Qian & Pehlevan (2026) state, in our words, beside what this grid shows. Verdicts are by the criterion "
        "under each claim, which is ours. Only solved networks count. Intervals are 95 % bootstrap intervals over "
        "networks, those of one chain resampled together. There is no correction for their number: the comparisons of "
        f"scores and losses are {n_comparisons}, of which about {0.05 * n_comparisons:.0f} would exclude 0 by chance, "
        f"and the verdicts below rest on {n_own} further intervals. Differences of scores have the sign turned where "
        "lower is better, so that alternatives do better where they are positive.\n",
    ]
    several = table["population"].nunique() > 1
    for claim, rows in table.groupby("claim", sort=False):
        parts.append(f"## {claim}\n")
        parts.append("| task | what was found | verdict |\n|---|---|---|")
        for row in rows.to_dict("records"):
            task = row["task"].replace("_", " ") + (f" ({row['population']})" if several else "")
            parts.append(f"| {task} | {row['number']} | **{row['verdict']}** |")
        parts.append(f"\nCriterion: {rows['criterion'].iloc[0]}.\n")
    return "\n".join(parts)


def _pairs(matrix: xr.DataArray, networks: list[str]) -> np.ndarray:
    """Values of all ordered pairs of different networks that are numbers."""
    first, second = matrix.dims
    values = matrix.sel({first: networks, second: networks}).values[~np.eye(len(networks), dtype=bool)]
    return values[np.isfinite(values)]


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
    rows = rows[rows["verdict"] != "too few"]
    if rows.empty:
        return TOO_FEW
    found = "; ".join(
        f"{round_name(int(row['round']))}: {_difference(row)}, {IN_WORDS[row['verdict']]}"
        for row in rows.to_dict("records")
    )
    share = np.mean([holds(verdict) for verdict in rows["verdict"]])
    return found, REPRODUCED if share == 1 else PARTLY if share >= 0.5 else NOT


def _count(rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    found = [f"{text} at {counts[word]}" for word, text in IN_WORDS.items() if word in counts]
    return f"{', '.join(found) or 'none'} of {len(rows)}"


def _difference(row: Mapping[Hashable, Any]) -> str:
    return _interval((row["difference"], row["low"], row["high"]), 3)


def _interval(values: tuple[float, float, float], decimals: int) -> str:
    """A difference with its interval, with signs."""
    value, low, high = (f"{value:+.{decimals}f}".replace("-", "−") for value in values)
    return f"{value} ({low} to {high})"
