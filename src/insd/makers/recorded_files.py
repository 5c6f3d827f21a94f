"""Recordings that makers read, which may be made from the trials of the task, or networks in their place."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from insd.makers.base import MakerError, MissingFileError, Read, files_of
from insd.settings.base import PopulationName, Section
from insd.settings.recipe import Recipe
from insd.tasks.base import Task
from insd.tasks.sessions import is_nwb


class NetworksOrRecording(Section):
    """What the networks of a maker are made from, seed by seed: any round of a population of networks, or a recording.

    A maker's settings derive from it.
    """

    what: ClassVar[str]
    """What is named, in messages."""

    population: PopulationName | None = None
    """The population of the networks."""
    round: Annotated[int, Field(ge=0)] = 0
    """The round of that population: 0, its reference; k, its k-th alternative."""
    recording: str | None = None
    """In place of a population, an npz or NetCDF file with `rates` (trial, time, unit) on the trials of the bank, and
    their `fingerprint`, as for the maker `recording`, the same for all seeds. `{task}` in the path is replaced by the
    task's name."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "NetworksOrRecording":
        if (self.population is None) == (self.recording is None):
            raise ValueError(f"population, recording: name {self.what} by one of them")
        return self

    def files(self, task: str, maker: str) -> tuple[str, ...]:
        """The recording, if it is one, for `Maker.sources`."""
        return () if self.recording is None else recorded_files(self.recording, task, f"{maker}.recording")

    def units(self, sources: tuple[str, ...], task: Task, networks: Recipe | None) -> tuple[str, int] | None:
        """What is named, and its number of units, for `Maker.problems`; None where no config says it.

        `networks` is the recipe of the round of networks. Raises DatasetError if the recording has no units.
        """
        if sources:
            from insd.recordings import count_units

            return sources[0], count_units(sources[0], task.sample("train", 1, 0))
        return None if networks is None else (f"round {self.round} of {self.population!r}", networks.network.units)

    def networks(self) -> tuple[Read, ...]:
        """The round of networks, if it is one, for `Maker.reads`."""
        return () if self.population is None else (Read(self.population, self.round, ("network",)),)


def recorded_files(pattern: str, task: str, key: str) -> tuple[str, ...]:
    """The one file of a recording (`insd.makers.base.files_of`).

    Raises MissingFileError if there is none, which also says from what it is made: the workflow is first read before
    there are trials. Raises MakerError if there are several.
    """
    try:
        found = files_of(pattern, task, key)
    except MissingFileError as error:
        if is_nwb(error.path):
            raise
        hint = f"{error}; make it from the trials in results/{task}/trials/train.nc"
        raise MissingFileError(hint, error.path) from None
    if len(found) > 1:
        raise MakerError(f"{key} = {pattern!r}: names {len(found)} files ({', '.join(found)}); name one")
    return found
