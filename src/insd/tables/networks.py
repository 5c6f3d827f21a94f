"""The table of all networks: their identity, and the columns of each analysis joined to it by label."""

from collections.abc import Mapping, Sequence

import pandas as pd
import xarray as xr

from insd import plugins
from insd.datasets import read
from insd.members import Member

IDENTITY = (
    *("task", "population", "reference", "role", "chain", "architecture", "gain", "seed", "round", "iterations"),
    *("schedule", "multiplier", "ridge", "test_loss", "score", "solved", "restarts"),
)
"""The columns that come from the config and the files of the rounds."""


def identity(task: str, member: Member, reference: str) -> dict[str, object]:
    """What the config and the files of its round say of a network.

    `reference` is the population that round 0 of its chain belongs to, and `reference_label` that network; `chain` its
    population and seed; `iterations` the most that training was allowed; `schedule`, `multiplier` and `ridge` are those
    of the deflation, empty in round 0; `test_loss`, `score` and `solved` are on the regime `test`, `restarts` the fresh
    starts of training.
    """
    recipe = member.settings["recipe"]
    deflation = recipe["deflation"] if member.round else {}
    activity = member.read(["test_loss", "score", "solved"])
    network = member.network
    return {
        "label": member.label,
        "task": task,
        "population": member.population,
        "reference": reference,
        "reference_label": f"{reference}/{member.seed}/0",
        "role": member.role,
        "chain": f"{member.population}/{member.seed}",
        "architecture": recipe["network"]["architecture"],
        "gain": recipe["network"]["gain"],
        "seed": member.seed,
        "round": member.round,
        "iterations": recipe["training"]["iterations"],
        **{name: deflation.get(name) for name in ("schedule", "multiplier", "ridge")},
        "test_loss": float(activity["test_loss"]),
        "score": float(activity["score"]),
        "solved": bool(activity["solved"]),
        "restarts": 0 if network is None else int(network["restarts"].values[0]),
    }


def read_results(files: Mapping[str, str]) -> dict[str, xr.Dataset]:
    """The first file that each of some analyses writes, by the name of the analysis."""
    return {
        name: read(path, next(iter(plugins.find("analysis", name).writes.values()))) for name, path in files.items()
    }


def join_columns(identities: pd.DataFrame, analyses: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The networks of one task with the columns of each of its analyses (`read_results`).

    `identities` has one row per network, indexed by label. A network that an analysis left out has no value in its
    columns. Each analysis documents its columns (`insd.analysis`).
    """
    table = identities
    for name in sorted(analyses, key=lambda name: (len(plugins.find("analysis", name).completes), name)):
        found = plugins.find("analysis", name)
        columns = found.columns(analyses[name], table)
        table = table.drop(columns=[column for column in columns if column in table]).join(columns)
    return table


def network_table(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """`networks.csv`: the rows of all tasks, `IDENTITY` first."""
    table = pd.concat(tables, ignore_index=True)
    others = [name for name in table if name not in (*IDENTITY, "reference_label")]
    return table[[*IDENTITY, *others]]
