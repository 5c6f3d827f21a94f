"""How many equilibria networks have, and how close the rates of spiking networks of their weights come to them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    {
        "n_equilibria": ("network", "condition"),
        "share_lost": ("network", "condition"),
        "contraction": ("network",),
        "if_error": ("network", "step"),
        "lif_error": ("network", "step"),
    }
)
"""What its file holds."""


class EquilibriaSettings(AnalysisSettings):
    """Equilibria of networks of the architecture `implicit`; made only where the config has this section, which may be
    `{}`."""

    starts: Count = 512
    """Random rates from which fixed points are sought, for each network and static input."""
    trials: Count = 32
    """Trials of the regime `test` whose last inputs spiking networks are shown; all of them if there are fewer."""
    steps: Annotated[list[Count], Field(min_length=1)] = [30, 100, 1000]
    """Numbers of steps after which the rates of spiking networks are compared with the equilibrium."""
    leak: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """What leaky units keep of their potential in a step (Xiao et al. 2021)."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("equilibria")


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.equilibria.equilibria` of each network that has equilibria; others are not in the file."""
    from insd.evaluation.equilibria import equilibria, settles

    own, inputs = job.settings, job.task.static_inputs()
    trials = job.trials["test"].isel(trial=slice(own.trials))
    labels, rows = [], []
    for member in job.members:
        assert member.network is not None
        if settles(member.network):
            seed = random_seed("equilibria", job.name, member.label)
            rows.append(equilibria(member.network, inputs, trials, own.steps, own.leak, own.starts, seed))
            labels.append(member.label)
    sizes = {"network": len(rows), "condition": len(inputs), "step": len(own.steps)}
    found = {
        name: (along, np.array([row[name] for row in rows], float).reshape([sizes[one] for one in along]))
        for name, along in CONTRACT.variables.items()
    }
    names = {"network": np.array(labels, object), "condition": list(inputs), "step": own.steps}
    return {"equilibria": xr.Dataset(found, names)}


_ONLY = "only of networks of the architecture `implicit`, with `analysis.equilibria`"
COLUMNS = {
    "n_equilibria": Column(
        f"most fixed points under one static input, stable or not; this and the next two {_ONLY}", "", 0
    ),
    "if_error": Column(
        "mean distance of rates of integrate-and-fire units to the equilibrium, after the most steps", "", 0, 1
    ),
    "lif_error": Column("the same of leaky integrate-and-fire units", "", 0, 1),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """The largest number of equilibria, and both errors after the most steps."""
    known = result["network"].values
    last = result.isel(step=int(result["step"].values.argmax()))
    values = {
        "n_equilibria": result["n_equilibria"].max("condition").values,
        **{name: last[name].values for name in ("if_error", "lif_error")},
    }
    return pd.DataFrame(values, index=known).reindex(table.index)[list(COLUMNS)]


ANALYSIS = Analysis(
    description="Number of equilibria of networks, and how close the rates of spiking networks come to them.",
    writes={"equilibria": CONTRACT},
    run=run,
    over="networks",
    settings=EquilibriaSettings,
    reads=("trials/test",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
)
"""What the workflow knows of this analysis."""
