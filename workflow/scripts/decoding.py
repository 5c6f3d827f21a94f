"""Decoding of the task variables from the activity of all networks of a task."""

from insd import datasets
from insd.analysis.decoding import decoding
from insd.jobs import job
from insd.members import read_rounds
from insd.provenance import attributes, random_seed
from insd.settings.config import make_task

settings, task_name = snakemake.params.settings, snakemake.wildcards.task

with job(snakemake.log[0]):
    task = make_task(task_name, snakemake.params.parameters)
    trials = datasets.read(snakemake.input.trials, "trials")
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, ["rates"])
    seed = random_seed("decoding", task_name)
    result = decoding(rounds, task, trials, seed, **settings)
    result.attrs |= attributes(settings, "insd.analysis.decoding", seed=str(seed))
    datasets.write(result, snakemake.output.decoding, "decoding")
