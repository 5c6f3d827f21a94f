"""Points near the corners of the cube of outputs."""

import numpy as np
import xarray as xr

from insd.analysis.base import Job
from insd.analysis.corners import run
from insd.members import Member
from insd.tasks.flip_flop import FlipFlop


def member(population, units):
    """A network whose outputs are the rates of its first two units."""
    network = xr.Dataset(
        {
            "recurrent_weights": (("seed", "unit", "unit_from"), np.zeros((1, units, units), "f4")),
            "input_weights": (("seed", "unit", "input"), np.zeros((1, units, 2), "f4")),
            "output_weights": (("seed", "output", "unit"), np.eye(2, units, dtype="f4")[None]),
            "bias": (("seed", "unit"), np.zeros((1, units), "f4")),
            "output_bias": (("seed", "output"), np.zeros((1, 2), "f4")),
            "initial_state": (("seed", "unit"), np.zeros((1, units), "f4")),
        },
        {"seed": [0]},
        {"dt": 0.02, "tau": 0.1, "architecture": "rate", "nonlinearity": "tanh"},
    )
    return Member.of_datasets(population, 0, "standard", network, xr.Dataset())[0]


def test_points_are_near_corners_and_networks_that_were_not_searched_are_left_out():
    few, more = member("few", 3), member("more", 5)
    # Near (+, +), attracting; near (-, +), left by perturbed runs; near none.
    states = np.array([[2.0, 2.0, 0.0], [-2.0, 2.0, 0.0], [2.0, 0.0, 0.0]])
    points = xr.Dataset(
        {
            "state": (("point", "unit"), states),
            "stable": ("point", [True, True, True]),
            "returns": ("point", [True, False, True]),
        },
        {"network": ("point", [few.label] * 3), "searched_network": [few.label]},
    )
    task = FlipFlop(channels=2)
    job = Job("t", task, [few, more], None, {"test": task.sample("test", 1, 0)}, {"fixed_points": points})
    found = run(job)["corners"]
    assert found["network"].values.tolist() == [few.label]
    stable, unstable = (dict(zip(found["corner"].values, found[name].values[0], strict=True)) for name in found)
    assert stable == {"-1 -1": 0, "-1 +1": 0, "+1 -1": 0, "+1 +1": 1}
    assert unstable == {"-1 -1": 0, "-1 +1": 1, "+1 -1": 0, "+1 +1": 0}
