"""The task loss along the straight line between networks whose units are matched: are they in one valley?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.kept import Pair
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    {
        "loss": ("matching", "network", "network_to", "share"),
        "barrier": ("matching", "network", "network_to"),
        "weight_distance": ("matching", "network", "network_to"),
    },
    # There is no line between networks of different size, nonlinearity or time constant.
    may_be_nan=frozenset({"loss", "barrier", "weight_distance"}),
)
"""What its file holds."""


class LandscapeSettings(AnalysisSettings):
    """Loss between networks; made only where the config has this section, which may be `{}`."""

    trials: Count = 64
    """Trials of the regime `test` that the loss is of, and on which units are matched by their activity; all of them if
    there are fewer."""
    points: Annotated[int, Field(ge=3)] = 11
    """Points on each line, with both ends."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("landscape")


def compare(job: Job, pairs: Sequence[Pair]) -> None:
    """`insd.evaluation.landscape.compare` on the first of the test trials."""
    from insd.evaluation import landscape

    trials = job.trials["test"].isel(trial=slice(job.settings.trials))
    landscape.compare(job.task, job.members, pairs, trials, job.settings.points, job.kept)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.landscape.landscape` on the first of the test trials."""
    from insd.evaluation.landscape import landscape

    trials = job.trials["test"].isel(trial=slice(job.settings.trials))
    return {"landscape": landscape(job.task, job.members, trials, job.settings.points, job.kept)}


COLUMNS = {
    "barrier_to_reference": Column(
        "height of the loss between the network and its reference, the least over ways to match their units; empty in "
        "round 0; only with `analysis.landscape`",
        "",
        0,
    )
}
"""What its column of `networks.csv` holds."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """`barrier_to_reference`: the barrier between a deflated network and its reference, the least over matchings."""
    least = result["barrier"].min("matching")
    least = least.reindex(network=table.index, network_to=table["reference_label"].unique())
    to_reference = {"network": table.index.to_series(), "network_to": table["reference_label"]}
    values = least.sel({name: xr.DataArray(list(labels), dims="row") for name, labels in to_reference.items()})
    return pd.DataFrame({"barrier_to_reference": values.where(table["round"].to_numpy() > 0).values}, index=table.index)


ANALYSIS = Analysis(
    description="Loss along the lines between networks with matched units, and its barriers.",
    writes={"landscape": CONTRACT},
    run=run,
    over="pairs",
    compare=compare,
    settings=LandscapeSettings,
    reads=("trials/test",),
    needs=("Additive",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
