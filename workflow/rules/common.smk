# The config as settings, and every function that the rules use.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Forwarded to scripts, also in remote jobs, so that the library needs no installation.
sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from insd.provenance import code_fingerprint
from insd.settings import SettingsError, load, seeds_of

try:
    SETTINGS = load(config)
except SettingsError as error:
    raise WorkflowError(str(error))

TABLE = "results/tables/networks.csv"
SUMMARY = "results/tables/summary.md"
ROUND = "results/{task}/{population}/seeds-{seeds}/round-{round}"


wildcard_constraints:
    task="[a-z][a-z0-9_]*",
    population="[A-Za-z0-9][A-Za-z0-9._-]*",
    seeds=r"\d+(-\d+)?",
    round=r"\d+",
    regime="[a-z][a-z0-9_]*",


def round_blocks():
    """Population, seeds and round of every training job of a task, in the order of the grid."""
    return [
        (population, seeds, round_number)
        for population in SETTINGS.populations
        for seeds in SETTINGS.seed_blocks(population)
        for round_number in SETTINGS.trained_rounds(population)
    ]


def round_files(name, task):
    """One file of every round of a task, in the order of `round_blocks`."""
    return [
        f"{ROUND}/{name}".format(
            task=task, population=population, seeds=seeds, round=round_number
        )
        for population, seeds, round_number in round_blocks()
    ]


def earlier_activity(wildcards):
    """The activity of all earlier rounds of the same seeds; nothing for round 0."""
    populations = [wildcards.population] * int(wildcards.round)
    if populations:
        populations[0] = SETTINGS.reference(wildcards.population)
    return [
        f"{ROUND}/activity.nc".format(
            **{**wildcards, "population": population, "round": k}
        )
        for k, population in enumerate(populations)
    ]


def task_parameters(wildcards):
    """The parameters of a task, checked to be in the config."""
    SETTINGS.task(wildcards.task)
    return SETTINGS.tasks[wildcards.task].parameters


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


def recipe(wildcards):
    """The resolved settings of a round."""
    return SETTINGS.recipe(
        wildcards.task, wildcards.population, int(wildcards.round)
    ).model_dump()


def rounds_to_come(wildcards):
    """How many rounds of the chain wait for this one: long chains go first, or the last of them would run alone."""
    return SETTINGS.population(wildcards.population).rounds - int(wildcards.round)


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


def all_analyses():
    """The analyses of all tasks."""
    return expand(
        "results/{task}/analysis/{name}.nc",
        task=SETTINGS.tasks,
        name=["predictivity", "performance"],
    )


def all_figures():
    """All figures in all formats."""
    names = [f"deflation_{task}" for task in SETTINGS.tasks] + ["front"]
    return expand("results/figures/{name}.{format}", name=names, format=["svg", "pdf"])
