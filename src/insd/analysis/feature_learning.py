"""How far training moved networks from their initial weights, and how much it turned their tangent kernels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

NUMBERS = ("weight_change", "weight_change_per_weight", "relative_weight_change", "kernel_alignment")
"""What is known of each network whose initial weights are known."""
CONTRACT = Contract(
    dict.fromkeys((*NUMBERS, "attempt", "unknown"), ("network",)),
    # Networks that were not trained from random weights.
    may_be_nan=frozenset(NUMBERS),
    text=frozenset({"unknown"}),
)
"""What its file holds."""


class FeatureLearningSettings(AnalysisSettings):
    """Feature learning; made only where the config has this section, which may be `{}`."""

    trials: Count = 8
    """Trials of the regime `test` whose outputs the tangent kernel is of, the first ones; all of them if there are
    fewer."""
    times: Count = 6
    """Times of each of these trials, evenly spaced over those at which outputs are scored."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("feature_learning")


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.feature_learning.feature_learning` of each network on the first of the test trials."""
    from insd.evaluation.feature_learning import feature_learning

    trials = job.trials["test"].isel(trial=slice(job.settings.trials))
    rows = [feature_learning(member, job.name, trials, job.settings.times) for member in job.members]
    found = {name: ("network", np.array([row[name] for row in rows], float)) for name in NUMBERS}
    attempts = {"attempt": ("network", np.array([row["attempt"] for row in rows], int))}
    unknown = {"unknown": ("network", np.array([row["unknown"] for row in rows], object))}
    return {"feature_learning": xr.Dataset(found | attempts | unknown, {"network": [one.label for one in job.members]})}


_ONLY = "empty where they are not known; only with `analysis.feature_learning`"
COLUMNS = {
    "weight_change": Column(f"Frobenius norm of recurrent weights less initial ones; {_ONLY}", "", 0),
    "relative_weight_change": Column("weight_change over the norm of the initial recurrent weights", "", 0),
    "kernel_alignment": Column("alignment of the tangent kernels before and after training: 1 the same", "", 0, 1),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Change of weights, also relative to the initial ones, and kernel alignment."""
    return result[list(COLUMNS)].to_dataframe()[list(COLUMNS)].reindex(table.index)


ANALYSIS = Analysis(
    description="How far training moved networks from their initial weights, and how much it turned tangent kernels.",
    writes={"feature_learning": CONTRACT},
    run=run,
    over="networks",
    settings=FeatureLearningSettings,
    reads=("trials/test",),
    needs=("Connected",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
