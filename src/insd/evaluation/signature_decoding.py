"""What the course of activity tells a reader about the task's variables, and what its state at one time does.

Both are ridge regressions on the same leading principal components of the rates: on their values at a time, and on the
signature, to a few levels, of the path that time and components have taken until then. Words of a signature tell in
which order directions were taken, which no state does. Features after Boutaib et al. (2022), "Path classification by
stochastic linear recurrent neural networks"; levels are those of Chen (`insd.signatures`).
"""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from insd.evaluation.decoding import LEAST_TRIALS, RIDGES, components_of, decoded_at_times, mean_of, score_of
from insd.members import Member
from insd.samples import chosen, lasting
from insd.signatures import DEPTH, signature
from insd.tasks import Task
from insd.tasks.variables import Variable

DECODERS = ("state", "signature")
"""What is read."""
COMPONENTS = 3
"""Leading principal components that are read."""


def leading_path(
    rates: Float[np.ndarray, "trial time unit"], components: int = COMPONENTS
) -> Float[np.ndarray, "trial point channel"]:
    """Time and the leading principal components of the rates, as a path that begins at the mean activity.

    Time is 0 at the start and 1 after the last step; components are over the root of the summed variance of all, and
    fewer in networks of fewer units. NaN where a trial has ended.
    """
    lasts = lasting(rates)
    samples = chosen(rates, lasts).astype(float)
    centred = samples - samples.mean(0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.sqrt(max(values.sum(), 0.0)) or 1.0
    leading = axes[:, ::-1][:, :components] / scale
    course = (rates.astype(float) - samples.mean(0)) @ leading
    path = np.pad(course, ((0, 0), (1, 0), (0, 0)))
    time = np.where(lasting(path), np.linspace(0, 1, path.shape[1]), np.nan)
    return np.concatenate([time[..., None], path], -1)


def decode_with_signatures(
    rates: Float[np.ndarray, "trial time unit"],
    variables: Mapping[str, Variable],
    times: Int[np.ndarray, "tested"],
    folds: int,
    seed: int,
    components: int = COMPONENTS,
    depth: int = DEPTH,
) -> Float[np.ndarray, "variable decoder tested"]:
    """Cross-validated scores of both decoders at some times, trained and tested at the same one.

    Arguments, kinds of variables and scores are those of `insd.evaluation.decoding.decode`. Features are standardised
    over the training trials. NaN where fewer than `LEAST_TRIALS` trials last, or the trials of no fold differ.
    """
    scores = np.full((len(variables), len(DECODERS), times.size, folds), np.nan)
    if not variables:
        return scores[..., 0]
    path = leading_path(rates, components)
    for place, time in enumerate(times):
        kept = np.flatnonzero(lasting(rates[:, time]))
        if kept.size < max(LEAST_TRIALS, folds):
            continue
        walked = path[kept, : time + 2]
        features = {"state": walked[:, -1, 1:], "signature": np.concatenate(signature(walked, depth), -1)}
        actual = [variable.values[kept, time] for variable in variables.values()]
        kinds = [variable.kind for variable in variables.values()]
        targets = [components_of(values[:, None], kind)[:, 0] for values, kind in zip(actual, kinds, strict=True)]
        edges = np.cumsum([part.shape[1] for part in targets])[:-1]
        wanted, lasts = np.concatenate(targets, axis=1), np.ones((kept.size, 1), bool)
        # scikit-learn takes seeds of 32 bits.
        splits = KFold(folds, shuffle=True, random_state=seed % 2**32).split(kept)
        for fold, (train, test) in enumerate(splits):
            for column, decoder in enumerate(DECODERS):
                reader = make_pipeline(StandardScaler(), RidgeCV(RIDGES * train.size, alpha_per_target=True))
                predicted = reader.fit(features[decoder][train], wanted[train]).predict(features[decoder][test])
                for row, part in enumerate(np.split(predicted.reshape(test.size, -1), edges, axis=1)):
                    found = score_of(actual[row][:, None], lasts, test, part[:, None, None], kinds[row])
                    scores[row, column, place, fold] = found.item()
    # The score of values that do not differ is infinite or NaN.
    scores[np.isinf(scores)] = np.nan
    return mean_of(np.moveaxis(scores, -1, 0))


def signature_decoding(
    members: Iterable[Member],
    task: Task,
    trials: xr.Dataset,
    seed: int,
    n_times: int = 4,
    folds: int = 5,
    components: int = COMPONENTS,
    depth: int = DEPTH,
) -> xr.Dataset:
    """Scores of all networks and variables of a task at a few times, by the contract of `signature_decoding.nc`.

    `trials` are those that the rates were recorded on. All networks are tested on the same folds.

    Returns
    -------
    score (network, variable, decoder, time) : `decode_with_signatures` from the rates.
    chance (variable) : the score of a reader who always gives the same answer.
    """
    decode = partial(decode_with_signatures, folds=folds, seed=seed, components=components, depth=depth)
    return decoded_at_times(members, task, trials, n_times, DECODERS, decode)
