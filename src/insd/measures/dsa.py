"""Dynamical similarity: how similar the rules are by which activity evolves, whatever its geometry."""

import numpy as np
import torch
from jaxtyping import Float

from insd.dynamics.alignment import best_alignment
from insd.dynamics.operators import fit_operator
from insd.dynamics.settings import DynamicalSimilarity
from insd.measures.base import Activity, Map, Measure


class DSA(Measure):
    """Angle between the linear operators of two networks' activity after the best orthogonal change of coordinates.

    In rad; a metric. See `insd.dynamics.operators.fit` and `insd.dynamics.alignment`.

    Parameters
    ----------
    settings : of the operators and of the search.
    seed : of the random starts, which are the same for all pairs.
    """

    name = "dsa"
    long_name = "DSA"
    zero_is_equal = True
    temporal = True
    bounds = (0.0, np.pi)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = (
        'Ostrow et al. (2023), "Beyond geometry: comparing the temporal structure of computation in neural circuits '
        'with dynamical similarity analysis"'
    )

    def __init__(self, settings: DynamicalSimilarity | None = None, seed: int = 0) -> None:
        self.settings, self.seed = settings or DynamicalSimilarity(), seed

    def prepare(self, activity: Activity) -> Float[np.ndarray, "rank rank"]:
        """The operator; NaN where the activity does not vary."""
        return fit_operator(activity.rates, self.settings.delays, self.settings.rank)

    def compare(self, a: Float[np.ndarray, "rank rank"], b: Float[np.ndarray, "rank rank"]) -> float:
        """See the class."""
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return float("nan")
        starts, iterations = self.settings.starts, self.settings.iterations
        found = best_alignment(torch.from_numpy(a), torch.from_numpy(b)[None], starts, iterations, self.seed)
        return float(found.angles[0])
