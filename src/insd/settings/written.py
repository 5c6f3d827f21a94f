"""What config files say in words that YAML reads as something else, or say twice; and nulls that leave out nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from insd.settings.base import SettingsError
from insd.settings.messages import joined

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def check_written(path: str | Path) -> None:
    """Refuse a config file in which a key occurs twice, of which YAML keeps the last, or in which YAML reads a word as
    something else: `no` as false, `2024_01` as 202401, `1:30` as 90.

    Raises SettingsError with one line per problem. Files that are not YAML are left to Snakemake.
    """
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    if root is None:
        return
    _refuse_circles(root, path, [])
    if problems := [*_problems(root, "")]:
        raise SettingsError(joined(f"{path}, {problem}" for problem in dict.fromkeys(problems)))


def check_left_out(paths: Sequence[str | Path]) -> None:
    """Refuse a null that leaves out a task or population which no other of several files, laid over each other, has:
    its name is misspelt, and what it is to leave out would stay.

    Raises SettingsError with one line per problem. Files that are not YAML are left to Snakemake.
    """
    configs: dict[Path, Mapping[str, Any]] = {}
    for path in paths:
        try:
            read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return
        configs[Path(path).resolve()] = read if isinstance(read, Mapping) else {}
    if len(configs) < 2:
        return
    problems = []
    for section in ("tasks", "populations"):
        entries = {path: config.get(section) for path, config in configs.items()}
        given = {path: {str(k): v for k, v in one.items()} for path, one in entries.items() if isinstance(one, Mapping)}
        known = {name: None for one in given.values() for name, entry in one.items() if entry is not None}
        for path, one in given.items():
            for name in sorted(set(one) - set(known)):
                near = get_close_matches(name, known)
                hint = f"is it {' or '.join(near)}?" if near else f"they have: {', '.join(known) or 'none'}"
                problems.append(
                    f"{path}, {section}.{name} = null: leaves out nothing, since no other config file has it; {hint}"
                )
    if problems:
        raise SettingsError(joined(problems))


def _refuse_circles(node: Node, path: str | Path, around: list[Node]) -> None:
    """Refuse an anchor that holds itself, such as `&x [*x]`, of which YAML makes a list without an end."""
    if any(node is one for one in around):
        problem = "this anchor holds itself; write out what is meant"
        raise SettingsError(joined([f"{path}, line {node.start_mark.line + 1}: {problem}"]))
    if isinstance(node, MappingNode | SequenceNode):
        inside = node.value if isinstance(node, SequenceNode) else [one for pair in node.value for one in pair]
        for one in inside:
            _refuse_circles(one, path, [*around, node])


def _problems(node: Node, place: str) -> Iterator[str]:
    if isinstance(node, MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag == _MERGE:
                continue
            inside, line = f"{place}{key.value}", key.start_mark.line + 1
            if key.value in lines:
                yield f"lines {lines[key.value]} and {line}: {inside} is given twice; make one of both"
            lines[key.value] = line
            if key.tag != _TEXT:
                yield f"line {line}: {inside}: YAML reads this name as {_read(key)}; quote it: '{key.value}'"
            yield from _problems(value, f"{inside}.")
    elif isinstance(node, SequenceNode):
        for number, value in enumerate(node.value):
            yield from _problems(value, f"{place}{number}.")
    elif isinstance(node, ScalarNode) and _surprises(node):
        yield (
            f"line {node.start_mark.line + 1}: {place[:-1]} = {node.value}: YAML reads this as {_read(node)}; write "
            f"that, or quote it: '{node.value}'"
        )


def _surprises(node: ScalarNode) -> bool:
    text = node.value.lower()
    if node.tag.endswith(":bool"):
        return text not in ("true", "false")
    # YAML 1.1 has numbers to the base 60, underscores between digits, and those to the base 8 after a 0.
    if node.tag.endswith(":int") and text.lstrip("+-").isdigit() and text.lstrip("+-")[0] == "0":
        return len(text.lstrip("+-")) > 1
    return node.tag in _NUMBERS and any(character in text for character in ":_")


def _read(node: ScalarNode) -> str:
    """What YAML makes of a word, as JSON."""
    return json.dumps(yaml.safe_load(node.value), default=str)
