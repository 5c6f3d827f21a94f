"""How many alternatives each chain has before one is no longer solved, or no longer unlike the earlier ones."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.tables.capacity import capacity, capacity_page, capacity_pairs

params = snakemake.params

with job(snakemake.log[0]):
    networks = datasets.read_table(snakemake.input.table)
    predictivity = datasets.read_by_task(params.tasks, snakemake.input.predictivity, "predictivity", networks)
    chains = capacity(networks, params.deflated_r2)
    pairs = capacity_pairs(networks, predictivity, params.deflated_r2)
    write_text(snakemake.output.capacity, chains.to_csv(index=False, float_format="%.6g"))
    write_text(snakemake.output.pairs, pairs.to_csv(index=False, float_format="%.6g"))
    write_text(snakemake.output.page, capacity_page(chains, pairs))
