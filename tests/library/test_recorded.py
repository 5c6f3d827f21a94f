"""Recorded trials as a task, and what was recorded in them as a reference: from an NWB file by config alone."""

from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from insd.datasets import DatasetError, read, write
from insd.makers.base import Job, maker_of, recipe_from
from insd.provenance import trials_fingerprint
from insd.recordings import read_recording
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.tasks import find_task

pynwb = pytest.importorskip("pynwb")

DT = 0.05
TRIALS, UNITS = 30, 10
RANDOM = np.random.default_rng(0)
STARTS = 1.0 + np.arange(TRIALS) + RANDOM.uniform(0, 0.2, TRIALS)
STEPS = RANDOM.integers(10, 13, TRIALS)
COHERENCE = RANDOM.choice([-0.5, -0.2, 0.2, 0.5], TRIALS)
TIMES = np.arange(0, TRIALS + 3, 0.01)
DRIVE = sum(c * ((s < TIMES) & (s + 0.5 > TIMES)) for c, s in zip(COHERENCE, STARTS, strict=True))
HAND = np.stack([np.convolve(DRIVE, np.exp(-np.arange(30) / 10))[: TIMES.size] + 7, np.sin(TIMES)], 1)
SPIKES = [
    np.sort(RANDOM.choice(TIMES, 900, p=(p := np.exp(g * DRIVE)) / p.sum())) + RANDOM.uniform(0, 0.01, 900).cumsum() * 0
    for g in np.linspace(-3, 3, UNITS)
]


def written(path, change=lambda file: None, **changes):
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
    hand = pynwb.behavior.SpatialSeries("hand", HAND, reference_frame="the table", rate=100.0, starting_time=0.0)
    behaviour.add(pynwb.behavior.Position(spatial_series=hand))
    if changes.get("units", True) is not None:
        file.add_unit_column("quality", "by its waveform")
        for unit, spikes in enumerate(SPIKES):
            file.add_unit(spike_times=spikes, quality="noise" if unit == 3 else "good")
    change(file)
    with pynwb.NWBHDF5IO(str(path), "w") as opened:
        opened.write(file)
    return path


def config(path, **parameters):
    own = {
        "dt": DT,
        "inputs": ["coherence", "go_time"],
        "outputs": ["hand", "choice"],
        "windows": {"choice": ["go_time", "stop_time"]},
        "units": {"quality": ["good"]},
    }
    training = {"iterations": 20, "batch_size": 8, "evaluate_every": 10, "validation_trials": 8, "restarts": 0}
    return {
        "tasks": {"reach": {"class": f"recorded:{path}", "parameters": own | parameters}},
        "trials": {"train": 24, "evaluation": 6},
        "analysis": {"robustness": {"trials": 6}, "performance": {"grid_trials": 6}},
        "defaults": {"network": {"units": 8}, "training": training},
        "populations": {
            "tape": {"seeds": 1, "make": "recording", "recording": {"file": str(path)}},
            "recorded": {"seeds": 1, "rounds": 3, "reference": "tape"},
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
        for step, end in enumerate(ends):
            inside = (TIMES > STARTS[row] + end - DT) & (TIMES <= STARTS[row] + end)
            value = (HAND[inside].mean(0) - mean) / sd
            np.testing.assert_allclose(one["targets"].values[step, :2], value, rtol=1e-4, atol=1e-5)
        assert float(one["go_time"]) == pytest.approx(0.3)
    assert set(task.variables(trials)) == {"coherence", "choice"}


def test_training_and_test_share_no_trial_and_repeats_come_in_a_row(task):
    every = [set(task.sample(regime, count, 0)["recorded_trial"].values) for regime, count in (("train", 24), ("test", 6))]
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
            inside = (TIMES > STARTS[row] + step * DT) & (TIMES <= STARTS[row] + (step + 1) * DT)
            hand[row, step] = HAND[inside].mean(0)
            inside = [(s > STARTS[row] + step * DT) & (s <= STARTS[row] + (step + 1) * DT) for s in SPIKES]
            rates[row, step] = [one.sum() / DT for one in inside]
    xr.Dataset(
        {"rates": (("trial", "time", "unit"), rates), "hand": (("trial", "time", "axis"), hand)},
        coords={
            "time": DT * np.arange(1, longest + 1),
            "stop_time": ("trial", STEPS * DT),
            "go_time": ("trial", np.full(TRIALS, 0.3)),
            "coherence": ("trial", COHERENCE),
            "choice": ("trial", np.where(COHERENCE > 0, "right", "left")),
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
