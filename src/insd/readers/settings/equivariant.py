"""The settings of the equivariant reader."""

from typing import Annotated, Literal

from pydantic import Field

from insd.readers.settings.base import ReaderSettings
from insd.settings.base import Count


class EquivariantSettings(ReaderSettings):
    """Settings of the equivariant reader."""

    channels: Annotated[list[Count], Field(min_length=1)] = [16, 16, 5]
    """Channels of matrices, and of vectors, after each layer."""
    maps: Literal["complete", "without_transpose"] = "complete"
    """`complete`: every equivariant linear map; `without_transpose`: none that needs the transpose or the diagonal."""
