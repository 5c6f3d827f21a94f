"""The table of all networks of all tasks."""

from insd import datasets
from insd.analysis.rounds import read_rounds
from insd.analysis.table import network_table, round_rows
from insd.jobs import job

tasks, blocks = snakemake.params.tasks, snakemake.params.rounds

with job(snakemake.log[0]):
    variables = ["rates", "test_loss", "score", "solved"]
    rows, predictivity = [], {}
    for number, task in enumerate(tasks):
        part = slice(number * len(blocks), (number + 1) * len(blocks))
        for current in read_rounds(snakemake.input.networks[part], snakemake.input.activities[part], blocks, variables):
            rows += round_rows(task, snakemake.params.references[current.population], current)
        predictivity[task] = datasets.read(snakemake.input.predictivity[number], "predictivity")
    network_table(rows, predictivity).to_csv(snakemake.output.table, index=False, float_format="%.6g")
