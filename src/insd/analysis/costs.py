"""What a solution costs: large weights, and outputs that private noise moves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

COLUMNS = {
    "mean_squared_recurrent_weight": Column(
        "mean squared weight between units; empty for architectures without such weights", "", 0
    ),
    "sum_squared_weights": Column("sum of squares of all trained weights, biases and the initial state", "", 0),
    "noise_sensitivity": Column(
        "variance that private noise adds to the scored outputs, per variance of the noise at each step", "", 0
    ),
}
"""The variables, which are columns of `networks.csv`, too."""
# Some architectures have no weights from units to units.
CONTRACT = Contract(dict.fromkeys(COLUMNS, ("network",)), may_be_nan=frozenset({"mean_squared_recurrent_weight"}))
"""What its file holds."""


class CostsSettings(AnalysisSettings):
    """Costs of a solution."""

    noise_probes: Count = 16
    """Random vectors for the estimate of a network's sensitivity to private noise."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.costs.costs` of each network on the test trials."""
    from insd.evaluation.costs import costs

    rows = []
    for member in job.members:
        assert member.network is not None
        seed = random_seed("noise sensitivity", job.name, member.label)
        found = costs(member.network, job.trials["test"], job.settings.noise_probes, seed)
        rows.append([found[name] for name in COLUMNS])
    values = np.array(rows, float).reshape(-1, len(COLUMNS))
    result = xr.Dataset(
        {name: ("network", values[:, number]) for number, name in enumerate(COLUMNS)},
        coords={"network": [member.label for member in job.members]},
    )
    return {"costs": result}


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """All variables."""
    return result[list(COLUMNS)].to_dataframe()[list(COLUMNS)].reindex(table.index)


ANALYSIS = Analysis(
    description="Weights, and sensitivity to private noise, of all networks of a task.",
    writes={"costs": CONTRACT},
    run=run,
    over="networks",
    settings=CostsSettings,
    reads=("trials/test",),
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=1500,
    minutes=15,
)
"""What the workflow knows of this analysis."""
