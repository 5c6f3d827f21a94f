"""Recurrent networks of one architecture, several side by side along a leading network axis.

Every architecture follows ``tau dx/dt = F(x, u) + noise`` by the Euler step ``x <- x + alpha F(x, u) + noise`` with
``alpha = dt / tau``, has rates that are a function of its state x unit by unit, and a linear readout of the rates. That
is all that training, deflation and the analyses ask of it: a further architecture is a further subclass of
`RecurrentNetworks`, an entry in `ARCHITECTURES`, and its weights in `insd.datasets.ARCHITECTURE_WEIGHTS`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.bptt import Workspace, compiled_for, read_out, simulate, simulate_outputs
from insd.datasets import ARCHITECTURE_WEIGHTS, architecture_of
from insd.settings.config import Network

QUANTILES = torch.special.ndtri((torch.arange(1 << 15, dtype=torch.float64) + 0.5) / (1 << 15))
"""Quantiles of the normal distribution in the middle of 32,768 steps of equal probability, with a variance of 1."""
QUANTILES /= QUANTILES.square().mean().sqrt()


def _fill(noise: Float[Tensor, "any"], scale: float, generator: torch.Generator) -> None:
    """Fill the noise with `QUANTILES` at random, times the scale: one number of 63 bits has four parts of 15."""
    bits = torch.empty(-(-len(noise) // 4), dtype=torch.int64).random_(generator=generator).view(torch.int16)
    values = (scale * QUANTILES).to(noise.dtype)
    compiled = compiled_for(noise)
    if compiled:
        compiled.look_up(bits, values, noise)
    else:
        torch.index_select(values, 0, (bits[: len(noise)] & 0x7FFF).to(torch.int32), out=noise)


class RecurrentNetworks(torch.nn.Module, ABC):
    """Networks with the readout ``y = W_out r + b_out`` of their rates r; parameters are their weights by name.

    `alpha` is dt / tau; `recurrent_noise` is the standard deviation sigma_rec of the private noise.
    """

    architecture: ClassVar[str]
    nonlinearity: ClassVar[str]
    """The function of the state that gives the rates."""
    output_weights: Float[Tensor, "network output unit"]
    output_bias: Float[Tensor, "network output"]
    initial_state: Float[Tensor, "network unit"]

    def __init__(self, weights: Mapping[str, Tensor], alpha: float, recurrent_noise: float):
        super().__init__()
        names = self.parameter_names()
        if missing := set(names) - set(weights):
            raise ValueError(f"weights lack {sorted(missing)}; a network needs {list(names)}")
        for name in names:
            self.register_parameter(name, torch.nn.Parameter(weights[name]))
        self.alpha = alpha
        self.recurrent_noise = recurrent_noise

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        """The names of the parameters."""
        return tuple(ARCHITECTURE_WEIGHTS[cls.architecture])

    def draw_noise(
        self, times: int, trials: int, generators: Sequence[torch.Generator], workspace: Workspace | None = None
    ) -> Float[Tensor, "network time trial unit"] | None:
        """Private noise per step, ``alpha sqrt(2 / alpha) sigma_rec xi`` with ``xi ~ N(0, 1)``, or None without noise.

        With this scale the noise of a leaky unit has a stationary standard deviation near sigma_rec at any alpha. In a
        workspace, the noise is valid until the next is drawn.

        On a CPU, xi is one of `QUANTILES` at random: the normal distribution in steps of equal probability, out to 4.2
        standard deviations, in half the time that exact normal numbers take.
        """
        if self.recurrent_noise == 0:
            return None
        scale = math.sqrt(2 * self.alpha) * self.recurrent_noise
        shape = (len(generators), times, trials, self.initial_state.shape[1])
        noise = (workspace or Workspace()).block("noise", shape, self.initial_state)
        for network, generator in zip(noise, generators, strict=True):
            if noise.is_cuda:
                network.normal_(generator=generator).mul_(scale)
            else:
                _fill(network.view(-1), scale, generator)
        return noise

    @abstractmethod
    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """F(x, u) at states under inputs, differentiable in both."""

    @staticmethod
    @abstractmethod
    def rates_of(states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The rates of states."""

    @staticmethod
    @abstractmethod
    def states_of(rates: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The states that have these rates, in double precision."""

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Float[Tensor, "network time trial unit"]:
        """Rates after each step in response to the inputs; noise-free unless noise is given.

        The noise is added to the state at each step as it is. Architectures that can work in a workspace do so where
        there is one (see `insd.bptt.Workspace`).
        """
        state = self.initial_state[:, None].expand(-1, inputs.shape[2], -1)
        states = []
        for time in range(inputs.shape[1]):
            state = state + self.alpha * self.force(state, inputs[:, time])
            if noise is not None:
                state = state + noise[:, time]
            states.append(state)
        return self.rates_of(torch.stack(states, 1))

    def readout(self, rates: Float[Tensor, "network time trial unit"]) -> Float[Tensor, "network time trial output"]:
        """Outputs ``y = W_out r + b_out``."""
        return read_out(rates, self.output_weights, self.output_bias)

    def outputs(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        every: int | None = None,
        workspace: Workspace | None = None,
    ) -> tuple[Float[Tensor, "network time trial output"], Float[Tensor, "network sampled_time trial unit"] | None]:
        """Outputs in response to the inputs, and the rates at every n-th time, if n is given; as `forward`."""
        rates = self(inputs, noise, workspace)
        return self.readout(rates), rates[:, ::every] if every else None

    def weights(self) -> dict[str, Tensor]:
        """Copies of all parameters by name, detached."""
        return {name: getattr(self, name).detach().clone() for name in self.parameter_names()}

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a `network.nc` of this architecture holds, from parameters by name."""
        return dict(weights)


class RateRNN(RecurrentNetworks):
    """Networks of ``tau dx/dt = -x + J r + W_in u + b + noise``, ``r = tanh(x)``, ``y = W_out r + b_out``.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    recurrent_weights (network, unit, unit_from), input_weights (network, unit, input),
    output_weights (network, output, unit), bias (network, unit), output_bias (network, output),
    initial_state (network, unit).

    Source: Qian & Pehlevan (2026), section 2 (rate RNN with initial gain g).
    """

    architecture = "rate"
    nonlinearity = "tanh"
    recurrent_weights: Float[Tensor, "network unit unit_from"]
    input_weights: Float[Tensor, "network unit input"]
    bias: Float[Tensor, "network unit"]

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
        weights = {
            "recurrent_weights": _normal(generators, gain / math.sqrt(units), units, units),
            "input_weights": _normal(generators, 1 / math.sqrt(inputs), units, inputs),
            "output_weights": _normal(generators, 1 / math.sqrt(units), outputs, units),
            "bias": torch.zeros(len(generators), units),
            "output_bias": torch.zeros(len(generators), outputs),
            "initial_state": torch.zeros(len(generators), units),
        }
        return cls(weights, alpha, recurrent_noise)

    def force(
        self, states: Float[Tensor, "network trial unit"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial unit"]:
        """``F = -x + J tanh(x) + W_in u + b``."""
        recurrent = torch.tanh(states) @ self.recurrent_weights.transpose(1, 2)
        return recurrent + inputs @ self.input_weights.transpose(1, 2) + self.bias[:, None] - states

    @staticmethod
    def rates_of(states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """``tanh(x)``."""
        return torch.tanh(states)

    @staticmethod
    def states_of(rates: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """``atanh(r)``; a unit that is saturated in its precision gets the largest state with another rate."""
        largest = 1 - torch.finfo(rates.dtype).eps
        return torch.atanh(rates.clamp(-largest, largest).double())

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        workspace: Workspace | None = None,
    ) -> Float[Tensor, "network time trial unit"]:
        """Rates in response to the inputs, with the hand-written gradient of `insd.bptt.simulate`."""
        return simulate(inputs, *self._dynamics(), noise, self.alpha, workspace)

    def outputs(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial unit"] | None = None,
        every: int | None = None,
        workspace: Workspace | None = None,
    ) -> tuple[Float[Tensor, "network time trial output"], Float[Tensor, "network sampled_time trial unit"] | None]:
        """Outputs and rates, with the hand-written gradient of `insd.bptt.simulate_outputs`."""
        weights = *self._dynamics(), self.output_weights, self.output_bias
        return simulate_outputs(inputs, *weights, noise, self.alpha, every, workspace)

    def _dynamics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.recurrent_weights, self.input_weights, self.bias, self.initial_state


class LowRankRNN(RateRNN):
    """Rate networks with ``J = M N^T / units`` of a given rank.

    `left_vectors` M and `right_vectors` N, (network, unit, rank), take the place of the recurrent weights among the
    parameters; the rest is as in `RateRNN`. Files hold J, too, so that analyses treat them as rate networks.

    Source: Mastrogiuseppe & Ostojic (2018), "Linking connectivity, dynamics, and computations in low-rank recurrent
    neural networks".
    """

    architecture = "low_rank"
    left_vectors: Float[Tensor, "network unit rank"]
    right_vectors: Float[Tensor, "network unit rank"]

    @classmethod
    def parameter_names(cls) -> Sequence[str]:
        return tuple(name for name in ARCHITECTURE_WEIGHTS["low_rank"] if name != "recurrent_weights")

    @classmethod
    def initialise_rank(
        cls,
        rank: int,
        units: int,
        inputs: int,
        outputs: int,
        gain: float,
        alpha: float,
        recurrent_noise: float,
        generators: Sequence[torch.Generator],
    ) -> "LowRankRNN":
        """Random networks as in `RateRNN.initialise`, with normal vectors.

        Their scale gives J the variance ``gain^2 / units`` per entry, that of a rate network of this gain (ours).
        """
        scale = math.sqrt(gain * math.sqrt(units / rank))
        factors = {name: _normal(generators, scale, units, rank) for name in ("left_vectors", "right_vectors")}
        others = RateRNN.initialise(units, inputs, outputs, gain, alpha, recurrent_noise, generators).weights()
        return cls(others | factors, alpha, recurrent_noise)

    @property
    def recurrent_weights(self) -> Float[Tensor, "network unit unit_from"]:  # type: ignore[override]
        """J."""
        return _joined(self.left_vectors, self.right_vectors)

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters, and J."""
        return {**weights, "recurrent_weights": _joined(weights["left_vectors"], weights["right_vectors"])}


def _joined(left: Float[Tensor, "network unit rank"], right: Float[Tensor, "network unit rank"]) -> Tensor:
    return left @ right.transpose(1, 2) / left.shape[1]


class GRU(RecurrentNetworks):
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

    architecture = "gru"
    nonlinearity = "identity"
    recurrent_weights: Float[Tensor, "network gate unit unit_from"]
    input_weights: Float[Tensor, "network gate unit input"]
    bias: Float[Tensor, "network gate unit"]
    candidate_bias: Float[Tensor, "network unit"]

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
    ) -> "GRU":
        """Random networks, one per generator, with the variances of `RateRNN.initialise` for each gate (ours)."""
        count = len(generators)
        weights = {
            "recurrent_weights": _normal(generators, gain / math.sqrt(units), 3, units, units),
            "input_weights": _normal(generators, 1 / math.sqrt(inputs), 3, units, inputs),
            "output_weights": _normal(generators, 1 / math.sqrt(units), outputs, units),
            "bias": torch.zeros(count, 3, units),
            "candidate_bias": torch.zeros(count, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, recurrent_noise)

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
    ) -> Float[Tensor, "network time trial unit"]:
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

    @staticmethod
    def rates_of(states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The states themselves."""
        return states

    @staticmethod
    def states_of(rates: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """The rates themselves."""
        return rates.double()

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


ARCHITECTURES: dict[str, type[RecurrentNetworks]] = {
    networks.architecture: networks for networks in (RateRNN, GRU, LowRankRNN)
}
"""The architectures by the names that the config uses."""


def initialise(
    settings: Network, inputs: int, outputs: int, alpha: float, generators: Sequence[torch.Generator]
) -> RecurrentNetworks:
    """Random networks of the architecture and size in the settings, one per generator."""
    sizes = (settings.units, inputs, outputs, settings.gain, alpha, settings.recurrent_noise, generators)
    if settings.architecture == "low_rank":
        assert settings.rank is not None  # the settings' cross-check
        return LowRankRNN.initialise_rank(settings.rank, *sizes)
    return GRU.initialise(*sizes) if settings.architecture == "gru" else RateRNN.initialise(*sizes)


def simulated_as(network: xr.Dataset) -> type[RecurrentNetworks]:
    """The class that runs a `network.nc`: by their recurrent weights, low-rank networks are rate networks."""
    found = ARCHITECTURES[architecture_of(network)]
    return RateRNN if issubclass(found, RateRNN) else found


def rates_at(network: xr.Dataset, states: Float[np.ndarray, "*any unit"]) -> Float[np.ndarray, "*any unit"]:
    """The rates that a network of a `network.nc` has at these states."""
    return simulated_as(network).rates_of(torch.from_numpy(states)).numpy()


def stacked_weights(networks: Sequence[xr.Dataset]) -> dict[str, Tensor]:
    """The weights of `network.nc` datasets of one architecture and size, side by side along the network axis."""
    names = ARCHITECTURE_WEIGHTS[simulated_as(networks[0]).architecture]
    return {name: torch.cat([torch.from_numpy(network[name].values) for network in networks]) for name in names}


def load_networks(networks: Sequence[xr.Dataset], dt: float) -> RecurrentNetworks:
    """Networks without private noise from `network.nc` datasets of one architecture, size and time constant."""
    alpha = dt / networks[0].attrs["tau"]
    return simulated_as(networks[0])(stacked_weights(networks), alpha, recurrent_noise=0.0)


def constant_input_weights(network: xr.Dataset) -> Float[np.ndarray, "network unit input"]:
    """The derivative of F in the inputs where it does not depend on the state: W_in of rate networks.

    Not a number for other architectures.
    """
    if issubclass(simulated_as(network), RateRNN):
        return network["input_weights"].values
    shape = (network.sizes["seed"], network.sizes["unit"], network.sizes["input"])
    return np.full(shape, np.nan)


def _normal(generators: Sequence[torch.Generator], scale: float, *shape: int) -> Tensor:
    """Normal numbers, (network, *shape), each network's from its own stream."""
    return scale * torch.stack([torch.randn(*shape, generator=generator) for generator in generators])
