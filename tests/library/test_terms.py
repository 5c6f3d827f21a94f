"""Terms of the objective: each keeps what training relies on, several act together, and a user's own is one file."""

import sys

import numpy as np
import pytest
import torch

from insd import plugins
from insd.activity import record_activity
from insd.datasets import DatasetError
from insd.networks.base import load_networks
from insd.objectives.base import TermError, join_earlier, variables_of
from insd.objectives.check import check_term
from insd.objectives.settings.base import TermSettings, term_settings
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.4)
TOY = '''
import numpy as np
import xarray as xr

from insd.activity import simulate_trials
from insd.objectives.base import Term, mean_over_samples
from insd.objectives.settings.base import TermSettings
from insd.settings.base import NotNegative


class Costs(TermSettings):
    """Activity costs energy."""

    compares = False
    baseline: NotNegative = 0.0
    """Mean squared rate that is free."""


class Energy(Term):
    """Mean squared rate above a baseline."""

    Settings = Costs

    def value(self, rates, networks, stored, trials, valid):
        return (mean_over_samples(rates.square(), valid).mean(-1) - self.settings.baseline)[:, None]


class Offset(Term):
    """Similarity of the mean rates of units to those of earlier networks."""

    variables = {"mean_rates": ("seed", "unit")}

    def stores(self, network, bank):
        rates = simulate_trials(network, bank)[0].numpy()
        return xr.Dataset({"mean_rates": (("seed", "unit"), rates.mean((1, 2)))}, coords={"seed": network["seed"]})

    def value(self, rates, networks, stored, trials, valid):
        mean = mean_over_samples(rates, valid)[:, None]
        return 1 / (1 + (mean - stored.of_networks["mean_rates"].to(rates)).square().sum(-1))


class Detached(Energy):
    def value(self, rates, networks, stored, trials, valid):
        return super().value(rates.detach() * 2 - rates, networks, stored, trials, valid)


class Weighty(Energy):
    def value(self, rates, networks, stored, trials, valid):
        return (networks.bias.detach() * 2 - networks.bias).sum(1, keepdim=True)


class Mixed(Energy):
    def value(self, rates, networks, stored, trials, valid):
        value = super().value(rates, networks, stored, trials, valid)
        return value.mean() + 0 * value
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_terms.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.find.cache_clear()
    yield "toy_terms"
    sys.modules.pop("toy_terms", None)
    plugins.find.cache_clear()


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 48, 1), trials("test", 16, 2)


def recipe(**terms):
    training = {"iterations": 20, "batch_size": 8, "evaluate_every": 10, "validation_trials": 16, "restarts": 0}
    training |= {"step_size": 1e-2}
    return Recipe(network={"units": 8}, training=training, terms=terms)


@pytest.mark.parametrize("name", plugins.names("term"))
def test_every_term_keeps_what_training_relies_on(name):
    found = plugins.find("term", name)
    check_term(found)
    # What is read without PyTorch is what the class has.
    assert term_settings(name) is found.Settings


@pytest.mark.parametrize("settings", [{"time_stride": 1}, {"time_stride": 5, "variance_kept": 1.0, "ridge": 0.1}])
def test_predictivity_with_other_settings(settings):
    check_term(plugins.find("term", "predictivity"), **settings)


def test_the_check_says_what_is_wrong(toy):
    for name in ("Energy", "Offset"):
        check_term(plugins.find("term", f"{toy}:{name}"))
    for name in ("Detached", "Weighty"):
        with pytest.raises(TermError, match=rf"{name}: its gradient is .* where differences give"):
            check_term(plugins.find("term", f"{toy}:{name}"))
    with pytest.raises(TermError, match="Mixed: the value of a network alone differs by"):
        check_term(plugins.find("term", f"{toy}:Mixed"))
    offset = plugins.find("term", f"{toy}:Offset")

    class Silent(offset):
        variables = {}

    with pytest.raises(TermError, match=r"Silent: it compares networks with earlier ones .* but keeps no variables"):
        check_term(Silent)


def test_several_terms_act_together(toy):
    energy, offset = f"{toy}:Energy", f"{toy}:Offset"
    constant = {"schedule": "constant", "task_only": 0.0, "ramp": 0.0}
    chosen = recipe(
        **{"predictivity": constant | {"multiplier": 0.5}, energy: constant | {"multiplier": 2.0}, offset: constant}
    )
    names = [("flip_flop", "p", seed, 0) for seed in (0, 1)]
    network, history = train_round(TASK, BANK, chosen, names)
    # In round 0 there is nothing to compare with.
    assert {name for name in map(str, history) if "penalty" in name} == {"penalty_Energy", "held_out_penalty_Energy"}
    assert history["penalty_Energy"].dims == ("attempt", "seed", "iteration")
    activity = record_activity(network, TASK, BANK, TEST, chosen.terms)
    assert {"null_activity", "mean_rates"} <= set(activity) and set(variables_of(chosen.terms)) <= set(activity)
    earlier = join_earlier(chosen.terms, [activity], BANK, ["a.nc"])
    assert set(earlier) == {"predictivity", offset}
    names = [(*name[:3], 1) for name in names]
    alternative, history = train_round(TASK, BANK, chosen, names, earlier)
    for name in ("predictivity", "Offset"):
        assert history[f"penalty_{name}"].dims == ("attempt", "seed", "iteration", "earlier")
    last = history.isel(attempt=0, iteration=-1)
    np.testing.assert_allclose(last["multiplier_predictivity"], 0.5)
    np.testing.assert_allclose(last["multiplier_Energy"], 2.0)
    # The held-out value of a term is that of its formula, at all times although predictivity is at every second.
    with torch.no_grad():
        held_out = torch.from_numpy(BANK["inputs"].values[-16:]).transpose(0, 1).expand(2, -1, -1, -1)
        rates = load_networks([alternative], BANK.attrs["dt"])(held_out)
    np.testing.assert_allclose(last["held_out_penalty_Energy"], rates.square().mean((1, 2, 3)), rtol=1e-4)
    # A term with no weight changes nothing, whatever it computes.
    free = recipe(predictivity=constant | {"multiplier": 0.5}, **{energy: constant | {"multiplier": 1e-12}})
    stored = {name: values for name, values in earlier.items() if name == "predictivity"}
    alone, _ = train_round(TASK, BANK, recipe(predictivity=constant | {"multiplier": 0.5}), names, stored)
    with_free, _ = train_round(TASK, BANK, free, names, stored)
    np.testing.assert_allclose(with_free["recurrent_weights"], alone["recurrent_weights"], atol=1e-4)
    assert not np.allclose(alternative["recurrent_weights"], alone["recurrent_weights"], atol=1e-4)


def test_a_term_is_lowered(toy):
    energy = f"{toy}:Energy"
    settings = {"schedule": "constant", "task_only": 0.0, "ramp": 0.0}
    names = [("flip_flop", "p", 0, 0)]
    values = {}
    for multiplier in (1e-6, 50.0):
        _, history = train_round(TASK, BANK, recipe(**{energy: settings | {"multiplier": multiplier}}), names)
        values[multiplier] = float(history["held_out_penalty_Energy"].isel(attempt=0, seed=0, iteration=-1))
    assert values[50.0] < 0.6 * values[1e-6]


def test_files_that_lack_what_a_term_reads_are_refused(toy):
    offset = f"{toy}:Offset"
    network, _ = train_round(TASK, BANK, recipe(), [("flip_flop", "p", 0, 0)])
    activity = record_activity(network, TASK, BANK, TEST, recipe(predictivity={}).terms)
    with pytest.raises(
        DatasetError, match=r"a.nc: lacks 'mean_rates' \(seed, unit\), which the term '.*:Offset' reads"
    ):
        join_earlier(recipe(**{offset: {}}).terms, [activity], BANK, ["a.nc"])


def config(terms, later=None):
    chain = {"seeds": 1, "rounds": 2, "terms": terms, "alternatives": {"terms": later or {}}}
    return {"tasks": {"flip_flop": {}}, "populations": {"p": chain}}


def test_terms_resolve_in_layers(toy):
    energy = f"{toy}:Energy"
    settings = load(config({energy: {"baseline": 0.1}, "predictivity": {"ridge": 0.01}}, {energy: {"bound": 1.0}}))
    first, second = (settings.recipe("flip_flop", "p", number).terms for number in (0, 1))
    assert list(second) == ["predictivity", energy]
    assert (first[energy].baseline, first[energy].bound) == (0.1, 0.05)
    assert (second[energy].baseline, second[energy].bound) == (0.1, 1.0)
    assert second["predictivity"].ridge == 0.01 and second["predictivity"].multiplier == 0.1
    assert load(config({"predictivity": None})).recipe("flip_flop", "p", 1).terms == {}
    assert load(config({})).recipe("flip_flop", "p", 0).terms == Recipe().terms
    assert isinstance(second[energy], TermSettings)
    made = settings.made_with("flip_flop", "p", 1)
    assert Recipe.model_validate({"terms": made["terms"]}).terms == second


AT = "populations.p.terms."


@pytest.mark.parametrize(
    "terms, later, message",
    [
        ({"similarity": {}}, {}, f"{AT}similarity: there is no term of an objective 'similarity'; choose from"),
        ({"toy_terms:Nothing": {}}, {}, f"{AT}toy_terms:Nothing: the module 'toy_terms' has no 'Nothing'"),
        ({"predictivity": {"ridges": 1.0}}, {}, f"{AT}predictivity.ridges = 1.0: unknown key; known here: schedule"),
        ({"toy_terms:Energy": {"baseline": -1}}, {}, f"{AT}toy_terms:Energy.baseline = -1: input should be greater"),
        ({"predictivity": 1}, {}, f"{AT}predictivity"),
        (
            {"predictivity": None},
            {"predictivity": {}},
            "round 1: terms.predictivity compares networks with those of 'p'",
        ),
        ({}, {"toy_terms:Offset": {}}, "round 1: terms.toy_terms:Offset compares networks with those of 'p'"),
        ({"toy_terms:Energy": {"ramp": 0.95}}, {}, "terms.toy_terms:Energy.task_only = 0.1 and terms.toy_terms"),
    ],
)
def test_terms_that_cannot_be_used_are_refused(toy, terms, later, message):
    with pytest.raises(SettingsError, match=message):
        load(config(terms, later))


def test_terms_whose_classes_have_one_name_are_refused(toy, tmp_path, monkeypatch):
    """Their values would be under one name in the history."""
    (tmp_path / "more_terms.py").write_text("from toy_terms import Energy\n")
    monkeypatch.syspath_prepend(tmp_path)
    both = {"toy_terms:Energy": {}, "more_terms:Energy": {}}
    with pytest.raises(
        SettingsError, match=r"task flip_flop, round 0: terms toy_terms:Energy and more_terms:Energy: .*'Energy'"
    ):
        load(config(both))
    assert load(config({"more_terms:Energy": {}}))
