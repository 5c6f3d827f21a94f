"""Dynamical similarity against exact cases, brute force and published packages."""

import itertools
import logging

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import oracle

from insd.dynamics.alignment import align, computed_starts, random_starts
from insd.dynamics.operators import fit_operator, persistence_error, prediction_error
from insd.dynamics.settings import DynamicalSimilarity
from insd.dynamics.similarity import dynamical_similarity, network_operators
from insd.measures.base import Activity
from insd.measures.dsa import DSA
from insd.measures.dsa_spectrum import DSASpectrum
from insd.members import Member
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings

DELAYS, RANK = 2, 10
STARTS, ITERATIONS = 12, 200


def network_rates(gain, seed, units=40, trials=40, times=50):
    """Rates of an untrained network in response to smooth inputs, (trial, time, unit)."""
    generator = torch.Generator().manual_seed(seed)
    network = RateRNN.initialise(RateSettings(units=units, gain=gain), 3, 1, 0.2, [generator])
    inputs = torch.randn(1, times, trials, 3, generator=torch.Generator().manual_seed(99)).cumsum(1) / 4
    with torch.no_grad():
        return network(inputs)[0].transpose(0, 1).numpy()


def rotation(size, seed):
    return scipy.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def random_operator(size, seed):
    """Near the identity, as operators over one time step are, with rotations and slow and fast modes."""
    random = np.random.default_rng(seed)
    return np.diag(random.uniform(0.7, 1, size)) + 0.3 / np.sqrt(size) * random.standard_normal((size, size))


def distance(a, b, starts=STARTS):
    found = dynamical_similarity({"a": a, "b": b}, {"a": 0.0, "b": 0.0}, starts, ITERATIONS, 0)
    return float(found["distance"].sel(network="a", network_to="b"))


@pytest.fixture(scope="module")
def operators():
    cases = [(gain, seed) for gain in (0.1, 1.0, 1.5) for seed in (0, 1)]
    return {f"{gain}/{seed}/0": fit_operator(network_rates(gain, seed), DELAYS, RANK) for gain, seed in cases}


@pytest.fixture(scope="module")
def result(operators):
    errors = {label: 0.1 * number for number, label in enumerate(operators)}
    return dynamical_similarity(operators, errors, STARTS, ITERATIONS, seed=0)


@pytest.mark.parametrize(("size", "seed"), list(itertools.product((5, 20, 30), range(4))))
def test_conjugate_operators_are_equal(size, seed):
    operator = random_operator(size, seed)
    turned = rotation(size, 100 + seed)
    assert distance(operator, turned @ operator @ turned.T) < 1e-5
    assert distance(operator, 3 * turned @ operator @ turned.T, starts=2) < 1e-5


@pytest.mark.parametrize("gain", [0.1, 1.5])
def test_rotated_scaled_and_shifted_activity_is_equal(gain):
    rates = network_rates(gain, 0).astype(np.float64)
    changed = 0.2 * rates @ rotation(rates.shape[-1], 1) + 0.5
    assert distance(fit_operator(rates, DELAYS, RANK), fit_operator(changed, DELAYS, RANK)) < 1e-5


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**16), st.floats(1e-3, 1e3))
def test_distances_see_neither_the_order_of_units_nor_rotation_nor_scale(seed, scale):
    rates = [network_rates(gain, 3, units=15, trials=10).astype(np.float64) for gain in (0.5, 1.5)]
    first, second = (fit_operator(one, DELAYS, 6) for one in rates)
    permuted = rates[1][..., np.random.default_rng(seed).permutation(15)] * scale
    rotated = rates[1] @ rotation(15, seed)
    expected = distance(first, second, starts=20)
    assert expected > 0.01
    for changed in (permuted, rotated):
        assert distance(first, fit_operator(changed, DELAYS, 6), starts=20) == pytest.approx(expected, abs=1e-4)


def test_operator_of_a_linear_system_has_its_eigenvalues():
    random = np.random.default_rng(0)
    system = scipy.linalg.block_diag([[0.9, 0.3], [-0.3, 0.9]], [[0.8]], [[0.5]])
    states = [random.standard_normal((60, 4))]
    for _ in range(15):
        states.append(states[-1] @ system.T)
    # Without a mean, which the system would not keep: every trajectory comes with its mirror image.
    rates = np.stack(states, 1)
    rates = np.concatenate([rates, -rates]) @ rotation(4, 0)
    expected = np.sort_complex(np.linalg.eigvals(system))
    for delays in (1, 3):
        operator = fit_operator(rates, delays, rank=4)
        np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(operator)), expected, atol=1e-8)
        assert prediction_error(rates[::2], rates[1::2], delays, rank=4) < 1e-12
    # Four directions are all that there is, whatever the rank.
    padded = fit_operator(rates, 3, rank=6)
    assert padded.shape == (6, 6)
    assert not padded[4:].any() and not padded[:, 4:].any()


def test_prediction_error_equals_a_loop_over_trials():
    rates = network_rates(1.5, 0, units=12).astype(np.float64)
    train, held_out = rates[:20], rates[20:]
    delays, rank, first = 3, 7, 5
    mean = train.mean((0, 1))
    rows = [
        np.concatenate([trial[t - back] for back in range(delays)])
        for trial in train - mean
        for t in range(delays - 1, trial.shape[0])
    ]
    _, scales, axes = np.linalg.svd(np.array(rows), full_matrices=False)
    to_coordinates = axes[:rank].T / scales[:rank]
    coordinates = (np.array(rows) @ to_coordinates).reshape(20, -1, rank)
    operator = np.linalg.lstsq(coordinates[:, :-1].reshape(-1, rank), coordinates[:, 1:].reshape(-1, rank))[0]
    errors, persistent = [], []
    for trial in held_out:
        for t in range(first, len(trial)):
            state = np.concatenate([trial[t - 1 - back] - mean for back in range(delays)])
            predicted = (state @ to_coordinates @ operator * scales[:rank]) @ axes[:rank]
            errors.append(trial[t] - mean - predicted[:12])
            persistent.append(trial[t] - trial[t - 1])
    variance = np.square(held_out[:, first:] - held_out[:, first:].mean((0, 1))).sum()
    assert prediction_error(train, held_out, delays, rank, first) == pytest.approx(np.square(errors).sum() / variance)
    assert persistence_error(held_out, first) == pytest.approx(np.square(persistent).sum() / variance)


def test_operators_of_rounds_by_label():
    rates = np.stack([network_rates(1.5, seed, units=12) for seed in (4, 5)])
    activity = xr.Dataset({"rates": (("seed", "trial", "time", "unit"), rates)}, coords={"seed": [4, 5]})
    operators, errors = network_operators(
        Member.of_datasets("insd", 1, "alternative", xr.Dataset(coords={"seed": [4, 5]}), activity), DELAYS, RANK
    )
    assert list(operators) == list(errors) == ["insd/4/1", "insd/5/1"]
    np.testing.assert_allclose(operators["insd/5/1"], fit_operator(rates[1], DELAYS, RANK), atol=1e-9)
    assert errors["insd/5/1"] == pytest.approx(prediction_error(rates[1, ::2], rates[1, 1::2], DELAYS, RANK))
    assert 0 < errors["insd/5/1"] < 0.1


def test_more_delays_than_time_steps_are_refused():
    with pytest.raises(ValueError, match="20 delays need trials of more than 20 time steps, not 10"):
        fit_operator(np.zeros((4, 10, 3)), 20, 5)


def test_distances_keep_the_bound_of_von_neumann_and_the_triangle_inequality(operators, result):
    found = result["distance"].values
    for (i, a), (j, b) in itertools.combinations(enumerate(operators.values()), 2):
        singular_values = [np.linalg.svd(one / np.linalg.norm(one), compute_uv=False) for one in (a, b)]
        assert np.arccos(singular_values[0] @ singular_values[1]) <= found[i, j] + 1e-9
    for i, j, k in itertools.permutations(range(len(operators)), 3):
        assert found[i, k] <= found[i, j] + found[j, k] + 1e-3


def test_distance_equals_brute_force_over_rotations_of_the_plane():
    random = np.random.default_rng(0)
    turns = np.linspace(0, 2 * np.pi, 20001)
    c, s = np.cos(turns), np.sin(turns)
    rotations = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    candidates = np.concatenate([rotations, rotations * [1, -1]])
    for _ in range(5):
        a, b = random.standard_normal((2, 2, 2))
        cosines = (a * (candidates @ b @ candidates.swapaxes(1, 2))).sum((1, 2))
        expected = np.arccos(cosines.max() / np.linalg.norm(a) / np.linalg.norm(b))
        assert distance(a, b) == pytest.approx(expected, abs=1e-6)


def test_the_reported_transform_has_the_reported_distance(operators):
    a, *others = (torch.from_numpy(one) for one in operators.values())
    b = torch.stack(others)
    starts = torch.cat([computed_starts(a, b), random_starts(4, RANK, 0).expand(len(b), -1, -1, -1)], 1)
    assert set(np.linalg.det(starts.numpy()).round(9).ravel()) == {-1.0, 1.0}
    found = align(a, b, starts, ITERATIONS)
    transforms = found.transforms.numpy()
    np.testing.assert_allclose(
        transforms @ transforms.swapaxes(1, 2), np.broadcast_to(np.eye(RANK), b.shape), atol=1e-10
    )
    for one, c, angle in zip(others, transforms, found.angles, strict=True):
        cosine = np.sum(a.numpy() * (c @ one.numpy() @ c.T)) / np.linalg.norm(a) / np.linalg.norm(one)
        assert np.arccos(cosine) == pytest.approx(float(angle), abs=1e-7)
    assert found.gradient_norms.max() < 1e-3
    assert ((found.agreement > 0) & (found.agreement <= 1)).all()


def test_the_dataset(operators, result, tmp_path, caplog):
    labels = list(operators)
    for name in ("distance", "spectral_distance"):
        values = result[name]
        assert values.dims == ("network", "network_to")
        assert (values.values == values.values.T).all()
        assert not np.diag(values).any()
        assert (values.values[~np.eye(len(labels), dtype=bool)] > 0).all()
    assert result["network"].values.tolist() == labels
    assert result["prediction_error"].values == pytest.approx(0.1 * np.arange(len(labels)))
    for points, stress, distances in (
        ("embedding", "stress", "distance"),
        ("spectral_embedding", "spectral_stress", "spectral_distance"),
    ):
        between = scipy.spatial.distance.cdist(result[points], result[points])
        residual = np.square(between - result[distances].values).sum() / np.square(between).sum()
        assert float(result[stress]) == pytest.approx(np.sqrt(residual), rel=1e-3)
        assert float(result[stress]) < 0.3
    eigenvalues = result["eigenvalues_real"].values[0] + 1j * result["eigenvalues_imag"].values[0]
    np.testing.assert_allclose(
        np.sort_complex(eigenvalues), np.sort_complex(np.linalg.eigvals(operators[labels[0]])), atol=1e-12
    )
    result.to_netcdf(tmp_path / "dsa.nc")
    with caplog.at_level(logging.INFO, "insd.dynamics.similarity"):
        again = dynamical_similarity(operators, dict.fromkeys(labels, 0.0), STARTS, ITERATIONS, seed=0)
    np.testing.assert_allclose(again["distance"].values, result["distance"].values, atol=1e-9)
    assert "network 5 of 5: 1 pairs" in caplog.text


def test_measures_of_a_pair_are_those_of_the_file():
    settings = DynamicalSimilarity(delays=DELAYS, rank=RANK, starts=STARTS, iterations=ITERATIONS)
    rates = [network_rates(gain, 2, units=15) for gain in (0.5, 1.5)]
    operators = {name: fit_operator(one, DELAYS, RANK) for name, one in zip("ab", rates, strict=True)}
    found = dynamical_similarity(operators, {"a": 0.0, "b": 0.0}, STARTS, ITERATIONS, seed=4)
    for variable, measure in (("distance", DSA(settings, 4)), ("spectral_distance", DSASpectrum(settings))):
        value = measure.compare(*(measure.prepare(Activity(one)) for one in rates))
        assert value == pytest.approx(float(found[variable][0, 1]), abs=1e-12) and value > 1e-3


def test_a_silent_network_has_no_numbers(operators):
    silent = fit_operator(np.full((4, 20, 15), 0.1), DELAYS, RANK)
    assert np.isnan(silent).all()
    error = prediction_error(np.full((4, 20, 15), 0.1), np.full((3, 20, 15), 0.1), DELAYS, RANK)
    assert np.isnan(error)
    active = dict(itertools.islice(operators.items(), 3))
    errors = dict.fromkeys(active, 0.1)
    alone = dynamical_similarity(active, errors, 2, 20, 0)
    found = dynamical_similarity({"s": silent, **active}, {"s": error, **errors}, 2, 20, 0)
    for name in ("distance", "spectral_distance", "embedding", "agreement", "eigenvalues_real"):
        assert np.isnan(found[name].values[0]).all()
    np.testing.assert_allclose(found["distance"].values[1:, 1:], alone["distance"].values, atol=1e-9)
    only = dynamical_similarity({"s": silent}, {"s": error}, 2, 20, 0)
    assert np.isnan(only["distance"].values).all()


def test_operators_equal_those_of_the_published_tool():
    dmd = oracle("DSA.dmd")
    for gain, delays in ((0.5, 1), (1.5, 3)):
        rates = network_rates(gain, 0, units=12).astype(np.float64)
        centred = torch.from_numpy(rates - rates.mean((0, 1))).float()
        published = dmd.DMD(centred, n_delays=delays, rank=RANK, lamb=0.0)
        published.fit()
        theirs = published.A_v.double().numpy()
        ours = fit_operator(rates, delays, RANK)
        # Principal axes have arbitrary signs, and their singular value decomposition is in single precision.
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=2e-3)
        assert distance(ours, theirs) < 2e-3


def test_distances_are_not_above_those_of_the_published_tool(operators, result):
    simdist = oracle("DSA.simdist")
    labels = list(operators)
    for i, j in ((0, 3), (2, 4), (4, 5)):
        best = np.inf
        for seed in range(2):
            torch.manual_seed(seed)
            # It normalises its arguments in place.
            pair = [torch.from_numpy(operators[labels[k]]).float().clone() for k in (i, j)]
            tool = simdist.SimilarityTransformDist(iters=400, score_method="angular", lr=0.01)
            best = min(best, float(tool.fit_score(*pair)))
        ours = float(result["distance"][i, j])
        assert ours <= best + 2e-3
        assert ours > 0.5 * best


def test_spectral_distance_is_the_best_matching():
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 5)) + 1j * random.standard_normal((2, 5))
    costs = [np.square(np.abs(first - second[list(order)])).mean() for order in itertools.permutations(range(5))]
    assert DSASpectrum().compare(first, second) == pytest.approx(np.sqrt(min(costs)))
    assert DSASpectrum().compare(first, first[::-1]) == 0


def test_spectral_distance_equals_optimal_transport(operators):
    ot = oracle("ot")
    simdist = oracle("DSA.simdist")
    for a, b in itertools.combinations(operators.values(), 2):
        spectra = [np.linalg.eigvals(one).astype(complex) for one in (a, b)]
        planes = [np.stack([one.real, one.imag], -1) for one in spectra]
        ours = DSASpectrum().compare(*spectra)
        uniform = np.full(RANK, 1 / RANK)
        assert ours == pytest.approx(np.sqrt(ot.emd2(uniform, uniform, ot.dist(*planes))), abs=1e-7)
        tool = simdist.SimilarityTransformDist(score_method="wasserstein")
        # The published tool returns the square.
        squared = tool.fit_score(*(torch.from_numpy(one).float().clone() for one in (a, b)))
        assert ours == pytest.approx(np.sqrt(float(squared)), abs=1e-3)
