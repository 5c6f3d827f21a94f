"""The base of all architectures: several networks side by side along a leading network axis.

An architecture is one file in this folder, or a class of the user's own that the config names as `module:Class`: a
subclass of `Networks`, with the capabilities that it has. Training and deflation need only
`Networks`. Analyses of dynamics need `Flowing`, those of connections `Connected`, and a formula for the Jacobian needs
`Additive`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Literal, overload

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.datasets import DatasetError, architecture_of
from insd.networks.engine.bptt import Workspace, read_out
from insd.networks.engine.keyed import KeyedNoise
from insd.networks.engine.noise import fill_with_noise
from insd.networks.engine.tangent import Change, by_backward_passes
from insd.networks.settings.base import NetworkSettings
from insd.plugins import find

READOUT = {"output_weights": ("seed", "output", "unit"), "output_bias": ("seed", "output")}
"""Weights that all networks have, with their dimensions; the dimensions of `initial_state` are (seed, any)."""

Rates = Float[Tensor, "network time trial unit"]
"""Rates after each step."""


class Networks(torch.nn.Module, ABC):
    """Networks with the readout ``y = W_out r + b_out`` of their rates r; parameters are their weights by name.

    The readout and the state before the first step are weights of every architecture. A state has one variable per unit
    or more, such as an adaptation variable for each: as many as `initial_state` has.
    `alpha` is dt / tau; `recurrent_noise` is the standard deviation sigma_rec of the private noise.
    """

    Settings: ClassVar[type[NetworkSettings]] = NetworkSettings
    """The keys of the config's section `network`."""
    architecture: ClassVar[str]
    """The name in configs and files: that of the file or, for a class outside this library, `module:Class`."""
    dimensions: ClassVar[Mapping[str, tuple[str, ...]]]
    """The weights that a `network.nc` holds, with their dimensions; the first is `seed`. In weights from units to
    units, the last, over the sending units, is `unit_from`."""
    constants: ClassVar[tuple[str, ...]] = ()
    """Attributes, numbers or text, that simulation depends on besides the weights and alpha: arguments of the
    constructor by these names, which files keep."""
    nonlinearity: str
    """The function of the state that gives the rates, by name; files keep it."""
    output_weights: Float[Tensor, "network output unit"]
    output_bias: Float[Tensor, "network output"]
    initial_state: Float[Tensor, "network state"]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        package, _, file = cls.__module__.rpartition(".")
        cls.architecture = file if package == __package__ else f"{cls.__module__}:{cls.__qualname__}"

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
        """The names of the parameters: all weights in files, except those that follow from the rest."""
        return tuple(cls.dimensions)

    @classmethod
    def recurrent_names(cls) -> Sequence[str]:
        """The names of the parameters by which units hear units; none where weights are not between units."""
        return tuple(name for name in cls.parameter_names() if cls.dimensions[name][-1] == "unit_from")

    @classmethod
    def runs_as(cls) -> "type[Networks]":
        """The class that runs what files of this architecture hold, if it is not the one that trains."""
        return cls

    @classmethod
    @abstractmethod
    def initialise(
        cls,
        settings: Any,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "Networks":
        """Random networks, one per generator, each drawn from its own stream alone; settings are a `Settings`."""

    @abstractmethod
    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        """Rates after each step in response to the inputs; noise-free unless noise is given.

        The noise is added to the state at each step as it is. Architectures that can work in a workspace do so where
        there is one (see `Workspace`).
        """

    def draw_noise(
        self, times: int, trials: int, generators: Sequence[torch.Generator], workspace: Workspace | None = None
    ) -> Float[Tensor, "network time trial state"] | None:
        """Private noise per step, ``alpha sqrt(2 / alpha) sigma_rec xi`` with ``xi ~ N(0, 1)``, or None without noise.

        With this scale the noise of a leaky unit has a stationary standard deviation near sigma_rec at any alpha. In a
        workspace, the noise is valid until the next is drawn. All variables of the state get noise.
        """
        if self.recurrent_noise == 0:
            return None
        shape = (len(generators), times, trials, self.initial_state.shape[1])
        noise = (workspace or Workspace()).block("noise", shape, self.initial_state)
        fill_with_noise(noise, self.noise_scale, generators)
        return noise

    @property
    def noise_scale(self) -> float:
        """The standard deviation of the private noise per step, ``alpha sqrt(2 / alpha) sigma_rec``."""
        return math.sqrt(2 * self.alpha) * self.recurrent_noise

    @property
    def capturable(self) -> bool:
        """Whether a GPU can run `outputs`, with the noise of `keyed_noise`, as part of a CUDA graph."""
        return False

    def keyed_noise(self, keys: Int[Tensor, "network"], draw: Int[Tensor, ""]) -> KeyedNoise | None:
        """Noise as by `draw_noise`, which `outputs` draws itself from a key per network; None where it cannot."""
        return None

    def readout(self, rates: Rates) -> Float[Tensor, "network time trial output"]:
        """Outputs ``y = W_out r + b_out``."""
        return read_out(rates, self.output_weights, self.output_bias)

    def outputs(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | KeyedNoise | None = None,
        every: int | None = None,
        workspace: Workspace | None = None,
    ) -> tuple[Float[Tensor, "network time trial output"], Float[Tensor, "network sampled_time trial unit"] | None]:
        """Outputs in response to the inputs, and the rates at every n-th time, if n is given; as `forward`."""
        assert not isinstance(noise, KeyedNoise)
        rates = self(inputs, noise, workspace)
        return self.readout(rates), rates[:, ::every] if every else None

    def plain_outputs(
        self, inputs: Float[Tensor, "network time trial input"]
    ) -> Float[Tensor, "network time trial output"]:
        """The noise-free outputs by operations that PyTorch can differentiate any number of times."""
        return self.readout(self(inputs))

    def linearised(
        self, inputs: Float[Tensor, "network time trial input"]
    ) -> tuple[Float[Tensor, "network time trial output"], Change]:
        """The noise-free outputs, with a gradient, and how they change with the parameters, to first order; the changes
        of these are in the order of `parameters`.
        """
        outputs = self.plain_outputs(inputs)
        return outputs, by_backward_passes(outputs, list(self.parameters()))

    def step_factors(self) -> Mapping[str, float]:
        """Factors of the optimiser's step size by the names of parameters; 1 for those that are left out."""
        return {}

    def weights(self) -> dict[str, Tensor]:
        """Copies of all parameters by name, detached."""
        return {name: getattr(self, name).detach().clone() for name in self.parameter_names()}

    def stored_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a `network.nc` of this architecture holds, from parameters by name."""
        return dict(weights)

    def attributes(self) -> dict[str, Any]:
        """What a `network.nc` says of the networks besides their weights, dt and tau."""
        constants = {name: getattr(self, name) for name in self.constants}
        return {"architecture": self.architecture, "nonlinearity": self.nonlinearity, **constants}


class Flowing(Networks, ABC):
    """Networks with ``tau dx/dt = F(x, u) + noise``, in the Euler step ``x <- x + alpha F(x, u) + noise``."""

    @abstractmethod
    def force(
        self, states: Float[Tensor, "network trial state"], inputs: Float[Tensor, "network trial input"]
    ) -> Float[Tensor, "network trial state"]:
        """F(x, u) at states under inputs, differentiable in both."""

    @abstractmethod
    def rates_of(self, states: Float[Tensor, "*any state"]) -> Float[Tensor, "*any unit"]:
        """The rates of states."""

    def forward(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | None = None,
        workspace: Workspace | None = None,
    ) -> Rates:
        return self.simulate(inputs, noise, states=True)[0]

    def plain_outputs(
        self, inputs: Float[Tensor, "network time trial input"]
    ) -> Float[Tensor, "network time trial output"]:
        # A gradient of `forward` that is written by hand cannot be differentiated again.
        return self.readout(self.simulate(inputs, states=True)[0])

    @overload
    def simulate(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | None = None,
        states: Literal[False] = False,
    ) -> Rates: ...

    @overload
    def simulate(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | None = None,
        *,
        states: Literal[True],
    ) -> tuple[Rates, Float[Tensor, "network time trial state"]]: ...

    def simulate(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | None = None,
        states: bool = False,
    ) -> Rates | tuple[Rates, Float[Tensor, "network time trial state"]]:
        """Rates as by `forward`; or, with `states`, rates and states after each step of the Euler map of `force`."""
        if not states:
            return self(inputs, noise)
        state = self.initial_state[:, None].expand(-1, inputs.shape[2], -1)
        visited = []
        for time in range(inputs.shape[1]):
            state = state + self.alpha * self.force(state, inputs[:, time])
            if noise is not None:
                state = state + noise[:, time]
            visited.append(state)
        trajectories = torch.stack(visited, 1)
        return self.rates_of(trajectories), trajectories


class Connected(Networks, ABC):
    """Networks with one matrix of weights from units to units."""

    recurrent_weights: Float[Tensor, "network unit unit_from"]


class Additive(Flowing, Connected, ABC):
    """Networks with ``F = -x + J r + W_in u + b`` and rates ``r = phi(x)``, unit by unit."""

    input_weights: Float[Tensor, "network unit input"]
    bias: Float[Tensor, "network unit"]

    @abstractmethod
    def slopes_of(self, states: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """phi' at states."""


def initialise(
    settings: NetworkSettings, inputs: int, outputs: int, alpha: float, generators: Sequence[torch.Generator]
) -> Networks:
    """Random networks of the architecture in the settings, one per generator."""
    architecture = find("network", settings.architecture)
    if not isinstance(settings, architecture.Settings):
        raise TypeError(
            f"settings of the architecture {settings.architecture!r} must be a {architecture.Settings.__name__}, not a "
            f"{type(settings).__name__}"
        )
    return architecture.initialise(settings, inputs, outputs, alpha, generators)


def simulated_as(network: xr.Dataset) -> type[Networks]:
    """The class that runs a `network.nc`: by their recurrent weights, low-rank networks are rate networks."""
    return find("network", architecture_of(network)).runs_as()


def side_by_side(network: xr.Dataset) -> Hashable:
    """Equal for those `network.nc` datasets that `load_networks` can run side by side."""
    runs = simulated_as(network)
    sizes = network[list(runs.parameter_names())].sizes
    shape = tuple(sorted((str(name), size) for name, size in sizes.items() if name != "seed"))
    return runs.architecture, shape, network.attrs["tau"], tuple(constants_in(network, runs).items())


def stacked_weights(networks: Sequence[xr.Dataset]) -> dict[str, Tensor]:
    """The weights of `network.nc` datasets of one architecture and size, side by side along the network axis."""
    names = simulated_as(networks[0]).parameter_names()
    return {name: torch.cat([torch.from_numpy(network[name].values) for network in networks]) for name in names}


def load_networks(networks: Sequence[xr.Dataset], dt: float) -> Networks:
    """Networks without private noise from `network.nc` datasets that may run `side_by_side`, at a time step in s.

    A step other than their own is that of a regime whose `dt` the config replaces. Raises DatasetError where it is
    longer than their time constant.
    """
    tau = networks[0].attrs["tau"]
    if dt > tau * (1 + 1e-9):
        raise DatasetError(
            f"trials at dt = {dt:g} s: longer than the network's tau = {tau:g} s; Euler steps need dt <= tau"
        )
    return made_of(networks[0], stacked_weights(networks), dt / tau)


def made_of(network: xr.Dataset, weights: Mapping[str, Tensor], alpha: float, recurrent_noise: float = 0.0) -> Networks:
    """Networks of these weights that are otherwise as a `network.nc` says."""
    runs = simulated_as(network)
    return runs(weights, alpha, recurrent_noise, **constants_in(network, runs))


def state_size(network: xr.Dataset) -> int:
    """How many variables a state of a network of a `network.nc` has."""
    return network["initial_state"].shape[-1]


def rates_at(network: xr.Dataset, states: Float[np.ndarray, "*any state"]) -> Float[np.ndarray, "*any unit"]:
    """The rates that a network of a `network.nc` has at these states."""
    one = network.isel(seed=[0]) if "seed" in network.dims else network.expand_dims("seed")
    loaded = load_networks([one], one.attrs["tau"])
    assert isinstance(loaded, Flowing)
    return loaded.rates_of(torch.from_numpy(states)).numpy()


def constant_input_weights(network: xr.Dataset) -> Float[np.ndarray, "network unit input"]:
    """The derivative of F in the inputs where it does not depend on the state: W_in of additive networks.

    NaN for other architectures.
    """
    if issubclass(simulated_as(network), Additive):
        return network["input_weights"].values
    shape = (network.sizes["seed"], network.sizes["unit"], network.sizes["input"])
    return np.full(shape, np.nan)


def normal(generators: Sequence[torch.Generator], scale: float, *shape: int) -> Float[Tensor, "network ..."]:
    """Normal numbers, (network, *shape), of a standard deviation, each network's from its own stream."""
    return scale * torch.stack([torch.randn(*shape, generator=generator) for generator in generators])


def constants_in(network: xr.Dataset, runs: type[Networks]) -> dict[str, Any]:
    """The constants that a file gives; the constructor has defaults for the others."""
    return {name: network.attrs[name] for name in runs.constants if name in network.attrs}
