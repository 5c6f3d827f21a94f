"""Finished results in one file, with checksums."""

from insd.archive import pack
from insd.jobs import job

with job(snakemake.log[0]):
    pack(snakemake.input, snakemake.output.archive)
