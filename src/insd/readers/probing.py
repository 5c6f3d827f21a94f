"""The reader that looks at how a network responds to inputs that it chooses."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insd.readers.base import SMALLEST, Reader, Sizes, Weights, perceptron
from insd.readers.settings.probing import ProbingSettings


class Probing(Reader):
    """Learned sequences of inputs, and a recurrent encoder of the outputs with which a network responds to them.

    The network runs without noise from its initial state, by its own equations and time step. A gated recurrent unit
    reads the outputs at the end of each input; its last states for all sequences give the answer. Interactive probes
    add to each learned input a linear function of the encoder's state.

    Source: Herrmann et al. (2024), "Learning useful representations of recurrent neural network weight matrices", for
    probing, interactive and not, and 22 steps; an encoder of outputs that is not an LSTM, and inputs that last, are
    ours.
    """

    Settings = ProbingSettings
    needs_ends = True
    mean: Tensor
    scale: Tensor

    def __init__(self, settings: Any, sizes: Sizes, answers: int):
        super().__init__(settings, sizes, answers)
        self.probes = torch.nn.Parameter(torch.randn(settings.steps, settings.sequences, sizes.inputs))
        self.encoder = torch.nn.GRUCell(sizes.outputs, settings.embedding)
        if settings.interactive:
            self.chosen = torch.nn.Linear(settings.embedding, sizes.inputs, bias=False)
        self.answer = perceptron(settings.sequences * settings.embedding, settings.hidden, answers)
        self.register_buffer("mean", torch.zeros(sizes.outputs))
        self.register_buffer("scale", torch.ones(sizes.outputs))

    def prepare(self, networks: Weights) -> None:
        with torch.no_grad():
            outputs = torch.stack(self._run(networks)[1]).flatten(0, -2)
        self.mean, self.scale = outputs.mean(0), outputs.std(0, correction=0).clamp_min(SMALLEST)

    def forward(self, networks: Weights) -> Float[Tensor, "network answer"]:
        return self.answer(self._run(networks)[0].flatten(1))

    def _run(
        self, networks: Weights
    ) -> tuple[Float[Tensor, "network sequence embedding"], list[Float[Tensor, "network sequence output"]]]:
        """The last states of the encoder, and the outputs that it read."""
        shape = (len(networks), self.settings.sequences)
        alpha = networks.alpha[:, None, None]
        states = networks.initial_state[:, None].expand(-1, shape[1], -1)
        encoded = states.new_zeros(*shape, self.settings.embedding)
        found = []
        for probe in self.probes:
            inputs = probe + self.chosen(encoded) if self.settings.interactive else probe.expand(*shape, -1)
            driven = inputs @ networks.inputs.mT + networks.bias[:, None]
            for _ in range(self.settings.hold):
                states = (1 - alpha) * states + alpha * (states.tanh() @ networks.recurrent.mT + driven)
            outputs = states.tanh() @ networks.outputs.mT + networks.output_bias[:, None]
            read = ((outputs - self.mean) / self.scale).flatten(0, 1)
            encoded = self.encoder(read, encoded.flatten(0, 1)).unflatten(0, shape)
            found.append(outputs)
        return encoded, found
