"""What goes wrong on one machine: the same results as an undisturbed run, or one clear error and nothing lost."""

import os
import pickle
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import snakemake
from micro_grid import (
    ANALYSIS,
    CHAINS,
    CHECKPOINT,
    FIRST,
    GRID,
    PREDICTIVITY,
    SECOND,
    TARGET,
    Running,
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


def rerun_equals(folder, undisturbed, *arguments, killed=False):
    """Run again: only what is missing is made, and everything is as in the undisturbed run."""
    kept = mtimes(folder)
    result = run(folder, TARGET, *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    assert {path: time for path, time in mtimes(folder).items() if path in kept} == kept
    assert_same_results(folder, undisturbed, killed)
    return result.stdout


def test_kill_9_of_a_job(training, unfinished, undisturbed):
    """Also what the system does to a job where memory runs out."""
    training.kill(*training.jobs())
    output = training.wait()
    assert training.process.returncode == 1
    assert "Error in rule train_round:" in output
    assert "died with <Signals.SIGKILL: 9>" in output or "exit status 137" in output or "SIGKILL" in output
    assert (unfinished / CHECKPOINT).exists()
    assert jobs_of(rerun_equals(unfinished, undisturbed, killed=True)) == (1, 0)
    assert "resumed from iteration" in (unfinished / LOG).read_text()


def test_kill_9_of_snakemake_alone(training, unfinished, undisturbed, tmp_path):
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
    # Whoever knows that they are whole keeps them.
    trusted = Path(shutil.copytree(unfinished, tmp_path / "trusted"))
    files = [f"{SECOND}/{name}.nc" for name in ("network", "activity", "history")]
    assert run(trusted, "--cleanup-metadata", *files).returncode == 0
    assert "Nothing to be done" in run(trusted, TARGET).stdout
    assert_same_results(trusted, undisturbed)
    # Else the round that was finished is trained again.
    result = run(unfinished, TARGET, "--rerun-incomplete")
    assert result.returncode == 0, result.stdout[-3000:]
    assert jobs_of(result.stdout) == (1, 0)
    assert_same_results(unfinished, undisturbed)


def test_two_writers_of_one_file(training, unfinished, undisturbed):
    """A job whose Snakemake was killed, and the same job of the next run."""
    orphans = training.jobs()
    training.kill(training.process.pid)
    training.process.wait()
    assert run(unfinished, "--unlock").returncode == 0
    again = Running(unfinished, TARGET, *GRID, "--rerun-incomplete")
    try:
        wait_until(again.jobs, "the second writer")
        assert all(map(alive, orphans))
        training.go_on(*orphans)
        again.wait()
        wait_until(lambda: not any(map(alive, orphans)), "the end of the first writer")
    finally:
        again.stop()
    assert again.process.returncode == 0, again.log.read_text()[-3000:]
    assert_same_results(unfinished, undisturbed)


def test_kill_9_of_both(training, unfinished, undisturbed):
    """A power cut."""
    training.kill(training.process.pid, *training.jobs())
    training.process.wait()
    assert (unfinished / CHECKPOINT).exists()
    assert run(unfinished, "--unlock").returncode == 0
    rerun_equals(unfinished, undisturbed, "--rerun-incomplete", killed=True)
    assert "resumed from iteration" in (unfinished / LOG).read_text()


def test_ctrl_c(training, unfinished, undisturbed):
    jobs = training.jobs()
    training.interrupt()
    training.go_on(*jobs)
    training.wait()
    assert training.process.returncode != 0
    wait_until(lambda: not any(map(alive, jobs)), "the end of the job")
    assert (unfinished / CHECKPOINT).exists()
    # No lock is left.
    rerun_equals(unfinished, undisturbed, "--rerun-incomplete")
    assert "resumed from iteration" in (unfinished / LOG).read_text()


def test_two_snakemakes_at_once(training, unfinished, undisturbed):
    second = run(unfinished, TARGET)
    assert second.returncode == 1
    assert "Directory cannot be locked" in second.stdout
    training.go_on(*training.jobs())
    training.wait()
    assert training.process.returncode == 0
    assert_same_results(unfinished, undisturbed)


@contextmanager
def address_space(gigabytes):
    """Processes that start meanwhile get no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_not_enough_memory_to_train(unfinished, undisturbed, tmp_path):
    """PyTorch is refused it, in the middle of a job."""
    overlay = tmp_path / "large.yaml"
    # Recurrent weights of 40 GB.
    overlay.write_text(yaml.safe_dump({"populations": {"insd": {"alternatives": {"network": {"units": 100_000}}}}}))
    with address_space(32):
        result = snakemake(unfinished, TARGET, *GRID, str(overlay))
    assert result.returncode == 1
    message = "error: not enough memory ([enforce fail at alloc_cpu.cpp"
    assert message in result.stdout, result.stdout[-2000:]
    assert "can't allocate memory" in result.stdout
    assert "lower trials.train, trials.evaluation, seeds_per_job or analysis.networks_per_block" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (unfinished / TARGET).exists()
    rerun_equals(unfinished, undisturbed)


def test_not_enough_memory_for_trials(unfinished, undisturbed, tmp_path):
    overlay = tmp_path / "many.yaml"
    overlay.write_text(yaml.safe_dump({"trials": {"evaluation": 4_000_000_000}}))
    trials = "results/flip_flop/trials/noisy.nc"
    result = snakemake(unfinished, trials, *GRID, str(overlay))
    assert result.returncode == 1
    assert "error: not enough memory (Unable to allocate " in result.stdout, result.stdout[-2000:]
    assert "lower trials.train, trials.evaluation, seeds_per_job or analysis.networks_per_block" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (unfinished / trials).exists()
    rerun_equals(unfinished, undisturbed)


def test_disk_full_while_a_file_is_written(unfinished, undisturbed):
    folder = unfinished / SECOND
    folder.mkdir()
    # Not given to everybody, and to root not in every container.
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
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
        "holds activity on a different trial bank (0123)": [lambda: foreign.to_netcdf(path)],
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
    # What had been made of it went when its job began.
    assert not list((micro_finished / SECOND).glob("*.nc"))
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
    message = "'recurrent_weights' holds values that are not finite, first at seed 0; delete"
    assert f"error: {FIRST}/network.nc: {message}" in result.stdout
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


def edited(tmp_path, **overlay):
    """Arguments of a run whose config was edited."""
    file = tmp_path / "edited.yaml"
    file.write_text(yaml.safe_dump(overlay))
    return (*GRID, str(file))


def test_a_key_of_training_edited_between_two_runs(micro_finished, tmp_path):
    kept = mtimes(micro_finished)
    gain = edited(tmp_path, populations={"insd": {"alternatives": {"network": {"gain": 1.1}}}})
    result = snakemake(micro_finished, PREDICTIVITY, *gain)
    assert result.returncode == 0, result.stdout[-3000:]
    assert jobs_of(result.stdout) == (1, 0)
    again = {path for path, time in mtimes(micro_finished).items() if path in kept and time != kept[path]}
    assert again == set((micro_finished / SECOND).glob("*.nc"))
    assert read(micro_finished / TARGET, "network").attrs["settings"].count('"gain": 1.1') == 1


def test_a_key_of_an_analysis_edited_between_two_runs(micro_finished, undisturbed, tmp_path):
    dsa = f"{ANALYSIS}/dsa.nc"
    result = run(micro_finished, dsa, PREDICTIVITY)
    assert result.returncode == 0, result.stdout[-3000:]
    kept = mtimes(micro_finished)
    delays = edited(tmp_path, analysis={"dsa": {"delays": 3}})
    result = snakemake(micro_finished, dsa, PREDICTIVITY, *delays)
    assert result.returncode == 0, result.stdout[-3000:]
    assert {path for path, time in mtimes(micro_finished).items() if time != kept[path]} == {micro_finished / dsa}
    assert '"delays": 3' in read(micro_finished / dsa, "dsa").attrs["settings"]
    shutil.rmtree(micro_finished / ANALYSIS)
    assert_same_results(micro_finished, undisturbed)


def test_the_config_edited_during_a_run(training, unfinished, undisturbed):
    """On one machine a run keeps to the config that it began with; the next one makes what the edit changes."""
    config = unfinished / "micro.yaml"
    before = config.read_text()
    config.write_text(before.replace("units: 8", "units: 9"))
    training.go_on(*training.jobs())
    training.wait()
    assert training.process.returncode == 0
    assert_same_results(unfinished, undisturbed)
    assert jobs_of(run(unfinished, TARGET, "-n").stdout) == (2, 0)
    config.write_text(before)
    assert "Nothing to be done" in run(unfinished, TARGET).stdout


def refused(folder, *arguments):
    """What an analysis says of a grid whose files were made with several configs."""
    result = snakemake(folder, PREDICTIVITY, *arguments, "--rerun-triggers", "mtime")
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    assert not (folder / PREDICTIVITY).exists()
    return result.stdout


def test_a_grid_of_two_configs(micro_finished, undisturbed, tmp_path):
    """As a run on a cluster makes it, whose jobs read the config each: the analysis refuses the mixture by name."""
    overlay = tmp_path / "second-seed.yaml"
    overlay.write_text(yaml.safe_dump({"populations": {"insd": {"seeds": 2, "rounds": 1}}}))
    config = micro_finished / "micro.yaml"
    before = config.read_text()
    after = before.replace("batch_size: 8", "batch_size: 9")
    config.write_text(after)
    # The first seed is there and was made before the edit; the second is made after it.
    second = f"{CHAINS}/seeds-1/round-0/network.nc"
    output = refused(micro_finished, *GRID, str(overlay))
    message = "was made with a different task or recipe than the config has for round 0 of insd"
    advice = "the config changed in between: delete the file, and run the workflow again"
    assert f"error: {FIRST}/network.nc: {message}; {advice}" in output
    config.write_text(before)
    assert f"error: {second}: {message}" in refused(micro_finished, *GRID, str(overlay))
    shutil.rmtree(micro_finished / second.rpartition("/")[0])
    assert "Nothing to be done" in run(micro_finished, TARGET).stdout
    assert_same_results(micro_finished, undisturbed)


def test_a_chain_of_two_configs(unfinished, undisturbed):
    """One seed alone, edited between its rounds."""
    config = unfinished / "micro.yaml"
    before = config.read_text()
    config.write_text(before.replace("batch_size: 8", "batch_size: 9"))
    result = run(unfinished, TARGET, "--rerun-triggers", "mtime")
    assert result.returncode == 0, result.stdout[-3000:]
    config.write_text(before)
    message = "was made with a different task or recipe than the config has for round 1 of insd"
    assert f"error: {TARGET}: {message}" in refused(unfinished, *GRID)
    # As it says.
    (unfinished / TARGET).unlink()
    assert run(unfinished, PREDICTIVITY, "--rerun-triggers", "mtime").returncode == 0
    shutil.rmtree(unfinished / ANALYSIS)
    assert_same_results(unfinished, undisturbed)


def test_a_hostile_checkpoint(unfinished, undisturbed, tmp_path):
    proof = tmp_path / "proof"
    (unfinished / SECOND).mkdir()
    (unfinished / CHECKPOINT).write_bytes(pickle.dumps(Hostile(f"touch {proof}"), protocol=2))
    rerun_equals(unfinished, undisturbed)
    assert not proof.exists()
    assert f"{CHECKPOINT}: ignored, for it is no checkpoint that can be loaded safely" in (unfinished / LOG).read_text()
