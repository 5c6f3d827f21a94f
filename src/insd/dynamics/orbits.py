"""One turn of each limit cycle that was found, from the state on it that is stored."""

import math

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from insd.dynamics.flow import flow_of


def cycle_orbit(
    network: xr.Dataset,
    inputs: Float[np.ndarray, "input"],
    state: Float[np.ndarray, "unit"],
    period: float,
) -> Float[np.ndarray, "time unit"]:
    """States along a cycle for one period, first and last being next to each other.

    Parameters
    ----------
    network : one seed of a `network.nc`.
    inputs : the static input that the cycle was found under.
    state, period : `cycle_state` and `cycle_period` (s) of `fixed_points.nc`.
    """
    flow = flow_of(network, inputs, float(network.attrs["dt"]))
    start = torch.from_numpy(state.astype(np.float64))[None]
    steps = math.ceil(period / flow.dt)
    return torch.cat([start[None], flow.run(start, steps, recorded=steps)[1]])[:, 0].numpy()
