"""Rate networks whose units start with decorrelated weights."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from insd.networks.base import Networks
from insd.networks.rate import RateRNN
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.orthogonal import OrthogonalSettings


class OrthogonalRNN(RateRNN):
    """`RateRNN` in all but its initial recurrent weights, ``J = gain Q`` with a random orthogonal Q.

    No two units hear the others in a correlated way, while entries have the variance of a rate network of this gain,
    ``gain^2 / units``.

    Source: decorrelated random initial weights, as in arXiv:2109.09612; orthogonal ones are ours.
    """

    Settings: ClassVar[type[NetworkSettings]] = OrthogonalSettings

    @classmethod
    def runs_as(cls) -> type[Networks]:
        """Rate networks, from which trained ones do not differ."""
        return RateRNN

    @classmethod
    def initialise(  # type: ignore[override]
        cls,
        settings: OrthogonalSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "OrthogonalRNN":
        """Random networks as in `RateRNN.initialise`; Q is that of the QR decomposition of its recurrent weights.

        So it is uniform over orthogonal matrices, and all other weights are those of a rate network of the same stream.
        """
        normal = settings.model_copy(update={"gain": 1.0})
        weights = RateRNN.initialise(normal, inputs, outputs, alpha, generators).weights()
        q, r = torch.linalg.qr(weights["recurrent_weights"].double())
        # Without these signs it would not be uniform.
        q = q * torch.sign(r.diagonal(dim1=-2, dim2=-1))[:, None]
        weights["recurrent_weights"] = (settings.gain * q).float()
        return cls(weights, alpha, settings.recurrent_noise, settings.nonlinearity)
