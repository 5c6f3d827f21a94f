"""The settings that all architectures have, and where those of each architecture are found."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from insd.plugins import settings_of
from insd.settings.base import NotNegative, Positive, Section


class NetworkSettings(Section):
    """The network and its initial weights; an architecture may have keys of its own."""

    architecture: str = "rate"
    """The name of a file in `insd/networks`: `rate`, the paper's rate network, or another (docs/own-task.md has all);
    or your own, as `module:Class`."""
    units: Annotated[int, Field(ge=2)] = 100
    """Number of units N."""
    gain: NotNegative = 1.0
    """Initial gain g: recurrent weights, of every gate, start with variance g²/N (Qian & Pehlevan 2026)."""
    tau: Positive = 0.1
    """Time constant in s; the Euler step is alpha = dt / tau."""
    recurrent_noise: NotNegative = 0.05
    """Private noise sigma_rec of the state during training, scaled by sqrt(2 / alpha)."""

    def problems(self, dt: float, outputs: int) -> Iterator[str]:
        """What no key shows alone, for a task with these numbers: one message each.

        dt : longest time step in s of the task, its regimes and its grid.
        outputs : of the task.
        """
        if dt > self.tau:
            yield f"network.tau = {self.tau} is shorter than the task's dt = {dt}; the Euler step needs tau >= dt"
        if self.units <= outputs:
            yield f"network.units = {self.units}: the task's {outputs} output(s) leave no null space; use more units"


def settings_class(architecture: str) -> type[NetworkSettings]:
    """The settings of an architecture; raises PluginError if the architecture is unknown."""
    return settings_of("network", architecture)


def network_settings(given: Mapping[str, Any]) -> NetworkSettings:
    """The settings of the architecture that is named by `architecture`, `rate` if none is.

    Raises PluginError if the architecture is unknown, and pydantic's ValidationError if a key or value is wrong.
    """
    return settings_class(str(given.get("architecture", "rate"))).model_validate(dict(given))
