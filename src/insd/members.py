"""The rounds of a task as analyses read them: file by file, each checked to belong with the others."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import xarray as xr

from insd.datasets import DatasetError, read
from insd.provenance import settings_fingerprint

Block = tuple[str, str, int, str, str]
"""Population, seeds and round of a job, the role of its networks, and the fingerprint of the task and recipe that the
config has."""


def network_label(population: str, seed: int, round_number: int) -> str:
    """The name of a network among those of its task."""
    return f"{population}/{seed}/{round_number}"


@dataclass(frozen=True)
class Round:
    """Networks of one population and round, of some seeds, with their activity."""

    population: str
    round_number: int
    role: str
    network: xr.Dataset
    activity: xr.Dataset

    @property
    def settings(self) -> dict:
        """The resolved settings that the networks were made with."""
        return json.loads(self.network.attrs["settings"])


def read_rounds(
    networks: Sequence[str],
    activities: Sequence[str],
    blocks: Sequence[Block],
    only: Collection[str] | None = None,
) -> Iterator[Round]:
    """The rounds of a task, one at a time, from their files and blocks in the same order.

    `only` names the variables of the activity that are read. Raises DatasetError, naming the file, if a file cannot be
    used, was made with another task or recipe than its block says, or with other code or trials than the files before
    it: a grid must not mix them.
    """
    first: dict[str, tuple[str, object]] = {}

    def must_agree(what: str, value: object, file: str) -> None:
        earlier_file, earlier_value = first.setdefault(what, (file, value))
        if value != earlier_value:
            raise DatasetError(
                f"{file}: was made with another {what} than {earlier_file}; the config or the code changed between "
                "them: delete what is out of date, and run the workflow again"
            )

    for network_file, activity_file, block in zip(networks, activities, blocks, strict=True):
        population, _, round_number, role, made_with = block
        network = read(network_file, "network")
        activity = read(activity_file, "activity", only)
        current = Round(population, round_number, role, network, activity)
        if settings_fingerprint(current.settings["task"], current.settings["recipe"]) != made_with:
            # Snakemake may find the file up to date: of a job on a cluster it writes down the settings that it started
            # with itself, and not those that the job read.
            raise DatasetError(
                f"{network_file}: was made with another task or recipe than the config has for round {round_number} of "
                f"{population}; the config changed in between: delete the file, and run the workflow again"
            )
        must_agree("code", network.attrs["code_fingerprint"], network_file)
        must_agree("set of test trials", activity.attrs["test_fingerprint"], activity_file)
        must_agree("training bank", activity.attrs["bank_fingerprint"], activity_file)
        yield current
