"""Stochastic low-rank networks: the particle filter against exact likelihoods, and noise in any basis."""

import copy
import dataclasses
import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import ROOT
from trained import oracle

from insd.dynamics.regions import all_fixed_points
from insd.dynamics.sequential_monte_carlo import (
    Encoder,
    FitSettings,
    fit,
    log_mean_weights,
    optimal_proposal,
    systematic_resampling,
)
from insd.dynamics.stochastic_low_rank import StochasticLowRank, orthogonalised_noise, without_noise


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def model_of(observed, *, seed=0, scale=1.0, **kind):
    """A model in double precision with nothing at a special value."""
    model = StochasticLowRank(observations=observed, generator=generator(seed), **kind)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(normal(*parameter.shape, seed=100 + number), alpha=0.2 * scale)
    return model


def covariance(factor):
    return (factor @ factor.T).detach().numpy()


@pytest.mark.parametrize("kind", [{"readout": "currents"}, {"readout": "affine", "nonlinearity": "clipped_relu"}])
def test_with_the_optimal_proposal_weights_do_not_depend_on_what_is_drawn(kind):
    observed, inputs = normal(4, 2, 6), normal(4, 2, 3, seed=1)
    model = model_of(observed, rank=2, units=6, inputs=3, **kind)
    # All particles begin from the same distribution: each weight of the first step is the mean of one particle.
    single = [log_mean_weights(model, observed, inputs, 1, generator=generator(seed))[0] for seed in range(5)]
    offsets = model.offsets(model.input_currents(inputs)).detach().numpy()
    readout, noise = model.readout.detach().numpy(), np.diag(np.exp(2 * model.log_noise.detach().numpy()))
    spread = readout @ covariance(model.factors()[0]) @ readout.T + noise
    mean = readout @ model.initial_mean.detach().numpy() + offsets[:, 0]
    expected = [
        scipy.stats.multivariate_normal(m, spread).logpdf(y[0]) for m, y in zip(mean, observed.numpy(), strict=True)
    ]
    for found in single:
        np.testing.assert_allclose(found[:, 0].detach(), expected, rtol=0, atol=1e-10)
    assert (single[0] - single[1])[:, 1].abs().max() > 1e-3


def test_later_weights_are_those_of_the_transition():
    """Without noise in the first step, all particles are in one place, and the weight of the second has a closed
    form."""
    observed, inputs = normal(4, 2, 6), normal(4, 2, 3, seed=1)
    model = model_of(observed, rank=2, units=6, inputs=3)
    with torch.no_grad():
        model.initial_factor.copy_(torch.diag(torch.full((2,), -18.0)))
        found = log_mean_weights(model, observed, inputs, 3, generator=generator())[0].numpy()
        decay = math.exp(-math.exp(model.log_log_decay.item()))
        left, right, start = (
            one.detach().numpy() for one in (model.left_vectors, model.right_vectors, model.initial_mean)
        )
        # v_1 = 0, v_2 = (1 - a) u_1.
        rates = np.maximum(left @ start - model.thresholds.numpy(), 0)
        latent = decay * start + right.T @ rates
        driven = (1 - decay) * inputs[:, 0].numpy() @ model.input_weights.numpy().T
    spread = left @ covariance(model.factors()[1]) @ left.T + np.diag(np.exp(2 * model.log_noise.detach().numpy()))
    for trial in range(4):
        mean = left @ latent + driven[trial] + model.bias.detach().numpy()
        expected = scipy.stats.multivariate_normal(mean, spread).logpdf(observed[trial, 1])
        np.testing.assert_allclose(found[trial, 1], expected, atol=1e-6)


def test_the_weight_of_any_draw_is_that_of_none():
    """log p(y|z) + log p(z|f) - log q(z) at five draws against N(y; H f + b, H Q H' + R)."""
    observed = normal(1, 1, 6)
    model = model_of(observed, rank=2, units=6)
    with torch.no_grad():
        offsets = model.offsets(model.input_currents(torch.zeros(1, 1, 0, dtype=torch.float64)))
        precision, vector = (part[0, 0].numpy() for part in optimal_proposal(model, observed, offsets))
        later, readout = covariance(model.factors()[1]), model.readout.numpy()
        noise = np.diag(np.exp(2 * model.log_noise.numpy()))
    mean = normal(2, seed=3).numpy()
    proposed = np.linalg.inv(np.linalg.inv(later) + precision)
    proposal = scipy.stats.multivariate_normal(proposed @ (np.linalg.solve(later, mean) + vector), proposed)
    bias, seen = model.bias.detach().numpy(), observed[0, 0].numpy()
    expected = scipy.stats.multivariate_normal(readout @ mean + bias, readout @ later @ readout.T + noise).logpdf(seen)
    for drawn in proposal.rvs(5, random_state=0):
        weight = (
            scipy.stats.multivariate_normal(readout @ drawn + bias, noise).logpdf(seen)
            + scipy.stats.multivariate_normal(mean, later).logpdf(drawn)
            - proposal.logpdf(drawn)
        )
        np.testing.assert_allclose(weight, expected, atol=1e-6)


def unbiased(found, exact):
    """Whether exp of estimates of a log-likelihood has the mean exp of the exact one, within 3 standard errors."""
    ratio = np.exp(found - exact)
    error = ratio.std(ddof=1) / math.sqrt(len(ratio))
    assert error < 0.1
    np.testing.assert_allclose(ratio.mean(), 1, rtol=0, atol=3 * error)


def test_a_linear_network_has_the_likelihood_of_a_kalman_filter():
    statespace = oracle("statsmodels.tsa.statespace.kalman_filter")
    steps, repeats, observed = 12, 40, normal(1, 12, 5)
    model = model_of(observed, rank=2, units=5, inputs=1, nonlinearity="identity", scale=0.5)
    inputs = normal(1, steps, 1, seed=1)
    with torch.no_grad():
        found = log_mean_weights(
            model, observed.repeat(repeats, 1, 1), inputs.repeat(repeats, 1, 1), 1000, generator=generator()
        )[0].sum(1)
        currents, decay = model.input_currents(inputs), model.decay
        offsets = model.offsets(currents)[0].numpy()
        transition = (decay * torch.eye(2) + model.right_vectors.T @ model.left_vectors).numpy()
        driven = (currents[0] @ model.right_vectors).numpy()
    kalman = statespace.KalmanFilter(5, 2)
    kalman.bind(observed[0].numpy().copy())
    kalman["design"], kalman["transition"] = model.readout.detach().numpy(), transition
    kalman["obs_cov"] = np.diag(np.exp(2 * model.log_noise.detach().numpy()))
    kalman["selection"], kalman["state_cov"] = np.eye(2), covariance(model.factors()[1])
    kalman["obs_intercept"] = offsets.T.copy()
    kalman["state_intercept"] = driven.T.copy()
    kalman.initialize_known(model.initial_mean.detach().numpy(), covariance(model.factors()[0]))
    unbiased(found.numpy(), float(kalman.loglike()))


def likelihood_on_a_grid(model, counts, currents):
    """Log-likelihood of a rank-one network with Poisson observations, by quadrature over z."""
    grid = np.linspace(-6, 6, 1201)
    left, right, bias, thresholds = (
        one.detach().numpy() for one in (model.left_vectors, model.right_vectors, model.bias, model.thresholds)
    )
    first, later = (factor.item() for factor in model.factors())
    density = scipy.stats.norm(model.initial_mean.item(), first).pdf(grid)
    total = 0.0
    for time, seen in enumerate(counts):
        if time:
            rates = np.maximum(grid[:, None] * left[:, 0] + currents[time - 1] - thresholds, 0)
            mean = model.decay.item() * grid + rates @ right[:, 0]
            density = (scipy.stats.norm(mean[:, None], later).pdf(grid) * density[:, None]).sum(0) * (grid[1] - grid[0])
        means = grid[:, None] * left[:, 0] + currents[time] + bias
        density = density * np.exp(scipy.stats.poisson(np.logaddexp(0, means)).logpmf(seen).sum(1))
        step = density.sum() * (grid[1] - grid[0])
        total, density = total + math.log(step), density / step
    return total


@pytest.mark.parametrize("encoded", [False, True])
def test_counts_have_the_likelihood_of_quadrature(encoded):
    counts = torch.poisson(torch.full((1, 6, 4), 1.5, dtype=torch.float64), generator=generator())
    inputs = normal(1, 6, 2, seed=1)
    model = model_of(counts, rank=1, units=4, inputs=2, observation="poisson")
    torch.manual_seed(0)
    encoder = Encoder(4, 1, reach=1).double() if encoded else None
    with torch.no_grad():
        model.noise_factor.fill_(math.log(0.5))
        currents = model.input_currents(inputs)[0].numpy()
        found = log_mean_weights(
            model, counts.repeat(40, 1, 1), inputs.repeat(40, 1, 1), 1000, encoder, generator=generator()
        )[0].sum(1)
        exact = likelihood_on_a_grid(model, counts[0].numpy(), currents)
    unbiased(found.numpy(), exact)


def test_thousands_of_counts_a_step_can_be_encoded():
    counts = torch.poisson(torch.full((2, 6, 8), 5000.0), generator=generator())
    torch.manual_seed(0)
    precision, vector = Encoder(8, 2)(counts)
    assert float(precision.detach().diagonal(dim1=-2, dim2=-1).min()) > 1e-9 and float(precision.detach().max()) < 1e9
    assert bool(vector.isfinite().all())


def test_systematic_resampling_counts():
    weights = torch.rand(50, 7, generator=generator(), dtype=torch.float64)
    weights /= weights.sum(1, keepdim=True)
    log_weights = weights.log() + 3
    each = torch.stack([systematic_resampling(log_weights, torch.full((50,), (i + 0.5) / 400)) for i in range(400)])
    counts = torch.nn.functional.one_hot(each, 7).sum(2)
    assert bool(((counts - 7 * weights).abs() < 1).all())
    np.testing.assert_allclose(counts.double().mean(0), 7 * weights, atol=0.005)
    only = torch.tensor([[0.0, -math.inf, -math.inf]])
    assert systematic_resampling(only, torch.tensor([0.99])).tolist() == [[0, 0, 0]]


def test_padding_changes_nothing():
    observed, inputs = normal(3, 8, 5), normal(3, 8, 1, seed=1)
    model = model_of(observed, rank=2, units=5, inputs=1)
    padded = observed.clone()
    padded[:, 5:] = torch.nan
    found, lasts = log_mean_weights(model, padded, inputs, 8, generator=generator())
    whole, _ = log_mean_weights(model, observed, inputs, 8, generator=generator())
    assert lasts.sum() == 15
    assert torch.equal(found[:, :5], whole[:, :5]) and not found[:, 5:].any()
    found.sum().backward()
    assert all(bool(one.grad.isfinite().all()) for one in model.parameters())


def test_noise_is_the_same_in_any_basis_of_the_latents():
    left, right, change = normal(9, 3).numpy(), normal(9, 3, seed=1).numpy(), normal(3, 3, seed=2).numpy()
    noise = np.cov(normal(3, 20, seed=3).numpy())
    found = orthogonalised_noise(left, right, noise)
    other = orthogonalised_noise(left @ np.linalg.inv(change), right @ change.T, change @ noise @ change.T)
    np.testing.assert_allclose(found, other, atol=1e-10)
    assert abs(noise - change @ noise @ change.T).max() > 0.1
    # The variance of all currents together is that along the axes.
    np.testing.assert_allclose(np.linalg.eigvalsh(found), np.linalg.eigvalsh(left @ noise @ left.T)[-3:], atol=1e-10)


@pytest.mark.parametrize("observation", ["gaussian", "poisson"])
def test_fitting_raises_the_bound_of_held_out_trials(observation):
    teacher = model_of(
        normal(2, 2, 8).abs().round(), rank=2, units=8, nonlinearity="clipped_relu", observation=observation
    )
    teacher = teacher.float()
    silent = torch.zeros(30, 20, 0)
    trials = teacher.generate(silent, generator())[1]
    model = StochasticLowRank(*(2, 8, trials[:20], 0, "clipped_relu", observation), generator=generator(1))
    before, unfitted = held_out(model, trials[20:]), copy.deepcopy(model.state_dict())
    settings = FitSettings(epochs=6, batch=10, particles=16, step_size=0.02, last_step_size=0.005)
    torch.manual_seed(0)
    encoder = Encoder(8, 2) if observation == "poisson" else None
    history = fit(model, trials[:20], silent[:20], settings, 0, encoder)
    assert len(history) == 6 and history[-2:].mean() > history[:2].mean()
    assert held_out(model, trials[20:]) > before
    model.load_state_dict(unfitted)
    if encoder is None:
        again = fit(model, trials[:20], silent[:20], dataclasses.replace(settings, epochs=1), 0)
        assert torch.equal(again, history[:1])


def test_planted_noise_is_found_where_all_else_is_known():
    """Both standard deviations, from a quarter and from three times their values."""
    model = StochasticLowRank(2, 12, torch.zeros(2, 1, 12), nonlinearity="clipped_relu", generator=generator())
    turned = torch.tensor([[0.3, -0.9], [0.9, 0.3]])
    with torch.no_grad():
        model.left_vectors.copy_(torch.linalg.qr(normal(12, 2).float())[0])
        model.right_vectors.copy_(0.5 * model.left_vectors @ turned.T)
        model.noise_factor.copy_(math.log(0.2) * torch.eye(2))
        model.log_noise.fill_(math.log(0.1))
        silent = torch.zeros(60, 20, 0)
        trials = model.generate(silent, generator())[1]
        model.noise_factor.copy_(math.log(0.05) * torch.eye(2))
        model.log_noise.fill_(math.log(0.3))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in {"noise_factor", "log_noise"})
    settings = FitSettings(epochs=40, batch=30, particles=8, step_size=0.5, last_step_size=0.1)
    fit(model, trials, silent, settings, 0)
    with torch.no_grad():
        parts = model.left_vectors.numpy(), model.right_vectors.numpy(), model.noise().numpy()
        found = np.sqrt(np.linalg.eigvalsh(orthogonalised_noise(*parts)))
        np.testing.assert_allclose(found, 0.2, rtol=0.2)
        np.testing.assert_allclose(model.log_noise.exp(), 0.1, rtol=0.1)


def held_out(model, trials):
    with torch.no_grad():
        found, lasts = log_mean_weights(model, trials, torch.zeros(*trials.shape[:2], 0), 64, generator=generator())
    return float(found.sum() / lasts.sum())


def test_without_noise_it_is_a_rate_network():
    model = model_of(normal(2, 2, 6), rank=2, units=6, inputs=3)
    inputs = normal(4, 9, 3, seed=1)
    network = without_noise(model)
    with torch.no_grad():
        states = network.simulate(inputs.transpose(0, 1)[None], states=True)[1][0]
        latents, currents = model.initial_mean.expand(4, 1, -1), model.input_currents(inputs)
        for time in range(1, 9):
            latents = model.step(latents, currents[:, time - 1])
            expected = latents[:, 0] @ model.left_vectors.T + currents[:, time] - model.thresholds
            np.testing.assert_allclose(states[time - 1], expected, atol=1e-12)
        vectors, driven = (model.left_vectors.numpy(), model.right_vectors.numpy()), model.input_weights.sum(1)
        points = all_fixed_points(*vectors, model.thresholds.numpy(), model.decay.item(), driven.numpy()).latents
        assert len(points)
        at = torch.from_numpy(points) @ model.left_vectors.T + driven - model.thresholds
        force = network.force(at[None], torch.ones(1, len(at), 3, dtype=torch.float64))
    assert force.abs().max() < 1e-10
    with pytest.raises(ValueError, match="identity"):
        without_noise(model_of(normal(2, 2, 6), rank=2, units=6, nonlinearity="identity"))


def test_what_cannot_be_observed():
    with pytest.raises(ValueError, match="readout affine"):
        StochasticLowRank(2, 5, normal(3, 4, 6))
    with pytest.raises(ValueError, match="counts"):
        StochasticLowRank(2, 6, normal(3, 4, 6), observation="poisson")


def test_the_lines_of_the_page():
    page = (ROOT / "docs/low-rank-fits.md").read_text()
    files, *blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "observations, inputs = " in files
    shorter = {"epochs=20,": "epochs=1,", "particles=64": "particles=4", "(1, 2, 3)": "(1, 2)"}
    code = "\n".join(blocks)
    for long, short in shorter.items():
        assert long in code
        code = code.replace(long, short)
    names = {"torch": torch, "observations": normal(54, 6, 5).float(), "inputs": normal(54, 6, 2, seed=1).float()}
    exec(code, names)
    assert all(map(math.isfinite, names["bounds"].values())) and 0 <= names["distance"] <= 1
    assert names["points"].regions == 1 + 64 + math.comb(64, 2)
