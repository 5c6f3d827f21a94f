# The config as settings, and every function that the rules use.
import hashlib
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Forwarded to scripts, also in remote jobs, so that the library needs no installation.
sys.path.insert(0, str(Path(workflow.basedir) / "src"))
# A task of the user's own may be a module in the working directory.
sys.path.append(str(Path.cwd()))

from insd import grid, plugins
from insd.figures.base import planned
from insd.provenance import code_fingerprint, settings_fingerprint
from insd.report import LiveNumbers
from insd.settings.base import SettingsError
from insd.settings.config import load, seeds_of

try:
    SETTINGS = load(config)
    FIGURES = grid.figures(SETTINGS)
except SettingsError as error:
    raise WorkflowError(str(error))

TABLE = "results/tables/networks.csv"
LEVELS = "results/tables/levels.csv"
COMPARISONS = "results/tables/comparisons.csv"
SUMMARY = "results/tables/summary.md"
STATEMENTS = "results/tables/summary.csv"
CLAIMS = "results/tables/claims.csv"
CLAIMS_PAGE = "results/tables/claims.md"
# What captions of the report quote.
NUMBERS = LiveNumbers(STATEMENTS, CLAIMS)
ROUND = grid.ROUND


wildcard_constraints:
    task="[a-z][a-z0-9_]*",
    population="[A-Za-z0-9][A-Za-z0-9._-]*",
    seeds=r"\d+(-\d+)?",
    round=r"\d+",
    regime="[a-z][a-z0-9_]*",
    table="[a-z]+",


def round_blocks(task):
    """Population, seeds and round of every training job of a task, in the order of the grid."""
    return grid.round_blocks(SETTINGS, task)


def made_with(task, blocks):
    """The blocks, each with its role and the fingerprint of the task and recipe that the config has for it: analyses
    refuse a file that was made with others.
    """
    about = {"name": task, "parameters": SETTINGS.task_parameters(task)}
    return [
        (
            *(population, seeds, round_number),
            SETTINGS.role(task, population, round_number),
            settings_fingerprint(about, resolved(task, population, round_number)),
        )
        for population, seeds, round_number in blocks
    ]


def round_files(name, task):
    """One file of every round of a task, in the order of `round_blocks`."""
    return grid.round_files(SETTINGS, name, task)


def reference_activity(task):
    """The activity of one reference: round 0 of the first seeds of the chain that figures show or, without one, of the
    first population.
    """
    names = SETTINGS.population_names(task)
    chain = SETTINGS.shown_chain()
    population = SETTINGS.reference(chain if chain in names else names[0])
    seeds = SETTINGS.seed_blocks(population)[0]
    # A chain that begins with a recording has no network before round 1.
    first = SETTINGS.trained_rounds(population)[0]
    return f"{ROUND}/activity.nc".format(
        task=task, population=population, seeds=seeds, round=first
    )


def earlier_activity(wildcards):
    """The activity of all earlier rounds of the same seeds, or the recording in place of round 0; nothing for round 0."""
    populations = [wildcards.population] * int(wildcards.round)
    if populations:
        populations[0] = SETTINGS.reference(wildcards.population)
    files = [
        f"{ROUND}/activity.nc".format(
            **{**wildcards, "population": population, "round": k}
        )
        for k, population in enumerate(populations)
    ]
    if files and wildcards.population in SETTINGS.recordings(wildcards.task):
        files[0] = "results/{task}/{population}/seeds-{seeds}/recording.nc".format(
            **wildcards
        )
    return files


def recording_file(wildcards):
    """The recording that takes the place of a population's round 0."""
    return existing_recordings(wildcards.task)[wildcards.population]


def existing_recordings(task):
    """The recordings that chains of a task begin with, by population.

    Asked for only by jobs that read them, since recordings are made of a task's trials, which come first.
    """
    recordings = SETTINGS.recordings(task)
    for population, path in recordings.items():
        if not Path(path).is_file():
            raise WorkflowError(
                f"populations.{population}.reference.file = {path!r}: there is no such file in {Path.cwd()}; "
                f"make it of the trials in results/{task}/trials/train.nc"
            )
    return recordings


def recording_deflation(wildcards):
    """How a recording is kept: by the settings of the rounds that read it."""
    return SETTINGS.recipe(
        wildcards.task, wildcards.population, 1
    ).deflation.model_dump()


def held_out_trials(task):
    """Trials of the bank that no network of a task was trained on."""
    return min(
        SETTINGS.recipe(task, population, round_number).training.validation_trials
        for population in SETTINGS.population_names(task)
        for round_number in SETTINGS.trained_rounds(population)
    )


def recording_analyses():
    """How well networks predict recordings, for every task; nothing where the config has no recording."""
    return [
        f"results/{task}/analysis/recordings.nc"
        for task in SETTINGS.tasks
        if SETTINGS.recordings(task)
    ]


def task_parameters(wildcards):
    """The parameters of a task, checked to be in the config."""
    SETTINGS.task(wildcards.task)
    return SETTINGS.task_parameters(wildcards.task)


def evaluation_regimes(task):
    """The regimes that networks are evaluated in: `test` and every harder one."""
    return [
        regime for regime in SETTINGS.task(task).regime_names() if regime != "train"
    ]


def regime_files(task):
    """The trials of the regimes that networks are evaluated in."""
    return [f"results/{task}/trials/{regime}.nc" for regime in evaluation_regimes(task)]


def n_trials(wildcards):
    """How many trials a regime has."""
    return (
        SETTINGS.trials.train
        if wildcards.regime == "train"
        else SETTINGS.trials.evaluation
    )


# All analyses ask for those of all rounds.
@cache
def resolved(task, population, round_number):
    """The resolved settings of a round."""
    return SETTINGS.recipe(task, population, round_number).model_dump()


def recipe(wildcards):
    """The resolved settings of a round that is trained."""
    return resolved(wildcards.task, wildcards.population, int(wildcards.round))


def rounds_to_come(wildcards):
    """How many rounds of the chain wait for this one: long chains go first, or the last of them would run alone."""
    return SETTINGS.population(wildcards.population).rounds - int(wildcards.round)


def training_memory(wildcards, attempt):
    """Memory of a round in MB: what it needs at all, and for each network, whose activity on 2,000 trials is most of it.

    Measured with 100 units: 0.8 GB for one network, 1.3 GB for ten.
    """
    units = recipe(wildcards)["network"]["units"]
    return attempt * (1400 + units * len(seeds_of(wildcards.seeds)))


def training_minutes(wildcards, attempt):
    """Time limit of a round: what all its attempts may take at 20 iterations per second and network, and some more."""
    training = SETTINGS.recipe(
        wildcards.task, wildcards.population, int(wildcards.round)
    ).training
    iterations = (
        training.iterations * (training.restarts + 1) * len(seeds_of(wildcards.seeds))
    )
    return attempt * (10 + iterations // 1200)


def all_trials():
    """The trials of all regimes of all tasks."""
    return [
        path
        for task in SETTINGS.tasks
        for path in [f"results/{task}/trials/train.nc", *regime_files(task)]
    ]


def all_rounds():
    """The files of all rounds of all tasks."""
    names = ("network.nc", "activity.nc", "history.nc")
    return [
        path
        for task in SETTINGS.tasks
        for name in names
        for path in round_files(name, task)
    ]


def integrators():
    """The tasks that integrate evidence, for which line attractors are sought."""
    return [task for task in SETTINGS.tasks if SETTINGS.task(task).evidence_inputs]


def all_analyses():
    """The analyses of all tasks."""
    names = [
        "predictivity",
        "similarity",
        "responses",
        "dsa",
        "fixed_points",
        "decoding",
        "performance",
        "robustness",
    ]
    return [
        *expand("results/{task}/analysis/{name}.nc", task=SETTINGS.tasks, name=names),
        *expand("results/{task}/analysis/line_attractor.nc", task=integrators()),
        *recording_analyses(),
    ]


def all_tables():
    """The tables, and the pages made of them."""
    names = ["networks", "levels", "comparisons", "summary", "claims"]
    return [
        *expand("results/tables/{name}.{format}", name=names, format=["csv", "html"]),
        SUMMARY,
        CLAIMS_PAGE,
    ]


def all_explorers():
    """The pages on which networks are explored."""
    return expand("results/explorer/{task}.html", task=SETTINGS.tasks)


def template_fingerprint(name):
    """Digest of a template of the library: an edit makes its pages anew."""
    path = Path(workflow.basedir) / "src" / "insd" / "templates" / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# --- Figures


def task_name(wildcards):
    """A task's name as people read it: the category of its figures in the report."""
    return wildcards.task.replace("_", " ")


def caption_of(name, figure):
    """The caption of a figure in the report: in this repository or, of a figure of the user's own, where it says."""
    if FIGURES[name] == name:
        return f"../report/figure_{name}.rst"
    return figure.caption and Path(figure.caption).resolve()


def figure_inputs(figure):
    """The files that a figure reads, by name."""
    return lambda wildcards: grid.figure_inputs(SETTINGS, figure, wildcards.get("task"))


def figure_tasks(figure):
    """The parameters of the tasks of a figure, by name."""
    return lambda wildcards: {
        task: SETTINGS.task_parameters(task)
        for task in grid.figure_tasks(SETTINGS, figure, wildcards.get("task"))
    }


def figure_blocks(figure):
    """The rounds that a figure reads files of, each with what it must have been made with."""
    return lambda wildcards: {
        folder: made_with(wildcards.task, blocks)
        for folder, blocks in grid.figure_blocks(
            SETTINGS, figure, wildcards.get("task")
        ).items()
    }


def per_attempt(amount):
    """A resource that grows with every attempt at a job."""
    return lambda wildcards, attempt: amount * attempt


def all_figures():
    """All figures in all formats."""
    return grid.figure_files(SETTINGS)
