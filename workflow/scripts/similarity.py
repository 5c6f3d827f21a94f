"""Linear predictivity and the usual measures of similarity between all networks of a task."""

from insd import datasets
from insd.analysis.similarity import prepare, similarity
from insd.jobs import job
from insd.measures.base import find_measures
from insd.members import network_label, read_rounds
from insd.provenance import attributes, random_seed

task = snakemake.wildcards.task

with job(snakemake.log[0]):
    names = list(snakemake.params.measures)
    measures = find_measures(names)
    networks = {}
    for current in read_rounds(
        snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, ["rates"]
    ):
        for seed in current.activity["seed"].values:
            label = network_label(current.population, int(seed), current.round_number)
            rates = current.activity["rates"].sel(seed=seed).values
            networks[label] = prepare(rates, current.network["output_weights"].sel(seed=seed).values, measures)
    seed = random_seed("shuffle", task)
    settings = {"rounds": snakemake.params.rounds, "measures": names}
    about = attributes(settings, "insd.analysis.similarity", code_fingerprint=snakemake.params.code, seed=str(seed))
    for name, result in zip(("predictivity", "similarity"), similarity(networks, measures, seed), strict=True):
        result.attrs |= about
        datasets.write(result, snakemake.output[name], name)
