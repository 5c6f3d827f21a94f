"""Line attractors: do points lie along a line, along which evidence is integrated, and which evidence is selected?

Mante et al. (2013, Nature 503:78): in each context the slow points of a trained network lie on a line. The right
eigenvector of the slowest mode at each point is along the line, and the left one, the selection vector, says which
inputs move the state along it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from insd.analysis.base import Analysis, Column, Job
from insd.datasets import Contract

if TYPE_CHECKING:
    from insd.settings.config import Settings

HELD = ("held_straightness", "held_curve", "held_extent", "held_leading_real", "held_leading_imag", "held_second_real")
"""Of the states in which a network holds evidence, by static input (`insd.dynamics.held`)."""
HELD_OF_EVIDENCE = ("held_correlation", "held_graded")
"""The same by evidence, too."""
CONTRACT = Contract(
    {
        "direction": ("network", "condition", "unit"),
        "selection": ("network", "condition", "unit"),
        "straightness": ("network", "condition"),
        "extent": ("network", "condition"),
        "selected_evidence": ("network", "condition", "evidence"),
        "direct_evidence": ("network", "condition", "evidence"),
    },
    optional={
        **dict.fromkeys(HELD, ("network", "condition")),
        **dict.fromkeys(HELD_OF_EVIDENCE, ("network", "condition", "evidence")),
    },
    # Fewer than three points make no line, and under some constant inputs no evidence ends.
    may_be_nan=frozenset(
        {"direction", "selection", "straightness", "extent", "selected_evidence", "direct_evidence"}
        | {*HELD, *HELD_OF_EVIDENCE}
    ),
)
"""What its file holds."""

LEAST_POINTS = 3
"""Any two points lie on a line."""


def line_attractor(
    points: xr.Dataset, input_weights: Float[np.ndarray, "network unit input"], evidence_inputs: Sequence[str]
) -> xr.Dataset:
    """The line along which points lie, for each network and condition of a `fixed_points` dataset.

    `points` names networks (`searched_network`) and conditions (`searched_condition`); `input_weights` are those of the
    networks in that order, with the inputs of the dataset (`input`); `evidence_inputs` are the names of the inputs that
    are integrated. Where input weights are NaN, as in networks whose inputs are gated,
    `selected_evidence` and `direct_evidence` are not either.

    Returns
    -------
    By network and condition. The numbers of a line are NaN where there are fewer than three points, and those that
    needs a real leading mode also where no point has one; the last two need one point only.

    - `n_points`: fixed and slow points; `n_real`: those whose leading eigenvalue is real.
    - `direction` (unit): first principal axis of the points, of unit norm, with the sign that makes the sum of its
      components positive.
    - `straightness`: share of the points' variance along the direction; `extent`: range of the points along it.
    - `mode_alignment`: median ``|cos|`` between the leading right eigenvectors and the direction, over points whose
      leading mode is real.
    - `selection` (unit): mean left eigenvector of those points, each with the sign that makes its right eigenvector
      point along the direction.
    - `selected_evidence` (evidence): product of the selection vector with each evidence input's weights; how far along
      the leading mode an input pushes the state, per unit of input and time constant.
    - `direct_evidence` (evidence): product of the direction with the weights: how far the input itself, before any
      dynamics, pushes along the line.
    - `leading_real`, `leading_imag`: the leading eigenvalue (1/s), median over all points.
    - `mode_selection` (evidence): the modulus of the product of the leading left eigenvector with each evidence input's
      weights, median over all points. It needs no line: networks may integrate in a mode that oscillates.
    """
    networks, conditions = points["searched_network"].values, points["searched_condition"].values
    columns = [list(points["input"].values).index(name) for name in evidence_inputs]
    units = points.sizes["unit"]
    shape = len(networks), len(conditions)

    def empty(*more: int) -> np.ndarray:
        return np.full((*shape, *more), np.nan)

    scalars = ("straightness", "extent", "mode_alignment", "leading_real", "leading_imag")
    result = {name: (("network", "condition"), empty()) for name in scalars}
    counts = {name: (("network", "condition"), np.zeros(shape, int)) for name in ("n_points", "n_real")}
    vectors = {name: (("network", "condition", "unit"), empty(units)) for name in ("direction", "selection")}
    evidence = {
        name: (("network", "condition", "evidence"), empty(len(columns)))
        for name in ("selected_evidence", "direct_evidence", "mode_selection")
    }
    for network, label in enumerate(networks):
        for condition, name in enumerate(conditions):
            here = (points["network"].values == label) & (points["condition"].values == name)
            found = points.isel(point=here)
            real = found["eigenvalues_imag"].values[:, 0] == 0
            at = network, condition
            counts["n_points"][1][at], counts["n_real"][1][at] = here.sum(), real.sum()
            if here.any():
                result["leading_real"][1][at] = np.median(found["eigenvalues_real"].values[:, 0])
                result["leading_imag"][1][at] = np.median(found["eigenvalues_imag"].values[:, 0])
                evidence["mode_selection"][1][at] = np.median(found["input_selection"].values[:, columns], axis=0)
            if here.sum() < LEAST_POINTS:
                continue

            centred = found["state"].values - found["state"].values.mean(0)
            spread, axes = np.linalg.svd(centred, full_matrices=False)[1:]
            direction = axes[0] * (1.0 if axes[0].sum() >= 0 else -1.0)
            weights = input_weights[network][:, columns]
            vectors["direction"][1][at] = direction
            result["straightness"][1][at] = spread[0] ** 2 / np.square(spread).sum()
            result["extent"][1][at] = np.ptp(centred @ direction)
            evidence["direct_evidence"][1][at] = direction @ weights
            if real.any():
                cosines = found["right_eigenvector_real"].values[real] @ direction
                signs = np.where(cosines < 0, -1.0, 1.0)
                selection = (signs[:, None] * found["left_eigenvector_real"].values[real]).mean(0)
                vectors["selection"][1][at] = selection
                result["mode_alignment"][1][at] = np.median(np.abs(cosines))
                evidence["selected_evidence"][1][at] = selection @ weights
    return xr.Dataset(
        {**counts, **result, **vectors, **evidence},
        coords={"network": networks, "condition": conditions, "evidence": list(evidence_inputs)},
    )


def applies(settings: "Settings", task: str) -> bool:
    """Tasks that integrate evidence."""
    return bool(settings.task(task).evidence_inputs)


def run(job: Job) -> Mapping[str, xr.Dataset]:
    """`line_attractor` of the points that were found, and what networks hold of the evidence after its end."""
    from insd.dynamics.held import held
    from insd.networks.base import constant_input_weights

    points = job.analyses["fixed_points"]
    # The search may be of fewer populations.
    searched = set(points["searched_network"].values.tolist())
    members = [member for member in job.members if member.label in searched]
    weights = [constant_input_weights(member.network) for member in members if member.network is not None]
    points = points.sel(searched_network=[member.label for member in members])
    result = line_attractor(points, np.concatenate(weights), job.task.evidence_inputs)
    trials = job.trials["test"]
    if "delay_time" in trials.coords:
        result = result.merge(held(job.task, members, trials, points["searched_condition"].values.tolist()))
    return {"line_attractor": result}


LINE = {"curve": 0.9, "extent": 0.5, "graded": 0.8, "rate": 1.0}
"""What makes a line of slow points of the states in which evidence is held (ours): at least 90 % of their variance is
on one curve, half of their spread is kept, position and evidence correlate by at least .8 within each sign, and the
leading eigenvalue is within 1/s of 0: ten times as slow as the default time constant."""


def lines(result: xr.Dataset) -> xr.DataArray:
    """Whether there is a line of slow points (`LINE`), by network and condition."""
    slow = abs(result["held_leading_real"]) <= LINE["rate"]
    return (
        slow
        & (result["held_curve"] >= LINE["curve"])
        & (result["held_extent"] >= LINE["extent"])
        & (result["held_graded"].max("evidence") >= LINE["graded"])
    )


def columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """The number of `lines`, and over the static inputs under which evidence is held, the worst of what they need."""
    found = pd.DataFrame(index=table.index)
    if "held_curve" not in result:
        return found.assign(**dict.fromkeys(COLUMNS, np.nan))
    rate = abs(result["held_leading_real"]).max("condition")
    worst = {
        "line_attractors": lines(result).sum("condition").where(rate.notnull()),
        "line_curve": result["held_curve"].min("condition"),
        "line_extent": result["held_extent"].min("condition"),
        "line_graded": result["held_graded"].max("evidence").min("condition"),
        "line_rate": rate,
    }
    for name, values in worst.items():
        found[name] = pd.Series(values.values.astype(float), result["network"].values)
    return found


_WORST = "a second after the end of the evidence, the lowest over contexts"
COLUMNS = {
    "line_attractors": Column("contexts with a line of slow points (docs/analyses/line_attractor.md)", "", 0),
    "line_curve": Column(f"share of the states' variance along one curve {_WORST}", "", None, 1),
    "line_extent": Column(f"spread of the states relative to that at the end of the evidence {_WORST}", "", 0),
    "line_graded": Column(f"|r| of states and evidence within trials of one sign {_WORST}", "", 0, 1),
    "line_rate": Column("largest modulus of the leading eigenvalue's real part there, over contexts", "1/s", 0),
}
"""What its columns of `networks.csv` hold."""

ANALYSIS = Analysis(
    description="The line along which the points of each network lie, and the evidence that moves its state along it.",
    writes={"line_attractor": CONTRACT},
    run=run,
    reads=("analysis/fixed_points", "trials/test"),
    needs=("Flowing",),
    applies=applies,
    columns=columns,
    dictionary=COLUMNS,
    memory_mb=1500,
    minutes=10,
)
"""What the workflow knows of this analysis."""
