"""How well all networks of a task predict the recordings that chains begin with."""

from insd import datasets
from insd.analysis.recordings import recording_predictivity
from insd.jobs import job
from insd.members import read_rounds
from insd.provenance import attributes, random_seed
from insd.recordings import read_recording

files, held_out = snakemake.params.files, snakemake.params.held_out

with job(snakemake.log[0]):
    bank = datasets.read(snakemake.input.bank, "trials")
    recordings = {population: read_recording(file, bank) for population, file in files.items()}
    rounds = read_rounds(snakemake.input.networks, snakemake.input.activities, snakemake.params.rounds, [])
    seed = random_seed("recordings", snakemake.wildcards.task)
    result = recording_predictivity(rounds, recordings, bank, held_out, seed)
    settings = {"files": files, "held_out": held_out, "rounds": snakemake.params.rounds}
    result.attrs |= attributes(settings, "insd.analysis.recordings", seed=str(seed))
    datasets.write(result, snakemake.output.recordings, "recordings")
