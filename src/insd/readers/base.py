"""What a reader is: a function from the weights of networks to answers, and the weights as readers see them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.datasets import architecture_of
from insd.errors import InsdError
from insd.networks.base import simulated_as
from insd.plugins import find
from insd.readers.settings.base import ReaderSettings

READABLE = "rate"
"""The architecture that readers read."""
SMALLEST = 1e-8
"""Scale of weights, or of features, that are all the same."""

NAME_POPULATIONS = "name the populations to read (analysis.readers.populations)"
"""What to do about networks that readers do not read."""


class ReaderError(InsdError):
    """Networks cannot be read, or a reader breaks a promise; the message says which and why."""


@dataclass(frozen=True)
class Weights:
    """The weights of rate networks of one size."""

    recurrent: Float[Tensor, "network unit unit_from"]
    inputs: Float[Tensor, "network unit input"]
    outputs: Float[Tensor, "network output unit"]
    bias: Float[Tensor, "network unit"]
    initial_state: Float[Tensor, "network unit"]
    output_bias: Float[Tensor, "network output"]
    alpha: Float[Tensor, "network"]
    """dt / tau."""

    @classmethod
    def of_networks(cls, networks: Sequence[xr.Dataset], names: Sequence[str] = ()) -> "Weights":
        """Those of `network.nc` datasets, one network or more each, in their order.

        Raises ReaderError unless all are rate networks with rates of tanh and the same numbers of units, inputs and
        outputs.

        Parameters
        ----------
        names : of the datasets, for messages.
        """
        names = names or [f"network {number}" for number in range(len(networks))]
        for name, network in zip(names, networks, strict=True):
            if simulated_as(network).architecture != READABLE or network.attrs["nonlinearity"] != "tanh":
                raise ReaderError(
                    f"{name}: is of the architecture {architecture_of(network)} ({network.attrs['nonlinearity']}); "
                    f"readers read rate networks of tanh: {NAME_POPULATIONS}"
                )
        for along in ("unit", "input", "output"):
            _of_one_size({name: network.sizes[along] for name, network in zip(names, networks, strict=True)}, along)

        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([network[name].values for network in networks]).astype(np.float32))

        alpha = [network.attrs["dt"] / network.attrs["tau"] for network in networks for _ in network["seed"].values]
        return cls(
            joined("recurrent_weights"),
            joined("input_weights"),
            joined("output_weights"),
            joined("bias"),
            joined("initial_state"),
            joined("output_bias"),
            torch.tensor(alpha, dtype=torch.float32),
        )

    @classmethod
    def joined(cls, parts: "Mapping[str, Weights]") -> "Weights":
        """Networks of the same sizes, one named part after the other.

        Raises ReaderError where numbers of units differ.
        """
        _of_one_size({name: one.sizes.units for name, one in parts.items()}, "unit")
        return cls(
            **{part.name: torch.cat([getattr(one, part.name) for one in parts.values()]) for part in fields(cls)}
        )

    def __len__(self) -> int:
        return len(self.recurrent)

    def select(self, chosen: Int[Tensor, "chosen"] | Int[np.ndarray, "chosen"]) -> "Weights":
        """Some of the networks, in this order."""
        return Weights(**{part.name: getattr(self, part.name)[chosen] for part in fields(self)})

    def with_units(self, order: Int[Tensor, "unit"]) -> "Weights":
        """The same networks with their units in a different order: W -> P W P', and the rest with it."""
        return replace(
            self,
            recurrent=self.recurrent[:, order][:, :, order],
            inputs=self.inputs[:, order],
            outputs=self.outputs[:, :, order],
            bias=self.bias[:, order],
            initial_state=self.initial_state[:, order],
        )

    def with_outputs(self, order: Int[Tensor, "output"]) -> "Weights":
        """Networks whose outputs are in a different order."""
        return replace(self, outputs=self.outputs[:, order], output_bias=self.output_bias[:, order])

    def without_ends(self) -> "Weights":
        """The same networks without inputs and outputs: what networks of different tasks have in common."""
        return replace(
            self, inputs=self.inputs[..., :0], outputs=self.outputs[:, :0], output_bias=self.output_bias[:, :0]
        )

    @property
    def vectors(self) -> Float[Tensor, "network unit vector"]:
        """All weights with one number per unit: those of each input and of each output, biases, initial states."""
        return torch.cat([self.inputs, self.outputs.mT, self.bias[..., None], self.initial_state[..., None]], -1)

    @property
    def sizes(self) -> "Sizes":
        """The numbers of units, inputs and outputs."""
        return Sizes(self.inputs.shape[1], self.inputs.shape[2], self.outputs.shape[1])


@dataclass(frozen=True)
class Sizes:
    """The sizes of the networks that a reader reads."""

    units: int
    inputs: int
    outputs: int

    @property
    def vectors(self) -> int:
        """How many weights with one number per unit there are (`Weights.vectors`)."""
        return self.inputs + self.outputs + 2


class Reader(torch.nn.Module, ABC):
    """A function from the weights of networks to answers: logits of classes, or one number.

    What a reader says of a network depends on that network alone. `check_reader` holds it to what it declares.

    Parameters
    ----------
    settings : of the reader's own class.
    sizes : of the networks.
    answers : how many numbers it gives for each.
    """

    Settings: ClassVar[type[ReaderSettings]] = ReaderSettings
    invariant: ClassVar[bool] = True
    """Whether the order of units changes nothing in its answers."""
    sees_outputs: ClassVar[bool] = True
    """Whether the order of outputs does change them."""
    needs_ends: ClassVar[bool] = False
    """Whether it reads no networks without inputs and outputs."""

    def __init__(self, settings: Any, sizes: Sizes, answers: int):
        super().__init__()
        self.settings, self.sizes, self.answers = settings, sizes, answers

    @abstractmethod
    def prepare(self, networks: Weights) -> None:
        """Take from the networks to be trained on what stays fixed then: scales of weights or of features."""

    @abstractmethod
    def forward(self, networks: Weights) -> Float[Tensor, "network answer"]:
        """Its answers."""


class OfFeatures(Reader, ABC):
    """A reader of numbers that are computed from each network, standardised and put into a perceptron."""

    mean: Tensor
    scale: Tensor

    def __init__(self, settings: Any, sizes: Sizes, answers: int):
        super().__init__(settings, sizes, answers)
        empty = Weights(
            recurrent=torch.zeros(1, sizes.units, sizes.units),
            inputs=torch.zeros(1, sizes.units, sizes.inputs),
            outputs=torch.zeros(1, sizes.outputs, sizes.units),
            bias=torch.zeros(1, sizes.units),
            initial_state=torch.zeros(1, sizes.units),
            output_bias=torch.zeros(1, sizes.outputs),
            alpha=torch.ones(1),
        )
        count = self.features(empty).shape[1]
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))
        self.answer = perceptron(count, settings.hidden, answers)

    @abstractmethod
    def features(self, networks: Weights) -> Float[Tensor, "network feature"]:
        """The numbers."""

    def prepare(self, networks: Weights) -> None:
        features = self.features(networks)
        self.mean, self.scale = features.mean(0), features.std(0, correction=0).clamp_min(SMALLEST)

    def forward(self, networks: Weights) -> Float[Tensor, "network answer"]:
        return self.answer((self.features(networks) - self.mean) / self.scale)


class OfWeights(Reader, ABC):
    """A reader of weights in units of their root mean square among the networks that it is trained on.

    The scale is one number for each kind of weight, so that it leaves the order of units without effect.
    """

    scales: Tensor

    def __init__(self, settings: Any, sizes: Sizes, answers: int):
        super().__init__(settings, sizes, answers)
        self.register_buffer("scales", torch.ones(len(SCALED)))

    def prepare(self, networks: Weights) -> None:
        roots = [getattr(networks, name).square().mean().sqrt() for name in SCALED]
        self.scales = torch.stack(roots).clamp_min(SMALLEST)

    def scaled(self, networks: Weights) -> Weights:
        """The networks in these units."""
        return replace(
            networks,
            **{name: getattr(networks, name) / scale for name, scale in zip(SCALED, self.scales, strict=True)},
        )


SCALED = ("recurrent", "inputs", "outputs", "bias", "initial_state", "output_bias")
"""The kinds of weight."""


def _of_one_size(sizes: Mapping[str, int], along: str) -> None:
    """Refuse networks, by name, of different sizes along a dimension."""
    first: dict[int, str] = {}
    for name, count in sizes.items():
        first.setdefault(count, name)
    if len(first) > 1:
        found = " and ".join(f"{count} ({first[count]})" for count in sorted(first))
        raise ReaderError(f"networks have {found} {along}s; readers read networks of one size: {NAME_POPULATIONS}")


def perceptron(*sizes: int) -> torch.nn.Sequential:
    """Linear layers of these sizes with SiLU between them."""
    layers: list[torch.nn.Module] = []
    for size, following in pairwise(sizes):
        layers += [torch.nn.Linear(size, following), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers[:-1])


def make_reader(name: str, settings: ReaderSettings, sizes: Sizes, answers: int, seed: int) -> Reader:
    """A reader whose initial parameters depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return find("reader", name)(settings, sizes, answers)
