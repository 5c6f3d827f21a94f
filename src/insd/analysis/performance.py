"""Loss and score of all networks of a task in the regime `test`, every harder one, and a grid of them."""

from collections.abc import Mapping

import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.datasets import Contract
from insd.settings.base import Count

CONTRACT = Contract(
    {
        "loss": ("network", "regime"),
        "score": ("network", "regime"),
        "grid_loss": ("network", "noise", "duration"),
        "grid_score": ("network", "noise", "duration"),
        "loss_blocks": ("network", "regime", "block"),
        "score_blocks": ("network", "regime", "block"),
        "grid_loss_blocks": ("network", "noise", "duration", "block"),
        "grid_score_blocks": ("network", "noise", "duration", "block"),
    },
    optional={"floor": ("regime",), "grid_floor": ("noise", "duration")},
    # Tasks whose ideal observer is not known; blocks that few trials do not fill, or that have no score.
    may_be_nan=frozenset(
        {"floor", "grid_floor", "loss_blocks", "score_blocks", "grid_loss_blocks", "grid_score_blocks"}
    ),
    # Of networks that diverge.
    may_be_infinite=frozenset({"loss", "score", "grid_loss", "grid_score"}),
)
"""What its file holds."""


class PerformanceSettings(AnalysisSettings):
    """Loss and score in harder regimes."""

    grid_trials: Count = 256
    """Trials at each point of a task's grid of noise and duration."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.performance.performance` on the trials of all regimes but `train`."""
    from insd.evaluation.performance import performance

    return {"performance": performance(job.task, job.name, job.members, job.trials, job.settings.grid_trials)}


ANALYSIS = Analysis(
    description="Loss and score of all networks of a task in the regime `test`, every harder one, and a grid of them.",
    writes={"performance": CONTRACT},
    run=run,
    over="networks",
    settings=PerformanceSettings,
    reads=("trials/evaluation",),
)
"""What the workflow knows of this analysis."""
