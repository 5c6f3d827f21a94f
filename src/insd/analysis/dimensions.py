"""How many dimensions activity has, how much of it is in the null space, and at what frequency it oscillates."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, Column, Job
from insd.datasets import Contract

COLUMNS = {
    "null_variance_share": Column(
        "share of the variance of the rates that is in the null space of the readout", "", 0, 1
    ),
    "participation_ratio": Column("number of dimensions that null-space activity takes up", "", 1),
    "dominant_frequency": Column("frequency at which null-space activity has most power", "Hz", 0),
    "dominant_power_share": Column("share of the power of null-space activity around dominant_frequency", "", 0, 1),
    "lowest_frequency": Column("from which on the dominant frequency is an oscillation: two periods a trial", "Hz", 0),
    "mean_squared_rate": Column("mean squared rate over trials, times and units", "", 0),
}
"""The variables, which are columns of `networks.csv`, too."""
# Activity that does not vary has no dimensions and no frequency.
CONTRACT = Contract(dict.fromkeys(COLUMNS, ("network",)), may_be_nan=frozenset(COLUMNS))
"""What its file holds."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """By network, from its rates on the test trials: `null_variance_share`, the variance of the rates in the null space
    of the readout over all their variance; `participation_ratio`, `dominant_frequency` (Hz) and `dominant_power_share`,
    those of the null-space rates; `lowest_frequency` (Hz), that from which on the former is an oscillation
    (`insd.evaluation.oscillation`); `mean_squared_rate` over trials, times and units.
    """
    from insd.activity import participation_ratio
    from insd.evaluation.oscillation import dominant_frequency, lowest_frequency
    from insd.predictivity import null_projector_array
    from insd.samples import lasting, samples

    rows = []
    for member in job.members:
        assert member.network is not None
        rates, dt = member.rates, float(member.network.attrs["dt"])
        null = rates @ null_projector_array(member.output_weights)
        frequency, power_share = dominant_frequency(null, dt)
        # In double precision: nearly all of the variance may be in the null space, and no more than all.
        variance, null_variance = (samples(one).var(0, dtype=np.float64).sum() for one in (rates, null))
        share = null_variance / max(variance, np.finfo(float).tiny)
        lowest = lowest_frequency(int(lasting(rates).sum(1).max()), dt)
        squares = float(np.square(samples(rates)).mean())
        rows.append((share, participation_ratio(null), frequency, power_share, lowest, squares))
    values = np.array(rows, float).reshape(-1, len(COLUMNS))
    result = xr.Dataset(
        {name: ("network", values[:, number]) for number, name in enumerate(COLUMNS)},
        coords={"network": [member.label for member in job.members]},
    )
    return {"dimensions": result}


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """All variables."""
    return result[list(COLUMNS)].to_dataframe()[list(COLUMNS)].reindex(table.index)


ANALYSIS = Analysis(
    description="Dimensions, null-space variance and oscillation of the activity of all networks of a task.",
    writes={"dimensions": CONTRACT},
    run=run,
    over="networks",
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=1500,
    minutes=15,
)
"""What the workflow knows of this analysis."""
