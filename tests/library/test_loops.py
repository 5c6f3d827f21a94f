"""The compiled loops against PyTorch's in double precision, for every build that this processor can run or emulate."""

import ctypes.util
import math
import platform
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from builds import RUNNABLE

from insd.networks.engine import loops
from insd.networks.engine.bptt import simulate, simulate_outputs
from insd.networks.engine.loops import COMPILED
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.networks.engine.tangent import by_backward_passes
from insd.networks.rate import RateRNN

ALPHA = 0.2


def random_arguments(networks, times, trials, inputs, units, gain=1.2):
    def draw(scale, *shape):
        return (scale * torch.randn(*shape)).requires_grad_()

    return (
        draw(1.0, networks, times, trials, inputs),
        draw(gain / math.sqrt(units), networks, units, units),
        draw(1.0, networks, units, inputs),
        draw(0.3, networks, units),
        draw(0.5, networks, units),
        draw(0.05, networks, times, trials, units),
    )


@pytest.fixture(params=NONLINEARITIES)
def nonlinearity(request):
    return request.param


def rates_and_gradients(arguments, weights, nonlinearity):
    rates = simulate(*arguments, ALPHA, None, nonlinearity)
    wanted = [argument for argument in arguments if argument is not None]
    return [rates.detach(), *torch.autograd.grad((rates * weights.to(rates)).sum(), wanted)]


def assert_as_in_double_precision(arguments, weights, nonlinearity="tanh"):
    exact = [argument.double().detach().requires_grad_() if argument is not None else None for argument in arguments]
    for ours, double in zip(
        rates_and_gradients(arguments, weights, nonlinearity),
        rates_and_gradients(exact, weights, nonlinearity),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        assert (ours.double() - double).abs().max() <= 2e-5 * double.abs().max()


def test_it_was_built_for_this_processor():
    if not RUNNABLE or shutil.which("cc") is None or platform.system() != "Linux":
        pytest.skip("no compiler, or no processor that there is a build for")
    assert COMPILED is not None


def test_a_build_of_older_sources_says_what_to_do(tmp_path, monkeypatch):
    library = ctypes.util.find_library("m")
    if platform.system() != "Linux" or library is None:
        pytest.skip("needs a library that has no function of ours")
    path = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if library in line)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    (tmp_path / f"loops_old{suffix}").symlink_to(path)
    (tmp_path / f"loops_empty{suffix}").touch()
    # Of another Python.
    (tmp_path / "loops_other.cpython-27-x86_64-linux-gnu.so").touch()
    monkeypatch.setattr(loops, "__file__", str(tmp_path / "loops.py"))
    with pytest.raises(ImportError, match=r"loops_old.*\.so is of older sources .*; install the package again"):
        loops.load("loops_old")
    with pytest.raises(ImportError, match=r"loops_empty.*\.so is broken or of another machine .*; install the package"):
        loops.load("loops_empty")
    assert loops.load("loops_other") is None


@pytest.mark.parametrize("units", [1, 5, 16, 31, 33, 64, 100])
@pytest.mark.parametrize("trials", [1, 6, 13])
def test_rates_and_every_gradient(build, units, trials, nonlinearity):
    arguments = random_arguments(2, 11, trials, 3, units)
    assert_as_in_double_precision(arguments, torch.randn(2, 11, trials, units), nonlinearity)


@pytest.mark.parametrize("every", [None, 1, 2, 3])
@pytest.mark.parametrize("units, n_outputs", [(5, 1), (29, 3), (100, 2)])
def test_outputs_rates_and_every_gradient(build, units, n_outputs, every, nonlinearity):
    arguments = random_arguments(2, 11, 13, 3, units)
    readout = [torch.randn(2, n_outputs, units), torch.randn(2, n_outputs)]
    of_outputs, of_rates = torch.randn(2, 11, 13, n_outputs), torch.randn(2, 11, 13, units)

    def everything(dtype):
        own = [part.detach().to(dtype).requires_grad_() for part in (*arguments[:5], *readout, arguments[5])]
        outputs, rates = simulate_outputs(*own, ALPHA, every, None, nonlinearity)
        loss = (outputs * of_outputs.to(dtype)).sum()
        if every:
            loss = loss + (rates * of_rates[:, ::every].to(dtype)).sum()
        found = [outputs, *([rates] if every else [])]
        return [*(part.detach() for part in found), *torch.autograd.grad(loss, own)]

    for ours, double in zip(everything(torch.float32), everything(torch.float64), strict=True):
        assert (ours.double() - double).abs().max() <= 2e-5 * double.abs().max()


@pytest.mark.parametrize("units, n_outputs", [(1, 1), (16, 1), (29, 3), (100, 2)])
@pytest.mark.parametrize("trials", [1, 6, 13])
def test_first_order_changes_of_outputs(build, units, n_outputs, trials, nonlinearity):
    inputs, recurrent, of_inputs, bias, initial, _ = random_arguments(2, 11, trials, 3, units)
    readout = {"output_weights": torch.randn(2, n_outputs, units), "output_bias": torch.randn(2, n_outputs)}
    weights = {"recurrent_weights": recurrent, "input_weights": of_inputs, "bias": bias, "initial_state": initial}
    networks = RateRNN(weights | readout, ALPHA, 0.0, nonlinearity)
    changes = [torch.randn_like(parameter) for parameter in networks.parameters()]
    outputs, change = networks.linearised(inputs)
    found = change(changes)
    # By PyTorch's own derivatives, twice, in double precision.
    exact = networks.double().plain_outputs(inputs.double())
    expected = by_backward_passes(exact, list(networks.parameters()))([part.double() for part in changes])
    for ours, double in ((outputs, exact), (found, expected)):
        assert (ours.double() - double).abs().max() <= 2e-5 * double.abs().max()


def test_without_noise_and_with_one_step(build):
    arguments = random_arguments(1, 1, 4, 2, 20)
    assert_as_in_double_precision((*arguments[:5], None), torch.randn(1, 1, 4, 20))


def test_arrays_that_are_not_contiguous(build):
    arguments = list(random_arguments(2, 7, 5, 3, 20))
    arguments[0] = torch.randn(2, 7, 3, 5).transpose(2, 3).requires_grad_()
    arguments[5] = (0.05 * torch.randn(2, 5, 7, 20)).transpose(1, 2).requires_grad_()
    # The gradient of a sum is one number, expanded.
    assert_as_in_double_precision(arguments, torch.ones(()))


def test_saturated_rates_keep_their_sign_and_no_more_than_1(build):
    inputs = torch.tensor([-1e30, -60.0, -9.6, 0.0, 9.6, 60.0, 1e30])[None, None, :, None]
    none = torch.zeros(1, 1, 1)
    rates = simulate(inputs, none, torch.ones(1, 1, 1), none[0], none[0], None, 1.0).flatten()
    assert rates.tolist() == [-1.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1.0]


def test_what_is_not_a_number_shows(build, nonlinearity):
    arguments = [argument.detach() for argument in random_arguments(1, 5, 7, 2, 20)]
    arguments[1][0, 3, 4] = math.nan
    rates = simulate(*arguments, ALPHA, None, nonlinearity)
    assert torch.isnan(rates[0, :, :, 3]).all()
    assert torch.isfinite(rates[0, 0, :, :3]).all()


def test_an_infinite_state_is_saturated_or_an_infinite_rate(build, nonlinearity):
    arguments = [argument.detach() for argument in random_arguments(1, 1, 7, 2, 20)]
    arguments[3][0, 3] = math.inf
    most = 1.0 if nonlinearity == "tanh" else math.inf
    assert (simulate(*arguments, ALPHA, None, nonlinearity)[0, 0, :, 3] == most).all()


def test_rates_that_have_no_bound_are_exact_to_rounding(build):
    """One unit, no weights, and an input of its own per trial: the function itself."""
    states = torch.cat([torch.linspace(-100, 100, 100_001), torch.tensor([-1e30, 1e30])])
    none = torch.zeros(1, 1, 1)
    for nonlinearity in ("relu", "softplus"):
        rates = simulate(states[None, None, :, None], none, none + 1, none[0], none[0], None, 1.0, None, nonlinearity)
        exact = NONLINEARITIES[nonlinearity].rates(states.double())
        # Below the smallest normal numbers softplus is nearly zero, or zero.
        torch.testing.assert_close(rates.flatten().double(), exact, atol=1e-37, rtol=1.5e-6)


def test_noise_is_what_pytorch_draws(build):
    bits = torch.randint(-(1 << 15), 1 << 15, (1001,), dtype=torch.int16)
    noise = torch.empty(999)
    values = torch.randn(1 << 15)
    build.look_up(bits, values, noise)
    assert torch.equal(noise, values[(bits[:999].long() & 0x7FFF)])
