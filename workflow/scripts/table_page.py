"""A table as a page of HTML."""

from insd.cohorts import read_table
from insd.files import write_text
from insd.jobs import job
from insd.report import table_page

with job(snakemake.log[0]):
    page = table_page(read_table(snakemake.input.table), f"{snakemake.wildcards.table}.csv")
    write_text(snakemake.output.page, page)
