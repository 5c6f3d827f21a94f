"""A table as a page of HTML."""

from pathlib import Path

import pandas as pd

from insd.jobs import job
from insd.report import table_page

with job(snakemake.log[0]):
    page = table_page(pd.read_csv(snakemake.input.table), f"{snakemake.wildcards.table}.csv")
    Path(snakemake.output.page).write_text(page)
