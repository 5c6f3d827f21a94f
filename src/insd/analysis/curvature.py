"""How the task loss curves around a network: in how many directions, how much, and in how many hardly at all."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    dict.fromkeys(("top_eigenvalue", "trace", "participation_ratio", "sharpness"), ("network",))
    | dict.fromkeys(("flat_share", "flat_share_error"), ("network", "threshold"))
)
"""What its file holds."""
THRESHOLDS = tuple(10.0**power for power in range(-7, -1))
"""Of the flat share, over the largest eigenvalue: those of arXiv:2609.38081."""
SHOWN = 1e-4
"""The threshold of the flat share in `networks.csv`."""


class CurvatureSettings(AnalysisSettings):
    """Curvature of the loss at each network; made only where the config has this section, which may be `{}`."""

    trials: Count = 32
    """Trials of the regime `test` that the loss is of; all of them if there are fewer."""
    steps: Count = 200
    """Products with the Gauss-Newton matrix for each network: the more, the smaller the eigenvalues that are told from
    0."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("curvature")


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.curvature.curvature` of each network on the first of the test trials."""
    from insd.evaluation.curvature import curvature

    trials = job.trials["test"].isel(trial=slice(job.settings.trials))
    rows = []
    for member in job.members:
        assert member.network is not None
        seed = random_seed("curvature", job.name, member.label)
        rows.append(curvature(member.network, job.task, trials, THRESHOLDS, job.settings.steps, seed))
    sizes = {"network": len(rows), "threshold": len(THRESHOLDS)}
    found = {
        name: (dims, np.array([row[name] for row in rows], float).reshape([sizes[along] for along in dims]))
        for name, dims in CONTRACT.variables.items()
    }
    labels = [member.label for member in job.members]
    return {"curvature": xr.Dataset(found, {"network": labels, "threshold": list(THRESHOLDS)})}


COLUMNS = {
    "top_eigenvalue": Column(
        "largest eigenvalue of the loss's Gauss-Newton matrix; this and the next three only with `analysis.curvature`",
        "",
        0,
    ),
    "curved_directions": Column("participation ratio of its eigenvalues", "", 1),
    "flat_share": Column(f"share of its eigenvalues that are at most {SHOWN:g} of the largest", "", 0, 1),
    "sharpness": Column("largest eigenvalue of the loss's Hessian"),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Top eigenvalue, participation ratio, the flat share at one threshold, and sharpness."""
    names = {"top_eigenvalue": "top_eigenvalue", "curved_directions": "participation_ratio", "sharpness": "sharpness"}
    found = {column: result[name].to_series() for column, name in names.items()}
    found["flat_share"] = result["flat_share"].sel(threshold=SHOWN, method="nearest", drop=True).to_series()
    return pd.DataFrame(found).reindex(table.index)[list(COLUMNS)]


ANALYSIS = Analysis(
    description="Curvature of the task loss at all networks of a task: the spectrum of its Gauss-Newton matrix.",
    writes={"curvature": CONTRACT},
    run=run,
    over="networks",
    settings=CurvatureSettings,
    reads=("trials/test",),
    needs=("Flowing",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
