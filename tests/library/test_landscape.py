"""Matching of units against planted permutations, brute force and scipy; the loss on lines against networks on them."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.optimize import quadratic_assignment
from trained import evaluation_trials, trained_network, trained_task

from insd import plugins
from insd.activity import simulate_trials
from insd.evaluation.landscape import MATCHINGS, along_lines, barriers, landscape
from insd.evaluation.matching import Matching, _Agreement, by_activity, by_weights, distance, is_odd, unmatched
from insd.grid import Grid
from insd.kept import Kept
from insd.members import Member
from insd.samples import samples
from insd.settings.base import SettingsError
from insd.settings.load import load

TASK, TRIALS = trained_task("flip_flop"), evaluation_trials("flip_flop").isel(trial=slice(16))


def planted(units, signed, seed=0):
    """A signed permutation, as the matching that takes it back."""
    random = np.random.default_rng(seed)
    return Matching(random.permutation(units), random.choice([-1.0, 1.0], units) if signed else np.ones(units))


def inverse(matching):
    order = np.argsort(matching.units)
    return Matching(order, matching.signs[order])


def random_network(units, nonlinearity="tanh", seed=0):
    """Weights that are noise."""
    random = np.random.default_rng(seed)
    shapes = {
        "recurrent_weights": ((units, units), ("unit", "unit_from")),
        "input_weights": ((units, 2), ("unit", "input")),
        "output_weights": ((1, units), ("output", "unit")),
        "bias": ((units,), ("unit",)),
        "output_bias": ((1,), ("output",)),
        "initial_state": ((units,), ("unit",)),
    }
    data = {
        name: (("seed", *dims), random.standard_normal((1, *shape)).astype(np.float32))
        for name, (shape, dims) in shapes.items()
    }
    return xr.Dataset(data, attrs={"architecture": "rate", "nonlinearity": nonlinearity, "tau": 0.1, "dt": 0.02})


def noisy(network, size, seed=0):
    """The same with noise in all weights."""
    random = np.random.default_rng(seed)
    return network.map(lambda weights: weights + np.float32(size) * random.standard_normal(weights.shape).astype("f4"))


def assert_same(found, expected):
    np.testing.assert_array_equal(found.units, expected.units)
    np.testing.assert_array_equal(found.signs, expected.signs)


@pytest.mark.parametrize("nonlinearity, signed", [("tanh", True), ("relu", False), ("softplus", False)])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_planted_permutations_are_found_in_the_weights_alone(nonlinearity, signed, noise):
    network = random_network(30, nonlinearity)
    hidden = planted(30, signed)
    moved = inverse(hidden).apply(noisy(network, noise)).assign_attrs(network.attrs)
    assert is_odd(network) == signed
    found = by_weights(network, moved, signed)
    assert_same(found, hidden)
    assert distance(network, found.apply(moved)) == pytest.approx(noise / np.sqrt(2), abs=0.02)


def test_the_matching_of_few_units_is_the_best_of_all():
    names = ("recurrent_weights", "input_weights", "output_weights", "bias", "initial_state")
    for seed in range(4):
        one, other = random_network(5, "relu", seed), noisy(random_network(5, "relu", seed), 1.0, seed + 1)
        other = planted(5, False, seed).apply(other).assign_attrs(one.attrs)
        recurrent, *first = (one[name].transpose(..., "unit").values[0] for name in names)
        # The dimension `unit_from` of the recurrent weights comes first.
        recurrent_to, *second = (other[name].transpose(..., "unit").values[0] for name in names)
        squared = {
            order: np.square(recurrent - recurrent_to[np.ix_(order, order)]).sum()
            + sum(np.square(own - its[..., list(order)]).sum() for own, its in zip(first, second, strict=True))
            for order in permutations(range(5))
        }
        starts = [Matching(np.roll(np.arange(5), shift), np.ones(5)) for shift in range(5)]
        found = by_weights(one, other, False, starts)
        assert squared[tuple(found.units.tolist())] == pytest.approx(min(squared.values()))


def test_the_search_is_as_good_as_that_of_scipy_where_scipy_can_search():
    """Without a linear part and without signs."""
    for seed in range(3):
        first, second = np.random.default_rng(seed).standard_normal((2, 20, 20))
        agreement = _Agreement(first, second, np.zeros((20, 1)), np.zeros((20, 1)), False)
        found = agreement.of(agreement.search(np.full((20, 20), 1 / 20)).matrix)
        scipys = quadratic_assignment(first, second, options={"maximize": True, "maxiter": 200, "tol": 1e-9})
        assert found >= 0.98 * scipys.fun


@pytest.fixture(scope="module")
def pair():
    """A trained network, and itself with its units in other places and of other signs."""
    network = trained_network("flip_flop", 0)
    hidden = planted(network.sizes["unit"], True)
    return network, inverse(hidden).apply(network), hidden


def rates_of(network):
    return samples(simulate_trials(network, TRIALS)[0].numpy()[0])


def test_a_permuted_network_is_the_same_network_and_no_barrier_is_between_them(pair):
    network, moved, hidden = pair
    np.testing.assert_allclose(simulate_trials(moved, TRIALS)[1], simulate_trials(network, TRIALS)[1], atol=1e-5)
    of_activity = by_activity(rates_of(network), rates_of(moved), True)
    assert_same(of_activity, hidden)
    assert_same(by_weights(network, moved, True), hidden)
    units = network.sizes["unit"]
    matched = {"none": unmatched(units), "activity": of_activity, "weights": by_weights(network, moved, True)}
    found = along_lines(TASK, network, moved, matched, TRIALS, np.linspace(0, 1, 5))
    high, *none = barriers(found["loss"])
    assert high > 0.1
    np.testing.assert_allclose(none, 0, atol=1e-6)
    np.testing.assert_allclose(found["weight_distance"][1:], 0, atol=1e-7)


def members(networks):
    found = []
    for number, network in enumerate(networks):
        rates = simulate_trials(network, TRIALS)[0].numpy()
        activity = xr.Dataset({"rates": (("seed", "trial", "time", "unit"), rates)}, {"seed": [0]})
        found += Member.of_datasets(f"p{number}", 0, "control", network.assign_coords(seed=[0]), activity)
    return found


def test_losses_are_those_of_networks_on_the_line_in_both_directions(pair):
    network, moved, _ = pair
    small = random_network(7).assign_coords(seed=[0])
    of_small = small.assign(
        input_weights=(("seed", "unit", "input"), np.ones((1, 7, 3), "f4")),
        output_weights=(("seed", "output", "unit"), np.ones((1, 3, 7), "f4")),
        output_bias=(("seed", "output"), np.ones((1, 3), "f4")),
    )
    kept = Kept()
    found = landscape(TASK, members([network, moved, of_small]), TRIALS, 5, kept)
    assert found["loss"].dims == ("matching", "network", "network_to", "share")
    first, second, other = found["network"].values
    between = found.sel(matching="none", network=first, network_to=second)
    names = ["recurrent_weights", "input_weights", "output_weights", "bias", "output_bias", "initial_state"]
    on_line = network.assign({name: 0.75 * network[name] + 0.25 * moved[name] for name in names})
    outputs = simulate_trials(on_line, TRIALS)[1].numpy()
    targets, mask = TRIALS["targets"].values, TRIALS["mask"].values
    means = (targets * mask).sum((0, 1)) / mask.sum((0, 1))
    expected = ((outputs[0] - targets) ** 2 * mask).sum() / ((targets - means) ** 2 * mask).sum()
    assert float(between["loss"].sel(share=0.25)) == pytest.approx(expected, rel=1e-4)
    back = found.sel(network=second, network_to=first)
    np.testing.assert_array_equal(back["loss"], found.sel(network=first, network_to=second)["loss"][:, ::-1])
    np.testing.assert_array_equal(found["barrier"], found["barrier"].transpose("matching", "network_to", "network"))
    # Between networks of different sizes there is no line.
    assert found["loss"].sel(network=other, network_to=[first, second]).isnull().all()
    assert float(found["barrier"].sel(matching="weights", network=first, network_to=second)) < 1e-6
    np.testing.assert_allclose(found["barrier"].values[:, range(3), range(3)], 0, atol=1e-6)
    assert found["matching"].values.tolist() == list(MATCHINGS)
    assert not kept.missing(found["network"].values.tolist())


def test_a_barrier_is_the_height_above_the_line_between_the_ends():
    losses = np.array([[1.0, 2.5, 3.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert barriers(losses).tolist() == [0.5, 0, 0]


def test_what_only_some_configs_make_is_no_part_of_other_grids():
    config = {"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 2}}}
    files = Grid(load(config)).analysis_files()
    for name in ("landscape", "curvature", "stability", "weight_distance", "feature_learning", "degeneracy", "moments"):
        file, without = f"results/flip_flop/analysis/{name}.nc", Grid(load(config | {"analysis": {name: None}}))
        assert file not in files and without.analysis_files() == files
        # A target of its own all the same.
        assert len(without.analysis_inputs(name, "flip_flop")["networks"]) == 2
        with_it = Grid(load(config | {"analysis": {name: {}}}))
        assert sorted(with_it.analysis_files()) == sorted([*files, file])
        assert with_it.table_inputs().get(name, [file]) == [file]
        with pytest.raises(SettingsError, match=f"analysis.{name} = False: input should be an object"):
            load(config | {"analysis": {name: False}})


def test_the_column_is_the_least_barrier_to_the_reference():
    labels = ["p/0/0", "p/0/1", "p/0/2"]
    barrier = np.arange(27.0).reshape(3, 3, 3)
    barrier[1] = barrier.max() - barrier[1]
    dims = ("matching", "network", "network_to")
    result = xr.Dataset({"barrier": (dims, barrier)}, {"network": labels, "network_to": labels})
    table = pd.DataFrame({"round": [0, 1, 2, 1], "reference_label": "p/0/0"}, index=[*labels, "left/0/1"])
    found = plugins.find("analysis", "landscape").columns(result, table)
    np.testing.assert_array_equal(found["barrier_to_reference"], [np.nan, 3, 6, np.nan])
