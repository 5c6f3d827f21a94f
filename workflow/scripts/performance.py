"""Loss and score of all networks of a task in all its regimes."""

from insd import datasets
from insd.analysis.performance import performance
from insd.jobs import job
from insd.members import read_rounds
from insd.provenance import attributes
from insd.settings.config import make_task

with job(snakemake.log[0]):
    name = snakemake.wildcards.task
    task = make_task(name, snakemake.params.parameters)
    trials = {
        regime: datasets.read(path, "trials")
        for regime, path in zip(snakemake.params.regimes, snakemake.input.trials, strict=True)
    }
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, [])
    result = performance(task, name, rounds, trials, snakemake.params.grid_trials)
    settings = {key: snakemake.params[key] for key in ("parameters", "rounds", "grid_trials")}
    result.attrs |= attributes(settings, "insd.analysis.performance")
    datasets.write(result, snakemake.output.performance, "performance")
