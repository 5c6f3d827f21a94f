"""A micro_finished grid of one tiny chain, copies of it to break, and what is needed to break them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from conftest import ROOT, copy_checkout, environment, snakemake

GRID = ("--cores", "1", "--configfile", "micro.yaml")
CHAINS = "results/flip_flop/insd"
ANALYSIS = "results/flip_flop/analysis"
PREDICTIVITY = f"{ANALYSIS}/predictivity.nc"
FIRST, SECOND = (f"{CHAINS}/seeds-0/round-{number}" for number in (0, 1))
TARGET = f"{SECOND}/network.nc"
CHECKPOINT = f"{SECOND}/checkpoint.pt"


def micro_checkout(target: Path) -> Path:
    """The workflow with the tiny grid, and with a checkpoint at every evaluation."""
    copy_checkout(target)
    shutil.copy(ROOT / "tests/faults/micro.yaml", target)
    module = target / "src/insd/checkpoints.py"
    text = module.read_text()
    assert "EVERY_SECONDS = 120.0" in text
    module.write_text(text.replace("EVERY_SECONDS = 120.0", "EVERY_SECONDS = 0.0"))
    return target


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake on the tiny grid."""
    return snakemake(folder, *arguments, *GRID)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The tiny grid as it is where nothing goes wrong."""
    folder = micro_checkout(tmp_path_factory.mktemp("undisturbed"))
    result = run(folder, TARGET)
    assert result.returncode == 0, result.stdout[-3000:]
    assert not list(folder.rglob("*.pt"))
    return folder


@pytest.fixture
def micro_finished(undisturbed, tmp_path) -> Path:
    """A copy of the micro_finished grid."""
    return Path(shutil.copytree(undisturbed, tmp_path / "grid"))


@pytest.fixture
def unfinished(micro_finished) -> Path:
    """A copy of the grid that lacks round 1."""
    shutil.rmtree(micro_finished / SECOND)
    return micro_finished


def assert_same_results(folder: Path, undisturbed: Path, killed: bool = False) -> None:
    """Every array is there and equal to that of the undisturbed run, and no half-written file is left.

    A process that was `killed` may have left one, which nothing reads.
    """
    names = {path.relative_to(undisturbed) for path in (undisturbed / "results").rglob("*.nc")}
    assert {path.relative_to(folder) for path in (folder / "results").rglob("*.nc")} == names
    assert len(names) == 2 + 2 * 3
    for name in names:
        with xr.open_dataset(folder / name) as one, xr.open_dataset(undisturbed / name) as other:
            assert one.load().equals(other.load()), name
    assert not list((folder / "results").rglob("checkpoint.pt"))
    assert killed or not list((folder / "results").rglob(".*.part"))


def mtimes(folder: Path) -> dict[Path, int]:
    """When each result of the tiny grid was written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.nc")}


def wait_until(condition, what: str, seconds: float = 300):
    """The first true value of a condition."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)
    return value


class Running:
    """A Snakemake that runs by itself, in a process group of its own."""

    def __init__(self, folder: Path, *arguments: str):
        self.log = folder / "running.log"
        with self.log.open("w") as log:
            command = [sys.executable, "-m", "snakemake", *arguments]
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(folder),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def jobs(self) -> list[int]:
        """The processes of running scripts."""
        return [pid for pid in _descendants(self.process.pid) if b".snakemake/scripts/" in _command(pid)]

    def halt(self) -> None:
        """Let running scripts wait where they are."""
        for pid in wait_until(self.jobs, "a running script"):
            os.kill(pid, signal.SIGSTOP)

    def go_on(self, *pids: int) -> None:
        """Let scripts that wait go on."""
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def kill(self, *pids: int) -> None:
        """Kill processes at once, and no others."""
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def interrupt(self) -> None:
        """What Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> str:
        """Wait for the end; what it printed."""
        self.process.wait(300)
        return self.log.read_text()

    def stop(self) -> None:
        """Let nothing run on after a test that failed."""
        for pid in [*_descendants(self.process.pid), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def processes_in(folder: Path) -> list[int]:
    """The scripts that run in a folder, whoever started them."""
    script = f"{folder}/.snakemake/scripts/".encode()
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if script in _command(int(path.name))]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.fixture
def training(unfinished):
    """A Snakemake that trains round 1, which has saved a checkpoint and waits there."""
    running = Running(unfinished, TARGET, *GRID)
    wait_until((unfinished / CHECKPOINT).exists, "a checkpoint")
    running.halt()
    yield running
    running.stop()
