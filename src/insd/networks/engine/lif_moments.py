"""Mean and standard deviation of the spikes of leaky integrate-and-fire cells in white noise, with their derivatives.

The voltage V of a cell follows ``dV/dt = -L V + I`` up to the threshold `THRESHOLD`, where the cell spikes and stays at
`RESET` for `REFRACTORY`. The current I is white noise of mean m (mV/ms) and standard deviation s (mV/sqrt(ms)). With
the bounds ``ub = (V_th L - m) / (s sqrt L)`` and ``lb = (V_res L - m) / (s sqrt L)``, the times between spikes have the
mean ``T_ref + (2 / L) int_lb^ub g`` and the variance ``(8 / L^2) int_lb^ub h`` with

    g(x) = e^(x^2) int_-inf^x e^(-y^2) dy,      g' = 1 + 2 x g
    h(x) = e^(x^2) int_-inf^x e^(-y^2) g(y)^2 dy,      h' = g^2 + 2 x h.

The rate mu is one over the mean, the Fano factor F of spike counts in long windows the variance times mu^2, and sigma =
sqrt(F mu) the standard deviation of spikes per unit of time (1/sqrt(ms)). h and the integrals of g and h are in a table
between `LOWEST` and `HIGHEST`, and by their asymptotic series below that.

Source: Qi et al., "Toward stochastic neural computing" (arXiv:2305.13982), from Feng et al. (2006), "Dynamics of moment
neuronal networks"; how the integrals are computed is ours.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import torch
from jaxtyping import Float
from torch import Tensor

LEAK = 0.05
"""L, in 1/ms."""
THRESHOLD, RESET = 20.0, 0.0
"""V_th and V_res, in mV."""
REFRACTORY = 5.0
"""T_ref, in ms."""
HIGHEST = 5.0
"""Upper bounds above count as this one: cells that are as far from the threshold fire once in ten years."""
LOWEST = -10.0
"""Below, integrals are by their asymptotic series."""
CELLS_PER_UNIT = 1024
"""Of the table."""
TERMS = 6
"""Of the series in 1 / x^2, which is then exact to 1e-9."""
NODES = 6
"""Of the quadrature in each cell of the table."""


class LIFMoments(NamedTuple):
    """Of spikes, for each mean and standard deviation of the current."""

    rate: Float[Tensor, "*any"]
    """mu in spikes per ms."""
    sd: Float[Tensor, "*any"]
    """sigma in 1/sqrt(ms)."""
    response: Float[Tensor, "*any"]
    """``chi = (s / sigma) d mu/d m``: of a small correlation c of two currents, spikes have ``chi_i chi_j c``."""


def lif_moments(mean: Float[Tensor, "*any"], sd: Float[Tensor, "*any"]) -> LIFMoments:
    """Moments of the spikes of cells in currents of some mean (mV/ms) and standard deviation above 0 (mV/sqrt(ms))."""
    rate, spread = LIFActivation.apply(mean, sd)
    return LIFMoments(rate, spread, sd / spread * _derivatives(mean, sd)[0])


class LIFActivation(torch.autograd.Function):
    """mu and sigma from m and s, with the derivatives in a formula; differentiable again, and under `torch.func`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
        """mu and sigma."""
        upper, lower, _ = _bounds(mean, sd)
        above, below = _functions(upper), _functions(lower)
        return _moments(above[0] - below[0], above[1] - below[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Keep m and s."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, of_rate: Tensor, of_sd: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients in m and s, of those in mu and sigma."""
        by_mean, by_sd, sd_by_mean, sd_by_sd = _derivatives(*ctx.saved_tensors)
        return of_rate * by_mean + of_sd * sd_by_mean, of_rate * by_sd + of_sd * sd_by_sd


def _bounds(mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ub, lb and ``s sqrt L``. Where ub is too high, lb stays as far below it."""
    scale = sd * math.sqrt(LEAK)
    upper = ((THRESHOLD * LEAK - mean) / scale).clamp(max=HIGHEST)
    return upper, upper - (THRESHOLD - RESET) * LEAK / scale, scale


def _moments(of_g: Tensor, of_h: Tensor) -> tuple[Tensor, Tensor]:
    """mu and sigma from the integrals of g and h between the bounds."""
    rate = 1 / (REFRACTORY + 2 / LEAK * of_g)
    return rate, math.sqrt(8) / LEAK * rate**1.5 * of_h.sqrt()


def _derivatives(mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``d mu/d m``, ``d mu/d s``, ``d sigma/d m`` and ``d sigma/d s``."""
    upper, lower, scale = _bounds(mean, sd)
    above, below = _functions(upper), _functions(lower)
    of_h = above[1] - below[1]
    rate, spread = _moments(above[0] - below[0], of_h)
    g_above, g_below = _g(upper), _g(lower)
    # Derivatives of the bounds: by the mean the same for both, by s each its own.
    free = (upper < HIGHEST).to(upper)
    by_mean = -free / scale
    upper_by_sd = -free * upper / sd
    lower_by_sd = upper_by_sd + (upper - lower) / sd
    found = []
    for upper_by, lower_by in ((by_mean, by_mean), (upper_by_sd, lower_by_sd)):
        of_rate = -2 / LEAK * rate.square() * (g_above * upper_by - g_below * lower_by)
        h = above[2] * upper_by - below[2] * lower_by
        found.append((of_rate, spread * (1.5 * of_rate / rate + h / (2 * of_h))))
    return found[0][0], found[1][0], found[0][1], found[1][1]


def _g(x: Tensor) -> Tensor:
    return math.sqrt(math.pi) / 2 * torch.special.erfcx(-x)


def _functions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The integral of g from `LOWEST` to x, that of h from minus infinity, and h."""
    table = _table(x.dtype, x.device)
    position = (x.clamp(min=LOWEST) - LOWEST) * CELLS_PER_UNIT
    cell = position.detach().long().clamp(max=len(table) - 1)
    part, cubic = (position - cell)[..., None], table[cell]
    inside = cubic[..., 0, :] + part * (cubic[..., 1, :] + part * (cubic[..., 2, :] + part * cubic[..., 3, :]))
    outside = x < LOWEST
    below = _below(-x.clamp(max=LOWEST))
    return tuple(torch.where(outside, tail, inside[..., n]) for n, tail in enumerate(below))  # type: ignore[return-value]


def _below(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same three at x = -z, by their asymptotic series."""
    inverse = 1 / z.square()
    of_g = _series(inverse, _INTEGRAL_OF_G) - _series(1 / LOWEST**2, _INTEGRAL_OF_G) - (z / -LOWEST).log() / 2
    return of_g, inverse * _series(inverse, _INTEGRAL_OF_H), inverse * _series(inverse, _SERIES_OF_H) / z


def _series(inverse: Any, coefficients: list[float]) -> Any:
    """``sum_k c_k / z^(2 k)``, given ``1 / z^2``."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = coefficient + inverse * total
    return total


def _expansions() -> tuple[list[float], list[float]]:
    """Coefficients for x to minus infinity, z = -x: ``g = sum_k a_k / z^(2k+1)`` and ``h = sum_k c_k / z^(2k+3)``.

    They follow from the differential equations of g and h.
    """
    of_g = [0.5]
    for k in range(1, TERMS):
        of_g.append(-(2 * k - 1) / 2 * of_g[-1])
    squared = np.convolve(of_g, of_g)[:TERMS]
    of_h = [float(squared[0]) / 2]
    for k in range(1, TERMS):
        of_h.append((float(squared[k]) - (2 * k + 1) * of_h[-1]) / 2)
    return of_g, of_h


_SERIES_OF_G, _SERIES_OF_H = _expansions()
_INTEGRAL_OF_G = [0.0, *(coefficient / (2 * k) for k, coefficient in enumerate(_SERIES_OF_G) if k)]
"""Of the integral to -z, with ``-log(z) / 2``."""
_INTEGRAL_OF_H = [coefficient / (2 * k + 2) for k, coefficient in enumerate(_SERIES_OF_H)]


@functools.cache
def _table(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "cell power function"]:
    """The functions in each cell, as cubic polynomials of the part of the cell that is below x: those with the values
    and slopes of the functions at both edges, which are computed in double precision.
    """
    edges = np.linspace(LOWEST, HIGHEST, round((HIGHEST - LOWEST) * CELLS_PER_UNIT) + 1)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    inside = edges[:-1, None] + (nodes + 1) / (2 * CELLS_PER_UNIT)
    weights = weights / (2 * CELLS_PER_UNIT)

    def g_at(x: np.ndarray) -> np.ndarray:
        return math.sqrt(math.pi) / 2 * scipy.special.erfcx(-x)

    def summed(first: float, cells: np.ndarray) -> np.ndarray:
        return first + np.concatenate([[0.0], cells.cumsum()])

    _, first_integral, first = (float(value) for value in _below(torch.tensor(-LOWEST).double()))
    g = g_at(edges)
    within = (np.exp(-(inside**2)) * g_at(inside) ** 2) @ weights
    h = np.exp(edges**2) * summed(first * math.exp(-(LOWEST**2)), within)
    slope = g**2 + 2 * edges * h
    # The trapezoidal rule with its correction at both ends: h is known at the edges alone.
    of_h = (h[:-1] + h[1:]) / (2 * CELLS_PER_UNIT) + (slope[:-1] - slope[1:]) / (12 * CELLS_PER_UNIT**2)
    values = np.stack([summed(0.0, g_at(inside) @ weights), summed(first_integral, of_h), h], 1)
    slopes = np.stack([g, h, slope], 1) / CELLS_PER_UNIT
    rise = np.diff(values, axis=0)
    powers = values[:-1], slopes[:-1], 3 * rise - 2 * slopes[:-1] - slopes[1:], slopes[:-1] + slopes[1:] - 2 * rise
    return torch.from_numpy(np.stack(powers, 1)).to(device, dtype)
