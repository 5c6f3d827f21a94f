"""A dry look at a file of others: its tensors, which weight each of them would be, and the lines for the config."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import xarray as xr
from torch import Tensor

from insd.imported import check, tensors_of, understood
from insd.layouts import OPTIONAL, Said
from insd.tensor_files import CheckpointError, UnknownLayoutError, UnsaidError, networks_in

COMMENT = {
    "tau": "in s; the file does not say it",
    "nonlinearity": "tanh, relu or softplus; the file does not say which",
    "readout": "the name of its linear readout",
    "rnn": "the name of its recurrent module",
}
"""What is said, in the lines for the config, to a value that a user must check."""


class Look(NamedTuple):
    """What a file holds: `lines` of text, and the `problem` for which it cannot be read, None if it can."""

    lines: list[str]
    problem: str | None


def look(path: str | os.PathLike, trials: xr.Dataset | None, said: Said) -> Look:
    """What is in a file, as which network it would be read, and the `checkpoint:` section that says so.

    With trials, it is also asked whether the network has their inputs and outputs. Only tensors are read, as in
    `insd.imported.import_checkpoint`. Raises CheckpointError if the file holds no tensors by name.
    """
    try:
        found = tensors_of(path, said)
    except CheckpointError:
        found = networks_in(path)
    several = f", {len(found)} networks, of which this is the first" if len(found) > 1 else ""
    stored = found[0][1]
    lines = [f"{path}: {len(stored)} tensors{several}", "", *_table(_tensors(stored), ("tensor", "shape", "type"))]
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
                lines += ["", *_section(path, said, examples, _by_shape(stored, trials))]
            return Look(lines, str(error))
        else:
            break
    units, inputs = layout.weights["recurrent_weights"].shape[-1], layout.weights["input_weights"].shape[-1]
    outputs = len(layout.weights["output_weights"])
    lines += [
        "",
        f"{layout.name}: {network.nonlinearity} {layout.architecture} network of {units} units, {inputs} input(s) and "
        f"{outputs} output(s)",
        "",
        *_table(layout.origins.items(), ("weight", "read from")),
        "",
        *_section(path, said, examples, None),
    ]
    return Look(lines, None)


def _tensors(stored: Mapping[str, Tensor]) -> Iterator[tuple[str, str, str]]:
    for name, values in stored.items():
        yield name, " x ".join(map(str, values.shape)) or "scalar", str(values.dtype).removeprefix("torch.")


def _table(rows: Iterable[tuple[str, ...]], head: Sequence[str]) -> list[str]:
    cells = [tuple(head), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _section(
    path: str | os.PathLike, said: Said, examples: Mapping[str, str | float], guessed: Mapping[str, list[str]] | None
) -> list[str]:
    """The lines of the config: what is said, what must be, and what the shapes leave open."""
    lines = ["checkpoint:", f"  files: {path}"]
    given = {name: value for name, value in said._asdict().items() if value and value != Said._field_defaults[name]}
    for name, value in (given | dict(examples)).items():
        if name == "mapping":
            lines += ["  mapping:", *(f"    {weight}: {one}" for weight, one in value.items())]
        elif name == "ignore":
            lines.append(f"  ignore: [{', '.join(map(repr, value))}]")
        else:
            lines.append(f"  {name}: {value}{f'    # {COMMENT[name]}' if name in examples else ''}")
    if guessed is not None:
        if said.tau is None and {"tau", "alpha"}.isdisjoint(guessed):
            lines.append(f"  tau: 0.1    # {COMMENT['tau']}")
        lines += ["  mapping:", *(f"    {weight}: {_choice(weight, names)}" for weight, names in guessed.items())]
    return lines


def _choice(weight: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]}    # {'zero without this line' if weight in OPTIONAL else 'the only one of this shape'}"
    rest = "; zero without this line" if weight in OPTIONAL else ""
    return f"NAME    # {' or '.join(names) or 'none has its shape'}{rest}"


def _by_shape(stored: Mapping[str, Tensor], trials: xr.Dataset | None) -> dict[str, list[str]]:
    """By weight, the tensors that could be it by their shape; recurrent weights either way round."""
    shapes = {name: tuple(values.shape) for name, values in stored.items()}
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
        if fitting := [name for name, length in lengths.items() if length in sizes]:
            candidates[weight] = fitting
    return candidates | {name.rpartition(".")[2]: [name] for name in stored if _is_time_constant(name)}


def _is_time_constant(name: str) -> bool:
    return name.rpartition(".")[2] in ("tau", "alpha")
