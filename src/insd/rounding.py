"""Rounding of large arrays before they are stored, which halves their files."""

import numpy as np
import xarray as xr
from jaxtyping import Float

BITS = 13
"""Bits of each number's fraction that are kept: the relative error is at most 2^-14, or 6e-5, at any scale."""


def significant(values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Numbers in single precision with `BITS` bits of their fraction, each rounded to the nearest, ties to even.

    The other bits are zero, which compresses well (Kouznetsov 2021, "A note on precision-preserving compression of
    scientific data", round-to-nearest). Numbers that are not finite stay as they are.
    """
    single = np.ascontiguousarray(values, dtype=np.float32)
    bits = single.view(np.uint32)
    dropped = np.uint32(23 - BITS)
    half = np.uint32((1 << (23 - BITS - 1)) - 1)
    rounded = ((bits + half + ((bits >> dropped) & np.uint32(1))) >> dropped) << dropped
    return np.where(np.isfinite(single), rounded.view(np.float32), single)


def with_significant(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset whose arrays of numbers along more than two axes, such as rates, are rounded by `significant`."""
    large = {
        name: values.copy(data=significant(values.values))
        for name, values in dataset.data_vars.items()
        if values.ndim > 2 and values.dtype.kind == "f"
    }
    return dataset.assign(large)
