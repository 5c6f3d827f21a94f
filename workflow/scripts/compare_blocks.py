"""Pairs of two blocks of networks of a task, for an analysis."""

import torch

from insd.analysis.base import compare_blocks
from insd.jobs import job, reuse_freed_memory

torch.set_num_threads(snakemake.threads)
reuse_freed_memory()
inputs = snakemake.input

with job(snakemake.log[0]):
    compare_blocks(
        snakemake.params.analysis,
        snakemake.wildcards.task,
        {name: list(inputs.get(name, [])) for name in ("networks", "activities", "trials", "analysis", "files")},
        snakemake.output[0],
        **snakemake.params.job,
        task_code=snakemake.params.task_code,
    )
