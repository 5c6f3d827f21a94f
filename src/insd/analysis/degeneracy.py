"""How much the networks of a population differ: in behaviour, in dynamics, in weights and in representation."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.datasets import Contract
from insd.errors import InsdError
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings import config

NUMBERS = ("loss", "test_loss", "weight_change", "relative_weight_change", "kernel_alignment")
"""Means and medians of each group."""
CONTRACT = Contract(
    {
        "value": ("level", "group"),
        "interval": ("level", "group", "bound"),
        "draws": ("level", "group", "resample"),
        "null": ("group", "draw"),
        "test_loss_range": ("group", "bound"),
        **dict.fromkeys((*NUMBERS, "networks", "solved", "pairs"), ("group",)),
    },
    # Groups in which fewer than two networks solve the task, and what an analysis does not know of networks.
    may_be_nan=frozenset({"value", "interval", "draws", "null", "test_loss_range", *NUMBERS}),
)
"""What its file holds."""


class DegeneracySettings(AnalysisSettings):
    """Degeneracy of the networks of each population and round; made only where the config has this section, which may
    be `{}`."""

    regime: str = "long"
    """The regime in which behaviours are compared: one whose delay or trial is longer than in training."""
    null_networks: Count = 5
    """Networks of each population and round that the null distribution of dynamical similarity is of."""
    null_draws: Count = 10
    """Draws of the null distribution from each of these networks."""
    resamples: Count = 1000
    """Resamples of the networks, for intervals."""


def applies(settings: "config.Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("degeneracy")


def more(settings: "config.Settings", task: str) -> dict[str, Any]:
    """How dynamics are compared, and the confidence of intervals."""
    dsa = settings.analysis_settings("dsa").model_dump(exclude={"populations"})
    return {"dsa": dsa, "confidence": settings.analysis.comparisons.confidence}


def problems(own: Any, settings: "config.Settings") -> Iterable[str]:
    """One seed of each population, a regime that a task does not have, and no measure of representations, where the
    analysis is made."""
    if not settings.has_analysis("degeneracy"):
        return
    chosen = [name for name in own.populations or settings.populations if name in settings.populations]
    if chosen and all(settings.population(name).seeds < 2 for name in chosen):
        yield (
            "analysis.degeneracy: it compares networks that differ in their seeds alone, and all its populations have "
            "one seed; set `seeds` to 2 or more, or leave the section out"
        )
    for task in settings.tasks:
        try:
            known = [name for name in settings.task(task).regime_names() if name != "train"]
        except InsdError:  # which is refused for itself
            continue
        if own.regime not in known:
            yield (
                f"analysis.degeneracy.regime = {own.regime!r}: the task {task} has the regimes {', '.join(known)}; "
                f"choose one of them, or give the task a regime of that name (tasks.{task}.parameters.regimes)"
            )
    if "svcca" not in settings.analysis_settings("similarity").measures:
        yield "analysis.similarity.measures: degeneracy compares representations by svcca; add it to the list"


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.degeneracy.degeneracy` of all networks, from what other analyses found of them."""
    from insd.dynamics.settings import DynamicalSimilarity
    from insd.evaluation.degeneracy import degeneracy, known_of

    own, labels = job.settings, [member.label for member in job.members]
    known = known_of(labels, job.analyses, own.regime, job.task.solved)
    dsa, null = DynamicalSimilarity.model_validate(job.more["dsa"]), (own.null_networks, own.null_draws)
    result = degeneracy(job.name, job.members, known, dsa, null, own.resamples, job.more["confidence"])
    return {"degeneracy": result.assign_attrs(regime=own.regime)}


ANALYSIS = Analysis(
    description="How much the networks of each population differ in behaviour, dynamics, weights and representation.",
    writes={"degeneracy": CONTRACT},
    run=run,
    settings=DegeneracySettings,
    reads=(
        *("analysis/performance", "analysis/dsa", "analysis/weight_distance", "analysis/similarity"),
        "analysis/feature_learning",
    ),
    applies=applies,
    more=more,
    problems=problems,
    memory_mb=3000,
    minutes=60,
)
"""What the workflow knows of this analysis."""
