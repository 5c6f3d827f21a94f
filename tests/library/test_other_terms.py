"""Terms other than predictivity: each has the value of an independent formula, and the gradient of its differences."""

import numpy as np
import pytest
import torch
import xarray as xr

from insd import plugins
from insd.activity import record_activity, simulate_trials
from insd.dynamics.settings import DynamicalSimilarity
from insd.measures.base import Activity
from insd.networks.base import Additive, initialise, load_networks
from insd.networks.settings.base import network_settings
from insd.objectives.adjoint_norm import AdjointNorm
from insd.objectives.base import Stored, TermError, join_earlier
from insd.objectives.dsa import eigenvalues
from insd.objectives.nuclear_norm import nuclear_norm
from insd.objectives.objective import Objective
from insd.objectives.settings.adjoint_norm import AdjointNormSettings
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.checks import NOT_ADDITIVE
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.6)
UNITS = 12


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 40, 1), trials("test", 8, 2)


def file_of(seeds):
    """A `network.nc` of random networks that vary in many directions."""
    settings = network_settings({"units": UNITS, "gain": 1.8})
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    made = initialise(settings, BANK.sizes["input"], BANK.sizes["output"], BANK.attrs["dt"] / settings.tau, streams)
    return xr.Dataset(
        {name: (along, made.weights()[name].numpy()) for name, along in made.dimensions.items()},
        coords={"seed": range(len(seeds))},
        attrs={"dt": BANK.attrs["dt"], "tau": settings.tau, **made.attributes()},
    )


NETWORK, EARLIER = file_of([0, 1]), [file_of([10, 11]), file_of([20, 21])]


def rates_of(network):
    """Noise-free rates of a file on the bank, (seed, trial, time, unit)."""
    return simulate_trials(network, BANK)[0].numpy()


def ended():
    """Until when trials last, (seed, time, trial): every other one ends after two thirds of the steps."""
    valid = torch.ones(2, BANK.sizes["time"], BANK.sizes["trial"])
    valid[:, 2 * BANK.sizes["time"] // 3 :, ::2] = 0
    return valid


def at_work(name, chosen=None, valid=None, **settings):
    """A term, and its value for `NETWORK` on some trials of the bank in double precision, with the rates."""
    found = plugins.find("term", name)
    term = found(found.Settings(**settings))
    stored = Stored()
    if term.variables:
        kept = [term.stores(network, BANK).assign_attrs(bank_fingerprint=BANK.fingerprint) for network in EARLIER]
        stored = join_earlier({name: term.settings}, kept, BANK, ["a", "b"])[name]
    networks = load_networks([NETWORK], BANK.attrs["dt"]).double()
    chosen = torch.arange(BANK.sizes["trial"]).expand(2, -1) if chosen is None else chosen
    inputs = torch.from_numpy(BANK["inputs"].values).double()[chosen].transpose(1, 2)
    rates = networks(inputs)[:, :: stored.every].detach().requires_grad_()
    return networks, rates, lambda: term.value(rates, networks, stored, chosen, valid)


def trained(**terms):
    """The histories of the two rounds of a short chain with these terms."""
    training = {"iterations": 30, "batch_size": 8, "evaluate_every": 10, "validation_trials": 16, "restarts": 0}
    chosen = Recipe(network={"units": UNITS}, training=training | {"step_size": 1e-2}, terms=terms)
    reference, first = train_round(TASK, BANK, chosen, [("flip_flop", "p", 0, 0)])
    activity = record_activity(reference, TASK, BANK, TEST, chosen.terms)
    earlier = join_earlier(chosen.terms, [activity], BANK, ["a.nc"])
    return first, train_round(TASK, BANK, chosen, [("flip_flop", "p", 0, 1)], earlier)[1]


AT_ONCE = {"schedule": "constant", "task_only": 0.0, "ramp": 0.0}


def test_cka_is_the_measure():
    networks, _, value = at_work("cka", variance_kept=1 - 1e-9)
    measure = plugins.find("measure", "cka")()
    prepared = [[measure.prepare(Activity(one)) for one in rates_of(network)] for network in (NETWORK, *EARLIER)]
    expected = [[measure.compare(prepared[0][seed], other[seed]) for other in prepared[1:]] for seed in (0, 1)]
    np.testing.assert_allclose(value().detach(), expected, atol=1e-4)
    # A network is like itself.
    found = plugins.find("term", "cka")(plugins.find("term", "cka").Settings(variance_kept=1 - 1e-9))
    kept = found.stores(NETWORK, BANK).assign_attrs(bank_fingerprint=BANK.fingerprint)
    stored = found.join([kept], BANK, ["a"])
    chosen = torch.arange(BANK.sizes["trial"]).expand(2, -1)
    own = torch.from_numpy(rates_of(NETWORK)).transpose(1, 2)[:, ::2]
    torch.testing.assert_close(found.value(own, networks, stored, chosen, None), torch.ones(2, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["cka", "dsa", "predictivity"])
def test_a_network_whose_activity_does_not_vary_is_named(name):
    dead = NETWORK.copy(deep=True)
    for weight in set(dead.data_vars) - {"output_weights"}:
        dead[weight][1] = 0.0
    found = plugins.find("term", name)(plugins.find("term", name).Settings())
    with pytest.raises(TermError, match=rf"terms\.{name}: the .*activity of the network of seed 1 does not vary"):
        found.stores(dead, BANK)


def test_delays_that_trials_are_too_short_for_are_named():
    found = plugins.find("term", "dsa")
    steps = BANK.sizes["time"]
    with pytest.raises(
        TermError, match=rf"terms\.dsa\.delays: {steps} delays need trials of more than {steps} time steps"
    ):
        found(found.Settings(delays=steps)).stores(NETWORK, BANK)


def test_cka_is_lowered_and_recorded():
    ends = {}
    for multiplier in (1e-6, 3.0):
        first, second = trained(predictivity={}, cka=AT_ONCE | {"multiplier": multiplier})
        assert not [name for name in map(str, first) if "penalty" in name]
        assert second["held_out_penalty_cka"].dims == ("attempt", "seed", "iteration", "earlier")
        ends[multiplier] = float(second["held_out_penalty_cka"][0, 0, -1, 0])
    assert ends[3.0] < ends[1e-6] - 0.1


def test_distances_of_spectra_are_the_measure():
    settings = {"delays": 3, "rank": 6}
    measure = plugins.find("measure", "dsa_spectrum")(DynamicalSimilarity(**settings))
    earlier = [[measure.prepare(Activity(one)) for one in rates_of(network)] for network in EARLIER]
    for valid in (None, ended()):
        _, rates, value = at_work("dsa", valid=valid, trials=BANK.sizes["trial"], distance=0.5, **settings)
        own = rates.detach().numpy().copy()
        if valid is not None:
            own[valid.numpy() == 0] = np.nan
        prepared = [measure.prepare(Activity(one.swapaxes(0, 1))) for one in own]
        expected = [[measure.compare(prepared[seed], other[seed]) for other in earlier] for seed in (0, 1)]
        np.testing.assert_allclose(0.5 * (1 - value().detach()), expected, atol=1e-5)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_network_that_diverged_has_no_distance_and_its_neighbour_keeps_its_own(broken):
    _, rates, value = at_work("dsa")
    alone = value().detach()
    rates.data[1, 5:, 0] = broken
    found = value()
    assert torch.isnan(found[1]).all()
    torch.testing.assert_close(found[0].detach(), alone[0], rtol=0, atol=0)
    assert torch.isfinite(torch.autograd.grad(found[0].sum(), rates)[0][0]).all()


def test_the_gradient_of_eigenvalues_of_low_rank_activity():
    """Of fewer directions than the rank, of two axes with the same variance, and of padded trials."""
    turns = torch.arange(24, dtype=torch.float64)[:, None] * 0.4 + torch.arange(5) * 1.3
    plane = torch.stack([turns.cos(), turns.sin()], -1)
    random = torch.randn(24, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 24, 5)
    valid[:, 15:, 2] = 0
    for rates, rank, lasts in ((plane, 6, None), (torch.cat([plane, 0.3 * random], -1), 2, valid)):
        given = rates[None].clone().requires_grad_()
        found = eigenvalues(given, 2, rank, lasts)
        assert found.shape == (1, rank)
        # Numerical differences of rates in absent directions would make them present.
        direction = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        step = torch.cat([plane @ direction, 0 * rates[..., 2:]], -1)[None] if rank == 6 else torch.randn_like(given)
        (gradient,) = torch.autograd.grad(found.abs().square().sum(), given)
        moved = [eigenvalues(given.detach() + sign * 1e-6 * step, 2, rank, lasts) for sign in (1, -1)]
        ends = [float(one.abs().square().sum()) for one in moved]
        assert float((gradient * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6, rel=1e-4)


def test_decorrelation_is_the_mean_squared_correlation():
    for valid in (None, ended()):
        _, rates, value = at_work("decorrelation", valid=valid)
        expected = []
        for seed, own in enumerate(rates.detach().numpy()):
            samples = own.reshape(-1, UNITS) if valid is None else own[valid[seed].numpy() == 1]
            pairs = [
                np.corrcoef(samples[:, one], samples[:, other])[0, 1] ** 2
                for one in range(UNITS)
                for other in range(UNITS)
                if one != other
            ]
            expected.append([np.mean(pairs)])
        np.testing.assert_allclose(value().detach(), expected, rtol=1e-4)
    # A silent unit is correlated with none.
    rates.data[..., 3] = 0
    assert torch.isfinite(value()).all() and torch.isfinite(torch.autograd.grad(value().sum(), rates)[0]).all()


def test_costs_are_those_of_arrays():
    chosen = torch.stack([torch.arange(10), torch.arange(10, 20)])
    weighed = {"weights": 2.0, "activity": 3.0, "adjoint_norm": 0.5}
    valid = ended()[..., :10]
    for given in ({"weights": 2.0}, {"activity": 3.0}, {"adjoint_norm": 0.5}, weighed):
        own = dict.fromkeys(weighed, 0.0) | given
        networks, rates, value = at_work("costs", chosen, valid, trials=4, **own)
        noise = AdjointNorm(AdjointNormSettings(trials=4)).value(rates, networks, Stored(), chosen, valid)
        squares = rates.detach().numpy() ** 2
        means = [[squares[seed][valid[seed].numpy() == 1].mean()] for seed in (0, 1)]
        weights = np.square(NETWORK["recurrent_weights"].values).sum((1, 2))[:, None] / UNITS
        expected = own["weights"] * weights + own["activity"] * np.array(means)
        expected += own["adjoint_norm"] * noise.detach().numpy()
        np.testing.assert_allclose(value().detach(), expected, rtol=1e-5)
    (found,) = torch.autograd.grad(value().sum(), networks.recurrent_weights)
    (of_noise,) = torch.autograd.grad(0.5 * noise.sum(), networks.recurrent_weights)
    torch.testing.assert_close(found, 4 * networks.recurrent_weights.detach() / UNITS + of_noise, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name, own", [("costs", {"activity": 0.0}), ("nuclear_norm", {}), ("l1_norm", {})])
def test_penalties_on_weights_count_every_gate(name, own):
    settings = network_settings({"architecture": "gru", "units": UNITS})
    made = initialise(settings, 1, 1, 0.2, [torch.Generator().manual_seed(seed) for seed in (0, 1)])
    weights = made.recurrent_weights.detach().numpy()
    norms = {
        "costs": np.square(weights).sum((1, 2, 3)) / UNITS,
        "nuclear_norm": np.linalg.svd(weights, compute_uv=False).sum((1, 2)) / UNITS,
        "l1_norm": np.abs(weights).sum((1, 2, 3)) / UNITS**1.5,
    }
    term, chosen = plugins.find("term", name), torch.zeros(2, 3, dtype=torch.int64)
    value = term(term.Settings(**own)).value(torch.zeros(2, 4, 3, UNITS), made, Stored(), chosen, None)
    np.testing.assert_allclose(value.detach()[:, 0], norms[name], rtol=1e-5)


def test_costs_of_weights_in_factors_are_those_of_their_product():
    settings = network_settings({"architecture": "low_rank", "units": UNITS, "rank": 2})
    made = initialise(settings, 1, 1, 0.2, [torch.Generator().manual_seed(0)])
    term = plugins.find("term", "costs")
    rates = torch.zeros(1, 3, 2, UNITS)
    value = term(term.Settings()).value(rates, made, Stored(), torch.zeros(1, 2, dtype=torch.int64), None)
    torch.testing.assert_close(value[0, 0], made.recurrent_weights.square().sum() / UNITS)


@pytest.mark.parametrize("name", ["nuclear_norm", "l1_norm"])
def test_norms_of_recurrent_weights_are_per_unit(name):
    networks, _, value = at_work(name)
    matrices = networks.recurrent_weights.detach().numpy()
    expected = {
        "nuclear_norm": [np.linalg.norm(one, "nuc") / UNITS for one in matrices],
        "l1_norm": [np.abs(one).sum() / UNITS**1.5 for one in matrices],
    }[name]
    np.testing.assert_allclose(value().detach()[:, 0], expected)
    # The same at any width before training: means of the quarter-circle law and of sizes of normal numbers.
    limit = {"nuclear_norm": 8 / (3 * np.pi), "l1_norm": np.sqrt(2 / np.pi)}[name]
    term = plugins.find("term", name)(plugins.find("term", name).Settings())
    for units in (32, 256):
        wide = initialise(
            network_settings({"units": units, "gain": 1.5}), 1, 1, 0.2, [torch.Generator().manual_seed(0)]
        )
        found = term.value(torch.zeros(1, 1, 1, units), wide, Stored(), torch.zeros(1, 1, dtype=torch.int64), None)
        assert float(found.detach()) == pytest.approx(1.5 * limit, rel=0.05)


def test_the_nuclear_norm_has_a_gradient_at_equal_and_small_singular_values():
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.standard_normal((6, 6)))[0] for _ in range(2))

    def gradient(values):
        matrix = torch.from_numpy((left * values) @ right.T).requires_grad_()
        return torch.autograd.grad(nuclear_norm(matrix), matrix)[0].numpy()

    for values in ([2.0] * 6, [3.0, 1.0, 1.0, 1.0, 1e-3, 1e-6]):
        np.testing.assert_allclose(gradient(np.array(values)), left @ right.T, atol=1e-8)
    # Of rank 3: the shortest subgradient has no part in the null spaces.
    np.testing.assert_allclose(gradient(np.array([2.0, 2, 1, 0, 0, 0])), left[:, :3] @ right[:, :3].T, atol=1e-12)
    assert not gradient(np.zeros(6)).any()
    # A step against it lowers all singular values alike, down to 0.
    singular = (left * [2.0, 2, 1, 0, 0, 0]) @ right.T
    after = np.linalg.svd(singular - 0.5 * gradient(np.array([2.0, 2, 1, 0, 0, 0])), compute_uv=False)
    np.testing.assert_allclose(after, [1.5, 1.5, 0.5, 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize("name", ["nuclear_norm", "l1_norm"])
def test_norms_act_in_a_standard_of_one_round(name):
    ends = {}
    for multiplier in (1e-6, 1.0):
        population = {"seeds": 1, "role": "standard", "terms": {name: AT_ONCE | {"multiplier": multiplier}}}
        training = {"iterations": 60, "batch_size": 8, "evaluate_every": 20, "validation_trials": 16, "restarts": 0}
        population |= {"network": {"units": UNITS}, "training": training}
        settings = load({"tasks": {"flip_flop": {}}, "populations": {"p": population}})
        assert settings.role("flip_flop", "p", 0) == "standard"
        _, history = train_round(TASK, BANK, settings.recipe("flip_flop", "p", 0), [("flip_flop", "p", 0, 0)])
        ends[multiplier] = float(history[f"held_out_penalty_{name}"].squeeze()[-1])
    assert ends[1.0] < ends[1e-6] - 0.05


@pytest.mark.parametrize(
    "name, settings",
    [
        ("dsa", {"delays": 2, "rank": 6}),
        ("decorrelation", {}),
        ("costs", {"adjoint_norm": 0.1}),
        ("multiplicative", {}),
    ],
)
def test_a_chain_lowers_what_it_records(name, settings):
    ends = {}
    compares = plugins.find("term", name).Settings().compares
    for multiplier in (1e-6, 3.0):
        first, second = trained(**{name: AT_ONCE | settings | {"multiplier": multiplier}})
        recorded = "held_out_penalty" if compares else f"held_out_penalty_{name}"
        assert (recorded in first) != compares
        ends[multiplier] = float(second[recorded].squeeze()[-1])
    assert ends[3.0] < ends[1e-6] - 0.02


def test_costs_that_are_all_free_are_refused():
    population = {"seeds": 1, "terms": {"costs": {"weights": 0.0, "activity": 0.0}}, "role": "control"}
    with pytest.raises(SettingsError, match=r"terms\.costs: weights, activity and adjoint_norm are all 0; leave out"):
        load({"tasks": {"flip_flop": {}}, "populations": {"p": population}})


@pytest.mark.parametrize("name, key, own", [("dsa", "rank", 5), ("dsa", "delays", 3), ("cka", "time_stride", 4)])
def test_what_is_kept_of_earlier_networks_otherwise_is_not_compared(name, key, own):
    """Five eigenvalues would find partners among ten, or those of other embeddings, and nothing would show it."""
    terms = {"predictivity": None, name: {key: own}}
    chain = {"seeds": 1, "rounds": 2, "reference": "anchor", "terms": terms}
    kept = plugins.find("term", name).Settings().model_dump()[key]
    message = (
        rf"terms\.{name}\.{key} = {own}, and {kept} in the networks of 'anchor' that it is compared with; give both"
    )
    for given, refused in (({}, True), ({key: own}, False)):
        anchor = {"seeds": 1, "network": {"gain": 1.0}, "terms": {name: given}}
        config = {"tasks": {"flip_flop": {}}, "populations": {"anchor": anchor, "p": chain}}
        if refused:
            with pytest.raises(SettingsError, match=message):
                load(config)
        else:
            load(config)


def objective_of(terms, kept):
    stored = {name: Stored({}, {}, 2) for name, values in kept.items() if values.shape[1] == 2}
    found = Objective(terms, stored, 0.05, 3, torch.device("cpu"))
    for name, term in found.terms.items():
        term.value = lambda *_, values=kept[name]: values
    return found


def test_the_loss_is_multiplied_before_anything_is_added():
    random = torch.Generator().manual_seed(0)
    similar = torch.rand(3, 2, dtype=torch.float64, generator=random).requires_grad_()
    cost = torch.rand(3, 1, dtype=torch.float64, generator=random)
    loss = torch.rand(3, dtype=torch.float64, generator=random).requires_grad_()
    at_once = {name: AT_ONCE | {"multiplier": weight} for name, weight in (("costs", 0.5), ("multiplicative", 1.5))}
    terms = {name: plugins.find("term", name).Settings(**own) for name, own in at_once.items()}
    kept = {"costs": cost, "multiplicative": similar}
    objective = objective_of(terms, kept)
    networks, rates, trials = (
        load_networks([file_of([0])], BANK.attrs["dt"]),
        torch.zeros(3, 1, 1, 1),
        torch.zeros(3, 1).int(),
    )

    def whole(loss, similar, share=1.0, finishing=None):
        kept["multiplicative"] = similar
        objective.terms["multiplicative"].value = lambda *_: similar
        return objective.weighed(loss, [share, 1.0], finishing, rates, networks, trials)[0]

    assert torch.autograd.gradcheck(objective.terms["multiplicative"].factors, similar)
    # The gradient is that of the product over the factors; what is added comes after.
    found = torch.autograd.grad(whole(loss, similar).sum(), (loss, similar))
    torch.testing.assert_close(found[0], torch.ones_like(loss))
    at = similar.detach().numpy()
    by_hand = loss.detach().numpy()[:, None] * 1.5 * 2 * (1 - at) ** -3.0 / ((1 - at) ** -2.0 + 1)
    np.testing.assert_allclose(found[1], by_hand)
    np.testing.assert_allclose(whole(loss, similar).detach(), loss.detach() + 0.5 * cost[:, 0])
    # Before the term starts, S has no part in it.
    (gradient,) = torch.autograd.grad(whole(loss, similar, 0.0).sum(), similar)
    assert not gradient.any()
    # In the finishing phase, S within its bound is as if it were 0.
    near = torch.full((3, 2), 0.04, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(whole(loss, near, finishing=1.0).sum(), near)
    assert not gradient.any()
    # A solution without loss is not moved, and a product of factors is finite where S is 1.
    (gradient,) = torch.autograd.grad(whole(0 * loss, similar).sum(), similar)
    assert not gradient.any()
    assert torch.isfinite(whole(loss, torch.ones_like(similar))).all()


def test_networks_without_an_adjoint_norm_are_refused_before_the_first_job():
    additive = {name for name in plugins.names("network") if issubclass(plugins.find("network", name), Additive)}
    assert set(plugins.names("network")) - additive == NOT_ADDITIVE

    def config(terms):
        entry = {"seeds": 1, "role": "control", "network": {"architecture": "linear"}, "terms": terms}
        return {"tasks": {"flip_flop": {}}, "populations": {"p": entry}}

    with pytest.raises(SettingsError) as refused:
        load(config({"adjoint_norm": {}, "costs": {"adjoint_norm": 0.1}}))
    for key in ("terms.adjoint_norm", "terms.costs.adjoint_norm"):
        assert f"round 0: {key}: needs a rate network, not 'linear'; leave it out" in str(refused.value)
    load(config({"costs": {}}))
