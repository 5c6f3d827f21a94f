"""Fixed points of trained networks of every task against SciPy's root finder, plain simulation and autograd."""

from functools import cache

import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance
import torch
from known import GRID
from trained import trained_network, trained_round, trained_task

from insd.dynamics.search import fixed_points
from insd.dynamics.settings import FixedPoints

SETTINGS = FixedPoints(starts=96, blocks=2)
NETWORKS = [(name, number) for name in GRID for number in (0, 1)]
each_network = pytest.mark.parametrize(("name", "number"), NETWORKS)


@cache
def search(name, number, seed=0):
    task = trained_task(name)
    return fixed_points(task, [trained_round(name, number)], task.sample("test", 64, 1), SETTINGS, seed)


class Plain:
    """The dynamics of one network under one static input, in NumPy."""

    def __init__(self, name, number, condition):
        self.network = trained_network(name, number).isel(seed=0).astype(np.float64)
        self.weights = self.network["recurrent_weights"].values
        static = np.array(trained_task(name).static_inputs()[condition])
        self.drive = self.network["input_weights"].values @ static + self.network["bias"].values
        self.alpha = self.network.attrs["dt"] / self.network.attrs["tau"]

    def force(self, states):
        return -states + np.tanh(states) @ self.weights.T + self.drive

    def jacobian(self, state):
        return self.weights * (1 - np.tanh(state) ** 2) - np.eye(len(state))

    def speed(self, states):
        return np.square(self.force(states)).sum(-1) / 2

    def is_stable(self, state):
        return bool((np.abs(1 + self.alpha * np.linalg.eigvals(self.jacobian(state))) < 1).all())

    def root(self, start):
        return scipy.optimize.root(self.force, start, jac=self.jacobian, method="hybr", options={"xtol": 1e-12}).x

    def run(self, states, steps):
        for _ in range(steps):
            states = states + self.alpha * self.force(states)
        return states


def trajectory_states(name, number, count, seed):
    """States along trajectories on trials of their own, by a loop over time."""
    network = trained_network(name, number).isel(seed=0).astype(np.float64)
    inputs = trained_task(name).sample("test", 20, 1000 + seed)["inputs"].values.astype(np.float64)
    alpha = network.attrs["dt"] / network.attrs["tau"]
    state = np.repeat(network["initial_state"].values[None], 20, axis=0)
    visited = []
    for t in range(inputs.shape[1]):
        drive = (
            np.tanh(state) @ network["recurrent_weights"].values.T + inputs[:, t] @ network["input_weights"].values.T
        )
        state = state + alpha * (-state + drive + network["bias"].values)
        visited.append(state)
    return np.random.default_rng(seed).permutation(np.concatenate(visited))[:count]


def by_condition(found):
    for condition in found["searched_condition"].values:
        yield str(condition), found.isel(point=found["condition"].values == condition)


def stable_states(found):
    return found["state"].values[found["returns"].values]


def nearest(states, listed):
    """Distance of each state to the nearest of those listed; infinite if there are none."""
    if not len(listed):
        return np.full(len(states), np.inf)
    return scipy.spatial.distance.cdist(states, listed).min(1)


def test_the_networks_are_trained_and_differ():
    for name, number in NETWORKS:
        assert trained_task(name).solved(trained_network(name, number).attrs["score"])
    stable = {key: int(search(*key)["n_stable_fixed_points"].sum()) for key in NETWORKS}
    assert stable["flip_flop", 0] == 8 and stable["flip_flop", 1] == 0
    assert sum(stable[name, 0] for name in GRID) >= 12


@each_network
def test_every_zero_is_one_and_does_not_move(name, number):
    for condition, found in by_condition(search(name, number)):
        plain = Plain(name, number, condition)
        zeros = found["state"].values[found["kind"].values == "fixed"]
        assert len(zeros)
        assert (plain.speed(zeros) < 1e-14).all()
        for zero in zeros:
            assert np.linalg.norm(plain.root(zero) - zero) < 1e-6
        # In 10 s stable ones stay where they are, and perturbed ones come back.
        stable = stable_states(found)
        assert all(plain.is_stable(state) for state in stable)
        assert np.abs(plain.run(stable, 500) - stable).max(initial=0) < 1e-6


@each_network
def test_an_independent_root_finder_adds_no_stable_point(name, number):
    random = np.random.default_rng(number)
    for condition, found in by_condition(search(name, number)):
        plain = Plain(name, number, condition)
        states = found["state"].values
        spread = states.std(0).mean() if len(states) > 1 else 0.5
        perturbed = np.concatenate([states, states]) + spread * random.standard_normal(
            (2 * len(states), states.shape[1])
        )
        starts = np.concatenate([perturbed, trajectory_states(name, number, 30, seed=number)])
        roots = [root for root in map(plain.root, starts) if plain.speed(root) < 1e-14]
        assert len(roots) > len(starts) / 4
        attractors = [root for root in roots if plain.is_stable(root)]
        if attractors:
            assert nearest(np.array(attractors), stable_states(found)).max() < SETTINGS.merge_radius


@each_network
def test_plain_runs_settle_at_no_point_that_is_not_listed(name, number):
    for condition, found in by_condition(search(name, number)):
        plain = Plain(name, number, condition)
        ends = plain.run(trajectory_states(name, number, 60, seed=5), 3000)
        settled = ends[plain.speed(ends) < 1e-14]
        if len(settled):
            assert nearest(settled, stable_states(found)).max() < SETTINGS.merge_radius
        if found["n_stable_fixed_points"].sel(searched_condition=condition).item() == 0:
            assert not len(settled)


@each_network
def test_a_second_search_adds_no_stable_point(name, number):
    again = dict(by_condition(search(name, number, seed=1)))
    for condition, found in by_condition(search(name, number)):
        others = stable_states(again[condition])
        if len(others):
            assert nearest(others, stable_states(found)).max() < SETTINGS.merge_radius


@each_network
def test_eigenvalues_are_those_of_autograd(name, number):
    for condition, found in by_condition(search(name, number)):
        plain = Plain(name, number, condition)
        weights, drive = torch.from_numpy(plain.weights), torch.from_numpy(plain.drive)
        jacobian = torch.func.jacrev(lambda state, w=weights, d=drive: -state + w @ torch.tanh(state) + d)
        for point in range(found.sizes["point"]):
            state = torch.from_numpy(found["state"].values[point])
            expected = torch.linalg.eigvals(jacobian(state)).numpy() / plain.network.attrs["tau"]
            ours = found["eigenvalues_real"].values[point] + 1j * found["eigenvalues_imag"].values[point]
            distances = np.abs(ours[:, None] - expected)
            assert distances.min(0).max() < 1e-8 and distances.min(1).max() < 1e-8
            assert bool(found["stable"].values[point]) == plain.is_stable(state.numpy())
