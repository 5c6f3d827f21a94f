"""The trials of an experiment as a task: `recorded:FILE`.

Inputs are what the animal saw, targets what it did, and the activity that was recorded in the same trials can be the
reference of chains (`insd.recordings`). Files are those of `insd.tasks.sessions`.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from pydantic import Field

from insd.datasets import CONTRACTS
from insd.tasks.base import NotNegative, Task
from insd.tasks.sessions import (
    ROUNDING,
    UNITS,
    Session,
    SessionError,
    chosen_rows,
    column_of,
    read_session,
    session_fingerprint,
)
from insd.tasks.variables import Variable, of_conditions

logger = logging.getLogger("insd.tasks.recorded")

TAKEN = {
    *("start_time", "stop_time", "trial", "time", "input", "output"),
    *CONTRACTS["trials"].variables,
    *CONTRACTS["trials"].optional,
}
"""Names of columns that are not conditions: the trial's ends, and what trial files have under these names."""

Values = Annotated[
    Mapping[str, Sequence[bool | int | float | str]],
    Field(description="By column, the values of the rows that are taken."),
]
"""Rows of a table by the values of its columns, as a task's field."""


@dataclass(frozen=True, kw_only=True)
class Recorded(Task):
    """Trials that were recorded: a seeded share of them is for tests, and the others are for training.

    A trial file has them in the order of a permutation by `split_seed`. Where it has fewer trials than there are, they
    are the first. Where it has more, each comes several times in a row, and their numbers differ by one at most. The
    trials held out at the end of the bank are therefore not among those before them, except for one at most.

    An input or output is a time series, with all its channels, or a column of the table of trials: a number, or true or
    false, is held; text has a channel for each of its values, which is 1; a column whose name ends in `_time` is 0
    before that time and 1 from then on. `windows` says between which two times an input is on, or an output scored.
    """

    inputs: Annotated[Sequence[str], Field(min_length=1)]
    """Time series and columns of trials that are inputs."""
    outputs: Annotated[Sequence[str], Field(min_length=1)]
    """Time series and columns of trials that are the targets of outputs."""
    windows: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For inputs, between which two columns of times they are on, and 0 elsewhere; for outputs, where they are scored.
    By default, the whole trial."""
    where: Values = field(default_factory=dict)
    """The trials that are taken: by column, its values; by default, all."""
    start: str = "start_time"
    """The column of times at which trials start."""
    stop: str = "stop_time"
    """The column of times at which they end."""
    longest: float | None = None
    """After how many s trials are cut, if they are longer."""
    standardise: bool = True
    """Whether each time series is shifted by its mean and divided by its standard deviation, both over all of its
    samples in the file (ours)."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the trials that the regime `test`, and harder ones, are made of (ours); the others are for training."""
    split_seed: int = 0
    """Seed of the permutation of trials."""
    solved_from: float = 0.9
    """Least explained variance of a solved network (ours); lower it if behaviour does not follow from the inputs."""
    activity: str = UNITS
    """The activity of a recording of this file: `units`, the spikes of its units (in NetCDF, the variable
    `rates`), or the name of a time series."""
    units: Values = field(default_factory=dict)
    """The units that are taken: by column of the table of units, its values; by default, all."""
    smoothing: NotNegative = 0.05
    """Standard deviation in s of the Gaussian that smooths the activity after binning at dt (ours)."""

    file: ClassVar[str]
    tested: ClassVar[bool] = False
    """Whether its trials are those for tests."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longest is not None and self.longest < self.dt:
            raise ValueError(f"longest = {self.longest}: is less than one time step dt = {self.dt}")
        if unknown := set(self.windows) - {*self.inputs, *self.outputs}:
            raise ValueError(f"windows: {', '.join(sorted(unknown))} is neither an input nor an output")

    @property
    def criterion(self) -> float:  # type: ignore[override]
        """`solved_from`: how well behaviour can be explained depends on the experiment."""
        return self.solved_from

    def in_regime(self, regime: str) -> "Task":
        """The task with the fields of a regime replaced, and with the trials for tests in all but `train`."""
        changed = super().in_regime(regime)
        # No field: the config has no say in it.
        object.__setattr__(changed, "tested", regime != "train")
        return changed

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The conditions of the trials, without what only tells them apart."""
        return of_conditions(trials.drop_vars("recorded_trial"))

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        session = read_session(self.file, [*self.inputs, *self.outputs])
        rows = self._rows(session)
        starts, steps = self._times(session, rows)
        order = np.random.default_rng(self.split_seed).permutation(len(rows))
        n_test = round(self.test_share * len(rows))
        if not 0 < n_test < len(rows):
            raise SessionError(
                f"{self.file}: test_share = {self.test_share:g} of {len(rows)} trials leaves none for "
                f"{'training' if n_test else 'tests'}"
            )
        own = order[:n_test] if self.tested else order[n_test:]
        if n_trials > len(own):
            share = "for tests" if self.tested else "for training"
            logger.info("%d trials %s are made of %d in %s: some come again", n_trials, share, len(own), self.file)
            taken = own[np.arange(n_trials) * len(own) // n_trials]
        else:
            taken = own[:n_trials]
        distinct, place = np.unique(taken, return_inverse=True)
        longest = int(steps[taken].max())
        inputs, input_names, on = self._signals(session, self.inputs, rows, distinct, starts, steps, longest)
        targets, output_names, scored = self._signals(session, self.outputs, rows, distinct, starts, steps, longest)
        found = self.dataset(
            (inputs * on)[place],
            (targets * scored)[place],
            scored[place],
            input_names,
            output_names,
            self._conditions(session, rows[taken], rows, starts[taken]),
            steps[taken],
        )
        activity = {"activity": self.activity, "units": dict(self.units), "smoothing": self.smoothing}
        return found.assign_attrs(session=session_fingerprint(self.file), session_activity=json.dumps(activity))

    def _rows(self, session: Session) -> Int[np.ndarray, "row"]:
        """The trials of the file that are taken."""
        count = len(column_of(self.file, "trials", session.columns, self.start))
        return chosen_rows(self.file, "trials", session.columns, self.where, count)

    def _times(
        self, session: Session, rows: Int[np.ndarray, "row"]
    ) -> tuple[Float[np.ndarray, "row"], Int[np.ndarray, "row"]]:
        """The starts of trials in s of the session's clock, and their whole time steps."""
        starts, stops = (self._column_of_times(session, name, rows) for name in (self.start, self.stop))
        lengths = stops - starts
        if (wrong := np.flatnonzero(lengths <= 0)).size:
            row = wrong[0]
            raise SessionError(
                f"{self.file}: trial {rows[row]} has no length: {self.start} is {starts[row]:g} s and {self.stop} "
                f"{stops[row]:g} s; leave such trials out by `where`"
            )
        if self.longest is not None:
            lengths = np.minimum(lengths, self.longest)
        steps = np.floor(lengths / self.dt + ROUNDING).astype(int)
        if (short := np.flatnonzero(steps < 1)).size:
            row = short[0]
            raise SessionError(
                f"{self.file}: trial {rows[row]} lasts {lengths[row]:g} s, less than one time step dt = {self.dt:g}"
            )
        return starts, steps

    def _column(self, session: Session, name: str, rows: Int[np.ndarray, "row"]) -> np.ndarray:
        """A column of trials at some rows; raises SessionError if it is missing or NaN there."""
        values = column_of(self.file, "trials", session.columns, name)[rows]
        if values.dtype.kind == "f" and (wrong := np.flatnonzero(~np.isfinite(values))).size:
            raise SessionError(
                f"{self.file}: column '{name}' of trials is {values[wrong[0]]} in {wrong.size} trial(s), the first "
                f"being {rows[wrong[0]]}; leave such trials out by `where`"
            )
        return values

    def _column_of_times(self, session: Session, name: str, rows: Int[np.ndarray, "row"]) -> Float[np.ndarray, "row"]:
        """A column of times in s at some rows; raises SessionError if it holds none, or as `_column`."""
        values = self._column(session, name, rows)
        if values.dtype.kind not in "iuf":
            held = "text" if values.dtype.kind == "U" else "true and false"
            raise SessionError(f"{self.file}: column '{name}' of trials holds {held}, and not times; name another")
        return values.astype(np.float64)

    def _signals(
        self,
        session: Session,
        names: Sequence[str],
        rows: Int[np.ndarray, "row"],
        chosen: Int[np.ndarray, "trial"],
        starts: Float[np.ndarray, "row"],
        steps: Int[np.ndarray, "row"],
        longest: int,
    ) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Time series and columns in some trials, (trial, time, channel); their names; and whether they are on.

        Trials are `chosen` among those that are taken, `rows`.
        """
        ends = self.dt * np.arange(1, longest + 1)
        within = np.arange(longest) < steps[chosen][:, None]
        parts, channels, on = [], [], []
        for name in names:
            if name in session.columns:
                part, own = self._held(session, name, rows, chosen, starts[chosen], ends)
            else:
                part, own = self._sampled(session, name, rows[chosen], starts[chosen], steps[chosen], longest)
            lasts = within
            if name in self.windows:
                first, last = (
                    self._column_of_times(session, bound, rows)[chosen] - starts[chosen] for bound in self.windows[name]
                )
                # A step belongs to a window that its middle is in.
                middles = ends - self.dt / 2
                lasts = within & (middles >= first[:, None]) & (middles < last[:, None])
                if not lasts.any():
                    begin, end = self.windows[name]
                    raise SessionError(
                        f"{self.file}: windows: {name} is never on, for no time step of a trial is between {begin} and "
                        f"{end}; they may have changed places"
                    )
            parts.append(part)
            channels += own
            on.append(np.broadcast_to(lasts[..., None], part.shape))
        return np.concatenate(parts, -1), channels, np.concatenate(on, -1)

    def _held(
        self,
        session: Session,
        name: str,
        rows: Int[np.ndarray, "row"],
        chosen: Int[np.ndarray, "trial"],
        starts: Float[np.ndarray, "trial"],
        ends: Float[np.ndarray, "time"],
    ) -> tuple[np.ndarray, list[str]]:
        """A column of trials over time, (trial, time, channel), and its channels."""
        if name.endswith("_time"):
            values = self._column_of_times(session, name, rows)
            since = ends - self.dt / 2 >= (values[chosen] - starts)[:, None]
            return since[..., None].astype(float), [name]
        values = self._column(session, name, rows)
        if values.dtype.kind == "U":
            different = np.unique(values)
            channels = (values[chosen][:, None] == different).astype(float)
            names = [f"{name}={value}" for value in different]
        else:
            channels, names = values[chosen][:, None].astype(float), [name]
        return np.repeat(channels[:, None], len(ends), axis=1), names

    def _sampled(
        self,
        session: Session,
        name: str,
        trials: Int[np.ndarray, "trial"],
        starts: Float[np.ndarray, "trial"],
        steps: Int[np.ndarray, "trial"],
        longest: int,
    ) -> tuple[np.ndarray, list[str]]:
        """A time series, (trial, time, channel), and its channels."""
        series = session.series[name].standardised if self.standardise else session.series[name]
        found = np.zeros((len(trials), longest, len(series.channels)))
        for place, (trial, start, count) in enumerate(zip(trials, starts, steps, strict=True)):
            values, there = series.binned(float(start), self.dt, int(count))
            if not there.all():
                raise SessionError(
                    f"{self.file}: '{name}' has no samples at some time of trial {trial}; leave such trials out by "
                    "`where`, or end trials earlier by `stop` or `longest`"
                )
            if not np.isfinite(values).all():
                raise SessionError(
                    f"{self.file}: '{name}' is NaN at some time of trial {trial}; leave such trials out by `where`, or "
                    "fill the gaps in a copy of the file"
                )
            found[place, :count] = values
        return found, list(series.channels)

    def _conditions(
        self,
        session: Session,
        trials: Int[np.ndarray, "trial"],
        rows: Int[np.ndarray, "row"],
        starts: Float[np.ndarray, "trial"],
    ) -> dict[str, np.ndarray]:
        """Columns of trials, with times from each trial's start, where they are known in all; which trial of the file
        each is, and when it started on the session's clock.
        """
        found = {}
        for name, values in session.columns.items():
            if name in TAKEN or not re.fullmatch(r"[A-Za-z_][\w .-]{0,59}", name):
                continue
            if not name.endswith("_time"):
                found[name] = values[trials]
            elif values.dtype.kind in "iuf" and np.isfinite(values[rows]).all():
                found[name] = values[trials] - starts
        return found | {"recorded_trial": trials, "session_time": starts}


@cache
def recorded_task(file: str) -> type[Task]:
    """The task of a file of recorded trials; raises SessionError if it has none."""
    read_session(file, ())
    attributes: dict[str, Any] = {
        "__module__": __name__,
        "__doc__": f"The trials recorded in {file}.",
        "file": file,
    }
    return dataclass(frozen=True, kw_only=True)(type("RecordedTask", (Recorded,), attributes))
