"""Fixed points, cycles and Jacobians of step functions, against closed forms and an independent solver."""

import re

import numpy as np
import pytest
import scipy.optimize
import torch
from conftest import ROOT

import insd
from insd import datasets
from insd.dynamics.flow import RateFlow, flow_of
from insd.dynamics.maps import StepError
from insd.dynamics.search import search
from insd.dynamics.settings import FixedPoints
from insd.imported import import_checkpoint
from insd.tasks.flip_flop import FlipFlop

fixed_points_of, jacobians_of = insd.dynamics.fixed_points_of, insd.dynamics.jacobians_of
PAGE = (ROOT / "docs/own-data.md").read_text()
SHORT = FixedPoints(noise=0.0, block=200.0, blocks=2)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def tensor(values):
    return torch.as_tensor(np.asarray(values, dtype=float))


def multipliers(found):
    return found["multipliers_real"].values + 1j * found["multipliers_imag"].values


def test_a_linear_map():
    random = normal(4, 4)
    matrix = 0.9 * random / np.abs(np.linalg.eigvals(random)).max()
    weights = normal(4, 2, seed=1)
    found = fixed_points_of(
        lambda x, u: x @ tensor(matrix).T + u @ tensor(weights).T, normal(20, 4), [1.0, -0.5], settings=SHORT
    )
    assert found["kind"].values.tolist() == ["fixed"]
    expected = np.linalg.solve(np.eye(4) - matrix, weights @ [1.0, -0.5])
    np.testing.assert_allclose(found["state"].values[0], expected, atol=1e-10)
    np.testing.assert_allclose(found["jacobian"].values[0], matrix, atol=1e-12)
    ours, theirs = multipliers(found)[0], np.linalg.eigvals(matrix)
    np.testing.assert_allclose(np.sort_complex(ours), np.sort_complex(theirs), atol=1e-10)
    np.testing.assert_allclose(found["eigenvalues_real"].values[0], ours.real - 1, atol=1e-12)
    assert found["stable"].all() and found["returns"].all() and found["share_at_points"] == 1
    # The first mode is driven by each input as its left eigenvector says.
    left = found["left_eigenvector_real"].values[0] + 1j * found["left_eigenvector_imag"].values[0]
    np.testing.assert_allclose(found["input_selection"].values[0], np.abs(left @ weights), atol=1e-10)


def henon(x, a=1.4, b=0.3):
    return torch.stack([1 - a * x[:, 0] ** 2 + x[:, 1], b * x[:, 0]], 1)


def test_the_henon_map():
    found = fixed_points_of(henon, 0.5 * normal(40, 2), settings=SHORT)
    # x = 1 - 1.4 x^2 + 0.3 x, and y = 0.3 x.
    x = np.roots([1.4, 0.7, -1.0])
    order = np.argsort(-found["state"].values[:, 0])
    np.testing.assert_allclose(found["state"].values[order], np.stack([x, 0.3 * x], 1)[np.argsort(-x)], atol=1e-12)
    for point, root in zip(order, np.sort(x)[::-1], strict=True):
        jacobian = np.array([[-2.8 * root, 1.0], [0.3, 0.0]])
        np.testing.assert_allclose(found["jacobian"].values[point], jacobian, atol=1e-12)
        np.testing.assert_allclose(
            np.sort(multipliers(found)[point].real), np.sort(np.linalg.eigvals(jacobian)), atol=1e-10
        )
    # Both are saddles; runs are on the strange attractor, or diverge.
    assert not found["stable"].any() and found["n_cycles"] == 0 and found["share_elsewhere"] > 0.9


def turning(x, u, period=17.3):
    """Rotation on the unit circle, faster by the input, which attracts."""
    angle = 2 * np.pi / period * (1 + u)
    turned = torch.cat(
        [angle.cos() * x[:, :1] - angle.sin() * x[:, 1:], angle.sin() * x[:, :1] + angle.cos() * x[:, 1:]], 1
    )
    return turned * (1.1 - 0.1 * x.square().sum(1, keepdim=True))


def test_a_limit_cycle_under_two_inputs():
    found = fixed_points_of(
        turning, normal(20, 2), {"slow": [0.0], "fast": [0.5]}, readout=[[1.0, 2.0]], settings=SHORT
    )
    np.testing.assert_allclose(found["cycle_period"], [17.3, 17.3 / 1.5], rtol=1e-4)
    assert found["cycle_condition"].values.tolist() == ["slow", "fast"] == found["searched_condition"].values.tolist()
    np.testing.assert_allclose(np.linalg.norm(found["cycle_state"], axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(found["cycle_amplitude"], 1, atol=1e-3)
    assert found["n_cycles"].values.tolist() == [[1, 1]] and (found["share_at_cycles"] == 1).all()
    np.testing.assert_allclose(found["state"], 0, atol=1e-12)
    for point, angle in enumerate(2 * np.pi / 17.3 * np.array([1, 1.5])):
        np.testing.assert_allclose(multipliers(found)[point], 1.1 * np.exp([1j * angle, -1j * angle]), atol=1e-10)
    np.testing.assert_allclose(found["cycle_outputs"], found["cycle_state"].values @ [[1.0], [2.0]])
    np.testing.assert_allclose(found["outputs"], 0, atol=1e-12)


def test_a_cycle_of_two_steps_is_one_of_a_map():
    found = fixed_points_of(lambda x: 3.2 * x * (1 - x), np.linspace(0.1, 0.9, 20)[:, None], settings=SHORT)
    assert found["n_cycles"] == 1 and not found["cycle_step_artefact"].any()
    assert found["cycle_period"].values == pytest.approx([2], rel=1e-3)
    # (a + 1 +- sqrt((a - 3)(a + 1))) / (2 a)
    on_it = (4.2 + np.sqrt(0.2 * 4.2) * np.array([-1, 1])) / 6.4
    assert np.abs(on_it - found["cycle_state"].values[0]).min() < 1e-5
    np.testing.assert_allclose(np.sort(found["state"].values[:, 0]), [0, 1 - 1 / 3.2], atol=1e-10)
    np.testing.assert_allclose(np.sort(multipliers(found)[:, 0].real), [2 - 3.2, 3.2], atol=1e-10)


def test_a_slow_point_and_runs_that_diverge():
    # The ghost of a saddle-node; past it, runs go to infinity.
    found = fixed_points_of(lambda x: x + 0.1 * (1e-3 + x**2), np.linspace(-1, 1, 21)[:, None], settings=SHORT)
    assert found["kind"].values.tolist() == ["slow"] and abs(found["state"].item()) < 1e-3
    assert found["speed"].item() == pytest.approx((1e-4) ** 2 / 2, rel=1e-3)
    # Those that are not past it after two blocks are near it.
    assert found["share_elsewhere"] + found["share_slow"] == 1 and found["share_elsewhere"] > 0.4
    unstable = fixed_points_of(lambda x: 2 * x, normal(10, 3), settings=SHORT)
    np.testing.assert_allclose(unstable["state"], np.zeros((1, 3)), atol=1e-12)
    assert unstable["share_elsewhere"] == 1 and not unstable["stable"].any()


def gru(units=8, gain=3.0, seed=1):
    torch.manual_seed(seed)
    cell = torch.nn.GRUCell(2, units)
    with torch.no_grad():
        cell.weight_hh *= gain
    return cell


def test_a_gated_cell_against_an_independent_solver():
    cell, inputs = gru(units=6, gain=4.0).double(), np.array([0.3, -0.2])
    starts = np.random.default_rng(0).uniform(-1, 1, (60, 6))
    found = fixed_points_of(lambda x, u: cell(u, x), starts, inputs, settings=SHORT)
    fixed = found["state"].values[found["kind"].values == "fixed"]

    def force(x):
        with torch.no_grad():
            return (cell(tensor(inputs)[None], tensor(x)[None])[0] - tensor(x)).numpy()

    solved = [scipy.optimize.root(force, start, tol=1e-12) for start in starts]
    roots = np.array([one.x for one in solved if one.success and np.abs(force(one.x)).max() < 1e-12])
    # Where states beyond 1 saturate the update gate, the cell nearly stands still: no state gets there.
    assert np.abs(fixed).max() < 1 and found["n_outliers"] > 0
    distances = np.linalg.norm(roots[:, None] - fixed, axis=2)
    # Every root is listed, and every point listed is a root.
    assert len(roots) > 10 and len(fixed) == 5 and distances.min(1).max() < 1e-6
    for state in fixed:
        assert np.linalg.norm(scipy.optimize.root(force, state, tol=1e-12).x - state) < 1e-6
    jacobian = torch.autograd.functional.jacobian(lambda x: cell(tensor(inputs)[None], x[None])[0], tensor(fixed[0]))
    np.testing.assert_allclose(jacobians_of(lambda x, u: cell(u, x), fixed, inputs)[0], jacobian, atol=1e-12)


def test_the_search_of_gated_networks_leaves_out_the_same_points():
    cell, inputs = gru(units=6, gain=4.0), np.array([0.3, -0.2])
    module = torch.nn.Module()
    module.rnn, module.readout = torch.nn.GRU(2, 6), torch.nn.Linear(6, 2)
    module.rnn.load_state_dict({f"{name}_l0": values for name, values in cell.state_dict().items()})
    trials = FlipFlop(channels=2).sample("test", 2, 0)
    network, dt = import_checkpoint(module, trials).isel(seed=0), trials.attrs["dt"]
    starts = np.random.default_rng(0).uniform(-1, 1, (60, 6))
    settings = SHORT.model_copy(update={"block": SHORT.block * dt})
    found = search(flow_of(network, inputs, dt), tensor(starts), settings, np.random.default_rng(0))
    assert found["n_outliers"] > 0 and found["n_fixed_points"] + found["n_slow_points"] == found.sizes["point"]
    # States are between -1 and 1; without the rule, points far outside are listed.
    assert np.abs(found["state"]).max() < 2 * np.sqrt(6)
    expected = fixed_points_of(cell, starts, inputs, settings=SHORT)
    fixed, others = (one["state"].values[one["kind"].values == "fixed"] for one in (found, expected))
    distances = np.linalg.norm(fixed[:, None] - others, axis=2)
    assert len(fixed) == len(others) == 5 and distances.min(1).max() < 1e-6


def test_modules_are_taken_as_they_are():
    cell = gru()
    double = gru().double()
    states, constant = np.random.default_rng(0).uniform(-1, 1, (6, 8)), [0.3, -0.2]
    expected = jacobians_of(lambda x, u: double(u, x), states, constant)
    whole = torch.nn.GRU(2, 8, batch_first=True)
    whole.load_state_dict({f"{name}_l0": values for name, values in cell.state_dict().items()})

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, state, inputs):
            return self.cell(inputs, state)

        def later(self, state, inputs):
            return self.cell(inputs, state)

    for module in (cell, whole, Model(), Model().later):
        np.testing.assert_allclose(jacobians_of(module, states, constant), expected, atol=1e-12)
    assert cell.weight_hh.dtype == torch.float32, "the module itself is left alone"
    np.testing.assert_allclose(
        jacobians_of(cell, states), jacobians_of(lambda x, u: double(u, x), states, [0.0, 0.0]), atol=1e-12
    )
    long = torch.nn.LSTMCell(2, 3)
    assert jacobians_of(long, normal(4, 6), constant).shape == (4, 6, 6)


def test_an_euler_step_has_the_points_of_its_differential_equation():
    dt, tau = 0.02, 0.1
    weights, drive = 1.5 / np.sqrt(12) * normal(12, 12, seed=4), 0.1 * normal(12, seed=5)
    ours = RateFlow(
        dt / tau,
        tau,
        tensor(weights),
        tensor(drive),
        torch.eye(12).double(),
        torch.tanh,
        lambda x: 1 - x.tanh().square(),
    )
    settings = FixedPoints(noise=0.0, block=4.0, blocks=2)
    starts = normal(30, 12)
    expected = search(ours, tensor(starts), settings, np.random.default_rng(0))
    found = fixed_points_of(
        lambda x: x + dt / tau * (-x + x.tanh() @ tensor(weights).T + tensor(drive)),
        starts,
        dt=dt,
        tau=tau,
        settings=settings,
    )
    assert found.sizes["point"] == expected.sizes["point"] > 0
    for name in ("state", "eigenvalues_real", "stable_flow", "speed", "kind"):
        if found[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(found[name], expected[name])
    assert found.attrs == {"dt": dt, "tau": tau}


def test_the_dataset_is_a_file_of_fixed_points(tmp_path):
    found = fixed_points_of(turning, normal(8, 2), {"slow": [0.0], "fast": [0.5]}, settings=SHORT, name="mine")
    datasets.write(found, tmp_path / "points.nc", "fixed_points")
    read = datasets.read(tmp_path / "points.nc", "fixed_points")
    assert set(read["network"].values) == {"mine"} and read["searched_network"].values.tolist() == ["mine"]


def test_states_along_trajectories():
    trials = normal(4, 10, 2)
    trials[1, 6:] = np.nan
    visited = []

    def noting(x, u):
        visited.append(len(x))
        return turning(x, u)

    found = fixed_points_of(noting, trials, [0.0], settings=SHORT)
    assert found["share_at_cycles"] == 1 and 36 in visited
    few = FixedPoints(starts=10, noise=0.1, block=200.0, blocks=1)
    visited.clear()
    fixed_points_of(noting, trials, [0.0], settings=few)
    assert 10 in visited and 36 not in visited


SINGLE = gru()
STATES = normal(6, 8)


def broken(x, u):
    return undefined


@pytest.mark.parametrize(
    ("step", "arguments", "message"),
    [
        (lambda x, u: SINGLE(u, x), {}, r"step: computes in single precision, .* \(module.double\(\)\)"),
        (lambda x, u: x.float(), {}, "step: computes in single precision"),
        (broken, {}, r"step: fails for states \(6, 8\) \(NameError: name 'undefined' is not defined, .*test_maps"),
        (
            lambda x, u: x,
            {"inputs": None},
            r"step: fails .* argument: 'u'\); if it takes an input, give inputs={\"off\": \[",
        ),
        (lambda x, u: (x, x), {}, r"step: gives a tuple for states \(6, 8\); needs the next states"),
        (lambda x, u: x[:, :3], {}, r"step: gives a tensor \(6, 3\) for states \(6, 8\)"),
        (lambda x, u: x / 0, {}, "step: gives values that are not finite"),
        (lambda x, u: x + torch.randn_like(x), {}, "step: gives different states from the same ones; switch off noise"),
        (lambda x, u: x - x.mean(0), {}, "step: a state's next one depends on the other rows"),
        (lambda x, u: x.detach().tanh() + 0.1 * x, {}, "step: its derivative is not that of its values"),
        (lambda x, u: torch.from_numpy(np.tanh(x.numpy())), {}, "step: cannot be differentiated by torch.func"),
        (torch.nn.GRU(2, 8, num_layers=2), {}, "step: is a module of several layers"),
        (torch.nn.LSTM(2, 8), {}, "step: give a torch.nn.LSTMCell"),
        (SINGLE, {"inputs": np.zeros((5, 2))}, r"inputs, input: has shape \(5, 2\); needs finite numbers \(2,\). Give"),
        (SINGLE, {"inputs": {"left": [1.0]}}, r"inputs, left: has shape \(1,\); needs finite numbers \(2,\)"),
        (SINGLE, {"inputs": {}}, "inputs: are empty; leave them out"),
        (SINGLE, {"inputs": {"a": [1.0, 0.0], "b": [1.0]}}, r"inputs, b: has shape \(1,\)"),
        (turning, {"inputs": {"a": [1.0], "b": [1.0, 2.0]}}, "inputs: have 1 and 2 numbers; give all of them the same"),
        (lambda x, u: x.mul_(0.5), {}, "step: writes into the states that it is given; return new ones"),
        (SINGLE, {"seed": -1}, "seed = -1: must be 0 or more"),
        (SINGLE, {"dt": 0.1, "tau": np.inf}, "dt = 0.1 and tau = inf: dt must be positive, tau at least dt, and both"),
        (SINGLE, {"inputs": "left"}, "inputs, input: cannot be read as an array of numbers"),
        (SINGLE, {"states": np.full((3, 8), np.nan)}, r"states: have shape \(3, 8\), or hold NaN"),
        (SINGLE, {"states": np.zeros(8)}, r"states: have shape \(8,\), or hold NaN; needs finite states"),
        (SINGLE, {"dt": 0.1, "tau": 0.05}, "dt = 0.1 and tau = 0.05: dt must be positive, tau at least dt"),
        (
            SINGLE,
            {"settings": FixedPoints(block=20.0)},
            "settings.block = 20 is less than 64 steps of dt = 1; raise it",
        ),
        (SINGLE, {"readout": np.ones((1, 3))}, r"readout: has shape \(1, 3\); needs \(output, unit\) with 8 units"),
        (SINGLE, {"readout": torch.nn.Linear(3, 1)}, r"readout: fails for states \(\d+, 8\) \(RuntimeError"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(step, arguments, message):
    given = {
        "states": STATES,
        "inputs": [0.0, 0.0],
        "settings": FixedPoints(block=64.0, blocks=1, starts=6),
        **arguments,
    }
    with pytest.raises(StepError, match=message) as refused:
        fixed_points_of(step, given.pop("states"), given.pop("inputs"), **given)
    assert "\n" not in str(refused.value)


def test_jacobians_are_of_one_input():
    with pytest.raises(StepError, match="inputs: 2 inputs by name; give one"):
        jacobians_of(turning, normal(3, 2), {"a": [0.0], "b": [1.0]})


def test_the_lines_of_the_documentation_run(capsys):
    (code,) = re.findall(r"```python\n(import torch\nimport insd\n.+?)```", PAGE, re.DOTALL)
    exec(code, {})
    assert re.search(r"left +fixed .+True", capsys.readouterr().out)
