"""What every term of an objective is: a number per network, and per earlier round, that training lowers.

Training minimises the loss of the task plus, for each term, its value times a multiplier that follows the term's own
schedule (`insd.objectives.schedules`). A term is one file in this folder, or a class of the user's own that the config
names as `module:Class`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.datasets import DatasetError
from insd.errors import InsdError
from insd.networks.base import Networks
from insd.objectives.settings.base import TermSettings
from insd.plugins import find

READ_AGAIN = "run its round again"
"""The advice in messages on files of earlier rounds."""


class TermError(InsdError):
    """A term cannot be computed; the message names it and says why."""


@dataclass(frozen=True)
class Stored:
    """What a term reads of the earlier rounds of some networks; empty for a term that compares with none.

    of_networks : tensors by name whose first axis is the network.
    shared : tensors by name that are the same for all networks.
    earlier : the number of values that the term has for a network: one per earlier round, or 1.
    every : every how many time steps of the bank the term needs rates, from the first on.
    """

    of_networks: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    earlier: int = 1
    every: int = 1

    def select(self, networks: Sequence[int]) -> "Stored":
        """The same for some of the networks."""
        chosen = {name: values[list(networks)] for name, values in self.of_networks.items()}
        return Stored(chosen, self.shared, self.earlier, self.every)

    def to(self, device: torch.device) -> "Stored":
        """The same on a device."""
        moved = [{n: values.to(device) for n, values in part.items()} for part in (self.of_networks, self.shared)]
        return Stored(moved[0], moved[1], self.earlier, self.every)

    def content(self) -> bytes:
        """All that it holds, for a digest."""
        tensors = [part[name] for part in (self.of_networks, self.shared) for name in sorted(part)]
        return b"".join(values.numpy().tobytes() for values in tensors) + f"{self.earlier}/{self.every}".encode()


class Term(ABC):
    """One part of the training loss alongside the task's own.

    A term that compares networks with earlier ones (`Settings.compares`) says by `variables` what it keeps of each
    network, computes it in `stores`, and finds it again in the `stored` of `value`. Any other term acts in every round,
    keeps nothing, and has one value per network.
    """

    Settings: ClassVar[type[TermSettings]] = TermSettings
    """The keys of the term in the config's section `terms`."""
    variables: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What activity files hold for the term, with the dimensions; the first is `seed`."""
    capturable: ClassVar[bool] = False
    """Whether `value` only computes with tensors where they are, so that a GPU can repeat it as part of a CUDA graph:
    nothing in it waits for a result or changes from call to call but what its arguments hold."""
    multiplies: ClassVar[bool] = False
    """Whether the task loss is multiplied by the `factors` of its values, each to the power of its multiplier, with the
    gradient of that product divided by the factors. Otherwise its values are added to it, each times its multiplier."""

    def __init__(self, settings: Any):
        self.settings = settings

    def stores(self, network: xr.Dataset, bank: xr.Dataset) -> xr.Dataset | None:
        """What later rounds read of the networks of a `network.nc`, on the bank: the `variables`; None without any."""
        return None

    def stores_recording(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        output_weights: Float[np.ndarray, "output unit"] | None,
        bank: xr.Dataset,
    ) -> xr.Dataset | None:
        """The same of recorded activity on the bank, which may have no readout; without the dimension `seed`.

        Raises TermError where a term that compares networks cannot compare them with a recording.
        """
        if self.variables:
            raise TermError(f"{type(self).__name__}: this term cannot compare networks with a recording")
        return None

    def join(self, rounds: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]) -> Stored:
        """What `value` reads of the earlier rounds, from the `variables` of each, whose files name them in messages.

        Unless a term has its own way: the variables by name, (network, earlier, ...), where all rounds have the same
        sizes. Raises DatasetError, naming the file, if the rounds do not fit each other or the bank.
        """
        joined = {}
        for name in self.variables:
            shapes = [stored[name].shape for stored in rounds]
            for shape, file in zip(shapes, files, strict=True):
                if shape != shapes[0]:
                    raise DatasetError(
                        f"{file}: its '{name}' has shape {shape}, and that of {files[0]} {shapes[0]}; {READ_AGAIN}"
                    )
            joined[name] = torch.stack([torch.from_numpy(stored[name].values) for stored in rounds], 1)
        return Stored(joined, earlier=len(rounds))

    @abstractmethod
    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        """The term's value, differentiable in the rates and in the networks' weights; low is good.

        Parameters
        ----------
        rates : of the networks, at every n-th time step (n is `stored.every`) of some trials of the bank.
        stored : what `join` gives; empty for a term that compares networks with none.
        trials : which trials of the bank they are, for each network.
        valid : 1 until the end of each of these trials, and 0 after it, where rates must not count; None where all
            trials last to the end.
        """

    def factors(self, value: Float[Tensor, "network earlier"]) -> Float[Tensor, "network earlier"]:
        """What a term that `multiplies` makes of its values: positive, and differentiable in them."""
        raise TermError(f"{type(self).__name__}: declares multiplies = True, and does not define `factors`")


def mean_over_samples(
    values: Float[Tensor, "network sampled_time trial unit"], valid: Float[Tensor, "network sampled_time trial"] | None
) -> Float[Tensor, "network unit"]:
    """Mean over times and trials, until the end of each trial (`valid` as for `Term.value`)."""
    if valid is None:
        return values.mean((1, 2))
    counts = valid.to(values.dtype)[..., None]
    return (values * counts).sum((1, 2)) / counts.sum((1, 2))


def recurrent_matrices(
    networks: Networks, key: str, remedy: str = "leave it out"
) -> Float[Tensor, "network matrix unit unit_from"]:
    """The weights from units to units, with those of every gate as a matrix; of low-rank networks, their product.

    Raises TermError, with the key of `terms` that asks for them and what to do, where there are none.
    """
    found = [getattr(networks, name) for name in networks.runs_as().recurrent_names()]
    if not found:
        raise TermError(
            f"terms.{key}: networks of the architecture {networks.architecture!r} have no weights between units; "
            f"{remedy}"
        )
    return torch.cat([weights.reshape(len(weights), -1, *weights.shape[-2:]) for weights in found], 1)


def make_terms(settings: Mapping[str, TermSettings]) -> dict[str, Term]:
    """The terms that a recipe names."""
    return {name: find("term", name)(own) for name, own in settings.items()}


def variables_of(settings: Mapping[str, TermSettings]) -> list[str]:
    """The variables of activity files that terms read."""
    return [name for term in make_terms(settings).values() for name in term.variables]


def join_earlier(
    settings: Mapping[str, TermSettings], rounds: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]
) -> dict[str, Stored]:
    """What the terms read of all earlier rounds, in order, ready for training on that bank.

    Only terms that compare networks with earlier ones are in it. Raises DatasetError, naming the file, if it holds
    nothing for a term, or activity on other trials or of other seeds.
    """
    if not any(term.variables for term in make_terms(settings).values()):
        return {}
    for stored, file in zip(rounds, files, strict=True):
        if stored.attrs["bank_fingerprint"] != bank.attrs["fingerprint"]:
            raise DatasetError(
                f"{file}: holds activity on a different trial bank ({stored.attrs['bank_fingerprint']}) from the one "
                f"to train on ({bank.attrs['fingerprint']}); delete it and {READ_AGAIN}"
            )
        if not np.array_equal(stored["seed"].values, rounds[0]["seed"].values):
            raise DatasetError(f"{file}: its 'seed' differs from that of {files[0]}; {READ_AGAIN}")
    joined = {}
    for name, term in make_terms(settings).items():
        if not term.variables:
            continue
        for stored, file in zip(rounds, files, strict=True):
            for variable, dimensions in term.variables.items():
                if variable not in stored or stored[variable].dims != dimensions:
                    raise DatasetError(
                        f"{file}: lacks '{variable}' ({', '.join(dimensions)}), which the term {name!r} reads: give "
                        "the population that made it this term, too"
                    )
        joined[name] = term.join(rounds, bank, files)
    return joined
