"""Mappings of names in files of others: from which tensors each weight of a rate network is read.

For each weight a mapping has an expression of names of tensors in the file: a name; a name that ends in ``.T``, for a
tensor that is stored the other way round; products ``U @ V.T``; and sums ``b_in + b_rec``. Blanks around ``@`` and
``+`` are free. A tensor whose name holds one of these cannot be in a mapping.
"""

from collections.abc import Mapping
from typing import Literal

MappedWeight = Literal[
    "recurrent_weights",
    "input_weights",
    "output_weights",
    "bias",
    "output_bias",
    "initial_state",
    "left_vectors",
    "right_vectors",
    "tau",
    "alpha",
]
"""What a mapping may name: weights of rate and low-rank networks, and their time constant."""


def names_in(mapping: Mapping[str, str]) -> list[str]:
    """The names of the tensors that a mapping reads."""
    return [name for expression in mapping.values() for term in terms_of(expression) for name, _ in term]


def terms_of(expression: str) -> list[list[tuple[str, bool]]]:
    """The terms of a sum, each of them the factors of a product: a name, and whether it is transposed."""
    return [
        [(factor.strip().removesuffix(".T"), factor.strip().endswith(".T")) for factor in term.split("@")]
        for term in expression.split("+")
    ]
