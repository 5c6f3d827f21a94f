"""The flow of one network under a constant input: the force F, its Jacobian, and the Euler map that simulates it.

Under a constant input u a network follows ``tau dx/dt = F(x)`` with

    F(x) = -x + J phi(x) + W_in u + b,

simulated by the Euler map ``x <- x + alpha F(x)``, ``alpha = dt / tau``. F has the unit of the state (dimensionless).
The speed of a state is ``q = |F|^2 / 2`` (Sussillo & Barak 2013, "Opening the black box", eq. 2, there with
``dx/dt`` in place of F). The Jacobian of F is ``A = -I + J D`` with ``D = diag(phi'(x))``, for tanh
``diag(1 - tanh(x)^2)``. That is F of additive networks. Other architectures that flow (`insd.networks.base.Flowing`)
have a different F, with the Jacobian by automatic differentiation, and may have more variables in a state than units;
in the shapes here, `unit` is a variable of the state.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.errors import InsdError
from insd.networks.base import Additive, Flowing, load_networks, simulated_as

DERIVATIVES = 16
"""States whose Jacobians automatic differentiation finds at once."""


class FlowError(InsdError):
    """Networks of this architecture have no flow; the message says which."""


@dataclass(frozen=True)
class Flow(ABC):
    """The dynamics of one network under one constant input, in double precision unless made `single`."""

    alpha: float
    """Euler step over time constant."""
    tau: float
    """Time constant in s."""

    @property
    def dt(self) -> float:
        """Time step in s."""
        return self.alpha * self.tau

    @abstractmethod
    def single(self) -> "Flow":
        """The same flow in single precision, in which it was trained and runs twice as fast."""

    @abstractmethod
    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        """F of each state."""

    @abstractmethod
    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        """F of each state under inputs of its own, added to the constant one."""

    @abstractmethod
    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        """Jacobian A of F at each state (row: component of F; column: unit)."""

    @abstractmethod
    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        """Derivative of F at each state in the inputs."""

    def speed(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state"]:
        """Speed ``q = |F|^2 / 2`` of each state."""
        return self.force(states).square().sum(1) / 2

    def normal_equations(
        self, states: Float[Tensor, "state unit"], force: Float[Tensor, "state unit"]
    ) -> tuple[Float[Tensor, "state unit unit"], Float[Tensor, "state unit"]]:
        """``A^T A`` and ``A^T F`` at each state, given F there."""
        transposed = self.jacobian(states).transpose(1, 2)
        return transposed @ transposed.transpose(1, 2), torch.bmm(transposed, force[..., None])[..., 0]

    def step(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        """The Euler map: each state one time step later."""
        return states + self.alpha * self.force(states)

    def run(
        self, states: Float[Tensor, "state unit"], steps: int, recorded: int = 0
    ) -> tuple[Float[Tensor, "state unit"], Float[Tensor, "time state unit"]]:
        """States after some steps of the Euler map, and those after each of the last `recorded` steps."""
        orbit = states.new_empty(recorded, *states.shape)
        for step in range(steps):
            states = self.step(states)
            if step >= steps - recorded:
                orbit[step - steps + recorded] = states
        return states, orbit


@dataclass(frozen=True)
class RateFlow(Flow):
    """The flow of an additive network, with its Jacobian in a formula."""

    recurrent_weights: Float[Tensor, "unit unit"]
    drive: Float[Tensor, "unit"]
    """Constant part of F: ``W_in u + b``."""
    input_weights: Float[Tensor, "unit input"]
    rates_of: Callable[[Tensor], Tensor]
    """phi of states."""
    slopes_of: Callable[[Tensor], Tensor]
    """phi' of states."""

    @classmethod
    def of_network(cls, network: xr.Dataset, inputs: Float[np.ndarray, "input"], dt: float) -> "RateFlow":
        """The flow of one seed of a `network.nc` under constant inputs."""
        loaded = load_networks([network.expand_dims("seed")], dt)
        assert isinstance(loaded, Additive)
        input_weights = network["input_weights"].values.astype(np.float64)
        drive = input_weights @ inputs + network["bias"].values
        recurrent_weights = torch.from_numpy(network["recurrent_weights"].values).double()
        tau = float(network.attrs["tau"])
        weights = recurrent_weights, torch.from_numpy(drive), torch.from_numpy(input_weights)
        return cls(dt / tau, tau, *weights, loaded.rates_of, loaded.slopes_of)

    def single(self) -> "RateFlow":
        weights = (self.recurrent_weights.float(), self.drive.float(), self.input_weights.float())
        return RateFlow(self.alpha, self.tau, *weights, self.rates_of, self.slopes_of)

    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        return torch.addmm(self.drive, self.rates_of(states), self.recurrent_weights.T) - states

    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        return self.force(states) + inputs @ self.input_weights.T

    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        matrices = self.recurrent_weights * self.slopes_of(states)[:, None]
        matrices.diagonal(dim1=1, dim2=2).sub_(1)
        return matrices

    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        """W_in, whatever the state."""
        return self.input_weights.expand(len(states), -1, -1)

    @cached_property
    def gram(self) -> Float[Tensor, "unit unit"]:
        """``J^T J``: the only product that ``A^T A = I - J D - (J D)^T + D J^T J D`` needs, at any state."""
        return self.recurrent_weights.T @ self.recurrent_weights

    def normal_equations(
        self, states: Float[Tensor, "state unit"], force: Float[Tensor, "state unit"]
    ) -> tuple[Float[Tensor, "state unit unit"], Float[Tensor, "state unit"]]:
        slopes = self.slopes_of(states)
        weighted = self.recurrent_weights * slopes[:, None]
        normal = slopes[:, :, None] * self.gram * slopes[:, None]
        normal -= weighted
        normal -= weighted.transpose(1, 2)
        normal.diagonal(dim1=1, dim2=2).add_(1)
        return normal, torch.bmm(force[:, None], weighted)[:, 0] - force

    def step(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        constant, weights = self._step
        return torch.addmm(constant, self.rates_of(states), weights).add_(states, alpha=1 - self.alpha)

    @cached_property
    def _step(self) -> tuple[Float[Tensor, "unit"], Float[Tensor, "unit unit"]]:
        return self.alpha * self.drive, self.alpha * self.recurrent_weights.T


@dataclass(frozen=True)
class NetworkFlow(Flow):
    """The flow of a network of any architecture that flows, with derivatives by automatic differentiation."""

    networks: Flowing
    """One network, without gradients of its parameters."""
    inputs: Float[Tensor, "input"]

    @classmethod
    def of_network(cls, network: xr.Dataset, inputs: Float[np.ndarray, "input"], dt: float) -> "NetworkFlow":
        """The flow of one seed of a `network.nc` under constant inputs."""
        loaded = load_networks([network.expand_dims("seed")], dt).double().requires_grad_(False)
        assert isinstance(loaded, Flowing)
        return cls(loaded.alpha, float(network.attrs["tau"]), loaded, torch.from_numpy(inputs).double())

    def single(self) -> "NetworkFlow":
        return NetworkFlow(self.alpha, self.tau, copy.deepcopy(self.networks).float(), self.inputs.float())

    def force(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit"]:
        return self.networks.force(states[None], self.inputs.expand(1, len(states), -1))[0]

    def driven_force(
        self, states: Float[Tensor, "state unit"], inputs: Float[Tensor, "state input"]
    ) -> Float[Tensor, "state unit"]:
        return self.networks.force(states[None], (self.inputs + inputs)[None])[0]

    def jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit unit"]:
        return self._derivative(states, 0)

    def input_jacobian(self, states: Float[Tensor, "state unit"]) -> Float[Tensor, "state unit input"]:
        return self._derivative(states, 1)

    def _derivative(self, states: Tensor, argument: int) -> Tensor:
        """Derivatives of F in the state (0) or the inputs (1), state by state, in blocks that bound memory."""

        def force(state: Tensor, inputs: Tensor) -> Tensor:
            return self.networks.force(state[None, None], inputs[None, None])[0, 0]

        derivative = torch.func.vmap(torch.func.jacrev(force, argument), in_dims=(0, None))
        blocks = [derivative(block, self.inputs) for block in states.split(DERIVATIVES)]
        return torch.cat(blocks)


def flow_of(network: xr.Dataset, inputs: Float[np.ndarray, "input"], dt: float) -> Flow:
    """The flow of one seed of a `network.nc` of any architecture that flows, under constant inputs.

    Raises FlowError if the architecture does not.
    """
    architecture = simulated_as(network)
    if not issubclass(architecture, Flowing):
        raise FlowError(
            f"networks of the architecture {architecture.architecture!r} have no flow; leave them out, or derive the "
            "class from insd.networks.base.Flowing"
        )
    kind = RateFlow if issubclass(architecture, Additive) else NetworkFlow
    return kind.of_network(network, inputs, dt)
