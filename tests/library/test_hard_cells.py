"""Hard cells: their search on a task with a known psychometric function, pairing, and the criterion on planted data."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import xarray as xr
from trained import trained_round

from insd.analysis import hard_cells as analysis
from insd.datasets import validate
from insd.evaluation import hard_cells as cells
from insd.evaluation.blocks import jackknife_error
from insd.tables.existence import existence
from insd.tasks.base import Duration, GridField, NotNegative, Span, Task
from insd.tasks.context_integration import ContextIntegration
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.memory_pro import MemoryPro
from insd.tasks.parity import Parity


@dataclass(frozen=True, kw_only=True)
class Signal(Task):
    """The sign of a signal in noise: a reader of its mean is right with probability Phi(sqrt(steps) / noise)."""

    noise: NotNegative = 0.5
    length: Span = (0.02, 0.02)
    drift: Duration = 0.0
    grid: GridField = field(
        default_factory=lambda: {
            "noise": [{}, {"noise": 1.0}, {"noise": 4.0}, {"noise": 20.0}],
            "duration": [{}, {"drift": 0.5}],
        }
    )
    score_name: ClassVar[str] = "accuracy"
    chance: ClassVar[float] = 0.5

    def _sample(self, n_trials, random):
        signs = random.choice([-1.0, 1.0], n_trials)
        signal = np.broadcast_to(signs[:, None, None], (n_trials, self.steps(self.length[0]), 1))
        mask, conditions = np.ones(signal.shape), {"sign": signs}
        return self.dataset(signal, signal, mask, ["signal"], ["sign"], conditions, noise=self.noise, random=random)


def accuracy(task):
    """That of the reader of one step; duration makes it harder, too, by up to a quarter."""
    return scipy.stats.norm.cdf(1 / task.noise) - 0.5 * task.drift


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_the_psychometric_function_is_that_of_trials(noise):
    trials = Signal(noise=noise).sample("test", 10_000, 0)
    right = np.sign(trials["inputs"].values.mean((1, 2))) == trials["sign"].values
    assert right.mean() == pytest.approx(accuracy(Signal(noise=noise)), abs=0.015)


def test_bisection_finds_the_positions_of_a_known_psychometric_function():
    found = cells.find_cells(Signal(), accuracy, [0.2, 0.4, 0.6, 0.8])
    by_name = {(cell.direction, cell.share): cell for cell in found}
    assert len(by_name) == 12
    start = scipy.stats.norm.cdf(2.0)
    for share in (0.2, 0.4, 0.6, 0.8):
        cell = by_name["noise", share]
        expected = 1 / scipy.stats.norm.ppf(start - share * (start - 0.5))
        assert cell.parameters["noise"] == pytest.approx(expected, rel=0.03)
        assert cell.parameters["drift"] == 0 and not cell.reason
        assert (cell.search_score - start) / (0.5 - start) == pytest.approx(share, abs=cells.TOLERANCE)
    # The last duration is (.25 / .477) of the way, which is less than .6.
    assert [bool(by_name["duration", share].reason) for share in (0.2, 0.4, 0.6, 0.8)] == [False, False, True, True]
    assert "0.52" in by_name["duration", 0.6].reason and np.isnan(by_name["duration", 0.6].position)
    assert by_name["both", 0.2].parameters["noise"] < by_name["noise", 0.2].parameters["noise"]


def test_standards_that_get_worse_as_numbers_rise():
    """In degrees, lower is better."""

    class Angle(Signal):
        chance: ClassVar[float] = 90.0

    found = cells.find_cells(Angle(), lambda task: 10 * task.noise, [0.5], ["noise"])
    assert found[0].search_score == pytest.approx(5 + 0.5 * 85, abs=1)


@pytest.mark.parametrize(
    "levels, position, expected",
    [
        ([{"noise": 0.1}, {"noise": 0.4}], 0.5, {"noise": 0.2}),
        ([{}, {"noise": 2.0}], 0.5, {"noise": 1.0}),
        ([{"noise": 0.0}, {"noise": 0.4}], 0.5, {"noise": 0.2}),
        ([{"length": [0.2, 0.8]}, {"length": [0.8, 3.2]}], 0.5, {"length": (0.4, 1.6)}),
        ([{"length": [0.0, 1.0]}, {"length": [1.0, 9.0]}], 0.5, {"length": (0.5, 5.0)}),
        # Written without a point, as people do in YAML.
        ([{"noise": 1}, {"noise": 2}], 0.5, {"noise": np.sqrt(2)}),
        ([{"length": [1, 1]}, {"length": [2, 2]}], 0.5, {"length": (np.sqrt(2), np.sqrt(2))}),
        ([{"noise": 0.1}, {"noise": 0.4}, {"drift": 1.0}], 2.0, {"drift": 1.0}),
        ([{"noise": 0.1}, {"noise": 0.4}, {"drift": 1.0}], 1.5, {"noise": np.sqrt(0.4 * 0.5), "drift": 0.5}),
    ],
)
def test_positions_between_levels(levels, position, expected):
    found = cells.interpolated(Signal(grid={"noise": levels, "duration": [{}]}), "noise", position)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value)


def test_what_is_no_number_has_no_cell_and_says_so():
    levels = {"noise": [{"target": "sign"}, {"target": "integral"}], "duration": [{}]}
    found = cells.find_cells(ContextIntegration(grid=levels), lambda task: 0.9 - 0.4 * (task.target != "sign"), [0.5])
    assert "grid.noise: target cannot be interpolated" in found[0].reason
    assert "one level" in found[1].reason


def test_numbers_of_a_field_of_whole_numbers_stay_whole():
    task = FlipFlop(grid={"noise": [{"channels": 1}, {"channels": 4}], "duration": [{}]})
    assert cells.interpolated(task, "noise", 0.4) == {"channels": 2}


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_standards_at_chance_from_the_start_have_no_cell(share):
    """As where a task of one's own does not say what chance is: 0, which is then a perfect score in degrees."""
    found = cells.find_cells(Signal(), lambda task: 0.5, [share])
    assert {cell.reason for cell in found} == {"the standards' median score in distribution is that of chance, 0.5"}


def test_equal_networks_beat_the_bar_in_a_tenth_and_hardly_ever_win():
    random = np.random.default_rng(1)
    standards = list(range(40))
    beaten, significant = [], []
    for _ in range(40):
        errors = random.exponential(1, (50, 400))
        scores = -errors.mean(1)
        bars, p = cells.against_standards(scores, errors, standards, True)
        beaten.append(scores > bars)
        significant.append((scores > bars) & (p < analysis.LEVEL / 12))
    assert np.mean(beaten, axis=0)[:40].mean() == pytest.approx(0.1, abs=1e-9)
    # Ten further groups that are equal: 4 of 41 places are above the bar.
    assert np.mean(beaten, axis=0)[40:].mean() == pytest.approx(4 / 41, abs=0.03)
    assert np.mean(significant) < 0.005


@pytest.mark.parametrize("count, place", [(40, 37), (39, 36), (19, 18), (10, 10), (9, 9), (8, 8), (5, 5)])
def test_the_standard_at_the_90th_percentile(count, place):
    goodness = np.random.default_rng(0).permutation(count).astype(float)
    assert goodness[cells.percentile_standard(goodness)] == place - 1


def planted(better=(), seed=0):
    """Twelve cells of 20 equal standards and one network that is better in some cells."""
    random = np.random.default_rng(seed)
    labels = [f"s/{number}/0" for number in range(20)] + ["insd/0/1"]
    arrays = {name: np.full((21, 12), np.nan) for name in ("loss", "score", "error", "bar", "p")}
    for cell in range(12):
        difficulty = random.exponential(1, 500)
        errors = difficulty * random.uniform(0.5, 1.5, (21, 500))
        if cell in better:
            errors[-1] *= 0.8
        arrays["score"][:, cell] = errors.mean(1)
        bars, p = cells.against_standards(errors.mean(1), errors, range(20), False)
        arrays["bar"][:, cell], arrays["p"][:, cell] = bars, p
    return xr.Dataset(
        {name: (("network", "cell"), values) for name, values in arrays.items()},
        coords={"network": labels, "standards": ("cell", ["s"] * 12)},
        attrs={"score_higher_is_better": 0},
    )


def test_a_network_that_is_better_in_two_cells_is_found():
    result = planted(better=(3, 8))
    won = analysis.won(result).sel(network="insd/0/1")
    assert np.flatnonzero(won).tolist() == [3, 8]
    assert not analysis.won(result).isel(network=slice(20)).any()
    result = result.assign(
        {name: ("network", np.arange(21.0)) for name in ("fresh_loss", "fresh_loss_se", "fresh_score")}
    )
    table = analysis.columns(result, pd.DataFrame(index=[*result["network"].values, "left/0/0"]))
    assert table.loc["insd/0/1", "hard_cells_won"] == 2
    assert table.loc["insd/0/1", "hard_cells_beaten"] >= 2 / 12
    assert table["hard_cells"].tolist()[:21] == [12] * 21
    assert table.loc["left/0/0"].isna().all()
    assert table["hard_cells_beaten"][:20].mean() == pytest.approx(0.1)


def test_networks_that_differ_as_standards_do_win_by_chance():
    """Differences between networks are real, so that the paired test finds them: five alternatives that differ as 20
    standards do win where they are beyond the second best of these. How many do, order statistics say."""
    random, won = np.random.default_rng(5), []
    for _ in range(300):
        errors = random.uniform(0.2, 3.0, (25, 1)) * random.uniform(0.9, 1.1, (25, 200))
        scores = -errors.mean(1)
        bars, p = cells.against_standards(scores, errors, range(20), True)
        won.append((scores > bars)[20:] & (p[20:] < analysis.LEVEL))
    chance = {k: math.comb(k + 1, k) * math.comb(23 - k, 5 - k) / math.comb(25, 5) for k in range(6)}
    assert sum(chance.values()) == pytest.approx(1)
    assert np.mean(won) == pytest.approx(2 / 21, abs=0.03)
    for k, expected in chance.items():
        assert np.mean(np.sum(won, axis=1) == k) == pytest.approx(expected, abs=0.06)
    tables = [pd.DataFrame({"hard_cells": 1.0, "hard_cells_won": row.astype(float), "matched": True}) for row in won]
    verdicts = [existence(table).verdict for table in tables]
    assert verdicts.count("reproduced") / 300 == pytest.approx(chance[3] + chance[4] + chance[5], abs=0.02)


def test_an_equal_network_wins_nowhere():
    assert sum(int(analysis.won(planted(seed=seed)).sel(network="insd/0/1").sum()) for seed in range(10)) == 0


def test_holm_by_hand():
    assert analysis.holm(np.array([0.01, np.nan, 0.04, 0.03])) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)


def test_paired_test_equals_scipy_and_ignores_what_is_equal_or_missing():
    random = np.random.default_rng(2)
    one, other = random.normal(0, 1, 300), random.normal(0.1, 1, 300)
    expected = scipy.stats.wilcoxon(one, other, alternative="less", method="asymptotic").pvalue
    assert cells.paired_p(one, other) == pytest.approx(expected)
    same = np.append(one, [1.0, np.nan]), np.append(other, [1.0, 0.0])
    assert cells.paired_p(*same) == pytest.approx(expected)
    assert cells.paired_p(one, one) == 1


@pytest.mark.parametrize(
    "task", [ContextIntegration(), FlipFlop(), MemoryPro(), Parity()], ids=lambda task: type(task).__name__
)
def test_errors_of_trials_make_up_the_score(task):
    """Of outputs that are the targets with noise."""
    trials = task.sample("test", 200, 3)
    outputs = trials["targets"].values + np.random.default_rng(0).normal(0, 2, (2, *trials["targets"].shape))
    errors, scores = task.trial_errors(trials, outputs), task.score(trials, outputs)
    assert errors.shape == (2, 200)
    if isinstance(task, MemoryPro):
        assert scores == pytest.approx(np.median(errors, axis=1))
    elif isinstance(task, ContextIntegration | Parity):
        assert scores == pytest.approx(1 - np.nanmean(errors, axis=1))
    else:
        weights = trials["mask"].values.sum((1, 2))
        assert scores == pytest.approx(1 - errors @ weights / weights.sum())
    assert np.nanmax(task.trial_errors(trials, trials["targets"].values)) == pytest.approx(0, abs=1e-4)


def test_the_standard_error_of_a_loss_is_that_of_a_mean_over_trials():
    """It equals that of the mean of the errors of trials, for a mask that is the same in all."""
    task, random = MemoryPro(), np.random.default_rng(4)
    trials = task.sample("test", 512, 0)
    trials["mask"] = xr.ones_like(trials["mask"])
    sizes = random.exponential(1, (20, 512, 1, 1))
    outputs = trials["targets"].values + sizes * random.standard_normal((20, *trials["targets"].shape))
    found = jackknife_error(task, torch.from_numpy(outputs), trials)
    errors = np.square(outputs - trials["targets"].values).mean((2, 3))
    deviation = trials["targets"].values - trials["targets"].values.mean((0, 1))
    expected = errors.std(axis=1, ddof=1) / np.sqrt(512) / np.square(deviation).mean()
    # One is by 64 blocks of trials, so that it is off by some 1 / sqrt(126) of itself.
    np.testing.assert_allclose(found, expected, rtol=0.35)
    assert (found / expected).mean() == pytest.approx(1, abs=0.05)


def test_default_errors_of_trials_are_masked_and_nan_without_a_score():
    task = Signal()
    trials = xr.Dataset(
        {
            "targets": (("trial", "time", "output"), np.ones((2, 3, 1))),
            "mask": (("trial", "time", "output"), np.array([[[1], [1], [0]], [[0], [0], [0]]], float)),
        }
    )
    outputs = np.array([[[0.0], [3.0], [9.0]], [[5.0], [5.0], [5.0]]])
    assert task.trial_errors(trials, outputs) == pytest.approx(np.array([2.5, np.nan]), nan_ok=True)


def test_all_networks_have_the_same_trials_and_cells_come_from_standards_alone():
    """Copies of one network are equal in every cell; an alternative changes neither cells nor results of standards."""
    solved = xr.Dataset({"solved": True})
    one = replace(trained_round("flip_flop", 0), read=lambda names: solved)
    standards = [replace(one, population="s", seed=seed, round=0, role="standard") for seed in range(5)]
    other = replace(
        trained_round("flip_flop", 1), read=one.read, population="insd", seed=0, round=1, role="alternative"
    )
    copy = replace(one, population="insd", seed=1, round=1, role="alternative")
    sizes = {"shares": [0.4], "search_trials": 24, "trials": 16, "test_trials": 32}
    whose = {"s": ["s"], "insd": ["s"]}
    alone = cells.hard_cells(FlipFlop(), "flip_flop", standards, whose, **sizes)
    result = cells.hard_cells(FlipFlop(), "flip_flop", [*standards, other, copy], whose, **sizes)
    validate(result, analysis.CONTRACT, "hard_cells.nc")
    assert result["parameters"].equals(alone["parameters"])
    xr.testing.assert_allclose(result[["loss", "score"]].isel(network=slice(5)), alone[["loss", "score"]])
    np.testing.assert_allclose(result["loss"].sel(network="insd/1/1"), result["loss"].sel(network="s/0/0"))
    assert result["p"].sel(network="insd/1/1", cell="noise 40 %") == 1
    noise = json.loads(str(result["parameters"].sel(cell="noise 40 %").item()))["input_noise"]
    assert 0.1 < noise < 3.2
    np.testing.assert_allclose(result["fresh_loss"].values[:5], result["fresh_loss"].values[0])
    # Standards that are compared with all others of the task, too, have no further cells.
    other_standard, whose_all = replace(one, population="t", seed=0, round=0, role="standard"), {"t": ["s", "t"]}
    more = cells.hard_cells(
        FlipFlop(), "flip_flop", [*standards, other_standard, other], whose | whose_all | {"s": ["s", "t"]}, **sizes
    )
    assert set(more["standards"].values) == {"s"} and more["score"].sel(network="t/0/0").isnull().all()
    few = cells.hard_cells(FlipFlop(), "flip_flop", standards[:4], {"s": ["s"]}, **sizes)
    assert few["reason"].values.tolist() == ["4 solved standards, 5 needed"] * 3
    assert few["score"].isnull().all()
