"""Networks whose behaviour is a fixed plane of their state, with a drift of two layers."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, normal
from insd.networks.plane import PlaneNetworks
from insd.networks.settings.behaviour_plane import BehaviourPlaneSettings


class BehaviourPlane(PlaneNetworks):
    """Networks with the drift ``F = V tanh(U r + W u + b) + c``.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    hidden_weights U (network, hidden, unit_from), input_weights W (network, hidden, input), of which the last three
    columns are not used, hidden_bias b (network, hidden), drift_weights V (network, unit, hidden), drift_bias c
    (network, unit), initial_state (network, unit).

    The two layers are ours; the published drift is that of `insd.networks.dendritic_plane`.
    """

    Settings = BehaviourPlaneSettings
    dimensions = {
        "hidden_weights": ("seed", "hidden", "unit_from"),
        "input_weights": ("seed", "hidden", "input"),
        "hidden_bias": ("seed", "hidden"),
        "drift_weights": ("seed", "unit", "hidden"),
        "drift_bias": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "unit"),
    }
    hidden_weights: Float[Tensor, "network hidden unit"]
    hidden_bias: Float[Tensor, "network hidden"]
    drift_weights: Float[Tensor, "network unit hidden"]
    drift_bias: Float[Tensor, "network unit"]

    @classmethod
    def initialise(
        cls,
        settings: BehaviourPlaneSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "BehaviourPlane":
        """Random networks, one per generator, with normal weights of the variance ``1 / number of senders`` (ours).

        Those of the state are scaled by the gain. Raises ValueError unless there are two outputs and the inputs that
        act on them.
        """
        cls.need_plane(inputs, outputs)
        count, units, hidden = len(generators), settings.units, settings.hidden
        weights = {
            "hidden_weights": normal(generators, settings.gain / math.sqrt(units), hidden, units),
            "input_weights": normal(generators, 1 / math.sqrt(inputs), hidden, inputs),
            "hidden_bias": torch.zeros(count, hidden),
            "drift_weights": normal(generators, 1 / math.sqrt(hidden), units, hidden),
            "drift_bias": torch.zeros(count, units),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise)

    def drive(self, inputs: Float[Tensor, "network sample input"]) -> Float[Tensor, "network sample hidden"]:
        """What the inputs and the bias give to the hidden units."""
        return torch.baddbmm(self.hidden_bias[:, None], inputs[..., :-3], self.input_weights[..., :-3].mT)

    def drift(
        self, state: Float[Tensor, "network trial unit"], drive: Float[Tensor, "network trial hidden"]
    ) -> Float[Tensor, "network trial unit"]:
        """F."""
        hidden = torch.tanh(torch.baddbmm(drive, state, self.hidden_weights.mT))
        return torch.baddbmm(self.drift_bias[:, None], hidden, self.drift_weights.mT)
