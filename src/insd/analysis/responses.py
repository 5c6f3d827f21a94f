"""How each measure of similarity responds to irrelevant dimensions and to scale, on a reference's activity."""

from collections.abc import Mapping

import xarray as xr

from insd.analysis.base import Analysis, Job
from insd.analysis.similarity import SimilaritySettings, measure_modules
from insd.datasets import Contract
from insd.provenance import random_seed

# Changes of fewer levels than the others end in NaN.
CONTRACT = Contract(
    {
        "value": ("change", "measure", "level"),
        "amount": ("change", "level"),
        "long_name": ("measure",),
        "kind": ("measure",),
        "highest": ("measure",),
    },
    # Distances need have no largest value.
    may_be_nan=frozenset({"value", "amount", "highest"}),
    text=frozenset({"long_name", "kind"}),
)
"""What its file holds."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.measures.responses.responses` of one reference."""
    from insd.measures.base import find_measures
    from insd.measures.responses import responses

    seed = random_seed("responses", job.name)
    return {"responses": responses(job.members[0].rates, find_measures(job.settings.measures), seed)}


ANALYSIS = Analysis(
    description="How each measure of similarity responds to irrelevant dimensions and to scale.",
    writes={"responses": CONTRACT},
    run=run,
    settings=SimilaritySettings,
    section="similarity",
    modules=measure_modules,
    networks="reference",
    memory_mb=1500,
    minutes=10,
)
"""What the workflow knows of this analysis."""
