"""Gated and low-rank networks: against PyTorch's, in training, in files and in every analysis that reads weights."""

import numpy as np
import pytest
import torch
import xarray as xr

from insd import datasets
from insd.activity import join_earlier, record_activity, simulate_trials
from insd.analysis.costs import costs
from insd.analysis.fixed_points import fixed_points
from insd.analysis.performance import performance
from insd.analysis.robustness import robustness
from insd.dynamics.flow import NetworkFlow, RateFlow, flow_of
from insd.members import Round
from insd.networks import GRU, LowRankRNN, RateRNN, RecurrentNetworks, constant_input_weights, load_networks, rates_at
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.config import Deflation, FixedPoints, Network, Recipe, Training, load
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.6, regimes={})
SIZES = {"units": 8, "inputs": 3, "outputs": 2, "gain": 1.2}


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 96, 1), trials("test", 16, 2)


def streams(count):
    return [torch.Generator().manual_seed(number) for number in range(count)]


def gru(alpha=1.0, count=2):
    networks = GRU.initialise(**SIZES, alpha=alpha, recurrent_noise=0.05, generators=streams(count))
    for name in ("bias", "candidate_bias", "initial_state"):
        getattr(networks, name).data.normal_()
    return networks


def recipe(architecture, rank=None, iterations=60):
    return Recipe(
        network=Network(units=12, architecture=architecture, rank=rank),
        training=Training(
            iterations=iterations, batch_size=32, evaluate_every=20, validation_trials=32, restarts=0, step_size=1e-2
        ),
    )


@pytest.fixture(scope="module", params=["gru", "low_rank"])
def chain(request):
    """A reference and an alternative of an architecture, with the activity of both."""
    settings = recipe(request.param, 2 if request.param == "low_rank" else None)
    rounds = []
    for number in (0, 1):
        earlier = join_earlier([rounds[0][2]], BANK, ["file"]) if number else None
        network, history = train_round(TASK, BANK, settings, [("t", "p", 0, number)], earlier)
        network.attrs["settings"] = "{}"
        rounds.append((network, history, record_activity(network, TASK, BANK, TEST, Deflation())))
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
    rate = RateRNN.initialise(**SIZES, alpha=alpha, recurrent_noise=0.05, generators=streams(2))
    for networks in (gru(alpha), rate):
        plain = RecurrentNetworks.forward(networks, inputs, noise)
        torch.testing.assert_close(networks(inputs, noise), plain, atol=1e-5, rtol=1e-5)
        states = torch.randn(2, 5, 8)
        torch.testing.assert_close(networks.states_of(networks.rates_of(states)).float(), states, atol=1e-4, rtol=1e-4)


def test_low_rank_weights_have_their_rank_and_the_variance_of_the_gain():
    networks = LowRankRNN.initialise_rank(
        rank=3, units=100, inputs=3, outputs=2, gain=1.5, alpha=0.2, recurrent_noise=0.0, generators=streams(20)
    )
    weights = networks.recurrent_weights
    assert torch.linalg.matrix_rank(weights).tolist() == [3] * 20
    assert weights.std().item() == pytest.approx(1.5 / 10, rel=0.1)
    assert "recurrent_weights" not in networks.weights()


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
    one = Round("p", 0, "standard", network, xr.Dataset())
    levels = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [0.0], "kick_levels": [0.1]}
    result = robustness(TASK, "t", [one], TEST, draws=2, **levels)
    for name in ("noise", "jitter", "silence"):
        np.testing.assert_allclose(result[f"{name}_loss"], result["unperturbed_loss"].item(), rtol=1e-5)
    assert np.isfinite(result["kick_recovery"]).all() and np.isfinite(result["half_step_loss"]).all()
    scores = performance(TASK, "t", [one], {"test": TEST}, 8)
    assert scores["score"].item() == chain[1][2]["score"].item()
    found = costs(network, TEST, 2, 0)
    names = set(network.data_vars) - {"restarts"}
    if network.attrs["architecture"] == "low_rank":
        names -= {"recurrent_weights"}
    expected = sum(float(np.square(network[name].astype(float)).sum()) for name in names)
    assert found["sum_squared_weights"] == pytest.approx(expected, rel=1e-5)
    assert found["noise_sensitivity"] > 0


def test_silenced_units_are_heard_by_none(chain):
    network = chain[1][0]
    one = Round("p", 0, "standard", network, xr.Dataset())
    levels = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [1.0], "kick_levels": [0.1]}
    result = robustness(TASK, "t", [one], TEST, draws=1, **levels)
    # Only the bias of the readout is left.
    constant = np.broadcast_to(network["output_bias"].values[:, None, None], (1, 16, TEST.sizes["time"], 1))
    assert float(result["silence_score"].squeeze()) == pytest.approx(float(TASK.score(TEST, constant)[0]))


def test_fixed_points_are_zeros_of_the_step(chain):
    network = chain[0][0]
    settings = FixedPoints(starts=24, block=2.0, blocks=2)
    result = fixed_points(TASK, [Round("p", 0, "standard", network, xr.Dataset())], TEST, settings)
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


def gru_file():
    weights = gru(count=1).weights()
    dimensions = datasets.ARCHITECTURE_WEIGHTS["gru"]
    variables = {name: (dimensions[name], values.numpy()) for name, values in weights.items()}
    return xr.Dataset(variables, attrs={"architecture": "gru", "tau": 0.1, "dt": 0.02})


def test_rates_at_states_of_an_architecture():
    states = np.array([[-1.5, 0.0, 0.5]])
    assert rates_at(gru_file(), states) == pytest.approx(states)
    assert rates_at(gru_file().assign_attrs(architecture="rate"), states) == pytest.approx(np.tanh(states))


def test_the_flow_of_an_architecture():
    network = gru_file()
    assert isinstance(flow_of(network.isel(seed=0), np.zeros(3), 0.02), NetworkFlow)
    assert np.isnan(constant_input_weights(network)).all()
    rate = RateRNN.initialise(**SIZES, alpha=0.2, recurrent_noise=0.0, generators=streams(1)).weights()
    file = xr.Dataset(
        {name: (datasets.WEIGHTS[name], values.numpy()) for name, values in rate.items()}, attrs={"tau": 0.1}
    )
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
    with pytest.raises(datasets.DatasetError, match=r"x.nc: the architecture 'lstm' is none of: rate, low_rank, gru"):
        datasets.validate(gru_file().assign_attrs(architecture="lstm"), "network", "x.nc")
    with pytest.raises(datasets.DatasetError, match=r"x.nc: lacks the variable 'candidate_bias'"):
        datasets.validate(gru_file().drop_vars("candidate_bias"), "network", "x.nc")


@pytest.mark.parametrize(
    "network, message",
    [
        ({"architecture": "low_rank"}, "network.rank = None: needed by the architecture 'low_rank' and by no other"),
        ({"rank": 2}, "network.rank = 2: needed by the architecture 'low_rank' and by no other; this one is 'rate'"),
        ({"architecture": "low_rank", "rank": 101}, "network.rank = 101: at most network.units = 100"),
        ({"architecture": "lstm"}, "populations.p.network.architecture = 'lstm': input should be 'rate', 'gru' or"),
    ],
)
def test_settings_that_do_not_fit_are_refused(network, message):
    with pytest.raises(SettingsError) as refusal:
        load({"tasks": {"flip_flop": {}}, "populations": {"p": {"seeds": 1, "network": network}}})
    assert message in str(refusal.value)
