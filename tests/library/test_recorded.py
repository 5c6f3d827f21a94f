"""Recorded trials as a task, and what was recorded in them as a reference: from an NWB file by config alone."""

import re
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr
import yaml
from conftest import ROOT
from scipy.ndimage import gaussian_filter1d

from insd.cli import main
from insd.datasets import DatasetError, write
from insd.evaluation.recordings import recording_predictivity
from insd.grid import Grid
from insd.makers.base import Job, maker_of, recipe_from
from insd.members import Member
from insd.provenance import trials_fingerprint
from insd.recordings import read_recording
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.tasks import TaskError, find_task
from insd.tasks.sessions import SessionError

pynwb = pytest.importorskip("pynwb")

DT = 0.05
TRIALS, UNITS = 30, 10
RANDOM = np.random.default_rng(0)
STARTS = 1.0 + np.arange(TRIALS) + RANDOM.uniform(0, 0.2, TRIALS)
STEPS = RANDOM.integers(10, 13, TRIALS)
COHERENCE = RANDOM.uniform(-1, 1, TRIALS)
TIMES = np.arange(0, TRIALS + 3, 0.01)
DRIVE = sum(c * ((s < TIMES) & (s + 0.5 > TIMES)) for c, s in zip(COHERENCE, STARTS, strict=True))
HAND = np.stack([np.convolve(DRIVE, np.exp(-np.arange(90) / tau))[: TIMES.size] + 7 for tau in (3, 30)], 1)
SPIKES = [
    np.sort(RANDOM.choice(TIMES, 900, p=(rate := np.exp(gain * DRIVE)) / rate.sum()) + RANDOM.uniform(0, 0.01, 900))
    for gain in np.linspace(-3, 3, UNITS)
]


def written(path, hand=HAND, units=True, **changes):
    """A file in the layout of public data sets: trials, units, and a behavioural series of a processing module."""
    file = pynwb.NWBFile("a test", "insd", datetime(2026, 1, 1, tzinfo=UTC), session_id="1")
    columns = {
        "start_time": STARTS,
        "stop_time": STARTS + STEPS * DT + 0.01,
        "go_time": STARTS + 0.3,
        "coherence": COHERENCE,
        "choice": np.where(COHERENCE > 0, "right", "left"),
        "correct": np.arange(TRIALS) != 4,
    } | changes
    for name in set(columns) - {"start_time", "stop_time"}:
        file.add_trial_column(name, f"the {name}")
    for row in range(TRIALS):
        file.add_trial(**{name: values[row] for name, values in columns.items()})
    behaviour = file.create_processing_module("behavior", "what it did")
    hand = pynwb.behavior.SpatialSeries(
        name="hand", data=hand, reference_frame="the table", rate=100.0, starting_time=0.0
    )
    behaviour.add(pynwb.behavior.Position(spatial_series=hand))
    if units:
        file.add_unit_column("quality", "by its waveform")
        for unit, spikes in enumerate(SPIKES):
            file.add_unit(spike_times=spikes, quality="noise" if unit == 3 else "good")
    with pynwb.NWBHDF5IO(str(path), "w") as opened:
        opened.write(file)
    return path


def in_step(times, row, step):
    """Which times are in a step of a trial: its end belongs to it, its start does not."""
    since = times - STARTS[row] - step * DT
    return (since > 0) & (since <= DT)


def config(path, **parameters):
    own = {
        "dt": DT,
        "inputs": ["coherence", "go_time"],
        "outputs": ["hand", "choice"],
        "windows": {"choice": ["go_time", "stop_time"]},
        "units": {"quality": ["good"]},
    }
    training = {"iterations": 700, "batch_size": 16, "evaluate_every": 700, "validation_trials": 8, "restarts": 0}
    return {
        "tasks": {"reach": {"class": f"recorded:{path}", "parameters": own | parameters}},
        "trials": {"train": 24, "evaluation": 6},
        "analysis": {"robustness": {"trials": 6}, "performance": {"grid_trials": 6}},
        "defaults": {"network": {"units": 16}, "training": training, "terms": {"predictivity": {"multiplier": 3.0}}},
        "populations": {
            "tape": {"seeds": 1, "make": "recording", "recording": {"file": str(path)}},
            "recorded": {"seeds": 1, "rounds": 2, "reference": "tape"},
            "standard": {"seeds": 1},
        },
    }


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return written(tmp_path_factory.mktemp("nwb") / "reach.nwb")


@pytest.fixture(scope="module")
def task(session):
    return load(config(session)).task("reach")


def test_the_file_is_valid(session):
    assert not pynwb.validate(path=str(session))


def test_trials_are_those_of_the_table(task):
    trials = task.sample("train", 24, 0)
    assert trials["input"].values.tolist() == ["coherence", "go_time"]
    assert trials["output"].values.tolist() == ["hand_0", "hand_1", "choice=left", "choice=right"]
    mean, sd = HAND.mean(0), HAND.std(0)
    for trial in range(24):
        one = trials.isel(trial=trial)
        row = int(one["recorded_trial"])
        steps = STEPS[row]
        assert one["valid"].values.sum() == steps and one["session_time"] == STARTS[row]
        ends = DT * np.arange(1, steps + 1)
        after = ends - DT / 2 >= 0.3 - 1e-9
        expected = np.stack([np.full(steps, COHERENCE[row]), after], 1)
        np.testing.assert_allclose(one["inputs"].values[:steps], expected, rtol=1e-6)
        np.testing.assert_array_equal(one["mask"].values[:steps, 2], after)
        assert one["mask"].values[:steps, :2].all() and not one["mask"].values[steps:].any()
        right = one["targets"].values[:steps, 3]
        np.testing.assert_array_equal(right, after * (COHERENCE[row] > 0))
        for step in range(steps):
            inside = in_step(TIMES, row, step)
            value = (HAND[inside].mean(0) - mean) / sd
            np.testing.assert_allclose(one["targets"].values[step, :2], value, rtol=1e-4, atol=1e-5)
        assert float(one["go_time"]) == pytest.approx(0.3)
    assert set(task.variables(trials)) == {"coherence", "choice"}


def test_training_and_test_share_no_trial_and_repeats_come_in_a_row(task):
    every = [
        set(task.sample(regime, count, 0)["recorded_trial"].values) for regime, count in (("train", 24), ("test", 6))
    ]
    assert len(every[0]) == 24 and len(every[1]) == 6 and not every[0] & every[1]
    rows = task.sample("train", 60, 5)["recorded_trial"].values
    assert set(rows) == every[0] and set(np.unique(rows, return_counts=True)[1]) == {2, 3}
    assert (np.diff(rows) != 0).sum() == 23
    first = task.sample("train", 7, 1)["recorded_trial"].values
    np.testing.assert_array_equal(first, task.sample("train", 24, 0)["recorded_trial"].values[:7])


def bank_of(task, count=24):
    trials = task.sample("train", count, 0)
    return trials.assign_attrs(fingerprint=trials_fingerprint(trials))


def test_a_recording_is_the_smoothed_rates_of_the_banks_trials(task, session):
    bank = bank_of(task, 30)
    rates = read_recording(session, bank)["rates"]
    assert rates.shape == (30, bank.sizes["time"], UNITS - 1)
    for trial in (0, 1, 17):
        row = int(bank["recorded_trial"][trial])
        # A grid that is wide enough for what is cut off.
        edges = STARTS[row] + DT * np.arange(-20, STEPS[row] + 21)
        counts = np.histogram(SPIKES[4], edges)[0] / DT
        expected = gaussian_filter1d(counts, 1.0, truncate=4.0)[20:-20]
        np.testing.assert_allclose(rates[trial, : STEPS[row], 3], expected, rtol=1e-5)
        assert np.isnan(rates[trial, STEPS[row] :]).all()


def test_netcdf_gives_the_same_trials_and_activity(task, session, tmp_path):
    bank = bank_of(task)
    longest = int(STEPS.max())
    rates = np.full((TRIALS, longest, UNITS), np.nan)
    hand = np.full((TRIALS, longest, 2), np.nan)
    for row in range(TRIALS):
        for step in range(STEPS[row]):
            hand[row, step] = HAND[in_step(TIMES, row, step)].mean(0)
            rates[row, step] = [in_step(spikes, row, step).sum() / DT for spikes in SPIKES]
    xr.Dataset(
        {"rates": (("trial", "time", "unit"), rates), "hand": (("trial", "time", "axis"), hand)},
        coords={
            "time": DT * np.arange(1, longest + 1),
            "stop_time": ("trial", STEPS * DT),
            "go_time": ("trial", np.full(TRIALS, 0.3)),
            "coherence": ("trial", COHERENCE),
            "choice": ("trial", np.where(COHERENCE > 0, "right", "left")),
            # What trial files have under this name is something else.
            "noise_sd": ("trial", np.ones(TRIALS)),
            "axis": ["x", "y"],
        },
    ).to_netcdf(tmp_path / "reach.nc")
    same = load(config(tmp_path / "reach.nc", units={}, smoothing=0.0, standardise=False)).task("reach")
    plain = load(config(session, standardise=False)).task("reach").sample("train", 24, 0)
    found = same.sample("train", 24, 0)
    assert found["output"].values.tolist()[:2] == ["hand_x", "hand_y"]
    for name in ("inputs", "targets", "mask", "valid"):
        np.testing.assert_allclose(found[name].values, plain[name].values, rtol=1e-5, atol=1e-6)
    unsmoothed = load(config(session, smoothing=0.0, units={})).task("reach")
    np.testing.assert_allclose(
        read_recording(tmp_path / "reach.nc", bank_of(same))["rates"],
        read_recording(session, bank_of(unsmoothed))["rates"],
        rtol=1e-5,
    )
    with pytest.raises(DatasetError, match="are not of this file; give the task the class 'recorded:"):
        read_recording(session, bank_of(same))
    assert bank["session_time"].dtype == np.float64


def test_a_chain_begins_with_what_an_nwb_file_holds(session):
    """By config alone: alternatives solve the task as a standard network does, and predict what was recorded less."""
    settings = load(config(session))
    grid, task = Grid(settings), settings.task("reach")
    bank, test = bank_of(task), task.sample("test", 6, 1)
    test.attrs["fingerprint"] = trials_fingerprint(test)
    folder, members = session.parent, []
    for population, number in (("tape", 0), ("standard", 0), ("recorded", 1)):
        wildcards = {"task": "reach", "population": population, "seeds": "0", "round": str(number)}
        inputs, made = grid.round_inputs(wildcards), grid.round_params(wildcards)["made"]
        earlier = tuple(str(folder / path) for path in inputs["earlier"])
        names = (("reach", population, 0, number),)
        job = Job(names, task, bank, test, recipe_from(made), earlier, tuple(inputs["sources"]))
        result = maker_of(made).make(job)
        path = folder / f"results/reach/{population}/seeds-0/round-{number}/activity.nc"
        path.parent.mkdir(parents=True)
        write(result.activity, path, "activity" if result.network else "kept")
        if result.network is not None:
            members += Member.of_datasets(population, number, "alternative", result.network, result.activity)
            assert result.activity["score"].values > 0.9
    recordings = {name: read_recording(file, bank) for name, file in settings.recordings("reach").items()}
    found = recording_predictivity(members, recordings, bank, settings.held_out_trials("reach"), 0)
    r2 = found["r2"].sel(space="null", recording="tape").to_series()
    assert r2["recorded/0/1"] < r2["standard/0/0"] - 0.15, r2


def last_to(value, values):
    return [*values[:-1], value]


@pytest.mark.parametrize(
    "changes, parameters, message",
    [
        (
            {},
            {"inputs": ["contrast"]},
            "has no time series and no column of trials 'contrast'; time series are: behavior/Position/hand",
        ),
        ({}, {"stop": "end_time"}, "trials has no column 'end_time'; it has: choice, coherence, correct, go_time"),
        ({}, {"where": {"block": [1]}}, "trials has no column 'block'"),
        (
            {},
            {"where": {"correct": ["yes"]}},
            "column 'correct' of trials holds numbers, and the values asked for are ",
        ),
        ({}, {"where": {"choice": ["up"]}}, "has no rows of trials where choice is one of ['up']"),
        ({}, {"dt": 0.7}, "lasts 0."),
        ({}, {"test_share": 0.01}, "test_share = 0.01 of 30 trials leaves none for tests"),
        ({"stop_time": last_to(STARTS[-1], STARTS + 0.5)}, {}, "trial 29 has no length: start_time is "),
        (
            {"coherence": last_to(np.nan, COHERENCE)},
            {},
            "column 'coherence' of trials is nan in 1 trial(s), the first being 29; ",
        ),
        ({"hand": np.where(TIMES[:, None] > 10, np.nan, HAND)}, {}, "'hand' is NaN at some time of trial "),
        ({"hand": HAND[:1500]}, {}, "'hand' has no samples at some time of trial "),
        (
            {},
            {"windows": {"coherence": ["stop_time", "start_time"]}},
            "windows: coherence is never on, for no time step of a trial is between stop_time and start_time",
        ),
        (
            {},
            {"windows": {"coherence": ["choice", "stop_time"]}},
            "column 'choice' of trials holds text, and not times; name another",
        ),
        ({}, {"stop": "correct"}, "column 'correct' of trials holds true and false, and not times"),
        ({}, {"windows": {"speed": ["go_time", "stop_time"]}}, "windows: speed is neither an input nor an output"),
        ({}, {"longest": 0.01}, "longest = 0.01: is less than one time step dt = 0.05"),
    ],
)
def test_what_cannot_be_trials_is_refused_by_file_and_key(session, tmp_path, changes, parameters, message):
    path = written(tmp_path / "s.nwb", **changes) if changes else session
    with pytest.raises(SettingsError) as refusal:
        load(config(path, **parameters))
    assert message in str(refusal.value) and "  - tasks.reach" in str(refusal.value)
    if not message.startswith(("windows", "longest")):
        assert f"{path}: " in str(refusal.value)


def test_what_cannot_be_a_recording_is_refused(session, tmp_path):
    for parameters, message in (
        ({"units": {"quality": ["fine"]}}, "has no rows of units where quality is one of ['fine']"),
        ({"units": {"quality": ["good", "fine"]}}, "'quality' of units has no value 'fine'; it has: good, noise"),
        ({"units": {"depth": [1]}}, "units has no column 'depth'; it has: quality"),
        ({"activity": "fluorescence", "units": {}}, "has no time series and no column of trials 'fluorescence'"),
    ):
        settings = load(config(session, **parameters))
        with pytest.raises(SessionError, match=re.escape(message)):
            read_recording(session, bank_of(settings.task("reach")))
        # The same before the first job.
        with pytest.raises(SettingsError, match="  - populations.tape: .*" + re.escape(message)):
            Grid(settings).check_sources()
    bare = written(tmp_path / "bare.nwb", units=False)
    with pytest.raises(SessionError, match=r"bare\.nwb: has no units with spike times"):
        read_recording(bare, bank_of(load(config(bare)).task("reach")))
    # Behaviour in the place of activity: as the targets have it.
    hand = load(config(bare, activity="hand", units={}, smoothing=0.0, standardise=False)).task("reach")
    bank = bank_of(hand)
    lasts = bank["valid"].values
    found = read_recording(bare, bank)["rates"]
    np.testing.assert_allclose(found[lasts], bank["targets"].values[lasts][:, :2], rtol=1e-6)


def test_samples_that_are_nan_count_only_in_the_trial_that_they_are_in(task, session, tmp_path):
    own = {"outputs": ["choice"], "activity": "hand", "units": {}}
    row = int(bank_of(task)["recorded_trial"][3])
    gap = np.abs(TIMES - STARTS[row] + 0.05) < 0.03
    path = written(tmp_path / "before.nwb", np.where(gap[:, None], np.nan, HAND))
    for smoothing in (0.0, 0.05):
        found, whole = (
            read_recording(file, bank_of(load(config(file, smoothing=smoothing, **own)).task("reach")))["rates"]
            for file in (path, session)
        )
        changed = ~np.isclose(found, whole, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert (np.isnan(found) == np.isnan(whole)).all()
        assert changed.any((1, 2)).nonzero()[0].tolist() == ([3] if smoothing else [])
    # Targets of the same file; standardisation does not count what is NaN.
    load(config(path)).task("reach").sample("train", 24, 0)
    within = np.abs(TIMES - STARTS[row] - 0.2) < 0.03
    path = written(tmp_path / "within.nwb", np.where(within[:, None], np.nan, HAND))
    with pytest.raises(SessionError, match=r"within\.nwb: 'hand' is NaN at some time of the trial that starts at "):
        read_recording(path, bank_of(load(config(path, **own)).task("reach")))


def test_files_without_trials_are_refused(tmp_path, monkeypatch):
    (tmp_path / "broken.nwb").write_bytes(b"nothing")
    xr.Dataset({"rates": (("cell", "time"), np.ones((2, 3)))}).to_netcdf(tmp_path / "flat.nc")
    rates = xr.Dataset({"rates": (("trial", "time", "unit"), np.ones((2, 3, 1)))})
    for name, unit in (("ms", "milliseconds"), ("dates", "seconds since 2026-01-01")):
        rates.assign_coords(time=("time", np.arange(3.0), {"units": unit})).to_netcdf(tmp_path / f"{name}.nc")
    file = pynwb.NWBFile("no trials", "insd-2", datetime(2026, 1, 1, tzinfo=UTC))
    with pynwb.NWBHDF5IO(str(tmp_path / "empty.nwb"), "w") as opened:
        opened.write(file)
    for name, message in (
        ("broken.nwb", "cannot be read as NWB"),
        ("empty.nwb", "has no table of trials"),
        ("flat.nc", "needs 'trial' and 'time'"),
        ("ms.nc", "the times of 'time' are in milliseconds; give them in s"),
        ("dates.nc", "the times of 'time' are dates; give them in s"),
        ("missing.nwb", "there is no such file"),
    ):
        with pytest.raises(TaskError, match=f"{name}: .*{message}"):
            find_task(f"recorded:{tmp_path / name}")
    # No job makes a recording again once it is deleted.
    (tmp_path / "cut.nc").write_bytes(b"nothing")
    with pytest.raises(TaskError, match=r"cut\.nc: truncated, empty or no NetCDF file") as refusal:
        find_task(f"recorded:{tmp_path / 'cut.nc'}")
    assert "delete" not in str(refusal.value)
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(TaskError, match=r"install the extra `insd\[nwb\]`"):
        find_task(f"recorded:{tmp_path / 'broken.nwb'}")


def test_the_command_takes_inputs_and_outputs(task, session, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(session.parent)
    asked = ["trials", f"recorded:{session.name}", str(tmp_path / "bank")]
    assert main(asked) == 1
    told = capsys.readouterr().err
    assert "inputs: this key is required; give it by --set, as in `--set task.inputs=VALUE` or, of a list, " in told
    given = ["task.inputs=[coherence, go_time]", 'task.outputs=["hand"]', f"task.dt={DT}", "trials.train=24"]
    assert main([*asked, "--set", *given, "trials.evaluation=6"]) == 0
    bank = xr.load_dataset(tmp_path / "bank/train.nc")
    assert bank["output"].values.tolist() == ["hand_0", "hand_1"]
    np.testing.assert_array_equal(bank["inputs"], task.sample("train", 24, 0)["inputs"])


def test_the_command_tells_of_trials_that_are_asked_for_alone(session, tmp_path, monkeypatch, caplog):
    """Not of the sixteen that a check samples, of which a file with few trials for tests has not as many."""
    monkeypatch.chdir(session.parent)
    given = ["task.inputs=[coherence]", "task.outputs=[choice]", f"task.dt={DT}", "trials.evaluation=6"]
    for count, told in ((24, []), (30, [f"30 trials for training are made of 24 in {session.name}: some come again"])):
        folder = str(tmp_path / f"bank-{count}")
        assert main(["trials", f"recorded:{session.name}", folder, "--set", *given, f"trials.train={count}"]) == 0
        assert [record.getMessage() for record in caplog.records] == told


def test_a_changed_file_is_another_task(tmp_path):
    # A name as DANDI gives it.
    path = written(tmp_path / "sub-1_ses-2_behavior+ecephys.nwb")
    before = load(config(path)).task_parameters("reach")["class"]["code"]
    written(path, coherence=-COHERENCE)
    assert load(config(path)).task_parameters("reach")["class"]["code"] != before


def test_the_config_of_the_page_can_be_used(tmp_path, monkeypatch):
    page = (ROOT / "docs/own-task.md").read_text().split("## Trials of an experiment")[1]
    given = yaml.safe_load(re.search(r"(?:^    .*\n)+", page, re.MULTILINE)[0])
    (tmp_path / "data").mkdir()
    written(tmp_path / "data/reach.nwb", stimulus_on_time=STARTS + 0.1, stimulus_off_time=STARTS + 0.25)
    monkeypatch.chdir(tmp_path)
    settings = load(given)
    trials = settings.task("reach").sample("test", 5, 0)
    assert not (trials["recorded_trial"] == 4).any()
    times, coherence = trials["time"].values, trials["inputs"].values[..., 0]
    on = (times - 0.01 >= 0.1) & (times - 0.01 < 0.25)
    np.testing.assert_allclose(coherence, trials["coherence"].values[:, None] * on, rtol=1e-6)
    assert Grid(settings).round_inputs({"task": "reach", "population": "tape", "seeds": "0", "round": "0"}) == {
        "earlier": [],
        "sources": ["data/reach.nwb"],
    }
