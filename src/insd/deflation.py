"""Deflation of any network: the penalty on predicting stored activity, for every `torch.nn.Module` that has rates and a
linear readout. It needs neither the tasks nor the networks of this library.

    penalty = DeflationPenalty([stored])                        # stored: rates (trial, time, unit), an array
    rates, _ = rnn(inputs[batch])                               # (trial, time, unit)
    loss = task_loss(readout(rates), targets[batch]) + multiplier * penalty(rates, readout, batch).sum()
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.activity import simulate_trials
from insd.errors import InsdError
from insd.objectives.predictivity import deflation_penalty
from insd.predictivity import null_projector_array, principal_components
from insd.readouts import why_no_null_space
from insd.samples import lasting


class DeflationError(InsdError):
    """The penalty cannot be computed; the message says why and what to do."""


class DeflationPenalty:
    """How well a network's null-space rates predict earlier networks or recordings: S of each, in [0, 1].

    Parameters
    ----------
    earlier : activity (trial, time, unit) of each earlier network on the same trials, of any numbers of units: the
        null-space rates of stored networks (`null_space_activity`), or any recording. NaN after the end of trials that
        are shorter than others: these times count for no network.
    ridge : rho over the mean variance of a unit's null-space rates (see `deflation_penalty` in
        `insd.objectives.predictivity`).
    variance_kept : share of each activity's variance in the components that are kept; S is exact up to the share
        left out.

    Raises DeflationError if the activities differ in their numbers of trials or times or in when trials end, or do not
    vary.

    Source: Qian & Pehlevan (2026).
    """

    def __init__(
        self, earlier: Sequence[Float[np.ndarray, "trial time _"]], ridge: float = 1e-3, variance_kept: float = 0.99
    ):
        if not earlier:
            raise DeflationError("there is no earlier activity: without it nothing is deflated")
        shapes = [activity.shape[:2] for activity in earlier]
        if len(set(shapes)) > 1:
            raise DeflationError(
                f"the earlier activities have (trials, times) {shapes}; record them on the same trials"
            )
        lasts = [lasting(activity) for activity in earlier]
        if not all(np.array_equal(one, lasts[0]) for one in lasts):
            raise DeflationError(
                "trials end at different times in the earlier activities; record them on the same trials"
            )
        try:
            kept = [principal_components(activity, variance_kept)[0] for activity in earlier]
        except ValueError as error:
            raise DeflationError(str(error)) from None
        self.ridge, self.valid = ridge, torch.from_numpy(lasts[0]).float()
        self.components = torch.from_numpy(np.concatenate(kept, axis=-1)).float()
        self.membership = torch.block_diag(*[torch.ones(part.shape[-1], 1) for part in kept])

    def __call__(
        self,
        rates: Float[Tensor, "trial time unit"],
        readout: torch.nn.Module | Float[Tensor, "output unit"],
        trials: Int[Tensor, "trial"] | None = None,
    ) -> Float[Tensor, "earlier"]:
        """S towards each earlier activity, differentiable in the rates and in the readout's weights.

        Parameters
        ----------
        rates : of the network in training.
        readout : its linear readout, or the weights of the readout.
        trials : which of the stored trials the rates are on; all of them, in order, if None.

        Raises DeflationError where the network has no linear readout or as many outputs as units, its outputs depend on
        each other, or its rates are on other trials or do not vary.
        """
        weights = readout if isinstance(readout, Tensor) else getattr(readout, "weight", None)
        if not isinstance(weights, Tensor) or weights.ndim != 2 or weights.shape[1] != rates.shape[-1]:
            raise DeflationError(
                f"the readout, a {type(readout).__name__}, has no weights (output, {rates.shape[-1]}): deflation needs "
                "a linear readout of the rates, such as torch.nn.Linear(units, outputs)"
            )
        if len(weights) >= weights.shape[1]:
            raise DeflationError(_no_null_space(weights.detach().cpu().numpy()))
        chosen = slice(None) if trials is None else trials.to(self.components.device)
        stored, valid = self.components[chosen], self.valid[chosen]
        if stored.shape[:2] != rates.shape[:2]:
            raise DeflationError(
                f"the rates are on {tuple(rates.shape[:2])} (trials, times) and the earlier activity on "
                f"{tuple(stored.shape[:2])}: use the same trials for both"
            )
        weighted = None if valid.all() else valid.to(rates)
        if weighted is not None:
            # What follows the end of a trial may be NaN, which no weight of zero takes away.
            rates = torch.where(weighted[..., None] > 0, rates, 0.0)
        try:
            penalty = deflation_penalty(
                rates.flatten(0, 1)[None],
                weights[None],
                stored.flatten(0, 1)[None].to(rates),
                self.membership.to(rates.device),
                self.ridge,
                None if weighted is None else weighted.flatten()[None],
            )
        except torch.linalg.LinAlgError:
            penalty = None  # on a GPU it is not finite instead
        if penalty is None or not penalty.isfinite().all():
            why = "the rates do not vary in the null space of the readout, or are not finite: there is no activity"
            raise DeflationError(_no_null_space(weights.detach().cpu().numpy()) or why)
        return penalty[0]


def null_space_activity(
    network: xr.Dataset, trials: xr.Dataset, seed: int | None = None
) -> Float[np.ndarray, "trial time unit"]:
    """Noise-free rates of one seed of a `network.nc` on trials, in the null space of its readout; of the first seed
    unless one is named.

    Raises DeflationError where the file has no such seed, the readout leaves no null space, or the trials have a
    different time step, at which it would be a different network.
    """
    if not math.isclose(network.attrs["dt"], trials.attrs["dt"]):
        raise DeflationError(
            f"the network runs at dt = {network.attrs['dt']:g} s and the trials at {trials.attrs['dt']:g} s, where it "
            "would be a different network; give it trials at its own step"
        )
    seeds = network["seed"].values.tolist()
    if seed is not None and seed not in seeds:
        raise DeflationError(f"seed = {seed}: the network's file has the seeds {', '.join(map(str, seeds))}")
    one = network.isel(seed=[0 if seed is None else seeds.index(seed)])
    if why := _no_null_space(one["output_weights"].values[0]):
        raise DeflationError(why)
    return simulate_trials(one, trials)[0][0].numpy() @ null_projector_array(one["output_weights"].values[0]).astype(
        np.float32
    )


def _no_null_space(output_weights: Float[np.ndarray, "output unit"]) -> str | None:
    why = why_no_null_space(output_weights)
    return why and f"{why}; deflation needs independent outputs, fewer than units"
