"""Task variables, which decoders read from activity and figures colour by; by default, the conditions of the trials."""

import dataclasses
from typing import Literal, get_args

import numpy as np
import xarray as xr
from jaxtyping import Float

Kind = Literal["value", "sign", "angle", "category"]
"""What the values of a task variable are: any numbers, -1 and 1, angles in radians, or labels of categories, which are
numbers without an order."""
KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds of task variables."""
MOST_CATEGORIES = 8
"""Conditions of more different values than these are not categories."""
LEAST_SHARE = 0.1
"""Conditions in which fewer trials than these differ from the most common value count as constant."""


@dataclasses.dataclass(frozen=True)
class Variable:
    """A task variable that activity may carry, in every trial at every time."""

    values: Float[np.ndarray, "trial time"]
    kind: Kind
    labels: tuple[str, ...] = ()
    """What categories are called, in the order of their numbers; without them, by their numbers."""

    @classmethod
    def constant(
        cls, values: Float[np.ndarray, "trial"], times: int, kind: Kind, labels: tuple[str, ...] = ()
    ) -> "Variable":
        """A variable that does not change within a trial."""
        return cls(np.broadcast_to(values[:, None], (values.size, times)), kind, labels)


def of_conditions(trials: xr.Dataset) -> dict[str, Variable]:
    """The conditions of trials as task variables, by name.

    True and false, or -1 and 1, are a sign. Text, whole numbers of at most `MOST_CATEGORIES` different values, and any
    two numbers are categories. Other numbers are values, also if there are few: levels of a stimulus have an order,
    and a linear reader of an ordered code does not find its middle categories. That a condition is an angle cannot be
    known: a task must say it.

    Left out is what would tell nothing of the task, or cannot be decoded:

    - what is the same in (nearly) all trials (`LEAST_SHARE`), or is not finite in some;
    - names of single trials: text or whole numbers of which no two trials share one;
    - text of more than `MOST_CATEGORIES` different values;
    - when things happen: `steps`, and names that end in `_time`.
    """
    found = {}
    for name, coordinate in trials.coords.items():
        if coordinate.dims != ("trial",) or name in ("trial", "steps") or str(name).endswith("_time"):
            continue
        if (variable := _of_condition(coordinate.values, trials.sizes["time"])) is not None:
            found[str(name)] = variable
    return found


def _of_condition(values: np.ndarray, times: int) -> Variable | None:
    """One condition, (trial,), as a variable; None for those that are left out."""
    if values.dtype.kind not in "biufUO" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        return None
    text = values.dtype.kind in "UO"
    different, index, counts = np.unique(
        values.astype(str) if text else values, return_inverse=True, return_counts=True
    )
    if counts.max() > (1 - LEAST_SHARE) * len(values):
        return None
    # Few trials have few values, of whatever kind.
    few = len(different) <= min(MOST_CATEGORIES, len(values) // 2)
    if text:
        labels = tuple(different.tolist())
        return Variable.constant(index.astype(float), times, "category", labels) if few else None
    if len(different) == len(values) and values.dtype.kind != "f":
        return None
    if values.dtype.kind == "b" or different.tolist() == [-1, 1]:
        return Variable.constant(2.0 * index - 1, times, "sign")
    named = few and (len(different) == 2 or (different == np.round(different)).all())
    return Variable.constant(values.astype(float), times, "category" if named else "value")
