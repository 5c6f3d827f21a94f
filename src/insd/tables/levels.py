"""A network compared with its reference at each level of description, and where the levels disagree.

Low predictivity is not by itself a different mechanism, nor high predictivity the same one: activity, dynamics and
topology are shown side by side, never averaged.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.cohorts import (
    REFERENCE,
    network_labels,
    reference_labels,
    references,
    solved,
    standards_of,
    trained,
)

SAME_ACTIVITY = 0.5
"""Null-space r2 to the reference from which on the activity counts as the same (ours)."""
QUANTILE = 0.95
"""Dynamics and topology are the same where they differ from the reference no more than this share of the pairs of
solved standard networks differ from each other (ours)."""

LEVEL_COLUMNS = [
    *("task", "population", "seed", "round", "solved", "compared_to", "r2_null", "dsa", "dsa_bound", "topology"),
    *("topology_bound", "same_activity", "same_dynamics", "same_topology", "disagreement"),
]
"""The columns of `levels.csv`, also where it has no rows."""


def levels(
    table: pd.DataFrame,
    chain: str | None,
    predictivity: Mapping[str, xr.Dataset],
    dsa: Mapping[str, xr.Dataset],
    points: Mapping[str, xr.Dataset],
) -> pd.DataFrame:
    """One row per trained network: each level relative to the reference, and a word where the levels disagree.

    A deflated network is compared with the reference of its chain, any other network with each reference of the chains
    that figures show, in a row for each. References themselves have no rows, nor has anything compared with a
    recording, whose dynamics are not known.

    Parameters
    ----------
    table : the rows of `networks.csv`.
    chain : the deflated population that figures show, if any.
    predictivity, dsa, points : by task, `predictivity.nc`, `dsa.nc` and `fixed_points.nc`.

    Returns
    -------
    compared_to : label of the reference.
    r2_null : null-space predictivity to it.
    dsa : dynamical similarity distance to it in rad.
    topology : largest difference, over static inputs, of the number of stable points or of cycles.
    same_activity, same_dynamics, same_topology : whether each is the same, the last two by the bounds that the
        standards set (`dsa_bound`, `topology_bound`); empty where too few of them are solved.
    disagreement : empty if all known levels agree, else the levels that say "same".
    """
    rows = [
        row
        for task, part in trained(table).groupby("task", sort=False)
        for row in _of_task(part, chain, predictivity[str(task)], dsa[str(task)], points[str(task)])
    ]
    return pd.DataFrame(rows, columns=LEVEL_COLUMNS)


def _of_task(
    table: pd.DataFrame, chain: str | None, predictivity: xr.Dataset, dynamics: xr.Dataset, points: xr.Dataset
) -> list[dict[str, object]]:
    # A recording is in no matrix of pairs.
    known = set(predictivity["target"].values.tolist())
    shown = [] if chain is None else [label for label in network_labels(references(table, chain)) if label in known]
    topology = _topology_distance(points)
    bounds = {}
    for population in dict.fromkeys(table["population"]):
        standards = network_labels(solved(standards_of(table, population)))
        bounds[population] = [_bound(distance, standards) for distance in (dynamics["distance"], topology)]

    rows: list[dict[str, object]] = []
    labels = zip(network_labels(table), reference_labels(table), strict=True)
    for (label, own), row in zip(labels, table.to_dict("records"), strict=True):
        if row["role"] == REFERENCE:
            continue
        for to in [own] if row["round"] > 0 else shown:
            if to not in known:
                continue
            pair = {"network": label, "network_to": to}
            r2 = float(predictivity["r2"].sel(space="null", predictor=label, target=to))
            dsa = float(dynamics["distance"].sel(pair))
            differing = float(topology.sel(pair))
            dsa_bound, topology_bound = bounds[row["population"]]
            same = {
                "activity": _within(-r2, -SAME_ACTIVITY),
                "dynamics": _within(dsa, dsa_bound),
                "topology": _within(differing, topology_bound),
            }
            agreeing = [name for name, value in same.items() if value]
            judged = [value for value in same.values() if value is not None]
            rows.append(
                {
                    **{name: row[name] for name in ("task", "population", "seed", "round", "solved")},
                    "compared_to": to,
                    "r2_null": r2,
                    "dsa": dsa,
                    "dsa_bound": dsa_bound,
                    "topology": differing,
                    "topology_bound": topology_bound,
                    **{f"same_{name}": value for name, value in same.items()},
                    "disagreement": "" if len(agreeing) in (0, len(judged)) else f"same {' and '.join(agreeing)} only",
                }
            )
    return rows


def _within(value: float, bound: float) -> bool | None:
    """Whether a value is within a bound; None if either is missing."""
    return None if np.isnan(value) or np.isnan(bound) else value <= bound


def _topology_distance(points: xr.Dataset) -> xr.DataArray:
    """Largest difference, over static inputs, of the number of stable points or of cycles; (network, network_to)."""
    counts = points[["n_stable_fixed_points", "n_cycles"]].to_array("what")
    counts = counts.stack(count=("what", "searched_condition")).transpose("searched_network", "count")
    labels = counts["searched_network"].values
    differences = np.abs(counts.values[:, None] - counts.values[None]).max(-1)
    return xr.DataArray(differences, {"network": labels, "network_to": labels}, ("network", "network_to"))


def _bound(distance: xr.DataArray, labels: list[str]) -> float:
    """The distance that a share `QUANTILE` of pairs of these networks stays within; NaN for fewer than two of them."""
    values = distance.sel(network=labels, network_to=labels).values
    pairs = values[np.triu_indices(len(labels), 1)]
    return float(np.nanquantile(pairs, QUANTILE)) if pairs.size else float("nan")
