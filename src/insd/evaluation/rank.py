"""How good fits of low rank are, on activity that they have not seen, and which rank is needed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from insd.dynamics.generated import spectral_distance, state_space_divergence
from insd.dynamics.stochastic_low_rank import of_network
from insd.low_rank_fits import generated, log_likelihood, private_activity
from insd.provenance import random_seed
from insd.samples import lasting, samples

QUALITIES = ("log_likelihood", "d_h", "d_stsp")
"""Log-likelihood in nats per step (higher is better), and the distances of spectra and of states (lower is better)."""
LEAST_VARIANCE = 1e-6
"""Of a unit without dynamics, relative to the largest."""
Qualities = Float[np.ndarray, "quality"]
"""A number for each measure of how good a fit is."""


@dataclass(frozen=True)
class HeldOut:
    """Activity of a network with private noise that its fits are judged on."""

    rates: Float[np.ndarray, "trial time unit"]
    inputs: Float[np.ndarray, "trial time input"]
    axes: Float[np.ndarray, "unit component"]
    """Its leading principal components, along which generated activity is compared."""
    itself: Float[np.ndarray, "trial time unit"]
    """A second draw of the network on the same trials."""
    smoothing: float
    """Of spectra, in frequencies."""
    seed: int

    @classmethod
    def of(
        cls, network: xr.Dataset, trials: xr.Dataset, noise: float, components: int, smoothing: float, label: str
    ) -> "HeldOut":
        """From a `network.nc` of one network and trials, at most as many components as units."""
        streams = [random_seed(label, name) for name in ("held out", "itself", "scores")]
        rates, itself = (private_activity(network, trials, noise, one).numpy() for one in streams[:2])
        centred = samples(rates).astype(np.float64)
        axes = np.linalg.svd(centred - centred.mean(0), full_matrices=False)[2][:components].T
        return cls(rates, trials["inputs"].values, axes, itself, smoothing, streams[2])

    def distances(self, activity: Float[np.ndarray, "trial time unit"]) -> tuple[float, float]:
        """D_H and D_stsp of activity; the former is NaN where trials differ in length, and both where it is not
        finite."""
        activity = np.where(np.isnan(self.rates), np.nan, activity)
        own, other = (one.astype(np.float64) @ self.axes for one in (self.rates, activity))
        if not np.isfinite(samples(other)).all():
            return math.nan, math.nan
        spectra = spectral_distance(own, other, self.smoothing) if lasting(own).all() else math.nan
        return spectra, state_space_divergence(samples(own), samples(other), seed=self.seed % 2**32)

    def without_dynamics(self) -> Qualities:
        """The qualities of rank 0: each unit normal, drawn again at each step, with its mean and standard deviation."""
        known = samples(self.itself).astype(np.float64)
        # A unit that never fires has no density; it counts as one that hardly varies.
        variances = known.var(0)
        mean, spread = known.mean(0), np.sqrt(np.maximum(variances, LEAST_VARIANCE * variances.max()))
        scaled = (samples(self.rates) - mean) / spread
        likelihood = -(np.square(scaled).sum(1) / 2 + np.log(spread).sum() + len(mean) * math.log(2 * math.pi) / 2)
        drawn = np.random.default_rng(self.seed).standard_normal(self.rates.shape)
        return np.array([likelihood.mean(), *self.distances(mean + spread * drawn)])

    def of_itself(self) -> Qualities:
        """The qualities of the network itself, but for its likelihood, which is not known."""
        return np.array([math.nan, *self.distances(self.itself)])


def qualities_of(fit: xr.Dataset, held_out: HeldOut, particles: int) -> Qualities:
    """Those of a `network.nc` of one fit."""
    model = of_network(fit)
    rates, inputs = torch.from_numpy(held_out.rates), torch.from_numpy(held_out.inputs)
    likelihood = log_likelihood(model, rates, inputs, particles, held_out.seed)
    return np.array([likelihood, *held_out.distances(generated(model, inputs, held_out.seed).numpy())])


def latent_noise(fit: xr.Dataset) -> float:
    """Standard deviation of rates per step by the latent noise, the root of its mean square over units: of ``C Q C'``.

    Unlike Q, it does not depend on the basis of z.
    """
    weights, noise = (fit[name].values[0].astype(np.float64) for name in ("unit_weights", "latent_noise"))
    return math.sqrt(np.trace(weights @ noise @ weights.T) / len(weights))


def gains(by_rank: Mapping[int, Qualities], without: Qualities) -> dict[int, Qualities]:
    """By rank, the gain of each quality over rank 0, as a share of that of the largest rank; NaN where this is none."""
    largest = by_rank[max(by_rank)] - without
    better = np.where([name == "log_likelihood" for name in QUALITIES], largest > 0, largest < 0)
    return {rank: np.where(better, of - without, np.nan) / np.where(better, largest, 1) for rank, of in by_rank.items()}


def rank_needed(by_rank: Mapping[int, Qualities], without: Qualities, share: float) -> Qualities:
    """By quality, the smallest rank that reaches a share of the gain of the largest one; NaN where this is none."""
    found = np.full(len(QUALITIES), np.nan)
    for rank, gain in sorted(gains(by_rank, without).items(), reverse=True):
        found[gain >= share] = rank
    return found
