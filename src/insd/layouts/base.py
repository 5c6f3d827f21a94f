"""What every layout is: the network that tensors of a file are, and what is said of it besides the file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from insd.tensor_files import CheckpointError

OPTIONAL = ("bias", "output_bias", "initial_state")
"""Weights that are zero if matrices lack them."""
OTHERWISE = "for other names give a mapping (`insd inspect` helps)"
"""What to do about a layout that is not known."""
ZERO = "zero"
"""Stands for the name of a weight that a file lacks."""


class Said(NamedTuple):
    """What is said of networks besides their file; see `insd.imported.import_checkpoint`."""

    tau: float | None = None
    readout: str = "readout"
    nonlinearity: str | None = None
    rnn: str | None = None
    leaky: Literal["states", "rates"] = "states"
    mapping: Mapping[str, str] | None = None
    ignore: Sequence[str] = ()


class Layout(NamedTuple):
    """A network in a file.

    Parameters
    ----------
    name : of the layout.
    architecture, weights : of the network, without the axis over networks.
    origins : by the name of each weight, the tensors that it is read from, as a mapping says it where it can.
    leak : ``tau`` or ``alpha`` as they are in the file; None for a network that has no leak.
    """

    name: str
    architecture: str
    weights: dict[str, Tensor]
    origins: dict[str, str]
    leak: dict[str, Tensor] | None


def in_file(names: Iterable[str], origins: Mapping[str, str]) -> str:
    """Weights by their names in the file: with the prefix that all share, as that of a struct."""
    return ", ".join(origins[name] for name in names) or "nothing"


def must_have_axes(path: object, matrices: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless all of these, by their names in the file, have two axes."""
    for name, values in matrices.items():
        if values.ndim != 2:
            raise CheckpointError(f"{path}: '{name}' has shape {tuple(values.shape)}; needs two axes")
