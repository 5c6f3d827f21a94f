"""A table as a page of HTML."""

import pandas as pd

from insd.files import write_text
from insd.jobs import job
from insd.report import table_page

with job(snakemake.log[0]):
    page = table_page(pd.read_csv(snakemake.input.table), f"{snakemake.wildcards.table}.csv")
    write_text(snakemake.output.page, page)
