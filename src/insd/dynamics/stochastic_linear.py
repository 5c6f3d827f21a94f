"""Linear networks with process noise in closed form: what they keep of a path, and how surely they classify it.

    dY = W Y dt + A dx(t) + Sigma dB,   Y_0 = y,   class 1 if u^T Y_T + c > 0.

Y_T is normal. Its mean sees the path x through the integrals

    I_k = integral_0^T (T - s)^k / k! dx_s

alone, the words "the input, then k times the time" of the path's signature: with y = 0, ``m_T = sum_k W^k A I_k``. Its
covariance ``Q_T = integral_0^T e^{W s} Sigma Sigma^T e^{W^T s} ds`` depends on no path. So the probability of class 1
is ``Phi((u^T m_T + c) / sqrt(u^T Q_T u))``: noise that makes it robust to changes of the path also makes it less sure.

Source: Boutaib et al. (2022), "Path classification by stochastic linear recurrent neural networks", of the model and
the partial signature; mean and covariance are those of the Ornstein-Uhlenbeck process.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.special
import xarray as xr
from jaxtyping import Float


def partial_signature(
    path: Float[np.ndarray, "*trial time channel"], times: Float[np.ndarray, "time"], terms: int
) -> Float[np.ndarray, "*trial term channel"]:
    """I_0 to I_(terms - 1) of a path, exact where it is linear between the times; T is the last of them.

    I_k has the unit of the path times s^k.
    """
    orders = np.arange(1, terms + 1)
    remaining = (times[-1] - times)[:, None] ** orders / scipy.special.factorial(orders)
    weights = (remaining[:-1] - remaining[1:]) / np.diff(times)[:, None]
    return np.einsum("tk,...tc->...kc", weights, np.diff(path, axis=-2))


def covariance(
    drift: Float[np.ndarray, "unit unit"], noise: Float[np.ndarray, "unit source"], duration: float
) -> Float[np.ndarray, "unit unit"]:
    """``integral_0^T e^{W s} Sigma Sigma^T e^{W^T s} ds`` for any drift W, stable or not; `duration` is T in s.

    By the exponential of one block matrix for a short time (Van Loan 1978, "Computing integrals involving the matrix
    exponential"), which is doubled until T. For T itself, the block would hold both e^{W T} and e^{-W T}, and lose the
    fast modes to rounding.
    """
    units = len(drift)
    turns = float(np.linalg.norm(drift, 2)) * duration
    doublings = math.ceil(math.log2(max(turns, 1.0)))
    block = np.zeros((2 * units, 2 * units))
    block[:units, :units], block[units:, units:] = -drift, drift.T
    block[:units, units:] = noise @ noise.T
    exponential = scipy.linalg.expm(block * (duration / 2**doublings))
    moves = exponential[units:, units:].T
    found = moves @ exponential[:units, units:]
    for _ in range(doublings):
        found = found + moves @ found @ moves.T
        moves = moves @ moves
    return (found + found.T) / 2


@dataclass(frozen=True)
class LinearProcess:
    """A process ``dY = W Y dt + A dx + Sigma dB`` from a start y."""

    drift: Float[np.ndarray, "unit unit"]
    """W, in 1/s."""
    input_weights: Float[np.ndarray, "unit channel"]
    """A."""
    noise: Float[np.ndarray, "unit source"]
    """Sigma, per square root of s."""
    start: Float[np.ndarray, "unit"]
    """y."""

    @classmethod
    def of_network(cls, network: xr.Dataset, recurrent_noise: float) -> "LinearProcess":
        """The process that one seed of a `network.nc` of linear networks follows, up to the error of Euler steps.

        Its path is the integral over time of the inputs in s, with one channel more for the bias: time itself.
        """
        tau, weights = float(network.attrs["tau"]), network["recurrent_weights"].values.astype(np.float64)
        units = len(weights)
        into = np.concatenate([network["input_weights"].values, network["bias"].values[:, None]], 1)
        return cls(
            (weights - np.eye(units)) / tau,
            into.astype(np.float64) / tau,
            recurrent_noise * math.sqrt(2 / tau) * np.eye(units),
            network["initial_state"].values.astype(np.float64),
        )

    def mean(
        self, path: Float[np.ndarray, "*trial time channel"], times: Float[np.ndarray, "time"]
    ) -> Float[np.ndarray, "*trial unit"]:
        """The mean of Y at the last of the times, exact where the path is linear between them."""
        units, channels = self.input_weights.shape
        block = np.zeros((units + channels, units + channels))
        block[:units, :units], block[:units, units:] = self.drift, self.input_weights
        found = np.broadcast_to(self.start, (*path.shape[:-2], units))
        moves: dict[float, np.ndarray] = {}
        for step, seconds in enumerate(np.diff(times).tolist()):
            # Steps of a grid are equal up to rounding.
            length = float(f"{seconds:.12g}")
            if length not in moves:
                moves[length] = scipy.linalg.expm(block * length)[:units].T
            velocity = (path[..., step + 1, :] - path[..., step, :]) / seconds
            found = found @ moves[length][:units] + velocity @ moves[length][units:]
        return found

    def mean_of_signature(
        self, integrals: Float[np.ndarray, "*trial term channel"]
    ) -> Float[np.ndarray, "*trial unit"]:
        """``sum_k W^k A I_k`` over the terms that are given (`partial_signature`), of a process from 0."""
        powers = [self.input_weights]
        for _ in range(integrals.shape[-2] - 1):
            powers.append(self.drift @ powers[-1])
        return np.einsum("kuc,...kc->...u", np.stack(powers), integrals)

    def truncation_bound(
        self, readout: Float[np.ndarray, "unit"], variation: float, duration: float, terms: int
    ) -> float:
        """Most that the terms from the `terms`-th on add to ``u^T m_T``, for a path of this total variation.

        ``|u| |A| |x|_TV (|W| T)^K / K! e^{|W| T}`` with K terms and spectral norms: the rest of the exponential series.
        """
        growth = np.linalg.norm(self.drift, 2) * duration
        scale = np.linalg.norm(readout) * np.linalg.norm(self.input_weights, 2) * variation
        return float(scale * growth**terms / math.factorial(terms) * math.exp(growth))

    def covariance(self, duration: float) -> Float[np.ndarray, "unit unit"]:
        """Q_T, the covariance of Y after `duration` s."""
        return covariance(self.drift, self.noise, duration)

    def class_probability(
        self,
        readout: Float[np.ndarray, "unit"],
        offset: float,
        means: Float[np.ndarray, "*trial unit"],
        duration: float,
    ) -> Float[np.ndarray, "*trial"]:
        """Probability of ``u^T Y_T + c > 0``, given the mean of Y_T (`mean`); without noise it is 0 or 1."""
        spread = math.sqrt(max(float(readout @ self.covariance(duration) @ readout), 0.0))
        margins = means @ readout + offset
        if not spread:
            return np.asarray(np.heaviside(margins, 0.5))
        return np.asarray(scipy.special.ndtr(margins / spread))

    def jitter_sensitivity(
        self,
        readout: Float[np.ndarray, "unit"],
        offset: float,
        means: Float[np.ndarray, "*trial unit"],
        duration: float,
    ) -> Float[np.ndarray, "*trial"]:
        """Standard deviation of the probability of class 1 for paths with white jitter, per that of the jitter.

        To first order: a path ``x + kappa B`` moves ``u^T m_T`` by a normal number of variance
        ``kappa^2 u^T R_T u``, where R_T is `covariance` with A in the place of Sigma, and the probability by its
        density there. Without noise in the process it is infinite at the boundary, and 0 elsewhere.
        """
        spread = math.sqrt(max(float(readout @ self.covariance(duration) @ readout), 0.0))
        moved = math.sqrt(float(readout @ covariance(self.drift, self.input_weights, duration) @ readout))
        margins = means @ readout + offset
        if not spread:
            return np.where(margins == 0, np.inf, 0.0)
        density = np.exp(-0.5 * np.square(margins / spread)) / math.sqrt(2 * math.pi)
        return np.asarray(moved / spread * density)
