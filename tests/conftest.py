"""What all tests share: array shapes in signatures are checked at run time, and threads are few."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))
install_import_hook("insd", "beartype.beartype")


@pytest.fixture(autouse=True)
def one_thread():
    import torch  # noqa: PLC0415 - after the import hook

    torch.set_num_threads(1)
    torch.manual_seed(0)


def copy_checkout(target: Path) -> Path:
    """The files of the workflow in a folder of their own, so that nothing is written into the checkout."""
    for name in ("workflow", "config", "src", "envs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", target)
    return target


def snakemake(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder; output and errors come back as one text."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    """A copy of the workflow in which no results are made."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))
