"""Walks from trained networks along directions in which a loss stays as it is, to other solutions of the same task.

Hessian null-space continuation (HNC, arXiv 2609.38081), with its solvers and the rule for the length of steps ours. One
step: the Gauss-Newton matrix G of the loss that is kept, on some trials; a direction, which is a random vector or the
way down of the terms of the objective, less what G resists of it, ``(I + G / mu)^-1 v`` with mu a small share of G's
largest eigenvalue; a step of some length in it; and damped Gauss-Newton steps down the loss where it has risen too far.
A step that ends above the ceiling is taken back and tried again at half its length.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.bank import Bank, minibatch
from insd.checkpoints import Checkpoint
from insd.datasets import architecture_of
from insd.devices import CPU
from insd.errors import InsdError
from insd.gauss_newton import GaussNewton, Vector, as_trained, flattened, set_weights, weights_of
from insd.makers.base import NetworkName
from insd.networks.base import Networks
from insd.objectives.base import Stored
from insd.objectives.objective import Objective
from insd.progress import Progress
from insd.provenance import array_fingerprint, random_seed
from insd.rounds import made_from, network_dataset
from insd.settings.recipe import Recipe
from insd.tasks.base import Task, target_variance

log = logging.getLogger(__name__)

TRIES = 4
"""Lengths that are tried in one direction, each half the one before."""
GROWTH = 1.25
"""By how much the length of steps grows again after one that was accepted at once, up to the setting."""
INERTIA = 0.8
"""Share of the earlier ways down that is kept in that of a step: without it, steps across narrow valleys go to and
fro."""
DAMPING = 1e-3
"""Of restoring steps, as a share of the largest eigenvalue of G: flat directions are left alone."""
RESTORING_ITERATIONS = 20
"""Most conjugate-gradient iterations of a restoring step."""
CHUNK = 512
"""Trials simulated at once, which bounds memory."""


class WalkError(InsdError):
    """A walk cannot begin; the message names the network and the remedy."""


class Walk:
    """The walk of one network from its anchor.

    Parameters
    ----------
    task, bank, recipe, name : as for `insd.training.train_round`; of `recipe.training`, a walk uses `batch_size`, the
        number of trials that each G is of, `validation_trials`, and `loss_bound`, which is its ceiling.
    settings : those of the maker (`insd.makers.walk.WalkSettings`).
    networks : the anchor alone; it is moved.
    earlier : what the terms read of this network's earlier rounds.

    Raises WalkError if the anchor is above the ceiling, or nothing steers a walk that is steered.
    """

    def __init__(
        self,
        task: Task,
        bank: xr.Dataset,
        recipe: Recipe,
        settings: Any,
        name: NetworkName,
        networks: Networks,
        earlier: Mapping[str, Stored],
    ):
        self.task, self.settings, self.name, self.networks = task, settings, name, networks
        self.training, self.terms = recipe.training, recipe.terms
        count = bank.sizes["trial"] - self.training.validation_trials
        self.n_walked = count
        self.bank = Bank.from_trials(bank)
        self.held_out_trials = bank.isel(trial=slice(count, None))
        self.held_out = torch.arange(count, bank.sizes["trial"])[None]
        free = task.free_running(self.held_out_trials)
        self.free_running = None if free is self.held_out_trials else Bank.from_trials(free)
        self.variance = target_variance(self.bank.targets, self.bank.mask)
        self.objective = Objective(recipe.terms, earlier, self.training.loss_bound, 1, CPU, self.bank.valid)
        if settings.steered and not self.objective.terms:
            raise WalkError(f"{self._label}: walk.steered = true, and the recipe has no terms; give it one")
        # To keep the function is to keep the anchor's outputs.
        self.targets = self.bank.targets if settings.keeps == "task" else self._anchor_outputs()
        self.anchor = weights_of(networks)
        self.longest = settings.step * float(np.linalg.norm(self.anchor))
        self.length, self.step = self.longest, 0
        self.largest: Vector | None = None
        self.downhill = np.zeros(len(self.anchor))
        stream = np.random.default_rng(random_seed(*name, "direction"))
        self.wandering = stream.standard_normal(len(self.anchor))
        first = self._evaluate(math.nan)
        self.ceiling, at_anchor = self.training.loss_bound, float(first["kept_loss"][0])
        if not at_anchor <= self.ceiling:
            raise WalkError(
                f"{self._label}: the held-out loss of its anchor is {at_anchor:.3g}, above the ceiling of the walk, "
                f"training.loss_bound = {self.ceiling:g}; give this population a higher one, or train the anchor longer"
            )
        self.enough = (at_anchor + self.ceiling) / 2
        self.rows = [first | self._tried(math.nan, math.nan, [[at_anchor]])]

    def walk(self, progress_bar: bool) -> Iterator[None]:
        """Take the steps that are left; stops for the caller after each, where the state can be saved."""
        progress = Progress(self.step, self.settings.steps, progress_bar)
        for step in progress:
            self.rows.append(self._take(step))
            self.step = step
            progress.report(step, self.rows[-1], step == self.settings.steps)
            yield

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the walk depends on."""
        return {
            "step": self.step,
            "length": self.length,
            "weights": torch.from_numpy(weights_of(self.networks)),
            "downhill": torch.from_numpy(self.downhill),
            "largest": None if self.largest is None else torch.from_numpy(self.largest),
            "rows": self.record(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of the same walk."""
        self.step, self.length = state["step"], state["length"]
        set_weights(self.networks, state["weights"].numpy())
        self.downhill = state["downhill"].numpy()
        self.largest = None if state["largest"] is None else state["largest"].numpy()
        self.rows = [{name: values.numpy() for name, values in row.items()} for row in state["rows"]]

    def record(self) -> list[dict[str, Tensor]]:
        """The rows of the history so far."""
        return [{name: torch.from_numpy(values) for name, values in row.items()} for row in self.rows]

    def _take(self, step: int) -> dict[str, np.ndarray]:
        """One step, which is accepted or not; the row of the history after it."""
        before = weights_of(self.networks)
        trials = self._draw("trials", step)
        system = self._system(trials)
        scale = self._scale(system)
        towards, norm = self.wandering, math.nan
        # Where terms compare with the anchor, no way leads down from there: the first step is a random one.
        compares = any(own.compares for own in self.terms.values())
        if self.settings.steered and not (compares and step == 1):
            gradient = self._gradient(trials)
            norm = float(np.linalg.norm(gradient))
            # One gradient that is 0 or not finite must not be kept as inertia: no later step could be accepted.
            if 0 < norm < math.inf:
                self.downhill = INERTIA * self.downhill - gradient / norm
            if self.downhill.any():
                towards = self.downhill
        direction = system.flat_part(towards, self.settings.flatness * scale, self.settings.iterations)
        direction /= np.linalg.norm(direction)
        losses: list[list[float]] = []
        accepted = 0.0
        for number in range(TRIES):
            set_weights(self.networks, before + self.length * direction)
            losses.append(self._restored(step, number, scale))
            if losses[-1][-1] <= self.ceiling:
                accepted = self.length
                break
            self.length /= 2
        else:
            set_weights(self.networks, before)
        if len(losses) == 1:
            self.length = min(GROWTH * self.length, self.longest)
        return self._evaluate(accepted) | self._tried(system.value, norm, losses)

    def _restored(self, step: int, number: int, scale: float) -> list[float]:
        """The kept loss after a step, and after each restoring step that is taken until it is low enough."""
        losses = [self._kept_loss()]
        while losses[-1] > self.enough and len(losses) <= self.settings.restoring:
            system = self._system(self._draw("restoring", step, number, len(losses)))
            change = system.step_down(DAMPING * scale, RESTORING_ITERATIONS)
            set_weights(self.networks, weights_of(self.networks) + change)
            losses.append(self._kept_loss())
        return losses

    def _scale(self, system: GaussNewton) -> float:
        """The largest eigenvalue of G, which one power iteration per step follows from the first step's."""
        if self.largest is None:
            value, self.largest = system.largest()
            return value
        product = system.product(self.largest)
        value = float(np.linalg.norm(product))
        self.largest = product / value
        return value

    def _system(self, trials: Int[Tensor, "1 trial"]) -> GaussNewton:
        """G of the loss that is kept, where the network is, on some trials."""
        inputs, targets, mask = (self._of(trials, part) for part in (self.bank.inputs, self.targets, self.bank.mask))
        return GaussNewton(self.networks, inputs, lambda made: self.task.loss(made, targets, mask, self.variance)[0])

    def _gradient(self, trials: Int[Tensor, "1 trial"]) -> Vector:
        """The gradient of the terms, each times its multiplier, added up over earlier rounds."""
        parameters = list(self.networks.parameters())
        rates = self.networks(self._of(trials, self.bank.inputs))[:, :: self.objective.every]
        found = self.objective.values(rates, self.networks, trials)
        values = [self.terms[name].multiplier * value.sum() for name, value in found.items()]
        parts = torch.autograd.grad(torch.stack(values).sum(), parameters, allow_unused=True, materialize_grads=True)
        return flattened(parts)

    @torch.no_grad()
    def _kept_loss(self) -> float:
        """The loss that is kept, on the held-out trials, noise-free."""
        outputs, _ = self._simulated(self.held_out)
        return float(self._loss(outputs, self.targets)[0])

    def _loss(self, outputs: Float[Tensor, "1 time trial output"], targets: Tensor) -> np.ndarray:
        targets, mask = (self._of(self.held_out, part) for part in (targets, self.bank.mask))
        return self.task.loss(outputs, targets, mask, self.variance).numpy()

    @torch.no_grad()
    def _evaluate(self, accepted: float) -> dict[str, np.ndarray]:
        """What the history keeps of the network as it is: losses, score and terms on the held-out trials."""
        outputs, rates = self._simulated(self.held_out)
        away = np.linalg.norm(weights_of(self.networks) - self.anchor) / np.linalg.norm(self.anchor)
        scored = (
            outputs if self.free_running is None else self.networks.outputs(self.free_running.inputs[None], None)[0]
        )
        return {
            "held_out_loss": self._loss(outputs, self.bank.targets),
            "held_out_score": self.task.score(self.held_out_trials, scored.transpose(1, 2).numpy()),
            "kept_loss": self._loss(outputs, self.targets),
            "step_size": np.array([accepted]),
            "distance": np.array([away]),
            **self.objective.held_out(rates, self.networks, self.held_out),
        }

    def _tried(self, loss: float, norm: float, losses: Sequence[Sequence[float]]) -> dict[str, np.ndarray]:
        """What the history keeps of a step: the loss on its trials before it, the norm of the gradient of the terms,
        and the kept loss after each try of the step and each of its restoring steps.
        """
        restored = np.full((1, TRIES, self.settings.restoring + 1), math.nan)
        for number, of_try in enumerate(losses):
            restored[0, number, : len(of_try)] = [one if math.isfinite(one) else math.inf for one in of_try]
        return {
            "task_loss": np.array([loss]),
            "gradient_norm": np.array([norm]),
            "restored_loss": restored,
            "excursion": np.array([np.nanmax(restored)]),
        }

    def _draw(self, *purpose: str | int) -> Int[Tensor, "1 trial"]:
        """Trials of the bank, other than the held-out ones, from a stream of their own."""
        stream = np.random.default_rng(random_seed(*self.name, *purpose))
        return torch.from_numpy(stream.choice(self.n_walked, self.training.batch_size, replace=False))[None]

    def _simulated(self, trials: Int[Tensor, "1 trial"]) -> tuple[Tensor, Tensor | None]:
        """Outputs on some trials, and rates at the times that the terms need."""
        return self.networks.outputs(self._of(trials, self.bank.inputs), None, self.objective.every)

    @torch.no_grad()
    def _anchor_outputs(self) -> Float[Tensor, "time trial output"]:
        every = torch.arange(self.bank.inputs.shape[1])[None]
        return torch.cat([self._simulated(part)[0][0] for part in every.split(CHUNK, 1)], 1)

    def _of(
        self, chosen: Int[Tensor, "1 chosen"], part: Float[Tensor, "time trial _"]
    ) -> Float[Tensor, "1 time chosen _"]:
        """A part of the bank at some trials."""
        return minibatch(part.transpose(0, 1), chosen)

    @property
    def _label(self) -> str:
        return "/".join(map(str, self.name))


def walk_round(
    task: Task,
    bank: xr.Dataset,
    recipe: Recipe,
    settings: Any,
    names: Sequence[NetworkName],
    anchors: xr.Dataset,
    earlier: Mapping[str, Stored],
    progress_bar: bool = False,
    checkpoint: Path | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Walk from several networks, one after the other.

    Parameters
    ----------
    task, bank, recipe, settings : see `Walk`.
    names : one per network, (task, population, seed, round); every random stream derives from it alone.
    anchors : the networks to begin at, by the contract of `network.nc`, in the same order.
    earlier : by the name of the term, what it reads of the earlier rounds on the same bank.
    progress_bar : show a bar in the terminal; progress lines are always written to the log.
    checkpoint : file that keeps the state every few minutes, from which an interrupted call with equal arguments goes
        on, to the same result.

    Returns
    -------
    network, history : datasets by the contracts of `network.nc` and `history.nc`. One iteration of the history is one
    step. `restored_loss` (attempt, seed, iteration, try, restoring) is the kept loss after each try of a step (0) and
    each restoring step (1, 2, ...), `excursion` the largest of them, `ceiling` (seed) what no accepted step is above,
    and `distance` that of the weights from the anchor's, as a share of their norm.

    Raises WalkError if an anchor is above the ceiling, or nothing steers a walk that is steered.
    """
    kept = None
    if checkpoint is not None:
        own = settings.model_dump_json(), array_fingerprint(anchors, sorted(map(str, anchors.data_vars)))
        digest = made_from(__name__, architecture_of(anchors), task, bank, recipe, names, earlier, *own)
        kept = Checkpoint(checkpoint, digest)
    state: dict[str, Any] = (kept.load() if kept else None) or {"finished": []}
    for row in range(len(state["finished"]), len(names)):
        networks = as_trained(anchors.isel(seed=[row]), bank.attrs["dt"])
        chosen = {term: stored.select([row]) for term, stored in earlier.items()}
        run = Walk(task, bank, recipe, settings, names[row], networks, chosen)
        if "run" in state:
            run.load_state_dict(state.pop("run"))
            log.info("resumed from step %d of %s", run.step, run._label)
        for _ in run.walk(progress_bar):
            if kept and kept.due():
                kept.save({**state, "run": run.state_dict()})
        state["finished"].append({"weights": networks.weights(), "rows": run.record()})
    weights = {
        name: torch.cat([end["weights"][name] for end in state["finished"]]) for name in networks.parameter_names()
    }
    history = _history([end["rows"] for end in state["finished"]])
    last = history.isel(attempt=0, iteration=-1)
    variables = {
        "restarts": ("seed", np.zeros(len(names), int)),
        "iterations": ("seed", np.full(len(names), settings.steps)),
        "largest_excursion": ("seed", history["excursion"].max(("attempt", "iteration")).values),
    }
    penalties = {
        name: (last[name].dims, last[name].values) for name in last if str(name).startswith("held_out_penalty")
    }
    made = network_dataset(networks, weights, variables | penalties, names, bank, anchors.attrs["tau"])
    history = history.assign_coords(seed=made["seed"])
    history["ceiling"] = ("seed", np.full(len(names), recipe.training.loss_bound))
    return made, history


def _history(walks: Sequence[Sequence[Mapping[str, Tensor]]]) -> xr.Dataset:
    """The rows of some walks, one after the other along `seed`, as a dataset of one attempt."""
    history = xr.Dataset(coords={"iteration": range(len(walks[0]))})
    for name in walks[0][0]:
        values = torch.stack([torch.cat([row[name] for row in rows]) for rows in walks]).numpy().astype(np.float32)
        more = {"restored_loss": ("try", "restoring")}.get(name, ("earlier",))
        dimensions = ("attempt", "seed", "iteration", *more)[: values.ndim + 1]
        history[name] = (dimensions, values[None])
    return history
