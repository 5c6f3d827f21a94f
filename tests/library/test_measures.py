"""Measures keep what they promise; those that do not are caught; a new one is one file and appears wherever they do."""

import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import ROOT
from drawn import check_text
from trained import evaluation_trials, trained_network

import insd.measures
from insd import datasets, plugins, provenance
from insd.analysis.similarity import SimilaritySettings as Similarity
from insd.cli import main
from insd.datasets import validate
from insd.dynamics.settings import DynamicalSimilarity
from insd.figures.collapse import collapse_figure
from insd.measures.base import (
    Activity,
    Map,
    Measure,
    MeasureError,
    check_invariance,
    check_measure,
    closure,
    find_measures,
)
from insd.measures.pairs import prepare, similarity
from insd.measures.responses import responses
from insd.predictivity import null_projector_array
from insd.settings.base import SettingsError
from insd.settings.load import load

NAMES = plugins.names("measure")
# Searches over 40 directions would take a minute. More starts find the same minimum from both ends of a pair.
FEW_DIRECTIONS = DynamicalSimilarity(rank=6, starts=30)
SMALL = {"dsa": (FEW_DIRECTIONS,), "dsa_spectrum": (FEW_DIRECTIONS,)}


def measure_of(name):
    return plugins.find("measure", name)(*SMALL.get(name, ()))


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_keeps_what_it_says(name):
    measure = measure_of(name)
    assert measure.name == name
    check_measure(measure, seed=11)


@pytest.mark.parametrize("of_first", [True, False], ids=["first", "second"])
@pytest.mark.parametrize(("name", "change"), [(name, change) for name in NAMES for change in Map])
def test_a_measure_is_invariant_to_what_it_promises_and_to_nothing_else(name, change, of_first):
    for seed in range(2 if name == "dsa" else 5):
        check_invariance(measure_of(name), change, of_first, seed)


def rates(random, units):
    """Slow activity of few directions, and noise."""
    shared = random.standard_normal((10, 20, 3)).cumsum(1)
    return shared @ random.standard_normal((3, units)) + random.standard_normal((10, 20, units))


@pytest.mark.parametrize("name", NAMES)
def test_a_promise_holds_for_the_null_space_of_a_rank_deficient_network(name):
    random = np.random.default_rng(0)
    measure = measure_of(name)
    first, second = rates(random, 9)[..., :4] @ random.standard_normal((4, 9)), rates(random, 7)
    rotation = np.linalg.qr(random.standard_normal((9, 9)))[0]
    # The projector on all but a direction of one network, and that direction rotated with its units.
    projector = np.eye(9) - np.outer(*[np.eye(9)[0]] * 2)
    before, after = (
        measure.compare(measure.prepare(Activity(one).projected(onto)), measure.prepare(Activity(second)))
        for one, onto in ((first, projector), (first @ rotation, rotation.T @ projector @ rotation))
    )
    assert after == pytest.approx(before, abs=1e-3)
    assert abs(before - (0 if measure.zero_is_equal else 1)) > 0.01


def test_maps_include_one_another():
    assert closure([Map.INVERTIBLE_LINEAR]) == {Map.INVERTIBLE_LINEAR, Map.ROTATION, Map.SCALING}
    assert closure([Map.ROTATION]) == {Map.ROTATION}


# --- Measures that break a promise


class Mean(Measure):
    """The distance between mean rates, a part of which each measure below gets wrong."""

    name, long_name, source = "mean", "Mean", "made up"
    zero_is_equal, bounds = True, (0.0, np.inf)
    invariant_to = ()

    def prepare(self, activity):
        varies = np.ptp(activity.rates) > 0
        return np.sort(activity.rates.mean((0, 1)))[:20] if varies else np.full(20, np.nan)

    def compare(self, a, b):
        return float(np.abs(a - b).max())


class Asymmetric(Mean):
    def compare(self, a, b):
        return float(np.abs(a - b).max() * (1 + abs(a[0])))


class Similarity1(Mean):
    zero_is_equal = False


class Negative(Mean):
    def compare(self, a, b):
        return -super().compare(a, b)


class Invariant(Mean):
    invariant_to = (Map.TRANSLATION,)


class Modest(Mean):
    """Promises nothing, though scaling changes nothing."""

    def prepare(self, activity):
        found = super().prepare(activity)
        return found / np.abs(found).max()


class Blind(Mean):
    def compare(self, a, b):
        return 0.0 if np.isfinite(a + b).all() else np.nan


class Constant(Mean):
    def prepare(self, activity):
        return np.sort(activity.rates.mean((0, 1)))[:20]


class Absolute(Mean):
    """Promises scaling, but for its smallest scale."""

    invariant_to = (Map.SCALING,)

    def prepare(self, activity):
        found = super().prepare(activity)
        return found / (np.abs(found).max() + 1e-9)


class Nameless(Mean):
    long_name = ""


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (Asymmetric, "declares symmetric = True, but is "),
        (Similarity1, "has bounds that do not end at 1, the value of equal networks"),
        (Negative, r"outside its bounds from 0 to inf"),
        (Invariant, r"promises not to change under translations of the first network, and goes from .* to "),
        (Modest, "does not change under scaling of the first network, which it does not promise"),
        (Blind, "is 0 between different networks, as between equal ones"),
        (Constant, "where a network's activity does not vary, and not NaN"),
        (Absolute, "for rates times 1e-10, and"),
        (Nameless, "does not say its long_name"),
    ],
)
def test_a_broken_promise_is_named(measure, message):
    with pytest.raises(MeasureError, match=rf"^{measure.__name__}: .*{message}"):
        check_measure(measure())


def test_a_measure_that_keeps_its_few_promises_passes():
    check_measure(Mean())


# --- A measure of the user's own, as the documentation shows it

PAGE = (ROOT / "docs/analyses/similarity.md").read_text()
CODE = re.search(r"```python\n(.+?)```", PAGE, re.DOTALL)[1]
CLASS, NAME, LONG_NAME = (
    re.search(pattern, CODE, re.MULTILINE)[1]
    for pattern in (r"^class (\w+)", r'^ +name = "(.+)"', r'long_name = "(.+)"')
)


def forget(module):
    """Nothing of a module that was found stays for the next test."""
    sys.modules.pop(module, None)
    plugins.names.cache_clear()
    plugins.find.cache_clear()
    provenance.code_fingerprint.cache_clear()


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """It is one more file in the library's folder."""
    (tmp_path / f"{NAME}.py").write_text(CODE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(insd.measures, "__path__", [*insd.measures.__path__, str(tmp_path)])
    forget(f"insd.measures.{NAME}")
    yield
    monkeypatch.undo()
    forget(f"insd.measures.{NAME}")


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """It is in a module of the user's own."""
    (tmp_path / "my_measures.py").write_text(CODE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_measures.py"
    forget("my_measures")


def config(measures):
    return {
        "tasks": {"flip_flop": {}},
        "populations": {"p": {"seeds": 1}},
        "analysis": {"similarity": {"measures": measures}},
    }


def legend_of(names):
    """The analyses of two networks by some measures, and what the figure of them names."""
    random = np.random.default_rng(0)
    measures = find_measures(names)
    networks = {
        label: prepare(rates(random, units), random.standard_normal((1, units)), measures)
        for label, units in (("p/0/0", 6), ("p/1/0", 8))
    }
    predictivity, similarities = similarity(networks, measures, 0)
    validate(similarities, "similarity", "similarity.nc")
    own = similarities["value"].sel(measure=[f"{NAME}_full", f"{NAME}_null"], network="p/0/0")
    assert (own.sel(network_to="p/0/0") == 1).all() and ((own.sel(network_to="p/1/0") > 0) & (own < 1)).any()
    found = validate(responses(rates(random, 6), measures, 0), "responses", "responses.nc")
    row = {"task": "flip_flop", "population": "p", "round": 0, "role": "standard", "gain": 1.0, "solved": True}
    row["deflated"] = None
    rows = [row | {"seed": seed, "chain": f"p/{seed}", "reference": "p"} for seed in (0, 1)]
    table = pd.DataFrame(rows)
    inputs = xr.Dataset({"r2_inputs": (("space", "network"), np.full((2, 2), 0.5))}, {"space": ["full", "null"]})
    inputs = inputs.assign_coords(network=list(networks))
    figure = collapse_figure(table, *({"flip_flop": one} for one in (predictivity, found, inputs)), 0.95)
    shown = check_text(figure)
    plt.close(figure)
    return shown


def test_a_new_file_is_one_entry_in_similarity_responses_figure_and_command(own_file, tmp_path, capsys):
    # Nothing runs again for the file alone.
    assert NAME in plugins.names("measure") and NAME not in Similarity().measures
    names = [*Similarity().measures, NAME]
    assert load(config(names)).analysis_settings("similarity").measures == names
    check_measure(plugins.find("measure", NAME)())
    assert {LONG_NAME, "CKA", "SVCCA", "1 − d/max (Procrustes)", "r² network → copy"} <= set(legend_of(names))
    network = trained_network("flip_flop", 0)
    datasets.write(network, tmp_path / "network.nc", "network")
    datasets.write(evaluation_trials("flip_flop").isel(trial=slice(16)), tmp_path / "trials.nc", "trials")
    both = [str(tmp_path / "network.nc")] * 2
    assert main(["compare", *both, "--trials", str(tmp_path / "trials.nc"), "--measures", NAME]) == 0
    assert re.search(rf"^{NAME} \(similarity\) +1\.000 +1\.000$", capsys.readouterr().out, re.MULTILINE)


def test_a_new_file_changes_no_code_but_that_of_the_measures_that_are_taken(own_file):
    forget("nothing")
    modules = ["insd.measures.pairs", "insd.measures.responses", "insd.dynamics.similarity", "insd.activity"]
    with_it = {module: provenance.code_fingerprint(module) for module in modules}
    insd.measures.__path__.pop()
    forget("nothing")
    assert NAME not in plugins.names("measure")
    assert {module: provenance.code_fingerprint(module) for module in modules} == with_it


def test_a_measure_of_another_module_is_named_in_the_config(own_module):
    names = ["procrustes", f"my_measures:{CLASS}"]
    assert load(config(names)).analysis_settings("similarity").measures == names
    check_measure(find_measures(names)[1])
    shown = set(legend_of(names))
    assert LONG_NAME in shown and "r² network → copy" in shown and "CKA" not in shown
    before = provenance.modules_fingerprint([plugins.module_of("measure", names[1])])
    own_module.write_text(CODE.replace("ten", "10").replace("11", "12"))
    provenance.code_fingerprint.cache_clear()
    assert provenance.modules_fingerprint([plugins.module_of("measure", names[1])]) != before


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (["ckaa"], "analysis.similarity.measures: there is no measure 'ckaa'; choose from cca, cka, dsa, dsa_spectrum"),
        (["cka", "cka"], "analysis.similarity.measures: cka: is called 'cka' in files, as cka is"),
        (["nowhere:Mine"], "nowhere:Mine: the module 'nowhere' cannot be imported"),
        (["my_measures:Other"], "my_measures:Other: the module 'my_measures' has no 'Other'"),
        (["my_measures:KDTree"], "my_measures:KDTree: is not a subclass of insd.measures.base.Measure, as a measure"),
        ([], "analysis.similarity.measures = []: list should have at least 1 item"),
        (["CKA"], "analysis.similarity.measures.0 = 'CKA': is neither a name of a-z, 0-9 and _ nor one of"),
    ],
)
def test_measures_that_cannot_be_used_are_refused(own_module, measures, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        load(config(measures))


def test_two_measures_of_one_name_are_refused(own_module):
    own_module.write_text(CODE.replace(NAME, "cka"))
    with pytest.raises(SettingsError, match=rf"my_measures:{CLASS}: is called 'cka' in files, as cka is"):
        load(config(["cka", f"my_measures:{CLASS}"]))


# --- Measures that are not symmetric, or have no largest value


def test_a_measure_that_is_not_symmetric_has_both_directions():
    random = np.random.default_rng(1)
    measures = find_measures(["predictivity"])
    readout = np.ones((1, 5))
    networks = {name: prepare(rates(random, 5), readout, measures) for name in "ab"}
    predictivity, similarities = similarity(networks, measures, 0)
    for space in ("full", "null"):
        value = similarities["value"].sel(measure=f"predictivity_{space}").values
        np.testing.assert_allclose(value, predictivity["r2"].sel(space=space).values, atol=1e-6)
        assert abs(value[0, 1] - value[1, 0]) > 0.01
    # It is in the responses in any case, and only once.
    assert responses(rates(random, 5), measures, 0).sizes["measure"] == 2


def test_all_pairs_are_what_each_pair_is_alone():
    """More networks than products are held of at once."""
    random = np.random.default_rng(2)
    measures = find_measures(Similarity().measures)
    all_rates = [rates(random, units) for units in (5, 6, 7, 8, 9, 10)]
    readouts = [random.standard_normal((2, one.shape[-1])) for one in all_rates]
    networks = {str(i): prepare(one, w, measures) for i, (one, w) in enumerate(zip(all_rates, readouts, strict=True))}
    value = similarity(networks, measures, 0)[1]["value"]
    for i, j in ((0, 5), (4, 1), (5, 5)):
        activities = [Activity(all_rates[k]).projected(null_projector_array(readouts[k])) for k in (i, j)]
        for measure in measures:
            alone = measure.compare(*map(measure.prepare, activities))
            found = float(value.sel(measure=f"{measure.name}_null", network=str(i), network_to=str(j)))
            assert found == pytest.approx(alone, abs=1e-6 if measure.name != "procrustes" else 1e-3)
