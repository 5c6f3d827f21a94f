"""Ways to other solutions side by side: how far each leads, at which loss and cost, to which topology, and how far the
loss rose on the way. A way ("generator") is a population with alternatives or controls.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from insd.cohorts import (
    ALTERNATIVE,
    CONTROL,
    matched,
    network_label,
    network_labels,
    of_references,
    of_role,
    reference_labels,
    solved,
    standards_of,
)
from insd.provenance import random_seed
from insd.tables.cells import cell
from insd.tables.comparisons import clustered_interval, mean_interval

DISTANCES = {"r2": "1 − null-space r²", "cka": "1 − CKA", "dsa": "DSA (rad)"}
"""The distances to the reference, with their names on pages and in figures."""
CKA = "cka_full"
"""CKA of all rates in `similarity.nc`."""
POINTS = {"stable_points": "n_stable_fixed_points", "cycles": "n_cycles"}
"""The columns on topology, by the columns of `networks.csv` that they are from."""
SAME = ("role", "term", "solved", "matched", "excess_loss", "ceiling", "excursion", "excursion_tried")
"""The columns that are those of `networks.csv`."""
GENERATOR_COLUMNS = [
    *("task", "population", "seed", "round", "chain", *SAME),
    *(f"distance_{name}" for name in DISTANCES),
    *(f"far_{name}" for name in DISTANCES),
    *(one for name in POINTS for one in (name, f"{name}_of_reference")),
    "core_minutes",
]
"""The columns of `generators.csv`, also where it has no rows."""
MEANS = (*(f"distance_{name}" for name in DISTANCES), "excess_loss", "core_minutes")
"""The columns whose means over matched networks the summary has, with intervals."""
SUMMARY_COLUMNS = [
    *("task", "population", "role", "term", "networks", "solved", "matched", "chains"),
    *(f"{name}{end}" for name in MEANS for end in ("", "_low", "_high")),
    *(f"beyond_{name}" for name in DISTANCES),
    *(one for name in POINTS for one in (name, f"{name}_of_reference", f"{name}_changed")),
    *("low", "above_ceiling", "largest_excursion", "largest_tried", "compared_to"),
    *(f"difference_{name}{end}" for name in DISTANCES for end in ("", "_low", "_high")),
]
"""The columns of `generators_summary.csv`, also where it has no rows."""
Job = tuple[str, int, int, str]
"""Population, seed and round of a network, and the benchmark file of the job that made it."""


def core_minutes(path: str | Path, networks: int) -> float:
    """Time of one core, in minutes, that a job took for each of the networks that it made side by side, from the
    benchmark file that Snakemake writes; NaN where that is missing or broken.

    It is the time on the clock: rules ask for one core, and Snakemake samples processor time too rarely for short jobs.
    A job that was resumed from a checkpoint counts with its last part alone.
    """
    with suppress(OSError, ValueError, KeyError, IndexError):
        return float(pd.read_csv(path, sep="\t")["s"].iloc[0]) / 60 / networks
    return float("nan")


def generators(
    table: pd.DataFrame,
    predictivity: Mapping[str, xr.Dataset],
    similarity: Mapping[str, xr.Dataset],
    dsa: Mapping[str, xr.Dataset],
    costs: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """One row per alternative and control.

    Parameters
    ----------
    table : `networks.csv`.
    predictivity, similarity, dsa : by task, the files of these names.
    costs : by task and label, what `core_minutes` says.

    Returns
    -------
    distance_r2 : 1 minus the null-space r2, network -> reference.
    distance_cka : 1 minus CKA with the reference; empty unless `analysis.similarity.measures` has `cka`.
    distance_dsa : distance of dynamical similarity to the reference, in rad.
    far_r2, far_cka, far_dsa : the largest such distance between two solved standards of its population, of r2 in either
        direction.
    stable_points, cycles : of the network, and `_of_reference`.
    core_minutes : of its own training or walk, without its reference; empty where it was not measured, as in an archive
        without benchmarks. It is comparable only among networks that were made on one machine, as many at a time.
    """
    parts = [
        _of_task(rows, _distances(predictivity[str(task)], similarity[str(task)], dsa[str(task)]), costs[str(task)])
        for task, rows in table.groupby("task", sort=False)
    ]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=GENERATOR_COLUMNS)


def _distances(predictivity: xr.Dataset, similarity: xr.Dataset, dsa: xr.Dataset) -> dict[str, pd.DataFrame]:
    """The distances that there are, each from networks (rows) to networks (columns)."""
    found = {"r2": 1 - predictivity["r2"].sel(space="null").transpose("predictor", "target")}
    if CKA in similarity["measure"].values:
        found["cka"] = 1 - similarity["value"].sel(measure=CKA).transpose("network", "network_to")
    found["dsa"] = dsa["distance"].transpose("network", "network_to")
    return {
        name: pd.DataFrame(matrix.values, matrix[matrix.dims[0]].to_index(), matrix[matrix.dims[1]].to_index())
        for name, matrix in found.items()
    }


def _of_task(table: pd.DataFrame, distances: Mapping[str, pd.DataFrame], costs: Mapping[str, float]) -> pd.DataFrame:
    rows = of_role(table, ALTERNATIVE, CONTROL)
    rows = rows[rows["round"] > 0].reset_index(drop=True)
    labels, to = network_labels(rows), reference_labels(rows)
    found: dict[str, Any] = {name: rows[name] for name in ("task", "population", "seed", "round", "chain", *SAME)}
    far = {
        name: {
            population: _largest(matrix, network_labels(solved(standards_of(table, population))))
            for population in rows["population"].unique()
        }
        for name, matrix in distances.items()
    }
    for name in DISTANCES:
        known = distances.get(name, pd.DataFrame())
        pairs = zip(labels, to, strict=True)
        found[f"distance_{name}"] = [known.at[a, b] if a in known.index and b in known else np.nan for a, b in pairs]
        found[f"far_{name}"] = rows["population"].map(far.get(name, {})).astype(float)
    for name, column in POINTS.items():
        found[name] = rows[column]
        found[f"{name}_of_reference"] = of_references(table, rows, column)
    found["core_minutes"] = [costs.get(label, np.nan) for label in labels]
    return pd.DataFrame(found)[GENERATOR_COLUMNS]


def _largest(matrix: pd.DataFrame, labels: list[str]) -> float:
    """The largest distance between two different networks; NaN without any."""
    values = matrix.reindex(index=labels, columns=labels).to_numpy(float)[~np.eye(len(labels), dtype=bool)]
    values = values[np.isfinite(values)]
    return float(values.max()) if len(values) else float("nan")


def costs_of(jobs: Iterable[Job]) -> dict[str, float]:
    """`core_minutes` of the networks of a task, by label; networks of one job have its file, and share its time."""
    jobs = list(jobs)
    paths = [path for *_, path in jobs]
    return {
        network_label(population, seed, number): core_minutes(path, paths.count(path))
        for population, seed, number, path in jobs
    }


def summary(rows: pd.DataFrame, compared_to: str | None, confidence: float, resamples: int) -> pd.DataFrame:
    """One row per task and population of `generators`.

    Parameters
    ----------
    rows : what `generators` returns.
    compared_to : a population whose distances are subtracted from those of every other; None for none.
    confidence, resamples : of bootstrap intervals, over chains.

    Returns
    -------
    networks, solved, matched : how many; chains : those of the matched ones.
    distance_r2, ..., core_minutes : means over matched networks, each with the ends of its interval (`_low`, `_high`),
        which are empty for fewer than two chains.
    beyond_r2, beyond_cka, beyond_dsa : matched networks that are farther from their reference than any two standards
        are from each other; empty where no distance of both kinds is known.
    stable_points, cycles : medians over matched networks and (`_of_reference`) their references; `_changed`: matched
        networks that have a different number, empty where no number of both is known.
    low : networks, matched or not, whose loss was at or below the ceiling on the way; above_ceiling : those of them
        whose loss was above it later; largest_excursion, largest_tried : the largest losses of all of them.
    compared_to, difference_r2, ... : that population, and mean distances minus its own, with intervals.
    """
    found = []
    for task, of_task in rows.groupby("task", sort=False):
        base = of_task[(of_task["population"] == compared_to) & matched(of_task)]
        for population, own in of_task.groupby("population", sort=False):
            level, first = own[matched(own)], own.iloc[0]
            seed = random_seed("generators", str(task), str(population))
            row: dict[str, Any] = {name: first[name] for name in ("task", "population", "role", "term")}
            row |= {"networks": len(own), "solved": int(own["solved"].sum()), "matched": len(level)}
            row |= {"chains": level["chain"].nunique()}
            for name in MEANS:
                row |= _mean(name, level, None, confidence, resamples, seed)
            for name in DISTANCES:
                both = level[[f"distance_{name}", f"far_{name}"]].astype(float).dropna()
                row[f"beyond_{name}"] = _count(both.iloc[:, 0] > both.iloc[:, 1])
            for name in POINTS:
                both = level[[name, f"{name}_of_reference"]].astype(float)
                row |= {str(column): value for column, value in both.median().items()}
                both = both.dropna()
                row[f"{name}_changed"] = _count(both.iloc[:, 0] != both.iloc[:, 1])
            row |= {"low": int(own["excursion"].notna().sum()), "largest_excursion": own["excursion"].max()}
            row |= {"above_ceiling": int((own["excursion"] > own["ceiling"]).sum())}
            row |= {"largest_tried": own["excursion_tried"].max()}
            if population != compared_to and len(base):
                row["compared_to"] = compared_to
                for name in DISTANCES:
                    row |= _mean(f"distance_{name}", level, base, confidence, resamples, seed)
            found.append(row)
    return pd.DataFrame(found, columns=SUMMARY_COLUMNS)


def _count(holds: pd.Series) -> float:
    """In how many networks something holds; NaN where it is known of none."""
    return float(holds.sum()) if len(holds) else float("nan")


def _mean(
    column: str, rows: pd.DataFrame, base: pd.DataFrame | None, confidence: float, resamples: int, seed: int
) -> dict[str, float]:
    """Mean of a column, less that of other rows if there are any, with the ends of its interval over chains."""
    values, *others = (one.set_index("chain")[column].astype(float).dropna() for one in (rows, base) if one is not None)
    if not others:
        mean, low, high = mean_interval(values, confidence, resamples, seed)
        return {column: mean, f"{column}_low": low, f"{column}_high": high}
    name = column.replace("distance", "difference")
    low, high = clustered_interval(values, others[0], confidence, resamples, seed)
    return {name: float(values.mean() - others[0].mean()), f"{name}_low": low, f"{name}_high": high}


def generators_page(rows: pd.DataFrame, means: pd.DataFrame, confidence: float) -> str:
    """The summary as Markdown, a section per task; `rows` are those of `generators`, `means` those of `summary`."""
    parts = ["# Which way leads to another solution?\n", "<!-- Generated by the rule `generators`. -->\n"]
    parts.append(
        "Distances and costs are means over networks that are matched with their standards, with "
        f"{100 * confidence:g} % bootstrap intervals over chains. Core-minutes are those of the machine that made "
        "the networks.\n"
    )
    distances = " | ".join(DISTANCES.values())
    head = (
        f"| population | term | matched | {distances} | beyond standards: r², CKA, DSA | excess loss | core-minutes | "
        "stable points, of references | changed | cycles, of references | ever low | above the ceiling later | "
        "largest loss since low | with steps taken back |"
    )
    for task, of_task in means.groupby("task", sort=False):
        parts += [f"## {str(task).replace('_', ' ')}\n", head, "|---" * 16 + "|"]
        parts += [_line(row) for row in of_task.to_dict("records")]
        own = rows[rows["task"] == task]
        far = [f"{label} {own[f'far_{name}'].max():.2f}" for name, label in DISTANCES.items() if _any(own, name)]
        parts.append(f"\nLargest distance between two standards: {', '.join(far) or 'unknown'}.\n")
        compared = of_task.dropna(subset=["compared_to"])
        if len(compared):
            parts += [f"| farther than `{compared['compared_to'].iloc[0]}` by | {distances} |", "|---" * 4 + "|"]
            for row in compared.to_dict("records"):
                cells = [_interval(row, f"difference_{name}", "+.2f") for name in DISTANCES]
                parts.append(f"| {row['population']} | {' | '.join(cells)} |")
            parts.append("")
    return "\n".join(parts)


def _any(rows: pd.DataFrame, name: str) -> bool:
    return bool(rows[f"far_{name}"].notna().any())


def _line(row: dict[Any, Any]) -> str:
    of = f"of {row['networks']}"
    points = [f"{cell(row[name])}, {cell(row[f'{name}_of_reference'])}" if row["matched"] else "" for name in POINTS]
    cells = [
        row["population"],
        row["term"] if pd.notna(row["term"]) else "",
        f"{row['matched']} {of}",
        *(_interval(row, f"distance_{name}", ".2f") for name in DISTANCES),
        ", ".join(cell(row[f"beyond_{name}"], "g") or "–" for name in DISTANCES),
        _interval(row, "excess_loss", "+.4f"),
        _interval(row, "core_minutes", ".1f"),
        points[0],
        cell(row["stable_points_changed"], "g"),
        points[1],
        f"{row['low']} {of}",
        str(row["above_ceiling"]),
        cell(row["largest_excursion"]),
        cell(row["largest_tried"]),
    ]
    return f"| {' | '.join(cells)} |"


def _interval(row: dict[Any, Any], name: str, form: str) -> str:
    """A mean with its interval, or without one where there are too few chains."""
    if pd.isna(row[name]):
        return ""
    value, low, high = (f"{row[one]:{form}}".replace("-", "−") for one in (name, f"{name}_low", f"{name}_high"))
    return value if pd.isna(row[f"{name}_low"]) else f"{value} ({low} to {high})"
