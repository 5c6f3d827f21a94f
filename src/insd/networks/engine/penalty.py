"""INSD's penalty (`insd.objectives.predictivity`) but for what it solves, compiled from `penalty.c`.

It is part of the builds of `insd.networks.engine.loops`.
"""

import ctypes
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insd.networks.engine import bptt
from insd.networks.engine.loops import CompiledLoops


class CompiledPenalty:
    """The functions of `penalty.c` in one build.

    Rates are in single precision and on the CPU, small matrices in double.
    """

    def __init__(self, library: Any):
        size, array, number = ctypes.c_long, ctypes.c_void_p, ctypes.c_double
        self._matrices, self._gradient = library.penalty_matrices, library.penalty_gradient
        self._matrices.argtypes = [size] * 7 + [array] * 5 + [number] + [array] * 7
        self._gradient.argtypes = [size] * 6 + [array] * 10 + [number] + [array] * 3
        self._matrices.restype = self._gradient.restype = None
        self.lanes = library.lanes()
        self._scratch_size = library.penalty_scratch_size
        self._scratch_size.argtypes, self._scratch_size.restype = [size] * 3, size

    def matrices(
        self,
        rates: Float[Tensor, "network time trial unit"],
        earlier: Float[Tensor, "network time trial component"],
        valid: Float[Tensor, "network time trial"] | None,
        membership: Float[Tensor, "component earlier"],
        basis: Float[Tensor, "network output unit"],
        ridge: float,
    ) -> tuple[Tensor, ...]:
        """Means, what multiplies Y, C, B G, A and D, with the names of `penalty.c`.

        The rates of a time are contiguous, and all other arrays.
        """
        networks, times, trials, units = rates.shape
        outputs, (components, earlier_networks) = basis.shape[1], membership.shape
        double = torch.float64
        shapes = (components,), (units, components), (outputs, units), (units, units), (units, components)
        filled = sum(size + -size % self.lanes for size in (units, components))
        made = [rates.new_empty(networks, filled)]
        made += [rates.new_empty(networks, *shape, dtype=double) for shape in shapes]
        scratch = rates.new_empty(self._scratch_size(units, outputs, components))
        for network in range(networks):
            self._matrices(
                *(times, trials, rates.stride(1), units, outputs, components, earlier_networks),
                *(part[network].data_ptr() if part is not None else None for part in (rates, earlier, valid)),
                *(membership.data_ptr(), basis[network].data_ptr(), ridge, scratch.data_ptr()),
                *(part[network].data_ptr() for part in made),
            )
        return tuple(made)

    def gradient(
        self,
        rates: Float[Tensor, "network time trial unit"],
        earlier: Float[Tensor, "network time trial component"],
        valid: Float[Tensor, "network time trial"] | None,
        mean: Float[Tensor, "network filled"],
        scale: Float[Tensor, "network component"],
        cross: Float[Tensor, "network unit component"],
        seen: Float[Tensor, "network output unit"],
        basis: Float[Tensor, "network output unit"],
        weights: Float[Tensor, "network unit component"],
        factors: Float[Tensor, "network component"],
        ridge: float,
    ) -> tuple[Float[Tensor, "network time trial unit"], Float[Tensor, "network output unit"]]:
        """The gradient with respect to the rates, and what that with respect to the readout is made of.

        From what `matrices` took and gave, M, and the gradient with respect to the penalty that each component is part
        of.
        """
        networks, times, trials, units = rates.shape
        outputs, components = basis.shape[1], earlier.shape[-1]
        weights, factors = weights.contiguous(), factors.contiguous()
        parts = rates, earlier, valid, mean, scale, cross, basis, seen, weights, factors
        scratch = rates.new_empty(self._scratch_size(units, outputs, components))
        gradient, inner = rates.new_empty(rates.shape), torch.empty_like(seen)
        for network in range(networks):
            self._gradient(
                *(times, trials, rates.stride(1), units, outputs, components),
                *(part[network].data_ptr() if part is not None else None for part in parts),
                *(ridge, scratch.data_ptr(), gradient[network].data_ptr(), inner[network].data_ptr()),
            )
        return gradient, inner


@cache
def _of(loops: CompiledLoops) -> CompiledPenalty:
    return CompiledPenalty(loops.library)


def compiled_for(rates: Tensor) -> CompiledPenalty | None:
    """The compiled penalty, if it can work on rates like these."""
    loops = bptt.compiled_for(rates)
    return _of(loops) if loops else None
