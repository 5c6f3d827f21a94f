"""Rate networks with recurrent weights of low rank."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import Networks, normal
from insd.networks.rate import RateRNN
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.low_rank import LowRankSettings


class LowRankRNN(RateRNN):
    """Rate networks with ``J = M N^T / units`` of a given rank.

    `left_vectors` M and `right_vectors` N, (network, unit, rank), take the place of the recurrent weights among the
    parameters; the rest is as in `RateRNN`. Files hold J, too, so that analyses treat them as rate networks.

    Source: Mastrogiuseppe & Ostojic (2018), "Linking connectivity, dynamics, and computations in low-rank recurrent
    neural networks".
    """

    Settings: ClassVar[type[NetworkSettings]] = LowRankSettings
    dimensions = {
        **RateRNN.dimensions,
        "left_vectors": ("seed", "unit", "rank"),
        "right_vectors": ("seed", "unit", "rank"),
    }
    left_vectors: Float[Tensor, "network unit rank"]
    right_vectors: Float[Tensor, "network unit rank"]

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        return tuple(name for name in cls.dimensions if name != "recurrent_weights")

    @classmethod
    def runs_as(cls) -> type[Networks]:
        """Rate networks, by J."""
        return RateRNN

    @classmethod
    def initialise(  # type: ignore[override]
        cls,
        settings: LowRankSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "LowRankRNN":
        """Random networks as in `RateRNN.initialise`, with normal vectors.

        Their scale gives J the variance ``gain^2 / units`` per entry, that of a rate network of this gain (ours).
        """
        units, rank = settings.units, settings.rank
        scale = math.sqrt(settings.gain * math.sqrt(units / rank))
        factors = {name: normal(generators, scale, units, rank) for name in ("left_vectors", "right_vectors")}
        others = RateRNN.initialise(settings, inputs, outputs, alpha, generators).weights()
        return cls(others | factors, alpha, settings.recurrent_noise, settings.nonlinearity)

    @property
    def recurrent_weights(self) -> Float[Tensor, "network unit unit_from"]:  # type: ignore[override]
        """J."""
        return _joined(self.left_vectors, self.right_vectors)

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters, and J."""
        return {**weights, "recurrent_weights": _joined(weights["left_vectors"], weights["right_vectors"])}


def _joined(
    left: Float[Tensor, "network unit rank"], right: Float[Tensor, "network unit rank"]
) -> Float[Tensor, "network unit unit_from"]:
    return left @ right.transpose(1, 2) / left.shape[1]
