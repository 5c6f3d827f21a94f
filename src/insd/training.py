"""Training of one round: task loss plus the deflation penalty, many networks side by side."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from insd.datasets import WEIGHTS
from insd.errors import InsdError
from insd.multipliers import make_schedule
from insd.networks import RateRNN
from insd.predictivity import deflation_penalty
from insd.provenance import random_seed
from insd.settings import Recipe
from insd.tasks import Task

log = logging.getLogger(__name__)

NetworkName = tuple[str | int, ...]
"""(task, population, seed, round): names a network and seeds its random streams."""


class TrainingError(InsdError):
    """Training cannot go on; the message says which network and what to do."""


@dataclass(frozen=True)
class Earlier:
    """Null-space activity of the earlier rounds of each network on the training bank.

    components : (network, bank_time, bank_trial, component), the rounds side by side along `component`.
    membership : (component, earlier), 1 where a component belongs to an earlier round.
    time_steps : (bank_time,), the time steps of the bank that the activity was stored at.
    """

    components: Float[Tensor, "network bank_time bank_trial component"]
    membership: Float[Tensor, "component earlier"]
    time_steps: Int[Tensor, "bank_time"]

    def select(self, networks: Sequence[int]) -> "Earlier":
        """The earlier activity of some of the networks."""
        return Earlier(self.components[list(networks)], self.membership, self.time_steps)


@dataclass(frozen=True)
class Bank:
    """The trials that a round trains on, as tensors with time before trials (see `insd.bptt`)."""

    inputs: Float[Tensor, "time trial input"]
    targets: Float[Tensor, "time trial output"]
    mask: Float[Tensor, "time trial output"]

    @classmethod
    def from_trials(cls, trials: xr.Dataset) -> "Bank":
        """All trials of a dataset by the contract of trial files."""

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(trials[name].values).transpose(0, 1).contiguous()

        return cls(tensor("inputs"), tensor("targets"), tensor("mask"))


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

    Returns
    -------
    network, history : datasets by the contracts of `network.nc` and `history.nc`. The weights are those of the first
    attempt that solves the held-out trials, or of the best attempt if none does; `history` holds all attempts.

    Raises ValueError where the bank is too small, and TrainingError where a loss is not finite.

    Source: Qian & Pehlevan (2026): L_task + lambda * sum_i S(R_k_perp, R_i_perp).
    """
    count = len(names)
    weights: dict[str, Tensor] = {}
    histories = []
    best = np.full(count, math.nan)
    restarts = np.zeros(count, dtype=int)
    pending = list(range(count))
    for attempt in range(recipe.training.restarts + 1):
        streams = [(*names[i], attempt) for i in pending]
        run = _Attempt(task, bank, recipe, streams, earlier.select(pending) if earlier else None)
        histories.append(run.train(progress_bar).assign_coords(seed=pending).reindex(seed=range(count)))
        restarts[pending] = attempt
        for row, network in enumerate(pending):
            if _better(task, run.scores[row], best[network]):
                best[network] = run.scores[row]
                for name, values in run.networks.weights().items():
                    weights.setdefault(name, values.new_zeros(count, *values.shape[1:]))[network] = values[row]
        pending = [network for network in pending if not task.solved(best[network])]
        if not pending or recipe.training.iterations == 0:
            break
        log.warning(
            "attempt %d did not solve the held-out trials: %s", attempt, ", ".join(_joined(names[i]) for i in pending)
        )
    seeds = {"seed": [int(name[2]) for name in names]}
    trained = xr.Dataset(
        {name: (WEIGHTS[name], values.numpy()) for name, values in weights.items()} | {"restarts": ("seed", restarts)},
        coords=seeds | {"input": bank["input"], "output": bank["output"]},
        attrs={"dt": bank.attrs["dt"], "tau": recipe.network.tau, "nonlinearity": "tanh"},
    )
    return trained, xr.concat(histories, "attempt", join="outer").assign_coords(seeds)


class _Attempt:
    """One attempt at some networks, from fresh weights to the end of training; `scores` are the final held-out ones."""

    def __init__(
        self, task: Task, bank: xr.Dataset, recipe: Recipe, names: Sequence[NetworkName], earlier: Earlier | None
    ):
        settings = recipe.training
        self.task, self.recipe, self.names, self.earlier = task, recipe, names, earlier
        self.n_train = bank.sizes["trial"] - settings.validation_trials
        if self.n_train < settings.batch_size:
            raise ValueError(
                f"the bank has {bank.sizes['trial']} trials: too few for training.validation_trials = "
                f"{settings.validation_trials} and training.batch_size = {settings.batch_size}"
            )
        self.bank = Bank.from_trials(bank)
        self.held_out_trials = bank.isel(trial=slice(self.n_train, None))
        self.held_out = torch.arange(self.n_train, bank.sizes["trial"]).expand(len(names), -1)
        self.variance = target_variance(self.bank.targets, self.bank.mask)
        self.networks = RateRNN.initialise(
            recipe.network.units,
            bank.sizes["input"],
            bank.sizes["output"],
            recipe.network.gain,
            bank.attrs["dt"] / recipe.network.tau,
            recipe.network.recurrent_noise,
            self._streams("weights"),
        )
        self.noise_streams = self._streams("noise")
        self.batch_streams = self._streams("batches")
        self.schedule = None
        if earlier is not None:
            shape = (len(names), earlier.membership.shape[1])
            self.schedule = make_schedule(recipe.deflation, settings.loss_bound, *shape)

    def train(self, progress_bar: bool) -> xr.Dataset:
        """Train to the end, and keep each network as it was when it stopped; returns the history of this attempt."""
        settings = self.recipe.training
        optimiser = torch.optim.Adam(self.networks.parameters(), lr=settings.step_size)
        step_sizes = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.step_size, max(settings.iterations, 1), pct_start=0.1, cycle_momentum=False
        )
        rows = [self._evaluate(0) | self._before_training()]
        final = self.networks.weights()
        last_row = np.full(len(self.names), 0 if settings.iterations == 0 else -1)
        in_a_row = np.zeros(len(self.names), dtype=int)
        progress = _Progress(settings.iterations, progress_bar)
        since_evaluation: list[dict[str, Tensor]] = []
        for iteration in progress:
            step_size = step_sizes.get_last_lr()[0]
            since_evaluation.append(self._step(iteration, optimiser))
            step_sizes.step()
            if iteration % settings.evaluate_every and iteration < settings.iterations:
                continue
            row = self._evaluate(iteration) | _means(since_evaluation)
            row["step_size"] = np.full(len(self.names), step_size)
            since_evaluation = []
            rows.append(row)
            in_a_row = np.where(self._good_enough(row), in_a_row + 1, 0)
            ends = (in_a_row >= settings.patience) | (iteration == settings.iterations)
            stopping = (last_row < 0) & ends
            for name, values in self.networks.weights().items():
                final[name][stopping] = values[stopping]
            last_row[stopping] = len(rows) - 1
            done = bool((last_row >= 0).all())
            progress.report(iteration, row, done)
            if done:
                break
        self.networks.load_state_dict(final)
        self.scores = np.array([rows[row]["held_out_score"][network] for network, row in enumerate(last_row)])
        return _history(rows, last_row)

    def _step(self, iteration: int, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
        """One iteration on a minibatch; returns what the history keeps of it, each (network, ...)."""
        settings = self.recipe.training
        trials = torch.stack(
            [torch.randperm(self.n_train, generator=g)[: settings.batch_size] for g in self.batch_streams]
        )
        inputs, targets, mask = self._trials(trials)
        rates = self.networks(
            inputs, self.networks.draw_noise(inputs.shape[1], settings.batch_size, self.noise_streams)
        )
        loss = task_loss(self.networks.readout(rates), targets, mask, self.variance)
        record = {"task_loss": loss.detach()}
        if self.schedule is not None:
            multipliers = self.schedule.multipliers((iteration - 1) / settings.iterations)
            penalty = self._penalty(rates, trials)
            self.schedule.update(record["task_loss"], penalty.detach())
            record |= {"penalty": penalty.detach(), "multiplier": multipliers}
            loss = loss + (multipliers * penalty).sum(1)
        if not torch.isfinite(loss).all():
            bad = int((~torch.isfinite(loss)).nonzero()[0])
            raise TrainingError(
                f"{_joined(self.names[bad][:-1])}: the loss is not finite at iteration {iteration}; lower "
                f"training.step_size ({settings.step_size}) or training.gradient_clip ({settings.gradient_clip})"
            )
        optimiser.zero_grad()
        loss.sum().backward()
        record["gradient_norm"] = _clip(list(self.networks.parameters()), settings.gradient_clip)
        optimiser.step()
        return record

    @torch.no_grad()
    def _evaluate(self, iteration: int) -> dict[str, np.ndarray]:
        """Task loss, score and S on the held-out trials, noise-free, each (network, ...)."""
        inputs, targets, mask = self._trials(self.held_out)
        rates = self.networks(inputs)
        outputs = self.networks.readout(rates)
        row = {
            "iteration": np.array(iteration),
            "held_out_loss": task_loss(outputs, targets, mask, self.variance).numpy(),
            "held_out_score": self.task.score(self.held_out_trials, outputs.transpose(1, 2).numpy()),
        }
        if self.schedule is not None:
            row["held_out_penalty"] = self._penalty(rates, self.held_out).numpy()
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

    def _penalty(
        self, rates: Float[Tensor, "network time trial unit"], trials: Int[Tensor, "network trial"]
    ) -> Float[Tensor, "network earlier"]:
        """S towards each earlier round of rates on those trials of the bank."""
        assert self.earlier is not None
        stored = [part[:, chosen] for part, chosen in zip(self.earlier.components, trials, strict=True)]
        return deflation_penalty(
            rates[:, self.earlier.time_steps].flatten(1, 2),
            self.networks.output_weights,
            torch.stack(stored).flatten(1, 2),
            self.earlier.membership,
            self.recipe.deflation.ridge,
        )

    def _trials(self, trials: Int[Tensor, "network trial"]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and mask of each network's own trials, (network, time, trial, ...)."""
        parts = (self.bank.inputs, self.bank.targets, self.bank.mask)
        inputs, targets, mask = (torch.stack([part[:, chosen] for chosen in trials]) for part in parts)
        return inputs, targets, mask

    def _streams(self, purpose: str) -> list[torch.Generator]:
        """A random stream per network for one purpose, from the network's name and attempt alone."""
        return [torch.Generator().manual_seed(random_seed(*name, purpose)) for name in self.names]


class _Progress:
    """Counts iterations, with a line in the log every few seconds and, if wanted, a bar."""

    EVERY_SECONDS = 5.0

    def __init__(self, iterations: int, bar: bool):
        self.iterations = iterations
        self.bar = tqdm(total=iterations, disable=not bar, unit="it")
        self.started = self.last_line = time.monotonic()

    def __iter__(self) -> Iterator[int]:
        with self.bar:
            for iteration in range(1, self.iterations + 1):
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
            rate = iteration / (now - self.started)
            log.info(
                f"iteration {iteration}/{self.iterations}: {state}, {rate:.1f} it/s, "
                + ("done" if done else f"{(self.iterations - iteration) / rate:.0f} s left at most")
            )


def _history(rows: list[dict[str, np.ndarray]], last_row: np.ndarray) -> xr.Dataset:
    """The evaluations of an attempt as a dataset, empty after each network's last one."""
    history = xr.Dataset(coords={"iteration": [int(row["iteration"]) for row in rows], "seed": range(len(last_row))})
    alive = xr.DataArray(np.arange(len(rows)) <= last_row[:, None], dims=("seed", "iteration"))
    for name in (name for name in rows[0] if name != "iteration"):
        values = np.stack([row[name] for row in rows], axis=1)
        history[name] = (("seed", "iteration", "earlier")[: values.ndim], values.astype(np.float32))
    return history.where(alive).transpose("seed", "iteration", ...)


def _means(records: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: torch.stack([record[name] for record in records]).mean(0).numpy() for name in records[0]}


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
