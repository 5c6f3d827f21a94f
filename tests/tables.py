"""Tables of networks as tests write them: with the roles that a config of plain chains and rate networks gives."""

import numpy as np
import pandas as pd


def with_roles(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns `role` and `chain`: populations with later rounds are chains."""
    chains = set(table.loc[table["round"] > 0, "population"])
    conditions = [table["round"] > 0, table["population"].isin(chains), table["iterations"] == 0]
    role = np.select(conditions, ["alternative", "reference", "untrained"], "standard")
    seeds = table["seed"].astype(str) if "seed" in table else "0"
    return table.assign(role=role, chain=table["population"] + "/" + seeds)
