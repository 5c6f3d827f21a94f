"""Stable and unstable points near the corners of the cube of outputs, of tasks that hold signs."""

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from insd.analysis.base import Analysis, Job
from insd.datasets import Contract

if TYPE_CHECKING:
    from insd.settings.config import Settings

CONTRACT = Contract({"stable": ("network", "corner"), "unstable": ("network", "corner")})
"""What its file holds."""
NEAR = 0.5
"""Largest difference of an output from that of a corner, -1 or 1 (ours)."""


def applies(settings: "Settings", task: str) -> bool:
    """Tasks that hold a sign in each of several outputs."""
    found = settings.task(task)
    trials = found.sample("test", 1, 0)
    variables = found.variables(trials)
    outputs = trials["output"].values.tolist()
    return len(outputs) > 1 and all(name in variables and variables[name].kind == "sign" for name in outputs)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """Whether each network has a stable, and an unstable, fixed or slow point near each corner under any static input.

    Networks are those whose points were searched. A point is stable if its eigenvalues are and perturbed runs return to
    it. It is near a corner where each output is within `NEAR` of it.
    """
    import torch

    from insd.networks.base import Flowing, load_networks

    points = job.analyses["fixed_points"]
    outputs = job.trials["test"]["output"].values.tolist()
    corners = np.array(list(product((-1.0, 1.0), repeat=len(outputs))))
    searched = set(points["searched_network"].values.tolist())
    members = [member for member in job.members if member.label in searched]
    stable, unstable = (np.zeros((len(members), len(corners)), int) for _ in range(2))
    for index, member in enumerate(members):
        assert member.network is not None
        here = points.isel(point=np.flatnonzero(points["network"].values == member.label))
        networks = load_networks([member.network], job.trials["test"].attrs["dt"])
        assert isinstance(networks, Flowing)
        states = here["state"].values[:, : networks.initial_state.shape[1]]
        with torch.no_grad():
            rates = networks.rates_of(torch.from_numpy(states.astype(np.float32)))
            values = networks.readout(rates[None, None])[0, 0].numpy()
        near = (np.abs(values[:, None] - corners) <= NEAR).all(-1)
        attracts = (here["stable"].values.astype(bool) & here["returns"].values.astype(bool))[:, None]
        stable[index], unstable[index] = (near & attracts).any(0), (near & ~attracts).any(0)
    names = [" ".join(f"{value:+.0f}" for value in corner) for corner in corners]
    return {
        "corners": xr.Dataset(
            {"stable": (("network", "corner"), stable), "unstable": (("network", "corner"), unstable)},
            coords={"network": [member.label for member in members], "corner": names},
        )
    }


ANALYSIS = Analysis(
    description="Stable and unstable points near the corners of the cube of outputs, of tasks that hold signs.",
    writes={"corners": CONTRACT},
    run=run,
    reads=("trials/test", "analysis/fixed_points"),
    needs=("Flowing",),
    applies=applies,
    minutes=10,
)
"""What the workflow knows of this analysis."""
