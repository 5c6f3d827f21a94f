"""Linear and nonlinear decoding of the task variables at a few times."""

from collections.abc import Mapping
from typing import Annotated

import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Job, folds_within_trials
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

CONTRACT = Contract(
    {"score": ("network", "variable", "decoder", "time"), "chance": ("variable",)},
    # Where too many trials have ended, or a score has no value.
    may_be_nan=frozenset({"score"}),
)
"""What its file holds."""


class KernelDecodingSettings(AnalysisSettings):
    """Linear and nonlinear decoding at a few times."""

    times: Count = 8
    """Times, evenly spaced over the trial, at which decoders are trained and tested."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-validation over trials."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.kernel_decoding.kernel_decoding` of the rates on the test trials."""
    from insd.evaluation.kernel_decoding import kernel_decoding

    seed, own = random_seed("kernel decoding", job.name), job.settings
    found = kernel_decoding(job.members, job.task, job.trials["test"], seed, own.times, own.folds)
    return {"kernel_decoding": found}


ANALYSIS = Analysis(
    description="Linear and nonlinear decoding of the task variables at a few times.",
    writes={"kernel_decoding": CONTRACT},
    run=run,
    settings=KernelDecodingSettings,
    problems=folds_within_trials("kernel_decoding"),
    reads=("trials/test",),
    minutes=60,
)
"""What the workflow knows of this analysis."""
