"""Dynamical similarity between all networks of a task."""

from insd import datasets
from insd.analysis.dsa import dynamical_similarity, network_operators
from insd.jobs import job
from insd.members import read_rounds
from insd.provenance import attributes, random_seed

settings = dict(snakemake.params.settings)

with job(snakemake.log[0]):
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, ["rates"])
    operators, errors = network_operators(rounds, settings["delays"], settings["rank"])
    seed = random_seed("dsa", snakemake.wildcards.task)
    result = dynamical_similarity(operators, errors, settings["starts"], settings["iterations"], seed)
    result.attrs |= attributes(settings, "insd.analysis.dsa", seed=str(seed))
    datasets.write(result, snakemake.output.dsa, "dsa")
