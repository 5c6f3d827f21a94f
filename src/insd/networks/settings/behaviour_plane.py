"""The settings of networks with a fixed plane of behaviour."""

from collections.abc import Iterator
from typing import ClassVar

from insd.networks.settings.base import NetworkSettings
from insd.settings.base import Count


class BehaviourPlaneSettings(NetworkSettings):
    """Networks with a fixed plane of behaviour and a drift of two layers."""

    substeps: ClassVar[bool] = False
    """Whether several Euler steps may be taken for an input (`training.substeps`)."""
    last_inputs: ClassVar[tuple[str, ...]] = ("noise_x", "noise_y", "clamp")
    """The last inputs that the trials of a task must have, which act on behaviour."""
    architecture: str = "behaviour_plane"
    """`behaviour_plane`."""
    hidden: Count = 128
    """Number of tanh units of the drift (ours)."""

    def problems(self, dt: float, outputs: int) -> Iterator[str]:
        yield from super().problems(dt, outputs)
        if outputs != 2:
            yield f"network.architecture = {self.architecture}: outputs are a plane, and the task has {outputs}"
