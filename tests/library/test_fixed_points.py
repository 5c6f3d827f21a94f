"""Fixed points, cycles and line attractors, on networks whose points are known and against independent solvers."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.spatial.distance
import torch
import xarray as xr
from known import TASKS
from zeros import independent_memories, zeros_by_scan

from insd.analysis.line_attractor import line_attractor
from insd.dynamics import limit_cycles
from insd.dynamics.flow import RateFlow
from insd.dynamics.limit_cycles import Cycle, find_cycle
from insd.dynamics.long_runs import FAILURES, long_runs
from insd.dynamics.search import fixed_points, search
from insd.dynamics.settings import FixedPoints
from insd.dynamics.zeros import MIDPOINTS, merge, midpoints, minimise_speed
from insd.members import Member
from insd.tasks.flip_flop import FlipFlop

DT, TAU = 0.02, 0.1
QUICK = FixedPoints(starts=64, blocks=2)


def flow_of(weights, drive=None, dt=DT):
    weights = torch.as_tensor(weights, dtype=torch.float64)
    drive = torch.zeros(len(weights)) if drive is None else torch.as_tensor(drive)
    matrices = weights, drive.double(), torch.eye(len(weights)).double()
    return RateFlow(dt / TAU, TAU, *matrices, torch.tanh, lambda states: 1 - torch.tanh(states).square())


def searched(flow, settings=QUICK, seed=0, spread=2.0):
    """The search from normal starts, with one input per unit."""
    random = np.random.default_rng(seed)
    units = len(flow.drive)
    starts = torch.from_numpy(spread * random.standard_normal((settings.starts, units)))
    return search(flow, starts, settings, random)


@pytest.fixture(scope="module")
def random_network():
    """A network of gain 1.3 with random drive: few points, most of them unstable."""
    random = np.random.default_rng(3)
    return flow_of(1.3 / np.sqrt(30) * random.standard_normal((30, 30)), 0.05 * random.standard_normal(30))


def orthonormal(rows, columns):
    """Columns of a Hadamard matrix of entries -1 and 1 (but the first), orthogonal to each other."""
    matrix = np.ones((1, 1))
    while len(matrix) < rows:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix[:, 1 : columns + 1]


def test_bistable_pair():
    # Two units that excite each other with weight 2: x = 2 tanh(x) on the diagonal, and 0 between.
    found = searched(flow_of([[0.0, 2.0], [2.0, 0.0]]))
    root = scipy.optimize.brentq(lambda x: 2 * np.tanh(x) - x, 1, 3)
    states = found["state"].values[np.argsort(found["state"].values[:, 0])]
    np.testing.assert_allclose(states, [[-root, -root], [0, 0], [root, root]], atol=1e-10)
    assert found["stable"].values[np.argsort(found["state"].values[:, 0])].tolist() == [True, False, True]
    np.testing.assert_array_equal(found["returns"], found["stable"])
    # At 0 the Jacobian is [[-1, 2], [2, -1]] / tau, with eigenvalues 1 / tau and -3 / tau and the diagonal first.
    at_zero = found.isel(point=int(np.abs(found["state"].values).sum(1).argmin()))
    np.testing.assert_allclose(at_zero["eigenvalues_real"], [10, -30])
    np.testing.assert_allclose(at_zero["right_eigenvector_real"], np.full(2, np.sqrt(0.5)))
    np.testing.assert_allclose(at_zero["input_selection"], np.full(2, np.sqrt(0.5)))
    assert found["share_at_points"] == 1


def test_memories_of_orthogonal_patterns():
    # J = (2 / N) sum of p p^T for orthogonal patterns p of -1 and 1: p itself is stored with both signs, and is
    # stable since its overlap with the others vanishes; x = 2 tanh(x) along it.
    patterns = orthonormal(32, 3)
    found = searched(flow_of(2.0 / 32 * patterns @ patterns.T))
    root = scipy.optimize.brentq(lambda x: 2 * np.tanh(x) - x, 1, 3)
    stable = found["state"].values[found["stable"].values]
    for memory in np.concatenate([patterns.T, -patterns.T]):
        assert np.abs(stable - root * memory).max(1).min() < 1e-8
    # Hopfield networks of three patterns also store the mixtures sign(+-p1 +-p2 +-p3) (Amit et al. 1985), which take
    # over at low temperature; at this gain of 2 they must be found stable by the eigenvalues if they are at all.
    assert found["n_stable_fixed_points"] == len(stable)
    assert len(stable) >= 6
    assert found["share_at_points"] == 1


def test_all_zeros_of_three_memories():
    weights, zeros = independent_memories(3, 24, 3.0)
    found = searched(flow_of(weights))
    assert found["n_fixed_points"] == len(zeros) == 27
    distances = scipy.spatial.distance.cdist(zeros, found["state"].values)
    assert distances.min(1).max() < 1e-9
    # A bit at 0 is unstable, the two others are not.
    at_zero = (np.abs(zeros).reshape(27, 3, 8).max(2) == 0).sum(1)
    unstable = (found["eigenvalues_real"].values > 0).sum(1)[distances.argmin(1)]
    np.testing.assert_array_equal(unstable, at_zero)
    # The starts alone lead to fewer.
    starts = torch.from_numpy(2 * np.random.default_rng(0).standard_normal((64, 24)))
    ends, speed = minimise_speed(flow_of(weights), starts)
    assert (scipy.spatial.distance.cdist(zeros, ends[speed < 1e-14]).min(1) > 0.1).any()


@pytest.mark.parametrize(("rank", "cells", "seed"), [(1, 400, 0), (2, 200, 1), (2, 200, 3), (3, 50, 1), (3, 50, 5)])
def test_all_zeros_of_a_network_of_low_rank(rank, cells, seed):
    random = np.random.default_rng(seed)
    left = random.standard_normal((60, rank))
    right = 2.5 * left + 0.5 * random.standard_normal((60, rank))
    drive = 0.05 * random.standard_normal(60)
    zeros, index = zeros_by_scan(left, right, drive, cells)
    assert index == 1 and len(zeros) >= 3
    found = searched(flow_of(left @ right.T / 60, drive))
    states = found["state"].values[found["kind"].values == "fixed"]
    distances = scipy.spatial.distance.cdist(zeros, states)
    assert distances.min(1).max() < 1e-6 and len(states) == len(zeros)


def test_midpoints_are_of_pairs_and_few():
    random = np.random.default_rng(0)
    corners = torch.tensor([[0.0], [2.0], [6.0]], dtype=torch.float64)
    assert sorted(midpoints(corners, random)[:, 0].tolist()) == [1, 3, 4]
    assert [len(midpoints(corners[:count], random)) for count in (0, 1, 2)] == [0, 0, 1]
    assert len(midpoints(torch.zeros(100, 1), random)) == MIDPOINTS


def test_points_agree_with_an_independent_root_finder(random_network):
    found = searched(random_network)
    weights, drive = random_network.recurrent_weights.numpy(), random_network.drive.numpy()
    fixed = found["kind"].values == "fixed"
    assert fixed.any()
    for state in found["state"].values[fixed]:
        force = -state + weights @ np.tanh(state) + drive
        assert force @ force / 2 < 1e-14
        root = scipy.optimize.root(lambda x: -x + weights @ np.tanh(x) + drive, state, method="hybr").x
        assert np.linalg.norm(root - state) < 1e-6


def test_eigenvalues_agree_with_autograd(random_network):
    found = searched(random_network)
    for point in range(found.sizes["point"]):
        state = torch.from_numpy(found["state"].values[point])

        def step(x):
            return x + DT / TAU * (-x + random_network.recurrent_weights @ torch.tanh(x) + random_network.drive)

        of_map = torch.linalg.eigvals(torch.func.jacrev(step)(state)).numpy()
        ours = found["eigenvalues_real"].values[point] + 1j * found["eigenvalues_imag"].values[point]
        expected = (of_map - 1) / DT
        distances = np.abs(ours[:, None] - expected)
        assert distances.min(1).max() < 1e-8 and distances.min(0).max() < 1e-8
        assert found["stable"].values[point] == (np.abs(of_map) < 1).all()
        assert (np.diff(ours.real) <= 0).all()


def test_leading_eigenvectors(random_network):
    found = searched(random_network)
    for point in range(found.sizes["point"]):
        one = found.isel(point=point)
        jacobian = random_network.jacobian(torch.from_numpy(one["state"].values)[None])[0].numpy() / TAU
        value = one["eigenvalues_real"].values[0] + 1j * one["eigenvalues_imag"].values[0]
        right = one["right_eigenvector_real"].values + 1j * one["right_eigenvector_imag"].values
        left = one["left_eigenvector_real"].values + 1j * one["left_eigenvector_imag"].values
        np.testing.assert_allclose(jacobian @ right, value * right, atol=1e-9)
        np.testing.assert_allclose(left @ jacobian, value * left, atol=1e-9)
        assert left @ right == pytest.approx(1)
        assert np.linalg.norm(right) == pytest.approx(1)
        largest = right[np.abs(right).argmax()]
        assert largest.real > 0 and abs(largest.imag) < 1e-12
        np.testing.assert_allclose(one["input_selection"], np.abs(left))


def test_another_search_adds_no_stable_point():
    patterns = orthonormal(32, 2)
    flow = flow_of(2.5 / 32 * patterns @ patterns.T)
    first, second = searched(flow, seed=0), searched(flow, seed=1)
    stable = [found["state"].values[found["stable"].values] for found in (first, second)]
    assert len(stable[0]) == len(stable[1])
    assert scipy.spatial.distance.cdist(*stable).min(0).max() < 1e-8


def test_limit_cycle_and_its_period():
    # Growing rotation, bounded by the tanh: compared with the differential equation at a small step.
    flow = flow_of([[2.0, -1.5], [1.5, 2.0]], dt=0.002)
    found = searched(flow, FixedPoints(starts=16, block=8.0, blocks=2), spread=1.0)
    solution = scipy.integrate.solve_ivp(
        lambda _, x: (-x + flow.recurrent_weights.numpy() @ np.tanh(x)) / TAU,
        (0, 20),
        [1.0, 0.0],
        rtol=1e-9,
        atol=1e-9,
        events=lambda _, x: x[1],
    )
    period = np.diff(solution.t_events[0][-3::2])[0]
    assert found.sizes["cycle"] == 1 and found["n_cycles"] == 1
    assert found["cycle_period"].values[0] == pytest.approx(period, rel=0.01)
    assert found["share_at_cycles"] == 1
    assert not found["stable"].any()
    assert not found["cycle_step_artefact"].any()
    states = solution.y[:, solution.t > 10]
    force = -states + flow.recurrent_weights.numpy() @ np.tanh(states)
    speed = np.square(force).sum(0) / 2
    assert found["cycle_speed_min"].values[0] == pytest.approx(speed.min(), rel=0.05)
    assert found["cycle_speed_max"].values[0] == pytest.approx(speed.max(), rel=0.05)
    # The period of the Euler map itself, by counting turns of a long run.
    states = flow.run(torch.tensor([[1.0, 0.0]], dtype=torch.float64), 50_000, 40_000)[1][:, 0].numpy()
    turns = np.unwrap(np.arctan2(states[:, 1], states[:, 0]))
    counted = 2 * np.pi * (len(turns) - 1) * flow.dt / (turns[-1] - turns[0])
    assert found["cycle_period"].values[0] == pytest.approx(counted, rel=1e-3)


def test_cycle_of_incommensurate_period_is_exact():
    times = np.arange(500)
    phase = 2 * np.pi * times / 17.345
    orbit = np.stack([np.cos(phase), np.sin(phase) + 0.3 * np.cos(3 * phase), np.cos(2 * phase)], axis=1)
    period, curve = find_cycle(orbit)
    assert period == pytest.approx(17.345, abs=1e-4)
    angles = np.linspace(0, 2 * np.pi, 2000)
    expected = np.stack([np.cos(angles), np.sin(angles) + 0.3 * np.cos(3 * angles), np.cos(2 * angles)], axis=1)
    assert scipy.spatial.distance.cdist(curve, expected).min(1).max() < 0.01
    torus = orbit + 0.2 * np.cos(2 * np.pi * times / 17.345 / np.sqrt(2))[:, None]
    assert find_cycle(torus) is None


def test_cycle_knows_the_runs_on_it():
    angles = 2 * np.pi * torch.arange(256) / 256
    cycle = Cycle(torch.tensor([1.0, 0.0]), torch.stack([angles.cos(), angles.sin()], 1).float(), 10.0, 1.0)
    phases = torch.linspace(0, 5, 20)[:, None] + torch.tensor([0.0, 1.0, 2.0])
    orbit = torch.stack([phases.cos(), phases.sin()], 2) * torch.tensor([1.0, 1.02, 1.3])[:, None]
    assert cycle.holds(orbit).tolist() == [True, True, False]


def test_runs_with_a_cycle_each_are_not_all_fitted(monkeypatch):
    # Three equal rotations without connections between them: every run keeps the phases between them that it began
    # with, so that nearly each is on a closed curve of its own.
    rotation = np.array([[1.2, -1.5], [1.5, 1.2]])
    flow = flow_of(np.kron(np.eye(3), rotation))
    fitted = []
    monkeypatch.setattr(limit_cycles, "find_cycle", lambda orbit: fitted.append(len(orbit)) or find_cycle(orbit))
    starts = torch.from_numpy(np.random.default_rng(0).standard_normal((256, 6)))
    runs = long_runs(flow, starts, QUICK)
    # Those of the blocks, and of the cycles once more at the end.
    alone = sum(int((runs.cycle_of_run == number).sum()) == 1 for number in range(len(runs.cycles)))
    assert 0 < alone <= QUICK.blocks * FAILURES
    assert len(fitted) <= 2 * (QUICK.blocks * FAILURES + len(runs.cycles))
    assert len(fitted) < len(starts)


def test_period_two_is_an_artefact_of_the_step():
    # x <- x + alpha (-x - w tanh x) overshoots if alpha (1 + w) > 2; the differential equation settles at 0.
    found = searched(flow_of([[-12.0, 0.0], [0.0, 0.0]]))
    assert found["kind"].values.tolist() == ["fixed"]
    np.testing.assert_allclose(found["state"].values, 0, atol=1e-12)
    assert not found["stable"].any() and found["stable_flow"].all()
    assert found["cycle_step_artefact"].values.tolist() == [True]
    assert found["cycle_period"].values[0] == pytest.approx(2 * DT, rel=1e-3)
    assert found["n_cycles"] == 0
    assert found["share_at_cycles"] == 1


def test_chaos_is_no_cycle():
    random = np.random.default_rng(0)
    flow = flow_of(3.0 / np.sqrt(100) * random.standard_normal((100, 100)))
    found = searched(flow, FixedPoints(starts=24, blocks=2))
    # Chaotic it is: a small difference grows for as long as it is small, by its exponent per second.
    states = flow.run(torch.from_numpy(2 * random.standard_normal((8, 100))), 2000)[0]
    others = states + 1e-9 * torch.from_numpy(random.standard_normal(states.shape))
    growth = (flow.run(others, 300)[0] - flow.run(states, 300)[0]).norm(dim=1) / (others - states).norm(dim=1)
    assert (growth.log() / (300 * DT) > 0.5).all()
    assert found.sizes["cycle"] == 0
    assert found["share_elsewhere"] == 1
    # Its amplitude is steady but for its own fluctuations.
    assert found["share_recurrent"] > 0.8 and found["share_drifting"] == 0


def test_ghost_of_a_pair_of_points_is_slow():
    # x = w tanh(x) + drive has three roots up to a critical drive, where two of them meet; just beyond it F has no
    # zero there but a least speed where its slope is 0.
    at = -np.arccosh(np.sqrt(2.0))
    critical = at - 2 * np.tanh(at)
    flow = flow_of([[2.0, 0.0], [0.0, 0.0]], [critical + 0.005, 0.0])
    found = searched(flow, FixedPoints(starts=64, blocks=1))
    slow = found.isel(point=found["kind"].values == "slow")
    assert slow.sizes["point"] == 1
    np.testing.assert_allclose(slow["state"].values[0], [at, 0], atol=1e-3)
    assert slow["speed"].values[0] == pytest.approx(0.005**2 / 2, rel=1e-3)
    assert found["n_fixed_points"] == 1 and found["n_slow_points"] == 1


def test_minimise_speed_ends_where_the_gradient_vanishes(random_network):
    starts = torch.from_numpy(2 * np.random.default_rng(0).standard_normal((50, 30)))
    ends, speed = minimise_speed(random_network, starts)
    gradient = (random_network.jacobian(ends).transpose(1, 2) @ random_network.force(ends)[..., None])[..., 0]
    assert (speed <= random_network.speed(starts)).all()
    assert (gradient.norm(dim=1) < 0.1 * (2 * speed).sqrt() + 1e-12).all()


def test_merge_keeps_the_slowest_and_counts():
    states = torch.tensor([[0.0], [0.05], [0.12], [1.0]], dtype=torch.float64)
    kept, counts = merge(states, torch.tensor([2.0, 1.0, 3.0, 0.5], dtype=torch.float64), 0.1)
    assert kept.tolist() == [3, 1] and counts.tolist() == [1, 3]
    empty = merge(states[:0], torch.zeros(0, dtype=torch.float64), 0.1)
    assert [len(part) for part in empty] == [0, 0]


def members(recurrent_weights, input_weights, bias=None, seeds=None):
    """Networks given by their weights (seed, ...)."""
    count, units, _ = input_weights.shape
    bias = np.zeros((count, units)) if bias is None else bias
    network = xr.Dataset(
        {
            "recurrent_weights": (("seed", "unit", "unit_from"), recurrent_weights.astype(np.float32)),
            "input_weights": (("seed", "unit", "input"), input_weights.astype(np.float32)),
            "bias": (("seed", "unit"), bias.astype(np.float32)),
            "output_weights": (("seed", "output", "unit"), np.zeros((count, 1, units), np.float32)),
            "output_bias": (("seed", "output"), np.zeros((count, 1), np.float32)),
            "initial_state": (("seed", "unit"), np.zeros((count, units), np.float32)),
        },
        coords={"seed": np.arange(count) if seeds is None else seeds},
        attrs={"dt": DT, "tau": TAU},
    )
    return Member.of_datasets("toy", 0, "standard", network, xr.Dataset())


def test_dataset_of_several_networks_survives_a_file(tmp_path):
    task = FlipFlop(channels=2)
    trials = task.sample("test", 8, 0)
    patterns = orthonormal(8, 2)
    memory = 2.5 / 8 * patterns @ patterns.T
    # Silent, a memory, and a rotation.
    rotation = np.zeros((8, 8))
    rotation[:2, :2] = [[2.0, -1.5], [1.5, 2.0]]
    weights = np.stack([np.zeros((8, 8)), memory, rotation])
    inputs = np.stack([np.zeros((8, 2)), patterns / np.sqrt(8), np.eye(8)[:, :2]])
    found = fixed_points(task, members(weights, inputs), trials, QUICK, seed=0)
    found.to_netcdf(tmp_path / "found.nc", engine="netcdf4")
    again = xr.open_dataset(tmp_path / "found.nc", engine="netcdf4").load()
    xr.testing.assert_allclose(found, again)
    assert again["searched_network"].values.tolist() == ["toy/0/0", "toy/1/0", "toy/2/0"]
    assert again["searched_condition"].values.tolist() == ["hold"]
    assert again["n_stable_fixed_points"].values[:2, 0].tolist() == [1, 4]
    assert again["n_cycles"].values[:, 0].tolist() == [0, 0, 1]
    assert again["cycle_network"].values.tolist() == ["toy/2/0"]
    assert (again["network"].values == "toy/1/0").sum() == again["n_fixed_points"].values[1, 0]
    shares = sum(again[f"share_{where}"] for where in ("at_points", "at_cycles", "slow", "elsewhere"))
    np.testing.assert_allclose(shares, 1)
    silent = again.isel(point=again["network"].values == "toy/0/0")
    np.testing.assert_allclose(silent["eigenvalues_real"], -1 / TAU)


def test_networks_without_points_or_cycles(tmp_path):
    task = FlipFlop(channels=2)
    trials = task.sample("test", 8, 0)
    only_silent = members(np.zeros((1, 4, 4)), np.zeros((1, 4, 2)))
    found = fixed_points(task, only_silent, trials, QUICK, seed=0)
    assert found.sizes["cycle"] == 0 and found.sizes["point"] == 1
    # A search may also end without any point.
    none = found.isel(point=slice(0))
    for name, dataset in (("cycle", found), ("point", none)):
        dataset.to_netcdf(tmp_path / f"{name}.nc", engine="netcdf4")
        again = xr.open_dataset(tmp_path / f"{name}.nc", engine="netcdf4").load()
        assert again.sizes[name] == 0
        assert set(again.variables) == set(found.variables)


def test_static_inputs_are_inputs_of_the_task():
    expected = {
        "context_integration": ["context_1_hold", "context_1_response", "context_2_hold", "context_2_response"],
        "delayed_discrimination": ["no_stimulus"],
        "flip_flop": ["hold"],
        "isotropic_hardening": ["rest"],
        "memory_pro": ["memory", "response"],
        "parity": ["plus_plus", "plus_minus", "minus_plus", "minus_minus"],
        "path_classification": ["rest"],
        "path_integration": ["rest"],
        "ramberg_osgood": ["rest"],
        "sine_wave": ["lowest", "middle", "highest"],
        "vwm_guess": ["memory"],
        "vwm_swap": ["memory"],
    }
    for name, kind in TASKS.items():
        task = kind()
        trials = task.sample("test", 4, 0)
        assert list(task.static_inputs()) == expected[name]
        assert all(len(values) == trials.sizes["input"] for values in task.static_inputs().values())
        assert set(task.evidence_inputs) <= set(trials["input"].values)
    # In a trial without noise the last inputs are those of a response.
    task = TASKS["context_integration"](evidence_noise=0.0)
    trials = task.sample("test", 20, 0)
    for context in (1, 2):
        last = trials["inputs"].values[trials["context"].values == context][:, -1]
        first = trials["inputs"].values[trials["context"].values == context][:, 0]
        assert (last == task.static_inputs()[f"context_{context}_response"]).all()
        assert (first == task.static_inputs()[f"context_{context}_hold"]).all()


def line_attractor_network():
    """Rank one in small states: J = (1 + s) m n^T with n m = 1, where slow points lie along m and n selects."""
    random = np.random.default_rng(5)
    along = random.choice([-1.0, 1.0], 24) / np.sqrt(24)
    other = np.roll(along, 1) - along * (along @ np.roll(along, 1))
    selection = along + 0.8 * other
    return along, selection


def test_line_attractor_of_known_selection_vector():
    along, selection = line_attractor_network()
    units = len(along)
    task = TASKS["context_integration"]()
    evidence = np.stack([0.5 * along, np.roll(along, 2)], axis=1)
    inputs = np.concatenate([evidence, np.zeros((units, 3))], axis=1)
    # A gain just over 1 makes two stable points and one between them: three points on a line.
    weights = 1.01 * np.outer(along, selection)
    found = fixed_points(task, members(weights[None], inputs[None]), task.sample("test", 8, 0), QUICK, seed=0)
    line = line_attractor(found, inputs[None], task.evidence_inputs).isel(network=0, condition=0)
    assert line["n_points"] == 3
    assert abs(line["direction"].values @ along) == pytest.approx(1, abs=1e-6)
    assert line["straightness"] == pytest.approx(1, abs=1e-9)
    assert line["mode_alignment"] == pytest.approx(1, abs=1e-3)
    sign = np.sign(line["direction"].values @ along)
    np.testing.assert_allclose(line["selection"], sign * selection, atol=0.03)
    np.testing.assert_allclose(line["selected_evidence"], sign * selection @ evidence, atol=0.03)
    np.testing.assert_allclose(line["direct_evidence"], sign * along @ evidence, atol=1e-6)
    ends = found["state"].values[found["condition"].values == "context_1_hold"] @ along
    assert line["extent"] == pytest.approx(np.ptp(ends))
    np.testing.assert_allclose(line["mode_selection"], np.abs(selection @ evidence), atol=0.03)


def test_no_line_through_one_point():
    task = TASKS["context_integration"]()
    inputs = np.zeros((1, 4, 5))
    found = fixed_points(task, members(np.zeros((1, 4, 4)), inputs), task.sample("test", 4, 0), QUICK, seed=0)
    line = line_attractor(found, inputs, task.evidence_inputs)
    assert (line["n_points"] == 1).all()
    for name in ("direction", "straightness", "selection", "selected_evidence"):
        assert np.isnan(line[name]).all()
    np.testing.assert_allclose(line["leading_real"], -1 / TAU)


def test_slow_ends_count_as_found_only_near_a_listed_point():
    # As above: a ghost, near which states drift for long. One run ends near it, one on the way, two at the zero, which
    # is not returned to within such short runs and so is listed, but not as stable.
    at = -np.arccosh(np.sqrt(2.0))
    flow = flow_of([[2.0, 0.0], [0.0, 0.0]], [at - 2 * np.tanh(at) + 0.005, 0.0], dt=0.002)
    zero = scipy.optimize.brentq(lambda x: 2 * np.tanh(x) + float(flow.drive[0]) - x, 1, 3)
    starts = torch.tensor([[at - 0.05, 0.0], [at - 0.18, 0.0], [zero, 0.0], [zero, 0.0]], dtype=torch.float64)
    ends = flow.run(starts, 40)[0]
    assert (flow.speed(ends) < QUICK.slow_speed).all() and 0.1 < at - ends[1, 0] < 0.18
    found = search(flow, starts, FixedPoints(starts=4, block=0.08, blocks=1), np.random.default_rng(0))
    assert found["kind"].values.tolist() == ["fixed", "slow"]
    shares = [float(found[f"share_{where}"]) for where in ("at_points", "slow", "elsewhere", "drifting", "recurrent")]
    assert shares == [0.0, 0.75, 0.25, 0.25, 0.0]


def test_a_stable_point_that_is_not_returned_to_does_not_count():
    # x <- x + alpha (-x + w tanh x) with w just below 1 decays to 0 in days, whatever its eigenvalues say.
    found = searched(flow_of([[1 - 1e-6, 0.0], [0.0, 0.0]]), FixedPoints(starts=16, block=1.0, blocks=1), spread=0.01)
    assert found["kind"].values.tolist() == ["fixed"] and found["stable"].all()
    assert not found["returns"].any()
    assert found["n_stable_fixed_points"] == 0 and found["n_not_returned_to"] == 1
    # Runs end there, but at no stable point.
    assert found["share_at_points"] == 0 and found["share_slow"] == 1


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_freed_memory_returns_to_the_system():
    # Between blocks that stay lie large ones, so that keeping them means keeping their memory.
    code = """
import sys
import subprocess
import sys

import numpy as np
from insd.jobs import return_freed_memory, reuse_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

reuse_freed_memory()
if sys.argv[1] == "return":
    return_freed_memory()
before = resident()
kept = []
for _ in range(4):
    large = np.ones(2**23)
    kept.append(np.ones(2**13))
    del large
    large = [np.ones(2**23), np.ones(2**13)]
    kept.append(large.pop())
    large.clear()
print(resident() - before)
"""
    megabytes = [
        float(subprocess.run([sys.executable, "-c", code, how], capture_output=True, check=True).stdout)
        for how in ("return", "keep")
    ]
    assert megabytes[0] < 8 and megabytes[1] > 48
