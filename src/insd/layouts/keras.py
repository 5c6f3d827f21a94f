"""Weights of Keras: one `SimpleRNN` or `GRU` and a `Dense` layer."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from insd.layouts.base import OTHERWISE, ZERO, Layout, must_have_axes
from insd.tensor_files import CheckpointError, UnknownLayoutError

KERAS = ("kernel", "recurrent_kernel", "bias")
"""Weights of a recurrent layer of Keras, in its order."""


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


def of_keras(stored: Mapping[str, Tensor], layers: Mapping[str, Mapping[str, str]], path: object) -> Layout:
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
    must_have_axes(
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
