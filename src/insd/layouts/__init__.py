"""Layouts of weights in files of others: those that are known by their names, and those that a mapping says."""

from collections.abc import Mapping

from torch import Tensor

from insd.layouts.base import OPTIONAL, Layout, Said
from insd.layouts.keras import keras_layers, of_keras
from insd.layouts.mapped import mapped
from insd.layouts.matrices import of_matrices
from insd.layouts.pytorch import chosen_module, of_module
from insd.tensor_files import prefix_of, recurrent_modules

__all__ = ["OPTIONAL", "Layout", "Said", "chosen_module", "layout_of"]


def layout_of(stored: Mapping[str, Tensor], said: Said, path: object) -> Layout:
    """The network in the tensors of a file, by the mapping if one is given and otherwise by a layout that is known.

    Raises CheckpointError if no layout fits, and UnsaidError if a name must be given.
    """
    if said.mapping:
        return of_matrices(mapped(stored, said.mapping, path), said.mapping, "mapping", path)
    if recurrent_modules(stored):
        return of_module(stored, chosen_module(stored, said.rnn, path), said.readout, path)
    if layers := keras_layers(stored):
        return of_keras(stored, layers, path)
    prefix = prefix_of(stored)
    plain = {name.removeprefix(prefix): values for name, values in stored.items()}
    return of_matrices(plain, {name: f"{prefix}{name}" for name in plain}, "matrices", path)
