"""What the grid shows, as a table and as a page of Markdown."""

import datetime
import os
import platform

import pandas as pd
import yaml

from insd import datasets
from insd.analysis.summary import page, summary
from insd.files import write_text
from insd.jobs import job
from insd.provenance import attributes

with job(snakemake.log[0]):
    predictivity = datasets.read_by_task(snakemake.params.tasks, snakemake.input.predictivity, "predictivity")
    statements = summary(pd.read_csv(snakemake.input.table), predictivity)
    made = attributes({}, "insd.analysis.summary")
    versions = [f"{name} {made[f'{name}_version']}" for name in ("insd", "torch", "numpy", "python")]
    made_with = f"{', '.join(versions)}, commit {made['git_commit']}, {os.cpu_count()} cores, {platform.machine()}"
    config = yaml.safe_dump(snakemake.params.config, sort_keys=False, allow_unicode=True)
    text = page(statements, config, datetime.date.today().isoformat(), made_with)
    write_text(snakemake.output.page, text)
    write_text(snakemake.output.statements, statements.to_csv(index_label="statement"))
