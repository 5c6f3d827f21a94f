"""What the inputs alone predict of networks' activity, and what networks predict of each other beyond that.

Networks that receive the same inputs follow them, whatever they compute: untrained ones predict each other, too. The
regressors here are filtered copies of the inputs, which need no network: of every input, its leaky integral at each of
some time constants, ``u_f <- u_f + (1 - exp(-dt / T)) (u - u_f)`` from 0 at the start of the trial, and the input
itself (T = 0). What is left of activity after a linear regression on them is compared as activity is.
"""

import logging
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.kept import Kept, Pair
from insd.measures.base import orthonormal_basis
from insd.measures.pairs import SPACES, Prepared, compare, joined, prepare
from insd.members import Member
from insd.predictivity import null_projector_array
from insd.samples import chosen, placed, valid_steps

logger = logging.getLogger("insd.evaluation.inputs")


def filtered_inputs(
    inputs: Float[np.ndarray, "trial time input"], time_constants: Sequence[float], dt: float
) -> Float[np.ndarray, "trial time copy"]:
    """Copies of the inputs, filtered at time constants in s; that of 0 is the input itself."""
    copies = []
    for constant in time_constants:
        share = 1 - np.exp(-dt / constant) if constant > 0 else 1.0
        state, visited = np.zeros_like(inputs[:, 0], dtype=np.float64), []
        for time in range(inputs.shape[1]):
            state = state + share * (inputs[:, time] - state)
            visited.append(state)
        copies.append(np.stack(visited, 1))
    return np.concatenate(copies, axis=-1)


def beyond_inputs(
    members: Sequence[Member],
    trials: xr.Dataset,
    time_constants: Sequence[float],
    seed: int,
    kept: Kept | None = None,
) -> xr.Dataset:
    """r2 of the inputs towards all networks, and between networks beyond the inputs, by the contract of `inputs.nc`.

    Parameters
    ----------
    trials : those that the rates were recorded on.
    time_constants : in s, of the filtered copies of each input.
    seed : of the permutation of trials in the baseline.
    kept : networks and pairs that are not computed again; those that are computed are added to it.

    Returns
    -------
    r2_inputs (space, network) : share of a network's activity that a linear regression on the filtered inputs predicts.
    r2_beyond (space, predictor, target) : r2 between what that leaves of both networks' activity; NaN where it leaves
        nothing. r2_beyond_shuffled : the same with the trials of the targets permuted.
    """
    kept = Kept() if kept is None else kept
    labels = [member.label for member in members]
    if missing := kept.missing(labels):
        compare_beyond(members, missing, trials, time_constants, seed, kept)
    between = joined(labels, [], kept)[0]
    shares = [kept.networks[label]["inputs"]["r2_inputs"].values for label in labels]
    return xr.Dataset(
        {
            "r2_inputs": (("space", "network"), np.array(shares).reshape(-1, len(SPACES)).T),
            "r2_beyond": between["r2"],
            "r2_beyond_shuffled": between["r2_shuffled"],
        },
        coords={"network": labels},
    )


def compare_beyond(
    members: Sequence[Member],
    pairs: Sequence[Pair],
    trials: xr.Dataset,
    time_constants: Sequence[float],
    seed: int,
    kept: Kept,
) -> None:
    """Compare pairs of networks beyond the inputs, and add them to `kept`, and the share of each network that the
    inputs predict. The other parameters are those of `beyond_inputs`.
    """
    named = set(chain(*pairs))
    chosen_members = [member for member in members if member.label in named]
    compare(_left_by_inputs(chosen_members, trials, time_constants, kept), pairs, [], seed, kept)


def _left_by_inputs(
    members: Iterable[Member], trials: xr.Dataset, time_constants: Sequence[float], kept: Kept
) -> dict[str, Prepared]:
    """What the inputs leave of the activity of networks, prepared to be compared; the share that they do predict is
    added to `kept`.
    """
    lasts = valid_steps(trials)
    copies = filtered_inputs(trials["inputs"].values, time_constants, float(trials.attrs["dt"]))
    basis = orthonormal_basis(chosen(copies, lasts))[0]
    prepared = {}
    for member in members:
        flat = chosen(member.rates, lasts).astype(np.float64)
        flat = flat - flat.mean(0)
        left = flat - basis @ (basis.T @ flat)
        projector = null_projector_array(member.output_weights)
        shares = [_share(left, flat), _share(left @ projector, flat @ projector)]
        kept.add_network(member.label, {"inputs": xr.Dataset({"r2_inputs": ("space", shares)})})
        prepared[member.label] = prepare(placed(left, lasts), member.output_weights, [])
        logger.info("%s: the inputs predict %.3f of its null-space activity", member.label, shares[1])
    return prepared


def _share(left: np.ndarray, whole: np.ndarray) -> float:
    """Share of the squares that is not left."""
    total = float(np.square(whole).sum())
    return 1 - float(np.square(left).sum()) / total if total > 0 else float("nan")
