"""The bank of trials that networks train on, as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor


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


def minibatch(
    part: Float[Tensor, "trial time _"], chosen: Int[Tensor, "network batch"]
) -> Float[Tensor, "network time batch _"]:
    """The trials chosen for each network, with time before trials."""
    return part.index_select(0, chosen.flatten()).unflatten(0, chosen.shape).transpose(1, 2).contiguous()
