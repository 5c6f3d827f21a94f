"""What an iteration is made of: the loop over time and the penalty by our kernels, and the products alone."""

from collections.abc import Callable
from typing import Any

import torch
from gpu_clock import graph
from gpu_numbers import penalty_arguments
from training import ALPHA, BATCH, NOISE, STEPS

from insd.networks.engine import bptt
from insd.networks.engine.keyed import KeyedNoise
from insd.objectives import predictivity

PENALTY_SETTINGS: tuple[dict[str, Any], ...] = (
    {"SAMPLES": 32},
    {"SAMPLES": 128},
    {"STAGES": 1},
    {"STAGES": 3},
    {"MOMENTS_WARPS": 8},
    {"TILE": 32},
)
"""Of the penalty's kernels, other than those of the library."""


def parts_of_iteration(networks: int, gpu: torch.device) -> dict[str, Callable[[], object]]:
    """Our kernels on random numbers, and the products of an iteration alone, by name."""
    torch.manual_seed(0)
    units, channels, samples = 100, 3, STEPS * BATCH

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(networks, *shape, device=gpu)

    inputs, recurrent, errors = draw(STEPS, BATCH, channels), draw(units, units) / 10, draw(STEPS, BATCH, channels)
    weights = recurrent, draw(units, channels), draw(units), draw(units)
    readout, rates, states = draw(channels, units), draw(STEPS + 1, BATCH, units).tanh_(), draw(STEPS, BATCH, units)
    noise = KeyedNoise(torch.arange(networks, device=gpu), torch.tensor(1, device=gpu), NOISE)
    found: dict[str, Callable[[], object]] = {}
    if kernels := bptt.persistent:
        draw_noise = kernels.draw_noise
        found = {
            "noise": lambda: draw_noise(noise, rates[:, 1:]),
            "forward": lambda: kernels.forward(inputs, *weights, noise, ALPHA, 0, rates),
            "forward without noise": lambda: kernels.forward(inputs, *weights, None, ALPHA, 0, rates),
            "backward": lambda: kernels.backward(errors, None, 1, rates, recurrent, readout, ALPHA, 0, states),
            "gradients of weights": lambda: kernels.weight_gradients(inputs, errors, rates, states, ALPHA),
        }
    flat, hidden = states.view(networks, samples, units), rates[:, :-1].flatten(1, 2)
    driving, wrong = inputs.flatten(1, 2), errors.flatten(1, 2)
    into = torch.empty_like(flat)

    def floor() -> None:
        torch.bmm(driving, weights[1].mT, out=into)
        torch.bmm(hidden, recurrent.mT, out=into)
        torch.bmm(hidden, readout.mT)
        torch.bmm(wrong, readout, out=into)
        torch.bmm(flat, recurrent, out=into)
        torch.bmm(flat.mT, hidden)
        torch.bmm(driving.mT, flat)
        torch.bmm(wrong.mT, hidden)

    return {**found, "floor: the products of an iteration": floor}


def penalties(networks: int, gpu: torch.device) -> dict[str, Callable[[], object]]:
    """Values and gradients of the penalty, by name; and what our kernels do one by one."""
    rates, readout, earlier, membership = penalty_arguments(networks, gpu, torch.float32)
    found: dict[str, Callable[[], object]] = {}
    if kernels := predictivity.null_space:
        detached = rates.detach().view(networks, STEPS // 2, BATCH, 100)
        stored = earlier.view(networks, STEPS // 2, BATCH, -1).transpose(1, 2).contiguous()
        chosen = torch.arange(BATCH, device=gpu).expand(networks, -1)
        samples, weights = kernels.Samples(detached, stored, chosen, None), readout.detach()
        grad = torch.ones(networks, 2, dtype=torch.float64, device=gpu)
        _, kept = kernels.penalty(samples, weights, membership, 1e-3)
        found["S, kernels"] = graph(lambda: kernels.penalty(samples, weights, membership, 1e-3))
        found["gradient of S, kernels"] = graph(
            lambda: kernels.gradients(grad, samples, weights, membership, 1e-3, kept)
        )

    def both() -> None:
        value = predictivity._Penalty.apply(rates, readout, earlier, membership, 1e-3, None)
        torch.autograd.grad(value.sum(), (rates, readout))

    return {**found, "S and gradient, PyTorch": both}
