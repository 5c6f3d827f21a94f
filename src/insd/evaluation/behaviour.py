"""Which errors networks make whose responses are a distribution, and where their memory holds the items.

Sources: "Setting up for failure" (arXiv 2512.04808), which reports the alignment of planes; the form that it has here
is ours. The mixture: `insd.behaviour.mixtures`.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from insd.behaviour.mixtures import COMPONENTS, fit_mixture, responsibilities
from insd.behaviour.swaps import wrapped
from insd.evaluation.decoding import RIDGES
from insd.tasks.denoising import items_of

ERROR_BINS = 60
"""Of the circle."""
DISTANCE_BINS = 4
"""Of distances between features, from 0 to pi."""
APART = {"90": np.pi / 2, "180": np.pi}
"""Distances between two items, in degrees and in rad, at which the length of responses is given."""
NEAR = np.deg2rad(15)
"""How far the distance of two items may be from these."""

LEAST_TRIALS = 50
"""With fewer trials in which an item was reported, nothing is decoded of them."""


def errors_of(
    responses: Float[np.ndarray, "trial 2"], trials: xr.Dataset, radius: float, resamples: int, seed: int
) -> xr.Dataset:
    """What the responses of one network are about.

    Parameters
    ----------
    responses : behaviour at the end of each trial.
    trials : by a task of `insd.tasks.denoising`.
    radius : length of the responses that are learned.
    resamples, seed : of the bootstrap of the weights.

    Returns
    -------
    - `weight`, `weight_low`, `weight_high` (component): the mixture of the cued item, swaps and guesses, with 95 %
      intervals; `expected_weight`, that of the model of responses; `concentration` of the mixture.
    - `bic_without_swaps`: how much higher the criterion is of a mixture without swaps. 0 with one item.
    - `error_density` (error): of the distance to the cued item, in 1/rad.
    - `length`: mean length of responses; `length_ratio` (apart): the same over the length of the mean of the model's
      responses, which least squares would lead to, for two items about so many degrees apart. NaN for other numbers,
      and where all are guesses.
    - `swaps`, `expected_swaps` (distance): weight of swaps in a mixture of the trials with two items whose features are
      so far apart, and that of the model. NaN without features.
    """
    angles, probabilities, cued = items_of(trials)
    rows = np.arange(len(cued))
    angle = np.arctan2(responses[:, 1], responses[:, 0]).astype(float)
    mixture = fit_mixture(angle, angles, cued, resamples=resamples, seed=seed)
    two = angles.shape[1] == 2
    without = fit_mixture(angle, angles, cued, ("cued", "uniform")) if angles.shape[1] > 1 else mixture
    of_cued = probabilities[rows, cued].mean()
    guesses = 1 - probabilities.sum(1).mean()
    ends = np.array([(mixture.intervals or {}).get(name, (np.nan, np.nan)) for name in COMPONENTS])
    density, edges = np.histogram(
        wrapped(angle - angles[rows, cued]), bins=ERROR_BINS, range=(-np.pi, np.pi), density=True
    )
    length = np.linalg.norm(responses, axis=1)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    of_mean = radius * np.linalg.norm((probabilities[..., None] * directions).sum(1), axis=1)
    ratios = np.full(len(APART), np.nan)
    swaps = np.full((2, DISTANCE_BINS), np.nan)
    distances = np.linspace(0, np.pi, DISTANCE_BINS + 1)
    if two:
        between = np.abs(wrapped(angles[:, 0] - angles[:, 1]))
        for place, apart in enumerate(APART.values()):
            near = np.abs(between - apart) < NEAR
            # Without trials so far apart, or where all are guesses, there is none.
            if of_mean[near].sum() > 0:
                ratios[place] = length[near].mean() / of_mean[near].mean()
    if two and "feature_1" in trials.coords:
        between = np.abs(wrapped(trials["feature_1"].values - trials["feature_2"].values))
        for place in range(DISTANCE_BINS):
            inside = (between >= distances[place]) & (between < distances[place + 1])
            if inside.any():
                fitted = fit_mixture(angle[inside], angles[inside], cued[inside])
                swaps[:, place] = fitted.weights["swapped"], probabilities[rows, 1 - cued][inside].mean()
    return xr.Dataset(
        {
            "weight": ("component", [mixture.weights[name] for name in COMPONENTS]),
            "weight_low": ("component", ends[:, 0]),
            "weight_high": ("component", ends[:, 1]),
            "expected_weight": ("component", [of_cued, 1 - of_cued - guesses, guesses]),
            "concentration": mixture.concentration,
            "bic_without_swaps": without.bic - mixture.bic,
            "error_density": ("error", density),
            "length": length.mean(),
            "length_ratio": ("apart", ratios),
            "swaps": ("distance", swaps[0]),
            "expected_swaps": ("distance", swaps[1]),
        },
        coords={
            "component": list(COMPONENTS),
            "error": (edges[:-1] + edges[1:]) / 2,
            "apart": list(APART),
            "distance": (distances[:-1] + distances[1:]) / 2,
        },
    )


def planes_of(memory: Float[np.ndarray, "trial time unit"], trials: xr.Dataset) -> xr.Dataset:
    """Where memory holds the cued item and the other one of two, at each time.

    Memory is regressed on the cosine and sine of both angles together; the coefficients of an item span its plane.

    Returns
    -------
    - `alignment` (time): mean cosine of the two principal angles between both planes, 1 where they are the same. Random
      planes among d units have about ``sqrt(2 / d)``. NaN where memory does not vary. Which item is cued is drawn at
      random: until the cue, the planes of the cued and of the other item are the same but for the sample, however
      memory holds the items.
    - `item_alignment` (time): the same among the trials in which the first item is cued, and among those in which the
      second is, in the mean. These are planes of two given items, which may differ before the cue, too.
    - `plane_share` (item, time): the share of the variance of memory that an item explains, NaN as well. Where it is
      near 0, the item has no plane, and the alignment says nothing.
    """
    angles, _, cued = items_of(trials)
    rows = np.arange(len(cued))
    if angles.shape[1] != 2:
        raise ValueError(f"the trials have {angles.shape[1]} item(s): planes are compared of two")
    by_item = np.stack([angles[rows, cued], angles[rows, 1 - cued]], axis=1)
    known = np.stack([np.cos(by_item), np.sin(by_item)], axis=-1).reshape(len(rows), 4)
    alignment, share = _planes(memory, known)
    within = [_planes(memory[cued == item], known[cued == item])[0] for item in (0, 1) if (cued == item).any()]
    return xr.Dataset(
        {
            "alignment": ("time", alignment),
            "item_alignment": ("time", np.mean(within, axis=0)),
            "plane_share": (("item", "time"), share),
        },
        coords={"item": ["cued", "other"]},
    )


def decoded_items(
    memory: Float[np.ndarray, "trial time unit"],
    responses: Float[np.ndarray, "trial 2"],
    trials: xr.Dataset,
    folds: int,
    seed: int,
) -> xr.DataArray:
    """Which of two items a reader of the cued one finds in memory, in trials without swaps and with, at each time.

    By the fitted mixture, trials are without a swap, with one, or guesses, whichever is likeliest; guesses are left
    out. At each time, a ridge regression learns the cosine and sine of the cued item's angle from trials without swaps,
    in which it is also the reported one. It is tested on held-out trials without swaps, and on those with swaps, of
    which it has seen none: there, it may find the cued item, the reported one, or something in between.

    Parameters
    ----------
    memory : rates without their part in the plane of behaviour.
    responses : behaviour at the end of each trial.
    trials : by a task of `insd.tasks.denoising`, with two items.
    folds, seed : of the cross-validation over trials without swaps; those with swaps are read in each fold.

    Returns
    -------
    (reported, item, time) : the mean cosine of the distance between the decoded angle and that of the cued or of the
    other item, in trials in which the cued or the other one was reported. 1 is perfect and 0 chance, since items are
    independent. NaN where an item was reported in fewer than 50 trials, and throughout if it is the cued one.
    """
    angles, _, cued = items_of(trials)
    rows = np.arange(len(cued))
    if angles.shape[1] != 2:
        raise ValueError(f"the trials have {angles.shape[1]} item(s): which of two is decoded")
    by_item = np.stack([angles[rows, cued], angles[rows, 1 - cued]], axis=1)
    angle = np.arctan2(responses[:, 1], responses[:, 0]).astype(float)
    about = responsibilities(fit_mixture(angle, angles, cued), angle, angles, cued).argmax(1)
    of_cued, of_other = (np.flatnonzero(about == COMPONENTS.index(name)) for name in ("cued", "swapped"))
    score = np.full((2, 2, memory.shape[1]), np.nan)
    if len(of_cued) >= LEAST_TRIALS:
        target = np.stack([np.cos(by_item[:, 0]), np.sin(by_item[:, 0])], axis=1)
        # scikit-learn takes seeds of 32 bits.
        splits = list(KFold(folds, shuffle=True, random_state=seed % 2**32).split(of_cued))
        for time in range(memory.shape[1]):
            held = memory[:, time].astype(float)
            held = held / (np.sqrt(held.var(0).mean()) or 1.0)
            cosines = np.zeros((2, folds, 2))
            for fold, (train, test) in enumerate(splits):
                seen = of_cued[train]
                model = RidgeCV(RIDGES * len(seen), alpha_per_target=True).fit(held[seen], target[seen])
                for group, tested in enumerate((of_cued[test], of_other)):
                    if len(tested):
                        read = model.predict(held[tested])
                        distance = np.arctan2(read[:, 1], read[:, 0])[:, None] - by_item[tested]
                        cosines[group, fold] = np.cos(distance).mean(0)
            score[:, :, time] = cosines.mean(1)
        if len(of_other) < LEAST_TRIALS:
            score[1] = np.nan
    coords = {"reported": ["cued", "other"], "item": ["cued", "other"]}
    return xr.DataArray(score, coords, ("reported", "item", "time"))


def _planes(
    memory: Float[np.ndarray, "trial time unit"], known: Float[np.ndarray, "trial 4"]
) -> tuple[Float[np.ndarray, "time"], Float[np.ndarray, "2 time"]]:
    """Alignment of the planes of two items, and the share of memory that each explains, from the cosine and sine of
    both."""
    known = known - known.mean(0)
    times = memory.shape[1]
    alignment, share = np.full(times, np.nan), np.full((2, times), np.nan)
    for time in range(times):
        held = memory[:, time].astype(float)
        held = held - held.mean(0)
        total = np.square(held).sum()
        if total < 1e-12 * held.size:
            continue
        coefficients = np.linalg.lstsq(known, held, rcond=None)[0]
        planes = [coefficients[:2], coefficients[2:]]
        bases = [np.linalg.svd(plane, full_matrices=False)[2] for plane in planes]
        alignment[time] = np.linalg.svd(bases[0] @ bases[1].T, compute_uv=False).mean()
        for item, plane in enumerate(planes):
            share[item, time] = np.square(known[:, 2 * item : 2 * item + 2] @ plane).sum() / total
    return alignment, share
