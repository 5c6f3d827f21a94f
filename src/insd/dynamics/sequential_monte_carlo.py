"""Fitting stochastic low-rank networks to observations by variational sequential Monte Carlo.

Particles follow a proposal q(z_t), here always the normalised product of the transition with a Gaussian in z of
precision G and vector g: ``V = (Q^-1 + G)^-1``, ``q = N(V (Q^-1 f + g), V)`` with f the mean of the transition. Three
choices of (G, g) give three proposals:

- optimal, for Gaussian observations, which are linear in z: ``G = H' R^-1 H``, ``g = H' R^-1 (y - b)``, the likelihood
  of z. The weight does not depend on what is drawn, then: it is ``N(y; H f + b, H Q H' + R)``;
- learned: an `Encoder` of the observations gives both, G diagonal;
- bootstrap: none, the transition itself.

The log-weight is ``log p(y|z) + log p(z|f) - log q(z)``; all particles are resampled at every step. The product of the
mean weights of all steps is an unbiased estimate of the likelihood, and the mean of its logarithm a lower bound of the
log-likelihood, which is maximised.

Source: Pals et al. (2024), "Inferring stochastic low-rank recurrent neural networks from neural data".
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from insd.dynamics.stochastic_low_rank import StochasticLowRank


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted. The defaults are those of Pals et al. for the student and teacher."""

    epochs: int = 1000
    """Passes through all trials."""
    batch: int = 10
    """Trials per step of the optimiser."""
    particles: int = 64
    """Per trial."""
    step_size: float = 1e-3
    """Of RAdam in the first epoch."""
    last_step_size: float = 1e-5
    """In the last epoch; in between it decays exponentially."""
    longest_gradient: float = 1.0
    """Norm to which gradients are shortened (ours): the first steps of RAdam are as long as the gradient is."""


class Encoder(torch.nn.Module):
    """A Gaussian with independent components in z at every step, from the observations around it."""

    def __init__(self, observed: int, rank: int, reach: int = 5):
        """A convolution over `reach` steps before and after."""
        super().__init__()
        self.convolution = torch.nn.Conv1d(observed, 2 * rank, 2 * reach + 1, padding=reach)

    def forward(
        self, observations: Float[Tensor, "trial time observed"]
    ) -> tuple[Float[Tensor, "trial time rank rank"], Float[Tensor, "trial time rank"]]:
        """G and g of each step."""
        mean, log_precision = self.convolution(observations.mT).mT.chunk(2, -1)
        precision = log_precision.exp()
        return torch.diag_embed(precision), mean * precision


def systematic_resampling(
    log_weights: Float[Tensor, "trial particle"], offsets: Float[Tensor, "trial"]
) -> Int[Tensor, "trial particle"]:
    """Indices of the particles that go on, K of K with normalised weights w.

    With one uniform offset in [0, 1) for all, particle k goes on ``K w_k`` times, rounded up or down, and in the mean
    over offsets exactly as often. Source: Kitagawa (1996), "Monte Carlo filter and smoother for non-Gaussian nonlinear
    state space models".
    """
    particles = log_weights.shape[1]
    # In double precision: the sum over many particles decides which of them goes on.
    below = log_weights.double().softmax(1).cumsum(1)
    places = (torch.arange(particles, device=below.device) + offsets.double()[:, None]) / particles
    return torch.searchsorted(below, places, right=True).clamp(max=particles - 1)


def optimal_proposal(
    model: StochasticLowRank,
    observations: Float[Tensor, "trial time observed"],
    offsets: Float[Tensor, "trial time observed"],
) -> tuple[Float[Tensor, "1 1 rank rank"], Float[Tensor, "trial time rank"]]:
    """G and g that make the proposal optimal, from Gaussian observations and their means at z = 0."""
    weighted = model.readout * torch.exp(-2 * model.log_noise)[:, None]
    return (weighted.T @ model.readout)[None, None], (observations - offsets) @ weighted


def log_mean_weights(
    model: StochasticLowRank,
    observations: Float[Tensor, "trial time observed"],
    inputs: Float[Tensor, "trial time input"],
    particles: int,
    encoder: Encoder | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "trial time"], Bool[Tensor, "trial time"]]:
    """The logarithm of the mean weight of particles at every step, and which steps are within their trial.

    Its sum over the steps of a trial estimates ``log p(y)``. Observations are NaN after the end of a trial, where the
    logarithm is 0. The proposal is the optimal one for Gaussian observations; for Poisson ones it is that of the
    `encoder`, or the transition without. Gradients do not go through the indices of particles that are resampled.
    """
    if encoder is not None and model.observation == "gaussian":
        raise ValueError("Gaussian observations have an optimal proposal: leave out the encoder")
    trials, steps = observations.shape[:2]
    lasts = observations.isfinite().all(-1)
    observed = observations.nan_to_num()
    currents = model.input_currents(inputs)
    offsets = model.offsets(currents)
    rank = model.left_vectors.shape[1]
    if model.observation == "gaussian":
        precision, vector = optimal_proposal(model, observed, offsets)
    elif encoder is not None:
        precision, vector = encoder(observed)
    else:
        precision, vector = offsets.new_zeros(1, 1, rank, rank), offsets.new_zeros(trials, steps, rank)
    return _filter(model, (observed, offsets, lasts), currents, (precision, vector), particles, generator), lasts


def _filter(
    model: StochasticLowRank,
    seen: tuple[Float[Tensor, "trial time observed"], Float[Tensor, "trial time observed"], Bool[Tensor, "trial time"]],
    currents: Float[Tensor, "trial time unit"],
    proposal: tuple[Float[Tensor, "_ _ rank rank"], Float[Tensor, "trial time rank"]],
    particles: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "trial time"]:
    observed, offsets, lasts = seen
    trials, steps = lasts.shape
    # By step: the prior of z_1 comes first, and the transition after it.
    first, later = model.factors()
    factors = torch.stack([first, *[later] * (steps - 1)])
    whitening = torch.linalg.inv(factors)
    inverse = whitening.mT @ whitening
    covariance = torch.linalg.inv(inverse + proposal[0])
    spread = torch.linalg.cholesky(covariance)
    # log |Q| / 2 - log |V| / 2: of the two densities, the constants cancel.
    volume = spread.diagonal(dim1=-2, dim2=-1).log().sum(-1) - factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    covariance, spread = (part.expand(trials, *part.shape[1:]) for part in (covariance, spread))
    noise = torch.randn(steps, trials, particles, len(inverse[0]), generator=generator, dtype=factors.dtype)
    places = torch.rand(steps, trials, generator=generator, dtype=factors.dtype)

    found = []
    latents = model.initial_mean.expand(trials, particles, -1)
    for time in range(steps):
        mean = model.step(latents, currents[:, time - 1]) if time else latents
        drawn = (mean @ inverse[time] + proposal[1][:, time, None]) @ covariance[:, time]
        drawn = drawn + noise[time] @ spread[:, time].mT
        prior = (drawn - mean) @ whitening[time].T
        likelihood = model.log_probability(observed[:, time], drawn @ model.readout.T + offsets[:, time, None])
        ratio = (noise[time].square().sum(-1) - prior.square().sum(-1)) / 2 + volume[:, time, None]
        log_weights = torch.where(lasts[:, time, None], likelihood + ratio, 0)
        found.append(log_weights.logsumexp(1) - math.log(particles))
        going_on = systematic_resampling(log_weights.detach(), places[time])
        latents = drawn.gather(1, going_on[..., None].expand_as(drawn))
    return torch.stack(found, 1)


def fit(
    model: StochasticLowRank,
    observations: Float[Tensor, "trial time observed"],
    inputs: Float[Tensor, "trial time input"],
    settings: FitSettings,
    seed: int,
    encoder: Encoder | None = None,
) -> Float[Tensor, "epoch"]:
    """Fit a network, and the encoder with it, in place; returns the objective, in nats per step, by epoch.

    The objective is the mean of `log_mean_weights` over steps and trials; steps are RAdam's. It is that of the batches
    of the epoch, before each step, and so noisy. Raises FloatingPointError when it is not finite any more.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = [*model.parameters(), *(encoder.parameters() if encoder is not None else ())]
    optimiser = torch.optim.RAdam(parameters, settings.step_size)
    decay = (settings.last_step_size / settings.step_size) ** (1 / max(settings.epochs - 1, 1))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, decay)
    history = []
    for epoch in range(settings.epochs):
        total = steps = 0.0
        for batch in torch.randperm(len(observations), generator=generator).split(settings.batch):
            found, lasts = log_mean_weights(
                model, observations[batch], inputs[batch], settings.particles, encoder, generator
            )
            objective = found.sum() / lasts.sum()
            optimiser.zero_grad()
            (-objective).backward()
            torch.nn.utils.clip_grad_norm_(parameters, settings.longest_gradient)
            optimiser.step()
            total, steps = total + float(found.detach().sum()), steps + float(lasts.sum())
        if not math.isfinite(total):
            raise FloatingPointError(f"the objective is not finite in epoch {epoch}: use a smaller step_size")
        history.append(total / steps)
        schedule.step()
    return torch.tensor(history)
