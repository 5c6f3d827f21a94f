"""Networks whose rates are the equilibrium under the input of each time step, without a memory."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, Connected, Networks, Rates, normal
from insd.networks.engine.bptt import Workspace
from insd.networks.engine.equilibrium import equilibrium
from insd.networks.settings.implicit import ImplicitSettings


class _ByWeights(Connected):
    """Networks with the rates of `ImplicitNetworks`, by their recurrent weights W as they act; files are run so.

    Weights that an analysis changes, such as those of silenced units, are not normalised again.
    """

    Settings = ImplicitSettings
    dimensions = {
        "recurrent_weights": ("seed", "unit", "unit_from"),
        "input_weights": ("seed", "unit", "input"),
        "bias": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "unit"),
    }
    constants: ClassVar[tuple[str, ...]] = ("threshold",)
    nonlinearity = "clip"
    input_weights: Float[Tensor, "network unit input"]
    bias: Float[Tensor, "network unit"]

    def __init__(self, weights: Mapping[str, Tensor], alpha: float, recurrent_noise: float, threshold: float = 2.0):
        super().__init__(weights, alpha, recurrent_noise)
        self.threshold = threshold

    @classmethod
    def initialise(
        cls, settings: Any, inputs: int, outputs: int, alpha: float, generators: Sequence[torch.Generator]
    ) -> Networks:
        """Those of `ImplicitNetworks`: others need not settle."""
        return ImplicitNetworks.initialise(settings, inputs, outputs, alpha, generators)

    @property
    def noise_scale(self) -> float:
        """sigma_rec: where nothing leaks, noise does not add up over steps."""
        return self.recurrent_noise

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """The equilibrium of each time step by itself; noise is added to the currents."""
        networks, times, trials, _ = inputs.shape
        shown = inputs.reshape(networks, times * trials, -1)
        drive = torch.baddbmm(self.bias[:, None], shown, self.input_weights.transpose(1, 2))
        if noise is not None:
            drive = drive + noise.reshape(drive.shape)
        rates = equilibrium(self.recurrent_weights, drive, self.initial_state, self.threshold)
        return rates.view(networks, times, trials, -1)


class ImplicitNetworks(_ByWeights):
    """Networks with the rates ``a = clip((W a + W_in u + b) / V, 0, 1)`` under the input u of each time step.

        W = c W~ / |W~|,  c clamped to [-1, 1],

    with the largest singular value |W~|. The map from a to the right-hand side shrinks distances to 1/V or less, V
    being above 1: there is one equilibrium, whatever the input, and nothing of earlier inputs in it. These are the
    rates of integrate-and-fire units, averaged over time (`insd.dynamics.equilibria.spiking_rates`). The gradient is
    that of the equilibrium (`insd.networks.engine.equilibrium`). The time step and the time constant have no effect.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    free_weights W~ (network, unit, unit_from), recurrent_scale c (network, 1), input_weights (network, unit, input),
    output_weights (network, output, unit), bias (network, unit), output_bias (network, output),
    initial_state (network, unit): where the equilibrium is sought from. Its gradient is 0; so is that of c beyond 1 or
    -1. Files hold W, too.

    Source: Xiao et al. (2021, arXiv 2109.14247), of which this is the network of one layer, without batch
    normalisation; |W~| is exact here.
    """

    dimensions = {
        **_ByWeights.dimensions,
        "free_weights": ("seed", "unit", "unit_from"),
        "recurrent_scale": ("seed", "layer"),
    }
    free_weights: Float[Tensor, "network unit unit_from"]
    recurrent_scale: Float[Tensor, "network 1"]

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        return tuple(name for name in cls.dimensions if name != "recurrent_weights")

    @classmethod
    def runs_as(cls) -> type[Networks]:
        """The same networks by W."""
        return _ByWeights

    @classmethod
    def initialise(
        cls,
        settings: ImplicitSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "ImplicitNetworks":
        """Random networks, one per generator, each drawn from its own stream alone.

        ``W~ ~ N(0, 1 / units)``, ``W_in ~ N(0, 1 / inputs)``, ``W_out ~ N(0, 1 / units)``, c is the gain. Biases of V/2
        start units in the middle of their range; the other biases are 0 (all ours).
        """
        count, units = len(generators), settings.units
        weights = {
            "free_weights": normal(generators, 1 / math.sqrt(units), units, units),
            "recurrent_scale": torch.full((count, 1), settings.gain),
            "input_weights": normal(generators, 1 / math.sqrt(inputs), units, inputs),
            "output_weights": normal(generators, 1 / math.sqrt(units), outputs, units),
            "bias": torch.full((count, units), settings.threshold / 2),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise, settings.threshold)

    @property
    def recurrent_weights(self) -> Float[Tensor, "network unit unit_from"]:  # type: ignore[override]
        """W."""
        return _normalised(self.free_weights, self.recurrent_scale)

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters, and W."""
        return {**weights, "recurrent_weights": _normalised(weights["free_weights"], weights["recurrent_scale"])}


def _normalised(
    free: Float[Tensor, "network unit unit_from"], scale: Float[Tensor, "network 1"]
) -> Float[Tensor, "network unit unit_from"]:
    largest = torch.linalg.matrix_norm(free, 2)
    return free * (scale.clamp(-1, 1) / largest[:, None])[..., None]
