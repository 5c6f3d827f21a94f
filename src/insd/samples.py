"""Samples of activity: trials at the times at which they last.

Trials of one file have the same number of time steps. Where they differ in length, the shorter ones are padded, and the
file says until when each lasts (`valid`). A network's rates after the end of a trial are NaN, wherever they are stored
or handed on, so that what averages over samples leaves them out, or shows that it does not.
"""

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

MOST_NAMED = 6
"""Inputs or outputs that a message names."""
MOST_ALONE = 0.1
"""Share of trials that may be the only ones of their length in a shuffled baseline, and so stay in their place."""


def valid_steps(trials: xr.Dataset) -> Bool[np.ndarray, "trial time"]:
    """Until when each trial of a trial file lasts: true from its first step to its last."""
    if "valid" in trials:
        return trials["valid"].values.astype(bool)
    return np.ones((trials.sizes["trial"], trials.sizes["time"]), dtype=bool)


def other_sizes(network: Mapping[str, int], trials: xr.Dataset) -> str | None:
    """What is wrong if a network has other numbers of inputs or outputs than trials, and what to do; None if nothing.

    `network` has the sizes `input` and `output`.
    """
    wrong = []
    for along in ("input", "output"):
        own, names = network.get(along), [str(name) for name in trials[along].values]
        if own not in (None, len(names)):
            more = ", ..." if len(names) > MOST_NAMED else ""
            shown = f"{', '.join(names[:MOST_NAMED])}{more}"
            wrong.append(f"{own} {along}{'' if own == 1 else 's'}, where the trials have {len(names)} ({shown})")
    if not wrong:
        return None
    task = task_of(trials)
    of = f" of {task}" if task else ""
    return (
        f"the network has {' and '.join(wrong)}; use trials of the task that it was trained on, or give the task{of} "
        "the parameters of its training, and sample its trials again"
    )


def task_of(trials: xr.Dataset) -> str | None:
    """The name of the task that trials are of, as far as their file says it."""
    settings = json.loads(trials.attrs.get("settings") or "{}")
    return settings.get("task", {}).get("name")


def lasting(rates: Float[np.ndarray, "*any unit"]) -> Bool[np.ndarray, "*any"]:
    """The same from rates on those trials."""
    return ~np.isnan(rates[..., 0])


def samples(rates: Float[np.ndarray, "*any unit"]) -> Float[np.ndarray, "sample unit"]:
    """The rates at all samples, trial by trial."""
    return chosen(rates, lasting(rates))


def chosen(values: Float[np.ndarray, "*any column"], kept: Bool[np.ndarray, "*any"]) -> np.ndarray:
    """Some samples of an array, (sample, column), trial by trial; without a copy where they are all."""
    return values.reshape(-1, values.shape[-1]) if kept.all() else values[kept]


def placed(samples: Float[np.ndarray, "sample _"], kept: Bool[np.ndarray, "trial time"]) -> np.ndarray:
    """The array, (trial, time, ...), of which these are the `chosen` ones; zero at the others."""
    if kept.all():
        return samples.reshape(*kept.shape, -1)
    whole = np.zeros((*kept.shape, samples.shape[-1]), samples.dtype)
    whole[kept] = samples
    return whole


def shuffled_trials(steps: Int[np.ndarray, "trial"], seed: int) -> Int[np.ndarray, "trial"]:
    """A random order of trials that last for so many steps; trials change places with those of the same length.

    Where lengths differ, no trial stays in its place unless it is the only one of its length.
    """
    drawn = np.random.default_rng(seed).permutation(len(steps))
    lengths = np.unique(steps)
    if len(lengths) == 1:
        return drawn
    order = np.empty_like(drawn)
    for length in lengths:
        cycle = drawn[steps[drawn] == length]
        order[cycle] = np.roll(cycle, 1)
    return order


def can_be_shuffled(steps: Int[np.ndarray, "trial"]) -> bool:
    """Whether `shuffled_trials` makes a baseline: few trials may be the only ones of their length."""
    _, counts = np.unique(steps, return_counts=True)
    return bool((counts == 1).sum() <= MOST_ALONE * len(steps))
