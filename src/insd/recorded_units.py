"""Which units of a teacher are recorded, by a share and a seed; and how much of some units is explained."""

import numpy as np
from jaxtyping import Bool, Float, Int

from insd.provenance import random_seed


def order_of_units(units: int, seed: int) -> Int[np.ndarray, "unit"]:
    """The units of a teacher of that seed in the order in which they are recorded.

    Drawn by the seed and the number of units: a larger share holds all units of a smaller one, and teachers of the same
    seed are recorded at the same units.
    """
    return np.random.default_rng(random_seed("recorded units", units, seed)).permutation(units)


def recorded_units(units: int, share: float, seed: int) -> Int[np.ndarray, "recorded"]:
    """The recorded units, the first ``round(share * units)`` of `order_of_units`, in ascending order."""
    return np.sort(order_of_units(units, seed)[: round(share * units)])


def r2_of_units(
    total: Float[np.ndarray, "*network unit"],
    explained: Float[np.ndarray, "*network unit"],
    units: Bool[np.ndarray, "*network unit"],
) -> Float[np.ndarray, "*network"]:
    """Share of the variance of some units that is explained; NaN where these do not vary, or where there are none."""
    of_all = np.where(units, total, 0.0).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(of_all > 0, np.where(units, explained, 0.0).sum(-1) / of_all, np.nan)
