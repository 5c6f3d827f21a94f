"""Centred kernel alignment with earlier networks, as a term: solutions whose patterns of activity differ."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.activity import simulate_trials
from insd.bank import minibatch
from insd.hsic import unbiased_hsic
from insd.networks.base import Networks
from insd.objectives.base import Stored, Term, TermError
from insd.objectives.centring import centred, sample_counts
from insd.objectives.predictivity import Predictivity
from insd.objectives.settings.cka import CKASettings
from insd.objectives.settings.predictivity import PredictivitySettings

_NAMES = {"null_activity": "cka_activity", "bank_time": "cka_time", "component": "cka_component"}


class CKA(Term):
    """Debiased linear CKA with each earlier round: how alike the geometries of all rates are on the same trials.

    With centred rates X of the network and Y of the earlier one, each (sample, unit),

        CKA = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)),   HSIC(X, Y) = |X^T Y|^2 without the kernels' diagonals.

    It is the measure `cka` of the same activity, but for the variance that `variance_kept` leaves out of Y. It weighs
    directions by their variance, so that it can be low where all of the earlier activity can still be read out.

    Source: Kornblith et al. (2019), "Similarity of neural network representations revisited"; as a penalty on the
    similarity to an anchor, arXiv:2609.38081.
    """

    Settings = CKASettings
    variables = {
        "cka_activity": ("seed", "bank_trial", "cka_time", "cka_component"),
    }
    capturable = True
    settings: CKASettings

    def stores(self, network: xr.Dataset, bank: xr.Dataset) -> xr.Dataset:
        """Raises TermError, which names the seed, where the activity of a network does not vary."""
        kept = []
        for seed in network["seed"].values.tolist():
            rates = simulate_trials(network.sel(seed=[seed]), bank)[0][0].numpy()
            try:
                kept.append(self.stores_recording(rates, None, bank))
            except ValueError:
                raise TermError(
                    f"terms.cka: the activity of the network of seed {seed} does not vary over the trials and times of "
                    "the bank, and has no geometry; let this population train, or leave the term out"
                ) from None
        most = max(one.sizes["cka_component"] for one in kept)
        # Components of zeros weigh nothing.
        filled = [one.pad(cka_component=(0, most - one.sizes["cka_component"]), constant_values=0) for one in kept]
        return xr.concat(filled, "seed").assign_coords(seed=network["seed"])

    def stores_recording(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        output_weights: Float[np.ndarray, "output unit"] | None,
        bank: xr.Dataset,
    ) -> xr.Dataset:
        """All activity is compared, whatever the readout. Raises ValueError where it does not vary."""
        return self._components().stores_recording(rates, None, bank)[["null_activity"]].rename(_NAMES)

    def join(self, rounds: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]) -> Stored:
        """As by `predictivity`: the components of all rounds side by side, and the `membership` of each."""
        renamed = [one[list(self.variables)].rename({new: old for old, new in _NAMES.items()}) for one in rounds]
        return self._components().join(renamed, bank, files)

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        components, membership = stored.of_networks["components"], stored.shared["membership"].to(rates)
        of_network = components.shape[1] * torch.arange(len(components), device=trials.device)[:, None]
        earlier = minibatch(components.flatten(0, 1), of_network + trials).to(rates)
        counts = sample_counts(rates, valid)[:, None]
        x, y = centred(rates, valid), centred(earlier, valid)
        # |X^T Y|^2, |X^T X|^2 and |Y^T Y|^2, the last two of each network and of each earlier one.
        cross = (y.mT @ x).square().sum(-1) @ membership
        own = (x.mT @ x).square().sum((1, 2))[:, None]
        among = ((y.mT @ y).square() * (membership @ membership.T)).sum(-1) @ membership
        k, l = x.square().sum(-1)[:, None], (y.square() @ membership).mT  # noqa: E741 - as in the formula
        norms = unbiased_hsic(own, k, k, counts) * unbiased_hsic(among, l, l, counts)
        return unbiased_hsic(cross, k, l, counts) / norms.sqrt()

    def _components(self) -> Predictivity:
        """What keeps principal components of activity and finds them again."""
        own = self.settings
        return Predictivity(PredictivitySettings(time_stride=own.time_stride, variance_kept=own.variance_kept))
