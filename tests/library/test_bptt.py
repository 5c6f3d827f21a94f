"""The simulation against a plain NumPy Euler loop, its gradient against autograd."""

import inspect

import numpy as np
import pytest
import torch

from insd.networks.engine import bptt
from insd.networks.engine.bptt import SimulationError, Workspace, read_out, simulate, simulate_outputs
from insd.networks.engine.nonlinearity import NONLINEARITIES

NETWORKS, TIMES, TRIALS, INPUTS, UNITS, ALPHA = 2, 6, 3, 2, 5, 0.3


def random_arguments(dtype=torch.float64):
    def draw(*shape):
        return torch.randn(*shape, dtype=dtype, requires_grad=True)

    return (
        draw(NETWORKS, TIMES, TRIALS, INPUTS),
        draw(NETWORKS, UNITS, UNITS),
        draw(NETWORKS, UNITS, INPUTS),
        draw(NETWORKS, UNITS),
        draw(NETWORKS, UNITS),
        draw(NETWORKS, TIMES, TRIALS, UNITS),
    )


# PyTorch's softplus is x itself above a threshold.
FUNCTIONS = {"tanh": torch.tanh, "relu": torch.relu, "softplus": lambda x: torch.log1p(torch.exp(x))}


@pytest.fixture(params=FUNCTIONS)
def nonlinearity(request):
    return request.param


def plain_autograd(inputs, recurrent_weights, input_weights, bias, initial_state, noise, alpha, rates_of=torch.tanh):
    state = initial_state[:, None].expand(NETWORKS, TRIALS, UNITS)
    rates = []
    for t in range(inputs.shape[1]):
        drive = rates_of(state) @ recurrent_weights.mT + inputs[:, t] @ input_weights.mT + bias[:, None]
        state = (1 - alpha) * state + alpha * drive + noise[:, t]
        rates.append(rates_of(state))
    return torch.stack(rates, 1)


def test_all_nonlinearities_are_tested():
    assert set(FUNCTIONS) == set(NONLINEARITIES)


def test_rates_and_slopes_of_states(nonlinearity):
    states = torch.linspace(-40, 40, 801, dtype=torch.float64).requires_grad_()
    found, expected = NONLINEARITIES[nonlinearity], FUNCTIONS[nonlinearity](states)
    torch.testing.assert_close(found.rates(states), expected, atol=0, rtol=1e-12)
    (slopes,) = torch.autograd.grad(expected.sum(), states)
    torch.testing.assert_close(found.slopes(expected.detach()), slopes, atol=1e-15, rtol=1e-9)
    filled = torch.empty_like(slopes)
    found.fill_rates(states.detach(), filled)
    torch.testing.assert_close(filled, expected.detach(), atol=0, rtol=1e-12)
    found.fill_slopes(expected.detach(), torch.ones((), dtype=torch.float64), filled)
    torch.testing.assert_close(filled, slopes, atol=1e-15, rtol=1e-9)


def test_equals_a_numpy_euler_loop():
    inputs, recurrent, weights, bias, initial, noise = (a.detach().numpy() for a in random_arguments())
    rates = simulate(*random_arguments_from(inputs, recurrent, weights, bias, initial, noise), ALPHA).numpy()
    for network in range(NETWORKS):
        for trial in range(TRIALS):
            x = initial[network].copy()
            for t in range(TIMES):
                drive = -x + recurrent[network] @ np.tanh(x) + weights[network] @ inputs[network, t, trial]
                x = x + ALPHA * (drive + bias[network]) + noise[network, t, trial]
                np.testing.assert_allclose(rates[network, t, trial], np.tanh(x), atol=1e-12)


def random_arguments_from(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def test_gradcheck_of_every_argument(nonlinearity):
    assert torch.autograd.gradcheck(lambda *a: simulate(*a, ALPHA, None, nonlinearity), random_arguments())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_gradient_equals_plain_autograd(dtype, tolerance, nonlinearity):
    arguments = random_arguments(dtype)
    weights = torch.randn(NETWORKS, TIMES, TRIALS, UNITS, dtype=dtype)
    rates, expected = (
        simulate(*arguments, ALPHA, None, nonlinearity),
        plain_autograd(*arguments, ALPHA, FUNCTIONS[nonlinearity]),
    )
    torch.testing.assert_close(rates, expected, atol=tolerance, rtol=tolerance)
    ours, plain = (torch.autograd.grad((found * weights).sum(), arguments) for found in (rates, expected))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def test_one_step_and_no_noise():
    inputs, recurrent, weights, bias, initial, _ = random_arguments()
    rates = simulate(inputs[:, :1], recurrent, weights, bias, initial, None, ALPHA)
    silent = torch.zeros(NETWORKS, 1, TRIALS, UNITS, dtype=torch.float64)
    torch.testing.assert_close(rates, plain_autograd(inputs[:, :1], recurrent, weights, bias, initial, silent, ALPHA))


def test_networks_side_by_side_equal_each_alone():
    arguments = [a.detach() for a in random_arguments()]
    together = simulate(*arguments, ALPHA)
    for network in range(NETWORKS):
        alone = simulate(*(a[network : network + 1] for a in arguments), ALPHA)
        torch.testing.assert_close(together[network : network + 1], alone, atol=1e-14, rtol=0)


def test_shapes_are_checked():
    arguments = list(random_arguments())
    arguments[1] = arguments[1][:, :, :-1]
    with pytest.raises(Exception, match="recurrent_weights"):
        simulate(*arguments, ALPHA)


@pytest.mark.parametrize("place", range(1, 6))
def test_arrays_of_another_type_are_taken_for_what_they_are(place):
    arguments = [array.detach().float() for array in random_arguments()]
    expected = simulate(*arguments, ALPHA)
    arguments[place] = arguments[place].double().requires_grad_()
    found = simulate(*arguments, ALPHA)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    found.sum().backward()
    assert arguments[place].grad.dtype == torch.float64


@pytest.mark.parametrize("dimension", range(4))
def test_noise_that_is_too_small_is_refused(dimension):
    *arguments, noise = (array.detach().float() for array in random_arguments())
    with pytest.raises(SimulationError, match=r"noise: has the shape .* it must be \(2, 6, 3, 5\)"):
        # Past jaxtyping, which checks shapes in tests alone.
        inspect.unwrap(simulate)(*arguments, noise.narrow(dimension, 0, 1), ALPHA)


def rates_and_gradient(arguments, weights, workspace=None, nonlinearity="tanh"):
    rates = simulate(*arguments, ALPHA, workspace, nonlinearity)
    gradient = torch.autograd.grad((rates * weights).sum(), arguments)
    return [tensor.clone() for tensor in (rates.detach(), *gradient)]


def test_a_workspace_gives_what_memory_of_its_own_gives():
    workspace = Workspace()
    weights = torch.randn(NETWORKS, TIMES, TRIALS, UNITS, dtype=torch.float64)
    draws = [random_arguments() for _ in range(3)]
    # Fewer trials in between, as at the end of a set of trials: the blocks are taken anew.
    draws.insert(2, tuple(a.detach()[..., :2, :].requires_grad_() if a.ndim == 4 else a for a in draws[0]))
    for arguments in draws:
        chosen = weights[:, :, : arguments[0].shape[2]]
        for ours, own in zip(
            rates_and_gradient(arguments, chosen, workspace), rates_and_gradient(arguments, chosen), strict=True
        ):
            assert torch.equal(ours, own)


def test_a_workspace_for_networks_of_several_nonlinearities():
    workspace, arguments = Workspace(), random_arguments()
    weights = torch.randn(NETWORKS, TIMES, TRIALS, UNITS, dtype=torch.float64)
    for nonlinearity in ("tanh", "relu", "softplus", "tanh"):
        for ours, own in zip(
            rates_and_gradient(arguments, weights, workspace, nonlinearity),
            rates_and_gradient(arguments, weights, None, nonlinearity),
            strict=True,
        ):
            assert torch.equal(ours, own)


def test_a_gradient_after_the_next_simulation_is_refused():
    workspace = Workspace()
    arguments = random_arguments()
    overwritten = simulate(*arguments, ALPHA, workspace).sum()
    simulate(*random_arguments(), ALPHA, workspace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        overwritten.backward()


def test_single_precision_is_exact_to_rounding_by_pytorch(nonlinearity, monkeypatch):
    monkeypatch.setattr(bptt, "COMPILED", None)
    arguments = [a.detach() for a in random_arguments()]
    rates = simulate(*(a.float() for a in arguments), ALPHA, None, nonlinearity)
    torch.testing.assert_close(rates.double(), simulate(*arguments, ALPHA, None, nonlinearity), atol=2e-6, rtol=2e-6)


def test_single_precision_is_exact_to_rounding():
    # One unit, no weights, and an input of its own per trial: tanh(alpha u) itself.
    drive = torch.linspace(-60, 60, 100_001)
    none = torch.zeros(1, 1, 1)
    inputs = drive[None, None, :, None]
    rates = simulate(inputs, none, torch.ones(1, 1, 1), none[0], none[0], None, ALPHA).flatten()
    exact = np.tanh((drive * ALPHA).double().numpy())
    assert np.abs(rates.double().numpy() - exact).max() < 2.5e-7


def random_readout(outputs=2):
    return tuple(
        torch.randn(NETWORKS, *shape, dtype=torch.float64, requires_grad=True)
        for shape in ((outputs, UNITS), (outputs,))
    )


def test_the_readout():
    weights, bias = random_readout()
    rates = torch.randn(NETWORKS, TIMES, TRIALS, UNITS, dtype=torch.float64)
    expected = torch.einsum("ntbu,nou->ntbo", rates, weights) + bias[:, None, None]
    torch.testing.assert_close(read_out(rates, weights, bias), expected)


@pytest.mark.parametrize("every", [None, 1, 2, 4])
def test_outputs_and_rates_are_those_of_the_simulation_read_out(every):
    *dynamics, noise = random_arguments()
    readout = random_readout()
    outputs, sampled = simulate_outputs(*dynamics, *readout, noise, ALPHA, every)
    rates = simulate(*dynamics, noise, ALPHA)
    torch.testing.assert_close(outputs, read_out(rates, *readout))
    assert sampled is None if every is None else torch.equal(sampled, rates[:, ::every])


@pytest.mark.parametrize("every", [None, 1, 4])
def test_gradcheck_of_outputs_and_sampled_rates(every, nonlinearity):
    *dynamics, noise = random_arguments()

    def found(*arguments):
        outputs, rates = simulate_outputs(*arguments, ALPHA, every, None, nonlinearity)
        return outputs if rates is None else (outputs, rates)

    assert torch.autograd.gradcheck(found, (*dynamics, *random_readout(), noise))


@pytest.mark.parametrize("every", [None, 1, 2])
def test_gradients_in_a_workspace_equal_plain_autograd(every, nonlinearity):
    workspace = Workspace()
    for _ in range(2):
        *dynamics, noise = random_arguments()
        readout = random_readout()
        arguments = (*dynamics, *readout, noise)
        outputs, sampled = simulate_outputs(*arguments, ALPHA, every, workspace, nonlinearity)
        rates = plain_autograd(*dynamics, noise, ALPHA, FUNCTIONS[nonlinearity])
        loss, expected = outputs.square().sum(), read_out(rates, *readout).square().sum()
        if every:
            loss, expected = loss + sampled.square().sum(), expected + rates[:, ::every].square().sum()
        pairs = zip(torch.autograd.grad(loss, arguments), torch.autograd.grad(expected, arguments), strict=True)
        for ours, plain in pairs:
            torch.testing.assert_close(ours, plain, atol=1e-11, rtol=1e-11)


def test_a_loss_of_the_sampled_rates_alone():
    *dynamics, noise = random_arguments()
    weights = torch.randn(NETWORKS, TIMES // 2, TRIALS, UNITS, dtype=torch.float64)
    _, sampled = simulate_outputs(*dynamics, *random_readout(), noise, ALPHA, 2)
    rates = simulate(*dynamics, noise, ALPHA)
    for ours, plain in zip(
        torch.autograd.grad((sampled * weights).sum(), dynamics),
        torch.autograd.grad((rates[:, ::2] * weights).sum(), dynamics),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)
