"""What every maker is: how the networks of a population come to be, and what it reads and writes.

A maker is one file in this folder, or a class of the user's own that the config names as `module:Class` by the key
`make` of a population. It is imported whenever Snakemake reads the workflow: what only `make` needs, such as PyTorch,
is imported there.
"""

import glob
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import xarray as xr

from insd.errors import InsdError
from insd.plugins import find, module_of
from insd.provenance import modules_fingerprint
from insd.settings.base import Section
from insd.settings.recipe import Recipe
from insd.tasks.base import Task
from insd.tasks.own import task_modules

File = Literal["network", "activity", "history"]
"""The files of a round, by name."""
NetworkName = tuple[str, str, int, int]
"""(task, population, seed, round): names a network and seeds its random streams."""


class MakerError(InsdError):
    """Networks cannot be made; the message says of which population, why and what to do."""


class MissingFileError(MakerError):
    """A file of the user's own is not there."""

    def __init__(self, message: str, path: str):
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class Read:
    """A round that a round reads: its population, its number, and which of its files."""

    population: str
    round_number: int
    files: tuple[File, ...] = ("activity",)


@dataclass(frozen=True)
class Job:
    """All that one job of a maker is given.

    names : of the networks to make, all of one population and round.
    task, bank, test : the task, the trials to train on and those of the regime `test`.
    recipe : the sections that the maker uses, resolved; the others have their defaults.
    earlier : files of the rounds that the maker reads, in the order of `Maker.reads`.
    sources : the user's files that it reads.
    device : where to train, by its name in the config.
    checkpoint : a file that may keep the state of a long computation; the job's script removes it in the end.
    progress_bar : show one in the terminal.
    """

    names: tuple[NetworkName, ...]
    task: Task
    bank: xr.Dataset
    test: xr.Dataset
    recipe: Recipe
    earlier: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    device: str = "cpu"
    checkpoint: Path | None = None
    progress_bar: bool = False


@dataclass(frozen=True)
class Made:
    """What a round is, by the contracts of its files; None for what the maker does not write.

    Where there is no network, the activity holds only what later rounds read.
    """

    activity: xr.Dataset
    network: xr.Dataset | None = None
    history: xr.Dataset | None = None

    def files(self) -> dict[str, tuple[xr.Dataset, str]]:
        """The datasets by the name of their file, each with its contract."""
        contracts = {"network": "network", "activity": "activity" if self.network else "kept", "history": "history"}
        found = {name: getattr(self, name) for name in contracts}
        return {name: (dataset, contracts[name]) for name, dataset in found.items() if dataset is not None}


class Maker(ABC):
    """Makes the networks of one round of a population, from its settings."""

    description: ClassVar[str]
    """What its jobs do, in one sentence."""
    Settings: ClassVar[type[Section]] = Section
    """The keys of the population's section that has the maker's name."""
    writes: ClassVar[tuple[File, ...]] = ("network", "activity")
    """The files of each round."""
    sections: ClassVar[tuple[str, ...]] = ("terms",)
    """The sections of the recipe that the maker uses."""
    chains: ClassVar[bool] = False
    """Whether it makes later rounds of a chain, which know those before."""
    uses_device: ClassVar[bool] = False
    """Whether it runs on the GPU that the config asks for."""

    def __init__(self, settings: Any):
        self.settings = settings

    def sources(self, task: str) -> tuple[str, ...]:
        """The user's files that it reads for a task; raises MakerError if there are none."""
        return ()

    def reads(self, population: str, reference: str, round_number: int) -> tuple[Read, ...]:
        """The earlier rounds, of the same seeds, that a round reads; `reference` is the population of round 0."""
        return ()

    def architectures(self, recipe: Recipe) -> tuple[str, ...]:
        """The architectures that its networks may be of."""
        return ()

    def memory_mb(self, recipe: Recipe, networks: int) -> int:
        """Memory in MB for a job of so many networks."""
        return 2000 + 20 * networks

    def minutes(self, recipe: Recipe, networks: int) -> int:
        """Most minutes that a job of so many networks may take."""
        return 10 + networks // 10

    @abstractmethod
    def make(self, job: Job) -> Made:
        """Make the networks; raises an InsdError whose message says what cannot be used and what to do."""


def maker_of(made: Mapping[str, Any]) -> Maker:
    """The maker of a round, from the resolved settings that jobs get (`insd.settings.config.Settings.made_with`)."""
    found = find("maker", made["make"])
    return found(found.Settings.model_validate(made["maker"]))


def code_of(made: Mapping[str, Any], task: type[Task]) -> str:
    """Digest of the code that a round is made by: of its maker, its architecture, its terms and its task alone."""
    maker = maker_of(made)
    recipe = recipe_from(made)
    modules = [
        module_of("maker", made["make"]),
        *(module_of("network", name) for name in maker.architectures(recipe)),
        *(module_of("term", name) for name in recipe.terms),
        *task_modules(task),
    ]
    return modules_fingerprint(modules)


def recipe_from(made: Mapping[str, Any]) -> Recipe:
    """The recipe in the resolved settings of a round."""
    return Recipe.model_validate({name: made[name] for name in Recipe.model_fields if name in made})


def files_of(patterns: str | list[str], task: str, key: str) -> tuple[str, ...]:
    """The files that a path or pattern, or several, name for a task (`{task}`): those of a pattern in sorted order.

    Raises MissingFileError, naming the key, where one names no file.
    """
    found = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        path = pattern.replace("{task}", task)
        is_pattern = glob.has_magic(path) and not Path(path).is_file()
        matching = sorted(glob.glob(path, recursive=True)) if is_pattern else [path]
        if not matching or not all(Path(file).is_file() for file in matching):
            raise MissingFileError(f"{key} = {path!r}: there is no such file in {Path.cwd()}", path)
        found += matching
    return tuple(found)
