"""Distance of the recurrent weights of networks of a task, the least over all orders of their units."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.datasets import Contract
from insd.kept import Pair
from insd.provenance import random_seed
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

VARIABLES = ("distance", "distance_per_weight", "relative_distance", "unmatched_distance", "spread")
"""What is known of each pair."""
# Networks of different sizes, and pairs that were not asked for.
CONTRACT = Contract(dict.fromkeys(VARIABLES, ("network", "network_to")), may_be_nan=frozenset(VARIABLES))
"""What its file holds."""


class WeightDistanceSettings(AnalysisSettings):
    """Distance of recurrent weights; made only where the config has this section, which may be `{}`."""

    pairs: Literal["within", "all"] = "within"
    """`within`: pairs of networks of one population and round; `all`: all pairs of a task."""
    starts: Count = 5
    """Starts of the search for the best order of units of each pair."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("weight_distance")


def compare(job: Job, pairs: Sequence[Pair]) -> None:
    """`insd.evaluation.weight_distance.compare` of some pairs."""
    from insd.evaluation import weight_distance

    own, seed = job.settings, random_seed("weight distance", job.name)
    weight_distance.compare(job.members, pairs, own.starts, own.pairs == "within", seed, job.kept)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.weight_distance.weight_distances` of all networks."""
    from insd.evaluation.weight_distance import weight_distances

    own, seed = job.settings, random_seed("weight distance", job.name)
    return {"weight_distance": weight_distances(job.members, own.starts, own.pairs == "within", seed, job.kept)}


ANALYSIS = Analysis(
    description="Distance of the recurrent weights of networks, the least over all orders of their units.",
    writes={"weight_distance": CONTRACT},
    run=run,
    over="pairs",
    compare=compare,
    settings=WeightDistanceSettings,
    chooses=("populations", "pairs"),
    needs=("Connected",),
    applies=applies,
    minutes=60,
)
"""What the workflow knows of this analysis."""
