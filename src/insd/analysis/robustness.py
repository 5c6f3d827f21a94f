"""Loss and score of all networks of a task under noise, damage, kicks and a finer time step."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.evaluation.conditions import PERTURBATIONS
from insd.settings.base import Count, NotNegative, Share

if TYPE_CHECKING:
    from insd.settings import config

CONTRACT = Contract(
    {
        **{
            f"{name}_{quantity}": ("network", *levels)
            for name, levels in PERTURBATIONS.items()
            for quantity in ("loss", "score")
        },
        **{
            f"{name}_{quantity}_blocks": ("network", *levels, "block")
            for name, levels in PERTURBATIONS.items()
            for quantity in ("loss", "score")
        },
        "kick_recovery": ("network", "kick_level", "space", "time_after"),
    },
    # A kick of size 0 has nothing to recover from, and not every architecture can be kicked, jittered or silenced. Few
    # trials do not fill all blocks.
    may_be_nan=frozenset(
        {"kick_recovery"}
        | {f"{name}_{quantity}_blocks" for name in PERTURBATIONS for quantity in ("loss", "score")}
        | {
            f"{name}_{quantity}"
            for name in ("jitter", "silence", "kick", "half_step")
            for quantity in ("loss", "score")
        }
    ),
    # Of networks that diverge.
    may_be_infinite=frozenset(
        f"{name}_{quantity}" for name in ("unperturbed", "noise") for quantity in ("loss", "score")
    ),
)
"""What its file holds."""


Levels = Annotated[list[NotNegative], Field(min_length=1)]
"""One or more numbers of at least 0."""


class RobustnessSettings(AnalysisSettings):
    """Perturbations of trained networks; the levels were fixed before any result was seen."""

    trials: Count = 128
    """Trials of the regime `test` on which networks are perturbed; at most `trials.evaluation`."""
    noise_levels: Levels = [0.05, 0.1, 0.2, 0.4, 0.8]
    """Private noise of the dynamics, sigma_rec."""
    jitter_levels: Levels = [0.05, 0.1, 0.2, 0.4, 0.8]
    """Change of each recurrent weight, over the standard deviation of the network's recurrent weights."""
    silenced_shares: Annotated[list[Share], Field(min_length=1)] = [0.02, 0.05, 0.1, 0.2, 0.4]
    """Share of the units that are silenced."""
    kick_levels: Levels = [0.1, 0.2, 0.5, 1.0]
    """Norm of a single kick of the state, over the root mean square norm of the network's state."""
    draws: Count = 10
    """Draws of changed weights and of silenced units."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.perturbations.robustness` on the first of the test trials."""
    from insd.evaluation.perturbations import robustness

    own = job.settings
    result = robustness(
        job.task,
        job.name,
        job.members,
        job.trials["test"].isel(trial=slice(own.trials)),
        noise_levels=own.noise_levels,
        jitter_levels=own.jitter_levels,
        silenced_shares=own.silenced_shares,
        kick_levels=own.kick_levels,
        draws=own.draws,
    )
    return {"robustness": result}


def problems(own: Any, settings: "config.Settings") -> Iterable[str]:
    """More trials than there are."""
    if own.trials > settings.trials.evaluation:
        yield f"analysis.robustness.trials = {own.trials}: at most trials.evaluation = {settings.trials.evaluation}"


COLUMNS = {
    "score_half_step": Column("score with half the time step", "that of `score`"),
    "solved_half_step": Column("whether score_half_step meets the criterion"),
    "kick_half_time": Column(
        "time after the smallest kick at which the distance to the unperturbed rates is first halved; inf if never",
        "s",
        0,
    ),
    "kick_left": Column(
        "share of the distance after that kick that is left at the end of the trial; above 1, the kick has grown", "", 0
    ),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """`score_half_step` and `solved_half_step`: score and criterion at half the time step, on the trials of the
    perturbations. `kick_half_time`: time in s after the smallest kick at which the distance to the unperturbed rates is
    first at half of what it was (infinite if it never is); `kick_left`: the share of it that is left at the end.
    """
    rows = {str(label): _perturbed(result.sel(network=label)) for label in result["network"].values}
    found = pd.DataFrame.from_dict(rows, orient="index").reindex(table.index)
    return found.assign(solved_half_step=found["solved_half_step"].fillna(False).astype(bool))


def _perturbed(perturbed: xr.Dataset) -> dict[str, float | bool]:
    """The columns of one network."""
    score = perturbed["half_step_score"]
    sign = 1 if score.attrs["higher_is_better"] else -1
    kicks = perturbed["kick_recovery"].sel(space="full")
    size = kicks["kick_level"].where(kicks["kick_level"] > 0).min()
    half_time = left = float("nan")
    if np.isfinite(size):
        distance = kicks.sel(kick_level=size)
        within = distance["time_after"].values[distance.values <= 0.5]
        half_time, left = float(within[0]) if within.size else float("inf"), float(distance[-1])
    return {
        "score_half_step": float(score),
        "solved_half_step": bool(sign * float(score) >= sign * score.attrs["criterion"]),
        "kick_half_time": half_time,
        "kick_left": left,
    }


ANALYSIS = Analysis(
    description="Loss and score of all networks of a task under noise, damage, kicks and a finer time step.",
    writes={"robustness": CONTRACT},
    run=run,
    over="networks",
    settings=RobustnessSettings,
    reads=("trials/test",),
    problems=problems,
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
