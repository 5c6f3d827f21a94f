"""Tasks from their parameters in the config."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from insd.settings.base import (
    SettingsError,
)
from insd.settings.messages import joined, lines
from insd.tasks import Task, find_task


def make_task(name: str, parameters: Mapping[str, Any], within: str = "") -> Task:
    """A task from the parameters of `Settings.task_parameters`; a task of this library is found by its name."""
    if problems := list(_not_finite(parameters, f"tasks.{name}.parameters.{within}".rstrip("."))):
        raise SettingsError(joined(problems))
    fields = dict(parameters)
    adapter = task_adapter(find_task(fields.pop("class")["path"] if "class" in fields else name))
    try:
        return adapter.validate_json(json.dumps(fields, default=str), strict=True)
    except ValidationError as error:
        known = ", ".join(adapter.json_schema()["properties"])
        raise SettingsError(
            joined(lines(error, lambda key: f"tasks.{name}.parameters.{within}", lambda place: known))
        ) from None


@cache
def task_adapter(chosen: type[Task]) -> Any:
    """What reads and writes the fields of a task."""
    return TypeAdapter(chosen)


def _not_finite(value: Any, path: str) -> Iterator[str]:
    """The numbers in nested parameters that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} = {value}: input should be a finite number"
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _not_finite(entry, f"{path}.{key}")
