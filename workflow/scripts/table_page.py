"""A table as a page of HTML."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.report import table_page
from insd.tables.networks import meanings

with job(snakemake.log[0]):
    explained = meanings(snakemake.params.analyses) if snakemake.wildcards.table == "networks" else {}
    page = table_page(datasets.read_table(snakemake.input.table), f"{snakemake.wildcards.table}.csv", explained)
    write_text(snakemake.output.page, page)
