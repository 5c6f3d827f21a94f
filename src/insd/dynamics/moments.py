"""The mean and covariance of noisy networks, propagated through their dynamics, and what a simulation says of them.

Networks of additive units (`insd.networks.base.Additive`) in private noise follow ``x <- (1 - alpha) x + alpha (J r +
W_in u + b) + noise`` with ``r = phi(x)``. If x were Gaussian, with the mean mu and covariance P, then by Stein's lemma
the covariance of x and r would be P D with ``D = diag E phi'``, and

    mu <- (1 - alpha) mu + alpha (J E phi + W_in u + b)
    P  <- (1 - alpha)^2 P + alpha (1 - alpha) (J D P + P D J^T) + alpha^2 J C J^T + Q

with the covariance C of the rates and that of the noise of a step, ``Q = 2 alpha sigma_rec^2`` for each unit
(`insd.networks.base.Networks.draw_noise`). The closure is the linear gain between units, ``C_ij = D_i P_ij D_j``; the
variances ``C_ii = Var phi`` are exact. But for these it is ``P <- A P A^T + Q`` with ``A = (1 - alpha) I + alpha J D``.
Averages over one unit are by Gauss-Hermite quadrature.

Source: moments of populations of nonlinear units, as in Qi et al. (arXiv:2305.13982), who have them of spiking ones;
the closure for rate networks is statistical linearisation (Gelb 1974, "Applied optimal estimation", section 6.2).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from insd.bank import Bank
from insd.networks.base import Additive, load_networks, made_of, stacked_weights
from insd.samples import valid_steps

NODES = 48
"""Of the quadrature."""
CLOSE = 0.1
"""Relative error of a predicted standard deviation that counts as close (ours)."""
SIDE_BY_SIDE = 32
"""Repeats of all trials that are simulated at once, which bounds memory."""


class Moments(NamedTuple):
    """Of the outputs of one network at each time of each trial."""

    mean: Float[Tensor, "time trial output"]
    covariance: Float[Tensor, "time trial output output"]


def gaussian_averages(
    rates_of: Callable[[Tensor], Tensor],
    slopes_of: Callable[[Tensor], Tensor],
    means: Float[Tensor, "*any unit"],
    variances: Float[Tensor, "*any unit"],
) -> tuple[Float[Tensor, "*any unit"], Float[Tensor, "*any unit"], Float[Tensor, "*any unit"]]:
    """``E phi``, ``E phi'`` and ``Var phi`` of units whose states are normal, given phi and its derivative.

    By Gauss-Hermite quadrature with `NODES` nodes: to six digits for tanh and a variance up to 1; of phi with a kink,
    such as relu, to about one in a hundred.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    shape = (-1, *(1 for _ in means.shape))
    at = torch.from_numpy(nodes).to(means).view(shape)
    share = torch.from_numpy(weights / weights.sum()).to(means).view(shape)
    states = means + variances.sqrt() * at
    rates = rates_of(states)
    mean = (share * rates).sum(0)
    return mean, (share * slopes_of(states)).sum(0), (share * (rates - mean).square()).sum(0)


def propagated(network: Additive, inputs: Float[Tensor, "time trial input"], variance: float) -> Moments:
    """Predicted moments of the outputs of one network that starts in its initial state, under inputs without noise.

    Parameters
    ----------
    network : one network; in double precision, since covariances are propagated.
    variance : of the private noise of each variable of the state in each step, Q.
    """
    alpha, kept = network.alpha, 1 - network.alpha
    recurrent, readout = network.recurrent_weights[0], network.output_weights[0]
    drive = inputs @ network.input_weights[0].T + network.bias[0]
    trials, units = inputs.shape[1], network.bias.shape[1]
    mean = network.initial_state[0].expand(trials, -1)
    covariance = mean.new_zeros(trials, units, units)
    noise = variance * torch.eye(units, dtype=mean.dtype, device=mean.device)

    def of_rates() -> tuple[Tensor, Tensor, Tensor]:
        """Their mean, their gains, and the variance that the gains do not account for."""
        variances = covariance.diagonal(dim1=1, dim2=2).clamp(min=0)
        average, gains, exact = gaussian_averages(network.rates_of, network.slopes_of, mean, variances)
        return average, gains, exact - gains.square() * variances

    def seen_by(weights: Tensor, gains: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        """Covariance of the states, and of the rates, with weighted sums of the rates."""
        crossed = (covariance * gains[:, None]) @ weights.T
        return crossed, gains[..., None] * crossed + more[..., None] * weights.T

    means, covariances = [], []
    average, gains, more = of_rates()
    for current in drive:
        crossed, of_sums = seen_by(recurrent, gains, more)
        mean = kept * mean + alpha * (average @ recurrent.T + current)
        both = crossed + crossed.transpose(1, 2)
        covariance = kept**2 * covariance + alpha * kept * both + alpha**2 * (recurrent @ of_sums) + noise
        average, gains, more = of_rates()
        means.append(average @ readout.T + network.output_bias[0])
        covariances.append(readout @ seen_by(readout, gains, more)[1])
    return Moments(torch.stack(means), torch.stack(covariances))


def simulated(
    network: xr.Dataset, inputs: Float[Tensor, "time trial input"], dt: float, noise: float, repeats: int, seed: int
) -> Float[Tensor, "repeat time trial output"]:
    """Outputs of a `network.nc` of one seed in private noise, which is drawn again in each repeat of the same inputs.

    Parameters
    ----------
    dt : time step of the inputs in s.
    noise : sigma_rec of the private noise.
    seed : of the noise.
    """
    noisy = made_of(network, stacked_weights([network]), dt / network.attrs["tau"], noise)
    stream = torch.Generator().manual_seed(seed)
    times, trials, _ = inputs.shape
    found = []
    with torch.no_grad():
        for start in range(0, repeats, SIDE_BY_SIDE):
            count = min(SIDE_BY_SIDE, repeats - start)
            drawn = noisy.draw_noise(times, count * trials, [stream])
            outputs = noisy.outputs(inputs.repeat(1, count, 1)[None], drawn)[0]
            found.append(outputs.view(times, count, trials, -1).transpose(0, 1).clone())
    return torch.cat(found)


def output_variability(
    network: xr.Dataset, trials: xr.Dataset, noise: float, repeats: int, seed: int
) -> dict[str, float | Float[np.ndarray, "time"]]:
    """Predicted and simulated variability of the outputs of a `network.nc` of one seed, as variables of `moments.nc`.

    `predicted_sd` and `simulated_sd` (time): standard deviations over repeats of a trial, root mean square over trials
    and outputs. `close` (time): share of trials and outputs whose predicted standard deviation is within `CLOSE` of the
    simulated one. These are NaN at times that no trial lasts to. `sd`, `sd_ratio` and `close_share`: the simulated one,
    predicted over simulated, and the share, each over all times together. `mean_error`: distance of the predicted from
    the simulated mean, root mean square, over the simulated standard deviation.

    The error of a simulated standard deviation is ``1 / sqrt(2 (repeats - 1))`` of it, and that of a mean
    ``1 / sqrt(repeats)``.

    Parameters
    ----------
    noise : sigma_rec of the private noise.
    repeats, seed : of the simulation (`simulated`).
    """
    inputs, dt = Bank.from_trials(trials).inputs, trials.attrs["dt"]
    exact = load_networks([network], dt).double().requires_grad_(False)
    assert isinstance(exact, Additive)
    exact.recurrent_noise = noise
    predicted = propagated(exact, inputs.double(), exact.noise_scale**2)
    outputs = simulated(network, inputs, dt, noise, repeats, seed).double()
    variances = predicted.covariance.diagonal(dim1=2, dim2=3).numpy(), outputs.var(0).numpy()
    shift = (predicted.mean - outputs.mean(0)).square().numpy()
    close = np.abs(np.sqrt(variances[0] / variances[1]) - 1) < CLOSE
    lasts = np.broadcast_to(valid_steps(trials).T[..., None], close.shape)

    def over_time(values: np.ndarray) -> np.ndarray:
        count = lasts.sum((1, 2))
        return np.divide((values * lasts).sum((1, 2)), count, out=np.full(len(count), np.nan), where=count > 0)

    total = [float(values[lasts].mean()) for values in (*variances, shift)]
    return {
        "predicted_sd": np.sqrt(over_time(variances[0])),
        "simulated_sd": np.sqrt(over_time(variances[1])),
        "close": over_time(close),
        "sd": math.sqrt(total[1]),
        "sd_ratio": math.sqrt(total[0] / total[1]),
        "close_share": float(close[lasts].mean()),
        "mean_error": math.sqrt(total[2] / total[1]),
    }
