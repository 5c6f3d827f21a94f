"""The roles in a table of networks: the rows of each role, and their names in figures and tables.

The config sets the role of a network (`insd.settings.config.Settings.role`), and `networks.csv` has it as a column.
Nothing here guesses it from other columns.
"""

import pandas as pd

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


def deflated_populations(table: pd.DataFrame) -> list[str]:
    """The populations that have alternatives, in the order of the table."""
    return list(dict.fromkeys(of_role(table, ALTERNATIVE)["population"]))


def alternatives(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of the alternatives of one population."""
    return of_role(table[table["population"] == population], ALTERNATIVE)


def references(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of the references of one population's alternatives, which may belong to a different population."""
    chosen = alternatives(table, population)["reference"]
    return of_role(table[table["population"].isin(chosen)], REFERENCE)


def network_labels(rows: pd.DataFrame) -> list[str]:
    """The labels of the networks in some rows of `networks.csv`."""
    columns = (rows["population"], rows["seed"], rows["round"])
    return [network_label(str(p), int(seed), int(number)) for p, seed, number in zip(*columns, strict=True)]


def reference_labels(rows: pd.DataFrame) -> list[str]:
    """The label of the reference of each network in some rows of `networks.csv`."""
    return [network_label(str(p), int(seed), 0) for p, seed in zip(rows["reference"], rows["seed"], strict=True)]


def round_name(round_number: int) -> str:
    """The name of a round of a deflated population in figures and tables."""
    return "reference" if round_number == 0 else f"alt-{round_number}"
