"""What is wrong with a config, in lines for people."""

from collections.abc import Callable

from pydantic import ValidationError


def lines(error: ValidationError, prefix: Callable[[str], str], known: Callable[[list[str]], str]) -> list[str]:
    """One line per problem: the key below a path that depends on its first part, its value and what is allowed.

    `known` gives the keys at a place of what was checked.
    """
    found = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        path = (prefix(location[0] if location else "") + ".".join(location)).rstrip(".") or "config"
        given = problem["input"]
        shown = "" if isinstance(given, dict | list) and len(str(given)) > 80 else f" = {given!r}"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            found.append(f"{path}{shown}: unknown key; known here: {known(location[:-1])}")
        elif problem["type"] == "missing":
            found.append(f"{path}: this key is required")
        elif problem["type"] == "value_error":
            # The task itself objects, and begins with the name of its field.
            found.append(f"{path}.{problem['ctx']['error']}")
        else:
            message = problem["msg"]
            hint = ""
            if isinstance(given, str) and problem["type"] in ("float_type", "int_type"):
                hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
            found.append(f"{path}{shown}: {message[0].lower()}{message[1:]}{hint}")
    return found
