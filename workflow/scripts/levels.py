"""What each level of description says of every network against its reference."""

import pandas as pd

from insd import datasets
from insd.analysis.levels import levels
from insd.jobs import job

with job(snakemake.log[0]):
    by_task = {
        name: datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], contract)
        for name, contract in (("predictivity", "predictivity"), ("dsa", "dsa"), ("points", "fixed_points"))
    }
    table = levels(pd.read_csv(snakemake.input.table), **by_task)
    table.to_csv(snakemake.output.levels, index=False, float_format="%.6g")
