"""Recorded activity as the reference of a chain: read, and checked to be of the trials at hand."""

import os
import zipfile
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.datasets import AGAIN, ENGINE, DatasetError, why_unreadable
from insd.predictivity import null_projector_array
from insd.readouts import why_no_null_space
from insd.samples import valid_steps

MEANING = {
    "rates": "activity (trial, time, unit)",
    "output_weights": "readout (output, unit)",
    "fingerprint": "the attribute `fingerprint` of the trials of the recording",
}
"""What a recording holds, by name."""


def read_recording(path: str | os.PathLike, trials: xr.Dataset) -> dict[str, np.ndarray]:
    """The arrays `rates` (trial, time, unit) and, if present, `output_weights` (output, unit) of a recording.

    An npz file holds them and `fingerprint`, that of the trials (`trials.attrs["fingerprint"]`); in a NetCDF file the
    fingerprint is an attribute. What rates hold after the end of a trial is not read: they are NaN there.
    Raises DatasetError, naming the file, if something is missing, of a wrong shape, not finite, or from different
    trials, or if the readout leaves no null space.
    """
    stored = _arrays(Path(path))
    for name in ("rates", "fingerprint"):
        if name not in stored:
            raise DatasetError(f"{path}: has no '{name}' ({MEANING[name]}); add it")
    made, expected = str(stored["fingerprint"]), trials.attrs["fingerprint"]
    if made != expected:
        raise DatasetError(
            f"{path}: is of other trials (fingerprint {made}) than those of the config ({expected}); record the "
            "activity on results/<task>/trials/train.nc, or restore the task's parameters at the time of the recording"
        )
    shape = (trials.sizes["trial"], trials.sizes["time"])
    if stored["rates"].ndim != 3 or stored["rates"].shape[:2] != shape:
        raise DatasetError(
            f"{path}: 'rates' has shape {stored['rates'].shape}; needs (trial, time, unit) with {shape[0]} trials and "
            f"{shape[1]} times"
        )
    units = stored["rates"].shape[2]
    if "output_weights" in stored and (
        stored["output_weights"].ndim != 2 or stored["output_weights"].shape[1] != units
    ):
        raise DatasetError(
            f"{path}: 'output_weights' has shape {stored['output_weights'].shape}; needs (output, unit) with {units} "
            "units"
        )
    found: dict[str, np.ndarray] = {}
    ended = ~valid_steps(trials)
    for name in ("rates", "output_weights"):
        if name not in stored:
            continue
        if stored[name].dtype.kind in "fiu":
            with np.errstate(over="ignore"):
                found[name] = stored[name].astype(np.float32)
        if name not in found or not np.isfinite(found[name][~ended] if name == "rates" else found[name]).all():
            raise DatasetError(f"{path}: '{name}' holds values that are not finite numbers in single precision")
    if "output_weights" in found and (why := why_no_null_space(found["output_weights"])):
        raise DatasetError(
            f"{path}: 'output_weights': {why}; correct the readout, or leave it out to make all activity the reference"
        )
    found["rates"][ended] = np.nan
    return found


def null_rates(recording: dict[str, np.ndarray]) -> Float[np.ndarray, "trial time unit"]:
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
            return {name: opened[name].values for name in map(str, opened.data_vars)} | (
                {"fingerprint": np.array(opened.attrs["fingerprint"])} if "fingerprint" in opened.attrs else {}
            )
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        why = f"no npz file of arrays ({error})" if path.suffix == ".npz" else why_unreadable(path, error)
        raise DatasetError(f"{path}: {why.removesuffix(f'; {AGAIN}')}") from None
