"""The kernels for a GPU, on the CPU in Triton's interpreter: their numbers, gradients and noise."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from insd.networks import rate
from insd.networks.engine import bptt, persistent
from insd.networks.engine.bptt import Workspace, simulate, simulate_outputs
from insd.networks.engine.keyed import KeyedNoise
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.networks.low_rank import LowRankRNN
from insd.networks.rate import RateRNN
from insd.networks.settings.low_rank import LowRankSettings
from insd.networks.settings.rate import RateSettings

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NETWORKS, TIMES, TRIALS, INPUTS, OUTPUTS, UNITS, ALPHA = 2, 7, 19, 3, 2, 21, 0.3
"""Neither the times nor the trials nor the units fill what a program works on."""


@pytest.fixture
def kernels(monkeypatch):
    """Simulations in single precision by the kernels, on this device."""

    def chosen(array, *_):
        return persistent if array.dtype == torch.float32 else None

    monkeypatch.setattr(bptt, "persistent_for", chosen)
    monkeypatch.setattr(bptt, "COMPILED", None)


@pytest.fixture(params=NONLINEARITIES)
def nonlinearity(request):
    return request.param


def random_arguments(networks=NETWORKS, trials=TRIALS, units=UNITS, times=TIMES):
    """Inputs, recurrent weights, input weights, bias, initial state, output weights, output bias, noise; in double."""
    generator = np.random.default_rng(0)
    shapes = [(networks, times, trials, INPUTS), (networks, units, units), (networks, units, INPUTS)]
    shapes += [(networks, units), (networks, units), (networks, OUTPUTS, units), (networks, OUTPUTS)]
    shapes += [(networks, times, trials, units)]
    scales = [1, units**-0.5, 1, 0.3, 0.3, units**-0.5, 0.3, 0.1]
    return [torch.from_numpy(scale * generator.standard_normal(s)) for scale, s in zip(scales, shapes, strict=True)]


def in_single(arguments):
    return [argument.to(DEVICE, torch.float32).requires_grad_() for argument in arguments]


def assert_equal(found, expected, tolerance=1e-6):
    """Up to a share of the largest."""
    expected = expected.detach().double().cpu()
    assert float((found.detach().double().cpu() - expected).abs().max()) <= tolerance * float(expected.abs().max())


def test_rates_equal_a_numpy_euler_loop(kernels, nonlinearity):
    arguments = random_arguments()
    inputs, recurrent, weights, bias, initial, _, _, noise = (argument.numpy() for argument in arguments)
    *dynamics, _, _, given = in_single(arguments)
    rates = simulate(*dynamics, given, ALPHA, None, nonlinearity).detach().double().cpu().numpy()
    phi = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "softplus": lambda x: np.log1p(np.exp(x))}[nonlinearity]
    for network in range(NETWORKS):
        x = np.repeat(initial[network][None], TRIALS, 0)
        for t in range(TIMES):
            drive = phi(x) @ recurrent[network].T + inputs[network, t] @ weights[network].T + bias[network]
            x = x + ALPHA * (drive - x) + noise[network, t]
            np.testing.assert_allclose(rates[network, t], phi(x), atol=1e-6 * np.abs(phi(x)).max())


@pytest.mark.parametrize("every", [None, 1, 3])
def test_outputs_and_gradients_equal_those_of_pytorch(kernels, nonlinearity, every):
    found = []
    for arguments in (
        in_single(random_arguments()),
        [argument.requires_grad_() for argument in random_arguments()],
    ):
        outputs, sampled = simulate_outputs(*arguments, ALPHA, every, None, nonlinearity)
        loss = outputs.square().sum()
        if every:
            loss = loss + sampled.pow(3).sum()
        found.append([outputs, *([sampled] if every else []), *torch.autograd.grad(loss, arguments)])
    for ours, expected in zip(*found, strict=True):
        assert_equal(ours, expected, 5e-6)


@pytest.fixture
def streamed(kernels, monkeypatch):
    """Weights that are read in each time step, in blocks of 16 presynaptic units."""
    monkeypatch.setattr(persistent, "ON_CHIP", 0)
    monkeypatch.setattr(persistent.streamed, "FROM", 16)


@pytest.mark.parametrize("every", [None, 3])
def test_streamed_weights_give_the_same(streamed, nonlinearity, every):
    test_outputs_and_gradients_equal_those_of_pytorch(None, nonlinearity, every)


def test_streamed_weights_of_any_number_of_units_trials_and_times(streamed):
    for units, trials, times in ((16, 16, 4), (5, 1, 1), (40, 33, 9)):
        test_any_number_of_units_trials_and_times(None, units, trials, times)


def test_noise_is_the_same_with_streamed_weights(monkeypatch):
    on_chip = noise_of([11, 12])
    monkeypatch.setattr(persistent, "ON_CHIP", 0)
    assert torch.equal(noise_of([11, 12]), on_chip)


@pytest.mark.parametrize("units, trials, times", [(16, 16, 4), (5, 1, 1), (40, 33, 9)])
def test_any_number_of_units_trials_and_times(kernels, units, trials, times):
    arguments = random_arguments(1, trials, units, times)
    for given in (arguments[7], None):
        found = []
        for there in (in_single(arguments), [argument.requires_grad_() for argument in arguments]):
            rates = simulate(*there[:5], there[7] if given is not None else None, ALPHA)
            found.append([rates, *torch.autograd.grad(rates.pow(3).sum(), there[:5])])
        for ours, expected in zip(*found, strict=True):
            assert_equal(ours, expected, 5e-6)


def test_a_workspace_is_used_again(kernels):
    workspace = Workspace()
    for trials in (TRIALS, TRIALS, 3):
        arguments = random_arguments(trials=trials)
        *dynamics, weights, bias, noise = in_single(arguments)
        outputs, _ = simulate_outputs(*dynamics, weights, bias, noise, ALPHA, None, workspace)
        expected, _ = simulate_outputs(*arguments, ALPHA)
        assert_equal(outputs, expected)


def test_a_gradient_after_the_next_simulation_is_refused(kernels):
    workspace = Workspace()
    *dynamics, _, _, noise = in_single(random_arguments())
    overwritten = simulate(*dynamics, noise, ALPHA, workspace).sum()
    simulate(*dynamics, noise, ALPHA, workspace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        overwritten.backward()


def test_states_that_are_not_numbers_are_not_hidden(kernels, nonlinearity):
    arguments = random_arguments(1)
    arguments[0][0, 2, 1] = torch.nan
    rates = simulate(*in_single(arguments)[:5], None, ALPHA, None, nonlinearity)
    assert rates[0, 2:, 1].isnan().all()
    assert rates[0, :2].isfinite().all() and rates[0, :, 2:].isfinite().all()


def networks_of(architecture, noise=0.05):
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    chosen = {"units": 8, "recurrent_noise": noise}
    low_rank = architecture is LowRankRNN
    settings = LowRankSettings(rank=2, **chosen) if low_rank else RateSettings(**chosen)
    return architecture.initialise(settings, INPUTS, OUTPUTS, ALPHA, generators)


@pytest.mark.parametrize("architecture", [RateRNN, LowRankRNN])
def test_networks_draw_their_noise_inside(kernels, monkeypatch, architecture):
    monkeypatch.setattr(rate, "persistent_for", lambda *_: persistent)
    networks = networks_of(architecture).to(DEVICE)
    assert networks.capturable
    keys, inputs = torch.tensor([4, 5], device=DEVICE), torch.randn(2, TIMES, TRIALS, INPUTS, device=DEVICE)
    noise = networks.keyed_noise(keys, torch.tensor(1, device=DEVICE))
    assert noise.scale == pytest.approx((2 * ALPHA) ** 0.5 * 0.05)
    noisy, silent = (networks.outputs(inputs, one)[0] for one in (noise, None))
    assert 0 < float((noisy - silent).detach().abs().mean()) < 0.2
    for gradient in torch.autograd.grad(noisy.square().sum(), list(networks.parameters())):
        assert gradient.isfinite().all() and gradient.any()
    assert networks_of(architecture, 0.0).to(DEVICE).keyed_noise(keys, torch.tensor(1, device=DEVICE)) is None


def test_a_class_with_outputs_of_its_own_gets_noise_that_is_drawn(monkeypatch):
    monkeypatch.setattr(rate, "persistent_for", lambda *_: persistent)

    class Own(RateRNN):
        def outputs(self, *arguments, **options):
            return super().outputs(*arguments, **options)

    networks = networks_of(Own)
    assert not networks.capturable
    assert networks.keyed_noise(torch.tensor([4, 5]), torch.tensor(1)) is None


def noise_of(keys, draw=1, trials=24, units=30, times=10):
    """The noise itself: of relu units without weights and leak, whose bias keeps them positive."""
    networks = len(keys)
    zeros = [
        torch.zeros(networks, *shape, device=DEVICE)
        for shape in ((times, trials, 1), (units, units), (units, 1), (units,), (units,))
    ]
    zeros[3] += 100.0
    rates = torch.empty(networks, times + 1, trials, units, device=DEVICE)
    rates[:, 0] = 0
    keyed = KeyedNoise(torch.tensor(keys, device=DEVICE), torch.tensor(draw, device=DEVICE), 2.0)
    persistent.forward(*zeros, keyed, 1.0, NONLINEARITIES["relu"].number, rates)
    return (rates[:, 1:].double().cpu() - 100.0) / 2.0


def test_noise_is_normal():
    noise = noise_of([2**62 + 5, 3]).flatten()
    count = len(noise)
    assert abs(float(noise.mean())) < 4 / count**0.5
    assert abs(float(noise.square().mean()) - 1) < 4 * (2 / count) ** 0.5
    assert abs(float(noise.pow(4).mean()) - 3) < 4 * (96 / count) ** 0.5
    assert 3 < float(noise.abs().max()) < 6
    shares = [float((noise < quantile).double().mean()) for quantile in (-1.2816, 0.0, 1.2816)]
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.02)


def test_noise_is_independent_between_networks_draws_times_trials_and_units():
    first, second = noise_of([7, 8])
    again = noise_of([7], draw=2)[0]
    high = noise_of([7 + 2**40])[0]
    pairs = [(first, second), (first, again), (first, high)]
    pairs += [(first[:-lag], first[lag:]) for lag in (1, 2, 3, 4)]
    pairs += [(first[:, :-lag], first[:, lag:]) for lag in (1, 16)]
    pairs += [(first[..., :-1], first[..., 1:])]
    for one, other in pairs:
        correlation = np.corrcoef(one.flatten(), other.flatten())[0, 1]
        assert abs(correlation) < 4 / one.numel() ** 0.5
        assert not (one == other).any()


def test_noise_of_a_network_is_the_same_alone_and_in_a_block():
    together, alone = noise_of([11, 12, 13]), noise_of([12])
    assert torch.equal(together[1], alone[0])
    # Nor does it depend on how trials are divided into tiles.
    assert torch.equal(noise_of([12], trials=5)[0][:, :5, :30], noise_of([12])[0][:, :5])
