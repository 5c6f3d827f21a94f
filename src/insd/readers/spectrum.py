"""The baseline that reads the eigenvalues of the recurrent weights alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from insd.readers.base import OfFeatures, Weights


class Spectrum(OfFeatures):
    """Real parts of the eigenvalues of the recurrent weights in order, and their imaginary parts, without sign, too.

    Each in an order of its own, so that eigenvalues of nearly the same real part do not make the answer jump.
    """

    sees_outputs = False

    def features(self, networks: Weights) -> Float[Tensor, "network feature"]:
        eigenvalues = torch.linalg.eigvals(networks.recurrent.double())
        parts = [eigenvalues.real.sort(-1).values, eigenvalues.imag.abs().sort(-1).values]
        return torch.cat(parts, -1).to(networks.recurrent.dtype)
