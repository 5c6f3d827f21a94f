"""A check that a maker keeps what the workflow and analyses rely on."""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from insd.errors import refusing
from insd.makers.base import File, Job, Made, Maker, MakerError
from insd.plugins import names
from insd.settings.recipe import Recipe

_must = refusing(MakerError)


def check_maker(maker: type[Maker], settings: Mapping[str, Any], job: Job) -> None:
    """Check a maker with these settings on a small job.

    Checked are its declarations, that it writes the files that it declares and that they keep their contracts, that the
    same job gives the same arrays again, and that a network alone equals itself in the block of its job. The job has
    two networks or more. Raises MakerError at the first that fails.
    """
    name = maker.__name__
    made_by = maker(maker.Settings(**settings))
    _must(bool(getattr(maker, "description", "")), name, "it has no description")
    unknown = {str(file) for file in maker.writes} - set(get_args(File))
    _must(not unknown, name, f"it declares files that rounds do not have: {', '.join(sorted(unknown))}")
    _must("activity" in maker.writes, name, "it does not write activity, which later rounds and analyses read")
    unknown = set(maker.sections) - set(Recipe.model_fields)
    _must(not unknown, name, f"it uses sections that recipes do not have: {', '.join(sorted(unknown))}")
    _must("terms" in maker.sections, name, "it does not use the section terms, by which activity is kept")
    known = {*names("network")}
    unknown = {one for one in made_by.architectures(job.recipe) if ":" not in one} - known
    _must(not unknown, name, f"its architectures are unknown: {', '.join(sorted(unknown))}")
    if not maker.chains:
        earlier = [read for read in made_by.reads("p", "p", 0) if read.population == "p"]
        _must(not earlier, name, "it reads earlier rounds, but does not make chains (chains)")
    for amount in (made_by.memory_mb(job.recipe, len(job.names)), made_by.minutes(job.recipe, len(job.names))):
        _must(amount > 0, name, "its memory and run time must be positive")

    made = made_by.make(job)
    _written(name, maker, made, job)
    again = made_by.make(job)
    for file, (dataset, _) in made.files().items():
        _must(dataset.equals(again.files()[file][0]), name, f"the same job gives a different {file}")
    alone = made_by.make(dataclasses.replace(job, names=job.names[-1:]))
    if made.network is not None and alone.network is not None:
        for weights in made.network.data_vars:
            off = abs(made.network[weights].isel(seed=[-1]) - alone.network[weights]).max()
            _must(float(off) <= 1e-4, name, f"'{weights}' of a network alone differs by {float(off):.2g}")


def _written(name: str, maker: type[Maker], made: Made, job: Job) -> None:
    from insd import datasets

    files = made.files()
    _must(
        set(files) == set(maker.writes),
        name,
        f"it makes {', '.join(sorted(files))}, and declares {', '.join(sorted(maker.writes))}",
    )
    seeds = [one[2] for one in job.names]
    with tempfile.TemporaryDirectory() as folder:
        for file, (dataset, contract) in files.items():
            _must(dataset["seed"].values.tolist() == seeds, name, f"{file} is not of the seeds {seeds}")
            path = Path(folder, f"{file}.nc")
            datasets.write(dataset.assign_attrs(settings="{}"), path, contract)
            _must(datasets.read(path, contract).equals(dataset), name, f"{file} is different when it is read again")
