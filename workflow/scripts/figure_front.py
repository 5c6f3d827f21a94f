"""The figure of task score and loss against predictivity towards the reference."""

import pandas as pd

from insd.figures.front import front_figure
from insd.figures.theme import save
from insd.jobs import job
from insd.settings.config import make_task

with job(snakemake.log[0]):
    tasks = {name: make_task(name, parameters) for name, parameters in snakemake.params.tasks.items()}
    save(front_figure(pd.read_csv(snakemake.input.table), tasks), list(snakemake.output))
