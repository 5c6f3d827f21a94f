"""Distance between the spectra of operators to those of earlier networks, as a term: solutions that evolve otherwise.

The activity of a network is embedded with delays and projected on the leading directions P of its embedding, as in
`insd.dynamics.operators.fit`. With Z the embedded states (sample, direction) at all steps but the last of each trial
and Z' those one step later, the operator has the eigenvalues of

    A = (P^T Z^T Z P)^-1 P^T Z^T Z' P,

which no change of the basis of the leading subspace changes. So their gradient asks only how this subspace turns
towards the directions that are left out, and not for single axes, whose gradient is infinite where two of them have the
same variance.
"""

import numpy as np
import scipy.optimize
import torch
import xarray as xr
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from insd.activity import simulate_trials
from insd.dynamics.operators import ABSENT, fit_operator, spectrum
from insd.networks.base import Networks
from insd.objectives.base import Stored, Term, TermError
from insd.objectives.centring import centred
from insd.objectives.settings.dsa import DSASettings

STORED_TRIALS = 256
"""Trials of the bank from which the operators of earlier rounds are fitted: as many as the default test set has."""


class DSA(Term):
    """``1 - d / distance`` for each earlier round, with the distance d of the spectra of two networks' operators.

    d is the Wasserstein-2 distance ``min over matchings of sqrt(mean |l - m|^2)`` of their eigenvalues l and m per time
    step, the measure `dsa_spectrum` of all rates at the `delays` and `rank` of this term. Earlier operators are those
    of activity without private noise; where the network has such noise in training, so has its operator.

    Source: a linear reward of the distance to each earlier network after Ostrow et al. (2026), bioRxiv
    2026.07.16.738953, as described in arXiv:2609.38081; the distance of spectra after Redman et al. (2024).
    """

    Settings = DSASettings
    variables = {"dsa_eigenvalues": ("seed", "dsa_mode", "dsa_part")}
    settings: DSASettings

    def stores(self, network: xr.Dataset, bank: xr.Dataset) -> xr.Dataset:
        some = bank.isel(trial=slice(STORED_TRIALS))
        kept = []
        for seed, rates in zip(network["seed"].values.tolist(), simulate_trials(network, some)[0], strict=True):
            found = self._spectrum(rates.numpy())
            if not np.isfinite(found).all():
                raise TermError(
                    f"terms.dsa: the activity of the network of seed {seed} does not vary over the trials and times of "
                    "the bank, and has no operator; let this population train, or leave the term out"
                )
            kept.append(self._stored(found))
        return xr.concat(kept, "seed").assign_coords(seed=network["seed"])

    def stores_recording(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        output_weights: Float[np.ndarray, "output unit"] | None,
        bank: xr.Dataset,
    ) -> xr.Dataset:
        """All activity is compared, whatever the readout. Real and imaginary parts are along `dsa_part`."""
        found = self._spectrum(rates[:STORED_TRIALS])
        if not np.isfinite(found).all():
            raise TermError("terms.dsa: the activity does not vary over samples, and has no operator")
        return self._stored(found)

    def _spectrum(self, rates: Float[np.ndarray, "trial time unit"]) -> Complex[np.ndarray, "rank"]:
        """Raises TermError where trials are too short for the delays."""
        try:
            return spectrum(fit_operator(rates, self.settings.delays, self.settings.rank))
        except ValueError as error:
            raise TermError(f"terms.dsa.delays: {error}; choose fewer") from None

    def _stored(self, found: Complex[np.ndarray, "rank"]) -> xr.Dataset:
        return xr.Dataset({"dsa_eigenvalues": (self.variables["dsa_eigenvalues"][1:], _parts(found))})

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        rates = rates[:, :, : self.settings.trials]
        some = None if valid is None else valid[:, :, : self.settings.trials]
        # A network that diverged has no spectrum, and others next to it have theirs.
        finite = torch.isfinite(rates).flatten(1).all(1)
        rates = rates.where(finite[:, None, None, None], 0.0)
        found = eigenvalues(rates, self.settings.delays, self.settings.rank, some)
        parts = torch.view_as_real(found)
        earlier = stored.of_networks["dsa_eigenvalues"].to(parts)
        squares = (parts[:, None, :, None] - earlier[:, :, None]).square().sum(-1)
        matched = squares.gather(-1, _matching(squares.detach()).to(squares.device)[..., None])
        # The root has no gradient at 0.
        distances = (matched.mean((-2, -1)) + torch.finfo(matched.dtype).eps).sqrt()
        return (1 - distances / self.settings.distance).where(finite[:, None], torch.nan)


def eigenvalues(
    rates: Float[Tensor, "network time trial unit"],
    delays: int,
    rank: int,
    valid: Float[Tensor, "network time trial"] | None = None,
) -> Complex[Tensor, "network rank"]:
    """Eigenvalues per time step of the operators of `insd.dynamics.operators.fit_operator`, in double precision.

    In no order; differentiable in the rates, until the end of each trial (`valid`, as for `Term.value`).
    """
    count, times, trials, _ = rates.shape
    rates = centred(rates.double(), valid).view(rates.shape)
    windows = torch.cat([rates[:, lag : times - delays + 1 + lag] for lag in range(delays)], -1)
    lasts = torch.ones(count, times, trials, 1, dtype=rates.dtype, device=rates.device)
    lasts = lasts if valid is None else valid[..., None].double()
    # A window ends with its latest state: it is within the trial where that is.
    windows = windows * lasts[:, delays - 1 :]
    flat = windows.flatten(1, 2)
    subspace, variances = _LeadingSubspace.apply(flat.mT @ flat, rank)
    # Of the basis, lengths do not matter but for rounding; directions that are absent are left out of it.
    present = variances > ABSENT * variances[:, :1]
    basis = subspace * torch.where(present, variances.clamp(min=torch.finfo(rates.dtype).tiny).rsqrt(), 0)[:, None]
    states = windows @ basis[:, None]
    before, after = (part.flatten(1, 2) for part in (states[:, :-1] * lasts[:, delays:], states[:, 1:]))
    within = before.mT @ before + torch.diag_embed((~present).to(before.dtype))
    found = torch.linalg.eigvals(torch.linalg.solve(within, before.mT @ after))
    return functional.pad(found, (0, rank - found.shape[-1]))


class _LeadingSubspace(torch.autograd.Function):
    """Leading axes of symmetric matrices, as a basis of their span, and their eigenvalues, the largest first.

    The gradient is right for functions that depend on the span alone. With U the axes, V those that are left out, and l
    the eigenvalues, it is the symmetric part of ``V F U^T`` with ``F_kj = (V^T dU)_kj / (l_j - l_k)``.
    """

    @staticmethod
    def forward(ctx, matrices, rank):
        values, axes = torch.linalg.eigh(matrices)
        values, axes = values.flip(-1), axes.flip(-1)
        ctx.rank = min(rank, values.shape[-1])
        ctx.save_for_backward(values, axes)
        kept = values[:, : ctx.rank].clone()
        ctx.mark_non_differentiable(kept)
        return axes[..., : ctx.rank].clone(), kept

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):
        values, axes = ctx.saved_tensors
        kept, out = axes[..., : ctx.rank], axes[..., ctx.rank :]
        gaps = values[:, None, : ctx.rank] - values[:, ctx.rank :, None]
        turned = (out.mT @ grad) / gaps.clamp(min=torch.finfo(values.dtype).tiny)
        found = out @ turned @ kept.mT
        return (found + found.mT) / 2, None


def _matching(costs: Float[Tensor, "network earlier mode mode_to"]) -> Int[Tensor, "network earlier mode"]:
    """For each eigenvalue, the one of the earlier network that it is matched with at the least cost in all."""
    flat = costs.cpu().numpy().reshape(-1, *costs.shape[2:])
    found = [scipy.optimize.linear_sum_assignment(one)[1] for one in flat]
    return torch.from_numpy(np.stack(found).reshape(costs.shape[:3]))


def _parts(values: Complex[np.ndarray, "mode"]) -> Float[np.ndarray, "mode part"]:
    return np.stack([values.real, values.imag], -1)
