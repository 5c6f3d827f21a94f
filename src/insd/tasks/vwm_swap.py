"""Visual working memory with swap errors: report one of several items, by an ambiguous cue."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from insd.behaviour import swaps
from insd.tasks.base import NotNegative
from insd.tasks.denoising import Denoising, Presented

MOST_ITEMS = 64
"""More than any ring holds apart."""


@dataclass(frozen=True, kw_only=True)
class VWMSwap(Denoising):
    """Items on a ring are shown together, each by its own inputs; after a delay, a cue says which one to report.

    Inputs: the angle of each item as (cos, sin) and, for a cue that is a feature, that of its feature, too, during the
    stimulus; the cue; and those of all tasks of this kind (`insd.tasks.denoising`). Outputs: behaviour as (x, y).

    The responses to be learned are those of `insd.behaviour.swaps`.

    Source: "Setting up for failure" (arXiv 2512.04808); how items are shown is ours.
    """

    items: int = 2
    """Number of items, from 2 to 64."""
    cue_kind: Literal["index", "feature"] = "index"
    """`index`: the cue is the number of the item, and followed with the probability `correct`. `feature`: it is the
    feature of the item, an angle, and other items are reported the more often, the closer theirs is (`width`)."""
    correct: NotNegative = 0.7
    """Probability to report the item whose number is the cue (as published, which has .8 and .9, too)."""
    width: NotNegative = 1.5
    """Of the model of swaps between features, in rad squared (as published)."""
    offset: float = 0.0
    """Log odds in favour of the item whose feature is the cue."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.items <= MOST_ITEMS:
            raise ValueError(f"items = {self.items}: swaps need at least 2, and trials have at most {MOST_ITEMS}")
        if self.correct > 1:
            raise ValueError(f"correct = {self.correct}: a probability, from 0 to 1")
        if self.width == 0:
            raise ValueError("width = 0: must be positive")

    def _presented(self, n_trials: int, random: np.random.Generator) -> Presented:
        angles = random.uniform(-np.pi, np.pi, (n_trials, self.items))
        cued = random.integers(self.items, size=n_trials)
        numbers = range(1, self.items + 1)
        names = [f"{part}_{item}" for item in numbers for part in ("cos", "sin")]
        if self.cue_kind == "index":
            cue = np.eye(self.items)[cued]
            chosen = swaps.by_index(self.items, cued, self.correct)
            return Presented(
                _directions(angles), cue, [*names, *(f"cue_{item}" for item in numbers)], angles, cued, chosen
            )
        features = random.uniform(-np.pi, np.pi, (n_trials, self.items))
        names += [f"feature_{part}_{item}" for item in numbers for part in ("cos", "sin")]
        of_cued = features[np.arange(n_trials), cued][:, None]
        chosen = swaps.by_feature(features, cued, self.width, self.offset)
        stimulus = np.concatenate([_directions(angles), _directions(features)], axis=1)
        names += ["cue_cos", "cue_sin"]
        return Presented(stimulus, _directions(of_cued), names, angles, cued, chosen, features)


def _directions(angles: np.ndarray) -> np.ndarray:
    """(cos, sin) of each angle, side by side, (trial, 2 angle)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(angles), -1)
