"""The table of all networks of all tasks."""

from itertools import islice

import pandas as pd

from insd.cohorts import network_label
from insd.datasets import read
from insd.files import write_text
from insd.jobs import job
from insd.members import read_members
from insd.tables.excursions import VARIABLES, ways, with_excursions
from insd.tables.networks import (
    LARGEST_EXCESS,
    identity,
    join_columns,
    network_table,
    read_results,
    with_deflated,
    with_matched,
)

inputs, params = snakemake.input, snakemake.params

with job(snakemake.log[0]):
    networks, activities, histories = iter(inputs.networks), iter(inputs.activities), iter(inputs.get("histories", []))
    # An analysis that is not made for every task has fewer files than there are tasks.
    files = {name: dict(zip(tasks, inputs.get(rule, []), strict=True)) for name, rule, tasks in params.analyses}
    tables = []
    for task, rounds in params.rounds.items():
        members = read_members(*(list(islice(paths, len(rounds))) for paths in (networks, activities)), rounds)
        rows = [
            identity(task, member, params.references[member.population], params.standards[task][member.population])
            for member in members
        ]
        results = read_results({name: paths[task] for name, paths in files.items() if task in paths})
        joined = join_columns(pd.DataFrame(rows).set_index("label"), results)
        matched = with_matched(with_deflated(joined, params.deflated_r2), **params.scores[task])
        of_networks = {
            network_label(population, seed, number): way
            for population, _, number in params.histories[task]
            for seed, way in ways(read(next(histories), "history", VARIABLES), params.scores[task]["higher_is_better"])
        }
        tables.append(with_excursions(matched, of_networks, LARGEST_EXCESS))
    write_text(snakemake.output.table, network_table(tables).to_csv(index=False, float_format="%.6g"))
