"""A dry look at a file of others: its tensors, which weight each of them would be, and the lines for the config."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import escape
from typing import NamedTuple, get_args

import xarray as xr
from torch import Tensor

from insd.imported import check, tensors_of, understood
from insd.layouts import OPTIONAL, Said
from insd.mapping import MappedWeight
from insd.tensor_files import (
    CheckpointError,
    UnfitPatternError,
    UnknownLayoutError,
    UnsaidError,
    networks_in,
    prefix_of,
)

COMMENT = {
    "tau": "in s; the file does not say it",
    "nonlinearity": "tanh, relu or softplus; the file does not say which",
    "readout": "the name of its linear readout",
    "rnn": "the name of its recurrent module",
}
"""What is said, in the lines for the config, to a value that a user must check."""


UNREAD = "no line above reads them; check that the network runs without them"
"""What is said, in the lines for the config, to tensors that no weight is read from."""


class Look(NamedTuple):
    """What a file holds: `lines` of text, and the `problem` for which it cannot be read, None if it can."""

    lines: list[str]
    problem: str | None


def look(path: str | os.PathLike, trials: xr.Dataset | None, said: Said) -> Look:
    """What is in a file, as which network it would be read, and the `checkpoint:` section that says so.

    With trials, it is also asked whether the network has their inputs and outputs. Only tensors are read, as in
    `insd.imported.import_checkpoint`. Raises CheckpointError if the file holds no tensors by name.
    """
    refused: CheckpointError | None = None
    try:
        found = tensors_of(path, said)
    except CheckpointError as error:
        found, refused = networks_in(path), error
    several = f", {len(found)} networks, of which this is the first" if len(found) > 1 else ""
    stored = found[0][1]
    lines = [f"{path}: {len(stored)} tensors{several}", "", *_table(_tensors(stored), ("tensor", "shape", "type"))]
    if isinstance(refused, UnfitPatternError):
        return Look(lines, str(refused))
    examples: dict[str, str | float] = {}
    dt = None if trials is None else float(trials.attrs["dt"])
    while True:
        try:
            network = understood(stored, path, Said(**(said._asdict() | examples)), dt)
            layout = network.layout
            check(layout, trials, path)
        except UnsaidError as error:
            if error.setting in examples:
                return Look(lines, str(error))
            examples[error.setting] = error.example
        except CheckpointError as error:
            if isinstance(error, UnknownLayoutError) and not said.mapping:
                guessed = _by_shape(stored, trials)
                read = {_tensor_of(way) for ways in guessed.values() for way in ways}
                unread = [name for name in stored if name not in read]
                lines += ["", *_section(path, said, examples, guessed, unread)]
            return Look(lines, str(error))
        else:
            break
    units, inputs = layout.weights["recurrent_weights"].shape[-1], layout.weights["input_weights"].shape[-1]
    outputs = len(layout.weights["output_weights"])
    lines += [
        "",
        f"{layout.name}: {kind_of(layout.architecture, network.nonlinearity)} of {units} units, {inputs} input(s) and "
        f"{outputs} output(s)",
        "",
        *_table(layout.origins.items(), ("weight", "read from")),
        "",
        *_section(path, said, examples),
    ]
    return Look(lines, None if refused is None else str(refused))


def kind_of(architecture: str, nonlinearity: str) -> str:
    """What a network is called: the function of units is that of rates, which those of a GRU do not have."""
    return "GRU" if architecture == "gru" else f"{nonlinearity} {architecture.replace('_', '-')} network"


def _tensors(stored: Mapping[str, Tensor]) -> Iterator[tuple[str, str, str]]:
    for name, values in stored.items():
        yield name, " x ".join(map(str, values.shape)) or "scalar", str(values.dtype).removeprefix("torch.")


def _table(rows: Iterable[tuple[str, ...]], head: Sequence[str]) -> list[str]:
    cells = [tuple(head), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _section(
    path: str | os.PathLike,
    said: Said,
    examples: Mapping[str, str | float],
    guessed: Mapping[str, list[str]] | None = None,
    unread: Sequence[str] = (),
) -> list[str]:
    """The lines of the config: what is said, what must be, what shapes leave open, and what no weight is read from."""
    lines = ["checkpoint:", f"  files: {path}"]
    given = {name: value for name, value in said._asdict().items() if value and value != Said._field_defaults[name]}
    for name, value in (given | dict(examples)).items():
        if name == "mapping":
            lines += ["  mapping:", *(f"    {weight}: {one}" for weight, one in value.items())]
        elif name != "ignore":
            lines.append(f"  {name}: {value}{f'    # {COMMENT[name]}' if name in examples else ''}")
    if guessed is not None:
        if said.tau is None and {"tau", "alpha"}.isdisjoint(guessed):
            lines.append(f"  tau: 0.1    # {COMMENT['tau']}")
        lines += ["  mapping:", *(f"    {weight}: {_choice(weight, names)}" for weight, names in guessed.items())]
    if ignored := [*map(repr, said.ignore), *(repr(escape(name)) for name in unread)]:
        lines.append(f"  ignore: [{', '.join(ignored)}]{f'    # {UNREAD}' if unread else ''}")
    return lines


def _choice(weight: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]}    # {'zero without this line' if weight in OPTIONAL else 'the only one that fits'}"
    rest = "; zero without this line" if weight in OPTIONAL else ""
    return f"NAME    # {' or '.join(names) or 'none has its shape'}{rest}"


def _by_shape(stored: Mapping[str, Tensor], trials: xr.Dataset | None) -> dict[str, list[str]]:
    """By weight, the tensors that could be it by their shape; recurrent weights either way round.

    A tensor that has the name of a weight is offered for this one alone, and so is the only one that fits a weight.
    """
    # Single numbers are sizes and time constants; in MATLAB they have two axes.
    shapes = {name: tuple(values.shape) for name, values in stored.items() if values.numel() > 1 or values.ndim == 1}
    square = [name for name, shape in shapes.items() if len(shape) == 2 and shape[0] == shape[1]]
    units = {shapes[name][0] for name in square}
    candidates: dict[str, list[str]] = {"recurrent_weights": [way for name in square for way in (name, f"{name}.T")]}
    for weight, along in (("input_weights", "input"), ("output_weights", "output")):
        candidates[weight] = []
        for name, shape in shapes.items():
            if len(shape) != 2 or name in square:
                continue
            ours = shape if weight == "input_weights" else shape[::-1]
            for (own, other), way in ((ours, name), (ours[::-1], f"{name}.T")):
                if own in units and (trials is None or other == trials.sizes[along]):
                    candidates[weight].append(way)
    lengths = {name: max(shape) for name, shape in shapes.items() if shape and sorted(shape)[:-1] in ([], [1])}
    for weight in OPTIONAL:
        sizes = units if weight != "output_bias" else set() if trials is None else {trials.sizes["output"]}
        candidates[weight] = [name for name, length in lengths.items() if length in sizes]
    candidates = _by_name(candidates, prefix_of(stored))
    for weight, ways in candidates.items():
        if len(of := {_tensor_of(way) for way in ways}) == 1:
            for another, theirs in candidates.items():
                left = [way for way in theirs if _tensor_of(way) not in of]
                # Where a tensor is the only one for two weights, the shapes do not say which of them it is.
                if another != weight and (left or another in OPTIONAL):
                    candidates[another] = left
    found = {weight: ways for weight, ways in candidates.items() if ways or weight not in OPTIONAL}
    return found | {name.rpartition(".")[2]: [name] for name in stored if _is_time_constant(name)}


def _by_name(candidates: Mapping[str, list[str]], prefix: str) -> dict[str, list[str]]:
    """The same, where tensors that have the name of a weight, behind the prefix of all, are for this one alone."""
    found = {}
    for weight, ways in candidates.items():
        names = [_tensor_of(way).removeprefix(prefix) for way in ways]
        own = [way for way, name in zip(ways, names, strict=True) if name == weight]
        others = [way for way, name in zip(ways, names, strict=True) if name not in get_args(MappedWeight)]
        found[weight] = own[:1] or others
    return found


def _tensor_of(way: str) -> str:
    return way.removesuffix(".T")


def _is_time_constant(name: str) -> bool:
    return name.rpartition(".")[2] in ("tau", "alpha")
