"""How many alternatives a chain can have: rounds before the first that no longer solves its task, or is like another.

One row per chain, and one per pair of a round and an earlier one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from insd.cohorts import ALTERNATIVE, CONTROL, network_label, of_role
from insd.tables.cells import cell

SETTINGS = (
    *("architecture", "units", "outputs", "gain", "recurrent_noise", "max_iterations"),
    *("term", "schedule", "multiplier", "penalty_bound", "ridge"),
)
"""The columns of `networks.csv` that capacity is compared over; those of the first alternative. Other settings, such as
the time constant or sub-steps, are not among them."""
CAPACITY_COLUMNS = [
    *("task", "population", "role", "seed", *SETTINGS),
    *("rounds", "k_max", "censored", "ended_by", "k_max_r2", "last_penalty", "last_r2", "last_r2_shuffled"),
]
"""The columns of `capacity.csv`, also where it has no rows."""
LAST = ("last_penalty", "last_r2", "last_r2_shuffled")
"""Those of the alternative that ended the chain."""
PAIR_COLUMNS = ["task", "population", "seed", "round", "round_to", "counted", "r2_null", "r2_null_shuffled"]
"""The columns of `capacity_pairs.csv`, also where it has no rows."""
NOT_SOLVED, NOT_DEFLATED, REFERENCE_NOT_SOLVED = "not solved", "not deflated", "reference not solved"
"""What ends a chain."""
NOT_COMPARED = "not compared"
"""What is said of a chain with an alternative whose r2 is not known."""


def capacity(table: pd.DataFrame, largest_r2: float) -> pd.DataFrame:
    """One row per chain of alternatives or controls.

    An alternative counts if it solves the task, S ended within its bound, and its null-space r2 to every earlier
    network is at most `largest_r2` (`deflated` in `networks.csv`). Where no penalty on S acted, the r2 alone decides.

    Parameters
    ----------
    table : `networks.csv`.
    largest_r2 : null-space r2 to any earlier network that counts as deflated.

    Returns
    -------
    those of `SETTINGS` : of the first alternative.
    rounds : alternatives that were made.
    k_max : alternatives before the first that does not count; empty where the reference does not solve the task, or
        the r2 of an alternative is not known, as in populations that were not analysed.
    censored : whether all count, so that more rounds might count, too.
    ended_by : "not solved", "not deflated", "reference not solved" or "not compared"; empty where it is censored.
    k_max_r2 : the same with the bound of r2 in the place of both bounds, since S ends near its own by design.
    last_penalty, last_r2 : S and the largest null-space r2 to any earlier network of the alternative that ended the
        chain or, where it is censored, of its last.
    last_r2_shuffled : that r2 with the trials of the earlier network shuffled: the baseline.
    """
    rows = [_chain(chain, table, largest_r2) for chain in _chains(table)]
    return pd.DataFrame(rows, columns=CAPACITY_COLUMNS)


def _chains(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The later rounds of each chain, in their order."""
    for _, rows in of_role(table, ALTERNATIVE, CONTROL).groupby(["task", "population", "seed"], sort=False):
        later = rows[rows["round"] > 0].sort_values("round")
        if len(later):
            yield later


def _chain(rows: pd.DataFrame, table: pd.DataFrame, largest_r2: float) -> dict[str, Any]:
    first = rows.iloc[0]
    counts = _counting(rows, largest_r2)
    ended = int(counts.sum())
    by_r2 = _until_first(rows, rows["r2_null_max_to_earlier"].astype(float) <= largest_r2)
    # A recording in the place of the reference has no score of this kind.
    reference = table[
        (table["task"] == first["task"])
        & (table["population"] == first["reference"])
        & (table["seed"] == first["seed"])
        & (table["round"] == 0)
    ]
    started = bool(reference["solved"].all())
    compared = bool(rows["r2_null_max_to_earlier"].notna().all())
    counted = started and compared
    last = rows.iloc[min(ended, len(rows) - 1)]
    how = "" if counts.all() else NOT_DEFLATED if last["solved"] else NOT_SOLVED
    known = {name: first[name] for name in ("task", "population", "role", "seed", *SETTINGS)}
    return known | {
        "rounds": len(rows),
        "k_max": float(ended) if counted else np.nan,
        "censored": counted and bool(counts.all()),
        "ended_by": REFERENCE_NOT_SOLVED if not started else how if compared else NOT_COMPARED,
        "k_max_r2": float(by_r2.sum()) if counted else np.nan,
        "last_penalty": last["penalty"],
        "last_r2": last["r2_null_max_to_earlier"],
        "last_r2_shuffled": last["r2_null_shuffled_max_to_earlier"],
    }


def _counting(rows: pd.DataFrame, largest_r2: float) -> np.ndarray:
    """Which rounds of a chain come before its end."""
    acted = rows["deflated"].notna()
    deflated = rows["deflated"] == True  # noqa: E712 - empty where no penalty acted
    return _until_first(rows, deflated.where(acted, rows["r2_null_max_to_earlier"].astype(float) <= largest_r2))


def _until_first(rows: pd.DataFrame, unlike: pd.Series) -> np.ndarray:
    """Which rounds come before the first that is not solved, or not unlike the earlier ones."""
    return np.logical_and.accumulate(rows["solved"].to_numpy(bool) & unlike.to_numpy(bool))


def capacity_pairs(table: pd.DataFrame, predictivity: Mapping[str, xr.Dataset], largest_r2: float) -> pd.DataFrame:
    """One row per alternative and earlier network of its chain.

    `predictivity` is `predictivity.nc` by task.

    Returns
    -------
    round, round_to : the alternative, and the earlier network.
    counted : whether the alternative comes before the end of its chain (`capacity`), with a reference that is solved or
        not.
    r2_null : null-space r2, alternative -> earlier network.
    r2_null_shuffled : the same with the trials of the earlier network shuffled: the baseline.
    """
    rows = []
    for chain in _chains(table):
        task, population, reference = (str(chain.iloc[0][name]) for name in ("task", "population", "reference"))
        null = predictivity[task].sel(space="null")
        known = set(null["target"].values.tolist())
        for round_number, counted in zip(chain["round"].astype(int), _counting(chain, largest_r2), strict=True):
            seed = int(chain.iloc[0]["seed"])
            for earlier in range(round_number):
                label = network_label(population, seed, round_number)
                to = network_label(population if earlier else reference, seed, earlier)
                if not {label, to} <= known:
                    continue
                pair = null.sel(predictor=label, target=to)
                about = (task, population, seed, round_number, earlier, bool(counted))
                rows.append((*about, float(pair["r2"]), float(pair["r2_shuffled"])))
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


def median_of(chains: pd.DataFrame, name: str = "k_max") -> tuple[float, bool]:
    """Median of `k_max` or `k_max_r2` over the chains of some rows of `capacity`, and whether it is a lower bound: it
    rests on a chain whose alternatives all count. NaN without any chain.

    The median of a sample that is censored on the right is known as long as the chains in the middle ended.
    """
    known = chains.dropna(subset=[name]).sort_values(name)
    if not len(known):
        return np.nan, False
    # A chain of few rounds that had not ended may belong above the middle.
    lower = known.iloc[: len(known) // 2 + 1]
    return float(known[name].median()), bool((lower[name] == lower["rounds"]).any())


def at_least(value: float, censored: bool) -> str:
    """A number of alternatives as text, with ≥ where it is a lower bound."""
    return f"{'≥ ' if censored else ''}{value:g}"


def capacity_page(chains: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The summary by population and the r2 of every round as Markdown, a section per task."""
    parts = ["# How many alternatives can a chain have?\n", "<!-- Generated by the rule `capacity`. -->\n"]
    summary = (
        "| population | N | outputs | noise | λ | chains | rounds | K_max: median | range | by r² alone | "
        "ended: not solved | not deflated | S of the last | null-space r² | shuffled |"
    )
    by_chain = "| chain | K_max | ended | null-space r² to each earlier round, shuffled in brackets |"
    for task, of_task in chains.groupby("task", sort=False):
        parts += [f"## {str(task).replace('_', ' ')}\n", summary, "|---" * 15 + "|"]
        parts += [_summary(str(population), rows) for population, rows in of_task.groupby("population", sort=False)]
        parts += ["", by_chain, "|---" * 4 + "|"]
        parts += [_line(row, pairs[pairs["task"] == task]) for row in of_task.to_dict("records")]
        parts.append("")
    return "\n".join(parts)


def _summary(population: str, rows: pd.DataFrame) -> str:
    first, known = rows.iloc[0], rows.dropna(subset=["k_max"])
    least = at_least(float(known["k_max"].min()), bool(known["censored"].all()))
    most = at_least(float(known["k_max"].max()), bool(known["censored"].any()))
    cells = [
        population,
        *(cell(first[name], "g") for name in ("units", "outputs", "recurrent_noise")),
        f"{first['schedule']} {cell(first['multiplier'], 'g')}" if pd.notna(first["multiplier"]) else "",
        f"{len(known)} of {len(rows)}",
        cell(rows["rounds"].max(), "g"),
        at_least(*median_of(rows)) if len(known) else "",
        (least if least == most else f"{least} to {most}") if len(known) else "",
        at_least(*median_of(rows, "k_max_r2")) if len(known) else "",
        *(str((rows["ended_by"] == one).sum()) for one in (NOT_SOLVED, NOT_DEFLATED)),
        *(f"{known[name].astype(float).median():.3f}" if known[name].notna().any() else "" for name in LAST),
    ]
    return f"| {' | '.join(cells)} |"


def _line(row: dict[Any, Any], pairs: pd.DataFrame) -> str:
    own = pairs[(pairs["population"] == row["population"]) & (pairs["seed"] == row["seed"])]
    names = ["r2_null", "r2_null_shuffled"]
    rounds = [
        f"{number}: " + ", ".join(f"{r2:.2f} ({baseline:.2f})" for r2, baseline in part[names].itertuples(index=False))
        for number, part in own.groupby("round")
    ]
    k_max = "" if pd.isna(row["k_max"]) else at_least(row["k_max"], row["censored"])
    return f"| {row['population']}/{row['seed']} | {k_max} | {row['ended_by']} | {'; '.join(rounds)} |"
