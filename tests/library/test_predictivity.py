"""Linear predictivity against least squares, the penalty's gradient against autograd, and the known traps."""

import numpy as np
import pytest
import torch

from insd.measures.predictivity import linear_predictivity
from insd.objectives.predictivity import deflation_penalty
from insd.predictivity import leading_components, null_projector, principal_components

SAMPLES, UNITS, OUTPUTS = 300, 12, 2


@pytest.fixture
def random():
    return np.random.default_rng(0)


def least_squares_r2(predictor, target):
    predictor, target = predictor - predictor.mean(0), target - target.mean(0)
    weights = np.linalg.lstsq(predictor, target, rcond=None)[0]
    return 1 - np.square(predictor @ weights - target).sum() / np.square(target).sum()


def plain_penalty(rates, output_weights, earlier_activities, ridge):
    """S by its definition, with projectors on samples, for one network."""
    projector = torch.eye(rates.shape[1], dtype=rates.dtype) - torch.linalg.pinv(output_weights) @ output_weights
    x = (rates - rates.mean(0)) @ projector
    gram = x.T @ x
    rho = ridge * gram.trace() / len(gram)
    hat = x @ torch.linalg.inv(gram + rho * torch.eye(len(gram), dtype=gram.dtype)) @ x.T
    values = []
    for earlier in earlier_activities:
        y = earlier - earlier.mean(0)
        values.append((y * (hat @ y)).sum() / y.square().sum())
    return torch.stack(values)


def penalty_arguments(dtype=torch.float64, networks=2):
    rates = torch.randn(networks, SAMPLES, UNITS, dtype=dtype, requires_grad=True)
    weights = torch.randn(networks, OUTPUTS, UNITS, dtype=dtype, requires_grad=True)
    earlier = torch.randn(networks, SAMPLES, 5, dtype=dtype) + 3.0
    earlier[..., :2] += rates.detach()[..., :2] * 2
    membership = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1]])
    return rates, weights, earlier, membership


def test_r2_equals_least_squares(random):
    predictor = random.standard_normal((SAMPLES, 6)) + 5
    target = predictor[:, :4] @ random.standard_normal((4, 5)) + random.standard_normal((SAMPLES, 5)) - 2
    assert linear_predictivity(predictor, target) == pytest.approx(least_squares_r2(predictor, target), abs=1e-10)


def test_r2_of_rank_deficient_activity(random):
    predictor = random.standard_normal((SAMPLES, 3)) @ random.standard_normal((3, 8))
    target = random.standard_normal((SAMPLES, 4)) + predictor[:, :4]
    assert linear_predictivity(predictor, target) == pytest.approx(least_squares_r2(predictor, target), abs=1e-8)
    assert np.isnan(linear_predictivity(target, np.ones((SAMPLES, 2))))


@pytest.mark.parametrize("ridge", [1e-6, 1e-3, 0.3])
def test_penalty_equals_its_definition(ridge):
    rates, weights, earlier, membership = penalty_arguments()
    ours = deflation_penalty(rates, weights, earlier, membership, ridge)
    for network in range(2):
        parts = [earlier[network, :, :3], earlier[network, :, 3:]]
        plain = plain_penalty(rates[network], weights[network], parts, ridge)
        torch.testing.assert_close(ours[network], plain, atol=1e-10, rtol=0)


def test_penalty_gradient_equals_autograd_of_its_definition():
    rates, weights, earlier, membership = penalty_arguments()
    factors = torch.tensor([[0.3, 2.0], [1.0, 0.5]], dtype=torch.float64)
    ours = torch.autograd.grad(
        (deflation_penalty(rates, weights, earlier, membership, 1e-2) * factors).sum(), (rates, weights)
    )
    plain = sum(
        (plain_penalty(rates[n], weights[n], [earlier[n, :, :3], earlier[n, :, 3:]], 1e-2) * factors[n]).sum()
        for n in range(2)
    )
    for one, other in zip(ours, torch.autograd.grad(plain, (rates, weights)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-7)


def test_penalty_gradcheck():
    rates, weights, earlier, membership = penalty_arguments(networks=1)
    few = rates[:, :20].detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r, w: deflation_penalty(r, w, earlier[:, :20], membership, 1e-2), (few, weights)
    )


def test_penalty_of_rank_deficient_rates_has_a_finite_gradient():
    rates, weights, earlier, membership = penalty_arguments(torch.float32, networks=1)
    flat = (rates.detach()[..., :2] @ torch.randn(2, UNITS)).requires_grad_()
    deflation_penalty(flat, weights, earlier, membership, 1e-3).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_without_ridge_the_penalty_is_r2_in_null_space():
    rates, weights, earlier, membership = penalty_arguments(networks=1)
    penalty = deflation_penalty(rates, weights, earlier, membership, 1e-12)[0]
    null = (rates[0] @ null_projector(weights[0])).detach().numpy()
    assert penalty[0].item() == pytest.approx(least_squares_r2(null, earlier[0, :, :3].numpy()), abs=1e-8)
    assert linear_predictivity(null, earlier[0, :, 3:].numpy()) == pytest.approx(penalty[1].item(), abs=1e-8)


def test_null_projector():
    weights = torch.randn(3, OUTPUTS, UNITS)
    projector = null_projector(weights)
    torch.testing.assert_close(projector @ projector, projector)
    torch.testing.assert_close(projector @ weights.double().mT, torch.zeros(3, UNITS, OUTPUTS, dtype=torch.float64))
    assert torch.linalg.matrix_rank(projector).tolist() == [UNITS - OUTPUTS] * 3


def test_padding_with_zero_components_changes_nothing():
    rates, weights, earlier, membership = penalty_arguments()
    padded = torch.cat([earlier, torch.zeros(2, SAMPLES, 2, dtype=torch.float64)], -1)
    wider = torch.cat([membership, torch.tensor([[0.0, 1], [1, 0]])])
    torch.testing.assert_close(
        deflation_penalty(rates, weights, padded, wider), deflation_penalty(rates, weights, earlier, membership)
    )


def test_principal_components_change_the_penalty_by_less_than_the_variance_left_out(random):
    activity = random.standard_normal((40, 10, 8)) * np.geomspace(1, 1e-3, 8) + 1
    components, share = principal_components(activity, 0.99)
    assert components.shape[-1] < 8
    assert 0.99 <= share <= 1
    rates, weights, _, _ = penalty_arguments(networks=1)
    rates = torch.randn(1, 400, UNITS, dtype=torch.float64)
    rates[..., :3] += torch.from_numpy(activity.reshape(400, 8)[:, :3])

    def penalty(earlier):
        flat = torch.from_numpy(earlier.reshape(1, 400, -1))
        return deflation_penalty(rates, weights, flat, torch.ones(flat.shape[-1], 1)).item()

    assert abs(penalty(components) - penalty(activity)) <= 1 - share + 1e-9


def test_all_components_hold_all_variance():
    """Also where rounding leaves the sum of the shares just below 1."""
    for seed in range(20):
        activity = np.random.default_rng(seed).standard_normal((10, 5, 8))
        components, share = principal_components(activity, 1.0)
        assert components.shape == activity.shape and share == pytest.approx(1)


def test_components_of_activity_that_does_not_vary_are_refused():
    with pytest.raises(ValueError, match="does not vary"):
        principal_components(np.ones((5, 4, 3)), 0.99)


# Traps of docs/science.md -----------------------------------------------------------------------------------


def test_trap_scale():
    """Shrinking all rates must not lower the penalty."""
    rates, weights, earlier, membership = penalty_arguments()
    full = deflation_penalty(rates, weights, earlier, membership, 1e-3)
    shrunk = deflation_penalty(0.01 * rates, weights, earlier, membership, 1e-3)
    torch.testing.assert_close(full, shrunk, atol=1e-3, rtol=0)


def test_trap_chance(random):
    """Independent activity is predicted by about units / samples."""
    values = [
        linear_predictivity(random.standard_normal((2000, 50)), random.standard_normal((2000, 30))) for _ in range(5)
    ]
    assert np.mean(values) == pytest.approx(50 / 2000, rel=0.15)


def test_trap_direction(random):
    """Keeping the earlier code and adding dimensions fools CKA and the other direction, not new -> old."""
    earlier = random.standard_normal((1000, 5))
    noise = 20 * random.standard_normal((1000, 40))
    new = np.hstack([earlier, noise])
    assert linear_predictivity(new, earlier) == pytest.approx(1.0, abs=1e-9)
    assert linear_predictivity(earlier, new) < 0.1
    x, y = new - new.mean(0), earlier - earlier.mean(0)
    cka = np.square(x.T @ y).sum() / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert cka < 0.1


def test_leading_components():
    random = np.random.default_rng(0)
    scales = np.array([0.1, 3.0, 1.0, 0.5, 0.01])
    rates = random.standard_normal((200, 50, 5)) * scales + 7
    mean, axes, shares = leading_components(rates)
    np.testing.assert_allclose(mean, 7, atol=0.1)
    np.testing.assert_allclose(np.abs(axes), np.eye(5)[:, [1, 2, 3]], atol=0.05)
    assert (axes[[1, 2, 3], [0, 1, 2]] > 0).all()
    np.testing.assert_allclose(shares, scales[[1, 2, 3]] ** 2 / np.square(scales).sum(), rtol=0.05)


def test_leading_components_are_orthonormal_and_of_falling_variance():
    rates = np.random.default_rng(0).standard_normal((20, 5, 6)) * np.arange(1, 7)
    mean, axes, shares = leading_components(rates)
    assert np.allclose(axes.T @ axes, np.eye(3))
    assert list(shares) == sorted(shares, reverse=True)
    variances = ((rates - mean) @ axes).reshape(-1, 3).var(0)
    assert np.allclose(shares, variances / rates.reshape(-1, 6).var(0).sum())
    assert np.abs(leading_components(-rates)[1]) == pytest.approx(np.abs(axes))
    assert leading_components(rates[..., :2])[1].shape == (2, 3)
    assert leading_components(rates[..., :1])[1].tolist() == [[1, 0, 0]]
