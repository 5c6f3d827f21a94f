"""Figure 1: predictivity among standard networks, and how measures respond to irrelevant dimensions."""

import pandas as pd

from insd import datasets
from insd.figures.collapse import collapse_figure
from insd.figures.theme import save
from insd.jobs import job

with job(snakemake.log[0]):
    by_task = {
        name: datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], name)
        for name in ("predictivity", "responses")
    }
    figure = collapse_figure(pd.read_csv(snakemake.input.table), **by_task)
    save(figure, list(snakemake.output))
