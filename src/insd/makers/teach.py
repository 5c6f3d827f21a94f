"""Students: networks that learn a task and, from a teacher, what some of its units do."""

import xarray as xr

from insd.datasets import DatasetError, read
from insd.errors import InsdError
from insd.makers.base import Job, Made, MakerError, Read
from insd.makers.recorded_files import NetworksOrRecording
from insd.makers.train import Train
from insd.recorded_units import recorded_units
from insd.settings.recipe import Recipe
from insd.tasks.base import Task

TERM = "teacher"
"""The term by which students learn from teachers."""


class TeachSettings(NetworksOrRecording):
    """The teacher, seed by seed: any round of a population of networks, or a recording."""

    what = "the teacher"


class Teach(Train):
    """Training, on the task and the term `teacher`; terms that compare networks with earlier rounds do not act."""

    description = "Train networks on the task and on recorded units of a teacher, and record their activity."
    Settings = TeachSettings
    chains = False
    # In no base class: that is in the fingerprint of every network.
    needs_term = TERM
    """The term that its populations must have."""
    settings: TeachSettings

    def sources(self, task: str) -> tuple[str, ...]:
        """The recording, which may be made from the trials of the task."""
        return self.settings.files(task, "teach")

    def reads(self, population: str, reference: str, round_number: int) -> tuple[Read, ...]:
        """The network of the teacher."""
        return self.settings.networks()

    def problems(
        self,
        population: str,
        task: Task,
        seeds: int,
        sources: tuple[str, ...],
        recipes: tuple[Recipe | None, ...],
    ) -> tuple[str, ...]:
        """What the job would refuse of a teacher whose units are known: asked before the first job."""
        own, *teachers = recipes
        try:
            teacher = self.settings.units(sources, task, next(iter(teachers), None))
            if teacher is None:
                return ()
            assert own is not None
            _must_be_taught(population, own, *teacher)
        except MakerError as error:
            return (str(error),)
        except InsdError as error:
            return (f"populations.{population}: {error}",)
        return ()

    def make(self, job: Job) -> Made:
        from insd.activity import record_activity
        from insd.devices import device_of
        from insd.objectives.base import join_earlier
        from insd.rounding import with_significant
        from insd.training import train_round

        own = {TERM: job.recipe.terms[TERM]}
        (file,) = job.earlier or job.sources
        stored = self._stored(job, file).assign_attrs(bank_fingerprint=job.bank.attrs["fingerprint"])
        network, history = train_round(
            *(job.task, job.bank, job.recipe, job.names, join_earlier(own, [stored], job.bank, [file])),
            progress_bar=job.progress_bar,
            checkpoint=job.checkpoint,
            device=device_of(job.device),
        )
        # What chains that begin with a student compare with, but not what students of students do.
        kept = {name: settings for name, settings in job.recipe.terms.items() if name != TERM}
        return Made(with_significant(record_activity(network, job.task, job.bank, job.test, kept)), network, history)

    def _stored(self, job: Job, file: str) -> xr.Dataset:
        """What the term reads of the teachers of a job; raises MakerError as `_must_be_taught`."""
        from insd.objectives.base import make_terms
        from insd.recordings import read_recording

        term = make_terms({TERM: job.recipe.terms[TERM]})[TERM]
        seeds = [name[2] for name in job.names]
        if self.settings.population is not None:
            teacher = read(file, "network").sel(seed=seeds)
            teacher_units = teacher["output_weights"].shape[-1]
        else:
            recording = read_recording(file, job.bank)
            if "condition_of_trial" in recording:
                raise DatasetError(f"{file}: holds averages over trials; a teacher needs the rates of single trials")
            teacher_units = recording["rates"].shape[-1]
        _must_be_taught(job.names[0][1], job.recipe, file, teacher_units)
        if self.settings.population is not None:
            stored = term.stores(teacher, job.bank)
        else:
            stored = term.stores_recording(recording["rates"], None, job.bank)
        assert stored is not None
        return stored if "seed" in stored.dims else stored.expand_dims(seed=seeds)


def _must_be_taught(population: str, recipe: Recipe, teacher: str, teacher_units: int) -> None:
    """Raise MakerError where a teacher has more units than its students, or where a share above 0 is of no unit."""
    units, share = recipe.network.units, recipe.terms[TERM].model_dump()["share"]
    if teacher_units > units:
        raise MakerError(
            f"populations.{population}: {teacher} has {teacher_units} units and students have network.units = "
            f"{units}; unit i of a student learns from unit i of its teacher: give students at least as many"
        )
    if share > 0 and not recorded_units(teacher_units, share, 0).size:
        raise MakerError(
            f"populations.{population}: terms.{TERM}.share = {share:g} of the {teacher_units} units of {teacher} is "
            "less than half a unit, so that none is recorded; raise it, or set 0 for students of the task alone"
        )
