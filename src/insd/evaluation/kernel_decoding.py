"""What activity tells a linear and a nonlinear reader about the task's variables at the same time.

Both are ridge regressions on the rates of one time: with the rates themselves, and with a radial kernel,
``k(r, s) = exp(-g |r - s|^2)``. Folds are over trials; the penalty, and the width of the kernel, are chosen for each
variable by leave-one-out within the training trials.
"""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from sklearn.model_selection import KFold

from insd.evaluation.decoding import LEAST_TRIALS, components_of, decoded_at_times, mean_of, score_of
from insd.members import Member
from insd.samples import lasting
from insd.tasks import Task
from insd.tasks.variables import Variable

DECODERS = ("linear", "rbf")
"""The kernels."""
RIDGES = np.logspace(-6, 0, 7)
"""Penalties to choose from, relative to the mean of the kernel's diagonal."""
WIDTHS = (0.1, 0.3, 1.0, 3.0)
"""Values of g to choose from, relative to 1 over the mean squared distance of trials."""


def decode_with_kernels(
    rates: Float[np.ndarray, "trial time unit"],
    variables: Mapping[str, Variable],
    times: Int[np.ndarray, "tested"],
    folds: int,
    seed: int,
) -> Float[np.ndarray, "variable decoder tested"]:
    """Cross-validated scores of both decoders at some times, trained and tested at the same one.

    Arguments, kinds of variables and scores are those of `insd.evaluation.decoding.decode`. NaN where fewer than
    `LEAST_TRIALS` trials last, or the trials of no fold differ.
    """
    scores = np.full((len(variables), len(DECODERS), times.size, folds), np.nan)
    if not variables:
        return scores[..., 0]
    for place, time in enumerate(times):
        activity = rates[:, time].astype(np.float64)
        kept = np.flatnonzero(lasting(activity))
        if kept.size < max(LEAST_TRIALS, folds):
            continue
        kernels = _kernels(activity[kept])
        actual = [variable.values[kept, time] for variable in variables.values()]
        kinds = [variable.kind for variable in variables.values()]
        targets = [components_of(values[:, None], kind)[:, 0] for values, kind in zip(actual, kinds, strict=True)]
        edges = np.cumsum([part.shape[1] for part in targets])[:-1]
        splits = KFold(folds, shuffle=True, random_state=seed % 2**32).split(activity[kept])
        for fold, (train, test) in enumerate(splits):
            for column, decoder in enumerate(DECODERS):
                predicted = _predicted(kernels[decoder], np.concatenate(targets, axis=1), edges, train, test)
                for row, part in enumerate(np.split(predicted, edges, axis=1)):
                    lasts = np.ones((kept.size, 1), bool)
                    found = score_of(actual[row][:, None], lasts, test, part[:, None, None], kinds[row])
                    scores[row, column, place, fold] = found.item()
    # The score of values that do not differ is infinite or NaN.
    scores[np.isinf(scores)] = np.nan
    return mean_of(np.moveaxis(scores, -1, 0))


def _kernels(activity: Float[np.ndarray, "trial unit"]) -> dict[str, list[Float[np.ndarray, "trial trial"]]]:
    """The kernels of each decoder, of which one is chosen."""
    centred = activity - activity.mean(0)
    products = centred @ centred.T
    squares = np.diagonal(products)
    distances = np.maximum(squares[:, None] + squares - 2 * products, 0)
    scale = distances.mean() or 1.0
    return {"linear": [products], "rbf": [np.exp(-width * distances / scale) for width in WIDTHS]}


def _predicted(
    kernels: list[Float[np.ndarray, "trial trial"]],
    targets: Float[np.ndarray, "trial component"],
    edges: Int[np.ndarray, "edge"],
    train: Int[np.ndarray, "train"],
    test: Int[np.ndarray, "test"],
) -> Float[np.ndarray, "test component"]:
    """Predictions by the kernel and penalty with the smallest leave-one-out error of each variable.

    Source: the closed form of leave-one-out errors of ridge regression, Golub, Heath & Wahba (1979), Technometrics
    21:215.
    """
    mean = targets[train].mean(0)
    wanted = targets[train] - mean
    parts = np.split(np.arange(targets.shape[1]), edges)
    least, best = np.full(len(parts), np.inf), np.zeros((len(test), targets.shape[1]))
    for kernel in kernels:
        values, vectors = np.linalg.eigh(kernel[np.ix_(train, train)])
        values = np.maximum(values, 0)
        for ridge in RIDGES * (values.mean() or 1.0):
            inverse = 1 / (values + ridge)
            dual = vectors @ (inverse[:, None] * (vectors.T @ wanted))
            errors = np.square(dual / (np.square(vectors) @ inverse)[:, None]).sum(0)
            predicted = kernel[np.ix_(test, train)] @ dual
            for row, part in enumerate(parts):
                if errors[part].sum() < least[row]:
                    least[row] = errors[part].sum()
                    best[:, part] = predicted[:, part]
    return best + mean


def kernel_decoding(
    members: Iterable[Member], task: Task, trials: xr.Dataset, seed: int, n_times: int = 8, folds: int = 5
) -> xr.Dataset:
    """Scores of all networks and variables of a task at a few times, by the contract of `kernel_decoding.nc`.

    `trials` are those that the rates were recorded on. All networks are tested on the same folds.

    Returns
    -------
    score (network, variable, decoder, time) : `decode_with_kernels` from the rates.
    chance (variable) : the score of a reader who always gives the same answer.
    """
    decode = partial(decode_with_kernels, folds=folds, seed=seed)
    return decoded_at_times(members, task, trials, n_times, DECODERS, decode)
