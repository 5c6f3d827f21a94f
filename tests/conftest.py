"""What all tests share: array shapes in signatures are checked at run time, and threads are few."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import reduce
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
SMOKE_RUN = ("--cores", "2", "--configfile", "config/smoke.yaml")
sys.path.insert(0, str(ROOT / "src"))
# A shell without job control starts background jobs deaf to Ctrl-C, and so would be all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Without a GPU, its kernels run in Triton's interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Fixtures of a tiny grid, and of the builds of the compiled code.
pytest_plugins = ["micro_grid", "builds"]
install_import_hook("insd", "beartype.beartype")


def laid_over(below, above):
    """A config with another laid over it, as Snakemake does."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: laid_over(below.get(key), value) for key, value in above.items()}


def config_of(*studies):
    """The default config with studies laid over it, one after the other."""
    files = [ROOT / "config/config.yaml", *(ROOT / f"config/studies/{study}.yaml" for study in studies)]
    return reduce(laid_over, (yaml.safe_load(file.read_text()) for file in files))


def pytest_configure(config):
    """The smoke grid is run once: for all processes that the tests run in, and for more than one call of pytest where
    the environment says where it is kept.
    """
    if "SMOKE_GRID" not in os.environ:
        os.environ["SMOKE_GRID"] = tempfile.mkdtemp(prefix="insd-smoke-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop("SMOKE_GRID")))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def copy_checkout(target: Path) -> Path:
    """The files of the workflow in a folder of their own, so that nothing is written into the checkout."""
    for name in ("workflow", "config", "src", "envs", "slurm"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", target)
    return target


def environment(folder: Path) -> dict[str, str]:
    """The environment in which scripts import the library of a copied workflow or this one, not the installed one."""
    library = folder / "src" if (folder / "src").exists() else ROOT / "src"
    return os.environ | {"PYTHONPATH": str(library)}


def snakemake(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder; output and errors come back as one text."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def pretend_finished(folder: Path, *arguments: str) -> None:
    """Let Snakemake take all files of a grid for made, empty ones, by the code and the config as they are now."""
    summary = snakemake(folder, "--summary", *arguments)
    for path in re.findall(r"^(results/\S+)\t", summary.stdout, re.MULTILINE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    touched = snakemake(folder, "--touch", "--forceall", "--cores", "1", *arguments)
    assert touched.returncode == 0, touched.stdout[-3000:]
    assert "Nothing to be done" in snakemake(folder, "-n", *arguments).stdout


def job_counts(output):
    """The table of job counts that a dry-run prints."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    """A copy of the workflow in which no results are made."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A copy of the workflow in which the smoke grid was run, in a path with blanks; tests that change its results mend
    them.
    """
    kept = Path(os.environ["SMOKE_GRID"], "the grid")
    with FileLock(kept.with_suffix(".lock")):
        if not kept.exists():
            running = copy_checkout(kept.with_suffix(".running"))
            result = snakemake(running, *SMOKE_RUN, timeout=1800)
            assert result.returncode == 0, result.stdout[-5000:]
            running.rename(kept)
    return Path(shutil.copytree(kept, tmp_path_factory.mktemp("the smoke grid"), dirs_exist_ok=True))
