"""Arrays in, one table out: the numbers of the measures themselves, and one line for all that cannot be compared."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import ROOT, environment

import insd
from insd import plugins
from insd.comparison import COLUMNS, ComparisonError
from insd.measures.base import Activity, Measure, MeasureError, check_measure
from insd.measures.pairs import prepare, similarity
from insd.measures.predictivity import linear_predictivity
from insd.predictivity import null_projector_array
from insd.samples import shuffled_trials

# All that are fast: a search over 40 directions takes seconds.
FAST = [name for name in plugins.names("measure") if name != "dsa"]
PAGE = (ROOT / "docs/own-data.md").read_text()


def activity(seed=0, units=(6, 8), trials=20, times=12):
    """Two networks that share a part."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((trials, times, 3)).cumsum(1)
    return [
        shared @ random.standard_normal((3, n)) + 0.5 * random.standard_normal((trials, times, n)).cumsum(1)
        for n in units
    ]


READOUT = np.random.default_rng(1).standard_normal((2, 8))


def row(table, measure, space="full", a="mine", b="theirs"):
    (found,) = table[
        (table["measure"] == measure) & (table["space"] == space) & (table["from"] == a) & (table["to"] == b)
    ].itertuples(index=False)
    return found


def test_the_table_of_all_measures():
    mine, theirs = activity()
    table = insd.compare({"mine": mine, "theirs": (theirs, READOUT)})
    assert tuple(table.columns) == COLUMNS
    # One row per measure and space, but for predictivity, which is first and has two.
    assert table["measure"].tolist()[:4] == 4 * ["predictivity"]
    assert sorted(table["measure"].tolist()[4:]) == sorted(2 * [n for n in plugins.names("measure") if n[:4] != "pred"])
    assert set(table["space"]) == {"full", "null"} and table.notna().all().all()
    for name, part in table.groupby("measure"):
        measure = plugins.find("measure", name)()
        assert set(part["direction"]) == {measure.kind} and set(part["source"]) == {measure.source}
        assert (set(part["lowest"]), set(part["highest"])) == ({measure.bounds[0]}, {measure.bounds[1]})
        assert part["value"].between(*measure.bounds).all()
        assert set(part["shuffled"]) == ({"time steps"} if measure.temporal else {"trials"})
        # What two networks share is gone from the shuffled one.
        worse = part["chance"] - part["value"] if measure.zero_is_equal else part["value"] - part["chance"]
        assert (worse > 0).all(), name


def test_values_are_those_of_the_measures():
    mine, theirs = activity()
    null = theirs @ null_projector_array(READOUT)
    table = insd.compare({"mine": mine, "theirs": (theirs, READOUT)}, FAST, seed=3)
    order = shuffled_trials(np.full(20, 12), 3)
    for space, other in (("full", theirs), ("null", null)):
        # Measures see every second time step.
        x, y = mine[:, ::2], other[:, ::2]
        for a, b, predictor, target in (("mine", "theirs", x, y), ("theirs", "mine", y, x)):
            one = row(table, "predictivity", space, a, b)
            assert one.value == pytest.approx(linear_predictivity(predictor, target), abs=1e-6)
            assert one.chance == pytest.approx(linear_predictivity(predictor, target[order]), abs=1e-6)
        for name in set(FAST) - {"predictivity"}:
            measure = plugins.find("measure", name)()
            expected = measure.compare(measure.prepare(Activity(mine)), measure.prepare(Activity(other)))
            assert row(table, name, space).value == pytest.approx(expected, abs=1e-5), name
    assert row(table, "cka").value != row(table, "cka", "null").value


def test_pairs_without_any_readout_have_no_null_space():
    mine, theirs = activity()
    third = activity(5)[0]
    table = insd.compare({"mine": mine, "theirs": (theirs, READOUT), "third": third}, ["cka", "predictivity"])
    null = table[table["space"] == "null"]
    assert {frozenset(pair) for pair in zip(null["from"], null["to"], strict=True)} == {
        frozenset({"mine", "theirs"}),
        frozenset({"theirs", "third"}),
    }
    assert len(table[table["space"] == "full"]) == 3 * (1 + 2)


def test_networks_without_readout_are_prepared():
    mine, theirs = activity()
    measures = [plugins.find("measure", "cka")()]
    both = {"mine": prepare(mine, None, measures), "theirs": prepare(theirs, READOUT, measures)}
    predictivity, similarities = similarity(both, measures, 0)
    assert np.isfinite(predictivity["r2"]).all() and np.isfinite(similarities["value"]).all()
    assert predictivity["r2"].sel(space="null", predictor="mine", target="mine") == pytest.approx(1)


@pytest.mark.parametrize("form", ["torch", "xarray", "single", "integer", "list"])
def test_arrays_of_any_kind(form):
    mine, theirs = (np.round(10 * one) for one in activity())
    readout = torch.nn.Linear(8, 2)
    weights = readout.weight.detach().numpy()
    expected = insd.compare({"mine": mine, "theirs": (theirs, weights)}, ["cka", "predictivity"])
    changed = {
        "torch": lambda rates: torch.from_numpy(rates).requires_grad_(),
        "xarray": lambda rates: xr.DataArray(rates, dims=("trial", "time", "unit")),
        "single": lambda rates: rates.astype(np.float32),
        "integer": lambda rates: rates.astype(int),
        "list": lambda rates: rates.tolist(),
    }[form]
    found = insd.compare({"mine": changed(mine), "theirs": (changed(theirs), readout)}, ["cka", "predictivity"])
    np.testing.assert_allclose(found["value"], expected["value"], atol=1e-5)


def test_samples_without_trials():
    mine, theirs = (rates.reshape(-1, rates.shape[-1]) for rates in activity())
    table = insd.compare({"mine": mine, "theirs": theirs})
    # Samples have no course: measures of it have no rows.
    assert set(table["measure"]) == set(plugins.names("measure")) - {"dsa", "dsa_spectrum"}
    assert set(table["space"]) == {"full"} and set(table["shuffled"]) == {"samples"}
    assert row(table, "predictivity").value == pytest.approx(linear_predictivity(mine, theirs), abs=1e-6)
    order = np.random.default_rng(0).permutation(len(mine))
    assert row(table, "predictivity").chance == pytest.approx(linear_predictivity(mine, theirs[order]), abs=1e-6)


def test_padding_counts_nowhere():
    mine, theirs = activity(trials=24)
    steps = np.tile([12, 8, 9], 8)
    ended = np.arange(12) >= steps[:, None]
    padded = [np.where(ended[..., None], np.nan, rates) for rates in (mine, theirs)]
    table = insd.compare({"mine": padded[0], "theirs": (padded[1], READOUT)}, FAST)
    assert table.notna().all().all()
    sampled = ~ended[:, ::2]
    expected = linear_predictivity(mine[:, ::2][sampled], theirs[:, ::2][sampled])
    assert row(table, "predictivity").value == pytest.approx(expected, abs=1e-6)
    assert linear_predictivity(*padded) == pytest.approx(linear_predictivity(mine[~ended], theirs[~ended]), abs=1e-12)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_values_do_not_depend_on_the_unit_of_the_rates(unit):
    table, scaled = (
        insd.compare({"mine": factor * MINE, "theirs": factor * THEIRS}, ["predictivity", "cka", "rsa", "procrustes"])
        for factor in (1.0, unit)
    )
    np.testing.assert_allclose(scaled["value"], table["value"], rtol=1e-4, atol=1e-6)


def test_a_single_trial_has_no_chance():
    table = insd.compare({"mine": activity()[0][:1], "theirs": activity()[1][:1]}, ["cka", "predictivity"])
    assert table["value"].notna().all() and table["chance"].isna().all()


MINE, THEIRS = activity()
HOLE, GAP, ENDS = MINE.copy(), MINE.copy(), MINE.copy()
HOLE[3, 2, 1], GAP[4, 5], ENDS[7, 9:] = np.inf, np.nan, np.nan


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"mine": MINE}, "there is 1 network to compare; give two or more, by different names"),
        ({"mine": MINE[0, 0], "theirs": THEIRS}, r"'mine': the rates have shape \(6,\); give \(trial, time, unit\) or"),
        (
            {"mine": np.ma.masked_where(MINE > 1, MINE), "theirs": THEIRS},
            "'mine': the rates are a masked array; put NaN, or what is meant, in place of the mask",
        ),
        ({"mine": "rates", "theirs": THEIRS}, "'mine': the rates cannot be read as an array of numbers"),
        (
            {"mine": MINE[..., :1], "theirs": THEIRS},
            r"'mine': has 1 unit\(s\); measures compare patterns over 2 or more",
        ),
        ({"mine": MINE[:1, :5], "theirs": THEIRS[:1, :5]}, "'mine': has 5 samples; give 8 or more"),
        (
            {"mine": HOLE, "theirs": THEIRS},
            "'mine': the rates are not finite at trial 3, time 2, unit 1; leave out such",
        ),
        (
            {"mine": GAP, "theirs": THEIRS},
            "'mine': the rates are not finite at trial 4, time 5, unit 0; leave out such",
        ),
        ({"mine": MINE, "theirs": 0 * THEIRS + 3}, "'theirs': its activity is constant, so no measure is defined"),
        (
            {"mine": MINE, "theirs": THEIRS[1:]},
            r"'theirs': is on \(19, 12\) \(trials, times\) and 'mine' on \(20, 12\);",
        ),
        ({"mine": ENDS, "theirs": THEIRS}, "'theirs': trial 7 lasts 12 time steps and in 'mine' 9; record both on"),
        (
            {"mine": MINE, "theirs": THEIRS[:, 0]},
            r"'theirs': the rates have shape \(20, 8\) and those of 'mine' \(20, 12",
        ),
        (
            {"mine": MINE, "theirs": (THEIRS, READOUT.T)},
            r"'theirs': the readout has shape \(8, 2\); needs \(output, unit",
        ),
        (
            {"mine": MINE, "theirs": (THEIRS, np.eye(8))},
            r"'theirs': the readout: 8 output\(s\) of 8 units leave no null space; correct",
        ),
        (
            {"mine": MINE, "theirs": (THEIRS, np.ones((2, 8)))},
            "'theirs': the readout: 1 of 2 outputs are zero or linear comb",
        ),
        (
            {"mine": MINE, "theirs": (THEIRS, READOUT * np.nan)},
            "the readout has weights that are not finite; correct it",
        ),
        (
            {"mine": MINE, "theirs": (THEIRS[..., :1] * READOUT[0], READOUT)},
            "'theirs': its activity is constant in the null space of its readout; leave out the readout",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(networks, message):
    with pytest.raises(ComparisonError, match=message) as refused:
        insd.compare(networks)
    assert "\n" not in str(refused.value)


def test_measures_that_need_trials_are_refused_without():
    flat = [rates.reshape(-1, rates.shape[-1]) for rates in activity()]
    with pytest.raises(ComparisonError, match="dsa: compares how activity evolves, and trials have 1 time step"):
        insd.compare({"mine": flat[0], "theirs": flat[1]}, ["cka", "dsa"])
    with pytest.raises(insd.errors.InsdError, match="there is no measure 'ckaa'; choose from cca, cka"):
        insd.compare({"mine": MINE, "theirs": THEIRS}, ["ckaa"])


def test_linear_predictivity_refuses_what_it_cannot_predict():
    for predictor, target, message in (
        (MINE, THEIRS[1:], r"the predictor is on \(20, 12\) samples and the target on \(19, 12\)"),
        (ENDS, THEIRS, "trials end at different times in predictor and target"),
        (HOLE, THEIRS, "predictor: holds NaN or infinite values before the end of a trial"),
        (MINE[None], THEIRS[None], r"predictor: has shape \(1, 20, 12, 6\); needs"),
    ):
        with pytest.raises(MeasureError, match=message):
            linear_predictivity(predictor, target)


def test_a_temporal_measure_may_not_depend_on_the_order_of_trials():
    class Wrong(type(plugins.find("measure", "cka")())):
        temporal = True

    with pytest.raises(MeasureError, match=r"Wrong: declares temporal = True, but goes from .* change places"):
        check_measure(Wrong())
    assert not Measure.temporal


def test_importing_the_library_is_light():
    heavy = {"numpy", "torch", "pandas", "xarray"}
    code = f"import sys, insd; print(sorted({heavy} & set(sys.modules)), 'compare' in dir(insd))"
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment(ROOT), capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == ["[]", "True"]
    with pytest.raises(AttributeError, match="module 'insd' has no attribute 'other'"):
        _ = insd.other


def test_the_lines_of_the_documentation_run(capsys):
    (code,) = re.findall(r"```python\n(import numpy as np\nimport insd\n.+?)```", PAGE, re.DOTALL)
    exec(code, {})
    shown = capsys.readouterr().out
    assert "predictivity" in shown and "theirs" in shown and "null" in shown
