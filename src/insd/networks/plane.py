"""Networks whose behaviour is a fixed plane of their state, and whose memory is the rest of it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.base import READOUT, Flowing, Rates
from insd.networks.engine.bptt import Workspace
from insd.networks.settings.base import NetworkSettings
from insd.networks.settings.plane import PlaneSettings


class PlaneNetworks(Flowing, ABC):
    """Networks of ``tau dr/dt = -r + F(r, u) + noise`` with outputs ``y = C r``, for some drift F.

    The rates are the state r. C is not learned: its two rows are orthonormal, and the same in all networks of a size.
    The rest of the state, which C does not see, is memory. The last three inputs act on behaviour alone
    (`insd.tasks.denoising`): before each step, ``y <- (1 - clamp) y + noise``; memory stays. They do so once a step of
    the trials, which is why `training.substeps` must be 1.

    Source: "Setting up for failure" (arXiv 2512.04808). There C is part of a random orthogonal matrix; its choice here
    is ours.
    """

    Settings: ClassVar[type[NetworkSettings]] = PlaneSettings
    nonlinearity = "identity"
    input_weights: Float[Tensor, "network node input"]

    @abstractmethod
    def drive(self, inputs: Float[Tensor, "network sample input"]) -> Float[Tensor, "network sample node"]:
        """What the inputs but the last three, and biases, give to the nodes that the state reaches."""

    @abstractmethod
    def drift(
        self, state: Float[Tensor, "network trial unit"], drive: Float[Tensor, "network trial node"]
    ) -> Float[Tensor, "network trial unit"]:
        """F."""

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        return tuple(name for name in cls.dimensions if name not in READOUT)

    @classmethod
    def need_plane(cls, inputs: int, outputs: int) -> None:
        """Raises ValueError unless there are two outputs and the inputs that act on them."""
        if outputs != 2 or inputs < 3:
            raise ValueError(f"{inputs} inputs and {outputs} outputs: a plane needs 2 outputs, and 3 inputs act on it")

    @property
    def output_weights(self) -> Float[Tensor, "network 2 unit"]:  # type: ignore[override]
        """C."""
        return _plane(self.initial_state).expand(len(self.initial_state), -1, -1)

    @property
    def output_bias(self) -> Float[Tensor, "network 2"]:  # type: ignore[override]
        """Zero."""
        return self.initial_state.new_zeros(len(self.initial_state), 2)

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters, and the readout."""
        state = weights["initial_state"]
        plane = _plane(state).expand(len(state), -1, -1)
        return {**weights, "output_weights": plane, "output_bias": state.new_zeros(len(state), 2)}

    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """``-r + F(r, u)``, and what the last inputs do before the step, as if it took the step."""
        begun = self._acted_on(states, inputs[..., -3:])
        return self.drift(begun, self.drive(inputs)) - begun + (begun - states) / self.alpha

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Rates in response to the inputs, with the external drive of all times in one product."""
        networks, times, trials, _ = inputs.shape
        # The gradient of `unbind` is written once; that of a place in all, once a step.
        drive = self.drive(inputs.reshape(networks, times * trials, -1)).view(networks, times, trials, -1).unbind(1)
        acting = inputs[..., -3:]
        acts = (acting != 0).any(-1).any(-1).any(0).tolist()
        state = self.initial_state[:, None].expand(-1, trials, -1)
        states = []
        for time in range(times):
            if acts[time]:
                state = self._acted_on(state, acting[:, time])
            state = torch.lerp(state, self.drift(state, drive[time]), self.alpha)
            if noise is not None:
                state = state + noise[:, time]
            states.append(state)
        return torch.stack(states, 1)

    def rates_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The states themselves."""
        return states

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
