"""Decoding over time against MNE and codes made by hand; oscillation against signals of known spectrum."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from known import TASKS
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import balanced_accuracy_score, make_scorer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from trained import oracle

from insd.errors import InsdError
from insd.evaluation.decoding import RIDGES, decode, decoding
from insd.evaluation.oscillation import dominant_frequency
from insd.members import Member
from insd.tasks.variables import Variable

DT = 0.02


@pytest.fixture
def random():
    return np.random.default_rng(0)


def drawn(random, trials, times, kind):
    """A variable of independent values, constant over the trial."""
    values = {
        "value": random.uniform(-1, 1, trials),
        "sign": random.choice([-1.0, 1.0], trials),
        "angle": random.uniform(-np.pi, np.pi, trials),
        "category": random.choice([1.0, 2.0, 7.0], trials),
    }[kind]
    return Variable.constant(values, times, kind)


@pytest.mark.parametrize("kind, values", [("value", [1.0] * 8), ("value", [0.0] * 7 + [1.0]), ("sign", [1.0] * 8)])
def test_too_few_trials_that_differ_are_refused(random, kind, values):
    variables = {"choice": Variable.constant(np.array(values), 3, kind)}
    with pytest.raises(
        InsdError, match=r"choice: no score of decoding from 8 trials in 4 folds.*raise trials.evaluation"
    ):
        decode(random.standard_normal((8, 3, 5)), variables, np.arange(3), 4, 0)


class OneScale(TransformerMixin, BaseEstimator):
    """Divides all units by the root of their mean variance."""

    def fit(self, rates, _=None):
        self.scale_ = np.sqrt(rates.var(axis=0).mean())
        return self

    def transform(self, rates):
        return rates / self.scale_


class OneHot(ClassifierMixin, BaseEstimator):
    """The largest of the regressed indicators."""

    def __init__(self, regression=None):
        self.regression = regression

    def fit(self, rates, labels):
        self.classes_ = np.unique(labels)
        self.fitted_ = clone(self.regression).fit(rates, labels[:, None] == self.classes_)
        return self

    def predict(self, rates):
        return self.classes_[self.fitted_.predict(rates).argmax(-1)]


@pytest.mark.parametrize("kind", ["value", "sign", "angle", "category"])
def test_scores_equal_those_of_mne(random, kind):
    mne_decoding = oracle("mne.decoding")
    trials, times, units, folds = 60, 7, 8, 4
    variable = drawn(random, trials, times, kind)
    labels = variable.values[:, 0]
    code = np.stack([np.cos(labels), np.sin(labels)], axis=-1) if kind == "angle" else labels[:, None]
    if kind == "category":
        code = (labels[:, None] == [1.0, 2.0, 7.0]).astype(float)
    directions = random.standard_normal((times, code.shape[1], units)).cumsum(0)
    rates = 3 + random.standard_normal((trials, times, units)) + 0.7 * np.einsum("nc,tcu->ntu", code, directions)

    regression = RidgeCV(RIDGES * trials * (folds - 1) / folds, alpha_per_target=kind in ("angle", "category"))
    scoring = "r2"
    if kind == "sign":
        scoring = make_scorer(lambda actual, predicted: balanced_accuracy_score(actual, np.sign(predicted)))
    if kind == "category":
        regression = OneHot(regression)
        scoring = make_scorer(balanced_accuracy_score)
    if kind == "angle":
        # MNE takes labels of one dimension only.
        regression = TransformedTargetRegressor(
            regression,
            func=lambda angle: np.hstack([np.cos(angle), np.sin(angle)]),
            inverse_func=lambda components: np.arctan2(components[:, 1], components[:, 0]),
            check_inverse=False,
        )
        scoring = make_scorer(lambda actual, predicted: np.cos(actual - predicted).mean())
    pipeline = make_pipeline(OneScale(), regression)
    estimator = mne_decoding.GeneralizingEstimator(pipeline, scoring=scoring, verbose=False)
    expected = mne_decoding.cross_val_multiscore(
        estimator, rates.transpose(0, 2, 1), labels, cv=KFold(folds, shuffle=True, random_state=3), verbose=False
    ).mean(0)
    # Other variables beside it must not change how one is decoded.
    others = {"before": drawn(random, trials, times, "angle"), "after": drawn(random, trials, times, "value")}
    variables = {"before": others["before"], "it": variable, "after": others["after"]}
    found = decode(rates, variables, np.arange(times), folds, seed=3)[1]
    assert np.ptp(expected) > 0.2
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_static_code_is_a_block_and_a_rotating_one_a_band(random):
    trials, times, units = 200, 12, 10
    angle = drawn(random, trials, times, "angle")
    plane = np.linalg.qr(random.standard_normal((units, 2)))[0].T
    noise = 0.05 * random.standard_normal((trials, times, units))

    def code(step):
        turned = angle.values + step * np.arange(times)
        return np.stack([np.cos(turned), np.sin(turned)], axis=-1) @ plane + noise

    static, rotating = (decode(code(step), {"angle": angle}, np.arange(times), 5, 0)[0] for step in (0.0, 0.4))
    np.testing.assert_allclose(static, 1, atol=0.01)
    # The decoder of one time errs at another by the angle that the code has turned by.
    turned = 0.4 * np.subtract.outer(np.arange(times), np.arange(times))
    np.testing.assert_allclose(rotating, np.cos(turned), atol=0.02)


def test_a_variable_has_its_value_at_the_time_of_the_test(random):
    trials, times = 100, 8
    bit = Variable(random.choice([-1.0, 1.0], (trials, times)), "sign")
    rates = bit.values[..., None] * np.array([1.0, -2.0]) + 0.1 * random.standard_normal((trials, times, 2))
    np.testing.assert_array_equal(decode(rates, {"bit": bit}, np.array([1, 4, 7]), 5, 0), np.ones((1, 3, 3)))


def test_activity_that_does_not_vary_is_at_chance(random):
    trials, times = 200, 4
    variables = {kind: drawn(random, trials, times, kind) for kind in ("value", "sign", "angle", "category")}
    value, sign, angle, category = decode(np.full((trials, times, 3), 0.7), variables, np.arange(times), 5, 0)
    assert (value <= 0).all() and (value > -0.2).all()
    np.testing.assert_allclose(sign, 0.5)
    np.testing.assert_allclose(category, 1 / 3)
    assert (np.abs(angle) < 0.3).all()


def test_folds_with_one_sign_only_are_left_out(random):
    values = np.full((20, 1), -1.0)
    values[[0, 1, 2]] = 1.0
    rates = values[..., None] + 0.01 * random.standard_normal((20, 1, 2))
    folds = KFold(10, shuffle=True, random_state=0).split(rates)
    assert any(np.ptp(values[test]) == 0 for _, test in folds)
    assert decode(rates, {"sign": Variable(values, "sign")}, np.array([0]), 10, 0).item() == 1


def test_categories_are_labels_without_an_order(random):
    values = random.choice([0.0, 1.0, 2.0, 3.0], (60, 1))
    # No line through the activity has the categories in order.
    place = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    rates = place[values.astype(int)] + 0.01 * random.standard_normal((60, 1, 2))
    found = decode(rates, {"it": Variable(values, "category")}, np.array([0]), 5, 0).item()
    renamed = decode(rates, {"it": Variable(9 - values**2, "category")}, np.array([0]), 5, 0).item()
    assert found == renamed == 1


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), offset=st.floats(-10.0, 10.0))
def test_scores_do_not_depend_on_scale_offset_rotation_and_order_of_units(seed, scale, offset):
    random = np.random.default_rng(seed)
    trials, times, units = 40, 3, 5
    variables = {kind: drawn(random, trials, times, kind) for kind in ("value", "sign", "angle", "category")}
    rates = random.standard_normal((trials, times, units)) @ random.standard_normal((units, units))
    rates[..., 0] += variables["value"].values
    before = decode(rates, variables, np.arange(times), 4, 0)
    rotation = scipy.stats.ortho_group.rvs(units, random_state=random)
    for changed in (offset + scale * rates @ rotation, rates[..., random.permutation(units)]):
        np.testing.assert_allclose(decode(changed, variables, np.arange(times), 4, 0), before, rtol=1e-6, atol=1e-6)


UNITS = 12


@pytest.fixture(scope="module")
def decoded():
    """Two networks on trials of MemoryPro: the code of one lies in its readout, that of the other in its null space."""
    random = np.random.default_rng(0)
    task = TASKS["memory_pro"]()
    trials = task.sample("test", 120, seed=0)
    angle = trials["angle"].values
    code = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]
    readout = random.standard_normal((3, UNITS))
    times = trials.sizes["time"]
    rates = [
        code @ directions + 0.1 * random.standard_normal((120, times, UNITS))
        for directions in (readout[1:], scipy.linalg.null_space(readout)[:, :2].T)
    ]
    network = xr.Dataset(
        {"output_weights": (("seed", "output", "unit"), np.stack([readout, readout]).astype(np.float32))},
        coords={"seed": [4, 5]},
    )
    activity = xr.Dataset(
        {"rates": (("seed", "trial", "time", "unit"), np.stack(rates).astype(np.float32))}, coords={"seed": [4, 5]}
    )
    members = Member.of_datasets("p", 1, "alternative", network, activity)
    result = decoding(members, task, trials, seed=7, time_stride=30, folds=4)
    return task, trials, activity, result


def test_dataset_of_scores(decoded, tmp_path):
    task, trials, activity, result = decoded
    assert result["network"].values.tolist() == ["p/4/1", "p/5/1"]
    np.testing.assert_allclose(result["time"], [0.02, 0.62, 1.22])
    np.testing.assert_array_equal(result["time"].values, result["time_to"].values)
    assert result["score"].dims == result["score_null"].dims == ("network", "variable", "time", "time_to")
    assert result["chance"].values.tolist() == [0.0]
    rates = activity["rates"].values[0]
    expected = decode(rates, task.variables(trials), np.array([0, 30, 60]), 4, 7)
    np.testing.assert_allclose(result["score"].sel(network="p/4/1"), expected, atol=1e-6)
    result.to_netcdf(tmp_path / "decoding.nc")
    with xr.open_dataset(tmp_path / "decoding.nc") as read:
        assert read.load().equals(result)


def test_null_space_excludes_the_output(decoded):
    result = decoded[-1].sel(variable="angle")
    assert (result["score"] > 0.95).all()
    assert (np.abs(result["score_null"].sel(network="p/4/1")) < 0.3).all()
    assert (result["score_null"].sel(network="p/5/1") > 0.95).all()


def test_shuffled_labels_are_near_chance_and_shuffled_anew_for_each_network(decoded):
    shuffled = decoded[-1]["score_shuffled"]
    assert (np.abs(shuffled) < 0.3).all()
    assert not np.allclose(*shuffled.values)


def test_chance_levels_of_shuffled_labels(random):
    trials, times = 200, 30
    rates = random.standard_normal((trials, times, 20))
    variables = {kind: drawn(random, trials, times, kind) for kind in ("value", "sign", "angle", "category")}
    value, sign, angle, category = decode(rates, variables, np.arange(times), 5, 0).mean((1, 2))
    assert category == pytest.approx(1 / 3, abs=0.02)
    assert -0.1 < value < 0
    assert sign == pytest.approx(0.5, abs=0.02)
    assert angle == pytest.approx(0, abs=0.05)


def test_variables_of_context_integration():
    task = TASKS["context_integration"]()
    trials = task.sample("test", 50, seed=1)
    variables = task.variables(trials)
    assert {name: variable.kind for name, variable in variables.items()} == {
        "coherence_1": "value",
        "coherence_2": "value",
        "relevant_coherence": "value",
        "irrelevant_coherence": "value",
        "decision": "sign",
        "context": "sign",
    }
    for trial, time in np.ndindex(50, trials.sizes["time"]):
        inputs = trials["inputs"].values[trial, time]
        stream = 1 if inputs[2] == 1 else 2
        at = {name: variable.values[trial, time] for name, variable in variables.items()}
        assert at["context"] == (-1 if stream == 1 else 1)
        assert at["relevant_coherence"] == at[f"coherence_{stream}"]
        assert at["decision"] == np.sign(trials["targets"].values[trial, -1, 0])


def test_variables_of_the_flip_flop_are_its_targets():
    task = TASKS["flip_flop"]()
    trials = task.sample("test", 20, seed=1)
    variables = task.variables(trials)
    assert list(variables) == ["bit_1", "bit_2", "bit_3"]
    assert {variable.kind for variable in variables.values()} == {"sign"}
    stacked = np.stack([variable.values for variable in variables.values()], axis=-1)
    np.testing.assert_array_equal(stacked, trials["targets"])


def test_variables_of_memory_pro():
    task = TASKS["memory_pro"]()
    trials = task.sample("test", 20, seed=1)
    angle = task.variables(trials)["angle"]
    assert angle.kind == "angle" and angle.values.shape == (20, trials.sizes["time"])
    np.testing.assert_allclose(np.cos(angle.values[:, -1]), trials["targets"].sel(output="cos")[:, -1], atol=1e-6)
    np.testing.assert_allclose(np.sin(angle.values[:, -1]), trials["targets"].sel(output="sin")[:, -1], atol=1e-6)
    assert (np.ptp(angle.values, axis=1) == 0).all()


def sinusoids(random, frequency, trials=20, times=90, units=10):
    """Each unit oscillates around a trend of its own, at a phase and amplitude of its own in each trial."""
    seconds = DT * np.arange(times)[:, None]
    phase, amplitude, slope = (random.uniform(0.5, 6, (trials, 1, units)) for _ in range(3))
    return amplitude * np.sin(2 * np.pi * frequency * seconds + phase) + slope * seconds - 3


@pytest.mark.parametrize("frequency", [2.0, 3.3, 10.0, 22.5])
def test_frequency_and_share_of_sinusoids(random, frequency):
    found, share = dominant_frequency(sinusoids(random, frequency), DT)
    assert found == pytest.approx(frequency, abs=1 / 1.8 / 8)
    assert share > 0.9


def test_share_of_a_sinusoid_in_white_noise(random):
    rates = sinusoids(random, 5.0)
    signal = rates - sinusoids(np.random.default_rng(0), 0.0)
    noise = np.sqrt(signal.var(1).mean()) * random.standard_normal(rates.shape)
    found, share = dominant_frequency(rates + noise, DT)
    assert found == pytest.approx(5, abs=1 / 1.8 / 8)
    assert share == pytest.approx(0.5, abs=0.06)


def test_share_of_white_noise(random):
    share = dominant_frequency(random.standard_normal((200, 90, 20)), DT)[1]
    assert share == pytest.approx(4 / 90, rel=0.15)


def test_spectrum_equals_sums_of_fourier(random):
    trials, times, units = 3, 40, 2
    rates = random.standard_normal((trials, times, units)).cumsum(1)
    step = np.arange(times)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * step / times)
    frequencies = np.arange(1, 4 * times + 1) / (8 * times * DT)
    power = np.zeros(frequencies.size)
    for trial, unit in np.ndindex(trials, units):
        signal = rates[trial, :, unit]
        signal = taper * (signal - np.polyval(np.polyfit(step, signal, 1), step))
        for index, frequency in enumerate(frequencies):
            # The Nyquist frequency is its own mirror image and counts once.
            sides = 1 if index == frequencies.size - 1 else 2
            power[index] += sides * np.abs(np.sum(signal * np.exp(-2j * np.pi * frequency * DT * step))) ** 2
    peak = frequencies[power.argmax()]
    around = np.abs(frequencies - peak) <= 1 / (times * DT) + 1e-9
    found, share = dominant_frequency(rates, DT)
    assert found == pytest.approx(peak)
    assert share == pytest.approx(power[around].sum() / power.sum())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
def test_frequency_does_not_depend_on_scale_and_rotation(seed, scale):
    random = np.random.default_rng(seed)
    rates = random.standard_normal((4, 50, 6)).cumsum(1)
    rotation = scipy.stats.ortho_group.rvs(6, random_state=random)
    assert dominant_frequency(scale * rates @ rotation, DT) == pytest.approx(dominant_frequency(rates, DT))


def test_activity_without_oscillation_has_no_frequency(random):
    level = random.standard_normal((5, 1, 3))
    constant = np.broadcast_to(level, (5, 40, 3))
    for rates in (constant, constant + level * np.linspace(0, 1, 40)[:, None], np.zeros((5, 40, 3))):
        assert np.isnan(dominant_frequency(rates, DT)).all()
        assert np.isnan(dominant_frequency(rates.astype(np.float32), DT)).all()
