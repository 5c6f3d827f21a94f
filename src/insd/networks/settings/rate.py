"""The settings of rate networks."""

from typing import Literal

from insd.networks.settings.base import NetworkSettings


class RateSettings(NetworkSettings):
    """Rate networks."""

    nonlinearity: Literal["tanh", "relu", "softplus"] = "tanh"
    """The rates of states x: `tanh`, tanh(x); `relu`, max(x, 0); `softplus`, log(1 + e^x)."""
