"""INSD's penalty by compiled code against PyTorch's in double precision, for every build of it."""

import pytest
import torch

from insd.objectives.predictivity import deflation_penalty

TIMES, TRIALS, OUTPUTS, NETWORKS = 25, 13, 2, 2


def penalty_and_gradients(dtype, rates, readout, earlier, membership, valid, factors):
    rates, readout = (part.detach().to(dtype).requires_grad_() for part in (rates, readout))
    # As a simulation gives them: every second time step of more.
    sampled = rates[:, 1::2]
    valid = None if valid is None else valid.to(dtype)
    value = deflation_penalty(sampled, readout, earlier.to(dtype), membership.to(dtype), 1e-2, valid)
    return [value, *torch.autograd.grad((value * factors).sum(), (rates, readout))]


@pytest.mark.parametrize("units, components", [(3, (1, 1)), (16, (5, 2)), (29, (20, 17)), (100, (19, 17))])
@pytest.mark.parametrize("some_end", [False, True])
def test_penalty_and_gradients(build, units, components, some_end):
    rates = torch.tanh(torch.randn(NETWORKS, 2 * TIMES + 1, TRIALS, units) + torch.randn(units))
    readout = torch.randn(NETWORKS, OUTPUTS, units)
    earlier = torch.randn(NETWORKS, TIMES, TRIALS, sum(components)) + 2
    shared = min(units, sum(components))
    earlier[..., :shared] += 2 * rates[:, 1::2, :, :shared]
    membership = torch.block_diag(*[torch.ones(count, 1) for count in components])
    valid = None
    if some_end:
        valid = (torch.arange(TIMES)[:, None] < torch.randint(15, TIMES + 1, (NETWORKS, 1, TRIALS))).float()
    arguments = rates, readout, earlier, membership, valid, torch.tensor([[0.3, 2.0], [1.0, 0.5]])
    ours, exact = (penalty_and_gradients(dtype, *arguments) for dtype in (torch.float32, torch.float64))
    for one, double in zip(ours, exact, strict=True):
        assert torch.isfinite(one).all()
        assert (one.double() - double).abs().max() <= 2e-5 * double.abs().max()


def test_samples_along_one_axis(build):
    rates, earlier = torch.randn(1, TIMES * TRIALS, 12), torch.randn(1, TIMES * TRIALS, 3)
    readout, membership = torch.randn(1, OUTPUTS, 12), torch.ones(3, 1)
    exact = deflation_penalty(rates.double(), readout.double(), earlier.double(), membership)
    for sample in (rates, rates.transpose(1, 2).contiguous().transpose(1, 2)):
        ours = deflation_penalty(sample, readout, earlier, membership)
        assert (ours - exact).abs().max() <= 1e-5 * exact.abs().max()
