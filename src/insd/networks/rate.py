"""Rate networks."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from insd.networks.base import READOUT, Additive, Rates, normal
from insd.networks.engine.bptt import Workspace, persistent_for, simulate, simulate_outputs
from insd.networks.engine.keyed import KeyedNoise
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.networks.engine.tangent import Change, by_backward_passes, of_outputs
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.rate import RateSettings


class RateRNN(Additive):
    """Networks of ``tau dx/dt = -x + J r + W_in u + b + noise``, ``r = phi(x)``, ``y = W_out r + b_out``.

    phi is tanh, relu or softplus.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    recurrent_weights (network, unit, unit_from), input_weights (network, unit, input),
    output_weights (network, output, unit), bias (network, unit), output_bias (network, output),
    initial_state (network, unit).

    Source: Qian & Pehlevan (2026), section 2 (rate RNN with initial gain g).
    """

    Settings: ClassVar[type[NetworkSettings]] = RateSettings
    dimensions = {
        "recurrent_weights": ("seed", "unit", "unit_from"),
        "input_weights": ("seed", "unit", "input"),
        "output_weights": READOUT["output_weights"],
        "bias": ("seed", "unit"),
        "output_bias": READOUT["output_bias"],
        "initial_state": ("seed", "unit"),
    }
    constants: ClassVar[tuple[str, ...]] = ("nonlinearity",)

    def __init__(self, weights: Mapping[str, Tensor], alpha: float, recurrent_noise: float, nonlinearity: str = "tanh"):
        super().__init__(weights, alpha, recurrent_noise)
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity = {nonlinearity!r}: choose from {', '.join(NONLINEARITIES)}")
        self.nonlinearity = nonlinearity

    @classmethod
    def initialise(
        cls,
        settings: RateSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "RateRNN":
        """Random networks, one per generator, each drawn from its own stream alone.

        ``J ~ N(0, gain^2 / units)`` (Qian & Pehlevan 2026); ``W_in ~ N(0, 1 / inputs)``, ``W_out ~ N(0, 1 / units)``,
        zero biases and initial states (ours); the same for all nonlinearities.
        """
        count, units = len(generators), settings.units
        weights = {
            "recurrent_weights": normal(generators, settings.gain / math.sqrt(units), units, units),
            "input_weights": normal(generators, 1 / math.sqrt(inputs), units, inputs),
            "output_weights": normal(generators, 1 / math.sqrt(units), outputs, units),
            "bias": torch.zeros(count, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise, settings.nonlinearity)

    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """``F = -x + J phi(x) + W_in u + b``."""
        recurrent = self.rates_of(states) @ self.recurrent_weights.transpose(1, 2)
        return recurrent + inputs @ self.input_weights.transpose(1, 2) + self.bias[:, None] - states

    def rates_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """``phi(x)``."""
        return NONLINEARITIES[self.nonlinearity].rates(states)

    def slopes_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        return NONLINEARITIES[self.nonlinearity].slopes(self.rates_of(states))

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Rates in response to the inputs, with the hand-written gradient of `simulate`."""
        return simulate(inputs, *self._dynamics(), noise, self.alpha, workspace, self.nonlinearity)

    @property
    def capturable(self) -> bool:
        if type(self).outputs is not RateRNN.outputs:
            return False  # who knows what a class of the user's own does there
        outputs, units = self.output_weights.shape[1:]
        return persistent_for(self.bias, units, self.input_weights.shape[2], outputs) is not None

    def keyed_noise(self, keys: Int[Tensor, "network"], draw: Int[Tensor, ""]) -> KeyedNoise | None:
        return KeyedNoise(keys, draw, self.noise_scale) if self.recurrent_noise and self.capturable else None

    def outputs(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | KeyedNoise | None = None,
        every: int | None = None,
        workspace: Workspace | None = None,
    ) -> tuple[Float[Tensor, "network time trial output"], Float[Tensor, "network sampled_time trial unit"] | None]:
        """Outputs and rates, with the hand-written gradient of `simulate_outputs`."""
        weights = *self._dynamics(), self.output_weights, self.output_bias
        return simulate_outputs(inputs, *weights, noise, self.alpha, every, workspace, self.nonlinearity)

    def linearised(
        self, inputs: Float[Tensor, "network time trial input"]
    ) -> tuple[Float[Tensor, "network time trial output"], Change]:
        """As of any network, by the loops of `insd.networks.engine`."""
        if type(self).outputs is not RateRNN.outputs:
            return super().linearised(inputs)  # who knows what a class of the user's own does there
        outputs, rates = self.outputs(inputs, every=1)
        assert rates is not None
        weights = *self._dynamics(), self.output_weights, self.output_bias
        recurrent_weights, _, _, initial_state, output_weights, _ = weights
        # Some weights, as those of low rank, follow from the parameters.
        of_weights = [by_backward_passes(weight, list(self.parameters())) for weight in weights]
        of_all = of_outputs(
            *(inputs, recurrent_weights, initial_state, output_weights, rates), self.alpha, self.nonlinearity
        )
        return outputs, lambda changes: of_all([change(changes) for change in of_weights])

    def _dynamics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.recurrent_weights, self.input_weights, self.bias, self.initial_state
