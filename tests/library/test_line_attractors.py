"""What networks hold once evidence has ended, on networks whose line or points are known."""

import numpy as np
import pandas as pd
import xarray as xr
from known import GRID

from insd.analysis.line_attractor import columns, lines
from insd.dynamics.held import held, held_evidence, states_at
from insd.members import Member

TAU = 0.1


def one_network(weights, inputs):
    """A network of one output without bias."""
    units = len(weights)
    variables = {
        "recurrent_weights": (("seed", "unit", "unit_from"), weights[None]),
        "input_weights": (("seed", "unit", "input"), inputs[None]),
        "output_weights": (("seed", "output", "unit"), np.ones((1, 1, units))),
        "bias": (("seed", "unit"), np.zeros((1, units))),
        "output_bias": (("seed", "output"), np.zeros((1, 1))),
        "initial_state": (("seed", "unit"), np.full((1, units), 0.01)),
    }
    coords = {"seed": [0], "input": np.arange(inputs.shape[1]), "output": [0]}
    attributes = {"dt": 0.02, "tau": TAU, "nonlinearity": "tanh", "settings": "{}"}
    return xr.Dataset(variables, coords, attributes).astype(np.float32)


def integrator(units, saturation):
    """Units that follow one direction, along which the first input is integrated and nothing decays; the second input
    pushes across it. Slow points lie on a line that saturation bends, or on two points.
    """
    along = np.random.default_rng(3).choice([-1.0, 1.0], units) / np.sqrt(units)
    across = np.roll(along, 1) - along * (along @ np.roll(along, 1))
    return saturation * np.outer(along, along), np.stack([0.2 * along, across, *3 * [0 * along]], axis=1)


def test_what_is_held_on_a_line_and_at_two_points():
    """Of a network whose recurrence is the identity along one direction, and of one that amplifies along it."""
    task = GRID["context_integration"]()
    trials = task.sample("test", 200, 0)
    columns = [list(trials["input"].values).index(name) for name in task.evidence_inputs]
    static = np.array(task.static_inputs()["context_1_hold"])
    line, two = (
        held_evidence(one_network(weights, inputs).isel(seed=0), static, trials, columns)
        for weights, inputs in (integrator(400, 1.0), integrator(400, 1.5))
    )
    assert line["held_curve"] > 0.999 and line["held_straightness"] > 0.99
    assert line["held_correlation"][0] > 0.99 and line["held_correlation"][1] < 0.3
    assert line["held_graded"][0] > 0.97
    assert -0.5 < line["held_leading_real"] <= 0.01
    np.testing.assert_allclose(line["held_second_real"], -1 / TAU, rtol=1e-3)
    # A decision: on a line, too, as any two points are, but with nothing beyond its sign.
    assert two["held_curve"] > 0.99 and two["held_correlation"][0] > 0.8
    assert two["held_graded"][0] < 0.5 and two["held_leading_real"] < -1
    # The context, and no other, is that of the constant input; after go, no evidence ends.
    after = held_evidence(
        one_network(*integrator(20, 1.0)).isel(seed=0),
        np.array(task.static_inputs()["context_1_response"]),
        trials,
        columns,
    )
    assert all(np.isnan(value).all() for value in after.values())


def test_states_at_the_end_of_evidence_equal_a_plain_loop():
    task = GRID["context_integration"]()
    trials = task.sample("test", 6, 0)
    weights, inputs = integrator(20, 1.3)
    network = one_network(weights, inputs).isel(seed=0)
    steps = np.array([3, 10, 1, 25, 25, 7])
    found = states_at(network, trials["inputs"].values, steps, 0.02).numpy()
    for trial in range(6):
        state = network["initial_state"].values.astype(float)
        for step in range(steps[trial]):
            drive = weights @ np.tanh(state) + inputs @ trials["inputs"].values[trial, step]
            state = state + 0.02 / TAU * (-state + drive + network["bias"].values)
        np.testing.assert_allclose(found[trial], state, rtol=1e-5, atol=1e-6)


def test_lines_are_counted_by_context():
    """By the worst of both contexts; static inputs under which no evidence ends count nowhere."""
    task = GRID["context_integration"]()
    trials = task.sample("test", 100, 0)
    networks = [one_network(*integrator(400, gain)) for gain in (1.0, 3.0)]
    found = [Member.of_datasets("a", 0, "standard", network, xr.Dataset())[0] for network in networks]
    found[1] = Member.of_datasets("b", 0, "standard", networks[1], xr.Dataset())[0]
    result = held(task, found, trials, list(task.static_inputs()))
    assert lines(result).values.tolist() == [[True, False, True, False], [False] * 4]
    table = columns(result, pd.DataFrame(index=["a/0/0", "b/0/0", "c/0/0"]))
    assert table["line_attractors"].tolist()[:2] == [2, 0] and np.isnan(table["line_attractors"].iloc[2])
    assert table["line_graded"].iloc[0] == result["held_graded"].sel(network="a/0/0").max("evidence").min()
    assert table["line_rate"].iloc[1] == abs(result["held_leading_real"].sel(network="b/0/0")).max()
