"""The wheel carries the compiled loops, so that no compiler is needed where it is installed."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from emulated import AVAILABLE, COMPILER, MISSING

from insd.networks.engine.loops import BUILDS, instructions

ARM = 183
"""The number of 64-bit ARM in the header of a library."""

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="wheels are built here by Linux's tools")


def build_wheel(folder: Path, **environment: str) -> Path:
    """A wheel of the sources alone, without what was built in the checkout."""
    sources = folder / "sources"
    shutil.copytree(ROOT / "src", sources / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(sources)], check=True, env=os.environ | environment, timeout=300)
    return next(folder.glob("insd-*.whl"))


@pytest.mark.skipif(shutil.which("cc") is None or instructions() not in BUILDS, reason="there is nothing to build")
def test_an_installed_wheel_has_the_compiled_loops_without_a_compiler(tmp_path):
    wheel = build_wheel(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, env=os.environ | {"PATH": ""})
    # What insd needs is taken from where this test has it.
    packages = next((tmp_path / "venv").glob("lib/*/site-packages"))
    (packages / "others.pth").write_text(str(Path(torch.__file__).parents[1]))
    program = "from insd.networks.engine import loops; print(loops.__file__, loops.COMPILED.lanes)"
    lanes = {"AVX512": "16", "AVX2": "8", "NEON": "4"}[instructions()]
    found = subprocess.run(
        [python, "-c", program],
        cwd=tmp_path,
        env={"PATH": ""},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    assert found == [str(packages / "insd/networks/engine/loops.py"), lanes]
    # The source counts in fingerprints.
    for name in ("loops.c", "penalty.c", "vectors.h"):
        assert (packages / "insd/networks/engine" / name).exists()


@pytest.mark.skipif(not AVAILABLE, reason=MISSING)
def test_a_wheel_for_arm_carries_its_build_and_no_other(tmp_path):
    wheel = build_wheel(tmp_path, _PYTHON_HOST_PLATFORM="linux-aarch64", CC=COMPILER)
    assert wheel.name.endswith("linux_aarch64.whl")
    with zipfile.ZipFile(wheel) as packed:
        (library,) = [name for name in packed.namelist() if name.endswith(".so")]
        assert Path(library).name.startswith("loops_neon.")
        header = packed.read(library)[:20]
    assert header[:4] == b"\x7fELF" and int.from_bytes(header[18:20], "little") == ARM
