"""The penalty's kernels for a GPU, on the CPU in Triton's interpreter: the values and gradients of PyTorch's."""

import math

import pytest
import torch

pytest.importorskip("triton")

from insd.objectives import moved, predictivity
from insd.objectives.predictivity import deflation_penalty
from insd.objectives.schedules import SMOOTHING, make_schedule
from insd.objectives.settings.base import TermSettings

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("units, outputs, padded", [(21, 3, False), (16, 1, True), (9, 8, False)])
def test_value_and_gradients_equal_those_of_pytorch(monkeypatch, units, outputs, padded):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(2, *shape, dtype=torch.float64, generator=generator)

    rates, readout = draw(160, units) + 0.3, draw(outputs, units)
    # Two earlier networks, which are partly combinations of the rates, and of which one has a component of zeros.
    earlier = rates @ draw(units, 7) + draw(160, 7)
    earlier[..., 3] = 0
    membership = torch.block_diag(torch.ones(4, 1), torch.ones(3, 1))
    valid = (torch.arange(160) < torch.tensor([[120], [150]])).double() if padded else None
    found = []
    for kernels in (True, False):
        monkeypatch.setattr(predictivity, "_kernels_for", lambda *_, chosen=kernels: chosen)
        device, kind = (DEVICE, torch.float32) if kernels else ("cpu", torch.float64)
        there = [values.to(device, kind).requires_grad_() for values in (rates, readout)]
        counts = valid.to(device, kind) if padded else None
        value = deflation_penalty(*there, earlier.to(device, kind), membership.to(device, kind), 1e-3, counts)
        weighed = value * torch.tensor([0.3, 2.0], dtype=torch.float64, device=device)
        found.append([value, *torch.autograd.grad(weighed.sum(), there)])
    for ours, expected in zip(*found, strict=True):
        difference = (ours.detach().double().cpu() - expected.detach()).abs().max()
        assert float(difference) <= 2e-5 * float(expected.detach().abs().max())


def test_a_readout_of_dependent_rows_gives_no_number(monkeypatch):
    monkeypatch.setattr(predictivity, "_kernels_for", lambda *_: True)
    rates, earlier = torch.randn(1, 64, 8, device=DEVICE), torch.randn(1, 64, 2, device=DEVICE)
    readout = torch.ones(1, 2, 8, device=DEVICE)
    value = deflation_penalty(rates, readout, earlier, torch.ones(2, 1, device=DEVICE))
    assert not value.isfinite().any()


def test_the_kernel_of_the_constrained_schedule_moves_as_the_schedule_does():
    settings = TermSettings(schedule="constrained", task_only=0.0, multiplier=0.5, bound=0.1, multiplier_max=4.0)
    generator = torch.Generator().manual_seed(0)
    schedule, other = (make_schedule(settings, 0.2, networks=5, earlier=3) for _ in range(2))
    for iteration in range(60):
        loss = 0.4 * torch.rand(5, generator=generator)
        value = 0.3 * torch.rand(5, 3, dtype=torch.float64, generator=generator)
        share = torch.tensor(float(iteration > 5), device=DEVICE)
        finishing = torch.tensor(float(iteration > 40), device=DEVICE)
        expected = schedule.weigh(loss, value, share.cpu(), finishing.cpu())
        state = [part.to(DEVICE) for part in (other.logarithms, other.loss)]
        found = moved.move(
            *(*state, loss.to(DEVICE), value.to(DEVICE), share, finishing),
            *(SMOOTHING, 0.2, 0.1, settings.multiplier_rate, (math.log(other.LEAST), math.log(4.0))),
        )
        other.load_state_dict({"logarithms": state[0], "loss": state[1]})
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(other.logarithms, schedule.logarithms, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other.loss, schedule.loss, rtol=1e-5, atol=1e-6)
