"""How measures of similarity respond to irrelevant dimensions and to scale, on one network's activity."""

from insd import datasets
from insd.analysis.similarity import responses
from insd.jobs import job
from insd.provenance import attributes, random_seed

with job(snakemake.log[0]):
    rates = datasets.read(snakemake.input.activity, "activity", ["rates"])["rates"].values[0]
    seed = random_seed("responses", snakemake.wildcards.task)
    result = responses(rates, seed)
    result.attrs |= attributes({"activity": snakemake.input.activity}, "insd.analysis.similarity", seed=str(seed))
    datasets.write(result, snakemake.output.responses, "responses")
