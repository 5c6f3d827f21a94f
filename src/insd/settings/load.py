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
    try:
        # Via JSON: strict, so text is never read as a number, while lists may represent tuples.
        # Types that JSON lacks, such as YAML's dates, become text, which is then refused.
        settings = Settings.model_validate_json(json.dumps(_with_text_keys(config), default=str), strict=True)
    except ValidationError as error:
        raise SettingsError(joined(lines(error, lambda key: "", lambda place: keys_of(Settings, place)))) from None
    if problems := list(problems_of_config(settings)):
        raise SettingsError(joined(problems))
    return settings.in_order()


def _with_text_keys(value: Any) -> Any:
    """The config with every key as text: YAML makes dates of some."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(entry) for key, entry in value.items()}
    return [_with_text_keys(entry) for entry in value] if isinstance(value, list) else value
