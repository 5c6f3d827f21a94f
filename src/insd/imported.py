"""Networks from files of others, in the contract of `network.nc`: PyTorch checkpoints and arrays."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from insd.plugins import find
from insd.samples import other_sizes
from insd.tensor_files import CheckpointError, UnsaidError, detached, networks_in, recurrent_modules

OPTIONAL = ("bias", "output_bias", "initial_state")
"""Weights that are zero if a plain dict lacks them."""
LOADINGS = ("wi", "si", "m", "n", "wrec", "b", "wo", "so", "h0")
"""Names in files of the low-rank literature."""
OPEN = 100.0
"""Drive of a gate that is 1 in single and double precision; its negative is 0 next to 1."""


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
        stored = detached(source.state_dict())
        return _imported(stored, name, trials, said._replace(nonlinearity=_of_its_module(source, stored, said, name)))
    networks = [_imported(one, f"{source}{where}", trials, said) for where, one in networks_in(source)]
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
    if not recurrent_modules(stored):
        architecture, weights = _of_matrices(stored, path)
        tau = _time_constant(stored, said.tau, dt, path)
        if tau is None:
            raise UnsaidError(f"{path}: these matrices do not say their time constant, in s", "tau", 0.1)
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
            what = "if its torch.nn.RNN was with tanh or relu"
            raise UnsaidError(f"{path}: a state dict does not say {what}", "nonlinearity", "tanh")
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
    if not recurrent_modules(stored):
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


def _chosen_module(stored: Mapping[str, Tensor], rnn: str | None, path: object) -> tuple[str, str]:
    """What the names of one recurrent module begin with and end in."""
    modules = recurrent_modules(stored)
    named = ", ".join(repr(name) for name in modules)
    if rnn is None and len(modules) > 1:
        raise UnsaidError(f"{path}: has {len(modules)} recurrent modules, {named}", "rnn", next(filter(None, modules)))
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
        within = tuple(f"{name}." if name else "weight_" for name in recurrent_modules(stored))
        weights = [name for name in stored if name.endswith(".weight") and not name.startswith(within)]
        others = [name.removesuffix(".weight") for name in weights]
        if not others:
            raise CheckpointError(f"{path}: has no linear readout of the rates; save it in the same state dict")
        raise UnsaidError(f"{path}: has no readout '{readout}.weight', but {', '.join(others)}", "readout", others[0])
    of_module = {kind: f"{prefix}{kind}{ending}" for kind in ("weight_hh", "weight_ih", "bias_ih", "bias_hh")}
    used = {*of_module.values(), f"{readout}.weight", f"{readout}.bias"}
    # Other recurrent modules, and so what belongs to them, were left out by name.
    apart = tuple(f"{name}." for name in recurrent_modules(stored) if f"{name}." != prefix and name)
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
