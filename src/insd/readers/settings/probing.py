"""The settings of the probing reader."""

from insd.readers.settings.base import ReaderSettings
from insd.settings.base import Count


class ProbingSettings(ReaderSettings):
    """Settings of the probing reader."""

    sequences: Count = 4
    """Sequences of inputs that each network is run on, side by side."""
    steps: Count = 22
    """Inputs in each sequence."""
    hold: Count = 4
    """Time steps of the network for which each input lasts."""
    embedding: Count = 16
    """State of the encoder that reads outputs."""
    interactive: bool = False
    """Whether inputs depend on the outputs so far; otherwise they are the same for all networks."""
