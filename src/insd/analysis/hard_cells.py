"""Trials at which standards are 20 to 80 % of the way to chance, and who beats them there.

The criterion of existence is fixed here: an alternative *wins* in a cell where its score is better than that of the
standard at the 90th percentile, and its errors are smaller than that standard's on the same trials, with p < `LEVEL`
after Holm's correction over the cells of its task.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from pydantic import Field

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.settings.base import Count

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    dict.fromkeys(("loss", "score", "error", "bar", "p"), ("network", "cell"))
    | dict.fromkeys(("fresh_loss", "fresh_loss_se", "fresh_score"), ("network",)),
    # Without a cell, or where networks have other standards.
    may_be_nan=frozenset({"loss", "score", "error", "bar", "p", "fresh_loss_se"}),
    # Of networks that diverge.
    may_be_infinite=frozenset({"fresh_loss", "fresh_score"}),
)
"""What its file holds."""
LEVEL = 0.01
"""Of the paired test, after Holm's correction over cells."""
COLUMNS = {
    "fresh_loss": Column("task loss in distribution on many fresh trials, the same for all networks", "", 0),
    "fresh_loss_se": Column("its standard error over trials", "", 0),
    "fresh_score": Column("score on these trials"),
    "hard_cells": Column("hard cells that it was tested in; empty without any", "", 0),
    "hard_cells_beaten": Column(
        "share of hard cells in which its score is better than that of the standard at the 90th percentile (of the "
        "others, for a standard)",
        "",
        0,
        1,
    ),
    "hard_cells_won": Column(
        f"hard cells in which its errors are smaller than that standard's too, paired, p < {LEVEL:g} after Holm", "", 0
    ),
}
"""The columns of `networks.csv`."""


class HardCellsSettings(AnalysisSettings):
    """Trials so hard that standards are some way to chance."""

    shares: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [0.2, 0.4, 0.6, 0.8]
    """Shares of the way from the standards' median score in distribution to chance."""
    search_trials: Count = 512
    """Trials at each position of the search."""
    trials: Count = 2000
    """Trials in each cell, the same for all networks."""
    test_trials: Count = 4096
    """Fresh trials in distribution, on which networks are matched: so many that the standard error of a loss is small
    against the bound of 0.01."""


def more(settings: "Settings", task: str) -> dict[str, Any]:
    """The populations of standards that each population is compared with."""
    return {"standards": {name: settings.standards(task, name) for name in settings.network_populations(task)}}


def problems(own: HardCellsSettings, settings: "Settings") -> Iterator[str]:
    """Shares that are given twice: each cell counts in the correction."""
    if len(set(own.shares)) < len(own.shares):
        yield f"analysis.hard_cells.shares = {own.shares}: each share once"


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.hard_cells.hard_cells` of all networks."""
    from insd.evaluation.hard_cells import hard_cells

    own = job.settings
    sizes = {
        "shares": own.shares,
        "search_trials": own.search_trials,
        "trials": own.trials,
        "test_trials": own.test_trials,
    }
    return {"hard_cells": hard_cells(job.task, job.name, job.members, job.more["standards"], **sizes)}


def holm(p: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
    """p values after Holm's correction for their number; NaN stays, and does not count.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def beaten(result: xr.Dataset) -> xr.DataArray:
    """Whether the score of each network is better than the bar of each cell (network, cell)."""
    sign = 1 if result.attrs["score_higher_is_better"] else -1
    return sign * result["score"] > sign * result["bar"]


def won(result: xr.Dataset) -> xr.DataArray:
    """Whether each network wins in each cell: the bar is beaten, and the paired test agrees (network, cell).

    A standard, tested in the cells of several groups, has a correction within each of them.
    """
    better = beaten(result)
    corrected = xr.full_like(result["p"], np.nan)
    for group in dict.fromkeys(result["standards"].values.tolist()):
        own = result["standards"].values == group
        corrected[:, own] = np.stack([holm(row) for row in result["p"].values[:, own]])
    return better & (corrected < LEVEL)


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Loss and score on fresh trials; number of cells, the share of them in which the bar is beaten, and the number of
    those that are won.

    The cells of a standard that several groups share are counted together.
    """
    tested = result["score"].notnull() & result["bar"].notnull()
    number = tested.sum("cell")
    found = {
        "hard_cells": number,
        "hard_cells_beaten": (beaten(result) & tested).sum("cell") / number,
        "hard_cells_won": won(result).sum("cell"),
    }
    values = {name: value.where(number > 0).to_series() for name, value in found.items()}
    fresh = {name: result[name].to_series() for name in COLUMNS if name in result}
    return pd.DataFrame(fresh | values).reindex(table.index).astype(float)


ANALYSIS = Analysis(
    description="Trials at which standards are 20 to 80 % of the way to chance, and who beats them there.",
    writes={"hard_cells": CONTRACT},
    run=run,
    settings=HardCellsSettings,
    more=more,
    problems=problems,
    columns=columns,
    dictionary=COLUMNS,
    minutes=60,
)
"""What the workflow knows of this analysis."""
