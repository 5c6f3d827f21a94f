"""What activity tells a linear reader about the task's variables, at each time and from one time to another.

A ridge regression is trained on the rates at one time and tested, on trials that it has not seen, at every time
(cross-temporal generalisation: King & Dehaene 2014, Trends in Cognitive Sciences 18:203). A code that stays the same
scores as well at other times as at its own; a code that rotates scores near the diagonal only. The penalty of each
variable is chosen by leave-one-out within the training trials.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from insd.errors import InsdError
from insd.members import Member
from insd.predictivity import null_projector_array
from insd.provenance import random_seed
from insd.samples import chosen, lasting
from insd.tasks import Task
from insd.tasks.variables import Kind, Variable

logger = logging.getLogger("insd.evaluation.decoding")

RIDGES = np.logspace(-6, 2, 9)
"""Penalties to choose from, relative to the mean variance of a unit. The variables of trained networks need 1e-6 to
1e-1; the largest shrink what cannot be decoded to the mean."""
LEAST_TRIALS = 20
"""Fewer trials than these train no decoder, where others have ended."""
SCORES: Mapping[Kind, tuple[str, float | None]] = {
    "value": ("R²", 0.0),
    "sign": ("balanced accuracy", 0.5),
    "angle": ("mean cosine of the error", 0.0),
    "category": ("balanced accuracy", None),
}
"""The score of each kind of variable and its chance level, that of a reader who always gives the same answer; for
categories that is one over their number."""


def decode(
    rates: Float[np.ndarray, "trial time unit"],
    variables: Mapping[str, Variable],
    times: Int[np.ndarray, "time_to"],
    folds: int,
    seed: int,
) -> Float[np.ndarray, "variable time_to time_to"]:
    """Cross-validated scores of decoders trained at each of some times (second axis) and tested at each (third).

    Parameters
    ----------
    rates : any scale and offset; the scores do not depend on either, nor on rotations of the units. Decoders are
        trained on the trials that last at the time of training and tested on those that last at that of the test.
    variables : what to decode; a variable that changes within a trial has its value at the time of the test.
    times : indices into `time`.
    folds : of a cross-validation over trials, shuffled by `seed`; the score is the mean over folds.

    Returns
    -------
    By the kind of variable (chance levels in `SCORES`):

    value : R², at most 1. Not clipped below: a decoder tested on activity unlike its training data can err by
        much more than the variable varies.
    sign : balanced accuracy, the mean of the shares of correct signs among the trials of each sign, so that a decoder
        that always gives the same sign has .5. A fold with trials of one sign only is left out.
    category : balanced accuracy of the largest of the decoded indicators of the categories, the mean over those among
        the trials; a reader that always gives the same category has one over their number. A fold with trials of one
        category only is left out.
    angle : mean cosine of the error of the angle of the decoded cosine and sine; 1 is perfect, -1 opposite.

    A change of the mean activity from one time to the other counts as an error like any other. NaN where too many
    trials have ended for a score. Raises InsdError where a variable has none although all trials last, since it does
    not differ among the trials of a fold.
    """
    if not variables:
        return np.empty((0, times.size, times.size))
    actual = {name: variable.values[:, times] for name, variable in variables.items()}
    components = {name: components_of(actual[name], variable.kind) for name, variable in variables.items()}
    targets = np.concatenate(list(components.values()), axis=-1)
    edges = np.cumsum([part.shape[-1] for part in components.values()])[:-1]
    activity = rates[:, times].astype(np.float64)
    lasts = lasting(activity)
    throughout = np.flatnonzero(lasts.all(0))

    scores = np.empty((folds, len(variables), times.size, times.size))
    # scikit-learn takes seeds of 32 bits.
    splits = KFold(folds, shuffle=True, random_state=seed % 2**32).split(activity)
    for fold, (train, test) in enumerate(splits):
        held_out = chosen(activity[test], lasts[test])
        predicted = np.zeros((test.size, times.size, times.size, targets.shape[-1]))
        trained = lasts[train].sum(0) >= min(LEAST_TRIALS, train.size)
        for time in np.flatnonzero(trained):
            here = train[lasts[train, time]]
            seen = activity[here, time]
            scale = np.sqrt(seen.var(0).mean()) or 1.0
            model = RidgeCV(RIDGES * here.size, alpha_per_target=True).fit(seen / scale, targets[here, time])
            predicted[:, time][lasts[test]] = model.predict(held_out / scale).reshape(len(held_out), -1)
        for row, (name, part) in enumerate(zip(variables, np.split(predicted, edges, axis=-1), strict=True)):
            scores[fold, row] = score_of(actual[name], lasts, test, part, variables[name].kind)
        scores[fold, :, ~trained] = np.nan
    missing = np.asarray(np.isnan(scores).all(0) | np.isinf(scores).any(0))
    undefined = np.flatnonzero(missing[:, throughout][:, :, throughout].any((1, 2)))
    if undefined.size:
        names = ", ".join(list(variables)[row] for row in undefined)
        raise InsdError(
            f"{names}: no score of decoding from {len(rates)} trials in {folds} folds, since the trials of a fold do "
            "not differ; raise trials.evaluation, or lower analysis.decoding.folds"
        )
    return mean_of(np.where(missing, np.nan, scores))


def mean_of(values: Float[np.ndarray, "first *any"]) -> Float[np.ndarray, "*any"]:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return np.nanmean(values, axis=0)


def components_of(values: Float[np.ndarray, "trial time"], kind: Kind) -> Float[np.ndarray, "trial time component"]:
    """What the regression predicts."""
    if kind == "angle":
        return np.stack([np.cos(values), np.sin(values)], axis=-1)
    return (values[..., None] == np.unique(values)).astype(float) if kind == "category" else values[..., None]


def chance_of(variable: Variable) -> float:
    """Score of a reader who always gives the same answer."""
    chance = SCORES[variable.kind][1]
    return 1 / len(np.unique(variable.values)) if chance is None else chance


def score_of(
    values: Float[np.ndarray, "trial time_to"],
    lasts: Bool[np.ndarray, "trial time_to"],
    test: Int[np.ndarray, "tested"],
    predicted: Float[np.ndarray, "tested time time_to component"],
    kind: Kind,
) -> Float[np.ndarray, "time time_to"]:
    """Score over the tested trials at each pair of times, those that last."""
    # Comparisons with NaN are false.
    actual = np.where(lasts, values, np.nan)[test][:, None]
    if kind == "category":
        categories = np.unique(values)
        correct = categories[predicted.argmax(-1)] == actual
        with np.errstate(invalid="ignore"):  # 0 / 0 where there is no trial of a category
            found = np.stack([(correct & (actual == one)).sum(0) / (actual == one).sum(0) for one in categories])
        present = np.isfinite(found).sum(0)
        return np.where(present > 1, np.nansum(found, 0) / present, np.nan)
    if kind == "angle":
        return mean_of(np.cos(np.arctan2(predicted[..., 1], predicted[..., 0]) - actual))
    if kind == "value":
        residual = np.nansum(np.square(actual - predicted[..., 0]), 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # where the trials do not differ
            return 1 - residual / np.nansum(np.square(actual - mean_of(actual)), 0)
    correct, groups = np.sign(predicted[..., 0]) == actual, (actual > 0, actual <= 0)
    with np.errstate(invalid="ignore"):  # 0 / 0 if a sign has no trials
        of_positive, of_negative = ((correct & group).sum(0) / group.sum(0) for group in groups)
    return (of_positive + of_negative) / 2


def decoding(
    members: Iterable[Member], task: Task, trials: xr.Dataset, seed: int, time_stride: int = 3, folds: int = 5
) -> xr.Dataset:
    """Scores of all networks and variables of a task at every `time_stride`-th time, by the contract of `decoding.nc`.

    `trials` are those that the rates were recorded on. All networks are tested on the same folds.

    Returns
    -------
    score (network, variable, time, time_to) : `decode` from the rates; `time` is that of training, `time_to` that of
        the test, both in s from the start of the trial.
    score_null (network, variable, time, time_to) : from the rates in the null space of the network's own readout. What
        is decoded there cannot be the output itself.
    score_shuffled (network, variable, time) : from the rates, trained and tested at the same time, with the labels of
        the trials permuted, by another permutation for each network. R² and cosine lie slightly below chance, since
        the mean of the training trials errs to the other side of the held-out ones.
    chance (variable) : the score of a reader who always gives the same answer.

    The coordinates `kind` and `score_name` say how each variable is scored.
    """
    times = np.arange(0, trials.sizes["time"], time_stride)
    variables = task.variables(trials)
    labels: list[str] = []
    full: list[np.ndarray] = []
    null: list[np.ndarray] = []
    shuffled: list[np.ndarray] = []
    for member in members:
        label = member.label
        order = np.random.default_rng(random_seed(label, seed)).permutation(trials.sizes["trial"])
        permuted = {
            f"{name} shuffled": Variable(variable.values[order], variable.kind) for name, variable in variables.items()
        }
        rates = member.rates
        projector = null_projector_array(member.output_weights)
        # Labels and permuted labels share the costly part of a fit.
        both = decode(rates, {**variables, **permuted}, times, folds, seed)
        labels.append(label)
        full.append(both[: len(variables)])
        shuffled.append(np.diagonal(both[len(variables) :], axis1=1, axis2=2))
        null.append(decode(rates @ projector, variables, times, folds, seed))
        logger.info("decoded %s", label)

    kinds = [variable.kind for variable in variables.values()]
    seconds = trials["time"].values[times]
    dimensions = ("network", "variable", "time", "time_to")
    return xr.Dataset(
        {
            "score": (dimensions, np.stack(full)),
            "score_null": (dimensions, np.stack(null)),
            "score_shuffled": (dimensions[:3], np.stack(shuffled)),
            "chance": ("variable", [chance_of(variable) for variable in variables.values()]),
        },
        coords={
            "network": labels,
            "variable": list(variables),
            "kind": ("variable", kinds),
            "score_name": ("variable", [SCORES[kind][0] for kind in kinds]),
            "time": ("time", seconds, {"units": "s", "long_name": "time of training from trial start"}),
            "time_to": ("time_to", seconds, {"units": "s", "long_name": "time of test from trial start"}),
        },
    )


def decoded_at_times(
    members: Iterable[Member],
    task: Task,
    trials: xr.Dataset,
    n_times: int,
    decoders: Sequence[str],
    decode: Callable[
        [Float[np.ndarray, "trial time unit"], Mapping[str, Variable], Int[np.ndarray, "tested"]],
        Float[np.ndarray, "variable decoder tested"],
    ],
) -> xr.Dataset:
    """Scores of several decoders, of all networks and variables of a task, at times that are evenly spaced after its
    first step.

    `decode` gives the scores from the rates of a network, recorded on `trials`, the variables and the times.

    Returns
    -------
    score (network, variable, decoder, time) : what `decode` gives.
    chance (variable) : the score of a reader who always gives the same answer.
    """
    steps = trials.sizes["time"]
    times = np.unique(np.linspace(0, steps - 1, n_times + 1).round().astype(int)[1:])
    variables = task.variables(trials)
    labels, scores = [], []
    for member in members:
        labels.append(member.label)
        scores.append(decode(member.rates, variables, times))
        logger.info("decoded %s", member.label)
    kinds = [variable.kind for variable in variables.values()]
    return xr.Dataset(
        {
            "score": (("network", "variable", "decoder", "time"), np.stack(scores)),
            "chance": ("variable", [chance_of(variable) for variable in variables.values()]),
        },
        coords={
            "network": labels,
            "variable": list(variables),
            "decoder": list(decoders),
            "score_name": ("variable", [SCORES[kind][0] for kind in kinds]),
            "time": ("time", trials["time"].values[times], {"units": "s"}),
        },
    )
