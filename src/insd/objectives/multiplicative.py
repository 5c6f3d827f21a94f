"""Multiplicative deflation: the task loss times a factor for each earlier network, which grows near it."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from insd.objectives.predictivity import Predictivity
from insd.objectives.settings.multiplicative import MultiplicativeSettings

LEAST_DISTANCE = 1e-6
"""1 - S counts as at least this: rounding may bring it to 0."""


class Multiplicative(Predictivity):
    """S of each earlier round, as by `predictivity`, of which the loss is not a sum but a product,

        L_task prod_i ((1 - S_i)^-p + shift)^mu_i,

    with an exponent mu_i that follows the term's schedule. Steps follow its gradient over the product of the factors,

        dL + L sum_i mu_i d log((1 - S_i)^-p + shift),

    which has its direction and the scale of the task's own, so that the clip of gradients means what it does without
    the term (ours). A solution without any loss is a minimum of the product wherever it is, while a sum moves all
    solutions by their multipliers; only near an earlier one does the factor grow beyond bounds. Where the least loss is
    positive, as with noise, the product weighs relative changes: it is at rest where both parts cancel, as if S were
    added with a weight that is in proportion to the loss.

    Source: Farrell, Birkisson & Funke (2015), "Deflation techniques for finding distinct solutions of nonlinear partial
    differential equations", where the residual of the equations is multiplied and the distance is a norm; the loss in
    the place of the residual and 1 - S in that of the norm are ours.
    """

    Settings = MultiplicativeSettings
    multiplies: ClassVar[bool] = True
    settings: MultiplicativeSettings

    def factors(self, value: Float[Tensor, "network earlier"]) -> Float[Tensor, "network earlier"]:
        return (1 - value).clamp(min=LEAST_DISTANCE) ** -self.settings.power + self.settings.shift
