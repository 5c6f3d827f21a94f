"""How well a Gaussian closure predicts the variability of outputs under private noise, and where it fails."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.provenance import random_seed
from insd.settings.base import Count, Positive

if TYPE_CHECKING:
    from insd.settings.config import Settings

_OVER_TIME = ("predicted_sd", "simulated_sd", "close")
CONTRACT = Contract(
    dict.fromkeys(("sd", "sd_ratio", "close_share", "mean_error"), ("network", "noise_level"))
    | dict.fromkeys(_OVER_TIME, ("network", "noise_level", "time")),
    # No trial may last to the last time.
    may_be_nan=frozenset(_OVER_TIME),
)
"""What its file holds."""


class MomentsSettings(AnalysisSettings):
    """Variability of outputs under private noise; made only where the config has this section, which may be `{}`."""

    trials: Count = 16
    """Trials of the regime `test`, the first ones; all of them if there are fewer."""
    noise_levels: Annotated[list[Positive], Field(min_length=1)] = [0.05, 0.1, 0.2, 0.4]
    """Private noise sigma_rec, the same for all networks, whatever they were trained with. Columns of the table of
    networks are of the first."""
    repeats: Annotated[int, Field(ge=2)] = 512
    """Simulations of each trial, with noise drawn again: a standard deviation is known to 1 / sqrt(2 repeats) of it."""


def applies(settings: "Settings", task: str) -> bool:
    """Where the config has its section."""
    return settings.has_analysis("moments")


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.dynamics.moments.output_variability` of each network on the first of the test trials."""
    from insd.dynamics.moments import output_variability

    trials = job.trials["test"].isel(trial=slice(job.settings.trials))
    levels, rows = job.settings.noise_levels, []
    for member in job.members:
        assert member.network is not None
        seed = random_seed("moments", job.name, member.label)
        rows.append([output_variability(member.network, trials, noise, job.settings.repeats, seed) for noise in levels])
    sizes = {"network": len(rows), "noise_level": len(levels), "time": trials.sizes["time"]}
    found = {
        name: (
            dims,
            np.array([[at[name] for at in row] for row in rows], float).reshape([sizes[along] for along in dims]),
        )
        for name, dims in CONTRACT.variables.items()
    }
    labels = [member.label for member in job.members]
    return {"moments": xr.Dataset(found, {"network": labels, "noise_level": levels, "time": trials["time"]})}


COLUMNS = {
    "output_sd": Column(
        "standard deviation of outputs over repeats of a trial with private noise, simulated; this and the next two "
        "only with `analysis.moments`",
        "",
        0,
    ),
    "output_sd_ratio": Column("the one predicted by a Gaussian closure, over the simulated one", "", 0),
    "output_sd_close": Column("share of trials, times and outputs at which it is predicted to 10 %", "", 0, 1),
}
"""What its columns of `networks.csv` hold."""


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Simulated standard deviation, the ratio of the predicted one to it, and at how many times it is close, in the
    first level of noise.
    """
    first = result.isel(noise_level=0, drop=True)
    names = {"output_sd": "sd", "output_sd_ratio": "sd_ratio", "output_sd_close": "close_share"}
    return pd.DataFrame({column: first[name].to_series() for column, name in names.items()}).reindex(table.index)


ANALYSIS = Analysis(
    description="Variability of outputs under private noise: by a Gaussian closure, and simulated.",
    writes={"moments": CONTRACT},
    run=run,
    over="networks",
    settings=MomentsSettings,
    reads=("trials/test",),
    needs=("Additive",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
    minutes=30,
)
"""What the workflow knows of this analysis."""
