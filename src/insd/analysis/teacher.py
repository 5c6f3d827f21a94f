"""What students know of their teachers, by units that they learned from and units that they never saw."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Job
from insd.cohorts import network_label
from insd.datasets import Contract

if TYPE_CHECKING:
    from insd.settings.config import Settings

NUMBERS = ("share", "recorded", "r2_null_to_teacher", "r2_null_from_teacher", "r2_to_recorded", "r2_to_unrecorded")
"""What is known of each student."""
BY_UNIT = ("total", "explained", "place")
"""What is known of each unit of its teacher."""
NAMES = ("teacher", "teacher_role")
"""The label of its teacher, and the role of that."""
CONTRACT = Contract(
    dict.fromkeys((*NUMBERS, *NAMES), ("network",)) | dict.fromkeys(BY_UNIT, ("network", "unit")),
    # Without a recorded or unrecorded unit, or of a teacher with fewer units than others.
    may_be_nan=frozenset({*NUMBERS[2:], *BY_UNIT}),
    text=frozenset(NAMES),
)
"""What its file holds."""


def applies(settings: "Settings", task: str) -> bool:
    """Where a population has networks as teachers."""
    return any(
        settings.population(name).make == "teach" and settings.maker(name).settings.population is not None
        for name in settings.population_names(task)
    )


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.teacher.of_student` of each student whose teacher is among the networks that are analysed."""
    from insd.evaluation.teacher import of_student

    known = {member.label: member for member in job.members}
    rows, labels, teachers = [], [], []
    for member in job.members:
        made = member.settings["recipe"]
        if made.get("make") != "teach" or made["maker"]["population"] is None:
            continue
        teacher = known.get(network_label(made["maker"]["population"], member.seed, made["maker"]["round"]))
        if teacher is not None:
            rows.append(of_student(member, teacher, made["terms"]["teacher"]["share"]))
            labels.append(member.label)
            teachers.append(teacher)
    found: dict[str, tuple] = {name: ("network", np.array([row[name] for row in rows], float)) for name in NUMBERS}
    units = [np.size(row["place"]) for row in rows]
    for name in BY_UNIT:
        values = np.full((len(rows), max(units, default=0)), np.nan)
        for place, (row, count) in enumerate(zip(rows, units, strict=True)):
            values[place, :count] = row[name]
        found[name] = (("network", "unit"), values)
    texts = ([one.label for one in teachers], [one.role for one in teachers])
    named = {name: ("network", np.array(of, object)) for name, of in zip(NAMES, texts, strict=True)}
    return {"teacher": xr.Dataset(found | named, {"network": labels})}


ANALYSIS = Analysis(
    description="What students know of their teachers, by units that they learned from and units that they never saw.",
    writes={"teacher": CONTRACT},
    run=run,
    settings=AnalysisSettings,
    applies=applies,
)
"""What the workflow knows of this analysis."""
