"""Supplement of figure 5: scores over noise at each duration."""

import pandas as pd

from insd import datasets
from insd.figures.regimes import regime_grids_figure
from insd.figures.theme import save
from insd.jobs import job

with job(snakemake.log[0]):
    performance = datasets.read_by_task(snakemake.params.tasks, snakemake.input.performance, "performance")
    table, comparisons = (pd.read_csv(path) for path in (snakemake.input.table, snakemake.input.comparisons))
    save(regime_grids_figure(table, snakemake.params.chain, performance, comparisons), list(snakemake.output))
