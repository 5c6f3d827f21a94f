"""The responses of an observer that confuses items: the cued item, another one, or a guess.

Source: "Setting up for failure" (arXiv 2512.04808): a cue that is an index is followed with a fixed probability; for a
cue that is a feature, such as a colour, other items are chosen the more often, the closer theirs is.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike


def wrapped(angles: ArrayLike) -> Float[np.ndarray, "..."]:
    """Angles in rad, from -pi to pi."""
    return (np.asarray(angles, dtype=float) + np.pi) % (2 * np.pi) - np.pi


def by_index(items: int, cued: Int[np.ndarray, "trial"], probability: float) -> Float[np.ndarray, "trial item"]:
    """The probability of each item to be chosen, if the cued one is with a fixed one, and all others are equal."""
    others = (1 - probability) / (items - 1) if items > 1 else 0.0
    chosen = np.full((len(cued), items), others)
    chosen[np.arange(len(cued)), cued] = probability if items > 1 else 1.0
    return chosen


def by_feature(
    features: Float[np.ndarray, "trial item"], cued: Int[np.ndarray, "trial"], width: float, offset: float = 0.0
) -> Float[np.ndarray, "trial item"]:
    """The probability of each item to be chosen: softmax of ``-d^2 / (2 width)``, plus `offset` for the cued item.

    d is the distance, in rad on a circle, of an item's feature to that of the cue. `width` is in rad squared.
    """
    rows = np.arange(len(cued))
    logits = -np.square(wrapped(features - features[rows, cued][:, None])) / (2 * width)
    logits[rows, cued] += offset
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def draw(
    angles: Float[np.ndarray, "trial item"],
    chosen: Float[np.ndarray, "trial item"],
    guesses: float,
    random: np.random.Generator,
) -> tuple[Float[np.ndarray, "trial"], Int[np.ndarray, "trial"]]:
    """The angle that each trial's response is about, and the item that it is from, or -1 for a guess.

    `chosen` are the probabilities of items in trials without a guess, and `guesses` that of a uniform one.
    """
    trials = len(angles)
    sources = (random.random((trials, 1)) >= np.cumsum(chosen, 1)[:, :-1]).sum(1)
    guessed = random.random(trials) < guesses
    drawn = np.where(guessed, random.uniform(-np.pi, np.pi, trials), angles[np.arange(trials), sources])
    return drawn, np.where(guessed, -1, sources)
