"""The equilibrium ``a = clip((W a + h) / V, 0, 1)`` of networks, and its gradient by the implicit function theorem.

Both the equilibrium and its gradient are limits of maps that contract by ``|W| / V`` or less (the spectral norm), with
|W| at most 1 and V above 1. They are found by iterating these maps: each step is one product with W for all samples of
all networks, and about 15 steps reach single precision at V = 2. A direct solution would factorise a matrix for each
sample, since each has other units that are silent or saturated; GMRES or Anderson's method save few of so few steps.

Source: Xiao et al. (2021, arXiv 2109.14247) for the equilibrium and the gradient, which they find by Broyden's method.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insd.errors import InsdError

MOST_STEPS = 1000
"""Enough for single and double precision at any V of at least 1.1."""
TOLERANCE = 16
"""Largest change in a step at which iteration ends, over the rounding error of the largest number of a network."""


class EquilibriumError(InsdError):
    """Networks do not settle; the message says why."""


def equilibrium(
    weights: Float[Tensor, "network unit unit_from"],
    drive: Float[Tensor, "network sample unit"],
    start: Float[Tensor, "network unit"],
    threshold: float,
) -> Float[Tensor, "network sample unit"]:
    """Rates a with ``a = clip((W a + h) / V, 0, 1)`` for each sample of the drive h, sought from `start`.

    The gradient in W and h is that of the equilibrium, not of the steps to it; that in `start` is 0. Units that are
    silent or saturated pass none. Raises EquilibriumError where rates do not settle, which only weights with a spectral
    norm of V or more can cause.
    """
    return _Equilibrium.apply(weights, drive, start, threshold)


class _Equilibrium(torch.autograd.Function):
    """With the slopes ``d = 1/V`` between 0 and 1, and 0 elsewhere, the Jacobian of the map is ``J = diag(d) W``.

    Of a loss with the gradient g in a, that in the current ``W a + h`` is ``diag(d) v``, with ``v = g + J^T v``.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, drive: Tensor, start: Tensor, threshold: float) -> Tensor:
        transposed = weights.transpose(1, 2)

        def step(rates: Tensor) -> Tensor:
            return torch.baddbmm(drive, rates, transposed).div_(threshold).clamp_(0, 1)

        rates = _limit(step, start[:, None].expand_as(drive).clamp(0, 1), weights, threshold)
        ctx.save_for_backward(weights, rates, start)
        ctx.threshold = threshold
        return rates

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient,) = gradients
        weights, rates, start = ctx.saved_tensors
        slopes = ((rates > 0) & (rates < 1)).to(rates.dtype) / ctx.threshold
        found = _limit(lambda v: torch.baddbmm(gradient, v * slopes, weights), gradient, weights, ctx.threshold)
        of_drive = found * slopes
        return of_drive.transpose(1, 2) @ rates, of_drive, torch.zeros_like(start), None


def _limit(step: Callable[[Tensor], Tensor], first: Tensor, weights: Tensor, threshold: float) -> Tensor:
    """Where a map leads that contracts, up to rounding; NaN, as soon as there is any."""
    current, tolerance = first, TOLERANCE * torch.finfo(first.dtype).eps
    for _ in range(MOST_STEPS):
        following = step(current)
        change, size = (part.abs().amax((1, 2)) for part in (following - current, following))
        current = following
        if not bool((change > tolerance * size).any()):
            return current
    largest = float(torch.linalg.matrix_norm(weights.detach(), 2).max())
    raise EquilibriumError(
        f"rates do not settle in {MOST_STEPS} steps: the largest singular value of the recurrent weights is "
        f"{largest:.3g}, and one below the threshold of {threshold:g} makes sure that they do"
    )
