"""The nuclear norm of the recurrent weights, as a term: connections of low rank."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insd.networks.base import Networks
from insd.objectives.base import Stored, Term, recurrent_matrices
from insd.objectives.settings.nuclear_norm import NuclearNormSettings


class NuclearNorm(Term):
    """Mean singular value of the recurrent weights, ``|J|_* / N`` for N units; with gates, the sum over their matrices.

    Per unit (ours), so that multipliers mean the same at any width: independent weights of variance g^2 / N have the
    value ``8 g / (3 pi)`` in the limit of many units, the mean of the quarter-circle law.

    Source: the penalty |J|_* of arXiv:2410.03972. It is the largest convex function below the rank where no singular
    value exceeds 1 (Fazel, Hindi & Boyd 2001, "A rank minimization heuristic").
    """

    Settings = NuclearNormSettings
    settings: NuclearNormSettings

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        matrices = recurrent_matrices(networks, "nuclear_norm")
        return nuclear_norm(matrices).sum(1, keepdim=True) / matrices.shape[-1]


def nuclear_norm(matrices: Float[Tensor, "*any row column"]) -> Float[Tensor, "*any"]:
    """Sum of the singular values of each matrix, with the gradient ``U V^T``.

    U and V are the singular vectors of singular values other than 0, up to rounding. That is the gradient wherever
    there is one, equal singular values included, and of a singular matrix the shortest subgradient (Watson 1992,
    "Characterization of the subdifferential of some matrix norms"). The gradient of a general decomposition, which
    divides by differences of singular values, would not be finite where they are equal.
    """
    norms: Float[Tensor, "*any"] = _NuclearNorm.apply(matrices)
    return norms


class _NuclearNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        rounding = max(matrices.shape[-2:]) * torch.finfo(matrices.dtype).eps * values[..., :1]
        ctx.save_for_backward((left * (values > rounding)[..., None, :]) @ right)
        return values.sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (polar,) = ctx.saved_tensors
        product: Tensor = gradients[0][..., None, None] * polar
        return product
