"""The workflow on a real SLURM: a task of the smoke grid as on one machine, and faults that lose nothing.

Run by `make test-slurm`, which installs SLURM. All nodes of the cluster are this machine, so that a job can be halted
in the middle of training until its fault has come. Most of a fault's time is waiting for SLURM: the task runs
meanwhile, on the nodes of the default partition, while faults have those of the partition `faults`.
"""

import contextlib
import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
import xarray as xr
from conftest import ROOT, environment
from micro_grid import (
    CHECKPOINT,
    FIRST,
    PREDICTIVITY,
    SECOND,
    TARGET,
    alive,
    assert_same_results,
    processes_in,
    run,
    wait_until,
)

pytestmark = pytest.mark.slurm
# Quicker than on a cluster that is shared, where files appear late. The plugin begins with this many seconds between
# questions, and adds 10 each time that no job has ended.
QUICK = ("--slurm-init-seconds-before-status-checks", "3", "--max-status-checks-per-second", "1")
PROFILE = ("--profile", "slurm", *QUICK, "--latency-wait", "10")
# On a cluster each job is two more starts of Snakemake. One task has a job of each rule but that of one analysis, and
# for SLURM one table, or one figure of tables, is like any other.
TASK = "context_integration"
LIKE_OTHERS = [f"figure_{name}" for name in ("capacity", "degeneracy", "front", "generators", "ladder", "networks")]
LIKE_OTHERS += ["figure_regimes", "figure_regime_grids", "table_page"]
LIKE_OTHERS += ["capacity", "degeneracy_table", "generators", "ladder"]
SMOKE = ("--configfile", "config/smoke.yaml", "one_task.yaml", "--omit-from", *LIKE_OTHERS)
LOG = "results/logs/train_round/flip_flop/insd/seeds-0/round-1.log"


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def cluster_sh(*words: str) -> None:
    # Not by a pipe, which daemons would keep open.
    subprocess.run([ROOT / "tests/slurm/cluster.sh", *words], check=True)


class Submitting:
    """A Snakemake that submits jobs of a folder."""

    def __init__(self, folder: Path, *arguments: str, seconds: int = 600):
        self.folder = folder
        self.log = folder / "running.log"
        self.seconds = seconds
        with self.log.open("w") as log:
            # Most of what can go wrong on a cluster shows as waiting for ever. No Snakemake outlives its test.
            limits = ["setpriv", "--pdeathsig", "INT", "timeout", str(seconds)]
            self.process = subprocess.Popen(
                [*limits, sys.executable, "-m", "snakemake", *PROFILE, *arguments],
                cwd=folder,
                env=environment(folder),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def jobs(self) -> list[str]:
        """The numbers of the jobs that were submitted, in their order."""
        return re.findall(r"has been submitted with SLURM jobid (\d+)", self.log.read_text())

    def finish(self, status: int = 0) -> str:
        """Wait for the end, which is to have this status; what it printed."""
        self.process.wait(self.seconds)
        output = self.log.read_text()
        assert self.process.returncode == status, output[-5000:]
        return output

    def kill(self) -> None:
        """Kill Snakemake at once; its jobs run on."""
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> None:
        """Let nothing run on after a test that failed."""
        if self.process.poll() is None:
            self.kill()


class Training(Submitting):
    """A Snakemake that submits round 1 of the tiny grid, and what is to be made of it."""

    def __init__(self, folder: Path, *arguments: str, resources: Sequence[str] = (), target: str = TARGET):
        partition = [f"{rule}:slurm_partition=faults" for rule in ("train_round", "similarity")]
        grid = ("--configfile", "micro.yaml", "--set-resources", *partition, *resources)
        super().__init__(folder, target, *grid, *arguments)
        self.scripts: list[int] = []

    def halted(self) -> bool:
        """Whether training waits behind its first checkpoint, where it is brought to."""
        if (self.folder / CHECKPOINT).exists() and not self.scripts:
            self.scripts = processes_in(self.folder)
            for pid in self.scripts:
                os.kill(pid, signal.SIGSTOP)
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return bool(self.scripts)

    def go_on(self) -> None:
        for pid in self.scripts:
            os.kill(pid, signal.SIGCONT)

    def resumed(self) -> bool:
        return "resumed from iteration" in (self.folder / LOG).read_text()


def halt(*trainings: Training) -> None:
    """Let trainings wait in the middle, each as soon as it is there."""
    wait_until(lambda: not [training for training in trainings if not training.halted()], "a checkpoint")


def accounted(job: str, field: str) -> str:
    """What SLURM's accounting says of a job."""
    return command("sacct", "-X", "-n", "-P", "-o", field, "-j", job).strip()


def opened(process: Path) -> Iterator[str]:
    """The files that a process holds open; a controller closes some while they are read."""
    for file in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            yield os.readlink(file)


def listening() -> dict[str, set[str]]:
    """The IP addresses at which the cluster's programs listen, by program."""
    sockets = {}
    for line in "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")).splitlines():
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A":
            words = [local[start : start + 8] for start in range(0, local.index(":"), 8)]
            packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
            sockets[f"socket:[{inode}]"] = str(ipaddress.ip_address(packed))
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = (process / "comm").read_text().strip()
            files = set(opened(process))
        except OSError:
            continue
        if re.match("slurm|srun|munge|mariadb", program):
            found.setdefault(program, set()).update(sockets[file] for file in files & set(sockets))
    return found


@pytest.fixture(scope="session")
def cluster(finished, undisturbed, request):
    """A SLURM on this machine, for as long as its tests run; what they compare with is made before."""
    started = time.monotonic()
    cluster_sh("start")
    yield
    cluster_sh("stop")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nSLURM ran for {time.monotonic() - started:.0f} s from start to shutdown")


@pytest.fixture
def train(cluster, undisturbed, tmp_path):
    """Starts trainings, each on its own copy of the tiny grid without round 1."""
    started = []

    def start(name, *arguments, **resources):
        folder = Path(shutil.copytree(undisturbed, tmp_path / name))
        shutil.rmtree(folder / SECOND)
        started.append(Training(folder, *arguments, **resources))
        return started[-1]

    yield start
    for training in started:
        training.stop()
    subprocess.run(["scancel", "--partition", "faults"], check=False)


@pytest.fixture(scope="module")
def smoke(cluster, tmp_path_factory):
    """A task of the smoke grid on the cluster, from a fresh clone, which runs while faults are waited for."""
    clone = tmp_path_factory.mktemp("smoke-on-slurm") / "clone"
    command("git", "clone", "--quiet", str(ROOT), str(clone))
    # What an installation in the clone builds.
    for build in (ROOT / "src").rglob("loops_*.so"):
        shutil.copy(build, clone / build.relative_to(ROOT).parent)
    (clone / "one_task.yaml").write_text("tasks: {flip_flop: null, memory_pro: null}\n")
    submitting = Submitting(clone, *SMOKE, seconds=1800)
    yield submitting
    submitting.stop()
    subprocess.run(["scancel", "--partition", "main"], check=False)


def edit(training: Training, before: str, after: str) -> None:
    config = training.folder / "micro.yaml"
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after))


@pytest.mark.usefixtures("smoke")
def test_faults_side_by_side(train, undisturbed):
    """A Snakemake for each, since most of the time is waiting for SLURM."""
    cancelled, timed_out = train("cancelled"), train("timed-out")
    # Too little for the first attempt.
    hungry = train("hungry", resources=["train_round:mem_mb=300*attempt*attempt"])
    edited = train("edited", "--retries", "0", target=PREDICTIVITY)
    gpu = ("--retries", "0", "--config", "device=cuda")
    by_number = train("gpu", *gpu)
    by_name = train("gres", *gpu, resources=["train_round:gpu=0", "train_round:gres=gpu:1"])

    halt(cancelled, timed_out, edited)
    assert_on_loopback()
    command("scancel", cancelled.jobs()[0])
    command("scontrol", "update", f"JobId={timed_out.jobs()[0]}", "TimeLimit=1")
    edit(edited, "batch_size: 8", "batch_size: 9")
    edited.go_on()

    assert_a_gpu_was_given(by_number)
    assert_a_gpu_was_given(by_name)
    assert_a_mixture_is_refused(edited, undisturbed)
    assert_tried_again(cancelled, "CANCELLED", undisturbed)
    assert_tried_again(timed_out, "TIMEOUT", undisturbed)
    for training in (cancelled, timed_out):
        assert len(training.jobs()) == 2
        assert training.resumed()
    # Where memory is polled, as here, SLURM has no state of its own for a job that it killed for its memory ...
    assert_tried_again(hungry, "FAILED", undisturbed)
    # ... but says so in the job's log.
    (log,) = (hungry.folder / "results/logs/slurm").rglob(f"{hungry.jobs()[0]}.log")
    assert "exceeded memory limit" in log.read_text(), log.read_text()[-3000:]
    # Each attempt may take longer and use more memory.
    assert accounted(timed_out.jobs()[1], "TimelimitRaw") == "20"
    assert accounted(hungry.jobs()[0], "ReqMem") == "300M"
    assert accounted(hungry.jobs()[-1], "ReqMem") in ("1200M", "2700M")


def assert_on_loopback() -> None:
    """While jobs run, too, nothing can be reached from elsewhere."""
    programs = listening()
    assert {"slurmctld", "slurmd", "slurmdbd", "slurmstepd", "munged", "mariadbd"} <= set(programs)
    assert programs["slurmctld"] and programs["slurmd"] and programs["slurmdbd"]
    assert set().union(*programs.values()) == {"127.0.0.1"}


def assert_tried_again(training: Training, status: str, undisturbed: Path) -> None:
    output = training.finish()
    assert f"SLURM status is: '{status}'" in output, output[-3000:]
    assert_same_results(training.folder, undisturbed, killed=True)


def assert_a_gpu_was_given(training: Training) -> None:
    """What is given is no GPU, and the job says so."""
    if torch.cuda.is_available():
        training.finish()
    else:
        output = training.finish(status=1)
        assert "error: device = 'cuda': torch" in output, output[-3000:]
    (job,) = training.jobs()
    assert "gres/gpu=1" in accounted(job, "AllocTRES").split(","), accounted(job, "AllocTRES")


def assert_a_mixture_is_refused(training: Training, undisturbed: Path) -> None:
    """Each job reads the config as it starts, and the analysis so another one than was trained with."""
    output = training.finish(status=1)
    message = "was made with a different task or recipe than the config has for round 0 of insd"
    assert f"error: {FIRST}/network.nc: {message}" in output, output[-3000:]
    assert not (training.folder / PREDICTIVITY).exists()
    assert_same_results(training.folder, undisturbed)
    edit(training, "batch_size: 9", "batch_size: 8")
    result = run(training.folder, PREDICTIVITY)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "rule train_round" not in result.stdout


@pytest.mark.usefixtures("smoke")
def test_a_node_that_is_lost(train, undisturbed):
    training = train("lost")
    halt(training)
    node = accounted(training.jobs()[0], "NodeList")
    cluster_sh("lose", node)
    try:
        output = training.finish()
    finally:
        cluster_sh("return", node)
    assert "SLURM status is: 'NODE_FAIL'" in output, output[-3000:]
    assert len(training.jobs()) == 2
    assert accounted(training.jobs()[1], "NodeList") != node
    assert training.resumed()
    assert_same_results(training.folder, undisturbed, killed=True)


@pytest.mark.usefixtures("smoke")
def test_kill_9_of_snakemake(train, undisturbed):
    """Its jobs know nothing of it: they are cancelled by the run's name before the next run writes the same files."""
    training = train("killed")
    halt(training)
    name = re.search(r"SLURM run ID: (\S+)", training.log.read_text()).group(1)
    training.kill()
    assert command("squeue", "-h", "--name", name, "-t", "RUNNING").count("\n") == 1
    command("scancel", "--name", name)
    wait_until(lambda: not command("squeue", "-h", "--name", name, "-t", "RUNNING,COMPLETING"), "the end of the jobs")
    assert not any(map(alive, training.scripts))
    locked = run(training.folder, TARGET, "--rerun-incomplete")
    assert "Directory cannot be locked" in locked.stdout
    assert run(training.folder, "--unlock").returncode == 0
    again = Training(training.folder)
    try:
        again.finish()
    finally:
        again.stop()
    assert again.resumed()
    assert_same_results(training.folder, undisturbed, killed=True)


def test_a_task_of_the_smoke_grid_equals_that_of_one_machine(smoke, finished):
    output = smoke.finish()
    steps = int(re.search(r"(\d+) of \1 steps \(100%\) done", output).group(1))
    # All are jobs of the cluster, and each is run once: the target rule, which asks for what was left out, is not.
    assert len(smoke.jobs()) == steps
    assert "Error in rule" not in output

    names = {path.relative_to(finished) for path in (finished / "results" / TASK).rglob("*.nc")}
    assert {path.relative_to(smoke.folder) for path in (smoke.folder / "results").rglob("*.nc")} == names
    for name in names:
        with xr.open_dataset(smoke.folder / name) as one, xr.open_dataset(finished / name) as other:
            assert one.load().equals(other.load()), name
    for name in ("networks", "levels", "comparisons"):
        table = f"results/tables/{name}.csv"
        found, all_tasks = pd.read_csv(smoke.folder / table), pd.read_csv(finished / table)
        expected = all_tasks[all_tasks["task"] == TASK].reset_index(drop=True)
        # A count that another task lacks is read as a float.
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_the_controller_restarts_while_a_job_runs(train, undisturbed):
    """Last, for nothing can be submitted meanwhile."""
    training = train("restarted")
    halt(training)
    cluster_sh("pause")
    # The job ends while there is no controller.
    training.go_on()
    wait_until((training.folder / TARGET).exists, "the network")
    # Snakemake asks meanwhile, and turns to the accounting database.
    wait_until(lambda: "Falling back to 'sacct'" in training.log.read_text(), "a question to the database")
    cluster_sh("resume")
    output = training.finish()
    assert len(training.jobs()) == 1
    assert "Error in rule" not in output
    assert_same_results(training.folder, undisturbed)
