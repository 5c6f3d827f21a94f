"""How a term is weighed against the task during a round: one multiplier per network and earlier round."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from insd.devices import CPU
from insd.objectives.settings.base import TermSettings

try:
    from insd.objectives import moved
except ImportError:  # Triton is not installed
    moved = None  # type: ignore[assignment]

Share = float | Float[Tensor, ""]
"""What `Schedule.share` gives; as a tensor where a GPU repeats what it once did (`insd.captured`)."""


SMOOTHING = 0.95
"""How much of the smoothed task loss stays from one iteration to the next."""


class Schedule(ABC):
    """Sets the multipliers of an iteration, and adapts to its losses, in tensors that it changes in place."""

    @abstractmethod
    def share(self, progress: float) -> float:
        """How much of the multipliers counts at a share `progress` (0 to 1) of the iterations, from 0 to 1."""

    @abstractmethod
    def multipliers(self, share: Share, finishing: Share = 0.0) -> Float[Tensor, "network earlier"]:
        """Multipliers of which that share counts; `finishing` is 1 in the finishing phase, before it 0."""

    @abstractmethod
    def update(
        self,
        task_loss: Float[Tensor, "network"],
        value: Float[Tensor, "network earlier"],
        share: Share,
        finishing: Share = 0.0,
    ) -> None:
        """Take note of the task loss and the term's values in an iteration."""

    def weigh(
        self,
        task_loss: Float[Tensor, "network"],
        value: Float[Tensor, "network earlier"],
        share: Share,
        finishing: Share = 0.0,
    ) -> Float[Tensor, "network earlier"]:
        """The multipliers of an iteration with these losses, of which it then takes note."""
        multipliers = self.multipliers(share, finishing)
        self.update(task_loss, value, share, finishing)
        return multipliers

    @abstractmethod
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the networks."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Its state, for a checkpoint."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a schedule of the same settings has learned."""


class Constant(Schedule):
    """The paper's constant lambda (Qian & Pehlevan 2026), reached by a linear ramp after training on the task alone."""

    def __init__(self, settings: TermSettings, networks: int, earlier: int, device: torch.device):
        self.settings = settings
        self.weights = torch.full((networks, earlier), settings.multiplier, device=device)

    def share(self, progress: float) -> float:
        since = progress - self.settings.task_only
        return float(since >= 0) if self.settings.ramp == 0 else min(max(since / self.settings.ramp, 0.0), 1.0)

    def multipliers(self, share: Share, finishing: Share = 0.0) -> Float[Tensor, "network earlier"]:
        return self.weights * share

    def update(
        self,
        task_loss: Float[Tensor, "network"],
        value: Float[Tensor, "network earlier"],
        share: Share,
        finishing: Share = 0.0,
    ) -> None:
        pass

    def keep(self, rows: Sequence[int]) -> None:
        self.weights = self.weights[list(rows)]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Yielding(Constant):
    """A constant multiplier that counts only as far as the task affords it.

    Its share falls from 1 where the smoothed task loss is `training.loss_bound` to 0 at twice that, as in
    `Constrained`. Unlike there, nothing has to be gained back after a spike of the loss. It does not keep a task from
    being lost while the multiplier rises (docs/hard-regimes.md).
    """

    def __init__(self, settings: TermSettings, loss_bound: float, networks: int, earlier: int, device: torch.device):
        super().__init__(settings, networks, earlier, device)
        self.loss_bound = loss_bound
        self.loss = torch.ones(networks, device=device)

    def multipliers(self, share: Share, finishing: Share = 0.0) -> Float[Tensor, "network earlier"]:
        return super().multipliers(share) * _affordable(self.loss, self.loss_bound)

    def update(
        self,
        task_loss: Float[Tensor, "network"],
        value: Float[Tensor, "network earlier"],
        share: Share,
        finishing: Share = 0.0,
    ) -> None:
        self.loss.lerp_(task_loss, 1 - SMOOTHING)

    def keep(self, rows: Sequence[int]) -> None:
        super().keep(rows)
        self.loss = self.loss[list(rows)]

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loss.copy_(state["loss"])


class Constrained(Schedule):
    """One multiplier per earlier round, moved to bring each value to its bound while the task keeps to its own.

    After each iteration, with S_i the term's value for earlier round i and L the smoothed task loss,

        log mu_i += rate * clip((S_i - bound) / bound, -1, 1)   if L <= loss_bound,
        log mu_i -= rate                                        otherwise,

    within [`LEAST`, `multiplier_max`]. Gradient descent on the weights against ascent on the multipliers is the basic
    differential multiplier method (Platt & Barr 1987); steps in the logarithm, and a multiplier that moves only by
    whether a constraint is met, are those of GECO (Rezende & Viola 2018). That the task's bound comes first is ours:
    no earlier round is traded against another, and none against the task.

    The loss is weighed with mu_i times a share that falls from 1 at L = loss_bound to 0 at twice that: a network that
    begins to lose the task trains on it alone before it is lost for good (a soft form of the switching subgradient
    method, Polyak 1967).

    In the finishing phase, in which values count from their bounds on alone, mu_i does not fall where S_i is below its
    bound. The task still comes first: forced to its bounds, it lost the task where these cannot be reached.
    """

    LEAST = 0.03

    def __init__(self, settings: TermSettings, loss_bound: float, networks: int, earlier: int, device: torch.device):
        self.settings = settings
        self.loss_bound = loss_bound
        self.logarithms = torch.full((networks, earlier), math.log(settings.multiplier), device=device)
        self.loss = torch.ones(networks, device=device)

    def share(self, progress: float) -> float:
        return float(progress >= self.settings.task_only)

    def multipliers(self, share: Share, finishing: Share = 0.0) -> Float[Tensor, "network earlier"]:
        return self.logarithms.exp() * _affordable(self.loss, self.loss_bound) * share

    def update(
        self,
        task_loss: Float[Tensor, "network"],
        value: Float[Tensor, "network earlier"],
        share: Share,
        finishing: Share = 0.0,
    ) -> None:
        self.loss.lerp_(task_loss, 1 - SMOOTHING)
        bound, rate = self.settings.bound, self.settings.multiplier_rate
        direction = ((value.float() - bound) / bound).clamp(-1, 1)
        if isinstance(finishing, Tensor) or finishing:
            ending = torch.as_tensor(finishing, device=direction.device) > 0
            direction = torch.where(ending, direction.clamp(min=0), direction)
        direction = torch.where(self.loss[:, None] > self.loss_bound, -1.0, direction)
        least, most = math.log(self.LEAST), math.log(self.settings.multiplier_max)
        changed = torch.add(self.logarithms, direction, alpha=rate).clamp(least, most)
        started = torch.as_tensor(share, device=changed.device) > 0
        self.logarithms.copy_(torch.where(started, changed, self.logarithms))

    def weigh(
        self,
        task_loss: Float[Tensor, "network"],
        value: Float[Tensor, "network earlier"],
        share: Share,
        finishing: Share = 0.0,
    ) -> Float[Tensor, "network earlier"]:
        if moved is None or not self.logarithms.is_cuda or not isinstance(share, Tensor):
            return super().weigh(task_loss, value, share, finishing)
        own, ending = self.settings, finishing if isinstance(finishing, Tensor) else None
        return moved.move(
            *(self.logarithms, self.loss, task_loss, value, share, ending, SMOOTHING, self.loss_bound, own.bound),
            *(own.multiplier_rate, (math.log(self.LEAST), math.log(own.multiplier_max))),
        )

    def keep(self, rows: Sequence[int]) -> None:
        self.logarithms, self.loss = self.logarithms[list(rows)], self.loss[list(rows)]

    def state_dict(self) -> dict[str, Any]:
        return {"logarithms": self.logarithms, "loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.logarithms.copy_(state["logarithms"])
        self.loss.copy_(state["loss"])


def _affordable(loss: Float[Tensor, "network"], bound: float) -> Float[Tensor, "network one"]:
    """How much of the multipliers the task affords: all at its bound, none at twice that."""
    return (2 - loss / bound).clamp(0, 1)[:, None]


def make_schedule(
    settings: TermSettings, loss_bound: float, networks: int, earlier: int, device: torch.device = CPU
) -> Schedule:
    """The schedule that the settings name, for some networks with some earlier rounds that are trained on a device."""
    if settings.schedule == "constant":
        return Constant(settings, networks, earlier, device)
    if settings.schedule == "yielding":
        return Yielding(settings, loss_bound, networks, earlier, device)
    return Constrained(settings, loss_bound, networks, earlier, device)
