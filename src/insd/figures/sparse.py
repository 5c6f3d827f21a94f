"""How much of a teacher its students have, against the share of its units that they learned from."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insd.analysis.teacher import RECORDING
from insd.cohorts import ALTERNATIVE
from insd.figures import base
from insd.figures.theme import (
    ROUND_HUES,
    STANDARDS,
    TWO_COLUMNS,
    dots,
    interval_key,
    key,
    letters,
    new_figure,
    note,
    state_keys,
)
from insd.tables.teachers import students

PANELS = {
    "r2_null_to_teacher": "null-space r²,\nstudent → teacher",
    "r2_null_from_teacher": "null-space r²,\nteacher → student",
    "r2_to_unrecorded": "r² to units that\nwere not recorded",
    "stable_points": "stable points",
}
"""What is drawn, with its label."""
RECORDED = "black"
"""The colour of students of a recording."""


def sparse_figure(rows: pd.DataFrame, confidence: float) -> Figure:
    """Four panels, against the share of recorded units, side by side for each round that is a teacher.

    Null-space r2 of student and teacher in both directions; r2 to units that were not recorded, where crosses are means
    of students of the outputs alone to the same units; stable points of students and, as bars, the mean of teachers.

    `rows` are those of `insd.tables.teachers.students`.
    """
    figure = new_figure(TWO_COLUMNS, 52.0)
    if rows.empty:
        note(figure.subplots(), "no students\nin this grid")
        return figure
    shares = sorted(set(rows["share"]))
    which = rows[["teacher_population", "teacher_round"]].drop_duplicates().sort_values(["teacher_round"])
    teachers = [
        (population, number, rows[(rows["teacher_population"] == population) & (rows["teacher_round"] == number)])
        for population, number in which.itertuples(index=False)
    ]
    axes = np.asarray(figure.subplots(1, len(PANELS)))
    handles, states = [], np.where(rows["solved"], "", "not solved")
    for number, (population, round_number, own) in enumerate(teachers):
        role = own["teacher_role"].iloc[0]
        name = f"alt-{round_number}" if role == ALTERNATIVE else role
        colour = ROUND_HUES[round_number % len(ROUND_HUES)] if role == ALTERNATIVE else STANDARDS
        whose = population
        if role == RECORDING:
            colour, whose = RECORDED, Path(population).name
        handles.append(key(f"teacher: {name} of {whose}", color=colour, marker="o", linestyle="", markersize=3))
        width = 0.8 / len(teachers)
        shift = (number - (len(teachers) - 1) / 2) * width
        for panel, column in zip(axes, PANELS, strict=True):
            for place, share in enumerate(shares):
                chosen = own[own["share"] == share]
                _group(panel, place + shift, chosen, column, colour, confidence, 0.9 * width)
    for panel, (column, label) in zip(axes, PANELS.items(), strict=True):
        panel.set_xticks(range(len(shares)), [str(Fraction(share).limit_denominator(100)) for share in shares])
        panel.set_xlim(-0.6, len(shares) - 0.4)
        panel.set_xlabel("share of recorded units")
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0.0, top=1.02 if column != "stable_points" else None)
        if column == "stable_points":
            panel.yaxis.get_major_locator().set_params(integer=True)
        if rows[column].isna().all():
            note(panel, "not sought" if column == "stable_points" else "not known")
    letters(axes.flat)
    handles += [
        *state_keys(states),
        key("students of the outputs alone", color="black", marker="x", linestyle="", markersize=3),
        key("mean of teachers", color="black", linewidth=2.0, alpha=0.4),
        interval_key(confidence),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def _group(
    axes: Axes, place: float, rows: pd.DataFrame, column: str, colour: str, confidence: float, width: float
) -> None:
    """The students of one share of one round of teachers."""
    if rows.empty:
        return
    states = np.where(rows["solved"], "", "not solved")
    dots(axes, place, rows[column].to_numpy(float), states, colour, confidence, 2.0, width)
    if column == "r2_to_unrecorded" and (rows["share"] > 0).any():
        axes.plot([place], [rows["r2_output_only"].mean()], "x", color="black", markersize=3, zorder=4)
    if column == "stable_points":
        mean = rows["stable_points_of_teacher"].mean()
        axes.plot([place - width / 2, place + width / 2], [mean, mean], color=colour, linewidth=2.0, alpha=0.4)


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    return sparse_figure(students(drawing.table("networks"), drawing.dataset("analysis/teacher")), drawing.confidence)


FIGURE = base.Figure(
    title="sparse",
    description="null-space r² of students and teachers in both directions, r² to units that were not recorded, and "
    "stable points of both, against the share of units that students learned from (for tasks with students, as in "
    "`config/studies/sparse.yaml`)",
    per="task",
    reads=("tables/networks", "analysis/teacher"),
    uses=("confidence",),
    draw=draw,
)
"""What the workflow knows of this figure."""
