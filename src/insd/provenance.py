"""Where numbers come from: random streams by name, fingerprints of code and arrays, attributes of files."""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

LIBRARY = Path(__file__).parent
"""The folder of this library."""
WITHOUT_NUMBERS = {
    *("insd", "insd.settings.config", "insd.settings.sections", "insd.settings.recipe", "insd.settings.tasks"),
    *("insd.settings.checks", "insd.settings.load", "insd.settings.messages", "insd.provenance", "insd.datasets"),
    *("insd.errors", "insd.plugins", "insd.files", "insd.checkpoints", "insd.kept", "insd.progress"),
    "insd.tasks.own",
}
"""Modules that move or describe numbers and make none: an edit there does not outdate results."""


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


def trials_fingerprint(trials: xr.Dataset) -> str:
    """Digest of all that networks see of the trials of a file, and of what is scored."""
    return array_fingerprint(trials, [name for name in ("inputs", "targets", "mask", "valid") if name in trials])


def content_fingerprint(path: str | Path) -> str:
    """Digest of all bytes of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_fingerprint(name: str) -> str:
    """Digest of a file of this library that is not code, by its path in the library."""
    return hashlib.sha256((LIBRARY / name).read_bytes()).hexdigest()[:16]


def settings_fingerprint(task: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """Digest of what a round is made with: its task, as `{"name": ..., "parameters": ...}`, and its recipe."""
    return hashlib.sha256(json.dumps([task, recipe], sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_fingerprint(module: str) -> str:
    """Digest of a module and of all modules that it imports, without comments, docstrings and lines for the log.

    Imports are followed into modules of the same package or, for a file outside any
    installed package, from the same folder. An edit changes the fingerprint only if it can change numbers: modules in
    `WITHOUT_NUMBERS` are left out. A C file with the name of the module belongs to it, with the headers in its folder.
    """
    digest = hashlib.sha256()
    for name in sorted(_imported(module, set())):
        digest.update(f"{name}:{_content(name).code}\n".encode())
        compiled = _source(name).with_suffix(".c")
        if compiled.exists():
            own = compiled.read_text()
            headers = re.findall(r'^#include "(.+)"', own, re.MULTILINE)
            digest.update("".join([own, *((compiled.parent / header).read_text() for header in headers)]).encode())
    return digest.hexdigest()[:16]


def modules_fingerprint(modules: Iterable[str]) -> str:
    """Digest of several modules, each as by `code_fingerprint`, and of the versions of the packages that they are in.

    Modules without source, such as a notebook or compiled code, count by their package's version alone.
    """
    names = sorted(set(modules))
    parts = [f"{name}:{code_fingerprint(name)}" for name in names if _has_source(name)]
    parts += [f"{package}={_version(package)}" for package in sorted({_package(name) for name in names} - {"insd"})]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class _Content(NamedTuple):
    """What counts of a module: the names that it may import, and its code without what makes no numbers."""

    names: tuple[str, ...]
    code: str


def _content(module: str) -> _Content:
    source = _source(module)
    return _parsed(source.read_text(), module if source.name == "__init__.py" else module.rpartition(".")[0])


# Most rules ask for a fingerprint at every start of Snakemake, also in each job, and they share most modules: each is
# parsed once.
@cache
def _parsed(text: str, package: str) -> _Content:
    tree = ast.parse(text)
    names: list[str] = []
    # Only statements import, and only they hold statements: their expressions need no look.
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        names += _names(node, package)
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            if hasattr(node, block):
                statements = [item for item in getattr(node, block) if not _makes_no_numbers(item)]
                setattr(node, block, statements)
                waiting += statements
    return _Content(tuple(dict.fromkeys(names)), _dumped(tree))


def _dumped(tree: ast.AST) -> str:
    """What `ast.dump` of Python 3.11 gives, under all versions: networks that a cluster made are read on a laptop."""
    if sys.version_info[:2] == (3, 12):
        # It ends a format that is made of parts with an empty one.
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                node.values = [
                    part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")
                ]
    everything = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **everything).replace(", type_params=[]", "")


def _makes_no_numbers(statement: ast.AST) -> bool:
    """Whether a statement is a docstring, a string below a field that documents it, or a line for the log."""
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Constant):
        return True
    called = value.func if isinstance(value, ast.Call) else None
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id in ("log", "logger")
        and called.attr in ("debug", "info", "warning", "error", "exception", "critical")
    )


def _source(module: str) -> Path:
    """The file of a module; of a package, that of its code."""
    if _package(module) == "insd":
        return _source_in(LIBRARY, module)
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return Path(module)
    return Path(found.origin) if found and found.origin else Path(module)


@cache
def _source_in(library: Path, module: str) -> Path:
    path = library.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _has_source(module: str) -> bool:
    return _source(module).suffix == ".py" and _source(module).exists()


def _imported(module: str, seen: set[str]) -> set[str]:
    if module in seen or module in WITHOUT_NUMBERS:
        return seen
    seen.add(module)
    for name in _content(module).names:
        if _belongs(name, module) and _has_source(name):
            _imported(name, seen)
    return seen


def _names(node: ast.AST, package: str) -> list[str]:
    """The modules that a statement in a module of that package may import, by their full names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    origin = "." * node.level + (node.module or "")
    base = importlib.util.resolve_name(origin, package) if node.level else origin
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _package(module: str) -> str:
    """The outermost package of a module."""
    return module.partition(".")[0]


def _belongs(name: str, module: str) -> bool:
    """Whether an edit of one module is an edit of the other's package or project."""
    if _package(name) == _package(module):
        return True
    folder = _source(module).parent
    installed = "site-packages" in folder.parts or _package(module) == "insd"
    return not installed and _source(name).parent == folder


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


def packages_fingerprint() -> str:
    """Digest of the versions of Python and of the packages that numbers are computed with."""
    versions = [platform.python_version(), *(_version(name) for name in ("numpy", "scipy", "scikit-learn", "torch"))]
    return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@cache
def _git_commit() -> str:
    """Commit of this library's checkout, with `-dirty` if tracked files differ from it."""
    command = ["git", "-C", str(LIBRARY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
