"""The settings of rate networks in the maximal-update parametrisation."""

from insd.networks.settings.rate import RateSettings
from insd.settings.base import Positive


class MaximalUpdateSettings(RateSettings):
    """Rate networks whose outputs and rates change at the same speed in training at any width."""

    architecture: str = "maximal_update"
    """`maximal_update`."""
    feature_learning: Positive = 1.0
    """The knob gamma: how far rates move while outputs learn a given function. Small, weights hardly move; large, the
    network learns features. The step size of parameters is `training.step_size` times gamma and, of recurrent weights,
    1/N; of output weights, 1/N; output weights start with variance 1/(gamma N)²."""
