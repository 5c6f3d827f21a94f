"""The task loss along the straight line between two networks whose units are matched."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from insd.bank import Bank
from insd.evaluation.matching import Matching, by_activity, by_weights, distance, is_odd, unmatched
from insd.evaluation.performance import chunked_outputs
from insd.kept import Kept, Pair
from insd.members import Member
from insd.networks.base import made_of, side_by_side, stacked_weights
from insd.samples import samples
from insd.tasks import Task
from insd.tasks.base import target_variance

logger = logging.getLogger(__name__)

MATCHINGS = ("none", "activity", "weights")
"""How units are matched: by their numbers, `by_activity` or `by_weights`."""


def landscape(task: Task, members: Sequence[Member], trials: xr.Dataset, points: int, kept: Kept) -> xr.Dataset:
    """Loss along the lines between all pairs of networks, `Additive`, by the contract of `landscape.nc`.

    Parameters
    ----------
    trials : the first trials of the regime `test`: the loss is of them, noise-free, and so are the rates by which units
        are matched.
    points : on each line, evenly spaced, with both ends; 2 or more.
    kept : pairs that are not computed again; those that are computed are added to it.

    Returns
    -------
    loss (matching, network, network_to, share) : at the weights ``(1 - share) w + share w_to``, with those of
        `network_to` after its units were matched with those of `network`.
    barrier (matching, network, network_to) : `barriers` of these losses.
    weight_distance (matching, network, network_to) : `insd.evaluation.matching.distance` of the two ends.

    NaN for pairs that differ in size, nonlinearity or time constant: there is no line between them.
    """
    labels, shares = [member.label for member in members], _shares(points)
    compare(task, members, kept.missing(labels), trials, points, kept)
    count = len(labels)
    loss = np.full((len(MATCHINGS), count, count, points), np.nan)
    distances = np.full((len(MATCHINGS), count, count), np.nan)
    for i, j, of_pair in kept.found(labels):
        # Matched in the other direction, the line is the same one.
        loss[:, j, i], loss[:, i, j] = of_pair["loss"][:, ::-1], of_pair["loss"]
        distances[:, j, i] = distances[:, i, j] = of_pair["weight_distance"]
    return xr.Dataset(
        {
            "loss": (("matching", "network", "network_to", "share"), loss),
            "barrier": (("matching", "network", "network_to"), barriers(loss)),
            "weight_distance": (("matching", "network", "network_to"), distances),
        },
        coords={"matching": list(MATCHINGS), "network": labels, "network_to": labels, "share": shares},
    )


def compare(
    task: Task, members: Sequence[Member], pairs: Sequence[Pair], trials: xr.Dataset, points: int, kept: Kept
) -> None:
    """Compare pairs of networks, and add to `kept` the loss along their line and the distance of its ends. The other
    parameters are those of `landscape`.
    """
    by_label, shares = {member.label: member for member in members}, _shares(points)
    rates: dict[str, np.ndarray] = {}

    def rates_of(label: str) -> Float[np.ndarray, "sample unit"]:
        if label not in rates:
            rates[label] = samples(by_label[label].rates[: trials.sizes["trial"]])
        return rates[label]

    for done, (label, label_to) in enumerate(pairs, start=1):
        first, second = by_label[label].network, by_label[label_to].network
        assert first is not None and second is not None
        if side_by_side(first) == side_by_side(second):
            matched = matchings(first, second, rates_of(label), rates_of(label_to))
            found = along_lines(task, first, second, matched, trials, shares)
        else:
            found = {
                "loss": np.full((len(MATCHINGS), points), np.nan),
                "weight_distance": np.full(len(MATCHINGS), np.nan),
            }
        kept.add_pair((label, label_to), found)
        if done % len(members) == 0:
            logger.info("%d of %d pairs", done, len(pairs))


def _shares(points: int) -> Float[np.ndarray, "share"]:
    return np.linspace(0, 1, points)


def barriers(loss: Float[np.ndarray, "*any share"]) -> Float[np.ndarray, "*any"]:
    """How far the loss rises above the straight line between its values at both ends: 0 where it does not.

    Source: Entezari et al. (2022), "The role of permutation invariance in linear mode connectivity of neural networks".
    """
    shares = np.linspace(0, 1, loss.shape[-1])
    return (loss - (1 - shares) * loss[..., :1] - shares * loss[..., -1:]).max(-1)


def matchings(
    first: xr.Dataset,
    second: xr.Dataset,
    rates: Float[np.ndarray, "sample unit"],
    rates_to: Float[np.ndarray, "sample unit"],
) -> dict[str, Matching]:
    """The units of a second network matched with those of a first one in all ways (`MATCHINGS`).

    `first` and `second` are `network.nc` of one seed that may run side by side, and the rates are at the same samples.
    Where the nonlinearity is odd, units may change sign.
    """
    signed = is_odd(first)
    of_activity = by_activity(rates, rates_to, signed)
    found = (unmatched(rates.shape[1]), of_activity, by_weights(first, second, signed, [of_activity]))
    return dict(zip(MATCHINGS, found, strict=True))


def along_lines(
    task: Task,
    first: xr.Dataset,
    second: xr.Dataset,
    matched: Mapping[str, Matching],
    trials: xr.Dataset,
    shares: Float[np.ndarray, "share"],
) -> dict[str, np.ndarray]:
    """`loss` (matching, share) and `weight_distance` (matching) of two networks for each matching (`landscape`)."""
    bank = Bank.from_trials(trials)
    variance = target_variance(bank.targets, bank.mask)
    loss, distances = [], []
    for matching in matched.values():
        moved = matching.apply(second)
        ends = stacked_weights([first, moved])
        weights = {name: _between(end, shares) for name, end in ends.items()}
        networks = made_of(first, weights, trials.attrs["dt"] / first.attrs["tau"])
        outputs = chunked_outputs(networks, bank.inputs).transpose(1, 2)
        loss.append(task.loss(outputs, bank.targets, bank.mask, variance).numpy())
        distances.append(distance(first, moved))
    return {"loss": np.stack(loss).astype(float), "weight_distance": np.array(distances)}


def _between(
    ends: Float[torch.Tensor, "end *weight"], shares: Float[np.ndarray, "share"]
) -> Float[torch.Tensor, "share *weight"]:
    """Weights on the line, the ends as they are."""
    along = torch.from_numpy(shares).to(ends.dtype).reshape(-1, *[1] * (ends.dim() - 1))
    return (1 - along) * ends[0] + along * ends[1]
