"""Null spaces of readouts, in which networks are compared, and the leading components of activity.

Null space: X_perp = X Q with Q = I - W^+ W for the readout W = W_out of a network with rates X (sample, unit).
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from insd.samples import chosen, lasting, samples

LEADING = 3
"""Principal components in which activity is shown."""


def null_projector(output_weights: Float[Tensor, "*network output unit"]) -> Float[Tensor, "*network unit unit"]:
    """Projector ``Q = I - W^+ W`` on the null space of a readout (Qian & Pehlevan 2026), in float64.

    The pseudo-inverse is the one of a readout of full row rank, ``W^+ = W^T (W W^T)^-1``.
    """
    basis, _ = row_space(output_weights)
    return torch.eye(basis.shape[-1], dtype=basis.dtype, device=basis.device) - basis.transpose(-1, -2) @ basis


def row_space(
    output_weights: Float[Tensor, "*network output unit"],
) -> tuple[Float[Tensor, "*network output unit"], Float[Tensor, "*network output output"]]:
    """Orthonormal rows B with the span of a readout's, so that ``Q = I - B^T B``, and L in ``W = L B``; in float64."""
    weights = output_weights.double()
    factor = cholesky(weights @ weights.transpose(-1, -2))
    return torch.linalg.solve_triangular(factor, weights, upper=False), factor


def cholesky(matrices: Float[Tensor, "*any size size"]) -> Float[Tensor, "*any size size"]:
    """Lower Cholesky factors. Where there is none a CPU raises, and a GPU, which is not waited for, gives NaN."""
    if not matrices.is_cuda:
        return torch.linalg.cholesky(matrices)
    factors, failed = torch.linalg.cholesky_ex(matrices)
    return factors.masked_fill((failed != 0)[..., None, None], math.nan)


def null_projector_array(output_weights: Float[np.ndarray, "output unit"]) -> Float[np.ndarray, "unit unit"]:
    """`null_projector` of one network's readout given as an array."""
    return null_projector(torch.from_numpy(np.asarray(output_weights))).numpy()


def principal_components(
    activity: Float[np.ndarray, "trial time unit"], variance_kept: float
) -> tuple[Float[np.ndarray, "trial time component"], float]:
    """Scores of the leading principal components of centred activity, and the share of variance that they hold.

    As few components as hold `variance_kept` of the variance, at least one. S towards the components differs from S
    towards the activity by at most the share left out. The scores are zero after the end of a trial, where the activity
    is NaN. Raises ValueError if the activity does not vary.
    """
    lasts = lasting(activity)
    flat = chosen(activity, lasts).astype(np.float64)
    flat -= flat.mean(0)
    variances, directions = np.linalg.eigh(flat.T @ flat)
    variances, directions = variances[::-1].clip(0), directions[:, ::-1]
    if variances[0] == 0:
        raise ValueError("the activity does not vary over samples: it has no principal components")
    shares = variances.cumsum() / variances.sum()
    # Rounding may leave the last share below 1.
    count = min(int(np.searchsorted(shares, variance_kept)) + 1, shares.size)
    scores = np.zeros((*activity.shape[:-1], count), activity.dtype)
    scores[lasts] = flat @ directions[:, :count]
    return scores, float(shares[count - 1])


def leading_components(
    rates: Float[np.ndarray, "trial time unit"],
) -> tuple[Float[np.ndarray, "unit"], Float[np.ndarray, "unit component"], Float[np.ndarray, "component"]]:
    """Mean rates, the three leading principal axes of the rates, and the shares of variance along them.

    Each axis has the sign that makes its largest entry positive. Networks of fewer units than three have axes of zeros.
    """
    flat = samples(rates).astype(np.float64)
    mean = flat.mean(0)
    variances, axes = np.linalg.eigh(np.cov((flat - mean).T).reshape(flat.shape[1], -1))
    variances, axes = variances[::-1][:LEADING], axes[:, ::-1][:, :LEADING]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    missing = LEADING - axes.shape[1]
    total = float(flat.var(0, ddof=1).sum()) or 1.0
    return mean, np.pad(axes, ((0, 0), (0, missing))), np.pad(variances / total, (0, missing)).clip(min=0)
