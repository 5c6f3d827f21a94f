"""Tensors by name from files of others, without running code of theirs.

PyTorch checkpoints (``weights_only``), npz files (``allow_pickle=False``), MATLAB files up to version 7 and HDF5 files.
"""

import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import scipy.io
import scipy.sparse
import torch
from torch import Tensor

from insd.errors import InsdError


class CheckpointError(InsdError):
    """A file holds no network that this library knows; the message names what is missing and what to do."""


class UnknownLayoutError(CheckpointError):
    """The names of a file's tensors fit no layout that this library knows."""


class UnfitPatternError(CheckpointError):
    """A pattern of tensors to ignore fits the name of none."""


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


RECURRENT = ("recurrent_weights", "left_vectors", "m", "wrec")
"""Names of matrices that stand for the recurrent weights, at the end of names in a file."""


def networks_in(
    path: str | os.PathLike, mapped: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[tuple[str, dict[str, Tensor]]]:
    """The networks of a file, each with where it is there, which is empty for a file of one.

    Parameters
    ----------
    mapped : names of tensors by which a network is known, if it is not in a layout that this library knows.
    ignore : patterns of names of tensors to leave out.

    Raises UnfitPatternError where one of these fits no name.
    """
    read = _read(path, mapped)
    must_fit(ignore, dict.fromkeys(name for one in (read if isinstance(read, list) else [read]) for name in one), path)
    if isinstance(read, list):
        return [(f"[{number}]", without(one, ignore)) for number, one in enumerate(read)]
    stored = without(read, ignore)
    names = dict.fromkeys(name.partition("/")[0] for name in stored if "/" in name)
    if names and all("/" in name for name in stored) and not _has_slashes(stored, mapped):
        return [
            (
                f"[{own}]",
                {name.partition("/")[2]: values for name, values in stored.items() if name.startswith(f"{own}/")},
            )
            for own in names
        ]
    matrices = [values for name, values in stored.items() if name in mapped] or [
        values
        for name, values in stored.items()
        if name.endswith(("weight_hh_l0", "recurrent_weights")) or _last(name) in RECURRENT
    ]
    if not any(values.ndim > 2 for values in matrices):
        return [("", stored)]
    # A single number, such as a time step, is the same for all.
    counts = {name: len(values) for name, values in stored.items() if values.ndim}
    if len({*counts.values()}) != 1:
        held = ", ".join(f"{count} in '{name}'" for name, count in counts.items())
        raise CheckpointError(
            f"{path}: its arrays hold different numbers of networks along their first axis ({held}); all must hold the "
            "same number"
        )
    return [
        (f"[{number}]", {name: values[number] if values.ndim else values for name, values in stored.items()})
        for number in range(next(iter(counts.values())))
    ]


def must_fit(ignore: Sequence[str], names: Collection[str], path: object) -> None:
    """Raise UnfitPatternError where a pattern fits no name: it is misspelt, or the file is a different one."""
    for pattern in ignore:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UnfitPatternError(
                f"{path}: ignore names {pattern!r}, which fits no tensor; correct it or leave it out; the tensors are "
                f"{', '.join(names)}"
            )


def without(stored: Mapping[str, Tensor], ignore: Sequence[str]) -> dict[str, Tensor]:
    """Tensors but for those whose names fit a pattern."""
    return {name: values for name, values in stored.items() if not any(fnmatchcase(name, one) for one in ignore)}


def prefix_of(stored: Mapping[str, Tensor]) -> str:
    """The longest prefix, up to a dot, that the names of all tensors begin with."""
    shared = ""
    for parts in zip(*(name.split(".")[:-1] for name in stored), strict=False):
        if len(set(parts)) > 1:
            break
        shared += f"{parts[0]}."
    return shared


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _has_slashes(stored: Mapping[str, Tensor], mapped: Sequence[str]) -> bool:
    """Whether slashes in names are part of the names of one network: those of Keras, or of a mapping."""
    if mapped:
        return not stored.keys().isdisjoint(mapped)
    return any(re.search(r"/(recurrent_kernel(:\d+)?|cell/vars/\d+)$", name) for name in stored)


def _read(path: str | os.PathLike, mapped: Sequence[str] = ()) -> dict[str, Tensor] | list[dict[str, Tensor]]:
    """The tensors of a file by name, or those of each of its networks."""
    read, advice = READERS.get(Path(path).suffix.lower(), (_unpickled, BY_TORCH))
    try:
        stored = read(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder; name a file in it") from None
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except CheckpointError:
        raise
    except Exception as error:  # the exceptions of the pickle reader for other files are undocumented
        held = _what_else(error)
        cut = "" if held else "cut off, or "
        raise CheckpointError(f"{path}: {cut}not a checkpoint of tensors alone{held}; {advice}") from None
    several = list(stored.values()) if isinstance(stored, Mapping) else stored
    if isinstance(several, list | tuple) and several and all(_runs(one, mapped) for one in several):
        return [detached(one) for one in several]
    if _is_network(stored):
        return detached(stored)
    # A checkpoint with the state of the optimiser, the epoch and the like.
    inside = list(_inside(stored, mapped))
    known: dict[str, Any] = {name: one for name, one in inside if _runs(one, mapped)}
    if len(known) == 1:
        if ignored := [name for name, _ in inside if name.rpartition("/")[2] in ("tau", "alpha", "dt")]:
            raise CheckpointError(
                f"{path}: has {', '.join(ignored)} next to the network {next(iter(known))!r}, where it is not read; "
                "save both in one dict"
            )
        return detached(*known.values())
    if known:
        raise CheckpointError(f"{path}: holds several networks among other things, {', '.join(known)}; save one alone")
    # A single dict of tensors, whatever their names: what is missing in it will be said.
    dicts = {name: one for name, one in inside if _has_matrices(one) and "optim" not in name.lower()}
    if len(dicts) > 1:
        raise CheckpointError(
            f"{path}: holds several dicts of tensors, {', '.join(dicts)}; save one alone, or give a mapping of "
            "names in one"
        )
    if dicts:
        return detached(*dicts.values())
    raise CheckpointError(
        f"{path}: holds more than a dict of tensors; save it with torch.save(module.state_dict(), path)"
    )


def _inside(stored: Any, mapped: Sequence[str], place: str = "") -> Iterator[tuple[str, Any]]:
    """What a checkpoint holds, at any depth, but for what is inside networks; places are joined by slashes."""
    for name, one in stored.items() if isinstance(stored, Mapping) else ():
        yield f"{place}{name}", one
        if not _runs(one, mapped):
            yield from _inside(one, mapped, f"{place}{name}/")


def _runs(stored: Any, mapped: Sequence[str] = ()) -> bool:
    """Whether it is the state dict of a module, or matrices, that could be a network."""
    if not _is_network(stored):
        return False
    if mapped:
        return set(mapped) <= set(stored)
    return bool(
        recurrent_modules(stored)
        or not {"recurrent_weights", "left_vectors", "wi"}.isdisjoint(_last(name) for name in stored)
    )


def _has_matrices(stored: Any) -> bool:
    return _is_network(stored) and any(np.ndim(values) == 2 for values in stored.values())


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
        return _tensors(opened)


def _of_matlab(path: str | os.PathLike) -> dict[str, Tensor]:
    """The numbers in a MATLAB file, those in structs as ``struct.field``."""
    # The numbers in the type that MATLAB has them in: it stores whole ones of type double in one byte. SciPy casts
    # complex ones to it, too, with a warning. These are read as they are stored, to be refused by name, or ignored.
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                loaded = scipy.io.loadmat(file, mat_dtype=True)
            except np.exceptions.ComplexWarning:
                file.seek(0)
                loaded = scipy.io.loadmat(file)
    except NotImplementedError:
        raise CheckpointError(
            f"{path}: is a MATLAB file of version 7.3, which SciPy does not read; {BY_MATLAB}"
        ) from None
    return _tensors(dict(_fields({name: values for name, values in loaded.items() if not name.startswith("__")})))


def _fields(stored: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, values in stored.items():
        fields = getattr(getattr(values, "dtype", None), "names", None)
        if fields and values.size == 1:
            yield from _fields({field: values.item()[number] for number, field in enumerate(fields)}, f"{place}{name}.")
        else:
            yield f"{place}{name}", values.toarray() if scipy.sparse.issparse(values) else values


def _of_hdf5(path: str | os.PathLike) -> dict[str, Tensor]:
    """The numbers in an HDF5 file, by the names of their groups and their own, joined by slashes."""
    # From memory, since the NetCDF library would take some names of files for addresses.
    with netCDF4.Dataset("in memory", memory=Path(path).read_bytes()) as opened:
        opened.set_auto_maskandscale(False)
        return _tensors(dict(_variables(opened)))


def _variables(group: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    for name, variable in group.variables.items():
        if isinstance(variable.dtype, np.dtype):
            yield f"{place}{name}", variable[...]
    for name, inner in group.groups.items():
        yield from _variables(inner, f"{place}{name}/")


def _tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arrays of numbers as tensors, in the byte order of this machine; text and what else there is is left out."""
    numbers = {name: values for name, values in arrays.items() if values.dtype.kind in "fiubc"}
    return {
        name: torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"))
        for name, values in numbers.items()
    }


BY_TORCH = "save one with torch.save(module.state_dict(), path)"
"""How a checkpoint of PyTorch is made."""
BY_MATLAB = "save it in MATLAB with save('FILE.mat', 'NAME', ..., '-v7')"
"""How a MATLAB file is made that can be read."""
BY_KERAS = "save one in Keras with model.save_weights('FILE.weights.h5')"
"""How an HDF5 file of weights is made."""
READERS = {
    ".npz": (_arrays, "save one with np.savez(path, name=array, ...)"),
    ".mat": (_of_matlab, BY_MATLAB),
    **dict.fromkeys((".h5", ".hdf5"), (_of_hdf5, BY_KERAS)),
    ".keras": (_unpickled, BY_KERAS),
}
"""By the ending of a file, what reads it and how such a file is made; other files are checkpoints of PyTorch."""


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


def recurrent_modules(stored: Mapping[str, Any]) -> dict[str, str]:
    """By the name of each recurrent module in a state dict, empty for the module itself, what its names end in."""
    found: dict[str, str] = {}
    for ending in ("_l0", ""):
        weight = f"weight_hh{ending}"
        found |= {name.removesuffix(weight).rstrip("."): ending for name in stored if name.endswith(weight)}
    return found
