"""The table of all networks: their identity, and the columns of each analysis joined to it by label."""

from collections.abc import Mapping, Sequence

import pandas as pd
import xarray as xr

from insd import plugins
from insd.datasets import architecture_of, read
from insd.members import Member

IDENTITY = (
    *("task", "population", "reference", "role", "chain", "architecture", "gain", "seed", "round", "iterations"),
    *("max_iterations", "schedule", "multiplier", "ridge", "test_loss", "score", "solved", "restarts"),
    *("penalty", "penalty_bound", "deflated"),
)
"""The columns that come from the config and the files of the rounds."""
PENALTIES = ("predictivity", "condition_predictivity")
"""The terms whose value is S: of single trials, and of averages over trials."""


def identity(task: str, member: Member, reference: str) -> dict[str, object]:
    """What the config and the files of its round say of a network.

    `reference` is the population that round 0 of its chain belongs to, and `reference_label` that network; `chain` its
    population and seed; `gain` the initial one, `iterations` those that its training took and `max_iterations` the most
    that it was allowed, empty for networks that were not trained here; `schedule`, `multiplier`, `ridge` and
    `penalty_bound` are those of the first of `PENALTIES` that acted, empty in round 0; `test_loss`, `score` and
    `solved` are on the regime `test`, `restarts` the fresh starts of training; `penalty` is S at the end of training,
    on held-out trials, towards the earlier network where it is largest.
    """
    recipe = member.settings["recipe"]
    acting = [recipe["terms"][name] for name in PENALTIES if name in recipe["terms"]] if member.round else []
    deflation = acting[0] if acting else {}
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
        "architecture": None if network is None else architecture_of(network),
        "gain": recipe.get("network", {}).get("gain"),
        "seed": member.seed,
        "round": member.round,
        "iterations": None if network is None or "iterations" not in network else int(network["iterations"][0]),
        "max_iterations": recipe.get("training", {}).get("iterations"),
        **{name: deflation.get(name) for name in ("schedule", "multiplier", "ridge")},
        "penalty_bound": deflation.get("bound"),
        "penalty": _largest_penalty(network) if deflation else None,
        "test_loss": float(activity["test_loss"]),
        "score": float(activity["score"]),
        "solved": bool(activity["solved"]),
        "restarts": 0 if network is None else int(network["restarts"].values[0]),
    }


def _largest_penalty(network: xr.Dataset | None) -> float | None:
    """The largest S at the end of training; with several terms, its variable has the name of the term."""
    for name in ("held_out_penalty", *(f"held_out_penalty_{term}" for term in PENALTIES)):
        if network is not None and name in network:
            return float(network[name].max())
    return None


def with_deflated(table: pd.DataFrame, largest_r2: float) -> pd.DataFrame:
    """The networks of one task with the column `deflated`; empty for networks that no penalty acted on.

    A network is deflated where S ended within its bound, and its null-space r2 to every earlier network of its chain is
    at most `largest_r2`.
    """
    within = (table["penalty"].astype(float) <= table["penalty_bound"].astype(float)) & (
        table["r2_null_max_to_earlier"].astype(float) <= largest_r2
    )
    known = table["penalty"].notna() & table["r2_null_max_to_earlier"].notna()
    return table.assign(deflated=within.astype(object).where(known, None))


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
