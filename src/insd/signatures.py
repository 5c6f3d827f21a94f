"""Signatures of paths: their iterated integrals, level by level.

Level n of a path x holds ``integral over t_1 < ... < t_n of dx_{t_1} x ... x dx_{t_n}``, one number for each word of n
channels. Source: Chen (1957), "Integration of paths, geometric invariants and a generalized Baker-Hausdorff formula".
"""

import math

import numpy as np
from jaxtyping import Float

from insd.samples import lasting

DEPTH = 3
"""Levels that are computed unless a caller asks for others."""


def signature(
    path: Float[np.ndarray, "*trial time channel"], depth: int = DEPTH
) -> list[Float[np.ndarray, "*trial word"]]:
    """Levels 1 to `depth` of paths that are linear between the times; words are in lexicographic order.

    By Chen's identity: a step of increment d multiplies the signature so far by ``exp(d)``, whose level k is
    ``d x ... x d / k!``. What follows the end of a trial is NaN (`insd.samples`) and adds nothing.
    """
    lasts = lasting(path)[..., 1:, None]
    steps = np.where(lasts, np.diff(path, axis=-2), 0.0)
    levels = [np.zeros((*path.shape[:-2], path.shape[-1] ** level)) for level in range(1, depth + 1)]
    for step in np.moveaxis(steps, -2, 0):
        powers = [step]
        for _ in range(2, depth + 1):
            powers.append(_product(powers[-1], step))
        # Highest first: each level needs the lower ones from before the step.
        for level in range(depth, 0, -1):
            levels[level - 1] += powers[level - 1] / math.factorial(level)
            for order in range(1, level):
                levels[level - 1] += _product(levels[level - order - 1], powers[order - 1] / math.factorial(order))
    return levels


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Tensor products of words, trial by trial."""
    return (left[..., :, None] * right[..., None, :]).reshape(*left.shape[:-1], -1)
