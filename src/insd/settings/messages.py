"""What is wrong with a config, in lines for people."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from insd.settings.base import ClassPath, PopulationName, TaskName, TermName


def lines(error: ValidationError, prefix: Callable[[str], str], known: Callable[[list[str]], str]) -> list[str]:
    """One line per problem: the key below a path that depends on its first part, its value and what is allowed.

    `known` gives the keys at a place of what was checked.
    """
    found = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"] if part not in ("[key]", "[number]", "[word]")]
        path = (prefix(location[0] if location else "") + ".".join(location)).rstrip(".") or "config"
        given = problem["input"]
        shown = "" if isinstance(given, dict | list) and len(str(given)) > 80 else f" = {given!r}"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            choices = problem.get("ctx", {}).get("known") or known(location[:-1])
            found.append(f"{path}{shown}: unknown key; known here: {choices}")
        elif problem["type"] == "missing":
            found.append(f"{path}: this key is required")
        elif problem["type"] == "too_short" and given == {}:
            found.append(
                f"{path}: no {location[-1].removesuffix('s')} is left (null leaves one out); list at least one"
            )
        elif problem["type"] == "value_error":
            # Raised by the task itself; the message begins with the name of the field.
            found.append(f"{path}.{problem['ctx']['error']}")
        elif problem["type"] == "string_pattern_mismatch":
            found.append(f"{path}{shown}: {_misfit(given, problem['ctx']['pattern'])}")
        else:
            message = problem["msg"]
            hint = ""
            if isinstance(given, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", given):
                hint = f" (YAML reads {given} as text: write {float(given):.1e})"
            elif "[number]" in problem["loc"]:
                hint = ", or `auto`"
            found.append(f"{path}{shown}: {message[0].lower()}{message[1:]}{hint}")
    return found


def _misfit(given: str, pattern: str) -> str:
    """What is wrong with a text that does not fit its pattern, and what to do."""
    if pattern != _pattern(ClassPath):
        return _ALLOWED.get(pattern) or f"must fit the pattern {pattern}"
    module, _, name = given.partition(":")
    if given == "recorded:":
        return "needs the path of a file after the colon"
    if not module or not name:
        return "needs a module and a name in it, as `module:Name`"
    if wrong := re.sub(r"[\w.]", "", module):
        return f"the module {module!r} has {_marks(wrong)}; a module is named by letters, digits, _ and dots alone"
    wrong = _marks(re.sub(r"[\w./:+-]", "", name))
    if module == "recorded":
        instead = "write it in full" if wrong == "'~'" else "rename the file or its folder, or name a link to it"
        return f"the path of the file has {wrong}; it may have letters, digits and _ . / : + - alone: {instead}"
    return f"the name {name!r} has {wrong}; it may have letters, digits and _ . / : + - alone"


def _marks(text: str) -> str:
    return ", ".join("a blank" if mark == " " else repr(mark) for mark in dict.fromkeys(text))


@cache
def _pattern(of: Any) -> str:
    return str(TypeAdapter(of).json_schema()["pattern"])


_ALLOWED = {
    _pattern(TaskName): "choose a name of a-z, 0-9 and _ that begins with a letter",
    _pattern(PopulationName): "choose a name of letters, digits, dots, dashes and _ that begins with a letter or digit",
    # Measures and makers have the same.
    _pattern(TermName): "is neither a name of a-z, 0-9 and _ nor one of your own as `module:Class`",
}
"""What is said of a text that does not fit a pattern."""


def keys_of(root: type[BaseModel], location: list[str]) -> str:
    """The keys that are known at a place of a section."""
    place: Any = root
    for part in location:
        if isinstance(place, type) and issubclass(place, BaseModel):
            place = place.model_fields[part].annotation
        elif get_origin(place) is dict:
            place = get_args(place)[1]
    if not (isinstance(place, type) and issubclass(place, BaseModel)):
        return ""
    return ", ".join(field.alias or name for name, field in place.model_fields.items())


def joined(problems: Iterable[str]) -> str:
    """All problems of a config in one message."""
    return "the config cannot be used:\n" + "\n".join(
        f"  - {line.removeprefix('the config cannot be used:').strip().removeprefix('- ')}"
        for line in dict.fromkeys(problems)
    )
