"""Whether a GPU's numbers are those of the CPU in double precision: outputs, the penalty, and gradients."""

from typing import Any

import torch
from training import ALPHA, BATCH, STEPS

from insd.devices import CPU
from insd.networks.engine.bptt import simulate_outputs
from insd.objectives.predictivity import deflation_penalty


def differences(gpu: torch.device, nonlinearity: str, units: int = 100) -> tuple[float, float]:
    """Largest difference of an output and of a gradient from the CPU's in double precision, relative to the largest."""
    torch.manual_seed(0)
    gain = {"tanh": 1.0}.get(nonlinearity, 0.7)
    shapes = [(4, STEPS, BATCH, 3), (4, units, units), (4, units, 3), (4, units), (4, units), (4, 3, units), (4, 3)]
    scales = [1.0, gain / units**0.5, 1.0, 0.3, 0.3, 0.1, 0.3]
    arguments = [scale * torch.randn(shape, dtype=torch.float64) for scale, shape in zip(scales, shapes, strict=True)]
    noise, weights = 0.05 * torch.randn(4, STEPS, BATCH, units), torch.randn(4, STEPS, BATCH, 3)
    found = []
    for device, kind in ((CPU, torch.float64), (gpu, torch.float32)):
        there = [argument.to(device, kind).requires_grad_() for argument in arguments]
        outputs, _ = simulate_outputs(*there, noise.to(device, kind), ALPHA, None, None, nonlinearity)
        gradients = torch.autograd.grad((outputs * weights.to(device, kind)).sum(), there)
        found.append([one.detach().double().cpu() for one in (outputs, *gradients)])
    first, *others = (float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
    return first, max(others)


def penalty_arguments(networks: int, device: torch.device, kind: torch.dtype) -> Any:
    """Rates with a mean, readouts, components that are partly theirs, and the two networks that these belong to."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(networks, *shape, dtype=torch.float64, generator=generator)

    # As many dimensions as trained networks have, and little in all others.
    rates = (draw(STEPS // 2 * BATCH, 20) @ draw(20, 100) / 5 + 0.05 * draw(STEPS // 2 * BATCH, 100)).tanh() + 0.2
    earlier = rates @ draw(100, 36) / 10 + draw(STEPS // 2 * BATCH, 36)
    membership = torch.block_diag(torch.ones(17, 1), torch.ones(19, 1))
    found = [part.to(device, kind) for part in (rates, draw(3, 100) / 10, earlier, membership)]
    return found[0].requires_grad_(), found[1].requires_grad_(), *found[2:]


def penalty_differences(gpu: torch.device) -> tuple[float, float]:
    """As `differences`, of S and its gradients."""
    found = []
    for device, kind in ((CPU, torch.float64), (gpu, torch.float32)):
        rates, readout, *others = penalty_arguments(4, device, kind)
        value = deflation_penalty(rates, readout, *others)
        gradients = torch.autograd.grad(value.sum(), (rates, readout))
        found.append([one.detach().double().cpu() for one in (value, *gradients)])
    first, *others = (float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
    return first, max(others)
