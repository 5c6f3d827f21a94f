"""How similar the activity of networks is: linear predictivity and other measures, for all pairs of a task."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.measures.base import Activity, Measure, Statistics, both_ways
from insd.measures.predictivity import Predictivity, explained_share
from insd.predictivity import null_projector_array
from insd.readouts import why_no_null_space
from insd.samples import can_be_shuffled, shuffled_trials

logger = logging.getLogger("insd.measures.pairs")

SPACES = ("full", "null")
"""The spaces in which activity is compared: all of it, and the null space of the readout. Without a readout, all
activity counts in both."""
BLOCK = 4
"""Networks whose products with all others are held at once: one at a time, a product takes a sixth longer."""


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

    Both come of the same products of bases, which are most of the work.

    Parameters
    ----------
    networks : by label, prepared on the same trials for these measures.
    seed : of the permutation of trials in the shuffled baseline of predictivity.

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
    labels = list(networks)
    count = len(labels)
    prepared = list(networks.values())
    edges = np.cumsum([0] + [one.directions.shape[-1] for one in prepared])
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    stacked = np.concatenate([one.directions for one in prepared], axis=-1)
    flat = stacked.reshape(stacked.shape[0] * stacked.shape[1], stacked.shape[2])
    logger.info("%d networks of %d directions in all, over %d samples", count, flat.shape[1], flat.shape[0])
    steps = prepared[0].statistics["full"].steps
    unshuffled = np.argsort(shuffled_trials(steps, seed))

    predictivity = Predictivity()
    values = np.full((len(measures), len(SPACES), count, count), np.nan)
    time_courses = np.concatenate([one.statistics["full"].time_course for one in prepared], axis=-1)
    r2 = np.full((3, len(SPACES), count, count), np.nan)
    for i, one in enumerate(prepared):
        if i % BLOCK == 0:
            # The products of a few networks with all: those of all with all would outgrow every memory.
            block = slice(edges[i], edges[min(i + BLOCK, count)])
            of_block = flat[:, block].T @ flat[:, block.start :]
            # Shuffling the trials of the others is the same as shuffling back those of the block.
            of_shuffled = stacked[unshuffled, :, block].reshape(len(flat), -1).T @ flat
            # Their means over trials are those of the unshuffled ones.
            of_residual = of_shuffled - time_courses[:, block].T @ time_courses
        rows = slice(parts[i].start - block.start, parts[i].stop - block.start)
        for (number, space), (j, other) in product(enumerate(SPACES), enumerate(prepared)):
            x, y = one.statistics[space], other.statistics[space]
            shuffled = x.basis.T @ of_shuffled[rows, parts[j]].astype(np.float64) @ y.basis
            r2[1, number, i, j] = predictivity.compare(x, y, shuffled)
            if y.residual_variances.size:
                residual = x.residual_basis.T @ of_residual[rows, parts[j]] @ y.residual_basis
                r2[2, number, i, j] = explained_share(residual, y.residual_variances)
            if j < i:
                continue
            columns = slice(parts[j].start - block.start, parts[j].stop - block.start)
            overlap = x.basis.T @ of_block[rows, columns].astype(np.float64) @ y.basis
            r2[0, number, i, j] = predictivity.compare(x, y, overlap)
            r2[0, number, j, i] = predictivity.compare(y, x, overlap.T)
            for k, measure in enumerate(measures):
                a, b = (each.by_measure[space][measure.name] for each in (one, other))
                values[k, number, [i, j], [j, i]] = both_ways(measure, a, b, overlap)
    # Rounding may put shares outside their range.
    r2 = r2.clip(0.0, 1.0)
    if not can_be_shuffled(steps):
        r2[1:] = np.nan
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
