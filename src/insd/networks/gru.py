"""Gated recurrent units."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, Flowing, Rates, normal
from insd.networks.engine.bptt import Workspace
from insd.networks.settings.gru import GRUSettings


class GRU(Flowing):
    """Gated recurrent units in continuous time, ``tau dh/dt = (1 - z) (n - h) + noise``; rates are the state h.

    With s the logistic function and ``*`` unit by unit,

        z = s(W_z u + U_z h + b_z),   r = s(W_r u + U_r h + b_r),   n = tanh(W_n u + b_n + r * (U_n h + c)).

    With tau = dt, and so alpha = 1, this is PyTorch's `torch.nn.GRU`, step by step.

    Parameters (all trained; gates are reset r, update z and candidate n, in this order)
    ------------------------------------------------------------------------------------
    recurrent_weights U (network, gate, unit, unit_from), input_weights W (network, gate, unit, input),
    bias b (network, gate, unit), candidate_bias c (network, unit), output_weights, output_bias, initial_state.

    Source: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder"; in continuous time: Jordan
    et al. (2021), "Gated recurrent units viewed through the lens of continuous time dynamical systems".
    """

    Settings = GRUSettings
    dimensions = {
        "recurrent_weights": ("seed", "gate", "unit", "unit_from"),
        "input_weights": ("seed", "gate", "unit", "input"),
        "bias": ("seed", "gate", "unit"),
        "candidate_bias": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "unit"),
    }
    nonlinearity = "identity"
    recurrent_weights: Float[Tensor, "network gate unit unit_from"]
    input_weights: Float[Tensor, "network gate unit input"]
    bias: Float[Tensor, "network gate unit"]
    candidate_bias: Float[Tensor, "network unit"]

    @classmethod
    def initialise(
        cls,
        settings: GRUSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "GRU":
        """Random networks, one per generator, with the variances of `RateRNN.initialise` for each gate (ours)."""
        count, units = len(generators), settings.units
        weights = {
            "recurrent_weights": normal(generators, settings.gain / math.sqrt(units), 3, units, units),
            "input_weights": normal(generators, 1 / math.sqrt(inputs), 3, units, inputs),
            "output_weights": normal(generators, 1 / math.sqrt(units), outputs, units),
            "bias": torch.zeros(count, 3, units),
            "candidate_bias": torch.zeros(count, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise)

    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """``F = (1 - z) (n - h)``."""
        return self._force(states, self._drive(inputs), *self._transposed())

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Rates in response to the inputs, with the external drive of all times in one product."""
        networks, times, trials, _ = inputs.shape
        drive = self._drive(inputs.reshape(networks, times * trials, -1)).view(networks, times, trials, -1)
        weights, bias = self._transposed()
        state = self.initial_state[:, None].expand(-1, trials, -1)
        states = []
        for time in range(times):
            state = state + self.alpha * self._force(state, drive[:, time], weights, bias)
            if noise is not None:
                state = state + noise[:, time]
            states.append(state)
        return torch.stack(states, 1)

    def rates_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The states themselves."""
        return states

    def _drive(self, inputs: Float[Tensor, "network sample input"]) -> Float[Tensor, "network sample drive"]:
        """What the inputs and biases give to all gates, side by side."""
        weights = self.input_weights.flatten(1, 2).transpose(1, 2)
        return torch.baddbmm(self.bias.flatten(1, 2)[:, None], inputs, weights)

    def _transposed(self) -> tuple[Float[Tensor, "network unit_from drive"], Float[Tensor, "network 1 drive"]]:
        """Recurrent weights of all gates side by side, and the bias that only the candidate has behind its gate."""
        behind = torch.nn.functional.pad(self.candidate_bias, (2 * self.candidate_bias.shape[1], 0))
        return self.recurrent_weights.flatten(1, 2).transpose(1, 2), behind[:, None]

    @staticmethod
    def _force(state: Tensor, drive: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        units = state.shape[-1]
        recurrent = torch.baddbmm(bias, state, weights)
        gates = torch.sigmoid(drive[..., : 2 * units] + recurrent[..., : 2 * units])
        reset, update = gates[..., :units], gates[..., units:]
        candidate = torch.tanh(drive[..., 2 * units :] + reset * recurrent[..., 2 * units :])
        return (1 - update) * (candidate - state)
