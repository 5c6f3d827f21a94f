"""Ways to other solutions side by side: planted ways, costs and distances come out as they were planted."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from insd.tables.excursions import Way, ways, with_excursions

NAN = np.nan


def trained(losses, scores):
    """The history of two networks, each with its attempts; empty from the end of an attempt on."""
    dimensions = ("attempt", "seed", "iteration")
    return xr.Dataset({"held_out_loss": (dimensions, losses), "held_out_score": (dimensions, scores)}, {"seed": [3, 5]})


def test_the_way_of_training_is_that_of_the_attempt_that_is_kept():
    losses = [[[1.0, 0.3, 0.2], [1.0, 0.01, NAN]], [[1.0, 0.005, 0.04], [NAN] * 3]]
    scores = [[[0.1, 0.5, 0.6], [0.1, 0.99, NAN]], [[0.1, 0.99, 0.98], [NAN] * 3]]
    found = dict(ways(trained(losses, scores), True))
    assert found[3].losses.tolist() == [1.0, 0.005, 0.04] and found[5].losses.tolist() == [1.0, 0.01]
    # Where a lower score is better, the first attempt is kept.
    assert dict(ways(trained(losses, scores), False))[3].losses.tolist() == [1.0, 0.3, 0.2]


@pytest.mark.parametrize(
    "losses, excursion",
    [
        # What comes before it is low counts for nothing.
        ([1.0, 0.5, 0.01, 0.03, 0.02], 0.03),
        ([1.0, 0.005, 0.004], 0.005),
        ([0.01, 0.5, 0.003, 0.2], 0.5),
        ([1.0, 0.5, 0.02], NAN),
        ([], NAN),
    ],
)
def test_an_excursion_begins_where_the_loss_was_low(losses, excursion):
    np.testing.assert_equal(Way(np.array(losses)).excursion(0.01), excursion)


def test_a_walk_has_a_ceiling_and_what_it_tried():
    along = ("attempt", "seed", "iteration")
    history = xr.Dataset(
        {"kept_loss": (along, [[[0.002, 0.008, 0.007]]]), "excursion": (along, [[[0.002, 0.3, 0.01]]])}
        | {name: (along, [[[0.5, 0.5, 0.5]]]) for name in ("held_out_loss", "held_out_score")},
        {"seed": [1]},
    )
    history["ceiling"] = ("seed", [0.02])
    ((seed, way),) = ways(history, True)
    table = pd.DataFrame(
        {"fresh_loss": [0.012, 0.03, 0.03], "excess_loss": [0.007, 0.025, NAN]}, ["walk/1/1", "insd/1/1", "alone/1/1"]
    )
    trained = Way(np.array([1.0, 0.014, 0.016]))
    found = with_excursions(table, {"walk/1/1": way, "insd/1/1": trained, "alone/1/1": trained}, 0.01)
    np.testing.assert_allclose(found["ceiling"], [0.02, 0.015, NAN])
    np.testing.assert_allclose(found["excursion"], [0.008, 0.016, NAN])
    np.testing.assert_allclose(found["excursion_tried"], [0.3, NAN, NAN])
    # Activity that was recorded has no history.
    assert with_excursions(table, {}, 0.01)["excursion"].isna().all()
    assert seed == 1
