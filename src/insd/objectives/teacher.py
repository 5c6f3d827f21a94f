"""Recorded units of a teacher, as a term: students whose units do what the recorded ones do."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.activity import simulate_trials
from insd.datasets import DatasetError
from insd.networks.base import Networks
from insd.objectives.base import READ_AGAIN, Stored, Term
from insd.objectives.settings.teacher import TeacherSettings
from insd.recorded_units import recorded_units


class Teacher(Term):
    """Mean over recorded units i, times and trials of ``(r_i - r*_i)^2``, with the rates r* of a teacher.

    Units are matched by index: unit i of the student is to do what unit i of the teacher does. Rates are those of all
    activity, whatever the readout. Where no unit is recorded, the value is 0.

    Source: after Salatiello & Giese (2020), "Recurrent neural network learning of performance and intrinsic population
    dynamics from sparse neural data", who fit recurrent currents by recursive least squares; the gradient form is ours.
    """

    Settings = TeacherSettings
    variables = {
        "teacher_rates": ("seed", "bank_trial", "teacher_time", "teacher_unit"),
        "teacher_index": ("seed", "teacher_unit"),
    }
    settings: TeacherSettings

    def stores(self, network: xr.Dataset, bank: xr.Dataset) -> xr.Dataset:
        """Of each network, the rates of the units that are recorded of its seed, and which these are."""
        rates, seeds = simulate_trials(network, bank)[0].numpy(), network["seed"].values.tolist()
        return xr.concat([self._kept(one, seed) for one, seed in zip(rates, seeds, strict=True)], "seed").assign_coords(
            seed=network["seed"]
        )

    def stores_recording(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        output_weights: Float[np.ndarray, "output unit"] | None,
        bank: xr.Dataset,
    ) -> xr.Dataset:
        """The same, of the units that are recorded of seed 0; rates count as they are, in the unit of the networks'."""
        return self._kept(rates, 0)

    def join(self, rounds: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]) -> Stored:
        """The variables by name, (network, earlier, ...), at every `time_stride`-th step of the bank."""
        times = len(bank["time"].values[:: self.settings.time_stride])
        for stored, file in zip(rounds, files, strict=True):
            if stored.sizes["teacher_time"] != times:
                raise DatasetError(f"{file}: was stored at a different time_stride; {READ_AGAIN}")
        return replace(super().join(rounds, bank, files), every=self.settings.time_stride)

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        index, kept = stored.of_networks["teacher_index"].long(), stored.of_networks["teacher_rates"]
        of_network = torch.arange(len(kept), device=trials.device)[:, None]
        # (network, trial, earlier, time, unit), with time before trials below.
        teacher = kept[of_network, :, trials].permute(0, 2, 3, 1, 4).to(rates)
        count, earlier, recorded = index.shape
        chosen = index[:, :, None, None].expand(count, earlier, *rates.shape[1:3], recorded)
        own = rates[:, None].expand(-1, earlier, -1, -1, -1).gather(-1, chosen)
        errors = (own - teacher).square().sum(-1) / max(recorded, 1)
        if valid is None:
            return errors.mean((2, 3))
        counts = valid[:, None].to(errors)
        return (errors * counts).sum((2, 3)) / counts.sum((2, 3))

    def _kept(self, rates: Float[np.ndarray, "trial time unit"], seed: int) -> xr.Dataset:
        chosen = recorded_units(rates.shape[-1], self.settings.share, seed)
        # After the end of trials, where rates are NaN, nothing is compared.
        values = np.nan_to_num(rates[:, :: self.settings.time_stride, chosen]).astype(np.float32)
        return xr.Dataset(
            {
                "teacher_rates": (self.variables["teacher_rates"][1:], values),
                "teacher_index": ("teacher_unit", chosen.astype(np.int32)),
            }
        )
