"""INSD's term: linear predictivity of earlier networks in null space, with a ridge, and its gradient.

Notation: X (sample, unit) are the rates of the *predicting* network, Y (sample, component) those of the predicted
one, both centred over samples (trials x times until the end of each trial; centring is ours). The linear predictivity
of Qian & Pehlevan (2026) is

    r2(X -> Y) = 1 - min_M |X M - Y|^2 / |Y|^2 = |U Y|^2 / |Y|^2,   U = projector on the columns of X.

With a ridge, U = X (X^T X + rho I)^-1 X^T is no longer a projector, and three forms of r2 differ:
|U Y|^2 <= tr(Y^T U Y) <= |Y|^2 - |Y - U Y|^2. The penalty uses the middle one,

    S = tr(C^T A^-1 C) / |Y|^2,   A = X^T X + rho I,   C = X^T Y,

because it needs one Cholesky factor and has a gradient of two small matrix products in X. The ridge is relative to the
activity, rho = ridge * tr(X^T X) / units (ours), so that S does not change when X is scaled. r2 is *reported*
without ridge: see `insd.measures.predictivity`.

Null space: X_perp = X Q with Q = I - W^+ W for the readout W = W_out of that same network. Q enters only through
the small matrices, A = Q X^T X Q + rho I and C = Q X^T Y, and the gradient flows through W too.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from insd.activity import simulate_trials
from insd.bank import minibatch
from insd.datasets import DatasetError
from insd.networks.base import Networks
from insd.networks.engine.penalty import compiled_for
from insd.objectives.base import READ_AGAIN, Stored, Term, TermError
from insd.objectives.settings.predictivity import PredictivitySettings
from insd.predictivity import null_projector_array, principal_components, row_space
from insd.samples import can_be_shuffled, shuffled_trials, valid_steps

try:
    from insd.objectives import null_space
except ImportError:  # Triton is not installed
    null_space = None  # type: ignore[assignment]


class Predictivity(Term):
    """S of each earlier round: how well a network's null-space rates predict those of the earlier one.

    Of each network the null-space rates on the bank are kept, at every `time_stride`-th step, as the scores of as many
    leading principal components as hold `variance_kept`. Seeds with fewer components are filled up with zeros, which
    weigh nothing.

    Source: Qian & Pehlevan (2026): L_task + lambda * sum_i S(R_k_perp, R_i_perp).
    """

    Settings = PredictivitySettings
    variables = {
        "null_activity": ("seed", "bank_trial", "bank_time", "component"),
        "null_variance_kept": ("seed",),
    }
    capturable = True
    settings: PredictivitySettings

    def stores(self, network: xr.Dataset, bank: xr.Dataset) -> xr.Dataset:
        """Raises TermError, which names the seed, where the activity of a network does not vary."""
        kept, shares = [], []
        for seed in network["seed"].values.tolist():
            one = network.sel(seed=[seed])
            projector = null_projector_array(one["output_weights"].values[0])
            # The rates on the bank, which are large, have no name and so are gone before their components are sought.
            null_rates = simulate_trials(one, bank)[0][0, :, :: self.settings.time_stride].numpy() @ projector
            try:
                components, share = principal_components(null_rates, self.settings.variance_kept)
            except ValueError:
                raise TermError(
                    f"terms.predictivity: the null-space activity of the network of seed {seed} does not vary over the "
                    "trials and times of the bank, and predicts nothing; change its network or training, or leave the "
                    "term out"
                ) from None
            kept.append(components)
            shares.append(share)
        most = max(components.shape[-1] for components in kept)
        filled = [np.pad(c, ((0, 0), (0, 0), (0, most - c.shape[-1]))) for c in kept]
        null_activity = np.stack(filled).astype(np.float32)
        return xr.Dataset(
            {
                "null_activity": (self.variables["null_activity"], null_activity),
                "null_variance_kept": ("seed", shares),
            },
            coords={"seed": network["seed"], **self._times(bank)},
        )

    def stores_recording(
        self,
        rates: Float[np.ndarray, "trial time unit"],
        output_weights: Float[np.ndarray, "output unit"] | None,
        bank: xr.Dataset,
    ) -> xr.Dataset:
        """Without a readout there is no null space, and all activity is kept."""
        kept = rates[:, :: self.settings.time_stride]
        if output_weights is not None:
            kept = (rates @ null_projector_array(output_weights)).astype(np.float32)[:, :: self.settings.time_stride]
        components, share = principal_components(kept, self.settings.variance_kept)
        return xr.Dataset(
            {
                "null_activity": (self.variables["null_activity"][1:], components.astype(np.float32)),
                "null_variance_kept": ((), share),
            },
            coords=self._times(bank),
        )

    def join(self, rounds: Sequence[xr.Dataset], bank: xr.Dataset, files: Sequence[str]) -> Stored:
        """The components of all rounds, one after the other along `component`; and `membership` (component, earlier),
        1 where a component belongs to an earlier round. Raises TermError where trials have to be shuffled and cannot.
        """
        first = rounds[0]
        for stored, file in zip(rounds, files, strict=True):
            if not np.array_equal(stored["bank_time"].values, first["bank_time"].values):
                raise DatasetError(f"{file}: its 'bank_time' differs from that of {files[0]}; {READ_AGAIN}")
        components = [torch.from_numpy(stored["null_activity"].values) for stored in rounds]
        membership = torch.block_diag(*[torch.ones(part.shape[-1], 1) for part in components])
        steps = np.searchsorted(bank["time"].values, first["bank_time"].values - bank.attrs["dt"] / 2)
        stride = int(steps[1]) if len(steps) > 1 else len(bank["time"])
        if not np.array_equal(bank["time"].values[::stride], first["bank_time"].values):
            raise DatasetError(f"{files[0]}: its 'bank_time' is not a regular selection of the bank's; {READ_AGAIN}")
        joined = torch.cat(components, -1)
        if self.settings.shuffled:
            steps = valid_steps(bank).sum(1)
            if not can_be_shuffled(steps):
                name = type(self).__module__.rpartition(".")[2]
                raise TermError(
                    f"terms.{name}.shuffled = true: too many trials of the bank are the only ones of their length and "
                    "would stay in their places; let the task have fewer lengths of trials"
                )
            joined = joined[:, shuffled_trials(steps, 0)]
        return Stored({"components": joined}, {"membership": membership}, len(rounds), stride)

    def value(
        self,
        rates: Float[Tensor, "network sampled_time trial unit"],
        networks: Networks,
        stored: Stored,
        trials: Int[Tensor, "network trial"],
        valid: Float[Tensor, "network sampled_time trial"] | None,
    ) -> Float[Tensor, "network earlier"]:
        components, membership = stored.of_networks["components"], stored.shared["membership"]
        if _kernels_for(rates, components.shape[-1], networks.output_weights.shape[1]):
            return _PenaltyByKernels.apply(
                rates, networks.output_weights, components, trials, membership, self.settings.ridge, valid
            )
        count, bank_trials = components.shape[:2]
        of_network = bank_trials * torch.arange(count, device=trials.device)[:, None]
        chosen = minibatch(components.flatten(0, 1), of_network + trials)
        return deflation_penalty(rates, networks.output_weights, chosen, membership, self.settings.ridge, valid)

    def _times(self, bank: xr.Dataset) -> dict[str, tuple]:
        return {"bank_time": ("bank_time", bank["time"].values[:: self.settings.time_stride], {"units": "s"})}


class _Penalty(torch.autograd.Function):
    """`deflation_penalty`, with its gradient.

    With B the rows of `row_space`, L its factor, M = A^-1 C the weights of the regression of Y on X_perp, which lie in
    the null space, and each column of M_w and Y_w the same times the gradient with respect to its network's S,

        dS/dX = 2 (Y_w - X M_w) M^T + 2 c X Q,   dS/dW = -2 L^-T (B (H - G M) M_w^T + c B G Q),

    where G = X^T X, H = X^T Y, and c = -(ridge / units) sum_ij M_ij M_w_ij is what the ridge, which follows the
    activity, adds. The gradient is thus the residual of the regression times its weights: two products with as many
    columns as there are components.
    """

    @staticmethod
    def forward(ctx, rates, output_weights, earlier, membership, ridge, valid):
        ctx.shape = rates.shape
        rates, earlier, membership, scale, gram, cross = _statistics(rates, earlier, membership, valid)
        gram = gram.double()
        basis, factor = row_space(output_weights)
        # Q from the left and from the right, by way of its few missing directions.
        outer = basis.transpose(-1, -2)
        shifted = gram - outer @ (basis @ gram)
        shifted = shifted - (shifted @ outer) @ basis
        diagonal = shifted.diagonal(dim1=-2, dim2=-1)
        diagonal += ridge * diagonal.mean(-1, keepdim=True)
        null_cross = cross - outer @ (basis @ cross)
        weights = _solve(shifted, null_cross)
        ctx.save_for_backward(rates, earlier, membership, scale, gram, cross, basis, factor, weights)
        ctx.ridge, ctx.readout_type = ridge, output_weights.dtype
        return (null_cross * weights).sum(-2) @ membership

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rates, earlier, membership, scale, gram, cross, basis, factor, weights = ctx.saved_tensors
        factors = (grad @ membership.T)[:, None]
        weighted = weights * factors
        of_ridge = -(ctx.ridge / rates.shape[-1]) * (weights * weighted).sum((-2, -1))[:, None, None]

        # Weights for Y as it is stored, which is not divided by its norm: Y - X M / scale, times 2 M_w scale.
        by_norm = scale[:, None]
        residual = torch.baddbmm(earlier, rates, (weights / by_norm).to(rates.dtype), alpha=-1)
        single, twice = basis.to(rates.dtype).contiguous(), (2 * of_ridge).to(rates.dtype)
        grad_rates = rates * twice
        grad_rates.baddbmm_(rates @ single.transpose(-1, -2), -twice * single)
        grad_rates.baddbmm_(residual, (2 * by_norm * weighted).to(rates.dtype).transpose(-1, -2))

        outer = basis.transpose(-1, -2)
        seen_gram = basis @ gram
        inner = basis @ (cross - gram @ weights) @ weighted.transpose(-1, -2)
        inner = inner + of_ridge * (seen_gram - (seen_gram @ outer) @ basis)
        grad_weights = torch.linalg.solve_triangular(factor.transpose(-1, -2), -2 * inner, upper=True)
        # Rows of samples that are left out are zero in all that this is made of, and its columns add up to zero.
        return grad_rates.view(ctx.shape), grad_weights.to(ctx.readout_type), None, None, None, None


class _CompiledPenalty(torch.autograd.Function):
    """The same on a CPU in single precision, but for what is solved by `insd.networks.engine.penalty`."""

    @staticmethod
    def forward(ctx, rates, output_weights, earlier, membership, ridge, valid):
        ctx.ridge, ctx.shape, ctx.readout_type = ridge, rates.shape, output_weights.dtype
        ctx.compiled, samples = compiled_for(rates), _by_time(rates, earlier, valid)
        basis, factor = row_space(output_weights)
        basis = basis.contiguous()
        *made, shifted, null_cross = ctx.compiled.matrices(*samples, membership.contiguous(), basis, ridge)
        weights = _solve(shifted, null_cross)
        membership = membership.double()
        ctx.save_for_backward(*samples, *made, basis, weights, factor, membership)
        return (null_cross * weights).sum(-2) @ membership

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        *saved, factor, membership = ctx.saved_tensors
        grad_rates, inner = ctx.compiled.gradient(*saved, grad @ membership.T, ctx.ridge)
        grad_weights = torch.linalg.solve_triangular(factor.transpose(-1, -2), -2 * inner, upper=True)
        return grad_rates.view(ctx.shape), grad_weights.to(ctx.readout_type), None, None, None, None


class _PenaltyByKernels(torch.autograd.Function):
    """The same on a GPU in single precision, by the kernels of `insd.objectives.null_space`."""

    @staticmethod
    def forward(ctx, rates, output_weights, stored, chosen, membership, ridge, valid):
        samples = null_space.Samples(rates, stored, chosen, valid)
        values, ctx.found = null_space.penalty(samples, output_weights, membership, ridge)
        ctx.save_for_backward(rates, output_weights, stored, chosen, membership, valid)
        ctx.ridge = ridge
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rates, output_weights, stored, chosen, membership, valid = ctx.saved_tensors
        samples = null_space.Samples(rates, stored, chosen, valid)
        gradients = null_space.gradients(grad, samples, output_weights, membership, ctx.ridge, ctx.found)
        return *gradients, None, None, None, None, None


def _by_time(
    rates: Float[Tensor, "network *sample unit"],
    earlier: Float[Tensor, "network *sample component"],
    valid: Float[Tensor, "network *sample"] | None,
) -> tuple[
    Float[Tensor, "network time trial unit"],
    Float[Tensor, "network time trial component"],
    Float[Tensor, "network time trial"] | None,
]:
    """The same with samples of times and trials; contiguous, but for gaps between the times of the rates."""
    if rates.ndim == 3:
        rates, earlier = rates.unsqueeze(1), earlier.unsqueeze(1)
        valid = None if valid is None else valid.unsqueeze(1)
    rates = rates if rates[0, 0].is_contiguous() else rates.contiguous()
    return rates, earlier.contiguous(), None if valid is None else valid.contiguous()


def _statistics(
    rates: Float[Tensor, "network *sample unit"],
    earlier: Float[Tensor, "network *sample component"],
    membership: Float[Tensor, "component earlier"],
    valid: Float[Tensor, "network *sample"] | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centred rates X and components Y; membership; what divides Y; G; and C in double precision, of Y so divided."""
    valid = None if valid is None else valid.flatten(1)
    rates, earlier = _centred(rates.flatten(1, -2), valid), _centred(earlier.flatten(1, -2), valid)
    membership = membership.double()
    norms = earlier.square().sum(-2).double() @ membership
    # Each component is divided by its own network's norm, so that one sum per network gives S.
    scale = norms.rsqrt() @ membership.T
    gram = _over_samples(rates, rates)
    # The wide matrix last: the product the other way round takes half as long again.
    cross = _over_samples(earlier, rates).transpose(-1, -2).double() * scale[:, None]
    return rates, earlier, membership, scale, gram, cross


def _centred(
    values: Float[Tensor, "network sample _"], valid: Float[Tensor, "network sample"] | None
) -> Float[Tensor, "network sample _"]:
    """Values less their mean over the samples that count; zero at the others."""
    if valid is None:
        return values - values.mean(-2, keepdim=True)
    counts = valid.to(values.dtype)[..., None]
    return (values - (values * counts).sum(-2, keepdim=True) / counts.sum(-2, keepdim=True)) * counts


def _over_samples(
    left: Float[Tensor, "network sample one"], right: Float[Tensor, "network sample other"]
) -> Float[Tensor, "network one other"]:
    """Sums of products over samples, ``left^T right``.

    On a GPU in parts that are added up: it works on one such long product of each network at a time, or leaves most of
    itself idle.
    """
    parts = math.gcd(left.shape[1], 16) if left.is_cuda else 1
    if parts == 1:
        return left.transpose(-1, -2) @ right
    left, right = left.unflatten(1, (parts, -1)), right.unflatten(1, (parts, -1))
    return (left.transpose(-1, -2) @ right).sum(1)


def _solve(
    matrices: Float[Tensor, "network unit unit"], right: Float[Tensor, "network unit component"]
) -> Float[Tensor, "network unit component"]:
    """X in ``A X = B`` for positive definite A; NaN for one that is not, as of rates that do not vary."""
    factor, failed = torch.linalg.cholesky_ex(matrices)
    factor = factor.masked_fill((failed != 0)[..., None, None], math.nan)
    if not right.is_cuda:
        return torch.cholesky_solve(right, factor)
    # A GPU does this for one matrix after the other, and the following for all at once.
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.transpose(-1, -2), half, upper=True)


def deflation_penalty(
    rates: Float[Tensor, "network *sample unit"],
    output_weights: Float[Tensor, "network output unit"],
    earlier: Float[Tensor, "network *sample component"],
    membership: Float[Tensor, "component earlier"],
    ridge: float = 1e-3,
    valid: Float[Tensor, "network *sample"] | None = None,
) -> Float[Tensor, "network earlier"]:
    """Ridge predictivity S from a network's null-space rates to each earlier network's, in [0, 1].

    Parameters
    ----------
    rates : rates of the networks in training, any scale and offset; samples are along one axis or, times and trials,
        along two.
    output_weights : their readouts; their null spaces are where the activity is compared.
    earlier : null-space activity (or its leading principal components) of all earlier networks on the same samples,
        side by side along `component`.
    membership : 1 where a component belongs to an earlier network, else 0. Components of zeros are allowed.
    ridge : rho over the mean variance of the null-space rates per unit; positive.
    valid : 1 for the samples that count, and 0 for those after the end of a trial; None where all count.

    Returns
    -------
    S of each earlier network, float64, differentiable in `rates` and `output_weights`.

    Source: Qian & Pehlevan (2026), the penalty S(R_k_perp, R_i_perp); form and ridge as in this module's head.
    """
    if not _kernels_for(rates, earlier.shape[-1], output_weights.shape[1]):
        function = _CompiledPenalty if compiled_for(rates) else _Penalty
        return function.apply(rates, output_weights, earlier, membership, ridge, valid)
    # Each sample is a trial of one time.
    rates, earlier = rates.flatten(1, -2), earlier.flatten(1, -2)
    chosen = torch.arange(rates.shape[1], device=rates.device).expand(rates.shape[0], -1)
    there = None if valid is None else valid.flatten(1)[:, None]
    return _PenaltyByKernels.apply(
        rates[:, None], output_weights, earlier[:, :, None], chosen, membership, ridge, there
    )


def _kernels_for(rates: Tensor, components: int, outputs: int) -> bool:
    """Whether there are kernels for such rates, whose units lie next to each other in memory."""
    if null_space is None or not rates.is_cuda or rates.dtype != torch.float32 or rates.stride(-1) != 1:
        return False
    sizes = rates.shape[-1], components, outputs
    return all(size <= most for size, most in zip(sizes, null_space.MOST, strict=True))
