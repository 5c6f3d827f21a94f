"""From a config to settings that hold together."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from insd.settings.base import SettingsError
from insd.settings.checks import problems_of_config
from insd.settings.config import Settings
from insd.settings.messages import joined, keys_of, lines


def load(config: Mapping[str, Any]) -> Settings:
    """Check a config and make it settings.

    Raises SettingsError with one line per problem: the key's path, its value and what is allowed.
    """
    config = _without_left_out_tasks(_with_text_keys(config))
    try:
        # Via JSON: strict, so text is never read as a number, while lists may represent tuples.
        # Types that JSON lacks, such as YAML's dates, become text, which is then refused.
        settings = Settings.model_validate_json(json.dumps(config, default=str), strict=True)
    except ValidationError as error:
        raise SettingsError(joined(lines(error, lambda key: "", lambda place: keys_of(Settings, place)))) from None
    if problems := list(problems_of_config(settings)):
        raise SettingsError(joined(problems))
    return settings.in_order()


def _without_left_out_tasks(config: dict[str, Any]) -> dict[str, Any]:
    """The config without what its layers say of tasks that are null: files are laid over each other key by key, and
    none can remove a key of another.
    """
    tasks = config.get("tasks")
    left_out = {name for name, entry in tasks.items() if entry is None} if isinstance(tasks, dict) else set()

    def kept(section: Any, of: str) -> Any:
        if not isinstance(section, dict):
            return section
        return {key: kept(entry, key) for key, entry in section.items() if of != "by_task" or key not in left_out}

    return {key: kept(entry, key) if key in ("defaults", "populations") else entry for key, entry in config.items()}


def _with_text_keys(value: Any) -> Any:
    """The config with every key as text: YAML makes dates of some."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(entry) for key, entry in value.items()}
    return [_with_text_keys(entry) for entry in value] if isinstance(value, list) else value
