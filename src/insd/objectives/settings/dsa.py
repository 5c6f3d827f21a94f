"""The settings of the distance of spectra as a term."""

from typing import Annotated

from pydantic import Field

from insd.objectives.settings.base import TermSettings
from insd.settings.base import Count, Positive


class DSASettings(TermSettings):
    """The reward of a distance to earlier rounds between the spectra of the operators by which activity evolves."""

    delays: Count = 2
    """Time steps joined into one embedded state."""
    rank: Annotated[int, Field(ge=2)] = 10
    """Number of leading directions of the embedded activity on which the operators act."""
    trials: Count = 16
    """Trials of each minibatch from which a network's operator is estimated."""
    distance: Positive = 0.2
    """The distance at which the term is 0; it is 1 between equal spectra, and linear."""
