"""Where numbers come from: random streams by name, fingerprints of code and arrays, attributes of files."""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

LIBRARY = Path(__file__).parent
# Modules that move or describe numbers and make none: an edit there does not outdate results.
WITHOUT_NUMBERS = {"insd", "insd.settings", "insd.provenance", "insd.datasets", "insd.errors"}


def random_seed(*names: str | int) -> int:
    """Seed of the random stream with these names (63 bits); other names give an independent stream."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def array_fingerprint(dataset: xr.Dataset, variables: Iterable[str]) -> str:
    """Digest of the values of some variables of a dataset."""
    digest = hashlib.sha256()
    for name in variables:
        digest.update(np.ascontiguousarray(dataset[name].values).tobytes())
    return digest.hexdigest()[:16]


@cache
def code_fingerprint(module: str) -> str:
    """Digest of a module of this library and of all modules of it that it imports, without comments and docstrings.

    An edit changes the fingerprint only if it can change numbers: modules in `WITHOUT_NUMBERS` are left out.
    """
    digest = hashlib.sha256()
    for name in sorted(_imported(module, set())):
        tree = ast.parse(_source(name).read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                # A docstring, or a string below a field that documents it, is an expression of a constant.
                node.body = [  # type: ignore[attr-defined]
                    item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
                ]
        digest.update(f"{name}:{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:16]


def _source(module: str) -> Path:
    path = LIBRARY.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(module: str, seen: set[str]) -> set[str]:
    if module in seen or module in WITHOUT_NUMBERS:
        return seen
    seen.add(module)
    for node in ast.walk(ast.parse(_source(module).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("insd"):
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                if name and _source(name).exists():
                    _imported(name, seen)
    return seen


def attributes(settings: Mapping[str, Any], module: str, **more: str | int | float) -> dict[str, Any]:
    """Attributes that every file carries: resolved settings, versions, git commit if any, code fingerprint.

    `module` is the module of this library that made the numbers, for example ``insd.training``.
    """
    return {
        "settings": json.dumps(settings, sort_keys=True),
        "code_fingerprint": code_fingerprint(module),
        "insd_version": _version("insd"),
        "python_version": platform.python_version(),
        "git_commit": _git_commit(),
        **{f"{package}_version": _version(package) for package in ("numpy", "torch", "snakemake", "xarray")},
        **more,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@cache
def _git_commit() -> str:
    """Commit of the checkout that this library stands in, `-dirty` where tracked files differ from it."""
    command = ["git", "-C", str(LIBRARY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
