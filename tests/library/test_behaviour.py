"""Diffusion of behaviour, models of responses and their fit: closed forms, planted data, another optimiser."""

import re

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import i0

from insd.behaviour import swaps
from insd.behaviour.diffusion import Schedule
from insd.behaviour.mixtures import fit_mixture, responsibilities
from insd.behaviour.response_tables import ResponseTableError, read_responses
from insd.cli import main


def test_the_published_schedule_ends_in_noise():
    schedule = Schedule.linear(40, 0.01, 0.30)
    assert schedule.kept[-1] == pytest.approx(0.031, abs=5e-4)
    assert schedule.noise[-1] == pytest.approx(0.9995, abs=5e-5)


def test_short_schedules_must_end_in_noise():
    # With the published variances, .42 of the response is left after ten steps.
    with pytest.raises(ValueError, match=r"after 10 steps of noise, 0\.42 of the response is left"):
        Schedule.linear(10, 0.01, 0.30)
    assert Schedule.linear(10, 0.01, 0.60).kept[-1] == pytest.approx(0.133, abs=5e-4)
    for steps in (8, 20):
        assert Schedule.linear(steps).kept[-1] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="none that rise linearly end in noise"):
        Schedule.linear(1)


def test_means_and_deviations_are_those_of_the_gaussian_chain():
    """Against conditioning of the joint distribution of all x_t given x_0."""
    schedule, response = Schedule.linear(6), 2.5
    powers = np.sqrt(1 - schedule.variances)
    # x_t = sum over u <= t of sigma_u eta_u prod_{u < v <= t} sqrt(1 - sigma_v^2), plus a_t x_0.
    maps = np.array([[np.prod(powers[u + 1 : t + 1]) * (u <= t) for u in range(6)] for t in range(6)])
    maps = maps * np.sqrt(schedule.variances)
    covariance, mean = maps @ maps.T, schedule.kept * response
    noised = np.random.default_rng(0).normal(size=6)
    found = schedule.means(noised, np.array(response))
    assert found[0] == pytest.approx(response) and schedule.sampling_sd[0] == 0
    for t in range(1, 6):
        slope = covariance[t - 1, t] / covariance[t, t]
        assert found[t] == pytest.approx(mean[t - 1] + slope * (noised[t] - mean[t]))
        left = covariance[t - 1, t - 1] - slope * covariance[t - 1, t]
        assert schedule.sampling_sd[t] == pytest.approx(np.sqrt(left))
    # The form in which the publication has the mean.
    eps = (noised - schedule.kept * response) / schedule.noise
    assert found == pytest.approx((noised - schedule.variances / schedule.noise * eps) / powers)


def test_noised_responses_are_markov_chains():
    schedule, random = Schedule.linear(5), np.random.default_rng(1)
    chain = schedule.noised(np.full((20_000, 1), 2.0), random)[..., 0]
    assert chain.mean(1) == pytest.approx(schedule.kept * 2.0, abs=0.03)
    assert chain.std(1) == pytest.approx(schedule.noise, abs=0.02)
    expected = np.sqrt(1 - schedule.variances[1:]) * schedule.noise[:-1] ** 2
    together = [np.cov(chain[t], chain[t + 1])[0, 1] for t in range(4)]
    assert together == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("steps", [20, 40])
def test_sampling_with_the_best_steps_gives_the_distribution_back(steps):
    """For two modes the mean of x_0 given x_t is known; with it, the shares and the places of the modes come out.

    Not exactly: with steps of finite size, the larger mode gains about .01.
    """
    modes, shares, sd = np.array([2.5, -2.5]), np.array([0.7, 0.3]), 0.125
    schedule = Schedule.linear(steps)

    def step(noised: np.ndarray, t: int) -> np.ndarray:
        kept, noise = schedule.kept[t - 1], schedule.noise[t - 1]
        total = kept**2 * sd**2 + noise**2
        odds = shares * np.exp(-np.square(noised[:, None] - kept * modes) / (2 * total))
        within = modes + kept * sd**2 / total * (noised[:, None] - kept * modes)
        mean = (odds * within).sum(1) / odds.sum(1)
        of_noised, of_response = (part[t - 1] for part in schedule.weights)
        return of_noised * noised + of_response * mean

    sampled = schedule.sample(step, (20_000,), np.random.default_rng(2))
    first = sampled > 0
    assert first.mean() == pytest.approx(0.7, abs=0.02)
    assert [sampled[first].mean(), sampled[~first].mean()] == pytest.approx(modes, abs=0.05)


def test_swaps_by_distance_of_features():
    for width, expected in ((1.5, (0.417, 0.209, 0.039)), (0.5, (0.269, 0.018, 0.0001))):
        features = np.array([[0.0, 1.0], [0.0, -2.0], [-1.55, 1.55]])
        chosen = swaps.by_feature(features, np.zeros(3, dtype=int), width)
        assert chosen[:, 1] == pytest.approx(expected, abs=5e-4)
    # Distances are those on the circle; an offset multiplies the odds of the cued item.
    near = swaps.by_feature(np.array([[3.0, -3.0]]), np.array([1]), 1.5, np.log(2))
    distance = 2 * np.pi - 6
    assert near[0, 0] / near[0, 1] == pytest.approx(np.exp(-(distance**2) / 3) / 2)
    assert swaps.by_index(3, np.array([2]), 0.7)[0] == pytest.approx([0.15, 0.15, 0.7])


def planted(trials: int, items: int, weights: tuple[float, float, float], kappa: float, seed: int):
    """Trials whose responses are a mixture, drawn one by one."""
    random = np.random.default_rng(seed)
    angles = random.uniform(-np.pi, np.pi, (trials, items))
    cued = random.integers(items, size=trials)
    responses = np.empty(trials)
    for trial in range(trials):
        source = random.choice(3, p=weights)
        others = np.delete(angles[trial], cued[trial])
        about = angles[trial, cued[trial]] if source == 0 else random.choice(others) if source == 1 else 0.0
        responses[trial] = random.uniform(-np.pi, np.pi) if source == 2 else random.vonmises(about, kappa)
    return responses, angles, cued


@pytest.fixture(scope="module")
def three_items():
    return planted(2000, 3, (0.7, 0.2, 0.1), 12.0, 0)


def test_planted_mixtures_are_recovered(three_items):
    found = fit_mixture(*three_items, resamples=60)
    assert found.weights == pytest.approx({"cued": 0.7, "swapped": 0.2, "uniform": 0.1}, abs=0.02)
    assert found.concentration == pytest.approx(12, rel=0.1)
    for name, value in (*found.weights.items(), ("concentration", found.concentration)):
        low, high = found.intervals[name]
        assert low < value < high and high - low < (0.07 if name in found.weights else 4)
    # Without swaps these responses are much less likely.
    assert fit_mixture(*three_items, components=("cued", "uniform")).bic - found.bic > 100


def test_the_fit_is_that_of_a_general_optimiser(three_items):
    responses, items, cued = three_items
    rows = np.arange(len(cued))

    def loss(parameters: np.ndarray) -> float:
        odds = np.exp([0.0, *parameters[:2]])
        weights, kappa = odds / odds.sum(), np.exp(parameters[2])
        density = np.exp(kappa * np.cos(responses[:, None] - items)) / (2 * np.pi * i0(kappa))
        of_cued = density[rows, cued]
        of_others = (density.sum(1) - of_cued) / 2
        return -np.log(weights[0] * of_cued + weights[1] * of_others + weights[2] / (2 * np.pi)).sum()

    best = minimize(loss, [0.0, 0.0, 1.0], method="BFGS")
    odds = np.exp([0.0, *best.x[:2]])
    found = fit_mixture(*three_items)
    assert list(found.weights.values()) == pytest.approx(odds / odds.sum(), abs=2e-4)
    assert found.concentration == pytest.approx(np.exp(best.x[2]), rel=1e-3)
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-4)


def test_items_that_a_trial_lacks_do_not_count():
    responses, items, cued = planted(800, 2, (0.6, 0.3, 0.1), 10.0, 3)
    found = fit_mixture(responses, items, cued)
    padded = np.concatenate([np.full((800, 1), np.nan), items], 1)
    assert fit_mixture(responses, padded, cued + 1).weights == pytest.approx(found.weights)
    alone = fit_mixture(responses, items[np.arange(800), cued][:, None], np.zeros(800, dtype=int))
    assert alone.weights["swapped"] == 0 and alone.parameters == 2
    assert alone.weights["uniform"] == pytest.approx(0.4, abs=0.06)


def test_trials_with_one_item_have_no_swaps():
    """In these, planted weights are those of the other two components over their sum; against another optimiser."""
    several, alone = planted(1500, 3, (0.6, 0.3, 0.1), 10.0, 5), planted(1500, 1, (6 / 7, 0, 1 / 7), 10.0, 6)
    padded = np.full((1500, 3), np.nan)
    padded[:, :1] = alone[1]
    responses, items, cued = map(np.concatenate, zip(several, (alone[0], padded, alone[2]), strict=True))
    rows = np.arange(3000)

    def loss(parameters: np.ndarray) -> float:
        odds = np.exp([0.0, *parameters[:2]])
        weights, kappa = odds / odds.sum(), np.exp(parameters[2])
        density = np.nan_to_num(np.exp(kappa * np.cos(responses[:, None] - items)) / (2 * np.pi * i0(kappa)))
        of_cued = density[rows, cued]
        of_others = (density.sum(1) - of_cued) / 2
        found = weights[0] * of_cued + weights[1] * of_others + weights[2] / (2 * np.pi)
        return -np.log(found / np.where(rows < 1500, 1, 1 - weights[1])).sum()

    best = minimize(loss, [0.0, 0.0, 1.0], method="BFGS")
    odds = np.exp([0.0, *best.x[:2]])
    found = fit_mixture(responses, items, cued, resamples=20)
    assert list(found.weights.values()) == pytest.approx(odds / odds.sum(), abs=2e-4)
    assert found.concentration == pytest.approx(np.exp(best.x[2]), rel=1e-3)
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-4)
    assert found.weights == pytest.approx({"cued": 0.6, "swapped": 0.3, "uniform": 0.1}, abs=0.03)
    for name, value in found.weights.items():
        assert found.intervals[name][0] < value < found.intervals[name][1]


def test_responses_that_are_all_exact():
    items = np.random.default_rng(0).uniform(-3, 3, (50, 2))
    found = fit_mixture(items[:, 0], items, np.zeros(50, dtype=int))
    assert found.weights["cued"] == pytest.approx(1) and found.sd < 0.01 and np.isfinite(found.log_likelihood)


def test_responsibilities_name_the_swaps(three_items):
    responses, items, cued = three_items
    shares = responsibilities(fit_mixture(*three_items), *three_items)
    assert shares.sum(1) == pytest.approx(np.ones(2000))
    nearest = np.abs(swaps.wrapped(responses[:, None] - items)).argmin(1)
    sure = shares[:, :2].max(1) > 0.9
    assert sure.mean() > 0.5
    assert ((shares[sure, 1] > 0.9) == (nearest[sure] != cued[sure])).all()


def table(path, rows, header="response,cue,item_1,item_2,subject"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def test_the_command_fits_a_table(tmp_path, capsys):
    responses, items, cued = planted(2000, 2, (0.7, 0.2, 0.1), 12.0, 4)
    rows = [
        f"{np.degrees(r):.3f},{c + 1},{np.degrees(a):.3f},{np.degrees(b):.3f},s"
        for r, (a, b), c in zip(responses, items, cued, strict=True)
    ]
    path = table(tmp_path / "responses.csv", rows)
    assert main(["errors", path, "--degrees", "--resamples", "20"]) == 0
    printed = capsys.readouterr().out
    assert f"{path}: 2000 trials, up to 2 items" in printed
    for name, expected in (("cued", 0.7), ("swapped", 0.2), ("uniform", 0.1)):
        value, low, high = map(float, re.search(rf"weight, {name} +(\S+)  \((\S+) to (\S+)\)", printed).groups())
        assert low <= value <= high and value == pytest.approx(expected, abs=0.02)
    assert float(re.search(r"BIC without swaps minus with +(\S+)", printed)[1]) > 100
    in_rad = table(tmp_path / "rad.csv", ["0.1,1,0.2,2", "-1,2,1.5,-1.1"] * 5)
    assert main(["errors", in_rad, "--degrees", "--resamples", "0"]) == 0
    assert "leave out --degrees if they are in rad" in capsys.readouterr().err
    # Angles that are not in rad are not taken for such.
    assert main(["errors", path]) == 1
    assert "is more than one turn; give --degrees" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], "response,cue,item_1", "has no row"),
        (["1,1"], "response,cue", "has no column item_1"),
        (["1,1,0,0"], "response,cue,item_1,item_3", "without gaps"),
        (["1,1,0,2", "x,1,0,1"], "response,cue,item_1,item_2", "line 3, response = 'x': must be a number"),
        (["nan,1,0,2"], "response,cue,item_1,item_2", "line 2, response = 'nan': must be finite"),
        (["1,0,0,2"], "response,cue,item_1,item_2", "line 2, cue = '0': must be the number of an item, 1 to 2"),
        (["1,2,0,"], "response,cue,item_1,item_2", "line 2: item_2 is cued, but has no angle"),
        (["1,1"], "response,cue,item_1", "line 2: item_1 is cued, but has no angle"),
        # Decimal commas.
        (["0,31,1,0,25"], "response,cue,item_1", "line 2: has more cells than the header has columns"),
        (["1,2,1,0"], "response,response,cue,item_1", "has more than one column response"),
        (["1;2;1;0"], "response;cue;item_1;item_2", "item_2 (columns are separated by commas)"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, rows, header, message):
    with pytest.raises(ResponseTableError, match=re.escape(message)):
        read_responses(table(tmp_path / "t.csv", rows, header))
    spaces = read_responses(table(tmp_path / "spaces.csv", ["1, 2, 0, 1"], "response, cue, item_1, item_2"))
    assert spaces.cued == 1 and spaces.items.tolist() == [[0, 1]]
    with pytest.raises(ResponseTableError, match="there is no such file"):
        read_responses(tmp_path / "none.csv")
