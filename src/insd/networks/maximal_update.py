"""Rate networks in the maximal-update parametrisation, with a knob of feature learning."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from insd.networks.base import Networks
from insd.networks.rate import RateRNN
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.maximal_update import MaximalUpdateSettings


class MaximalUpdateRNN(RateRNN):
    """`RateRNN` in all but its initial output weights and the step sizes of its parameters.

    With N units and a knob gamma, the publication trains C, K, U by Adam with the step size ``gamma eta`` in

        tau dx/dt = -x + K phi(x) / N + U u,  y = C phi(x) / (gamma N),  K_ij ~ N(0, N), C_ij ~ N(0, 1).

    Here files and the engine have the weights that act, ``J = K / N`` and ``W_out = C / (gamma N)``. Adam moves each
    entry by its step size at most, whatever the scale of its gradient. A step of ``gamma eta`` in K is thus one of
    ``gamma eta / N`` in J, and in C one of ``eta / N`` in W_out; those of U, the bias and the initial state remain
    ``gamma eta``. The output bias, which is ours, takes steps of ``eta``. These are `step_factors`, with eta as
    `training.step_size`. J starts as in `RateRNN`, with variance ``gain^2 / N``, and W_out with ``1 / (gamma N)^2``.

    *Why gamma is the knob.* Signs of gradients agree with rates and with weights that they follow, so that the N terms
    of a sum add up. In one step W_out then moves y by ``N (eta / N) = eta``; J moves x by ``N (gamma eta / N) = gamma
    eta`` and U does too, which moves y by ``N gamma eta / (gamma N) = eta``. So outputs move by eta and states by gamma
    eta, at any N. In the standard parametrisation with one step size, states move by ``N eta`` and outputs by up to
    ``N^(3/2) eta``. Adam's epsilon counts against the gradients in J, which are N times those in K (ours).

    Source: arXiv:2410.03972 for gamma and the scales; maximal-update parametrisation after Yang & Hu (2021), "Tensor
    programs IV"; variances of U and C, biases and trained initial states as in `RateRNN` (ours).
    """

    Settings: ClassVar[type[NetworkSettings]] = MaximalUpdateSettings
    constants: ClassVar[tuple[str, ...]] = (*RateRNN.constants, "feature_learning")

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        alpha: float,
        recurrent_noise: float,
        nonlinearity: str = "tanh",
        feature_learning: float = 1.0,
    ):
        super().__init__(weights, alpha, recurrent_noise, nonlinearity)
        self.feature_learning = feature_learning

    @classmethod
    def runs_as(cls) -> type[Networks]:
        """Rate networks, from which trained ones do not differ."""
        return RateRNN

    @classmethod
    def initialise(  # type: ignore[override]
        cls,
        settings: MaximalUpdateSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "MaximalUpdateRNN":
        """Random networks as in `RateRNN.initialise`, of the same streams, with output weights of variance
        ``1 / (gamma N)^2``.
        """
        weights = RateRNN.initialise(settings, inputs, outputs, alpha, generators).weights()
        weights["output_weights"] /= settings.feature_learning * settings.units**0.5
        return cls(weights, alpha, settings.recurrent_noise, settings.nonlinearity, settings.feature_learning)

    def step_factors(self) -> Mapping[str, float]:
        """By parameter, its step size over eta."""
        units, gamma = self.bias.shape[1], self.feature_learning
        return {
            "recurrent_weights": gamma / units,
            **dict.fromkeys(("input_weights", "bias", "initial_state"), gamma),
            "output_weights": 1 / units,
        }
