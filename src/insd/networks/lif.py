"""Recurrent networks of leaky integrate-and-fire units, trained with a surrogate gradient."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, Connected, Rates, normal
from insd.networks.engine.bptt import Workspace
from insd.networks.settings.lif import LIFSettings


class LIF(Connected):
    """Leaky integrate-and-fire units in discrete time; the state is the membrane u, in units of its own.

    With the leak beta and the threshold theta of each unit, the Heaviside step H and ``*`` unit by unit,

        u_t = beta * u_(t-1) + J s_(t-1) - theta * s_(t-1) + W_in x_t + b + noise,   s_t = H(u_t - theta).

    A spike takes the threshold off the membrane one step later. Leak and threshold are per step, whatever dt: a time
    step other than that of training changes the units. Before the first step, units spike as `initial_state` says.

    The rates are what the readout reads. With `reads` = `spikes`, they are the spikes behind a leaky filter,
    ``r_t = r_(t-1) + alpha (s_t - r_(t-1))`` from ``r_0 = 0``: the share of recent steps with a spike. With `membrane`,
    they are u_t, before the reset.

    Backpropagation takes the derivative of H to be ``1 / (1 + (pi v)^2)`` at v = u - theta, that of ``1/2 + arctan(pi
    v) / pi``, also in the reset. A step has no derivative in the state, so that these networks are no `Flowing`.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    recurrent_weights J (network, unit, unit_from), input_weights (network, unit, input), bias (network, unit),
    leak_logit (network, unit) with beta = 1 / (1 + exp(-leak_logit)), log_threshold (network, unit), output_weights,
    output_bias, initial_state (network, unit).

    Source: Henkes et al. (2024), "Spiking neural networks for nonlinear regression", R. Soc. Open Sci. 11:231606: the
    unit, learned leak and threshold, and the arctan surrogate, up to its scale. There, each unit hears its own last
    spike alone; the matrix J is ours, and so are logit and logarithm, which keep beta in (0, 1) and theta above 0.
    """

    Settings = LIFSettings
    dimensions = {
        "recurrent_weights": ("seed", "unit", "unit_from"),
        "input_weights": ("seed", "unit", "input"),
        "bias": ("seed", "unit"),
        "leak_logit": ("seed", "unit"),
        "log_threshold": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "unit"),
    }
    constants = ("reads", "recurrence")
    nonlinearity = "step"
    input_weights: Float[Tensor, "network unit input"]
    bias: Float[Tensor, "network unit"]
    leak_logit: Float[Tensor, "network unit"]
    log_threshold: Float[Tensor, "network unit"]

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        alpha: float,
        recurrent_noise: float,
        reads: str = "spikes",
        recurrence: str = "full",
    ):
        super().__init__(weights, alpha, recurrent_noise)
        self.reads, self.recurrence = reads, recurrence
        self._step: Any = SurrogateStep.apply

    @classmethod
    def initialise(
        cls,
        settings: LIFSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "LIF":
        """Random networks, one per generator, with the variances of `RateRNN.initialise` (ours), and one leak and one
        threshold for all units. Without recurrence, recurrent weights are 0, and stay so.
        """
        count, units = len(generators), settings.units
        recurrent = normal(generators, settings.gain / math.sqrt(units), units, units)
        weights = {
            "recurrent_weights": recurrent * float(settings.recurrence == "full"),
            "input_weights": normal(generators, 1 / math.sqrt(inputs), units, inputs),
            "output_weights": normal(generators, 1 / math.sqrt(units), outputs, units),
            "bias": torch.zeros(count, units),
            "leak_logit": torch.full((count, units), math.log(settings.leak / (1 - settings.leak))),
            "log_threshold": torch.full((count, units), math.log(settings.threshold)),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise, settings.reads, settings.recurrence)

    @property
    def leak(self) -> Float[Tensor, "network unit"]:
        """beta."""
        return torch.sigmoid(self.leak_logit)

    @property
    def threshold(self) -> Float[Tensor, "network unit"]:
        """theta."""
        return torch.exp(self.log_threshold)

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Filtered spikes, or membranes, in response to the inputs."""
        membranes, spikes = self._run(inputs, noise)
        if self.reads == "membrane":
            return torch.stack(membranes, 1)
        rates, filtered = torch.zeros_like(spikes[0]), []
        for spiked in spikes:
            rates = torch.lerp(rates, spiked, self.alpha)
            filtered.append(rates)
        return torch.stack(filtered, 1)

    def spikes(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
    ) -> Float[Tensor, "network time trial unit"]:
        """1 where a unit spikes at a step, and 0 elsewhere."""
        return torch.stack(self._run(inputs, noise)[1], 1)

    def _run(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
    ) -> tuple[list[Float[Tensor, "network trial unit"]], list[Float[Tensor, "network trial unit"]]]:
        """Membranes and spikes after each step."""
        networks, times, trials, _ = inputs.shape
        drive = torch.baddbmm(self.bias[:, None], inputs.flatten(1, 2), self.input_weights.mT)
        drive = drive.view(networks, times, trials, -1)
        if noise is not None:
            drive = drive + noise
        leak, threshold = self.leak[:, None], self.threshold[:, None]
        # The reset is one more weight of each unit to itself.
        heard = self.recurrent_weights.mT * float(self.recurrence == "full") - torch.diag_embed(self.threshold)
        membrane = self.initial_state[:, None].expand(-1, trials, -1)
        spiked = self._step(membrane - threshold)
        membranes, spikes = [], []
        for of_time in drive.unbind(1):
            membrane = torch.addcmul(torch.baddbmm(of_time, spiked, heard), leak, membrane)
            spiked = self._step(membrane - threshold)
            membranes.append(membrane)
            spikes.append(spiked)
        return membranes, spikes

    def smoothed(self) -> "LIF":
        """A copy that has ``1/2 + arctan(pi v) / pi`` in the place of the step: its derivatives are true ones."""
        smooth = copy.deepcopy(self)
        smooth._step = smooth_step
        return smooth


class SurrogateStep(torch.autograd.Function):
    """The Heaviside step, 1 above 0, with the derivative of `smooth_step`."""

    @staticmethod
    def forward(context: Any, distance: Tensor) -> Tensor:
        """1 where the distance is above 0, else 0."""
        context.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The gradient times ``1 / (1 + (pi v)^2)``."""
        (distance,) = context.saved_tensors
        return gradient / (1 + (math.pi * distance).square())


def smooth_step(distance: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """``1/2 + arctan(pi v) / pi``: rises from 0 to 1 around 0, with the slope 1 there."""
    return 0.5 + torch.arctan(math.pi * distance) / math.pi
