"""Linear networks: closed forms against numbers known in advance, Monte Carlo, simulation and INSD's penalty."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from tables import with_roles

from insd.claims import boutaib_2022
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, Evidence
from insd.dynamics import krylov
from insd.dynamics.krylov import KrylovError, closed_form_predictivity, deflated, history_gram, least_predictivity
from insd.dynamics.stochastic_linear import LinearProcess, covariance, partial_signature
from insd.measures.predictivity import linear_predictivity
from insd.networks.base import load_networks
from insd.networks.linear import LinearRNN
from insd.networks.settings.linear import LinearSettings
from insd.objectives.predictivity import deflation_penalty
from insd.predictivity import null_projector_array
from insd.tasks.path_classification import PathClassification, functionals

DRIFT, INTO = np.array([[-0.5, 1.0], [-1.0, -0.5]]), np.array([[1.0], [0.0]])
PROCESS = LinearProcess(DRIFT, INTO, 0.1 * np.eye(2), np.zeros(2))
TIMES = np.linspace(0, 1, 4001)
PATH = np.sin(2 * TIMES)[:, None]
READOUT = np.ones(2)
ERRORS = {2: 0.474, 4: 3.5e-2, 6: 1.1e-3, 8: 2.0e-5, 10: 2.3e-7, 12: 1.9e-9}
"""Of the mean by so many terms, relative."""


def test_the_mean_is_that_of_the_partial_signature():
    integrals = partial_signature(PATH, TIMES, 12)
    known = [0.909297, 0.708073, 0.272676, 0.072982, 0.015164, 0.002588]
    np.testing.assert_allclose(integrals[:6, 0], known, atol=6e-7)
    mean = PROCESS.mean(PATH, TIMES)
    np.testing.assert_allclose(mean, [0.441820, -0.436663], atol=6e-7)
    variation = np.abs(np.diff(PATH, axis=0)).sum()
    for terms, expected in ERRORS.items():
        left = PROCESS.mean_of_signature(integrals[:terms]) - mean
        assert np.linalg.norm(left) / np.linalg.norm(mean) == pytest.approx(expected, rel=0.03)
        assert abs(READOUT @ left) <= PROCESS.truncation_bound(READOUT, variation, 1.0, terms)


def test_the_probability_is_that_of_paths_with_noise():
    expected = 0.00632121 * np.eye(2)
    np.testing.assert_allclose(PROCESS.covariance(1.0), expected, atol=6e-9)
    probability = PROCESS.class_probability(READOUT, 0.0, PROCESS.mean(PATH, TIMES), 1.0)
    assert probability == pytest.approx(0.518289, abs=6e-7)

    # Euler-Maruyama with 200 steps, whose own error in the probability is .002.
    random, count, steps = np.random.default_rng(0), 100_000, 200
    states, coarse = np.zeros((count, 2), np.float32), np.sin(2 * np.linspace(0, 1, steps + 1))
    move = (np.eye(2) + DRIFT.T / steps).astype(np.float32)
    for step in range(steps):
        noise = random.standard_normal(states.shape, np.float32) * np.float32(0.1 / math.sqrt(steps))
        states = states @ move + noise
        states[:, 0] += np.float32(coarse[step + 1] - coarse[step])
    share = float((states @ READOUT.astype(np.float32) > 0).mean())
    assert abs(share - probability) < 3 * math.sqrt(probability * (1 - probability) / count)


def test_a_covariance_of_fast_and_slow_modes():
    # A rotated diagonal drift, whose covariance is known; one exponential for the whole time overflows.
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    rates, duration = np.array([-200.0, -0.1, 0.3]), 8.0
    found = rotation.T @ covariance(rotation @ np.diag(rates) @ rotation.T, np.eye(3), duration) @ rotation
    np.testing.assert_allclose(found, np.diag(np.expm1(2 * rates * duration) / (2 * rates)), rtol=1e-9, atol=1e-9)
    assert not covariance(np.zeros((2, 2)), np.zeros((2, 1)), 1.0).any()


def test_noise_trades_accuracy_for_robustness():
    levels = [0.0, 0.05, 0.2, 0.8]
    means = PROCESS.mean(PATH, TIMES) * np.array([[1.0], [-2.0], [5.0]])
    labels = np.sign(means @ READOUT)
    right, moved = [], []
    for level in levels:
        noisy = LinearProcess(DRIFT, INTO, level * np.eye(2), np.zeros(2))
        probability = noisy.class_probability(READOUT, 0.0, means, 1.0)
        right.append(np.where(labels > 0, probability, 1 - probability).mean())
        moved.append(noisy.jitter_sensitivity(READOUT, 0.0, means, 1.0))
    assert right[0] == 1.0 and not moved[0].any() and np.all(np.diff(right) < 0)
    # At the boundary sensitivity is largest, and falls as noise grows.
    assert np.all(np.diff([values[0] for values in moved[1:]]) < 0)
    # Against differences: a jitter of the path moves u m_T by a normal number.
    spread, jitter = math.sqrt(READOUT @ covariance(DRIFT, INTO, 1.0) @ READOUT), 1e-3
    up, down = (PROCESS.class_probability(READOUT, sign * jitter * spread, means, 1.0) for sign in (1, -1))
    found = PROCESS.jitter_sensitivity(READOUT, 0.0, means, 1.0)
    np.testing.assert_allclose(found, (up - down) / (2 * jitter), rtol=1e-4)


TASK = PathClassification(duration=0.4, regimes={})
TRIALS = TASK.sample("test", 24, 0)
STEPS = TRIALS.sizes["time"]
GRAM = history_gram(TRIALS)


def network(seed, units, outputs=1):
    generator = torch.Generator().manual_seed(seed)
    made = LinearRNN.initialise(LinearSettings(units=units, gain=0.9), 2, outputs, 0.2, [generator]).double()
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
    weights = {name: (made.dimensions[name][1:], values[0].numpy()) for name, values in made.weights().items()}
    return xr.Dataset(weights, attrs={"dt": TASK.dt, "tau": 0.1, **made.attributes()})


def simulated(one, inputs=TRIALS["inputs"].values):
    """Rates (trial, time, unit) and outputs of a network, step by step."""
    loaded = load_networks([one.expand_dims("seed")], one.attrs["dt"]).double()
    with torch.no_grad():
        rates = loaded(torch.from_numpy(inputs).double().transpose(0, 1)[None])
        return rates[0].transpose(0, 1).numpy(), loaded.readout(rates)[0].transpose(0, 1).numpy()


def null_rates(one):
    return simulated(one)[0] @ null_projector_array(one["output_weights"].values)


def test_a_network_follows_its_process():
    one = network(0, 5)
    one.attrs["dt"], fine = 1e-4, 4000
    velocity = np.sin(np.linspace(0, 5, fine)[:, None] + [0.0, 1.0])
    times = 1e-4 * np.arange(fine + 1)
    path = np.concatenate([np.pad((1e-4 * velocity).cumsum(0), ((1, 0), (0, 0))), times[:, None]], 1)
    mean = LinearProcess.of_network(one, 0.3).mean(path, times)
    np.testing.assert_allclose(simulated(one, velocity[None])[0][0, -1], mean, atol=2e-3)
    # After many time constants of its slowest mode, the variance of Euler's private noise is that of the process.
    relaxed = xr.zeros_like(one).assign(output_weights=one["output_weights"])
    process = LinearProcess.of_network(relaxed, 0.3)
    np.testing.assert_allclose(process.covariance(5.0), 0.3**2 * np.eye(5), atol=1e-12)


@pytest.mark.parametrize("first, second, outputs", [(6, 9, 1), (5, 5, 2)])
def test_s_of_krylov_matrices_is_the_penalty(first, second, outputs):
    one, other = network(1, first, outputs), network(2, second, outputs)
    rates, readout = (torch.from_numpy(part)[None] for part in (simulated(one)[0], one["output_weights"].values))
    target = torch.from_numpy(null_rates(other))[None]
    members = torch.ones(second, 1)
    for ridge in (1e-3, 1e-1):
        penalty = float(deflation_penalty(rates, readout, target, members, ridge))
        assert closed_form_predictivity(one, other, GRAM, STEPS, ridge) == pytest.approx(penalty, abs=1e-8)
    sparse = float(deflation_penalty(rates[:, :, ::3], readout, target[:, :, ::3], members, 1e-3))
    found = closed_form_predictivity(one, other, history_gram(TRIALS, 3), STEPS, 1e-3)
    assert found == pytest.approx(sparse, abs=1e-8)
    r2 = linear_predictivity(null_rates(one), null_rates(other))
    assert closed_form_predictivity(one, other, GRAM, STEPS, 0.0) == pytest.approx(r2, abs=1e-5)


@pytest.mark.parametrize("outputs", [1, 2])
def test_other_coordinates_deflate_as_far_as_anything_can(outputs):
    reference = network(3, 6, outputs)
    alternative = deflated(reference, GRAM, STEPS)
    np.testing.assert_array_equal(alternative["output_weights"], reference["output_weights"])
    np.testing.assert_allclose(simulated(alternative)[1], simulated(reference)[1], atol=1e-10)
    # The share of principal components, from simulated rates.
    values = np.linalg.eigvalsh(np.cov(null_rates(reference).reshape(-1, 6), rowvar=False))
    beyond = values[:-outputs].sum() / values.sum()
    assert linear_predictivity(null_rates(alternative), null_rates(reference)) == pytest.approx(beyond, abs=1e-5)
    least = least_predictivity(reference, GRAM, STEPS)
    assert least == pytest.approx(beyond, abs=1e-8)
    # No other network of the same function is below, with units that the readout does not see or without.
    for seed in range(5):
        other = same_function(reference, np.random.default_rng(seed), silent=3)
        np.testing.assert_allclose(simulated(other)[1], simulated(reference)[1], atol=1e-8)
        assert closed_form_predictivity(other, reference, GRAM, STEPS, 0.0) >= least - 1e-9


def same_function(reference, random, silent):
    """The reference with further driven units that nothing hears, in random coordinates."""
    weights, units = {name: values.values for name, values in reference.items()}, reference.sizes["unit"] + silent
    recurrent = np.zeros((units, units))
    recurrent[:-silent, :-silent] = weights["recurrent_weights"]
    recurrent[-silent:] = random.standard_normal((silent, units)) / np.sqrt(units)
    change = np.linalg.qr(random.standard_normal((units, units)))[0] * random.uniform(0.5, 2, units)
    wide = {name: np.pad(weights[name], (0, silent)) for name in ("bias", "initial_state")}
    into = np.pad(weights["input_weights"], ((0, silent), (0, 0)))
    into[-silent:] = random.standard_normal((silent, 2))
    changed = {
        "recurrent_weights": change @ recurrent @ np.linalg.inv(change),
        "input_weights": change @ into,
        "output_weights": np.pad(weights["output_weights"], ((0, 0), (0, silent))) @ np.linalg.inv(change),
        **{name: change @ values for name, values in wide.items()},
        "output_bias": weights["output_bias"],
    }
    variables = {name: (reference[name].dims, values) for name, values in changed.items()}
    return xr.Dataset(variables, attrs=reference.attrs)


def test_networks_without_a_closed_form_are_refused():
    rate = network(0, 4).assign_attrs(architecture="rate")
    with pytest.raises(KrylovError, match="'rate' has no closed form; give networks of the architecture linear"):
        krylov.krylov_matrix(rate, STEPS)
    blind = network(0, 4)
    for name in ("recurrent_weights", "input_weights", "bias", "initial_state", "output_weights"):
        blind[name] = blind[name] * 0.0
    blind["input_weights"][1:] = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    blind["output_weights"][:, 0] = 1.0
    with pytest.raises(KrylovError, match="uncorrelated"):
        deflated(blind, GRAM, STEPS)


# The task


def test_labels_are_signs_of_functionals_of_the_path():
    random = np.random.default_rng(3)
    increments = random.standard_normal((4, 7, 2))
    found = functionals(increments)
    for trial in range(4):
        points, integral, area = [np.zeros(2)], 0.0, 0.0
        for step in increments[trial]:
            points.append(points[-1] + step)
            integral += (points[-1] + points[-2])[0] / 2 / 7
            # The triangle from the start of the path.
            area += np.linalg.det(np.stack(points[-2:])) / 2
        assert found["displacement"][trial] == pytest.approx(points[-1][0])
        assert found["integral"][trial] == pytest.approx(integral)
        assert found["area"][trial] == pytest.approx(area)
    for name in found:
        trials = PathClassification(functional=name, input_noise=0.0).sample("test", 50, 1)
        numbers = functionals(0.02 * trials["inputs"].values[:, :50].astype(float))
        np.testing.assert_array_equal(np.sign(numbers[name]), trials["targets"].values[:, -1, 0])
        assert not trials["inputs"].values[:, 50:].any() and trials["mask"].values[:, 49:51, 0].tolist()[0] == [0, 1]
    with pytest.raises(ValueError, match="channels = 1: functional = 'area' needs at least 2"):
        PathClassification(channels=1, functional="area")
    assert "area" not in PathClassification(channels=1).sample("test", 3, 0).coords


# The statements


def planted(solved, area, accuracy, lost):
    """Five linear networks at two levels of noise on the first task, with scores at either level, and on the area."""
    rows, values, noisy = [], {}, []
    for level, noise in enumerate((0.05, 0.8)):
        for seed in range(5):
            label = {"population": f"linear-{noise:g}", "seed": seed, "round": 0}
            own = {"architecture": "linear", "recurrent_noise": noise, "iterations": 10, "reference": ""}
            score = accuracy[level] + 0.001 * seed
            rows.append({"task": "path_classification", **label, **own, "score": score, "solved": seed < solved})
            rows.append({"task": "path_area", **label, **own, "score": area, "solved": False})
            # Without noise all are alike: accuracy is that with the network's own noise.
            values[f"linear-{noise:g}/{seed}/0"] = [0.99, 0.99 - lost[level] - 0.001 * seed]
            noisy.append([score, 1.0][:: 1 - 2 * level])
    table = with_roles(pd.DataFrame(rows))
    score = xr.DataArray(
        list(values.values()), {"network": list(values), "regime": ["test", "noisy"]}, ("network", "regime")
    )
    noise = xr.DataArray(noisy, {"network": list(values), "noise_level": [0.05, 0.8]}, ("network", "noise_level"))
    return table, {"performance": xr.Dataset({"score": score}), "robustness": xr.Dataset({"noise_score": noise})}


@pytest.mark.parametrize(
    "numbers, expected",
    [
        ((5, 0.51, (0.99, 0.95), (0.04, 0.01)), (REPRODUCED, REPRODUCED)),
        ((5, 0.58, (0.99, 0.95), (0.04, 0.05)), (PARTLY, PARTLY)),
        ((5, 0.7, (0.95, 0.99), (0.04, 0.04)), (NOT, NOT)),
        ((4, 0.5, (0.99, 0.95), (0.04, 0.01)), (NOT, REPRODUCED)),
    ],
)
def test_verdicts(numbers, expected):
    table, analyses = planted(*numbers)
    one = table[table["task"] == "path_classification"]
    rest = {}, 0.95, 499
    grid = Evidence("all tasks", "", table, table[:0], {}, *rest)
    task = Evidence("path_classification", "", one, one[:0], analyses, *rest)
    assert (boutaib_2022.partial_signature(grid)[1], boutaib_2022.trade_off(task)[1]) == expected
    few = one[one["recurrent_noise"] == 0.05]
    assert boutaib_2022.partial_signature(Evidence("all tasks", "", one, one[:0], {}, *rest))[1] == NO_ANSWER
    lone = Evidence("path_classification", "", few, few[:0], analyses, *rest)
    assert boutaib_2022.trade_off(lone)[1] == NO_ANSWER
