"""Fixed points, slow points and cycles of all networks of a task under each of its static inputs."""

import torch

from insd import datasets
from insd.analysis.fixed_points import fixed_points
from insd.jobs import job
from insd.members import read_rounds
from insd.provenance import attributes, random_seed
from insd.settings.config import FixedPoints, make_task

torch.set_num_threads(snakemake.threads)
settings, task_name = snakemake.params.settings, snakemake.wildcards.task

with job(snakemake.log[0]):
    task = make_task(task_name, snakemake.params.parameters)
    trials = datasets.read(snakemake.input.trials, "trials")
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, [])
    seed = random_seed("fixed points", task_name)
    result = fixed_points(task, rounds, trials, FixedPoints.model_validate(settings), seed)
    result.attrs |= attributes(settings, "insd.analysis.fixed_points", seed=str(seed))
    datasets.write(result, snakemake.output.points, "fixed_points")
