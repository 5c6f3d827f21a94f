"""How well networks predict recorded activity, on trials that none of them was trained on."""

import logging
from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from insd.activity import simulate_trials
from insd.measures.base import TIME_STRIDE
from insd.measures.predictivity import linear_predictivity
from insd.members import Member
from insd.predictivity import null_projector_array
from insd.recordings import null_rates
from insd.samples import chosen, shuffled_trials, valid_steps

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
    recordings permuted.
    """
    trials = bank.isel(trial=slice(bank.sizes["trial"] - held_out, None))
    lasts = valid_steps(trials)
    order = shuffled_trials(lasts.sum(1), seed)
    counted = lasts[:, ::TIME_STRIDE]
    targets = {
        name: {
            "full": arrays["rates"][-held_out:, ::TIME_STRIDE],
            "null": null_rates(arrays)[-held_out:, ::TIME_STRIDE],
        }
        for name, arrays in recordings.items()
    }
    labels, rows = [], []
    for member in members:
        assert member.network is not None
        rates = simulate_trials(member.network, trials)[0].numpy()[0, :, ::TIME_STRIDE]
        labels.append(member.label)
        spaces = {"full": rates, "null": rates @ null_projector_array(member.output_weights)}
        rows.append(
            [
                [
                    [
                        linear_predictivity(chosen(predictor, counted), chosen(part[space][rows_of], counted))
                        for part in targets.values()
                    ]
                    for space, predictor in spaces.items()
                ]
                for rows_of in (np.arange(held_out), order)
            ]
        )
        logger.info("predicted %d recordings from %s", len(targets), labels[-1])
    values = np.array(rows).transpose(1, 2, 0, 3)
    dimensions = ("space", "network", "recording")
    return xr.Dataset(
        {"r2": (dimensions, values[0]), "r2_shuffled": (dimensions, values[1])},
        coords={"space": ["full", "null"], "network": labels, "recording": list(targets)},
    )
