"""The settings of the graph reader."""

from typing import Literal

from insd.readers.settings.base import ReaderSettings
from insd.settings.base import Count


class GraphSettings(ReaderSettings):
    """Settings of the graph reader."""

    width: Count = 16
    """Numbers at each node and at each edge."""
    layers: Count = 2
    """Rounds of messages, or of attention."""
    layer: Literal["messages", "attention"] = "messages"
    """How nodes hear of each other: `messages`, by aggregated messages; `attention`, by that of a relational
    transformer."""
    frequencies: Count = 16
    """Random Fourier features of each weight."""
