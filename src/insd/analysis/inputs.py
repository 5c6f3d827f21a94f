"""What the inputs alone predict of all networks of a task, and how similar networks are beyond that."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.kept import Pair
from insd.provenance import random_seed
from insd.settings.base import NotNegative

CONTRACT = Contract(
    {
        "r2_inputs": ("space", "network"),
        "r2_beyond": ("space", "predictor", "target"),
        "r2_beyond_shuffled": ("space", "predictor", "target"),
    },
    # The inputs may leave nothing, and activity may not vary.
    may_be_nan=frozenset({"r2_inputs", "r2_beyond", "r2_beyond_shuffled"}),
)
"""What its file holds."""


class InputsSettings(AnalysisSettings):
    """What the inputs alone predict."""

    time_constants: Annotated[list[NotNegative], Field(min_length=1)] = [0.0, 0.1, 0.3, 1.0, 3.0]
    """Time constants in s of the filtered copies of each input that are the regressors; 0 is the input itself."""


def compare(job: Job, pairs: Sequence[Pair]) -> None:
    """`insd.evaluation.inputs.compare_beyond` of the rates on the test trials."""
    from insd.evaluation.inputs import compare_beyond

    seed = random_seed("inputs", job.name)
    compare_beyond(job.members, pairs, job.trials["test"], job.settings.time_constants, seed, job.kept)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.inputs.beyond_inputs` of the rates on the test trials."""
    from insd.evaluation.inputs import beyond_inputs

    seed = random_seed("inputs", job.name)
    return {"inputs": beyond_inputs(job.members, job.trials["test"], job.settings.time_constants, seed, job.kept)}


COLUMNS = {
    "r2_null_inputs": Column("r² from the inputs alone, filtered, to null-space activity", "", 0, 1),
    "r2_null_beyond_inputs_to_reference": Column(
        "r2_null_to_reference of what the inputs leave unexplained; empty in round 0", "", 0, 1
    ),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """`r2_null_inputs`, what the inputs alone predict of a network's null-space activity, and, of deflated networks,
    `r2_null_beyond_inputs_to_reference`, null-space r2 to round 0 beyond the inputs.
    """
    null = result.sel(space="null")
    labels, references = table.index, table["reference_label"]
    found = pd.DataFrame({"r2_null_inputs": null["r2_inputs"].reindex(network=labels).values}, index=labels)
    beyond = null["r2_beyond"].reindex(predictor=labels, target=references.unique())
    pairs = {
        "predictor": xr.DataArray(labels.to_numpy(), dims="row"),
        "target": xr.DataArray(references.to_numpy(), dims="row"),
    }
    values = beyond.sel(pairs).values
    return found.assign(r2_null_beyond_inputs_to_reference=np.where(table["round"] > 0, values, np.nan))


ANALYSIS = Analysis(
    description="What filtered inputs predict of all networks of a task, and how similar networks are beyond that.",
    writes={"inputs": CONTRACT},
    run=run,
    over="pairs",
    compare=compare,
    settings=InputsSettings,
    reads=("trials/test",),
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=4000,
)
"""What the workflow knows of this analysis."""
