"""Every public name of the library is in the documentation, and the documentation names no other."""

import ast
import html
import importlib
import inspect
import logging
import os
import pkgutil
import re
import subprocess
import sys
from types import ModuleType

import pytest
from conftest import ROOT

import insd

PAGES = sorted((ROOT / "docs/api").glob("*.md"))
# The builds of `insd.loops` are libraries, not modules.
MODULES = [found.name for found in pkgutil.walk_packages(insd.__path__, "insd.") if ".loops_" not in found.name]


def public_names(module: ModuleType) -> set[str]:
    """What a module defines: functions, classes with their methods, and constants; not what it imports."""
    names = set()
    for statement in ast.parse(inspect.getsource(module)).body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        for node in (node for target in targets if target for node in ast.walk(target)):
            if isinstance(node, ast.Name) and not node.id.startswith("_"):
                names.add(node.id)
    names = {f"{module.__name__}.{name}" for name in names if not isinstance(getattr(module, name), logging.Logger)}
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)):
            names.add(f"{module.__name__}.{name}")
        if inspect.isclass(value):
            # `model_...` is pydantic's.
            members = {
                member for member in vars(value) if not member.startswith(("_", "model_")) or member == "__call__"
            }
            names |= {f"{module.__name__}.{name}.{member}" for member in members}
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_in_the_index(page):
    assert f"api/{page.stem}\n" in (ROOT / "docs/index.md").read_text()


def test_every_module_is_on_one_page():
    listed = [name for page in PAGES for name in re.findall(r"automodule:: (\S+)", page.read_text())]
    assert sorted(listed) == sorted(MODULES)


def test_every_public_name_is_on_a_page(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
    subprocess.run(
        [*command, str(ROOT / "docs"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        timeout=300,
    )
    from sphinx.util.inventory import InventoryFile  # noqa: PLC0415

    with open(tmp_path / "objects.inv", "rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, page: page)
    found = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    expected = set.union(*(public_names(importlib.import_module(name)) for name in MODULES))
    assert expected - found == set()
    # Names that pages list by hand may have gone.
    for name in found - expected - set(MODULES):
        module = max((module for module in MODULES if name.startswith(f"{module}.")), key=len)
        first, *rest = name.removeprefix(f"{module}.").split(".")
        assert rest or hasattr(importlib.import_module(module), first), name
    page = (tmp_path / "api/training.html").read_text()
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))
    assert "earlier: Sequence[Float[ndarray, 'trial time _']]" in text, "signatures show the shapes of arrays"
