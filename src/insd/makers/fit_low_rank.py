"""Networks of a given rank that are fitted to the activity of other networks, or to recorded activity."""

import json
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from insd.datasets import DatasetError, read
from insd.errors import InsdError
from insd.makers.base import Job, Made, Maker, Read
from insd.makers.recorded_files import NetworksOrRecording
from insd.settings.base import Count, NotNegative, Positive
from insd.settings.recipe import Recipe
from insd.tasks.base import Task

if TYPE_CHECKING:
    from insd.low_rank_fits import Target

LENGTH = 300
"""Time steps of trials and currents that time and memory are estimated for."""


class FitLowRankSettings(NetworksOrRecording):
    """What is fitted, seed by seed: any round of a population of networks, or a recording; the fit, and how it is
    made."""

    what = "what is fitted"

    rank: Count
    """Number of latent variables of the fit."""
    hidden: Count = 64
    """Number of currents, through which latent variables act on each other."""
    nonlinearity: Literal["relu", "clipped_relu"] = "relu"
    """The function of currents x with thresholds h: `relu`, relu(x - h); `clipped_relu`, relu(x + h) - relu(x)."""
    observation: Literal["gaussian", "poisson"] = "gaussian"
    """Noise of the observations: `gaussian`, of each unit; `poisson`, of a recording whose `rates` are spikes per
    second, and so counts when multiplied by the time step."""
    noise: NotNegative = 0.05
    """Private noise sigma_rec of the networks while their activity is drawn; recordings have their own."""
    trials: Count = 512
    """The first trials of the bank, which are fitted."""
    held_out: Count = 64
    """The last trials of the bank, on which the history has the bound."""
    epochs: Count = 40
    """Passes through all fitted trials."""
    batch: Count = 32
    """Trials per step of the optimiser."""
    particles: Count = 16
    """Particles per trial."""
    step_size: Positive = 0.05
    """Step size of RAdam in the first epoch."""
    last_step_size: Positive = 0.005
    """Its step size in the last epoch; in between it decays exponentially."""

    @model_validator(mode="after")
    def _counts_are_recorded(self) -> "FitLowRankSettings":
        if self.observation == "poisson" and self.recording is None:
            raise ValueError("observation = poisson: rates of networks are no counts; fit them with gaussian")
        return self


class FitLowRank(Maker):
    """Fits by variational sequential Monte Carlo (Pals et al. 2024), with Gaussian or Poisson noise."""

    description = "Fit networks of a given rank to activity, and record their own."
    Settings = FitLowRankSettings
    writes = ("network", "activity", "history")
    settings: FitLowRankSettings

    def sources(self, task: str) -> tuple[str, ...]:
        """The recording, which may be made from the trials of the task."""
        return self.settings.files(task, "fit_low_rank")

    def reads(self, population: str, reference: str, round_number: int) -> tuple[Read, ...]:
        """The network whose activity is fitted."""
        return self.settings.networks()

    @property
    def needs_trials(self) -> int:
        """The fewest trials of a bank."""
        return self.settings.trials + self.settings.held_out

    def problems(
        self,
        population: str,
        task: Task,
        seeds: int,
        sources: tuple[str, ...],
        recipes: tuple[Recipe | None, ...],
    ) -> tuple[str, ...]:
        """What the job would refuse of activity whose units are known: asked before the first job."""
        from insd.recordings import is_of_session

        own, path = self.settings, f"populations.{population}"
        try:
            fitted = own.units(sources, task, next(iter(recipes[1:]), None))
        except InsdError as error:
            return (f"{path}: {error}",)
        if fitted is None:
            return ()
        name, units = fitted
        if own.observation == "poisson" and is_of_session(name, trials := task.sample("train", 1, 0)):
            smoothing = json.loads(trials.attrs["session_activity"])["smoothing"]
            if smoothing > 0:
                return (
                    f"{path}.fit_low_rank.observation = 'poisson': spikes of {name} are no counts once they are "
                    f"smoothed; give the task smoothing = 0 in place of {smoothing:g}, or fit with 'gaussian'",
                )
        if own.rank > units:
            return (f"{path}.fit_low_rank.rank = {own.rank}: {name} has only {units} units; lower the rank",)
        return ()

    def architectures(self, recipe: Recipe) -> tuple[str, ...]:
        """That of fits, and those of the networks whose activity they are of."""
        return ("gru", "low_rank", "rate", "stochastic_low_rank")

    def memory_mb(self, recipe: Recipe, networks: int) -> int:
        """What a job needs at all, and the particles of one step of the optimiser."""
        return 2000 + self.settings.batch * self.settings.particles * LENGTH * LENGTH * 8 // 10**6

    def minutes(self, recipe: Recipe, networks: int) -> int:
        """What all steps may take, at one in two seconds for 512 particles."""
        steps = self.settings.epochs * -(-self.settings.trials // self.settings.batch)
        longer = max(1.0, self.settings.batch * self.settings.particles / 512)
        return 10 + int(steps * longer * networks) // 30

    def make(self, job: Job) -> Made:
        from insd.activity import record_activity
        from insd.low_rank_fits import fit_round
        from insd.rounding import with_significant

        (file,) = job.earlier or job.sources
        targets = [self._target(job, file, name[2]) for name in job.names]
        network, history = fit_round(
            *(job.task, job.bank, self.settings, job.names, targets),
            progress_bar=job.progress_bar,
            checkpoint=job.checkpoint,
        )
        activity = record_activity(network, job.task, job.bank, job.test, job.recipe.terms)
        return Made(with_significant(activity), network, history)

    def _target(self, job: Job, file: str, seed: int) -> "Target":
        """What the network of a seed is fitted to."""
        import torch

        from insd.low_rank_fits import FitError, Target, least_squares_readout, private_activity
        from insd.provenance import random_seed
        from insd.readouts import why_no_null_space
        from insd.recordings import read_recording

        if self.settings.population is None:
            recording = read_recording(file, job.bank)
            if "condition_of_trial" in recording:
                raise DatasetError(f"{file}: holds averages over trials; a fit needs the rates of single trials")
            step = job.bank.attrs["dt"] if self.settings.observation == "poisson" else 1.0
            rates = torch.from_numpy(recording["rates"]) * step
            if "output_weights" not in recording:
                nearest = least_squares_readout(rates, job.bank)
                # Before the fit, since what is made of it afterwards needs a null space.
                if why := why_no_null_space(nearest[0].numpy()):
                    outputs = ", ".join(map(str, job.bank["output"].values))
                    raise FitError(
                        f"{'/'.join(map(str, job.names[0]))}: of the readout of {file} that is nearest to the targets "
                        f"({outputs}), {why}; leave out outputs of the task that follow from others, such as a column "
                        "of text, whose channels add up to 1"
                    )
                return Target(rates, *nearest)
            weights = torch.from_numpy(recording["output_weights"]) / step
            return Target(rates, weights, weights.new_zeros(len(weights)))
        network = read(file, "network").sel(seed=[seed])
        # The same activity for fits of all ranks.
        stream = random_seed(job.names[0][0], self.settings.population, seed, self.settings.round, "private activity")
        readout = (torch.from_numpy(network[name].values[0]) for name in ("output_weights", "output_bias"))
        return Target(private_activity(network, job.bank, self.settings.noise, stream), *readout)
