"""One attempt at training some networks side by side: its iterations, evaluations, and who has stopped."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.bank import Bank, FreshNoise, minibatch
from insd.captured import Captured
from insd.devices import CPU
from insd.errors import InsdError
from insd.minibatches import Minibatches
from insd.networks.base import Flowing, Networks, initialise
from insd.networks.engine.bptt import Workspace
from insd.networks.engine.keyed import KeyedNoise
from insd.objectives.base import Stored
from insd.objectives.objective import Objective, Rates
from insd.progress import Progress
from insd.provenance import random_seed
from insd.rounds import NetworkName
from insd.settings.recipe import Recipe, Training
from insd.tasks.base import Task, target_variance

Number = int | float | Float[Tensor, ""] | Int[Tensor, ""]
"""A number that changes from iteration to iteration, as a tensor where that is run as part of a CUDA graph."""


class TrainingError(InsdError):
    """Training cannot continue; the message names the network and the remedy."""


class Attempt:
    """One attempt at some networks, from fresh weights or those of `start` to the end of training.

    `scores` are the final held-out ones. `start` are networks at the time step of the bank, with the private noise to
    train under; they are moved. The recipe's section `network` then counts for nothing.

    Networks that have stopped leave the block that is trained side by side: what is one per network is in the order of
    `running`, but for `rows`, `final`, `last_row` and `in_a_row`, which are of all networks.
    """

    SHRINKS_AT: ClassVar[dict[str, float]] = {"cpu": 1.0, "cuda": 0.75}
    """The share of a block that still trains at which the rest is left out, by the type of device; on a GPU not one by
    one, for to go on with a smaller block takes it as long as a hundred iterations."""

    def __init__(
        self,
        task: Task,
        bank: xr.Dataset,
        recipe: Recipe,
        names: Sequence[NetworkName],
        earlier: Mapping[str, Stored],
        device: torch.device,
        start: Networks | None = None,
    ):
        settings = recipe.training
        self.task, self.recipe, self.names, self.device = task, recipe, names, device
        self.n_train = bank.sizes["trial"] - settings.validation_trials
        if self.n_train < settings.batch_size:
            raise ValueError(
                f"the bank has {bank.sizes['trial']} trials: too few for training.validation_trials = "
                f"{settings.validation_trials} and training.batch_size = {settings.batch_size}"
            )
        self.bank = Bank.from_trials(bank).to(device)
        self.held_out_trials = bank.isel(trial=slice(self.n_train, None))
        self.held_out = torch.arange(self.n_train, bank.sizes["trial"], device=device).expand(len(names), -1)
        free = task.free_running(self.held_out_trials)
        self.free_running = None if free is self.held_out_trials else Bank.from_trials(free).to(device)
        self.variance = target_variance(self.bank.targets, self.bank.mask)
        if start is None:
            sizes, alpha = (bank.sizes["input"], bank.sizes["output"]), bank.attrs["dt"] / recipe.network.tau
            start = initialise(recipe.network, *sizes, alpha, self._streams("weights"))
        self.networks = start.to(device)
        if max(settings.substeps) > 1 and not isinstance(self.networks, Flowing):
            raise TrainingError(
                f"training.substeps = {settings.substeps}: networks of the architecture "
                f"{recipe.network.architecture!r} are no steps of a flow; leave it out"
            )
        # Iterations with other numbers of time steps, and evaluations, which have other numbers of trials: each has
        # blocks, and on a GPU graphs, that fit.
        self.workspaces = {substeps: Workspace() for substeps in settings.substeps}
        self.evaluation_workspace = Workspace()
        self.fresh_noise = FreshNoise.of_bank(bank, self._streams("inputs"), device) if settings.fresh_noise else None
        self.noise_streams = self._streams("noise", device)
        self.noise_keys = torch.tensor([stream.initial_seed() for stream in self.noise_streams], device=device)
        ahead = None if device.type == "cpu" else settings.evaluate_every
        self.minibatches = Minibatches(self._streams("batches"), self.n_train, settings.batch_size, device, ahead)
        self.objective = Objective(recipe.terms, earlier, settings.loss_bound, len(names), device, self.bank.valid)
        factors = self.networks.step_factors()
        groups: dict[float, list[Tensor]] = {}
        for name, parameter in self.networks.named_parameters():
            groups.setdefault(factors.get(name, 1.0), []).append(parameter)
        self.optimiser = torch.optim.Adam(
            [{"params": group, "factor": factor} for factor, group in groups.items()],
            lr=settings.step_size,
            fused=True,
            capturable=device.type == "cuda",
        )
        self.step_sizes = _step_sizes(self.optimiser, settings)
        own_loss = type(task).loss is not Task.loss
        capturable = device.type == "cuda" and self.networks.capturable and self.objective.capturable and not own_loss
        self.captured = {substeps: Captured() for substeps in self.workspaces} if capturable else None
        # The iteration in which a network's loss was first not finite, or 0. A GPU is asked for it at evaluations,
        # since it would be idle while the host waits for it and prepares the next iteration.
        self.failed_at = torch.zeros(len(names), dtype=torch.int64, device=device)
        self.iteration = 0
        self.rows: list[dict[str, np.ndarray]] = []
        self.final = self.networks.weights()
        self.last_row = np.full(len(names), 0 if settings.iterations == 0 else -1)
        self.in_a_row = np.zeros(len(names), dtype=int)
        self.running = np.arange(len(names))

    def train(self, progress_bar: bool) -> Iterator[None]:
        """Train to the end, and keep each network as it was when it stopped; stops for the caller at each evaluation
        before the last, where the state can be saved.
        """
        settings = self.recipe.training
        if not self.rows:
            self.rows.append(self._evaluate(0) | self._before_training())
        progress = Progress(self.iteration, settings.iterations, progress_bar)
        since_evaluation: list[dict[str, Tensor]] = []
        for iteration in progress:
            step_size = self.step_sizes.get_last_lr()[0]
            since_evaluation.append(self._step(iteration))
            self.step_sizes.step()
            if iteration % settings.evaluate_every and iteration < settings.iterations:
                continue
            self._refuse_failed()
            row = self._evaluate(iteration) | _means(since_evaluation)
            row["step_size"] = np.full(len(self.names), step_size)
            since_evaluation = []
            self.rows.append(self._of_all(row))
            self.in_a_row[self.running] = np.where(self._good_enough(row), self.in_a_row[self.running] + 1, 0)
            early = (self.in_a_row >= settings.patience) & (settings.finishing == 0)
            ends = early | (iteration == settings.iterations)
            stopping = (self.last_row < 0) & ends
            for name, values in self.networks.weights().items():
                self.final[name][torch.from_numpy(stopping)] = values[torch.from_numpy(stopping[self.running])]
            self.last_row[stopping] = len(self.rows) - 1
            self.iteration = iteration
            done = bool((self.last_row >= 0).all())
            progress.report(iteration, row, done)
            if done:
                break
            self._leave_out_stopped()
            yield
        for name, values in self.final.items():
            getattr(self.networks, name).data = values
        self.scores = np.array([self.rows[row]["held_out_score"][network] for network, row in enumerate(self.last_row)])

    def end_of(self, network: int) -> dict[str, Tensor]:
        """The iteration at which a network stopped, and the held-out values of its terms there."""
        row = self.rows[self.last_row[network]]
        penalties = {name: values[network] for name, values in row.items() if name.startswith("held_out_penalty")}
        return {name: torch.as_tensor(values) for name, values in {"iteration": row["iteration"], **penalties}.items()}

    def record(self) -> dict[str, Any]:
        """The evaluations so far, and the last row of each network (-1 while it is trained), for a checkpoint."""
        rows = [{name: torch.from_numpy(values) for name, values in row.items()} for row in self.rows]
        return {"rows": rows, "last_row": torch.from_numpy(self.last_row)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of training depends on, at an evaluation."""
        return {
            "iteration": self.iteration,
            "networks": self.networks.state_dict(),
            "final": self.final,
            "optimiser": self.optimiser.state_dict(),
            "step_sizes": self.step_sizes.state_dict(),
            "noise_streams": [stream.get_state() for stream in self.noise_streams],
            "batch_streams": self.minibatches.state(),
            "objective": self.objective.state_dict(),
            "in_a_row": torch.from_numpy(self.in_a_row),
            "running": torch.from_numpy(self.running),
            **self.record(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of an attempt at the same networks."""
        self._keep(state["running"].tolist())
        self.iteration, self.final = state["iteration"], state["final"]
        self.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_sizes.load_state_dict(state["step_sizes"])
        for stream, values in zip(self.noise_streams, state["noise_streams"], strict=True):
            stream.set_state(values)
        self.minibatches.load_state(state["batch_streams"])
        self.objective.load_state_dict(state["objective"])
        self.in_a_row, self.last_row = state["in_a_row"].numpy(), state["last_row"].numpy()
        self.rows = [{name: values.numpy() for name, values in row.items()} for row in state["rows"]]

    def _leave_out_stopped(self) -> None:
        """Go on with the networks that are still trained, if they are few enough of the block."""
        (trained,) = np.nonzero(self.last_row[self.running] < 0)
        if len(trained) <= self.SHRINKS_AT[self.device.type] * len(self.running):
            self._keep(trained.tolist())

    def _keep(self, rows: list[int]) -> None:
        """Go on with these rows of the block."""
        if len(rows) == len(self.running):
            return
        self.running, self.names = self.running[rows], [self.names[row] for row in rows]
        for parameter in self.networks.parameters():
            parameter.data, parameter.grad = parameter.data[rows], None
            state = self.optimiser.state[parameter]
            for name, values in state.items():
                state[name] = values[rows] if values.ndim else values
        self.noise_streams, self.noise_keys = [self.noise_streams[row] for row in rows], self.noise_keys[rows]
        self.minibatches.keep(rows)
        self.objective.keep(rows)
        self.held_out, self.failed_at = self.held_out[rows], self.failed_at[rows]
        if self.fresh_noise:
            self.fresh_noise = self.fresh_noise.keep(rows)
        if self.captured:
            self.captured = {substeps: Captured() for substeps in self.captured}

    def _of_all(self, row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A row of the history with all networks of the attempt, NaN for those that are no longer in the block."""
        if len(self.running) == len(self.last_row):
            return row
        spread = {name: np.full((len(self.last_row), *values.shape[1:]), math.nan) for name, values in row.items()}
        for name, values in row.items():
            spread[name][self.running] = values
        return spread | {"iteration": row["iteration"]}

    def _step(self, iteration: int) -> dict[str, Tensor]:
        """One iteration on a minibatch; returns the values for the history, each (network, ...)."""
        settings = self.recipe.training
        progress = (iteration - 1) / settings.iterations
        finishing = float(progress >= 1 - settings.finishing)
        step_size = self.optimiser.param_groups[0]["lr"]
        substeps = settings.substeps[0]
        if len(settings.substeps) > 1:
            # The same for all networks, and for each alone.
            substeps = settings.substeps[np.random.default_rng(iteration).integers(len(settings.substeps))]
        arguments = self.minibatches.take(), iteration, step_size, finishing, *self.objective.shares(progress)
        iterate = partial(self._iterate, substeps)
        return self.captured[substeps](iterate, *arguments) if self.captured else iterate(*arguments)

    def _iterate(
        self,
        substeps: int,
        trials: Int[Tensor, "network trial"],
        iteration: Number,
        step_size: Number,
        finishing: Number,
        *shares: Number,
    ) -> dict[str, Tensor]:
        """What an iteration does on the device, where its numbers are tensors if that is a GPU."""
        settings = self.recipe.training
        draw = iteration if isinstance(iteration, Tensor) else torch.full((), iteration, device=self.device)
        inputs = self.fresh_noise.inputs(trials, draw) if self.fresh_noise else self._of(trials, self.bank.inputs)
        targets, mask = self._of(trials, self.bank.targets), self._of(trials, self.bank.mask)
        outputs, sampled = self._noisy_outputs(inputs, draw, substeps)
        loss = self.task.loss(outputs, targets, mask, self.variance)
        record = {"task_loss": loss.detach()}
        # Where training has no such phase, no kernels are spent on it.
        ending = finishing if settings.finishing else None
        loss, of_terms = self.objective.weighed(loss, shares, ending, sampled, self.networks, trials)
        record |= of_terms
        # A number that is not finite less itself is NaN; a GPU asks `isfinite` with four kernels.
        failing = (self.failed_at == 0) & (loss - loss != 0)
        self.failed_at.copy_(torch.where(failing, iteration, self.failed_at))
        if self.device.type == "cpu":
            self._refuse_failed()
        self.optimiser.zero_grad()
        loss.sum().backward()
        record["gradient_norm"] = _clip(self.networks, settings.gradient_clip)
        groups = self.optimiser.param_groups
        # The schedule of step sizes, one for all groups, goes on from the number, which is the same.
        scheduled = groups[0]["lr"]
        for group in groups:
            group["lr"] = step_size if group["factor"] == 1 else step_size * group["factor"]
        self.optimiser.step()
        for group in groups:
            group["lr"] = scheduled
        return record

    def _why_not_finite(self, iteration: int) -> str:
        """Why a loss may not be finite at an iteration, and what to do."""
        settings = self.recipe.training
        if iteration > 1:
            return (
                f"the loss is not finite at iteration {iteration}; lower training.step_size ({settings.step_size}) or "
                f"training.gradient_clip ({settings.gradient_clip})"
            )
        largest = [float(part.abs().max()) for part in (self.bank.inputs, self.bank.targets)]
        still = "; or its activity does not vary, and has nothing that terms could compare"
        return (
            f"the loss is not finite before any training: the inputs reach {largest[0]:.3g}, the targets "
            f"{largest[1]:.3g}, and their variance is {self.variance:.3g}; scale the trials to the order of 1, or "
            f"lower network.gain ({self.recipe.network.gain}){still if self.recipe.terms else ''}"
        )

    def _refuse_failed(self) -> None:
        """Raise TrainingError if the loss of a network was not finite in an iteration so far, unless it had stopped."""
        iterations = enumerate(self.failed_at.tolist())
        failed = [(at, row) for row, at in iterations if at and self.last_row[self.running[row]] < 0]
        if failed:
            iteration, row = min(failed)
            raise TrainingError(f"{joined(self.names[row][:-1])}: {self._why_not_finite(iteration)}")

    @torch.no_grad()
    def _evaluate(self, iteration: int) -> dict[str, np.ndarray]:
        """Task loss, score and the values of the terms on the held-out trials, noise-free, each (network, ...)."""
        bank = self.bank
        inputs, targets, mask = (self._of(self.held_out, part) for part in (bank.inputs, bank.targets, bank.mask))
        outputs, sampled = self._outputs(inputs, None, self.evaluation_workspace)
        row = {
            "iteration": np.array(iteration),
            "held_out_loss": self.task.loss(outputs, targets, mask, self.variance).cpu().numpy(),
            **self.objective.held_out(sampled, self.networks, self.held_out),
        }
        if self.free_running is not None:
            trials = torch.arange(self.held_out.shape[1], device=self.device).expand(len(self.held_out), -1)
            inputs = self._of(trials, self.free_running.inputs)
            # Only now, since it may be written over the rates above.
            outputs, _ = self._outputs(inputs, None, self.evaluation_workspace)
        return row | {"held_out_score": self.task.score(self.held_out_trials, outputs.transpose(1, 2).cpu().numpy())}

    def _before_training(self) -> dict[str, np.ndarray]:
        """The values that later rows of the history average over iterations; the first row has NaN."""
        count = len(self.names)
        empty = np.full(count, math.nan)
        return dict.fromkeys(("task_loss", "gradient_norm", "step_size"), empty) | self.objective.before_training()

    def _good_enough(self, row: dict[str, np.ndarray]) -> np.ndarray:
        """Which networks meet every bound: the task's criterion, its loss, and the terms' bounds."""
        good = np.array([self.task.solved(score) for score in row["held_out_score"]])
        good &= row["held_out_loss"] <= self.recipe.training.loss_bound
        return good & self.objective.within_bounds(row)

    def _noisy_outputs(
        self, inputs: Float[Tensor, "network time trial input"], draw: Int[Tensor, ""], substeps: int
    ) -> tuple[Float[Tensor, "network time trial output"], Rates]:
        """Outputs and rates under private noise, with each input sample held for some Euler steps of its time."""
        workspace, networks = self.workspaces[substeps], self.networks
        alpha = networks.alpha
        try:
            networks.alpha = alpha / substeps
            inputs = inputs.repeat_interleave(substeps, 1) if substeps > 1 else inputs
            noise = networks.keyed_noise(self.noise_keys, draw) or networks.draw_noise(
                inputs.shape[1], inputs.shape[2], self.noise_streams, workspace
            )
            if substeps == 1:
                return self._outputs(inputs, noise, workspace)
            every = self.objective.every
            outputs, rates = networks.outputs(inputs, noise, 1 if every else None, workspace)
            # The same times as without: the end of each sample.
            sampled = None if rates is None or every is None else rates[:, substeps - 1 :: substeps * every]
            return outputs[:, substeps - 1 :: substeps], sampled
        finally:
            networks.alpha = alpha

    def _outputs(
        self,
        inputs: Float[Tensor, "network time trial input"],
        noise: Float[Tensor, "network time trial state"] | KeyedNoise | None,
        workspace: Workspace,
    ) -> tuple[Float[Tensor, "network time trial output"], Rates]:
        """Outputs of the networks, and their rates at the times that the terms need, if there are any."""
        return self.networks.outputs(inputs, noise, self.objective.every, workspace)

    def _of(
        self, chosen: Int[Tensor, "network chosen"], part: Float[Tensor, "time trial _"]
    ) -> Float[Tensor, "network time chosen _"]:
        """A part of the bank at the trials chosen for each network."""
        return minibatch(part.transpose(0, 1), chosen)

    def _streams(self, purpose: str, device: torch.device = CPU) -> list[torch.Generator]:
        """A random stream per network for one purpose, from the network's name and attempt alone."""
        return [torch.Generator(device).manual_seed(random_seed(*name, purpose)) for name in self.names]


def _step_sizes(optimiser: torch.optim.Optimizer, settings: Training) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.step_schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)
    # PyTorch divides by a rise of 0 steps where there are 10 iterations.
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.step_size, max(settings.iterations, 11), pct_start=0.1, cycle_momentum=False
    )


def _means(records: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: torch.stack([record[name] for record in records]).mean(0).cpu().numpy() for name in records[0]}


def _clip(networks: Networks, largest: float) -> Float[Tensor, "network"]:
    """Scale each network's gradient to a norm of at most `largest`; returns the norms before.

    Where parameters have step sizes of their own (`Networks.step_factors`), the gradient in each of them counts its
    factor times the root of its number of entries: no step of Adam of size 1 moves the loss by more than these numbers
    sum to. They do not grow with the width, as the plain norm does, so that the clip is the same at any.
    """
    gradients = {name: one.grad for name, one in networks.named_parameters() if one.grad is not None}
    parts = [gradient.flatten(1) for gradient in gradients.values()]
    if factors := networks.step_factors():
        scales = [factors.get(name, 1.0) * part.shape[1] ** 0.5 for name, part in zip(gradients, parts, strict=True)]
        parts = [scale * part for scale, part in zip(scales, parts, strict=True)]
    norms = torch.linalg.vector_norm(torch.cat(parts, 1), dim=1)
    scale = largest / norms.clamp(min=largest)
    for gradient in gradients.values():
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
    return norms


def joined(name: NetworkName) -> str:
    """The name of a network in one word, as messages quote it."""
    return "/".join(map(str, name))
