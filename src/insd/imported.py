"""Networks from files of others, in the contract of `network.nc`: PyTorch checkpoints and arrays."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from insd.errors import InsdError
from insd.plugins import find
from insd.samples import other_sizes

OPTIONAL = ("bias", "output_bias", "initial_state")
"""Weights that are zero if a plain dict lacks them."""
LOADINGS = ("wi", "si", "m", "n", "wrec", "b", "wo", "so", "h0")
"""Names in files of the low-rank literature."""
OPEN = 100.0
"""Drive of a gate that is 1 in single and double precision; its negative is 0 next to 1."""


class CheckpointError(InsdError):
    """A file holds no network that this library knows; the message names what is missing and what to do."""


class Said(NamedTuple):
    """What is said of networks besides their file."""

    tau: float | None = None
    readout: str = "readout"
    nonlinearity: str | None = None
    rnn: str | None = None
    leaky: Literal["states", "rates"] = "states"


def import_checkpoint(
    source: str | os.PathLike | torch.nn.Module,
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
    rnn: str | None = None,
    leaky: Literal["states", "rates"] = "states",
) -> xr.Dataset:
    """The networks of one file, for the inputs and outputs of trials: seed k is the k-th network in it.

    A file is a checkpoint saved with `torch.save`, or an npz file of arrays; in its place there may be the module
    itself. Three kinds of networks are known:

    - the state dict of a module that holds a `torch.nn.RNN` or a `torch.nn.GRU` of one layer and one direction, or an
      `RNNCell` or a `GRUCell`, and a `torch.nn.Linear` under the name `readout` (``readout.weight``, ``readout.bias``).
      Where there are several recurrent modules, `rnn` is the name of the one to take. Such networks
      have no leak: their time constant is the time step of the trials, and their state starts at zero. A state dict
      does not say the `nonlinearity` of an RNN, tanh or relu, which must be given; a module does.
    - the matrices of a rate network (see `insd.networks.rate.RateRNN`): `recurrent_weights` (unit, unit_from),
      `input_weights` (unit, input), `output_weights` (output, unit) and, zero without them, `bias` (unit),
      `output_bias` (output) and `initial_state` (unit). In place of the recurrent weights there may be `left_vectors` M
      and `right_vectors` N (unit, rank), with ``J = M N^T / units``. The `nonlinearity` is `tanh` unless it is given.
    - the same by the names of the low-rank literature (Dubreuil et al. 2022, Valente et al. 2022): `wi` (input, unit),
      `wo` (unit, output), either `m` and `n` (unit, rank) or `wrec` (unit, unit_from) and, if they are there, the
      scales `si` (input) and `so` (output) and the initial state `h0`. With `m` and `n` the readout is
      ``(wo so)^T / units``, with `wrec` it is ``(wo so)^T``. Their `b` must be zero: it counts in the recurrent rates
      and not in those read out.

    Matrices need their time constant `tau` in s, given or in the file, or there ``alpha = dt / tau``. The states
    of such networks leak, ``x <- x + alpha (-x + J f(x) + W u + b)``. If instead their rates do, with `leaky`
    "rates",

        r <- (1 - alpha) r + alpha tanh(J r + W u + b),

    the network is taken as a `gru` whose gates stay open, which is the same step by step. There is no such network for
    functions other than tanh. Under a constant input, ``x = J r + W u + b`` obeys the first form, so that both have
    the same fixed points with the same eigenvalues; where inputs change, they differ.

    A checkpoint may hold the state dict among other things (``{"model_state_dict": ..., "epoch": ...}``). No tensor of
    a network is ignored: names that are none of the above are refused. A file of several networks has one
    more axis in each of its arrays, the first, over the networks; or is a dict or list of such dicts; or has names that
    begin with the name of the network and a slash (``0/recurrent_weights``), in which order they are.

    Only tensors are read (`weights_only`): a checkpoint cannot run code. Raises CheckpointError if the file is of a
    different kind, has no readout, or does not fit the trials.
    """
    if leaky not in ("states", "rates"):
        raise CheckpointError(f"leaky = {leaky!r}: choose from states, rates")
    said = Said(tau, readout, nonlinearity, rnn, leaky)
    if isinstance(source, torch.nn.Module):
        name = type(source).__name__
        stored = _detached(source.state_dict())
        return _imported(stored, name, trials, said._replace(nonlinearity=_of_its_module(source, stored, said, name)))
    networks = [_imported(one, f"{source}{where}", trials, said) for where, one in _networks(source)]
    return _side_by_side(networks, [str(source)] * len(networks))


def import_checkpoints(
    paths: Sequence[str],
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
    rnn: str | None = None,
    leaky: Literal["states", "rates"] = "states",
) -> xr.Dataset:
    """The networks of several files (see `import_checkpoint`), one after the other: of one architecture and size."""
    networks = [import_checkpoint(path, trials, tau, readout, nonlinearity, rnn, leaky) for path in paths]
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


def _imported(stored: Mapping[str, Tensor], path: str, trials: xr.Dataset, said: Said) -> xr.Dataset:
    for name, values in stored.items():
        # Such a tensor could not even be asked whether it is finite.
        if values.layout != torch.strided or values.is_quantized or values.is_complex() or values.is_meta:
            raise CheckpointError(
                f"{path}: '{name}' is sparse, quantized, complex or without data; store it as plain numbers"
            )
    dt = float(trials.attrs["dt"])
    nonlinearity = said.nonlinearity
    if not _recurrent_modules(stored):
        architecture, weights = _of_matrices(stored, path)
        tau = _time_constant(stored, said.tau, dt, path)
        if tau is None:
            raise CheckpointError(f"{path}: these matrices do not say their time constant; give tau, in s")
        if not dt <= tau < math.inf:
            raise CheckpointError(
                f"{path}: tau = {tau}: at least the time step of the trials, dt = {dt} s; the Euler step needs "
                "tau >= dt"
            )
        if said.leaky == "rates":
            if nonlinearity not in (None, "tanh"):
                raise CheckpointError(
                    f"{path}: rates that leak are known with tanh alone, not with {nonlinearity}. A network of leaky "
                    "states (leave out leaky) has the same fixed points under constant inputs, but a different activity"
                )
            architecture, weights = "gru", _with_leaky_rates(weights)
    else:
        if said.tau is not None:
            raise CheckpointError(f"{path}: the time constant of a PyTorch network is the time step; leave out tau")
        if said.leaky == "rates":
            raise CheckpointError(f"{path}: a PyTorch network has no leak; leave out leaky")
        architecture, weights = _of_module(stored, _chosen_module(stored, said.rnn, path), said.readout, path)
        if architecture == "rate" and nonlinearity is None:
            raise CheckpointError(
                f"{path}: a state dict does not say if its torch.nn.RNN was with tanh or relu; give nonlinearity"
            )
        if architecture != "rate" and nonlinearity is not None:
            raise CheckpointError(f"{path}: a {architecture} network has no nonlinearity to choose; leave it out")
        tau = dt
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
            "nonlinearity": "identity" if architecture == "gru" else nonlinearity or "tanh",
        },
    )


def _of_its_module(module: torch.nn.Module, stored: Mapping[str, Tensor], said: Said, name: str) -> str | None:
    """The nonlinearity that a module's recurrent part has, or that is given."""
    if not _recurrent_modules(stored):
        return said.nonlinearity
    prefix, _ = _chosen_module(stored, said.rnn, name)
    found = getattr(module.get_submodule(prefix.removesuffix(".")), "nonlinearity", None)
    if None not in (found, said.nonlinearity) and found != said.nonlinearity:
        raise CheckpointError(f"{name}: is with {found}, and {said.nonlinearity} is given; leave out nonlinearity")
    return found or said.nonlinearity


def _with_leaky_rates(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gated units with these matrices for the candidate, whose update gates are at 0 and reset gates at 1."""
    recurrent, inputs, bias = (weights[name].float() for name in ("recurrent_weights", "input_weights", "bias"))
    gates = torch.zeros_like(recurrent), torch.zeros_like(inputs), torch.full_like(bias, OPEN)
    return {
        "recurrent_weights": torch.stack([gates[0], gates[0], recurrent]),
        "input_weights": torch.stack([gates[1], gates[1], inputs]),
        "bias": torch.stack([gates[2], -gates[2], bias]),
        "candidate_bias": torch.zeros_like(bias),
        **{name: weights[name] for name in ("output_weights", "output_bias", "initial_state")},
    }


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


def _time_constant(stored: Mapping[str, Tensor], tau: float | None, dt: float, path: object) -> float | None:
    """The time constant that is given or that the file says, itself or as ``alpha = dt / tau``."""
    for name in ("tau", "alpha"):
        if name not in stored:
            continue
        if stored[name].numel() != 1:
            shape = tuple(stored[name].shape)
            raise CheckpointError(f"{path}: '{name}' has shape {shape}; all units need one time constant")
        value = float(stored[name])
        if name == "alpha" and not 0 < value <= 1:
            raise CheckpointError(f"{path}: 'alpha' is {value:g}; dt / tau is above 0 and at most 1")
        found = value if name == "tau" else dt / value
        if tau is not None and not math.isclose(tau, found, rel_tol=1e-6):
            raise CheckpointError(
                f"{path}: '{name}' is {value:g}, so that tau is {found:g} s, and {tau:g} s is given; leave out one"
            )
        tau = found
    return tau


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
    recurrent = next(
        (
            values
            for name, values in stored.items()
            if name.endswith(("weight_hh_l0", "recurrent_weights")) or name in ("left_vectors", "m", "wrec")
        ),
        None,
    )
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
    if isinstance(several, list | tuple) and several and all(_runs(one) for one in several):
        return [_detached(one) for one in several]
    if _is_network(stored):
        return _detached(stored)
    # A checkpoint with the state of the optimiser, the epoch and the like.
    inside = list(_inside(stored))
    known: dict[str, Any] = {name: one for name, one in inside if _runs(one)}
    if len(known) == 1:
        if ignored := [name for name, _ in inside if name.rpartition("/")[2] in ("tau", "alpha", "dt")]:
            raise CheckpointError(
                f"{path}: has {', '.join(ignored)} next to the network {next(iter(known))!r}, where it is not read; "
                "save both in one dict"
            )
        return _detached(*known.values())
    if known:
        raise CheckpointError(f"{path}: holds several networks among other things, {', '.join(known)}; save one alone")
    raise CheckpointError(
        f"{path}: holds more than a dict of tensors; save it with torch.save(module.state_dict(), path)"
    )


def _inside(stored: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """What a checkpoint holds, at any depth, but for what is inside networks; places are joined by slashes."""
    for name, one in stored.items() if isinstance(stored, Mapping) else ():
        yield f"{place}{name}", one
        if not _runs(one):
            yield from _inside(one, f"{place}{name}/")


def _runs(stored: Any) -> bool:
    """Whether it is the state dict of a module, or matrices, that could be a network."""
    return _is_network(stored) and bool(
        _recurrent_modules(stored) or not {"recurrent_weights", "left_vectors", "wi"}.isdisjoint(stored)
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


def _of_matrices(stored: Mapping[str, Tensor], path: object) -> tuple[str, dict[str, Tensor]]:
    """Architecture and weights of a rate network from its matrices."""
    if not {"wi", "wo", "m", "n", "wrec"}.isdisjoint(stored):
        stored = _of_loadings(stored, path)
    low_rank = not {"left_vectors", "right_vectors"}.isdisjoint(stored)
    architecture = "low_rank" if low_rank else "rate"
    names = find("network", architecture).dimensions
    if unknown := [name for name in stored if name not in (*names, "tau", "alpha")]:
        raise CheckpointError(
            f"{path}: holds {', '.join(unknown)}, which no dict of matrices has; a rate network has {', '.join(names)} "
            "and tau; the state dict of a module needs a torch.nn.RNN or torch.nn.GRU"
        )
    needed = [name for name in names if name not in OPTIONAL and not (low_rank and name == "recurrent_weights")]
    if missing := [name for name in needed if name not in stored]:
        what = "has no readout: it " if missing == ["output_weights"] else ""
        raise CheckpointError(
            f"{path}: {what}lacks {', '.join(missing)}; a dict of matrices needs {', '.join(needed)}; the state "
            f"dict of a module needs a torch.nn.RNN or torch.nn.GRU; found: {', '.join(stored) or 'nothing'}"
        )
    _must_have_axes(path, {name: stored[name] for name in needed})
    given = {name: stored[name] for name in names if name in stored}
    if low_rank:
        left, right = stored["left_vectors"], stored["right_vectors"]
        if left.shape != right.shape or not left.numel():
            shapes = f"{tuple(left.shape)} and {tuple(right.shape)}"
            raise CheckpointError(
                f"{path}: 'left_vectors' and 'right_vectors' have shapes {shapes}; needs (unit, rank)"
            )
        joined = left.double() @ right.double().T / len(left)
        if "recurrent_weights" in stored and not (
            stored["recurrent_weights"].shape == joined.shape
            and torch.allclose(stored["recurrent_weights"].double(), joined, rtol=1e-4, atol=1e-6)
        ):
            raise CheckpointError(
                f"{path}: 'recurrent_weights' are not left_vectors right_vectors^T / {len(left)}; leave out one of them"
            )
        given["recurrent_weights"] = joined
    units, outputs = len(given["recurrent_weights"]), len(stored["output_weights"])
    zeros = {"bias": torch.zeros(units), "output_bias": torch.zeros(outputs), "initial_state": torch.zeros(units)}
    return architecture, {**zeros, **given}


def _of_loadings(stored: Mapping[str, Tensor], path: object) -> dict[str, Tensor]:
    """The matrices of a file of the low-rank literature by the names of this library."""
    if unknown := [name for name in stored if name not in (*LOADINGS, "tau", "alpha")]:
        raise CheckpointError(
            f"{path}: holds {', '.join(unknown)} besides those of {', '.join(LOADINGS)}; leave it out"
        )
    recurrent = ["wrec"] if "wrec" in stored else ["m", "n"]
    if missing := [name for name in ("wi", "wo", *recurrent) if name not in stored]:
        raise CheckpointError(f"{path}: lacks {', '.join(missing)}; needs wi, wo, and either m and n or wrec")
    if both := [name for name in ("m", "n") if "wrec" in stored and name in stored]:
        raise CheckpointError(f"{path}: has wrec and {' and '.join(both)}; leave out one of them")
    _must_have_axes(path, {name: stored[name] for name in ("wi", "wo", *recurrent)})
    if "b" in stored and bool((stored["b"] != 0).any()):
        raise CheckpointError(
            f"{path}: 'b' is not zero; in networks of this layout it counts in the recurrent rates but not in those "
            "read out, which no network of this library does. Where it counts in both, use the names in network.nc, "
            "with bias"
        )
    scaled = {}
    for name, scale, axis in (("wi", "si", 0), ("wo", "so", 1)):
        values = stored[name].double()
        factors = stored.get(scale, torch.ones(values.shape[axis]))
        if tuple(factors.shape) != (values.shape[axis],):
            raise CheckpointError(
                f"{path}: '{scale}' has shape {tuple(factors.shape)}; '{name}' of {tuple(values.shape)} needs "
                f"({values.shape[axis]},)"
            )
        scaled[name] = (values.movedim(axis, 0) * factors[:, None]).contiguous()
    made = {"input_weights": scaled["wi"].T, "output_weights": scaled["wo"]}
    if "wrec" in stored:
        made["recurrent_weights"] = stored["wrec"]
    else:
        made |= {"left_vectors": stored["m"], "right_vectors": stored["n"]}
        made["output_weights"] = made["output_weights"] / max(len(stored["m"]), 1)
    if "h0" in stored:
        made["initial_state"] = stored["h0"]
    return made | {name: stored[name] for name in ("tau", "alpha") if name in stored}


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
    sizes = {"unit": units, "unit_from": units, "gate": 3, **{name: trials.sizes[name] for name in ("input", "output")}}
    if "left_vectors" in weights:
        sizes["rank"] = weights["left_vectors"].shape[-1]
    dimensions = find("network", architecture).dimensions
    # A network of a different task, if all else fits.
    given = [
        (axis, size)
        for name in ("input_weights", "output_weights")
        for axis, size in zip(dimensions[name][1:], weights[name].shape, strict=False)
    ]
    of_task = {axis: size for axis, size in given if axis in ("input", "output")}
    fits = all(size == sizes[axis] for axis, size in given if axis not in of_task)
    if fits and (why := other_sizes(of_task, trials)):
        raise CheckpointError(f"{path}: {why}")
    for name, (_, *axes) in dimensions.items():
        expected = tuple(sizes[axis] for axis in axes)
        if tuple(weights[name].shape) != expected:
            raise CheckpointError(
                f"{path}: '{name}' has shape {tuple(weights[name].shape)}; needs {expected}, ({', '.join(axes)}): "
                f"its other weights are of {units} units"
            )
        if not torch.isfinite(weights[name].float()).all():
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite in single precision")
