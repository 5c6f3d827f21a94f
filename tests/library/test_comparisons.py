"""Comparisons of alternatives with standards: intervals against theory, signs, and who enters."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr
from tables import with_blocks, with_roles

from insd.cohorts import network_labels
from insd.tables.comparisons import clustered_interval, comparisons, difference_interval

STANDARDS, CHAINS = 12, 4


@pytest.fixture
def random():
    return np.random.default_rng(0)


def table(unsolved=()):
    rows = [("standard", seed, 0) for seed in range(STANDARDS)]
    rows += [("insd", seed, number) for seed in range(CHAINS) for number in (0, 1)]
    rows += [("untrained", 0, 0)]
    found = pd.DataFrame(
        {
            "task": "some_task",
            "population": population,
            "seed": seed,
            "round": number,
            "iterations": 0 if population == "untrained" else 100,
            "solved": f"{population}/{seed}/{number}" not in unsolved,
        }
        for population, seed, number in rows
    )
    return with_roles(found)


def files(random, higher_is_better=True, shift=0.0):
    """Files of numbers around 0.5; `shift` is added to the scores of the alternatives, and taken from their losses."""
    labels = [f"{row.population}/{row.seed}/{row.round}" for row in table().itertuples()]
    alternative = np.array([label.startswith("insd") and label.endswith("/1") for label in labels])
    about = {"higher_is_better": int(higher_is_better)}

    def pair(prefix, **sizes):
        shape = (len(labels), *sizes.values())
        moved = shift * alternative.reshape(-1, *[1] * len(sizes))
        values = 0.5 + 0.01 * random.standard_normal(shape)
        losses = 0.5 + 0.01 * random.standard_normal(shape)
        dims = ("network", *sizes)
        return {f"{prefix}score": (dims, values + moved, about), f"{prefix}loss": (dims, losses - moved)}

    performance = xr.Dataset(
        pair("", regime=2) | pair("grid_", noise=3, duration=2),
        {"network": labels, "regime": ["test", "noisy"], "noise": ["a", "b", "c"], "duration": ["short", "long"]},
    )
    robustness = xr.Dataset(
        pair("noise_", noise_level=2)
        | pair("jitter_", jitter_level=2, draw=3)
        | pair("silence_", silenced_share=2, draw=3)
        | pair("kick_", kick_level=2)
        | pair("half_step_"),
        {
            "network": labels,
            **{name: [0.1, 0.2] for name in ("noise_level", "jitter_level", "silenced_share", "kick_level")},
        },
    )
    return {"some_task": with_blocks(performance)}, {"some_task": with_blocks(robustness)}


def compare(random, unsolved=(), higher_is_better=True, shift=0.0, **options):
    return comparisons(table(unsolved), *files(random, higher_is_better, shift), resamples=1999, **options)


def test_every_condition_is_compared_once(random):
    result = compare(random)
    conditions = 2 + 3 * 2 + 4 * 2 + 1
    assert len(result) == 2 * conditions
    assert (result["n_comparisons"] == 2 * conditions).all()
    assert not result.duplicated(["measure", "quantity", "level", "duration"]).any()
    grid = result[(result["measure"] == "grid") & (result["quantity"] == "score")]
    assert list(zip(grid["level"], grid["duration"], strict=True))[:3] == [
        ("a", "short"),
        ("a", "long"),
        ("b", "short"),
    ]
    assert (result["population"] == "insd").all() and (result["round"] == 1).all()
    # References and untrained networks are no standards.
    assert (result["n_standards"] == STANDARDS).all() and (result["n_alternatives"] == CHAINS).all()


def test_differences_and_effects_are_those_of_the_networks(random):
    performance, robustness = files(random)
    result = comparisons(table(), performance, robustness, resamples=99)
    for measure, level, values in (
        ("regime", "noisy", performance["some_task"]["score"].sel(regime="noisy")),
        ("weight jitter", "0.2", robustness["some_task"]["jitter_score"].sel(jitter_level=0.2).mean("draw")),
    ):
        rows = result[(result["measure"] == measure) & (result["level"] == level) & (result["quantity"] == "score")]
        (row,) = rows.itertuples()
        alternatives = values.sel(network=[f"insd/{seed}/1" for seed in range(CHAINS)]).values
        standards = values.sel(network=[f"standard/{seed}/0" for seed in range(STANDARDS)]).values
        assert row.difference == pytest.approx(alternatives.mean() - standards.mean())
        assert row.effect == pytest.approx(row.difference / standards.std(ddof=1))
        assert row.low < row.difference < row.high


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("shift", [0.1, -0.1, 0.0])
def test_positive_means_that_alternatives_are_better(random, higher_is_better, shift):
    result = compare(random, higher_is_better=higher_is_better, shift=shift)
    # The losses of the shifted ones fall where their scores rise.
    for quantity, sign in (("score", 1 if higher_is_better else -1), ("loss", 1)):
        rows = result[result["quantity"] == quantity]
        if shift:
            assert set(rows["verdict"]) == {"better" if sign * shift > 0 else "worse"}
            np.testing.assert_allclose(rows["difference"], sign * shift, atol=0.03)
        else:
            assert (rows["verdict"] == "equal").mean() > 0.7


def test_only_solved_networks_enter_and_the_others_are_counted(random):
    unsolved = ["standard/3/0", "insd/0/1", "insd/2/1", "insd/2/0"]
    result = compare(np.random.default_rng(1), unsolved)
    assert (result["n_standards"] == STANDARDS - 1).all() and (result["unsolved_standards"] == 1).all()
    assert (result["n_alternatives"] == 2).all() and (result["unsolved_alternatives"] == 2).all()
    everyone = compare(np.random.default_rng(1))
    assert (everyone["n_alternatives"] == CHAINS).all() and (everyone["unsolved_alternatives"] == 0).all()
    assert not np.allclose(result["difference"], everyone["difference"])


def test_a_population_is_compared_with_the_standards_that_it_names(random):
    """Of two populations of standards, the alternatives name one."""
    performance, robustness = files(random)
    rows = table()
    rows.loc[(rows["population"] == "standard") & (rows["seed"] < 2), "population"] = "other"
    labels = network_labels(rows)
    performance, robustness = (
        {"some_task": of["some_task"].assign_coords(network=labels)} for of in (performance, robustness)
    )
    named = rows.assign(standards="other", matched=rows["seed"] == 0)
    result = comparisons(named, performance, robustness, resamples=99)
    assert (result["n_standards"] == 2).all() and (result["matched_alternatives"] == 1).all()
    both = comparisons(rows.assign(standards="other standard"), performance, robustness, resamples=99)
    assert (both["n_standards"] == STANDARDS).all()


def test_the_draw_of_trials_widens_the_intervals_of_what_depends_on_it(random):
    performance, robustness = files(random)
    narrow = comparisons(table(), performance, robustness, resamples=999)
    noisy, blocks = performance["some_task"], random.normal(0, 0.5, 16)
    alternative = np.array(["/1" in label[-2:] for label in noisy["network"].values])
    moved = noisy["score_blocks"] + xr.DataArray(alternative, dims="network") * xr.DataArray(blocks, dims="block") * (
        noisy["regime"] == "noisy"
    )
    noisy = noisy.assign(score_blocks=moved.transpose("network", "regime", "block"))
    wide = comparisons(table(), {"some_task": noisy}, robustness, resamples=999)
    width = (wide["high"] - wide["low"]) / (narrow["high"] - narrow["low"])
    affected = (wide["level"] == "noisy") & (wide["quantity"] == "score")
    assert (width[affected] > 5).all()
    np.testing.assert_allclose(width[~affected], 1, rtol=1e-9)
    np.testing.assert_array_equal(wide["difference"], narrow["difference"])


@pytest.mark.parametrize("solved", [0, 1])
def test_too_few_networks_have_no_interval(random, solved):
    result = compare(random, [f"insd/{seed}/1" for seed in range(solved, CHAINS)])
    assert (result["verdict"] == "too few").all() and result["low"].isna().all()
    assert result["difference"].isna().all() == (solved == 0)
    assert (result["n_comparisons"] == 0).all()


def test_a_comparison_without_an_interval_says_why(random):
    """Of kicks that some networks cannot have, and of networks that diverge; nothing else changes."""
    performance, robustness = files(random)
    plain = comparisons(table(), performance, robustness, resamples=99)
    kicked, scored = robustness["some_task"].copy(deep=True), performance["some_task"].copy(deep=True)
    kicked["kick_score"].loc["standard/0/0"] = kicked["kick_loss"].loc["standard/0/0"] = np.nan
    diverges = {"network": "insd/2/1", "regime": "noisy"}
    scored["loss"].loc[diverges], scored["score"].loc[diverges] = np.inf, -np.inf
    scored["loss_blocks"].loc[diverges] = [np.inf] * 8 + [0.5] * 8
    # Where the targets of a block do not vary, its score alone is none.
    scored["grid_score_blocks"].loc[{"network": "insd/1/1", "block": 3}] = -np.inf
    found = comparisons(table(), {"some_task": scored}, {"some_task": kicked}, resamples=99)
    lacking = found["measure"] == "state kick"
    diverged = (found["measure"] == "regime") & (found["level"] == "noisy")
    assert set(found[lacking]["verdict"]) == {"not measured"} and found[lacking]["low"].isna().all()
    assert set(found[diverged]["verdict"]) == {"diverged"} and (found[diverged]["difference"] == -np.inf).all()
    same = ~lacking & ~diverged
    pd.testing.assert_frame_equal(
        found[same].drop(columns="n_comparisons"), plain[same].drop(columns="n_comparisons"), rtol=1e-12
    )
    assert (found["n_comparisons"] == same.sum()).all()
    # An analysis that leaves out all alternatives.
    some = {"some_task": performance["some_task"].sel(network=[f"standard/{seed}/0" for seed in range(STANDARDS)])}
    left_out = {"some_task": some["some_task"].reindex(network=performance["some_task"]["network"])}
    found = comparisons(table(), left_out, robustness, resamples=99)
    assert set(found[found["measure"] == "grid"]["verdict"]) == {"not measured"}


def test_without_deflated_networks_there_is_nothing_to_compare(random):
    assert comparisons(table()[lambda rows: rows["population"] != "insd"], *files(random)).empty


def test_interval_equals_scipy_and_theory_on_large_normal_samples(random):
    first, second = random.normal(1.0, 1.0, (1, 150)), random.normal(0.0, 2.0, (1, 200))
    low, high = difference_interval(first, second, 0.95, 9999, 0)
    plain = scipy.stats.bootstrap(
        (first[0], second[0]),
        lambda a, b, axis=-1: a.mean(axis) - b.mean(axis),
        n_resamples=9999,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    welch = scipy.stats.ttest_ind(first[0], second[0], equal_var=False).confidence_interval(0.95)
    for expected in (plain, welch):
        np.testing.assert_allclose([low[0], high[0]], expected, atol=0.02)


@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0])
def test_intervals_of_five_and_forty_networks_cover_what_they_should(random, sd):
    datasets = 500
    first, second = random.normal(0.3, sd, (datasets, 5)), random.normal(0.0, 1.0, (datasets, 40))
    low, high = difference_interval(first, second, 0.95, 999, 0)
    assert 0.92 < ((low < 0.3) & (high > 0.3)).mean() <= 0.995


def test_intervals_cover_what_they_should_when_trials_matter(random):
    """Alternatives are sensitive to the draw of trials, which all of them share, and standards are not."""
    datasets = 400
    first, second = random.normal(0.3, 1.0, (datasets, 5)), random.normal(0.0, 1.0, (datasets, 40))
    # 16 blocks of trials, the mean of which moves all alternatives together.
    moved = random.normal(0, 4.0, (datasets, 1, 16))
    first = first + moved.mean(-1)
    blocks = (
        (moved - moved.mean(-1, keepdims=True)) * np.ones((1, 5, 1)),
        np.zeros((datasets, 40, 16)),
    )
    covered = {}
    for name, of_trials in (("trials too", blocks), ("networks alone", None)):
        low, high = difference_interval(first, second, 0.95, 999, 0, of_trials)
        covered[name] = ((low < 0.3) & (high > 0.3)).mean()
    assert 0.92 < covered["trials too"] <= 0.995 and covered["networks alone"] < 0.8


def test_clustered_interval_of_single_networks_is_the_plain_one(random):
    first, second = random.normal(1.0, 1.0, 8), random.normal(0.0, 2.0, 12)
    found = clustered_interval(pd.Series(first), pd.Series(second), 0.95, 20000, 0)
    plain = difference_interval(first[None], second[None], 0.95, 20000, 1)
    np.testing.assert_allclose(found, np.concatenate(plain), atol=0.06)
    assert np.isnan(clustered_interval(pd.Series([1.0, 2.0], index=["a", "a"]), pd.Series(second), 0.95, 99, 0)).all()


def test_clustered_intervals_cover_what_they_should(random):
    """Five chains of two networks, most of whose spread is between chains; pooled networks would be too sure."""
    covered = {"clustered": 0, "pooled": 0}
    for _ in range(400):
        chains = np.repeat(np.arange(5), 2)
        first = pd.Series(random.standard_normal(5)[chains] + 0.3 * random.standard_normal(10), index=chains)
        second = pd.Series(random.standard_normal(40))
        clustered = clustered_interval(first, second, 0.95, 999, 0)
        pooled = clustered_interval(first.reset_index(drop=True), second, 0.95, 999, 0)
        covered["clustered"] += clustered[0] < 0 < clustered[1]
        covered["pooled"] += pooled[0] < 0 < pooled[1]
    assert 0.92 < covered["clustered"] / 400 <= 0.995
    assert covered["pooled"] / 400 < 0.9


def test_intervals_do_not_depend_on_the_conditions_beside(random):
    first, second = random.standard_normal((4, 5)), random.standard_normal((4, 9))
    together = difference_interval(first, second, 0.95, 500, 3)
    alone = difference_interval(first[2:3], second[2:3], 0.95, 500, 3)
    assert [end[2] for end in together] == pytest.approx([end[0] for end in alone])
    # Trials that are all alike add nothing.
    alike = (np.zeros((4, 5, 16)), np.zeros((4, 9, 16)))
    assert difference_interval(first, second, 0.95, 500, 3, alike)[0] == pytest.approx(together[0])
    two = difference_interval(first[:, :2], second[:, :2], 0.95, 500, 3)
    assert np.isfinite(two).all() and (two[0] < two[1]).all()
