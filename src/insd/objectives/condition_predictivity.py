"""Predictivity of recordings that are averages over trials: the term for chains that begin with one.

A recording Y (condition, grid time, unit) has a mean over the trials of each of some conditions, on a time grid of its
own (`insd.recordings`). A network in training is averaged in the same way over those trials of a minibatch that are of
a condition, at each time over those that last, and interpolated to the grid. S is the one of
`insd.objectives.predictivity` with (condition, grid time) as samples; conditions without a trial in the minibatch are
left out of both. Networks of earlier rounds have single trials, and S towards them is that of `predictivity`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.datasets import DatasetError
from insd.networks.base import Networks
from insd.objectives.base import READ_AGAIN, Stored, Term, TermError
from insd.objectives.predictivity import Predictivity, deflation_penalty
from insd.objectives.settings.condition_predictivity import ConditionPredictivitySettings
from insd.predictivity import principal_components
from insd.recordings import interpolation, null_rates

_NAMES = {
    "null_activity": "condition_activity",
    "bank_trial": "condition",
    "bank_time": "condition_time",
    "component": "condition_component",
}


class ConditionPredictivity(Term):
    """S of each earlier round: how well a network's null-space rates predict it, by condition for a recording that is
    averaged over trials, and by single trials for a network.

    Kept are principal components, as by `predictivity`, and the condition of each trial of the bank; -1 for none. Of a
    network, each trial is a condition of its own.

    Source: Qian & Pehlevan (2026) for S; averaging is ours.
    """

    Settings = ConditionPredictivitySettings
    variables = {
        "condition_activity": ("seed", "condition", "condition_time", "condition_component"),
        "condition_of_trial": ("seed", "bank_trial"),
    }
    settings: ConditionPredictivitySettings

    def stores(self, network: xr.Dataset, bank: xr.Dataset) -> xr.Dataset:
        return _by_trial(Predictivity(self.settings).stores(network, bank), bank)

    def stores_recording(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        output_weights: Float[np.ndarray, "output unit"] | None,
        bank: xr.Dataset,
    ) -> xr.Dataset:
        return _by_trial(Predictivity(self.settings).stores_recording(rates, output_weights, bank), bank)

    def stores_averages(self, recording: Mapping[str, np.ndarray]) -> xr.Dataset:
        """The variables of a recording that is averaged over trials (`insd.recordings.read_recording`)."""
        components, _ = principal_components(null_rates(dict(recording)), self.settings.variance_kept)
        return xr.Dataset(
            {
                "condition_activity": (self.variables["condition_activity"][1:], components.astype(np.float32)),
                "condition_of_trial": ("bank_trial", recording["condition_of_trial"]),
            },
            coords={"condition_time": ("condition_time", recording["time"], {"units": "s"})},
        )

    def join(self, rounds: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]) -> Stored:
        """Of rounds by trial, what `predictivity` reads of them, and their numbers, `by_trial`. Of a round k that is
        averaged, `averages_k`, `conditions_k` (network, trial), and `grid_k` (grid time, sampled time).
        """
        times = bank["time"].values[:: self.settings.time_stride]
        of_networks: dict[str, Tensor] = {}
        shared: dict[str, Tensor] = {}
        by_trial: list[int] = []
        for number, (stored, file) in enumerate(zip(rounds, files, strict=True)):
            conditions, grid = stored["condition_of_trial"].values, stored["condition_time"].values
            if (conditions == np.arange(bank.sizes["trial"])).all():
                if not np.array_equal(grid, times):
                    raise DatasetError(f"{file}: was stored at a different time_stride; {READ_AGAIN}")
                by_trial.append(number)
                continue
            activity = torch.from_numpy(stored["condition_activity"].values).float()
            of_networks |= {f"averages_{number}": activity, f"conditions_{number}": torch.from_numpy(conditions)}
            shared[f"grid_{number}"] = torch.from_numpy(interpolation(times, grid)).float()
        if by_trial:
            named = [rounds[number].rename({new: old for old, new in _NAMES.items()}) for number in by_trial]
            joined = Predictivity(self.settings).join(named, bank, [files[number] for number in by_trial])
            of_networks |= joined.of_networks
            shared |= {**joined.shared, "by_trial": torch.tensor(by_trial)}
        return Stored(of_networks, shared, len(rounds), self.settings.time_stride)

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        found: dict[int, Tensor] = {}
        if "components" in stored.of_networks:
            values = Predictivity(self.settings).value(rates, networks, stored, trials, valid)
            found |= dict(zip(stored.shared["by_trial"].tolist(), values.unbind(1), strict=True))
        for number in range(stored.earlier):
            if number not in found:
                found[number] = self._by_condition(number, rates, networks, stored, trials, valid)
        return torch.stack([found[number] for number in range(stored.earlier)], 1)

    def _by_condition(
        self,
        number: int,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network"]:
        """S towards a round that is averaged over trials."""
        averages = stored.of_networks[f"averages_{number}"]
        conditions = stored.of_networks[f"conditions_{number}"].long().gather(1, trials)
        means, known = condition_means(
            rates, conditions, averages.shape[1], stored.shared[f"grid_{number}"].to(rates), valid
        )
        if not known.flatten(1).any(1).all():
            raise TermError(
                "condition_predictivity: no trial of a minibatch is of a condition of the recording; raise "
                "training.batch_size, or give the recording more conditions"
            )
        penalty = deflation_penalty(
            means.flatten(1, 2),
            networks.output_weights,
            averages.flatten(1, 2).to(rates),
            torch.ones(averages.shape[-1], 1, device=rates.device),
            self.settings.ridge,
            None if known.all() else known.flatten(1).to(rates.dtype),
        )
        return penalty[:, 0]


def condition_means(
    rates: Float[Tensor, "network sampled_time trial unit"],
    conditions: Int[Tensor, "network trial"],
    count: int,
    grid: Float[Tensor, "grid sampled_time"],
    valid: Float[Tensor, "network sampled_time trial"] | None,
) -> tuple[Float[Tensor, "network condition grid unit"], Tensor]:
    """Rates averaged over the trials of each of `count` conditions, at each time over those that last, on a time grid;
    and where they are known: (network, condition, grid).
    """
    of_condition = (conditions[:, None] == torch.arange(count, device=rates.device)[:, None]).to(rates.dtype)
    # (network, time, condition, trial)
    chosen = of_condition[:, None].expand(-1, rates.shape[1], -1, -1)
    if valid is not None:
        chosen = chosen * valid[:, :, None].to(rates.dtype)
    counts = chosen.sum(-1)
    means = (chosen @ rates) / counts.clamp(min=1)[..., None]
    missing = torch.einsum("gt,ntc->ncg", (grid > 0).to(rates.dtype), (counts == 0).to(rates.dtype))
    return torch.einsum("gt,ntcu->ncgu", grid, means), missing == 0


def _by_trial(kept: xr.Dataset, bank: xr.Dataset) -> xr.Dataset:
    """What `Predictivity` keeps, with each trial as a condition."""
    renamed = kept[["null_activity"]].rename({old: new for old, new in _NAMES.items() if old in {*kept.dims, *kept}})
    seeds = {"seed": kept.sizes["seed"]} if "seed" in kept.dims else {}
    conditions = np.broadcast_to(np.arange(bank.sizes["trial"]), (*seeds.values(), bank.sizes["trial"]))
    return renamed.assign(condition_of_trial=((*seeds, "bank_trial"), conditions.copy()))
