"""Linear predictivity between networks, in full and null space, and the deflation penalty with its gradient.

Notation: X (sample, unit) are the rates of the *predicting* network, Y (sample, component) those of the predicted
one, both centred over samples (trials x times; centring is ours). The linear predictivity of Qian & Pehlevan (2026) is

    r2(X -> Y) = 1 - min_M |X M - Y|^2 / |Y|^2 = |U Y|^2 / |Y|^2,   U = projector on the columns of X.

With a ridge, U = X (X^T X + rho I)^-1 X^T is no projector any more and three forms of r2 differ:
|U Y|^2 <= tr(Y^T U Y) <= |Y|^2 - |Y - U Y|^2. The penalty uses the middle one,

    S = tr(C^T A^-1 C) / |Y|^2,   A = X^T X + rho I,   C = X^T Y,

because it needs one Cholesky factor and has a gradient of two matrix products in X. The ridge is relative to the
activity, rho = ridge * tr(X^T X) / units (ours), so that S does not change when X is scaled. r2 is *reported*
without ridge: directions of X below a relative variance of `RANK` are treated as absent.

Null space: X_perp = X Q with Q = I - W^+ W for the readout W = W_out of that same network. Q enters only through
the small matrices, X_perp^T X_perp = Q X^T X Q and X_perp^T Y = Q X^T Y, and the gradient flows through W too.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

RANK = 1e-6
"""Relative variance (to the largest principal component) below which a direction of activity counts as absent."""


def null_projector(output_weights: Float[Tensor, "*network output unit"]) -> Float[Tensor, "*network unit unit"]:
    """Projector ``Q = I - W^+ W`` on the null space of a readout (Qian & Pehlevan 2026), in float64.

    The pseudo-inverse is the one of a readout of full row rank, ``W^+ = W^T (W W^T)^-1``.
    """
    basis = _row_space(output_weights)
    return torch.eye(basis.shape[-1], dtype=basis.dtype, device=basis.device) - basis.transpose(-1, -2) @ basis


def _row_space(output_weights: Float[Tensor, "*network output unit"]) -> Float[Tensor, "*network output unit"]:
    """Orthonormal rows B with the span of a readout's, so that ``Q = I - B^T B``; in float64, differentiable."""
    weights = output_weights.double()
    factor = torch.linalg.cholesky(weights @ weights.transpose(-1, -2))
    return torch.linalg.solve_triangular(factor, weights, upper=False)


def null_projector_array(output_weights: Float[np.ndarray, "output unit"]) -> Float[np.ndarray, "unit unit"]:
    """`null_projector` of one network's readout given as an array."""
    return null_projector(torch.from_numpy(np.asarray(output_weights))).numpy()


class _RidgePredictivity(torch.autograd.Function):
    """S of each earlier network (E, K) from gram (E, N, N), cross (E, N, D) and membership (D, K)."""

    @staticmethod
    def forward(ctx, gram, cross, membership, ridge):
        units = gram.shape[-1]
        rho = ridge * gram.diagonal(dim1=-2, dim2=-1).mean(-1)
        shifted = gram + rho[:, None, None] * torch.eye(units, dtype=gram.dtype, device=gram.device)
        solved = torch.cholesky_solve(cross, torch.linalg.cholesky(shifted))
        ctx.save_for_backward(solved, membership)
        ctx.ridge = ridge
        return (cross * solved).sum(-2) @ membership

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        solved, membership = ctx.saved_tensors
        weights = (grad @ membership.T)[:, None]
        weighted = solved * weights
        grad_gram = -weighted @ solved.transpose(-1, -2)
        # rho depends on the trace of the Gram matrix.
        units = grad_gram.shape[-1]
        grad_rho = grad_gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        grad_gram.diagonal(dim1=-2, dim2=-1).add_((ctx.ridge / units) * grad_rho[:, None])
        return grad_gram, 2 * weighted, None, None


class _GramAndCross(torch.autograd.Function):
    """X^T X and X^T Y of centred X and Y in one product each; the gradient in X is one product each, too."""

    @staticmethod
    def forward(ctx, rates, earlier):
        rates = rates - rates.mean(-2, keepdim=True)
        earlier = earlier - earlier.mean(-2, keepdim=True)
        ctx.save_for_backward(rates, earlier)
        # The wide matrix last: the product the other way round takes half as long again.
        cross = (earlier.transpose(-1, -2) @ rates).transpose(-1, -2)
        return rates.transpose(-1, -2) @ rates, cross, earlier.square().sum(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_gram, grad_cross, _):
        rates, earlier = ctx.saved_tensors
        symmetric = grad_gram + grad_gram.transpose(-1, -2)
        return torch.baddbmm(rates @ symmetric, earlier, grad_cross.transpose(-1, -2)), None


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
    gram, cross, squares = _GramAndCross.apply(rates, earlier)
    membership = membership.double()
    norms = squares.double() @ membership
    # Each component is divided by its own network's norm, so that one sum per network gives S.
    scale = norms.rsqrt() @ membership.T
    # Q from the left and from the right, by way of its few missing directions.
    basis = _row_space(output_weights)
    transposed = basis.transpose(-1, -2)
    gram, cross = gram.double(), cross.double() * scale[:, None]
    gram = gram - transposed @ (basis @ gram)
    gram = gram - (gram @ transposed) @ basis
    return _RidgePredictivity.apply(gram, cross - transposed @ (basis @ cross), membership, ridge)


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


def orthonormal_basis(
    activity: Float[np.ndarray, "sample unit"],
) -> tuple[Float[np.ndarray, "sample rank"], Float[np.ndarray, "rank"]]:
    """Orthonormal basis of the centred activity's column space, and the sum of squares along each of its directions.

    Without directions of a relative variance below `RANK`; activity that does not vary has rank 0. In float64.
    """
    centred = activity.astype(np.float64)
    centred = centred - centred.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    kept = variances > max(RANK * variances[-1], np.finfo(np.float64).tiny)
    return centred @ (directions[:, kept] / np.sqrt(variances[kept])), variances[kept]


def linear_predictivity(
    predictor: Float[np.ndarray, "sample unit"], target: Float[np.ndarray, "sample unit_to"]
) -> float:
    """r2(X -> Y): share of the variance of Y that a linear map of X explains, without ridge, in [0, 1].

    Not symmetric. Invariant to invertible linear maps of X, and to rotations and scaling of Y. Not a number where the
    target does not vary. Chance level: about rank(X) / samples.

    Source: Qian & Pehlevan (2026), linear predictivity.
    """
    centred = target - target.mean(0)
    total = float(np.square(centred).sum())
    if total == 0:
        return float("nan")
    return float(np.square(orthonormal_basis(predictor)[0].T @ centred).sum()) / total
