"""Finds what the config names: a task, an architecture, a term, a maker, a measure, a reader, an analysis, a
figure.

Each is one file in the folder of its kind, and the name of the file is its name in the config. A user's own is
named `module:Class` (or `module:CONSTANT` for kinds that are described by a constant) and needs no place in this
library. No module imports a list of all files of a kind, so adding a file changes nothing for the others.
"""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from insd.errors import InsdError


class PluginError(InsdError):
    """A name cannot be used; the message lists the names that can."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing that the config names."""

    package: str
    """The package with one module per thing."""
    what: str
    """The name of the kind in messages."""
    base: str | None = None
    """`module:Class` that all classes of the kind derive from; None for a kind that is described by a constant."""
    constant: str | None = None
    """The name of that constant."""
    instance: str | None = None
    """`module:Class` that the constant is one of."""
    functions: tuple[str, ...] = ()
    """The arguments of that constant that are functions; all others are literals, which `described` reads."""
    tools: tuple[str, ...] = ()
    """Modules of the package, other than `base`, that hold nothing the config names."""


KINDS = {
    "task": Kind(
        "insd.tasks",
        "task",
        base="insd.tasks.base:Task",
        tools=("arrays", "denoising", "environments", "variables", "observers", "own", "recorded", "sessions"),
    ),
    "network": Kind("insd.networks", "architecture", base="insd.networks.base:Networks", tools=("check", "plane")),
    "term": Kind(
        "insd.objectives",
        "term of an objective",
        base="insd.objectives.base:Term",
        tools=("centring", "check", "moved", "null_space", "objective", "over_samples", "schedules", "small_matrices"),
    ),
    "maker": Kind("insd.makers", "maker", base="insd.makers.base:Maker", tools=("check", "recorded_files")),
    "measure": Kind("insd.measures", "measure", base="insd.measures.base:Measure", tools=("pairs", "responses")),
    "reader": Kind(
        "insd.readers",
        "reader of networks",
        base="insd.readers.base:Reader",
        tools=("check", "equivariant_layer", "fitting"),
    ),
    "analysis": Kind("insd.analysis", "analysis", constant="ANALYSIS", instance="insd.analysis.base:Analysis"),
    "claims": Kind(
        "insd.claims",
        "set of claims",
        constant="CLAIMS",
        instance="insd.claims.base:Publication",
        tools=("regimes", "mechanisms", "readings"),
    ),
    "figure": Kind(
        "insd.figures",
        "figure",
        constant="FIGURE",
        instance="insd.figures.base:Figure",
        functions=("draw",),
        tools=("theme", "panels", "scores", "shown", "state_space", "files"),
    ),
}
"""All kinds by name."""


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names of all files of a kind in this library, in alphabetical order."""
    found = KINDS[kind]
    package = importlib.import_module(found.package)
    return tuple(
        sorted(
            module.name
            for module in pkgutil.iter_modules(package.__path__)
            if not module.ispkg and module.name not in ("base", *found.tools)
        )
    )


def module_of(kind: str, name: str) -> str:
    """The full name of the module that holds what the config names.

    Raises PluginError if this library has no such file.
    """
    if ":" in name:
        return name.partition(":")[0]
    if name not in names(kind):
        found = KINDS[kind]
        example = f"module:{found.constant or 'Class'}"
        raise PluginError(
            f"there is no {found.what} {name!r}; choose from {', '.join(names(kind))}, or name your own as '{example}'"
        )
    return f"{KINDS[kind].package}.{name}"


@cache
def find(kind: str, name: str) -> Any:
    """The class, or the constant, of a kind that the config names.

    Raises PluginError if there is none, or if it is of a different kind.
    """
    module = module_of(kind, name)
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise PluginError(f"{name}: the module {module!r} cannot be imported ({told(error)})") from None
    attribute = name.partition(":")[2] or KINDS[kind].constant
    if attribute is None:
        return _only_class(kind, loaded)
    if not hasattr(loaded, attribute):
        raise PluginError(f"{name}: the module {module!r} has no {attribute!r}")
    return check(kind, getattr(loaded, attribute), name)


def settings_of(kind: str, name: str) -> type:
    """The `Settings` of what the config names; raises PluginError if there is none.

    Where the folder `settings` of the kind has a file of that name, they are read from it, without importing PyTorch.
    """
    light = f"{KINDS[kind].package}.settings.{name}"
    if module_of(kind, name) == f"{KINDS[kind].package}.{name}" and importlib.util.find_spec(light):
        own = vars(importlib.import_module(light)).values()
        return next(value for value in own if getattr(value, "__module__", None) == light)
    return find(kind, name).Settings


@cache
def described(kind: str, name: str) -> Mapping[str, Any]:
    """The arguments, but for functions, of the constant that the config names: read from its file without importing it.

    A workflow is planned with these alone, and so without the seconds in which figures import what draws them.
    Raises PluginError if there is no such constant, or if an argument is not a literal.
    """
    module = module_of(kind, name)
    constant = name.partition(":")[2] or KINDS[kind].constant
    for statement in _parsed(module, name).body:
        if not isinstance(statement, ast.Assign) or list(map(ast.unparse, statement.targets)) != [constant]:
            continue
        if isinstance(statement.value, ast.Call) and not statement.value.args:
            return {
                str(argument.arg): _literal(argument, f"{name}: {argument.arg}")
                for argument in statement.value.keywords
                if argument.arg not in KINDS[kind].functions
            }
    raise PluginError(
        f"{name}: the module {module!r} must have a line that begins with '{constant} = ', a {KINDS[kind].what} with "
        "named arguments"
    )


def _parsed(module: str, name: str) -> ast.Module:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.origin or not found.origin.endswith(".py"):
        raise PluginError(f"{name}: there is no module {module!r}; it is looked for in the working directory, too")
    try:
        return ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise PluginError(f"{name}: {found.origin}, line {error.lineno}: {error.msg}") from None


def _literal(argument: ast.keyword, where: str) -> Any:
    try:
        return ast.literal_eval(argument.value)
    except ValueError:
        raise PluginError(f"{where} is read without importing the module: write its value here, as a literal") from None


def check(kind: str, found: Any, name: str) -> Any:
    """What was found, if it is of the kind; else PluginError."""
    base, instance, what = KINDS[kind].base, KINDS[kind].instance, KINDS[kind].what
    article = "an" if what[0] in "aeiou" else "a"
    if instance is not None:
        if not isinstance(found, _base(instance)):
            raise PluginError(f"{name}: is not an {instance.replace(':', '.')}, as {article} {what} must be")
        return found
    expected = _base(base or "")
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise PluginError(
            f"{name}: is not a subclass of {expected.__module__}.{expected.__name__}, as {article} {what} must be"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(vars(found)["__abstractmethods__"]))
        raise PluginError(f"{name}: does not define {missing}, as {article} {what} must")
    return found


def told(error: Exception) -> str:
    """An error of the user's own code in one line, with its place there."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, SyntaxError):
        return f"{text.partition(' (')[0]}, {error.filename}, line {error.lineno}"
    frame = frame_of(error)
    return text if frame is None else f"{text}, {frame.filename}, line {frame.lineno}"


def frame_of(error: Exception) -> traceback.FrameSummary | None:
    """The last frame of an error outside this library and the import system: where the user's own code failed."""
    library = str(Path(__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((library, "<")) and "importlib" not in frame.filename
    ]
    return frames[-1] if frames else None


@cache
def _base(path: str) -> type:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _only_class(kind: str, module: Any) -> type:
    """The one class of the kind that a file of this library defines."""
    expected = _base(KINDS[kind].base or "")

    def is_own(value: Any) -> bool:
        return (
            isinstance(value, type)
            and issubclass(value, expected)
            and value.__module__ == module.__name__
            and not value.__name__.startswith("_")
            and not inspect.isabstract(value)
        )

    found = [value for value in vars(module).values() if is_own(value)]
    if len(found) != 1:
        raise PluginError(f"{module.__file__}: must define one {KINDS[kind].what}, but defines {len(found)}")
    return found[0]
