"""How measures of similarity respond to irrelevant dimensions and to scale, on one network's activity."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.measures.base import Activity, Measure, Statistics, both_ways, overlap_of
from insd.measures.predictivity import Predictivity
from insd.samples import samples

ADDED_DIMENSIONS = 20
"""Irrelevant dimensions that are added."""
ADDED_VARIANCES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variance of the added dimensions over that of the reference."""
NEW_TO_REFERENCE, REFERENCE_TO_NEW = "_new_to_reference", "_reference_to_new"
"""What the names of the two rows of a measure that is not symmetric end in: from the changed copy to the reference, and
back."""
SCALES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Factors by which activity is multiplied."""


def responses(rates: Float[np.ndarray, "trial time unit"], measures: Sequence[Measure], seed: int) -> xr.Dataset:
    """How every measure between a reference and a changed copy of it responds to the change.

    The copy has either `ADDED_DIMENSIONS` further units of white noise, whose summed variance is one of
    `ADDED_VARIANCES` times that of the reference's rates, or its rates multiplied by one of `SCALES`. The code of the
    reference is whole in every copy: a measure that falls takes a network that keeps the old code for a different one.

    Parameters
    ----------
    measures : those compared with linear predictivity, which comes first.
    seed : of the added noise.

    Returns
    -------
    value (change, measure, level) : changes "added dimensions" and "scale". A measure that is not symmetric has two
        rows, ``{measure}_new_to_reference`` and ``{measure}_reference_to_new``.
    amount (change, level) : the relative variance, or the factor.
    long_name, kind, highest (measure) : the measure's name in figures, "similarity" or "distance", and its largest
        value.

    Rows with fewer levels end in NaN.

    Source: the argument of Qian & Pehlevan (2026) for the direction new -> old of the penalty.
    """
    random = np.random.default_rng(seed)
    noise = random.standard_normal((*rates.shape[:2], ADDED_DIMENSIONS))
    deviation = np.sqrt(samples(rates).var(0).sum() / ADDED_DIMENSIONS)
    changes = {
        "added dimensions": {
            level: np.concatenate([rates, np.sqrt(level) * deviation * noise], axis=-1) for level in ADDED_VARIANCES
        },
        "scale": {scale: scale * rates for scale in SCALES},
    }
    compared: list[Measure] = [Predictivity(), *(one for one in measures if not isinstance(one, Predictivity))]
    about = [row for measure in compared for row in _rows(measure)]
    most = max(map(len, changes.values()))
    values = np.full((len(changes), len(about), most), np.nan)
    amounts = np.full((len(changes), most), np.nan)
    reference, of_reference = _prepared(rates, compared)
    for row, copies in enumerate(changes.values()):
        for column, (amount, copy) in enumerate(copies.items()):
            amounts[row, column] = amount
            changed, of_copy = _prepared(copy, compared)
            overlap = overlap_of(changed, reference)
            values[row, :, column] = [
                value
                for measure, new, old in zip(compared, of_copy, of_reference, strict=True)
                for value in both_ways(measure, new, old, overlap)[: 1 if measure.symmetric else 2]
            ]
    names, long_names, kinds, highest = zip(*about, strict=True)
    return xr.Dataset(
        {
            "value": (("change", "measure", "level"), values),
            "amount": (("change", "level"), amounts),
            "long_name": ("measure", list(long_names)),
            "kind": ("measure", list(kinds)),
            "highest": ("measure", list(highest)),
        },
        coords={"change": list(changes), "measure": list(names)},
    )


def _prepared(rates: Float[np.ndarray, "trial time unit"], measures: Sequence[Measure]) -> tuple[Statistics, list]:
    """A network's statistics, and what each measure prepares of it."""
    activity = Activity(rates)
    return activity.statistics, [measure.prepare(activity) for measure in measures]


def _rows(measure: Measure) -> list[tuple[str, str, str, float]]:
    """Name, long name, kind and highest value of each row of a measure."""
    ways = {NEW_TO_REFERENCE: " copy → network", REFERENCE_TO_NEW: " network → copy"}
    if measure.symmetric:
        ways = {"": ""}
    return [
        (measure.name + suffix, measure.long_name + way, measure.kind, measure.bounds[1])
        for suffix, way in ways.items()
    ]
