"""The networks of a table, and files that do not hold all of them."""

import numpy as np
import xarray as xr

from insd.cohorts import every_network, left_out


def pairs(labels, **coordinates):
    values = np.arange(len(labels) ** 2, dtype=float).reshape(len(labels), -1)
    return xr.Dataset({"r2": (("predictor", "target"), values)}, {"predictor": labels, "target": labels, **coordinates})


def test_a_file_of_some_networks_has_a_place_for_all():
    found = every_network(pairs(["b/0/0", "a/0/0"]), ["a/0/0", "b/0/0", "c/0/0"])
    np.testing.assert_array_equal(found["r2"], [[3, 2, np.nan], [1, 0, np.nan], [np.nan] * 3])
    assert left_out(found) == {"c/0/0": "not among the populations that are analysed"}


def test_the_reason_that_the_analysis_gave_stays():
    result = pairs(["a/0/0"], left_out=["c/0/0"], reason=("left_out", ["spikes: is not flowing"]))
    assert left_out(result) == {"c/0/0": "spikes: is not flowing"}
    found = every_network(result, ["a/0/0", "b/0/0", "c/0/0"])
    assert left_out(found) == {
        "b/0/0": "not among the populations that are analysed",
        "c/0/0": "spikes: is not flowing",
    }
    assert left_out(every_network(result, ["a/0/0"])) == {}


def test_a_file_that_is_not_of_networks_stays_as_it_is():
    result = xr.Dataset({"value": ("measure", [1.0])})
    assert every_network(result, ["a/0/0"]) is result
