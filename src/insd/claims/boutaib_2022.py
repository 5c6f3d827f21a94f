"""Statements on linear networks with process noise that classify paths, in our words, with criteria that are ours.

Source: Boutaib et al. (2022), "Path classification by stochastic linear recurrent neural networks". The tasks of the
study `classes` have paths of their own, not those of the publication, and networks are trained by gradient descent on
the squared error. Criteria were fixed before any network of the study was trained.
"""

import pandas as pd

from insd.claims.base import (
    ALL_TASKS,
    MOST,
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    Answer,
    Claim,
    Evidence,
    Interval,
    Publication,
    interval_text,
)
from insd.cohorts import network_labels
from insd.provenance import random_seed
from insd.tables.comparisons import clustered_interval

LINEAR = "linear"
"""The architecture."""
LABELS = ("path_classification", "path_area")
"""The tasks whose label is linear in the path, and is an area of it."""
CHANCE, NEAR = 0.5, (0.05, 0.1)
"""Accuracy of a guess, and how far from it the mean of networks is that guess, or nearly do."""
LEAST = 3
"""Networks of each kind without which there is no verdict."""


def _linear(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["architecture"] == LINEAR] if len(rows) else rows


def partial_signature(evidence: Evidence) -> Answer:
    """Linear networks solve the label that is linear in the path, and guess the area."""
    linear, area = (_linear(evidence.table[evidence.table["task"] == task]) for task in LABELS)
    if min(len(linear), len(area)) < LEAST:
        return f"{len(linear)} and {len(area)} linear networks on {' and '.join(LABELS)}, {LEAST} needed", NO_ANSWER
    share, accuracy = float(linear["solved"].astype(bool).mean()), float(area["score"].mean())
    found = f"{100 * share:.0f} % of {len(linear)} solve the linear label; accuracy on the area {accuracy:.3f}"
    if share < MOST:
        return found, NOT
    off = abs(accuracy - CHANCE)
    return f"{found} in the mean of {len(area)}", REPRODUCED if off <= NEAR[0] else PARTLY if off <= NEAR[1] else NOT


def trade_off(evidence: Evidence) -> Answer:
    """Of linear networks, those with the most process noise are less accurate and lose less to noise in the inputs."""
    rows = _linear(evidence.table)
    rows = rows[rows["round"] == 0].dropna(subset=["recurrent_noise"]) if len(rows) else rows
    levels = sorted(rows["recurrent_noise"].unique()) if len(rows) else []
    if len(levels) < 2 or not {"performance", "robustness"} <= set(evidence.analyses):
        return f"linear networks at {len(levels)} level(s) of process noise, 2 needed", NO_ANSWER
    scores, noisy = evidence.analyses["performance"]["score"], evidence.analyses["robustness"]["noise_score"]
    if "noisy" not in scores["regime"]:
        return "no regime `noisy` in this grid", NO_ANSWER
    lost = scores.sel(regime="test") - scores.sel(regime="noisy")
    found = []
    for own in ({level: noisy.reindex(noise_level=[level])[:, 0] for level in levels}, dict.fromkeys(levels, lost)):
        least, most = (
            own[level]
            .to_series()[network_labels(rows[rows["recurrent_noise"] == level])]
            .set_axis(rows.loc[rows["recurrent_noise"] == level, "chain"])
            .dropna()
            for level in (levels[0], levels[-1])
        )
        if min(len(most), len(least)) < LEAST:
            return f"{len(least)} and {len(most)} networks at the two ends of the noise, {LEAST} needed", NO_ANSWER
        found.append(_difference(evidence, most, least))
    said = (
        f"sigma_rec = {levels[-1]:g} minus {levels[0]:g}: accuracy {interval_text(found[0], 3)}, accuracy lost to "
        f"noise in the inputs {interval_text(found[1], 3)}"
    )
    holds = [values[2] < 0 for values in found]
    return said, REPRODUCED if all(holds) else PARTLY if any(holds) else NOT


def _difference(evidence: Evidence, first: pd.Series, second: pd.Series) -> Interval:
    seed = random_seed("claims", evidence.task, evidence.population)
    interval = clustered_interval(first, second, evidence.confidence, evidence.resamples, seed)
    return float(first.mean() - second.mean()), *interval


CLAIMS = Publication(
    citation="Boutaib et al. (2022)",
    source="Boutaib et al. (2022), Path classification by stochastic linear recurrent neural networks",
    claims=(
        Claim(
            id="partial_signature",
            text="Linear networks see a path by its partial signature alone",
            criterion=(
                f"at least {100 * MOST:g} % of linear networks solve `{LABELS[0]}`, whose label is linear in the path, "
                f"and on `{LABELS[1]}`, whose label is the sign of an area, their mean accuracy is within {NEAR[0]:g} "
                f"of chance. Partly: within {NEAR[1]:g}. No answer with fewer than {LEAST} networks on either"
            ),
            judge=partial_signature,
            unsolved="linear networks",
            over="grid",
        ),
        Claim(
            id="accuracy_against_robustness",
            text="Process noise trades accuracy for robustness",
            criterion=(
                "linear networks trained with the most process noise against those with the least: the interval of the "
                "difference in accuracy, each with the noise of its training (a level of `robustness`), is below 0, "
                "and so is that of the accuracy that noise in the inputs costs without process noise (regime `noisy`). "
                f"Partly: one of both. No answer with fewer than {LEAST} networks of either"
            ),
            judge=trade_off,
            unsolved="linear networks",
            reads=("performance", "robustness"),
            tasks=LABELS[:1],
            intervals=2,
        ),
    ),
    tasks=(ALL_TASKS, *LABELS),
)
"""The statements."""
