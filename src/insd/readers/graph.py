"""The reader that passes messages over the graph of a network, or attends to it."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import silu

from insd.readers.base import OfWeights, Sizes, Weights, perceptron
from insd.readers.settings.graph import GraphSettings

Nodes = Float[Tensor, "network node width"]
"""Features of inputs, units and outputs."""
Edges = Float[Tensor, "network node node_from width"]
"""Features of the connections between them."""
LEAST_VARIANCE = 1e-6
"""Added to variances of messages, whose square root has no slope at 0."""


class Graph(OfWeights):
    """Messages between the inputs, units and outputs of a network along its weights.

    A node for each input, unit and output; an edge, both ways, for each input, recurrent (with those of a unit to
    itself) and output weight. Units all begin alike but for bias and initial state; each input and output has an
    embedding of its own. An edge from j to i begins with random Fourier features of w_ij, w_ji and their sum. Messages
    ``m_ij = scale(e_ij) * phi(h_i, h_j) + shift(e_ij)`` are aggregated by mean, minimum, maximum and standard
    deviation; with `layer: attention`, a node attends to the nodes that it has edges from (`_Attention`). The answer is
    from the last state of each input and output, and the mean and the maximum over units.

    Source: Kofinas et al. (2024), "Graph neural networks for learning equivariant representations of neural networks",
    for neural graphs, reversed edges and messages in this (FiLM) form; Corso et al. (2020), "Principal neighbourhood
    aggregation for graph nets", for the aggregation, here without scalers, since nodes of a kind have one degree. How a
    recurrent network is a graph, and widths and depths smaller than theirs, are ours.
    """

    Settings = GraphSettings
    edges: Tensor
    kinds: Tensor
    ends: Tensor
    waves: Tensor

    def __init__(self, settings: Any, sizes: Sizes, answers: int):
        super().__init__(settings, sizes, answers)
        width, nodes = settings.width, sizes.inputs + sizes.units + sizes.outputs
        units = slice(sizes.inputs, sizes.inputs + sizes.units)
        edges = torch.zeros(nodes, nodes, dtype=torch.bool)
        edges[units] = edges[:, units] = True
        self.register_buffer("edges", edges, persistent=False)
        self.units = units
        # One embedding for all units, and one for each input and output.
        kinds = torch.zeros(nodes, dtype=torch.long)
        ends = torch.ones(nodes, dtype=torch.bool)
        ends[units] = False
        kinds[ends] = torch.arange(1, 1 + sizes.inputs + sizes.outputs)
        self.register_buffer("kinds", kinds, persistent=False)
        self.register_buffer("ends", ends, persistent=False)
        self.register_buffer("waves", torch.randn(settings.frequencies))
        self.embedding = torch.nn.Embedding(1 + sizes.inputs + sizes.outputs, width)
        self.of_node = torch.nn.Linear(2, width)
        self.of_edge = torch.nn.Linear(3 * 2 * settings.frequencies, width)
        layer = {"messages": _Messages, "attention": _Attention}[settings.layer]
        self.rounds = torch.nn.ModuleList(
            layer(width, updates_edges=number < settings.layers - 1) for number in range(settings.layers)
        )
        self.answer = perceptron((sizes.inputs + sizes.outputs + 2) * width, settings.hidden, answers)

    def forward(self, networks: Weights) -> Float[Tensor, "network answer"]:
        networks = self.scaled(networks)
        weights, biases = self._graph(networks)
        nodes = self.embedding(self.kinds) + self.of_node(biases)
        waves = 2 * math.pi * self.waves * torch.stack([weights, weights.mT, weights + weights.mT], -1)[..., None]
        edges = self.of_edge(torch.cat([waves.cos(), waves.sin()], -1).flatten(-2))
        for layer in self.rounds:
            nodes, edges = layer(nodes, edges, self.edges)
        units = nodes[:, self.units]
        return self.answer(torch.cat([nodes[:, self.ends].flatten(1), units.mean(1), units.amax(1)], -1))

    def _graph(
        self, networks: Weights
    ) -> tuple[Float[Tensor, "network node node_from"], Float[Tensor, "network node 2"]]:
        """The weight from each node to each, and the bias and the initial state of each node."""
        count, (nodes, _) = len(networks), self.edges.shape
        first_output = self.units.stop
        weights = networks.recurrent.new_zeros(count, nodes, nodes)
        weights[:, self.units, self.units] = networks.recurrent
        weights[:, self.units, : self.units.start] = networks.inputs
        weights[:, first_output:, self.units] = networks.outputs
        biases = networks.recurrent.new_zeros(count, nodes, 2)
        biases[:, self.units] = torch.stack([networks.bias, networks.initial_state], -1)
        biases[:, first_output:, 0] = networks.output_bias
        return weights, biases


class _Messages(torch.nn.Module):
    """One round of messages."""

    def __init__(self, width: int, updates_edges: bool):
        super().__init__()
        self.received, self.sent = torch.nn.Linear(width, width), torch.nn.Linear(width, width, bias=False)
        self.scale, self.shift = torch.nn.Linear(width, width), torch.nn.Linear(width, width, bias=False)
        self.update = perceptron(5 * width, width, width)
        self.norm = torch.nn.LayerNorm(width)
        self.of_edges = perceptron(3 * width, width, width) if updates_edges else None

    def forward(self, nodes: Nodes, edges: Edges, present: Bool[Tensor, "node node_from"]) -> tuple[Nodes, Edges]:
        """Nodes and edges after it."""
        messages = silu(self.received(nodes)[:, :, None] + self.sent(nodes)[:, None])
        messages = self.scale(edges) * messages + self.shift(edges)
        mask = present[..., None]
        counts = mask.sum(1)
        mean = (messages * mask).sum(2) / counts
        variance = ((messages - mean[:, :, None]).square() * mask).sum(2) / counts
        least = messages.masked_fill(~mask, math.inf).amin(2)
        most = messages.masked_fill(~mask, -math.inf).amax(2)
        found = torch.cat([nodes, mean, least, most, (variance + LEAST_VARIANCE).sqrt()], -1)
        nodes = self.norm(nodes + self.update(found))
        return nodes, _updated(edges, nodes, self.of_edges)


class _Attention(torch.nn.Module):
    """One round of relational attention, with one head.

    Queries, keys and values of a pair are sums of those of a node and those of the edge between them,
    ``q_ij = Q h_i + Q' e_ij``, ``k_ij = K h_j + K' e_ij`` and ``v_ij = V h_j + V' e_ij``; node i receives
    ``sum_j softmax_j(q_ij . k_ij / sqrt(width)) v_ij`` over the nodes j from which it has an edge.

    Source: Diao & Loynd (2023), "Relational attention: generalizing transformers for graph-structured tasks", as used
    by Kofinas et al. (2024). One head, and edges that are updated as for messages, are ours.
    """

    def __init__(self, width: int, updates_edges: bool):
        super().__init__()
        self.queries, self.keys, self.values = (torch.nn.Linear(width, width, bias=False) for _ in range(3))
        self.of_pairs = torch.nn.Linear(width, 3 * width)
        self.received = torch.nn.Linear(width, width)
        self.update = perceptron(width, 2 * width, width)
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width) for _ in range(2))
        self.of_edges = perceptron(3 * width, width, width) if updates_edges else None

    def forward(self, nodes: Nodes, edges: Edges, present: Bool[Tensor, "node node_from"]) -> tuple[Nodes, Edges]:
        """Nodes and edges after it."""
        queries, keys, values = self.of_pairs(edges).chunk(3, -1)
        queries = queries + self.queries(nodes)[:, :, None]
        keys, values = keys + self.keys(nodes)[:, None], values + self.values(nodes)[:, None]
        alike = (queries * keys).sum(-1) / math.sqrt(nodes.shape[-1])
        shares = alike.masked_fill(~present, -math.inf).softmax(-1)
        nodes = self.norms[0](nodes + self.received((shares[..., None] * values).sum(2)))
        nodes = self.norms[1](nodes + self.update(nodes))
        return nodes, _updated(edges, nodes, self.of_edges)


def _updated(edges: Edges, nodes: Nodes, of_edges: torch.nn.Module | None) -> Edges:
    """Edges after the nodes at their two ends have changed; without `of_edges`, as they were."""
    if of_edges is None:
        return edges
    ends = torch.broadcast_tensors(nodes[:, :, None], nodes[:, None])
    return edges + of_edges(torch.cat([edges, *ends], -1))
