"""Visual working memory with guesses: report the one item that was shown, or a random angle."""

from dataclasses import dataclass

import numpy as np

from insd.tasks.base import NotNegative
from insd.tasks.denoising import Denoising, Presented


@dataclass(frozen=True, kw_only=True)
class VWMGuess(Denoising):
    """An item on a ring is shown; after a delay and a cue that only announces the report, it is reported or guessed.

    Inputs: the angle of the item as (cos, sin) during the stimulus; the cue; and those of all tasks of this kind
    (`insd.tasks.denoising`). Outputs: behaviour as (x, y). The task is ours: the distribution to be learned has no
    modes but one, and a background.
    """

    guesses: NotNegative = 0.3
    """Share of responses at a random angle (ours)."""

    def _presented(self, n_trials: int, random: np.random.Generator) -> Presented:
        angles = random.uniform(-np.pi, np.pi, (n_trials, 1))
        stimulus = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        certain = np.ones((n_trials, 1))
        return Presented(stimulus, certain, ["cos", "sin", "cue"], angles, np.zeros(n_trials, dtype=int), certain)
