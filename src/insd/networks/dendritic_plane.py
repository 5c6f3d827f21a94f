"""Networks with a fixed plane of behaviour, whose units have dendritic trees."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from insd.networks.base import READOUT, normal
from insd.networks.plane import PlaneNetworks
from insd.networks.settings.dendritic_plane import DendriticPlaneSettings

_KEEPING = (0.5 - 0.5 / math.pi) ** -0.5
"""1 over the standard deviation of ``max(0, z)`` with z standard normal, as which softplus acts on large currents."""


class DendriticPlane(PlaneNetworks):
    """Networks of ``tau dr/dt = -r + F(r, u) + noise``, in which F has a tree of softplus nodes for each unit.

    Each unit has B branches, and each branch B leaves, B being the setting `branching`. With s for softplus,

        leaf = s(A r + W u + b),  branch = s(sum of its leaves, each times a weight, + d),
        F = s(sum of the unit's branches, each times a weight, + c).

    All leaves see the whole state and all inputs; the weights between nodes are private to a tree. F, and so the
    state without what acts on behaviour, is positive, but behaviour may have any sign.

    Parameters (all trained; first axis = network)
    ----------------------------------------------
    leaf_weights A (network, leaf, unit_from), input_weights W (network, leaf, input), of which the last three columns
    are not used, leaf_bias b (network, leaf), branch_weights (network, child, branch), branch_bias d (network, branch),
    soma_weights (network, child, unit), soma_bias c (network, unit), initial_state (network, unit). With N units, leaf
    ``k B N + j N + i`` is child k of branch ``j N + i``, which is child j of unit i.

    Source: "Setting up for failure" (arXiv 2512.04808) and the code published with it, of which the nodes, private
    weights and biases are. There nodes also receive an embedding of time in the report, which these networks lack.
    """

    Settings = DendriticPlaneSettings
    dimensions = {
        "leaf_weights": ("seed", "leaf", "unit_from"),
        "input_weights": ("seed", "leaf", "input"),
        "leaf_bias": ("seed", "leaf"),
        "branch_weights": ("seed", "child", "branch"),
        "branch_bias": ("seed", "branch"),
        "soma_weights": ("seed", "child", "unit"),
        "soma_bias": ("seed", "unit"),
        **READOUT,
        "initial_state": ("seed", "unit"),
    }
    leaf_weights: Float[Tensor, "network leaf unit"]
    leaf_bias: Float[Tensor, "network leaf"]
    branch_weights: Float[Tensor, "network child branch"]
    branch_bias: Float[Tensor, "network branch"]
    soma_weights: Float[Tensor, "network child unit"]
    soma_bias: Float[Tensor, "network unit"]

    @classmethod
    def initialise(
        cls,
        settings: DendriticPlaneSettings,
        inputs: int,
        outputs: int,
        alpha: float,
        generators: Sequence[torch.Generator],
    ) -> "DendriticPlane":
        """Random networks, one per generator, with normal weights (ours).

        Softplus nodes are positive, so that a sum of them would drive the next ones all up or all down: the weights of
        the senders of a node add up to zero. Their variance is such that the variance of large currents neither grows
        nor shrinks from node to node, times ``gain^2`` for those of the state. Raises ValueError unless there are two
        outputs and the inputs that act on them.
        """
        cls.need_plane(inputs, outputs)
        count, units, children = len(generators), settings.units, settings.branching
        branches, leaves = children * units, children**2 * units
        weights = {
            "leaf_weights": settings.gain * _balanced(generators, -1, leaves, units),
            "input_weights": normal(generators, _KEEPING / math.sqrt(inputs), leaves, inputs),
            "leaf_bias": torch.zeros(count, leaves),
            "branch_weights": _balanced(generators, -2, children, branches),
            "branch_bias": torch.zeros(count, branches),
            "soma_weights": _balanced(generators, -2, children, units),
            "soma_bias": torch.zeros(count, units),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise)

    def drive(self, inputs: Float[Tensor, "network sample input"]) -> Float[Tensor, "network sample leaf"]:
        """What the inputs and the biases give to the leaves."""
        return torch.baddbmm(self.leaf_bias[:, None], inputs[..., :-3], self.input_weights[..., :-3].mT)

    def drift(
        self, state: Float[Tensor, "network trial unit"], drive: Float[Tensor, "network trial leaf"]
    ) -> Float[Tensor, "network trial unit"]:
        """F."""
        nodes = softplus(torch.baddbmm(drive, state, self.leaf_weights.mT))
        for weights, bias in ((self.branch_weights, self.branch_bias), (self.soma_weights, self.soma_bias)):
            children = nodes.unflatten(-1, weights.shape[1:])
            nodes = softplus((children * weights[:, None]).sum(-2) + bias[:, None])
        return nodes


def _balanced(generators: Sequence[torch.Generator], senders: int, *shape: int) -> Float[Tensor, "network ..."]:
    """Normal weights that add up to zero along the axis of the senders."""
    weights = normal(generators, _KEEPING / math.sqrt(shape[senders] - 1), *shape)
    return weights - weights.mean(senders, keepdim=True)
