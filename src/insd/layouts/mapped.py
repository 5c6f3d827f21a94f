"""Any other layout, by a mapping of names (`insd.mapping`)."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor

from insd.layouts.base import must_have_axes
from insd.mapping import MappedWeight, names_in, terms_of
from insd.tensor_files import CheckpointError


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
            must_have_axes(where, {name: stored[name] for name in matrices})
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
