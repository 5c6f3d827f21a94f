"""Which errors networks make whose responses are a distribution, and where their memory holds the items."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

BY_COMPONENT = ("weight", "weight_low", "weight_high", "expected_weight")
"""Variables of the mixture, by its components."""
BY_NETWORK = ("concentration", "bic_without_swaps", "length", "alignment_rise", "item_alignment_rise")
"""Variables with one number per network."""
CONTRACT = Contract(
    {
        **dict.fromkeys(BY_COMPONENT, ("network", "component")),
        **dict.fromkeys(BY_NETWORK, ("network",)),
        "error_density": ("network", "error"),
        "length_ratio": ("network", "apart"),
        **dict.fromkeys(("swaps", "expected_swaps"), ("network", "distance")),
        **dict.fromkeys(("alignment", "item_alignment"), ("network", "time")),
        "plane_share": ("network", "item", "time"),
        "decoded": ("network", "reported", "item", "time"),
    },
    # What is not fitted has no interval; the rest is of two items, of features, or of trials with swaps.
    may_be_nan=frozenset(
        {"weight_low", "weight_high", "length_ratio", "swaps", "expected_swaps"}
        | {"alignment", "item_alignment", "plane_share", "alignment_rise", "item_alignment_rise", "decoded"}
    ),
)
"""What its file holds."""


class BehaviourSettings(AnalysisSettings):
    """Errors of networks whose responses are a distribution."""

    trials: Count = 16384
    """Fresh trials of the regime `test` whose errors are counted."""
    resamples: Annotated[int, Field(ge=0)] = 200
    """Of the bootstrap over trials that gives the intervals of the weights."""
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Of the cross-validation by which items are decoded from memory."""


def applies(settings: "Settings", task: str) -> bool:
    """To tasks whose responses are a distribution."""
    from insd.tasks.denoising import Denoising

    return isinstance(settings.task(task), Denoising)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.behaviour` of one network: errors on fresh trials, memory on those of `test.nc`, and the rise of
    both alignments from the cue to the report.
    """
    from insd.evaluation.behaviour import decoded_items, errors_of, planes_of
    from insd.evaluation.performance import outputs_of
    from insd.tasks.denoising import Denoising

    task, trials = job.task, job.trials["test"]
    assert isinstance(task, Denoising)
    (member,) = job.members
    assert member.network is not None
    fresh = task.sample("test", job.settings.trials, random_seed("behaviour", job.name))
    ((_, (simulated,)),) = outputs_of([member.network], fresh)
    found = errors_of(simulated[:, -1].numpy(), fresh, task.radius, job.settings.resamples, member.seed)
    times = trials["time"].values
    if "angle_2" in trials.coords and "angle_3" not in trials.coords:
        memory, outputs = member.null_rates, member.read(["outputs"])["outputs"].values
        planes = planes_of(memory, trials).assign_coords(time=times)
        planes["decoded"] = decoded_items(memory, outputs[:, -1], trials, job.settings.folds, member.seed)
    else:
        empty, names = np.full((2, 2, len(times)), np.nan), ["cued", "other"]
        planes = xr.Dataset(
            {
                **dict.fromkeys(("alignment", "item_alignment"), ("time", empty[0, 0])),
                "plane_share": (("item", "time"), empty[0]),
                "decoded": (("reported", "item", "time"), empty),
            },
            coords={"reported": names, "item": names, "time": times},
        )
    before, after = task.steps(task.stimulus) + task.steps(task.delay) - 1, task.report_begins - 1
    for name in ("alignment", "item_alignment"):
        planes[f"{name}_rise"] = planes[name][after].drop_vars("time") - planes[name][before].drop_vars("time")
    return {"behaviour": found.merge(planes).expand_dims(network=[member.label])}


ANALYSIS = Analysis(
    description="Which errors networks make whose responses are a distribution, and where memory holds the items.",
    writes={"behaviour": CONTRACT},
    run=run,
    over="networks",
    settings=BehaviourSettings,
    reads=("trials/test",),
    needs=("Networks",),
    applies=applies,
)
"""What the workflow knows of this analysis."""
