"""An experiment's own trials in a file: their table, behaviour and neural activity, read from NWB or NetCDF.

A session has one clock, in s. In NWB it is the file's. Trials of a NetCDF file, whose times count from the start of
each trial, are put one after the other, far apart. Nothing here knows of tasks.
"""

import importlib
import json
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from insd import plugins
from insd.datasets import AGAIN, ENGINE, why_unreadable
from insd.errors import InsdError
from insd.provenance import content_fingerprint

UNITS = "units"
"""The `activity` that stands for the spikes of a file's units."""
APART = 1000.0
"""Time in s from the end of the longest trial of a NetCDF file to the start of the next."""
SECONDS = ("s", "sec", "second", "seconds")
"""Units of times in NetCDF."""
WIDTH = 4.0
"""Standard deviations after which the Gaussian that smooths activity is cut off."""
ROUNDING = 1e-6
"""Share of a time step by which times that are meant to be equal may differ."""
MOST_SHOWN = 12
"""Names that a message lists."""


class SessionError(InsdError):
    """A file of recorded trials cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Series:
    """Values that were sampled over time."""

    times: Float[np.ndarray, "sample"]
    """In s of the session's clock, rising."""
    values: Float[np.ndarray, "sample channel"]
    channels: tuple[str, ...]
    """Their names."""

    def binned(self, start: float, dt: float, steps: int) -> tuple[np.ndarray, Bool[np.ndarray, "step"]]:
        """The values in time steps of dt from `start` on, (step, channel), and at which there are any.

        A step from a up to and with b has the mean of the samples in it, or, where it has none, the line between the
        samples around it, at its middle. Where the nearest sample is farther away than dt and the usual distance of
        samples, there is no value: 0. NaN are steps whose own samples, or those of the line, are not all finite.
        """
        edges = start + dt * (np.arange(steps + 1) + ROUNDING)
        slack = max(dt, 1.5 * self.interval)
        first, last = np.searchsorted(self.times, (edges[0] - slack, edges[-1] + slack))
        times, values = self.times[first:last], self.values[first:last].astype(np.float64)
        if not times.size:
            return np.zeros((steps, len(self.channels))), np.zeros(steps, dtype=bool)
        bounds = np.searchsorted(times, edges, side="right")
        counts = np.diff(bounds)
        finite = np.isfinite(values)
        # Sums and numbers of gaps up to each sample: in one sum, NaN would reach all later steps.
        sums, gaps = (np.pad(part.cumsum(0), ((1, 0), (0, 0))) for part in (np.where(finite, values, 0), ~finite))
        middles = edges[:-1] + dt / 2
        lines = np.stack([np.interp(middles, times, column) for column in values.T], axis=1)
        right = np.searchsorted(times, middles).clip(0, times.size - 1)
        distance = np.minimum(np.abs(times[right] - middles), np.abs(times[np.maximum(right - 1, 0)] - middles))
        there = (counts > 0) | (distance <= slack)
        means = np.diff(sums[bounds], axis=0) / np.maximum(counts, 1)[:, None]
        means[np.diff(gaps[bounds], axis=0) > 0] = np.nan
        return np.where(there[:, None], np.where(counts[:, None] > 0, means, lines), 0.0), there

    @cached_property
    def interval(self) -> float:
        """The usual time between samples in s."""
        return float(np.median(np.diff(self.times))) if self.times.size > 1 else 0.0

    @cached_property
    def standardised(self) -> "Series":
        """The same less its mean, over its standard deviation, both over all samples; constants become 0."""
        with np.errstate(invalid="ignore"):
            mean, sd = np.nanmean(self.values, axis=0), np.nanstd(self.values, axis=0)
        return Series(self.times, (self.values - mean) / np.where(sd > 0, sd, 1.0), self.channels)


@dataclass(frozen=True)
class Spikes:
    """Spike times of units, in s of the session's clock, in order."""

    of_units: tuple[Float[np.ndarray, "_"], ...]
    """The times of each unit."""

    def binned(self, start: float, dt: float, steps: int) -> tuple[np.ndarray, Bool[np.ndarray, "step"]]:
        """Spikes per s in time steps of dt from `start` on, (step, unit); units are watched at all times."""
        edges = start + dt * (np.arange(steps + 1) + ROUNDING)
        counts = [np.diff(np.searchsorted(spikes, edges, side="right")) for spikes in self.of_units]
        return np.stack(counts, axis=1) / dt, np.ones(steps, dtype=bool)


@dataclass(frozen=True)
class Session:
    """The trials of a file, and those of its series that are asked for."""

    columns: Mapping[str, np.ndarray]
    """The columns of the table of trials, (trial,) each: numbers, true or false, or text. Those whose names end in
    `_time`, such as `start_time` and `stop_time`, are in s of the session's clock."""
    series: Mapping[str, Series]
    """Those asked for, by name."""


def read_session(path: str, names: Collection[str]) -> Session:
    """The trials of a file, and the series of these names, as far as names are not columns of the trials.

    Raises SessionError if the file cannot be read, has no trials, or lacks a name.
    """
    return _session(path, _stamp(path), tuple(dict.fromkeys(names)))


def read_rates(
    path: str,
    activity: str,
    units: Mapping[str, Sequence[Any]],
    smoothing: float,
    starts: Float[np.ndarray, "trial"],
    steps: Int[np.ndarray, "trial"],
    dt: float,
) -> Float[np.ndarray, "trial time unit"]:
    """Activity in single trials, by their starts and numbers of steps, at every time step of dt; NaN after the end.

    `activity` is `units`, the spikes of those units whose columns have one of the values in `units`, or the name of a
    series. It is binned at dt and convolved with a Gaussian of the standard deviation `smoothing` in s, cut off at
    `WIDTH` of them; samples before and after a trial count, as far as there are any that are not NaN. Raises
    SessionError if there is no such activity, or none, or NaN, at some time of a trial.
    """
    found = _activity(path, _stamp(path), activity, json.dumps(dict(units), sort_keys=True))
    around = int(np.ceil(WIDTH * smoothing / dt))
    kernel = np.exp(-0.5 * np.square(np.arange(-around, around + 1) * dt / smoothing)) if around else np.ones(1)
    made: dict[tuple[float, int], np.ndarray] = {}
    longest = int(steps.max())
    for start, count in zip(starts.tolist(), steps.tolist(), strict=True):
        if (start, count) in made:
            continue
        values, there = found.binned(start - around * dt, dt, count + 2 * around)
        if not there[around : around + count].all():
            raise SessionError(
                f"{path}: '{activity}' has no samples at some time of the trial that starts at {start:g} s"
            )
        known = np.isfinite(values).all(1)
        if not known[around : around + count].all():
            raise SessionError(
                f"{path}: '{activity}' is NaN at some time of the trial that starts at {start:g} s; leave such trials "
                "out by `where`, or fill the gaps in a copy of the file"
            )
        there, values = there & known, np.where(known[:, None], values, 0.0)
        # The sum over what is there, over the kernel's share that meets it.
        weights = np.convolve(there.astype(float), kernel, "valid")
        smooth = np.stack([np.convolve(column, kernel, "valid") for column in values.T], axis=1) / weights[:, None]
        made[start, count] = np.pad(smooth, ((0, longest - count), (0, 0)), constant_values=np.nan).astype(np.float32)
    return np.stack([made[key] for key in zip(starts.tolist(), steps.tolist(), strict=True)])


def chosen_rows(
    path: str, table: str, columns: Mapping[str, np.ndarray], where: Mapping[str, Sequence[Any]], count: int
) -> Int[np.ndarray, "row"]:
    """The rows of a table whose columns have one of the values given; raises SessionError if there are none, or if a
    column has not all of its values.
    """
    kept = np.ones(count, dtype=bool)
    for name, wanted in where.items():
        values = column_of(path, table, columns, name)
        texts = values.dtype.kind == "U"
        if any(isinstance(value, str) != texts for value in wanted):
            raise SessionError(
                f"{path}: column '{name}' of {table} holds {'text' if texts else 'numbers'}, and the values asked for "
                f"are {list(wanted)}"
            )
        absent = [value for value in wanted if not (values == value).any()]
        if 0 < len(absent) < len(wanted):
            known = listed([str(value) for value in np.unique(values)])
            raise SessionError(f"{path}: column '{name}' of {table} has no value {absent[0]!r}; it has: {known}")
        kept &= np.isin(values, list(wanted))
    if not kept.any():
        asked = "; ".join(f"{name} is one of {list(wanted)}" for name, wanted in where.items())
        raise SessionError(
            f"{path}: has no rows of {table} where {asked}" if where else f"{path}: has no rows of {table}"
        )
    return np.flatnonzero(kept)


def column_of(path: str, table: str, columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of a table; raises SessionError if it has none of that name."""
    if name not in columns:
        raise SessionError(f"{path}: {table} has no column '{name}'; it has: {listed(columns)}")
    return columns[name]


def listed(names: Collection[str]) -> str:
    """Names as messages list them."""
    more = ", ..." if len(names) > MOST_SHOWN else ""
    return ", ".join(sorted(names)[:MOST_SHOWN]) + more or "none"


def session_fingerprint(path: str) -> str:
    """Digest of all bytes of a file, which is read once as long as it does not change.

    Raises SessionError if it is not there.
    """
    return _fingerprint(path, _stamp(path))


@cache
def _fingerprint(path: str, stamp: tuple[int, int]) -> str:
    return content_fingerprint(path)[:16]


def _stamp(path: str) -> tuple[int, int]:
    """By what a file is known to have changed since it was read."""
    if not Path(path).is_file():
        raise SessionError(f"{path}: there is no such file in {Path.cwd()}")
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


@cache
def _session(path: str, stamp: tuple[int, int], names: tuple[str, ...]) -> Session:
    if is_nwb(path):
        with _nwb(path) as opened:
            columns = _nwb_columns(path, opened)
            wanted = [name for name in names if name not in columns]
            return Session(columns, {name: _nwb_series(path, opened, name) for name in wanted})
    with _netcdf(path) as opened:
        columns = _netcdf_columns(opened)
        wanted = [name for name in names if name not in columns]
        return Session(columns, {name: _netcdf_series(path, opened, columns, name) for name in wanted})


@cache
def _activity(path: str, stamp: tuple[int, int], activity: str, units: str) -> Spikes | Series:
    """The activity of a file, of the units that are asked for, in JSON."""
    where = json.loads(units)
    if is_nwb(path):
        with _nwb(path) as opened:
            if activity == UNITS:
                return _nwb_spikes(path, opened, where)
            found = _nwb_series(path, opened, activity)
    else:
        with _netcdf(path) as opened:
            found = _netcdf_series(path, opened, _netcdf_columns(opened), "rates" if activity == UNITS else activity)
    if where:
        raise SessionError(f"{path}: units = {where}: only units of NWB have columns to choose them by")
    return found


def is_nwb(path: str) -> bool:
    """Whether a file is one of NWB, by its name."""
    return Path(path).suffix == ".nwb"


@contextmanager
def _nwb(path: str) -> Iterator[Any]:
    try:
        pynwb = importlib.import_module("pynwb")
    except ImportError as error:
        raise SessionError(f"{path}: {error}; install the extra `insd[nwb]`") from None
    with ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                # They concern versions of NWB.
                warnings.simplefilter("ignore")
                opened = stack.enter_context(pynwb.NWBHDF5IO(path, "r")).read()
        except Exception as error:  # what is no NWB file may fail in any way
            raise SessionError(
                f"{path}: cannot be read as NWB ({plugins.told(error)[:200]}); is it whole? "
                f"`pynwb-validate {path}` says what is wrong with it"
            ) from None
        yield opened


def _nwb_columns(path: str, opened: Any) -> dict[str, np.ndarray]:
    if opened.trials is None:
        raise SessionError(f"{path}: has no table of trials ('trials')")
    return _table(opened.trials)


def _table(table: Any) -> dict[str, np.ndarray]:
    """The columns of a dynamic table that hold one number or text in each row."""
    found = {}
    for name in table.colnames:
        column = table[name]
        # Ragged columns have an index, and references a table.
        if hasattr(column, "target") or hasattr(column, "table"):
            continue
        values = np.asarray(column.data[:])
        if values.dtype.kind in "OSU" and values.ndim == 1:
            plain = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
            values = np.array(plain, dtype=str) if all(isinstance(value, str) for value in plain) else values
        if values.ndim == 1 and values.dtype.kind in "biufU":
            found[name] = values
    return found


def _nwb_all_series(opened: Any) -> dict[str, Any]:
    """The time series of a file by their paths in it, without the root: `processing` modules, acquisition, stimuli."""
    found = {}
    for one in opened.objects.values():
        if hasattr(one, "rate") and hasattr(one, "timestamps") and getattr(one.data, "ndim", None) in (1, 2):
            names, parent = [one.name], one.parent
            while parent is not None and parent is not opened:
                names.append(parent.name)
                parent = parent.parent
            found["/".join(reversed(names))] = one
    return found


def _nwb_series(path: str, opened: Any, name: str) -> Series:
    every = _nwb_all_series(opened)
    fits = [place for place in every if place == name or place.endswith(f"/{name}")]
    if len(fits) != 1:
        raise SessionError(
            f"{path}: has {len(fits)} time series '{name}': {', '.join(sorted(fits))}; name one by its path"
            if fits
            else f"{path}: has no time series and no column of trials '{name}'; time series are: {listed(every)}; "
            f"columns: {listed(_nwb_columns(path, opened))}"
        )
    one = every[fits[0]]
    values = np.asarray(one.data[:], dtype=np.float64) * (one.conversion or 1.0) + (getattr(one, "offset", 0.0) or 0.0)
    if one.timestamps is None:
        times = (one.starting_time or 0.0) + np.arange(len(values)) / one.rate
    else:
        times = np.asarray(one.timestamps[:], dtype=np.float64)
    return _series(path, name, times, values, None)


def _nwb_spikes(path: str, opened: Any, where: Mapping[str, Sequence[Any]]) -> Spikes:
    units = opened.units
    if units is None or "spike_times" not in units.colnames:
        raise SessionError(
            f"{path}: has no units with spike times ('units', 'spike_times'); `activity` may name a time series "
            f"instead: {listed(_nwb_all_series(opened))}"
        )
    rows = chosen_rows(path, UNITS, _table(units), where, len(units))
    index = units["spike_times"]
    ends = np.asarray(index.data[:], dtype=np.int64)
    every = np.asarray(index.target.data[:], dtype=np.float64)
    return Spikes(tuple(np.sort(every[ends[row - 1] if row else 0 : ends[row]]) for row in rows.tolist()))


@contextmanager
def _netcdf(path: str) -> Iterator[xr.Dataset]:
    try:
        opened = xr.open_dataset(path, engine=ENGINE)
    except (OSError, ValueError, RuntimeError) as error:
        # No job makes it: what the message says to do with files that jobs make would lose a recording.
        raise SessionError(f"{path}: {why_unreadable(path, error).removesuffix(f'; {AGAIN}')}") from None
    with opened:
        if "trial" not in opened.dims or "time" not in opened.coords or opened["time"].dims != ("time",):
            raise SessionError(
                f"{path}: has the dimensions {listed(list(map(str, opened.sizes)))}; needs 'trial' and 'time'"
                ", and the times as a coordinate, in s from the start of a trial"
            )
        unit = str(opened["time"].attrs.get("units", "s"))
        if opened["time"].dtype.kind not in "iuf" or unit not in SECONDS:
            held = f"are in {unit}" if opened["time"].dtype.kind in "iuf" else "are dates"
            raise SessionError(f"{path}: the times of 'time' {held}; give them in s from the start of a trial")
        yield opened


def _netcdf_columns(opened: xr.Dataset) -> dict[str, np.ndarray]:
    found = {}
    for name, variable in opened.variables.items():
        values = variable.values
        if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):
            values = values.astype(str)
        if variable.dims == ("trial",) and values.dtype.kind in "biufU":
            found[str(name)] = values
    times = opened["time"].values.astype(np.float64)
    clock = np.arange(opened.sizes["trial"]) * (times[-1] + APART)
    found = {"start_time": np.zeros(len(clock)), "stop_time": np.full(len(clock), times[-1])} | found
    return {name: values + clock if name.endswith("_time") else values for name, values in found.items()}


def _netcdf_series(path: str, opened: xr.Dataset, columns: Mapping[str, np.ndarray], name: str) -> Series:
    series = [
        str(one) for one in opened.data_vars if opened[one].dims[:2] == ("trial", "time") and opened[one].ndim < 4
    ]
    if name not in series:
        raise SessionError(
            f"{path}: has no variable '{name}' (trial, time) or (trial, time, channel), and no column of trials of "
            f"that name; such variables are: {listed(series)}; columns: {listed(columns)}"
        )
    found, times = opened[name], opened["time"].values.astype(np.float64)
    clock = np.arange(opened.sizes["trial"]) * (times[-1] + APART)
    every = clock[:, None] + times
    lasts = every <= columns["stop_time"][:, None] + ROUNDING
    names = None
    if found.ndim == 3 and found.dims[2] in opened.coords:
        names = tuple(f"{name}_{label}" for label in found[found.dims[2]].values)
    return _series(path, name, every[lasts], found.values[lasts].astype(np.float64), names)


def _series(path: str, name: str, times: np.ndarray, values: np.ndarray, channels: tuple[str, ...] | None) -> Series:
    if len(times) != len(values) or not len(times):
        raise SessionError(f"{path}: '{name}' has {len(values)} samples and {len(times)} times")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise SessionError(f"{path}: the times of '{name}' are not finite, or do not rise")
    last = name.rpartition("/")[2]
    if values.ndim == 1:
        return Series(times, values[:, None], (last,))
    return Series(times, values, channels or tuple(f"{last}_{index}" for index in range(values.shape[1])))
