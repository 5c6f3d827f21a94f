"""What config files say in words that YAML reads as something else, or say twice; nulls that leave out nothing, and
populations whose names are misspelt."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from insd.settings.base import SettingsError
from insd.settings.messages import joined

logger = logging.getLogger("insd.settings.written")

OF_ANY = {"seeds", "rounds", "tasks", "role", "standards"}
"""Keys of a population that say nothing of how its networks are made."""
NEARLY = 0.85
"""Least ratio (of `difflib`), from 0 to 1, of a name and another that it may be meant to be."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
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
    configs = _configs(paths)
    problems = []
    for section in ("tasks", "populations"):
        entries = _entries(configs, section)
        known = {name: None for one in entries.values() for name, entry in one.items() if entry is not None}
        for path, one in entries.items():
            for name in sorted(set(one) - set(known)):
                near = get_close_matches(name, known)
                hint = f"is it {' or '.join(near)}?" if near else f"they have: {', '.join(known) or 'none'}"
                problems.append(
                    f"{path}, {section}.{name} = null: leaves out nothing, since no other config file has it; {hint}"
                )
    if problems:
        raise SettingsError(joined(problems))


def check_new(paths: Sequence[str | Path], warn: bool = True) -> None:
    """Refuse a population that one of several files has alone, if its name is nearly one of another file, and it says
    nothing of how its networks are made: its name is misspelt, and its keys are meant for the other.

    One with such a name that does say it is warned of, and so is one that says nothing and whose name differs in
    numbers alone; `warn` says whether they are. Raises SettingsError with one line per problem. Files that are not YAML
    are left to Snakemake.
    """
    entries = _entries(_configs(paths), "populations")
    left_out = {name for one in entries.values() for name, entry in one.items() if entry is None}
    problems: dict[frozenset[str], str] = {}
    doubts: dict[frozenset[str], str] = {}
    # Of two such names, that of the file with fewer populations is asked about: the other file is below it.
    for path, own in sorted(entries.items(), key=lambda item: len(item[1])):
        others = dict.fromkeys(name for other, theirs in entries.items() if other != path for name in theirs)
        known = [name for name in others if name not in left_out]
        for name, entry in own.items():
            if name in others or not isinstance(entry, Mapping):
                continue
            misspelt = [one for one in known if _is_misspelt(name, one)]
            alike = [one for one in known if _without_numbers(name) == _without_numbers(one)]
            near = get_close_matches(name, misspelt or alike, cutoff=0)
            bare = set(entry) <= OF_ANY
            question = (
                f"{path}, populations.{name}: no other config file has this population; is it {' or '.join(near)}?"
            )
            pair = frozenset((name, *near))
            if near and "seeds" not in entry:
                problems[pair] = f"{question} A new one needs the key `seeds`"
            elif misspelt and bare:
                problems.setdefault(
                    pair, f"{question} For a new one with the settings of `defaults`, add `make: train`"
                )
            elif misspelt or (alike and bare):
                doubts.setdefault(pair, question)
    if problems:
        raise SettingsError(joined(problems.values()))
    for question in doubts.values() if warn else ():
        logger.warning("%s It is made as a new one", question)


def _is_misspelt(name: str, other: str) -> bool:
    """Whether a name is nearly another, with the same numbers; one that continues the other at a mark is not."""
    if _NUMBER.findall(name) != _NUMBER.findall(other) or name == other:
        return False
    shorter, longer = sorted((name, other), key=len)
    rest = longer.removeprefix(shorter) if longer.startswith(shorter) else longer.removesuffix(shorter)
    if rest != longer and {rest[0], rest[-1]} & set("-_."):
        return False
    return sorted(name) == sorted(other) or SequenceMatcher(None, name, other).ratio() >= NEARLY


def _without_numbers(name: str) -> str:
    return _NUMBER.sub("0", name)


def _configs(paths: Sequence[str | Path]) -> dict[Path, Mapping[str, Any]]:
    """Several config files by their paths; none where there is but one, or where one is not YAML."""
    configs: dict[Path, Mapping[str, Any]] = {}
    for path in paths:
        try:
            read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return {}
        configs[Path(path).resolve()] = read if isinstance(read, Mapping) else {}
    return configs if len(configs) > 1 else {}


def _entries(configs: Mapping[Path, Mapping[str, Any]], section: str) -> dict[Path, dict[str, Any]]:
    """The entries of a section by file and name."""
    found = {path: config.get(section) for path, config in configs.items()}
    return {
        path: {str(name): entry for name, entry in one.items()}
        for path, one in found.items()
        if isinstance(one, Mapping)
    }


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
