"""Networks whose behaviour is a fixed plane of their state, and whose memory is the rest of it."""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, Flowing, Rates, normal
from insd.networks.engine.bptt import Workspace
from insd.networks.settings.behaviour_plane import BehaviourPlaneSettings


class BehaviourPlane(Flowing):
    """Networks of ``tau dr/dt = -r + F(r, u) + noise``, ``F = V tanh(U r + W u + b) + c``, with outputs ``y = C r``.

    The rates are the state r. C is not learned: its two rows are orthonormal, and the same in all networks of a size.
    The rest of the state, which C does not see, is memory. The last three inputs act on behaviour alone
    (`insd.tasks.denoising`): before each step, ``y <- (1 - clamp) y + noise``; memory stays. They do so once a step of
    the trials, which is why `training.substeps` must be 1.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    hidden_weights U (network, hidden, unit_from), input_weights W (network, hidden, input), of which the last three
    columns are not used, hidden_bias b (network, hidden), drift_weights V (network, unit, hidden), drift_bias c
    (network, unit), initial_state (network, unit).

    Source: "Setting up for failure" (arXiv 2512.04808). There C is part of a random orthogonal matrix, and F a tree of
    softplus nodes for each unit; the two layers and the choice of C are ours.
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
    nonlinearity = "identity"
    hidden_weights: Float[Tensor, "network hidden unit"]
    input_weights: Float[Tensor, "network hidden input"]
    hidden_bias: Float[Tensor, "network hidden"]
    drift_weights: Float[Tensor, "network unit hidden"]
    drift_bias: Float[Tensor, "network unit"]

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        return tuple(name for name in cls.dimensions if name not in READOUT)

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
        if outputs != 2 or inputs < 3:
            raise ValueError(f"{inputs} inputs and {outputs} outputs: a plane needs 2 outputs, and 3 inputs act on it")
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

    @property
    def output_weights(self) -> Float[Tensor, "network 2 unit"]:  # type: ignore[override]
        """C."""
        return _plane(self.drift_bias).expand(len(self.drift_bias), -1, -1)

    @property
    def output_bias(self) -> Float[Tensor, "network 2"]:  # type: ignore[override]
        """Zero."""
        return self.drift_bias.new_zeros(len(self.drift_bias), 2)

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters, and the readout."""
        bias = weights["drift_bias"]
        plane = _plane(bias).expand(len(bias), -1, -1)
        return {**weights, "output_weights": plane, "output_bias": bias.new_zeros(len(bias), 2)}

    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """``-r + F(r, u)``, and what the last inputs do before the step, as if it took the step."""
        begun = self._acted_on(states, inputs[..., -3:])
        step = torch.baddbmm(self.drift_bias[:, None], self._hidden(begun, self._drive(inputs)), self.drift_weights.mT)
        return step - begun + (begun - states) / self.alpha

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Rates in response to the inputs, with the external drive of all times in one product."""
        networks, times, trials, _ = inputs.shape
        # The gradient of `unbind` is written once; that of a place in all, once a step.
        drive = self._drive(inputs.reshape(networks, times * trials, -1)).view(networks, times, trials, -1).unbind(1)
        acting = inputs[..., -3:]
        acts = (acting != 0).any(-1).any(-1).any(0).tolist()
        state = self.initial_state[:, None].expand(-1, trials, -1)
        onto, bias = self.alpha * self.drift_weights.mT, self.alpha * self.drift_bias[:, None]
        states = []
        for time in range(times):
            if acts[time]:
                state = self._acted_on(state, acting[:, time])
            state = (1 - self.alpha) * state + torch.baddbmm(bias, self._hidden(state, drive[time]), onto)
            if noise is not None:
                state = state + noise[:, time]
            states.append(state)
        return torch.stack(states, 1)

    def rates_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The states themselves."""
        return states

    def _drive(self, inputs: Float[Tensor, "network sample input"]) -> Float[Tensor, "network sample hidden"]:
        """What the inputs and the bias give to the hidden units."""
        return torch.baddbmm(self.hidden_bias[:, None], inputs[..., :-3], self.input_weights[..., :-3].mT)

    def _hidden(self, state: Tensor, drive: Tensor) -> Float[Tensor, "network trial hidden"]:
        return torch.tanh(torch.baddbmm(drive, state, self.hidden_weights.mT))

    def _acted_on(self, state: Tensor, acting: Float[Tensor, "network trial 3"]) -> Tensor:
        """The state after what is done to its behaviour."""
        plane = _plane(state)
        change = acting[..., :2] - acting[..., 2:] * (state @ plane.mT)
        return state + change @ plane


def _plane(like: Float[Tensor, "*any unit"]) -> Float[Tensor, "2 unit"]:
    """C: the second and third row of the orthonormal discrete cosine transform, in which all units take part."""
    units = like.shape[-1]
    places = torch.arange(units, dtype=torch.float64, device=like.device) + 0.5
    rows = torch.stack([torch.cos(math.pi / units * number * places) for number in (1, 2)])
    return (math.sqrt(2 / units) * rows).to(like.dtype)
