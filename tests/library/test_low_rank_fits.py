"""Networks of low rank fitted to the activity of others: timing, files, resumption, planted ranks, and claims."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import xarray as xr
from conftest import config_of
from drawn import check_text, points
from pydantic import ValidationError

from insd import plugins
from insd.activity import simulate_trials
from insd.analysis.base import Job as AnalysisJob
from insd.checkpoints import Checkpoint
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, judged, publications
from insd.cohorts import network_labels
from insd.datasets import DatasetError, validate
from insd.dynamics.regions import all_fixed_points
from insd.dynamics.search import fixed_points
from insd.dynamics.sequential_monte_carlo import log_mean_weights
from insd.dynamics.settings import FixedPoints
from insd.dynamics.stochastic_low_rank import StochasticLowRank, network_weights, of_network
from insd.evaluation.rank import QUALITIES, HeldOut, gains, latent_noise, rank_needed
from insd.figures.rank import rank_figure
from insd.grid import Grid
from insd.low_rank_fits import (
    LEAD,
    FitError,
    LowRankFit,
    Target,
    fit_round,
    least_squares_readout,
    log_likelihood,
    observed_after_lead,
    private_activity,
)
from insd.makers.base import Job
from insd.members import Member
from insd.networks.base import initialise
from insd.networks.settings.rate import RateSettings
from insd.networks.stochastic_low_rank import StochasticLowRankRNN
from insd.provenance import array_fingerprint
from insd.rounds import network_dataset
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(channels=1, duration=0.4)
MAKER = plugins.find("maker", "fit_low_rank")
TINY = {"hidden": 6, "trials": 24, "held_out": 16, "epochs": 2, "batch": 12, "particles": 4}


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 64, 1), trials("test", 12, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def model_of(rank=2, units=5, hidden=6, nonlinearity="relu", seed=0, scale=0.3):
    """A model with nothing at a special value."""
    observations = torch.randn(3, 4, units, generator=generator(seed))
    kind = {"nonlinearity": nonlinearity, "readout": "affine"}
    model = StochasticLowRank(rank, hidden, observations, 1, generator=generator(seed), **kind)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator(seed + 7)), alpha=scale)
    return model


def file_of(model, seeds=(0,), outputs=1):
    """A `network.nc` of a model, the same for some seeds."""
    readout = {"output_weights": torch.ones(outputs, len(model.bias)), "output_bias": torch.zeros(outputs)}
    weights = {name: part.expand(len(seeds), *part.shape) for name, part in (network_weights(model) | readout).items()}
    networks = StochasticLowRankRNN(weights, 1.0, 0.0, model.nonlinearity)
    made = network_dataset(networks, weights, {}, [("t", "p", seed, 0) for seed in seeds], BANK, TASK.dt)
    return made.assign_attrs(settings="{}")


@pytest.mark.parametrize("nonlinearity", ["relu", "clipped_relu"])
def test_a_fit_without_noise_is_a_network_of_the_house(nonlinearity):
    model = model_of(nonlinearity=nonlinearity)
    p = {name: part.detach().double().numpy() for name, part in model.named_parameters()}
    a, h = math.exp(-math.exp(p["log_log_decay"])), p["thresholds"]

    def phi(x):
        return np.maximum(x - h, 0) if nonlinearity == "relu" else np.maximum(x + h, 0) - np.maximum(x, 0)

    # Two steps before the first rates, the second without input; from there on z hears the input of its own time.
    rates = simulate_trials(file_of(model), TEST)[0][0].numpy()
    for trial, inputs in enumerate(TEST["inputs"].values.astype(float)):
        z, w = p["initial_mean"], np.zeros(1)
        z = a * z + p["right_vectors"].T @ phi(p["left_vectors"] @ z)
        for time, u in enumerate(inputs):
            w = a * w + (1 - a) * u
            z = a * z + p["right_vectors"].T @ phi(p["left_vectors"] @ z + p["input_weights"] @ w)
            np.testing.assert_allclose(rates[trial, time], p["readout_weights"] @ z + p["bias"], atol=1e-4)
    # The model itself, with hardly any noise, says the same.
    silent = of_network(file_of(model))
    with torch.no_grad():
        for factor in (silent.initial_factor, silent.noise_factor):
            factor.copy_(-20 * torch.eye(2))
        silent.log_noise.fill_(-20.0)
    longer = observed_after_lead(torch.from_numpy(rates), torch.from_numpy(TEST["inputs"].values))[1]
    made = silent.generate(longer, generator())[1][:, LEAD:]
    np.testing.assert_allclose(made, rates, atol=1e-4)


def test_files_hold_all_of_a_fit():
    model = model_of()
    stored = file_of(model, seeds=(0, 1))
    validate(stored.assign(restarts=("seed", [0, 0])), "network", "network.nc")
    again = of_network(stored.sel(seed=[1]))
    for name, part in model.named_parameters():
        # Of the factors, the lower triangle counts.
        one, other = (x.tril() if x.ndim == 2 and "factor" in name else x for x in (part, again.get_parameter(name)))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    # The variance of rates by the latent noise, from draws of it.
    covariance = model.noise().detach().double().numpy()
    drawn = np.random.default_rng(0).multivariate_normal(np.zeros(2), covariance, 20_000)
    spread = drawn @ model.readout_weights.detach().double().numpy().T
    assert latent_noise(stored.sel(seed=[0])) == pytest.approx(np.sqrt(np.square(spread).mean()), rel=0.03)


def test_steps_without_observations_are_left_out_of_the_likelihood():
    """Of a linear network, whose observations are normal: the density of those that are there."""
    steps, rank, units = 5, 2, 3
    observed = torch.randn(1, steps, units, generator=generator(3), dtype=torch.float64)
    model = StochasticLowRank(rank, 4, observed, 0, "identity", readout="affine", generator=generator()).double()
    with torch.no_grad():
        model.noise_factor.copy_(torch.tensor([[-0.7, 0.0], [0.4, -1.0]]))
        first, later = (factor.numpy() for factor in model.factors())
        a, readout = model.decay.item(), model.readout.numpy()
        transition = a * np.eye(rank) + model.right_vectors.numpy().T @ model.left_vectors.numpy()
        noise, bias = np.diag(np.exp(2 * model.log_noise.numpy())), model.bias.numpy()
    # The covariance of all z, from the variances of the noise of each step.
    powers = [np.linalg.matrix_power(transition, n) for n in range(steps)]
    sources = [first @ first.T, *[later @ later.T] * (steps - 1)]
    joint = np.zeros((steps, units, steps, units))
    for s in range(steps):
        for t in range(steps):
            latent = sum(powers[s - k] @ sources[k] @ powers[t - k].T for k in range(min(s, t) + 1))
            joint[s, :, t] = readout @ latent @ readout.T + (noise if s == t else 0)
    repeated = observed.repeat(40, 1, 1)
    for missing in ([0, 1], [2]):
        seen = np.setdiff1d(range(steps), missing)
        partly = repeated.clone()
        partly[:, missing] = torch.nan
        with torch.no_grad():
            found = log_mean_weights(model, partly, torch.zeros(40, steps, 0).double(), 500, generator=generator())[0]
        covariance = joint[np.ix_(seen, range(units), seen, range(units))].reshape(len(seen) * units, -1)
        exact = scipy.stats.multivariate_normal(np.tile(bias, len(seen)), covariance).logpdf(
            observed[0, seen].numpy().ravel()
        )
        ratio = np.exp(found.sum(1).numpy() - exact)
        assert not found[:, missing].any()
        np.testing.assert_allclose(ratio.mean(), 1, atol=3 * ratio.std(ddof=1) / math.sqrt(40))
        assert ratio.std(ddof=1) < 0.5
    # Trials that are observed at different steps do not change each other.
    mixed, others = repeated[:2].clone(), torch.zeros(2, steps, 0).double()
    mixed[0, :2], mixed[1, 4] = torch.nan, torch.nan
    with torch.no_grad():
        both = log_mean_weights(model, mixed, others, 4000, generator=generator())[0]
        alone = [log_mean_weights(model, mixed[[i]], others[[i]], 4000, generator=generator(i))[0] for i in (0, 1)]
    np.testing.assert_allclose(both, torch.cat(alone), atol=0.1)


def test_fixed_points_of_a_fit_are_those_of_the_enumeration():
    model = model_of(rank=2, hidden=8)
    with torch.no_grad():
        model.right_vectors.mul_(0.6)
    network = file_of(model)
    one = Member.of_datasets("p", 0, "control", network, xr.Dataset())[0]
    found = fixed_points(TASK, [one], TEST, FixedPoints(starts=32, block=2.0, blocks=2))
    vectors = (part.detach().double().numpy() for part in (model.left_vectors, model.right_vectors, model.thresholds))
    points = all_fixed_points(*vectors, model.decay.item(), nonlinearity="relu")
    states = found["state"].values[found["kind"].values == "fixed"]
    assert len(states) and abs(states[:, 2:]).max() < 1e-9
    distances = np.linalg.norm(states[:, None, :2] - points.latents, axis=2)
    assert distances.min(1).max() < 1e-4
    # Stable points are all found.
    assert distances[:, points.stable].min(0).max(initial=0) < 1e-4


def rate_file(seeds=(0, 1), units=8, gain=1.5):
    """A `network.nc` of untrained networks."""
    networks = initialise(RateSettings(units=units, gain=gain), 1, 1, 0.2, [generator(seed) for seed in seeds])
    weights = networks.weights() | {"initial_state": torch.full((len(seeds), units), 0.5)}
    names = [("flip_flop", "insd", seed, 0) for seed in seeds]
    variables = {"restarts": ("seed", [0] * len(seeds))}
    made = network_dataset(networks, weights, variables, names, BANK, 0.1)
    return made.assign_attrs(settings=json.dumps({"recipe": {"make": "train"}}))


def test_activity_has_the_private_noise_of_its_networks():
    network = rate_file((0,))
    np.testing.assert_allclose(private_activity(network, TEST, 0.0, 0), simulate_trials(network, TEST)[0][0], atol=1e-6)
    for name in ("recurrent_weights", "input_weights", "bias", "initial_state"):
        network[name] *= 0
    # Unconnected units are filtered noise, x <- (1 - alpha) x + sqrt(2 alpha) sigma xi; small rates are their states.
    found = private_activity(network, trials("test", 800, 3), 0.01, 0)
    steps = np.arange(TEST.sizes["time"])
    expected = math.sqrt(0.4) * 0.01 * np.sqrt(np.cumsum(0.8 ** (2 * steps)))
    np.testing.assert_allclose(found.std((0, 2)), expected, rtol=0.04)


def job(*files, population="fit", seeds=(0, 1), recorded=False):
    names = tuple(("flip_flop", population, seed, 0) for seed in seeds)
    where = {"sources": files} if recorded else {"earlier": files}
    return Job(names, TASK, BANK, TEST, Recipe(), **where)


def test_an_interrupted_fit_goes_on_to_the_same_result(tmp_path, monkeypatch):
    settings = MAKER.Settings(population="insd", rank=2, **(TINY | {"epochs": 3}))
    names = job().names
    activity = [private_activity(rate_file((seed,)), BANK, 0.05, seed) for seed in (0, 1)]
    targets = [Target(rates, torch.ones(1, 8), torch.zeros(1)) for rates in activity]
    network, history = fit_round(TASK, BANK, settings, names, targets)
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 0.0)
    evaluate, calls = LowRankFit._evaluate, []

    def stopped(self, step_size):
        calls.append(None)
        if len(calls) == 5:  # in the second epoch of the second fit
            raise KeyboardInterrupt
        return evaluate(self, step_size)

    monkeypatch.setattr(LowRankFit, "_evaluate", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit_round(TASK, BANK, settings, names, targets, checkpoint=tmp_path / "checkpoint.pt")
    resumed = fit_round(TASK, BANK, settings, names, targets, checkpoint=tmp_path / "checkpoint.pt")
    assert len(calls) == 5 + 2
    xr.testing.assert_equal(resumed[0], network)
    xr.testing.assert_equal(resumed[1], history)
    assert {"bound", "held_out_bound"} < set(history) and history.sizes["iteration"] == 3


def going_around():
    """A network of rank 2 whose state goes around."""
    teacher = model_of(2, 10, 12, "clipped_relu")
    left = torch.linalg.qr(torch.randn(12, 2, generator=generator(1)))[0]
    turn = math.radians(70)
    turned = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    with torch.no_grad():
        teacher.left_vectors.copy_(left)
        teacher.right_vectors.copy_(0.6 * left @ turned.T)
        teacher.input_weights.zero_()
        teacher.thresholds.fill_(1.0)
        teacher.readout_weights.copy_(torch.randn(10, 2, generator=generator(2)))
        teacher.log_log_decay.fill_(math.log(-math.log(0.9)))
        teacher.noise_factor.copy_(math.log(0.1) * torch.eye(2))
        teacher.log_noise.fill_(math.log(0.2))
    return teacher


HOW = {"hidden": 12, "trials": 48, "held_out": 16, "epochs": 15, "batch": 48, "particles": 8}
HOW |= {"step_size": 0.05, "last_step_size": 0.01, "nonlinearity": "clipped_relu"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A recording of a network of rank 2, and fits of ranks 1 to 3 to it."""
    teacher = going_around()
    rates = teacher.generate(torch.zeros(*BANK["inputs"].shape), generator(4))[1]
    path = tmp_path_factory.mktemp("planted") / "rates.npz"
    np.savez(path, rates=rates, fingerprint=BANK.attrs["fingerprint"])
    made, how = job(str(path), seeds=(0,), recorded=True), HOW | {"recording": str(path)}
    return {rank: MAKER(MAKER.Settings(rank=rank, **how)).make(made) for rank in (1, 2, 3)}, rates


def test_a_planted_network_of_rank_2_needs_rank_2(planted):
    fits, _ = planted
    bounds = {rank: float(made.history["held_out_bound"][0, 0, -1]) for rank, made in fits.items()}
    assert bounds[2] > bounds[1] + 1.0
    assert bounds[3] < bounds[2] + 0.1 * (bounds[2] - bounds[1])


def test_counts_of_a_planted_network_of_rank_2_need_rank_2(tmp_path):
    teacher, path = going_around(), tmp_path / "counts.npz"
    teacher.observation = "poisson"
    with torch.no_grad():
        teacher.readout_weights.mul_(2)
        teacher.bias.fill_(1.0)
    counts = teacher.generate(torch.zeros(*BANK["inputs"].shape), generator(4))[1]
    np.savez(path, rates=counts / BANK.attrs["dt"], fingerprint=BANK.attrs["fingerprint"])
    how = HOW | {"recording": str(path), "observation": "poisson", "batch": 16, "epochs": 12}
    made = job(str(path), seeds=(0,), recorded=True)
    fits = {rank: MAKER(MAKER.Settings(rank=rank, **how)).make(made) for rank in (1, 2)}
    bounds = {rank: float(fit.history["held_out_bound"][0, 0, -1]) for rank, fit in fits.items()}
    mean = counts[:48].mean((0, 1))
    alone = scipy.stats.poisson(mean.numpy()).logpmf(counts[-16:].numpy()).sum(-1).mean()
    known = log_likelihood(teacher, counts[-16:], torch.zeros(16, *BANK["inputs"].shape[1:]), 256, 0)
    assert alone < bounds[1] < bounds[2] - 1 < known - 1
    # Rates are the expected counts, and the file has all of the fit.
    network, activity = fits[2].network, fits[2].activity
    latents = simulate_trials(network.assign_attrs(observation="gaussian"), TEST)[0][0].double().numpy()
    np.testing.assert_allclose(activity["rates"][0], np.log1p(np.exp(latents)), rtol=1e-3, atol=1e-4)
    again = of_network(network)
    assert again.observation == "poisson" and (network["observation_noise"] == 0).all()
    np.savez(path, rates=counts, fingerprint=BANK.attrs["fingerprint"])
    with pytest.raises(FitError, match=r"observation = poisson; .*counts.npz times the time step are no counts"):
        MAKER(MAKER.Settings(rank=2, **how)).make(made)
    with pytest.raises(ValidationError, match="observation = poisson: rates of networks are no counts"):
        MAKER.Settings(rank=2, population="insd", observation="poisson")


def test_fits_of_recordings_have_the_readout_nearest_to_the_targets(planted):
    fits, rates = planted
    weights, bias = least_squares_readout(rates, BANK)
    scored = BANK["mask"].values[..., 0] > 0
    design = np.column_stack([rates.numpy()[scored], np.ones(scored.sum())])
    expected = np.linalg.lstsq(design, BANK["targets"].values[..., 0][scored], rcond=None)[0]
    np.testing.assert_allclose(np.append(weights[0], bias), expected, atol=1e-4)
    np.testing.assert_array_equal(fits[1].network["output_weights"][0], weights)


def test_outputs_that_follow_from_others_leave_a_recording_no_readout(planted, tmp_path):
    # As the channels of a column of text, one for each of two values.
    path, less = tmp_path / "rates.npz", BANK.assign(targets=1 - BANK["targets"])
    np.savez(path, rates=planted[1], fingerprint=BANK.attrs["fingerprint"])
    both = {name: np.concatenate([BANK[name], less[name]], -1) for name in ("targets", "mask")}
    bank = BANK.drop_dims("output").assign({name: (BANK[name].dims, both[name]) for name in both})
    bank = bank.assign_coords(output=["choice=left", "choice=right"])
    made = dataclasses.replace(job(str(path), seeds=(0,), recorded=True), bank=bank)
    with pytest.raises(FitError, match=r"rates.npz .*\(choice=left, choice=right\), 1 of 2 outputs are zero or linear"):
        MAKER(MAKER.Settings(rank=1, recording=str(path), **TINY)).make(made)


def test_what_cannot_be_fitted_is_refused():
    still = Target(torch.zeros(64, 20, 8), torch.ones(1, 8), torch.zeros(1))
    names = job().names
    for changes, message in (
        ({"rank": 2}, "flip_flop/fit/0/0: the activity does not vary"),
        ({"rank": 2, "trials": 60}, r"fit_low_rank.trials = 60 and held_out = 16 are more than the 64 trials"),
    ):
        settings = MAKER.Settings(population="insd", **(TINY | changes))
        with pytest.raises(FitError, match=message):
            fit_round(TASK, BANK, settings, names, [still, still])
    moving = dataclasses.replace(still, rates=torch.randn(64, 20, 8, generator=generator()))
    with pytest.raises(FitError, match=r"fit_low_rank.rank = 9, and the activity is of 8 units"):
        fit_round(TASK, BANK, MAKER.Settings(population="insd", rank=9, **TINY), names, [moving, moving])


def config(**fit):
    populations = {"insd": {"seeds": 2, "rounds": 2}, "standard": {"seeds": 2}}
    own = {"seeds": 2, "make": "fit_low_rank", "role": "control", "fit_low_rank": fit}
    return {"tasks": {"flip_flop": {}}, "populations": populations | {"fit": own}}


def test_a_grid_with_fits():
    grid = Grid(load(config(population="insd", round=1, rank=2)))
    wildcards = {"task": "flip_flop", "population": "fit", "seeds": "1", "round": "0"}
    assert grid.round_inputs(wildcards)["earlier"] == ["results/flip_flop/insd/seeds-1/round-1/network.nc"]
    without = config()
    del without["populations"]["fit"]
    made, others = ({*one.analysis_files()} for one in (grid, Grid(load(without))))
    assert made - others == {"results/flip_flop/analysis/rank.nc"} and others < made
    for fit, message in (
        ({"population": "insd"}, r"populations.fit.fit_low_rank.rank: this key is required"),
        ({"rank": 2}, r"populations.fit.fit_low_rank.population, recording: name what is fitted by one of them"),
        ({"rank": 2, "population": "insd", "round": 2}, r"reads round 2 of 'insd': this population makes the rounds"),
        (
            {"rank": 2, "population": "insd", "trials": 2000},
            r"fit: .* holds out 2064 trials, and trials.train = 2048; raise it, or lower fit_low_rank.trials",
        ),
    ):
        with pytest.raises(SettingsError, match=message):
            load(config(**fit))
    whole = config(population="insd", rank=2)
    whole["populations"]["fit"]["seeds"] = 3
    with pytest.raises(
        SettingsError, match=r"fit.seeds = 3: it reads 'insd', which has only 2; lower the first, or raise the"
    ):
        load(whole)
    with pytest.raises(SettingsError, match=r"fit_low_rank.rank = 101: round 1 of 'insd' has only 100 units; lower"):
        Grid(load(config(population="insd", round=1, rank=101))).check_sources()
    circle = config(population="other", rank=2)
    circle["populations"]["other"] = circle["populations"]["fit"] | {"fit_low_rank": {"population": "fit", "rank": 2}}
    with pytest.raises(SettingsError, match=r"round 0 of '(fit|other)' reads round 0 of .*: none of them can be the"):
        load(circle)


def test_recordings_that_cannot_be_fitted_are_refused_before_the_first_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("few.npz", rates=np.zeros((64, 20, 3)), fingerprint="f")
    np.savez("none.npz", activity=np.zeros(3))
    varying = np.random.default_rng(0).random((4, 20, 3))
    session = xr.Dataset({"rates": (("trial", "time", "unit"), varying), "press": (("trial", "time"), varying[..., 0])})
    session.assign_coords(time=0.01 * np.arange(20)).to_netcdf("session.nc")
    recorded = {"class": "recorded:session.nc", "parameters": {"inputs": ["press"], "outputs": ["press"]}}
    for task, fit, message in (
        ({}, {"recording": "few.npz", "rank": 4}, r"populations.fit.fit_low_rank.rank = 4: few.npz has only 3 units"),
        ({}, {"recording": "none.npz", "rank": 2}, r"populations.fit: none.npz: has no 'rates'"),
        (
            recorded,
            {"recording": "session.nc", "rank": 2, "observation": "poisson"},
            r"observation = 'poisson': spikes of session.nc are no counts .*smoothing = 0 in place of 0.05",
        ),
    ):
        whole = config(**fit)
        whole["tasks"] = {"press" if task else "flip_flop": task}
        with pytest.raises(SettingsError, match=message):
            Grid(load(whole)).check_sources()
    whole["tasks"]["press"]["parameters"]["smoothing"] = 0
    Grid(load(whole)).check_sources()


def fits_of(*fits):
    """Members of networks and fits of them, each of a rank and with a private noise."""
    network = rate_file()
    members = Member.of_datasets("insd", 0, "reference", network, xr.Dataset())
    for rank, noise in fits:
        made = file_of(model_of(rank=rank, units=8, scale=0.05), seeds=(0, 1))
        about = {"population": "insd", "round": 0, "recording": None, "rank": rank, "noise": noise}
        made.attrs["settings"] = json.dumps({"recipe": {"make": "fit_low_rank", "maker": about}})
        members += Member.of_datasets(f"r{rank}", 0, "control", made, xr.Dataset())
    return members


def test_the_analysis_of_ranks():
    analysis = plugins.find("analysis", "rank")
    settings = analysis.settings(trials=12, particles=8)
    found = analysis.run(AnalysisJob("flip_flop", TASK, fits_of((1, 0.05), (3, 0.05)), settings, {"test": TEST}))[
        "rank"
    ]
    validate(found, analysis.writes["rank"], "rank.nc")
    assert found["fitted"].values.tolist() == ["insd/0/0", "insd/1/0"]
    assert found["fit_of"].values.tolist() == ["insd/0/0"] * 2 + ["insd/1/0"] * 2
    assert found["rank"].values.tolist() == [1, 3] * 2 and (found["largest_rank"] == 3).all()
    # A second draw of a network is nearer to it than noise, or a fit that was not fitted.
    for name in QUALITIES[1:]:
        itself, none, of_fits = (found[one].sel(quality=name).values for one in ("itself", "without_dynamics", "value"))
        assert (itself < none).all() and (itself < of_fits.reshape(2, 2).T).all()
    held_out = HeldOut.of(rate_file((0,)), TEST, 0.05, 3, 2.0, "flip_flop/insd/0/0")
    known = held_out.itself.astype(float)
    density = scipy.stats.norm(known.mean((0, 1)), known.std((0, 1))).logpdf(held_out.rates).sum(-1).mean()
    assert float(found["without_dynamics"][0, 0]) == pytest.approx(density, rel=1e-6)
    # A unit that never fires is one that hardly varies.
    silent = dataclasses.replace(held_out, itself=held_out.itself * (np.arange(8) > 0), rates=held_out.rates * 1.0)
    assert np.isfinite(silent.without_dynamics()[0])
    with pytest.raises(DatasetError, match=r"fits of insd/0/0 were made with different fit_low_rank.noise"):
        analysis.run(AnalysisJob("flip_flop", TASK, fits_of((1, 0.05), (2, 0.1)), settings, {"test": TEST}))
    empty = analysis.run(AnalysisJob("flip_flop", TASK, fits_of(), settings, {"test": TEST}))["rank"]
    validate(empty, analysis.writes["rank"], "rank.nc")


def test_the_rank_that_is_needed():
    without = np.array([0.0, 0.8, 2.0])
    # The last quality is no better at the largest rank than without dynamics.
    by_rank = {1: [50.0, 0.3, 1.9], 2: [95.0, 0.4, 1.8], 4: [100.0, 0.2, 2.1], 3: [85.0, 0.2, 1.5]}
    by_rank = {rank: np.array(values) for rank, values in by_rank.items()}
    np.testing.assert_allclose(gains(by_rank, without)[1][:2], [0.5, 5 / 6])
    np.testing.assert_array_equal(rank_needed(by_rank, without, 0.9), [2, 3, np.nan])
    np.testing.assert_array_equal(rank_needed(by_rank, without, 0.8), [2, 1, np.nan])


def grid_of_fits(of_references, of_alternatives, near=0.8, largest=5):
    """`networks.csv` and `rank.nc` of chains whose references and alternatives need these ranks."""
    rows, labels, roles, needed = [], [], [], []
    for number, (role, ranks) in enumerate((("reference", of_references), ("alternative", of_alternatives))):
        for seed, rank in enumerate(ranks):
            own = {"population": "insd", "seed": seed, "round": number, "role": role, "chain": f"insd/{seed}"}
            rows.append({"task": "flip_flop", "reference": "insd", "standards": "standard", "solved": True, **own})
            labels.append(f"insd/{seed}/{number}")
            roles.append(role)
            needed.append(rank)
    rows += [
        {**rows[0], "population": "standard", "seed": seed, "role": "standard", "chain": f"standard/{seed}"}
        for seed in range(5)
    ]
    count = len(labels)
    without, itself = np.tile([0.0, 0.8, 2.0], (count, 1)), np.tile([np.nan, 0.1, 0.2], (count, 1))
    spread = np.linspace(0.98, 1.02, count)[:, None]
    value = without + near * spread * (np.nan_to_num(itself) - without) + [100, 0, 0]
    ranks = np.column_stack([needed] * 3).astype(float)
    by_quality = ("fitted", "quality")
    result = xr.Dataset(
        {
            "rank": ("network", np.full(count, largest)),
            "fit_of": ("network", np.array(labels, object)),
            "value": (("network", "quality"), value),
            "largest_rank": ("fitted", np.full(count, largest)),
            "fitted_role": ("fitted", np.array(roles, object)),
            **{"without_dynamics": (by_quality, without), "itself": (by_quality, itself)},
            "rank_needed": (by_quality, ranks),
        },
        {"network": [f"r/{n}/0" for n in range(count)], "fitted": labels, "quality": list(QUALITIES)},
    )
    return pd.DataFrame(rows), result


@pytest.mark.parametrize(
    "given, verdicts",
    [
        (([3, 3, 2, 3], [4, 5, 4, 4], 0.8), (REPRODUCED, REPRODUCED, REPRODUCED)),
        (([3, 3, 2, 4], [3, 3, 2, 5], 0.3), (PARTLY, NOT, PARTLY)),
        (([4, 4, 4, 5], [3, 3, 4, 5], 0.8), (NOT, REPRODUCED, NOT)),
        (([3, 3], [5, 5], 0.8), (NO_ANSWER, NO_ANSWER, NO_ANSWER)),
        # No higher rank was fitted than the one that is to be enough.
        (([3, 3, 3], [3, 3, 3], 0.8, 3), (NO_ANSWER, REPRODUCED, NOT)),
    ],
)
def test_verdicts(given, verdicts):
    table, result = grid_of_fits(*given)
    papers = publications(["pals_2024"])
    found = judged(papers, table, {"rank": {"flip_flop": result}}, {}, 0.95, 500)
    assert tuple(found["verdict"]) == verdicts, found[["id", "number", "verdict"]].to_string()
    # The same statements are asked of grids without fits.
    assert set(judged(papers, table, {"rank": {}}, {}, 0.95, 99)["verdict"]) == {NO_ANSWER}


def test_the_figure_has_fits_by_rank_and_by_round():
    table, largest = grid_of_fits([3, 2, 2], [5, 4, 5])
    table = table.assign(gain=1.0, deflated=None, score=1.0)
    halfway = (largest["value"] + largest["without_dynamics"].values) / 2
    poor = largest.assign(value=halfway, rank=largest["rank"] - 3)
    found = xr.concat([poor, largest], "network", data_vars="minimal").assign_attrs(share=0.9)
    found["latent_noise"] = ("network", np.repeat([0.2, 0.1], 6))
    fits = pd.DataFrame({"population": ["poor"] * 6 + ["good"] * 6, "seed": [*range(6)] * 2, "round": 0, "score": 0.9})
    found = found.assign_coords(network=network_labels(fits))
    figure = rank_figure(pd.concat([table, fits.assign(role="control", gain=1.0, solved=True)]), found, 0.95)
    check_text(figure)
    by_round = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    means = found["value"].sel(quality="log_likelihood").values.reshape(2, 2, 3).mean(-1)
    np.testing.assert_allclose(by_round, [[0, *means[:, 0]], [0, *means[:, 1]]])
    dashed = [line.get_ydata()[0] for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed, [0.1, 0.1])
    assert sorted(points(figure.axes[4])) == sorted([2, 2, 3, 4, 5, 5] * 3)
    noise = [line.get_ydata() for line in figure.axes[5].lines]
    np.testing.assert_allclose(noise, [[0.2, 0.1]] * 2)
    np.testing.assert_allclose([line.get_ydata() for line in figure.axes[3].lines], 0.9)
    without = found.isel(network=[], fitted=[])
    assert [text.get_text() for text in rank_figure(table, without, 0.95).axes[0].texts] == [
        "no fits of networks\nin this grid"
    ]


def test_the_study_has_every_rank_of_all_rounds():
    settings = load(config_of("low_rank"))
    found = {}
    for name in settings.made_by("fit_low_rank"):
        fit = settings.maker(name).settings
        found.setdefault((fit.population, fit.round), []).append(fit.rank)
        assert settings.population(name).seeds == 5
    assert found == {("insd", number): [1, 2, 3, 4, 5] for number in range(3)}
