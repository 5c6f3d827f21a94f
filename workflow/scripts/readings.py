"""Of which task is a network? What readers say from its recurrent weights alone."""

import torch

from insd import datasets
from insd.analysis.readers import ReadersSettings
from insd.files import write_text
from insd.jobs import job
from insd.tables.readings import readings

torch.set_num_threads(snakemake.threads)
params = snakemake.params

with job(snakemake.log[0]):
    own, paths = ReadersSettings.model_validate(params.settings), iter(snakemake.input.networks)
    files = {
        task: [(next(paths), population, number) for population, _, number in blocks]
        for task, blocks in params.blocks.items()
    }
    table = datasets.read_table(snakemake.input.table)
    found = readings(table, files, params.references, own.made(), own.fitting, params.confidence)
    write_text(snakemake.output.readings, found.to_csv(index=False, float_format="%.6g"))
