"""Networks at equilibrium against NumPy, spiking networks of their weights, their analysis, claims and study."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import config_of

from insd import plugins
from insd.activity import record_activity, simulate_trials
from insd.analysis.base import Job
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, judged, publications
from insd.datasets import validate
from insd.dynamics.equilibria import fixed_points, spiking_rates
from insd.evaluation.perturbations import robustness
from insd.grid import Grid
from insd.members import Member
from insd.networks.base import initialise, load_networks, simulated_as
from insd.networks.engine.equilibrium import EquilibriumError, equilibrium
from insd.networks.settings.base import network_settings
from insd.objectives.base import join_earlier
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe, Training
from insd.tasks.parity import Parity
from insd.training import train_round

TASK = Parity(duration=0.1, reaction=0.04, regimes={})
ANALYSIS = plugins.find("analysis", "equilibria")
V = 2.0


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 128, 1), trials("test", 16, 2)


def network_of(architecture, number=0, earlier=None, iterations=80):
    recipe = Recipe(
        network={"architecture": architecture, "units": 12},
        training=Training(
            iterations=iterations, batch_size=32, evaluate_every=40, validation_trials=32, restarts=0, step_size=1e-2
        ),
    )
    joined = join_earlier(recipe.terms, [earlier], BANK, ["file"]) if earlier is not None else None
    network, history = train_round(TASK, BANK, recipe, [("t", "p", 0, number)], joined)
    network.attrs["settings"] = "{}"
    return network, history, record_activity(network, TASK, BANK, TEST, recipe.terms)


@pytest.fixture(scope="module")
def chain():
    """A reference and an alternative."""
    reference = network_of("implicit")
    return [reference, network_of("implicit", 1, reference[2])]


def random_map(seed, units=20):
    """W with a spectral norm of 1, and the currents of 16 samples."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((units, units))
    return weights / np.linalg.norm(weights, 2), random.uniform(-0.5, 2.5, (16, units))


def settled(weights, drive):
    rates = np.zeros(drive.shape)
    for _ in range(200):
        rates = np.clip((rates @ weights.T + drive) / V, 0, 1)
    return rates


def test_rates_are_the_equilibrium_whatever_came_before_and_wherever_the_search_starts():
    settings = network_settings({"architecture": "implicit", "units": 20})
    networks = initialise(settings, 3, 2, 0.2, [torch.Generator().manual_seed(seed) for seed in range(2)]).double()
    inputs = 2 * torch.randn(2, 7, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        rates = networks(inputs)
        for one in range(2):
            weights, into, bias = (
                getattr(networks, name)[one].numpy() for name in ("recurrent_weights", "input_weights", "bias")
            )
            expected = settled(weights, inputs[one].numpy() @ into.T + bias)
            assert 0.02 < (expected == 0).mean() < 0.4 and 0.02 < (expected == 1).mean() < 0.4
            np.testing.assert_allclose(rates[one], expected, atol=1e-13)
        networks.initial_state.uniform_(-1, 2)
        torch.testing.assert_close(networks(inputs.flip(1)).flip(1), rates, atol=1e-13, rtol=0)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.7, -4.0])
def test_recurrent_weights_have_the_spectral_norm_of_their_clamped_scale(scale):
    settings = network_settings({"architecture": "implicit", "units": 30})
    networks = initialise(settings, 3, 2, 0.2, [torch.Generator().manual_seed(0)]).double()
    networks.recurrent_scale.data.fill_(scale)
    free, weights = (one.detach().numpy()[0] for one in (networks.free_weights, networks.recurrent_weights))
    clamped = float(np.clip(scale, -1, 1))
    np.testing.assert_allclose(weights, clamped * free / np.linalg.svd(free)[1][0], rtol=1e-12)
    assert np.linalg.svd(weights)[1][0] == pytest.approx(abs(clamped), rel=1e-12)


def test_the_gradient_is_that_of_the_equilibrium():
    """Against central differences, and against the exact solution for each sample."""
    pairs = [random_map(seed, 6) for seed in range(2)]
    weights, drive = (torch.from_numpy(np.stack(part)).requires_grad_() for part in zip(*pairs, strict=True))
    start = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda *given: equilibrium(*given, V), (weights, drive, start), eps=1e-6, atol=1e-6)

    rates = equilibrium(weights, drive, start, V)
    gradient = torch.randn_like(rates)
    found = torch.autograd.grad(rates, (weights, drive), gradient)
    for network in range(2):
        own, shown = (one.detach().numpy()[network] for one in (weights, rates))
        slopes = ((shown > 0) & (shown < 1)) / V
        exact = np.linalg.solve(np.eye(6) - slopes[:, None] * own.T[None], gradient[network].numpy()[..., None])[..., 0]
        np.testing.assert_allclose(found[1][network], exact * slopes, atol=1e-12)
        np.testing.assert_allclose(found[0][network], (exact * slopes).T @ shown, atol=1e-12)


def test_rates_that_do_not_settle_are_refused():
    """a = clip(1 - 2 a, 0, 1) has the fixed point 1/3, around which rates jump between 0 and 1."""
    with pytest.raises(EquilibriumError, match=r"the largest singular value of the recurrent weights is 4, and one be"):
        equilibrium(-4 * torch.eye(2)[None], torch.full((1, 1, 2), V), torch.zeros(1, 2), V)


def test_one_unit_spikes_as_often_as_its_current_fills_it():
    """Without a leak floor(T h / V) times in T steps; with one, by a loop over all spikes."""
    drive, steps = np.array([[0.3], [0.77], [1.9]]), (1, 7, 50)
    found = spiking_rates(np.zeros((1, 1)), drive, V, steps)
    np.testing.assert_allclose(found[..., 0], [np.floor(count * drive[:, 0] / V) / count for count in steps])
    for sample, current in enumerate(drive[:, 0]):
        potential, spikes = 0.0, []
        for _ in range(50):
            potential += current
            spikes.append(float(potential >= V))
            potential = 0.9 * (potential - V * spikes[-1])
        weights = 0.9 ** np.arange(49, -1, -1)
        leaky = spiking_rates(np.zeros((1, 1)), drive, V, [50], 0.9)[0, sample, 0]
        assert leaky == pytest.approx(weights @ spikes / weights.sum())


def test_rates_of_spikes_come_to_the_equilibrium_as_1_over_t_and_leaky_ones_do_not():
    steps = [30, 100, 1000]
    errors, leaky = [], []
    for seed in range(5):
        weights, drive = random_map(seed)
        exact = settled(weights, drive)
        for found, leak in ((errors, 1.0), (leaky, 0.95)):
            found.append(np.abs(spiking_rates(weights, drive, V, steps, leak) - exact).mean((1, 2)))
    errors, leaky = np.mean(errors, 0), np.mean(leaky, 0)
    # Anchors of 20 units: .020, .0045 and .0005.
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(-1, abs=0.1)
    np.testing.assert_allclose(errors * np.array(steps), 0.5, rtol=0.4)
    assert leaky[2] > 0.7 * leaky[1] and 0.01 < leaky[2] < 0.05


def test_fixed_points_are_counted():
    """One where the map contracts; of units that excite themselves, 0, 1/2 (unstable) or 1 each."""
    starts = np.random.default_rng(0).uniform(size=(512, 20))
    for seed in range(3):
        weights, drive = random_map(seed)
        points, lost = fixed_points(weights, drive[0], V, starts)
        assert len(points) == 1 and lost == 0
        np.testing.assert_allclose(points[0], settled(weights, drive[:1])[0], atol=1e-9)
    points, lost = fixed_points(4 * np.eye(3), -np.ones(3), V, starts[:, :3])
    assert lost == 0
    assert sorted(map(tuple, points.round(9))) == [
        (a, b, c) for a in (0, 0.5, 1) for b in (0, 0.5, 1) for c in (0, 0.5, 1)
    ]


def test_a_chain_is_trained_and_its_files_run_by_their_weights(chain):
    for network, history, activity in chain:
        losses = history["held_out_loss"].isel(attempt=0, seed=0).dropna("iteration")
        assert float(losses[-1]) < 0.8 * float(losses[0])
        assert np.linalg.norm(network["recurrent_weights"].values[0], 2) <= 1 + 1e-6
        np.testing.assert_allclose(simulate_trials(network, TEST)[0], activity["rates"], atol=1e-6)
    assert chain[1][1]["held_out_penalty"].isel(earlier=0).notnull().any()
    # Silenced units: the weights of the others stay as they are, of whatever norm.
    network = chain[0][0].copy(deep=True)
    network["recurrent_weights"][..., :6] = 0.0
    loaded = load_networks([network], 0.02)
    assert type(loaded) is simulated_as(network) and loaded.architecture == "implicit"
    assert loaded.recurrent_names() == ("recurrent_weights",) and loaded.noise_scale == 0
    np.testing.assert_array_equal(loaded.recurrent_weights.detach(), network["recurrent_weights"])


def test_the_analysis_has_the_networks_with_equilibria(chain):
    networks = [("a", 0, "reference", chain[0][0]), ("a", 1, "alternative", chain[1][0])]
    networks.append(("b", 0, "standard", network_of("rate", iterations=0)[0]))
    members = [Member.of_datasets(*one, xr.Dataset())[0] for one in networks]
    own = ANALYSIS.settings(steps=[20, 200], trials=8)
    parts = [ANALYSIS.run(Job("t", TASK, [one], own, {"test": TEST}))["equilibria"] for one in members]
    result = ANALYSIS.join(parts)
    validate(result, ANALYSIS.writes["equilibria"], "equilibria.nc")
    assert result["network"].values.tolist() == ["a/0/0", "a/0/1"]
    assert (result["n_equilibria"] == 1).all() and result.sizes["condition"] == 4 and (result["share_lost"] == 0).all()
    assert (result["contraction"] <= 0.5 + 1e-6).all()
    assert (result["if_error"].sel(step=200) < 0.25 * result["if_error"].sel(step=20)).all()
    assert (result["lif_error"].sel(step=200) > 2 * result["if_error"].sel(step=200)).all()
    table = ANALYSIS.columns(result, pd.DataFrame(index=["b/0/0", "a/0/1"]))
    assert list(table) == list(ANALYSIS.dictionary) and table["n_equilibria"].isna().tolist() == [True, False]
    assert table.loc["a/0/1", "if_error"] == float(result["if_error"][1, 1])
    # A grid may have none.
    assert ANALYSIS.run(Job("t", TASK, members[2:], own, {"test": TEST}))["equilibria"].sizes["network"] == 0


def test_robustness_says_at_which_jitter_rates_no_longer_settle(chain):
    (member,) = Member.of_datasets("a", 0, "reference", chain[0][0], xr.Dataset())
    levels = {key: [0.0] for key in ("noise_levels", "silenced_shares", "kick_levels")} | {"draws": 2}
    with pytest.raises(EquilibriumError, match=r"^parity/a/0/0: with weights jittered by 40 of .*jitter_levels$"):
        robustness(TASK, "parity", [member], TEST, jitter_levels=[0.05, 40.0], **levels)


def grid(errors, counts, r2):
    """Five standards and four alternatives: errors after 100 and 1,000 steps, equilibria, and r2 to the reference."""
    roles = ["standard"] * 5 + ["alternative"] * 4
    table = pd.DataFrame(
        {
            "task": "parity",
            "population": ["s"] * 5 + ["c"] * 4,
            "seed": [*range(5), *range(4)],
            "round": [0] * 5 + [1] * 4,
            "role": roles,
            "solved": True,
            "reference": "c",
            "standards": "s",
            "n_equilibria": counts,
            "r2_null_to_reference": [np.nan] * 5 + r2,
        }
    )
    labels = [f"{one.population}/{one.seed}/{one.round}" for one in table.itertuples()]
    table["chain"] = labels
    steps = np.repeat([errors], len(labels), 0)
    equilibria = xr.Dataset(
        {"if_error": (("network", "step"), steps), "lif_error": (("network", "step"), steps)},
        {"network": labels, "step": [100, 1000]},
    )
    null = np.full((1, 9, 9), 0.9)
    predictivity = xr.Dataset(
        {"r2": (("space", "predictor", "target"), null)}, {"space": ["null"], "predictor": labels, "target": labels}
    )
    return table, {"equilibria": {"parity": equilibria}, "predictivity": {"parity": predictivity}}


@pytest.mark.parametrize(
    "errors, counts, r2, verdicts",
    [
        ((0.01, 0.001), [1] * 9, [0.1] * 4, (REPRODUCED, REPRODUCED, NOT, REPRODUCED, REPRODUCED)),
        ((0.1, 0.06), [1] * 8 + [2], [0.1] * 4, (NOT, NOT, REPRODUCED, NOT, PARTLY)),
        ((0.1, 0.06), [1] * 9, [0.95] * 4, (NOT, NOT, REPRODUCED, REPRODUCED, NOT)),
        ((0.1, 0.06), [np.nan] * 9, [0.95] * 4, (NO_ANSWER,) * 5),
    ],
)
def test_verdicts(errors, counts, r2, verdicts):
    table, analyses = grid(errors, counts, r2)
    found = judged(publications(["xiao_2021"]), table, analyses, {}, 0.95, 99)
    assert tuple(found["verdict"]) == verdicts, found[["id", "number", "verdict"]].to_string()
    without = judged(publications(["xiao_2021"]), table, {name: {} for name in analyses}, {}, 0.95, 99)
    assert set(without["verdict"][[0, 1, 2, 4]]) == {NO_ANSWER}
    fewer = analyses | {"equilibria": {"parity": analyses["equilibria"]["parity"].assign_coords(step=[10, 100])}}
    found = judged(publications(["xiao_2021"]), table, fewer, {}, 0.95, 99)["number"][0]
    few = "no errors after 100 and 1000 steps: add them to `analysis.equilibria.steps`"
    assert found == few or np.isnan(counts).all()


def test_the_study_asks_for_equilibria_and_the_default_grid_does_not():
    default, study = Grid(load(config_of())), Grid(load(config_of("classes")))
    assert not default.analysis_tasks("equilibria") and "parity" in study.analysis_tasks("equilibria")


@pytest.mark.parametrize(
    "network, message",
    [
        ({"threshold": 1.0}, r"network.threshold = 1.0: input should be greater than or equal to 1.1"),
        ({"gain": 1.5}, r"network.gain = 1.5: input should be less than or equal to 1"),
        ({}, r"populations.p.role: required for networks of architecture 'implicit'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(network, message):
    entry = {"seeds": 1, "network": {"architecture": "implicit", **network}}
    if network:
        entry["role"] = "standard"
    with pytest.raises(SettingsError, match=message):
        load({"tasks": {"parity": {}}, "populations": {"p": entry}})
