"""What each level of description says of every network against its reference."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.tables.levels import levels

with job(snakemake.log[0]):
    networks = datasets.read_table(snakemake.input.table)
    by_task = {
        name: datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], contract, networks)
        for name, contract in (("predictivity", "predictivity"), ("dsa", "dsa"), ("points", "fixed_points"))
    }
    table = levels(networks, snakemake.params.chain, **by_task)
    write_text(snakemake.output.levels, table.to_csv(index=False, float_format="%.6g"))
