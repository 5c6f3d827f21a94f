"""Walks: below their ceiling at every step, repeatable, resumable, away from all earlier networks, and recorded."""

import numpy as np
import pytest
import torch
import xarray as xr

from insd import walks
from insd.activity import loss_and_score, record_activity, simulate_trials
from insd.checkpoints import Checkpoint
from insd.datasets import DatasetError
from insd.gauss_newton import GaussNewton
from insd.grid import Grid
from insd.makers.base import Job
from insd.makers.train import Train
from insd.makers.walk import Walk, WalkSettings
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tables.excursions import ways
from insd.tasks.flip_flop import FlipFlop
from insd.walks import TRIES, WalkError

TASK = FlipFlop(channels=1, duration=0.4)
TERMS = Recipe().terms
CEILING = 1.2


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 48, 1), trials("test", 16, 2)
HELD_OUT = BANK.isel(trial=slice(32, None))


@pytest.fixture(scope="module")
def anchors(tmp_path_factory):
    """Files of two random networks, which have a loss to keep as any other, and of their activity."""
    folder = tmp_path_factory.mktemp("anchors")
    streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    networks = RateRNN.initialise(RateSettings(units=8), 1, 1, 0.2, streams)
    networks.output_weights.data *= 0.1
    stored = {name: (RateRNN.dimensions[name], values.numpy()) for name, values in networks.weights().items()}
    made = xr.Dataset(
        stored | {"restarts": ("seed", [0, 0])}, {"seed": [0, 1], **{name: BANK[name] for name in ("input", "output")}}
    )
    made.attrs = {"dt": 0.02, "tau": 0.1, "settings": "{}", **networks.attributes()}
    made.to_netcdf(folder / "network.nc")
    record_activity(made, TASK, BANK, TEST, TERMS).to_netcdf(folder / "activity.nc")
    return str(folder / "network.nc"), str(folder / "activity.nc")


def walk(anchors, checkpoint=None, ceiling=CEILING, seeds=(0, 1), terms=TERMS, **settings):
    recipe = Recipe(training={"batch_size": 8, "validation_trials": 16, "loss_bound": ceiling}, terms=terms)
    names = tuple(("flip_flop", "walk", seed, 1) for seed in seeds)
    maker = Walk(WalkSettings(**({"steps": 4, "iterations": 8} | settings)))
    return maker.make(Job(names, TASK, BANK, TEST, recipe, anchors, checkpoint=checkpoint))


def held_out_loss(network):
    """The task loss of networks on the held-out trials, as analyses compute it, but for what it is a share of."""
    loss, _ = loss_and_score(TASK, simulate_trials(network, HELD_OUT)[1], HELD_OUT)
    return loss * variance_of(HELD_OUT) / variance_of(BANK)


def variance_of(bank):
    return float(bank["targets"].values[bank["mask"].values > 0].var())


@pytest.fixture(scope="module")
def steered(anchors):
    return walk(anchors, steps=8)


def test_no_accepted_step_is_above_the_ceiling(steered):
    history = steered.history.isel(attempt=0)
    assert (history["ceiling"] == CEILING).all()
    assert (history["kept_loss"] <= CEILING).all() and (history["held_out_loss"] == history["kept_loss"]).all()
    np.testing.assert_allclose(held_out_loss(steered.network), history["held_out_loss"][:, -1], rtol=1e-4)
    # The largest loss that was ever reached is of a try.
    np.testing.assert_array_equal(history["excursion"], history["restored_loss"].max(("try", "restoring")))
    np.testing.assert_array_equal(steered.network["largest_excursion"], history["excursion"].max("iteration"))
    found = dict(ways(steered.history, True))
    assert [found[seed].tried for seed in (0, 1)] == steered.network["largest_excursion"].values.tolist()
    for seed, way in found.items():
        assert way.excursion(way.ceiling) == float(history["kept_loss"].sel(seed=seed).max()) <= CEILING
    accepted = (history["step_size"] > 0).values
    assert accepted[:, 1:].any() and (history["excursion"] >= history["kept_loss"] - 1e-6).values[accepted].all()


def test_every_restoring_step_is_recorded(anchors):
    made = walk(anchors, ceiling=1.1, step=0.2, restoring=3, steps=4)
    history = made.history.isel(attempt=0, iteration=slice(1, None))
    losses = history["restored_loss"]
    assert losses.sizes["try"] == TRIES and losses.sizes["restoring"] == 4
    tried = np.isfinite(losses).any("restoring").sum("try")
    accepted = history["step_size"] > 0
    for seed, step in np.ndindex(tried.shape):
        count = int(tried[seed, step])
        of_tries = [losses[seed, step, number].values for number in range(count)]
        ends = [one[np.isfinite(one)][-1] for one in of_tries]
        # All tries but the last were refused; and a network that took no step is where it was.
        assert all(end > 1.1 for end in ends[:-1])
        assert (ends[-1] <= 1.1) == bool(accepted[seed, step])
        if accepted[seed, step]:
            assert history["kept_loss"][seed, step] == pytest.approx(ends[-1], rel=1e-5)
    assert np.isfinite(losses[..., 1:]).any(), "no restoring step: the test has nothing to show"
    assert (made.history["kept_loss"] <= 1.1).all()


def test_a_steered_walk_lowers_predictivity_and_an_undirected_one_goes_anywhere(anchors, steered):
    undirected = walk(anchors, steps=8, steered=False)
    for made in (steered, undirected):
        distance = made.history["distance"].values[0]
        assert (distance[:, 0] == 0).all() and (distance[:, -1] > 0.08).all()
    ends = [made.history["held_out_penalty"].values[0, :, -1, 0] for made in (steered, undirected)]
    starts = steered.history["held_out_penalty"].values[0, :, 0, 0]
    assert (ends[0] < starts - 0.02).all() and (ends[0] < ends[1]).all()
    # The gradient of the terms is asked for from the second step on, and never by an undirected walk.
    assert np.isfinite(steered.history["gradient_norm"][0, :, 2:]).all()
    assert np.isnan(undirected.history["gradient_norm"]).all()


def test_any_term_steers_a_walk(anchors):
    terms = Recipe(terms={"adjoint_norm": {}}).terms
    made = walk(anchors, terms=terms, step=0.01, seeds=(0,))
    norms = made.history["held_out_penalty_adjoint_norm"].values[0, 0]
    assert norms[-1] < 0.5 * norms[0] and (made.history["kept_loss"] <= CEILING).all()
    # An undirected one needs none.
    assert "held_out_penalty" not in walk(anchors, terms={}, steered=False, steps=1, seeds=(1,)).history


def test_a_walk_that_keeps_the_function_keeps_the_outputs_of_its_anchor(anchors):
    made = walk(anchors, keeps="function", ceiling=0.01, steps=5, step=0.05)
    with xr.open_dataset(anchors[0]) as anchor:
        outputs = [simulate_trials(network, HELD_OUT)[1].numpy() for network in (anchor.load(), made.network)]
    mask = HELD_OUT["mask"].values
    away = (np.square(outputs[1] - outputs[0]) * mask).sum((1, 2, 3)) / (mask.sum() * variance_of(BANK))
    np.testing.assert_allclose(made.history["kept_loss"][0, :, -1], away, rtol=1e-3, atol=1e-6)
    assert (away <= 0.01).all() and (made.history["distance"][0, :, -1] > 0.05).all()
    # A random network has a task loss far above that ceiling, which is of the function alone.
    assert (made.history["held_out_loss"] > 0.5).all()


def test_a_walk_can_begin_at_a_minimum(anchors, monkeypatch):
    # Of some architectures the outputs of the anchor come out to the last bit, and there is no gradient to begin with.
    monkeypatch.setattr(GaussNewton, "gradient", lambda self: np.zeros(self.size))
    made = walk(anchors, keeps="function", terms={}, steered=False, ceiling=0.01, steps=1, restoring=1, seeds=(0,))
    assert float(made.history["step_size"][0, 0, 1]) > 0 and made.history["distance"][0, 0, 1] > 0


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_a_gradient_without_a_direction_costs_no_later_step(anchors, monkeypatch, broken):
    real, calls = walks.Walk._gradient, []

    def gradient(self, drawn):
        calls.append(1)
        return real(self, drawn) * (broken if len(calls) < 3 else 1.0)

    monkeypatch.setattr(walks.Walk, "_gradient", gradient)
    made = walk(anchors, terms=Recipe(terms={"costs": {}}).terms, steps=4, seeds=(0,))
    assert (made.history["step_size"][0, 0, 1:] > 0).all() and np.isfinite(made.network["recurrent_weights"]).all()
    costs = made.history["held_out_penalty_costs"].values[0, 0]
    assert costs[4] < costs[3] < costs[2]


def test_a_resumed_walk_equals_one_that_was_not_interrupted(anchors, tmp_path, monkeypatch):
    whole = walk(anchors)
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 0.0)
    take = walks.Walk._take
    for seed, last in ((0, 2), (1, 1)):

        def interrupted(self, step, seed=seed, last=last):
            if self.name[2] == seed and step > last:
                raise KeyboardInterrupt
            return take(self, step)

        monkeypatch.setattr(walks.Walk, "_take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            walk(anchors, tmp_path / "checkpoint.pt")
    taken = []
    monkeypatch.setattr(walks.Walk, "_take", lambda self, step: taken.append((self.name[2], step)) or take(self, step))
    resumed = walk(anchors, tmp_path / "checkpoint.pt")
    assert taken == [(1, 2), (1, 3), (1, 4)]
    for name, (dataset, _) in whole.files().items():
        xr.testing.assert_identical(dataset, resumed.files()[name][0])
    # That of a walk with other settings is not gone on with.
    taken.clear()
    walk(anchors, tmp_path / "checkpoint.pt", steps=1, seeds=(1,))
    assert taken == [(1, 1)]


def test_what_cannot_be_walked_is_refused(anchors):
    with pytest.raises(WalkError, match=r"flip_flop/walk/0/1: the held-out loss of its anchor is 1, above .* = 0.1"):
        walk(anchors, ceiling=0.1)
    with pytest.raises(WalkError, match=r"flip_flop/walk/0/1: walk\.steered = true, and the recipe has no terms"):
        walk(anchors, terms={})


def test_activity_that_a_term_has_kept_nothing_of_is_named(anchors):
    """As where a term was given to the config, and not to the files of earlier rounds."""
    names = (("flip_flop", "walk", 0, 1),)
    terms = Recipe(terms={"dsa": {}}).terms
    recipe = Recipe(training={"batch_size": 8, "validation_trials": 16, "loss_bound": CEILING}, terms=terms)
    message = rf"{anchors[1]}: lacks 'dsa_eigenvalues' \(.*\), which the term 'dsa' reads: give the population"
    for maker, files in ((Walk(WalkSettings()), anchors), (Train(Train.Settings()), anchors[1:])):
        with pytest.raises(DatasetError, match=message):
            maker.make(Job(names, TASK, BANK, TEST, recipe, files))


def test_later_rounds_walk_from_round_0_against_all_earlier_rounds():
    chain = {"seeds": 2, "rounds": 3, "reference": "standard", "make": "walk", "walk": {"steps": 3}}
    settings = load({"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 2}, "walks": chain}})
    read = Grid(settings).round_inputs({"task": "flip_flop", "population": "walks", "seeds": "1", "round": "2"})
    folder = "results/flip_flop"
    assert read["earlier"] == [
        f"{folder}/standard/seeds-1/round-0/network.nc",
        f"{folder}/standard/seeds-1/round-0/activity.nc",
        f"{folder}/walks/seeds-1/round-1/activity.nc",
    ]
    assert settings.role("flip_flop", "walks", 1) == "alternative"
    made = settings.made_with("flip_flop", "walks", 2)
    assert made["maker"]["steps"] == 3 and set(made) == {"make", "maker", "training", "terms"}


def walking(**changes):
    """A config whose population `walks` is walked from `anchor`, with these changes of it."""
    chain = {"seeds": 1, "rounds": 3, "reference": "anchor", "make": "walk"} | changes
    return {"tasks": {"flip_flop": {}}, "populations": {"anchor": {"seeds": 1}, "walks": chain}}


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"terms": {"predictivity": None}},
            r"walks, task flip_flop, round 1: walk\.steered = true, and no term steers",
        ),
        ({"training": {"restarts": 1}}, r"walks\.training\.restarts: make = 'walk' has no use for it, only for batch_"),
        (
            {"by_task": {"flip_flop": {"training": {"iterations": 5}}}},
            r"walks\.by_task\.flip_flop\.training\.iterations: make = 'walk' has no use",
        ),
        (
            {"alternatives": {"training": {"step_size": 0.1}}},
            r"walks\.alternatives\.training\.step_size: make = 'walk'",
        ),
    ],
)
def test_a_walk_that_nothing_steers_and_keys_without_effect_are_refused_before_the_first_job(changes, message):
    with pytest.raises(SettingsError, match=message):
        load(walking(**changes))


def test_keys_of_walks_are_accepted_in_every_layer():
    own = {"training": {"batch_size": 8, "validation_trials": 16, "loss_bound": 0.02}}
    load(walking(**own, alternatives=own, by_task={"flip_flop": own}))
    load(walking(terms={"predictivity": None}, walk={"steered": False}))
