"""Tables of networks as tests write them: with the roles that a config of plain chains and rate networks gives."""

import numpy as np
import pandas as pd
import xarray as xr

from insd import plugins
from insd.tables.networks import dictionary


def with_roles(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns `role`, `chain` and `standards`: populations with later rounds are chains.

    All networks are compared with all standards, and are matched with them.
    """
    chains = set(table.loc[table["round"] > 0, "population"])
    conditions = [table["round"] > 0, table["population"].isin(chains), table["iterations"] == 0]
    role = np.select(conditions, ["alternative", "reference", "untrained"], "standard")
    seeds = table["seed"].astype(str) if "seed" in table else "0"
    standards = " ".join(dict.fromkeys(table.loc[role == "standard", "population"]))
    return table.assign(role=role, chain=table["population"] + "/" + seeds, standards=standards, matched=True)


def assert_described(table: pd.DataFrame) -> None:
    """Every column of `networks.csv` is in the dictionary, and its values are in the range that is said there."""
    described = dictionary(plugins.names("analysis"))
    assert set(table) <= set(described)
    for name in table:
        column, values = described[name][1], table[name].dropna()
        assert column.low is None or (values >= column.low).all(), name
        # Rounding in r2 of equal activity.
        assert column.high is None or (values <= column.high + 1e-6).all(), name


def with_blocks(result: xr.Dataset) -> xr.Dataset:
    """Losses and scores with their values on blocks of trials, all equal."""
    names = [str(name) for name in result if str(name).endswith(("score", "loss"))]
    return result.assign({f"{name}_blocks": result[name].expand_dims(block=16, axis=-1) for name in names})
