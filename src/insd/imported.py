"""Networks from PyTorch checkpoints, in the contract of `network.nc`."""

import logging
import math
import os
from collections.abc import Mapping

import torch
import xarray as xr
from torch import Tensor

from insd.errors import InsdError
from insd.plugins import find

log = logging.getLogger(__name__)

OPTIONAL = ("bias", "output_bias", "initial_state")
"""Weights of a plain dict that are zero where it does not have them."""


class CheckpointError(InsdError):
    """A checkpoint is no network that this library knows; the message names what is missing and what to do."""


def import_checkpoint(
    path: str | os.PathLike, trials: xr.Dataset, tau: float | None = None, readout: str = "readout"
) -> xr.Dataset:
    """The network of a checkpoint, saved with `torch.save`, for the inputs and outputs of trials.

    Two kinds of checkpoints are known:

    - the state dict of a module that holds a `torch.nn.RNN` (tanh) or a `torch.nn.GRU` of one layer and one direction,
      under any name, and a `torch.nn.Linear` under the name `readout` (``readout.weight``, ``readout.bias``). Such
      networks have no leak: their time constant is the time step of the trials, and their state starts at zero. A
      state dict does not say the nonlinearity: a `torch.nn.RNN` with relu cannot be told from one with tanh, and
      becomes another network than it was.
    - a plain dict of the matrices of a rate network (see `insd.networks.rate.RateRNN`): `recurrent_weights` (unit,
      unit_from), `input_weights` (unit, input), `output_weights` (output, unit) and, zero without them, `bias` (unit),
      `output_bias` (output) and `initial_state` (unit). It needs its time constant `tau` in s.

    Only tensors are read (`weights_only`): a checkpoint cannot run code. Raises CheckpointError if the file is another
    one, has no readout, or does not fit the trials.
    """
    stored = _read(path)
    prefix = next((name.removesuffix("weight_hh_l0") for name in stored if name.endswith("weight_hh_l0")), None)
    if prefix is None:
        architecture, weights = "rate", _of_matrices(stored, path)
        if tau is None:
            raise CheckpointError(f"{path}: a dict of matrices does not say its time constant; give tau, in s")
        if not float(trials.attrs["dt"]) <= tau < math.inf:
            raise CheckpointError(
                f"{path}: tau = {tau}: at least the time step of the trials, dt = {trials.attrs['dt']} s; the Euler "
                "step needs tau >= dt"
            )
    else:
        if tau is not None:
            raise CheckpointError(
                f"{path}: networks of PyTorch have the time step as their time constant; leave out tau"
            )
        architecture, weights = _of_module(stored, prefix, readout, path)
        if architecture == "rate":
            log.warning("%s: taken for a torch.nn.RNN with tanh; a state dict does not say if it was with relu", path)
        tau = float(trials.attrs["dt"])
    _check(architecture, weights, trials, path)
    dimensions = find("network", architecture).dimensions
    return xr.Dataset(
        {name: (dimensions[name], weights[name].float().numpy()[None]) for name in dimensions}
        | {"restarts": ("seed", [0])},
        coords={"seed": [0], "input": trials["input"], "output": trials["output"]},
        attrs={
            "dt": trials.attrs["dt"],
            "tau": tau,
            "architecture": architecture,
            "nonlinearity": "tanh" if architecture == "rate" else "identity",
        },
    )


def _read(path: str | os.PathLike) -> dict[str, Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except Exception as error:  # what the reader of pickles raises for a file of another kind is not said anywhere
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: no checkpoint of tensors alone ({first}); save one with torch.save(module.state_dict(), path)"
        ) from None
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise CheckpointError(
            f"{path}: holds more than a dict of tensors; save it with torch.save(module.state_dict(), path)"
        )
    # A dict of parameters is as good as one of tensors.
    return {name: value.detach() for name, value in stored.items()}


def _of_matrices(stored: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    names = find("network", "rate").dimensions
    needed = [name for name in names if name not in OPTIONAL]
    if missing := [name for name in needed if name not in stored]:
        what = "has no readout: it " if missing == ["output_weights"] else ""
        raise CheckpointError(
            f"{path}: {what}lacks {', '.join(missing)}; a dict of matrices needs {', '.join(needed)}, and the state "
            f"dict of a module a torch.nn.RNN or torch.nn.GRU; found: {', '.join(stored) or 'nothing'}"
        )
    units, outputs = len(stored["recurrent_weights"]), len(stored["output_weights"])
    zeros = {"bias": torch.zeros(units), "output_bias": torch.zeros(outputs), "initial_state": torch.zeros(units)}
    given = {name: stored[name] for name in names if name in stored}
    return {**zeros, **given}


def _of_module(stored: Mapping[str, Tensor], prefix: str, readout: str, path: object) -> tuple[str, dict[str, Tensor]]:
    if f"{prefix}weight_hh_l1" in stored or f"{prefix}weight_hh_l0_reverse" in stored:
        raise CheckpointError(f"{path}: has more than one layer or direction; only one of each can be imported")
    if f"{readout}.weight" not in stored:
        raise CheckpointError(
            f"{path}: has no readout '{readout}.weight'; name the linear readout of the rates, which is among: "
            f"{', '.join(name.removesuffix('.weight') for name in stored if name.endswith('.weight')) or 'none'}"
        )
    recurrent, inputs = stored[f"{prefix}weight_hh_l0"], stored[f"{prefix}weight_ih_l0"]
    rows, units = recurrent.shape
    zero = torch.zeros(rows)
    of_inputs, of_state = (stored.get(f"{prefix}bias_{kind}_l0", zero) for kind in ("ih", "hh"))
    output_weights = stored[f"{readout}.weight"]
    common = {
        "output_weights": output_weights,
        "output_bias": stored.get(f"{readout}.bias", torch.zeros(len(output_weights))),
        "initial_state": torch.zeros(units),
    }
    if rows == units:
        bias = of_inputs + of_state
        return "rate", {"recurrent_weights": recurrent, "input_weights": inputs, "bias": bias, **common}
    if rows != 3 * units:
        raise CheckpointError(f"{path}: is neither a torch.nn.RNN nor a torch.nn.GRU ({rows // units} gates)")
    # The gates' two biases add up; only that of the candidate stands behind the reset gate.
    bias = of_inputs + torch.cat([of_state[: 2 * units], torch.zeros(units)])
    gated = {
        "recurrent_weights": recurrent.view(3, units, units),
        "input_weights": inputs.view(3, units, -1),
        "bias": bias.view(3, units),
        "candidate_bias": of_state[2 * units :],
    }
    return "gru", {**gated, **common}


def _check(architecture: str, weights: Mapping[str, Tensor], trials: xr.Dataset, path: object) -> None:
    """That all weights are of one network, and of one for these trials."""
    units = weights["output_weights"].shape[-1]
    if trials.sizes["output"] >= units:
        raise CheckpointError(
            f"{path}: {trials.sizes['output']} output(s) of {units} units leave no null space, in which activity is "
            "compared; import a network of more units"
        )
    sizes = {"unit": units, "unit_from": units, "gate": 3, **{name: trials.sizes[name] for name in ("input", "output")}}
    for name, dimensions in find("network", architecture).dimensions.items():
        expected = tuple(sizes[dimension] for dimension in dimensions[1:])
        if tuple(weights[name].shape) != expected:
            raise CheckpointError(
                f"{path}: '{name}' has shape {tuple(weights[name].shape)}; {', '.join(dimensions[1:])} of these "
                f"trials and units are {expected}"
            )
        if not torch.isfinite(weights[name]).all():
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite")
