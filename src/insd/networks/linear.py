"""Linear networks with process noise."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from insd.networks.base import READOUT, Connected, Flowing, Rates, normal
from insd.networks.engine.bptt import Workspace
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.linear import LinearSettings


class LinearRNN(Flowing, Connected):
    """Networks of ``tau dx/dt = -x + J x + W_in u + b + noise``; rates are the state x.

    Parameters (all trained; first axis = network) are those of rate networks. As a stochastic process they are
    ``dx = W x dt + A du + Sigma dB`` with ``W = (J - 1) / tau``, ``A = W_in / tau`` and
    ``Sigma = sigma_rec sqrt(2 / tau)`` (`insd.dynamics.stochastic_linear`).

    Source: Boutaib et al. (2022), "Path classification by stochastic linear recurrent neural networks"; leak, bias and
    initial weights are those of the rate networks here.
    """

    Settings: ClassVar[type[NetworkSettings]] = LinearSettings
    dimensions = {
        "recurrent_weights": ("seed", "unit", "unit_from"),
        "input_weights": ("seed", "unit", "input"),
        "output_weights": READOUT["output_weights"],
        "bias": ("seed", "unit"),
        "output_bias": READOUT["output_bias"],
        "initial_state": ("seed", "unit"),
    }
    nonlinearity = "identity"
    input_weights: Float[Tensor, "network unit input"]
    bias: Float[Tensor, "network unit"]

    @classmethod
    def initialise(
        cls,
        settings: LinearSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "LinearRNN":
        """Random networks, one per generator, with the variances of `RateRNN.initialise`.

        With a gain above 1 activity grows from the start, since nothing saturates.
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
        return cls(weights, alpha, settings.recurrent_noise)

    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """``F = -x + J x + W_in u + b``."""
        recurrent = states @ self.recurrent_weights.transpose(1, 2)
        return recurrent + inputs @ self.input_weights.transpose(1, 2) + self.bias[:, None] - states

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Rates in response to the inputs, with the gradient written by hand: one product for all times per weight."""
        networks, times, trials, _ = inputs.shape
        flat = inputs.reshape(networks, times * trials, -1)
        drive = self.alpha * torch.baddbmm(self.bias[:, None], flat, self.input_weights.transpose(1, 2))
        drive = drive.view(networks, times, trials, -1)
        if noise is not None:
            drive = drive + noise
        move = self.alpha * self.recurrent_weights.transpose(1, 2)
        move = move + (1 - self.alpha) * torch.eye(move.shape[-1], dtype=move.dtype, device=move.device)
        return _Recursion.apply(drive, move, self.initial_state)

    def rates_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The states themselves."""
        return states


class _Recursion(torch.autograd.Function):
    """``x[t] = x[t-1] M + d[t]`` from x[-1], with its gradient: the transposed recursion backwards in time."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Float[Tensor, "network time trial unit"],
        move: Float[Tensor, "network unit_from unit"],
        initial: Float[Tensor, "network unit"],
    ) -> Rates:
        networks, times, trials, units = drive.shape
        states = drive.new_empty(networks, times + 1, trials, units)
        states[:, 0] = initial[:, None]
        for time in range(times):
            torch.baddbmm(drive[:, time], states[:, time], move, out=states[:, time + 1])
        ctx.save_for_backward(states, move)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Rates) -> tuple[Tensor, Tensor, Tensor]:
        states, move = ctx.saved_tensors
        back = move.transpose(1, 2)
        following, found = torch.zeros_like(states[:, 0]), torch.empty_like(grad)
        for time in reversed(range(grad.shape[1])):
            following = torch.baddbmm(grad[:, time], following, back, out=found[:, time])
        of_move = states[:, :-1].flatten(1, 2).transpose(1, 2) @ found.flatten(1, 2)
        return found, of_move, (found[:, 0] @ back).sum(1)
