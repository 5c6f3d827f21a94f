"""The data contracts: what every file holds, how it is checked, read and written.

Only this module knows the NetCDF engine. Files are written under a temporary name and then renamed, so
that a file that exists is complete; readers load everything and close.
"""

import errno
import fcntl
from collections.abc import Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from insd import cohorts, plugins
from insd.cohorts import every_network, network_labels
from insd.errors import InsdError
from insd.files import WriteError, written_whole

ENGINE: Literal["netcdf4"] = "netcdf4"
"""By which xarray reads and writes."""
NOT_THE_FILE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT)
"""Errors of reading that say nothing of what a file holds."""
AGAIN = "delete the file and run the job that makes it again"
"""The advice in messages on broken files."""


class DatasetError(InsdError):
    """A file cannot be used; the message names the file, the fault and the remedy."""


@dataclass(frozen=True)
class Contract:
    """Variables with their dimensions; variables that must be finite; attributes that must be there."""

    variables: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    may_be_nan: frozenset[str] = frozenset()
    """Variables that may be NaN or infinite."""
    may_be_infinite: frozenset[str] = frozenset()
    """Variables that may be infinite, but not NaN."""
    text: frozenset[str] = frozenset()
    """Variables that hold names; all others hold numbers."""
    attributes: tuple[str, ...] = ()
    compressed: bool = False
    """Whether arrays along more than two axes are compressed."""


KEPT = {"null_activity": ("seed", "bank_trial", "bank_time", "component")}
"""What INSD's term keeps of networks for later rounds; other terms keep variables of their own."""

CONTRACTS = {
    "trials": Contract(
        {
            "inputs": ("trial", "time", "input"),
            "targets": ("trial", "time", "output"),
            "mask": ("trial", "time", "output"),
        },
        # `valid` only where trials differ in length: see `insd.samples`. The other two only where a task leaves its
        # noise to `Task.dataset`: what is drawn, and how much, so that it can be drawn again.
        optional={
            "valid": ("trial", "time"),
            "clean_inputs": ("trial", "time", "input"),
            "noise_sd": ("trial", "time", "input"),
        },
        attributes=("dt", "fingerprint"),
        # Inputs hardly shrink, but all the others nearly vanish.
        compressed=True,
    ),
    # And the weights that the network's architecture declares (see `contract_of`).
    "network": Contract(
        {"restarts": ("seed",)},
        # Of networks that were trained here: when they stopped, and at which S.
        optional={"iterations": ("seed",), "held_out_penalty": ("seed", "earlier")},
        attributes=("dt", "tau", "nonlinearity", "settings"),
    ),
    "activity": Contract(
        {
            "rates": ("seed", "trial", "time", "unit"),
            "outputs": ("seed", "trial", "time", "output"),
            "test_loss": ("seed",),
            "score": ("seed",),
            "solved": ("seed",),
        },
        optional=KEPT,
        # After the end of a trial. The outputs, which go on to the end, show whether a network diverged.
        may_be_nan=frozenset({"rates"}),
        attributes=("bank_fingerprint", "test_fingerprint"),
        compressed=True,
    ),
    # Of activity files, what later rounds read; all that there is where there are no networks.
    "kept": Contract({}, optional=KEPT, attributes=("bank_fingerprint",), compressed=True),
    "history": Contract(
        {
            "task_loss": ("attempt", "seed", "iteration"),
            "held_out_loss": ("attempt", "seed", "iteration"),
            "held_out_score": ("attempt", "seed", "iteration"),
            "step_size": ("attempt", "seed", "iteration"),
            "gradient_norm": ("attempt", "seed", "iteration"),
        },
        optional={
            "penalty": ("attempt", "seed", "iteration", "earlier"),
            "held_out_penalty": ("attempt", "seed", "iteration", "earlier"),
            "multiplier": ("attempt", "seed", "iteration", "earlier"),
        },
        # An attempt that ends early leaves the rest of its row empty.
        may_be_nan=frozenset(
            {"task_loss", "held_out_loss", "held_out_score", "step_size", "gradient_norm"}
            | {"penalty", "held_out_penalty", "multiplier"}
        ),
    ),
}
"""What each kind of file holds, by its name."""


def architecture_of(network: xr.Dataset) -> str:
    """The architecture of a network file; files that name none have the original one."""
    return network.attrs.get("architecture", "rate")


def contract_of(dataset: xr.Dataset, contract: str | Contract) -> Contract:
    """What a file must hold, by the name of the contract: one of `CONTRACTS`, or the file of an analysis; a network
    file, the weights of the architecture that it names.

    Raises PluginError if there is no such architecture or analysis.
    """
    if isinstance(contract, Contract):
        return contract
    if contract not in CONTRACTS:
        return _of_analysis(contract, dataset.attrs.get("analysis"))
    rules = CONTRACTS[contract]
    if contract != "network":
        return rules
    weights = plugins.find("network", architecture_of(dataset)).dimensions
    return replace(rules, variables={**weights, **rules.variables})


def _of_analysis(name: str, written_by: str | None) -> Contract:
    """What a file of an analysis must hold; `written_by` is the analysis that the file names: the user's own, too."""
    for analysis in [*plugins.names("analysis"), *([written_by] if written_by else [])]:
        writes: Mapping[str, Contract] = plugins.find("analysis", analysis).writes
        if name in writes:
            return writes[name]
    raise plugins.PluginError(f"no analysis of this library writes {name}.nc")


def validate(
    dataset: xr.Dataset, contract: str | Contract, where: str, only: Collection[str] | None = None
) -> xr.Dataset:
    """The dataset itself if it (or those of its variables in `only`) keeps the contract; else DatasetError.

    `where` names the dataset in the message, by its file.
    """
    try:
        rules = contract_of(dataset, contract)
    except plugins.PluginError as error:
        raise DatasetError(f"{where}: {error}") from None
    for name, dimensions in {**rules.variables, **rules.optional}.items():
        if only is not None and name not in only:
            continue
        if name not in dataset:
            if name in rules.optional:
                continue
            raise DatasetError(
                f"{where}: lacks the variable '{name}' of a {contract} file, which holds: {', '.join(rules.variables)}"
            )
        variable = dataset[name]
        if variable.dims != dimensions:
            raise DatasetError(f"{where}: '{name}' has dimensions {_list(variable.dims)}, not {_list(dimensions)}")
        kind = variable.dtype.kind
        # No points at all have no names, of any type.
        if variable.size and kind not in ("OUT" if name in rules.text else "biuf"):
            held = "names" if name in rules.text else "numbers"
            raise DatasetError(f"{where}: '{name}' holds values of type {variable.dtype} and not {held}; {AGAIN}")
        if name not in rules.may_be_nan and kind == "f":
            infinite = name in rules.may_be_infinite
            wrong = np.isnan(variable.values) if infinite else ~np.isfinite(variable.values)
            if wrong.any():
                held = "are NaN" if infinite else "are not finite"
                raise DatasetError(
                    f"{where}: '{name}' holds values that {held}{_first_place(variable, wrong)}; {AGAIN}"
                )
    for name in rules.attributes:
        if name not in dataset.attrs:
            raise DatasetError(f"{where}: lacks the attribute '{name}' of a {contract} file")
    return dataset


def _first_place(variable: xr.DataArray, wrong: np.ndarray) -> str:
    """Where the first value is that is wrong, by those of its dimensions that have coordinates."""
    index = np.argwhere(wrong)[0]
    places = zip(variable.dims, index, strict=True)
    named = [
        f"{dimension} {variable[dimension].values[at]}" for dimension, at in places if dimension in variable.coords
    ]
    return f", first at {', '.join(named)}" if named else ""


def write(dataset: xr.Dataset, path: str | Path, contract: str | Contract) -> None:
    """Check a dataset against its contract and write it; the file appears whole or not at all.

    Raises DatasetError if the dataset breaks the contract, and WriteError if the file cannot be written.
    """
    path = Path(path)
    try:
        validate(dataset, contract, str(path))
    except DatasetError as error:
        # There is no file yet that could be deleted.
        raise DatasetError(str(error).removesuffix(f"; {AGAIN}")) from None
    rules = contract_of(dataset, contract)
    large = [name for name, values in dataset.data_vars.items() if values.ndim > 2 and rules.compressed]
    encoding = {name: {"zlib": True, "complevel": 1} for name in large}
    try:
        with written_whole(path) as beside:
            dataset.to_netcdf(beside, engine=ENGINE, encoding=encoding)
    except RuntimeError as error:  # of HDF5
        raise WriteError(path, error) from None


def read(
    path: str | Path, contract: str | Contract, only: Collection[str] | None = None, seed: int | None = None
) -> xr.Dataset:
    """A whole file, or its variables in `only`, and of one `seed` alone, checked against the contract.

    Raises DatasetError if the file is missing, unreadable or breaks the contract.
    """
    if not Path(path).exists():
        raise DatasetError(f"{path}: there is no such file; run the job that makes it")
    try:
        with xr.open_dataset(path, engine=ENGINE) as opened:
            chosen = opened
            if only is not None:
                # Of a file with none of them, the seeds: who asked can then say what it lacks.
                names = [name for name in only if name in opened] or ["seed"]
                chosen = opened[[name for name in names if name in opened]]
            dataset = (chosen if seed is None else chosen.sel(seed=[seed])).load()
    except MemoryError:
        raise
    except Exception as error:  # a file with arbitrary content may raise anything
        raise DatasetError(f"{path}: {why_unreadable(path, error)}") from None
    return validate(dataset, contract, str(path), only)


def is_netcdf(path: str | Path) -> bool:
    """Whether a file begins as NetCDF files do, of version 4 or older."""
    with Path(path).open("rb") as file:
        return file.read(4) in (b"\x89HDF", b"CDF\1", b"CDF\2", b"CDF\5")


def why_unreadable(path: str | Path, error: Exception) -> str:
    """What is wrong with a NetCDF file that could not be read, and what to do. Only a broken one is to be deleted: HDF5
    has the same words for a file that a different process has locked.
    """
    if Path(path).is_dir():
        return "is a folder; name a file"
    if isinstance(error, OSError) and error.errno in NOT_THE_FILE:
        return f"cannot be read now ({error.strerror}); check its permissions and its disk, and run again"
    try:
        with Path(path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (
            "is locked: a different process has it open to write; close it there, and run again. On a file system "
            "whose locks outlive their processes, set HDF5_USE_FILE_LOCKING=FALSE"
        )
    except OSError as refused:
        return (
            f"cannot be locked ({refused.strerror}), which HDF5 wants before it reads; check its permissions or, on a "
            "file system without locks, set HDF5_USE_FILE_LOCKING=FALSE, and run again"
        )
    return f"truncated, empty or no NetCDF file ({error}); {AGAIN}"


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of `results/tables` (`insd.cohorts.read_table`).

    Raises DatasetError if the file is truncated or no table.
    """
    # Every table ends with the end of a line.
    if Path(path).read_bytes().endswith(b"\n"):
        # All errors of pandas on what a file holds are of this kind.
        with suppress(ValueError):
            return cohorts.read_table(path)
    raise DatasetError(f"{path}: truncated, empty or not a table; {AGAIN}")


def read_by_task(
    tasks: Iterable[str], paths: Iterable[str | Path], contract: str, table: pd.DataFrame
) -> dict[str, xr.Dataset]:
    """By task, the file of an analysis, with a place for each network of the task (`insd.cohorts.every_network`).

    The files are in the order of the tasks; `table` are the rows of `networks.csv`.
    """
    return {
        task: every_network(read(path, contract), network_labels(table[table["task"] == task]))
        for task, path in zip(tasks, paths, strict=True)
    }


def _list(names: tuple[Hashable, ...]) -> str:
    return f"({', '.join(map(str, names))})"
