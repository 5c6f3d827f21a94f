"""Fixed points, slow points and cycles of all networks of a task under each of its static inputs."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.base import Analysis, AnalysisSettings, Column, Job
from insd.datasets import Contract
from insd.dynamics.settings import FixedPoints
from insd.provenance import random_seed

CONTRACT = Contract(
    {
        "state": ("point", "unit"),
        "network": ("point",),
        "condition": ("point",),
        "kind": ("point",),
        "speed": ("point",),
        "stable": ("point",),
        "stable_flow": ("point",),
        "returns": ("point",),
        "eigenvalues_real": ("point", "unit"),
        "eigenvalues_imag": ("point", "unit"),
        "right_eigenvector_real": ("point", "unit"),
        "right_eigenvector_imag": ("point", "unit"),
        "left_eigenvector_real": ("point", "unit"),
        "left_eigenvector_imag": ("point", "unit"),
        "input_selection": ("point", "input"),
        "cycle_state": ("cycle", "unit"),
        "cycle_network": ("cycle",),
        "cycle_condition": ("cycle",),
        "cycle_period": ("cycle",),
        "cycle_step_artefact": ("cycle",),
        "n_fixed_points": ("searched_network", "searched_condition"),
        "n_stable_fixed_points": ("searched_network", "searched_condition"),
        "n_not_returned_to": ("searched_network", "searched_condition"),
        "n_slow_points": ("searched_network", "searched_condition"),
        "n_outliers": ("searched_network", "searched_condition"),
        "n_cycles": ("searched_network", "searched_condition"),
        "share_at_points": ("searched_network", "searched_condition"),
        "share_at_cycles": ("searched_network", "searched_condition"),
        "share_slow": ("searched_network", "searched_condition"),
        "share_elsewhere": ("searched_network", "searched_condition"),
        "share_drifting": ("searched_network", "searched_condition"),
        "share_recurrent": ("searched_network", "searched_condition"),
    },
    # Networks of fewer units than others leave the rest of their rows empty.
    may_be_nan=frozenset(
        {"state", "eigenvalues_real", "eigenvalues_imag", "cycle_state"}
        | {f"{side}_eigenvector_{part}" for side in ("right", "left") for part in ("real", "imag")}
    ),
    text=frozenset({"network", "condition", "kind", "cycle_network", "cycle_condition"}),
)
"""What its file holds."""


COUNTS = ("n_fixed_points", "n_stable_fixed_points", "n_not_returned_to", "n_slow_points", "n_cycles")
"""Counts that `networks.csv` has as sums over the static inputs of the task."""


_SHARE = "mean share of autonomous runs, over static inputs, that"
COLUMNS = {
    "n_fixed_points": Column("fixed points, over all static inputs", "", 0),
    "n_stable_fixed_points": Column("stable fixed points that perturbed runs return to, over all static inputs", "", 0),
    "n_not_returned_to": Column(
        "points with stable eigenvalues that perturbed runs leave, over all static inputs", "", 0
    ),
    "n_slow_points": Column("slow points, over all static inputs", "", 0),
    "n_cycles": Column("limit cycles, over all static inputs, without artefacts of the time step", "", 0),
    "runs_elsewhere": Column(f"{_SHARE} end at none of the points or cycles", "", 0, 1),
    "runs_drifting": Column(f"{_SHARE} end elsewhere and are slow", "", 0, 1),
    "runs_recurrent": Column(f"{_SHARE} end elsewhere and keep their amplitude: a torus or chaos", "", 0, 1),
}
"""What its columns of `networks.csv` hold."""


class FixedPointsSettings(AnalysisSettings, FixedPoints):
    """The search for fixed points, slow points and cycles; the defaults were chosen on trained networks."""


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`insd.dynamics.search.fixed_points` of all networks, from states along their trajectories on the test trials."""
    from insd.dynamics.search import fixed_points
    from insd.jobs import return_freed_memory

    return_freed_memory()
    if not job.members:
        return {"fixed_points": _none(job)}
    seed = random_seed("fixed points", job.name)
    return {"fixed_points": fixed_points(job.task, job.members, job.trials["test"], job.settings, seed)}


def _none(job: Job) -> xr.Dataset:
    """The file of a task none of whose networks has a flow."""
    conditions, inputs = list(job.task.static_inputs()), job.trials["test"]["input"].values
    sizes = {"searched_condition": len(conditions), "input": len(inputs)}
    variables = {
        name: (over, np.empty([sizes.get(one, 0) for one in over], "U1" if name in CONTRACT.text else float))
        for name, over in CONTRACT.variables.items()
    }
    coordinates = {"searched_network": np.array([], "U1"), "searched_condition": conditions, "input": inputs}
    return xr.Dataset(variables, coordinates)


def join(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """`insd.dynamics.search.of_networks`."""
    from insd.dynamics.search import of_networks

    return of_networks(parts)


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """Sums of `COUNTS` over static inputs, and mean shares of autonomous runs that end at none of the points or cycles:
    `runs_elsewhere`, of which `runs_drifting` are slow, `runs_recurrent` keep their amplitude and the rest were still
    changing (`insd.dynamics.search`).
    """
    found = pd.DataFrame(index=table.index)
    known = result["searched_network"].values
    for name in COUNTS:
        found[name] = pd.Series(result[name].sum("searched_condition").values.astype(float), known)
    for name in ("elsewhere", "drifting", "recurrent"):
        found[f"runs_{name}"] = pd.Series(result[f"share_{name}"].mean("searched_condition").values, known)
    return found


ANALYSIS = Analysis(
    description="Fixed points, slow points and cycles of all networks of a task under each of its static inputs.",
    writes={"fixed_points": CONTRACT},
    run=run,
    over="networks",
    join=join,
    settings=FixedPointsSettings,
    reads=("trials/test",),
    needs=("Flowing",),
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=4000,
    minutes=120,
)
"""What the workflow knows of this analysis."""
