"""What rounds that are trained and rounds that walk have in common: what they depend on, and their `network.nc`."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from insd.networks.base import Networks
from insd.objectives.base import Stored
from insd.plugins import module_of
from insd.provenance import code_fingerprint, modules_fingerprint, trials_fingerprint
from insd.settings.recipe import Recipe
from insd.tasks.base import Task
from insd.tasks.own import task_fingerprint

NetworkName = tuple[str | int, ...]
"""(task, population, seed, round): names a network and seeds its random streams."""


def made_from(
    module: str,
    architecture: str,
    task: Task,
    bank: xr.Dataset,
    recipe: Recipe,
    names: Sequence[NetworkName],
    earlier: Mapping[str, Stored],
    *more: str,
) -> str:
    """Digest of everything that the networks of a round depend on: `more`, the code of the module that makes them, and
    what is common to all ways to make them."""
    modules = [module_of("network", architecture), *(module_of("term", name) for name in recipe.terms)]
    code = [code_fingerprint(module), modules_fingerprint(modules), task_fingerprint(type(task)), torch.__version__]
    parts = [repr(task), recipe.model_dump_json(), repr(list(names)), *code, *more]
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(trials_fingerprint(bank).encode())
    for name in sorted(earlier):
        digest.update(name.encode() + earlier[name].content())
    return digest.hexdigest()


def network_dataset(
    networks: Networks,
    weights: Mapping[str, Tensor],
    variables: Mapping[Any, Any],
    names: Sequence[NetworkName],
    bank: xr.Dataset,
    tau: float,
) -> xr.Dataset:
    """Networks by the contract of `network.nc`, of the architecture and attributes of others, with further variables.

    `weights` are by parameter, (network, ...); `tau` is in s.
    """
    stored = {
        name: (networks.dimensions[name], values.cpu().numpy())
        for name, values in networks.stored_weights(weights).items()
    }
    return xr.Dataset(
        stored | dict(variables),
        coords={"seed": [int(name[2]) for name in names], "input": bank["input"], "output": bank["output"]},
        attrs={"dt": bank.attrs["dt"], "tau": tau, **networks.attributes()},
    )
