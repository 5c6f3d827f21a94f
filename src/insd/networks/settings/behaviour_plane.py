"""The settings of networks with a fixed plane of behaviour."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from insd.networks.settings.base import NetworkSettings
from insd.settings.base import Count


class BehaviourPlaneSettings(NetworkSettings):
    """Networks with a fixed plane of behaviour and a drift of two layers."""

    architecture: str = "behaviour_plane"
    """`behaviour_plane`."""
    hidden: Count = 128
    """Number of tanh units of the drift (ours)."""
    units: Annotated[int, Field(ge=3)] = 16
    """Dimension of the state (as published)."""
    tau: float = 0.2
    """Time constant in s: with steps of 20 ms, a tenth of the drift counts in each (as published)."""
    recurrent_noise: float = 0.0
    """Private noise; behaviour gets its own from the trials."""

    def problems(self, dt: float, outputs: int) -> Iterator[str]:
        yield from super().problems(dt, outputs)
        if outputs != 2:
            yield f"network.architecture = {self.architecture}: outputs are a plane, and the task has {outputs}"
