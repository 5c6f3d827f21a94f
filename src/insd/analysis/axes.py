"""The axes along which task variables are coded: how they turn, whether the output sees them, and the input weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import xarray as xr

from insd.analysis.base import Analysis, Job
from insd.datasets import Contract

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    {
        "rotation": ("network", "variable", "lag"),
        "output_relevance": ("network", "variable", "lag"),
        "weight_angle": ("network", "principal"),
    },
    # Networks whose inputs are gated have no input weights.
    may_be_nan=frozenset({"rotation", "output_relevance", "weight_angle"}),
)
"""What its file holds."""


def applies(settings: "Settings", task: str) -> bool:
    """Tasks that name task variables other than categories, with a delay between `delay_time` and `go_time`.

    Of one trial, no variables are taken from the conditions.
    """
    found = settings.task(task)
    trials = found.sample("test", 1, 0)
    named = any(variable.kind != "category" for variable in found.variables(trials).values())
    return named and {"delay_time", "go_time"} <= set(trials.coords)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.axes.axes` of the rates on the test trials."""
    from insd.evaluation.axes import NoDelayError, axes

    try:
        return {"axes": axes(job.members, job.task, job.trials["test"])}
    except NoDelayError as error:
        raise NoDelayError(
            f"tasks.{job.name}: {error} of the regime test, and axes are those of delays; let the task give both times "
            "in s in some trials, or leave one of these conditions out"
        ) from None


ANALYSIS = Analysis(
    description="The axes along which task variables are coded: how they turn, whether outputs see them, and weights.",
    writes={"axes": CONTRACT},
    run=run,
    reads=("trials/test",),
    applies=applies,
    minutes=15,
)
"""What the workflow knows of this analysis."""
