"""The settings of networks with a fixed plane of behaviour and dendritic trees."""

from typing import Annotated

from pydantic import Field

from insd.networks.settings.plane import PlaneSettings


class DendriticPlaneSettings(PlaneSettings):
    """Networks with a fixed plane of behaviour and a dendritic tree for each unit."""

    architecture: str = "dendritic_plane"
    """`dendritic_plane`."""
    branching: Annotated[int, Field(ge=2)] = 10
    """Number of branches of each unit, and of leaves of each branch (published: 10)."""
