"""The roles in a table of networks: the rows of each role, and their names in figures and tables.

The config sets the role of a network (`insd.settings.config.Settings.role`), and `networks.csv` has it as a column.
Nothing here guesses it from other columns.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

STANDARD, UNTRAINED, REFERENCE, ALTERNATIVE, CONTROL = "standard", "untrained", "reference", "alternative", "control"
"""The roles: trained on the task alone; not trained; round 0 of a chain; a later round of one; anything else."""


def network_label(population: str, seed: int, round_number: int) -> str:
    """The name of a network among those of its task."""
    return f"{population}/{seed}/{round_number}"


def of_role(table: pd.DataFrame, *roles: str) -> pd.DataFrame:
    """The rows of networks of some roles."""
    return table[table["role"].isin(roles)]


def trained(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all networks but untrained ones."""
    return table[table["role"] != UNTRAINED]


def solved(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks that meet the criterion of their task."""
    return rows[rows["solved"]]


def states(rows: pd.DataFrame) -> np.ndarray:
    """What figures say of networks by their markers: "not solved", "not deflated" or, of most, "".

    "not deflated" are alternatives that solve the task, but are not unlike the earlier networks of their chain.
    """
    alike = (rows["deflated"] == False).to_numpy(bool)  # noqa: E712 - empty where no penalty acted
    return np.select([~rows["solved"].to_numpy(bool), alike], ["not solved", "not deflated"], "")


def deflated_populations(table: pd.DataFrame) -> list[str]:
    """The populations that have alternatives, in the order of the table."""
    return list(dict.fromkeys(of_role(table, ALTERNATIVE)["population"]))


def alternatives(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of the alternatives of one population."""
    return of_role(table[table["population"] == population], ALTERNATIVE)


def standards_of(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of the standards that the networks of a population are compared with; of no population, all."""
    standards, named = of_role(table, STANDARD), table.loc[table["population"] == population, "standards"]
    return standards[standards["population"].isin(str(named.iloc[0]).split())] if len(named) else standards


def matched(rows: pd.DataFrame) -> pd.Series:
    """Whether each network is matched with its standards; false where there are none."""
    return rows["matched"] == True  # noqa: E712 - empty without solved standards


def matches(rows: pd.DataFrame) -> np.ndarray:
    """What figures of scores say of networks by their markers: "not solved", "not matched" or, of most, "".

    "not matched" are alternatives that solve the task, but are worse than the standards in distribution.
    """
    worse = (rows["matched"] == False) & (rows["role"] == ALTERNATIVE)  # noqa: E712 - empty without standards
    return np.select([~rows["solved"].to_numpy(bool), worse.to_numpy(bool)], ["not solved", "not matched"], "")


def references(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of the references of one population's alternatives, which may belong to a different population."""
    chosen = alternatives(table, population)["reference"]
    return of_role(table[table["population"].isin(chosen)], REFERENCE)


def controls(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of the controls that have the references of one population's alternatives."""
    return of_role(table[table["reference"].isin(alternatives(table, population)["reference"])], CONTROL)


def network_labels(rows: pd.DataFrame) -> list[str]:
    """The labels of the networks in some rows of `networks.csv`."""
    columns = (rows["population"], rows["seed"], rows["round"])
    return [network_label(str(p), int(seed), int(number)) for p, seed, number in zip(*columns, strict=True)]


def reference_labels(rows: pd.DataFrame) -> list[str]:
    """The label of the reference of each network in some rows of `networks.csv`."""
    return [network_label(str(p), int(seed), 0) for p, seed in zip(rows["reference"], rows["seed"], strict=True)]


def of_references(table: pd.DataFrame, rows: pd.DataFrame, column: str) -> np.ndarray:
    """A column of the reference of each network in some rows of `networks.csv`, (row); NaN where there is none."""
    references = of_role(table, REFERENCE)
    own = references[column].set_axis(network_labels(references))
    return own.reindex(reference_labels(rows)).to_numpy(float)


TEXT = (
    *(
        "task",
        "population",
        "reference",
        "role",
        "chain",
        "architecture",
        "term",
        "schedule",
        "compared_to",
        "disagreement",
    ),
    *(
        "standards",
        "measure",
        "quantity",
        "level",
        "duration",
        "verdict",
        "ended_by",
        "paper",
        "id",
        "claim",
        "number",
        "criterion",
    ),
)
"""Columns of tables that hold names, which may look like numbers."""


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of `results/tables`: names stay text, also `03` and `NA`, and only what is empty has no value."""
    known = pd.read_csv(path, nrows=0).columns
    types = {name: str for name in TEXT if name in known}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])


OVER_NETWORKS = ("network", "network_to", "predictor", "target", "searched_network")
"""The dimensions of analyses along which there is a place for each network."""


def every_network(result: xr.Dataset, labels: Sequence[str]) -> xr.Dataset:
    """The file of an analysis with a place for each network of its task, in the order of `labels`.

    Networks that it does not hold are NaN there. The coordinate `left_out` names them, `reason` says why: what the
    analysis needs and they lack, or that the config has it made of other populations.
    """
    along = [name for name in OVER_NETWORKS if name in result.dims]
    if not along:
        return result
    reasons = left_out(result)
    absent = {
        label: reasons.get(label, "not among the populations that are analysed")
        for label in labels
        if label not in set(result[along[0]].values.tolist())
    }
    if not absent and not reasons:
        return result
    places = {name: list(labels) for name in along}
    completed = result.drop_vars(["left_out", "reason"], errors="ignore").reindex(places)
    return completed.assign_coords(left_out=list(absent), reason=("left_out", list(absent.values())))


def left_out(result: xr.Dataset) -> dict[str, str]:
    """The networks that an analysis was not made of, by label, each with the reason."""
    if "left_out" not in result.coords:
        return {}
    return dict(zip(result["left_out"].values.tolist(), result["reason"].values.tolist(), strict=True))


def round_name(round_number: int) -> str:
    """The name of a round of a deflated population in figures and tables."""
    return "reference" if round_number == 0 else f"alt-{round_number}"
