"""The figure of task score and loss against predictivity towards the reference."""

import pandas as pd

from insd.jobs import job
from insd.plotting.front import front_figure
from insd.plotting.theme import save

with job(snakemake.log[0]):
    save(front_figure(pd.read_csv(snakemake.input.table)), [snakemake.output.svg, snakemake.output.pdf])
