"""Figure 5: performance in harder regimes and under perturbations."""

import pandas as pd

from insd import datasets
from insd.figures.regimes import regimes_figure
from insd.figures.theme import save
from insd.jobs import job

with job(snakemake.log[0]):
    by_task = {
        name: datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], name)
        for name in ("performance", "robustness")
    }
    table, comparisons = (pd.read_csv(path) for path in (snakemake.input.table, snakemake.input.comparisons))
    figure = regimes_figure(table, snakemake.params.chain, **by_task, comparisons=comparisons)
    save(figure, list(snakemake.output))
