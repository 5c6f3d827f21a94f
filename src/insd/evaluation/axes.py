"""Regression axes of task variables over the delay, against their start, the output space and the input weights.

Rates at one time are regressed on the task variables together, over trials; what is found for a variable is its axis
(Mante et al. 2013, Nature 503:78: targeted dimensionality reduction), of an angle the plane of its cosine and sine.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import scipy.linalg
import xarray as xr
from jaxtyping import Float

from insd.errors import InsdError
from insd.evaluation.decoding import LEAST_TRIALS, components_of
from insd.members import Member
from insd.networks.base import constant_input_weights
from insd.tasks import Task

KINDS = ("value", "sign", "angle")
"""Kinds of variables that have an axis."""


class NoDelayError(InsdError):
    """No trial has a delay."""


def regression_axes(
    rates: Float[np.ndarray, "trial unit"], values: Mapping[str, Float[np.ndarray, "trial component"]]
) -> dict[str, Float[np.ndarray, "unit component"]]:
    """Slopes of rates in all variables together, by least squares with an intercept, by variable.

    Of variables that are linear combinations of others, such as relevant and irrelevant coherences of one context, the
    solution of least norm is taken.
    """
    centred = {name: part - part.mean(0) for name, part in values.items()}
    slopes = np.linalg.lstsq(np.concatenate(list(centred.values()), axis=1), rates - rates.mean(0), rcond=1e-6)[0]
    edges = np.cumsum([part.shape[1] for part in centred.values()])[:-1]
    return {name: part.T for name, part in zip(centred, np.split(slopes, edges), strict=True)}


def output_relevance(axis: Float[np.ndarray, "unit component"], weights: Float[np.ndarray, "output unit"]) -> float:
    """Share of an axis' squared norm that lies in the output space, the span of the output weights.

    A random axis has the share of outputs in units.
    """
    basis = scipy.linalg.orth(weights.T.astype(float))
    total = np.square(axis).sum()
    return float(np.square(basis.T @ axis).sum() / total) if total > 0 else float("nan")


def principal_angles(
    first: Float[np.ndarray, "unit first"], second: Float[np.ndarray, "unit second"]
) -> Float[np.ndarray, "principal"]:
    """Principal angles in degrees between the spans of two sets of vectors, from the largest; NaN for those that are 0.

    Source: Björck & Golub (1973), Mathematics of Computation 27:579.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all() and np.any(first) and np.any(second)):
        return np.full(min(first.shape[1], second.shape[1]), np.nan)
    found = np.rad2deg(scipy.linalg.subspace_angles(first.astype(float), second.astype(float)))
    return np.pad(found, (0, min(first.shape[1], second.shape[1]) - found.size), constant_values=np.nan)


def axes(members: Iterable[Member], task: Task, trials: xr.Dataset) -> xr.Dataset:
    """Axes of all networks and variables of a task, by the contract of `axes.nc`.

    `trials` are those that the rates were recorded on, with `delay_time` and `go_time`. Lags count from the start of
    the delay of each trial; at each, trials count that are still in their delay, as long as there are `LEAST_TRIALS`.
    Trials in which one of the times is NaN count nowhere; raises NoDelayError where no trial has a delay.

    Returns
    -------
    rotation (network, variable, lag) : largest principal angle in degrees between the axis and that at the first lag.
    output_relevance (network, variable, lag) : `output_relevance` of the axis.
    weight_angle (network, principal) : principal angles, from the largest, between the weights of inputs that are not
        fixation and the axes of those variables at the first lag that inputs carry: coherences and context, or an
        angle. NaN for recorded activity and gated inputs.
    """
    dt = trials.attrs["dt"]
    times = np.stack([trials[name].values for name in ("delay_time", "go_time")])
    # Without both times, a delay of no length.
    starts, ends = np.round(np.where(np.isfinite(times).all(0), times, 0.0) / dt).astype(int)
    if not (ends > starts).any():
        raise NoDelayError("`go_time` is after `delay_time` in no trial")
    lasting = [int((ends - starts > lag).sum()) for lag in range(int((ends - starts).max()))]
    lags = [lag for lag, count in enumerate(lasting) if count >= LEAST_TRIALS] or [0]
    variables = {name: one for name, one in task.variables(trials).items() if one.kind in KINDS}
    shown: list[str] = [name for name in ("coherence_1", "coherence_2", "context") if name in variables] or list(
        variables
    )
    inputs = [index for index, name in enumerate(trials["input"].values.tolist()) if name != "fixation"]
    labels, rotations, relevances, angles = [], [], [], []
    for member in members:
        rates = member.rates.astype(np.float64)
        found = []
        for lag in lags:
            trial = np.flatnonzero(ends - starts > lag)
            time = starts[trial] + lag
            values = {
                name: components_of(one.values[trial, time][:, None], one.kind)[:, 0] for name, one in variables.items()
            }
            # Each alone where variables are combinations of others; the weights' axes are of those that are not.
            alone = {name: regression_axes(rates[trial, time], {name: part})[name] for name, part in values.items()}
            together = regression_axes(rates[trial, time], {name: values[name] for name in shown})
            found.append(alone | together)
        labels.append(member.label)
        rotations.append([[principal_angles(found[0][name], one[name])[0] for one in found] for name in variables])
        weights = member.output_weights if member.network is not None else np.zeros((1, rates.shape[-1]))
        relevances.append([[output_relevance(one[name], weights) for one in found] for name in variables])
        joint = np.concatenate([found[0][name] for name in shown], axis=1)
        into = np.full((rates.shape[-1], len(inputs)), np.nan)
        if member.network is not None:
            into = constant_input_weights(member.network)[0][:, inputs]
        angles.append(principal_angles(into, joint))
    return xr.Dataset(
        {
            "rotation": (("network", "variable", "lag"), np.array(rotations)),
            "output_relevance": (("network", "variable", "lag"), np.array(relevances)),
            "weight_angle": (("network", "principal"), np.array(angles)),
        },
        coords={"network": labels, "variable": list(variables), "lag": ("lag", dt * np.array(lags), {"units": "s"})},
    )
