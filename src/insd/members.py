"""One network of a grid as analyses see it, read from its files, each of which is checked to belong with the others."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.cohorts import network_label
from insd.datasets import DatasetError, architecture_of, read
from insd.provenance import content_fingerprint, settings_fingerprint
from insd.settings.config import seeds_of

Block = tuple[str, str, int, str, str]
"""Population, seeds and round of a job, the role of its networks, and the fingerprint of the task and recipe that the
config has."""


@dataclass(frozen=True)
class Member:
    """One network with its activity, which is read when it is asked for and not kept."""

    population: str
    seed: int
    round: int
    role: str
    settings: Mapping[str, Any]
    """The resolved settings that it was made with."""
    network: xr.Dataset | None
    """Its `network.nc`, of this seed alone; None for recorded activity."""
    read: Callable[[Collection[str]], xr.Dataset]
    """Reads some variables of its `activity.nc`, without the dimension `seed`."""

    @classmethod
    def of_datasets(
        cls, population: str, round_number: int, role: str, network: xr.Dataset, activity: xr.Dataset
    ) -> "list[Member]":
        """The members of a `network.nc` and an `activity.nc` that are in memory, one per seed."""
        settings = json.loads(network.attrs.get("settings", "{}"))
        return [
            cls(population, seed, round_number, role, settings, network.sel(seed=[seed]), _chosen(activity, seed))
            for seed in network["seed"].values.tolist()
        ]

    @property
    def label(self) -> str:
        """Its name among the networks of its task."""
        return network_label(self.population, self.seed, self.round)

    @property
    def rates(self) -> Float[np.ndarray, "trial time unit"]:
        """Its noise-free rates on the trials of the regime `test`."""
        return self.read(["rates"])["rates"].values

    @property
    def output_weights(self) -> Float[np.ndarray, "output unit"]:
        """Its readout."""
        assert self.network is not None
        return self.network["output_weights"].values[0]

    @property
    def null_rates(self) -> Float[np.ndarray, "trial time unit"]:
        """Its rates in the null space of its readout."""
        from insd.predictivity import null_projector_array  # noqa: PLC0415 - torch

        return self.rates @ null_projector_array(self.output_weights)


def _chosen(activity: xr.Dataset, seed: int) -> Callable[[Collection[str]], xr.Dataset]:
    def read_chosen(names: Collection[str]) -> xr.Dataset:
        return activity[list(names)].sel(seed=seed)

    return read_chosen


def read_members(networks: Sequence[str], activities: Sequence[str], blocks: Sequence[Block]) -> Iterator[Member]:
    """The networks of a task, one at a time.

    `activities` and `blocks` are in the same order; `networks` are the network files of those rounds that have one,
    each next to its activity. Raises DatasetError, naming the file, if a file cannot be used, was made with a different
    task or recipe than its block says, on different trials than the files before it, or with different code than those
    of the same maker and architecture: a grid must not mix them.
    """
    first: dict[str, tuple[str, object]] = {}

    def must_agree(what: str, value: object, file: str) -> None:
        earlier_file, earlier_value = first.setdefault(what, (file, value))
        if value != earlier_value:
            raise DatasetError(
                f"{file}: was made with a different {what} than {earlier_file}; the config or the code changed between "
                "them: delete the file that is out of date, and run the workflow again"
            )

    network_files = {Path(path).parent: path for path in networks}
    for file, (population, seeds, round_number, role, made_with) in zip(activities, blocks, strict=True):
        activity = read(file, "activity", [])
        network_file = network_files.get(Path(file).parent)
        network = None if network_file is None else read(network_file, "network")
        made, made_in = (activity, file) if network is None else (network, str(network_file))
        settings = json.loads(made.attrs["settings"])
        if settings_fingerprint(settings["task"], settings["recipe"]) != made_with:
            # Snakemake may consider the file up to date: for a job on a cluster it records the settings that it started
            # with itself, not those that the job read.
            raise DatasetError(
                f"{made_in}: was made with a different task or recipe than the config has for round {round_number} of "
                f"{population}; the config changed in between: delete the file, and run the workflow again"
            )
        parts = [made.attrs.get("maker", "train"), architecture_of(made), *sorted(settings["recipe"].get("terms", []))]
        kind = ", ".join(parts)
        must_agree(f"version of the code ({kind})", made.attrs["code_fingerprint"], made_in)
        must_agree("set of test trials", activity.attrs.get("test_fingerprint"), file)
        must_agree("training bank", activity.attrs["bank_fingerprint"], file)
        for seed in seeds_of(seeds):
            of_seed = None if network is None else network.sel(seed=[seed])
            yield Member(population, seed, round_number, role, settings, of_seed, _reader(file, seed))


def fingerprints(networks: Sequence[str], activities: Sequence[str], blocks: Sequence[Block]) -> dict[str, str]:
    """Digest, by label, of all that an analysis can see of each network of `read_members`: its files and role."""
    network_files = {Path(path).parent: path for path in networks}
    found = {}
    for file, (population, seeds, round_number, role, _) in zip(activities, blocks, strict=True):
        files = [file, network_files.get(Path(file).parent)]
        contents = [content_fingerprint(one) for one in files if one is not None]
        for seed in seeds_of(seeds):
            label = network_label(population, seed, round_number)
            found[label] = hashlib.sha256(json.dumps([label, role, contents]).encode()).hexdigest()[:32]
    return found


def _reader(file: str, seed: int) -> Callable[[Collection[str]], xr.Dataset]:
    def read_seed(names: Collection[str]) -> xr.Dataset:
        # Not the networks that were made side by side with it.
        return read(file, "activity", names, seed).sel(seed=seed)

    return read_seed
