"""The rounds of a task as analyses read them: file by file, each checked to belong with the others."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from insd.datasets import DatasetError, read


def network_label(population: str, seed: int, round_number: int) -> str:
    """The name of a network among those of its task."""
    return f"{population}/{seed}/{round_number}"


def network_labels(rows: pd.DataFrame) -> list[str]:
    """The labels of the networks in some rows of `networks.csv`."""
    columns = (rows["population"], rows["seed"], rows["round"])
    return [network_label(str(p), int(seed), int(number)) for p, seed, number in zip(*columns, strict=True)]


def chain_names(rows: pd.DataFrame) -> list[str]:
    """The chains that the networks in some rows of `networks.csv` belong to; a network without deflation is its own."""
    return [f"{population}/{seed}" for population, seed in zip(rows["population"], rows["seed"], strict=True)]


def round_name(round_number: int) -> str:
    """What figures and tables call a round of a deflated population."""
    return "reference" if round_number == 0 else f"alt-{round_number}"


@dataclass(frozen=True)
class Round:
    """Networks of one population and round, of some seeds, with their activity."""

    population: str
    round_number: int
    network: xr.Dataset
    activity: xr.Dataset

    @property
    def settings(self) -> dict:
        """The resolved settings that the networks were made with."""
        return json.loads(self.network.attrs["settings"])


def read_rounds(
    networks: Sequence[str],
    activities: Sequence[str],
    blocks: Sequence[tuple[str, str, int]],
    only: Collection[str] | None = None,
) -> Iterator[Round]:
    """The rounds of a task, one at a time, from their files and (population, seeds, round) in the same order.

    `only` names the variables of the activity that are read. Raises DatasetError, naming the file, if a file cannot be
    used or was not made with the same task, trials and settings as the others: a grid must not mix them.
    """
    first: dict[object, tuple[str, object]] = {}

    def must_agree(what: str, key: object, value: object, file: str) -> None:
        earlier_file, earlier_value = first.setdefault((what, key), (file, value))
        if value != earlier_value:
            raise DatasetError(
                f"{file}: was made with another {what} than {earlier_file}; the config or the code changed between "
                "them: run the workflow again, so that they agree"
            )

    for network_file, activity_file, (population, _, round_number) in zip(networks, activities, blocks, strict=True):
        network = read(network_file, "network")
        activity = read(activity_file, "activity", only)
        current = Round(population, round_number, network, activity)
        must_agree("task", None, current.settings["task"], network_file)
        must_agree("recipe", (population, round_number), current.settings["recipe"], network_file)
        must_agree("set of test trials", None, activity.attrs["test_fingerprint"], activity_file)
        must_agree("training bank", None, activity.attrs["bank_fingerprint"], activity_file)
        yield current
