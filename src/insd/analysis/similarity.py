"""Linear predictivity and the usual measures of similarity between all networks of a task."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from insd import plugins
from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.cohorts import network_label
from insd.datasets import Contract
from insd.errors import InsdError
from insd.kept import Pair
from insd.provenance import random_seed
from insd.settings.base import MeasureName

if TYPE_CHECKING:
    from insd.settings import config

PREDICTIVITY = Contract(
    dict.fromkeys(("r2", "r2_shuffled", "r2_shuffled_residual"), ("space", "predictor", "target")),
    # A network whose activity does not vary has nothing to predict.
    may_be_nan=frozenset({"r2", "r2_shuffled", "r2_shuffled_residual"}),
)
"""What `predictivity.nc` holds."""

# A network whose activity does not vary is like none.
SIMILARITY = Contract({"value": ("measure", "network", "network_to")}, may_be_nan=frozenset({"value"}))
"""What `similarity.nc` holds."""
MEASURES = ("cca", "cka", "procrustes", "rsa", "svcca")
"""The measures in `similarity.nc` unless the config names others: said here, so that a further file of the library runs
nothing again."""


class SimilaritySettings(AnalysisSettings):
    """Measures of similarity between all networks of a task."""

    measures: Annotated[list[MeasureName], Field(min_length=1)] = list(MEASURES)
    """The measures in `similarity.nc` and `responses.nc`: names of this library (docs/analyses/similarity.md) or
    `module:Class`, a measure of your own."""


def compare(job: Job, pairs: Sequence[Pair]) -> None:
    """`insd.measures.pairs.compare` of the rates on the test trials."""
    from insd.measures import pairs as of_pairs
    from insd.measures.base import find_measures

    measures, named = find_measures(job.settings.measures), set(chain(*pairs))
    members = [member for member in job.members if member.label in named]
    prepared = {member.label: of_pairs.prepare(member.rates, member.output_weights, measures) for member in members}
    of_pairs.compare(prepared, pairs, measures, random_seed("shuffle", job.name), job.kept)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.measures.pairs` of the rates on the test trials."""
    from insd.measures.base import find_measures
    from insd.measures.pairs import joined

    labels = [member.label for member in job.members]
    if missing := job.kept.missing(labels):
        compare(job, missing)
    predictivity, similarities = joined(labels, find_measures(job.settings.measures), job.kept)
    return {"predictivity": predictivity, "similarity": similarities}


def problems(own: Any, settings: "config.Settings") -> Iterable[str]:
    """Measures that are not there, or that have the same name."""
    names = own.measures
    try:
        for name in names:
            plugins.module_of("measure", name)
        # Measures of this library are known without importing them.
        if len(set(names)) < len(names) or any(":" in name for name in names):
            from insd.measures.base import find_measures

            find_measures(names)
    except InsdError as error:
        yield f"analysis.similarity.measures: {error}"


def measure_modules(own: Any) -> list[str]:
    """The modules of the measures that the settings name."""
    return [plugins.module_of("measure", name) for name in own.measures]


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Of deflated networks, null-space r2 to round 0, `r2_null_to_reference`, and to whichever earlier round is
    predicted best, `r2_null_max_to_earlier`, each next to the trial-shuffled baseline of the same pair,
    `r2_null_shuffled_to_reference` and `r2_null_shuffled_max_to_earlier`; and `r2_null_shuffled_residual_to_reference`,
    the baseline without the time course that all trials share.
    """
    names = ("r2", "r2_shuffled", "r2_shuffled_residual")
    null = result.sel(space="null")
    wanted = list(COLUMNS)
    found = pd.DataFrame(np.nan, index=table.index, columns=wanted)
    known = set(result["predictor"].values.tolist())
    for label, row in table[table["round"] > 0].iterrows():
        own = [network_label(row["population"], row["seed"], number) for number in range(1, row["round"])]
        earlier = [one for one in (row["reference_label"], *own) if one in known]
        if label not in known or not earlier:
            continue
        r2 = {one: [float(null[name].sel(predictor=label, target=one)) for name in names] for one in earlier}
        if row["reference_label"] in r2:
            found.loc[label, wanted[:3]] = r2[row["reference_label"]]
        nearest = max(r2.values(), key=lambda values: values[0])
        found.loc[label, wanted[3:]] = nearest[:2]
    return found


COLUMNS = {
    "r2_null_to_reference": Column("null-space r², network → reference; empty in round 0", "", 0, 1),
    "r2_null_shuffled_to_reference": Column(
        "r2_null_to_reference with the trials of the reference shuffled: a baseline", "", 0, 1
    ),
    "r2_null_shuffled_residual_to_reference": Column(
        "r2_null_shuffled_to_reference without the time course that all trials share", "", 0, 1
    ),
    "r2_null_max_to_earlier": Column(
        "largest null-space r², network → any earlier network of its chain; empty in round 0", "", 0, 1
    ),
    "r2_null_shuffled_max_to_earlier": Column(
        "r2_null_max_to_earlier with the trials of that network shuffled: a baseline", "", 0, 1
    ),
}
"""What its columns of `networks.csv` hold."""

ANALYSIS = Analysis(
    description="Linear predictivity and the usual measures of similarity between all networks of a task.",
    writes={"predictivity": PREDICTIVITY, "similarity": SIMILARITY},
    run=run,
    over="pairs",
    compare=compare,
    settings=SimilaritySettings,
    problems=problems,
    modules=measure_modules,
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=4000,
)
"""What the workflow knows of this analysis."""
