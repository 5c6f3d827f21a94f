"""The layer that is linear and commutes with every order of units, between matrices and vectors over units."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Matrices = Float[Tensor, "network unit unit_from matrix"]
"""Matrices over units, one per channel."""
Vectors = Float[Tensor, "network unit vector"]
"""Vectors over units, one per channel."""


class EquivariantLayer(torch.nn.Module):
    """Every linear map between matrices and vectors over units that commutes with all permutations P of the units.

    A matrix M becomes P M P', a vector v P v. With row means p, column means q, diagonal d, trace t and sum s of M
    (means over units all), the maps are, for each pair of channels,

    - from matrices to matrices 15: M_ij, M_ji; p, q and d at i, at j and on the diagonal; s and t everywhere and on the
      diagonal;
    - from vectors to matrices 5: v at i, at j and on the diagonal; the mean of v everywhere and on the diagonal;
    - from matrices to vectors 5: p, q, d, s, t; from vectors to vectors 2: v and its mean.

    With constants, everywhere and on the diagonal. Every map has one weight for each pair of channels.

    Parameters
    ----------
    matrices, vectors : channels of matrices and of vectors, (in, out) each.
    maps : `complete`, or `without_transpose`: without M_ji and all that has to do with the diagonal, 6 of the 15.

    Source: the number of maps between tensors over units is the number of partitions of their indices, Maron et al.
    (2019), "Invariant and equivariant graph networks", theorem 1; here 15, 5, 5 and 2, the Bell numbers of 4, 3, 3 and
    2 indices. Layers of this kind for weights: Zhou et al. (2023), "Permutation equivariant neural functionals".
    """

    def __init__(
        self,
        matrices: tuple[int, int],
        vectors: tuple[int, int],
        maps: Literal["complete", "without_transpose"] = "complete",
    ):
        super().__init__()
        self.complete = maps == "complete"
        of_units = (3 if self.complete else 2) * matrices[0] + vectors[0]
        invariants = (2 if self.complete else 1) * matrices[0] + vectors[0]
        self.same = torch.nn.Linear(matrices[0], matrices[1], bias=False)
        self.rows = torch.nn.Linear(of_units, matrices[1], bias=False)
        self.columns = torch.nn.Linear(of_units, matrices[1], bias=False)
        self.everywhere = torch.nn.Linear(invariants, matrices[1])
        if self.complete:
            self.transposed = torch.nn.Linear(matrices[0], matrices[1], bias=False)
            self.diagonal = torch.nn.Linear(of_units, matrices[1], bias=False)
            self.diagonal_everywhere = torch.nn.Linear(invariants, matrices[1])
        self.units = torch.nn.Linear(of_units, vectors[1], bias=False)
        self.all_units = torch.nn.Linear(invariants, vectors[1])

    def forward(
        self, matrices: Matrices, vectors: Vectors
    ) -> tuple[Float[Tensor, "network unit unit_from matrix_out"], Float[Tensor, "network unit vector_out"]]:
        """The matrices and vectors of the channels that go out."""
        means = [matrices.mean(2), matrices.mean(1)]
        invariants = [matrices.mean((1, 2))]
        if self.complete:
            diagonal = matrices.diagonal(dim1=1, dim2=2).mT
            means, invariants = [*means, diagonal], [*invariants, diagonal.mean(1)]
        of_units = torch.cat([*means, vectors], -1)
        everything = torch.cat([*invariants, vectors.mean(1)], -1)
        found = (
            self.same(matrices)
            + self.rows(of_units)[:, :, None]
            + self.columns(of_units)[:, None]
            + self.everywhere(everything)[:, None, None]
        )
        if self.complete:
            on_diagonal = self.diagonal(of_units) + self.diagonal_everywhere(everything)[:, None]
            found = found + self.transposed(matrices.transpose(1, 2)) + torch.diag_embed(on_diagonal.mT, dim1=1, dim2=2)
        return found, self.units(of_units) + self.all_units(everything)[:, None]
