"""The settings of networks whose rates are equilibria."""

from typing import Annotated, ClassVar

from pydantic import Field

from insd.networks.settings.base import NetworkSettings


class ImplicitSettings(NetworkSettings):
    """Networks whose rates are the equilibrium of a contraction at each time step; `tau` has no effect on them."""

    substeps: ClassVar[bool] = False
    """Whether several Euler steps may be taken for an input (`training.substeps`)."""
    architecture: str = "implicit"
    """`implicit`."""
    gain: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Initial scale c of the recurrent weights: their largest singular value (the default is ours)."""
    threshold: Annotated[float, Field(ge=1.1)] = 2.0
    """Threshold V of spikes, by which currents are divided (Xiao et al. 2021: 2). Above 1, so that the map to the
    equilibrium contracts, by 1/V or less in each step."""
    recurrent_noise: Annotated[float, Field(ge=0)] = 0.05
    """Standard deviation of the private noise of each unit's current during training (ours); it is drawn again at each
    time step, and is not scaled."""
