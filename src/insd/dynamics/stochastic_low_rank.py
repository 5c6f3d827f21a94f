"""Stochastic low-rank networks: a few latent variables with noise, observed through many units.

    z_t = a z_{t-1} + N' phi(M z_{t-1} + W v_{t-1}) + L eps_t,     v_t = a v_{t-1} + (1 - a) u_{t-1},     v_1 = 0

The connectivity is ``J = M N'`` with M, N (unit, rank); ``M z + W v`` are the currents of the units, and z follows them
exactly. Time is in steps, all else has the unit of the observations or none.

Source: Pals et al. (2024), "Inferring stochastic low-rank recurrent neural networks from neural data".
"""

import math
from typing import Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from insd.networks.low_rank import LowRankRNN

Nonlinearity = Literal["relu", "clipped_relu", "identity"]
"""phi by the threshold h of each unit: ``relu(x - h)``, ``relu(x + h) - relu(x)`` or ``x``: a linear system."""
Observation = Literal["gaussian", "poisson"]
"""Observations are ``mean + noise`` with a variance of each unit, or counts whose rate per step is ``softplus(mean)``.
"""
Readout = Literal["currents", "affine"]
"""Means of observations: ``M z + W v + b``, each observed unit being one unit of the network, or ``C z + b``."""

DECAY, NOISE = 0.9, 0.1
"""a, and the standard deviation of the noise of z, before fitting (the values of Pals et al.)."""


def inverse_softplus(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """What softplus makes positive values of, also of large ones."""
    return values + torch.log(-torch.expm1(-values))


class StochasticLowRank(torch.nn.Module):
    """A stochastic low-rank network and how it is observed.

    Parameters, all of which are fitted: `left_vectors` M and `right_vectors` N (unit, rank), `input_weights` W (unit,
    input), `thresholds` h (unit), `log_log_decay` p with ``a = exp(-exp(p))``, `initial_mean` (rank) of z_1,
    `initial_factor` and `noise_factor` (rank, rank), `bias` b and `log_noise` (observed), the latter of the standard
    deviation of Gaussian observations, and with the readout `affine` the `readout_weights` C (observed, rank). Of the
    factors, the lower triangle counts, with the exponential of its diagonal: these are L and its like for z_1.
    """

    def __init__(
        self,
        rank: int,
        units: int,
        observations: Float[Tensor, "trial time observed"],
        inputs: int = 0,
        nonlinearity: Nonlinearity = "relu",
        observation: Observation = "gaussian",
        readout: Readout = "currents",
        generator: torch.Generator | None = None,
    ):
        """A random network.

        Vectors are uniform within ``1 / sqrt(fan)`` as in Pals et al. From the `observations`, NaN after the end of a
        trial, come their mean and standard deviation for the bias and the noise (ours). Raises ValueError if
        `currents` are observed of another number of units, or counts are not whole and positive.
        """
        super().__init__()
        seen = observations[observations.isfinite().all(-1)]
        if readout == "currents" and seen.shape[1] != units:
            raise ValueError(f"{seen.shape[1]} observed units are not the currents of {units}: take the readout affine")
        if observation == "poisson" and bool(((seen < 0) | (seen != seen.round())).any()):
            raise ValueError("Poisson observations are counts: whole numbers of at least 0")
        self.nonlinearity, self.observation = nonlinearity, observation

        def uniform(fan: int, *shape: int) -> torch.nn.Parameter:
            drawn = torch.rand(*shape, generator=generator, dtype=observations.dtype)
            return torch.nn.Parameter((2 * drawn - 1) / math.sqrt(max(fan, 1)))

        def constant(value: float | Tensor, *shape: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.as_tensor(value, dtype=observations.dtype).expand(shape).clone())

        self.left_vectors = uniform(rank, units, rank)
        self.right_vectors = uniform(units, units, rank)
        self.input_weights = uniform(inputs, units, inputs)
        self.thresholds = constant(1.0, units) if nonlinearity == "clipped_relu" else uniform(rank, units)
        self.log_log_decay = constant(math.log(-math.log(DECAY)))
        self.initial_mean = constant(0.0, rank)
        self.initial_factor = torch.nn.Parameter(torch.zeros(rank, rank, dtype=observations.dtype))
        self.noise_factor = torch.nn.Parameter(math.log(NOISE) * torch.eye(rank, dtype=observations.dtype))
        mean = seen.mean(0)
        if observation == "poisson":
            mean = inverse_softplus(mean.clamp(min=1e-3))
        self.bias = constant(mean, len(mean))
        self.log_noise = constant(seen.std(0, correction=0).clamp(min=1e-3).log(), len(mean))
        self.readout_weights = uniform(rank, len(mean), rank) if readout == "affine" else None

    @property
    def decay(self) -> Float[Tensor, ""]:
        """a, what is left of z after one step."""
        return torch.exp(-torch.exp(self.log_log_decay))

    @property
    def readout(self) -> Float[Tensor, "observed rank"]:
        """H: the means of observations per unit of z."""
        return self.left_vectors if self.readout_weights is None else self.readout_weights

    def factors(self) -> tuple[Float[Tensor, "rank rank"], Float[Tensor, "rank rank"]]:
        """Cholesky factors of the covariance of z_1, and of the noise of later steps, Q."""
        first, later = (
            factor.tril(-1) + torch.diag(factor.diagonal().exp()) for factor in (self.initial_factor, self.noise_factor)
        )
        return first, later

    def noise(self) -> Float[Tensor, "rank rank"]:
        """Q, the covariance of the noise of z, in the arbitrary basis of z: see `orthogonalised_noise`."""
        factor = self.factors()[1]
        return factor @ factor.T

    def input_currents(self, inputs: Float[Tensor, "trial time input"]) -> Float[Tensor, "trial time unit"]:
        """``W v``."""
        time = torch.arange(inputs.shape[1], device=inputs.device)
        lag = time[:, None] - time - 1
        kernel = torch.where(lag >= 0, (1 - self.decay) * self.decay ** lag.clamp(min=0), 0)
        return kernel @ inputs @ self.input_weights.T

    def offsets(self, currents: Float[Tensor, "trial time unit"]) -> Float[Tensor, "trial time observed"]:
        """The means of observations at z = 0."""
        if self.readout_weights is None:
            return currents + self.bias
        return self.bias.expand(*currents.shape[:2], len(self.bias))

    def rates(self, currents: Float[Tensor, "*any unit"]) -> Float[Tensor, "*any unit"]:
        """Phi."""
        if self.nonlinearity == "relu":
            return torch.relu(currents - self.thresholds)
        if self.nonlinearity == "clipped_relu":
            return torch.relu(currents + self.thresholds) - torch.relu(currents)
        return currents

    def step(
        self, latents: Float[Tensor, "trial particle rank"], currents: Float[Tensor, "trial unit"]
    ) -> Float[Tensor, "trial particle rank"]:
        """The mean of the next z, from z and ``W v``."""
        rates = self.rates(latents @ self.left_vectors.T + currents[:, None])
        return self.decay * latents + rates @ self.right_vectors

    @torch.no_grad()
    def generate(
        self, inputs: Float[Tensor, "trial time input"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "trial time rank"], Float[Tensor, "trial time observed"]]:
        """Latent variables and observations of new trials."""
        currents = self.input_currents(inputs)
        offsets = self.offsets(currents)
        first, later = self.factors()
        trials, steps = inputs.shape[:2]

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=first.dtype)

        latents = [self.initial_mean + normal(trials, 1, len(first)) @ first.T]
        for time in range(1, steps):
            mean = self.step(latents[-1], currents[:, time - 1])
            latents.append(mean + normal(trials, 1, len(first)) @ later.T)
        states = torch.cat(latents, 1)
        means = states @ self.readout.T + offsets
        if self.observation == "poisson":
            return states, torch.poisson(softplus(means), generator=generator)
        return states, means + normal(*means.shape) * self.log_noise.exp()


def without_noise(model: StochasticLowRank) -> LowRankRNN:
    """The network without its latent noise, as one of the architecture `low_rank`, whose readout has no outputs.

    Its states are ``M z + W v - h``, with ``alpha = 1 - a`` and the bias -h; after the step with the input u_t they are
    those of z_{t+1}. Raises ValueError unless phi is relu: that architecture knows no thresholds of other kinds.
    """
    if model.nonlinearity != "relu":
        raise ValueError(f"networks of the architecture low_rank have no {model.nonlinearity}: fit one with relu")
    alpha, units = 1 - model.decay.item(), len(model.thresholds)
    with torch.no_grad():
        weights = {
            "left_vectors": model.left_vectors,
            "right_vectors": model.right_vectors * units / alpha,
            "input_weights": model.input_weights,
            "bias": -model.thresholds,
            "initial_state": model.left_vectors @ model.initial_mean - model.thresholds,
            "output_weights": model.bias.new_zeros(0, units),
            "output_bias": model.bias.new_zeros(0),
        }
        return LowRankRNN({name: part[None].clone() for name, part in weights.items()}, alpha, 0.0, "relu")


def orthogonalised_noise(
    left: Float[np.ndarray, "unit rank"], right: Float[np.ndarray, "unit rank"], noise: Float[np.ndarray, "rank rank"]
) -> Float[np.ndarray, "rank rank"]:
    """The covariance of latent noise along orthonormal axes of the currents: ``P Q P'`` with ``P = U' M``.

    U (unit, rank) are the left singular vectors of ``J = M N'``, by decreasing singular value, each with the sign that
    makes its largest entry positive. The basis of z is arbitrary: for any invertible A, ``A z`` with ``M A^-1``, ``N
    A'`` and ``A Q A'`` is the same network. Q itself has therefore no meaning; this covariance is the same for all.

    It is in squared units of the currents. These have a unit only where they are observed themselves (readout
    `currents`): behind a readout of its own, the current of a relu unit can be scaled at will.

    Source: Pals et al. (2024).
    """
    vectors = np.linalg.svd(left @ right.T)[0][:, : left.shape[1]]
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    to_axes = vectors.T @ left
    return to_axes @ noise @ to_axes.T


def network_weights(model: StochasticLowRank) -> dict[str, Tensor]:
    """What a file of the architecture `stochastic_low_rank` holds of a network, but for its outputs; of this one alone.

    That architecture has rates after the step with the input of the same time, while z follows u by two steps here. So
    its first rates are the observations at the third step of a network that is observed from there on: `initial_mean`
    and `initial_noise` are those of z two steps before. Counts have no noise but their own: `observation_noise` is 0.
    Raises ValueError unless the readout is affine.
    """
    if model.readout_weights is None:
        raise ValueError(
            "networks of the architecture stochastic_low_rank read their rates from z: fit one with affine"
        )
    with torch.no_grad():
        first, later = (factor @ factor.T for factor in model.factors())
        start = model.initial_mean[None, None]
        second = model.step(start, start.new_zeros(1, len(model.thresholds)))[0, 0]
        weights = {
            "left_vectors": model.left_vectors,
            "right_vectors": model.right_vectors,
            "input_weights": model.input_weights,
            "thresholds": model.thresholds,
            "decay": model.decay[None],
            "unit_weights": model.readout_weights,
            "bias": model.bias,
            "initial_state": torch.nn.functional.pad(second, (0, model.input_weights.shape[1])),
            "initial_mean": model.initial_mean,
            "initial_noise": first,
            "latent_noise": later,
            "observation_noise": model.log_noise.exp() * (model.observation == "gaussian"),
        }
        return {name: part.detach().clone() for name, part in weights.items()}


def of_network(network: xr.Dataset) -> StochasticLowRank:
    """The network, with its noise, that a file of one fit holds (`network_weights`)."""
    parts = {name: torch.from_numpy(np.asarray(values.values[0])) for name, values in network.data_vars.items()}
    hidden, rank = parts["left_vectors"].shape
    kind = {"nonlinearity": network.attrs["nonlinearity"], "readout": "affine"}
    inputs, observations = parts["input_weights"].shape[1], parts["bias"][None, None]
    model = StochasticLowRank(rank, hidden, observations, inputs, **kind)
    # Afterwards, since there are no counts here to begin from. Files of older fits are of normal observations.
    model.observation = network.attrs.get("observation", "gaussian")
    names = ("left_vectors", "right_vectors", "input_weights", "thresholds", "bias", "initial_mean")
    with torch.no_grad():
        for name in names:
            getattr(model, name).copy_(parts[name])
        assert model.readout_weights is not None
        model.readout_weights.copy_(parts["unit_weights"])
        model.log_log_decay.copy_((-parts["decay"][0].log()).log())
        if model.observation == "gaussian":
            model.log_noise.copy_(parts["observation_noise"].log())
        for name, factor in (("initial_noise", model.initial_factor), ("latent_noise", model.noise_factor)):
            lower = torch.linalg.cholesky(parts[name])
            factor.copy_(lower.tril(-1) + torch.diag(lower.diagonal().log()))
    return model
