"""How measures of similarity respond to irrelevant dimensions and to scale, on one network's activity."""

from insd import datasets
from insd.analysis.responses import responses
from insd.jobs import job
from insd.measures.base import find_measures
from insd.provenance import attributes, random_seed

with job(snakemake.log[0]):
    rates = datasets.read(snakemake.input.activity, "activity", ["rates"])["rates"].values[0]
    seed = random_seed("responses", snakemake.wildcards.task)
    names = list(snakemake.params.measures)
    result = responses(rates, find_measures(names), seed)
    settings = {"activity": snakemake.input.activity, "measures": names}
    result.attrs |= attributes(
        settings, "insd.analysis.responses", code_fingerprint=snakemake.params.code, seed=str(seed)
    )
    datasets.write(result, snakemake.output.responses, "responses")
