"""A Sphinx extension that shows the library's docstrings and signatures as they are written, for people who read code.

In docstrings, headings are underlined; lines ``name : what it is`` are items; what is indented after an empty line is a
formula or code; names are in single backticks. Of annotated types, the type is shown.
"""

import ast
import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from itertools import groupby

from docutils import nodes
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.application import Sphinx

from insd import plugins
from insd.analysis.base import Analysis
from insd.datasets import CONTRACTS, Contract

ITEM = re.compile(r"(\S[^:]*?) : (.+)")
QUOTED = re.compile(r"(``.+?``|`.+?`|\*\w+\*)")
LONG = 100
"""Characters of a value that is not shown."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc, and to what it makes."""
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("doctree-resolved", _types)
    return {"parallel_read_safe": True}


def with_modules(page: str) -> str:
    """A page of Markdown with a section for each module that its marks `<!-- modules: NAME -->` name: a module, or a
    package with all modules in it, so that a new file is documented without an entry of its own.
    """

    def sections(mark: re.Match) -> str:
        names = [name for given in mark[1].split() for name in _with_parts(given)]
        return "\n\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```" for name in names)

    return re.sub(r"^<!-- modules: (.+) -->$", sections, page, flags=re.MULTILINE)


def _with_parts(name: str) -> list[str]:
    """A module, and the modules in it if it is a package."""
    found = importlib.import_module(name)
    parts = pkgutil.walk_packages(found.__path__, f"{name}.") if hasattr(found, "__path__") else ()
    # The builds of `insd.networks.engine.loops` are libraries, not modules.
    return [name, *(part.name for part in parts if ".loops_" not in part.name)]


def _docstring(_app: Sphinx, _kind: str, name: str, found: object, _options: object, lines: list[str]) -> None:
    lines[:] = list(restructured(lines))
    if name == "insd.datasets.CONTRACTS":
        for file, contract in CONTRACTS.items():
            lines += _contents(file, contract)
    if name.endswith(".ANALYSIS") and isinstance(found, Analysis):
        for file, contract in found.writes.items():
            lines += _contents(f"{file}.nc", contract)
    if name == "insd.networks.base.Networks":
        for architecture in plugins.names("network"):
            lines += _contents(architecture, Contract(plugins.find("network", architecture).dimensions))


def _signature(
    _app: Sphinx, kind: str, _name: str, found: object, _options: object, _signature: str, _returned: str
) -> tuple[str, None] | None:
    """Nothing for classes whose arguments are their fields."""
    fields = isinstance(found, type) and (dataclasses.is_dataclass(found) or issubclass(found, BaseModel))
    return ("", None) if kind == "class" and fields else None


def _types(_app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Leave out what hides the rest: annotations of types, long values, and the base class that all have."""
    for node in list(doctree.findall(addnodes.desc_annotation)):
        text = node.astext()
        if text.startswith(" = ") and len(text) > LONG:
            node.parent.remove(node)
        elif "Annotated[" in text:
            node[:] = [nodes.Text(": " + _plain(text.removeprefix(": ")))]
    for content in doctree.findall(addnodes.desc_content):
        for paragraph in list(content.children):
            if re.match(r"Bases: object$|alias of Annotated\[", paragraph.astext()):
                content.remove(paragraph)


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
        return node.slice.elts[0] if annotated and isinstance(node.slice, ast.Tuple) else node


def _plain(annotation: str) -> str:
    return ast.unparse(_WithoutAnnotations().visit(ast.parse(annotation)))


def restructured(lines: list[str]) -> Iterator[str]:
    """A docstring in reStructuredText."""
    for empty, block in groupby(lines, key=lambda line: not line.strip()):
        paragraph = list(block)
        if empty:
            yield ""
            continue
        if len(paragraph) > 1 and re.fullmatch("-{4,}", paragraph[1]):
            yield from [f".. rubric:: {paragraph[0]}", ""]
            paragraph = paragraph[2:]
        if paragraph and paragraph[0].startswith("    "):
            yield from [".. code-block:: text", "", *paragraph]
        elif paragraph and ITEM.fullmatch(paragraph[0]):
            yield from _items(paragraph)
        else:
            yield from map(_escaped, paragraph)


def _items(lines: list[str]) -> Iterator[str]:
    """A definition list."""
    for line in lines:
        item = ITEM.fullmatch(line)
        if item and not line.startswith(" "):
            names, *shape = re.split(r"(?= \()", item[1], maxsplit=1)
            yield f"**{names}**{''.join(shape)}"
            yield "    " + _escaped(item[2])
        else:
            yield "    " + _escaped(line.strip())


def _escaped(line: str) -> str:
    """A line whose signs outside quotes and emphasis stand for themselves."""
    parts = QUOTED.split(line)
    return "".join(part if QUOTED.fullmatch(part) else re.sub(r"([|*]|_\b|_(?=\W|$))", r"\\\1", part) for part in parts)


def _contents(file: str, contract: Contract) -> Iterator[str]:
    """What a file holds."""
    yield from ["", f"**{file}**", ""]
    for name, dimensions in {**contract.variables, **contract.optional}.items():
        optional = ", optional" if name in contract.optional else ""
        yield f"- ``{name}`` ({', '.join(dimensions)}){optional}"
    if contract.attributes:
        yield f"- attributes {', '.join(f'``{name}``' for name in contract.attributes)}"
