"""What students know of their teachers: of the units that they learned from, and of those that they never saw."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.activity import simulate_trials
from insd.measures.base import orthonormal_basis
from insd.measures.predictivity import linear_predictivity
from insd.members import Member
from insd.predictivity import null_projector_array
from insd.recorded_units import order_of_units, r2_of_units, recorded_units
from insd.recordings import null_rates
from insd.samples import chosen, lasting


class Activity(NamedTuple):
    """Rates on some trials, in full space and in null space, and the seed by which units are recorded."""

    rates: Float[np.ndarray, "trial time unit"]
    null_rates: Float[np.ndarray, "trial time unit"]
    seed: int


def explained_by_unit(
    predictor: Float[np.ndarray, "trial time unit"], target: Float[np.ndarray, "trial time unit_to"]
) -> tuple[Float[np.ndarray, "unit_to"], Float[np.ndarray, "unit_to"]]:
    """Of each unit, the sum of squares about its mean, and the part of it that a linear map of the predictor explains.

    Without ridge, in double precision, over all samples until the end of trials. Summed over units, the second over the
    first is the linear predictivity of `insd.measures.predictivity`.
    """
    lasts = lasting(target)
    x, y = (chosen(one, lasts).astype(np.float64) for one in (predictor, target))
    y = y - y.mean(0)
    basis, _ = orthonormal_basis(x)
    return np.square(y).sum(0), np.square(basis.T @ y).sum(0)


def of_recording(
    student: Member, recording: Mapping[str, np.ndarray], bank: xr.Dataset, held_out: int, share: float
) -> dict[str, np.ndarray | float]:
    """The same as `of_student` of a recording as the teacher, on the last trials of the bank, which no network was
    trained on. A recording without a readout has no null space: all its activity counts there.

    Parameters
    ----------
    recording : its arrays on the whole bank (`insd.recordings.read_recording`).
    held_out : how many trials these are.
    """
    assert student.network is not None
    trials = bank.isel(trial=slice(bank.sizes["trial"] - held_out, None))
    rates = simulate_trials(student.network, trials)[0].numpy()[0]
    own = Activity(rates, rates @ null_projector_array(student.output_weights), student.seed)
    # All students learn from the units of seed 0.
    teacher = Activity(recording["rates"][-held_out:], null_rates(dict(recording))[-held_out:], 0)
    return of_student(own, teacher, share)


def of_student(student: Member | Activity, teacher: Member | Activity, share: float) -> dict[str, np.ndarray | float]:
    """The variables of `teacher.nc` for one student, from the activity of both on the test trials.

    Parameters
    ----------
    student, teacher : on the same trials.
    share : of the teacher's units that were recorded.

    Returns
    -------
    share, recorded : the share, and the number of units that it is.
    r2_null_to_teacher, r2_null_from_teacher : linear predictivity of null-space rates, student -> teacher and back.
    r2_to_recorded, r2_to_unrecorded : that of all rates of the student to those units of the teacher.
    total, explained : by unit of the teacher, see `explained_by_unit`.
    place : by unit of the teacher, its place in the order in which units are recorded.
    """
    total, explained = explained_by_unit(student.rates, teacher.rates)
    order = order_of_units(len(total), teacher.seed)
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    recorded = len(recorded_units(len(order), share, teacher.seed))
    null_of_student, null_of_teacher = student.null_rates, teacher.null_rates
    return {
        "share": share,
        "recorded": recorded,
        "r2_null_to_teacher": linear_predictivity(null_of_student, null_of_teacher),
        "r2_null_from_teacher": linear_predictivity(null_of_teacher, null_of_student),
        "r2_to_recorded": float(r2_of_units(total, explained, place < recorded)),
        "r2_to_unrecorded": float(r2_of_units(total, explained, place >= recorded)),
        "total": total,
        "explained": explained,
        "place": place,
    }
