"""Rate RNNs, several side by side along a leading network axis."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insd.bptt import simulate
from insd.datasets import WEIGHTS


class RateRNN(torch.nn.Module):
    """Networks of ``tau dx/dt = -x + J r + W_in u + b + noise``, ``r = tanh(x)``, ``y = W_out r + b_out``.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    recurrent_weights (network, unit, unit_from), input_weights (network, unit, input),
    output_weights (network, output, unit), bias (network, unit), output_bias (network, output),
    initial_state (network, unit).

    `alpha` is dt / tau; `recurrent_noise` is the standard deviation sigma_rec of the private noise.
    Source: Qian & Pehlevan (2026), section 2 (rate RNN with initial gain g).
    """

    recurrent_weights: Float[Tensor, "network unit unit_from"]
    input_weights: Float[Tensor, "network unit input"]
    output_weights: Float[Tensor, "network output unit"]
    bias: Float[Tensor, "network unit"]
    output_bias: Float[Tensor, "network output"]
    initial_state: Float[Tensor, "network unit"]

    def __init__(self, weights: dict[str, Tensor], alpha: float, recurrent_noise: float):
        super().__init__()
        if missing := set(WEIGHTS) - set(weights):
            raise ValueError(f"weights lack {sorted(missing)}; a network needs {list(WEIGHTS)}")
        for name in WEIGHTS:
            self.register_parameter(name, torch.nn.Parameter(weights[name]))
        self.alpha = alpha
        self.recurrent_noise = recurrent_noise

    @classmethod
    def initialise(
        cls,
        units: int,
        inputs: int,
        outputs: int,
        gain: float,
        alpha: float,
        recurrent_noise: float,
        generators: Sequence[torch.Generator],
    ) -> "RateRNN":
        """Random networks, one per generator, each drawn from its own stream alone.

        ``J ~ N(0, gain^2 / units)`` (Qian & Pehlevan 2026); ``W_in ~ N(0, 1 / inputs)``, ``W_out ~ N(0, 1 / units)``,
        zero biases and initial states (ours).
        """

        def normal(scale: float, *shape: int) -> Tensor:
            return scale * torch.stack([torch.randn(*shape, generator=generator) for generator in generators])

        count = len(generators)
        weights = {
            "recurrent_weights": normal(gain / math.sqrt(units), units, units),
            "input_weights": normal(1 / math.sqrt(inputs), units, inputs),
            "output_weights": normal(1 / math.sqrt(units), outputs, units),
            "bias": torch.zeros(count, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, recurrent_noise)

    def draw_noise(
        self, times: int, trials: int, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "network time trial unit"] | None:
        """Private noise per step, ``alpha sqrt(2 / alpha) sigma_rec xi`` with ``xi ~ N(0, 1)``, or None without noise.

        With this scale the noise of a leaky unit has a stationary standard deviation near sigma_rec at any alpha.
        """
        if self.recurrent_noise == 0:
            return None
        units = self.bias.shape[1]
        noise = torch.empty(len(generators), times, trials, units)
        for network, generator in zip(noise, generators, strict=True):
            network.normal_(generator=generator)
        return noise.mul_(math.sqrt(2 * self.alpha) * self.recurrent_noise)

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
    ) -> Float[Tensor, "network time trial unit"]:
        """Rates in response to the inputs (see `insd.bptt.simulate`); noise-free unless noise is given."""
        return simulate(
            inputs, self.recurrent_weights, self.input_weights, self.bias, self.initial_state, noise, self.alpha
        )

    def readout(self, rates: Float[Tensor, "network time trial unit"]) -> Float[Tensor, "network time trial output"]:
        """Outputs ``y = W_out r + b_out``."""
        networks, times, trials, units = rates.shape
        flat = rates.reshape(networks, times * trials, units)
        outputs = torch.baddbmm(self.output_bias[:, None], flat, self.output_weights.transpose(1, 2))
        return outputs.view(networks, times, trials, -1)

    def weights(self) -> dict[str, Tensor]:
        """Copies of all weights by name, detached."""
        return {name: getattr(self, name).detach().clone() for name in WEIGHTS}
