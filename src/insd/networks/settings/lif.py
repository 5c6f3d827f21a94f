"""The settings of leaky integrate-and-fire units."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from insd.networks.settings.base import NetworkSettings
from insd.settings.base import Positive


class LIFSettings(NetworkSettings):
    """Recurrent leaky integrate-and-fire units; `tau` is the time constant of the filter of their spikes, and private
    noise is scaled by it."""

    substeps: ClassVar[bool] = False
    """Whether several Euler steps may be taken for an input (`training.substeps`)."""
    architecture: str = "lif"
    """`lif`."""
    leak: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the membrane that is left after a step, before training; learned for each unit (Henkes et al. 2024)."""
    threshold: Positive = 0.1
    """Membrane above which a unit spikes, before training; learned for each unit (Henkes et al. 2024)."""
    reads: Literal["spikes", "membrane"] = "spikes"
    """What outputs are read from, and so what the rates are: `spikes`, filtered with `tau`; or the `membrane`."""
    recurrence: Literal["full", "none"] = "full"
    """`full`: a recurrent weight for each pair of units; `none`: all are 0, a control that remembers only by the leak
    and the reset of each unit and, with `reads: spikes`, by the filter."""
