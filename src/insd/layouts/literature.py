"""Matrices by the names of the low-rank literature (Dubreuil et al. 2022, Valente et al. 2022)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from insd.layouts.base import in_file, must_have_axes
from insd.tensor_files import CheckpointError

LOADINGS = ("wi", "si", "m", "n", "wrec", "b", "wo", "so", "h0")
"""Names in files of the low-rank literature."""


def of_loadings(
    stored: Mapping[str, Tensor], origins: Mapping[str, str], path: object
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The matrices of a file of the low-rank literature by the names of this library, and where they are read from."""
    if unknown := [name for name in stored if name not in (*LOADINGS, "tau", "alpha")]:
        raise CheckpointError(
            f"{path}: holds {in_file(unknown, origins)} besides those of {', '.join(LOADINGS)}; leave it out"
        )
    recurrent = ["wrec"] if "wrec" in stored else ["m", "n"]
    if missing := [name for name in ("wi", "wo", *recurrent) if name not in stored]:
        raise CheckpointError(f"{path}: lacks {', '.join(missing)}; needs wi, wo, and either m and n or wrec")
    if both := [name for name in ("m", "n") if "wrec" in stored and name in stored]:
        raise CheckpointError(f"{path}: has {in_file(['wrec', *both], origins)}; leave out wrec, or m and n")
    must_have_axes(path, {origins[name]: stored[name] for name in ("wi", "wo", *recurrent)})
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
