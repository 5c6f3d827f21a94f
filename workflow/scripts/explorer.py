"""A page on which any two networks of a task are seen side by side."""

from insd import datasets
from insd.explorer import explorer_page
from insd.files import write_text
from insd.jobs import job, reuse_freed_memory
from insd.members import read_members
from insd.settings.tasks import make_task
from insd.tables.networks import meanings

reuse_freed_memory()
name = snakemake.wildcards.task

with job(snakemake.log[0]):
    members = read_members(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds)
    table = datasets.read_table(snakemake.input.table)
    page = explorer_page(
        name,
        make_task(name, snakemake.params.parameters),
        members,
        datasets.read(snakemake.input.trials, "trials"),
        datasets.read(snakemake.input.points, "fixed_points"),
        table[table["task"] == name],
        snakemake.params.chain,
        meanings(snakemake.params.analyses),
    )
    write_text(snakemake.output.page, page)
