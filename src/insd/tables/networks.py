"""The table of all networks: their identity, and the columns of each analysis joined to it by label."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from insd import plugins
from insd.analysis.base import Column
from insd.cohorts import solved, standards_of
from insd.datasets import architecture_of, read
from insd.members import Member
from insd.tables import excursions

IDENTITY = {
    "task": Column("task"),
    "population": Column("population in the config"),
    "reference": Column("population that round 0 of its chain belongs to"),
    "role": Column("standard, untrained, reference, alternative or control"),
    "chain": Column("population and seed of its chain"),
    "standards": Column("populations of the standards that it is compared with"),
    "architecture": Column("kind of network; empty for recordings"),
    "units": Column("number of units N; empty for recordings", "", 1),
    "outputs": Column("number of outputs of the task, of a flip-flop its bits; empty for recordings", "", 1),
    "gain": Column("initial gain g: recurrent weights start with variance g²/N; empty if not trained here", "", 0),
    "recurrent_noise": Column("private noise during training; empty if not trained here", "", 0),
    "seed": Column("independent repeat, or chain", "", 0),
    "round": Column("place in the chain; 0 is the reference", "", 0),
    "iterations": Column("iterations that were run, of the attempt that is kept; empty if not trained here", "", 0),
    "max_iterations": Column("most iterations of one attempt; empty if not trained here", "", 0),
    "term": Column(
        "the terms of its objective that acted on it, in round 0 those that compare with no earlier network"
    ),
    "schedule": Column("how the multiplier of S changes: constant, constrained or yielding; empty in round 0"),
    "multiplier": Column("lambda, or where the constrained schedule starts; empty in round 0", "", 0),
    "ridge": Column("ridge of S over the mean variance of a unit; empty in round 0", "", 0),
    "test_loss": Column("task loss on the regime test: share of the targets' variance left unexplained", "", 0),
    "score": Column(
        "score on the regime test",
        "accuracy (of signs), explained variance, or median error in degrees (memory_pro)",
    ),
    "excess_loss": Column("fresh_loss minus the median of its solved standards; empty where there are none"),
    "matched": Column(
        "whether excess_loss is at most 0.01, and fresh_score at most one point (1 % or 1 degree) worse than the "
        "median of its solved standards; empty where there are none"
    ),
    "solved": Column("whether the score meets the criterion of the task"),
    "restarts": Column("fresh starts after attempts that did not solve the task", "", 0),
    "penalty": Column(
        "S at the end of training, on held-out trials, to the earlier network where it is largest", "", 0, 1
    ),
    "penalty_bound": Column("value of S that is low enough; empty in round 0", "", 0),
    "deflated": Column(
        "whether S is within its bound and r2_null_max_to_earlier within its own; empty where no penalty acted"
    ),
    **excursions.COLUMNS,
}
"""The columns that come from the config and the files of the rounds, and what each holds."""
LARGEST_EXCESS = 0.01
"""Largest test loss above the median of the standards of a network that is matched with them (ours)."""
PENALTIES = ("predictivity", "condition_predictivity", "multiplicative")
"""The terms whose value is S, of single trials and of averages over trials: those of the first that acted count."""

_SOURCES = dict.fromkeys(("test_loss", "score", "solved"), "activity.nc")
_SOURCES |= dict.fromkeys(("architecture", "units", "outputs", "restarts", "iterations", "penalty"), "network.nc")
_SOURCES |= {"excess_loss": "fresh_loss and standards", "matched": "excess_loss, fresh_score and standards"}
_SOURCES["deflated"] = "penalty, penalty_bound and r2_null_max_to_earlier"
_SOURCES |= {
    "ceiling": "history.nc, fresh_loss and standards",
    "excursion": "history.nc",
    "excursion_tried": "history.nc",
}


def dictionary(analyses: Iterable[str]) -> dict[str, tuple[str, Column]]:
    """The columns of `networks.csv`: the file that each comes from, and what it holds."""
    found = {name: (_SOURCES.get(name, "the config"), column) for name, column in IDENTITY.items()}
    for analysis in analyses:
        made = plugins.find("analysis", analysis)
        found |= {name: (f"analysis/{next(iter(made.writes))}.nc", column) for name, column in made.dictionary.items()}
    return found


def meanings(analyses: Iterable[str]) -> dict[str, str]:
    """What each column of `networks.csv` holds, in a line."""
    lines = {}
    for name, (source, column) in dictionary(analyses).items():
        facts = [column.meaning, column.unit and f"unit: {column.unit}", column.range and f"range: {column.range}"]
        lines[name] = "; ".join([*filter(None, facts), f"from {source}"])
    return lines


def identity(task: str, member: Member, reference: str, standards: Sequence[str] = ()) -> dict[str, object]:
    """What the config and the files of its round say of a network (`IDENTITY`), its label and that of its reference.

    `standards` are the populations of the standards that it is compared with.
    """
    recipe = member.settings["recipe"]
    # In round 0 those act that compare with no earlier network.
    terms = [term for term in _acting(recipe) if member.round or not plugins.find("term", term).Settings.compares]
    acting = [recipe["terms"][name] for name in PENALTIES if name in terms]
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
        "standards": " ".join(standards),
        "architecture": None if network is None else architecture_of(network),
        "units": None if network is None else network["output_weights"].sizes["unit"],
        "outputs": None if network is None else network["output_weights"].sizes["output"],
        **{name: recipe.get("network", {}).get(name) for name in ("gain", "recurrent_noise")},
        "seed": member.seed,
        "round": member.round,
        "iterations": None if network is None or "iterations" not in network else int(network["iterations"][0]),
        "max_iterations": recipe.get("training", {}).get("iterations"),
        "term": " ".join(terms) or None,
        **{name: deflation.get(name) for name in ("schedule", "multiplier", "ridge")},
        "penalty_bound": deflation.get("bound"),
        "penalty": _largest_penalty(network) if deflation else None,
        "test_loss": float(activity["test_loss"]),
        "score": float(activity["score"]),
        "solved": bool(activity["solved"]),
        "restarts": 0 if network is None else int(network["restarts"].values[0]),
    }


def _acting(recipe: Mapping[str, Any]) -> list[str]:
    """The terms that act on the later rounds of a recipe: on a walk in a random direction none, with terms or not."""
    return sorted(recipe.get("terms", {})) if recipe.get("maker", {}).get("steered", True) else []


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


def with_matched(table: pd.DataFrame, score_point: float, higher_is_better: bool) -> pd.DataFrame:
    """The networks of one task with the columns `excess_loss` and `matched`; empty without solved standards.

    A network is matched with its standards where its loss on fresh trials is at most `LARGEST_EXCESS` above the median
    of those that solve the task, and its score on them at most `score_point` worse than their median.
    """
    parts = []
    for population, rows in table.groupby("population", sort=False):
        standards = solved(standards_of(table, str(population)))
        excess = rows["fresh_loss"] - standards["fresh_loss"].median()
        worse = (standards["fresh_score"].median() - rows["fresh_score"]) * (1 if higher_is_better else -1)
        # A difference of one point may be a little more by rounding.
        matched = (excess <= LARGEST_EXCESS * (1 + 1e-9)) & (worse <= score_point * (1 + 1e-9))
        parts.append(
            pd.DataFrame({"excess_loss": excess, "matched": matched.astype(object).where(excess.notna(), None)})
        )
    return table.join(pd.concat(parts))


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
