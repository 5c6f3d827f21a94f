"""What an analysis found of single networks and of pairs of them, kept so that only what is new is computed.

Each is kept by what it depends on: the files of its networks, and all else that the analysis uses. The file, one per
analysis or pair of blocks of networks, is no result: it may be deleted at any time, and one that is broken or out of
date is ignored. What the job of a pair of blocks writes is the same and a result: the analysis reads it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from insd.datasets import DatasetError
from insd.files import WriteError

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
    pairs_alone : nothing of single networks is written, since other files have it.
    """

    def __init__(
        self,
        fingerprints: Mapping[str, str] | None = None,
        file: "checkpoints.Checkpoint | None" = None,
        pairs_alone: bool = False,
    ):
        self.fingerprints, self.file, self.pairs_alone = dict(fingerprints or {}), file, pairs_alone
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

    def found(self, labels: Sequence[str]) -> Iterator[tuple[int, int, Mapping[str, np.ndarray]]]:
        """All that is known of pairs of these networks: the places of both among them, the first one first, and what
        was found. A pair that was compared in the other order is left out.
        """
        numbers = {label: number for number, label in enumerate(labels)}
        for (one, other), found in self.pairs.items():
            if one in numbers and other in numbers and numbers[one] <= numbers[other]:
                yield numbers[one], numbers[other], found

    def _add(self) -> None:
        self._changed = True
        if self.file and self.file.due():
            self.save()

    def load(self) -> None:
        """Read what the file holds of these networks: nothing, with a line in the log, if it is broken."""
        if self.file is not None and (held := self._held(self.file)) is not None:
            self.networks, self.pairs, left_out = held
            self._changed = left_out

    def take(self, file: "checkpoints.Checkpoint") -> None:
        """Add what another file holds of these networks, as `load` reads it."""
        if (held := self._held(file)) is None:
            return
        known = len(self.networks), len(self.pairs)
        self.networks, self.pairs = {**held[0], **self.networks}, {**held[1], **self.pairs}
        self._changed |= known != (len(self.networks), len(self.pairs))

    def _held(
        self, file: "checkpoints.Checkpoint"
    ) -> tuple[dict[str, Mapping[str, xr.Dataset]], dict[Pair, Mapping[str, np.ndarray]], bool] | None:
        """What a file holds of these networks and of their pairs, and whether it holds something of others."""
        if (state := file.load()) is None:
            return None
        labels = {fingerprint: label for label, fingerprint in self.fingerprints.items()}
        try:
            networks = _networks(state, labels)
            pairs = {(one, other): found for one, other, found in _pairs(state, labels)}
            left_out = len(networks) < sum(map(bool, state["networks"])) or len(pairs) < len(state["pairs"])
        except Exception as error:  # arbitrary content may raise anything
            logger.warning("%s: ignored, for it does not hold what was found of networks (%s)", file.path, error)
            return None
        return networks, pairs, left_out

    def save(self) -> None:
        """Write the file, if there is one and it does not hold the same."""
        if self.file is None or not self._changed:
            return
        self.file.save(self._state())
        self._changed = False

    def write(self, file: "checkpoints.Checkpoint") -> None:
        """Write all to a file that is a result; WriteError if that cannot be done."""
        try:
            file.write(self._state())
        except RuntimeError as error:  # of torch
            raise WriteError(file.path, error) from None

    def _state(self) -> dict[str, Any]:
        import torch  # noqa: PLC0415 - not for what is held in memory alone

        labels = list(self.fingerprints)
        numbers = {label: number for number, label in enumerate(labels)}
        pairs = torch.tensor([[numbers[label] for label in pair] for pair in self.pairs], dtype=torch.int64)
        first = next(iter(self.pairs.values()), {})
        networks = {} if self.pairs_alone else self.networks
        return {
            "fingerprints": list(self.fingerprints.values()),
            "networks": [{file: _plain(one) for file, one in networks.get(label, {}).items()} for label in labels],
            "pairs": pairs.reshape(-1, 2),
            "values": {
                name: torch.from_numpy(np.stack([found[name] for found in self.pairs.values()])) for name in first
            },
        }


class KeptOfBlocks(Kept):
    """What the jobs of all pairs of blocks found: of pairs, read one file at a time whenever it is asked for.

    Parameters
    ----------
    fingerprints : of all networks that are analysed, by label.
    files : what the jobs wrote, by the names of both blocks.
    blocks : the block of each network, by label.

    Raises DatasetError, also where pairs are asked for, if a file is broken or was made of other networks than its
    blocks have, with other settings or by other code.
    """

    def __init__(
        self,
        fingerprints: Mapping[str, str],
        files: Mapping[tuple[str, str], "checkpoints.Checkpoint"],
        blocks: Mapping[str, str],
    ):
        super().__init__(fingerprints)
        self._files, self._blocks = files, blocks
        self._labels = {fingerprint: label for label, fingerprint in fingerprints.items()}
        for names in files:
            if names[0] == names[1]:
                self.networks |= _networks(self._read(names), self._labels)

    def missing(self, labels: Sequence[str]) -> list[Pair]:
        """None: their jobs have compared all pairs."""
        return []

    def found(self, labels: Sequence[str]) -> Iterator[tuple[int, int, Mapping[str, np.ndarray]]]:
        """All pairs of these networks, as `Kept.found` gives them."""
        numbers = {label: number for number, label in enumerate(labels)}
        for number, names in enumerate(self._files, start=1):
            for one, other, found in _pairs(self._read(names), self._labels):
                if one in numbers and other in numbers and numbers[one] <= numbers[other]:
                    yield numbers[one], numbers[other], found
            if number % 100 == 0:
                logger.info("%d of %d pairs of blocks", number, len(self._files))

    def _read(self, names: tuple[str, str]) -> dict[str, Any]:
        file = self._files[names]
        state = file.load()
        expected = {self.fingerprints[label] for label, block in self._blocks.items() if block in names}
        if state is None or set(state.get("fingerprints", ())) != expected:
            raise DatasetError(
                f"{file.path}: broken, or made of other networks than the blocks {' and '.join(names)} have now, with "
                "other settings or by other code: delete the file, and run the workflow again"
            )
        return state


@contextmanager
def kept_in(
    path: Path,
    made_from: str,
    fingerprints: Mapping[str, str],
    others: Sequence[Path] = (),
    pairs_alone: bool = False,
) -> Iterator[Kept]:
    """What is kept in a file, which is written at the end, also after an error.

    `made_from` is a digest of all that what is kept depends on besides its networks: a file of a different one is
    ignored. `others` are further files that may hold something of these networks. `pairs_alone` is that of `Kept`.
    """
    from insd.checkpoints import Checkpoint  # noqa: PLC0415 - torch

    kept = Kept(fingerprints, Checkpoint(path, made_from), pairs_alone)
    kept.load()
    for other in others:
        kept.take(Checkpoint(other, made_from))
    try:
        yield kept
    finally:
        kept.save()


def _networks(state: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Mapping[str, xr.Dataset]]:
    """What the state of a file holds of networks, by label; `labels` are those of their fingerprints."""
    names = [labels.get(fingerprint) for fingerprint in state["fingerprints"]]
    return {
        name: {file: _dataset(plain) for file, plain in found.items()}
        for name, found in zip(names, state["networks"], strict=True)
        if name is not None and found
    }


def _pairs(state: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[tuple[str, str, Mapping[str, np.ndarray]]]:
    """What the state of a file holds of pairs: the labels of both networks, and what was found."""
    names = [labels.get(fingerprint) for fingerprint in state["fingerprints"]]
    values = {name: tensor.numpy() for name, tensor in state["values"].items()}
    for row, (i, j) in enumerate(state["pairs"].tolist()):
        one, other = names[i], names[j]
        if one is not None and other is not None:
            yield one, other, {name: array[row, ...] for name, array in values.items()}


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
