"""Moment networks: mean and standard deviation of the spikes of populations of leaky integrate-and-fire cells."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, Connected, Flowing, normal
from insd.networks.engine.lif_moments import LEAK, REFRACTORY, THRESHOLD, LIFActivation
from insd.networks.settings.moment import MomentSettings


class MomentRNN(Flowing, Connected):
    """Networks of ``tau dmu/dt = -mu + phi_mu(m, s)``, ``tau dsigma/dt = -sigma + phi_sigma(m, s)``.

    The current into a unit has the mean ``m = J mu + W_in u + b`` in mV/ms and the variance ``s^2 = (J * J) sigma^2 +
    background^2``, with the squares of single weights: spikes of different units are taken as uncorrelated, and the
    inputs as free of noise. phi_mu and phi_sigma are those of `insd.networks.engine.lif_moments`.

    A state is mu, then sigma, both times the refractory period: rates are the share of the highest rate, between 0 and
    1, and a weight of 1 mV/ms is one of `REFRACTORY` mV for each spike.

    Parameters (all trained)
    ------------------------
    recurrent_weights J (network, unit, unit_from), input_weights W_in (network, unit, input), bias b (network, unit),
    output_weights, output_bias, initial_state (network, state).

    Source: Qi et al., "Toward stochastic neural computing" (arXiv:2305.13982). With J in place of its squares, as in
    one simulation published with it, inhibition would make variances negative.
    """

    Settings = MomentSettings
    dimensions = {
        "recurrent_weights": ("seed", "unit", "unit_from"),
        "input_weights": ("seed", "unit", "input"),
        "bias": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "state"),
    }
    constants = ("background",)
    nonlinearity = "lif_moments"
    input_weights: Float[Tensor, "network unit input"]
    bias: Float[Tensor, "network unit"]

    def __init__(self, weights: Mapping[str, Tensor], alpha: float, recurrent_noise: float, background: float):
        super().__init__(weights, alpha, recurrent_noise)
        self.background = background

    @classmethod
    def initialise(
        cls,
        settings: MomentSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "MomentRNN":
        """Random networks, one per generator, with the variances of `RateRNN.initialise` (ours).

        Biases start at the weakest constant current that makes a cell spike, where rates change most with the current.
        """
        count, units = len(generators), settings.units
        weights = {
            "recurrent_weights": normal(generators, settings.gain / units**0.5, units, units),
            "input_weights": normal(generators, inputs**-0.5, units, inputs),
            "bias": torch.full((count, units), THRESHOLD * LEAK),
            "output_weights": normal(generators, units**-0.5, outputs, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, 2 * units),
        }
        return cls(weights, alpha, settings.recurrent_noise, settings.background)

    def force(
        self, states: Float[Tensor, "network trial state"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial state"]:
        """``F``: what the currents give of mu and sigma, minus these."""
        rates, deviations = states.chunk(2, -1)
        weights = self.recurrent_weights.mT
        mean = rates @ weights + inputs @ self.input_weights.mT + self.bias[:, None]
        variance = deviations.square() @ weights.square() + self.background**2
        return REFRACTORY * torch.cat(LIFActivation.apply(mean, variance.sqrt()), -1) - states

    def rates_of(self, states: Float[Tensor, "*any state"]) -> Float[Tensor, "*any unit"]:
        """mu, as a share of the highest rate."""
        return states.chunk(2, -1)[0]
