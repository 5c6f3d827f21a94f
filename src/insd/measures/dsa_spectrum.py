"""Distance between the spectra of the operators that dynamical similarity compares."""

import numpy as np
import scipy.optimize
from jaxtyping import Complex

from insd.dynamics.operators import fit_operator, spectrum
from insd.dynamics.settings import DynamicalSimilarity
from insd.measures.base import Activity, Map, Measure


class DSASpectrum(Measure):
    """Wasserstein-2 distance between the operators' eigenvalues, ``min over matchings of sqrt(mean |l - m|^2)``.

    Eigenvalues are those per time step. Blind to everything of an operator but them.

    Parameters
    ----------
    settings : of the operators.
    """

    name = "dsa_spectrum"
    long_name = "DSA spectrum"
    zero_is_equal = True
    temporal = True
    bounds = (0.0, np.inf)
    invariant_to = (Map.ROTATION, Map.SCALING, Map.TRANSLATION)
    source = 'Redman et al. (2024), "Identifying equivalent training dynamics", where Koopman spectra are compared so'

    def __init__(self, settings: DynamicalSimilarity | None = None) -> None:
        self.settings = settings or DynamicalSimilarity()

    def prepare(self, activity: Activity) -> Complex[np.ndarray, "mode"]:
        """The eigenvalues; NaN where the activity does not vary."""
        return spectrum(fit_operator(activity.rates, self.settings.delays, self.settings.rank))

    def compare(self, a: Complex[np.ndarray, "mode"], b: Complex[np.ndarray, "mode"]) -> float:
        """See the class."""
        costs = np.square(np.abs(a[:, None] - b))
        if not np.isfinite(costs).all():
            return float("nan")
        return float(np.sqrt(costs[scipy.optimize.linear_sum_assignment(costs)].mean()))
