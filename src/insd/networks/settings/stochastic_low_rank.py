"""The settings of networks of a few latent variables."""

from typing import Literal

from insd.networks.settings.base import NetworkSettings
from insd.settings.base import Count


class StochasticLowRankSettings(NetworkSettings):
    """Networks of a few latent variables, from which the rates of all units are read."""

    architecture: str = "stochastic_low_rank"
    """`stochastic_low_rank`."""
    nonlinearity: Literal["relu", "clipped_relu"] = "relu"
    """The function of currents x with thresholds h: `relu`, relu(x - h); `clipped_relu`, relu(x + h) - relu(x)."""
    rank: Count
    """Number of latent variables."""
    hidden: Count = 64
    """Number of currents, through which latent variables act on each other."""
