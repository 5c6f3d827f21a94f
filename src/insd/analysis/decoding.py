"""Cross-validated decoding of the task variables, at each time and from one time to another."""

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job, folds_within_trials
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

CONTRACT = Contract(
    {
        "score": ("network", "variable", "time", "time_to"),
        "score_null": ("network", "variable", "time", "time_to"),
        "score_shuffled": ("network", "variable", "time"),
        "chance": ("variable",),
    },
    # Where too many trials have ended.
    may_be_nan=frozenset({"score", "score_null", "score_shuffled"}),
)
"""What its file holds."""


_AT_END = "decoding at the end of the trial, from chance (0) to perfect (1), mean over task variables"
COLUMNS = {
    "decoded_at_end": Column(f"{_AT_END}; empty where the task has none", "", None, 1),
    "decoded_null_at_end": Column(f"the same from the null space of the readout: {_AT_END}", "", None, 1),
}
"""The columns of `networks.csv`."""


class DecodingSettings(AnalysisSettings):
    """Decoding of the task variables from activity."""

    time_stride: Count = 3
    """Stride, in time steps, at which decoders are trained and tested."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-validation over trials."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.decoding.decoding` of the rates on the test trials."""
    from insd.evaluation.decoding import decoding

    seed, own = random_seed("decoding", job.name), job.settings
    return {"decoding": decoding(job.members, job.task, job.trials["test"], seed, own.time_stride, own.folds)}


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """`decoded_at_end` from all activity, and `decoded_null_at_end` from that in null space: the score of decoders at
    the last time of the trial, as a share of the way from chance to a perfect score, averaged over the task variables.

    Memory that is in the first and not in the second has moved into what the readout sees.
    """
    found = pd.DataFrame(index=table.index)
    for name, scores in zip(COLUMNS, ("score", "score_null"), strict=True):
        same = result[scores].isel(time=-1, time_to=-1)
        shares = (same - result["chance"]) / (1 - result["chance"])
        found[name] = shares.mean("variable").reindex(network=table.index).values
    return found


ANALYSIS = Analysis(
    description="Cross-validated decoding of the task variables, at each time and from one time to another.",
    writes={"decoding": CONTRACT},
    run=run,
    over="networks",
    settings=DecodingSettings,
    problems=folds_within_trials("decoding"),
    reads=("trials/test",),
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
