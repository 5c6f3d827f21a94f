"""The baseline that reads the sizes of weights alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from insd.readers.base import SCALED, OfFeatures, Weights


class Norms(OfFeatures):
    """Root mean square of each kind of weight that there is: recurrent, input, output, biases, initial state."""

    sees_outputs = False

    def features(self, networks: Weights) -> Float[Tensor, "network feature"]:
        there = [weights for name in SCALED if (weights := getattr(networks, name).flatten(1)).shape[1]]
        return torch.stack([weights.square().mean(1).sqrt() for weights in there], 1)
