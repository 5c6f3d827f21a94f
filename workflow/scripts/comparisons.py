"""Alternatives against the standard networks of their task in every regime and under every perturbation."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.tables.comparisons import comparisons

with job(snakemake.log[0]):
    networks = datasets.read_table(snakemake.input.table)
    by_task = {
        name: datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], name, networks)
        for name in ("performance", "robustness")
    }
    table = comparisons(networks, **by_task, **snakemake.params.settings)
    write_text(snakemake.output.comparisons, table.to_csv(index=False, float_format="%.6g"))
