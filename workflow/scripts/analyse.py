"""An analysis of the networks of a task."""

import torch

from insd.analysis.base import run_analysis
from insd.jobs import job, reuse_freed_memory

torch.set_num_threads(snakemake.threads)
reuse_freed_memory()
inputs, outputs = snakemake.input, snakemake.output

with job(snakemake.log[0]):
    run_analysis(
        snakemake.params.analysis,
        snakemake.wildcards.task,
        {
            name: list(inputs.get(name, []))
            for name in ("networks", "activities", "trials", "analysis", "files", "pairs")
        },
        dict(outputs.items()),
        **snakemake.params.job,
        task_code=snakemake.params.task_code,
    )
