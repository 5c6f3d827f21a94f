"""The curvature of the loss against explicit matrices of small networks, by differences of outputs and gradients."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.sparse.linalg import LinearOperator, eigsh

from insd.evaluation.curvature import curvature, loss_at, spectrum
from insd.gauss_newton import as_trained, set_weights, weights_of
from insd.networks.base import initialise
from insd.networks.settings.base import network_settings
from insd.tasks.base import target_variance
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(channels=1, duration=0.3)
TRIALS = TASK.sample("test", 4, 0)
DT, ALPHA = TRIALS.attrs["dt"], 0.2


def small(architecture="rate", **settings):
    """A network with 4 units, by the contract of `network.nc`."""
    chosen = network_settings({"architecture": architecture, "units": 4, **settings})
    networks = initialise(chosen, 1, 1, ALPHA, [torch.Generator().manual_seed(3)])
    weights = networks.stored_weights(networks.weights())
    data = {name: (networks.dimensions[name], one.numpy()) for name, one in weights.items()}
    return xr.Dataset(data, attrs=networks.attributes() | {"tau": DT / ALPHA})


def outputs_at(vector, network):
    """Outputs of a rate network at weights in one vector: its equation, written out."""
    parts, start = {}, 0
    for name in ("recurrent_weights", "input_weights", "output_weights", "bias", "output_bias", "initial_state"):
        shape = network[name].shape[1:]
        parts[name] = vector[start : start + np.prod(shape)].reshape(shape)
        start += np.prod(shape)
    state, found = np.tile(parts["initial_state"], (TRIALS.sizes["trial"], 1)), []
    for inputs in TRIALS["inputs"].values.astype(float).swapaxes(0, 1):
        drive = np.tanh(state) @ parts["recurrent_weights"].T + inputs @ parts["input_weights"].T + parts["bias"]
        state = (1 - ALPHA) * state + ALPHA * drive
        found.append(np.tanh(state) @ parts["output_weights"].T + parts["output_bias"])
    return np.stack(found)


@pytest.fixture(scope="module")
def explicit():
    """A network, and its Gauss-Newton matrix by central differences of its outputs."""
    network = small()
    at = weights_of(as_trained(network, DT))
    step = 1e-5
    columns = [
        (outputs_at(at + step * place, network) - outputs_at(at - step * place, network)).ravel() / (2 * step)
        for place in np.eye(len(at))
    ]
    mask, targets = (TRIALS[name].values.swapaxes(0, 1) for name in ("mask", "targets"))
    curved = 2 * mask.ravel() / (mask.sum() * targets[mask > 0].var())
    jacobian = np.stack(columns, 1)
    return network, jacobian.T @ (curved[:, None] * jacobian)


def test_products_and_the_spectrum_are_those_of_the_explicit_gauss_newton_matrix(explicit):
    network, matrix = explicit
    operator = loss_at(network, TASK, TRIALS).operator()
    vectors = np.random.default_rng(0).standard_normal((3, len(matrix)))
    for vector in vectors:
        np.testing.assert_allclose(operator @ vector, matrix @ vector, atol=1e-7)
    expected = np.linalg.eigvalsh(matrix)[::-1]
    found = spectrum(operator, len(matrix) + 10, 0)
    top = eigsh(matrix, 6, return_eigenvectors=False)[::-1]
    np.testing.assert_allclose(found.values[:6], top, rtol=1e-6)
    assert found.counts.sum() == pytest.approx(len(matrix))
    assert found.counts @ found.values == pytest.approx(np.trace(matrix))
    assert found.participation_ratio == pytest.approx(expected.sum() ** 2 / (expected**2).sum())
    for above, below in pairwise(expected[:13]):
        threshold = np.sqrt(above * below) / expected[0]
        assert found.flat_share(threshold) == pytest.approx((expected <= threshold * expected[0]).mean()), threshold
        assert found.flat_share_error(threshold) == 0


def test_products_and_sharpness_are_those_of_the_hessian_by_differences_of_the_training_gradient(explicit):
    network, _ = explicit
    networks = as_trained(network, DT).double()
    inputs, targets, mask = (
        torch.from_numpy(TRIALS[name].values).double().transpose(0, 1) for name in ("inputs", "targets", "mask")
    )
    variance = target_variance(targets, mask)

    def gradient(vector):
        set_weights(networks, vector)
        networks.zero_grad()
        TASK.loss(networks.outputs(inputs[None])[0], targets, mask, variance).sum().backward()
        return np.concatenate([parameter.grad.numpy().ravel() for parameter in networks.parameters()])

    at = weights_of(networks)
    hessian = np.stack([(gradient(at + 1e-5 * one) - gradient(at - 1e-5 * one)) / 2e-5 for one in np.eye(len(at))])
    vector = np.random.default_rng(1).standard_normal(len(at))
    np.testing.assert_allclose(loss_at(network, TASK, TRIALS).hessian() @ vector, hessian @ vector, atol=1e-7)
    found = curvature(network, TASK, TRIALS, [1e-3], 40, 0)
    assert found["sharpness"] == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-4)


def test_few_steps_estimate_a_spectrum_that_decays():
    values = np.geomspace(1, 1e-8, 2000)
    matrix = LinearOperator((2000, 2000), matvec=lambda vector: values * vector.ravel(), dtype=float)
    found = spectrum(matrix, 150, 0)
    assert found.values[0] == pytest.approx(1, rel=1e-9)
    assert found.counts @ found.values == pytest.approx(values.sum(), rel=0.02)
    assert found.participation_ratio == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=0.03)
    for threshold, largest_error in ((1e-1, 0.01), (1e-2, 0.03), (1e-3, 0.1), (1e-4, 1.0), (1e-7, 1.0)):
        share, error = (values <= threshold).mean(), found.flat_share_error(threshold)
        assert error < largest_error
        # The density that the quadrature is of depends on the draw of the signs.
        assert found.flat_share(threshold) == pytest.approx(share, abs=error + 2 * np.sqrt(share * (1 - share) / 2000))


@pytest.mark.parametrize("architecture, own, size", [("low_rank", {"rank": 1}, 8 + 4 + 4 + 4 + 1 + 4), ("gru", {}, 85)])
def test_other_architectures_curve_in_their_own_weights(architecture, own, size):
    network = small(architecture, **own)
    matrix = loss_at(network, TASK, TRIALS).operator()
    assert matrix.shape == (size, size)
    one, other = np.random.default_rng(0).standard_normal((2, size))
    assert one @ (matrix @ other) == pytest.approx(other @ (matrix @ one))
    # A small step changes the outputs by J v, and so the loss of their change by v^T G v / 2.
    networks = as_trained(network, DT).double()
    inputs, targets, mask = (
        torch.from_numpy(TRIALS[name].values.swapaxes(0, 1)).double() for name in ("inputs", "targets", "mask")
    )
    with torch.no_grad():
        before, _ = networks.outputs(inputs[None])
        set_weights(networks, weights_of(networks) + 1e-5 * one)
        change = networks.outputs(inputs[None])[0] - before
        loss = TASK.loss(change, torch.zeros_like(targets), mask, target_variance(targets, mask))
    assert one @ (matrix @ one) / 2 == pytest.approx(float(loss) / 1e-10, rel=1e-3)
