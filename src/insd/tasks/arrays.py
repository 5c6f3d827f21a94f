"""The arrays of a sample of trials, put into the contract of trial files; what `Task.dataset` does."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike


def assembled(
    inputs: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    input_names: Sequence[str],
    output_names: Sequence[str],
    conditions: Mapping[str, np.ndarray],
    time: np.ndarray,
    steps: ArrayLike | None,
    noise: float | np.ndarray | None,
    random: np.random.Generator | None,
) -> xr.Dataset:
    """The dataset of `insd.tasks.base.Task.dataset`; `time` are the ends of the time steps in s."""
    must_belong_together(inputs, targets, mask, input_names, output_names, conditions)
    drawn = {}
    if noise is not None:
        clean, sd = inputs, _noise_sd(noise, inputs.shape, random)
        inputs = _with_noise(clean, sd, random)
        drawn = {"clean_inputs": clean, "noise_sd": sd}
    ends = {}
    if steps is not None:
        valid = valid_until(steps, *inputs.shape[:2])
        # Networks run through padding, too: numbers of any size there would overflow.
        inputs, targets = (np.where(valid[..., None], part, 0.0) for part in (inputs, targets))
        drawn = {name: np.where(valid[..., None], part, 0.0) for name, part in drawn.items()}
        ends = {"valid": (("trial", "time"), valid)}
    return xr.Dataset(
        {
            "inputs": (("trial", "time", "input"), inputs.astype(np.float32)),
            "targets": (("trial", "time", "output"), targets.astype(np.float32)),
            "mask": (("trial", "time", "output"), mask.astype(np.float32)),
            **{name: (("trial", "time", "input"), part.astype(np.float32)) for name, part in drawn.items()},
            **ends,
        },
        coords={
            "time": ("time", time, {"units": "s", "long_name": "time from trial start"}),
            "input": list(input_names),
            "output": list(output_names),
            **{name: ("trial", values) for name, values in conditions.items()},
        },
    )


def must_belong_together(
    inputs: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    input_names: Sequence[str],
    output_names: Sequence[str],
    conditions: Mapping[str, np.ndarray],
) -> None:
    """Raise ValueError where arguments of `Task.dataset` have shapes that do not fit."""
    if np.ndim(inputs) != 3:
        raise ValueError(f"inputs have shape {np.shape(inputs)}; need (trial, time, input)")
    trials, times, _ = np.shape(inputs)
    for name, array, names in (
        ("inputs", inputs, input_names),
        ("targets", targets, output_names),
        ("mask", mask, output_names),
    ):
        if np.shape(array) != (needed := (trials, times, len(names))):
            raise ValueError(f"{name} has shape {np.shape(array)}; needs {needed}, with the names {', '.join(names)}")
    for name, values in conditions.items():
        if np.shape(values) != (trials,):
            raise ValueError(f"condition '{name}' has shape {np.shape(values)}; needs ({trials},), one for each trial")


def valid_until(steps: ArrayLike, trials: int, times: int) -> np.ndarray:
    """Until when trials last that have so many steps, (trial, time); raises ValueError if they cannot be."""
    last = np.asarray(steps)
    if last.shape not in ((trials,), (trials, 1)) or last.dtype.kind not in "iu":
        raise ValueError(f"steps: {last.dtype} of shape {last.shape}; give one whole number for each trial")
    if last.min() < 1 or last.max() > times:
        raise ValueError(f"steps: {last.min()} to {last.max()}; a trial lasts from 1 to {times} time steps")
    return np.arange(times) < last.reshape(-1, 1)


def _noise_sd(noise: float | np.ndarray, shape: tuple[int, ...], random: np.random.Generator | None) -> np.ndarray:
    """The standard deviation at each step of each input; raises ValueError if there is none or nothing to draw from."""
    if random is None:
        raise ValueError("noise: give `random`, too, the generator from which it is drawn")
    given = np.asarray(noise)
    try:
        sd = np.broadcast_to(given, shape)
    except ValueError:
        raise ValueError(f"noise has shape {given.shape}; needs one that fits {shape}, (trial, time, input)") from None
    if sd.dtype.kind not in "iuf" or not np.isfinite(sd).all() or sd.min(initial=0) < 0:
        raise ValueError("noise: a standard deviation is a finite number of at least 0")
    return sd


def _with_noise(clean: np.ndarray, sd: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
    """Inputs with noise. Numbers are drawn for inputs that have noise at any time of any trial, and for no others."""
    assert random is not None
    noisy = sd.any((0, 1))
    inputs = clean.astype(np.float64)
    inputs[..., noisy] += sd[..., noisy] * random.standard_normal((*sd.shape[:2], int(noisy.sum())))
    return inputs
