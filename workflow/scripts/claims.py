"""The paper's statements beside what the grid shows."""

import pandas as pd

from insd import datasets
from insd.analysis.claims import claims, page
from insd.files import write_text
from insd.jobs import job
from insd.tables.comparisons import number_of_intervals

with job(snakemake.log[0]):
    by_task = {
        name: datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], name)
        for name in ("predictivity", "dsa", "decoding")
    }
    comparisons = pd.read_csv(snakemake.input.comparisons)
    table = claims(pd.read_csv(snakemake.input.table), comparisons, **by_task)
    write_text(snakemake.output.claims, table.to_csv(index=False))
    write_text(snakemake.output.page, page(table, number_of_intervals(comparisons)))
