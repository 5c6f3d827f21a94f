"""What students know of their teachers, by units that they learned from and units that they never saw."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
RECORDING = "recording"
"""What stands for the role of a teacher that is recorded activity."""
NAMES = ("teacher", "teacher_role")
"""The label of its teacher, and the role of that; of a recording, its file and `recording`."""
CONTRACT = Contract(
    dict.fromkeys((*NUMBERS, *NAMES), ("network",)) | dict.fromkeys(BY_UNIT, ("network", "unit")),
    # Without a recorded or unrecorded unit, or of a teacher with fewer units than others.
    may_be_nan=frozenset({*NUMBERS[2:], *BY_UNIT}),
    text=frozenset(NAMES),
)
"""What its file holds."""


def applies(settings: "Settings", task: str) -> bool:
    """Where there are students."""
    return any(settings.population(name).make == "teach" for name in settings.population_names(task))


def more(settings: "Settings", task: str) -> dict[str, Any]:
    """The recordings that are teachers, by population of students, and how many trials no network was trained on."""
    files = {
        name: settings.maker(name).settings.recording.replace("{task}", task)
        for name in settings.population_names(task)
        if settings.population(name).make == "teach" and settings.maker(name).settings.recording is not None
    }
    return {"files": files, "held_out": settings.held_out_trials(task)} if files else {}


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.evaluation.teacher.of_student` of each student whose teacher is among the networks that are analysed, and
    `of_recording` of each whose teacher is a recording.
    """
    from insd.evaluation.teacher import of_recording, of_student
    from insd.recordings import read_recording

    known = {member.label: member for member in job.members}
    files = job.more.get("files", {})
    recordings = {file: read_recording(file, job.trials["train"]) for file in sorted(set(files.values()))}
    rows, labels, texts = [], [], []
    for member in job.members:
        made = member.settings["recipe"]
        if made.get("make") != "teach":
            continue
        share = made["terms"]["teacher"]["share"]
        if made["maker"]["population"] is None:
            file = files[member.population]
            row = of_recording(member, recordings[file], job.trials["train"], job.more["held_out"], share)
            texts.append((file, RECORDING))
        else:
            teacher = known.get(network_label(made["maker"]["population"], member.seed, made["maker"]["round"]))
            if teacher is None:
                continue
            row = of_student(member, teacher, share)
            texts.append((teacher.label, teacher.role))
        rows.append(row)
        labels.append(member.label)
    found: dict[str, tuple] = {name: ("network", np.array([row[name] for row in rows], float)) for name in NUMBERS}
    units = [np.size(row["place"]) for row in rows]
    for name in BY_UNIT:
        values = np.full((len(rows), max(units, default=0)), np.nan)
        for place, (row, count) in enumerate(zip(rows, units, strict=True)):
            values[place, :count] = row[name]
        found[name] = (("network", "unit"), values)
    named = {name: ("network", np.array([of[k] for of in texts], object)) for k, name in enumerate(NAMES)}
    return {"teacher": xr.Dataset(found | named, {"network": labels})}


ANALYSIS = Analysis(
    description="What students know of their teachers, by units that they learned from and units that they never saw.",
    writes={"teacher": CONTRACT},
    run=run,
    settings=AnalysisSettings,
    reads=("trials/train",),
    applies=applies,
    more=more,
)
"""What the workflow knows of this analysis."""
