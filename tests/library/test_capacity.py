"""Capacity: how many alternatives planted chains have, by construction."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import config_of
from drawn import check_text
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from insd.cohorts import network_label, read_table
from insd.figures.capacity import capacity_figure
from insd.settings.load import load
from insd.tables.capacity import CAPACITY_COLUMNS, at_least, capacity, capacity_page, capacity_pairs, median_of


def chain(rounds, population="insd", seed=0, started=True, reference=None, **settings):
    """A reference and its alternatives, each one of: good, unsolved, alike in S, alike in r2, or unpenalised."""
    base = {
        **{"task": "flip_flop", "population": population, "seed": seed, "reference": reference or population},
        **{"units": 16, "outputs": 3, "recurrent_noise": 0.05, "schedule": "constrained", "multiplier": 0.1},
        **{"gain": 1.5, "max_iterations": 8000, "term": "predictivity"},
        **{
            "architecture": "rate",
            "ridge": 1e-3,
            "penalty_bound": 0.15,
            "role": "alternative",
            "r2_null_shuffled_max_to_earlier": 0.02,
        },
    } | settings
    rows = [base | {"round": 0, "role": "reference", "solved": started, "deflated": None}]
    for number, kind in enumerate(rounds, start=1):
        penalty = {"unpenalised": np.nan, "alike S": 0.152}.get(kind, 0.1)
        r2 = 0.4 if kind.startswith("alike r2") else 0.01 * number
        deflated = {"good": True, "unsolved": True, "alike S": False, "alike r2": False}.get(kind)
        rows.append(
            base
            | {
                "round": number,
                "solved": kind != "unsolved",
                "deflated": deflated,
                "r2_null_max_to_earlier": r2,
                "penalty": penalty,
            }
        )
    return pd.DataFrame(rows if reference is None else rows[1:])


def test_a_chain_that_is_not_compared_has_no_length():
    rows = chain(["good", "good"])
    rows.loc[rows["round"] == 2, "r2_null_max_to_earlier"] = np.nan
    row = capacity(rows, 0.25).iloc[0]
    assert np.isnan([row["k_max"], row["k_max_r2"]]).all()
    assert (row["ended_by"], bool(row["censored"])) == ("not compared", False)


@pytest.mark.parametrize(
    "rounds, k_max, censored, ended_by, by_r2, last",
    [
        (["good", "good", "good"], 3, True, "", 3, (0.1, 0.03)),
        (["good", "good", "unsolved"], 2, False, "not solved", 2, (0.1, 0.03)),
        # What comes after the end does not count.
        (["good", "alike S", "good", "good"], 1, False, "not deflated", 4, (0.152, 0.02)),
        (["alike r2", "good"], 0, False, "not deflated", 0, (0.1, 0.4)),
        (["unsolved"], 0, False, "not solved", 0, (0.1, 0.01)),
        # Walks and other terms: r2 alone decides.
        (["unpenalised", "alike r2, unpenalised"], 1, False, "not deflated", 1, (0.1, 0.4)),
    ],
)
def test_a_chain_lasts_until_its_first_failure(rounds, k_max, censored, ended_by, by_r2, last, tmp_path):
    # Neither does the order of the rows count, nor what a file makes of them.
    chain(rounds).iloc[::-1].to_csv(tmp_path / "networks.csv", index=False)
    found = capacity(read_table(tmp_path / "networks.csv"), 0.25)
    assert list(found) == CAPACITY_COLUMNS and len(found) == 1
    assert not found.isna().all().drop("ended_by").any()
    row = found.iloc[0]
    assert (row["k_max"], row["rounds"], row["k_max_r2"]) == (k_max, len(rounds), by_r2)
    assert row["ended_by"] == ended_by
    assert bool(row["censored"]) is censored
    np.testing.assert_allclose(row[["last_penalty", "last_r2", "last_r2_shuffled"]].tolist(), [*last, 0.02])


def test_rounds_are_in_the_order_of_numbers():
    """Not of text, in which 10 comes before 2."""
    rows = chain(["good"] * 9 + ["unsolved", "good"]).sample(frac=1.0, random_state=0)
    assert capacity(rows, 0.25)["k_max"].tolist() == [9]


def test_a_chain_needs_a_reference_that_is_solved():
    lost = chain(["good", "good"], started=False)
    of_others = chain(["good"], "other", reference="insd")
    found = capacity(pd.concat([lost, of_others]), 0.25)
    assert found["k_max"].isna().all() and not found["censored"].any()
    assert found["ended_by"].tolist() == ["reference not solved"] * 2
    # A recording in the place of the reference is no row.
    assert capacity(of_others, 0.25)["k_max"].tolist() == [1]
    assert list(capacity(lost[:1], 0.25)) == CAPACITY_COLUMNS


def planted():
    """Three chains of 8 units that end after 1, 2 and not at all in 3 rounds, and two of 16 that do not end."""
    endings = (["good", "unsolved", "good"], ["good", "good", "alike S"], ["good"] * 3)
    small = [chain(rounds, "n8", seed, units=8) for seed, rounds in enumerate(endings)]
    large = [chain(["good"] * 3, "n16", seed) for seed in range(2)]
    return pd.concat([*small, *large], ignore_index=True)


def test_medians_say_where_they_are_lower_bounds():
    chains = capacity(planted(), 0.25)
    small, large = (chains[chains["population"] == name] for name in ("n8", "n16"))
    assert median_of(small) == (2.0, False) and median_of(large) == (3.0, True)
    # The middle of two: one that ended after 2, and one that had not ended after 3.
    assert median_of(small[1:]) == (2.5, True)
    assert median_of(small, "k_max_r2") == (3.0, True)
    assert np.isnan(median_of(small[:0])[0])
    assert (at_least(2.5, True), at_least(3.0, False)) == ("≥ 2.5", "3")


def predictivity(table):
    labels = [network_label(*row) for row in table[["population", "seed", "round"]].itertuples(index=False)]
    values = np.random.default_rng(0).random((2, len(labels), len(labels)))
    places = {"space": ["full", "null"], "predictor": labels, "target": labels}
    return xr.Dataset(
        {"r2": (tuple(places), values), "r2_shuffled": (tuple(places), values / 10)},
        coords=places,
    )


def test_pairs_are_of_each_round_and_all_earlier_ones():
    table = planted()
    known = predictivity(table)
    pairs = capacity_pairs(table, {"flip_flop": known}, 0.25)
    of_chain = pairs[(pairs["population"] == "n8") & (pairs["seed"] == 0)]
    assert of_chain[["round", "round_to"]].to_numpy().tolist() == [[1, 0], [2, 0], [2, 1], [3, 0], [3, 1], [3, 2]]
    assert of_chain["counted"].tolist() == [True] + [False] * 5
    expected = [known["r2"].sel(space="null", predictor=f"n8/0/{a}", target=f"n8/0/{b}") for a, b in [(1, 0), (3, 2)]]
    assert of_chain["r2_null"].iloc[[0, -1]].tolist() == [float(value) for value in expected]
    np.testing.assert_allclose(of_chain["r2_null_shuffled"], of_chain["r2_null"] / 10)
    # Alternatives to the references of another population.
    other = chain(["good", "good"], "other", reference="n16")
    both = pd.concat([table, other], ignore_index=True)
    known = predictivity(both)
    found = capacity_pairs(both, {"flip_flop": known}, 0.25).query("population == 'other'")["r2_null"]
    pairs_of_other = [("other/0/1", "n16/0/0"), ("other/0/2", "n16/0/0"), ("other/0/2", "other/0/1")]
    assert found.tolist() == [float(known["r2"].sel(space="null", predictor=a, target=b)) for a, b in pairs_of_other]


def test_the_page_has_the_summary_and_every_chain():
    table = planted()
    page = capacity_page(capacity(table, 0.25), capacity_pairs(table, {"flip_flop": predictivity(table)}, 0.25))
    start = "| 3 | 0.05 | constrained 0.1 |"
    assert f"| n8 | 8 {start} 3 of 3 | 3 | 2 | 1 to ≥ 3 | ≥ 3 | 1 | 1 | 0.100 | 0.030 | 0.020 |" in page
    assert f"| n16 | 16 {start} 2 of 2 | 3 | ≥ 3 | ≥ 3 | ≥ 3 | 0 | 0 | 0.100 | 0.030 | 0.020 |" in page
    assert "| n8/1 | 2 | not deflated | 1: " in page and "| n16/1 | ≥ 3 |  | 1: " in page


def test_the_figure_compares_what_differs_in_one_setting():
    noisy = [chain(["good", "unsolved"], f"noise-{noise}", recurrent_noise=noise) for noise in (0.0, 0.2)]
    table = pd.concat([planted(), *noisy], ignore_index=True)
    figure = capacity_figure(capacity(table, 0.25))
    assert "number of units N" in check_text(figure)
    units, noise, weight = figure.axes[:3]

    def lines(axes: Axes) -> list[Line2D]:
        return [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_linestyle() != ":"]

    # From a median of 2 to one of at least 3.
    (line,) = lines(units)
    assert list(line.get_ydata()) == [2.0, 3.0] and line.get_linestyle() == "--"
    (by_r2,) = (one for one in units.lines if one.get_linestyle() == ":")
    assert list(by_r2.get_ydata()) == [3.0, 3.0]
    assert [one.get_marker() for one in units.lines if len(one.get_xdata()) == 1] == ["o", "o", "^", "^", "^"]
    # Those of n16 have a noise between the two.
    assert [list(one.get_ydata()) for one in lines(noise)] == [[1.0, 3.0], [3.0, 1.0]]
    assert weight.texts[0].get_text() == "one value in this grid"
    assert capacity_figure(capacity(table[:1], 0.25)).axes[0].texts


@pytest.mark.parametrize("files, rounds", [(["capacity"], 6), (["capacity", "capacity_full"], 9)])
def test_the_study_varies_one_setting_at_a_time(files, rounds):
    settings = load(config_of(*files))
    assert [settings.task(task).channels for task in ("flip_flop_1", "flip_flop_2", "flip_flop")] == [1, 2, 3]
    of_insd = settings.recipe("flip_flop", "insd", 1)
    units = []
    for name, population in settings.populations.items():
        assert (population.seeds, population.rounds) == (5, rounds)
        recipe = settings.recipe("flip_flop", name, 1)
        assert recipe.training == of_insd.training
        if not name.startswith("lambda-"):
            assert recipe.terms == of_insd.terms
        if name[0] in "in":
            same = recipe.network.model_copy(update={"units": 100, "recurrent_noise": 0.05})
            assert same == of_insd.network
        units += [recipe.network.units] * (len(settings.population_names("flip_flop_1")) and population.tasks is None)
    assert sorted(units) == [8, 16, 32, 64, 100]
