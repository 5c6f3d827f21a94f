"""How well all networks of a task predict the recordings that chains begin with, on held-out trials."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, Job
from insd.datasets import Contract
from insd.provenance import random_seed

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract(
    {"r2": ("space", "network", "recording"), "r2_shuffled": ("space", "network", "recording")},
    # Held-out trials of a recording may not vary.
    may_be_nan=frozenset({"r2", "r2_shuffled"}),
)
"""What its file holds."""


def applies(settings: "Settings", task: str) -> bool:
    """Tasks of which there are recordings."""
    return bool(settings.recordings(task))


def more(settings: "Settings", task: str) -> dict[str, Any]:
    """The recordings by population, and how many trials no network was trained on."""
    return {"files": settings.recordings(task), "held_out": settings.held_out_trials(task)}


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.recordings.recording_predictivity` on the last trials of the bank."""
    from insd.evaluation.recordings import recording_predictivity
    from insd.recordings import read_recording

    bank = job.trials["train"]
    recordings = {population: read_recording(file, bank) for population, file in job.more["files"].items()}
    seed = random_seed("recordings", job.name)
    return {"recordings": recording_predictivity(job.members, recordings, bank, job.more["held_out"], seed)}


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Where round 0 is a recording: `r2_null_to_reference` and its shuffled baseline on held-out trials of the bank,
    and `r2_null_max_to_earlier` and its baseline where the recording is predicted better than every earlier network.
    """
    names = ["r2_null_to_reference", "r2_null_shuffled_to_reference"]
    largest = ["r2_null_max_to_earlier", "r2_null_shuffled_max_to_earlier"]
    found = table[[*names, *largest]].copy()
    for label, row in table[table["round"] > 0].iterrows():
        if row["reference"] in result["recording"] and label in result["network"]:
            pair = result.sel(space="null", network=label, recording=row["reference"])
            values = float(pair["r2"]), float(pair["r2_shuffled"])
            found.loc[label, names] = values
            if not row["r2_null_max_to_earlier"] >= values[0]:
                found.loc[label, largest] = values
    return found


ANALYSIS = Analysis(
    description="How well all networks of a task predict the recordings that chains begin with, on held-out trials.",
    writes={"recordings": CONTRACT},
    run=run,
    over="networks",
    reads=("trials/train",),
    applies=applies,
    more=more,
    completes=("similarity",),
    columns=columns,
)
"""What the workflow knows of this analysis."""
