"""How many equilibria networks have, and how close the rates of spiking networks of their weights come to them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from insd.dynamics.equilibria import fixed_points, spiking_rates
from insd.networks.base import simulated_as
from insd.networks.engine.equilibrium import equilibrium
from insd.plugins import find
from insd.samples import valid_steps


def settles(network: xr.Dataset) -> bool:
    """Whether the rates of a `network.nc` are equilibria: of the architecture `implicit`, or of one derived from it."""
    return issubclass(simulated_as(network), find("network", "implicit").runs_as())


def equilibria(
    network: xr.Dataset,
    inputs: Mapping[str, Sequence[float]],
    trials: xr.Dataset,
    steps: Sequence[int],
    leak: float,
    starts: int,
    seed: int,
) -> dict[str, Float[np.ndarray, "*along"]]:
    """The variables of `equilibria.nc` for one network, of one seed, that `settles`.

    Parameters
    ----------
    inputs : constant inputs by name, under which fixed points are sought.
    trials : their inputs at the last time step, of each trial, are shown to spiking networks throughout.
    steps, leak : see `spiking_rates`.
    starts : number of random rates, uniform between 0 and 1, from which fixed points are sought.

    Returns
    -------
    n_equilibria : (condition) distinct fixed points under each constant input, stable or not.
    share_lost : (condition) share of the starts that lead to none.
    contraction : (), ``|W| / V``, by which distances shrink in a step, or more.
    if_error, lif_error : (step) mean distance of rates to the equilibrium, over units and trials, of integrate-and-fire
        units and of leaky ones.
    """
    threshold = float(network.attrs["threshold"])
    weights, into, bias = (
        network[name].values[0].astype(float) for name in ("recurrent_weights", "input_weights", "bias")
    )
    random = np.random.default_rng(seed)
    found = [
        fixed_points(weights, into @ values + bias, threshold, random.uniform(size=(starts, len(bias))))
        for values in inputs.values()
    ]
    last = valid_steps(trials).sum(1) - 1
    drive = trials["inputs"].values[np.arange(len(last)), last].astype(float) @ into.T + bias
    w, h, start = (torch.from_numpy(values)[None] for values in (weights, drive, np.zeros(len(bias))))
    settled = equilibrium(w, h, start, threshold)[0].numpy()
    if_error, lif_error = (
        np.abs(spiking_rates(weights, drive, threshold, steps, kept) - settled).mean((1, 2)) for kept in (1.0, leak)
    )
    return {
        "n_equilibria": np.array([len(points) for points, _ in found], float),
        "share_lost": np.array([lost for _, lost in found]),
        "contraction": np.array(np.linalg.norm(weights, 2) / threshold),
        "if_error": if_error,
        "lif_error": lif_error,
    }
