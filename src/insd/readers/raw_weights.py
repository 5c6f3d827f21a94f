"""The baseline that reads weights in the order in which units happen to be."""

import torch
from jaxtyping import Float
from torch import Tensor

from insd.readers.base import SCALED, OfFeatures, Weights


class RawWeights(OfFeatures):
    """All weights, one after the other: a perceptron that does not know that the order of units is arbitrary."""

    invariant = False

    def features(self, networks: Weights) -> Float[Tensor, "network feature"]:
        return torch.cat([getattr(networks, name).flatten(1) for name in SCALED], 1)
