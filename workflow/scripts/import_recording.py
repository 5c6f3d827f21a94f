"""Make recorded activity ready to be deflated against, in the place of round 0."""

from insd import datasets
from insd.jobs import job
from insd.provenance import attributes
from insd.recordings import reference_of_recording
from insd.settings.config import Deflation, seeds_of

deflation, seeds = snakemake.params.deflation, snakemake.wildcards.seeds

with job(snakemake.log[0]):
    bank = datasets.read(snakemake.input.bank, "trials")
    reference = reference_of_recording(
        snakemake.input.recording, bank, Deflation.model_validate(deflation), seeds_of(seeds)
    )
    settings = {"recording": snakemake.input.recording, "deflation": deflation, "seeds": seeds}
    reference.attrs |= attributes(settings, "insd.recordings", seed=seeds)
    datasets.write(reference, snakemake.output.reference, "recording")
