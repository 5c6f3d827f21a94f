"""All networks in numbers."""

import pandas as pd

from insd.figures.networks import networks_figure
from insd.figures.theme import save
from insd.jobs import job

with job(snakemake.log[0]):
    figure = networks_figure(pd.read_csv(snakemake.input.table), snakemake.params.score_names)
    save(figure, list(snakemake.output))
