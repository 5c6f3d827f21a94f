"""Matrices by the names of this library, as NumPy and MATLAB save them: rate networks, also of low rank."""

from collections.abc import Mapping

import torch
from torch import Tensor

from insd.layouts.base import OPTIONAL, OTHERWISE, ZERO, Layout, in_file, must_have_axes
from insd.layouts.literature import of_loadings
from insd.plugins import find
from insd.tensor_files import CheckpointError, UnknownLayoutError

VECTORS = (*OPTIONAL, "si", "so", "b", "h0")
"""Weights of one axis, which MATLAB stores with two."""


def of_matrices(stored: Mapping[str, Tensor], origins: Mapping[str, str], layout: str, path: object) -> Layout:
    """A rate network from its matrices; `origins` are the names of these in the file."""
    stored = {name: _as_vector(values) if name in VECTORS else values for name, values in stored.items()}
    if not {"wi", "wo", "m", "n", "wrec"}.isdisjoint(stored):
        stored, origins = of_loadings(stored, origins, path)
        layout = "matrices of the low-rank literature"
    low_rank = not {"left_vectors", "right_vectors"}.isdisjoint(stored)
    architecture = "low_rank" if low_rank else "rate"
    names = find("network", architecture).dimensions
    if unknown := [name for name in stored if name not in (*names, "tau", "alpha")]:
        raise UnknownLayoutError(
            f"{path}: holds {in_file(unknown, origins)}, which no dict of matrices has; a rate network has "
            f"{', '.join(names)} and tau; the state dict of a module needs a torch.nn.RNN or torch.nn.GRU; {OTHERWISE}"
        )
    needed = [name for name in names if name not in OPTIONAL and not (low_rank and name == "recurrent_weights")]
    if missing := [name for name in needed if name not in stored]:
        what = "has no readout: it " if missing == ["output_weights"] else ""
        raise UnknownLayoutError(
            f"{path}: {what}lacks {', '.join(missing)}; a dict of matrices needs {', '.join(needed)}; the state "
            f"dict of a module needs a torch.nn.RNN or torch.nn.GRU; found: {in_file(stored, origins)}; "
            f"{OTHERWISE}"
        )
    must_have_axes(path, {origins[name]: stored[name] for name in needed})
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


def _as_vector(values: Tensor) -> Tensor:
    """A column or a row, as MATLAB stores vectors, without its second axis."""
    return values.flatten() if values.ndim == 2 and 1 in values.shape else values
