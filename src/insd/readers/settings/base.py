"""The settings that all readers have, and those of their training."""

from typing import Annotated

from pydantic import Field

from insd.settings.base import Count, NotNegative, Positive, Section


class ReaderSettings(Section):
    """Settings that every reader has."""

    hidden: Count = 32
    """Units of the hidden layer of the perceptron that gives the answers."""


class Fitting(Section):
    """How readers are trained and scored."""

    folds: Annotated[int, Field(ge=2)] = 5
    """Parts of the chains; each is held out in turn."""
    epochs: Count = 50
    """Passes over the networks that a reader is trained on."""
    batch: Count = 8
    """Networks per step."""
    step_size: Positive = 1e-3
    """Of AdamW at the start; it falls to 0 along a cosine."""
    weight_decay: NotNegative = 0.01
    """Of AdamW."""
    resamples: Count = 1000
    """Resamples of the held-out chains, for intervals."""
