"""Networks from files of others, in the contract of `network.nc`: PyTorch checkpoints and arrays."""

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

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
    rnn: str | None = None,
) -> xr.Dataset:
    """The networks of one file, for the inputs and outputs of trials: seed k is the k-th network in it.

    A file is a checkpoint saved with `torch.save`, or an npz file of arrays. Two kinds of networks are known:

    - the state dict of a module that holds a `torch.nn.RNN` or a `torch.nn.GRU` of one layer and one direction, or an
      `RNNCell` or a `GRUCell`, and a `torch.nn.Linear` under the name `readout` (``readout.weight``, ``readout.bias``).
      Where there are several recurrent modules, `rnn` is the name of the one to take. Such networks
      have no leak: their time constant is the time step of the trials, and their state starts at zero.
    - the matrices of a rate network (see `insd.networks.rate.RateRNN`): `recurrent_weights` (unit, unit_from),
      `input_weights` (unit, input), `output_weights` (output, unit) and, zero without them, `bias` (unit),
      `output_bias` (output) and `initial_state` (unit). They need their time constant `tau` in s, given or in the file.
      The states of such networks are leaky, ``tau dx/dt = -x + J f(x) + ...``; a network whose *rates* are leaky,
      ``r <- (1 - a) r + a f(J r + ...)``, filters its inputs differently, and is not one of these.

    A checkpoint may hold the state dict among other things (``{"model_state_dict": ..., "epoch": ...}``). No tensor of
    a network is ignored: names that are none of the above are refused.

    Neither says the `nonlinearity` of a rate network: `tanh` unless it is given. A file of several networks has one
    more axis in each of its arrays, the first, over the networks; or is a dict or list of such dicts; or has names that
    begin with the name of the network and a slash (``0/recurrent_weights``), in which order they are.

    Only tensors are read (`weights_only`): a checkpoint cannot run code. Raises CheckpointError if the file is of a
    different kind, has no readout, or does not fit the trials.
    """
    networks = [
        _imported(one, f"{path}{where}", trials, tau, readout, nonlinearity, rnn) for where, one in _networks(path)
    ]
    return _side_by_side(networks, [str(path)] * len(networks))


def import_checkpoints(
    paths: Sequence[str],
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
    rnn: str | None = None,
) -> xr.Dataset:
    """The networks of several files (see `import_checkpoint`), one after the other: of one architecture and size."""
    networks = [import_checkpoint(path, trials, tau, readout, nonlinearity, rnn) for path in paths]
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
    rnn: str | None,
) -> xr.Dataset:
    if not _recurrent_modules(stored):
        architecture, weights = "rate", _of_matrices(stored, path)
        tau = _time_constant(stored, tau, path)
        if tau is None:
            raise CheckpointError(f"{path}: these matrices do not say their time constant; give tau, in s")
        if not float(trials.attrs["dt"]) <= tau < math.inf:
            raise CheckpointError(
                f"{path}: tau = {tau}: at least the time step of the trials, dt = {trials.attrs['dt']} s; the Euler "
                "step needs tau >= dt"
            )
    else:
        if tau is not None:
            raise CheckpointError(f"{path}: the time constant of a PyTorch network is the time step; leave out tau")
        architecture, weights = _of_module(stored, _chosen_module(stored, rnn, path), readout, path)
        if architecture == "rate" and nonlinearity is None:
            log.warning("%s: taken for a torch.nn.RNN with tanh; a state dict does not say if it was with relu", path)
        tau = float(trials.attrs["dt"])
    if architecture != "rate" and nonlinearity is not None:
        raise CheckpointError(f"{path}: a {architecture} network has no nonlinearity to choose; leave it out")
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


def _recurrent_modules(stored: Mapping[str, Tensor]) -> dict[str, str]:
    """By the name of each recurrent module in a state dict, empty for the module itself, what its names end in."""
    found: dict[str, str] = {}
    for ending in ("_l0", ""):
        weight = f"weight_hh{ending}"
        found |= {name.removesuffix(weight).rstrip("."): ending for name in stored if name.endswith(weight)}
    return found


def _chosen_module(stored: Mapping[str, Tensor], rnn: str | None, path: object) -> tuple[str, str]:
    """What the names of one recurrent module begin with and end in."""
    modules = _recurrent_modules(stored)
    named = ", ".join(repr(name) for name in modules)
    if rnn is None and len(modules) > 1:
        raise CheckpointError(f"{path}: has {len(modules)} recurrent modules, {named}; name the one to take by rnn")
    name = next(iter(modules)) if rnn is None else rnn
    if name not in modules:
        raise CheckpointError(f"{path}: has no recurrent module {name!r}; choose from {named}")
    return f"{name}." if name else "", modules[name]


def _time_constant(stored: Mapping[str, Tensor], tau: float | None, path: object) -> float | None:
    """The time constant that is given or that the file says."""
    if "tau" not in stored:
        return tau
    if stored["tau"].numel() != 1:
        raise CheckpointError(f"{path}: 'tau' has shape {tuple(stored['tau'].shape)}; all units need one time constant")
    found = float(stored["tau"])
    if tau is not None and not math.isclose(tau, found, rel_tol=1e-6):
        raise CheckpointError(f"{path}: 'tau' is {found:g} s in the file, and {tau:g} s is given; leave out one")
    return found


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
        stored = _arrays(path) if str(path).endswith(".npz") else _unpickled(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # the exceptions of the pickle reader for other files are undocumented
        raise CheckpointError(
            f"{path}: not a checkpoint of tensors alone{_what_else(error)}; save one with "
            "torch.save(module.state_dict(), path)"
        ) from None
    several = list(stored.values()) if isinstance(stored, Mapping) else stored
    if isinstance(several, list | tuple) and several and all(_is_network(one) for one in several):
        return [_detached(one) for one in several]
    if _is_network(stored):
        return _detached(stored)
    # A checkpoint with the state of the optimiser, the epoch and the like.
    inside = list(stored.items()) if isinstance(stored, Mapping) else []
    known: dict[str, Any] = {
        str(name): one
        for name, one in inside
        if _is_network(one) and (_recurrent_modules(one) or "recurrent_weights" in one)
    }
    if len(known) == 1:
        return _detached(*known.values())
    if known:
        raise CheckpointError(f"{path}: holds several networks among other things, {', '.join(known)}; save one alone")
    raise CheckpointError(
        f"{path}: holds more than a dict of tensors; save it with torch.save(module.state_dict(), path)"
    )


def _unpickled(path: str | os.PathLike) -> Any:
    """What `torch.save` wrote: tensors, plain numbers and containers, and NumPy's arrays, which run no code either."""
    arrays = np._core.multiarray
    # The name of the module in NumPy 1, too.
    harmless = [
        entry
        for function in (arrays._reconstruct, arrays.scalar)
        for entry in (function, (function, f"numpy.core.multiarray.{function.__name__}"))
    ]
    types = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")}
    with torch.serialization.safe_globals([*harmless, np.ndarray, np.dtype, *types]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _what_else(error: Exception) -> str:
    """The class that a file holds besides tensors, as far as PyTorch's message says."""
    found = re.search(r"GLOBAL (\S+) w", str(error))
    return f": it holds a {found[1]}, which could run code" if found else ""


def _arrays(path: str | os.PathLike) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as opened:
        return {name: torch.from_numpy(values) for name, values in opened.items()}


def _is_network(stored: Any) -> bool:
    return isinstance(stored, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor | np.ndarray | np.generic) for name, value in stored.items()
    )


def _detached(stored: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Tensors by name: a dict of parameters, or of arrays, is as good as one of tensors."""
    return {
        name: value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))
        for name, value in stored.items()
    }


def _of_matrices(stored: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    names = find("network", "rate").dimensions
    if unknown := [name for name in stored if name not in (*names, "tau")]:
        raise CheckpointError(
            f"{path}: holds {', '.join(unknown)}, which no dict of matrices has; a rate network has {', '.join(names)} "
            "and tau; the state dict of a module needs a torch.nn.RNN or torch.nn.GRU"
        )
    needed = [name for name in names if name not in OPTIONAL]
    if missing := [name for name in needed if name not in stored]:
        what = "has no readout: it " if missing == ["output_weights"] else ""
        raise CheckpointError(
            f"{path}: {what}lacks {', '.join(missing)}; a dict of matrices needs {', '.join(needed)}; the state "
            f"dict of a module needs a torch.nn.RNN or torch.nn.GRU; found: {', '.join(stored) or 'nothing'}"
        )
    _must_have_axes(path, {name: stored[name] for name in needed})
    units, outputs = len(stored["recurrent_weights"]), len(stored["output_weights"])
    zeros = {"bias": torch.zeros(units), "output_bias": torch.zeros(outputs), "initial_state": torch.zeros(units)}
    given = {name: stored[name] for name in names if name in stored}
    return {**zeros, **given}


def _of_module(
    stored: Mapping[str, Tensor], names: tuple[str, str], readout: str, path: object
) -> tuple[str, dict[str, Tensor]]:
    prefix, ending = names
    if f"{prefix}weight_hh_l1" in stored or f"{prefix}weight_hh_l0_reverse" in stored:
        raise CheckpointError(f"{path}: has more than one layer or direction; only one of each can be imported")
    if f"{readout}.weight" not in stored:
        within = tuple(f"{name}." if name else "weight_" for name in _recurrent_modules(stored))
        others = [name for name in stored if name.endswith(".weight") and not name.startswith(within)]
        raise CheckpointError(
            f"{path}: has no readout '{readout}.weight'; name the linear readout of the rates, one of: "
            f"{', '.join(name.removesuffix('.weight') for name in others) or 'none'}"
        )
    of_module = {kind: f"{prefix}{kind}{ending}" for kind in ("weight_hh", "weight_ih", "bias_ih", "bias_hh")}
    used = {*of_module.values(), f"{readout}.weight", f"{readout}.bias"}
    # Other recurrent modules, and so what belongs to them, were left out by name.
    apart = tuple(f"{name}." for name in _recurrent_modules(stored) if f"{name}." != prefix and name)
    if ignored := [name for name in stored if name not in used and not name.startswith(apart)]:
        raise CheckpointError(
            f"{path}: also holds {', '.join(ignored)}, which is neither of the recurrent module nor of the readout "
            f"'{readout}'; what else the network computes would be lost: save these two alone"
        )
    if of_module["weight_ih"] not in stored:
        raise CheckpointError(f"{path}: lacks '{of_module['weight_ih']}', the weights of the inputs")
    recurrent, inputs = stored[of_module["weight_hh"]], stored[of_module["weight_ih"]]
    _must_have_axes(path, {of_module["weight_hh"]: recurrent, of_module["weight_ih"]: inputs})
    rows, units = recurrent.shape
    zero = torch.zeros(rows)
    of_inputs, of_state = (stored.get(of_module[f"bias_{kind}"], zero) for kind in ("ih", "hh"))
    values_of = {of_module["weight_ih"]: inputs, of_module["bias_ih"]: of_inputs, of_module["bias_hh"]: of_state}
    for name, values in values_of.items():
        if values.shape[:1] != (rows,):
            raise CheckpointError(
                f"{path}: '{name}' has shape {tuple(values.shape)}, and '{of_module['weight_hh']}' {rows} rows"
            )
    output_weights = stored[f"{readout}.weight"]
    _must_have_axes(path, {f"{readout}.weight": output_weights})
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


def _must_have_axes(path: object, matrices: Mapping[str, Tensor]) -> None:
    for name, values in matrices.items():
        if values.ndim != 2:
            raise CheckpointError(f"{path}: '{name}' has shape {tuple(values.shape)}; needs two axes")


def _check(architecture: str, weights: Mapping[str, Tensor], trials: xr.Dataset, path: object) -> None:
    """Check that the weights fit each other and the trials."""
    units = weights["output_weights"].shape[-1]
    if trials.sizes["output"] >= units:
        raise CheckpointError(
            f"{path}: {trials.sizes['output']} output(s) of {units} units leave no null space, where activity is "
            "compared; import a network of more units"
        )
    sizes = {"unit": units, "unit_from": units, "gate": 3, **{name: trials.sizes[name] for name in ("input", "output")}}
    for name in weights:
        # Such a tensor could not even be asked whether it is finite.
        if weights[name].layout != torch.strided or weights[name].is_quantized or weights[name].is_complex():
            raise CheckpointError(f"{path}: '{name}' is sparse, quantized or complex; store it as plain numbers")
    for name, dimensions in find("network", architecture).dimensions.items():
        expected = tuple(sizes[dimension] for dimension in dimensions[1:])
        if tuple(weights[name].shape) != expected:
            raise CheckpointError(
                f"{path}: '{name}' has shape {tuple(weights[name].shape)}; {', '.join(dimensions[1:])} of these "
                f"trials and units are {expected}"
            )
        if not torch.isfinite(weights[name]).all():
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite")
