"""Networks and recordings compared by their activity alone: arrays in, one table of all measures out.

import insd

table = insd.compare({"mine": rates, "theirs": (rates, readout)})
table.query("measure == 'predictivity' and space == 'null'")
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from insd import plugins
from insd.errors import InsdError
from insd.measures.base import Measure, find_measures, rounding
from insd.measures.pairs import SPACES, Prepared, prepare, similarity
from insd.measures.predictivity import Predictivity
from insd.predictivity import null_projector_array
from insd.readouts import why_no_null_space
from insd.samples import can_be_shuffled, lasting, shuffled_trials

COLUMNS = ("measure", "space", "from", "to", "value", "chance", "shuffled", "lowest", "highest", "direction", "source")
"""The columns of the table."""
LEAST_SAMPLES = 8
"""Fewest samples."""
LEAST_STEPS = 8
"""Fewest time steps of the longest trial for measures of how activity evolves."""

Rates = Float[np.ndarray, "trial time _"]
"""Rates of one network, NaN after the end of each trial."""
Readout = Float[np.ndarray, "output _"] | None
"""The weights of a readout, if there is one."""


class ComparisonError(InsdError):
    """Activity cannot be compared; the message names the network, the fault and the remedy."""


def compare(networks: Mapping[str, Any], measures: Sequence[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """All measures between all pairs of networks, in full space and in the null spaces of their readouts.

    Parameters
    ----------
    networks : two or more by name, each `rates` or `(rates, readout)`. Rates are (trial, time, unit) on the same trials
        for all networks, with NaN after the end of trials that are shorter than others; or (sample, unit) on the same
        samples. Numbers of units may differ. A readout is an array (output, unit) or a `torch.nn.Linear`. Arrays are
        NumPy's, or anything that NumPy reads, or tensors of PyTorch.
    measures : by name, or `module:Class` of your own; if None, all of the library (docs/analyses/similarity.md).
    seed : of the permutations in `chance`.

    Returns
    -------
    A table with a row for each measure, space and pair; of a measure that is not symmetric, one for each direction.

    measure, space : the space is "full", or "null" for the null space of each network's own readout. A network without
        a readout has none, and all its activity counts there, as for recordings. Pairs without any readout have no rows
        in null space.
    from, to : names of the networks. Predictivity is the share of the variance of `to` that `from` explains.
    value : of the measure; each is defined in its file of `insd.measures`.
    chance : the value with `to` shuffled. The time course that all trials share survives the shuffling of trials. NaN
        where there is nothing to shuffle, such as a single trial.
    shuffled : what changes places for `chance`: "trials" (of the same length), "samples" or, for measures of how
        activity evolves, "time steps".
    lowest, highest : the range of the measure.
    direction : "similarity", 1 between equal networks, or "distance", 0 between equal networks.
    source : the publication.

    Measures of how activity evolves (`Measure.temporal`) have no rows for (sample, unit) or very short trials, and are
    refused there if `measures` names them. Raises ComparisonError, in one line that names the network, where activity
    or a readout cannot be used.
    """
    if not isinstance(networks, Mapping):
        raise ComparisonError(f"networks are a {type(networks).__name__}; give a dict of them by name")
    if isinstance(measures, str):
        raise ComparisonError(f"measures = {measures!r}: give a list of names")
    if len({str(name) for name in networks}) < 2:
        raise ComparisonError(f"there is {len(networks)} network to compare; give two or more, by different names")
    given = {str(name): _read(str(name), one) for name, one in networks.items()}
    rates = {name: one for name, (one, _) in given.items()}
    readouts = {name: readout for name, (_, readout) in given.items()}
    _must_be_of_the_same_samples(rates)
    has_trials = next(iter(rates.values())).ndim == 3
    chosen = _chosen(measures, next(iter(rates.values())))
    # Samples without trials are trials of one time step, of which each may change places with any other.
    trials = {name: one if has_trials else one[:, None] for name, one in rates.items()}
    others = [measure for measure in chosen if not isinstance(measure, Predictivity)]
    prepared = {name: prepare(one, readouts[name], others) for name, one in trials.items()}
    predictivity, similarities = similarity(prepared, others, seed)

    steps = next(iter(prepared.values())).statistics["full"].steps
    order = shuffled_trials(steps, seed)
    shuffled = {name: _shuffled(one, readouts[name], others, order, seed) for name, one in trials.items()}
    moves = can_be_shuffled(steps)
    rows = []
    for measure in chosen:
        by = "time steps" if measure.temporal else "trials" if has_trials else "samples"
        for space in SPACES:
            for pair in combinations(given, 2):
                if space == "null" and all(readouts[name] is None for name in pair):
                    continue
                for a, b in (pair,) if measure.symmetric else (pair, pair[::-1]):
                    if isinstance(measure, Predictivity):
                        of_pair = predictivity.sel(space=space, predictor=a, target=b)
                        value, chance = of_pair["r2"].item(), of_pair["r2_shuffled"].item()
                    else:
                        name = f"{measure.name}_{space}"
                        value = similarities["value"].sel(measure=name, network=a, network_to=b).item()
                        prepared_a, shuffled_b = (
                            one.by_measure[space][measure.name] for one in (prepared[a], shuffled[b])
                        )
                        chance = float(measure.compare(prepared_a, shuffled_b))
                    about = (by, *measure.bounds, measure.kind, measure.source)
                    rows.append(
                        (measure.name, space, a, b, value, chance if moves or measure.temporal else np.nan, *about)
                    )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _chosen(names: Sequence[str] | None, rates: Float[np.ndarray, "*samples unit"]) -> list[Measure]:
    """The measures that are named, or else all that these rates allow, predictivity first."""
    found = find_measures(plugins.names("measure") if names is None else names)
    found.sort(key=lambda measure: not isinstance(measure, Predictivity))
    steps = int(lasting(rates).sum(1).max()) if rates.ndim == 3 else 1
    if steps >= LEAST_STEPS:
        return found
    if names is not None and (temporal := [measure.name for measure in found if measure.temporal]):
        raise ComparisonError(
            f"{temporal[0]}: compares how activity evolves, and trials have {steps} time step(s); give (trial, time, "
            f"unit) with {LEAST_STEPS} or more, or leave this measure out"
        )
    return [measure for measure in found if not measure.temporal]


def _shuffled(
    rates: Rates, readout: Readout, measures: Sequence[Measure], order: Int[np.ndarray, "trial"], seed: int
) -> Prepared:
    """One network prepared with its trials in a different order or, for temporal measures, its time steps."""
    by_trial = prepare(rates[order], readout, [measure for measure in measures if not measure.temporal])
    temporal = [measure for measure in measures if measure.temporal]
    if not temporal:
        return by_trial
    steps, drawn = lasting(rates).sum(1), np.random.default_rng(seed).permutation(rates.shape[1])
    moved = rates.copy()
    for length in np.unique(steps):
        moved[steps == length, :length] = rates[steps == length][:, drawn[drawn < length]]
    by_time = prepare(moved, readout, temporal)
    both = {space: {**by_trial.by_measure[space], **by_time.by_measure[space]} for space in SPACES}
    return Prepared(by_trial.statistics, both)


def _read(name: str, given: Any) -> tuple[np.ndarray, Readout]:
    """Rates and readout of one network as arrays, if it can be compared by itself."""
    rates, readout = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    found = _array(name, "rates", rates)
    flat = _counted(name, found)
    if len(flat) < LEAST_SAMPLES:
        raise ComparisonError(f"{name!r}: has {len(flat)} samples; give {LEAST_SAMPLES} or more")
    if not _varies(flat, 0.0):
        raise ComparisonError(f"{name!r}: its activity is constant, so no measure is defined; check what was recorded")
    if readout is None:
        return found, None
    weights = _readout(name, readout, found.shape[-1])
    error = 4 * float(np.finfo(flat.dtype).eps) * float(np.abs(flat).max())
    if not _varies(flat @ null_projector_array(weights), error):
        raise ComparisonError(
            f"{name!r}: its activity is constant in the null space of its readout; leave out the readout to compare "
            "all of it"
        )
    return found, weights


def _counted(name: str, rates: np.ndarray) -> Float[np.ndarray, "sample unit"]:
    """The rates at all samples before the ends of trials, if they are finite."""
    if rates.ndim not in (2, 3):
        raise ComparisonError(
            f"{name!r}: the rates have shape {rates.shape}; give (trial, time, unit) or (sample, unit)"
        )
    if rates.shape[-1] < 2:
        raise ComparisonError(f"{name!r}: has {rates.shape[-1]} unit(s); measures compare patterns over 2 or more")
    counted = np.ones(rates.shape[:-1], dtype=bool)
    # What follows the end of a trial is NaN, without a gap.
    if rates.ndim == 3 and (lasting(rates)[:, :-1] >= lasting(rates)[:, 1:]).all():
        counted = lasting(rates)
    if not np.isfinite(rates[counted]).all():
        axes = ("trial", "time", "unit") if rates.ndim == 3 else ("sample", "unit")
        place = np.argwhere(counted[..., None] & ~np.isfinite(rates))[0]
        at = ", ".join(f"{axis} {number}" for axis, number in zip(axes, place, strict=True))
        raise ComparisonError(
            f"{name!r}: the rates are not finite at {at}; leave out such trials or units (NaN of all units marks the "
            "end of a trial)"
        )
    return rates[counted]


def _readout(name: str, given: Any, units: int) -> Float[np.ndarray, "output unit"]:
    """A readout as an array, if it leaves a null space."""
    weights = _array(name, "readout", getattr(given, "weight", given))
    if weights.ndim != 2 or weights.shape[1] != units:
        raise ComparisonError(
            f"{name!r}: the readout has shape {weights.shape}; needs (output, unit) with {units} units"
        )
    if not np.isfinite(weights).all():
        raise ComparisonError(f"{name!r}: the readout has weights that are not finite; correct it or leave it out")
    if why := why_no_null_space(weights):
        raise ComparisonError(
            f"{name!r}: the readout: {why}; correct the readout, or leave it out to compare all activity"
        )
    return weights


def _array(name: str, what: str, given: Any) -> np.ndarray:
    """An array of floating-point numbers."""
    if np.ma.is_masked(given):
        raise ComparisonError(
            f"{name!r}: the {what} are a masked array; put NaN, or what is meant, in place of the mask"
        )
    try:
        plain = given.detach().cpu() if hasattr(given, "detach") else given
        array = np.asarray(plain)
        return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64, casting="safe")
    except (TypeError, ValueError) as error:
        raise ComparisonError(f"{name!r}: the {what} cannot be read as an array of numbers ({error})") from None


def _varies(activity: Float[np.ndarray, "sample unit"], error: float) -> bool:
    """Whether activity varies over samples by more than rounding and an error of each of its numbers."""
    centred = activity.astype(np.float64) - activity.mean(0, dtype=np.float64)
    return float(np.square(centred).sum()) > max(rounding(activity), activity.size * error**2)


def _must_be_of_the_same_samples(rates: Mapping[str, np.ndarray]) -> None:
    first, *others = rates
    for name in others:
        a, b = rates[first], rates[name]
        if a.ndim != b.ndim:
            raise ComparisonError(
                f"{name!r}: the rates have shape {b.shape} and those of {first!r} {a.shape}; give both as (trial, "
                "time, unit) or both as (sample, unit)"
            )
        if a.shape[:-1] != b.shape[:-1]:
            axes = "(trials, times)" if a.ndim == 3 else "samples"
            raise ComparisonError(
                f"{name!r}: is on {b.shape[:-1]} {axes} and {first!r} on {a.shape[:-1]}; record both on the same "
                "trials, in the same order"
            )
        if a.ndim == 3 and not np.array_equal(lasting(a), lasting(b)):
            trial = int(np.argmax((lasting(a) != lasting(b)).any(1)))
            raise ComparisonError(
                f"{name!r}: trial {trial} lasts {int(lasting(b)[trial].sum())} time steps and in {first!r} "
                f"{int(lasting(a)[trial].sum())}; record both on the same trials, in the same order"
            )
