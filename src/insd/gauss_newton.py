"""The Gauss-Newton matrix and the Hessian of a loss of a network's outputs: products with them, and solutions.

With outputs y of weights theta, Jacobian J = dy/dtheta and a loss l(y), the Gauss-Newton matrix is

    G = J^T H J,   H = d2l/dy2,

which is J^T J where l is half the squared distance of the outputs from their targets. It is the Hessian of the loss
without the curvature of the outputs themselves: all of it where the loss is 0. In directions in which G is small the
loss is flat. No matrix is formed: a product with G is J v, forward along one simulation that is kept
(`Networks.linearised`), and J^T, backward along it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, cg, eigsh
from torch import Tensor

from insd.datasets import architecture_of
from insd.networks.base import Networks, constants_in
from insd.plugins import find

Vector = Float[np.ndarray, "weight"]
"""A direction in the space of all weights, in the order of `weights_of`; float64."""


class GaussNewton:
    """Products with G and the Hessian of one network at its present weights, and the loss and its gradient there.

    It holds for these weights alone: once they change, make another.

    Parameters
    ----------
    networks : one network; products are in the type of its weights. Those of an architecture of its own need
        `plain_outputs`, or a `forward` that PyTorch can differentiate twice.
    inputs : (network, time, trial, input), noise-free.
    loss : of outputs (network, time, trial, output), one number; twice differentiable in them, and convex where
        something is solved.
    """

    def __init__(
        self,
        networks: Networks,
        inputs: Float[Tensor, "1 time trial input"],
        loss: Callable[[Float[Tensor, "1 time trial output"]], Float[Tensor, ""]],
    ):
        self.networks, self.inputs = networks, inputs
        self.outputs, self.change = networks.linearised(inputs)
        self.parameters = list(networks.parameters())
        self.size = sum(parameter.numel() for parameter in self.parameters)
        leaf = self.outputs.detach().requires_grad_()
        self.loss, value = loss, loss(leaf)
        (self.slope,) = torch.autograd.grad(value, leaf, create_graph=True)
        self.leaf, self.value = leaf, value.item()

    def gradient(self) -> Vector:
        """The gradient of the loss in the weights."""
        return flattened(self._gradients(self.outputs, self.slope.detach()))

    def product(self, vector: Vector) -> Vector:
        """G v."""
        change = self.change(self._parts(vector))
        (curved,) = torch.autograd.grad(self.slope, self.leaf, change, retain_graph=True)
        return flattened(self._gradients(self.outputs, curved))

    def operator(self, scale: float = 1.0, shift: float = 0.0) -> LinearOperator:
        """``scale G + shift I``, for solvers of scipy."""
        return self._symmetric(lambda vector: scale * self.product(vector) + shift * np.ravel(vector))

    def hessian(self) -> LinearOperator:
        """The Hessian of the loss in the weights, for solvers of scipy."""
        outputs = self.networks.plain_outputs(self.inputs)
        gradient = self._gradients(self.loss(outputs), create_graph=True)
        return self._symmetric(lambda vector: flattened(self._gradients(gradient, self._parts(vector))))

    def largest(self) -> tuple[float, Vector]:
        """The largest eigenvalue of G, to a hundredth, and its eigenvector, by Lanczos iterations from the gradient."""
        start = self.gradient()
        if not start.any():  # at a minimum, as where a function is kept from its anchor on
            start = np.random.default_rng(0).standard_normal(self.size)
        values, vectors = eigsh(self.operator(), 1, which="LA", v0=start, ncv=6, tol=1e-2)
        return float(values[0]), vectors[:, 0]

    def flat_part(self, vector: Vector, cutoff: float, iterations: int) -> Vector:
        """``(I + G / cutoff)^-1 v``: what is left of a vector in the directions in which G is below the cutoff.

        By conjugate gradients; fewer iterations than it needs leave more of the directions just above the cutoff.
        """
        return cg(self.operator(1 / cutoff, 1.0), vector, rtol=1e-3, maxiter=iterations)[0]

    def step_down(self, damping: float, iterations: int) -> Vector:
        """The damped Gauss-Newton step ``-(G + damping I)^-1 g`` that lowers the loss of gradient g."""
        return -cg(self.operator(1.0, damping), self.gradient(), rtol=1e-2, maxiter=iterations)[0]

    def _gradients(
        self,
        of: Tensor | Sequence[Tensor],
        towards: Tensor | Sequence[Tensor] | None = None,
        create_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Gradients in the parameters; 0 in those that nothing depends on."""
        return torch.autograd.grad(
            of,
            self.parameters,
            towards,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )

    def _parts(self, vector: Vector) -> list[Tensor]:
        """A vector in the shapes of the parameters."""
        parts = torch.from_numpy(np.ravel(vector)).to(self.outputs).split([p.numel() for p in self.parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

    def _symmetric(self, product: Callable[[Vector], Vector]) -> LinearOperator:
        return LinearOperator((self.size, self.size), matvec=product, rmatvec=product, dtype=np.float64)


def as_trained(network: xr.Dataset, dt: float) -> Networks:
    """The network of a `network.nc` of one seed with copies of the weights that are trained, at a time step in s.

    These are the weights of its own architecture, such as the vectors of low-rank networks. It has no private noise.
    """
    found = find("network", architecture_of(network))
    weights = {name: torch.from_numpy(network[name].values.copy()) for name in found.parameter_names()}
    return found(weights, dt / network.attrs["tau"], 0.0, **constants_in(network, found))


def weights_of(networks: Networks) -> Vector:
    """All parameters of one network in one vector."""
    return flattened([parameter.detach() for parameter in networks.parameters()])


@torch.no_grad()
def set_weights(networks: Networks, vector: Vector) -> None:
    """Give one network the parameters in a vector of `weights_of`."""
    parts = torch.from_numpy(vector).split([parameter.numel() for parameter in networks.parameters()])
    for parameter, part in zip(networks.parameters(), parts, strict=True):
        parameter.copy_(part.view_as(parameter))


def flattened(parts: Sequence[Tensor]) -> Vector:
    """Parts in the shapes of the parameters, in one vector."""
    return torch.cat([part.flatten() for part in parts]).double().numpy()
