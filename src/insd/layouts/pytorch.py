"""State dicts of modules of PyTorch: one `torch.nn.RNN` or `torch.nn.GRU`, or a cell of these, and a linear readout."""

from collections.abc import Mapping

import torch
from torch import Tensor

from insd.layouts.base import ZERO, Layout, must_have_axes
from insd.tensor_files import CheckpointError, UnsaidError, recurrent_modules


def of_module(stored: Mapping[str, Tensor], names: tuple[str, str], readout: str, path: object) -> Layout:
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
    must_have_axes(path, {of_module["weight_hh"]: recurrent, of_module["weight_ih"]: inputs})
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
    must_have_axes(path, {f"{readout}.weight": output_weights})
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
        raise CheckpointError(
            f"{path}: is neither a torch.nn.RNN nor a torch.nn.GRU ({rows // units} gates); no "
            "other module, such as an LSTM, which has a second state, can be imported"
        )
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
