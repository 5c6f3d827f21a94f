"""Recordings that are averages over trials: read, compared with networks averaged alike, and deflated against."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr

from insd import datasets
from insd.evaluation.recordings import recording_predictivity
from insd.makers.base import Job
from insd.makers.recording import Recording, RecordingSettings
from insd.measures.predictivity import linear_predictivity
from insd.members import Member
from insd.objectives.base import TermError, join_earlier, make_terms
from insd.objectives.check import check_term
from insd.objectives.condition_predictivity import ConditionPredictivity, condition_means
from insd.objectives.predictivity import Predictivity
from insd.predictivity import null_projector_array
from insd.provenance import trials_fingerprint
from insd.recordings import averaged, interpolation, read_recording
from insd.samples import valid_steps
from insd.settings.recipe import Recipe, Training
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=2, duration=0.6)
GRID = np.linspace(0.05, 0.55, 13)
LABELS = np.array(list(itertools.product([-1, 1], [-1, 1])))
TERMS = {"condition_predictivity": {}}
RANDOM = np.random.default_rng(0)


def sampled(count=192, seed=1, padded=False):
    trials = TASK.sample("train", count, seed)
    if padded:
        steps = np.where(np.arange(count) % 3, 30, 22)
        lasts = np.arange(trials.sizes["time"]) < steps[:, None]
        trials["valid"] = (("trial", "time"), lasts)
        trials["mask"] = trials["mask"] * lasts[..., None]
    trials.attrs["fingerprint"] = trials_fingerprint(trials)
    return trials


BANKS = {padded: sampled(padded=padded) for padded in (False, True)}
BANK = BANKS[False]
GOOD = {
    "rates": RANDOM.standard_normal((4, 13, 6)).cumsum(1),
    "time": GRID,
    "final_bit_1": LABELS[:, 0],
    "final_bit_2": LABELS[:, 1],
    "output_weights": RANDOM.standard_normal((2, 6)),
}


def stored(path, **changes):
    content = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    if path.suffix == ".npz":
        np.savez(path, **content)
        return path
    dimensions = {"rates": ("condition", "time", "unit"), "output_weights": ("output", "unit")}
    coordinates = {"time": content.pop("time"), "condition": np.arange(4)}
    coordinates |= {name: ("condition", content.pop(name)) for name in list(content) if name.startswith("final")}
    xr.Dataset({name: (dimensions[name], value) for name, value in content.items()}, coordinates).to_netcdf(path)
    return path


def loop(rates, trials, grid=GRID, labels=LABELS):
    """Averages by condition and time, one by one, then interpolated."""
    lasts, times = valid_steps(trials), trials["time"].values
    bits = np.stack([trials["final_bit_1"], trials["final_bit_2"]], 1).tolist()
    found = np.full((len(labels), len(grid), rates.shape[-1]), np.nan)
    for number, label in enumerate(labels.tolist()):
        of_it = [trial for trial in range(len(rates)) if bits[trial] == label]
        course = [np.mean([rates[trial, t] for trial in of_it if lasts[trial, t]], 0) for t in range(len(times))]
        for unit in range(rates.shape[-1]):
            found[number, :, unit] = np.interp(grid, times, np.array(course)[:, unit])
    return found


def conditions_of(trials):
    return np.array(
        [
            LABELS.tolist().index([int(a), int(b)])
            for a, b in zip(trials["final_bit_1"], trials["final_bit_2"], strict=True)
        ]
    )


@pytest.mark.parametrize("padded", [False, True])
def test_averages_are_those_of_a_loop(padded):
    trials = BANKS[padded].isel(trial=slice(40))
    rates = RANDOM.standard_normal((40, 30, 3))
    expected = loop(rates, trials)
    lasts = valid_steps(trials)
    weights = interpolation(trials["time"].values, GRID)
    found = averaged(np.where(lasts[..., None], rates, np.nan), conditions_of(trials), 4, weights)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # As tensors, two networks at once, whose trials are in a different order.
    order = [np.arange(40), RANDOM.permutation(40)]
    by_network = torch.from_numpy(np.stack([rates[one] for one in order])).transpose(1, 2)
    conditions = torch.from_numpy(np.stack([conditions_of(trials)[one] for one in order]))
    valid = torch.from_numpy(np.stack([lasts[one] for one in order])).transpose(1, 2).double() if padded else None
    means, known = condition_means(by_network, conditions, 4, torch.from_numpy(weights), valid)
    np.testing.assert_allclose(means, np.stack([expected] * 2), atol=1e-12)
    assert known.all()


def test_conditions_without_trials_are_unknown():
    trials = BANKS[True]
    rates = np.where(valid_steps(trials)[..., None], RANDOM.standard_normal((192, 30, 2)), np.nan)
    conditions = np.where(np.arange(192) % 3, 1, 0)
    found = averaged(rates, conditions, 3, interpolation(trials["time"].values, GRID))
    # Those of condition 0 end after 22 steps, at 0.44 s.
    np.testing.assert_array_equal(np.isnan(found[0, :, 0]), GRID > 0.44)
    assert np.isfinite(found[1]).all() and np.isnan(found[2]).all()
    tensors = torch.from_numpy(np.nan_to_num(rates)).transpose(0, 1)[None]
    valid = torch.from_numpy(valid_steps(trials)).T.double()[None]
    weights = torch.from_numpy(interpolation(trials["time"].values, GRID))
    means, known = condition_means(tensors, torch.from_numpy(conditions)[None], 3, weights, valid)
    np.testing.assert_array_equal(known[0], ~np.isnan(found[..., 0]))
    np.testing.assert_allclose(means[known], found[~np.isnan(found[..., 0])], atol=1e-12)


@pytest.mark.parametrize("suffix", ["npz", "nc"])
def test_npz_and_netcdf_files_say_the_same(tmp_path, suffix):
    found = read_recording(stored(tmp_path / f"r.{suffix}"), BANK)
    assert set(found) == {"rates", "time", "output_weights", "condition_of_trial"}
    np.testing.assert_allclose(found["rates"], GOOD["rates"], rtol=1e-6)
    np.testing.assert_array_equal(found["time"], GRID)
    np.testing.assert_array_equal(found["condition_of_trial"], conditions_of(BANK))


def test_labels_may_be_ranges_texts_or_leave_trials_out(tmp_path):
    trials = BANK.assign_coords(
        coherence=("trial", np.linspace(-1, 1, 192)), side=("trial", np.where(np.arange(192) % 2, "left", "right"))
    )
    no_bits = {"final_bit_1": None, "final_bit_2": None}
    ranges = np.array([[-1, -0.5], [-0.5, 0], [0, 0.5], [0.5, 0.8]])
    found = read_recording(stored(tmp_path / "r.npz", **no_bits, coherence=ranges), trials)["condition_of_trial"]
    expected = np.digitize(trials["coherence"], [-0.5, 0, 0.5, 0.8])
    np.testing.assert_array_equal(found, np.where(expected == 4, -1, expected))
    by_side = {"rates": GOOD["rates"][:2], "side": np.array(["left", "right"])}
    found = read_recording(stored(tmp_path / "s.npz", **no_bits, **by_side), trials)["condition_of_trial"]
    np.testing.assert_array_equal(found, np.where(np.arange(192) % 2, 0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": None}, r"r.npz: has no 'rates' \(activity \(condition, time, unit\)\); add it"),
        (
            {"rates": GOOD["rates"][:, 1:]},
            r"'rates' has shape \(4, 12, 6\) and 'time' \(13,\); needs \(condition, time",
        ),
        ({"rates": GOOD["rates"] * np.nan}, "'rates' holds values that are not finite numbers"),
        ({"output_weights": np.ones((2, 6))}, "'output_weights': 1 of 2 outputs are zero or linear combinations"),
        (
            {"output_weights": np.ones((2, 5))},
            r"'output_weights' has shape \(2, 5\); needs \(output, unit\) with 6 units",
        ),
        ({"time": GRID[::-1]}, "'time' goes from 0.55 to 0.05 in 13 steps; needs two or more rising times"),
        ({"time": 1000 * GRID}, "'time' goes from 50 to 550 in 13 steps; .* within the trials, from 0 to 0.6"),
        (
            {"final_bit_1": None, "final_bit_2": None},
            "has no labels, .* conditions of the trials: final_bit_1, final_bit_2",
        ),
        ({"angle": LABELS[:, 0]}, "'angle' is not a condition of the trials; they have: final_bit_1, final_bit_2"),
        (
            {"final_bit_1": LABELS[:3, 0]},
            r"the label 'final_bit_1' has shape \(3,\); needs \(condition,\) or, for ranges",
        ),
        ({"final_bit_1": np.array(list("abcd"))}, "the label 'final_bit_1' holds <U1 and the trials int64; use their"),
        (
            {"final_bit_1": LABELS[:, 0] + 5},
            r"condition 0 \(final_bit_1 = 4, final_bit_2 = -1\) has no trial in the bank",
        ),
        ({"final_bit_2": None}, r"conditions 0 and 1 \(final_bit_1 = -1\) share trials; make labels differ"),
    ],
)
def test_averages_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(datasets.DatasetError, match=message):
        read_recording(stored(tmp_path / "r.npz", **changes), BANK)


def test_grids_end_with_the_trials_of_a_condition(tmp_path):
    trials = BANK.copy()
    trials["valid"] = (("trial", "time"), np.arange(30) < np.where(trials["final_bit_1"] == 1, 30, 20)[:, None])
    with pytest.raises(datasets.DatasetError, match=r"condition 0 goes on to 0.55 s, and all its trials end before"):
        read_recording(stored(tmp_path / "r.npz"), trials)


def kept(file, bank=BANK, terms=TERMS, seeds=(0,)):
    names = tuple(("flip_flop", "tape", seed, 0) for seed in seeds)
    maker = Recording(RecordingSettings(file=str(file)))
    recipe = Recipe(terms=terms)
    ((activity, contract),) = maker.make(Job(names, TASK, bank, bank, recipe, sources=(str(file),))).files().values()
    path = file.with_suffix(".kept.nc")
    datasets.write(activity, path, contract)
    return datasets.read(path, "kept")


def network(seed=0, bank=BANK, iterations=0, terms=TERMS, earlier=None, round_number=0):
    training = Training(
        iterations=iterations, batch_size=48, validation_trials=64, restarts=0, evaluate_every=25, step_size=1e-2
    )
    recipe = Recipe(network={"units": 16, "gain": 1.2}, training=training, terms=terms)
    return train_round(TASK, bank, recipe, [("flip_flop", "p", seed, round_number)], earlier)


def member_of(found):
    (member,) = Member.of_datasets("p", 1, "alternative", found, xr.Dataset())
    return member


def rates_on(found, trials):
    from insd.activity import simulate_trials  # noqa: PLC0415 - after what it is compared with

    return simulate_trials(found, trials)[0][0].numpy().astype(np.float64)


def plain_s(rates, readout, target, ridge=1e-3):
    """S by its definition, with projectors on samples."""
    x, y = rates - rates.mean(0), target - target.mean(0)
    x = x @ null_projector_array(readout)
    gram = x.T @ x
    hat = x @ np.linalg.inv(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram))) @ x.T
    return (y * (hat @ y)).sum() / np.square(y).sum()


@pytest.mark.parametrize("padded", [False, True])
def test_the_penalty_is_that_of_a_loop(tmp_path, padded):
    bank = BANKS[padded]
    settings = {"time_stride": 1, "variance_kept": 1.0}
    recipe_terms = Recipe(terms={"condition_predictivity": settings}).terms
    (term,) = make_terms(recipe_terms).values()
    tape = kept(stored(tmp_path / "r.npz"), bank, recipe_terms)
    joined = join_earlier(recipe_terms, [tape], bank, ["tape"])["condition_predictivity"]
    made, _ = network(bank=bank)
    rates, readout = rates_on(made, bank), made["output_weights"].values[0].astype(np.float64)
    chosen = RANDOM.permutation(192)[:64]
    from insd.networks.base import load_networks  # noqa: PLC0415 - after what it is compared with

    networks = load_networks([made], bank.attrs["dt"]).double()
    valid = torch.from_numpy(valid_steps(bank)[chosen]).T.double()[None] if padded else None
    given = torch.from_numpy(np.nan_to_num(rates[chosen])).transpose(0, 1)[None].requires_grad_()
    value = term.value(given, networks, joined, torch.from_numpy(chosen)[None], valid)
    means = loop(np.nan_to_num(rates[chosen]), bank.isel(trial=chosen))
    null = GOOD["rates"] @ null_projector_array(GOOD["output_weights"])
    expected = plain_s(means.reshape(-1, 16), readout, null.reshape(-1, 6))
    assert value.shape == (1, 1) and value.detach().item() == pytest.approx(expected, rel=1e-4)
    # The gradient, by a difference along one direction.
    direction = torch.from_numpy(RANDOM.standard_normal(given.shape))
    (gradient,) = torch.autograd.grad(value.sum(), given)
    with torch.no_grad():
        ends = [
            term.value(given + step * direction, networks, joined, torch.from_numpy(chosen)[None], valid).sum()
            for step in (1e-5, -1e-5)
        ]
    difference = float(ends[0] - ends[1]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-4)


def test_the_term_keeps_what_it_says():
    check_term(ConditionPredictivity)


def test_networks_of_earlier_rounds_are_compared_trial_by_trial(tmp_path):
    terms = Recipe(terms=TERMS).terms
    tape, (made, _), (other, _) = kept(stored(tmp_path / "r.npz")), network(), network(seed=5)
    (term,), plain = make_terms(terms).values(), Predictivity(Recipe().terms["predictivity"])
    chain = [
        tape,
        term.stores(other, BANK).assign_coords(seed=[0]).assign_attrs(bank_fingerprint=BANK.attrs["fingerprint"]),
    ]
    joined = join_earlier(terms, chain, BANK, ["tape", "one"])["condition_predictivity"]
    alone = plain.join([plain.stores(other, BANK)], BANK, ["one"])
    from insd.networks.base import load_networks  # noqa: PLC0415 - after what it is compared with

    networks, trials = load_networks([made], BANK.attrs["dt"]), torch.arange(64)[None]
    rates = torch.from_numpy(rates_on(made, BANK)[:64, ::2]).float().transpose(0, 1)[None]
    value = term.value(rates, networks, joined, trials, None)
    assert value.shape == (1, 2)
    assert value[0, 1].item() == pytest.approx(plain.value(rates, networks, alone, trials, None).item(), abs=1e-6)
    only_tape = join_earlier(terms, [tape], BANK, ["tape"])["condition_predictivity"]
    assert value[0, 0].item() == term.value(rates, networks, only_tape, trials, None).item()
    # A minibatch without any trial of a condition says nothing.
    none = only_tape.of_networks | {"conditions_0": torch.full((1, 192), -1)}
    lost = type(only_tape)(none, only_tape.shared, 1, only_tape.every)
    with pytest.raises(TermError, match="no trial of a minibatch is of a condition of the recording; raise"):
        term.value(rates, networks, lost, trials, None)
    with pytest.raises(datasets.DatasetError, match="one: was stored at a different time_stride"):
        join_earlier(Recipe(terms={"condition_predictivity": {"time_stride": 3}}).terms, chain, BANK, ["tape", "one"])


def test_single_trials_can_be_kept_too(tmp_path):
    np.savez(tmp_path / "r.npz", rates=RANDOM.standard_normal((192, 30, 5)), fingerprint=BANK.attrs["fingerprint"])
    tape = kept(tmp_path / "r.npz")
    assert tape.sizes["condition"] == 192 and (tape["condition_of_trial"] == np.arange(192)).all()


def test_a_term_of_single_trials_refuses_averages(tmp_path):
    message = r"the term 'predictivity' compares single trials; .* terms: \{predictivity: null, condition_predictivity"
    with pytest.raises(datasets.DatasetError, match=message):
        kept(stored(tmp_path / "r.npz"), terms=Recipe().terms)


def test_r2_to_averages_is_that_of_a_loop(tmp_path):
    made, _ = network()
    recording = read_recording(stored(tmp_path / "r.npz"), BANK)
    held_out = BANK.isel(trial=slice(-64, None))
    found = recording_predictivity([member_of(made)], {"tape": recording}, BANK, 64, 0)
    datasets.validate(found, "recordings", "r")
    rates = rates_on(made, held_out)
    null = null_projector_array(made["output_weights"].values[0])
    null_target = GOOD["rates"] @ null_projector_array(GOOD["output_weights"])
    for space, projector, target in (("full", np.eye(16), GOOD["rates"]), ("null", null, null_target)):
        means = loop(rates, held_out) @ projector
        expected = linear_predictivity(means.reshape(-1, 16), target.reshape(-1, 6))
        assert found["r2"].sel(space=space).item() == pytest.approx(expected, abs=1e-5)
    # The averages of a network are its own.
    own = {"rates": loop(rates_on(made, BANK), BANK), "output_weights": made["output_weights"].values[0]}
    recording = read_recording(stored(tmp_path / "own.npz", **own), BANK)
    found = recording_predictivity([member_of(made)], {"tape": recording}, BANK, 192, 0)
    np.testing.assert_allclose(found["r2"], 1, atol=1e-4)
    assert (found["r2_shuffled"] < 0.9).all()


def test_training_lowers_predictivity_of_averages(tmp_path):
    reference, _ = network(iterations=150)
    own = {"rates": loop(rates_on(reference, BANK), BANK), "output_weights": reference["output_weights"].values[0]}
    path = stored(tmp_path / "own.npz", **own)
    settings = {"schedule": "constant", "task_only": 0.2, "ramp": 0.2}
    last, r2 = {}, {}
    for label, factor in (("deflated", 4.0), ("free", 1e-6)):
        terms = {"condition_predictivity": settings | {"multiplier": factor}}
        earlier = join_earlier(Recipe(terms=terms).terms, [kept(path)], BANK, ["tape"])
        made, history = network(3, iterations=600, terms=terms, earlier=earlier, round_number=1)
        last[label] = history["held_out_penalty"].isel(iteration=-1).item()
        recording = read_recording(path, BANK)
        r2[label] = (
            recording_predictivity([member_of(made)], {"tape": recording}, BANK, 64, 0)["r2"].sel(space="null").item()
        )
        assert history["held_out_loss"].isel(iteration=-1).item() < 0.5
    assert last["deflated"] < last["free"] - 0.3 and r2["deflated"] < r2["free"] - 0.3
