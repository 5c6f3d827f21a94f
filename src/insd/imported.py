"""Networks from files of others, in the contract of `network.nc`: PyTorch checkpoints and arrays."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from insd.layouts import Layout, Said, chosen_module, layout_of
from insd.mapping import names_in
from insd.plugins import find
from insd.samples import other_sizes
from insd.tensor_files import CheckpointError, UnsaidError, detached, must_fit, networks_in, recurrent_modules, without

OPEN = 100.0
"""Drive of a gate that is 1 in single and double precision; its negative is 0 next to 1."""
WITHOUT_FUNCTION = {
    "PyTorch": "a state dict does not say if its torch.nn.RNN was with tanh or relu",
    "Keras SimpleRNN": "weights do not say the activation of their SimpleRNN",
}
"""Layouts of rate networks without a leak, and what they do not say."""


def import_checkpoint(
    source: str | os.PathLike | torch.nn.Module,
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
    rnn: str | None = None,
    leaky: Literal["states", "rates"] = "states",
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> xr.Dataset:
    """The networks of one file, for the inputs and outputs of trials: seed k is the k-th network in it.

    A file is a checkpoint saved with `torch.save`, an npz file of arrays, a MATLAB file (`.mat`, up to version 7) or an
    HDF5 file (`.h5`); in its place there may be the module itself. Four kinds of networks are known:

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
    - a Keras `SimpleRNN` or `GRU` and a `Dense` layer, by the names of their weights or as the arrays of
      `model.get_weights()`. They have no leak, and a file does not say the `nonlinearity` of a SimpleRNN.

    Other matrices are read by a `mapping`: for each weight of a rate network, or for `tau` or `alpha`, its name in the
    file, as in ``{"recurrent_weights": "model.rnn.W", "input_weights": "model.W_in.T"}``. ``.T`` transposes,
    ``U @ V.T`` is a product and ``b + c`` a sum. A prefix of all names, as in ``model.wi``, ``model.m``, needs none.

    Matrices need their time constant `tau` in s, given or in the file, or there ``alpha = dt / tau``. The states
    of such networks leak, ``x <- x + alpha (-x + J f(x) + W u + b)``. If instead their rates do, with `leaky`
    "rates",

        r <- (1 - alpha) r + alpha tanh(J r + W u + b),

    the network is taken as a `gru` whose gates stay open, which is the same step by step. There is no such network for
    functions other than tanh. Under a constant input, ``x = J r + W u + b`` obeys the first form, so that both have
    the same fixed points with the same eigenvalues; where inputs change, they differ.

    A checkpoint may hold the state dict among other things (``{"model_state_dict": ..., "epoch": ...}``). No tensor of
    a network is left out, unless a pattern in `ignore` names it (``"loss*"``): other names are refused, and so are
    patterns that fit none.

    A file of several networks has one more axis in each of its arrays, the first, over the networks; or is a dict or
    list of such dicts; or has names that begin with the name of the network and a slash (``0/recurrent_weights``), in
    which order they are.

    Only tensors are read (`weights_only`): a checkpoint cannot run code. Raises CheckpointError if the file is of a
    different kind, has no readout, or does not fit the trials.
    """
    if leaky not in ("states", "rates"):
        raise CheckpointError(f"leaky = {leaky!r}: choose from states, rates")
    said = Said(tau, readout, nonlinearity, rnn, leaky, mapping, ignore)
    if isinstance(source, torch.nn.Module):
        name = type(source).__name__
        every = detached(source.state_dict())
        must_fit(ignore, every, name)
        stored = without(every, ignore)
        return _imported(stored, name, trials, said._replace(nonlinearity=_of_its_module(source, stored, said, name)))
    networks = [_imported(one, f"{source}{where}", trials, said) for where, one in tensors_of(source, said)]
    return _side_by_side(networks, [str(source)] * len(networks))


def tensors_of(source: str | os.PathLike, said: Said) -> list[tuple[str, dict[str, Tensor]]]:
    """The tensors of each network of a file, but for those to ignore, with where the network is in it."""
    return networks_in(source, names_in(said.mapping or {}), said.ignore)


def import_checkpoints(
    paths: Sequence[str],
    trials: xr.Dataset,
    tau: float | None = None,
    readout: str = "readout",
    nonlinearity: str | None = None,
    rnn: str | None = None,
    leaky: Literal["states", "rates"] = "states",
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> xr.Dataset:
    """The networks of several files (see `import_checkpoint`), one after the other: of one architecture and size."""
    said = Said(tau, readout, nonlinearity, rnn, leaky, mapping, ignore)
    networks = [import_checkpoint(path, trials, *said) for path in paths]
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
    network = understood(stored, path, said, float(trials.attrs["dt"]))
    architecture, weights = network.layout.architecture, network.layout.weights
    check(network.layout, trials, path)
    dimensions = find("network", architecture).dimensions
    return xr.Dataset(
        {name: (dimensions[name], weights[name].float().numpy()[None]) for name in dimensions}
        | {"restarts": ("seed", [0])},
        coords={"seed": [0], "input": trials["input"], "output": trials["output"]},
        attrs={
            "dt": trials.attrs["dt"],
            "tau": network.tau,
            "architecture": architecture,
            "nonlinearity": network.nonlinearity,
        },
    )


class Understood(NamedTuple):
    """A network of a file: its layout, its nonlinearity and its time constant in s, None where that needs dt."""

    layout: Layout
    nonlinearity: str
    tau: float | None


def understood(stored: Mapping[str, Tensor], path: object, said: Said, dt: float | None) -> Understood:
    """The network in tensors, at a time step of `dt` s, if that is known; whether it fits trials is not asked.

    Raises CheckpointError if there is none, and UnsaidError if the file does not say all of it.
    """
    for name, values in stored.items():
        # Such a tensor could not even be asked whether it is finite.
        if values.layout != torch.strided or values.is_quantized or values.is_complex() or values.is_meta:
            raise CheckpointError(
                f"{path}: '{name}' is sparse, quantized, complex or without data; store it as plain numbers"
            )
    layout = layout_of(stored, said, path)
    if layout.leak is None:
        return _without_leak(layout, path, said, dt)
    tau = _time_constant(layout.leak, said.tau, dt, path)
    if tau is None and not layout.leak:
        raise UnsaidError(f"{path}: these matrices do not say their time constant, in s", "tau", 0.1)
    if tau is not None and not 0 < tau < math.inf:
        raise CheckpointError(f"{path}: tau = {tau:g} s is not a time constant: it is above 0 and finite")
    if tau is not None and dt is not None and tau < dt:
        raise CheckpointError(
            f"{path}: tau = {tau:g} s is less than the time step of the trials, dt = {dt:g} s, and an Euler step needs "
            "tau >= dt; give it in s, or use trials with a shorter dt"
        )
    if said.leaky == "states":
        return Understood(layout, said.nonlinearity or "tanh", tau)
    if said.nonlinearity not in (None, "tanh"):
        raise CheckpointError(
            f"{path}: rates that leak are known with tanh alone, not with {said.nonlinearity}. A network of leaky "
            "states (leave out leaky) has the same fixed points under constant inputs, but a different activity"
        )
    layout = layout._replace(architecture="gru", weights=_with_leaky_rates(layout.weights))
    return Understood(layout, "identity", tau)


def _without_leak(layout: Layout, path: object, said: Said, dt: float | None) -> Understood:
    """A network whose time constant is the time step, as those of PyTorch and Keras."""
    if said.tau is not None:
        raise CheckpointError(f"{path}: the time constant of a {layout.name} network is the time step; leave out tau")
    if said.leaky == "rates":
        raise CheckpointError(f"{path}: a {layout.name} network has no leak; leave out leaky")
    if layout.architecture != "rate":
        if said.nonlinearity is not None:
            raise CheckpointError(
                f"{path}: a {layout.architecture} network has no nonlinearity to choose; leave it out"
            )
        return Understood(layout, "identity", dt)
    if said.nonlinearity is None:
        raise UnsaidError(f"{path}: {WITHOUT_FUNCTION[layout.name]}", "nonlinearity", "tanh")
    if said.nonlinearity == "softplus":
        # Such a network begins at zero rates, which softplus has at no finite state.
        start = torch.full_like(layout.weights["initial_state"], -OPEN)
        layout = layout._replace(weights={**layout.weights, "initial_state": start})
    return Understood(layout, said.nonlinearity, dt)


def _of_its_module(module: torch.nn.Module, stored: Mapping[str, Tensor], said: Said, name: str) -> str | None:
    """The nonlinearity that a module's recurrent part has, or that is given."""
    if said.mapping or not recurrent_modules(stored):
        return said.nonlinearity
    prefix, _ = chosen_module(stored, said.rnn, name)
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


def _time_constant(leak: Mapping[str, Tensor], tau: float | None, dt: float | None, path: object) -> float | None:
    """The time constant that is given or that the file says, itself or as ``alpha = dt / tau``."""
    for name, values in leak.items():
        if values.numel() != 1:
            shape = tuple(values.shape)
            raise CheckpointError(f"{path}: '{name}' has shape {shape}; all units need one time constant")
        value = float(values)
        if name == "alpha" and not 0 < value <= 1:
            raise CheckpointError(f"{path}: 'alpha' is {value:g}; dt / tau is above 0 and at most 1")
        if name == "alpha" and dt is None:
            continue
        found = value if name == "tau" else (dt or 0.0) / value
        if tau is not None and not math.isclose(tau, found, rel_tol=1e-6):
            raise CheckpointError(
                f"{path}: '{name}' is {value:g}, so that tau is {found:g} s, and {tau:g} s is given; leave out one"
            )
        tau = found
    return tau


def check(layout: Layout, trials: xr.Dataset | None, path: object) -> None:
    """Raise CheckpointError unless the weights are finite and fit each other and, where there are some, the trials."""
    architecture, weights = layout.architecture, layout.weights
    named = {
        name: f"'{name}'" if layout.origins.get(name, name) == name else f"'{name}', read from {layout.origins[name]},"
        for name in weights
    }
    shape, units = tuple(weights["recurrent_weights"].shape), weights["recurrent_weights"].shape[-1]
    if shape[-2:] != (units, units):
        raise CheckpointError(
            f"{path}: {named['recurrent_weights']} has shape {shape}: from units to the same units, it is square"
        )
    own = {"input": weights["input_weights"].shape[-1], "output": len(weights["output_weights"])}
    sizes = {"unit": units, "unit_from": units, "gate": 3}
    sizes |= own if trials is None else {name: trials.sizes[name] for name in own}
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
    if trials is not None and fits and (why := other_sizes(of_task, trials)):
        raise CheckpointError(f"{path}: {why}")
    for name, (_, *axes) in dimensions.items():
        expected = tuple(sizes[axis] for axis in axes)
        if tuple(weights[name].shape) != expected:
            turned = (
                "; its transpose fits, as `.T` in a mapping" if tuple(weights[name].shape)[::-1] == expected else ""
            )
            raise CheckpointError(
                f"{path}: {named[name]} has shape {tuple(weights[name].shape)}; needs {expected}, ({', '.join(axes)}): "
                f"its other weights are of {units} units{turned}"
            )
        if not torch.isfinite(weights[name].float()).all():
            raise CheckpointError(f"{path}: {named[name]} holds values that are not finite in single precision")
