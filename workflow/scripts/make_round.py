"""Make the networks of one round of a population, or what takes their place, and record their activity."""

from pathlib import Path

import torch

from insd import datasets
from insd.devices import describe, device_of
from insd.jobs import job, reuse_freed_memory
from insd.makers.base import Job, maker_of, recipe_from
from insd.provenance import attributes
from insd.settings.config import seeds_of
from insd.settings.load import load
from insd.settings.tasks import make_task

torch.set_num_threads(snakemake.threads)
reuse_freed_memory()
task, population = snakemake.wildcards.task, snakemake.wildcards.population
seeds, number = snakemake.wildcards.seeds, int(snakemake.wildcards.round)
names = tuple((task, population, seed, number) for seed in seeds_of(seeds))
inputs, params = snakemake.input, snakemake.params.job

with job(snakemake.log[0]):
    # Not among the parameters of the rule, whose change would make again what was made elsewhere.
    config = load(snakemake.config)
    maker = maker_of(params["made"])
    device = config.device if maker.uses_device else "cpu"
    trials = (datasets.read(path, "trials") for path in (inputs.bank, inputs.test))
    files = (tuple(inputs.get(name, ())) for name in ("earlier", "sources"))
    # Not an output of the rule: Snakemake removes those of a job that failed.
    checkpoint = Path(snakemake.output.activity).with_name("checkpoint.pt")
    made_task = make_task(task, params["parameters"])
    made = maker.make(Job(names, made_task, *trials, recipe_from(params["made"]), *files, device, checkpoint))
    about = {"task": {"name": task, "parameters": params["parameters"]}, "recipe": params["made"]}
    about |= {"population": population, "seeds": seeds, "round": number}
    more = {"maker": params["made"]["make"], "role": config.role(task, population, number)}
    more |= {"code_fingerprint": params["code"], "device": describe(device_of(device))}
    for name, (dataset, contract) in made.files().items():
        dataset.attrs |= attributes(about, "insd.makers.base", seed=seeds, **more)
        datasets.write(dataset, snakemake.output[name], contract)
    checkpoint.unlink(missing_ok=True)
