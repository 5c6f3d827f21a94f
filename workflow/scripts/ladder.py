"""What the alternatives of each population cost, and what they win where it is hard."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.tables.ladder import ladder, ladder_page

with job(snakemake.log[0]):
    rows = ladder(datasets.read_table(snakemake.input.table), snakemake.params.deflated_r2)
    write_text(snakemake.output.ladder, rows.to_csv(index=False, float_format="%.6g"))
    write_text(snakemake.output.page, ladder_page(rows))
