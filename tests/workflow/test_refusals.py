"""Bad configs and targets: refused before any job starts, with one message."""

import os
import shutil
import subprocess
import sys
import sysconfig

import pytest
import yaml
from conftest import ROOT, snakemake


def refused(checkout, tmp_path, overlay, *targets):
    file = tmp_path / "overlay.yaml"
    file.write_text(yaml.safe_dump(overlay))
    result = snakemake(checkout, *targets, "-n", "--configfile", str(file))
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    return result.stdout


@pytest.mark.parametrize(
    "overlay, message",
    [
        (
            {"populatons": {}},
            "populatons = {}: unknown key; known here: tasks, trials, seeds_per_job, device, analysis, claims",
        ),
        ({"populations": {"insd": {"rounds": 0}}}, "populations.insd.rounds = 0: input should be greater than or eq"),
        (
            {"tasks": {"flipflop": {}}},
            "tasks.flipflop: there is no such task; choose from: context_integration, delayed",
        ),
        ({"defaults": {"training": {"iterations": "many"}}}, "defaults.training.iterations = 'many': input should be"),
    ],
)
def test_bad_configs(checkout, tmp_path, overlay, message):
    output = refused(checkout, tmp_path, overlay)
    assert message in output
    assert output.count("the config cannot be used:") == 1


@pytest.mark.parametrize(
    "target, message",
    [
        (
            "results/flip_flop/standard/seeds-0/round-0/network.nc",
            "population 'standard' is not in the config; its populations are: standard-g0.01, standard-g0.5",
        ),
        ("results/flipflop/trials/train.nc", "task 'flipflop' is not in the config; its tasks are: context_integ"),
    ],
)
def test_targets_of_names_that_do_not_exist(checkout, target, message):
    result = snakemake(checkout, target, "-n")
    assert result.returncode != 0
    assert message in result.stdout


def test_a_grid_laid_over_nothing_in_a_folder_elsewhere(checkout, tmp_path):
    """For a clone that may not be written to, say: Snakemake looks for config/config.yaml in the working directory."""
    grid, base = f"{checkout}/config/smoke.yaml", f"{checkout}/config/config.yaml"
    elsewhere = ("--snakefile", f"{checkout}/Snakefile", "--directory", str(tmp_path), "-n", "--configfile")
    output = snakemake(checkout, *elsewhere, grid).stdout
    assert "tasks: this key is required" in output
    assert f"{tmp_path} has no config/config.yaml; to lay a file over the workflow's, name both: " in output
    assert f"--configfile {base} FILE" in output
    own = tmp_path / "own.yaml"
    own.write_text("tasks: {context_integration: null, memory_pro: null}\npopulations: {standard: {seeds: 2}}\n")
    output = snakemake(checkout, *elsewhere, str(own)).stdout
    assert "tasks: no task is left (null leaves one out); list at least one" in output
    assert f"name both: --configfile {base} FILE" in output
    # A whole config of one's own needs nothing under it: its errors are its own.
    own.write_text("tasks: {flip_flop: {}}\npopulations: {standard: {seeds: 0}}\n")
    output = snakemake(checkout, *elsewhere, str(own)).stdout
    assert "populations.standard.seeds = 0: " in output and "lay a file over" not in output
    both = snakemake(checkout, *elsewhere, base, grid)
    assert both.returncode == 0 and "train_round" in both.stdout, both.stdout[-2000:]


def test_an_environment_in_a_path_with_a_blank_is_refused_before_anything_is_installed(checkout, tmp_path):
    folder = tmp_path / "my projects"
    shutil.copytree(ROOT / "envs", folder / "envs")
    for name in ("Makefile", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    # The tests themselves may be run by make.
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    made = subprocess.run(["make", "demo"], cwd=folder, env=own, capture_output=True, text=True, check=False)
    assert made.returncode != 0 and not (folder / ".venv").exists()
    assert made.stdout.startswith(f"{folder}: jobs cannot start Python from a path with a blank; move the clone to a")
    assert made.stdout.count("\n") == 1
    # Where the environment was made by other means.
    python = folder / "python"
    python.symlink_to(sys.executable)
    modules = os.pathsep.join([str(checkout / "src"), sysconfig.get_path("purelib")])
    result = subprocess.run(
        [python, "-m", "snakemake", "-n"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": modules},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode != 0 and "Traceback" not in result.stdout
    assert f"{python}: jobs cannot start Python from a path with a blank, which Snakemake does not" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="SLURM's tests are for Linux")
@pytest.mark.parametrize("sign", ["SLURM_CONF", "slurmd", "slurmctld", "slurmdbd"])
def test_a_host_that_has_a_slurm_is_left_alone(tmp_path, sign):
    """Seen before anything is installed. A program is what its process is called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    # Should it be overlooked, nothing happens to this machine.
    for name in ("apt-get", "sbatch"):
        (programs / name).write_text("#!/bin/sh\nexit 7\n")
        (programs / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHON": "false"}
    daemon = None
    if sign == "SLURM_CONF":
        environment["SLURM_CONF"] = "/etc/cluster/slurm.conf"
        found = "SLURM_CONF is set, to /etc/cluster/slurm.conf"
    else:
        daemon = subprocess.Popen([shutil.copy(shutil.which("sleep"), programs / sign), "60"])
        found = f"{sign} runs"
    try:
        command = [ROOT / "tests/slurm/run.sh"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    finally:
        if daemon:
            daemon.kill()
            daemon.wait()
    skipped = "test-slurm: skipped, since this host has a SLURM of its own, which is left alone"
    assert result.stdout == f"{skipped}: {found}\n"
    assert result.returncode == 0
