"""Figures 2 to 4: how the reference and its alternatives solve a task."""

import pandas as pd
import torch

from insd import datasets
from insd.figures.mechanism import mechanism_figure, read_shown, shown_networks
from insd.figures.theme import save
from insd.jobs import job
from insd.settings.config import make_task

torch.set_num_threads(snakemake.threads)
task, files = snakemake.wildcards.task, snakemake.input

with job(snakemake.log[0]):
    table = pd.read_csv(files.table)
    table = table[table["task"] == task]
    shown = shown_networks(table, snakemake.params.chain)
    figure = mechanism_figure(
        make_task(task, snakemake.params.parameters),
        datasets.read(files.trials, "trials"),
        table,
        shown,
        read_shown(shown, files.networks, files.activities, snakemake.params.rounds),
        datasets.read(files.points, "fixed_points"),
        datasets.read(files.predictivity, "predictivity"),
        datasets.read(files.dsa, "dsa"),
        datasets.read(files.decoding, "decoding"),
    )
    save(figure, list(snakemake.output))
