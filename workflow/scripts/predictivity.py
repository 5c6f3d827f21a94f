"""Linear predictivity between all networks of a task."""

from insd import datasets
from insd.analysis.rounds import network_label, read_rounds
from insd.analysis.similarity import network_bases, predictivity_matrix
from insd.jobs import job
from insd.provenance import attributes, random_seed

task = snakemake.wildcards.task

with job(snakemake.log[0]):
    bases = {}
    for current in read_rounds(
        snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, ["rates"]
    ):
        for seed in current.activity["seed"].values:
            label = network_label(current.population, int(seed), current.round_number)
            rates = current.activity["rates"].sel(seed=seed).values
            bases[label] = network_bases(rates, current.network["output_weights"].sel(seed=seed).values)
    seed = random_seed("shuffle", task)
    result = predictivity_matrix(bases, seed)
    result.attrs |= attributes({"rounds": snakemake.params.rounds}, "insd.analysis.similarity", seed=str(seed))
    datasets.write(result, snakemake.output.predictivity, "predictivity")
