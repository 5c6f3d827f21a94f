"""The functions of the state that give the rates of rate networks, with their derivatives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Nonlinearity:
    """A function phi of the state. Its derivative follows from the rate alone, so that a gradient needs no states."""

    number: int
    """How `loops.c` knows it."""
    rates: Callable[[Tensor], Tensor]
    """phi(x)."""
    slopes: Callable[[Tensor], Tensor]
    """phi'(x), from the rates phi(x)."""
    fill_rates: Callable[[Tensor, Tensor], object]
    """Fills the second array with phi of the first."""
    fill_slopes: Callable[[Tensor, Tensor, Tensor], object]
    """Fills the third array with phi', from the rates in the first; the second holds the number 1."""


def _tanh(states: Float[Tensor, "*any"], out: Float[Tensor, "*any"]) -> None:
    """tanh(x), in single precision on a CPU as ``2 / (1 + exp(-2 x)) - 1``.

    That is three times as fast as the library's tanh, which costs as much as a step's matrix product, and exact to
    1.2e-7, two units in the last place of a saturated rate.
    """
    if states.is_cuda or states.dtype != torch.float32:
        torch.tanh(states, out=out)
    else:
        torch.mul(states, 2.0, out=out).sigmoid_().mul_(2.0).sub_(1.0)


def _softplus(states: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """log(1 + e^x), to the last digits at any x: PyTorch's own function is x itself above a threshold."""
    return torch.logaddexp(states, states.new_zeros(()))


NONLINEARITIES = {
    "tanh": Nonlinearity(
        0,
        torch.tanh,
        lambda rates: 1 - rates.square(),
        _tanh,
        lambda rates, one, out: torch.addcmul(one, rates, rates, value=-1, out=out),
    ),
    "relu": Nonlinearity(
        1,
        torch.relu,
        torch.sign,
        lambda states, out: torch.clamp(states, min=0, out=out),
        lambda rates, one, out: torch.sign(rates, out=out),
    ),
    "softplus": Nonlinearity(
        2,
        _softplus,
        lambda rates: -torch.expm1(-rates),
        lambda states, out: out.copy_(_softplus(states)),
        lambda rates, one, out: torch.neg(rates, out=out).expm1_().neg_(),
    ),
}
"""By the names that the config uses: tanh(x), max(x, 0) and log(1 + e^x)."""
