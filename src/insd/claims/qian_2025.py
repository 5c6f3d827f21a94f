"""The statements of Qian & Pehlevan, in our words, with criteria that are ours.

Source: "Discovering alternative solutions beyond the simplicity bias in recurrent neural networks" (ICLR 2026,
arXiv 2509.21504).

Each criterion is one function, here or in the files of the claims that are on regimes and on mechanisms, that returns
what was found and its verdict.
"""

import numpy as np
import pandas as pd
import xarray as xr

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
    interval_text,
    median_difference,
    pairs,
)
from insd.claims.mechanisms import MECHANISMS
from insd.claims.regimes import REGIMES
from insd.cohorts import network_labels, solved, states
from insd.provenance import random_seed
from insd.tables.levels import QUANTILE, SAME_ACTIVITY

SAME_CODE = 0.9
"""Null-space r2 between standards from which on they count as collapsed (ours)."""
_TAIL = f"{100 * (1 - QUANTILE):.0f} %"


def collapse(evidence: Evidence) -> Answer:
    """Standard networks of all seeds and gains predict each other's null-space activity."""
    null = evidence.analyses["predictivity"].sel(space="null")["r2"]
    between = pairs(null, network_labels(evidence.standards))
    if not between.size:
        return TOO_FEW
    median, low = np.median(between), np.quantile(between, 1 - QUANTILE)
    found = f"null-space r² {median:.3f}, {_TAIL} quantile {low:.3f}, over {between.size} pairs"
    baseline = pairs(null, network_labels(evidence.untrained))
    if not baseline.size:
        return f"{found}; no untrained networks", PARTLY if median >= SAME_CODE else NOT
    seed = random_seed("claims", evidence.task, "floor")
    groups = (network_labels(evidence.standards), network_labels(evidence.untrained))
    above = median_difference(null, *groups, evidence.confidence, evidence.resamples, seed)
    found += f"; untrained networks {np.median(baseline):.3f}, difference {interval_text(above, 3)}"
    if np.median(baseline) >= SAME_CODE:
        shown = "small" if above[1] > 0 else "not shown"
        found += f" is {shown}: networks that share no more than their inputs count as collapsed too"
    if low >= SAME_CODE and above[1] > 0:
        return found, REPRODUCED
    return found, PARTLY if median >= SAME_CODE and above[0] > 0 else NOT


def one_motif(evidence: Evidence) -> Answer:
    """Standard networks have the same stable points and cycles."""
    standards = evidence.standards.dropna(subset=["n_stable_fixed_points", "n_cycles"])
    if len(standards) < 2:
        return TOO_FEW
    counts = standards.groupby(["n_stable_fixed_points", "n_cycles"]).size()
    most = counts.reset_index(name="networks").sort_values("networks", kind="stable").iloc[-1]
    share = most["networks"] / len(standards)
    found = (
        f"{most['n_stable_fixed_points']:.0f} stable fixed points and {most['n_cycles']:.0f} cycles in "
        f"{most['networks']:.0f} of {len(standards)}"
    )
    return found, by_share(share)


def unlike_solutions(evidence: Evidence) -> Answer:
    """Alternatives solve the task, and earlier solutions cannot be read out of them."""
    rows = evidence.alternatives
    solutions = solved(rows)
    if solutions.empty:
        return f"0 of {len(rows)} solved", NOT if len(rows) else NO_ANSWER
    highest = solutions["r2_null_max_to_earlier"]
    found = (
        f"{len(solutions)} of {len(rows)} solved, {(states(solutions) == '').sum()} of these deflated; null-space r² "
        f"to the reference {solutions['r2_null_to_reference'].median():.3f}, largest to any "
        f"earlier network {highest.max():.3f}"
    )
    share = len(solutions) / len(rows)
    if share >= MOST and highest.max() < SAME_ACTIVITY:
        return found, REPRODUCED
    return found, PARTLY if share >= 0.5 and highest.median() < SAME_ACTIVITY else NOT


def oscillation(evidence: Evidence) -> Answer:
    """Alternatives have fewer stable fixed points and oscillate more."""
    rows = evidence.table.set_axis(network_labels(evidence.table))
    points = evidence.difference(rows["n_stable_fixed_points"])
    # A peak below two periods per trial is not a frequency: activity that only moves from one place to another has one.
    resolved = rows["dominant_frequency"] >= rows["lowest_frequency"]
    frequency = evidence.difference(rows["dominant_frequency"].where(resolved, 0.0))
    if np.isnan([*points, *frequency]).any():
        return TOO_FEW
    groups = (solved(evidence.alternatives), evidence.standards)
    cycles = [group["n_cycles"].mean() for group in groups]
    oscillating = [f"{resolved[network_labels(group)].sum()} of {len(group)}" for group in groups]
    found = (
        f"stable fixed points {interval_text(points, 1)}, dominant null-space frequency "
        f"{interval_text(frequency, 2)} Hz, both alternatives minus standards; two periods a trial or more in "
        f"{oscillating[0]} and {oscillating[1]}; cycles "
        f"{cycles[0]:.1f} and {cycles[1]:.1f} in the mean"
    )
    holding = int(points[2] < 0) + int(frequency[1] > 0)
    return found, (NOT, PARTLY, REPRODUCED)[holding]


def separated_by_dsa(evidence: Evidence) -> Answer:
    """Dynamical similarity tells alternatives from standards."""
    distance = evidence.analyses["dsa"]["distance"]
    standards, deflated = network_labels(evidence.standards), network_labels(solved(evidence.alternatives))
    between = pairs(distance, standards)
    deflated = [label for label in deflated if distance.sel(network=label, network_to=standards).notnull().any()]
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
    difference = evidence.difference(generalisation(evidence.analyses["decoding"]))
    if np.isnan(difference).any():
        return TOO_FEW
    means = [
        generalisation(evidence.analyses["decoding"])[network_labels(rows)].mean()
        for rows in (solved(evidence.alternatives), evidence.standards)
    ]
    found = (
        f"share of the score that is kept at other times {means[0]:.2f}, standards {means[1]:.2f}; difference "
        f"{interval_text(difference, 2)}"
    )
    if difference[2] >= 0:
        return found, NOT
    return found, REPRODUCED if means[0] < 0.5 else PARTLY


def generalisation(decoding: xr.Dataset) -> pd.Series:
    """Share of the null-space score that decoders keep at times on which they were not trained, by network.

    For each variable, times count at which its decoder has at least half of its best score above chance (trained and
    tested at the same time). Scores at pairs of different such times, above chance and not below, over those that the
    decoders of the times of test have, averaged over pairs and then over variables. 1: one decoder does for all times
    (a static code); 0: none does for another (a code that rotates or moves on). NaN where nothing can be decoded at two
    times.
    """
    above = (decoding["score_null"] - decoding["chance"]).clip(min=0)
    kept: dict[str, float] = {}
    for label in above["network"].values:
        shares = []
        for scores in above.sel(network=label).transpose("variable", "time", "time_to").values:
            own = np.nan_to_num(np.diagonal(scores))
            times = np.flatnonzero(own >= max(own.max() / 2, 1e-3))
            if times.size < 2:
                continue
            others = ~np.eye(times.size, dtype=bool)
            shares.append(np.minimum(scores[np.ix_(times, times)] / own[times], 1)[others].mean())
        kept[str(label)] = float(np.mean(shares)) if shares else float("nan")
    return pd.Series(kept)


CLAIMS = Publication(
    citation="Qian & Pehlevan (2026)",
    source="arXiv 2509.21504",
    claims=(
        Claim(
            id="standards_collapse",
            text="Standard networks collapse on one solution: they predict each other's activity, whatever the seed "
            "and gain",
            criterion="null-space r² between solved standards, and how far its median is above that between untrained "
            f"networks. Reproduced: its {_TAIL} quantile is at least {SAME_CODE:g}, and the interval of the difference "
            f"is above 0; partly: its median is at least {SAME_CODE:g}, and above that of untrained networks without "
            "an interval that shows it, or there are none",
            judge=collapse,
            reads=("predictivity",),
            intervals=1,
        ),
        Claim(
            id="standards_share_motif",
            text="Their dynamics are the same motif of fixed points",
            criterion="numbers of stable fixed points and of cycles, over all static inputs. Reproduced: the same in "
            f"{100 * MOST:.0f} % of solved standards; partly: in half. Along a line or ring of points numbers vary "
            "with the merging radius, and this criterion is strict",
            judge=one_motif,
        ),
        Claim(
            id="alternatives_hide_earlier_solutions",
            text="Alternatives solve the task, and earlier solutions cannot be read out of their null space",
            criterion=f"reproduced: {100 * MOST:.0f} % solved, and r² of solved ones to every earlier network below "
            f"{SAME_ACTIVITY:g}; partly: half solved, and the median below {SAME_ACTIVITY:g}",
            judge=unlike_solutions,
        ),
        Claim(
            id="alternatives_oscillate",
            text="Alternatives trade fixed points for oscillation",
            criterion="reproduced: fewer stable fixed points, and a higher dominant frequency in the null space, than "
            "solved standards, both with intervals that exclude 0; partly: one of the two. A frequency of less than "
            "two periods a trial is none, and counts as 0",
            judge=oscillation,
            intervals=2,
        ),
        Claim(
            id="dsa_separates_alternatives",
            text="Dynamical similarity analysis separates alternatives from standards",
            criterion=f"reproduced: {100 * MOST:.0f} % of solved alternatives have a median distance to the standards "
            f"beyond the {100 * QUANTILE:.0f} % quantile of pairs of standards; partly: farther in the mean, with an "
            "interval that excludes 0",
            judge=separated_by_dsa,
            reads=("dsa",),
            intervals=1,
        ),
        Claim(
            id="code_of_alternatives_rotates",
            text="The code of alternatives rotates: decoders of one time fail at others",
            criterion="share of the null-space score that decoders keep at other times, over times at which there is "
            "something to decode. Reproduced: less than in standards, with an interval that excludes 0, and below a "
            "half; partly: less only",
            judge=rotating_code,
            reads=("decoding",),
            intervals=1,
        ),
        *REGIMES,
        *MECHANISMS,
    ),
    tasks=("context_integration", "flip_flop", "memory_pro"),
)
"""The statements, in the order of the paper's argument."""
