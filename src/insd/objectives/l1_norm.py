"""The L1 norm of the recurrent weights, as a term: sparse connections."""

from jaxtyping import Float, Int
from torch import Tensor

from insd.networks.base import Networks
from insd.objectives.base import Stored, Term, recurrent_matrices
from insd.objectives.settings.l1_norm import L1NormSettings


class L1Norm(Term):
    """Mean size of the recurrent weights in units of 1 / sqrt(N), ``sum |J_ij| / N^(3/2)``; with gates, the sum of all.

    In these units (ours), multipliers mean the same at any width: independent normal weights of variance g^2 / N have
    the value ``g sqrt(2 / pi)``. The gradient at a weight of 0 is 0, the shortest subgradient.

    Source: the penalty sum |J_ij| of arXiv:2410.03972.
    """

    Settings = L1NormSettings
    capturable = True
    settings: L1NormSettings

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        matrices = recurrent_matrices(networks, "l1_norm")
        return matrices.abs().sum((1, 2, 3))[:, None] / matrices.shape[-1] ** 1.5
