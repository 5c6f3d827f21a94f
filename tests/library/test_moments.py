"""Moments of noisy networks: of spikes against published integrals, of rates against exact solutions and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
import scipy.stats
import torch
import xarray as xr
from tables import with_roles
from trained import evaluation_trials, trained_network, trained_task

from insd import plugins
from insd.analysis.base import Job
from insd.claims import qi_2024
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, Evidence
from insd.dynamics.moments import gaussian_averages, output_variability, propagated
from insd.members import Member
from insd.networks.engine.lif_moments import LEAK, REFRACTORY, RESET, THRESHOLD, LIFActivation, lif_moments
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.networks.rate import RateRNN

MEANS, SDS = torch.tensor([[0.5, 0.8, 1.0, 1.2, 1.5], [1.0, 1.0, 1.0, 0.5, 2.0]], dtype=torch.float64)
"""Of the current, in mV/ms and mV/sqrt(ms)."""
RATES = [0.367, 8.733, 18.237, 25.272, 40.670]
"""In Hz."""


# Spikes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_moments_of_spikes_in_white_noise(dtype):
    found = lif_moments(MEANS.to(dtype), SDS.to(dtype))
    np.testing.assert_allclose(1000 * found.rate, RATES, atol=6e-4)
    np.testing.assert_allclose(found.sd.square() / found.rate, [0.957, 0.394, 0.161, 0.029, 0.125], atol=6e-4)
    np.testing.assert_allclose(found.response, [0.337, 0.792, 0.853, 0.853, 0.868], atol=6e-4)


def test_moments_of_spikes_by_quadrature_and_without_noise():
    """Integrals by scipy, also where the tables end; and the rate of a cell in a constant current."""

    def g(x):
        return math.sqrt(math.pi) / 2 * scipy.special.erfcx(-x)

    def h(x):
        return scipy.integrate.quad(lambda t: math.exp(2 * x * t - t * t) * g(x - t) ** 2, 0, np.inf, epsabs=0)[0]

    for mean, sd in ((0.0, 1.0), (1.5, 0.2), (3.0, 0.7)):
        upper, lower = ((end * LEAK - mean) / (sd * math.sqrt(LEAK)) for end in (THRESHOLD, RESET))
        interval = REFRACTORY + 2 / LEAK * scipy.integrate.quad(g, lower, upper, epsrel=1e-11)[0]
        variance = 8 / LEAK**2 * scipy.integrate.quad(h, lower, upper, epsrel=1e-9)[0]
        found = lif_moments(torch.tensor(mean).double(), torch.tensor(sd).double())
        assert float(found.rate) == pytest.approx(1 / interval, rel=1e-8)
        assert float(found.sd) == pytest.approx(math.sqrt(variance / interval**3), rel=1e-7)
    quiet = lif_moments(torch.tensor(1.5).double(), torch.tensor(1e-4).double())
    assert float(quiet.rate) == pytest.approx(1 / (REFRACTORY + math.log(1.5 / 0.5) / LEAK), rel=1e-6)
    # Far below the threshold nothing happens, and nothing breaks.
    silent = torch.tensor([-30.0, -3.0], requires_grad=True)
    rates, spreads = LIFActivation.apply(silent, torch.full((2,), 0.3))
    (rates.sum() + spreads.sum()).backward()
    assert float(rates.detach().max()) < 1e-10 and torch.isfinite(silent.grad).all()


def test_gradient_of_moments_of_spikes():
    """Central differences in double precision, of the moments and of their derivatives."""
    points = torch.cat([torch.stack([MEANS, SDS], 1), torch.tensor([[3.0, 0.3], [-0.5, 1.0]]).double()])
    arguments = [part.clone().requires_grad_() for part in points.T]
    assert torch.autograd.gradcheck(LIFActivation.apply, arguments, eps=1e-6, atol=1e-9, rtol=1e-6)
    assert torch.autograd.gradgradcheck(LIFActivation.apply, arguments, eps=1e-5, atol=1e-6, rtol=1e-4)


def test_rates_of_simulated_cells():
    """Euler-Maruyama with the threshold moved for crossings between steps (Broadie, Glasserman & Kou 1997)."""
    random, dt, cells, warm, steps = np.random.default_rng(0), 0.1, 1000, 2500, 6000
    means, sds = (values.numpy()[1:].repeat(cells).astype(np.float32) for values in (MEANS, SDS))
    threshold = THRESHOLD - 0.5826 * sds * math.sqrt(dt)
    voltage, free = random.uniform(0, 15, len(means)).astype(np.float32), np.zeros(len(means), int)
    spikes = np.zeros(len(means))
    refractory = round(REFRACTORY / dt)
    for step in range(warm + steps):
        noise = random.standard_normal(len(means), dtype=np.float32)
        voltage += np.where(free <= step, dt * (means - LEAK * voltage) + sds * math.sqrt(dt) * noise, 0)
        fired = voltage >= threshold
        voltage[fired] = RESET
        free[fired] = step + 1 + refractory
        if step >= warm:
            spikes += fired
    found = spikes.reshape(-1, cells).mean(1) / (steps * dt / 1000)
    np.testing.assert_allclose(found, RATES[1:], rtol=0.02)
    # Of 1,500 cells in 2 s, simulated elsewhere with steps of .02 ms.
    np.testing.assert_allclose([RATES[2], RATES[3]], [18.03, 25.15], rtol=0.02)


# Rates


def test_averages_of_units():
    at = torch.tensor([[0.0, 0.25], [0.5, 1.0], [2.0, 0.5]], dtype=torch.float64)
    tanh = NONLINEARITIES["tanh"]
    mean, slope, variance = gaussian_averages(tanh.rates, lambda x: tanh.slopes(tanh.rates(x)), *at.T)
    np.testing.assert_allclose(mean, [0, 0.295453, 0.918742], atol=6e-7)
    np.testing.assert_allclose(slope, [0.826484, 0.561993, 0.139189], atol=6e-7)
    np.testing.assert_allclose(variance, [0.173516, 0.350715, 0.016725], atol=6e-7)


def network_of(units=6, outputs=2, alpha=0.2, nonlinearity="tanh", bias=0.0, gain=0.5):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(1, *shape, generator=generator, dtype=torch.float64)

    weights = {
        "recurrent_weights": gain * normal(units, units) / math.sqrt(units),
        "input_weights": normal(units, 1),
        "output_weights": normal(outputs, units),
        "bias": bias + normal(units),
        "output_bias": normal(outputs),
        "initial_state": bias + normal(units),
    }
    return RateRNN(weights, alpha, 0.0, nonlinearity).requires_grad_(False)


def test_moments_of_a_linear_network():
    """With all units far on the linear side of relu: the Lyapunov equation at the end, and each step by its sum."""
    network, times, variance = network_of(nonlinearity="relu", bias=50.0), 150, 0.3
    inputs = torch.randn(times, 2, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = propagated(network, inputs, variance)
    step = 0.8 * np.eye(6) + 0.2 * network.recurrent_weights[0].numpy()
    readout = network.output_weights[0].numpy()
    covariance = np.zeros((6, 6))
    for time in range(times):
        covariance = step @ covariance @ step.T + variance * np.eye(6)
        np.testing.assert_allclose(found.covariance[time, 0], readout @ covariance @ readout.T, rtol=1e-6)
    stationary = scipy.linalg.solve_discrete_lyapunov(step, variance * np.eye(6))
    np.testing.assert_allclose(found.covariance[-1, 1], readout @ stationary @ readout.T, rtol=1e-6)
    np.testing.assert_allclose(found.mean, network.readout(network(inputs[None]))[0], rtol=1e-9)


def test_the_closure_without_noise_is_the_network():
    network = network_of()
    inputs = torch.randn(30, 2, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = propagated(network, inputs, 0.0)
    np.testing.assert_allclose(found.mean, network.readout(network(inputs[None]))[0], atol=1e-12)
    assert float(found.covariance.abs().max()) < 1e-25


def test_units_without_connections_have_exact_moments():
    """Then states are normal and independent, and only the quadrature is between prediction and truth."""
    network, variance, times = network_of(gain=0.0), 0.2, 12
    found = propagated(network, torch.zeros(times, 1, 1, dtype=torch.float64), variance)
    spread = math.sqrt(variance * sum(0.64**time for time in range(times)))
    bias, start = network.bias[0], network.initial_state[0]
    at = (bias + 0.8**times * (start - bias)).numpy()
    states = at + spread * scipy.stats.norm.ppf((np.arange(40000) + 0.5) / 40000)[:, None]
    readout = network.output_weights[0].numpy()
    expected = readout @ np.diag(np.tanh(states).var(0)) @ readout.T
    np.testing.assert_allclose(found.covariance[-1, 0], expected, rtol=1e-3)


TRIALS = evaluation_trials("flip_flop").isel(trial=slice(4))


def test_variability_of_a_trained_standard():
    found = output_variability(trained_network("flip_flop", 0), TRIALS, 0.05, 256, 0)
    assert found["sd_ratio"] == pytest.approx(1, abs=0.1)
    again = output_variability(trained_network("flip_flop", 0), TRIALS, 0.05, 256, 0)
    assert again["sd"] == found["sd"]
    # Trials that end count only until then.
    ended = TRIALS.assign(valid=(("trial", "time"), np.ones((4, TRIALS.sizes["time"]), bool)))
    ended["valid"][:, 40:] = False
    short = output_variability(trained_network("flip_flop", 0), ended, 0.05, 256, 0)
    np.testing.assert_array_equal(short["simulated_sd"][:40], found["simulated_sd"][:40])
    assert np.isnan(short["predicted_sd"][40:]).all() and np.isnan(short["close"][40:]).all()
    assert short["sd"] == pytest.approx(math.sqrt(np.square(found["simulated_sd"][:40]).mean()))
    assert short["close_share"] == pytest.approx(found["close"][:40].mean())


def test_a_closure_fails_where_states_are_not_normal():
    """A unit on the edge between two states: noise decides, and outputs are at one or the other."""
    network = trained_network("flip_flop", 0)
    sizes = {"seed": 1, "unit": 2, "unit_from": 2, "input": 1, "output": 1}
    weights = {
        "recurrent_weights": 3 * np.eye(2)[None],
        "input_weights": np.zeros((1, 2, 1)),
        "output_weights": np.array([[[1.0, 0.0]]]),
        "bias": np.zeros((1, 2)),
        "output_bias": np.zeros((1, 1)),
        "initial_state": np.zeros((1, 2)),
    }
    own = xr.Dataset(
        {name: (RateRNN.dimensions[name], values.astype(np.float32)) for name, values in weights.items()},
        {"seed": [0]},
        attrs=network.attrs,
    )
    assert dict(own.sizes) == sizes
    silent = TRIALS.isel(input=[0], output=[0], trial=[0])
    silent["inputs"] = 0 * silent["inputs"]
    found = output_variability(own, silent, 0.05, 256, 0)
    # In the end outputs are at tanh(2.98) or minus that; as a normal state with a mean of 0 they would be between, too.
    assert found["simulated_sd"][-1] == pytest.approx(0.995, abs=0.01)
    assert found["close_share"] < 0.9 and found["mean_error"] < 0.2


# The analysis and its claims


def test_the_analysis_and_its_columns():
    analysis = plugins.find("analysis", "moments")
    settings = analysis.settings(trials=2, repeats=8, noise_levels=[0.05, 0.2])
    network = trained_network("flip_flop", 0)
    member = Member.of_datasets("p", 0, "standard", network, xr.Dataset())[0]
    job = Job("flip_flop", trained_task("flip_flop"), [member], settings, {"test": TRIALS})
    result = analysis.run(job)["moments"]
    assert result["predicted_sd"].dims == ("network", "noise_level", "time")
    assert (result["sd"].diff("noise_level") > 0).all()
    table = pd.DataFrame(index=["p/0/0", "gru/0/0"])
    found = analysis.columns(result, table)
    assert list(found) == list(analysis.dictionary) and found.loc["gru/0/0"].isna().all()
    assert found.loc["p/0/0", "output_sd_ratio"] == float(result["sd_ratio"][0, 0])
    assert analysis.run(Job("flip_flop", job.task, [], settings, {"test": TRIALS}))["moments"].sizes["network"] == 0


def planted(of_standards, of_alternatives, close=0.95):
    rows = []
    for population, role, ratios in (("s", "standard", of_standards), ("c", "alternative", of_alternatives)):
        for seed, ratio in enumerate(ratios):
            identity = {"task": "t", "population": population, "seed": seed, "round": int(role == "alternative")}
            values = {"output_sd_ratio": ratio, "output_sd_close": close, "solved": True, "iterations": 1}
            rows.append({**identity, "reference": population, **values})
    return with_roles(pd.DataFrame(rows))


GOOD = [1.0, 1.01, 0.99, 1.02, 0.98]


@pytest.mark.parametrize(
    "claim, table, verdict",
    [
        ("standards_predicted", planted(GOOD, GOOD), REPRODUCED),
        ("standards_predicted", planted([1.0, 1.0, 1.0, 1.2, 0.8], GOOD), PARTLY),
        ("standards_predicted", planted([1.5] * 5, GOOD), NOT),
        ("standards_predicted", planted([np.nan] * 5, GOOD), NO_ANSWER),
        ("at_all_times", planted(GOOD, GOOD), REPRODUCED),
        ("at_all_times", planted(GOOD, GOOD, 0.5), NOT),
        ("alternatives_not_predicted", planted(GOOD, [1.5, 1.4, 1.6, 1.3, 0.7]), REPRODUCED),
        ("alternatives_not_predicted", planted(GOOD, [1.05, 1.06, 1.07, 1.06, 1.05]), PARTLY),
        ("alternatives_not_predicted", planted(GOOD, GOOD), NOT),
        # Some networks are left out.
        ("alternatives_not_predicted", planted([*GOOD, np.nan], [1.5, 1.4, 1.6, 1.3, np.nan]), REPRODUCED),
        ("alternatives_not_predicted", planted(GOOD, [np.nan] * 5), NO_ANSWER),
    ],
)
def test_claims(claim, table, verdict):
    judged = next(one for one in qi_2024.CLAIMS.claims if one.id == claim)
    evidence = Evidence("t", "c", table, table[:0], {}, {}, 0.95, 499)
    found, answer = judged.judge(evidence)
    assert answer == verdict and "nan" not in found
    without = table.drop(columns=["output_sd_ratio", "output_sd_close"])
    assert judged.judge(Evidence("t", "c", without, table[:0], {}, {}, 0.95, 499))[1] == NO_ANSWER
