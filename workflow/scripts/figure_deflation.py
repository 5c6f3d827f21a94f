"""The figure of predictivity and training of a task."""

import pandas as pd

from insd import datasets
from insd.figures.deflation import deflation_figure
from insd.figures.theme import save
from insd.jobs import job

with job(snakemake.log[0]):
    histories = {}
    for path, (population, _, round_number) in zip(snakemake.input.histories, snakemake.params.rounds, strict=True):
        histories.setdefault((population, round_number), []).append(datasets.read(path, "history"))
    table = pd.read_csv(snakemake.input.table)
    figure = deflation_figure(
        table[table["task"] == snakemake.wildcards.task],
        datasets.read(snakemake.input.predictivity, "predictivity"),
        histories,
    )
    save(figure, list(snakemake.output))
