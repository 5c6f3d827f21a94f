"""What is wrong with a config, in lines for people."""

import re
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError


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
        else:
            message = problem["msg"]
            hint = ""
            if isinstance(given, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", given):
                hint = f" (YAML reads {given} as text: write {float(given):.1e})"
            found.append(f"{path}{shown}: {message[0].lower()}{message[1:]}{hint}")
    return found


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
