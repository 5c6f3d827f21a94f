"""Training of one round: task loss plus the deflation penalty, many networks side by side."""

import hashlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from insd.checkpoints import Checkpoint
from insd.devices import CPU
from insd.errors import InsdError
from insd.multipliers import make_schedule
from insd.networks.base import initialise
from insd.networks.engine.bptt import Workspace
from insd.plugins import module_of
from insd.predictivity import deflation_penalty
from insd.provenance import array_fingerprint, code_fingerprint, modules_fingerprint, random_seed
from insd.settings.config import Recipe
from insd.tasks import Task, task_fingerprint

log = logging.getLogger(__name__)

NetworkName = tuple[str | int, ...]
"""(task, population, seed, round): names a network and seeds its random streams."""


class TrainingError(InsdError):
    """Training cannot go on; the message says which network and what to do."""


@dataclass(frozen=True)
class Earlier:
    """Null-space activity of the earlier rounds of each network on the training bank.

    components : (network, bank_trial, bank_time, component), the rounds side by side along `component`.
    membership : (component, earlier), 1 where a component belongs to an earlier round.
    time_stride : every how many time steps of the bank the activity was stored, from the first on.
    """

    components: Float[Tensor, "network bank_trial bank_time component"]
    membership: Float[Tensor, "component earlier"]
    time_stride: int

    def select(self, networks: Sequence[int]) -> "Earlier":
        """The earlier activity of some of the networks."""
        return Earlier(self.components[list(networks)], self.membership, self.time_stride)

    def to(self, device: torch.device) -> "Earlier":
        """The same on a device."""
        return Earlier(self.components.to(device), self.membership.to(device), self.time_stride)


@dataclass(frozen=True)
class Bank:
    """Trials as tensors with time before trials (see `insd.networks.engine.bptt`).

    In memory each trial is one block, since minibatches take some trials with all their times.
    """

    inputs: Float[Tensor, "time trial input"]
    targets: Float[Tensor, "time trial output"]
    mask: Float[Tensor, "time trial output"]

    @classmethod
    def from_trials(cls, trials: xr.Dataset) -> "Bank":
        """All trials of a dataset by the contract of trial files."""
        return cls(*(torch.from_numpy(trials[name].values).transpose(0, 1) for name in ("inputs", "targets", "mask")))

    def to(self, device: torch.device) -> "Bank":
        """The same on a device."""
        return Bank(self.inputs.to(device), self.targets.to(device), self.mask.to(device))


def minibatch(
    part: Float[Tensor, "trial time _"], chosen: Int[Tensor, "network batch"]
) -> Float[Tensor, "network time batch _"]:
    """The trials chosen for each network, with time before trials."""
    return part.index_select(0, chosen.flatten()).unflatten(0, chosen.shape).transpose(1, 2).contiguous()


def target_variance(targets: Float[Tensor, "time trial output"], mask: Float[Tensor, "time trial output"]) -> float:
    """Mean squared deviation of the scored targets from each output's own mean."""
    mean = (targets * mask).sum((0, 1)) / mask.sum((0, 1))
    return float(((targets - mean).square() * mask).sum() / mask.sum())


def task_loss(
    outputs: Float[Tensor, "network time trial output"],
    targets: Float[Tensor, "*network time trial output"],
    mask: Float[Tensor, "*network time trial output"],
    variance: float,
) -> Float[Tensor, "network"]:
    """Squared error over the scored outputs as a share of the targets' variance (ours), per network.

    1 is the loss of the best constant output; with it, one multiplier means the same for every task.
    """
    errors = ((outputs - targets).square() * mask).sum((1, 2, 3))
    return errors / (mask.sum((-3, -2, -1)) * variance)


def train_round(
    task: Task,
    bank: xr.Dataset,
    recipe: Recipe,
    names: Sequence[NetworkName],
    earlier: Earlier | None = None,
    progress_bar: bool = False,
    checkpoint: Path | None = None,
    device: torch.device = CPU,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Train one round of several networks on a bank of trials, restarting those that do not solve the task.

    Parameters
    ----------
    task : scores the held-out trials.
    bank : trials; the last `validation_trials` of them are held out from the gradient.
    recipe : settings of the network, its training and its deflation.
    names : one per network, (task, population, seed, round); every random stream derives from it alone, so that a
        network does not depend on those trained beside it.
    earlier : activity of the earlier rounds on the same bank, or None in round 0.
    progress_bar : show one in the terminal; a progress line goes to the log in any case.
    checkpoint : file that keeps the state of training, at an evaluation every few minutes. If it holds that of an
        earlier call with equal arguments that was stopped, training goes on from there, to the same result. It is left
        behind at the end, for the caller to remove once the result is safe.
    device : where to train. Initial weights and minibatches are the same everywhere; private noise is drawn on the
        device, whose random numbers are others than those of a CPU. Results are on the CPU.

    Returns
    -------
    network, history : datasets by the contracts of `network.nc` and `history.nc`. The weights are those of the first
    attempt that solves the held-out trials, or of the best attempt if none does; `history` holds all attempts.

    Raises ValueError where the bank is too small, and TrainingError where a loss is not finite.

    Source: Qian & Pehlevan (2026): L_task + lambda * sum_i S(R_k_perp, R_i_perp).
    """
    count = len(names)
    kept = None
    if checkpoint is not None:
        kept = Checkpoint(checkpoint, _made_from(task, bank, recipe, names, earlier, device))
    state = (kept.load() if kept else None) or {
        "attempt": 0,
        "pending": list(range(count)),
        "weights": {},
        "best": [math.nan] * count,
        "restarts": [0] * count,
        "records": [],
    }
    for attempt in range(state["attempt"], recipe.training.restarts + 1):
        pending = state["pending"]
        streams = [(*names[i], attempt) for i in pending]
        run = _Attempt(task, bank, recipe, streams, earlier.select(pending) if earlier else None, device)
        if "run" in state:
            run.load_state_dict(state.pop("run"))
            log.info("resumed from iteration %d of attempt %d", run.iteration, attempt)
        for _ in run.train(progress_bar):
            if kept and kept.due():
                kept.save({**state, "attempt": attempt, "run": run.state_dict()})
        state["records"].append({"networks": pending, **run.record()})
        for row, network in enumerate(pending):
            state["restarts"][network] = attempt
            if _better(task, run.scores[row], state["best"][network]):
                state["best"][network] = float(run.scores[row])
                for name, values in run.networks.weights().items():
                    best = state["weights"].setdefault(name, values.new_zeros(count, *values.shape[1:]))
                    best[network] = values[row]
        state["pending"] = [network for network in pending if not task.solved(state["best"][network])]
        if not state["pending"] or recipe.training.iterations == 0:
            break
        log.warning(
            "attempt %d did not solve the held-out trials: %s",
            attempt,
            ", ".join(_joined(names[i]) for i in state["pending"]),
        )
    weights, restarts = state["weights"], np.array(state["restarts"])
    histories = [_history(record, count) for record in state["records"]]
    seeds = {"seed": [int(name[2]) for name in names]}
    made = run.networks
    dimensions = made.dimensions
    trained = xr.Dataset(
        {name: (dimensions[name], values.cpu().numpy()) for name, values in made.stored_weights(weights).items()}
        | {"restarts": ("seed", restarts)},
        coords=seeds | {"input": bank["input"], "output": bank["output"]},
        attrs={"dt": bank.attrs["dt"], "tau": recipe.network.tau, **made.attributes()},
    )
    return trained, xr.concat(histories, "attempt", join="outer").assign_coords(seeds)


class _Attempt:
    """One attempt at some networks, from fresh weights to the end of training; `scores` are the final held-out ones."""

    def __init__(
        self,
        task: Task,
        bank: xr.Dataset,
        recipe: Recipe,
        names: Sequence[NetworkName],
        earlier: Earlier | None,
        device: torch.device,
    ):
        settings = recipe.training
        self.task, self.recipe, self.names, self.device = task, recipe, names, device
        self.earlier = earlier.to(device) if earlier else None
        self.n_train = bank.sizes["trial"] - settings.validation_trials
        if self.n_train < settings.batch_size:
            raise ValueError(
                f"the bank has {bank.sizes['trial']} trials: too few for training.validation_trials = "
                f"{settings.validation_trials} and training.batch_size = {settings.batch_size}"
            )
        self.bank = Bank.from_trials(bank).to(device)
        self.held_out_trials = bank.isel(trial=slice(self.n_train, None))
        self.held_out = torch.arange(self.n_train, bank.sizes["trial"], device=device).expand(len(names), -1)
        self.variance = target_variance(self.bank.targets, self.bank.mask)
        self.networks = initialise(
            recipe.network,
            bank.sizes["input"],
            bank.sizes["output"],
            bank.attrs["dt"] / recipe.network.tau,
            self._streams("weights"),
        ).to(device)
        # Evaluations are on other numbers of trials than iterations: each has blocks, and on a GPU graphs, that fit.
        self.workspace, self.evaluation_workspace = Workspace(), Workspace()
        self.noise_streams = self._streams("noise", device)
        self.batch_streams = self._streams("batches")
        self.schedule = None
        if earlier is not None:
            shape = (len(names), earlier.membership.shape[1])
            self.schedule = make_schedule(recipe.deflation, settings.loss_bound, *shape, device)
        self.optimiser = torch.optim.Adam(self.networks.parameters(), lr=settings.step_size, fused=True)
        # PyTorch divides by a rise of 0 steps where there are 10 iterations.
        self.step_sizes = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, settings.step_size, max(settings.iterations, 11), pct_start=0.1, cycle_momentum=False
        )
        self.iteration = 0
        self.rows: list[dict[str, np.ndarray]] = []
        self.final = self.networks.weights()
        self.last_row = np.full(len(names), 0 if settings.iterations == 0 else -1)
        self.in_a_row = np.zeros(len(names), dtype=int)

    def train(self, progress_bar: bool) -> Iterator[None]:
        """Train to the end, and keep each network as it was when it stopped; stops for the caller at each evaluation
        before the last, where the state can be saved.
        """
        settings = self.recipe.training
        if not self.rows:
            self.rows.append(self._evaluate(0) | self._before_training())
        progress = _Progress(self.iteration, settings.iterations, progress_bar)
        since_evaluation: list[dict[str, Tensor]] = []
        for iteration in progress:
            step_size = self.step_sizes.get_last_lr()[0]
            since_evaluation.append(self._step(iteration))
            self.step_sizes.step()
            if iteration % settings.evaluate_every and iteration < settings.iterations:
                continue
            row = self._evaluate(iteration) | _means(since_evaluation)
            row["step_size"] = np.full(len(self.names), step_size)
            since_evaluation = []
            self.rows.append(row)
            self.in_a_row = np.where(self._good_enough(row), self.in_a_row + 1, 0)
            ends = (self.in_a_row >= settings.patience) | (iteration == settings.iterations)
            stopping = (self.last_row < 0) & ends
            for name, values in self.networks.weights().items():
                self.final[name][torch.from_numpy(stopping)] = values[torch.from_numpy(stopping)]
            self.last_row[stopping] = len(self.rows) - 1
            self.iteration = iteration
            done = bool((self.last_row >= 0).all())
            progress.report(iteration, row, done)
            if done:
                break
            yield
        self.networks.load_state_dict(self.final)
        self.scores = np.array([self.rows[row]["held_out_score"][network] for network, row in enumerate(self.last_row)])

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
            "batch_streams": [stream.get_state() for stream in self.batch_streams],
            "schedule": self.schedule.state_dict() if self.schedule else {},
            "in_a_row": torch.from_numpy(self.in_a_row),
            **self.record(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of an attempt at the same networks."""
        self.iteration, self.final = state["iteration"], state["final"]
        self.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_sizes.load_state_dict(state["step_sizes"])
        for name in ("noise_streams", "batch_streams"):
            for stream, values in zip(getattr(self, name), state[name], strict=True):
                stream.set_state(values)
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])
        self.in_a_row, self.last_row = state["in_a_row"].numpy(), state["last_row"].numpy()
        self.rows = [{name: values.numpy() for name, values in row.items()} for row in state["rows"]]

    def _step(self, iteration: int) -> dict[str, Tensor]:
        """One iteration on a minibatch; returns what the history keeps of it, each (network, ...)."""
        settings = self.recipe.training
        trials = torch.stack(
            [torch.randperm(self.n_train, generator=g)[: settings.batch_size] for g in self.batch_streams]
        ).to(self.device)
        inputs, targets, mask = self._trials(trials)
        noise = self.networks.draw_noise(inputs.shape[1], settings.batch_size, self.noise_streams, self.workspace)
        outputs, sampled = self.networks.outputs(inputs, noise, self._every(), self.workspace)
        loss = task_loss(outputs, targets, mask, self.variance)
        record = {"task_loss": loss.detach()}
        if self.schedule is not None:
            multipliers = self.schedule.multipliers((iteration - 1) / settings.iterations)
            penalty = self._penalty(sampled, trials)
            self.schedule.update(record["task_loss"], penalty.detach())
            record |= {"penalty": penalty.detach(), "multiplier": multipliers}
            loss = loss + (multipliers * penalty).sum(1)
        if not torch.isfinite(loss).all():
            bad = int((~torch.isfinite(loss)).nonzero()[0])
            raise TrainingError(
                f"{_joined(self.names[bad][:-1])}: the loss is not finite at iteration {iteration}; lower "
                f"training.step_size ({settings.step_size}) or training.gradient_clip ({settings.gradient_clip})"
            )
        self.optimiser.zero_grad()
        loss.sum().backward()
        record["gradient_norm"] = _clip(list(self.networks.parameters()), settings.gradient_clip)
        self.optimiser.step()
        return record

    @torch.no_grad()
    def _evaluate(self, iteration: int) -> dict[str, np.ndarray]:
        """Task loss, score and S on the held-out trials, noise-free, each (network, ...)."""
        inputs, targets, mask = self._trials(self.held_out)
        outputs, sampled = self.networks.outputs(inputs, every=self._every(), workspace=self.evaluation_workspace)
        row = {
            "iteration": np.array(iteration),
            "held_out_loss": task_loss(outputs, targets, mask, self.variance).cpu().numpy(),
            "held_out_score": self.task.score(self.held_out_trials, outputs.transpose(1, 2).cpu().numpy()),
        }
        if self.schedule is not None:
            row["held_out_penalty"] = self._penalty(sampled, self.held_out).cpu().numpy()
        return row

    def _before_training(self) -> dict[str, np.ndarray]:
        """What is averaged over iterations in later rows of the history, and is empty in the first."""
        count = len(self.names)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("task_loss", "gradient_norm", "step_size"), (count,))
        if self.earlier is not None:
            shapes |= dict.fromkeys(("penalty", "multiplier"), (count, self.earlier.membership.shape[1]))
        return {name: np.full(shape, math.nan) for name, shape in shapes.items()}

    def _good_enough(self, row: dict[str, np.ndarray]) -> np.ndarray:
        """Which networks meet every bound: the task's criterion, its loss, and S towards each earlier round."""
        good = np.array([self.task.solved(score) for score in row["held_out_score"]])
        good &= row["held_out_loss"] <= self.recipe.training.loss_bound
        if self.schedule is not None:
            good &= (row["held_out_penalty"] <= self.recipe.deflation.bound).all(1)
        return good

    def _every(self) -> int | None:
        """Every how many time steps the penalty is computed on; None where there is none."""
        return self.earlier.time_stride if self.earlier else None

    def _penalty(
        self, sampled: Float[Tensor, "network sampled_time trial unit"] | None, trials: Int[Tensor, "network trial"]
    ) -> Float[Tensor, "network earlier"]:
        """S towards each earlier round of the rates sampled on those trials of the bank."""
        assert self.earlier is not None and sampled is not None
        components = self.earlier.components
        networks, bank_trials = components.shape[:2]
        of_network = bank_trials * torch.arange(networks, device=self.device)[:, None]
        stored = minibatch(components.flatten(0, 1), of_network + trials)
        return deflation_penalty(
            sampled.flatten(1, 2),
            self.networks.output_weights,
            stored.flatten(1, 2),
            self.earlier.membership,
            self.recipe.deflation.ridge,
        )

    def _trials(self, trials: Int[Tensor, "network trial"]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and mask of each network's own trials, (network, time, trial, ...)."""
        inputs, targets, mask = (
            minibatch(part.transpose(0, 1), trials) for part in (self.bank.inputs, self.bank.targets, self.bank.mask)
        )
        return inputs, targets, mask

    def _streams(self, purpose: str, device: torch.device = CPU) -> list[torch.Generator]:
        """A random stream per network for one purpose, from the network's name and attempt alone."""
        return [torch.Generator(device).manual_seed(random_seed(*name, purpose)) for name in self.names]


class _Progress:
    """Counts iterations, with a line in the log every few seconds and, if wanted, a bar."""

    EVERY_SECONDS = 5.0

    def __init__(self, finished: int, iterations: int, bar: bool):
        self.finished, self.iterations = finished, iterations
        self.bar = tqdm(initial=finished, total=iterations, disable=not bar, unit="it")
        self.started = self.last_line = time.monotonic()

    def __iter__(self) -> Iterator[int]:
        with self.bar:
            for iteration in range(self.finished + 1, self.iterations + 1):
                self.bar.update()
                yield iteration

    def report(self, iteration: int, row: dict[str, np.ndarray], done: bool) -> None:
        """Say how far training is, from the latest evaluation (means over the networks)."""
        state = f"task loss {row['held_out_loss'].mean():.3f}, score {row['held_out_score'].mean():.3f}"
        if "multiplier" in row:
            penalties, multipliers = (row[name].mean(0).round(3) for name in ("held_out_penalty", "multiplier"))
            state += f", S {penalties}, multiplier {multipliers}"
        self.bar.set_postfix_str(state)
        now = time.monotonic()
        if done or now - self.last_line >= self.EVERY_SECONDS:
            self.last_line = now
            rate = (iteration - self.finished) / (now - self.started)
            log.info(
                f"iteration {iteration}/{self.iterations}: {state}, {rate:.1f} it/s, "
                + ("done" if done else f"{(self.iterations - iteration) / rate:.0f} s left at most")
            )


def _history(record: dict[str, Any], count: int) -> xr.Dataset:
    """The evaluations of an attempt as a dataset over all `count` networks of the round; empty after each network's
    last one, and for networks that the attempt had not.
    """
    rows, last_row = record["rows"], record["last_row"].numpy()
    history = xr.Dataset(coords={"iteration": [int(row["iteration"]) for row in rows], "seed": record["networks"]})
    alive = xr.DataArray(np.arange(len(rows)) <= last_row[:, None], dims=("seed", "iteration"))
    for name in (name for name in rows[0] if name != "iteration"):
        values = np.stack([row[name].numpy() for row in rows], axis=1)
        history[name] = (("seed", "iteration", "earlier")[: values.ndim], values.astype(np.float32))
    return history.where(alive).transpose("seed", "iteration", ...).reindex(seed=range(count))


def _made_from(
    task: Task,
    bank: xr.Dataset,
    recipe: Recipe,
    names: Sequence[NetworkName],
    earlier: Earlier | None,
    device: torch.device,
) -> str:
    """Digest of everything that the networks of a round depend on."""
    architecture = modules_fingerprint([module_of("network", recipe.network.architecture)])
    made_by = [code_fingerprint(__name__), architecture, task_fingerprint(type(task)), torch.__version__, device.type]
    parts = [repr(task), recipe.model_dump_json(), repr(list(names)), *made_by]
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(array_fingerprint(bank, ["inputs", "targets", "mask"]).encode())
    if earlier is not None:
        for tensor in (earlier.components, earlier.membership):
            digest.update(tensor.numpy().tobytes())
        digest.update(str(earlier.time_stride).encode())
    return digest.hexdigest()


def _means(records: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: torch.stack([record[name] for record in records]).mean(0).cpu().numpy() for name in records[0]}


def _better(task: Task, score: float, than: float) -> bool:
    """Whether a score beats another; anything beats one that is not a number."""
    return math.isnan(than) or bool(score > than if task.higher_is_better else score < than)


def _clip(parameters: list[Tensor], largest: float) -> Float[Tensor, "network"]:
    """Scale each network's gradient to a norm of at most `largest`; returns the norms before."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0).sqrt()
    scale = largest / norms.clamp(min=largest)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
    return norms


def _joined(name: NetworkName) -> str:
    return "/".join(map(str, name))
