"""All architectures, and those of the user: in configs, training, files and every analysis that reads weights."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import ROOT, environment

from insd import datasets, plugins
from insd.activity import record_activity, simulate_trials
from insd.dynamics.flow import FlowError, NetworkFlow, RateFlow, flow_of
from insd.dynamics.search import fixed_points
from insd.dynamics.settings import FixedPoints
from insd.evaluation.costs import costs
from insd.evaluation.performance import performance
from insd.evaluation.perturbations import robustness
from insd.members import Member
from insd.networks.base import (
    Connected,
    Flowing,
    constant_input_weights,
    initialise,
    load_networks,
    rates_at,
    side_by_side,
)
from insd.networks.check import ArchitectureError, check_networks
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.networks.gru import GRU
from insd.networks.low_rank import LowRankRNN
from insd.networks.rate import RateRNN
from insd.networks.settings.base import network_settings, settings_class
from insd.objectives.base import join_earlier
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe, Training
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.6, regimes={})
SIZES = {"units": 8, "gain": 1.2}


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 96, 1), trials("test", 16, 2)


def streams(count):
    return [torch.Generator().manual_seed(number) for number in range(count)]


def made(architecture, alpha=0.2, count=2, **settings):
    chosen = network_settings({"architecture": architecture, **SIZES, **settings})
    return initialise(chosen, 3, 2, alpha, streams(count))


def gru(alpha=1.0, count=2):
    networks = made("gru", alpha, count)
    for name in ("bias", "candidate_bias", "initial_state"):
        getattr(networks, name).data.normal_()
    return networks


def recipe(network, iterations=60):
    return Recipe(
        network={"units": 12, **network},
        training=Training(
            iterations=iterations, batch_size=32, evaluate_every=20, validation_trials=32, restarts=0, step_size=1e-2
        ),
    )


CHAINS = {
    "gru": {"architecture": "gru"},
    "linear": {"architecture": "linear", "gain": 0.5},
    "low_rank": {"architecture": "low_rank", "rank": 2},
    # With a larger gain a few units run away under some inputs, and have no fixed point.
    "relu": {"nonlinearity": "relu", "gain": 0.5},
    "softplus": {"nonlinearity": "softplus"},
}


@pytest.fixture(scope="module", params=CHAINS)
def chain(request):
    """A reference and an alternative of an architecture, with the activity of both."""
    settings = recipe(CHAINS[request.param])
    rounds = []
    for number in (0, 1):
        earlier = join_earlier(settings.terms, [rounds[0][2]], BANK, ["file"]) if number else None
        network, history = train_round(TASK, BANK, settings, [("t", "p", 0, number)], earlier)
        network.attrs["settings"] = "{}"
        rounds.append((network, history, record_activity(network, TASK, BANK, TEST, settings.terms)))
    return rounds


def test_a_gru_with_the_time_constant_of_a_step_is_that_of_pytorch():
    networks, inputs = gru(), torch.randn(2, 7, 5, 3)
    rates = networks(inputs)
    weights = networks.weights()
    for network in range(2):
        theirs = torch.nn.GRU(3, 8)
        parts = {name: values[network] for name, values in weights.items()}
        theirs.load_state_dict(
            {
                "weight_ih_l0": parts["input_weights"].flatten(0, 1),
                "weight_hh_l0": parts["recurrent_weights"].flatten(0, 1),
                "bias_ih_l0": parts["bias"].flatten(),
                "bias_hh_l0": torch.cat([torch.zeros(16), parts["candidate_bias"]]),
            }
        )
        expected = theirs(inputs[network], parts["initial_state"].expand(1, 5, -1).contiguous())[0]
        torch.testing.assert_close(rates[network], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_simulation_is_the_euler_map_of_the_force(alpha):
    noise = 0.1 * torch.randn(2, 7, 5, 8)
    inputs = torch.randn(2, 7, 5, 3)
    rates = [made("rate", alpha, nonlinearity=name) for name in ("tanh", "relu", "softplus")]
    for networks in (gru(alpha), *rates):
        plain, states = networks.simulate(inputs, noise, states=True)
        torch.testing.assert_close(networks(inputs, noise), plain, atol=1e-5, rtol=1e-5)
        assert torch.equal(networks.simulate(inputs, noise), networks(inputs, noise))
        # Step by step: each state from the one before.
        following = states[:, 0] + networks.alpha * networks.force(states[:, 0], inputs[:, 1]) + noise[:, 1]
        torch.testing.assert_close(states[:, 1], following)
        torch.testing.assert_close(networks.rates_of(states), plain)


def test_low_rank_weights_have_their_rank_and_the_variance_of_the_gain():
    networks = made("low_rank", 0.2, 20, rank=3, units=100, gain=1.5)
    weights = networks.recurrent_weights
    assert torch.linalg.matrix_rank(weights).tolist() == [3] * 20
    assert weights.std().item() == pytest.approx(1.5 / 10, rel=0.1)
    assert "recurrent_weights" not in networks.weights()


def test_orthogonal_weights_are_so_times_the_gain_and_the_others_those_of_a_rate_network():
    networks, rate = (made(name, 0.2, 3, units=40, gain=1.5) for name in ("orthogonal", "rate"))
    weights = networks.recurrent_weights.detach()
    torch.testing.assert_close(weights @ weights.mT, 2.25 * torch.eye(40).expand(3, -1, -1), atol=1e-5, rtol=0)
    # Uniform over orthogonal matrices: half of the diagonal entries of Q are negative, too.
    assert 20 < int((weights.diagonal(dim1=1, dim2=2) < 0).sum()) < 100
    for name, values in networks.weights().items():
        assert torch.equal(values, rate.weights()[name]) == (name != "recurrent_weights")


def test_training_lowers_the_loss_and_the_files_keep_their_contract(chain, tmp_path):
    for network, history, activity in chain:
        losses = history["held_out_loss"].isel(attempt=0, seed=0).dropna("iteration")
        assert float(losses[-1]) < 0.7 * float(losses[0])
        datasets.write(network, tmp_path / "network.nc", "network")
        stored = datasets.read(tmp_path / "network.nc", "network")
        rates, outputs = simulate_trials(stored, TEST)
        np.testing.assert_allclose(rates, activity["rates"], atol=1e-6)
        np.testing.assert_allclose(outputs, activity["outputs"], atol=1e-6)
    # The second round was deflated against the first.
    assert history["held_out_penalty"].isel(earlier=0).notnull().any()


def test_every_analysis_of_weights_runs(chain):
    network = chain[1][0]
    one = Member.of_datasets("p", 0, "standard", network, xr.Dataset())[0]
    levels = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [0.0], "kick_levels": [0.1]}
    result = robustness(TASK, "t", [one], TEST, draws=2, **levels)
    for name in ("noise", "jitter", "silence"):
        np.testing.assert_allclose(result[f"{name}_loss"], result["unperturbed_loss"].item(), rtol=1e-5)
    assert np.isfinite(result["kick_recovery"]).all() and np.isfinite(result["half_step_loss"]).all()
    scores = performance(TASK, "t", [one], {"test": TEST}, 8)
    assert scores["score"].item() == chain[1][2]["score"].item()
    found = costs(network, TEST, 2, 0)
    names = set(network.data_vars) - {"restarts", "iterations", "held_out_penalty"}
    if network.attrs["architecture"] == "low_rank":
        names -= {"recurrent_weights"}
    expected = sum(float(np.square(network[name].astype(float)).sum()) for name in names)
    assert found["sum_squared_weights"] == pytest.approx(expected, rel=1e-5)
    assert found["noise_sensitivity"] > 0


def test_silenced_units_are_heard_by_none(chain):
    network = chain[1][0]
    one = Member.of_datasets("p", 0, "standard", network, xr.Dataset())[0]
    levels = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [1.0], "kick_levels": [0.1]}
    result = robustness(TASK, "t", [one], TEST, draws=1, **levels)
    # Only the bias of the readout is left.
    constant = np.broadcast_to(network["output_bias"].values[:, None, None], (1, 16, TEST.sizes["time"], 1))
    assert float(result["silence_score"].squeeze()) == pytest.approx(float(TASK.score(TEST, constant)[0]))


def test_fixed_points_are_zeros_of_the_step(chain):
    network = chain[0][0]
    settings = FixedPoints(starts=24, block=2.0, blocks=2)
    result = fixed_points(TASK, Member.of_datasets("p", 0, "standard", network, xr.Dataset()), TEST, settings)
    zeros = result.isel(point=result["kind"].values == "fixed")
    assert zeros.sizes["point"] > 0
    states = torch.from_numpy(zeros["state"].values)[None]
    doubles = load_networks([network], TEST.attrs["dt"]).double()
    with torch.no_grad():
        force = doubles.force(states, torch.zeros(1, states.shape[1], 1).double())
    assert float(force.abs().max()) < 1e-6
    assert float(result["n_fixed_points"].squeeze()) == zeros.sizes["point"]


def test_derivatives_of_a_gru_equal_differences():
    network = load_networks([gru_file()], 0.02).double().requires_grad_(False)
    flow = NetworkFlow(0.2, 0.1, network, torch.randn(3).double())
    states, step = torch.randn(4, 8).double(), 1e-6
    steps = step * torch.eye(8).double()
    numerical = torch.stack([(flow.force(states + d) - flow.force(states - d)) / (2 * step) for d in steps], -1)
    torch.testing.assert_close(flow.jacobian(states), numerical, atol=1e-7, rtol=1e-6)
    steps = step * torch.eye(3).double()
    numerical = torch.stack(
        [
            (flow.driven_force(states, d.expand(4, -1)) - flow.driven_force(states, -d.expand(4, -1))) / (2 * step)
            for d in steps
        ],
        -1,
    )
    torch.testing.assert_close(flow.input_jacobian(states), numerical, atol=1e-7, rtol=1e-6)
    normal, gradient = flow.normal_equations(states, flow.force(states))
    jacobian = flow.jacobian(states)
    torch.testing.assert_close(normal, jacobian.transpose(1, 2) @ jacobian)
    torch.testing.assert_close(gradient, (flow.force(states)[:, None] @ jacobian)[:, 0])


def test_derivatives_of_a_moment_network_equal_differences():
    networks = made("moment", 0.2, 1).double().requires_grad_(False)
    flow = NetworkFlow(0.2, 0.1, networks, torch.randn(3).double())
    states, step = torch.rand(4, networks.initial_state.shape[1]).double(), 1e-6
    steps = step * torch.eye(states.shape[1]).double()
    numerical = torch.stack([(flow.force(states + d) - flow.force(states - d)) / (2 * step) for d in steps], -1)
    torch.testing.assert_close(flow.jacobian(states), numerical, atol=1e-7, rtol=1e-6)


def gru_file():
    weights = gru(count=1).weights()
    variables = {name: (GRU.dimensions[name], values.numpy()) for name, values in weights.items()}
    return xr.Dataset(variables, attrs={"architecture": "gru", "tau": 0.1, "dt": 0.02})


def test_rates_at_states_of_an_architecture():
    states = np.array([[-1.5, 0.0, 0.5]])
    assert rates_at(gru_file(), states) == pytest.approx(states)
    rate = rate_file()
    assert rates_at(rate, states) == pytest.approx(np.tanh(states))
    assert rates_at(rate.isel(seed=0), states) == pytest.approx(np.tanh(states))
    relu, softplus = (rate.assign_attrs(nonlinearity=name) for name in ("relu", "softplus"))
    assert rates_at(relu, states) == pytest.approx(np.maximum(states, 0))
    assert rates_at(softplus, states) == pytest.approx(np.log1p(np.exp(states)))


def rate_file(**settings):
    weights = made("rate", count=1, **settings).weights()
    variables = {name: (RateRNN.dimensions[name], values.numpy()) for name, values in weights.items()}
    return xr.Dataset(variables, attrs={"tau": 0.1})


def test_networks_that_may_run_side_by_side():
    file = rate_file()
    assert side_by_side(file) == side_by_side(rate_file(gain=0.5)) == side_by_side(file.isel(seed=0))
    others = [
        file.assign_attrs(nonlinearity="relu"),
        file.assign_attrs(tau=0.2),
        rate_file(units=9),
        gru_file(),
    ]
    for other in others:
        assert side_by_side(other) != side_by_side(file)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "softplus"])
def test_the_flow_of_an_architecture(nonlinearity):
    network = gru_file()
    assert isinstance(flow_of(network.isel(seed=0), np.zeros(3), 0.02), NetworkFlow)
    assert np.isnan(constant_input_weights(network)).all()
    file = rate_file().assign_attrs(nonlinearity=nonlinearity)
    flow = flow_of(file.isel(seed=0), np.ones(3), 0.02)
    assert isinstance(flow, RateFlow)
    # By formula and by automatic differentiation alike.
    generic = NetworkFlow(0.2, 0.1, load_networks([file], 0.02).double().requires_grad_(False), torch.ones(3).double())
    states = torch.randn(5, 8).double()
    for name in ("force", "jacobian", "input_jacobian", "step"):
        torch.testing.assert_close(getattr(flow, name)(states), getattr(generic, name)(states))
    for ours, theirs in zip(
        flow.normal_equations(states, flow.force(states)),
        generic.normal_equations(states, flow.force(states)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_files_of_an_unknown_architecture_are_refused():
    with pytest.raises(
        datasets.DatasetError,
        match=f"x.nc: there is no architecture 'lstm'; choose from {', '.join(plugins.names('network'))}",
    ):
        datasets.validate(gru_file().assign_attrs(architecture="lstm"), "network", "x.nc")
    with pytest.raises(datasets.DatasetError, match=r"x.nc: lacks the variable 'candidate_bias'"):
        datasets.validate(gru_file().drop_vars("candidate_bias"), "network", "x.nc")


@pytest.mark.parametrize(
    "network, message",
    [
        ({"architecture": "low_rank"}, "populations.p.network.rank: this key is required"),
        (
            {"rank": 2},
            "populations.p.network.rank = 2: unknown key; known here: architecture, units, gain, tau, recurrent_noise, "
            "nonlinearity",
        ),
        ({"architecture": "low_rank", "rank": 101}, "network.rank = 101: at most network.units = 100"),
        ({"architecture": "low_rank", "rank": 0}, "populations.p.network.rank = 0: input should be greater than or"),
        (
            {"architecture": "low_rank", "rank": "2"},
            "populations.p.network.rank = '2': input should be a valid integer",
        ),
        ({"nonlinearity": "elu"}, "populations.p.network.nonlinearity = 'elu': input should be 'tanh', 'relu' or"),
        (
            {"architecture": "gru", "nonlinearity": "relu"},
            "populations.p.network.nonlinearity = 'relu': unknown key; known here: architecture, units, gain, tau, "
            "recurrent_noise",
        ),
        (
            {"architecture": "lstm"},
            "populations.p.network.architecture = 'lstm': there is no architecture 'lstm'; choose from "
            f"{', '.join(plugins.names('network'))}, or name your own as 'module:Class'",
        ),
        (
            {"architecture": "none_such:Net"},
            "populations.p.network.architecture = 'none_such:Net': the module 'none_such' cannot be imported",
        ),
        (
            {"architecture": "insd.tasks.base:Task"},
            "populations.p.network.architecture = 'insd.tasks.base:Task': is not a subclass of insd.networks.base",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(network, message):
    with pytest.raises(SettingsError) as refusal:
        load({"tasks": {"flip_flop": {}}, "populations": {"p": {"seeds": 1, "network": network}}})
    assert message in str(refusal.value)


@pytest.mark.parametrize("architecture", ["lif", "implicit", "behaviour_plane", "dendritic_plane"])
def test_networks_whose_inputs_act_once_take_no_substeps(architecture):
    entry = {"seeds": 1, "network": {"architecture": architecture}, "training": {"substeps": [1, 2]}}
    with pytest.raises(
        SettingsError, match=rf"substeps = \[1, 2\]: networks of the architecture {architecture} take one"
    ):
        load({"tasks": {"vwm_swap": {}}, "populations": {"p": entry}})


def test_a_plane_of_behaviour_needs_the_inputs_that_act_on_it():
    with pytest.raises(SettingsError, match="the last inputs of the task must be noise_x, noise_y, clamp"):
        load(
            {
                "tasks": {"flip_flop": {"parameters": {"channels": 2}}},
                "populations": {"p": {"seeds": 1, "network": {"architecture": "behaviour_plane"}}},
            }
        )


def layered(defaults, population, alternatives=None):
    entry = {"seeds": 1, "rounds": 2, "network": population, "alternatives": {"network": alternatives or {}}}
    return load({"tasks": {"flip_flop": {}}, "defaults": {"network": defaults}, "populations": {"p": entry}})


def test_layers_of_networks_are_merged_and_checked_by_their_architecture():
    settings = layered({"units": 50}, {"architecture": "low_rank", "rank": 3}, {"rank": 2, "nonlinearity": "relu"})
    first, second = (settings.recipe("flip_flop", "p", number) for number in (0, 1))
    assert isinstance(first.network, LowRankRNN.Settings)
    assert (first.network.units, first.network.rank, first.network.nonlinearity) == (50, 3, "tanh")
    assert (second.network.units, second.network.rank, second.network.nonlinearity) == (50, 2, "relu")
    for recipe in (first, second):
        dumped = recipe.model_dump()
        assert set(dumped["network"]) == set(LowRankRNN.Settings.model_fields)
        assert Recipe.model_validate(dumped) == recipe
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_a_layer_with_a_different_architecture_drops_the_keys_of_the_one_below():
    settings = layered({"nonlinearity": "relu"}, {"architecture": "gru"}, {"architecture": "rate"})
    assert isinstance(settings.recipe("flip_flop", "p", 0).network, GRU.Settings)
    assert settings.recipe("flip_flop", "p", 1).network.nonlinearity == "tanh"
    with pytest.raises(SettingsError, match=r"- defaults\.network\.gian = 2: unknown key; known here: architecture"):
        layered({"gian": 2}, {"architecture": "gru"})
    with pytest.raises(SettingsError, match=r"- populations\.p\.alternatives\.network\.rank = 2: unknown key"):
        layered({}, {}, {"rank": 2})


def test_a_config_of_this_librarys_architectures_is_read_without_pytorch():
    code = (
        "import sys; from insd.settings.load import load\n"
        "for network in ({}, {'architecture': 'low_rank', 'rank': 2}, {'architecture': 'gru'}):\n"
        "    entry = {'seeds': 1, 'role': 'control', 'network': network}\n"
        "    load({'tasks': {'flip_flop': {}}, 'populations': {'p': entry}}).recipe('flip_flop', 'p', 0)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(ROOT), check=True)


def test_settings_are_those_of_the_class():
    for name in plugins.names("network"):
        assert settings_class(name) is plugins.find("network", name).Settings


# Conformance

OWN_KEYS = {"low_rank": [{"rank": 2, "nonlinearity": name} for name in NONLINEARITIES]}
OWN_KEYS |= {"rate": [{"nonlinearity": name} for name in NONLINEARITIES]}
OWN_KEYS |= {"dendritic_plane": [{"branching": 3}]}
OWN_KEYS |= {"lif": [{}, {"reads": "membrane"}, {"recurrence": "none"}]}
OWN_KEYS |= {
    "stochastic_low_rank": [{"rank": 2, "hidden": 7, "nonlinearity": name} for name in ("relu", "clipped_relu")]
}


@pytest.mark.parametrize(
    "name, settings", [(name, settings) for name in plugins.names("network") for settings in OWN_KEYS.get(name, [{}])]
)
def test_every_architecture_passes_the_check(name, settings):
    check_networks(plugins.find("network", name), **settings)


OWN = (ROOT / "docs/own-task.md").read_text().split("### An architecture of your own")[1]
ADAPTING = re.search(r"```python\n(.*?)```", OWN, re.DOTALL)[1]
TOY = f'''{ADAPTING}

class Forgetful(Adapting):
    """Does not say its strength in files."""

    constants = ()

    def __init__(self, weights, alpha, recurrent_noise, strength=0.1):
        super().__init__(weights, alpha, recurrent_noise, strength)


class WrongForce(Adapting):
    """Whose simulation is not that of its force."""

    def forward(self, inputs, noise=None, workspace=None):
        return 0.5 * super().forward(inputs, noise, workspace)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The name of an architecture in a folder of the user's own."""
    (tmp_path / "adapting.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "adapting", raising=False)
    plugins.find.cache_clear()
    yield "adapting:Adapting"
    plugins.find.cache_clear()
    sys.modules.pop("adapting", None)


def test_the_check_says_what_is_wrong(toy):
    check_networks(plugins.find("network", toy), strength=2.0)
    with pytest.raises(
        ArchitectureError, match="Forgetful: networks read from a file have other rates; name what they dep"
    ):
        check_networks(plugins.find("network", "adapting:Forgetful"))
    with pytest.raises(ArchitectureError, match="WrongForce: `forward` is not the Euler map of `force`: by"):
        check_networks(plugins.find("network", "adapting:WrongForce"))


def test_an_architecture_of_the_users_own_from_config_to_analyses(toy, tmp_path):
    network = {"architecture": toy, "units": 12, "strength": 1.0}
    training = recipe({}, iterations=20).training.model_dump()
    config = {
        "tasks": {"flip_flop": {"parameters": {"channels": 1, "duration": 0.6}}},
        "trials": {"train": 96, "evaluation": 16},
        "analysis": {"robustness": {"trials": 16}},
        "populations": {"p": {"seeds": 2, "rounds": 2, "network": network, "training": training}},
    }
    chosen = load(config).recipe("flip_flop", "p", 0)
    assert chosen.network.strength == 1.0
    trained, history = train_round(TASK, BANK, chosen, [("t", "p", 0, 0), ("t", "p", 1, 0)])
    losses = history["held_out_loss"].isel(attempt=0)
    assert (losses.isel(iteration=-1) < losses.isel(iteration=0)).all()
    trained.attrs["settings"] = "{}"
    datasets.write(trained, tmp_path / "network.nc", "network")
    stored = datasets.read(tmp_path / "network.nc", "network")
    assert (stored.attrs["architecture"], stored.attrs["strength"]) == (toy, 1.0)
    assert stored["initial_state"].shape == (2, 24)
    activity = record_activity(stored, TASK, BANK, TEST, Recipe().terms)
    assert activity["rates"].shape[-1] == 12
    loaded = load_networks([stored], TEST.attrs["dt"])
    assert isinstance(loaded, Flowing) and not isinstance(loaded, Connected)
    # Deflated against itself, perturbed, and its flow followed.
    earlier = join_earlier(chosen.terms, [activity], BANK, ["file"])
    deflated, _ = train_round(TASK, BANK, chosen, [("t", "p", 0, 1), ("t", "p", 1, 1)], earlier)
    assert np.isfinite(deflated["elman_weights"]).all()
    one = Member.of_datasets("p", 0, "control", stored.isel(seed=[0]), xr.Dataset())[0]
    levels = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [0.0], "kick_levels": [0.1]}
    result = robustness(TASK, "t", [one], TEST, draws=2, **levels)
    for name in ("noise", "jitter", "silence"):
        np.testing.assert_allclose(result[f"{name}_loss"], result["unperturbed_loss"].item(), rtol=1e-5)
    assert np.isfinite(result["kick_recovery"]).all()
    found = costs(stored.isel(seed=[0]), TEST, 2, 0)
    assert found["mean_squared_recurrent_weight"] == pytest.approx(float(np.square(stored["elman_weights"][0]).mean()))
    assert found["noise_sensitivity"] > 0
    zeros = fixed_points(TASK, [one], TEST, FixedPoints(starts=8, block=1.0, blocks=1))
    assert zeros.sizes["unit"] == 24
    states = zeros["state"].values[:, :24]
    np.testing.assert_allclose(rates_at(one.network, states), np.tanh(states[:, :12]))


def test_networks_without_a_flow_are_left_out_by_capability(tmp_path, monkeypatch):
    (tmp_path / "toy_spikes.py").write_text(
        TOY.split("class AdaptingSettings", maxsplit=1)[0].replace("Flowing,", "Networks,")
        + '''
class Counting(Networks):
    """Counts what comes in: no force, no connections."""

    dimensions = {**READOUT, "drive": ("seed", "unit", "input"), "initial_state": ("seed", "unit")}
    nonlinearity = "none"

    @classmethod
    def initialise(cls, settings, inputs, outputs, alpha, generators):
        count, units = len(generators), settings.units
        weights = {
            "drive": normal(generators, 1.0, units, inputs),
            "output_weights": normal(generators, units**-0.5, outputs, units),
            "output_bias": torch.zeros(count, outputs),
            "initial_state": torch.zeros(count, units),
        }
        return cls(weights, alpha, settings.recurrent_noise)

    def forward(self, inputs, noise=None, workspace=None):
        counted = inputs @ self.drive.mT[:, None] if noise is None else inputs @ self.drive.mT[:, None] + noise
        return self.initial_state[:, None, None] + self.alpha * counted.cumsum(1)
'''
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = "toy_spikes:Counting"
    check_networks(plugins.find("network", name))
    trained, _ = train_round(TASK, BANK, recipe({"architecture": name}, iterations=5), [("t", "p", 0, 0)])
    assert not issubclass(plugins.find("network", name), Flowing | Connected)
    with pytest.raises(FlowError, match="networks of the architecture 'toy_spikes:Counting' have no flow"):
        flow_of(trained.isel(seed=0), np.zeros(1), 0.02)
    assert np.isnan(constant_input_weights(trained)).all()
    levels = {"noise_levels": [0.1], "jitter_levels": [0.1], "silenced_shares": [0.1], "kick_levels": [0.1]}
    result = robustness(
        TASK, "t", Member.of_datasets("p", 0, "control", trained, xr.Dataset()), TEST, draws=2, **levels
    )
    for kind in ("jitter", "silence", "kick", "half_step"):
        assert result[f"{kind}_loss"].isnull().all() and result[f"{kind}_score"].isnull().all()
    assert np.isfinite(result["noise_loss"]).all() and np.isfinite(result["unperturbed_loss"]).all()
    datasets.validate(result, "robustness", "robustness.nc")
    assert np.isnan(costs(trained, TEST, 2, 0)["mean_squared_recurrent_weight"])
