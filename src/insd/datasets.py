"""The data contracts: what every file holds, how it is checked, read and written.

This is the one place that knows the NetCDF engine. Files are written beside their place and moved there whole, so
that a file that exists is complete; readers load everything and close.
"""

import os
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from insd.errors import InsdError

ENGINE: Literal["netcdf4"] = "netcdf4"
DECIMALS = 4
"""Rates lie in [-1, 1]: rounding adds a share of about 1e-8 to their variance, and halves the files."""
AGAIN = "delete the file and run the job that makes it again"


class DatasetError(InsdError):
    """A file cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class Contract:
    """Variables with their dimensions; variables that must be finite; attributes that must be there."""

    variables: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    may_be_nan: frozenset[str] = frozenset()
    attributes: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    """Large variables, stored with `DECIMALS` decimals and compressed."""


WEIGHTS = {
    "recurrent_weights": ("seed", "unit", "unit_from"),
    "input_weights": ("seed", "unit", "input"),
    "output_weights": ("seed", "output", "unit"),
    "bias": ("seed", "unit"),
    "output_bias": ("seed", "output"),
    "initial_state": ("seed", "unit"),
}
"""The weights of a network by name, with their dimensions."""

CONTRACTS = {
    "trials": Contract(
        {
            "inputs": ("trial", "time", "input"),
            "targets": ("trial", "time", "output"),
            "mask": ("trial", "time", "output"),
        },
        attributes=("dt", "fingerprint"),
    ),
    "network": Contract(
        {
            **WEIGHTS,
            "restarts": ("seed",),
        },
        attributes=("dt", "tau", "nonlinearity", "settings"),
    ),
    "activity": Contract(
        {
            "rates": ("seed", "trial", "time", "unit"),
            "outputs": ("seed", "trial", "time", "output"),
            "null_activity": ("seed", "bank_trial", "bank_time", "component"),
            "test_loss": ("seed",),
            "score": ("seed",),
            "solved": ("seed",),
        },
        attributes=("bank_fingerprint", "test_fingerprint"),
        rounded=("rates", "outputs", "null_activity"),
    ),
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
    "predictivity": Contract(
        {"r2": ("space", "predictor", "target"), "r2_shuffled": ("space", "predictor", "target")},
        # A network whose activity does not vary has nothing to predict.
        may_be_nan=frozenset({"r2", "r2_shuffled"}),
    ),
    "performance": Contract({"loss": ("network", "regime"), "score": ("network", "regime")}),
}


def validate(dataset: xr.Dataset, contract: str, where: str, only: Collection[str] | None = None) -> xr.Dataset:
    """The dataset itself if it (or those of its variables in `only`) keeps the contract; else DatasetError.

    `where` names the dataset in the message, by its file.
    """
    rules = CONTRACTS[contract]
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
        if name not in rules.may_be_nan and not np.isfinite(variable.values).all():
            raise DatasetError(f"{where}: '{name}' holds values that are not finite; {AGAIN}")
    for name in rules.attributes:
        if name not in dataset.attrs:
            raise DatasetError(f"{where}: lacks the attribute '{name}' of a {contract} file")
    return dataset


def write(dataset: xr.Dataset, path: str | Path, contract: str) -> None:
    """Check a dataset against its contract and write it; the file appears whole or not at all."""
    path = Path(path)
    validate(dataset, contract, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        compressed = {"zlib": True, "complevel": 1, "least_significant_digit": DECIMALS}
        dataset.to_netcdf(beside, engine=ENGINE, encoding=dict.fromkeys(CONTRACTS[contract].rounded, compressed))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | Path, contract: str, only: Collection[str] | None = None) -> xr.Dataset:
    """A whole file, or its variables in `only`, checked against the contract.

    Raises DatasetError if the file is missing, unreadable or breaks the contract.
    """
    if not Path(path).exists():
        raise DatasetError(f"{path}: there is no such file; run the job that makes it")
    try:
        with xr.open_dataset(path, engine=ENGINE) as opened:
            chosen = opened if only is None else opened[[name for name in only if name in opened]]
            dataset = chosen.load()
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetError(f"{path}: truncated, empty or no NetCDF file ({error}); {AGAIN}") from None
    return validate(dataset, contract, str(path), only)


def _list(names: tuple[Hashable, ...]) -> str:
    return f"({', '.join(map(str, names))})"
