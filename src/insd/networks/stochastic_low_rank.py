"""Networks of a few latent variables, from which rates are read: what fits of low rank are without their noise."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from insd.networks.base import READOUT, Flowing, normal
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.stochastic_low_rank import StochasticLowRankSettings

NOISE = {
    "initial_mean": ("seed", "rank"),
    "initial_noise": ("seed", "rank", "rank_to"),
    "latent_noise": ("seed", "rank", "rank_to"),
    "observation_noise": ("seed", "unit"),
}
"""What files hold of the noise, with the dimensions: see `insd.dynamics.stochastic_low_rank.network_weights`."""


class StochasticLowRankRNN(Flowing):
    """Networks of latent variables z and inputs w that are low-pass filtered; with tau = dt,

        w_t = a w_{t-1} + (1 - a) u_t,     z_t = a z_{t-1} + N' phi(M z_{t-1} + W w_t),     r_t = C z_t + b.

    Rates of fits to counts are those expected per step, ``r_t = softplus(C z_t + b)``. The state x is z and w, side by
    side; in continuous time, ``tau dx/dt = G(x, u) - x + noise`` with G this map. phi is ``relu(x - h)`` or
    ``relu(x + h) - relu(x)``.

    Parameters
    ----------
    left_vectors M and right_vectors N (network, hidden, rank), input_weights W (network, hidden, input), thresholds h
    (network, hidden), decay a (network, 1), unit_weights C (network, unit, rank), bias b (network, unit),
    output_weights, output_bias, initial_state (network, state).

    Files also hold the noise of fits (`NOISE`), which simulation does not have, and which is 0 where networks are
    trained.

    Source: Pals et al. (2024), "Inferring stochastic low-rank recurrent neural networks from neural data".
    """

    Settings: ClassVar[type[NetworkSettings]] = StochasticLowRankSettings
    dimensions = {
        "left_vectors": ("seed", "hidden", "rank"),
        "right_vectors": ("seed", "hidden", "rank"),
        "input_weights": ("seed", "hidden", "input"),
        "thresholds": ("seed", "hidden"),
        "decay": ("seed", "layer"),
        "unit_weights": ("seed", "unit", "rank"),
        "bias": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "state"),
        **NOISE,
    }
    constants: ClassVar[tuple[str, ...]] = ("nonlinearity", "observation")
    left_vectors: Float[Tensor, "network hidden rank"]
    right_vectors: Float[Tensor, "network hidden rank"]
    input_weights: Float[Tensor, "network hidden input"]
    thresholds: Float[Tensor, "network hidden"]
    decay: Float[Tensor, "network 1"]
    unit_weights: Float[Tensor, "network unit rank"]
    bias: Float[Tensor, "network unit"]

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        alpha: float,
        recurrent_noise: float,
        nonlinearity: str = "relu",
        observation: str = "gaussian",
    ):
        super().__init__(weights, alpha, recurrent_noise)
        self.nonlinearity, self.observation = nonlinearity, observation

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        return tuple(name for name in cls.dimensions if name not in NOISE)

    @classmethod
    def initialise(
        cls,
        settings: StochasticLowRankSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "StochasticLowRankRNN":
        """Random networks without decay, in which currents and, by the gain, what comes back of them have the variance
        of z (ours)."""
        count, units, hidden, rank = len(generators), settings.units, settings.hidden, settings.rank
        weights = {
            "left_vectors": normal(generators, 1 / math.sqrt(rank), hidden, rank),
            "right_vectors": normal(generators, settings.gain * math.sqrt(2 / hidden), hidden, rank),
            "input_weights": normal(generators, 1 / math.sqrt(inputs), hidden, inputs),
            "thresholds": normal(generators, 1.0, hidden),
            "decay": torch.zeros(count, 1),
            "unit_weights": normal(generators, 1 / math.sqrt(rank), units, rank),
            "bias": torch.zeros(count, units),
            "output_weights": normal(generators, 1 / math.sqrt(units), outputs, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, rank + inputs),
        }
        return cls(weights, alpha, settings.recurrent_noise, settings.nonlinearity)

    def force(
        self, states: Float[Tensor, "network trial state"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial state"]:
        """``F = G(x, u) - x``."""
        latents, filtered = states.split([self.left_vectors.shape[2], inputs.shape[2]], -1)
        decay = self.decay[..., None]
        filtered = decay * filtered + (1 - decay) * inputs
        currents = latents @ self.left_vectors.transpose(1, 2) + filtered @ self.input_weights.transpose(1, 2)
        latents = decay * latents + self._activated(currents) @ self.right_vectors
        return torch.cat([latents, filtered], -1) - states

    def rates_of(self, states: Float[Tensor, "*any state"]) -> Float[Tensor, "*any unit"]:
        """``C z + b``, or softplus of it; of several networks, states have them along their first axis."""
        latents = states[..., : self.unit_weights.shape[2]]
        if len(self.bias) == 1:
            means = latents @ self.unit_weights[0].T + self.bias[0]
        else:
            along = (len(self.bias), *[1] * (states.ndim - 2), -1)
            means = torch.einsum("n...r,nur->n...u", latents, self.unit_weights) + self.bias.view(along)
        return softplus(means) if self.observation == "poisson" else means

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters and the noise, which is 0 where it is not among them."""
        left, units = weights["left_vectors"], weights["bias"].shape[1]
        sizes = {"seed": len(left), "rank": left.shape[2], "rank_to": left.shape[2], "unit": units}
        silent = {name: left.new_zeros([sizes[dim] for dim in along]) for name, along in NOISE.items()}
        return silent | dict(weights)

    def _activated(self, currents: Float[Tensor, "network trial hidden"]) -> Float[Tensor, "network trial hidden"]:
        """Phi."""
        thresholds = self.thresholds[:, None]
        if self.nonlinearity == "relu":
            return torch.relu(currents - thresholds)
        return torch.relu(currents + thresholds) - torch.relu(currents)
