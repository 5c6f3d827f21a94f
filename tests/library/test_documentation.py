"""Every public name of the library is in the documentation, and the documentation names no other.

Tests that build pages skip without Sphinx, which `make test` alone does not install; `.ci/run` makes the documentation
first.
"""

import ast
import html
import importlib
import inspect
import logging
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT
from known import GRID

import insd
from insd import plugins
from insd.figures.base import planned
from insd.figures.theme import new_figure

PAGES = sorted((ROOT / "docs/api").glob("*.md"))
# The builds of the compiled loops are libraries, not modules.
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
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(ROOT / "docs"))
    from docstrings import with_modules  # noqa: PLC0415 - needs Sphinx

    listed = [name for page in PAGES for name in re.findall(r"automodule:: (\S+)", with_modules(page.read_text()))]
    # The package of the settings holds nothing itself.
    assert sorted(listed) == sorted(set(MODULES) - {"insd.settings"})


def shown_figures(page: str) -> list[str]:
    """The figures that a page of Markdown shows, by the names of their files."""
    return re.findall(r"^!\[.+\]\((?:docs/)?figures/(\w+\.png)\)$", (ROOT / page).read_text(), re.MULTILINE)


def test_pages_show_all_figures_and_only_those_that_are_copied():
    make = (ROOT / "Makefile").read_text().replace("\\\n", "")
    names = re.search(r"^FIGURES := (.+)$", make, re.MULTILINE)[1]
    copied = set(re.findall(r"\b(\w+\.png)", names.split("$")[0]))
    per_task = re.findall(r"\b(\w+)_\$\(task\)\.png", names)
    copied |= {f"{figure}_{task}.png" for figure in per_task for task in GRID}
    # The page has those of config/sweep.yaml and of studies, which `make results` must leave alone.
    of_others = {"front.png", "ladder.png", "capacity.png", "generators.png", "degeneracy.png"}
    # Of tasks with students or fits, with responses that are a distribution, with other classes of networks: in the
    # pages of their studies.
    shown = {"sparse": "flip_flop", "behaviour": "vwm_swap", "implicit": "parity", "linear": "path_classification"}
    shown |= {"spiking": "flip_flop_1", "moments": "flip_flop", "rank": "flip_flop", "readers": "flip_flop"}
    of_studies = {f"{figure}_{task}.png" for figure, task in shown.items()}
    of_others |= of_studies
    assert not of_others & copied
    assert sorted(shown_figures("docs/figures.md")) == sorted(copied | of_others)
    figures = {name: planned(name).per for name in plugins.names("figure")}
    of_grid = [name for name, per in figures.items() if per == "task" and name not in shown]
    every = of_studies | {f"{name}_{task}.png" for name in of_grid for task in GRID}
    assert copied | of_others == every | {f"{name}.png" for name, per in figures.items() if per == "grid"}
    assert set(shown_figures("README.md")) <= copied and shown_figures("README.md")


def build(docs: Path, target: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
    subprocess.run(
        [*command, str(docs), str(target)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        timeout=300,
    )


def test_figures_are_shown_where_they_are_there(tmp_path):
    pytest.importorskip("sphinx")
    for name in ("conf.py", "docstrings.py", "figures.md"):
        (tmp_path / "docs").mkdir(exist_ok=True)
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    # The page alone: what it links to is in others.
    page = tmp_path / "docs/figures.md"
    page.write_text(re.sub(r"(?<!!)\[([^\]]+)\]\([^)]+\)", r"\1", page.read_text()))
    page.rename(tmp_path / "docs/index.md")
    (tmp_path / "docs/figures").mkdir()
    new_figure(20.0, 20.0).savefig(tmp_path / "docs/figures/front.png")
    build(tmp_path / "docs", tmp_path / "site")
    html_page = (tmp_path / "site/index.html").read_text()
    assert re.findall(r'<img[^>]+src="_images/([^"]+)"', html_page) == ["front.png"]
    assert html_page.count("Made by") == len(shown_figures("docs/figures.md")) - 1


def test_every_public_name_is_on_a_page(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("triton")
    # `.ci/run` has built them.
    pages = Path(os.environ.get("BUILT_PAGES", tmp_path))
    if pages == tmp_path:
        build(ROOT / "docs", pages)
    from sphinx.util.inventory import InventoryFile  # noqa: PLC0415

    with open(pages / "objects.inv", "rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, page: page)
    found = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    expected = set.union(*(public_names(importlib.import_module(name)) for name in MODULES))
    assert expected - found == set()
    # Names that pages list by hand may have gone.
    for name in found - expected - set(MODULES):
        module = max((module for module in MODULES if name.startswith(f"{module}.")), key=len)
        first, *rest = name.removeprefix(f"{module}.").split(".")
        assert rest or hasattr(importlib.import_module(module), first), name
    page = (pages / "api/training.html").read_text()
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))
    assert "earlier: Sequence[Float[ndarray, 'trial time _']]" in text, "signatures show the shapes of arrays"
