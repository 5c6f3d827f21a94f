"""The table of all networks of all tasks."""

from itertools import islice

import torch

from insd import datasets
from insd.files import write_text
from insd.jobs import job, reuse_freed_memory
from insd.members import read_rounds
from insd.tables.networks import network_table, round_rows

torch.set_num_threads(snakemake.threads)
reuse_freed_memory()
tasks, rounds = snakemake.params.tasks, snakemake.params.rounds

with job(snakemake.log[0]):
    variables = ["rates", "test_loss", "score", "solved"]
    rows = []
    networks, activities = iter(snakemake.input.networks), iter(snakemake.input.activities)
    for number, task in enumerate(tasks):
        trials = datasets.read(snakemake.input.trials[number], "trials")
        blocks = rounds[task]
        files = (list(islice(paths, len(blocks))) for paths in (networks, activities))
        for current in read_rounds(*files, blocks, variables):
            reference = snakemake.params.references[current.population]
            rows += round_rows(task, reference, current, trials, snakemake.params.noise_probes)
    by_task = {
        name: datasets.read_by_task(tasks, snakemake.input[name], contract)
        for name, contract in (
            ("predictivity", "predictivity"),
            ("dsa", "dsa"),
            ("points", "fixed_points"),
            ("robustness", "robustness"),
        )
    }
    # Tasks without recordings have no such file; where one task has recordings, all do.
    recordings = {
        task: datasets.read(path, "recordings") for task, path in zip(tasks, snakemake.input.recordings, strict=False)
    }
    table = network_table(rows, **by_task, recordings=recordings)
    write_text(snakemake.output.table, table.to_csv(index=False, float_format="%.6g"))
