"""The statements of Qian & Pehlevan on how networks solve each task: points, lines, codes, and what they share.

Criteria are ours, and were fixed before any number was looked at.
"""

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Shaped

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
from insd.cohorts import network_labels, solved
from insd.provenance import random_seed

STRAIGHT = 0.9
"""Share of variance along one direction from which on points are a line."""
SLOW = 1.0
"""Largest rate, in 1/s, of the leading mode along a line: integrators of trials of a few seconds."""
LEAST_POINTS = 3
"""Points of a line."""
DECODED, HARDLY = 0.5, 0.1
"""Shares of the way from chance to perfect from which on a variable is decoded, and is barely so."""
ORTHOGONAL = 60.0
"""Smallest principal angle in degrees of subspaces that are nearly orthogonal, and least rotation of an axis."""
HALF_OF_CORNERS = 0.5
"""Share of the cube's corners that must have a point."""
CLUSTERED, LEVEL, PERMUTATIONS = 0.25, 0.01, 999
"""Silhouette from which on there is structure (Kaufman & Rousseeuw 1990), level and number of permutations."""
VANISHED = 0.1
"""Largest r2 above its shuffled baseline that counts as none."""


def no_stable_points(evidence: Evidence) -> Answer:
    """alt-1 has no stable fixed point."""
    rows = _round(evidence, 1).dropna(subset=["n_stable_fixed_points"])
    if rows.empty:
        return TOO_FEW
    none = rows["n_stable_fixed_points"] == 0
    found = f"no stable fixed point in {none.sum()} of {len(rows)}; standards have {_median(evidence.standards)}"
    return found, by_share(none.mean())


def unstable_corners(evidence: Evidence) -> Answer:
    """alt-2 has points at the corners of the cube of outputs, none of which attract."""
    corner_points = evidence.analyses["corners"]
    rows = _round(evidence, 2)
    known = corner_points["stable"].notnull().all("corner").to_series()
    rows = rows[known.reindex(network_labels(rows), fill_value=False).to_numpy()]
    if rows.empty:
        return TOO_FEW
    here = corner_points.sel(network=network_labels(rows))
    unstable, stable = here["unstable"].mean("corner"), here["stable"].mean("corner")
    holds = (unstable >= HALF_OF_CORNERS) & (stable == 0)
    corners = here.sizes["corner"]
    found = (
        f"of {corners} corners {corners * float(unstable.median()):.0f} have an unstable point and "
        f"{corners * float(stable.median()):.0f} a stable one, in the median; as stated in {int(holds.sum())} of "
        f"{len(rows)}"
    )
    return found, by_share(float(holds.mean()))


def line_per_context(evidence: Evidence) -> Answer:
    """Standards have a line of slow points in each context."""
    if len(evidence.standards) < 2:
        return TOO_FEW
    lines = evidence.analyses["line_attractor"]
    before_go = [name for name in lines["condition"].values.tolist() if name.endswith("_hold")]
    here = lines.sel(network=network_labels(evidence.standards), condition=before_go)
    here = here.sel(network=here["n_points"].notnull().all("condition").values)
    if not before_go or here.sizes["network"] < 2:
        return TOO_FEW
    straight = (here["n_points"] >= LEAST_POINTS) & (here["straightness"] >= STRAIGHT)
    holds = (straight & (np.abs(here["leading_real"]) <= SLOW)).all("condition")
    median = {name: float(here[name].median()) for name in ("n_points", "straightness", "extent", "leading_real")}
    found = (
        f"in both contexts in {int(holds.sum())} of {holds.size}; points {median['n_points']:.0f}, "
        f"straightness {median['straightness']:.2f}, extent {median['extent']:.1f}, leading eigenvalue "
        f"{median['leading_real']:+.2f}/s, in the median"
    )
    return found, by_share(float(holds.mean()))


def fixed_axes(evidence: Evidence) -> Answer:
    """Standards code both coherences on axes that are the same in both contexts."""
    if len(evidence.standards) < 2:
        return TOO_FEW
    scores = _best(evidence, evidence.standards)
    if not scores.sizes["network"]:
        return TOO_FEW
    both = scores.sel(decoder="linear", variable=["coherence_1", "coherence_2"])
    holds = (both >= DECODED).all("variable")
    found = (
        f"both decoded linearly with R² of at least {DECODED:g} in {int(holds.sum())} of {holds.size}; "
        f"median R² {' and '.join(f'{value:.2f}' for value in both.median('network').values)}"
    )
    return found, by_share(float(holds.mean()))


def relevant_alone(evidence: Evidence) -> Answer:
    """In alt-1 only the relevant coherence is decodable linearly, and context only by a nonlinear decoder."""
    rows = _round(evidence, 1)
    if rows.empty:
        return TOO_FEW
    scores = _best(evidence, rows)
    if not scores.sizes["network"]:
        return TOO_FEW
    linear, nonlinear = scores.sel(decoder="linear"), scores.sel(decoder="rbf")
    relevant, irrelevant = (linear.sel(variable=f"{name}_coherence") for name in ("relevant", "irrelevant"))
    alone = (relevant >= HARDLY) & (irrelevant < HARDLY)
    context = (linear.sel(variable="context") < DECODED) & (nonlinear.sel(variable="context") >= DECODED)

    def both(name: str) -> str:
        return " and ".join(f"{float(one.sel(variable=name).median()):.2f}" for one in (linear, nonlinear))

    found = (
        f"relevant alone in {int(alone.sum())} of {alone.size}, context by a kernel alone in {int(context.sum())}; "
        f"from chance (0) to perfect (1), linear and with a kernel: relevant {both('relevant_coherence')}, irrelevant "
        f"{both('irrelevant_coherence')}, context {both('context')}"
    )
    if (alone & context).mean() >= MOST:
        return found, REPRODUCED
    return found, PARTLY if max(float(alone.mean()), float(context.mean())) >= 0.5 else NOT


def orthogonal_subspaces(evidence: Evidence) -> Answer:
    """In alt-1 the subspaces of the input weights and of regression are nearly orthogonal."""
    rows = _round(evidence, 1)
    smallest = evidence.analyses["axes"]["weight_angle"].min("principal").to_series()
    difference = _difference(evidence, rows, smallest)
    if np.isnan(difference).any():
        return TOO_FEW
    angle = smallest[network_labels(rows)].median()
    found = (
        f"smallest principal angle {angle:.0f}°, standards "
        f"{smallest[network_labels(evidence.standards)].median():.0f}°; difference {interval_text(difference, 0)}°"
    )
    return found, (NOT, PARTLY, REPRODUCED)[int(angle >= ORTHOGONAL) + int(difference[1] > 0)]


def rotating_angle_axis(evidence: Evidence) -> Answer:
    """In alt-1 the axis that codes the angle rotates during the delay, and is output-relevant for a while."""
    rows = _round(evidence, 1)
    axes = evidence.analyses["axes"].sel(variable="angle")
    rotation = axes["rotation"].max("lag").to_series()
    peak = axes["output_relevance"].max("lag").to_series()
    differences = [_difference(evidence, rows, values) for values in (rotation, peak)]
    if np.isnan(differences).any():
        return TOO_FEW
    names = network_labels(rows)
    rotates = differences[0][1] > 0 and rotation[names].median() >= ORTHOGONAL
    ordinary = peak[network_labels(evidence.standards)].median()
    value, low, high = differences[1]
    percent = (100 * value, 100 * low, 100 * high)
    found = (
        f"axis turns by {rotation[names].median():.0f}°, {interval_text(differences[0], 0)}° more than in standards; "
        f"largest share of it in the output space {100 * peak[names].median():.3f} % in the median (standards "
        f"{100 * ordinary:.3f} %), difference of the means {interval_text(percent, 3)} %"
    )
    return found, (NOT, PARTLY, REPRODUCED)[int(rotates) + int(differences[1][1] > 0)]


def clusters_by_gain(evidence: Evidence) -> Answer:
    """Standards of one gain are close to each other in dynamical similarity."""
    distance = evidence.analyses["dsa"]["distance"]
    known = distance.notnull().any("network_to").to_series()
    standards = evidence.standards
    standards = standards[known.reindex(network_labels(standards), fill_value=False).to_numpy()]
    counts = standards["gain"].value_counts()
    standards = standards[standards["gain"].isin(counts.index[counts > 1])]
    if standards["gain"].nunique() < 2:
        return "one gain", NO_ANSWER
    names, gains = network_labels(standards), standards["gain"].to_numpy()
    between = distance.sel(network=names, network_to=names).values
    between = (between + between.T) / 2
    np.fill_diagonal(between, 0.0)
    observed = silhouette(between, gains)
    random = np.random.default_rng(random_seed("claims", evidence.task, "clusters by gain"))
    permuted = [silhouette(between, random.permutation(gains)) for _ in range(PERMUTATIONS)]
    p = (1 + sum(value >= observed for value in permuted)) / (1 + PERMUTATIONS)
    number = standards["gain"].nunique()
    found = f"silhouette of {number} gains {observed:.2f}, permuted {np.mean(permuted):.2f}, p = {p:.3f}"
    if p >= LEVEL:
        return found, NOT
    return found, REPRODUCED if observed >= CLUSTERED else PARTLY


def silhouette(distance: Float[np.ndarray, "network network"], labels: Shaped[np.ndarray, "network"]) -> float:
    """Mean silhouette of networks with labels, of which there are at least two of each.

    (b - a) / max(a, b), with a the mean distance to others with the same label and b that to those of the nearest
    other label. Source: Rousseeuw (1987), Journal of Computational and Applied Mathematics 20:53.
    """
    own = labels[:, None] == np.unique(labels)
    sums, counts = distance @ own, own.sum(0)
    within = sums[own] / (counts - 1)[own.argmax(1)]
    nearest = np.where(own, np.inf, sums / counts).min(1)
    return float(np.mean((nearest - within) / np.maximum(nearest, within)))


def residual_vanishes(evidence: Evidence) -> Answer:
    """What alternatives predict of standards is in the output space: nothing of it is left in the null space."""
    predictors, targets = network_labels(solved(evidence.alternatives)), network_labels(evidence.standards)
    if not predictors or not targets:
        return TOO_FEW
    here = evidence.analyses["predictivity"].sel(predictor=predictors, target=targets)
    medians = {
        (space, name): float(here[name].sel(space=space).median())
        for space in ("full", "null")
        for name in ("r2", "r2_shuffled")
    }
    full, null = (medians[space, "r2"] - medians[space, "r2_shuffled"] for space in ("full", "null"))
    if not np.isfinite([full, null]).all():
        return TOO_FEW
    found = (
        f"r² from alternatives to standards: all activity {medians['full', 'r2']:.3f} (trials shuffled "
        f"{medians['full', 'r2_shuffled']:.3f}), null space {medians['null', 'r2']:.3f} "
        f"({medians['null', 'r2_shuffled']:.3f})"
    )
    if null <= VANISHED < full:
        return found, REPRODUCED
    return found, PARTLY if null <= full / 2 else NOT


def _round(evidence: Evidence, round_number: int) -> pd.DataFrame:
    """The solved alternatives of a round."""
    rows = solved(evidence.alternatives)
    return rows[rows["round"] == round_number]


def _median(rows: pd.DataFrame) -> str:
    return f"{rows['n_stable_fixed_points'].median():.0f}"


def _best(evidence: Evidence, rows: pd.DataFrame) -> xr.DataArray:
    """Decoding of each variable at its best time, from chance (0) to perfect (1), of the networks that have any."""
    result = evidence.analyses["kernel_decoding"].sel(network=network_labels(rows))
    known = result["score"].notnull().any(set(result["score"].dims) - {"network"})
    result = result.sel(network=known.values)
    return ((result["score"] - result["chance"]) / (1 - result["chance"])).max("time")


def _difference(evidence: Evidence, rows: pd.DataFrame, values: pd.Series) -> tuple[float, float, float]:
    """That of `Evidence.difference` for some of the alternatives alone."""
    others = set(network_labels(evidence.alternatives)) - set(network_labels(rows))
    return evidence.difference(values.drop(labels=list(others & set(values.index))).reindex(values.index))


_SOLVED_ALT = f"Reproduced: in {100 * MOST:.0f} % of solved ones; partly: in half"
MECHANISMS = (
    Claim(
        id="alt_1_has_no_stable_state",
        text="alt-1 of the flip-flop has no stable state",
        criterion=f"no stable fixed point in alt-1. {_SOLVED_ALT}",
        judge=no_stable_points,
        tasks=("flip_flop",),
    ),
    Claim(
        id="alt_2_has_unstable_corners",
        text="alt-2 of the flip-flop has fixed points at the corners of the cube, which no longer attract",
        criterion="points whose outputs are within 0.5 of those of a corner, in each channel: unstable ones at half of "
        f"the corners, and no stable one at any. {_SOLVED_ALT}",
        judge=unstable_corners,
        reads=("corners",),
        tasks=("flip_flop",),
    ),
    Claim(
        id="standards_have_a_line_per_context",
        text="Standards have two line attractors, one per context",
        criterion=f"under the static input of each context before go: at least {LEAST_POINTS} points, "
        f"{100 * STRAIGHT:.0f} % of their variance along one direction, leading eigenvalue within ±{SLOW:g}/s in the "
        f"median. Reproduced: in both contexts of {100 * MOST:.0f} % of solved standards; partly: of half",
        judge=line_per_context,
        reads=("line_attractor",),
        tasks=("context_integration",),
    ),
    Claim(
        id="standards_code_coherences_on_fixed_axes",
        text="Standards code both coherences on fixed axes",
        criterion=f"R² of linear decoders of each stream's coherence over both contexts, at its best time: at least "
        f"{DECODED:g}. Reproduced: for both in {100 * MOST:.0f} % of solved standards; partly: in half",
        judge=fixed_axes,
        reads=("kernel_decoding",),
        tasks=("context_integration",),
    ),
    Claim(
        id="alt_1_codes_the_relevant_coherence_alone",
        text="In alt-1 only the relevant coherence is (barely) decodable linearly, and context only nonlinearly",
        criterion=f"at the best time: R² of the relevant coherence at least {HARDLY:g} and of the irrelevant one "
        "below, by linear decoders; context less than half of the way from chance to perfect by a linear decoder and "
        f"at least half by one with a radial kernel. Reproduced: both in {100 * MOST:.0f} % of solved alt-1; partly: "
        "one of them in half",
        judge=relevant_alone,
        reads=("kernel_decoding",),
        tasks=("context_integration",),
    ),
    Claim(
        id="alt_1_codes_orthogonally_to_its_inputs",
        text="In alt-1 the subspaces of weights and of regression are nearly orthogonal",
        criterion="smallest principal angle between the weights of evidence and context and the regression axes of "
        f"coherences and context at the start of the delay. Reproduced: median of at least {ORTHOGONAL:g}° in solved "
        "alt-1, and larger than in solved standards with an interval that excludes 0; partly: one of the two",
        judge=orthogonal_subspaces,
        reads=("axes",),
        tasks=("context_integration",),
        intervals=1,
    ),
    Claim(
        id="alt_1_angle_axis_rotates",
        text="In alt-1 the axis that codes the angle rotates during the delay, and is output-relevant intermittently",
        criterion="regression plane of the angle over the delay, against its start and the output space. Reproduced: "
        f"turns by at least {ORTHOGONAL:g}° in the median of solved alt-1, and by more than in solved standards; its "
        "largest share in the output space is larger than theirs, both with intervals that exclude 0; partly: one of "
        "the two",
        judge=rotating_angle_axis,
        reads=("axes",),
        tasks=("memory_pro",),
        intervals=2,
    ),
    Claim(
        id="standards_cluster_by_gain",
        text="Standards cluster by their initial gain in dynamical similarity",
        criterion=f"silhouette of gains in the distances between solved standards. Reproduced: at least {CLUSTERED:g}, "
        f"with p < {LEVEL:g} against permuted gains; partly: p < {LEVEL:g} alone",
        judge=clusters_by_gain,
        reads=("dsa",),
    ),
    Claim(
        id="residual_predictivity_is_in_the_output",
        text="What alternatives still predict of standards vanishes in the readout's null space",
        criterion="median r² from solved alternatives to solved standards above that with trials shuffled. Reproduced: "
        f"at most {VANISHED:g} in null space, and more in all activity; partly: at most half of that in all activity",
        judge=residual_vanishes,
        reads=("predictivity",),
    ),
)
"""The statements, in the order of the paper's argument."""
