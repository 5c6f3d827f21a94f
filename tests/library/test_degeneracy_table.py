"""The tables, claims and figure of degeneracy: factors are found from settings, and ratios come out as planted."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr
from conftest import config_of
from drawn import check_text

from insd.claims.base import ALL_TASKS, NO_ANSWER, NOT, PARTLY, REPRODUCED, claims_page, judged
from insd.claims.huang_2025 import CLAIMS, FACTORS, chance, verdict
from insd.figures.degeneracy import degeneracy_figure
from insd.settings.load import load
from insd.tables.degeneracy import (
    FACTOR_COLUMNS,
    GROUP_COLUMNS,
    LEVELS,
    RATIO_COLUMNS,
    comparisons,
    degeneracy_page,
    factor_rows,
    group_rows,
    ratio_rows,
)

RESAMPLES = 400


def recipe(terms=(), training=(), **network):
    own = {
        "network": {"architecture": "rate", "units": 64, **network},
        "training": {"loss_bound": 0.05, **dict(training)},
    }
    return own | {"terms": {"predictivity": {"bound": 0.05}, **dict(terms)}}


def group(name, values, made=None, role="standard", loss=0.05, solved=5):
    """A group whose degeneracy is `values`, the same at all levels or by level; its resamples scatter by 5 %."""
    values = np.broadcast_to(np.asarray(values, float), len(LEVELS))
    population, _, number = name.rpartition("/")
    noise = np.random.default_rng(list(name.encode())).normal(0, 0.05, (len(LEVELS), RESAMPLES))
    draws = values[:, None] * np.exp(noise)
    numbers = ("loss", "test_loss", "weight_change", "relative_weight_change", "kernel_alignment")
    return xr.Dataset(
        {
            "value": ("level", values),
            "interval": (("level", "bound"), np.percentile(draws, [2.5, 97.5], axis=1).T),
            "draws": (("level", "resample"), draws),
            "null": ("draw", [0.01, 0.02, np.nan]),
            "test_loss_range": ("bound", [loss - 0.001, loss + 0.001]),
            **dict.fromkeys(numbers, ((), loss)),
            **dict.fromkeys(("networks", "solved", "pairs"), ((), solved)),
        },
        {"level": list(LEVELS), "bound": ["low", "high"], "group": name, "population": population, "round": int(number)}
        | {"role": role, "recipe": json.dumps(made or recipe(gain=1.0))},
    )


def file(*groups):
    return xr.concat(groups, "group", coords=["population", "round", "role", "recipe"])


KNOB = {"architecture": "maximal_update"}
NUCLEAR = {"nuclear_norm": {"multiplier": 0.1}}


def planted():
    """Two tasks with all factors, under names that say nothing, and two more of the class of the first."""
    of_network = [
        group("a/0", 0.2),
        group("b/0", 0.4, recipe(**KNOB, feature_learning=1.0)),
        group("c/0", 0.1, recipe(**KNOB, feature_learning=4.0)),
        group("d/0", 0.8, recipe(**KNOB, feature_learning=1.0, **{"units": 32})),
        group("e/0", [0.1, 0.1, 0.4, 0.4, 0.4], recipe(NUCLEAR, gain=1.0)),
        group("g/0", 0.3, recipe(gain=1.5)),
        group("chain/0", 0.3, recipe({"predictivity": {"bound": 0.15}}, gain=1.0), role="reference"),
        group("chain/1", 0.6, recipe(gain=1.5), role="alternative"),
        group("chain/2", 0.8, recipe(gain=1.5), role="alternative", loss=0.07),
        group("control/0", 0.9, recipe(**KNOB, feature_learning=9.0), role="control"),
    ]
    hard = recipe(gain=1.0, training={"loss_bound": 0.1})
    files = {"flip": file(*of_network), "sine": file(*of_network)}
    files |= {"two": file(group("a/0", 0.1, hard)), "one": file(group("a/0", 0.4, hard, loss=0.08))}
    shared = {"class": "FlipFlop", "dt": 0.02, "width": 1.0}
    tasks = {
        "flip": {**shared, "channels": 3, "regimes": {"long": {}}},
        "two": {**shared, "channels": 2, "regimes": {}},
        "one": {**shared, "channels": 1},
        "sine": {"class": "SineWave", "channels": 1, "width": 1.0},
    }
    return files, tasks


@pytest.fixture(scope="module")
def tables():
    files, tasks = planted()
    groups = group_rows(files)
    found = comparisons(files, groups, tasks, {name: name for name in ("a", "chain")})
    return groups, factor_rows(found, 0.95), ratio_rows(found, 0.95)


def test_factors_are_found_from_settings(tables):
    groups, factors, _ = tables
    assert list(groups) == GROUP_COLUMNS and list(factors) == FACTOR_COLUMNS and len(groups) == 22
    found = {key: list(own["population"]) for key, own in factors.groupby(["factor", "compared"])}
    assert found == {
        ("complexity", "FlipFlop: channels"): ["a", "a", "a"],
        **{("feature_learning", task): ["b", "c"] for task in ("flip", "sine")},
        **{("width", task): ["d", "b"] for task in ("flip", "sine")},
        **{("gain", task): ["a", "g"] for task in ("flip", "sine")},
        **{("nuclear_norm", task): ["a", "e"] for task in ("flip", "sine")},
        **{(f"alt-{k}", task): ["a", "chain"] for k in (1, 2) for task in ("flip", "sine")},
    }
    complexity = factors[factors["factor"] == "complexity"]
    assert complexity["task"].tolist() == ["one", "two", "flip"] and complexity["value"].tolist() == [1, 2, 3]
    # The loss of one task is not that of the others.
    assert complexity["matched"].tolist() == [True, False, False]
    row = groups[(groups["task"] == "flip") & (groups["population"] == "e")].iloc[0]
    assert row[["nuclear_norm", "l1_norm", "units", "gain"]].tolist() == [0.1, 0.0, 64, 1.0]
    assert row["null"] == pytest.approx(0.015) and row["test_loss_high"] == pytest.approx(0.051)


def test_ratios_are_those_that_were_planted(tables):
    _, factors, ratios = tables
    assert list(ratios) == RATIO_COLUMNS
    ends = factors[factors["compared"] == "flip"].groupby("factor").last()
    expected = {"feature_learning": 0.25, "width": 0.5, "gain": 1.5, "nuclear_norm": 0.5, "alt-1": 3.0, "alt-2": 4.0}
    assert ends["ratio_dynamics"].to_dict() == pytest.approx(expected)
    assert ends.loc["nuclear_norm", "ratio_weights"] == pytest.approx(2.0)
    inside = (ends["ratio_dynamics_low"] < ends["ratio_dynamics"]) & (
        ends["ratio_dynamics"] < ends["ratio_dynamics_high"]
    )
    assert inside.all() and not ends.loc["alt-2", "matched"]
    by = ratios.set_index(["factor", "level"])
    assert by.loc[("width", "dynamics"), ["comparisons", "unmatched", "higher", "lower"]].tolist() == [2, 0, 0, 2]
    assert by.loc[("alt-2", "weights"), ["comparisons", "unmatched"]].tolist() == [0, 2]
    assert np.isnan(by.loc[("alt-2", "weights"), "ratio"])
    # Both resamples scatter by 5 %; two independent tasks halve the variance, but these are copies of each other.
    low, high = np.log(by.loc[("width", "dynamics"), ["ratio_low", "ratio_high"]].astype(float))
    assert high - low == pytest.approx(2 * 1.96 * 0.05 * 2**0.5, rel=0.15)
    assert by.loc[("width", "dynamics"), "ratio"] == pytest.approx(0.5)


def test_groups_without_two_solved_networks_are_not_compared():
    made = recipe(**KNOB, feature_learning=4.0)
    files = {
        "flip": file(group("b/0", 0.4, recipe(**KNOB, feature_learning=1.0)), group("c/0", np.nan, made, solved=1))
    }
    found = comparisons(files, group_rows(files), {"flip": {"class": "FlipFlop"}}, {})
    (ratio,) = set(ratio_rows(found, 0.95)["comparisons"])
    assert ratio == 0 and "nan" not in degeneracy_page(
        group_rows(files), factor_rows(found, 0.95), ratio_rows(found, 0.95), 0.95
    )


def test_the_page_and_the_figure_show_all(tables):
    page = degeneracy_page(*tables, 0.95)
    assert "| width N | 0.5 (0." in page and "| alt-1 | 3 (2." in page and "| 0 of 2 |" in page
    assert "| task complexity | FlipFlop: channels | 1 | a | one | 5 | 0.08 | yes |" in page and "nan" not in page
    figure = degeneracy_figure(*tables[1:])
    notes = check_text(figure)
    assert notes.count("one level\nin this grid") == 3
    width, ratio = figure.axes[7 + 2], figure.axes[7 + 6]
    drawn = [line for line in width.lines if line.get_marker() not in ("None", "")]
    assert sorted(y for line in drawn for y in line.get_ydata()) == [0.4, 0.4, 0.8, 0.8]
    means = [line.get_ydata()[0] for line in ratio.lines if line.get_color() == "black"]
    # Complexity and the second alternatives are not matched.
    np.testing.assert_allclose(means, [0.25, 0.5, 1.5, 0.5, 3.0])
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert [len(line.get_ydata()) for line in hollow] == [2]


def test_a_grid_without_degeneracy_has_empty_tables_and_a_labelled_gap():
    groups = group_rows({})
    found = comparisons({}, groups, {"flip": {"class": "FlipFlop", "channels": 3}}, {})
    factors, ratios = factor_rows(found, 0.95), ratio_rows(found, 0.95)
    assert (list(groups), list(factors), list(ratios)) == (GROUP_COLUMNS, FACTOR_COLUMNS, RATIO_COLUMNS)
    assert not len(groups) + len(factors) + len(ratios)
    assert "no degeneracy\nin this grid" in check_text(degeneracy_figure(factors, ratios))


def ratio(higher, lower, low, high, factor="width", level="dynamics", unmatched=0):
    row = {"factor": factor, "level": level, "comparisons": higher + lower, "unmatched": unmatched, "higher": higher}
    return pd.DataFrame([row | {"lower": lower, "ratio": (low * high) ** 0.5, "ratio_low": low, "ratio_high": high}])


@pytest.mark.parametrize(
    "higher, lower, low, high, sign, expected",
    [
        (5, 0, 1.5, 2.0, 1, REPRODUCED),
        (5, 0, 1.5, 2.0, -1, NOT),
        (1, 4, 0.5, 0.9, -1, PARTLY),
        (1, 4, 0.5, 1.1, -1, NOT),
        (1, 7, 0.5, 1.1, -1, REPRODUCED),
        (3, 0, 1.1, 2.0, 1, PARTLY),
        (2, 0, 1.1, 2.0, 1, NO_ANSWER),
    ],
)
def test_claims_are_judged_by_the_sign_test_and_the_interval(higher, lower, low, high, sign, expected):
    assert verdict(ratio(higher, lower, low, high), sign)[1] == expected
    right, of = (higher if sign > 0 else lower), higher + lower
    assert chance(right, of) == pytest.approx(scipy.stats.binomtest(right, of, alternative="greater").pvalue)


def test_claims_on_all_tasks_are_judged_once_by_whole_tables():
    networks = pd.DataFrame({"task": ["flip", "sine"], "role": "standard", "population": "a", "solved": True})
    ratios = pd.concat([ratio(0, 5, 0.5, 0.9), ratio(0, 5, 0.5, 0.9, "feature_learning", "weights")])
    papers = {"huang_2025": CLAIMS}
    table = judged(papers, networks, {}, {"degeneracy_ratios": ratios}, 0.95, 99).set_index("id")
    assert len(table) == len(CLAIMS.claims) == 3 * len(FACTORS) and set(table["task"]) == {ALL_TASKS}
    assert table.loc["width_dynamics", "verdict"] == REPRODUCED and "p = 0.031" in table.loc["width_dynamics", "number"]
    assert table.loc["feature_learning_weights", "verdict"] == NOT
    assert table["verdict"].value_counts()[NO_ANSWER] == 13
    assert "| all tasks | lower in 5 of 5" in claims_page(table.reset_index(), papers, 0, 0.95)


@pytest.mark.parametrize(
    "files, networks", [(["degeneracy"], (550, 650)), (["degeneracy", "degeneracy_full"], (3500, 3700))]
)
def test_the_study_varies_one_factor_at_a_time(files, networks):
    settings = load(config_of(*files))
    count, groups = 0, {}
    for task in settings.tasks:
        of_task = []
        for name in settings.population_names(task):
            for number in settings.trained_rounds(name):
                count += settings.population(name).seeds
                made = settings.recipe(task, name, number)
                stops = made.training
                # All stop at one loss, and nothing keeps them from it.
                assert (stops.finishing, stops.patience) == (0, 1)
                assert stops.loss_bound == settings.recipe(task, "standard", 0).training.loss_bound, (task, name)
                of_task.append(group(f"{name}/{number}", 1.0, made.model_dump(), settings.role(task, name, number)))
        groups[task] = file(*of_task)
    assert networks[0] <= count <= networks[1]
    tasks = {
        name: {**settings.task_parameters(name), "class": type(settings.task(name)).__name__} for name in settings.tasks
    }
    references = {name: settings.reference(name) for name in settings.populations}
    found = comparisons(groups, group_rows(groups), tasks, references)
    counts = pd.Series([one.factor for one in found]).value_counts()
    assert counts.to_dict() == {"complexity": 5, **dict.fromkeys(counts.index.drop("complexity"), 6)}
    assert set(counts.index) == {*FACTORS, "gain", "alt-1", "alt-2"}
    for one in found:
        if one.factor == "complexity":
            assert {place.row["population"] for place in one.places} == {"standard"}
