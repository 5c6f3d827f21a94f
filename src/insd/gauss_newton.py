"""The Gauss-Newton matrix of a loss of networks' outputs, without the matrix: products, and what is solved with them.

With outputs y of weights theta, Jacobian J = dy/dtheta and a loss l(y), the matrix is

    G = J^T H J,   H = d2l/dy2,

which is J^T J where l is half the squared distance of the outputs from others. Directions in which G is small are flat:
the outputs that the loss is of stay as they are there. A product takes two passes through the network, by reverse mode
alone: J^T w is linear in w, so that its own gradient in w, towards v, is J v.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, cg, eigsh
from torch import Tensor

from insd.networks.base import Flowing, Networks

Vector = Float[np.ndarray, "weight"]
"""A direction in the space of all weights, in the order of `weights_of`; float64."""


class GaussNewton:
    """G of one network, and its loss and gradient, at the weights that it has now; to be left once these change.

    Parameters
    ----------
    networks : one network; products are in the type of its weights. An architecture that is no flow needs a `forward`
        that PyTorch can differentiate twice.
    inputs : (network, time, trial, input).
    loss : of outputs (network, time, trial, output), one number; convex and twice differentiable in them.
    """

    def __init__(
        self,
        networks: Networks,
        inputs: Float[Tensor, "1 time trial input"],
        loss: Callable[[Float[Tensor, "1 time trial output"]], Float[Tensor, ""]],
    ):
        # The hand-written gradients of `forward` cannot be differentiated again.
        simulated = networks.simulate(inputs, states=True)[0] if isinstance(networks, Flowing) else networks(inputs)
        self.outputs = networks.readout(simulated)
        self.parameters = list(networks.parameters())
        self.size = sum(parameter.numel() for parameter in self.parameters)
        self.at = torch.zeros_like(self.outputs, requires_grad=True)
        self.transposed = torch.autograd.grad(self.outputs, self.parameters, self.at, create_graph=True)
        leaf = self.outputs.detach().requires_grad_()
        value = loss(leaf)
        (self.slope,) = torch.autograd.grad(value, leaf, create_graph=True)
        self.leaf, self.value = leaf, value.item()

    def gradient(self) -> Vector:
        """The gradient of the loss in the weights."""
        return self._back(self.slope.detach())

    def product(self, vector: Vector) -> Vector:
        """G v."""
        parts = torch.from_numpy(np.ravel(vector)).to(self.outputs).split([p.numel() for p in self.parameters])
        towards = [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]
        (change,) = torch.autograd.grad(self.transposed, self.at, towards, retain_graph=True)
        (curved,) = torch.autograd.grad(self.slope, self.leaf, change, retain_graph=True)
        return self._back(curved)

    def operator(self, scale: float = 1.0, shift: float = 0.0) -> LinearOperator:
        """``scale G + shift I``, for solvers of scipy."""
        shape = (self.size, self.size)
        return LinearOperator(shape, lambda v: scale * self.product(v) + shift * np.ravel(v), dtype=np.float64)

    def largest(self) -> tuple[float, Vector]:
        """The largest eigenvalue of G, to a hundredth, and its eigenvector, by Lanczos iterations from the gradient."""
        values, vectors = eigsh(self.operator(), 1, which="LA", v0=self.gradient(), ncv=6, tol=1e-2)
        return float(values[0]), vectors[:, 0]

    def flat_part(self, vector: Vector, cutoff: float, iterations: int) -> Vector:
        """``(I + G / cutoff)^-1 v``: what is left of a vector in the directions in which G is below the cutoff.

        By conjugate gradients; fewer iterations than it needs leave more of the directions just above the cutoff.
        """
        return cg(self.operator(1 / cutoff, 1.0), vector, rtol=1e-3, maxiter=iterations)[0]

    def step_down(self, damping: float, iterations: int) -> Vector:
        """The damped Gauss-Newton step ``-(G + damping I)^-1 g`` that lowers the loss of gradient g."""
        return -cg(self.operator(1.0, damping), self.gradient(), rtol=1e-2, maxiter=iterations)[0]

    def _back(self, errors: Float[Tensor, "1 time trial output"]) -> Vector:
        """J^T w."""
        parts = torch.autograd.grad(self.outputs, self.parameters, errors, retain_graph=True)
        return _vector(parts)


def weights_of(networks: Networks) -> Vector:
    """All parameters of one network in one vector."""
    return _vector([parameter.detach() for parameter in networks.parameters()])


@torch.no_grad()
def set_weights(networks: Networks, vector: Vector) -> None:
    """Give one network the parameters in a vector of `weights_of`."""
    parts = torch.from_numpy(vector).split([parameter.numel() for parameter in networks.parameters()])
    for parameter, part in zip(networks.parameters(), parts, strict=True):
        parameter.copy_(part.view_as(parameter))


def _vector(parts: list[Tensor] | tuple[Tensor, ...]) -> Vector:
    return torch.cat([part.flatten() for part in parts]).double().numpy()
