"""What noise, damage, kicks and a finer time step do to trained networks."""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from insd.bank import Bank
from insd.evaluation.blocks import BLOCKS
from insd.evaluation.conditions import PERTURBATIONS
from insd.evaluation.performance import Evaluated, about_score, chunked_outputs, evaluated, log_divergence
from insd.members import Member
from insd.networks.base import Flowing, Networks, made_of, simulated_as, stacked_weights
from insd.networks.engine.equilibrium import EquilibriumError
from insd.predictivity import null_projector_array
from insd.provenance import random_seed
from insd.samples import valid_steps
from insd.tasks import Task

logger = logging.getLogger(__name__)


def robustness(
    task: Task,
    name: str,
    members: Iterable[Member],
    trials: xr.Dataset,
    *,
    noise_levels: Sequence[float],
    jitter_levels: Sequence[float],
    silenced_shares: Sequence[float],
    kick_levels: Sequence[float],
    draws: int,
) -> xr.Dataset:
    """Loss and score of all networks of a task under perturbations, as `robustness.nc` has them.

    Random draws depend only on the names of the task and the network, and are the same at every level except for
    its size. Without perturbation networks run without noise.

    Parameters
    ----------
    name : the task's name.
    trials : the trials on which all networks are perturbed, about a hundred of the regime `test`.
    noise_levels : sigma_rec of the private noise of the dynamics (see `insd.networks`).
    jitter_levels : standard deviation of the noise added to each recurrent weight, over that of the network's own
        recurrent weights.
    silenced_shares : share of the units whose rate is 0 throughout.
    kick_levels : norm of a single kick of the state in a random direction, over the network's own root mean
        square norm of the state; see `kick_steps` for when.
    draws : draws of the jitter and of the silenced units.

    Returns
    -------
    `*_score` and `*_loss` of `noise` (network, noise_level), `jitter` (network, jitter_level, draw), `silence`
    (network, silenced_share, draw), `kick` (network, kick_level), `half_step` (network) and `unperturbed` (network);
    each on blocks of the trials in a variable of the same name with `_blocks` (`insd.evaluation.blocks.of_blocks`); and
    `kick_recovery` (network, kick_level, space, time_after): the distance of the rates to the unperturbed ones, all of
    it ("full") and in the null space of the readout ("null"), root mean square over trials, over that distance right
    after the kick. It is NaN after a kick of size 0. Perturbations that an architecture cannot have are NaN:
    kicks and half steps without a flow, half steps also where inputs act once a step, jitter and silence without
    weights from units to units, silence also where the readout is fixed. What a network that diverges has, says
    `insd.evaluation.performance.with_divergence`.
    """
    started = time.monotonic()
    labels, parts = [], []
    for member in members:
        assert member.network is not None
        label = member.label
        one = _Perturbations(task, member.network, trials, f"{name}/{label}")
        kicked, recovery = one.kick(kick_levels)
        results = {
            "unperturbed": one.unperturbed(),
            "noise": one.noise(noise_levels),
            "jitter": one.jitter(jitter_levels, draws),
            "silence": one.silence(silenced_shares, draws),
            "kick": kicked,
            "half_step": one.half_step(),
        }
        parts.append(_dataset(results, recovery, about_score(task)))
        diverging = [key for key, (loss, *_) in results.items() if np.isinf(loss).any()]
        names = {"unperturbed": "without perturbation", "half_step": "at half the time step", "kick": "after a kick"}
        log_divergence(label, [names.get(key, f"under {key}") for key in diverging])
        labels.append(label)
        logger.info("%s: perturbed after %.0f s", label, time.monotonic() - started)
    return xr.concat(parts, "network").assign_coords(
        network=labels,
        noise_level=list(noise_levels),
        jitter_level=list(jitter_levels),
        silenced_share=list(silenced_shares),
        kick_level=list(kick_levels),
        space=["full", "null"],
        time_after=("time_after", trials.attrs["dt"] * np.arange(parts[0].sizes["time_after"]), {"units": "s"}),
    )


def kick_steps(trials: xr.Dataset) -> Int[np.ndarray, "trial"]:
    """The time step of each trial at which the state is kicked.

    It is halfway between the start of the delay (`delay_time`; without it, that of the trial) and go (`go_time`;
    without it, the end of the trial). Trials in which such a time is NaN are without it.
    """
    without = {
        "delay_time": np.zeros(trials.sizes["trial"]),
        "go_time": valid_steps(trials).sum(1) * trials.attrs["dt"],
    }
    begin, end = (
        np.where(np.isnan(trials[name].values), other, trials[name].values) if name in trials else other
        for name, other in without.items()
    )
    return np.round((begin + end) / 2 / trials.attrs["dt"]).astype(int)


class _Perturbations:
    """One network under perturbations; each method returns losses and scores, with the levels and draws in front.

    Levels or draws run side by side along the network axis of the engine.
    """

    def __init__(self, task: Task, network: xr.Dataset, trials: xr.Dataset, name: str):
        self.task, self.trials, self.name = task, trials, name
        self.network, self.weights = network, stacked_weights([network])
        self.units = network.sizes["unit"]
        self.recurrent = simulated_as(network).recurrent_names()
        self.alpha = trials.attrs["dt"] / network.attrs["tau"]
        self.inputs = Bank.from_trials(trials).inputs

    def unperturbed(self) -> Evaluated:
        return _first(self._evaluate(self._networks(1)))

    def noise(self, levels: Sequence[float]) -> Evaluated:
        """Private noise in the dynamics, one draw that is scaled to each level."""
        unit = made_of(self.network, self.weights, self.alpha, recurrent_noise=1.0)
        times, trials, _ = self.inputs.shape
        drawn = unit.draw_noise(times, trials, [self._stream("noise")])
        assert drawn is not None
        return self._evaluate(self._networks(len(levels)), torch.tensor(levels)[:, None, None, None] * drawn)

    def jitter(self, levels: Sequence[float], draws: int) -> Evaluated:
        """Gaussian changes of the recurrent weights, and of no others: noise in the connectivity."""
        if not self.recurrent:
            return _missing(len(levels), draws)
        stream, drawn = self._stream("jitter"), {}
        for key in self.recurrent:
            weights = self.weights[key]
            drawn[key] = weights.std() * torch.randn(draws, *weights.shape[1:], generator=stream)
        results = []
        for level in levels:
            changed = {key: self.weights[key] + level * drawn[key] for key in drawn}
            try:
                results.append(self._evaluate(self._networks(draws, changed)))
            except EquilibriumError as error:
                raise EquilibriumError(
                    f"{self.name}: with weights jittered by {level:g} of their standard deviation, {error}; leave this "
                    "level out of analysis.robustness.jitter_levels"
                ) from None
        return _stacked(results)

    def silence(self, shares: Sequence[float], draws: int) -> Evaluated:
        """Units whose rate is 0 for all other units and for the readout."""
        # A readout that is fixed by the architecture goes on to see all units.
        if not self.recurrent or "output_weights" not in self.weights:
            return _missing(len(shares), draws)
        stream = self._stream("silence")
        orders = torch.stack([torch.randperm(self.units, generator=stream) for _ in range(draws)])
        results = []
        for share in shares:
            heard = torch.ones(draws, 1, self.units)
            heard.scatter_(2, orders[:, None, : round(share * self.units)], 0.0)
            changed = {}
            for key in (*self.recurrent, "output_weights"):
                weights = self.weights[key]
                changed[key] = weights * heard.view(draws, *[1] * (weights.ndim - 2), self.units)
            results.append(self._evaluate(self._networks(draws, changed)))
        return _stacked(results)

    def half_step(self) -> Evaluated:
        """The same time constant with twice as many steps: inputs are held for two of them, every second one counts."""
        runs = simulated_as(self.network)
        # Of some, inputs act once a step of the trials.
        if not issubclass(runs, Flowing) or not getattr(runs.Settings, "substeps", True):
            return _missing()
        networks = made_of(self.network, self.weights, self.alpha / 2)
        outputs = chunked_outputs(networks, self.inputs.repeat_interleave(2, dim=0))[:, :, 1::2]
        return _first(evaluated(self.task, outputs, self.trials))

    def kick(self, levels: Sequence[float]) -> tuple[Evaluated, Float[np.ndarray, "kick_level space time_after"]]:
        """A step added to the state once per trial; also the way back, as the distance to the unperturbed rates."""
        times, trials = self.inputs.shape[:2]
        steps = torch.from_numpy(kick_steps(self.trials))
        lasts = torch.from_numpy(valid_steps(self.trials))
        after = torch.arange(int((lasts.sum(1) - steps).min()))
        alone = self._networks(1)
        if not isinstance(alone, Flowing):
            return _missing(len(levels)), np.full((len(levels), 2, len(after)), np.nan)
        # The first of the networks is left alone.
        networks = self._networks(1 + len(levels))
        inputs = self.inputs.expand(1 + len(levels), -1, -1, -1)
        directions = torch.randn(trials, alone.initial_state.shape[1], generator=self._stream("kick"))
        directions /= directions.norm(dim=1, keepdim=True)
        with torch.no_grad():
            states = alone.simulate(inputs[:1], states=True)[1].double()
            sizes = torch.tensor([0.0, *levels]) * math.sqrt(float(states[0, lasts.T].square().sum(-1).mean()))
            kicks = torch.zeros(1 + len(levels), times, *directions.shape)
            kicks[:, steps, torch.arange(trials)] = sizes[:, None, None] * directions
            rates = networks(inputs, kicks)
            found = evaluated(self.task, networks.readout(rates).transpose(1, 2)[1:], self.trials)

        differences = (rates[1:] - rates[:1])[:, steps + after[:, None], torch.arange(trials)].double().numpy()
        projector = null_projector_array(self.network["output_weights"].values[0])
        distances = np.stack([_distance(differences), _distance(differences @ projector)], axis=1)
        # After a kick of size 0, or of a network that diverges.
        with np.errstate(invalid="ignore"):
            return found, distances / distances[..., :1]

    def _networks(self, copies: int, changed: Mapping[str, Tensor] | None = None) -> Networks:
        """Copies of the network side by side, with some weights (copy, ...) changed."""
        weights = {key: value.expand(copies, *value.shape[1:]) for key, value in self.weights.items()}
        return made_of(self.network, weights | dict(changed or {}), self.alpha)

    def _evaluate(self, networks: Networks, noise: Tensor | None = None) -> Evaluated:
        return evaluated(self.task, chunked_outputs(networks, self.inputs, noise), self.trials)

    def _stream(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(random_seed("robustness", self.name, purpose))


def _distance(
    differences: Float[np.ndarray, "kick_level time_after trial unit"],
) -> Float[np.ndarray, "kick_level time_after"]:
    """Root mean square norm over trials."""
    return np.sqrt(np.square(differences).sum(-1).mean(-1))


def _missing(*shape: int) -> Evaluated:
    """Losses and scores under a perturbation that the architecture cannot have."""
    alone, of_blocks = np.full(shape, np.nan), np.full((*shape, BLOCKS), np.nan)
    return alone, alone, of_blocks, of_blocks


def _first(found: Evaluated) -> Evaluated:
    """Losses and scores of the first network."""
    loss, score, loss_blocks, score_blocks = (np.asarray(values[0]) for values in found)
    return loss, score, loss_blocks, score_blocks


def _stacked(results: Iterable[Evaluated]) -> Evaluated:
    """Losses and scores of levels, stacked."""
    loss, score, loss_blocks, score_blocks = (np.stack(values) for values in zip(*results, strict=True))
    return loss, score, loss_blocks, score_blocks


def _dataset(results: Mapping[str, Evaluated], recovery: np.ndarray, about: Mapping[str, object]) -> xr.Dataset:
    """The results for one network."""
    variables: dict[str, tuple] = {"kick_recovery": (("kick_level", "space", "time_after"), recovery)}
    for key, (loss, score, loss_blocks, score_blocks) in results.items():
        dimensions = PERTURBATIONS[key]
        variables[f"{key}_loss"] = (dimensions, loss)
        variables[f"{key}_score"] = (dimensions, score, about)
        variables[f"{key}_loss_blocks"] = ((*dimensions, "block"), loss_blocks)
        variables[f"{key}_score_blocks"] = ((*dimensions, "block"), score_blocks)
    return xr.Dataset(variables)
