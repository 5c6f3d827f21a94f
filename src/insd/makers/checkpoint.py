"""Networks that others trained, from checkpoints of PyTorch or from matrices: analysed as any other, not trained."""

from collections.abc import Sequence
from typing import Annotated, Literal

import xarray as xr
from pydantic import Field

from insd.errors import InsdError
from insd.makers.base import Job, Made, Maker, MakerError, files_of
from insd.mapping import MappedWeight
from insd.settings.base import Positive, Section
from insd.settings.recipe import Recipe
from insd.tasks.base import Task


class CheckpointSettings(Section):
    """Files of trained networks; seed k is the k-th network in them, counted from 0."""

    files: str | Annotated[list[str], Field(min_length=1)]
    """A path, a pattern such as `networks/{task}-*.pt`, whose files are read in sorted order, or a list of them;
    `{task}` stands for the task. Each file holds one network or several (docs/own-task.md)."""
    tau: Positive | None = None
    """Time constant in s, of matrices; a torch.nn.RNN or torch.nn.GRU has the time step as its time constant."""
    readout: str = "readout"
    """Name of the linear readout in state dicts."""
    rnn: str | None = None
    """Name of the recurrent module in state dicts that hold several."""
    nonlinearity: Literal["tanh", "relu", "softplus"] | None = None
    """The rates of states of rate networks, which files do not say; `tanh` for matrices without it."""
    leaky: Literal["states", "rates"] = "states"
    """What leaks in a network given by matrices: its states x, which have the rates f(x), or its rates."""
    mapping: dict[MappedWeight, str] = {}
    """For files of a layout that is not known: by weight of a rate network, the name of its tensor in the file, as in
    `recurrent_weights: model.rnn.W`. `W.T` transposes, `U @ V.T` is a product and `b + c` a sum (docs/own-task.md)."""
    ignore: list[str] = []
    """Names of tensors that the network runs without, or patterns such as `loss*`; all others must be read."""


class Checkpoint(Maker):
    """Reads networks and records their activity."""

    description = "Read networks that others trained, and record their activity."
    Settings = CheckpointSettings
    settings: CheckpointSettings

    def sources(self, task: str) -> tuple[str, ...]:
        return files_of(self.settings.files, task, "checkpoint.files")

    def architectures(self, recipe: Recipe) -> tuple[str, ...]:
        """Those that files can be read as."""
        return ("gru", "low_rank", "rate")

    def problems(
        self,
        population: str,
        task: Task,
        seeds: int,
        sources: tuple[str, ...],
        recipes: tuple[Recipe | None, ...],
    ) -> tuple[str, ...]:
        """What the job would refuse in files that are there, but for the activity: asked before the first job."""
        try:
            self._networks(population, sources, task.sample("test", 1, 0), list(range(seeds)))
        except InsdError as error:
            return (str(error),)
        return ()

    def make(self, job: Job) -> Made:
        import numpy as np
        import torch

        from insd.activity import record_activity
        from insd.objectives.base import TermError
        from insd.rounding import with_significant
        from insd.samples import valid_steps

        network = self._networks(job.names[0][1], job.sources, job.bank, [name[2] for name in job.names])
        try:
            activity = record_activity(network, job.task, job.bank, job.test, job.recipe.terms)
            usable = bool(np.isfinite(activity["rates"].values[:, valid_steps(job.test)]).all())
        except (ValueError, TermError, torch.linalg.LinAlgError):
            usable = False
        if not usable:
            raise MakerError(
                f"{', '.join(job.sources)}: the activity of these networks on the trials of the task does not vary, or "
                "is not finite"
            )
        return Made(with_significant(activity), network)

    def _networks(
        self, population: str, sources: tuple[str, ...], trials: xr.Dataset, seeds: Sequence[int]
    ) -> xr.Dataset:
        """The networks of some seeds in files; raises an InsdError if they are not there, or one cannot be used."""
        from insd.imported import import_checkpoints
        from insd.readouts import why_no_null_space
        from insd.tensor_files import UnsaidError

        own = self.settings
        mapping = {str(weight): name for weight, name in own.mapping.items()}
        said = own.tau, own.readout, own.nonlinearity, own.rnn, own.leaky, mapping, own.ignore
        try:
            found = import_checkpoints(sources, trials, *said)
        except UnsaidError as error:
            raise MakerError(
                f"populations.{population}: {error.problem}; give it, as in `checkpoint: {{{error.setting}: "
                f"{error.example}}}`"
            ) from None
        held = found.sizes["seed"]
        if seeds[-1] >= held:
            raise MakerError(
                f"populations.{population}.seeds: seed {seeds[-1]} is not in the files, which hold {held} network(s): "
                f"{', '.join(sources)}; set seeds to at most {held}"
            )
        for seed in seeds:
            if why := why_no_null_space(found["output_weights"].values[seed]):
                raise MakerError(
                    f"populations.{population}: seed {seed} of {', '.join(sources)}: {why}, and a "
                    "grid compares networks there; `insd import` takes it alone, for its fixed points"
                )
        return found.isel(seed=seeds)
