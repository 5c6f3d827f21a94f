"""What each level of description says of a network against a reference, and where the levels disagree.

Low predictivity is not by itself another mechanism, nor high predictivity the same one: activity, dynamics and
topology are shown side by side, never averaged.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.members import network_label, network_labels

SAME_ACTIVITY = 0.5
"""Null-space r2 to the reference from which on the activity counts as the same (ours)."""
QUANTILE = 0.95
"""Dynamics and topology are the same where they differ from the reference no more than this share of the pairs of
solved standard networks differ from each other (ours)."""

COLUMNS = [
    *("task", "population", "seed", "round", "solved", "compared_to", "r2_null", "dsa", "dsa_bound", "topology"),
    *("topology_bound", "same_activity", "same_dynamics", "same_topology", "disagreement"),
]
"""The columns of `levels.csv`, also where it has no rows."""


def levels(
    table: pd.DataFrame,
    predictivity: Mapping[str, xr.Dataset],
    dsa: Mapping[str, xr.Dataset],
    points: Mapping[str, xr.Dataset],
) -> pd.DataFrame:
    """One row per trained network: each level relative to the reference, and a word where the levels disagree.

    The reference of a deflated network is round 0 of its chain, that of any other network round 0 of the first chain
    of the task's last deflated population; references themselves, tasks without chains, and chains
    that begin with a recording, whose dynamics are not known, have no rows.

    Parameters
    ----------
    table : the rows of `networks.csv`.
    predictivity, dsa, points : by task, `predictivity.nc`, `dsa.nc` and `fixed_points.nc`.

    Returns
    -------
    compared_to : label of the reference.
    r2_null : null-space predictivity to it.
    dsa : dynamical similarity distance to it in rad.
    topology : largest difference, over static inputs, of the number of stable points or of cycles.
    same_activity, same_dynamics, same_topology : whether each is the same, the last two by the bounds that the
        standards set (`dsa_bound`, `topology_bound`); empty where too few of them are solved.
    disagreement : empty where all that are known say the same, else which of them say "same".
    """
    rows = [
        row
        for task, part in table[table["iterations"] > 0].groupby("task", sort=False)
        for row in _of_task(part, predictivity[str(task)], dsa[str(task)], points[str(task)])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_task(
    table: pd.DataFrame, predictivity: xr.Dataset, dynamics: xr.Dataset, points: xr.Dataset
) -> list[dict[str, object]]:
    later = table["round"] > 0
    if later.any():
        recorded = later & ~(table["reference"] + "/0/0").isin(predictivity["target"].values)
        table = table[~recorded]
    chains = list(dict.fromkeys(table.loc[table["round"] > 0, "population"]))
    if not chains:
        return []
    references = set(table.loc[table["population"].isin(chains), "reference"])
    common = network_label(table.loc[table["population"] == chains[-1], "reference"].iloc[0], 0, 0)
    topology = _topology_distance(points)

    labels = network_labels(table)
    standard = (table["solved"] & ~table["population"].isin([*chains, *references])).to_numpy()
    standards = [label for label, chosen in zip(labels, standard, strict=True) if chosen]
    dsa_bound, topology_bound = (_bound(distance, standards) for distance in (dynamics["distance"], topology))

    rows: list[dict[str, object]] = []
    for label, (_, row) in zip(labels, table.iterrows(), strict=True):
        to = network_label(row["reference"], row["seed"], 0) if row["population"] in chains else common
        if label == to:
            continue
        pair = {"network": label, "network_to": to}
        r2 = float(predictivity["r2"].sel(space="null", predictor=label, target=to))
        dsa = float(dynamics["distance"].sel(pair))
        differing = float(topology.sel(pair))
        same = {
            "activity": _within(-r2, -SAME_ACTIVITY),
            "dynamics": _within(dsa, dsa_bound),
            "topology": _within(differing, topology_bound),
        }
        agreeing = [name for name, value in same.items() if value]
        known = [value for value in same.values() if value is not None]
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
                "disagreement": "" if len(agreeing) in (0, len(known)) else f"same {' and '.join(agreeing)} only",
            }
        )
    return rows


def _within(value: float, bound: float) -> bool | None:
    """Whether a value is within a bound; None where there is no value or no bound."""
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
