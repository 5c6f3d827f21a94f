"""Linear predictivity and the usual measures of similarity between all networks of a task."""

from insd import datasets
from insd.analysis.similarity import network_statistics, similarity
from insd.jobs import job
from insd.members import network_label, read_rounds
from insd.provenance import attributes, random_seed

task = snakemake.wildcards.task

with job(snakemake.log[0]):
    networks = {}
    for current in read_rounds(
        snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, ["rates"]
    ):
        for seed in current.activity["seed"].values:
            label = network_label(current.population, int(seed), current.round_number)
            rates = current.activity["rates"].sel(seed=seed).values
            networks[label] = network_statistics(rates, current.network["output_weights"].sel(seed=seed).values)
    seed = random_seed("shuffle", task)
    for name, result in zip(("predictivity", "similarity"), similarity(networks, seed), strict=True):
        result.attrs |= attributes({"rounds": snakemake.params.rounds}, "insd.analysis.similarity", seed=str(seed))
        datasets.write(result, snakemake.output[name], name)
