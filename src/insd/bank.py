"""The bank of trials that networks train on, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.errors import InsdError
from insd.networks.engine.keyed import keyed_normal


class BankError(InsdError):
    """The bank lacks what training needs of it; the message says what to do."""


@dataclass(frozen=True)
class Bank:
    """Trials as tensors with time before trials (see `insd.networks.engine.bptt`).

    In memory each trial is one block, since minibatches take some trials with all their times.
    """

    inputs: Float[Tensor, "time trial input"]
    targets: Float[Tensor, "time trial output"]
    mask: Float[Tensor, "time trial output"]
    valid: Float[Tensor, "time trial"] | None = None
    """1 until the end of each trial, and 0 after it; None where all trials last to the end."""

    @classmethod
    def from_trials(cls, trials: xr.Dataset) -> "Bank":
        """All trials of a dataset by the contract of trial files."""
        inputs, targets, mask = (
            torch.from_numpy(trials[name].values).transpose(0, 1) for name in ("inputs", "targets", "mask")
        )
        valid = torch.from_numpy(trials["valid"].values.astype(np.float32).T) if "valid" in trials else None
        return cls(inputs, targets, mask, valid)

    def to(self, device: torch.device) -> "Bank":
        """The same on a device."""
        valid = None if self.valid is None else self.valid.to(device)
        return Bank(self.inputs.to(device), self.targets.to(device), self.mask.to(device), valid)


@dataclass(frozen=True)
class FreshNoise:
    """The inputs of a bank without their noise, and noise that is drawn again for each minibatch."""

    clean: Float[Tensor, "trial time input"]
    sd: Float[Tensor, "trial time input"]
    """Standard deviation of the noise per step."""
    keys: Int[Tensor, "network"]
    """Of each network's noise."""

    @classmethod
    def of_bank(cls, bank: xr.Dataset, streams: Sequence[torch.Generator], device: torch.device) -> "FreshNoise":
        """That of a bank, for networks with these streams. Raises BankError if its task does not say its noise."""
        if "noise_sd" not in bank:
            raise BankError(
                "training.fresh_noise = true: the trials do not say which noise their inputs have; the task must give "
                "`noise` to `self.dataset`"
            )
        clean, sd = (torch.from_numpy(bank[name].values).to(device) for name in ("clean_inputs", "noise_sd"))
        return cls(clean, sd, torch.tensor([stream.initial_seed() for stream in streams], device=device))

    def inputs(
        self, trials: Int[Tensor, "network batch"], draw: Int[Tensor, ""]
    ) -> Float[Tensor, "network time batch input"]:
        """The inputs of some trials of each network, with the noise of that draw."""
        clean, sd = minibatch(self.clean, trials), minibatch(self.sd, trials)
        return clean + sd * keyed_normal(self.keys, draw, clean[0].numel(), clean.dtype).view_as(clean)

    def keep(self, rows: Sequence[int]) -> "FreshNoise":
        """The same for some of the networks."""
        return FreshNoise(self.clean, self.sd, self.keys[list(rows)])


def minibatch(
    part: Float[Tensor, "trial time _"], chosen: Int[Tensor, "network batch"]
) -> Float[Tensor, "network time batch _"]:
    """The trials chosen for each network, with time before trials."""
    return part.index_select(0, chosen.flatten()).unflatten(0, chosen.shape).transpose(1, 2).contiguous()
