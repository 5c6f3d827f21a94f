"""Correlations between the units of a network, as a term: the control of diversity within a network."""

from jaxtyping import Float, Int
from torch import Tensor

from insd.networks.base import Networks
from insd.objectives.base import Stored, Term
from insd.objectives.centring import centred
from insd.objectives.settings.decorrelation import DecorrelationSettings

SILENT = 1e-6
"""Added to the variance of each unit, relative to their mean: a unit that does not vary is correlated with none."""


class Decorrelation(Term):
    """Mean squared correlation of pairs of units, ``mean_{i != j} corr(r_i, r_j)^2``, over trials and times.

    It raises the dimension of a network's activity without regard to any other network: units that differ from each
    other are not solutions that differ.

    Source: the idea is that of arXiv:2109.09612, "Dynamic neural diversification", for hidden units of small
    feed-forward networks; the formula is ours.
    """

    Settings = DecorrelationSettings
    capturable = True
    settings: DecorrelationSettings

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        x = centred(rates, valid)
        units = x.shape[-1]
        products = x.mT @ x
        variances = products.diagonal(dim1=-2, dim2=-1)
        scale = (variances + SILENT * variances.mean(-1, keepdim=True)).rsqrt()
        squares = (products * scale[:, None] * scale[..., None]).square()
        pairs = squares.sum((1, 2)) - squares.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (pairs / (units * (units - 1)))[:, None]
