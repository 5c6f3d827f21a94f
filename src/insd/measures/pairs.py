"""How similar the activity of networks is: linear predictivity and other measures, for all pairs of a task."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.kept import Kept, Pair
from insd.measures.base import Activity, Measure, Statistics, both_ways
from insd.measures.predictivity import Predictivity, explained_share
from insd.predictivity import null_projector_array
from insd.readouts import why_no_null_space
from insd.samples import can_be_shuffled, shuffled_trials

logger = logging.getLogger("insd.measures.pairs")

SPACES = ("full", "null")
"""The spaces in which activity is compared: all of it, and the null space of the readout. Without a readout, all
activity counts in both."""


@dataclass(frozen=True)
class Prepared:
    """What comparisons ask of one network, by space."""

    statistics: Mapping[str, Statistics]
    """What linear predictivity and the products between networks need."""
    by_measure: Mapping[str, Mapping[str, Any]]
    """What each measure prepared, by its name."""

    @property
    def directions(self) -> Float[np.ndarray, "trial time direction"]:
        """Orthonormal basis of the network's activity, the same in all spaces."""
        return self.statistics["full"].directions


def prepare(
    rates: Float[np.ndarray, "trial time unit"],
    output_weights: Float[np.ndarray, "output unit"] | None,
    measures: Sequence[Measure],
) -> Prepared:
    """One network's activity in full space and in the null space of its readout, as the measures need it.

    If the readout leaves no null space, activity does not vary there. Activity without a readout, such as a recording,
    counts there as a whole.
    """
    full = Activity(rates)
    statistics = {"full": full.statistics}
    by_measure = {"full": {measure.name: measure.prepare(full) for measure in measures}}
    if output_weights is None:
        return Prepared(statistics | {"null": statistics["full"]}, by_measure | {"null": by_measure["full"]})
    units = output_weights.shape[1]
    projector = np.zeros((units, units)) if why_no_null_space(output_weights) else null_projector_array(output_weights)
    null = full.projected(projector)
    statistics["null"] = null.statistics
    by_measure["null"] = {measure.name: measure.prepare(null) for measure in measures}
    return Prepared(statistics, by_measure)


def similarity(
    networks: Mapping[str, Prepared], measures: Sequence[Measure], seed: int
) -> tuple[xr.Dataset, xr.Dataset]:
    """All measures between all networks of a task, by the contracts of `predictivity.nc` and `similarity.nc`.

    Parameters
    ----------
    networks : by label, prepared on the same trials for these measures.
    seed : of the permutation of trials in the shuffled baseline of predictivity.

    Returns
    -------
    Two datasets, predictivity and similarity: see `joined`.
    """
    kept, labels = Kept(), list(networks)
    compare(networks, kept.missing(labels), measures, seed, kept)
    return joined(labels, measures, kept)


def compare(
    networks: Mapping[str, Prepared], pairs: Sequence[Pair], measures: Sequence[Measure], seed: int, kept: Kept
) -> None:
    """Compare pairs of networks by all measures, and add what is found to `kept`.

    The other parameters are those of `similarity`. All measures of a pair come of the same products of bases, which are
    most of the work. Each pair has products of its own, so that rounding does not depend on which others there are.
    """
    steps = next(iter(networks.values())).statistics["full"].steps
    unshuffled, shuffles = np.argsort(shuffled_trials(steps, seed)), can_be_shuffled(steps)
    samples = {label: _flat(one.directions) for label, one in networks.items()}
    # Shuffling the trials of the target is the same as shuffling back those of the predictor.
    predictors = {label: _flat(one.directions[unshuffled]) for label, one in networks.items()} if shuffles else {}
    time_courses = {label: one.statistics["full"].time_course for label, one in networks.items()}
    predictivity = Predictivity()
    for number, pair in enumerate(pairs):
        if number % 500 == 0:
            logger.info("%d of %d pairs", number, len(pairs))
        ways = (pair, pair[::-1])
        r2 = np.full((3, len(SPACES), len(ways)), np.nan)
        values = np.full((len(measures), len(SPACES), len(ways)), np.nan)
        product = samples[pair[0]].T @ samples[pair[1]]
        for place, space in enumerate(SPACES):
            x, y = (networks[label].statistics[space] for label in pair)
            overlap = x.basis.T @ product.astype(np.float64) @ y.basis
            r2[0, place] = predictivity.compare(x, y, overlap), predictivity.compare(y, x, overlap.T)
            for k, measure in enumerate(measures):
                a, b = (networks[label].by_measure[space][measure.name] for label in pair)
                values[k, place] = both_ways(measure, a, b, overlap)
        for way, (predictor, target) in enumerate(ways if shuffles else ()):
            shuffled = predictors[predictor].T @ samples[target]
            # Their means over trials are those of the unshuffled ones.
            residual = shuffled - time_courses[predictor].T @ time_courses[target]
            for place, space in enumerate(SPACES):
                x, y = (networks[label].statistics[space] for label in (predictor, target))
                overlap = x.basis.T @ shuffled.astype(np.float64) @ y.basis
                r2[1, place, way] = predictivity.compare(x, y, overlap)
                if y.residual_variances.size:
                    overlap = x.residual_basis.T @ residual @ y.residual_basis
                    r2[2, place, way] = explained_share(overlap, y.residual_variances)
        # Rounding may put shares outside their range.
        kept.add_pair(pair, {"r2": r2.clip(0.0, 1.0), "value": values})


def joined(labels: Sequence[str], measures: Sequence[Measure], kept: Kept) -> tuple[xr.Dataset, xr.Dataset]:
    """What `kept` has of all pairs of networks, by the contracts of `predictivity.nc` and `similarity.nc`.

    Returns
    -------
    Two datasets, predictivity and similarity.

    r2 (space, predictor, target) : in [0, 1], without ridge.
    r2_shuffled (space, predictor, target) : the same with the trials of the targets permuted, among those of one
        length, which keeps what all trials have in common; about rank / samples where they have nothing.
    r2_shuffled_residual (space, predictor, target) : the same with the mean over trials at each time taken out of both
        networks' activity, and so without the time course that all trials share: what is left of `r2_shuffled` is
        chance, about rank / independent samples, of which there are fewer than samples where activity is slow.
    value (measure, network, network_to) : measures named ``{measure}_{space}``; `kind` says whether equal networks have
        1 (similarity) or 0 (distance).

    The two shuffled ones are NaN where too many trials are the only ones of their length. Values are NaN where a
    network's activity does not vary; such a target has no r2, and such a predictor an r2 of 0.
    """
    count = len(labels)
    r2 = np.empty((3, len(SPACES), count, count))
    values = np.empty((len(measures), len(SPACES), count, count))
    for i, j, found in kept.found(labels):
        for way, at in enumerate(((i, j), (j, i))):
            r2[..., *at], values[..., *at] = found["r2"][..., way], found["value"][..., way]
    dimensions = ("space", "predictor", "target")
    predictivities = xr.Dataset(
        {"r2": (dimensions, r2[0]), "r2_shuffled": (dimensions, r2[1]), "r2_shuffled_residual": (dimensions, r2[2])},
        coords={"space": list(SPACES), "predictor": labels, "target": labels},
    )
    names = [f"{measure.name}_{space}" for measure in measures for space in SPACES]
    kinds = [measure.kind for measure in measures for _ in SPACES]
    similarities = xr.Dataset(
        {"value": (("measure", "network", "network_to"), values.reshape(len(names), count, count))},
        coords={"measure": names, "kind": ("measure", kinds), "network": labels, "network_to": labels},
    )
    return predictivities, similarities


def _flat(directions: Float[np.ndarray, "trial time direction"]) -> Float[np.ndarray, "sample direction"]:
    return directions.reshape(np.prod(directions.shape[:2]), directions.shape[-1])
