"""Sample the trials of a regime of a task."""

from insd import datasets
from insd.jobs import job
from insd.provenance import array_fingerprint, attributes, random_seed
from insd.settings.tasks import make_task

name, regime = snakemake.wildcards.task, snakemake.wildcards.regime
parameters, n_trials = snakemake.params.parameters, snakemake.params.n_trials

with job(snakemake.log[0]):
    seed = random_seed("trials", name, regime)
    trials = make_task(name, parameters).sample(regime, n_trials, seed)
    settings = {"task": {"name": name, "parameters": parameters}, "regime": regime, "trials": n_trials}
    fingerprint = array_fingerprint(trials, ["inputs", "targets", "mask"])
    trials.attrs |= attributes(settings, "insd.tasks", seed=str(seed), fingerprint=fingerprint)
    datasets.write(trials, snakemake.output.trials, "trials")
