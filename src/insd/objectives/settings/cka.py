"""The settings of CKA as a term."""

from typing import Annotated

from pydantic import Field

from insd.objectives.settings.base import TermSettings
from insd.settings.base import Count


class CKASettings(TermSettings):
    """The penalty on linear CKA towards earlier rounds."""

    time_stride: Count = 2
    """Stride, in time steps of the bank, at which activity is stored for later rounds."""
    variance_kept: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Share of the variance that the stored principal components hold."""
