"""Decoding of the task variables from the course of activity, by its signature, and from its state."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Job, folds_within_trials
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    {"score": ("network", "variable", "decoder", "time"), "chance": ("variable",)},
    # Where too many trials have ended, or a score has no value.
    may_be_nan=frozenset({"score"}),
)
"""What its file holds."""
MOST_NUMBERS = 20_000
"""Numbers of a signature: more would take gigabytes for a few hundred trials."""


class SignatureDecodingSettings(AnalysisSettings):
    """Decoding by signatures; made only where the config has this section, which may be `{}`."""

    times: Count = 4
    """Times, evenly spaced over the trial, at which decoders are trained and tested."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-validation over trials."""
    components: Count = 3
    """Leading principal components of the activity that are read."""
    depth: Annotated[int, Field(ge=1, le=5)] = 3
    """Levels of the signature of time and components."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("signature_decoding")


def problems(own: SignatureDecodingSettings, settings: "Settings") -> Iterable[str]:
    """More folds than trials, and signatures of too many numbers."""
    yield from folds_within_trials("signature_decoding")(own, settings)
    numbers = sum((own.components + 1) ** level for level in range(1, own.depth + 1))
    if numbers > MOST_NUMBERS:
        yield (
            f"analysis.signature_decoding.components = {own.components} and depth = {own.depth}: signatures of "
            f"{numbers} numbers, at most {MOST_NUMBERS}; lower one of them"
        )


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.signature_decoding.signature_decoding` of the rates on the test trials."""
    from insd.evaluation.signature_decoding import signature_decoding

    seed, own = random_seed("signature decoding", job.name), job.settings
    trials, numbers = job.trials["test"], (own.times, own.folds, own.components, own.depth)
    return {"signature_decoding": signature_decoding(job.members, job.task, trials, seed, *numbers)}


ANALYSIS = Analysis(
    description="Decoding of the task variables from the course of activity, by its signature, and from its state.",
    writes={"signature_decoding": CONTRACT},
    run=run,
    over="networks",
    settings=SignatureDecodingSettings,
    problems=problems,
    reads=("trials/test",),
    applies=applies,
    minutes=60,
)
"""What the workflow knows of this analysis."""
