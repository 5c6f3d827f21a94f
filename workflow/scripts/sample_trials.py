"""Sample the trials of a regime of a task."""

from insd import datasets
from insd.jobs import job
from insd.provenance import attributes, random_seed, trials_fingerprint
from insd.settings.tasks import make_task

name, regime = snakemake.wildcards.task, snakemake.wildcards.regime
parameters, n_trials = snakemake.params.parameters, snakemake.params.n_trials

with job(snakemake.log[0]):
    seed = random_seed("trials", name, regime)
    trials = make_task(name, parameters).sample(regime, n_trials, seed)
    settings = {"task": {"name": name, "parameters": parameters}, "regime": regime, "trials": n_trials}
    trials.attrs |= attributes(settings, "insd.tasks", seed=str(seed), fingerprint=trials_fingerprint(trials))
    datasets.write(trials, snakemake.output.trials, "trials")
