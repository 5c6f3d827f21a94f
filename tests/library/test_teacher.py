"""Students and teachers: the term, its maker, what is known of units that were not recorded, claims and figure."""

import dataclasses
import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import config_of
from drawn import check_text
from sklearn.linear_model import LinearRegression

from insd import plugins
from insd.activity import simulate_trials
from insd.analysis.base import Job as AnalysisJob
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, judged, publications
from insd.cohorts import network_labels
from insd.datasets import DatasetError, validate, write
from insd.evaluation.teacher import explained_by_unit
from insd.figures.files import figure_files
from insd.figures.sparse import sparse_figure
from insd.grid import Grid
from insd.makers.base import Job, MakerError, maker_of, recipe_from
from insd.measures.predictivity import linear_predictivity
from insd.members import Member
from insd.networks.base import load_networks
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings
from insd.objectives.base import Stored
from insd.objectives.settings.teacher import TeacherSettings
from insd.objectives.teacher import Teacher
from insd.provenance import array_fingerprint
from insd.recorded_units import order_of_units, recorded_units
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tables.teachers import students
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(channels=1, duration=0.4)
UNITS, SHARES = 8, (0.0, 0.125, 0.25, 0.5)


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 48, 1), trials("test", 16, 2)


def job(seeds=(0, 1), iterations=20, units=UNITS, gain=1.0, name="p", **terms):
    training = {"iterations": iterations, "batch_size": 16, "evaluate_every": 10, "validation_trials": 16}
    training |= {"restarts": 0, "patience": 1000, "step_size": 1e-2}
    recipe = Recipe(network={"units": units, "gain": gain}, training=training, terms=terms)
    return Job(tuple(("flip_flop", name, seed, 0) for seed in seeds), TASK, BANK, TEST, recipe)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The file of two untrained networks with some activity of their own."""
    made = plugins.find("maker", "train")(None).make(job(iterations=0, gain=2.0, name="teacher"))
    path = tmp_path_factory.mktemp("teacher") / "network.nc"
    made.network.assign_attrs(settings="{}").to_netcdf(path)
    return str(path), made.network


def taught(path, **changes):
    maker = plugins.find("maker", "teach")
    settings = {"recording": path} if path.endswith(".npz") else {"population": "teacher"}
    given = job(**changes)
    where = {"sources": (path,)} if path.endswith(".npz") else {"earlier": (path,)}
    return maker(maker.Settings(**settings)).make(dataclasses.replace(given, **where))


def test_the_recorded_units_of_a_share_are_among_those_of_a_larger_one():
    sets = [recorded_units(100, share, 3) for share in (0.0, 1 / 16, 1 / 8, 0.5, 1.0)]
    assert [len(one) for one in sets] == [0, 6, 12, 50, 100]
    assert all(set(one) <= set(other) for one, other in pairwise(sets))
    assert set(sets[3]) == set(order_of_units(100, 3)[:50]) != set(order_of_units(100, 4)[:50])


def test_the_value_is_the_mean_squared_error_of_recorded_units():
    random = np.random.default_rng(0)
    networks, times, bank, units, recorded = 2, 5, 7, 6, 3
    rates = random.standard_normal((networks, times, 4, units))
    teacher = random.standard_normal((networks, 2, bank, times, recorded))
    index = np.stack([np.sort(random.permutation(units)[:recorded]) for _ in range(4)]).reshape(networks, 2, recorded)
    chosen = random.integers(bank, size=(networks, 4))
    lasts = random.integers(1, times + 1, size=(networks, 4))
    stored = Stored({"teacher_rates": torch.from_numpy(teacher), "teacher_index": torch.from_numpy(index)}, earlier=2)
    term = Teacher(TeacherSettings(time_stride=1))
    made = RateRNN.initialise(RateSettings(units=units), 1, 1, 0.2, [torch.Generator()] * networks)
    for ends in (np.full_like(lasts, times), lasts):
        expected = np.zeros((networks, 2))
        for network in range(networks):
            for earlier in range(2):
                errors = [
                    (rates[network, time, trial, unit] - teacher[network, earlier, chosen[network, trial], time, k])
                    ** 2
                    for trial in range(4)
                    for time in range(ends[network, trial])
                    for k, unit in enumerate(index[network, earlier])
                ]
                expected[network, earlier] = np.mean(errors)
        valid = torch.from_numpy((np.arange(times)[:, None] < ends[:, None]).astype(float))
        given = None if (ends == times).all() else valid
        value = term.value(torch.from_numpy(rates), made, stored, torch.from_numpy(chosen), given)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_unit_and_all_units(share, teacher):
    _, network = teacher
    term = Teacher(TeacherSettings(share=share))
    stored = term.join([term.stores(network, BANK)], BANK, ["a.nc"])
    networks, trials = load_networks([network], TASK.dt), torch.arange(5).expand(2, -1)
    own = simulate_trials(network, BANK)[0].transpose(1, 2)[:, ::2, :5].requires_grad_()
    # Of itself, a network differs in nothing; of no unit either.
    value = term.value(own, networks, stored, trials, None)
    assert value.tolist() == [[0.0], [0.0]]
    moved = term.value(own + 0.5, networks, stored, trials, None)
    np.testing.assert_allclose(moved.detach(), 0.25 * share, rtol=1e-5)
    (gradient,) = torch.autograd.grad(moved.sum(), own)
    assert bool(gradient.any()) == bool(share)


def test_a_student_of_no_unit_is_a_network_trained_on_the_task(teacher):
    path, _ = teacher
    student = taught(path, teacher={"share": 0.0})
    plain = plugins.find("maker", "train")(None).make(job())
    for name in plain.network.data_vars:
        np.testing.assert_array_equal(student.network[name], plain.network[name], err_msg=name)
    assert (
        "teacher_rates" not in student.activity
        and "null_activity" in taught(path, predictivity={}, teacher={}).activity
    )


def test_a_student_does_what_the_recorded_units_do(teacher, tmp_path):
    path, network = teacher
    settings = {"share": 0.5, "multiplier": 100.0}
    student = taught(path, iterations=150, teacher=settings)
    of_teacher, rates = (simulate_trials(one, TEST)[0].numpy() for one in (network, student.network))
    others = simulate_trials(taught(path, iterations=150, teacher={"share": 0.0}).network, TEST)[0].numpy()
    for seed in (0, 1):
        units = recorded_units(UNITS, 0.5, seed)
        errors, without = (np.square(one[seed] - of_teacher[seed])[..., units].mean() for one in (rates, others))
        assert errors < 0.25 * without
    # A recording of the teacher teaches the same.
    np.savez(tmp_path / "rates.npz", rates=simulate_trials(network, BANK)[0][0], fingerprint=BANK.attrs["fingerprint"])
    recorded, alone = (taught(one, seeds=(0,), teacher=settings) for one in (str(tmp_path / "rates.npz"), path))
    np.testing.assert_array_equal(recorded.network["recurrent_weights"], alone.network["recurrent_weights"])


def test_a_student_has_at_least_the_units_of_its_teacher(teacher):
    path, _ = teacher
    with pytest.raises(
        MakerError, match=r"populations.p: .*network.nc has 8 units and students have network.units = 6"
    ):
        taught(path, units=6, teacher={})
    assert taught(path, units=9, iterations=1, teacher={}).network.sizes["unit"] == 9


def test_what_is_explained_of_each_unit_is_the_r2_of_a_linear_regression():
    random = np.random.default_rng(1)
    predictor, target = random.standard_normal((2, 20, 15, 4))
    target[..., 0] += predictor @ [1.0, -2.0, 0.5, 0.0]
    for one in (predictor, target):
        one[3, 9:] = np.nan
    total, explained = explained_by_unit(predictor, target)
    x, y = (one[~np.isnan(one[..., 0])] for one in (predictor, target))
    for unit in range(4):
        expected = LinearRegression().fit(x, y[:, unit]).score(x, y[:, unit])
        assert explained[unit] / total[unit] == pytest.approx(expected, rel=1e-9)
    assert explained.sum() / total.sum() == pytest.approx(linear_predictivity(predictor, target), rel=1e-9)


def config(**populations):
    teachers = {"standard": {"seeds": 2}, "insd": {"seeds": 2, "rounds": 2}}
    student = {"seeds": 2, "make": "teach", "role": "control", "teach": {"population": "insd", "round": 1}}
    made = {name: student | changes for name, changes in populations.items()}
    return {"tasks": {"flip_flop": {}}, "populations": teachers | made}


def test_a_grid_with_students():
    grid = Grid(load(config(student={"terms": {"teacher": {}}})))
    wildcards = {"task": "flip_flop", "population": "student", "seeds": "1", "round": "0"}
    assert grid.round_inputs(wildcards) == {
        "earlier": ["results/flip_flop/insd/seeds-1/round-1/network.nc"],
        "sources": [],
    }
    without = Grid(load(config()))
    of_students = {
        "results/flip_flop/analysis/teacher.nc",
        *(f"results/figures/sparse_flip_flop.{s}" for s in SUFFIXES),
    }
    made, others = ({*one.analysis_files(), *figure_files(one)} for one in (grid, without))
    assert made - others == of_students and others < made


SUFFIXES = ("svg", "pdf", "png")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"terms": {}}, r"populations.s, task flip_flop: make = 'teach' needs terms.teacher; add it"),
        ({"teach": {"population": "none"}}, r"'none': there is no such population; choose from: standard, insd, s"),
        ({"teach": {"population": "s"}}, r"reads round 0 of 's', which is this population"),
        ({"teach": {"population": "insd", "round": 2}}, r"round 2 of 'insd': this population makes the rounds 0, 1"),
        ({"seeds": 3}, r"populations.s.seeds = 3: it reads 'insd', which has only 2; lower the first"),
        ({"teach": {}}, r"populations.s.teach.population, recording: name the teacher by one of them"),
        ({"role": None}, r"populations.s.role: required for networks with terms.teacher"),
        ({"rounds": 2}, r"populations.s.rounds = 2: networks of make = 'teach' have one round"),
    ],
)
def test_students_that_cannot_be_taught_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        load(config(s={"terms": {"teacher": {}}} | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({}, None),
        ({"network": {"units": 99}}, "round 1 of 'insd' has 100 units and students have network.units = 99"),
        ({"terms": {"teacher": {"share": 0.004}}}, "share = 0.004 of the 100 units of round 1 of 'insd' is less than"),
        ({"teach": {"recording": "tape.npz"}}, "tape.npz has 120 units and students have network.units = 100"),
        ({"teach": {"recording": "flat.npz"}}, "populations.s: flat.npz: has 'rates' of shape (3, 4); needs activity"),
        ({"teach": {"recording": "later.npz"}}, None),
    ],
)
def test_units_of_teachers_are_checked_before_the_first_job(changes, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("tape.npz", rates=np.zeros((2, 3, 120)))
    np.savez("flat.npz", rates=np.zeros((3, 4)))
    grid = Grid(load(config(s={"terms": {"teacher": {}}} | changes)))
    if message is None:
        grid.check_sources()
        return
    with pytest.raises(
        SettingsError, match="  - populations.s: .*" + re.escape(message.removeprefix("populations.s: "))
    ):
        grid.check_sources()


@pytest.mark.parametrize(
    "units, tape, message",
    [
        ((60, 60), 60, None),
        (
            (61, 60),
            60,
            "c, task flip_flop, round 1: terms.teacher compares unit i with unit i, and round 0 of 'c' has 61",
        ),
        (
            (60, 60),
            61,
            "d, task flip_flop, round 1: terms.teacher compares unit i with unit i, and the recording tape.np",
        ),
    ],
)
def test_chains_have_at_least_the_units_of_what_they_are_compared_with(units, tape, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("tape.npz", rates=np.zeros((2, 3, tape)))
    terms = {"predictivity": None, "teacher": {}}
    sizes = {"network": {"units": units[0]}, "alternatives": {"network": {"units": units[1]}, "terms": terms}}
    populations = {
        "standard": {"seeds": 1},
        "tape": {"seeds": 1, "make": "recording", "role": "reference", "recording": {"file": "tape.npz"}},
        "c": {"seeds": 1, "rounds": 3, "terms": terms, **sizes},
        "d": {"seeds": 1, "rounds": 2, "reference": "tape", **sizes},
    }
    populations["tape"]["terms"] = terms

    def check():
        Grid(load({"tasks": {"flip_flop": {}}, "figures": {"chain": "c"}, "populations": populations})).check_sources()

    if message is None:
        check()
        return
    with pytest.raises(
        SettingsError, match=rf"(?m)^.*populations\.{re.escape(message)}.*at least 61, or leave the term out$"
    ):
        check()


def with_checkpoint(path, units):
    """A chain and students of a network in a file, each of 8 units, and a low-rank fit to it."""
    module = torch.nn.ModuleDict({"rnn": torch.nn.GRU(1, units), "readout": torch.nn.Linear(units, 1)})
    torch.save(module.state_dict(), path / "gru.pt")
    terms = {"predictivity": None, "teacher": {"share": 1.0}}
    training = {"iterations": 4, "batch_size": 16, "evaluate_every": 2, "validation_trials": 16, "restarts": 0}
    small = {"network": {"units": 8}, "terms": terms, "training": training}
    file = str(path / "gru.pt")
    populations = {
        "others": {"make": "checkpoint", "role": "reference", "checkpoint": {"files": file}, "terms": terms},
        "c": {"rounds": 2, "reference": "others", **small},
        "s": {"make": "teach", "teach": {"population": "others"}, "role": "control", **small},
        "f": {"make": "fit_low_rank", "fit_low_rank": {"population": "others", "rank": 9}, "role": "control"},
    }
    tasks = {"flip_flop": {"parameters": {"channels": 1, "duration": 0.4}}}
    return load({"tasks": tasks, "populations": {name: {"seeds": 1, **one} for name, one in populations.items()}})


def test_networks_in_files_with_more_units_are_refused_before_the_first_job(tmp_path):
    with pytest.raises(SettingsError) as refused:
        Grid(with_checkpoint(tmp_path, 9)).check_sources()
    assert sorted(refused.value.args[0].splitlines()[1:]) == [
        f"  - populations.c, task flip_flop, round 1: terms.teacher compares unit i with unit i, and the network in "
        f"{tmp_path}/gru.pt has 9 units, these networks network.units = 8: set populations.c.alternatives.network."
        "units to at least 9, or leave the term out",
        "  - populations.s: round 0 of 'others' has 9 units and students have network.units = 8; unit i of a student "
        "learns from unit i of its teacher: give students at least as many",
    ]
    with pytest.raises(SettingsError, match=r"rank = 9: round 0 of 'others' has only 8 units") as refused:
        Grid(with_checkpoint(tmp_path, 8)).check_sources()
    assert str(refused.value).count("\n") == 1


def test_networks_in_files_teach_students_and_chains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = with_checkpoint(tmp_path, 8)
    for name, number, file in (("others", 0, None), ("c", 1, "activity"), ("s", 0, "network")):
        resolved = settings.made_with("flip_flop", name, number)
        maker, earlier = maker_of(resolved), (f"{file}.nc",) if file else ()
        names, sources = (("flip_flop", name, 0, number),), maker.sources("flip_flop")
        made = maker.make(Job(names, TASK, BANK, TEST, recipe_from(resolved), earlier, sources))
        if name == "others":
            for kind, (dataset, contract) in made.files().items():
                write(dataset.assign_attrs(settings="{}"), f"{kind}.nc", contract)
        else:
            assert (made.history["penalty"].values > 0).any()


def member(population, seed, number, role, rates, recipe=None):
    readout = np.zeros((1, 1, rates.shape[-1]))
    readout[..., 0] = 1.0
    network = xr.Dataset({"output_weights": (("seed", "output", "unit"), readout)}, {"seed": [seed]})
    network.attrs["settings"] = json.dumps({"recipe": recipe or {"make": "train"}})
    activity = xr.Dataset({"rates": (("seed", "trial", "time", "unit"), rates[None])}, {"seed": [seed]})
    return Member.of_datasets(population, number, role, network, activity)[0]


def grid_of_students(known, teachers=4):
    """Students whose rates are those of the first units of their teachers, in the order of recording, `known[share]` of
    them, and noise.
    """
    random, found = np.random.default_rng(0), []
    for seed in range(teachers):
        rates = random.standard_normal((20, 15, UNITS))
        found.append(member("insd", seed, 0, "reference", random.standard_normal((20, 15, UNITS))))
        found.append(member("insd", seed, 1, "alternative", rates))
        for share, count in known.items():
            own = random.standard_normal((20, 15, UNITS))
            copied = order_of_units(UNITS, seed)[:count]
            own[..., copied] = rates[..., copied]
            made = {"make": "teach", "maker": {"population": "insd", "round": 1, "recording": None}}
            made["terms"] = {"teacher": {"share": share}}
            found.append(member(f"q{share}", seed, 0, "control", own, made))
    analysis = plugins.find("analysis", "teacher")
    result = analysis.run(AnalysisJob("flip_flop", TASK, found, None))["teacher"]
    validate(result, analysis.writes["teacher"], "teacher.nc")
    rows = [
        {"task": "flip_flop", "population": one.population, "seed": one.seed, "round": one.round, "role": one.role}
        | {
            "solved": True,
            "reference": one.population,
            "standards": "standard",
            "chain": f"{one.population}/{one.seed}",
        }
        | {"n_stable_fixed_points": 8 if one.round == 0 else 0}
        for one in found
    ]
    rows += [
        {**rows[0], "population": "standard", "seed": seed, "role": "standard", "chain": f"standard/{seed}"}
        for seed in range(5)
    ]
    return pd.DataFrame(rows), result


def test_units_that_were_recorded_are_told_from_others():
    table, result = grid_of_students({0.0: 0, 0.25: 4, 0.5: 4})
    rows = students(table, result)
    assert len(rows) == 12 and (rows["teacher_role"] == "alternative").all()
    quarter, half = (rows[rows["share"] == share] for share in (0.25, 0.5))
    # All recorded units, and 2 of the 6 others.
    np.testing.assert_allclose(quarter["r2_to_recorded"], 1.0)
    np.testing.assert_allclose(quarter["r2_to_unrecorded"], 1 / 3, atol=0.1)
    np.testing.assert_allclose(half["r2_to_unrecorded"], 8 / 300, atol=0.03)
    # Of the students of no unit, r2 is to the same units.
    np.testing.assert_allclose(quarter["r2_output_only"], 8 / 300, atol=0.03)
    assert (rows["stable_points"] == 8).all() and (rows["stable_points_of_teacher"] == 0).all()
    np.testing.assert_allclose(half["r2_null_to_teacher"], half["r2_null_from_teacher"], atol=0.2)


def test_students_of_a_recording_are_compared_with_it_on_held_out_trials(teacher, tmp_path):
    """One student is the recording itself; the other does what it does."""
    path, held_out = str(tmp_path / "tape.npz"), 16
    network, rates = teacher[1], simulate_trials(teacher[1], BANK)[0].numpy()
    np.savez(path, rates=rates[0], fingerprint=BANK.attrs["fingerprint"])
    settings = load(config(s={"terms": {"teacher": {"share": 0.5}}, "teach": {"recording": path}}))
    made = settings.made_with("flip_flop", "s", 0)
    network = network.assign_attrs(settings=json.dumps({"recipe": made}))
    members = Member.of_datasets("s", 0, "control", network, network)
    analysis = plugins.find("analysis", "teacher")
    assert analysis.applies(settings, "flip_flop")
    more = analysis.more(settings, "flip_flop")
    assert more["files"] == {"s": path} and more["held_out"] == settings.held_out_trials("flip_flop")
    given = AnalysisJob("flip_flop", TASK, members, None, {"train": BANK}, more=more | {"held_out": held_out})
    result = analysis.run(given)["teacher"]
    validate(result, analysis.writes["teacher"], "teacher.nc")
    assert result["teacher"].values.tolist() == [path] * 2 and (result["recorded"] == UNITS / 2).all()
    for name in ("r2_null_to_teacher", "r2_null_from_teacher"):
        assert (result[name][0] > result[name][1]).all()
    x, y = (one[-held_out:].reshape(-1, UNITS).astype(float) for one in (rates[1], rates[0]))
    others = np.setdiff1d(np.arange(UNITS), recorded_units(UNITS, 0.5, 0))
    errors = np.square(y - LinearRegression().fit(x, y).predict(x)).sum(0)[others].sum()
    expected = 1 - errors / np.square(y - y.mean(0)).sum(0)[others].sum()
    np.testing.assert_allclose(result["r2_to_unrecorded"], [1.0, expected], rtol=1e-5)
    table = pd.DataFrame(
        [
            {"task": "flip_flop", "population": "s", "seed": seed, "round": 0, "role": "control", "solved": not seed}
            for seed in (0, 1)
        ]
    )
    rows = students(table, result)
    assert rows["solved"].tolist() == [True, False] and set(rows["teacher_role"]) == {"recording"}
    figure = sparse_figure(rows, 0.95)
    assert "teacher: recording of tape.npz" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    "known, verdicts",
    [
        ({0.0: 0, 0.125: 6, 0.25: 7, 0.5: 8}, (REPRODUCED, NO_ANSWER, REPRODUCED, NOT, NO_ANSWER)),
        ({0.0: 0, 0.125: 6, 0.25: 2, 0.5: 0}, (NOT, NO_ANSWER, PARTLY, NOT, NO_ANSWER)),
        ({0.0: 8, 0.125: 8, 0.25: 8, 0.5: 8}, (NOT, NO_ANSWER, NOT, NOT, NO_ANSWER)),
        ({0.0: 0}, (NO_ANSWER,) * 5),
    ],
)
def test_verdicts(known, verdicts):
    table, result = grid_of_students(known)
    papers = publications(["salatiello_2020"])
    found = judged(papers, table, {"teacher": {"flip_flop": result}, "performance": {}}, {}, 0.95, 500)
    assert tuple(found["verdict"]) == verdicts, found[["id", "number", "verdict"]].to_string()
    # The same statements are asked of grids without students.
    assert set(judged(papers, table, {"teacher": {}, "performance": {}}, {}, 0.95, 99)["verdict"]) == {NO_ANSWER}


@pytest.mark.parametrize("of_references, verdict", [(0.5, REPRODUCED), (1.0, PARTLY)])
def test_generalisation_is_judged_in_harder_regimes_for_both_kinds_of_teachers(of_references, verdict):
    table, result = grid_of_students({0.0: 0, 0.5: 8})
    # The same students once more, as if their teachers were references.
    others = result.assign(teacher_role=xr.full_like(result["teacher_role"], "reference"))
    others = others.assign_coords(network=["r" + label for label in result["network"].values])
    again = table[table["role"] == "control"].assign(population="r" + table["population"])
    table, result = pd.concat([table, again], ignore_index=True), xr.concat([result, others], "network")
    labels = network_labels(table)
    ratio = [0.5 if one.startswith("q0.5") else of_references if one.startswith("rq0.5") else 1.0 for one in labels]
    # In the regime that networks are trained in, students of half are worse.
    losses = np.stack([1 / np.array(ratio), 0.3 * np.array(ratio), 0.7 * np.array(ratio)], 1)
    performance = xr.Dataset(
        {"loss": (("network", "regime"), losses)}, {"network": labels, "regime": ["test", "noisy", "long"]}
    )
    analyses = {"teacher": {"flip_flop": result}, "performance": {"flip_flop": performance}}
    found = judged(publications(["salatiello_2020"]), table, analyses, {}, 0.95, 200).set_index("id")
    assert found.loc["generalisation", "verdict"] == verdict, found.loc["generalisation", "number"]
    assert "students of alternatives 0.50 (0.50 to 0.50; 4 teachers)" in found.loc["generalisation", "number"]


def test_the_figure_has_all_students():
    table, result = grid_of_students({0.0: 0, 0.25: 4, 0.5: 8})
    table.loc[(table["population"] == "q0.5") & (table["seed"] == 0), "solved"] = False
    figure = sparse_figure(students(table, result), 0.95)
    check_text(figure)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "1/4", "1/2"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "teacher: alt-1 of insd" in legend and "not solved" in legend
    empty = sparse_figure(students(table, result.isel(network=[])), 0.95)
    assert "no students" in empty.axes[0].texts[0].get_text()


def test_the_study_has_every_share_of_both_teachers():
    settings = load(config_of("sparse"))
    found = {}
    for name in settings.made_by("teach"):
        teacher, recipe = settings.maker(name).settings, settings.recipe("flip_flop", name, 0)
        assert set(recipe.terms) == {"teacher"} and settings.population(name).seeds == 5
        found.setdefault(teacher.round, []).append(recipe.terms["teacher"].share)
    assert {number: sorted(shares) for number, shares in found.items()} == {
        number: [0.0, 0.0625, 0.125, 0.25, 0.5] for number in (0, 1)
    }


def test_rounds_stored_at_another_stride_are_refused(teacher):
    _, network = teacher
    stored = Teacher(TeacherSettings(time_stride=1)).stores(network, BANK)
    with pytest.raises(DatasetError, match=r"a.nc: was stored at a different time_stride"):
        Teacher(TeacherSettings()).join([stored], BANK, ["a.nc"])
