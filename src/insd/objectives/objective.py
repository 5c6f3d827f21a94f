"""All terms of a round together: their values, weighed by their schedules, with the task loss."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insd.networks.base import Networks
from insd.objectives.base import Stored, make_terms
from insd.objectives.schedules import Share, make_schedule
from insd.objectives.settings.base import TermSettings

Rates = Float[Tensor, "network sampled_time trial unit"] | None
"""Rates at every `Objective.every`-th time step; None where there is no term."""


class Objective:
    """The terms that act on some networks in a round: those that compare with nothing, and those with what to compare.

    Parameters
    ----------
    settings : of the terms, by name.
    earlier : by the name of the term, what it reads of earlier rounds (`insd.objectives.base.join_earlier`).
    loss_bound : the task loss that the constrained schedule keeps to.
    networks : how many there are.
    valid : until when each trial of the bank lasts (`insd.bank.Bank`).
    """

    def __init__(
        self,
        settings: Mapping[str, TermSettings],
        earlier: Mapping[str, Stored],
        loss_bound: float,
        networks: int,
        device: torch.device,
        valid: Float[Tensor, "time trial"] | None = None,
    ):
        acting = {name: own for name, own in settings.items() if name in earlier or not own.compares}
        made = make_terms(acting)
        # What multiplies the task loss comes before what is added to it.
        self.terms = {name: made[name] for name in sorted(made, key=lambda name: not made[name].multiplies)}
        self.stored = {name: earlier.get(name, Stored()).to(device) for name in self.terms}
        self.schedules = {
            name: make_schedule(acting[name], loss_bound, networks, self.stored[name].earlier, device)
            for name in self.terms
        }
        self.networks, self.valid = networks, valid
        self.every = math.gcd(*(stored.every for stored in self.stored.values())) if acting else None
        self.capturable = all(term.capturable for term in self.terms.values())
        """Whether a GPU can run it as part of a CUDA graph."""

    def shares(self, progress: float) -> list[float]:
        """How much of the multipliers of each term counts at a share `progress` of the iterations."""
        return [schedule.share(progress) for schedule in self.schedules.values()]

    def weighed(
        self,
        loss: Float[Tensor, "network"],
        shares: Sequence[Share],
        finishing: Share | None,
        rates: Rates,
        networks: Networks,
        trials: Int[Tensor, "network trial"],
    ) -> tuple[Float[Tensor, "network"], dict[str, Tensor]]:
        """The task loss with all terms, with `shares` of their multipliers; and what the history keeps.

        `finishing` is 1 in the finishing phase (`Training.finishing`), in which a term's value counts from its bound on
        alone, and 0 before it; None without such a phase.
        """
        task_loss = loss.detach()
        record: dict[str, Tensor] = {}
        for (name, schedule), share in zip(self.schedules.items(), shares, strict=True):
            value = self._value(name, rates, networks, trials)
            multipliers = schedule.weigh(task_loss, value.detach(), share, 0.0 if finishing is None else finishing)
            record |= {
                self._variable("penalty", name): self._kept(name, value.detach()),
                self._variable("multiplier", name): self._kept(name, multipliers),
            }
            counted = value
            if finishing is not None:
                counted = value - finishing * value.clamp(max=self.terms[name].settings.bound)
            if self.terms[name].multiplies:
                product = (self.terms[name].factors(counted) ** multipliers).prod(1)
                # Of the product's size, which may be a hundred or a billion, neither the clip of gradients nor Adam's
                # memory of them is to depend.
                loss = loss * product / product.detach()
            else:
                loss = loss + (multipliers * counted).sum(1)
        return loss, record

    def values(
        self, rates: Rates, networks: Networks, trials: Int[Tensor, "network trial"]
    ) -> dict[str, Float[Tensor, "network earlier"]]:
        """The value of each term, by name, with its gradients."""
        return {name: self._value(name, rates, networks, trials) for name in self.terms}

    def held_out(self, rates: Rates, networks: Networks, trials: Int[Tensor, "network trial"]) -> dict[str, np.ndarray]:
        """The values of all terms, as the history keeps them."""
        return {
            self._variable("held_out_penalty", name): self._kept(name, value).cpu().numpy()
            for name, value in self.values(rates, networks, trials).items()
        }

    def before_training(self) -> dict[str, np.ndarray]:
        """What the first row of the history has in place of the records of iterations."""
        return {
            self._variable(quantity, name): np.full(
                (self.networks, stored.earlier) if self._compares(name) else self.networks, math.nan
            )
            for name, stored in self.stored.items()
            for quantity in ("penalty", "multiplier")
        }

    def within_bounds(self, row: Mapping[str, np.ndarray]) -> Bool[np.ndarray, "network"]:
        """Which networks have all held-out values of a row of the history within the terms' bounds."""
        good = np.ones(self.networks, dtype=bool)
        for name, term in self.terms.items():
            values = row[self._variable("held_out_penalty", name)].reshape(self.networks, -1)
            good &= (values <= term.settings.bound).all(1)
        return good

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the networks."""
        self.networks = len(rows)
        self.stored = {name: stored.select(rows) for name, stored in self.stored.items()}
        for schedule in self.schedules.values():
            schedule.keep(rows)

    def state_dict(self) -> dict[str, Any]:
        """What the schedules have learned, for a checkpoint."""
        return {name: schedule.state_dict() for name, schedule in self.schedules.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what those of the same settings have learned."""
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state[name])

    def _value(
        self, name: str, rates: Rates, networks: Networks, trials: Int[Tensor, "network trial"]
    ) -> Float[Tensor, "network earlier"]:
        assert rates is not None and self.every is not None
        stored = self.stored[name]
        stride = stored.every // self.every
        sampled = rates if stride == 1 else rates[:, ::stride]
        valid = None if self.valid is None else self.valid[:: stored.every, trials].transpose(0, 1)
        return self.terms[name].value(sampled, networks, stored, trials, valid)

    def _compares(self, name: str) -> bool:
        return self.terms[name].settings.compares

    def _kept(self, name: str, values: Float[Tensor, "network earlier"]) -> Tensor:
        """Values as the history keeps them: without the axis of earlier rounds where there are none."""
        return values if self._compares(name) else values[:, 0]

    def _variable(self, quantity: str, name: str) -> str:
        """The history's variable: with the name of the term, unless it is the only one and compares with others."""
        if len(self.terms) == 1 and self._compares(name):
            return quantity
        return f"{quantity}_{name.rpartition(':')[2]}"
