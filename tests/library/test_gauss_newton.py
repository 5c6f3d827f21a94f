"""Products with the Gauss-Newton matrix, and what is solved with them, against that of a small network itself."""

import numpy as np
import pytest
import torch

from insd.gauss_newton import GaussNewton, set_weights, weights_of
from insd.networks.base import Networks, initialise
from insd.networks.settings.base import network_settings
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(channels=1, duration=0.2)
ARCHITECTURES = {"rate": {"units": 4}, "gru": {"units": 3}, "low_rank": {"units": 4, "rank": 1}}


def small(architecture, trials=2):
    """A network in double precision, and inputs, targets and mask for it."""
    settings = network_settings({"architecture": architecture, **ARCHITECTURES[architecture]})
    networks = initialise(settings, 1, 1, 0.2, [torch.Generator().manual_seed(1)]).double()
    bank = TASK.sample("train", trials, 0)
    of = (torch.from_numpy(bank[name].values).double().transpose(0, 1) for name in ("inputs", "targets", "mask"))
    return networks, *of


def matrix(networks: Networks, inputs, curvature):
    """``J^T H J`` by central differences of the outputs in each weight, of the network as analyses run it."""
    at = weights_of(networks)
    columns = []
    for place in np.eye(len(at)):
        ends = []
        for sign in (1, -1):
            set_weights(networks, at + sign * 1e-5 * place)
            with torch.no_grad():
                ends.append(networks.outputs(inputs[None])[0].numpy().ravel())
        columns.append((ends[0] - ends[1]) / 2e-5)
    set_weights(networks, at)
    jacobian = np.stack(columns, 1)
    return jacobian.T @ curvature @ jacobian


def squared(targets, mask):
    return lambda outputs: TASK.loss(outputs, targets, mask, 0.5)[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_products_are_those_with_the_explicit_matrix(architecture):
    networks, inputs, targets, mask = small(architecture)
    weighed = 2 * mask.numpy().ravel() / (mask.sum().item() * 0.5)
    explicit = matrix(networks, inputs, np.diag(weighed))
    system = GaussNewton(networks, inputs[None], squared(targets, mask))
    found = np.stack([system.product(place) for place in np.eye(system.size)], 1)
    np.testing.assert_allclose(found, explicit, atol=1e-7 * np.abs(explicit).max())
    # The loss and its gradient, too.
    assert system.value == pytest.approx(squared(targets, mask)(networks.outputs(inputs[None])[0]).item())
    squared(targets, mask)(networks.outputs(inputs[None])[0]).backward()
    expected = np.concatenate([parameter.grad.numpy().ravel() for parameter in networks.parameters()])
    np.testing.assert_allclose(system.gradient(), expected, atol=1e-10)


def test_a_loss_of_its_own_has_its_own_curvature():
    networks, inputs, targets, _ = small("rate")
    with torch.no_grad():
        share = torch.sigmoid(networks.outputs(inputs[None])[0][0] - targets).numpy().ravel()
    explicit = matrix(networks, inputs, np.diag(share * (1 - share)))
    system = GaussNewton(networks, inputs[None], lambda made: torch.nn.functional.softplus(made - targets).sum())
    found = np.stack([system.product(place) for place in np.eye(system.size)], 1)
    np.testing.assert_allclose(found, explicit, atol=1e-7 * np.abs(explicit).max())


def test_the_loss_is_flat_in_weights_that_nothing_depends_on():
    networks, inputs, targets, mask = small("rate")
    expected = GaussNewton(networks, inputs[None], squared(targets, mask))
    vector = np.random.default_rng(0).standard_normal(expected.size)
    networks.register_parameter("idle", torch.nn.Parameter(torch.ones(2).double()))
    system = GaussNewton(networks, inputs[None], squared(targets, mask))
    longer = np.append(vector, [1.0, -1.0])
    np.testing.assert_array_equal(system.product(longer), np.append(expected.product(vector), [0, 0]))
    np.testing.assert_array_equal(system.hessian() @ longer, np.append(expected.hessian() @ vector, [0, 0]))
    np.testing.assert_array_equal(system.gradient(), np.append(expected.gradient(), [0, 0]))


def test_what_is_solved_is_what_numpy_finds_of_the_explicit_matrix():
    networks, inputs, targets, mask = small("rate")
    system = GaussNewton(networks, inputs[None], squared(targets, mask))
    explicit = np.stack([system.product(place) for place in np.eye(system.size)], 1)
    values, vectors = np.linalg.eigh((explicit + explicit.T) / 2)
    top, along = system.largest()
    assert top == pytest.approx(values[-1], rel=1e-2)
    assert abs(along @ vectors[:, -1]) > 0.99
    # 20 outputs of 30 weights leave a null space.
    null = vectors[:, values < 1e-12 * values[-1]]
    assert null.shape[1] >= system.size - targets.numel()
    vector = np.random.default_rng(0).standard_normal(system.size)
    # What lies in the null space stays, and what the outputs resist goes.
    assert null.T @ system.flat_part(vector, 1e-3 * top, 200) == pytest.approx(null.T @ vector, abs=1e-2)
    stiff = vectors[:, values > 0.1 * values[-1]]
    assert np.abs(stiff.T @ system.flat_part(vector, 1e-3 * top, 200)).max() < 0.02
    expected = np.linalg.solve(np.eye(system.size) + explicit / (1e-3 * top), vector)
    assert np.linalg.norm(system.flat_part(vector, 1e-3 * top, 200) - expected) < 0.01 * np.linalg.norm(expected)
    expected = -np.linalg.solve(explicit + 1e-2 * top * np.eye(system.size), system.gradient())
    assert np.linalg.norm(system.step_down(1e-2 * top, 200) - expected) < 0.05 * np.linalg.norm(expected)
