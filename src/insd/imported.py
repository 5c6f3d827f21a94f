"""Networks from files of others, in the contract of `network.nc`: PyTorch checkpoints and arrays."""

import logging
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from insd.errors import InsdError
from insd.plugins import find

log = logging.getLogger(__name__)

OPTIONAL = ("bias", "output_bias", "initial_state")
"""Weights that are zero if a plain dict lacks them."""


class CheckpointError(InsdError):
    """A file holds no network that this library knows; the message names what is missing and what to do."""


def import_checkpoint(
    path: str | os.PathLike,
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
) -> xr.Dataset:
    """The networks of one file, for the inputs and outputs of trials: seed k is the k-th network in it.

    A file is a checkpoint saved with `torch.save`, or an npz file of arrays. Two kinds of networks are known:

    - the state dict of a module that holds a `torch.nn.RNN` or a `torch.nn.GRU` of one layer and one direction, under
      any name, and a `torch.nn.Linear` under the name `readout` (``readout.weight``, ``readout.bias``). Such networks
      have no leak: their time constant is the time step of the trials, and their state starts at zero.
    - the matrices of a rate network (see `insd.networks.rate.RateRNN`): `recurrent_weights` (unit, unit_from),
      `input_weights` (unit, input), `output_weights` (output, unit) and, zero without them, `bias` (unit),
      `output_bias` (output) and `initial_state` (unit). They need their time constant `tau` in s.

    Neither says the `nonlinearity` of a rate network: `tanh` unless it is given. A file of several networks has one
    more axis in each of its arrays, the first, over the networks; or is a dict or list of such dicts; or has names that
    begin with the name of the network and a slash (``0/recurrent_weights``), in which order they are.

    Only tensors are read (`weights_only`): a checkpoint cannot run code. Raises CheckpointError if the file is of a
    different kind, has no readout, or does not fit the trials.
    """
    networks = [_imported(one, f"{path}{where}", trials, tau, readout, nonlinearity) for where, one in _networks(path)]
    return _side_by_side(networks, [str(path)] * len(networks))


def import_checkpoints(
    paths: Sequence[str],
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
) -> xr.Dataset:
    """The networks of several files (see `import_checkpoint`), one after the other: of one architecture and size."""
    networks = [import_checkpoint(path, trials, tau, readout, nonlinearity) for path in paths]
    return _side_by_side(networks, paths)


def _side_by_side(networks: Sequence[xr.Dataset], paths: Sequence[str]) -> xr.Dataset:
    first = networks[0]
    for network, path in zip(networks, paths, strict=True):
        sizes = {name: size for name, size in network.sizes.items() if name != "seed"}
        if network.attrs != first.attrs or sizes != {name: first.sizes.get(name) for name in sizes}:
            raise CheckpointError(
                f"{path}: has a {network.attrs['architecture']} network of {network.sizes['unit']} units, and "
                f"{paths[0]} a {first.attrs['architecture']} network of {first.sizes['unit']}; networks of one "
                "population are alike: make a population of each kind"
            )
    joined = xr.concat(networks, "seed", combine_attrs="override")
    return joined.assign_coords(seed=np.arange(joined.sizes["seed"]))


def _imported(
    stored: Mapping[str, Tensor],
    path: str,
    trials: xr.Dataset,
    tau: float | None,
    readout: str,
    nonlinearity: str | None,
) -> xr.Dataset:
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
            raise CheckpointError(f"{path}: the time constant of a PyTorch network is the time step; leave out tau")
        architecture, weights = _of_module(stored, prefix, readout, path)
        if architecture == "rate" and nonlinearity is None:
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
            "nonlinearity": (nonlinearity or "tanh") if architecture == "rate" else "identity",
        },
    )


def _networks(path: str | os.PathLike) -> list[tuple[str, dict[str, Tensor]]]:
    """The networks of a file, each with where it is there, which is empty for a file of one."""
    stored = _read(path)
    if isinstance(stored, list):
        return [(f"[{number}]", one) for number, one in enumerate(stored)]
    names = dict.fromkeys(name.partition("/")[0] for name in stored if "/" in name)
    if names and all("/" in name for name in stored):
        return [
            (
                f"[{own}]",
                {name.partition("/")[2]: values for name, values in stored.items() if name.startswith(f"{own}/")},
            )
            for own in names
        ]
    recurrent = next((stored[name] for name in stored if name.endswith(("weight_hh_l0", "recurrent_weights"))), None)
    if recurrent is None or recurrent.ndim < 3:
        return [("", stored)]
    counts = {len(values) if values.ndim else 0 for values in stored.values()}
    if len(counts) != 1:
        raise CheckpointError(
            f"{path}: its arrays hold {', '.join(map(str, sorted(counts)))} networks along their first axis; all must "
            "hold the same number"
        )
    return [
        (f"[{number}]", {name: values[number] for name, values in stored.items()}) for number in range(counts.pop())
    ]


def _read(path: str | os.PathLike) -> dict[str, Tensor] | list[dict[str, Tensor]]:
    """The tensors of a file by name, or those of each of its networks."""
    try:
        stored = (
            _arrays(path) if str(path).endswith(".npz") else torch.load(path, map_location="cpu", weights_only=True)
        )
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except Exception as error:  # the exceptions of the pickle reader for other files are undocumented
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: not a checkpoint of tensors alone ({first}); save one with torch.save(module.state_dict(), path)"
        ) from None
    several = list(stored.values()) if isinstance(stored, Mapping) else stored
    if isinstance(several, list | tuple) and several and all(_is_network(one) for one in several):
        return [_detached(one) for one in several]
    if not _is_network(stored):
        raise CheckpointError(
            f"{path}: holds more than a dict of tensors; save it with torch.save(module.state_dict(), path)"
        )
    return _detached(stored)


def _arrays(path: str | os.PathLike) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as opened:
        return {name: torch.from_numpy(values) for name, values in opened.items()}


def _is_network(stored: object) -> bool:
    return isinstance(stored, Mapping) and all(isinstance(value, Tensor) for value in stored.values())


def _detached(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A dict of parameters is as good as one of tensors."""
    return {name: value.detach() for name, value in stored.items()}


def _of_matrices(stored: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    names = find("network", "rate").dimensions
    needed = [name for name in names if name not in OPTIONAL]
    if missing := [name for name in needed if name not in stored]:
        what = "has no readout: it " if missing == ["output_weights"] else ""
        raise CheckpointError(
            f"{path}: {what}lacks {', '.join(missing)}; a dict of matrices needs {', '.join(needed)}; the state "
            f"dict of a module needs a torch.nn.RNN or torch.nn.GRU; found: {', '.join(stored) or 'nothing'}"
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
            f"{path}: has no readout '{readout}.weight'; name the linear readout of the rates, one of: "
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
    # The two biases of a gate add up; only the candidate's is multiplied by the reset gate.
    bias = of_inputs + torch.cat([of_state[: 2 * units], torch.zeros(units)])
    gated = {
        "recurrent_weights": recurrent.view(3, units, units),
        "input_weights": inputs.view(3, units, -1),
        "bias": bias.view(3, units),
        "candidate_bias": of_state[2 * units :],
    }
    return "gru", {**gated, **common}


def _check(architecture: str, weights: Mapping[str, Tensor], trials: xr.Dataset, path: object) -> None:
    """Check that the weights fit each other and the trials."""
    units = weights["output_weights"].shape[-1]
    if trials.sizes["output"] >= units:
        raise CheckpointError(
            f"{path}: {trials.sizes['output']} output(s) of {units} units leave no null space, where activity is "
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
