"""What becomes of networks that are trained further on the task alone: do they stay, or slide back to the reference?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.cohorts import UNTRAINED
from insd.datasets import Contract
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.members import Member
    from insd.settings.config import Settings
    from insd.settings.recipe import Recipe

CONTRACT = Contract(
    dict.fromkeys(("task_loss", "score", "weight_distance"), ("network", "iteration"))
    | dict.fromkeys(("n_stable_fixed_points", "n_cycles"), ("network", "iteration"))
    | dict.fromkeys(("r2_to_itself", "r2_from_itself"), ("network", "iteration"))
    | dict.fromkeys(("r2_to_reference", "r2_from_reference"), ("network", "reference", "iteration")),
    # A network whose activity does not vary has nothing to predict.
    may_be_nan=frozenset({"r2_to_itself", "r2_from_itself", "r2_to_reference", "r2_from_reference"}),
)
"""What its file holds."""


class StabilitySettings(AnalysisSettings):
    """Further training of each network on the task loss alone; made only where the config has this section, which may
    be `{}`. It trains every network that it analyses: name `populations`."""

    iterations: Annotated[int, Field(ge=8)] = 8000
    """Iterations of further training. Networks are looked at after 0, 1/8, 1/4, 1/2 and all of them."""
    seeds: Count | None = None
    """How many seeds of each population are analysed, the first ones; all without it."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("stability")


def more(settings: "Settings", task: str) -> dict[str, Any]:
    """The training of networks that were not trained here, by the `defaults` of the config, and how fixed points are
    sought.
    """
    layers = [settings.defaults, *([settings.defaults.by_task[task]] if task in settings.defaults.by_task else [])]
    training = {key: value for one in layers for key, value in one.training.model_dump(exclude_unset=True).items()}
    noise = {key: value for one in layers for key, value in one.network.items() if key == "recurrent_noise"}
    search = settings.analysis_settings("fixed_points").model_dump(exclude={"populations"})
    return {"recipe": {"training": training, "network": noise}, "fixed_points": search}


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.stability.stability` of all networks that were trained, of the seeds that are analysed."""
    from insd.dynamics.settings import FixedPoints
    from insd.evaluation.stability import stability
    from insd.settings.recipe import Recipe

    def recipe_of(member: "Member") -> "Recipe":
        """Its own; of walks, and of networks from elsewhere, that of the defaults."""
        own = member.settings["recipe"]
        made = own if "network" in own else job.more["recipe"]
        return Recipe.model_validate({key: made[key] for key in ("network", "training") if key in made})

    seeds = job.settings.seeds
    members = [one for one in job.members if one.role != UNTRAINED and (seeds is None or one.seed < seeds)]
    search = FixedPoints.model_validate(job.more.get("fixed_points", {}))
    trials = job.trials["train"], job.trials["test"]
    return {
        "stability": stability(
            *(job.task, job.name, members, *trials, recipe_of), job.settings.iterations, search, job.kept
        )
    }


_AFTER = "after further training on the task alone"
COLUMNS = {
    "test_loss_after": Column(
        f"task loss on the regime test {_AFTER}; this and the next six only with `analysis.stability`", "", 0
    ),
    "r2_null_to_itself_after": Column(f"null-space r², network {_AFTER} → itself before it", "", 0, 1),
    "r2_null_to_reference_after": Column(
        f"null-space r², network {_AFTER} → reference before it; empty in round 0", "", 0, 1
    ),
    "r2_null_from_reference_after": Column(
        f"null-space r², reference before it → network {_AFTER}; empty in round 0", "", 0, 1
    ),
    "weight_distance_after": Column(
        f"distance of all weights {_AFTER} from those before it: 0 the same, 1 orthogonal", "", 0, round(2**0.5, 4)
    ),
    "n_stable_fixed_points_after": Column(f"stable fixed points {_AFTER}, over all static inputs", "", 0),
    "n_cycles_after": Column(f"limit cycles {_AFTER}, over all static inputs", "", 0),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """The end of further training."""
    end = result.isel(iteration=-1)
    names = ("task_loss", "r2_to_itself", "weight_distance", "n_stable_fixed_points", "n_cycles")
    found = pd.DataFrame({name: end[name].to_series() for name in names}).reindex(table.index)
    found = found.set_axis([name for name in COLUMNS if "reference" not in name], axis=1)
    pairs = {"network": table.index.to_series(), "reference": table["reference_label"]}
    rows = {name: xr.DataArray(list(labels), dims="row") for name, labels in pairs.items()}
    for way in ("to", "from"):
        r2 = end[f"r2_{way}_reference"].reindex(network=table.index, reference=table["reference_label"].unique())
        found[f"r2_null_{way}_reference_after"] = np.where(table["round"] > 0, r2.sel(rows).values, np.nan)
    return found[list(COLUMNS)]


ANALYSIS = Analysis(
    description="What becomes of networks that are trained further on the task alone: loss, likeness, fixed points.",
    writes={"stability": CONTRACT},
    run=run,
    over="pairs",
    settings=StabilitySettings,
    reads=("trials/train", "trials/test"),
    chooses=("populations", "seeds"),
    needs=("Flowing",),
    applies=applies,
    more=more,
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=4000,
    minutes=720,
)
"""What the workflow knows of this analysis."""
