"""Layouts of weights in files of others: those that are known by their names, and those that a mapping says."""

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from insd.mapping import MappedWeight, names_in, terms_of
from insd.plugins import find
from insd.tensor_files import CheckpointError, UnknownLayoutError, UnsaidError, prefix_of, recurrent_modules

OPTIONAL = ("bias", "output_bias", "initial_state")
"""Weights that are zero if matrices lack them."""
LOADINGS = ("wi", "si", "m", "n", "wrec", "b", "wo", "so", "h0")
"""Names in files of the low-rank literature."""
KERAS = ("kernel", "recurrent_kernel", "bias")
"""Weights of a recurrent layer of Keras, in its order."""
VECTORS = (*OPTIONAL, "si", "so", "b", "h0")
"""Weights of one axis, which MATLAB stores with two."""
OTHERWISE = "for other names give a mapping (`insd inspect` helps)"
"""What to do about a layout that is not known."""
ZERO = "zero"
"""Stands for the name of a weight that a file lacks."""


class Said(NamedTuple):
    """What is said of networks besides their file; see `insd.imported.import_checkpoint`."""

    tau: float | None = None
    readout: str = "readout"
    nonlinearity: str | None = None
    rnn: str | None = None
    leaky: Literal["states", "rates"] = "states"
    mapping: Mapping[str, str] | None = None
    ignore: Sequence[str] = ()


class Layout(NamedTuple):
    """A network in a file.

    Parameters
    ----------
    name : of the layout.
    architecture, weights : of the network, without the axis over networks.
    origins : by the name of each weight, the tensors that it is read from, as a mapping says it where it can.
    leak : ``tau`` or ``alpha`` as they are in the file; None for a network that has no leak.
    """

    name: str
    architecture: str
    weights: dict[str, Tensor]
    origins: dict[str, str]
    leak: dict[str, Tensor] | None


def layout_of(stored: Mapping[str, Tensor], said: Said, path: object) -> Layout:
    """The network in the tensors of a file, by the mapping if one is given and otherwise by a layout that is known.

    Raises CheckpointError if no layout fits, and UnsaidError if a name must be given.
    """
    if said.mapping:
        return _of_matrices(mapped(stored, said.mapping, path), said.mapping, "mapping", path)
    if recurrent_modules(stored):
        return _of_module(stored, chosen_module(stored, said.rnn, path), said.readout, path)
    if layers := keras_layers(stored):
        return _of_keras(stored, layers, path)
    prefix = prefix_of(stored)
    plain = {name.removeprefix(prefix): values for name, values in stored.items()}
    return _of_matrices(plain, {name: f"{prefix}{name}" for name in plain}, "matrices", path)


def mapped(stored: Mapping[str, Tensor], mapping: Mapping[str, str], path: object) -> dict[str, Tensor]:
    """The weights that a mapping names, from the tensors of a file.

    Raises CheckpointError if one is not there, if shapes cannot be added or multiplied, or if a tensor is not read.
    """
    if unknown := [weight for weight in mapping if weight not in get_args(MappedWeight)]:
        raise CheckpointError(f"mapping.{unknown[0]}: is not a weight; choose from {', '.join(get_args(MappedWeight))}")
    for weight, expression in mapping.items():
        if missing := [name for name in names_in({weight: expression}) if name not in stored]:
            raise CheckpointError(
                f"{path}: has no tensor '{missing[0]}', which mapping.{weight} names; it has {', '.join(stored)}"
            )
    if ignored := [name for name in stored if name not in names_in(mapping)]:
        raise CheckpointError(
            f"{path}: also holds {', '.join(ignored)}, which the mapping does not name; name it there, or in ignore if "
            "the network runs without it"
        )
    return {weight: _value(stored, expression, f"{path}: mapping.{weight}") for weight, expression in mapping.items()}


def _value(stored: Mapping[str, Tensor], expression: str, where: str) -> Tensor:
    terms = []
    for factors in terms_of(expression):
        if matrices := [name for name, transposed in factors if transposed or len(factors) > 1]:
            _must_have_axes(where, {name: stored[name] for name in matrices})
        values = [stored[name].T if transposed else stored[name] for name, transposed in factors]
        shapes = [tuple(one.shape) for one in values]
        if any(left[-1] != right[0] for left, right in itertools.pairwise(shapes)):
            raise CheckpointError(f"{where} = '{expression}': {_listed(shapes)} cannot be multiplied")
        terms.append(functools.reduce(torch.matmul, [one.double() for one in values]) if len(values) > 1 else values[0])
    shapes = [tuple(one.shape) for one in terms]
    if len(set(shapes)) > 1:
        raise CheckpointError(f"{where} = '{expression}': {_listed(shapes)} cannot be added")
    return functools.reduce(torch.add, [one.double() for one in terms]) if len(terms) > 1 else terms[0]


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return f"shapes {' and '.join(map(str, shapes))}"


def _of_matrices(stored: Mapping[str, Tensor], origins: Mapping[str, str], layout: str, path: object) -> Layout:
    """A rate network from its matrices; `origins` are the names of these in the file."""
    stored = {name: _as_vector(values) if name in VECTORS else values for name, values in stored.items()}
    if not {"wi", "wo", "m", "n", "wrec"}.isdisjoint(stored):
        stored, origins = _of_loadings(stored, origins, path)
        layout = "matrices of the low-rank literature"
    low_rank = not {"left_vectors", "right_vectors"}.isdisjoint(stored)
    architecture = "low_rank" if low_rank else "rate"
    names = find("network", architecture).dimensions
    if unknown := [name for name in stored if name not in (*names, "tau", "alpha")]:
        raise UnknownLayoutError(
            f"{path}: holds {_in_file(unknown, origins)}, which no dict of matrices has; a rate network has "
            f"{', '.join(names)} and tau; the state dict of a module needs a torch.nn.RNN or torch.nn.GRU; {OTHERWISE}"
        )
    needed = [name for name in names if name not in OPTIONAL and not (low_rank and name == "recurrent_weights")]
    if missing := [name for name in needed if name not in stored]:
        what = "has no readout: it " if missing == ["output_weights"] else ""
        raise UnknownLayoutError(
            f"{path}: {what}lacks {', '.join(missing)}; a dict of matrices needs {', '.join(needed)}; the state "
            f"dict of a module needs a torch.nn.RNN or torch.nn.GRU; found: {_in_file(stored, origins)}; "
            f"{OTHERWISE}"
        )
    _must_have_axes(path, {origins[name]: stored[name] for name in needed})
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
    origins = {name: origins.get(name, ZERO) for name in names}
    if low_rank:
        origins["recurrent_weights"] = f"{origins['left_vectors']} @ {origins['right_vectors']}.T / {units}"
    leak: dict[str, Tensor] = {name: stored[name] for name in ("tau", "alpha") if name in stored}
    return Layout(layout, architecture, {**zeros, **given}, origins, leak)


def _in_file(names: Iterable[str], origins: Mapping[str, str]) -> str:
    """Weights by their names in the file: with the prefix that all share, as that of a struct."""
    return ", ".join(origins[name] for name in names) or "nothing"


def _as_vector(values: Tensor) -> Tensor:
    """A column or a row, as MATLAB stores vectors, without its second axis."""
    return values.flatten() if values.ndim == 2 and 1 in values.shape else values


def _of_loadings(
    stored: Mapping[str, Tensor], origins: Mapping[str, str], path: object
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The matrices of a file of the low-rank literature by the names of this library, and where they are read from."""
    if unknown := [name for name in stored if name not in (*LOADINGS, "tau", "alpha")]:
        raise CheckpointError(
            f"{path}: holds {_in_file(unknown, origins)} besides those of {', '.join(LOADINGS)}; leave it out"
        )
    recurrent = ["wrec"] if "wrec" in stored else ["m", "n"]
    if missing := [name for name in ("wi", "wo", *recurrent) if name not in stored]:
        raise CheckpointError(f"{path}: lacks {', '.join(missing)}; needs wi, wo, and either m and n or wrec")
    if both := [name for name in ("m", "n") if "wrec" in stored and name in stored]:
        raise CheckpointError(f"{path}: has {_in_file(['wrec', *both], origins)}; leave out wrec, or m and n")
    _must_have_axes(path, {origins[name]: stored[name] for name in ("wi", "wo", *recurrent)})
    if "b" in stored and bool((stored["b"] != 0).any()):
        raise CheckpointError(
            f"{path}: '{origins['b']}' is not zero; in networks of this layout it counts in the recurrent rates but "
            "not in those read out, which no network of this library does. Where it counts in both, use the names in "
            "network.nc, with bias"
        )
    scaled = {}
    for name, scale, axis in (("wi", "si", 0), ("wo", "so", 1)):
        values = stored[name].double()
        factors = stored.get(scale, torch.ones(values.shape[axis]))
        if tuple(factors.shape) != (values.shape[axis],):
            raise CheckpointError(
                f"{path}: '{origins[scale]}' has shape {tuple(factors.shape)}; '{origins[name]}' of "
                f"{tuple(values.shape)} needs "
                f"({values.shape[axis]},)"
            )
        scaled[name] = (values.movedim(axis, 0) * factors[:, None]).contiguous()
    made = {"input_weights": scaled["wi"].T, "output_weights": scaled["wo"]}
    read_from = {
        "input_weights": _scaled_name(origins, "wi", "si"),
        "output_weights": _scaled_name(origins, "wo", "so"),
    }
    plain = {"initial_state": "h0", "tau": "tau", "alpha": "alpha"}
    if "wrec" in stored:
        plain["recurrent_weights"] = "wrec"
    else:
        plain |= {"left_vectors": "m", "right_vectors": "n"}
        made["output_weights"] = made["output_weights"] / max(len(stored["m"]), 1)
        read_from["output_weights"] += f" / {len(stored['m'])}"
    there = {ours: theirs for ours, theirs in plain.items() if theirs in stored}
    made |= {ours: stored[theirs] for ours, theirs in there.items()}
    return made, read_from | {ours: origins[theirs] for ours, theirs in there.items()}


def _scaled_name(origins: Mapping[str, str], name: str, scale: str) -> str:
    return f"({origins[name]} {origins[scale]}).T" if scale in origins else f"{origins[name]}.T"


def _of_module(stored: Mapping[str, Tensor], names: tuple[str, str], readout: str, path: object) -> Layout:
    """A network from the state dict of a PyTorch module."""
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
            f"'{readout}'; what else the network computes would be lost: save these two alone, or name in "
            "ignore what the network runs without"
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
    biases = [name for name in (of_module["bias_ih"], of_module["bias_hh"]) if name in stored]
    origins = {
        "recurrent_weights": of_module["weight_hh"],
        "input_weights": of_module["weight_ih"],
        "bias": " + ".join(biases) or ZERO,
        "output_weights": f"{readout}.weight",
        "output_bias": f"{readout}.bias" if f"{readout}.bias" in stored else ZERO,
        "initial_state": ZERO,
    }
    if rows == units:
        own = {"recurrent_weights": recurrent, "input_weights": inputs, "bias": of_inputs + of_state}
        return Layout("PyTorch", "rate", {**own, **common}, origins, None)
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
    origins["candidate_bias"] = of_module["bias_hh"] if of_module["bias_hh"] in stored else ZERO
    return Layout("PyTorch", "gru", {**gated, **common}, origins, None)


def keras_layers(stored: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """By layer, the names in the file of what Keras calls its kernel, recurrent_kernel and bias.

    Empty if there is no recurrent layer. Names are those of `weight.path` or of HDF5 files of Keras 2 and 3; arrays
    without names (``arr_0``, ...) are in the order of `model.get_weights()`. Optimisers and random states are left out.
    """
    layers: dict[str, dict[str, str]] = {}
    for name in stored:
        layer, _, last = re.sub(r":\d+$", "", name).rpartition("/")
        if layer.startswith("optimizer") or "seed_generator" in layer:
            continue
        if last.isdecimal() and layer.endswith("vars"):
            kinds = KERAS if layer.endswith("cell/vars") else ("kernel", "bias")
            last = kinds[int(last)] if int(last) < len(kinds) else last
        if last in KERAS:
            layers.setdefault(layer, {})[last] = name
    if layers or not all(re.fullmatch(r"arr_\d+", name) for name in stored):
        return layers if any("recurrent_kernel" in kinds for kinds in layers.values()) else {}
    axes = "".join(str(stored[f"arr_{number}"].ndim) for number in range(len(stored)) if f"arr_{number}" in stored)
    if not re.fullmatch(r"22[12]?21?", axes) or len(axes) != len(stored):
        return {}
    recurrent = 2 if axes in ("222", "2221") else 3
    names = [f"arr_{number}" for number in range(len(stored))]
    return {
        "recurrent": dict(zip(KERAS, names[:recurrent], strict=False)),
        "dense": dict(zip(("kernel", "bias"), names[recurrent:], strict=False)),
    }


def _of_keras(stored: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, str]], path: object) -> Layout:
    """A network of a Keras SimpleRNN or GRU and a Dense layer.

    Their kernels are (input, unit) and (unit_from, unit), the transposes of ours. The gates of a GRU are in the order
    z, r, h, and its reset gate acts behind the recurrent weights (`reset_after`), as in PyTorch.
    """
    recurrent = [layer for layer, kinds in layers.items() if "recurrent_kernel" in kinds]
    dense = [layer for layer in layers if layer not in recurrent]
    for what, found in (("recurrent", recurrent), ("Dense", dense)):
        if len(found) != 1:
            named = ", ".join(repr(layer) for layer in found)
            raise CheckpointError(
                f"{path}: has {len(found)} {what} layers{': ' * bool(found)}{named}; one of each can be imported; "
                "save these two alone, or name in ignore what the network runs without, such as 'LAYER/*'"
            )
    of_cell, of_readout = layers[recurrent[0]], layers[dense[0]]
    for layer, kinds, needed in ((recurrent[0], of_cell, KERAS[:2]), (dense[0], of_readout, KERAS[:1])):
        if missing := [kind for kind in needed if kind not in kinds]:
            raise CheckpointError(f"{path}: layer '{layer}' lacks its {' and '.join(missing)}")
    used = {*of_cell.values(), *of_readout.values()}
    if ignored := [
        name
        for name in stored
        if name not in used and not name.startswith("optimizer") and "seed_generator" not in name
    ]:
        raise UnknownLayoutError(f"{path}: also holds {', '.join(ignored)}, which no layer has; {OTHERWISE}")
    kernel, recurrent_kernel, readout = (
        stored[name] for name in (of_cell["kernel"], of_cell["recurrent_kernel"], of_readout["kernel"])
    )
    _must_have_axes(
        path,
        {of_cell["kernel"]: kernel, of_cell["recurrent_kernel"]: recurrent_kernel, of_readout["kernel"]: readout},
    )
    units, columns = recurrent_kernel.shape
    gates = {units: 1, 3 * units: 3}.get(columns)
    if gates is None or not units or kernel.shape[1] != columns:
        shapes = f"{tuple(kernel.shape)} and {tuple(recurrent_kernel.shape)}"
        raise CheckpointError(
            f"{path}: layer '{recurrent[0]}' has kernels of shapes {shapes}; a SimpleRNN has (input, unit) and (unit, "
            "unit), a GRU three times as many columns, and no other layer can be imported"
        )
    origins = {
        "recurrent_weights": f"{of_cell['recurrent_kernel']}.T",
        "input_weights": f"{of_cell['kernel']}.T",
        "bias": of_cell.get("bias", ZERO),
        "output_weights": f"{of_readout['kernel']}.T",
        "output_bias": of_readout.get("bias", ZERO),
        "initial_state": ZERO,
    }
    common = {
        "output_weights": readout.T,
        "output_bias": stored[of_readout["bias"]] if "bias" in of_readout else torch.zeros(readout.shape[1]),
        "initial_state": torch.zeros(units),
    }
    bias = stored[of_cell["bias"]] if "bias" in of_cell else torch.zeros((2, columns) if gates == 3 else columns)
    if gates == 1:
        weights = {"recurrent_weights": recurrent_kernel.T, "input_weights": kernel.T, "bias": bias, **common}
        return Layout("Keras SimpleRNN", "rate", weights, origins, None)
    if tuple(bias.shape) != (2, columns):
        raise CheckpointError(
            f"{path}: '{of_cell['bias']}' has shape {tuple(bias.shape)}; a GRU with reset_after=True, the default, has "
            f"(2, {columns}), and no other can be imported: its reset gate acts before the recurrent weights"
        )
    # Gates z, r, h in the file are r, z, n here; only the candidate's second bias is behind the reset gate.
    order = [1, 0, 2]
    of_inputs, of_state = bias.reshape(2, 3, units)[:, order]
    gated = {
        "recurrent_weights": recurrent_kernel.T.reshape(3, units, units)[order],
        "input_weights": kernel.T.reshape(3, units, -1)[order],
        "bias": of_inputs + torch.cat([of_state[:2], torch.zeros_like(of_state[2:])]),
        "candidate_bias": of_state[2],
    }
    for name in ("recurrent_weights", "input_weights", "bias"):
        origins[name] += ", gates r z h of z r h"
    origins["candidate_bias"] = f"{origins['bias'].partition(',')[0]}, the second of h"
    return Layout("Keras GRU", "gru", {**gated, **common}, origins, None)


def _must_have_axes(path: object, matrices: Mapping[str, Tensor]) -> None:
    for name, values in matrices.items():
        if values.ndim != 2:
            raise CheckpointError(f"{path}: '{name}' has shape {tuple(values.shape)}; needs two axes")


def chosen_module(stored: Mapping[str, Tensor], rnn: str | None, path: object) -> tuple[str, str]:
    """What the names of one recurrent module begin with and end in."""
    modules = recurrent_modules(stored)
    named = ", ".join(repr(name) for name in modules)
    if rnn is None and len(modules) > 1:
        raise UnsaidError(f"{path}: has {len(modules)} recurrent modules, {named}", "rnn", next(filter(None, modules)))
    name = next(iter(modules)) if rnn is None else rnn
    if name not in modules:
        raise CheckpointError(f"{path}: has no recurrent module {name!r}; choose from {named}")
    return f"{name}." if name else "", modules[name]
