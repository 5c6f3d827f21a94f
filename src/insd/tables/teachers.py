"""Students next to their teachers and to students of the outputs alone, for claims and the figure."""

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.teacher import RECORDING
from insd.cohorts import network_labels
from insd.recorded_units import r2_of_units

R2 = ("r2_null_to_teacher", "r2_null_from_teacher")
"""Null-space r2, student -> teacher and back."""
COLUMNS = ["share", *R2, "r2_to_recorded", "r2_to_unrecorded"]
"""What `students` takes from `teacher.nc`."""


def students(table: pd.DataFrame, result: xr.Dataset) -> pd.DataFrame:
    """One row per student, by label.

    Parameters
    ----------
    table : the rows of `networks.csv` of a task.
    result : `teacher.nc` of that task, which may have NaN for networks that are not students.

    Returns
    -------
    teacher, teacher_role, teacher_population, teacher_round : its teacher; of a recording, its file, `recording`, its
        file and 0.
    seed, share, r2_null_to_teacher, r2_null_from_teacher, r2_to_recorded, r2_to_unrecorded : as in `teacher.nc`.
    r2_output_only : r2 to the units that were not recorded for this student, of the students of the same teacher
        without any recorded unit; the mean, if there are several. NaN without any that is solved.
    solved : whether the student and, if it is a network, its teacher solve the task.
    stable_points, stable_points_of_teacher : over all static inputs; NaN where they were not sought, or cannot be.
    """
    labelled = table.set_index(pd.Index(network_labels(table)))
    of_students = result.sel(network=result["share"].notnull())
    labels = of_students["network"].values.tolist()
    rows = of_students[COLUMNS].to_dataframe()[COLUMNS].reindex(labels)
    rows["teacher"] = of_students["teacher"].values.astype(str)
    rows["teacher_role"] = of_students["teacher_role"].values.astype(str)
    teachers = labelled.reindex(rows["teacher"])
    own = labelled.reindex(labels)
    rows["seed"] = own["seed"].to_numpy()
    recorded = rows["teacher_role"] == RECORDING
    label = rows["teacher"].str.rsplit("/", n=2)
    rows["teacher_population"] = label.str[0].where(~recorded, rows["teacher"])
    rows["teacher_round"] = label.str[-1].where(~recorded, "0").astype(int)
    # A recording need not solve the task.
    rows["solved"] = own["solved"].eq(True).to_numpy() & (teachers["solved"].eq(True).to_numpy() | recorded)
    points = "n_stable_fixed_points"
    rows["stable_points"] = own[points].to_numpy(float) if points in own else np.nan
    rows["stable_points_of_teacher"] = teachers[points].to_numpy(float) if points in teachers else np.nan
    rows["r2_output_only"] = _output_only(rows, of_students)
    return rows


def paired(rows: pd.DataFrame, column: str, high: float, low: float = 0.0) -> pd.Series:
    """A column of the solved students of one share minus that of those of another share, by teacher."""
    known = rows[rows["solved"]]
    means = [known[known["share"] == share].groupby("teacher")[column].mean() for share in (high, low)]
    return (means[0] - means[1]).dropna()


def _output_only(rows: pd.DataFrame, result: xr.Dataset) -> np.ndarray:
    """See `students`."""
    total, explained, place = (result[name].values for name in ("total", "explained", "place"))
    recorded = result["recorded"].values
    without = (recorded == 0) & rows["solved"].to_numpy(bool)
    found = np.full(len(rows), np.nan)
    for number, teacher in enumerate(rows["teacher"]):
        same = without & (rows["teacher"] == teacher).to_numpy()
        if same.any():
            units = np.broadcast_to(place[number] >= recorded[number], total[same].shape)
            found[number] = r2_of_units(total[same], explained[same], units).mean()
    return found
