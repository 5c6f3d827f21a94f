"""Statements on networks that are trained on a distribution of errors, in our words, with criteria that are ours.

Source: "Setting up for failure: automatic discovery of the neural mechanisms of cognitive errors" (arXiv 2512.04808),
whose results are not numbers. Statements on alternatives are ours. The tasks are those of the study `failure`. Criteria
were fixed before any network of that study was trained, and after a pilot of one network of its first task. The two by
`item_alignment` were added when the study had shown that `alignment` cannot rise, with the criteria of those that they
are to replace; before the networks that they judge were trained, and after pilots of two (docs/failure.md).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool

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
from insd.cohorts import STANDARD, network_labels, of_role, reference_labels, solved

HALF = 0.5
"""Null-space r2 to the reference below which an alternative is a different circuit."""
WEIGHT = 0.03
"""How far the weight of the cued item may be from that of the model of responses."""
LENGTH = 0.05
"""How far the relative length of the control's responses may be from 1."""
SWAPS = 0.05
"""How far the share of swaps at a distance of features may be from that of the model."""
SAME_WEIGHT = 0.05
"""How far each weight of an alternative may be from that of its reference."""
_NOTHING: Answer = ("no network of this task in this grid", NO_ANSWER)


def _of(evidence: Evidence, rows: pd.DataFrame) -> xr.Dataset | None:
    """What the analysis knows of some networks; None where it knows nothing."""
    if "behaviour" not in evidence.analyses:
        return None
    found = evidence.analyses["behaviour"]
    labels = [label for label in network_labels(rows) if label in found["network"].values]
    return found.sel(network=labels) if labels else None


def _all_standards(evidence: Evidence) -> xr.Dataset | None:
    """Standards, solved or not: a seed that fails counts against a statement."""
    return _of(evidence, of_role(evidence.table, STANDARD))


def _of_all(holds: Bool[np.ndarray, "network"]) -> str:
    """Of a statement on all networks."""
    return by_majority(float(holds.mean()), most=1.0)


def _each(values: np.ndarray, decimals: int = 2) -> str:
    return ", ".join(f"{value:.{decimals}f}" for value in values)


def learned_shares(evidence: Evidence) -> Answer:
    """The weight of the cued item is that of the model, and there are two modes."""
    found = _all_standards(evidence)
    if found is None:
        return _NOTHING
    weight, expected = (found[name].sel(component="cued").values for name in ("weight", "expected_weight"))
    gain = found["bic_without_swaps"].values
    said = f"weights of the cued item {_each(weight)}, of the model {expected.mean():.2f}; BIC without swaps higher by "
    return f"{said}{_each(gain, 0)}", _of_all((np.abs(weight - expected) <= WEIGHT) & (gain > 0))


def least_squares_average(evidence: Evidence) -> Answer:
    """Responses of networks trained on the squared error have the length of the mean."""
    found = _all_standards(evidence)
    if found is None:
        return _NOTHING
    ratios = found["length_ratio"].values
    said = "; ".join(
        f"{apart} degrees apart: {_each(of, 3)}" for apart, of in zip(found["apart"].values, ratios.T, strict=True)
    )
    return f"length over that of the mean, {said}", _of_all((np.abs(ratios - 1) <= LENGTH).all(1))


def swaps_by_distance(evidence: Evidence) -> Answer:
    """Swaps are as frequent as the model has them at every distance of features."""
    found = _all_standards(evidence)
    if found is None:
        return _NOTHING
    off = np.abs((found["swaps"] - found["expected_swaps"]).values)
    means = (found[name].mean("network").values for name in ("swaps", "expected_swaps"))
    said = "swaps by distance {}, of the model {}".format(*(_each(one) for one in means))
    return f"{said}; largest difference of each network {_each(off.max(1), 3)}", _of_all((off <= SWAPS).all(1))


def _rise(evidence: Evidence, name: str, verdict: Callable[[float, float], str]) -> Answer:
    """How much an alignment rises, and the verdict from the ends of its interval."""
    found = _all_standards(evidence)
    if found is None:
        return _NOTHING
    rises = pd.Series(found[name].values, found["network"].values).dropna()
    mean, low, high = evidence.mean(rises)
    if not np.isfinite(low):
        return f"{len(rises)} networks with two planes", NO_ANSWER
    said = f"mean rise {interval_text((mean, low, high), 3)}, {len(rises)} networks"
    return said, verdict(low, high)


def _rises(low: float, high: float) -> str:
    return REPRODUCED if low > 0 else PARTLY if high > 0 else NOT


def _stays(low: float, high: float) -> str:
    return REPRODUCED if low <= 0 else NOT


def planes_align(evidence: Evidence) -> Answer:
    """The planes of both items turn to each other during the cue."""
    return _rise(evidence, "alignment_rise", _rises)


def planes_stay(evidence: Evidence) -> Answer:
    """Without swaps they do not."""
    return _rise(evidence, "alignment_rise", _stays)


def item_planes_align(evidence: Evidence) -> Answer:
    """The planes of two given items turn to each other during the cue."""
    return _rise(evidence, "item_alignment_rise", _rises)


def item_planes_stay(evidence: Evidence) -> Answer:
    """Without swaps they do not."""
    return _rise(evidence, "item_alignment_rise", _stays)


def other_circuits(evidence: Evidence) -> Answer:
    """Alternatives make the same errors."""
    rows = solved(evidence.alternatives)
    found = _of(evidence, rows)
    if found is None:
        return "no alternative that solves this task in this grid", NO_ANSWER
    known = evidence.analyses["behaviour"]["weight"]
    rows = rows[[label in found["network"].values for label in network_labels(rows)]]
    off = np.abs(known.sel(network=network_labels(rows)).values - known.sel(network=reference_labels(rows)).values)
    r2 = rows["r2_null_to_reference"].to_numpy(float)
    said = f"largest difference of a weight {_each(off.max(1), 3)}; null-space r² to the reference {_each(r2)}"
    return said, by_majority(float(((off <= SAME_WEIGHT).all(1) & (r2 < HALF)).mean()))


_ALL = "in all standards of the task, solved or not. Partly: in more than half"

CLAIMS = Publication(
    citation="Setting up for failure (2025)",
    source="arXiv 2512.04808, Setting up for failure: automatic discovery of the neural mechanisms of cognitive errors",
    claims=(
        Claim(
            id="learned_shares",
            text="Networks trained by diffusion swap as often as the model of responses",
            criterion=(
                f"the fitted weight of the cued item is within {WEIGHT:g} of the model's, and the Bayesian information "
                f"criterion prefers a mixture with swaps, {_ALL}"
            ),
            judge=learned_shares,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_swap",),
        ),
        Claim(
            id="least_squares_average",
            text="Networks trained on the squared error report the average of both items",
            criterion=(
                f"mean length of responses within {100 * LENGTH:g} % of that of the model's mean, for items about 90 "
                f"and about 180 degrees apart, {_ALL}"
            ),
            judge=least_squares_average,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_swap_mean",),
        ),
        Claim(
            id="swaps_by_distance",
            text="With a cue that is a feature, swaps depend on the distance of features as in the model",
            criterion=f"the fitted weight of swaps is within {SWAPS:g} of the model's in four bins of distance, {_ALL}",
            judge=swaps_by_distance,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_feature",),
        ),
        Claim(
            id="planes_align",
            text="Where swaps depend on distance, the planes of both items align during the cue",
            criterion=(
                "mean alignment before the report minus that before the cue: its interval is above 0. Partly: not all "
                "of it is below"
            ),
            judge=planes_align,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_feature",),
            intervals=1,
        ),
        Claim(
            id="planes_stay",
            text="Without swaps, the planes do not align",
            criterion="the same difference: its interval is not above 0",
            judge=planes_stay,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_certain",),
            intervals=1,
        ),
        Claim(
            id="item_planes_align",
            text="Where swaps depend on distance, the planes of two given items align during the cue",
            criterion=(
                "mean `item_alignment` before the report minus that before the cue: its interval is above 0. Partly: "
                "not all of it is below"
            ),
            judge=item_planes_align,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_feature",),
            intervals=1,
        ),
        Claim(
            id="item_planes_stay",
            text="Without swaps, the planes of two given items do not align",
            criterion="the same difference: its interval is not above 0",
            judge=item_planes_stay,
            unsolved="standards",
            reads=("behaviour",),
            tasks=("vwm_certain",),
            intervals=1,
        ),
        Claim(
            id="other_circuits",
            text="Several circuits explain the same errors",
            criterion=(
                f"each weight is within {SAME_WEIGHT:g} of the reference's and null-space r² to it below {HALF:g} in "
                f"at least {100 * MOST:g} % of solved alternatives. Partly: in more than half"
            ),
            judge=other_circuits,
            reads=("behaviour",),
            tasks=("vwm_swap",),
        ),
    ),
)
"""The statements."""
