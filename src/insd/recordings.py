"""Recorded activity as the reference of a chain: read, and checked to be of the trials at hand.

A recording is of single trials, those of the bank, or averaged over the trials of each of some conditions. The latter
says by labels which trials these are, and has a time grid of its own: networks are averaged in the same way
(`averaged`).
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from insd.datasets import AGAIN, ENGINE, DatasetError, why_unreadable
from insd.predictivity import null_projector_array
from insd.readouts import why_no_null_space
from insd.samples import lasting, task_of, valid_steps
from insd.tasks.sessions import is_nwb, read_rates, session_fingerprint

MEANING = {
    "rates": "activity (trial, time, unit)",
    "output_weights": "readout (output, unit)",
    "fingerprint": "the attribute `fingerprint` of the trials of the recording",
}
"""What a recording holds, by name."""
AXES = {"rates": ("condition", "time", "unit"), "time": ("time",), "output_weights": ("output", "unit")}
"""What a recording that is averaged over trials holds besides labels, by name."""


def read_recording(path: str | os.PathLike, trials: xr.Dataset) -> dict[str, np.ndarray]:
    """The arrays `rates` (trial, time, unit) and, if present, `output_weights` (output, unit) of a recording.

    An npz file holds them and `fingerprint`, that of the trials (`trials.attrs["fingerprint"]`); in a NetCDF file the
    fingerprint is an attribute. What rates hold after the end of a trial is not read: they are NaN there.
    Where the file has `time` (s), or in NetCDF a dimension `condition`, the rates are averages over trials,
    (condition, time, unit), which need no fingerprint. Each label has the name of a condition of the trials. It
    says for each condition of the recording which value the trials have, (condition,), or between which two values,
    (condition, 2): from the first up to, but without, the second. What is read then also has `time` and
    `condition_of_trial` (trial,), the condition of each trial of the bank, or -1.

    Where the trials are those of this very file (`insd.tasks.recorded`), rates are the activity that was recorded in
    them, as the task says it: binned at dt, and smoothed.

    Raises DatasetError, naming the file, if something is missing, of a wrong shape, not finite, or from different
    trials, or if the readout leaves no null space.
    """
    if Path(path).exists() and is_of_session(path, trials):
        rates = _of_session(str(path), trials)
        return _usable(path, {"rates": rates}, valid_steps(trials))
    if is_nwb(str(path)):
        raise DatasetError(
            f"{path}: the trials of the config are not of this file; give the task the class 'recorded:{path}', or "
            "sample its trials again"
        )
    stored = _arrays(Path(path))
    if "time" in stored:
        return _read_averages(path, stored, trials)
    for name, averages in (("rates", ""), ("fingerprint", " or, for averages over conditions, `time` and labels")):
        if name not in stored:
            raise DatasetError(f"{path}: has no '{name}' ({MEANING[name]}); add it{averages}")
    made, expected = str(stored["fingerprint"]), trials.attrs["fingerprint"]
    if made != expected:
        task = task_of(trials)
        name, where = (f" {task}", f"results/{task}/trials/train.nc") if task else ("", "these trials")
        raise DatasetError(
            f"{path}: is of other trials (fingerprint {made}) than those of the config ({expected}); record the "
            f"activity on {where}, or give the task{name} the parameters that it had at the time of the recording"
        )
    shape = (trials.sizes["trial"], trials.sizes["time"])
    if stored["rates"].ndim != 3 or stored["rates"].shape[:2] != shape:
        raise DatasetError(
            f"{path}: 'rates' has shape {stored['rates'].shape}; needs (trial, time, unit) with {shape[0]} trials and "
            f"{shape[1]} times"
        )
    ended = ~valid_steps(trials)
    found = _usable(path, stored, ~ended)
    found["rates"][ended] = np.nan
    return found


def count_units(path: str | os.PathLike, trials: xr.Dataset) -> int:
    """The number of units of a recording, whose file may belong to trials other than these.

    Raises DatasetError if the activity that the task names is not in its file, or if another file has no rates.
    """
    if is_nwb(str(path)) or is_of_session(path, trials):
        return read_recording(path, trials)["rates"].shape[2]
    rates = _arrays(Path(path)).get("rates")
    if rates is None or rates.ndim != 3:
        found = "no 'rates'" if rates is None else f"'rates' of shape {rates.shape}"
        raise DatasetError(f"{path}: has {found}; needs activity (trial, time, unit) or (condition, time, unit)")
    return rates.shape[2]


def is_of_session(path: str | os.PathLike, trials: xr.Dataset) -> bool:
    """Whether trials were recorded in the same experiment, whose file has their activity."""
    return session_fingerprint(str(path)) == trials.attrs.get("session")


def _of_session(path: str, trials: xr.Dataset) -> Float[np.ndarray, "trial time unit"]:
    """The activity of a file in its own trials; NaN after their end."""
    how = json.loads(trials.attrs["session_activity"])
    starts, steps = trials["session_time"].values, valid_steps(trials).sum(1)
    rates = read_rates(path, how["activity"], how["units"], how["smoothing"], starts, steps, trials.attrs["dt"])
    return np.pad(rates, ((0, 0), (0, trials.sizes["time"] - rates.shape[1]), (0, 0)), constant_values=np.nan)


def _usable(
    path: str | os.PathLike, stored: Mapping[str, np.ndarray], counted: Bool[np.ndarray, "..."] | None = None
) -> dict[str, np.ndarray]:
    """Rates and readout in single precision, if they are finite, at the samples that count, and leave a null space."""
    units = stored["rates"].shape[2]
    if "output_weights" in stored and (
        stored["output_weights"].ndim != 2 or stored["output_weights"].shape[1] != units
    ):
        raise DatasetError(
            f"{path}: 'output_weights' has shape {stored['output_weights'].shape}; needs (output, unit) with {units} "
            "units"
        )
    found: dict[str, np.ndarray] = {}
    for name in ("rates", "output_weights"):
        if name not in stored:
            continue
        if stored[name].dtype.kind in "fiu":
            with np.errstate(over="ignore"):
                found[name] = stored[name].astype(np.float32)
        every = name == "output_weights" or counted is None
        if name not in found or not np.isfinite(found[name] if every else found[name][counted]).all():
            raise DatasetError(f"{path}: '{name}' holds values that are not finite numbers in single precision")
    if "output_weights" in found and (why := why_no_null_space(found["output_weights"])):
        raise DatasetError(
            f"{path}: 'output_weights': {why}; correct the readout, or leave it out to make all activity the reference"
        )
    return found


def _read_averages(
    path: str | os.PathLike, stored: Mapping[str, np.ndarray], trials: xr.Dataset
) -> dict[str, np.ndarray]:
    if "rates" not in stored:
        raise DatasetError(f"{path}: has no 'rates' (activity ({', '.join(AXES['rates'])})); add it")
    rates, grid = stored["rates"], stored["time"]
    if rates.ndim != 3 or grid.shape != rates.shape[1:2]:
        raise DatasetError(
            f"{path}: 'rates' has shape {rates.shape} and 'time' {grid.shape}; needs (condition, time, unit) and "
            "(time,)"
        )
    found = _usable(path, stored)
    if grid.dtype.kind not in "fiu" or not np.isfinite(grid).all():
        raise DatasetError(f"{path}: 'time' holds values that are not finite numbers")
    times = trials["time"].values
    first, last = times[0] - trials.attrs["dt"], times[-1]
    if len(grid) < 2 or not (np.diff(grid) > 0).all() or grid[0] < first - 1e-9 or grid[-1] > last + 1e-9:
        raise DatasetError(
            f"{path}: 'time' goes from {grid[0]:g} to {grid[-1]:g} in {len(grid)} steps; needs two or more rising "
            f"times, in s, within the trials, from {first:g} to {last:g}"
        )
    conditions = _condition_of_trial(path, stored, len(rates), trials)
    for condition in range(len(rates)):
        lasts = valid_steps(trials)[conditions == condition].any(0)
        if not lasts[times < grid[-1] + trials.attrs["dt"] / 2].all():
            raise DatasetError(
                f"{path}: condition {condition} goes on to {grid[-1]:g} s, and all its trials end before; shorten "
                "'time'"
            )
    return found | {"time": grid.astype(np.float64), "condition_of_trial": conditions}


def _condition_of_trial(
    path: str | os.PathLike, stored: Mapping[str, np.ndarray], count: int, trials: xr.Dataset
) -> Int[np.ndarray, "trial"]:
    """The condition of each trial by the labels of a recording; -1 of trials that are of none."""
    labels = dict(_labels(path, stored, count, trials))
    found = np.full(trials.sizes["trial"], -1)
    for condition in range(count):
        chosen = np.ones(len(found), dtype=bool)
        for name, of_conditions in labels.items():
            values, label = trials[name].values, of_conditions[condition]
            if np.ndim(label):
                chosen &= (values >= label[0]) & (values < label[1])
            elif values.dtype.kind == "f":
                chosen &= np.isclose(values, label)
            else:
                chosen &= values == label
        about = ", ".join(f"{name} = {of_conditions[condition].tolist()}" for name, of_conditions in labels.items())
        if not chosen.any():
            raise DatasetError(
                f"{path}: condition {condition} ({about}) has no trial in the bank; give values that trials have, or "
                "ranges of them as (condition, 2)"
            )
        if (found[chosen] >= 0).any():
            raise DatasetError(
                f"{path}: conditions {found[chosen].max()} and {condition} ({about}) share trials; make labels differ"
            )
        found[chosen] = condition
    return found


def _labels(
    path: str | os.PathLike, stored: Mapping[str, np.ndarray], count: int, trials: xr.Dataset
) -> Iterator[tuple[str, np.ndarray]]:
    """The labels of a recording by name, checked against the trials."""
    known = [str(name) for name in trials.coords if trials[name].dims == ("trial",)]
    given = [name for name in stored if name not in (*AXES, "fingerprint")]
    if not given:
        raise DatasetError(
            f"{path}: has no labels, which say which trials each condition is of; add one or more arrays (condition,) "
            f"named as the conditions of the trials: {', '.join(known)}"
        )
    for name in given:
        if name not in known:
            raise DatasetError(f"{path}: {name!r} is not a condition of the trials; they have: {', '.join(known)}")
        label, texts = stored[name], trials[name].dtype.kind not in "biuf"
        if label.shape not in ((count,), (count, 2)) or (label.ndim == 2 and texts):
            ranges = "" if texts else " or, for ranges, (condition, 2)"
            raise DatasetError(
                f"{path}: the label {name!r} has shape {label.shape}; needs (condition,){ranges} with {count} "
                "conditions"
            )
        if texts == (label.dtype.kind in "biuf"):
            raise DatasetError(
                f"{path}: the label {name!r} holds {label.dtype} and the trials {trials[name].dtype}; use their values"
            )
        yield name, label


def interpolation(times: Float[np.ndarray, "time"], grid: Float[np.ndarray, "grid"]) -> Float[np.ndarray, "grid time"]:
    """Weights that take what is known at some times to a grid: linearly, and constant before the first and after the
    last.
    """
    return np.stack([np.interp(grid, times, one) for one in np.eye(len(times))], axis=1)


def averaged(
    rates: Float[np.ndarray, "trial time unit"],
    conditions: Int[np.ndarray, "trial"],
    count: int,
    weights: Float[np.ndarray, "grid time"],
) -> Float[np.ndarray, "condition grid unit"]:
    """Mean over the trials of each of `count` conditions, at each time over those that last, then at the times of a
    grid (`interpolation`). NaN where no trial lasts.
    """
    found = np.full((count, *weights.shape[:1], rates.shape[2]), np.nan)
    for condition in range(count):
        of_it = rates[conditions == condition]
        lasts = lasting(of_it).sum(0)
        mean = np.nansum(of_it, 0, dtype=np.float64) / np.maximum(lasts, 1)[:, None]
        known = (weights > 0) @ (lasts == 0) == 0
        found[condition, known] = weights[known] @ mean
    return found


def null_rates(recording: dict[str, np.ndarray]) -> Float[np.ndarray, "_ time unit"]:
    """The activity in the null space of its readout; without a readout, all of it."""
    if "output_weights" not in recording:
        return recording["rates"]
    return (recording["rates"] @ null_projector_array(recording["output_weights"])).astype(np.float32)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, and its fingerprint."""
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file")
    try:
        if path.suffix == ".npz":
            # A file with a single array is not an archive, whatever its name.
            with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as opened:
                return dict(opened)
        with xr.open_dataset(path, engine=ENGINE) as opened:
            _check_order(path, opened)
            averages = "rates" in opened and "condition" in opened["rates"].dims
            names = [
                str(name)
                for name in (opened.variables if averages else opened.data_vars)
                # Conditions may be numbered.
                if not (averages and name == "condition" and opened[name].dims == ("condition",)) and name != "unit"
            ]
            return {name: opened[name].values for name in names} | (
                {"fingerprint": np.array(opened.attrs["fingerprint"])} if "fingerprint" in opened.attrs else {}
            )
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        why = f"no npz file of arrays ({error})" if path.suffix == ".npz" else why_unreadable(path, error)
        raise DatasetError(f"{path}: {why.removesuffix(f'; {AGAIN}')}") from None


def _check_order(path: Path, opened: xr.Dataset) -> None:
    """Raise DatasetError where rates have a dimension of a name that belongs to another place."""
    dims = [str(name) for name in opened["rates"].dims] if "rates" in opened else []
    needed = ("condition" if "condition" in dims else "trial", "time", "unit")
    if any(name in needed and needed.index(name) != place for place, name in enumerate(dims)):
        raise DatasetError(
            f"{path}: 'rates' has the dimensions ({', '.join(dims)}); needs ({', '.join(needed)}) in this order: "
            "transpose it"
        )
