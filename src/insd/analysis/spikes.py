"""How often the units of spiking networks spike, and the score of networks whose recurrent weights are shuffled."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.members import Member
    from insd.settings.config import Settings
    from insd.tasks import Task

SHARES = ("spike_share", "silent_share")
"""What is known of networks that spike."""
CONTRACT = Contract(
    {**dict.fromkeys(SHARES, ("network",)), "shuffled_score": ("network", "draw")},
    # Of networks that do not spike; of a score that is not a number.
    may_be_nan=frozenset({*SHARES, "shuffled_score"}),
)
"""What its file holds."""


class SpikesSettings(AnalysisSettings):
    """Spikes and shuffled weights; made only where the config has this section, which may be `{}`."""

    draws: Count = 10
    """Random orders of the recurrent weights."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("spikes")


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """Of each network on the test trials: the share of steps with a spike, over units, trials and times; the share of
    units that never spike; and the score with all entries of the recurrent weights in a random order, by draw.

    The shares are NaN for networks that do not spike.
    """
    rows = [_of_network(job.task, job.name, member, job.trials["test"], job.settings.draws) for member in job.members]
    return {
        "spikes": xr.Dataset(
            {
                **{name: ("network", np.array([row[0][name] for row in rows], float)) for name in SHARES},
                "shuffled_score": (
                    ("network", "draw"),
                    np.array([row[1] for row in rows], float).reshape(-1, job.settings.draws),
                ),
            },
            coords={"network": [member.label for member in job.members]},
        )
    }


def _of_network(
    task: "Task", name: str, member: "Member", trials: xr.Dataset, draws: int
) -> tuple[dict[str, float], np.ndarray]:
    """The shares of one network, and its scores with shuffled weights."""
    import torch

    from insd.bank import Bank
    from insd.evaluation.performance import CHUNK, chunked_outputs
    from insd.networks.base import Connected, load_networks
    from insd.samples import valid_steps

    assert member.network is not None
    networks, inputs = load_networks([member.network], trials.attrs["dt"]), Bank.from_trials(trials).inputs
    assert isinstance(networks, Connected)
    shares, spikes = dict.fromkeys(SHARES, float("nan")), getattr(networks, "spikes", None)
    if spikes is not None:
        valid = valid_steps(trials)
        with torch.no_grad():
            parts = [spikes(part[None])[0].transpose(0, 1) for part in inputs.split(CHUNK, dim=1)]
        by_unit = torch.cat(parts).double().numpy()[valid].mean(0)
        shares = {"spike_share": float(by_unit.mean()), "silent_share": float((by_unit == 0).mean())}
    weights = networks.recurrent_weights.detach().clone()
    stream = torch.Generator().manual_seed(random_seed("shuffled weights", name, member.label))
    scores = []
    for _ in range(draws):
        shuffled = weights.flatten()[torch.randperm(weights.numel(), generator=stream)].view_as(weights)
        networks.recurrent_weights.data.copy_(shuffled)
        scores.append(float(task.score(trials, chunked_outputs(networks, inputs).numpy())[0]))
    return shares, np.array(scores)


_ONLY = "only with `analysis.spikes`"
COLUMNS = {
    "spike_share": Column(
        f"share of steps with a spike, over units and test trials; empty for networks that do not spike; {_ONLY}",
        "",
        0,
        1,
    ),
    "silent_share": Column("share of units without a spike in any test trial; empty likewise", "", 0, 1),
    "shuffled_score": Column(
        "score on the test trials with the recurrent weights in a random order, mean of all draws; empty without one "
        f"matrix of them; {_ONLY}"
    ),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Both shares, and the mean score of shuffled networks."""
    found = result[list(SHARES)].assign(shuffled_score=result["shuffled_score"].mean("draw"))
    return found.to_dataframe()[list(COLUMNS)].reindex(table.index)


ANALYSIS = Analysis(
    description="Shares of spikes of spiking networks, and scores of networks with shuffled recurrent weights.",
    writes={"spikes": CONTRACT},
    run=run,
    over="networks",
    settings=SpikesSettings,
    reads=("trials/test",),
    needs=("Connected",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
    minutes=15,
)
"""What the workflow knows of this analysis."""
