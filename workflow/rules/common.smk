# The config as settings, and what several files of rules use.
import hashlib
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Forwarded to scripts, also in remote jobs, so that the library needs no installation.
sys.path.insert(0, str(Path(workflow.basedir) / "src"))
# A module of the user's own may be in the working directory.
sys.path.append(str(Path.cwd()))

from insd.errors import InsdError
from insd.figures.base import planned
from insd.grid import ROUND, Grid, figure_stem
from insd.plugins import module_of
from insd.provenance import code_fingerprint, modules_fingerprint
from insd.report import LiveNumbers
from insd.settings.config import load

try:
    SETTINGS = load(config)
    GRID = Grid(SETTINGS)
    FIGURES = GRID.figures()
except InsdError as error:
    raise WorkflowError(str(error))

TABLE = "results/tables/networks.csv"
LEVELS = "results/tables/levels.csv"
COMPARISONS = "results/tables/comparisons.csv"
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
    regime="[a-z][a-z0-9_]*",
    table="[a-z]+",


def per_attempt(amount):
    """A resource that grows with each attempt of a job."""
    return lambda wildcards, attempt: amount * attempt


def task_parameters(wildcards):
    """The parameters of a task, checked to be in the config."""
    SETTINGS.task(wildcards.task)
    return SETTINGS.task_parameters(wildcards.task)


def by_task(name, tasks=SETTINGS.tasks):
    """The files of an analysis of all tasks."""
    return expand("results/{task}/analysis/{name}.nc", task=tasks, name=name)


def all_trials():
    """The trials of all regimes of all tasks."""
    return [
        f"results/{task}/trials/{regime}.nc"
        for task in SETTINGS.tasks
        for regime in ["train", *GRID.evaluation_regimes(task)]
    ]


def all_rounds(names=("network.nc", "activity.nc", "history.nc")):
    """The files of all rounds of all tasks."""
    return [
        path
        for task in SETTINGS.tasks
        for name in names
        for path in GRID.files(name, task)
    ]


def all_tables():
    """The tables, and the pages made of them."""
    names = ["networks", "levels", "comparisons", "summary", "claims"]
    return [
        *expand("results/tables/{name}.{format}", name=names, format=["csv", "html"]),
        SUMMARY,
        CLAIMS_PAGE,
    ]


def template_fingerprint(name):
    """Digest of a template of the library: an edit makes its pages again."""
    path = Path(workflow.basedir) / "src" / "insd" / "templates" / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def task_name(wildcards):
    """A task's name as people read it: the category of its figures in the report."""
    return wildcards.task.replace("_", " ")


def caption_of(name, figure):
    """The caption of a figure in the report: in this repository or, of a figure of the user's own, where it says."""
    if FIGURES[name] == name:
        return f"../report/figure_{name}.rst"
    return figure.caption and Path(figure.caption).resolve()
