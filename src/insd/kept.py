"""What an analysis found of single networks and of pairs of them, kept so that only what is new is computed.

Each is kept by what it depends on: the files of its networks, and all else that the analysis uses. The file, one per
analysis, is no result: it may be deleted at any time, and one that is broken or out of date is ignored.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from insd import checkpoints

logger = logging.getLogger("insd.kept")

Pair = tuple[str, str]
"""The labels of two networks: in the order of the grid, or from the one to the other where that matters."""


class Kept:
    """What was found of networks, by label, and of pairs of networks, by their labels.

    Without a file it is held in memory alone.

    Parameters
    ----------
    fingerprints : of all networks that are analysed, by label: what is kept of others is dropped.
    file : replaced every few minutes, so that a job that is stopped loses little, and at the end.
    """

    def __init__(self, fingerprints: Mapping[str, str] | None = None, file: "checkpoints.Checkpoint | None" = None):
        self.fingerprints, self.file = dict(fingerprints or {}), file
        self.networks: dict[str, Mapping[str, xr.Dataset]] = {}
        self.pairs: dict[Pair, Mapping[str, np.ndarray]] = {}
        self._changed = False

    def add_network(self, label: str, found: Mapping[str, xr.Dataset]) -> None:
        """Keep what was found of a network: datasets of numbers and names."""
        self.networks[label] = found
        self._add()

    def add_pair(self, pair: Pair, found: Mapping[str, np.ndarray]) -> None:
        """Keep what was found of a pair: arrays of numbers of the same names and shapes for all pairs."""
        self.pairs[pair] = found
        self._add()

    def missing(self, labels: Sequence[str]) -> list[Pair]:
        """The pairs of these networks, each with itself too, of which nothing is known."""
        return [pair for pair in combinations_with_replacement(labels, 2) if pair not in self.pairs]

    def _add(self) -> None:
        self._changed = True
        if self.file and self.file.due():
            self.save()

    def load(self) -> None:
        """Read what the file holds of these networks: nothing, with a line in the log, if it is broken."""
        if self.file is None or (state := self.file.load()) is None:
            return
        labels = {fingerprint: label for label, fingerprint in self.fingerprints.items()}
        try:
            names = [labels.get(fingerprint) for fingerprint in state["fingerprints"]]
            networks: dict[str, Mapping[str, xr.Dataset]] = {
                name: {file: _dataset(plain) for file, plain in found.items()}
                for name, found in zip(names, state["networks"], strict=True)
                if name is not None and found
            }
            of = [(names[i], names[j]) for i, j in state["pairs"].tolist()]
            values = {name: tensor.numpy() for name, tensor in state["values"].items()}
            pairs: dict[Pair, Mapping[str, np.ndarray]] = {
                (i, j): {name: array[row] for name, array in values.items()}
                for row, (i, j) in enumerate(of)
                if i is not None and j is not None
            }
        except Exception as error:  # arbitrary content may raise anything
            logger.warning("%s: ignored, for it does not hold what was found of networks (%s)", self.file.path, error)
            return
        self.networks, self.pairs = networks, pairs
        self._changed = len(networks) < sum(map(bool, state["networks"])) or len(pairs) < len(of)

    def save(self) -> None:
        """Write the file, if there is one and it does not hold the same."""
        if self.file is None or not self._changed:
            return
        import torch  # noqa: PLC0415 - not for what is held in memory alone

        labels = list(self.fingerprints)
        numbers = {label: number for number, label in enumerate(labels)}
        pairs = torch.tensor([[numbers[label] for label in pair] for pair in self.pairs], dtype=torch.int64)
        first = next(iter(self.pairs.values()), {})
        state = {
            "fingerprints": list(self.fingerprints.values()),
            "networks": [
                {file: _plain(dataset) for file, dataset in self.networks.get(label, {}).items()} for label in labels
            ],
            "pairs": pairs.reshape(-1, 2),
            "values": {
                name: torch.from_numpy(np.stack([found[name] for found in self.pairs.values()])) for name in first
            },
        }
        self.file.save(state)
        self._changed = False


@contextmanager
def kept_in(path: Path, made_from: str, fingerprints: Mapping[str, str]) -> Iterator[Kept]:
    """What is kept in a file, which is written at the end, also after an error.

    `made_from` is a digest of all that what is kept depends on besides its networks: a file of a different one is
    ignored.
    """
    from insd.checkpoints import Checkpoint  # noqa: PLC0415 - torch

    kept = Kept(fingerprints, Checkpoint(path, made_from))
    kept.load()
    try:
        yield kept
    finally:
        kept.save()


def _plain(dataset: xr.Dataset) -> dict[str, Any]:
    """A dataset of numbers and names as tensors, text, lists and dictionaries: all that a checkpoint may hold."""
    return {
        "variables": {
            str(name): [list(variable.dims), _plain_values(variable.values), _plain_attributes(variable.attrs)]
            for name, variable in dataset.variables.items()
        },
        "coordinates": [str(name) for name in dataset.coords],
        "attributes": _plain_attributes(dataset.attrs),
    }


def _plain_values(values: np.ndarray) -> Any:
    import torch  # noqa: PLC0415

    if values.dtype.kind in "OU":
        return [str(values.dtype), list(values.shape), values.ravel().tolist()]
    return torch.from_numpy(np.array(values))


def _plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    numpy = np.generic | np.ndarray
    return {str(name): value.tolist() if isinstance(value, numpy) else value for name, value in attributes.items()}


def _dataset(plain: Mapping[str, Any]) -> xr.Dataset:
    """The dataset of which `_plain` made this."""
    variables = {}
    for name, (dimensions, values, attributes) in plain["variables"].items():
        if isinstance(values, list):
            dtype, shape, names = values
            array = np.array(names, dtype=dtype).reshape(shape)
        else:
            array = values.numpy()
        variables[name] = xr.Variable(dimensions, array, attributes)
    coordinates = {name: variables.pop(name) for name in plain["coordinates"]}
    return xr.Dataset(variables, coordinates, plain["attributes"])
