"""The settings that all networks with a fixed plane of behaviour have."""

from collections.abc import Iterator
from typing import ClassVar

from insd.networks.settings.base import NetworkSettings


class PlaneSettings(NetworkSettings):
    """Networks with a fixed plane of behaviour, whatever their drift."""

    substeps: ClassVar[bool] = False
    """Whether several Euler steps may be taken for an input (`training.substeps`)."""
    last_inputs: ClassVar[tuple[str, ...]] = ("noise_x", "noise_y", "clamp")
    """The last inputs that the trials of a task must have, which act on behaviour."""

    def problems(self, dt: float, outputs: int) -> Iterator[str]:
        yield from super().problems(dt, outputs)
        if outputs != 2:
            yield f"network.architecture = {self.architecture}: outputs are a plane, and the task has {outputs}"
