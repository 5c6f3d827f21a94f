"""Nonlinear decoding, axes of task variables and corners, on activity of known structure."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from sklearn.kernel_ridge import KernelRidge
from trained import evaluation_trials, trained_round

from insd.analysis import axes as axes_analysis
from insd.analysis import corners
from insd.analysis.base import Job
from insd.datasets import validate
from insd.errors import InsdError
from insd.evaluation.axes import axes, output_relevance, principal_angles, regression_axes
from insd.evaluation.kernel_decoding import _predicted, decode_with_kernels
from insd.settings.load import load
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro
from insd.tasks.variables import Variable

POPULATIONS = {"standard": {"seeds": 1}}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_what_only_a_kernel_decodes(random):
    """An exclusive or is beyond a linear reader; a value along an axis is read by both."""
    signs = random.choice([-1.0, 1.0], (240, 2))
    rates = np.concatenate([signs, np.zeros((240, 6))], axis=1) + 0.1 * random.standard_normal((240, 8))
    rates = np.repeat(rates[:, None], 3, axis=1) @ scipy.stats.special_ortho_group.rvs(8, random_state=1)
    variables = {
        "xor": Variable.constant(signs.prod(1), 3, "sign"),
        "first": Variable.constant(signs[:, 0], 3, "value"),
        "noise": Variable.constant(random.standard_normal(240), 3, "value"),
    }
    scores = decode_with_kernels(rates, variables, np.array([2]), 5, 0)[..., 0]
    assert scores[0, 0] == pytest.approx(0.5, abs=0.15) and scores[0, 1] > 0.99
    assert (scores[1] > 0.95).all() and (scores[2] < 0.1).all()


def test_trials_that_have_ended_are_left_out(random):
    rates = random.standard_normal((60, 2, 4))
    rates[:30, 1] = np.nan
    rates[:50, 0] = np.nan
    variables = {"value": Variable(random.standard_normal((60, 2)), "value")}
    scores = decode_with_kernels(rates, variables, np.array([0, 1]), 3, 0)
    assert np.isnan(scores[..., 0]).all() and np.isfinite(scores[..., 1]).all()


def test_kernel_regression_equals_scikit_learns(random):
    points, target = random.standard_normal((40, 3)), random.standard_normal((40, 1))
    kernel = np.exp(-0.2 * np.square(points[:, None] - points).sum(-1))
    train, test = np.arange(30), np.arange(30, 40)
    found = _predicted([kernel], target, np.array([], int), train, test)[:, 0]
    candidates = []
    for ridge in np.logspace(-6, 0, 7):
        model = KernelRidge(alpha=ridge, kernel="precomputed")
        left_out = []
        for one in train:
            others = train[train != one]
            fitted = model.fit(kernel[np.ix_(others, others)], target[others, 0] - target[train, 0].mean())
            left_out.append(fitted.predict(kernel[one, others][None])[0] + target[train, 0].mean() - target[one, 0])
        model.fit(kernel[np.ix_(train, train)], target[train, 0] - target[train, 0].mean())
        candidates.append(
            (np.square(left_out).sum(), model.predict(kernel[np.ix_(test, train)]) + target[train, 0].mean())
        )
    np.testing.assert_allclose(found, min(candidates, key=lambda one: one[0])[1], rtol=1e-6)


def test_axes_of_planted_codes(random):
    first, second = (random.standard_normal((100, 1)) for _ in range(2))
    directions = random.standard_normal((2, 12))
    rates = first @ directions[:1] + second @ directions[1:] + 0.01 * random.standard_normal((100, 12)) + 3
    found = regression_axes(rates, {"first": first, "second": second})
    np.testing.assert_allclose(found["first"][:, 0], directions[0], atol=0.01)
    assert output_relevance(directions[:1].T, directions) == pytest.approx(1)
    basis = np.eye(12)
    assert output_relevance(basis[:, :1] + basis[:, 1:2], basis[:1]) == pytest.approx(0.5)
    turned = np.cos(0.5) * basis[:, :1] + np.sin(0.5) * basis[:, 1:2]
    assert principal_angles(basis[:, :1], turned) == pytest.approx(np.rad2deg([0.5]))
    assert np.isnan(principal_angles(np.full((12, 2), np.nan), basis[:, :2])).all()


def test_an_axis_that_turns_into_the_output_space_during_the_delay():
    """Cosine and sine on the axes of units 0 and 1 turn to those of 2 and 3, which the readout sees, within .4 s."""
    task = MemoryPro(delay=(0.4, 0.8))
    trials = task.sample("test", 120, 0)
    dt, times = trials.attrs["dt"], trials["time"].values
    angle = trials["angle"].values
    code = np.stack([np.cos(angle), np.sin(angle)], -1)[:, None]
    turn = np.clip((times[None] - trials["delay_time"].values[:, None]) / 0.4, 0, 1)[..., None] * np.pi / 2
    rates = np.concatenate([np.cos(turn) * code, np.sin(turn) * code, np.zeros((120, times.size, 4))], -1)
    member = trained_round("memory_pro", 0)
    weights = xr.zeros_like(member.network["output_weights"])[..., :8]
    weights.values[0, 1:, 2:4] = np.eye(2)
    network = member.network.drop_vars(["recurrent_weights", "input_weights", "bias", "initial_state"])
    network = network.isel(unit=slice(8)).assign(output_weights=weights)
    into = np.zeros((1, 8, 3))
    into[0, 0, 1] = into[0, 1, 2] = into[0, 7, 0] = 1
    network = network.assign(input_weights=(("seed", "unit", "input"), into))
    one = dataclasses.replace(
        member, network=network, read=lambda names: xr.Dataset({"rates": (("t", "s", "u"), rates)})
    )
    result = axes([one], task, trials)
    validate(result, axes_analysis.CONTRACT, "axes.nc")
    here = result.isel(network=0).sel(variable="angle")
    lag = np.argmin(np.abs(result["lag"].values - 0.2))
    assert here["rotation"].values[[0, lag]] == pytest.approx([0, 45], abs=90 * dt / 0.4)
    assert here["output_relevance"].values[0] == pytest.approx(0, abs=0.02)
    assert here["output_relevance"].sel(lag=0.4, method="nearest") == pytest.approx(1, abs=0.02)
    assert result["weight_angle"].values == pytest.approx(0, abs=5)
    # Trials without one of the times count nowhere.
    go, delay = (trials[name].values.copy() for name in ("go_time", "delay_time"))
    go[:20], delay[20:30] = np.nan, np.nan
    some = dataclasses.replace(one, read=lambda names: xr.Dataset({"rates": (("t", "s", "u"), rates[30:])}))
    lacking = trials.assign_coords(go_time=("trial", go), delay_time=("trial", delay))
    xr.testing.assert_allclose(axes([one], task, lacking), axes([some], task, trials.isel(trial=slice(30, None))))
    never = trials.assign_coords(go_time=("trial", np.full(120, np.nan)))
    with pytest.raises(InsdError, match=r"tasks\.mine: `go_time` is after `delay_time` in no trial of the regime test"):
        axes_analysis.run(Job("mine", task, [one], None, {"test": never}))


def test_corners_of_the_trained_flip_flop(random):
    """States of a run after pulses that set all bits are near the corner of these; where they are stable is planted."""
    task, trials = FlipFlop(), evaluation_trials("flip_flop")
    members = [trained_round("flip_flop", 0), trained_round("flip_flop", 1)]
    states = random.standard_normal((6, members[0].network.sizes["unit"]))
    # States whose rates make the readout give the first corner: by least squares in the rates.
    weights, bias = (members[0].network[name].values[0] for name in ("output_weights", "output_bias"))
    for row, corner in ((0, (-1, -1, -1)), (1, (1, 1, 1)), (2, (1, -1, 1))):
        states[row] = np.arctanh(np.linalg.lstsq(weights, np.array(corner) - bias, rcond=None)[0])
    states[3:] = 0
    points = xr.Dataset(
        {
            "state": (("point", "unit"), states),
            "network": ("point", [members[0].label] * 6),
            "stable": ("point", [1, 0, 1, 1, 1, 1]),
            "returns": ("point", [1, 1, 0, 1, 1, 1]),
        },
        coords={"searched_network": [member.label for member in members]},
    )
    found = corners.run(Job("flip_flop", task, members, None, {"test": trials}, {"fixed_points": points}))["corners"]
    validate(found, corners.CONTRACT, "corners.nc")
    stable, unstable = (found[name].isel(network=0) for name in ("stable", "unstable"))
    assert found["corner"].values[stable.values == 1].tolist() == ["-1 -1 -1"]
    assert sorted(found["corner"].values[unstable.values == 1].tolist()) == ["+1 +1 +1", "+1 -1 +1"]
    assert not found.isel(network=1).to_array().any()


def test_which_tasks_have_corners_and_axes():
    settings = load(
        {"tasks": {name: {} for name in ("context_integration", "flip_flop", "memory_pro")}, "populations": POPULATIONS}
    )
    assert [name for name in settings.tasks if corners.applies(settings, name)] == ["flip_flop"]
    assert [name for name in settings.tasks if axes_analysis.applies(settings, name)] == [
        "context_integration",
        "memory_pro",
    ]
