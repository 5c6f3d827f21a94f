"""The settings of predictivity of averages over trials."""

from typing import Literal

from insd.objectives.settings.predictivity import PredictivitySettings


class ConditionPredictivitySettings(PredictivitySettings):
    """The penalty on null-space predictivity S towards a recording that is averaged over trials, and later rounds."""

    shuffled: Literal[False] = False
    """Averages have no trials that could change places."""
