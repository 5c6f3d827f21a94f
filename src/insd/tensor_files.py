"""Tensors by name from files of others: PyTorch checkpoints and npz files, without running code of theirs."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insd.errors import InsdError


class CheckpointError(InsdError):
    """A file holds no network that this library knows; the message names what is missing and what to do."""


class UnsaidError(CheckpointError):
    """A file does not say a setting of its network; the message of whoever is asked names it as it is given there.

    Parameters
    ----------
    problem : the file, and what it does not say.
    setting, example : the argument of `insd.imported.import_checkpoint`, and a value.
    """

    def __init__(self, problem: str, setting: str, example: str | float):
        super().__init__(f"{problem}; give {setting}, such as {example!r}")
        self.problem, self.setting, self.example = problem, setting, example


def networks_in(path: str | os.PathLike) -> list[tuple[str, dict[str, Tensor]]]:
    """The networks of a file, each with where it is there, which is empty for a file of one."""
    stored = _read(path)
    if isinstance(stored, list):
        return [(f"[{number}]", one) for number, one in enumerate(stored)]
    names = dict.fromkeys(name.partition("/")[0] for name in stored if "/" in name)
    if names and all("/" in name for name in stored):
        return [
            (
                f"[{own}]",
                {name.partition("/")[2]: values for name, values in stored.items() if name.startswith(f"{own}/")},
            )
            for own in names
        ]
    recurrent = next(
        (
            values
            for name, values in stored.items()
            if name.endswith(("weight_hh_l0", "recurrent_weights")) or name in ("left_vectors", "m", "wrec")
        ),
        None,
    )
    if recurrent is None or recurrent.ndim < 3:
        return [("", stored)]
    counts = {len(values) if values.ndim else 0 for values in stored.values()}
    if len(counts) != 1:
        raise CheckpointError(
            f"{path}: its arrays hold {', '.join(map(str, sorted(counts)))} networks along their first axis; all must "
            "hold the same number"
        )
    return [
        (f"[{number}]", {name: values[number] for name, values in stored.items()}) for number in range(counts.pop())
    ]


def _read(path: str | os.PathLike) -> dict[str, Tensor] | list[dict[str, Tensor]]:
    """The tensors of a file by name, or those of each of its networks."""
    try:
        stored = _arrays(path) if str(path).endswith(".npz") else _unpickled(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # the exceptions of the pickle reader for other files are undocumented
        raise CheckpointError(
            f"{path}: not a checkpoint of tensors alone{_what_else(error)}; save one with "
            "torch.save(module.state_dict(), path)"
        ) from None
    several = list(stored.values()) if isinstance(stored, Mapping) else stored
    if isinstance(several, list | tuple) and several and all(_runs(one) for one in several):
        return [detached(one) for one in several]
    if _is_network(stored):
        return detached(stored)
    # A checkpoint with the state of the optimiser, the epoch and the like.
    inside = list(_inside(stored))
    known: dict[str, Any] = {name: one for name, one in inside if _runs(one)}
    if len(known) == 1:
        if ignored := [name for name, _ in inside if name.rpartition("/")[2] in ("tau", "alpha", "dt")]:
            raise CheckpointError(
                f"{path}: has {', '.join(ignored)} next to the network {next(iter(known))!r}, where it is not read; "
                "save both in one dict"
            )
        return detached(*known.values())
    if known:
        raise CheckpointError(f"{path}: holds several networks among other things, {', '.join(known)}; save one alone")
    raise CheckpointError(
        f"{path}: holds more than a dict of tensors; save it with torch.save(module.state_dict(), path)"
    )


def _inside(stored: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """What a checkpoint holds, at any depth, but for what is inside networks; places are joined by slashes."""
    for name, one in stored.items() if isinstance(stored, Mapping) else ():
        yield f"{place}{name}", one
        if not _runs(one):
            yield from _inside(one, f"{place}{name}/")


def _runs(stored: Any) -> bool:
    """Whether it is the state dict of a module, or matrices, that could be a network."""
    return _is_network(stored) and bool(
        recurrent_modules(stored) or not {"recurrent_weights", "left_vectors", "wi"}.isdisjoint(stored)
    )


def _unpickled(path: str | os.PathLike) -> Any:
    """What `torch.save` wrote: tensors, plain numbers and containers, and NumPy's arrays, which run no code either."""
    arrays = np._core.multiarray
    # The name of the module in NumPy 1, too.
    harmless = [
        entry
        for function in (arrays._reconstruct, arrays.scalar)
        for entry in (function, (function, f"numpy.core.multiarray.{function.__name__}"))
    ]
    types = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")}
    with torch.serialization.safe_globals([*harmless, np.ndarray, np.dtype, *types]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _what_else(error: Exception) -> str:
    """The class that a file holds besides tensors, as far as PyTorch's message says."""
    found = re.search(r"GLOBAL (\S+) w", str(error))
    return f": it holds a {found[1]}, which could run code" if found else ""


def _arrays(path: str | os.PathLike) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as opened:
        return {name: torch.from_numpy(values) for name, values in opened.items()}


def _is_network(stored: Any) -> bool:
    return isinstance(stored, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor | np.ndarray | np.generic) for name, value in stored.items()
    )


def detached(stored: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Tensors by name: a dict of parameters, or of arrays, is as good as one of tensors."""
    return {
        name: value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))
        for name, value in stored.items()
    }


def recurrent_modules(stored: Mapping[str, Tensor]) -> dict[str, str]:
    """By the name of each recurrent module in a state dict, empty for the module itself, what its names end in."""
    found: dict[str, str] = {}
    for ending in ("_l0", ""):
        weight = f"weight_hh{ending}"
        found |= {name.removesuffix(weight).rstrip("."): ending for name in stored if name.endswith(weight)}
    return found
