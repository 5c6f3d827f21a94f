"""Training that is stopped goes on from its checkpoint to the same arrays; a checkpoint is never trusted."""

import importlib
import logging
import os
import pickle
import sys

import numpy as np
import pytest
import torch
import xarray as xr

from insd.activity import join_earlier, record_activity
from insd.checkpoints import Checkpoint
from insd.provenance import code_fingerprint
from insd.settings.config import Deflation, Recipe, Training
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop(channels=1, duration=0.4)
BANK = TASK.sample("train", 48, 1).assign_attrs(fingerprint="bank")
NAMES = [("flip_flop", "test", 0, 0), ("flip_flop", "test", 1, 0)]


class StoppedError(Exception):
    pass


def recipe(**training):
    chosen = {"iterations": 40, "batch_size": 8, "evaluate_every": 5, "validation_trials": 16, "restarts": 1}
    return Recipe(network={"units": 8}, training=Training(**(chosen | training)))


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    """Runs a training with a checkpoint at every evaluation, which is stopped right after some of them."""
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 0)
    save = Checkpoint.save
    path = tmp_path / "checkpoint.pt"

    def run(saves, *arguments):
        left = iter(range(saves, 0, -1))

        def save_and_stop(self, state):
            save(self, state)
            if next(left) == 1:
                raise StoppedError

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "save", save_and_stop)
            with pytest.raises(StoppedError):
                train_round(*arguments, checkpoint=path)
        assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
        return path

    return run


def assert_resumes(path, caplog, arguments, message):
    expected = train_round(*arguments)
    with caplog.at_level(logging.INFO, logger="insd"):
        resumed = train_round(*arguments, checkpoint=path)
    assert message in caplog.text
    for one, other in zip(resumed, expected, strict=True):
        xr.testing.assert_identical(one, other)
    return resumed


@pytest.mark.parametrize(
    "saves, message",
    [(1, "resumed from iteration 5 of attempt 0"), (7, "from iteration 35 of attempt 0"), (9, "10 of attempt 1")],
)
def test_a_stopped_round_resumes_to_equal_arrays(stopped, caplog, saves, message):
    arguments = (TASK, BANK, recipe(), NAMES)
    network, history = assert_resumes(stopped(saves, *arguments), caplog, arguments, message)
    # The second attempt is a part of what must be equal.
    assert network["restarts"].values.tolist() == [1, 1]
    assert history.sizes["attempt"] == 2


@pytest.mark.parametrize("schedule", ["constant", "constrained"])
def test_multipliers_resume(stopped, caplog, schedule):
    # The bound on the task is far above its loss, so that multipliers move.
    settings = recipe(loss_bound=10.0, patience=99, restarts=0).model_copy(
        update={"deflation": Deflation(schedule=schedule, multiplier_rate=0.2)}
    )
    network, _ = train_round(TASK, BANK, recipe(), NAMES)
    activity = record_activity(network, TASK, BANK, BANK, Deflation())
    arguments = (TASK, BANK, settings, NAMES, join_earlier([activity], BANK, ["activity.nc"]))
    _, history = assert_resumes(stopped(4, *arguments), caplog, arguments, "from iteration 20 of attempt 0")
    values = history["multiplier"].isel(attempt=0, seed=0, earlier=0).dropna("iteration").values
    assert len(set(values.tolist())) > 3


def test_a_network_that_stopped_early_keeps_its_weights(stopped, caplog):
    """One of the two meets the bounds at once, and waits for the other."""
    free, history = train_round(TASK, BANK, recipe(restarts=0), NAMES)
    losses = history["held_out_loss"].isel(attempt=0, iteration=2).values
    bound = float(losses.mean())
    settings = recipe(restarts=0, loss_bound=bound, patience=1)
    criterion = type("Easy", (FlipFlop,), {"criterion": 0.0})(channels=1, duration=0.4)
    arguments = (criterion, BANK, settings, NAMES)
    reached = train_round(*arguments)[1]["held_out_loss"].isel(attempt=0).count("iteration").values
    assert len(set(reached.tolist())) == 2
    first = int(reached.min()) - 1
    resumed, _ = assert_resumes(stopped(first, *arguments), caplog, arguments, f"iteration {5 * first} of attempt 0")
    assert not np.allclose(resumed["recurrent_weights"], free["recurrent_weights"])


def test_a_checkpoint_of_anything_else_is_ignored_with_a_line_in_the_log(stopped, caplog):
    path = stopped(2, TASK, BANK, recipe(), NAMES)
    other_trials = TASK.sample("train", 48, 2)
    for arguments in (
        (TASK, BANK, recipe(step_size=2e-3), NAMES),
        (TASK, other_trials, recipe(), NAMES),
        (TASK, BANK, recipe(), [("flip_flop", "test", 3, 0), NAMES[1]]),
        (FlipFlop(channels=1, duration=0.4, input_noise=0.2), BANK, recipe(), NAMES),
    ):
        caplog.clear()
        made = Checkpoint(path, "other").load()
        assert made is None
        assert f"{path}: ignored, for it was made with other settings, trials, code or torch" in caplog.text
        caplog.clear()
        copy = path.with_name("copy.pt")
        copy.write_bytes(path.read_bytes())
        network, _ = train_round(*arguments, checkpoint=copy)
        assert f"{copy}: ignored, for it was made with other settings" in caplog.text
        xr.testing.assert_identical(network, train_round(*arguments)[0])


def test_a_checkpoint_from_before_an_edit_of_an_own_task_is_ignored(stopped, caplog, tmp_path_factory, monkeypatch):
    code = (
        "from dataclasses import dataclass\nfrom insd.tasks.flip_flop import FlipFlop\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(FlipFlop):\n    criterion = 1.0\n"
    )
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def mine(text):
        (folder / "insd_edited.py").write_text(text)
        sys.modules.pop("insd_edited", None)
        code_fingerprint.cache_clear()
        return importlib.import_module("insd_edited").Mine(channels=1, duration=0.4)

    path = stopped(2, mine(code), BANK, recipe(), NAMES)
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 1000)
    for text, message in (
        (code + "# a comment\n", "resumed from iteration 10"),
        (code.replace("1.0", "0.9"), "ignored, for it was made with other settings, trials, code or torch"),
    ):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="insd"):
            train_round(mine(text), BANK, recipe(), NAMES, checkpoint=path)
        assert message in caplog.text
    sys.modules.pop("insd_edited")


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


@pytest.mark.parametrize("kind", ["pickle", "torch", "numpy"])
def test_a_hostile_checkpoint_runs_nothing(tmp_path, caplog, kind):
    path, proof = tmp_path / "checkpoint.pt", tmp_path / "proof"
    content = {"made_from": "x", "state": Hostile(f"touch {proof}")}
    with path.open("wb") as file:
        if kind == "pickle":
            pickle.dump(content, file)
        elif kind == "torch":
            torch.save(content, file)
        else:
            np.save(file, np.array([content], dtype=object), allow_pickle=True)
    assert Checkpoint(path, "x").load() is None
    assert f"{path}: ignored, for it is no checkpoint that can be loaded safely" in caplog.text
    assert not proof.exists()
    # The file would have done it.
    if kind == "pickle":
        pickle.loads(path.read_bytes())
        assert proof.exists()


@pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04 truncated"])
def test_a_broken_checkpoint_is_ignored(tmp_path, caplog, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    assert Checkpoint(path, "x").load() is None
    assert f"{path}: ignored" in caplog.text


def test_a_checkpoint_of_a_gpu_is_read_where_there_is_none(tmp_path, caplog, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "a GPU")
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        checkpoint.save({"weights": torch.arange(3)})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch.equal(checkpoint.load()["weights"], torch.arange(3))
    assert caplog.text == ""
    assert Checkpoint(checkpoint.path, "a CPU").load() is None
    assert "ignored, for it was made with other settings, trials, code or torch" in caplog.text


def test_a_truncated_checkpoint_is_ignored(stopped, caplog):
    path = stopped(2, TASK, BANK, recipe(), NAMES)
    path.write_bytes(path.read_bytes()[:-1000])
    network, _ = train_round(TASK, BANK, recipe(), NAMES, checkpoint=path)
    assert f"{path}: ignored, for it is no checkpoint" in caplog.text
    xr.testing.assert_identical(network, train_round(TASK, BANK, recipe(), NAMES)[0])


def test_a_checkpoint_that_cannot_be_written_does_not_stop_training(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(Checkpoint, "EVERY_SECONDS", 0)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    network, _ = train_round(TASK, BANK, recipe(), NAMES, checkpoint=tmp_path / "checkpoint.pt")
    assert "the checkpoint could not be written ([Errno 28] No space left on device)" in caplog.text
    xr.testing.assert_identical(network, train_round(TASK, BANK, recipe(), NAMES)[0])
    assert list(tmp_path.iterdir()) == []


def test_short_trainings_write_none(tmp_path):
    train_round(TASK, BANK, recipe(), NAMES, checkpoint=tmp_path / "checkpoint.pt")
    assert list(tmp_path.iterdir()) == []
