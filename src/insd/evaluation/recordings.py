"""How well networks predict recorded activity, on trials that none of them was trained on."""

import logging
from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float

from insd.activity import simulate_trials
from insd.measures.base import TIME_STRIDE
from insd.measures.predictivity import linear_predictivity
from insd.members import Member
from insd.predictivity import null_projector_array
from insd.recordings import averaged, interpolation, null_rates
from insd.samples import can_be_shuffled, chosen, shuffled_trials, valid_steps

logger = logging.getLogger("insd.evaluation.recordings")


def recording_predictivity(
    members: Iterable[Member],
    recordings: Mapping[str, dict[str, np.ndarray]],
    bank: xr.Dataset,
    held_out: int,
    seed: int,
) -> xr.Dataset:
    """r2 from every network of a task to every recording, by the contract of `recordings.nc`.

    Parameters
    ----------
    recordings : by population, the arrays of its recording on the whole bank (`insd.recordings.read_recording`).
    held_out : how many of the last trials of the bank networks are compared on: no more than were held out from
        training.
    seed : of the permutation of trials in the baseline.

    Returns
    -------
    r2 (space, network, recording): in full space and from null space to null space, without ridge. A recording without
    a readout has no null space: its whole activity is predicted there. r2_shuffled: the same with the trials of the
    recordings permuted. For a recording of averages over trials, networks are averaged over the held-out trials of each
    condition, at the times of its grid, and conditions are permuted.
    """
    trials = bank.isel(trial=slice(bank.sizes["trial"] - held_out, None))
    lasts = valid_steps(trials)
    targets = {
        name: (_Averages if "condition_of_trial" in arrays else _Trials)(arrays, trials, lasts, held_out, seed)
        for name, arrays in recordings.items()
    }
    labels, rows = [], []
    for member in members:
        assert member.network is not None
        rates = simulate_trials(member.network, trials)[0].numpy()[0]
        labels.append(member.label)
        spaces = {"full": rates, "null": rates @ null_projector_array(member.output_weights)}
        rows.append(
            [
                [
                    [target.r2(predictor, space, shuffled) for target in targets.values()]
                    for space, predictor in spaces.items()
                ]
                for shuffled in (False, True)
            ]
        )
        logger.info("predicted %d recordings from %s", len(targets), labels[-1])
    values = np.array(rows).transpose(1, 2, 0, 3)
    dimensions = ("space", "network", "recording")
    return xr.Dataset(
        {"r2": (dimensions, values[0]), "r2_shuffled": (dimensions, values[1])},
        coords={"space": ["full", "null"], "network": labels, "recording": list(targets)},
    )


class _Trials:
    """A recording of single trials: samples are every second time step of the held-out ones."""

    def __init__(
        self, arrays: dict[str, np.ndarray], trials: xr.Dataset, lasts: np.ndarray, held_out: int, seed: int
    ) -> None:
        self.counted = lasts[:, ::TIME_STRIDE]
        self.order, self.shuffles = shuffled_trials(lasts.sum(1), seed), can_be_shuffled(lasts.sum(1))
        self.spaces = {
            "full": arrays["rates"][-held_out:, ::TIME_STRIDE],
            "null": null_rates(arrays)[-held_out:, ::TIME_STRIDE],
        }

    def r2(self, rates: Float[np.ndarray, "trial time unit"], space: str, shuffled: bool) -> float:
        if shuffled and not self.shuffles:
            return float("nan")
        target = self.spaces[space][self.order] if shuffled else self.spaces[space]
        return linear_predictivity(chosen(rates[:, ::TIME_STRIDE], self.counted), chosen(target, self.counted))


class _Averages:
    """A recording of averages over trials: samples are the times of its grid, of the conditions that held-out trials
    are of.
    """

    def __init__(
        self, arrays: dict[str, np.ndarray], trials: xr.Dataset, lasts: np.ndarray, held_out: int, seed: int
    ) -> None:
        self.conditions = arrays["condition_of_trial"][-held_out:]
        self.weights = interpolation(trials["time"].values, arrays["time"])
        self.spaces = {"full": arrays["rates"], "null": null_rates(arrays)}
        known = averaged(np.where(lasts, 1.0, np.nan)[..., None], self.conditions, len(arrays["rates"]), self.weights)
        self.counted = ~np.isnan(known[..., 0])
        # Conditions change places with those that are known at as many times.
        known_at = self.counted.sum(1)
        self.order, self.shuffles = shuffled_trials(known_at, seed), can_be_shuffled(known_at)

    def r2(self, rates: Float[np.ndarray, "trial time unit"], space: str, shuffled: bool) -> float:
        if not self.counted.any() or (shuffled and not self.shuffles):
            return float("nan")
        target = self.spaces[space][self.order] if shuffled else self.spaces[space]
        means = averaged(rates, self.conditions, len(target), self.weights)
        return linear_predictivity(means[self.counted], target[self.counted].astype(np.float64))
