"""Train one round of a population, deflated against the earlier rounds of its seeds, and record its activity."""

from pathlib import Path

import torch

from insd import datasets
from insd.activity import join_earlier, read_earlier, record_activity
from insd.devices import describe, device_of
from insd.jobs import job, reuse_freed_memory
from insd.provenance import attributes
from insd.settings.config import Recipe, load, make_task, seeds_of
from insd.training import train_round

torch.set_num_threads(snakemake.threads)
reuse_freed_memory()
task, population = snakemake.wildcards.task, snakemake.wildcards.population
seeds, round_number = snakemake.wildcards.seeds, int(snakemake.wildcards.round)
names = [(task, population, seed, round_number) for seed in seeds_of(seeds)]

with job(snakemake.log[0]):
    # Not among the parameters of the rule, whose change would train again what was trained elsewhere.
    device = device_of(load(snakemake.config).device)
    made_task = make_task(task, snakemake.params.parameters)
    recipe = Recipe.model_validate(snakemake.params.recipe)
    bank, test = (datasets.read(path, "trials") for path in (snakemake.input.bank, snakemake.input.test))
    files = list(snakemake.input.earlier)
    stored = [read_earlier(path) for path in files]
    earlier = join_earlier(stored, bank, files) if stored else None

    # No output of the rule: Snakemake removes those of a job that failed.
    checkpoint = Path(snakemake.output.network).with_name("checkpoint.pt")
    network, history = train_round(made_task, bank, recipe, names, earlier, checkpoint=checkpoint, device=device)
    activity = record_activity(network, made_task, bank, test, recipe.deflation)

    settings = {
        "task": {"name": task, "parameters": snakemake.params.parameters},
        "recipe": snakemake.params.recipe,
        "population": population,
        "seeds": seeds,
        "round": round_number,
    }
    for name, dataset in (("network", network), ("activity", activity), ("history", history)):
        dataset.attrs |= attributes(settings, "insd.activity", seed=seeds, device=describe(device))
        datasets.write(dataset, snakemake.output[name], name)
    checkpoint.unlink(missing_ok=True)
