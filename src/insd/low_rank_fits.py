"""Stochastic low-rank networks fitted to activity, as networks of a round: what they are fitted to, and their files.

Source: Pals et al. (2024), "Inferring stochastic low-rank recurrent neural networks from neural data". That readouts
begin along principal components is ours.
"""

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.activity import CHUNK, free_running_score, loss_and_score, simulate_trials
from insd.bank import Bank
from insd.checkpoints import Checkpoint
from insd.dynamics.sequential_monte_carlo import Encoder, Fit, FitSettings, log_mean_weights
from insd.dynamics.stochastic_low_rank import StochasticLowRank, inverse_softplus, network_weights
from insd.errors import InsdError
from insd.makers.base import NetworkName
from insd.networks.base import made_of, stacked_weights
from insd.networks.stochastic_low_rank import StochasticLowRankRNN
from insd.progress import Progress
from insd.provenance import random_seed
from insd.rounds import made_from, network_dataset
from insd.samples import valid_steps
from insd.settings.recipe import Recipe
from insd.tasks.base import Task

log = logging.getLogger(__name__)

LEAD = 2
"""Steps before the first observation: so rates depend on the input of their own time, as those of all networks do."""

LEAST_NOISE = 1e-2
"""Standard deviation of the noise of latent variables before fitting, at least; that of latent variables is 1."""


SMOOTHING = 2
"""Steps before and after over which counts are averaged for the start of a fit."""
FEWEST = 0.02
"""Of these averages, the smallest that counts."""
COUNTED = 1e-2
"""How far a count may be from a whole number by rounding."""


class FitError(InsdError):
    """A network cannot be fitted; the message names it and the remedy."""


@dataclass(frozen=True)
class Target:
    """Activity that a network is fitted to, NaN after the end of trials, and the readout that the fit is given."""

    rates: Float[Tensor, "trial time unit"]
    output_weights: Float[Tensor, "output unit"]
    output_bias: Float[Tensor, "output"]


def private_activity(
    network: xr.Dataset, trials: xr.Dataset, noise: float, seed: int
) -> Float[Tensor, "trial time unit"]:
    """Rates of a `network.nc` of one network with private noise of the standard deviation sigma_rec = `noise`.

    With noise 0, they are those of `insd.activity.simulate_trials`.
    """
    generator = torch.Generator().manual_seed(seed)
    networks = made_of(network, stacked_weights([network]), trials.attrs["dt"] / network.attrs["tau"], noise)
    rates = []
    with torch.no_grad():
        for inputs in Bank.from_trials(trials).inputs[None].split(CHUNK, 2):
            drawn = networks.draw_noise(inputs.shape[1], inputs.shape[2], [generator])
            rates.append(networks(inputs, drawn)[0].transpose(0, 1).clone())
    whole = torch.cat(rates)
    whole[~torch.from_numpy(valid_steps(trials))] = math.nan
    return whole


def least_squares_readout(
    rates: Float[Tensor, "trial time unit"], trials: xr.Dataset
) -> tuple[Float[Tensor, "output unit"], Float[Tensor, "output"]]:
    """The readout of recorded rates that is nearest to the targets where these are scored, and its bias."""
    weights, biases = [], []
    for output in range(trials.sizes["output"]):
        scored = (trials["mask"].values[..., output] > 0) & valid_steps(trials)
        found = rates.numpy()[scored].astype(np.float64)
        targets, mean = trials["targets"].values[..., output][scored].astype(np.float64), found.mean(0)
        weights.append(np.linalg.lstsq(found - mean, targets - targets.mean(), rcond=1e-6)[0])
        biases.append(targets.mean() - weights[-1] @ mean)
    return torch.tensor(np.stack(weights), dtype=torch.float32), torch.tensor(biases, dtype=torch.float32)


def observed_after_lead(
    rates: Float[Tensor, "trial time unit"], inputs: Float[Tensor, "trial time input"]
) -> tuple[Float[Tensor, "trial longer_time unit"], Float[Tensor, "trial longer_time input"]]:
    """Observations and inputs of a fit from rates and the inputs at their times, `LEAD` steps longer."""
    pad = torch.nn.functional.pad
    return pad(rates, (0, 0, LEAD, 0), value=math.nan), pad(inputs, (0, 0, 0, LEAD))


def log_likelihood(
    model: StochasticLowRank,
    rates: Float[Tensor, "trial time unit"],
    inputs: Float[Tensor, "trial time input"],
    particles: int,
    seed: int,
    encoder: Encoder | None = None,
) -> float:
    """A lower bound of the log-likelihood of activity, in nats per step: the tighter, the more particles."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        observed = observed_after_lead(rates, inputs)
        found, seen = log_mean_weights(model, *observed, particles, encoder, generator)
    return float(found.double().sum() / seen.sum())


def generated(
    model: StochasticLowRank, inputs: Float[Tensor, "trial time input"], seed: int
) -> Float[Tensor, "trial time unit"]:
    """Activity of a fit on new trials, with its latent noise and that of observations."""
    longer = torch.nn.functional.pad(inputs, (0, 0, 0, LEAD))
    return model.generate(longer, torch.Generator().manual_seed(seed))[1][:, LEAD:]


class LowRankFit:
    """The fit of one network to the first trials of a bank, with the last ones held out.

    Parameters are those of `fit_round`. Raises FitError if the bank has too few trials, or rates do not vary.
    """

    def __init__(self, task: Task, bank: xr.Dataset, settings: Any, name: NetworkName, target: Target):
        self.task, self.settings, self.name, self.target = task, settings, name, target
        count, held_out = settings.trials, settings.held_out
        if count + held_out > bank.sizes["trial"]:
            raise FitError(
                f"{self.label}: fit_low_rank.trials = {count} and held_out = {held_out} are more than the "
                f"{bank.sizes['trial']} trials of the bank; lower them, or raise trials.train"
            )
        self.held_out_trials = bank.isel(trial=slice(bank.sizes["trial"] - held_out, None))
        inputs = torch.from_numpy(bank["inputs"].values)
        self.held_out = target.rates[-held_out:], inputs[-held_out:]
        rates = target.rates[:count]
        generator = torch.Generator().manual_seed(random_seed(*name, "weights"))
        if settings.observation == "poisson":
            rates = self._whole(rates)
            self.held_out = self._whole(self.held_out[0]), self.held_out[1]
        model = StochasticLowRank(
            *(settings.rank, settings.hidden, rates, inputs.shape[2]),
            nonlinearity=settings.nonlinearity,
            observation=settings.observation,
            readout="affine",
            generator=generator,
        )
        self._along_components(model, rates)
        how = FitSettings(
            **{name: getattr(settings, name) for name in ("epochs", "batch", "particles")},
            **{name: getattr(settings, name) for name in ("step_size", "last_step_size")},
        )
        encoder = None
        if settings.observation == "poisson":
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(random_seed(*name, "encoder"))
                encoder = Encoder(rates.shape[2], settings.rank)
        self.fit = Fit(model, *observed_after_lead(rates, inputs[:count]), how, random_seed(*name, "fit"), encoder)
        self.rows: list[dict[str, float]] = []

    @property
    def label(self) -> str:
        """The name of the network."""
        return "/".join(map(str, self.name))

    def run(self, progress_bar: bool) -> Iterator[None]:
        """Take the epochs that are left; stops for the caller after each, where the state can be saved."""
        progress, epochs = Progress(len(self.rows), self.settings.epochs, progress_bar), self.fit.epochs()
        for epoch in progress:
            step_size = self.fit.step_size
            try:
                next(epochs)
            except (FloatingPointError, torch.linalg.LinAlgError) as error:
                raise FitError(f"{self.label}: {error} (fit_low_rank.step_size = {self.settings.step_size})") from None
            self.rows.append(self._evaluate(step_size))
            row = {name: np.array([value]) for name, value in self.rows[-1].items()}
            progress.report(epoch, row, epoch == self.settings.epochs)
            yield

    def weights(self) -> dict[str, Tensor]:
        """Of the network as it is, with one network along the first axis."""
        found = network_weights(self.fit.model)
        found |= {"output_weights": self.target.output_weights, "output_bias": self.target.output_bias}
        return {name: values[None] for name, values in found.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the fit depends on."""
        return {"fit": self.fit.state_dict(), "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of the same fit."""
        self.fit.load_state_dict(state["fit"])
        self.rows = list(state["rows"])

    def _whole(self, rates: Float[Tensor, "trial time unit"]) -> Float[Tensor, "trial time unit"]:
        """Counts without the rounding of rates."""
        whole = rates.round()
        if bool((wrong := ((rates - whole).abs() > COUNTED) | (whole < 0)).any()):
            raise FitError(
                f"{self.label}: fit_low_rank.observation = poisson; the rates of {self.settings.recording} times the "
                f"time step are no counts (one is {float(rates[wrong][0]):.3g}); bin spikes at the time step without "
                "smoothing, or fit with gaussian"
            )
        return whole

    def _along_components(self, model: StochasticLowRank, rates: Float[Tensor, "trial time unit"]) -> None:
        """Let each latent variable begin with unit variance along a principal component, its noise as what decay alone
        leaves out of its steps, and that of observations as what the components leave out. Of counts, the components
        are those of what softplus makes their averages over some steps of."""
        if model.observation == "poisson":
            rates = _means_of_counts(rates)
        centred = rates.double() - rates[rates.isfinite().all(-1)].double().mean(0)
        samples = centred[centred.isfinite().all(-1)]
        values, vectors = torch.linalg.eigh(samples.T @ samples / len(samples))
        if not float(values[-1]) > 0:
            raise FitError(f"{self.label}: the activity does not vary; fit that of a different network or recording")
        rank = self.settings.rank
        if rank > len(values):
            raise FitError(
                f"{self.label}: fit_low_rank.rank = {rank}, and the activity is of {len(values)} units; lower the rank"
            )
        least = 1e-6 * float(values[-1])
        scales = values.flip(0)[:rank].clamp(min=least).sqrt()
        axes = vectors.flip(1)[:, :rank]
        scores = centred @ axes / scales
        steps = scores[:, 1:] - model.decay.detach() * scores[:, :-1]
        spread = steps[steps.isfinite().all(-1)].square().mean(0).sqrt()
        left = (samples.square().mean(0) - (axes * scales).square().sum(1)).clamp(min=least)
        with torch.no_grad():
            assert model.readout_weights is not None
            model.readout_weights.copy_(axes * scales)
            model.noise_factor.copy_(torch.diag(spread.clamp(min=LEAST_NOISE).log()))
            model.initial_mean.copy_(scores[:, 0].mean(0))
            model.log_noise.copy_(left.log() / 2)

    def _evaluate(self, step_size: float) -> dict[str, float]:
        """What the history keeps of an epoch; losses are of the fit without noise, read out as its target."""
        weights = self.weights()
        network = _dataset([weights], [self.name], self.held_out_trials, self.settings, {})
        trials = self.held_out_trials
        outputs = simulate_trials(network, trials)[1]
        losses, _ = loss_and_score(self.task, outputs, trials)
        scores = free_running_score(self.task, network, outputs, trials)
        seed = random_seed(*self.name, "held out")
        return {
            "bound": self.fit.history[-1],
            "held_out_bound": log_likelihood(
                self.fit.model, *self.held_out, self.settings.particles, seed, self.fit.encoder
            ),
            "held_out_loss": float(losses[0]),
            "held_out_score": float(scores[0]),
            "step_size": step_size,
            "gradient_norm": self.fit.gradient_norms[-1],
            # Not what is fitted.
            "task_loss": math.nan,
        }


def fit_round(
    task: Task,
    bank: xr.Dataset,
    settings: Any,
    names: Sequence[NetworkName],
    targets: Sequence[Target],
    progress_bar: bool = False,
    checkpoint: Path | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Fit several networks, one after the other.

    Parameters
    ----------
    task, bank : the trials whose inputs the networks get.
    settings : those of the maker (`insd.makers.fit_low_rank.FitLowRankSettings`).
    names : one per network, (task, population, seed, round); every random stream derives from it alone.
    targets : in the same order, the activity on all trials of the bank.
    progress_bar : show a bar in the terminal; progress lines are always written to the log.
    checkpoint : file that keeps the state every few minutes, from which an interrupted call with equal arguments goes
        on, to the same result.

    Returns
    -------
    network, history : datasets by the contracts of `network.nc` and `history.nc`. One iteration of the history is one
    epoch: `bound` is the objective and `held_out_bound` the same on the held-out trials, both in nats per step.

    Raises FitError where a network cannot be fitted.
    """
    kept = None
    if checkpoint is not None:
        own = [settings.model_dump_json(), *map(_digest, targets)]
        architecture = StochasticLowRankRNN.architecture
        kept = Checkpoint(checkpoint, made_from(__name__, architecture, task, bank, Recipe(), names, {}, *own))
    state: dict[str, Any] = (kept.load() if kept else None) or {"finished": []}
    for row in range(len(state["finished"]), len(names)):
        run = LowRankFit(task, bank, settings, names[row], targets[row])
        if "run" in state:
            run.load_state_dict(state.pop("run"))
            log.info("resumed from epoch %d of %s", len(run.rows), run.label)
        for _ in run.run(progress_bar):
            if kept and kept.due():
                kept.save({**state, "run": run.state_dict()})
        state["finished"].append({"weights": run.weights(), "rows": run.rows})
    ends = state["finished"]
    variables = {
        "restarts": ("seed", np.zeros(len(names), int)),
        "iterations": ("seed", np.full(len(names), settings.epochs)),
    }
    made = _dataset([end["weights"] for end in ends], names, bank, settings, variables)
    history = xr.Dataset(coords={"iteration": range(1, settings.epochs + 1), "seed": made["seed"]})
    for name in ends[0]["rows"][0]:
        values = np.array([[row[name] for row in end["rows"]] for end in ends], np.float32)
        history[name] = (("attempt", "seed", "iteration"), values[None])
    return made, history


def _means_of_counts(counts: Float[Tensor, "trial time unit"]) -> Float[Tensor, "trial time unit"]:
    """What softplus makes averages of counts over some steps of, NaN where there are no counts."""
    seen = counts.isfinite().all(-1)
    window = counts.new_ones(1, 1, 2 * SMOOTHING + 1)
    sums, steps = (
        torch.nn.functional.conv1d(part, window, padding=SMOOTHING)
        for part in (
            torch.where(seen[..., None], counts, 0).mT.reshape(-1, 1, counts.shape[1]),
            seen.to(counts)[:, None].repeat_interleave(counts.shape[2], 0),
        )
    )
    averages = (sums / steps.clamp(min=1)).reshape(len(counts), counts.shape[2], -1).mT.clamp(min=FEWEST)
    return torch.where(seen[..., None], inverse_softplus(averages), math.nan)


def _dataset(
    weights: Sequence[dict[str, Tensor]],
    names: Sequence[NetworkName],
    bank: xr.Dataset,
    settings: Any,
    variables: dict[str, Any],
) -> xr.Dataset:
    """Networks by the contract of `network.nc`, whose time constant is the time step."""
    joined = {name: torch.cat([one[name] for one in weights]) for name in weights[0]}
    networks = StochasticLowRankRNN(joined, 1.0, 0.0, settings.nonlinearity, settings.observation)
    return network_dataset(networks, joined, variables, names, bank, bank.attrs["dt"])


def _digest(target: Target) -> str:
    digest = hashlib.sha256()
    for part in (target.rates, target.output_weights, target.output_bias):
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()
