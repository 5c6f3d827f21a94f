"""All networks in numbers."""

import pandas as pd

from insd.jobs import job
from insd.plotting.networks import networks_figure
from insd.plotting.theme import save

with job(snakemake.log[0]):
    figure = networks_figure(pd.read_csv(snakemake.input.table), snakemake.params.score_names)
    save(figure, list(snakemake.output))
