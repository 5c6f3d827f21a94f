"""How far each population gets from its references, at which loss and cost."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.tables.generators import costs_of, generators, generators_page, summary

params = snakemake.params

with job(snakemake.log[0]):
    networks = datasets.read_table(snakemake.input.table)
    distances = {
        name: datasets.read_by_task(params.tasks, snakemake.input[name], name, networks)
        for name in ("predictivity", "similarity", "dsa")
    }
    costs = {task: costs_of(jobs) for task, jobs in params.jobs.items()}
    rows = generators(networks, **distances, costs=costs)
    means = summary(rows, params.chain, **params.settings)
    write_text(snakemake.output.generators, rows.to_csv(index=False, float_format="%.6g"))
    write_text(snakemake.output.summary, means.to_csv(index=False, float_format="%.6g"))
    write_text(snakemake.output.page, generators_page(rows, means, params.settings["confidence"]))
