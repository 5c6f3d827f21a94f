"""Recorded activity in the place of networks: a reference for chains, with which their rounds are compared."""

from insd.errors import InsdError
from insd.makers.base import Job, Made, Maker
from insd.makers.recorded_files import recorded_files
from insd.settings.base import Section
from insd.settings.recipe import Recipe
from insd.tasks.base import Task


class RecordingSettings(Section):
    """Activity that takes the place of round 0; all seeds have the same."""

    file: str
    """An npz or NetCDF file with `rates` (trial, time, unit) on the trials of the bank, their `fingerprint` and,
    optionally, the readout `output_weights` (output, unit); or with averages over trials, `rates` (condition, time,
    unit), their `time` and labels. Or the file of a task `recorded:FILE` itself: the activity recorded in its trials.
    `{task}` in the path is replaced by the task's name."""


class Recording(Maker):
    """Keeps of a recording what the terms compare later rounds with."""

    description = "Keep of recorded activity what later rounds are compared with, in the place of round 0."
    Settings = RecordingSettings
    writes = ("activity",)
    settings: RecordingSettings

    def sources(self, task: str) -> tuple[str, ...]:
        """The file, which may be made from the trials of the task, and so after the workflow is first read."""
        return recorded_files(self.settings.file, task, "recording.file")

    def problems(
        self,
        population: str,
        task: Task,
        seeds: int,
        sources: tuple[str, ...],
        recipes: tuple[Recipe | None, ...],
    ) -> tuple[str, ...]:
        """What the job would refuse in a file that is there, whatever its trials: asked before the first job."""
        from insd.recordings import count_units

        try:
            count_units(sources[0], task.sample("train", 1, 0))
        except InsdError as error:
            return (f"populations.{population}: {error}",)
        return ()

    def make(self, job: Job) -> Made:
        import xarray as xr

        from insd.datasets import DatasetError
        from insd.objectives.base import make_terms
        from insd.recordings import read_recording
        from insd.rounding import with_significant

        (path,) = job.sources
        recording = read_recording(path, job.bank)
        readout = recording.get("output_weights")
        kept = []
        try:
            for name, term in make_terms(job.recipe.terms).items():
                if "condition_of_trial" not in recording:
                    kept.append(term.stores_recording(recording["rates"], readout, job.bank))
                elif hasattr(term, "stores_averages"):
                    kept.append(term.stores_averages(recording))
                elif term.variables:
                    raise DatasetError(
                        f"{path}: holds averages over trials, and the term {name!r} compares single trials; give this "
                        f"population and the chain terms: {{{name}: null, condition_predictivity: {{}}}}"
                    )
        except ValueError as error:
            raise DatasetError(f"{path}: {error}") from None
        parts = xr.merge([part for part in kept if part is not None])
        activity = parts.expand_dims(seed=[name[2] for name in job.names])
        return Made(with_significant(activity.assign_attrs(bank_fingerprint=job.bank.attrs["fingerprint"])))
