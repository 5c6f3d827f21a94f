"""The deflation penalty, linear predictivity in null space with a ridge, and its gradient; null spaces of readouts.

Notation: X (sample, unit) are the rates of the *predicting* network, Y (sample, component) those of the predicted
one, both centred over samples (trials x times; centring is ours). The linear predictivity of Qian & Pehlevan (2026) is

    r2(X -> Y) = 1 - min_M |X M - Y|^2 / |Y|^2 = |U Y|^2 / |Y|^2,   U = projector on the columns of X.

With a ridge, U = X (X^T X + rho I)^-1 X^T is no projector any more and three forms of r2 differ:
|U Y|^2 <= tr(Y^T U Y) <= |Y|^2 - |Y - U Y|^2. The penalty uses the middle one,

    S = tr(C^T A^-1 C) / |Y|^2,   A = X^T X + rho I,   C = X^T Y,

because it needs one Cholesky factor and has a gradient of two small matrix products in X. The ridge is relative to the
activity, rho = ridge * tr(X^T X) / units (ours), so that S does not change when X is scaled. r2 is *reported*
without ridge: see `insd.measures.predictivity`.

Null space: X_perp = X Q with Q = I - W^+ W for the readout W = W_out of that same network. Q enters only through
the small matrices, A = Q X^T X Q + rho I and C = Q X^T Y, and the gradient flows through W too.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

LEADING = 3
"""Principal components in which activity is shown."""


def null_projector(output_weights: Float[Tensor, "*network output unit"]) -> Float[Tensor, "*network unit unit"]:
    """Projector ``Q = I - W^+ W`` on the null space of a readout (Qian & Pehlevan 2026), in float64.

    The pseudo-inverse is the one of a readout of full row rank, ``W^+ = W^T (W W^T)^-1``.
    """
    basis, _ = _row_space(output_weights)
    return torch.eye(basis.shape[-1], dtype=basis.dtype, device=basis.device) - basis.transpose(-1, -2) @ basis


def _row_space(
    output_weights: Float[Tensor, "*network output unit"],
) -> tuple[Float[Tensor, "*network output unit"], Float[Tensor, "*network output output"]]:
    """Orthonormal rows B with the span of a readout's, so that ``Q = I - B^T B``, and L in ``W = L B``; in float64."""
    weights = output_weights.double()
    factor = torch.linalg.cholesky(weights @ weights.transpose(-1, -2))
    return torch.linalg.solve_triangular(factor, weights, upper=False), factor


def null_projector_array(output_weights: Float[np.ndarray, "output unit"]) -> Float[np.ndarray, "unit unit"]:
    """`null_projector` of one network's readout given as an array."""
    return null_projector(torch.from_numpy(np.asarray(output_weights))).numpy()


class _Penalty(torch.autograd.Function):
    """`deflation_penalty`, with its gradient.

    With B the rows of `_row_space`, L its factor, M = A^-1 C the weights of the regression of Y on X_perp, which lie in
    the null space, and each column of M_w and Y_w the same times the gradient with respect to its network's S,

        dS/dX = 2 (Y_w - X M_w) M^T + 2 c X Q,   dS/dW = -2 L^-T (B (H - G M) M_w^T + c B G Q),

    where G = X^T X, H = X^T Y, and c = -(ridge / units) sum_ij M_ij M_w_ij is what the ridge, which follows the
    activity, adds. The gradient is thus the residual of the regression times its weights: two products with as many
    columns as there are components.
    """

    @staticmethod
    def forward(ctx, rates, output_weights, earlier, membership, ridge):
        rates = rates - rates.mean(-2, keepdim=True)
        earlier = earlier - earlier.mean(-2, keepdim=True)
        membership = membership.double()
        norms = earlier.square().sum(-2).double() @ membership
        # Each component is divided by its own network's norm, so that one sum per network gives S.
        scale = norms.rsqrt() @ membership.T
        gram = (rates.transpose(-1, -2) @ rates).double()
        # The wide matrix last: the product the other way round takes half as long again.
        cross = (earlier.transpose(-1, -2) @ rates).transpose(-1, -2).double() * scale[:, None]

        basis, factor = _row_space(output_weights)
        # Q from the left and from the right, by way of its few missing directions.
        outer = basis.transpose(-1, -2)
        shifted = gram - outer @ (basis @ gram)
        shifted = shifted - (shifted @ outer) @ basis
        diagonal = shifted.diagonal(dim1=-2, dim2=-1)
        diagonal += ridge * diagonal.mean(-1, keepdim=True)
        null_cross = cross - outer @ (basis @ cross)
        weights = torch.cholesky_solve(null_cross, torch.linalg.cholesky(shifted))
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
        return grad_rates, grad_weights.to(ctx.readout_type), None, None, None


def deflation_penalty(
    rates: Float[Tensor, "network sample unit"],
    output_weights: Float[Tensor, "network output unit"],
    earlier: Float[Tensor, "network sample component"],
    membership: Float[Tensor, "component earlier"],
    ridge: float = 1e-3,
) -> Float[Tensor, "network earlier"]:
    """Ridge predictivity S from a network's null-space rates to each earlier network's, in [0, 1].

    Parameters
    ----------
    rates : rates of the networks in training, any scale and offset.
    output_weights : their readouts; their null spaces are where the activity is compared.
    earlier : null-space activity (or its leading principal components) of all earlier networks on the same samples,
        side by side along `component`.
    membership : 1 where a component belongs to an earlier network, else 0. Components of zeros are allowed.
    ridge : rho over the mean variance of the null-space rates per unit; positive.

    Returns
    -------
    S of each earlier network, float64, differentiable in `rates` and `output_weights`.

    Source: Qian & Pehlevan (2026), the penalty S(R_k_perp, R_i_perp); form and ridge as in this module's head.
    """
    return _Penalty.apply(rates, output_weights, earlier, membership, ridge)


def principal_components(
    activity: Float[np.ndarray, "*sample unit"], variance_kept: float
) -> tuple[Float[np.ndarray, "*sample component"], float]:
    """Scores of the leading principal components of centred activity, and the share of variance that they hold.

    As few components as hold `variance_kept` of the variance, at least one. S towards the components differs from S
    towards the activity by at most the share left out. Raises ValueError if the activity does not vary.
    """
    flat = activity.reshape(-1, activity.shape[-1]).astype(np.float64)
    flat = flat - flat.mean(0)
    variances, directions = np.linalg.eigh(flat.T @ flat)
    variances, directions = variances[::-1].clip(0), directions[:, ::-1]
    if variances[0] == 0:
        raise ValueError("the activity does not vary over samples: it has no principal components")
    shares = variances.cumsum() / variances.sum()
    count = int(np.searchsorted(shares, variance_kept)) + 1
    scores = flat @ directions[:, :count]
    return scores.reshape(*activity.shape[:-1], count).astype(activity.dtype), float(shares[count - 1])


def leading_components(
    rates: Float[np.ndarray, "trial time unit"],
) -> tuple[Float[np.ndarray, "unit"], Float[np.ndarray, "unit component"], Float[np.ndarray, "component"]]:
    """Mean rates, the three leading principal axes of the rates, and the shares of variance along them.

    Each axis has the sign that makes its largest entry positive. Networks of fewer units than three have axes of zeros.
    """
    flat = rates.reshape(-1, rates.shape[-1]).astype(np.float64)
    mean = flat.mean(0)
    variances, axes = np.linalg.eigh(np.cov((flat - mean).T).reshape(flat.shape[1], -1))
    variances, axes = variances[::-1][:LEADING], axes[:, ::-1][:, :LEADING]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    missing = LEADING - axes.shape[1]
    total = float(flat.var(0, ddof=1).sum()) or 1.0
    return mean, np.pad(axes, ((0, 0), (0, missing))), np.pad(variances / total, (0, missing)).clip(min=0)
