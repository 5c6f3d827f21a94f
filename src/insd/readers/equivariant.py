"""The reader whose layers commute with the order of units."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from insd.readers.base import OfWeights, Sizes, Weights, perceptron
from insd.readers.equivariant_layer import EquivariantLayer
from insd.readers.settings.equivariant import EquivariantSettings

INVARIANTS = {"matrix": 5, "vector": 2}
"""Invariant numbers of each channel of the last layer."""


class Equivariant(OfWeights):
    """Equivariant layers with SiLU between them, invariant numbers of what the last gives, and a perceptron of these.

    Of each channel of matrices M with row means p, column means q and diagonal d, the invariants are the means of M,
    M², d, p² and q²; of vectors v those of v and v². Inputs and outputs are channels of their own and keep their order.
    No layer multiplies matrices, so that numbers such as the trace of W³ are approximated at best.

    Source: Zhou et al. (2023), "Permutation equivariant neural functionals", for layers, invariant head and channels;
    the complete set of maps for one recurrent matrix is ours (`EquivariantLayer`).
    """

    Settings = EquivariantSettings

    def __init__(self, settings: Any, sizes: Sizes, answers: int):
        super().__init__(settings, sizes, answers)
        before = [1, *settings.channels[:-1]]
        self.layers = torch.nn.ModuleList(
            EquivariantLayer((one, following), (one if number else sizes.vectors, following), settings.maps)
            for number, (one, following) in enumerate(zip(before, settings.channels, strict=True))
        )
        count = sum(INVARIANTS.values()) * settings.channels[-1] + sizes.outputs
        self.answer = perceptron(count, settings.hidden, answers)

    def forward(self, networks: Weights) -> Float[Tensor, "network answer"]:
        networks = self.scaled(networks)
        matrices, vectors = networks.recurrent[..., None], networks.vectors
        for number, layer in enumerate(self.layers):
            if number:
                matrices, vectors = silu(matrices), silu(vectors)
            matrices, vectors = layer(matrices, vectors)
        invariants = [
            matrices.mean((1, 2)),
            matrices.square().mean((1, 2)),
            matrices.diagonal(dim1=1, dim2=2).mean(-1),
            matrices.mean(2).square().mean(1),
            matrices.mean(1).square().mean(1),
            vectors.mean(1),
            vectors.square().mean(1),
        ]
        return self.answer(torch.cat([*invariants, networks.output_bias], -1))
