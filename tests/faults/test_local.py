"""What goes wrong on one machine: the same results as an undisturbed run, or one clear error and nothing lost."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import snakemake
from micro_grid import (
    CHAINS,
    CHECKPOINT,
    FIRST,
    GRID,
    PREDICTIVITY,
    SECOND,
    TARGET,
    alive,
    assert_same_results,
    micro_checkout,
    mtimes,
    run,
    wait_until,
)

from insd.datasets import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
LOG = "results/logs/train_round/flip_flop/insd/seeds-0/round-1.log"


def jobs_of(output):
    """The rules of the jobs that a run names, with their outputs' folders."""
    return output.count("rule train_round:"), output.count("rule sample_trials:")


def rerun_equals(folder, undisturbed, *arguments):
    """Run again: only what is missing is made, and everything is as in the undisturbed run."""
    kept = mtimes(folder)
    result = run(folder, TARGET, *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    assert {path: time for path, time in mtimes(folder).items() if path in kept} == kept
    assert_same_results(folder, undisturbed)
    return result.stdout


def test_kill_9_of_a_job(training, unfinished, undisturbed):
    """Also what the system does to a job where memory runs out."""
    training.kill(*training.jobs())
    output = training.wait()
    assert training.process.returncode == 1
    assert "Error in rule train_round:" in output
    assert "died with <Signals.SIGKILL: 9>" in output or "exit status 137" in output or "SIGKILL" in output
    assert (unfinished / CHECKPOINT).exists()
    assert jobs_of(rerun_equals(unfinished, undisturbed)) == (1, 0)
    assert "resumed from iteration" in (unfinished / LOG).read_text()


def test_kill_9_of_snakemake_alone(training, unfinished, undisturbed):
    jobs = training.jobs()
    training.kill(training.process.pid)
    training.process.wait()
    training.go_on(*jobs)
    # The job does not know, and goes on to its end.
    wait_until(lambda: not any(map(alive, jobs)), "the end of the job")
    # What it wrote is whole, but nobody was there to say so.
    incomplete = run(unfinished, TARGET)
    assert incomplete.returncode == 1
    assert "IncompleteFilesException" in incomplete.stdout
    locked = run(unfinished, TARGET, "--rerun-incomplete")
    assert locked.returncode == 1
    assert "Directory cannot be locked" in locked.stdout and "--unlock" in locked.stdout
    assert run(unfinished, "--unlock").returncode == 0
    result = run(unfinished, TARGET, "--rerun-incomplete")
    assert result.returncode == 0, result.stdout[-3000:]
    assert_same_results(unfinished, undisturbed)


def test_kill_9_of_both(training, unfinished, undisturbed):
    """A power cut."""
    training.kill(training.process.pid, *training.jobs())
    training.process.wait()
    assert (unfinished / CHECKPOINT).exists()
    assert run(unfinished, "--unlock").returncode == 0
    rerun_equals(unfinished, undisturbed, "--rerun-incomplete")
    assert "resumed from iteration" in (unfinished / LOG).read_text()


def test_ctrl_c(training, unfinished, undisturbed):
    jobs = training.jobs()
    training.interrupt()
    training.go_on(*jobs)
    training.wait()
    assert training.process.returncode != 0
    wait_until(lambda: not any(map(alive, jobs)), "the end of the job")
    # No lock is left.
    rerun_equals(unfinished, undisturbed, "--rerun-incomplete")


def test_two_snakemakes_at_once(training, unfinished, undisturbed):
    second = run(unfinished, TARGET)
    assert second.returncode == 1
    assert "Directory cannot be locked" in second.stdout
    training.go_on(*training.jobs())
    training.wait()
    assert training.process.returncode == 0
    assert_same_results(unfinished, undisturbed)


def test_not_enough_memory(unfinished, undisturbed, tmp_path):
    overlay = tmp_path / "many.yaml"
    overlay.write_text(yaml.safe_dump({"trials": {"evaluation": 4_000_000_000}}))
    trials = "results/flip_flop/trials/noisy.nc"
    result = snakemake(unfinished, trials, *GRID, str(overlay))
    assert result.returncode == 1
    assert "error: not enough memory (Unable to allocate " in result.stdout, result.stdout[-2000:]
    assert "lower trials.train, trials.evaluation or seeds_per_job" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (unfinished / trials).exists()
    rerun_equals(unfinished, undisturbed)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to mount a small disk")
def test_disk_full_while_a_file_is_written(unfinished, undisturbed):
    folder = unfinished / SECOND
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        result = run(unfinished, TARGET)
        assert result.returncode == 1
        assert "could not be written (" in result.stdout
        assert "its disk has 0.0 MB free: make room" in result.stdout
        assert "Traceback" not in result.stdout
        assert "the checkpoint could not be written" in (unfinished / LOG).read_text()
        assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        rerun_equals(unfinished, undisturbed)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


def test_activity_files_that_cannot_be_used(micro_finished, undisturbed, tmp_path):
    """Truncated, empty, foreign, hostile, not finite: each named before anything is made of it."""
    path, proof = micro_finished / FIRST / "activity.nc", tmp_path / "proof"
    whole = path.read_bytes()
    foreign = read(path, "activity").assign_attrs(bank_fingerprint="0123")
    broken = read(path, "activity")
    broken["null_activity"][0, 0, 0, 0] = np.nan
    contents = {
        "truncated, empty or no NetCDF file": [
            lambda: path.write_bytes(whole[: len(whole) // 2]),
            lambda: path.write_bytes(b""),
            lambda: path.write_bytes(pickle.dumps(Hostile(f"touch {proof}"))),
        ],
        "holds activity on another trial bank (0123)": [lambda: foreign.to_netcdf(path)],
        "'null_activity' holds values that are not finite": [lambda: broken.to_netcdf(path)],
    }
    kept = mtimes(micro_finished)
    for message, makers in contents.items():
        for make in makers:
            path.unlink()
            make()
            result = run(micro_finished, TARGET)
            assert result.returncode == 1
            assert f"error: {FIRST}/activity.nc: {message}" in result.stdout, result.stdout[-2000:]
    assert not proof.exists()
    others = {
        other: time for other, time in mtimes(micro_finished).items() if SECOND not in str(other) and other != path
    }
    assert others == {other: kept[other] for other in others}
    path.unlink()
    result = run(micro_finished, TARGET)
    assert result.returncode == 0, result.stdout[-3000:]
    assert_same_results(micro_finished, undisturbed)


def test_a_network_that_holds_nan(micro_finished, undisturbed):
    path = micro_finished / FIRST / "network.nc"
    network = read(path, "network")
    network["recurrent_weights"][0, 0, 0] = np.nan
    path.unlink()
    network.to_netcdf(path)
    result = run(micro_finished, PREDICTIVITY, "--rerun-triggers", "params")
    assert result.returncode == 1
    assert f"error: {FIRST}/network.nc: 'recurrent_weights' holds values that are not finite; delete" in result.stdout
    assert not (micro_finished / PREDICTIVITY).exists()
    path.unlink()
    # Round 0 is trained again, and so is what was made of it.
    result = run(micro_finished, f"{FIRST}/network.nc", TARGET)
    assert result.returncode == 0, result.stdout[-3000:]
    assert_same_results(micro_finished, undisturbed)


def test_a_training_that_diverges(unfinished, undisturbed, tmp_path):
    overlay = tmp_path / "diverges.yaml"
    overlay.write_text(yaml.safe_dump({"defaults": {"training": {"step_size": 1e38}}}))
    result = snakemake(unfinished, TARGET, *GRID, str(overlay), "--rerun-triggers", "mtime")
    assert result.returncode == 1
    assert "error: flip_flop/insd/0/1: the loss is not finite at iteration" in result.stdout
    assert "lower training.step_size (1e+38)" in result.stdout
    rerun_equals(unfinished, undisturbed)


def test_results_restored_into_a_fresh_checkout(undisturbed, tmp_path):
    """From an archive, which keeps modification times, and by a plain copy, which does not."""
    fresh = micro_checkout(tmp_path / "fresh")
    shutil.copytree(undisturbed / "results", fresh / "results")
    result = run(fresh, TARGET, "-n", "--rerun-triggers", "mtime")
    assert "Nothing to be done" in result.stdout, result.stdout[-2000:]
    # Files in the wrong order of time.
    for number, path in enumerate(sorted((fresh / "results").rglob("*.nc"))):
        os.utime(path, ns=(10**18 - number * 10**9,) * 2)
    assert "rule train_round" in run(fresh, TARGET, "-n", "--rerun-triggers", "mtime").stdout
    assert run(fresh, TARGET, "--touch").returncode == 0
    result = run(fresh, TARGET, "-n", "--rerun-triggers", "mtime")
    assert "Nothing to be done" in result.stdout, result.stdout[-2000:]
    assert_same_results(fresh, undisturbed)


def test_the_config_edited_between_two_runs(micro_finished, tmp_path):
    overlay = tmp_path / "edited.yaml"
    overlay.write_text(yaml.safe_dump({"populations": {"insd": {"alternatives": {"network": {"gain": 1.1}}}}}))
    output = snakemake(micro_finished, TARGET, *GRID, str(overlay), "-n").stdout
    assert f"output: {TARGET}" in output
    assert jobs_of(output) == (1, 0)


def test_the_config_edited_during_a_run(micro_finished, undisturbed, tmp_path):
    """Jobs that start after the edit are made with other settings: the analysis refuses the mixture by name."""
    overlay = tmp_path / "second-seed.yaml"
    overlay.write_text(yaml.safe_dump({"populations": {"insd": {"seeds": 2, "rounds": 1}}}))
    config = micro_finished / "micro.yaml"
    before = config.read_text()
    config.write_text(before.replace("batch_size: 8", "batch_size: 9"))
    # The first seed is there and was made before the edit; the second is made after it.
    result = snakemake(micro_finished, PREDICTIVITY, *GRID, str(overlay), "--rerun-triggers", "mtime")
    assert result.returncode == 1
    second = f"{CHAINS}/seeds-1/round-0/network.nc"
    assert f"error: {second}: was made with another recipe than {FIRST}/network.nc" in result.stdout
    assert not (micro_finished / PREDICTIVITY).exists()
    shutil.rmtree(micro_finished / second.rpartition("/")[0])
    config.write_text(before)
    assert "Nothing to be done" in run(micro_finished, TARGET).stdout
    assert_same_results(micro_finished, undisturbed)


def test_a_hostile_checkpoint(unfinished, undisturbed, tmp_path):
    proof = tmp_path / "proof"
    (unfinished / SECOND).mkdir()
    (unfinished / CHECKPOINT).write_bytes(pickle.dumps(Hostile(f"touch {proof}"), protocol=2))
    rerun_equals(unfinished, undisturbed)
    assert not proof.exists()
    assert f"{CHECKPOINT}: ignored, for it is no checkpoint that can be loaded safely" in (unfinished / LOG).read_text()
