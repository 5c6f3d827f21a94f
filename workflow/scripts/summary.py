"""What the grid shows, as a table of statements and as a page of Markdown."""

import datetime
import os
import platform

import pandas as pd
import yaml

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.provenance import attributes
from insd.tables.summary import line_table, summary
from insd.tables.summary_page import summary_page

with job(snakemake.log[0]):
    table, comparisons = (datasets.read_table(snakemake.input[name]) for name in ("table", "comparisons"))
    predictivity, inputs, performance = (
        datasets.read_by_task(snakemake.params.tasks, snakemake.input[name], name, table)
        for name in ("predictivity", "inputs", "performance")
    )
    attractors = datasets.read_by_task(snakemake.params.integrators, snakemake.input.lines, "line_attractor", table)
    sections = summary(table, predictivity, inputs, performance, **snakemake.params.settings)
    made = attributes({}, "insd.tables.summary")
    versions = [f"{name} {made[f'{name}_version']}" for name in ("insd", "torch", "numpy", "python")]
    made_with = f"{', '.join(versions)}, commit {made['git_commit']}, {os.cpu_count()} cores, {platform.machine()}"
    shown = {name: part for name, part in snakemake.config.items() if name != "figures"}
    config = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    date = datetime.date.today().isoformat()
    confidence = snakemake.params.settings["confidence"]
    text = summary_page(sections, comparisons, line_table(table, attractors), config, date, made_with, confidence)
    write_text(snakemake.output.page, text)
    write_text(snakemake.output.statements, pd.concat(sections.values()).to_csv(index_label="id"))
