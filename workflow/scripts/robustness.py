"""Loss and score of all networks of a task under noise, damage, kicks and a finer time step."""

import torch

from insd import datasets
from insd.analysis.robustness import robustness
from insd.jobs import job, reuse_freed_memory
from insd.members import read_rounds
from insd.provenance import attributes
from insd.settings.config import make_task

torch.set_num_threads(snakemake.threads)
reuse_freed_memory()
settings, name = dict(snakemake.params.settings), snakemake.wildcards.task

with job(snakemake.log[0]):
    task = make_task(name, snakemake.params.parameters)
    trials = datasets.read(snakemake.input.trials, "trials").isel(trial=slice(settings["trials"]))
    levels = {key: value for key, value in settings.items() if key != "trials"}
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, [])
    result = robustness(task, name, rounds, trials, **levels)
    result.attrs |= attributes(settings, "insd.analysis.robustness")
    datasets.write(result, snakemake.output.robustness, "robustness")
