"""Similarity measures against least squares, scipy, scikit-learn's kin and published packages; their invariances."""

from itertools import product

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import oracle

from insd.analysis.similarity import SimilaritySettings as Similarity
from insd.datasets import validate
from insd.measures.base import TIME_STRIDE, find_measures
from insd.measures.pairs import prepare, similarity
from insd.measures.responses import responses

TRIALS, TIMES, UNITS = 40, 20, 8
MEASURES = find_measures(Similarity().measures)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def related_rates(random, units=(UNITS, UNITS, UNITS + 3)):
    """Activity of three networks that share a code and differ in their noise and number of units."""
    shared = random.standard_normal((TRIALS, TIMES, 5))
    return [
        shared @ random.standard_normal((5, n)) + noise * random.standard_normal((TRIALS, TIMES, n))
        for n, noise in zip(units, (0.1, 0.5, 2.0), strict=True)
    ]


def samples(rates):
    flat = rates[:, ::TIME_STRIDE].reshape(-1, rates.shape[-1])
    return flat - flat.mean(0)


def matrix(networks, weights=None):
    """Predictivity and similarity of some activity, with readouts that leave the null space to itself."""
    random = np.random.default_rng(9)
    weights = weights or [random.standard_normal((1, rates.shape[-1])) for rates in networks]
    named = {
        str(number): prepare(rates, readout, MEASURES)
        for number, (rates, readout) in enumerate(zip(networks, weights, strict=True))
    }
    return similarity(named, MEASURES, seed=0)


def of(measure, first, second):
    value = matrix([first, second])[1]["value"]
    return float(value.sel(measure=f"{measure}_full", network="0", network_to="1"))


def least_squares_r2(predictor, target):
    residual = target - predictor @ scipy.linalg.lstsq(predictor, target)[0]
    return 1 - np.square(residual).sum() / np.square(target).sum()


def test_predictivity_equals_least_squares_for_every_pair_and_space(random):
    rates = related_rates(random)
    weights = [random.standard_normal((2, one.shape[-1])) for one in rates]
    result = matrix([one.astype(np.float32) for one in rates], [one.astype(np.float32) for one in weights])[0]
    order = np.random.default_rng(0).permutation(TRIALS)
    null = [one @ scipy.linalg.null_space(readout) for one, readout in zip(rates, weights, strict=True)]
    for predictor, target in product(range(3), range(3)):
        for space, activity in (("full", rates), ("null", null)):
            one = result.sel(space=space, predictor=str(predictor), target=str(target))
            x, y = activity[predictor], activity[target]
            assert float(one["r2"]) == pytest.approx(least_squares_r2(samples(x), samples(y)), abs=1e-5)
            assert float(one["r2_shuffled"]) == pytest.approx(least_squares_r2(samples(x), samples(y[order])), abs=1e-5)


def test_measures_in_the_null_space_are_those_of_the_projected_activity(random):
    rates = related_rates(random)
    weights = [random.standard_normal((2, one.shape[-1])) for one in rates]
    value = matrix(rates, weights)[1]["value"]
    projected = [one @ scipy.linalg.null_space(readout) for one, readout in zip(rates, weights, strict=True)]
    expected = matrix(projected)[1]["value"]
    for measure in MEASURES:
        np.testing.assert_allclose(
            value.sel(measure=f"{measure.name}_null"), expected.sel(measure=f"{measure.name}_full"), atol=1e-3
        )


# The mean of 0.1 is rounded.
@pytest.mark.parametrize("constant", [1.0, 0.1])
def test_a_silent_network(random, constant):
    rates = related_rates(random)
    predictivity, measures = matrix([rates[0], np.full_like(rates[0], constant)])
    r2 = predictivity["r2"].sel(space="full").values
    assert r2[0, 0] == pytest.approx(1, abs=1e-5)
    assert r2[1, 0] == 0
    assert np.isnan(r2[:, 1]).all()
    assert np.isnan(measures["value"].sel(network="1")).all()
    assert np.isfinite(measures["value"].sel(network="0", network_to="0")).all()


def test_shuffled_residual_equals_least_squares_without_the_shared_time_course(random):
    shared = random.standard_normal((1, TIMES, 3))
    rates = [
        3 * shared @ random.standard_normal((3, width)) + random.standard_normal((TRIALS, TIMES, width))
        for width in (5, 4)
    ]
    weights = [random.standard_normal((2, one.shape[-1])) for one in rates]
    result = matrix(rates, weights)[0]
    order = np.random.default_rng(0).permutation(TRIALS)
    null = [one @ scipy.linalg.null_space(readout) for one, readout in zip(rates, weights, strict=True)]
    for space, activity in (("full", rates), ("null", null)):
        x, y = (one - one.mean(0) for one in activity)
        one = result.sel(space=space, predictor="0", target="1")
        expected = least_squares_r2(samples(x), samples(y[order]))
        assert float(one["r2_shuffled_residual"]) == pytest.approx(expected, abs=1e-5)
        # What all trials share is all that the shuffled networks have in common.
        assert float(one["r2_shuffled"]) > 10 * expected
    # Nothing but the time course: nothing is left of it.
    same = np.repeat(random.standard_normal((1, 20, 6)), 15, axis=0)
    assert np.isnan(matrix([same, same])[0]["r2_shuffled_residual"]).all()


def test_shuffled_baseline_is_near_rank_over_samples(random):
    rates = [random.standard_normal((200, 40, 10)) for _ in range(2)]
    r2 = matrix(rates)[0]["r2_shuffled"].sel(space="full", predictor="0", target="1")
    assert float(r2) == pytest.approx(10 / 4000, rel=0.4)


def test_cka_equals_the_unbiased_estimator_on_kernels(random):
    """HSIC of Song et al. (2012), eq. 5, from kernels of all pairs of samples."""

    def hsic(x, y):
        k, l = x @ x.T, y @ y.T  # noqa: E741
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        n = len(k)
        total = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l).sum() / (n - 2)
        return total / (n * (n - 3))

    first, _, third = related_rates(random)
    x, y = samples(first), samples(third)
    assert of("cka", first, third) == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)), abs=1e-5)


def test_cka_agrees_with_repsim(random):
    repsim = oracle("repsim")
    first, _, third = related_rates(random)
    hsic = repsim.hsic([samples(first), samples(third)], kernel_type="linear", estimator="song")
    assert of("cka", first, third) == pytest.approx(hsic[0, 1] / np.sqrt(hsic[0, 0] * hsic[1, 1]), abs=1e-4)


def test_cka_of_unrelated_activity_is_near_zero(random):
    values = [of("cka", *random.standard_normal((2, 10, 4, 50))) for _ in range(20)]
    assert abs(np.mean(values)) < 0.05


def test_cca_agrees_with_cca_zoo(random):
    linear = oracle("cca_zoo.linear")
    first, _, third = related_rates(random)
    x, y = samples(first), samples(third)
    model = linear.CCA(n_components=UNITS).fit([x, y])
    scores = model.transform([x, y])
    expected = [np.corrcoef(scores[0][:, k], scores[1][:, k])[0, 1] for k in range(UNITS)]
    assert of("cca", first, third) == pytest.approx(np.mean(expected), abs=1e-4)


def test_cca_equals_principal_angles(random):
    first, _, third = related_rates(random)
    angles = scipy.linalg.subspace_angles(samples(first), samples(third))
    assert of("cca", first, third) == pytest.approx(np.cos(angles).mean(), abs=1e-5)


def test_svcca_is_cca_of_the_leading_components(random):
    first, _, third = related_rates(random)
    leading = []
    for x in (samples(first), samples(third)):
        u, s, _ = scipy.linalg.svd(x, full_matrices=False)
        count = int(np.argmax(np.cumsum(s**2) / np.sum(s**2) >= 0.99)) + 1
        leading.append(u[:, :count])
    assert leading[0].shape[1] < UNITS
    expected = np.cos(scipy.linalg.subspace_angles(*leading)).mean()
    assert of("svcca", first, third) == pytest.approx(expected, abs=1e-5)


def test_procrustes_agrees_with_scipy(random):
    first, second, _ = related_rates(random)
    disparity = scipy.spatial.procrustes(samples(first), samples(second))[2]
    assert of("procrustes", first, second) == pytest.approx(np.arccos(np.sqrt(1 - disparity)), abs=1e-4)


def test_rsa_agrees_with_scipy(random):
    first, _, third = related_rates(random)
    distances = [scipy.spatial.distance.pdist(samples(one), "sqeuclidean") for one in (first, third)]
    assert of("rsa", first, third) == pytest.approx(scipy.stats.spearmanr(*distances).statistic, abs=1e-4)


def test_rsa_agrees_with_rsatoolbox(random):
    rsatoolbox = oracle("rsatoolbox")
    first, _, third = related_rates(random)
    rdms = [
        rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(samples(one)), method="euclidean") for one in (first, third)
    ]
    expected = rsatoolbox.rdm.compare(*rdms, method="spearman")[0, 0]
    assert of("rsa", first, third) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 100.0), offset=st.floats(-5.0, 5.0))
def test_rotation_scale_permutation_and_offset_change_no_measure(seed, scale, offset):
    random = np.random.default_rng(seed)
    first, _, third = related_rates(random)
    rotation = scipy.linalg.qr(random.standard_normal((UNITS, UNITS)))[0]
    copies = (scale * first @ rotation + offset, first[..., random.permutation(UNITS)])
    for copy in copies:
        value = matrix([first, third, copy])[1]["value"]
        for measure in MEASURES:
            of_pair = value.sel(measure=f"{measure.name}_full").to_series()
            assert of_pair["2", "1"] == pytest.approx(of_pair["0", "1"], abs=1e-3)
            assert of_pair["0", "2"] == pytest.approx(0 if measure.zero_is_equal else 1, abs=2e-3)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_invertible_maps_change_neither_cca_nor_predictivity_of_the_predictor(seed):
    random = np.random.default_rng(seed)
    first, _, third = related_rates(random)
    rotations = [scipy.linalg.qr(random.standard_normal((UNITS, UNITS)))[0] for _ in range(2)]
    mapped = first @ rotations[0] @ np.diag(random.uniform(0.5, 2.0, UNITS)) @ rotations[1]
    assert of("cca", mapped, third) == pytest.approx(of("cca", first, third), abs=1e-3)
    r2 = [matrix([one, third])[0]["r2"].sel(space="full", predictor="0", target="1") for one in (first, mapped)]
    assert float(r2[0]) == pytest.approx(float(r2[1]), abs=1e-4)


def test_responses_to_added_dimensions_and_to_scale(random):
    result = validate(responses(related_rates(random)[0], MEASURES, seed=0), "responses", "responses.nc")
    assert result["amount"].sel(change="added dimensions").values[[0, -1]].tolist() == [0, 10]
    added, scaled = (result["value"].sel(change=change) for change in ("added dimensions", "scale"))
    np.testing.assert_allclose(added.sel(measure="predictivity_new_to_reference"), 1, atol=1e-4)
    falling = added.sel(measure=["predictivity_reference_to_new", "cka", "rsa"]).values
    np.testing.assert_allclose(falling[:, 0], 1, atol=1e-4)
    assert (np.diff(falling, axis=1) < 0).all()
    assert (falling[:, -1] < 0.3).all()
    assert (np.diff(added.sel(measure="procrustes").values) > 0).all()
    distance = scaled["measure"] == "procrustes"
    np.testing.assert_allclose(scaled.values[~distance, :5], 1, atol=1e-3)
    np.testing.assert_allclose(scaled.values[distance, :5], 0, atol=2e-3)
    assert result["measure"].values.tolist() == [
        "predictivity_new_to_reference",
        "predictivity_reference_to_new",
        *(measure.name for measure in MEASURES),
    ]
    assert result["kind"].values.tolist().index("distance") == result["measure"].values.tolist().index("procrustes")
    assert np.isnan(scaled.values[:, 5:]).all()
