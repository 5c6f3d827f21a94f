"""The settings of the sensitivity to private noise."""

from typing import ClassVar

from insd.objectives.settings.base import TermSettings
from insd.settings.base import Count


class AdjointNormSettings(TermSettings):
    """The penalty on the variance that private noise adds to the outputs: on how far errors travel."""

    compares: ClassVar[bool] = False
    trials: Count = 8
    """Trials of each minibatch on which it is estimated."""
