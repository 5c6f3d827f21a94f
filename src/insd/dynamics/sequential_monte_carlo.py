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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.distributions import Poisson
from torch.nn.functional import softplus

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
    """A Gaussian with independent components in z at every step, from the counts around it."""

    def __init__(self, observed: int, rank: int, reach: int = 5):
        """A convolution over `reach` steps before and after."""
        super().__init__()
        self.convolution = torch.nn.Conv1d(observed, 2 * rank, 2 * reach + 1, padding=reach)

    def forward(
        self, observations: Float[Tensor, "trial time observed"]
    ) -> tuple[Float[Tensor, "trial time rank rank"], Float[Tensor, "trial time rank"]]:
        """G and g of each step."""
        # Precisions are exponentials: of logarithms of counts, they do not overflow.
        mean, log_precision = self.convolution(observations.log1p().mT).mT.chunk(2, -1)
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
    """The logarithm of the mean weight of particles at every step, and which steps are observed.

    Its sum over the steps of a trial estimates ``log p(y)``. Observations are NaN where there are none, such as after
    the end of a trial or before the first of them: particles follow the transition there, and the logarithm is 0. The
    proposal is the optimal one for Gaussian observations; for Poisson ones it is that of the `encoder`, or the
    transition without. Gradients do not go through the indices of particles that are resampled.
    """
    if encoder is not None and model.observation == "gaussian":
        raise ValueError("Gaussian observations have an optimal proposal: leave out the encoder")
    trials, steps = observations.shape[:2]
    seen = observations.isfinite().all(-1)
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
    # Where all trials are observed at the same steps, there is one covariance for all.
    alike = seen[:1] if bool((seen == seen[:1]).all()) else seen
    precision, vector = torch.where(alike[..., None, None], precision, 0), torch.where(seen[..., None], vector, 0)
    noise = torch.randn(steps, trials, particles, rank, generator=generator, dtype=vector.dtype)
    transition = _Transition(model, precision, vector, noise)
    weight = (_optimal if model.observation == "gaussian" else _counted)(model, observed, offsets, transition)
    return _filter(model, transition, weight, seen, currents, generator), seen


class _Transition:
    """What particles need at each step: from a mean f of the transition they go to ``f V Q^-1 + g V + noise``."""

    def __init__(
        self,
        model: StochasticLowRank,
        precision: Float[Tensor, "_ time rank rank"],
        vector: Float[Tensor, "trial time rank"],
        noise: Float[Tensor, "time trial particle rank"],
    ):
        first, later = model.factors()
        self.noise = noise
        # By step: the prior of z_1 comes first, and the transition after it.
        self.factors = torch.stack([first, *[later] * (len(noise) - 1)])
        self.whitening = torch.linalg.inv(self.factors)
        inverse = self.whitening.mT @ self.whitening
        covariance = torch.linalg.inv(inverse + precision)
        self.spread = torch.linalg.cholesky(covariance)
        trials = len(vector)
        self.gain = (inverse @ covariance).expand(trials, -1, -1, -1).unbind(1)
        shift = (vector[:, :, None] @ covariance)[:, :, 0].transpose(0, 1)[:, :, None]
        spread = self.spread.expand(trials, -1, -1, -1).transpose(0, 1)
        self.shift = (shift + noise @ spread.mT).unbind(0)


Weight = Callable[
    [int, Float[Tensor, "trial particle rank"], Float[Tensor, "trial particle rank"]], Float[Tensor, "trial particle"]
]
"""The log-weights of particles at a time step, by the means of their transition and by z."""


def _counted(
    model: StochasticLowRank,
    observed: Float[Tensor, "trial time observed"],
    offsets: Float[Tensor, "trial time observed"],
    transition: _Transition,
) -> Weight:
    """Of counts whose rate per step is softplus of their mean."""
    # log |Q| / 2 - log |V| / 2: of the two densities, the constants cancel.
    both = (part.diagonal(dim1=-2, dim2=-1) for part in (transition.spread, transition.factors))
    spread, factors = (part.log().sum(-1) for part in both)
    volume = (spread - factors).expand(len(observed), -1)

    def weight(time: int, means: Tensor, latents: Tensor) -> Tensor:
        rates = softplus(latents @ model.readout.T + offsets[:, time, None]).clamp(min=1e-6)
        likelihood = Poisson(rates, validate_args=False).log_prob(observed[:, time, None]).sum(-1)
        prior = (latents - means) @ transition.whitening[time].T
        ratio = (transition.noise[time].square().sum(-1) - prior.square().sum(-1)) / 2
        return likelihood + ratio + volume[:, time, None]

    return weight


def _optimal(
    model: StochasticLowRank,
    observed: Float[Tensor, "trial time observed"],
    offsets: Float[Tensor, "trial time observed"],
    transition: _Transition,
) -> Weight:
    """``N(y; H f + b, H Q H' + R)``, without a number for each particle and unit.

    With ``R^-1/2 H = O T``, O orthonormal, and ``x = R^-1/2 (y - b)``, the exponent has the square of what of x is
    outside the columns of O, and that of ``O' x - T f`` in the metric of ``(I + T Q T')^-1``.
    """
    scale = torch.exp(-model.log_noise)
    basis, triangle = torch.linalg.qr(model.readout * scale[:, None])
    scaled = (observed - offsets) * scale
    inside = scaled @ basis
    outside = (scaled - inside @ basis.T).square().sum(-1)
    through = triangle @ transition.factors
    inner = torch.linalg.cholesky(torch.eye(len(triangle)).to(through) + through @ through.mT)
    # All by step: what brings means and observations to the metric in which the exponent is a square.
    whitening = torch.linalg.inv(inner).mT
    to_metric = (triangle.T @ whitening).unbind(0)
    seen = (inside[:, :, None] @ whitening).transpose(0, 1).unbind(0)
    volume = inner.diagonal(dim1=-2, dim2=-1).log().sum(-1) + model.log_noise.sum()
    constant = (-outside / 2 - volume - len(scale) * math.log(2 * math.pi) / 2)[..., None].unbind(1)

    def weight(time: int, means: Tensor, latents: Tensor) -> Tensor:
        away = seen[time] - means @ to_metric[time]
        return constant[time] - away.square().sum(-1) / 2

    return weight


def _filter(
    model: StochasticLowRank,
    transition: _Transition,
    weight: Weight,
    seen: Bool[Tensor, "trial time"],
    currents: Float[Tensor, "trial time unit"],
    generator: torch.Generator | None,
) -> Float[Tensor, "trial time"]:
    steps, trials, particles, _ = transition.noise.shape
    places = torch.rand(steps, trials, generator=generator, dtype=transition.noise.dtype)
    everywhere = seen.all(0).tolist()
    driven = currents.unbind(1)

    found = []
    latents = model.initial_mean.expand(trials, particles, -1)
    for time in range(steps):
        means = model.step(latents, driven[time - 1]) if time else latents
        drawn = means @ transition.gain[time] + transition.shift[time]
        log_weights = weight(time, means, drawn)
        if not everywhere[time]:
            log_weights = torch.where(seen[:, time, None], log_weights, 0)
        found.append(log_weights.logsumexp(1) - math.log(particles))
        going_on = systematic_resampling(log_weights.detach(), places[time])
        latents = drawn.gather(1, going_on[..., None].expand_as(drawn))
    return torch.stack(found, 1)


class Fit:
    """A fit of a network, and of the encoder with it, in place, epoch by epoch; it can be kept after each and resumed.

    The objective is the mean of `log_mean_weights` over observed steps and trials; steps are RAdam's.
    """

    def __init__(
        self,
        model: StochasticLowRank,
        observations: Float[Tensor, "trial time observed"],
        inputs: Float[Tensor, "trial time input"],
        settings: FitSettings,
        seed: int,
        encoder: Encoder | None = None,
    ):
        self.model, self.encoder, self.settings = model, encoder, settings
        self.observations, self.inputs = observations, inputs
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = [*model.parameters(), *(encoder.parameters() if encoder is not None else ())]
        self.optimiser = torch.optim.RAdam(self.parameters, settings.step_size)
        self.history: list[float] = []
        """The objective, in nats per step, by epoch: that of its batches, before each step, and so noisy."""
        self.gradient_norms: list[float] = []
        """Norm of the gradient before it is shortened, the mean by epoch."""

    @property
    def step_size(self) -> float:
        """Of the next epoch."""
        first, last = self.settings.step_size, self.settings.last_step_size
        return first * (last / first) ** (len(self.history) / max(self.settings.epochs - 1, 1))

    def epochs(self) -> Iterator[None]:
        """Take the epochs that are left; stops for the caller after each.

        Raises FloatingPointError when the objective is not finite any more.
        """
        while len(self.history) < self.settings.epochs:
            self._take()
            yield

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the fit depends on."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            **({} if self.encoder is None else {"encoder": self.encoder.state_dict()}),
            "generator": self.generator.get_state(),
            "history": list(self.history),
            "gradient_norms": list(self.gradient_norms),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of the same fit."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.encoder is not None:
            self.encoder.load_state_dict(state["encoder"])
        self.generator.set_state(state["generator"])
        self.history, self.gradient_norms = list(state["history"]), list(state["gradient_norms"])

    def _take(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.step_size
        total = steps = norms = 0.0
        batches = torch.randperm(len(self.observations), generator=self.generator).split(self.settings.batch)
        for batch in batches:
            found, seen = log_mean_weights(
                self.model,
                self.observations[batch],
                self.inputs[batch],
                self.settings.particles,
                self.encoder,
                self.generator,
            )
            self.optimiser.zero_grad()
            (-found.sum() / seen.sum()).backward()
            norms += float(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.longest_gradient))
            self.optimiser.step()
            total, steps = total + float(found.detach().sum()), steps + float(seen.sum())
        if not math.isfinite(total):
            epoch = len(self.history)
            raise FloatingPointError(f"the objective is not finite in epoch {epoch}: use a smaller step_size")
        self.history.append(total / steps)
        self.gradient_norms.append(norms / len(batches))


def fit(
    model: StochasticLowRank,
    observations: Float[Tensor, "trial time observed"],
    inputs: Float[Tensor, "trial time input"],
    settings: FitSettings,
    seed: int,
    encoder: Encoder | None = None,
) -> Float[Tensor, "epoch"]:
    """All epochs of `Fit`; returns its objective by epoch."""
    run = Fit(model, observations, inputs, settings, seed, encoder)
    for _ in run.epochs():
        pass
    return torch.tensor(run.history)
