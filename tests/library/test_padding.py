"""Trials that differ in length: padding counts nowhere."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr

from insd.activity import participation_ratio, record_activity, simulate_trials
from insd.deflation import DeflationError, DeflationPenalty, null_space_activity
from insd.dynamics.operators import fit_operator, prediction_error
from insd.dynamics.search import trajectory_states
from insd.dynamics.settings import FixedPoints
from insd.evaluation.decoding import decode, decoding
from insd.evaluation.oscillation import dominant_frequency
from insd.evaluation.perturbations import robustness
from insd.figures.state_space import leading_components
from insd.measures.base import TIME_STRIDE, find_measures
from insd.measures.pairs import prepare, similarity
from insd.members import Member
from insd.objectives.base import join_earlier
from insd.objectives.predictivity import deflation_penalty
from insd.plugins import names
from insd.predictivity import null_projector_array, principal_components
from insd.provenance import trials_fingerprint
from insd.samples import can_be_shuffled, chosen, lasting, samples, shuffled_trials, valid_steps
from insd.settings.recipe import Recipe
from insd.tasks import Task, Variable
from insd.tasks.own import TaskError, check_task
from insd.training import train_round

UNITS, MORE = 12, 7


@dataclass(frozen=True, kw_only=True)
class Integrate(Task):
    """The running mean of a noisy input, in trials of 20 to 40 steps; `padding` steps follow the longest."""

    padding: int = 0
    scored_after: bool = False

    def _sample(self, n_trials: int, random: np.random.Generator) -> xr.Dataset:
        steps = random.integers(20, 41, n_trials)
        sign = random.choice([-1.0, 1.0], n_trials)
        inputs = 0.5 * sign[:, None] + random.standard_normal((n_trials, 40))
        inputs = np.concatenate([inputs, 3 * np.ones((n_trials, self.padding))], axis=1)
        targets = np.cumsum(inputs, axis=1) / np.arange(1, inputs.shape[1] + 1)
        within = np.arange(inputs.shape[1]) < steps[:, None]
        mask = within[..., None] | self.scored_after
        return self.dataset(inputs[..., None], targets[..., None], mask, ["x"], ["y"], {"sign": sign}, steps)

    def variables(self, trials: xr.Dataset) -> dict[str, Variable]:
        """The sign of the mean."""
        return {"sign": Variable.constant(trials["sign"].values, trials.sizes["time"], "sign")}


def sampled(padding: int, regime: str, count: int, seed: int) -> xr.Dataset:
    trials = Integrate(padding=padding).sample(regime, count, seed)
    return trials.assign_attrs(fingerprint=trials_fingerprint(trials))


BANKS = {padding: sampled(padding, "train", 96, 1) for padding in (0, MORE)}
TESTS = {padding: sampled(padding, "test", 80, 2) for padding in (0, MORE)}
RECIPE = Recipe(
    network={"units": UNITS, "recurrent_noise": 0.0},
    training={"iterations": 40, "batch_size": 16, "evaluate_every": 20, "validation_trials": 32, "restarts": 0},
)


@pytest.fixture(scope="module", params=(0, MORE), ids=("as short as they are", "with more padding"))
def made(request):
    """A reference, an alternative and the activity of both."""
    padding = request.param
    task, bank, test = Integrate(padding=padding), BANKS[padding], TESTS[padding]
    networks, activities = [], []
    for number in range(2):
        earlier = join_earlier(RECIPE.terms, activities, bank, ["round 0"]) if activities else None
        network, history = train_round(task, bank, RECIPE, [("integrate", "insd", 0, number)], earlier)
        networks.append(network)
        activities.append(record_activity(network, task, bank, test, RECIPE.terms))
    members = [
        member
        for number, (network, activity) in enumerate(zip(networks, activities, strict=True))
        for member in Member.of_datasets("insd", number, "reference", network, activity)
    ]
    return padding, networks, activities, history, members


@pytest.fixture(scope="module")
def plain():
    """The same networks and activity, with no padding but what the differences in length need."""
    results: dict[str, object] = {}
    return results


def same(plain, name, padding, value, rtol=1e-4, atol=1e-5):
    """Hold a value with more padding to the one without."""
    if padding == 0:
        plain[name] = value
    else:
        xr.testing.assert_allclose(value, plain[name], rtol=rtol) if isinstance(value, xr.Dataset) else (
            np.testing.assert_allclose(value, plain[name], rtol=rtol, atol=atol)
        )


def test_training_and_the_penalty(made, plain):
    padding, networks, activities, history, _ = made
    for number, network in enumerate(networks):
        same(plain, f"weights {number}", padding, network["recurrent_weights"].values, rtol=1e-3)
    same(plain, "penalty", padding, history["held_out_penalty"].values, rtol=1e-3)
    lasts = valid_steps(TESTS[padding])
    for activity in activities:
        assert np.isnan(activity["rates"].values[0][~lasts]).all()
        assert np.isfinite(activity["rates"].values[0][lasts]).all()
        assert np.isfinite(activity["null_activity"]).all()


def test_similarity_of_all_measures_but_searches(made, plain):
    padding, *_, members = made
    measures = find_measures([name for name in names("measure") if name != "dsa"])
    prepared = {one.label: prepare(one.rates, one.output_weights, measures) for one in members}
    predictivity, values = similarity(prepared, measures, 0)
    same(plain, "predictivity", padding, predictivity, rtol=1e-3)
    same(plain, "similarity", padding, values["value"].values, atol=1e-3)

    # By hand: the regression on the samples that count.
    counted = valid_steps(TESTS[padding])[:, ::TIME_STRIDE]
    x, y = (one.rates[:, ::TIME_STRIDE][counted].astype(float) for one in members)
    x, y = x - x.mean(0), y - y.mean(0)
    error = np.square(y - x @ np.linalg.lstsq(x, y)[0]).sum() / np.square(y).sum()
    labels = [one.label for one in members]
    assert float(predictivity["r2"].sel(space="full", predictor=labels[0], target=labels[1])) == pytest.approx(
        1 - error, abs=1e-4
    )


def test_operators_decoding_frequencies_starts_and_kicks(made, plain):
    padding, networks, *_, members = made
    test = TESTS[padding]
    rates = members[0].rates
    same(plain, "singular values", padding, np.linalg.svd(fit_operator(rates, 4, 6))[1], rtol=1e-3)
    same(plain, "prediction", padding, prediction_error(rates[::2], rates[1::2], 4, 6), rtol=1e-3)
    same(plain, "frequency", padding, np.array(dominant_frequency(rates, 0.02)))
    same(plain, "dimension", padding, participation_ratio(rates))
    same(plain, "components", padding, np.abs(leading_components(rates)[1]), rtol=1e-3)
    random = np.random.default_rng(0)
    starts = trajectory_states(networks[0].isel(seed=0), test, FixedPoints(starts=64), random)
    same(plain, "starts", padding, starts.numpy(), rtol=1e-3)

    decoded = decoding(members, Integrate(padding=padding), test, 0, time_stride=5)
    early = decoded.sel(time=slice(0, 0.8), time_to=slice(0, 0.8))
    same(plain, "decoding", padding, early[["score", "score_null"]], rtol=1e-3)
    assert np.isfinite(early["score"].sel(time=slice(0, 0.4), time_to=slice(0, 0.4))).all()
    assert decoded["score"].sel(time_to=slice(0.81, None)).isnull().all()

    levels = {"noise_levels": [0.0], "jitter_levels": [0.0], "silenced_shares": [0.0], "kick_levels": [0.0, 0.5]}
    kicked = robustness(Integrate(padding=padding), "integrate", members[:1], test, **levels, draws=1)
    same(plain, "kicks", padding, kicked[["kick_loss", "kick_recovery", "unperturbed_score"]], rtol=1e-3)


def test_decoders_use_the_trials_that_last():
    random = np.random.default_rng(0)
    sign = random.choice([-1.0, 1.0], 60)
    rates = sign[:, None, None] + 0.3 * random.standard_normal((60, 4, 5))
    steps = np.where(np.arange(60) < 20, 2, 4)
    rates[np.arange(4) >= steps[:, None]] = np.nan
    variables = {"sign": Variable.constant(sign, 4, "sign"), "value": Variable.constant(sign, 4, "value")}
    scores = decode(rates, variables, np.arange(4), 4, 0)
    assert (scores > 0.9).all()
    # Of the later times, those of the other trials alone.
    few = np.where(np.arange(60) < 55, 2, 4)
    rates[np.arange(4) >= few[:, None]] = np.nan
    scores = decode(rates, variables, np.arange(4), 4, 0)
    assert (scores[:, :2, :2] > 0.9).all() and np.isnan(scores[:, 2:]).all()


def test_the_penalty_equals_that_of_the_samples_that_count():
    stream = torch.Generator().manual_seed(0)
    rates, earlier = (torch.randn(1, 60, units, generator=stream, dtype=torch.float64) for units in (9, 5))
    readout = torch.randn(1, 2, 9, generator=stream, dtype=torch.float64, requires_grad=True)
    membership, valid = torch.ones(5, 1), (torch.arange(60) % 3 > 0).double()[None]
    rates.requires_grad_()
    whole = deflation_penalty(rates, readout, earlier, membership, 1e-3, valid)
    kept = valid[0] > 0
    part = deflation_penalty(rates[:, kept], readout, earlier[:, kept], membership, 1e-3)
    assert float(whole.detach()) == pytest.approx(float(part.detach()), rel=1e-10)
    for found, expected in zip(
        torch.autograd.grad(whole.sum(), [rates, readout]),
        torch.autograd.grad(part.sum(), [rates, readout]),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda r, w: deflation_penalty(r, w, earlier, membership, 1e-3, valid), (rates, readout), atol=1e-6
    )


def test_deflation_of_any_network_leaves_out_what_is_nan(made):
    padding, networks, *_ = made
    bank = BANKS[padding]
    activity = null_space_activity(networks[0], bank)
    lasts = valid_steps(bank)
    np.testing.assert_array_equal(lasting(activity), lasts)
    penalty = DeflationPenalty([activity], variance_kept=1.0)
    rates = torch.randn(*activity.shape[:2], 9, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(2, 9, generator=torch.Generator().manual_seed(1))
    changed = torch.where(torch.from_numpy(lasts)[..., None], rates, 5.0)
    batch = torch.arange(0, 96, 2)
    for some in (None, batch):
        of = slice(None) if some is None else some
        torch.testing.assert_close(penalty(rates[of], weights, some), penalty(changed[of], weights, some))


def test_simulated_rates_end_and_outputs_go_on(made):
    padding, networks, *_ = made
    rates, outputs = simulate_trials(networks[0], TESTS[padding])
    np.testing.assert_array_equal(lasting(rates[0].numpy()), valid_steps(TESTS[padding]))
    assert torch.isfinite(outputs).all()


def test_samples_and_their_places():
    rates = np.random.default_rng(0).standard_normal((6, 5, 3))
    assert samples(rates).base is rates
    steps = np.array([5, 3, 5, 1, 3, 2])
    rates[np.arange(5) >= steps[:, None]] = np.nan
    np.testing.assert_array_equal(
        samples(rates), np.concatenate([one[:n] for one, n in zip(rates, steps, strict=True)])
    )
    np.testing.assert_array_equal(chosen(rates, lasting(rates)), samples(rates))
    components, share = principal_components(rates, 1.0)
    assert share == pytest.approx(1.0) and not components[np.isnan(rates[..., 0])].any()
    for seed in range(20):
        order = shuffled_trials(steps, seed)
        assert sorted(order) == list(range(6)) and (steps[order] == steps).all()
        # Two trials of 2 and 1 steps are the only ones of their length.
        assert (order != np.arange(6)).sum() == 4 and not can_be_shuffled(steps)
    np.testing.assert_array_equal(shuffled_trials(np.full(9, 4), 3), np.random.default_rng(3).permutation(9))
    assert null_projector_array(np.eye(3)[:1]).trace() == pytest.approx(2)


def test_trials_must_end_once_and_not_be_scored_after():
    check_task(Integrate())
    check_task(Integrate(padding=3))
    with pytest.raises(TaskError, match="'mask' scores outputs after the end of a trial"):
        check_task(Integrate(padding=3, scored_after=True))


def test_the_fingerprint_of_trials_knows_when_they_end():
    trials = TESTS[0]
    assert trials_fingerprint(trials) != trials_fingerprint(trials.drop_vars("valid"))


def test_padding_of_any_size_is_stored_as_zeros_and_steps_are_checked():
    inputs = np.ones((3, 5, 1))
    inputs[0, 3:], inputs[1, 3:] = 9.96921e36, np.nan
    mask = np.arange(5)[None, :, None] < np.array([3, 3, 5])[:, None, None]

    def made(steps):
        return Integrate().dataset(inputs, inputs, mask, ["x"], ["y"], {}, steps)

    for steps in (np.array([3, 3, 5]), np.array([[3], [3], [5]]), [3, 3, 5]):
        trials = made(steps)
        assert trials["inputs"].sum() == trials["targets"].sum() == 11
        assert valid_steps(trials).sum(1).tolist() == [3, 3, 5]
    for steps, message in (
        ([3, 3], "give one whole number for each trial"),
        ([3.0, 3.0, 5.0], "float64 of shape"),
        ([3, 3, 6], "a trial lasts from 1 to 5"),
        ([0, 3, 5], "a trial lasts from 1 to 5"),
    ):
        with pytest.raises(ValueError, match=message):
            made(steps)


def test_there_is_no_shuffled_baseline_where_no_two_trials_are_of_one_length():
    random = np.random.default_rng(0)
    rates = [random.standard_normal((12, 40, 6)) for _ in range(2)]
    for steps, known in ((20 + np.arange(12), False), (20 + np.arange(12) // 4, True)):
        ended = np.arange(40) >= steps[:, None]
        prepared = {str(k): prepare(np.where(ended[..., None], np.nan, one), None, []) for k, one in enumerate(rates)}
        found = similarity(prepared, [], 0)[0]
        assert np.isfinite(found["r2"]).all()
        assert np.isfinite(found["r2_shuffled"]).all() == np.isfinite(found["r2_shuffled_residual"]).all() == known
        assert not known or float(found["r2_shuffled"].isel(space=0, predictor=0, target=0)) < 0.2


def test_a_network_runs_at_its_own_time_step(made):
    _, networks, *_ = made
    trials = Integrate(dt=0.05).sample("test", 4, 0)
    with pytest.raises(DeflationError, match=r"runs at dt = 0.02 s and the trials at 0.05 s"):
        null_space_activity(networks[0], trials)
