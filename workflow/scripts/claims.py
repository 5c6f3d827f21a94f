"""The statements of papers, next to what the grid shows."""

from insd import datasets
from insd.claims.base import TABLES, claims_page, judged, publications
from insd.files import write_text
from insd.jobs import job
from insd.tables.comparisons import number_of_intervals

with job(snakemake.log[0]):
    papers = publications(snakemake.params.claims)
    given = dict(snakemake.input.items())
    networks = datasets.read_table(given.pop("table"))
    tables = {name: datasets.read_table(given.pop(name)) for name in TABLES if name in given}
    analyses = {
        name: datasets.read_by_task(snakemake.params.analysed[name], paths, name, networks)
        for name, paths in given.items()
    }
    table = judged(papers, networks, analyses, tables, **snakemake.params.settings)
    write_text(snakemake.output.claims, table.to_csv(index=False))
    n_intervals = number_of_intervals(tables["comparisons"])
    page = claims_page(table, papers, n_intervals, snakemake.params.settings["confidence"])
    write_text(snakemake.output.page, page)
