"""The baseline that reads the sizes of weights alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from insd.readers.base import SCALED, OfFeatures, Weights


class Norms(OfFeatures):
    """Root mean square of each kind of weight: recurrent, input, output, biases, initial state."""

    sees_outputs = False

    def features(self, networks: Weights) -> Float[Tensor, "network feature"]:
        return torch.stack([getattr(networks, name).flatten(1).square().mean(1).sqrt() for name in SCALED], 1)
