"""How much the networks of each recipe differ, at each level of the factors that control it, and by deflation."""

from insd import datasets
from insd.files import write_text
from insd.jobs import job
from insd.tables.degeneracy import comparisons, degeneracy_page, factor_rows, group_rows, ratio_rows

params = snakemake.params

with job(snakemake.log[0]):
    paths = zip(params.analysed, snakemake.input.degeneracy, strict=True)
    files = {task: datasets.read(path, "degeneracy") for task, path in paths}
    groups = group_rows(files)
    found = comparisons(files, groups, params.tasks, params.references)
    factors, ratios = factor_rows(found, params.confidence), ratio_rows(found, params.confidence)
    for table, path in ((groups, "groups"), (factors, "factors"), (ratios, "ratios")):
        write_text(snakemake.output[path], table.to_csv(index=False, float_format="%.6g"))
    write_text(snakemake.output.page, degeneracy_page(groups, factors, ratios, params.confidence))
