# The config as settings, and what several files of rules use.
import json
import sys
from functools import cache, partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Forwarded to scripts, also in remote jobs, so that the library needs no installation.
sys.path.insert(0, str(Path(workflow.basedir) / "src"))
# A module of the user's own may be in the working directory.
sys.path.append(str(Path.cwd()))

from insd import plugins
from insd.errors import InsdError
from insd.figures import files
from insd.figures.base import planned
from insd.grid import ROUND, Grid
from insd.provenance import code_fingerprint, file_fingerprint, modules_fingerprint
from insd.report import LiveNumbers
from insd.settings.config import Settings
from insd.settings.load import load
from insd.settings.sections import without_null
from insd.settings.written import check_left_out, check_new, check_written

if any(map(str.isspace, sys.executable)):
    raise WorkflowError(
        f"{sys.executable}: jobs cannot start Python from a path with a blank, which Snakemake does not quote; make the "
        "environment in a path without (python3 -m venv /path/to/insd)"
    )
try:
    for file in workflow.configfiles:
        check_written(file)
    check_left_out(workflow.configfiles)
    check_new(workflow.configfiles, warn=workflow.is_main_process)
    SETTINGS = load(config)
    GRID = Grid(SETTINGS, dry_run=lambda: workflow.dryrun)
    FIGURES = files.figures(GRID)
    # Not by every job: reading networks takes PyTorch.
    if workflow.is_main_process:
        GRID.check_sources()
except InsdError as error:
    message = str(error)
    without = not any(Path(file).name == "config.yaml" for file in workflow.configfiles)
    # Null leaves out what the file under it has.
    empty = [
        name
        for name, field in Settings.model_fields.items()
        if field.is_required() and without_null(config.get(name)) in (None, {})
    ]
    if without and empty:
        # Snakemake looks for it in the working directory, and does without where another file is named.
        message += (
            f"\n{Path.cwd()} has no config/config.yaml; to lay a file over the workflow's, name both: "
            f"--configfile {workflow.basedir}/config/config.yaml FILE"
        )
    raise WorkflowError(message)

TABLE = "results/tables/networks.csv"
LEVELS = "results/tables/levels.csv"
COMPARISONS = "results/tables/comparisons.csv"
LADDER = "results/tables/ladder.csv"
LADDER_PAGE = "results/tables/ladder.md"
CAPACITY = "results/tables/capacity.csv"
CAPACITY_PAIRS = "results/tables/capacity_pairs.csv"
CAPACITY_PAGE = "results/tables/capacity.md"
GENERATORS = "results/tables/generators.csv"
GENERATORS_SUMMARY = "results/tables/generators_summary.csv"
GENERATORS_PAGE = "results/tables/generators.md"
DEGENERACY = "results/tables/degeneracy.csv"
DEGENERACY_FACTORS = "results/tables/degeneracy_factors.csv"
DEGENERACY_RATIOS = "results/tables/degeneracy_ratios.csv"
DEGENERACY_PAGE = "results/tables/degeneracy.md"
READINGS = "results/tables/readings.csv"
SUMMARY = "results/tables/summary.md"
STATEMENTS = "results/tables/summary.csv"
CLAIMS = "results/tables/claims.csv"
CLAIMS_PAGE = "results/tables/claims.md"
# What captions of the report quote.
NUMBERS = LiveNumbers(STATEMENTS, CLAIMS, SETTINGS.analysis.comparisons.confidence)


wildcard_constraints:
    task="[a-z][a-z0-9_]*",
    population="[A-Za-z0-9][A-Za-z0-9._-]*",
    seeds=r"\d+(-\d+)?",
    round=r"\d+",
    block="[01]+",
    block_to="[01]+",
    regime="[a-z][a-z0-9_]*",
    table="[a-z]+",


def per_attempt(amount):
    """A resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: amount * attempt


def when_asked(function, *arguments):
    """A parameter that is computed only for jobs that have it, since on a cluster every job reads all rules."""
    return lambda wildcards: function(*arguments)


def task_parameters(wildcards):
    """The parameters of a task, checked to be in the config."""
    SETTINGS.task(wildcards.task)
    return SETTINGS.task_parameters(wildcards.task)


def by_task(name, tasks=SETTINGS.tasks):
    """The files of an analysis of all tasks."""
    return expand("results/{task}/analysis/{name}.nc", task=tasks, name=name)


def of_networks(name):
    """One file of every round of all tasks that has networks."""
    return [path for task in SETTINGS.tasks for path in GRID.files(name, task)]


@cache
def also_claimed():
    """The tasks of analyses of scores, which few papers' claims read; looked up when the rule is used."""
    from insd.claims.base import all_reads, publications

    try:
        read = all_reads(publications(SETTINGS.claims))
    except InsdError:
        # The job says what is wrong.
        return {}
    return {
        name: GRID.analysis_tasks(name)
        for name in ("performance", "robustness")
        if name in read
    }


def all_tables():
    """The tables, and the pages made of them."""
    names = [
        "networks",
        "levels",
        "ladder",
        "capacity",
        "generators",
        "degeneracy",
        "comparisons",
        "summary",
        "claims",
    ]
    # Readers are costly, and few grids have them.
    if len(GRID.analysis_tasks("readers")) > 1:
        names.append("readings")
    return [
        *expand("results/tables/{name}.{format}", name=names, format=["csv", "html"]),
        SUMMARY,
        LADDER_PAGE,
        CAPACITY_PAIRS,
        CAPACITY_PAGE,
        GENERATORS_SUMMARY,
        GENERATORS_PAGE,
        DEGENERACY_FACTORS,
        DEGENERACY_RATIOS,
        DEGENERACY_PAGE,
        CLAIMS_PAGE,
    ]


def task_name(wildcards):
    """A task's name as people read it: the category of its figures in the report."""
    return wildcards.task.replace("_", " ")
