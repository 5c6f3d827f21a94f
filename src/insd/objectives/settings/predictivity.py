"""The settings of null-space predictivity."""

from typing import Annotated

from pydantic import Field

from insd.objectives.settings.base import TermSettings
from insd.settings.base import Count, Positive


class PredictivitySettings(TermSettings):
    """The penalty on null-space predictivity S towards earlier rounds (Qian & Pehlevan 2026)."""

    ridge: Positive = 1e-3
    """Ridge rho over the mean variance of a unit's null-space rates."""
    time_stride: Count = 2
    """Stride, in time steps of the bank, at which null-space activity is stored for later rounds."""
    variance_kept: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Share of null-space variance that the stored principal components hold; S is exact up to the rest."""
    shuffled: bool = False
    """Whether the trials of earlier rounds change places, which leaves only the time course that all trials share to be
    avoided: a control for what the penalty does besides making solutions unlike."""
