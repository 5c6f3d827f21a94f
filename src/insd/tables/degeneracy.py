"""How much the networks of a recipe differ at each level of the factors that control it, and what deflation adds.

A group is the networks of one population and round of a task (`degeneracy.nc`). Factors are known from settings, never
from names: two groups of standards whose recipes differ in one setting alone are levels of that factor, and so are two
tasks of one class that differ in one parameter alone, with networks of the same recipe.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from insd.cohorts import ALTERNATIVE, STANDARD, round_name
from insd.objectives.settings.base import term_settings
from insd.tables.cells import cell
from insd.tables.networks import LARGEST_EXCESS

LEVELS = ("behaviour", "dynamics", "weights", "relative_weights", "representation")
"""The levels of degeneracy, as in `degeneracy.nc`."""
COMPLEXITY = "complexity"
"""The factor that is a parameter of tasks."""
PARAMETERS = ("auxiliary", "channels", "delay", "dimensions")
"""Parameters of tasks of which more is more complex; of a span, its end counts (after arXiv 2410.03972)."""
WITHOUT = ("dt", "grid", "regimes")
"""Parameters of tasks that say how networks are tested, and the time step: their levels are not compared by these."""
SETTINGS = {"feature_learning": "feature_learning", "width": "units", "gain": "gain"}
"""Factors that are settings of networks, by the key of the section `network`."""
TERMS = ("nuclear_norm", "l1_norm")
"""Factors that are terms, by the name of the term: their levels are multipliers, 0 without the term."""
FACTORS = {
    COMPLEXITY: "task complexity",
    "feature_learning": "feature learning γ",
    "width": "width N",
    "gain": "initial gain g",
    "nuclear_norm": "nuclear norm, λ",
    "l1_norm": "L1 norm, λ",
}
"""The factors with their names on pages and in figures: those of the publication in its order, and the initial gain,
which alternatives change, too."""
NAMES = {
    "behaviour": "behaviour: sd of losses, longer delay or trial",
    "dynamics": "dynamics: DSA (rad)",
    "weights": "weights: distance per weight",
    "relative_weights": "weights: distance over norms",
    "representation": "representation: 1 − SVCCA",
}
"""The levels, with their names on pages and in figures."""
_ENDS = ("", "_low", "_high")
GROUP_COLUMNS = [
    *("task", "population", "role", "round", "units", "feature_learning", "gain", *TERMS),
    *("networks", "solved", "pairs", "test_loss", "test_loss_low", "test_loss_high", "loss"),
    *(f"{level}{end}" for level in LEVELS for end in _ENDS),
    *("null", "null_high", "weight_change", "relative_weight_change", "kernel_alignment"),
]
"""The columns of `degeneracy.csv`, also where it has no rows."""
FACTOR_COLUMNS = [
    *("factor", "compared", "value", "task", "population", "round", "solved", "test_loss", "matched"),
    *(f"{level}{end}" for level in LEVELS for end in _ENDS),
    *("null", "null_high"),
    *(f"ratio_{level}{end}" for level in LEVELS for end in _ENDS),
]
"""The columns of `degeneracy_factors.csv`, also where it has no rows."""
RATIO_COLUMNS = [
    *("factor", "level", "comparisons", "unmatched", "higher", "lower", "ratio", "ratio_low", "ratio_high"),
]
"""The columns of `degeneracy_ratios.csv`, also where it has no rows."""


@dataclass(frozen=True)
class Place:
    """A group at a level of a factor."""

    value: float
    """The level."""
    row: Mapping[Any, Any]
    """Its row in `degeneracy.csv`."""
    draws: xr.DataArray
    """Its resamples (level, resample)."""
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Groups that differ in one factor alone."""

    factor: str
    compared: str
    places: list[Place]
    """Its levels, the lowest first."""


def group_rows(files: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """`degeneracy.csv`: one row per task and group.

    Parameters
    ----------
    files : by task, `degeneracy.nc`.

    Returns
    -------
    units, feature_learning, gain : of the network's recipe; empty where it has none.
    nuclear_norm, l1_norm : multipliers of these terms, 0 without.
    networks, solved, pairs : how many; only solved ones count below.
    test_loss, test_loss_low, test_loss_high : their median loss on the regime `test`, the least and the largest.
    loss : their mean loss in the regime in which behaviour is compared.
    behaviour, ..., representation : degeneracy of each level, with the ends of its interval over resamples of networks.
    null, null_high : of dynamics, the median distance between two samples of trials of one network, and their largest.
    weight_change, relative_weight_change, kernel_alignment : medians.
    """
    rows = [_row(task, group) for task, file in files.items() for group in _groups(file)]
    return pd.DataFrame(rows, columns=GROUP_COLUMNS)


def _groups(file: xr.Dataset) -> Iterator[xr.Dataset]:
    for place in range(file.sizes["group"]):
        yield file.isel(group=place)


def _row(task: str, group: xr.Dataset) -> dict[str, Any]:
    recipe = json.loads(str(group["recipe"].item()))
    network, terms = recipe.get("network", {}), recipe.get("terms", {})
    row: dict[str, Any] = {"task": task, **{name: str(group[name].item()) for name in ("population", "role")}}
    row |= {"round": int(group["round"])}
    row |= {name: network.get(name) for name in ("units", "feature_learning", "gain")}
    row |= {name: float(terms[name]["multiplier"]) if name in terms else 0.0 for name in TERMS}
    row |= {name: int(group[name]) for name in ("networks", "solved", "pairs")}
    row |= {"test_loss": float(group["test_loss"]), "loss": float(group["loss"])}
    row |= {f"test_loss_{end}": float(group["test_loss_range"].sel(bound=end)) for end in ("low", "high")}
    for level in LEVELS:
        row[level] = float(group["value"].sel(level=level))
        row |= {f"{level}_{end}": float(group["interval"].sel(level=level, bound=end)) for end in ("low", "high")}
    null = group["null"].values[np.isfinite(group["null"].values)]
    row |= {"null": float(np.median(null)), "null_high": float(null.max())} if null.size else {}
    row |= {name: float(group[name]) for name in ("weight_change", "relative_weight_change", "kernel_alignment")}
    return row


def comparisons(
    files: Mapping[str, xr.Dataset],
    rows: pd.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, str],
) -> list[Comparison]:
    """Groups that differ in one factor alone, the lowest level first.

    Parameters
    ----------
    files : by task, `degeneracy.nc`; rows : what `group_rows` makes of them.
    tasks : by task, its class (`class`) and all its parameters.
    references : by population, that of round 0 of its chains.

    Returns
    -------
    factor : one of `FACTORS`; or alt-1, alt-2, ...: deflation, whose levels are 0, standards with the recipe of the
        references, and 1, the alternatives of that round.
    compared : the task, with the population where there would be several of the same name; for complexity the class and
        the parameter that varies. There, of the recipes with the most levels, that which most tasks have is compared.
    """
    draws = {(task, group): file["draws"].sel(group=group) for task, file in files.items() for group in _names(file)}
    recipes = {
        (task, group): json.loads(str(file["recipe"].sel(group=group).item()))
        for task, file in files.items()
        for group in _names(file)
    }
    known = [Place(0.0, row, draws[_key(row)], recipes[_key(row)]) for row in rows.to_dict("records")]
    standards = [place for place in known if place.row["role"] == STANDARD]
    found = [*_of_tasks(standards, tasks)]
    for factor in (*SETTINGS, *TERMS):
        levels: dict[tuple[str, str], list[Place]] = {}
        for place in standards:
            value, rest = _apart(place.recipe, factor)
            if value is not None:
                levels.setdefault((place.row["task"], rest), []).append(replace(place, value=value))
        found += [
            Comparison(factor, task, _in_order(places))
            for (task, _), places in levels.items()
            if len({place.value for place in places}) > 1
        ]
    for place in known:
        if place.row["role"] == ALTERNATIVE:
            reference = recipes.get((place.row["task"], f"{references[place.row['population']]}/0"))
            same = [
                one
                for one in standards
                if one.row["task"] == place.row["task"]
                and reference
                and _task_alone(one.recipe) == _task_alone(reference)
            ]
            if same:
                name = round_name(place.row["round"])
                found.append(Comparison(name, place.row["task"], [same[0], replace(place, value=1.0)]))
    names = [(one.factor, one.compared) for one in found]
    return [
        replace(one, compared=f"{one.compared}: {one.places[-1].row['population']}") if names.count(name) > 1 else one
        for one, name in zip(found, names, strict=True)
    ]


def _names(file: xr.Dataset) -> list[str]:
    return [str(name) for name in file["group"].values]


def _key(row: Mapping[Any, Any]) -> tuple[str, str]:
    """The task and the group of a row."""
    return row["task"], f"{row['population']}/{row['round']}"


def factor_rows(found: Sequence[Comparison], confidence: float) -> pd.DataFrame:
    """`degeneracy_factors.csv`: one row per comparison and level of its factor.

    Returns
    -------
    factor, compared : see `comparisons`; value : the level of the factor.
    matched : whether the median test loss is within `LARGEST_EXCESS` of that of the lowest level.
    test_loss, ..., null_high : as in `degeneracy.csv`.
    ratio_behaviour, ... : over that at the lowest level, with the ends of its interval: both groups are resampled.
    """
    rows = []
    for one in found:
        for place in one.places:
            row: dict[str, Any] = {"factor": one.factor, "compared": one.compared, "value": place.value}
            row |= {name: place.row[name] for name in FACTOR_COLUMNS if name in place.row}
            row["matched"] = _matched(one, place)
            for level in LEVELS if place is not one.places[0] else ():
                name, ends = f"ratio_{level}", _ends(_log_draws(one, place, level), confidence)
                row |= {name: np.exp(_log_ratio(one, place, level))}
                row |= {f"{name}_low": np.exp(ends[0]), f"{name}_high": np.exp(ends[1])}
            rows.append(row)
    return pd.DataFrame(rows, columns=FACTOR_COLUMNS)


def ratio_rows(found: Sequence[Comparison], confidence: float) -> pd.DataFrame:
    """`degeneracy_ratios.csv`: one row per factor and level of degeneracy, over all comparisons at matched loss.

    Returns
    -------
    comparisons : those in which the highest level of the factor is matched with the lowest; unmatched : the others.
        Those in which fewer than two networks solve the task are in neither.
    higher, lower : comparisons in which degeneracy is higher, or lower, at the highest level of the factor.
    ratio, ratio_low, ratio_high : geometric mean of the ratios, with the ends of its interval: all groups resampled.
    """
    rows = []
    for factor in dict.fromkeys(one.factor for one in found):
        of_factor = [one for one in found if one.factor == factor]
        for level in LEVELS:
            ratios = [(one, _log_ratio(one, one.places[-1], level)) for one in of_factor]
            known = [(one, ratio) for one, ratio in ratios if np.isfinite(ratio)]
            matched = [(one, ratio) for one, ratio in known if _matched(one, one.places[-1])]
            row: dict[str, Any] = {"factor": factor, "level": level, "comparisons": len(matched)}
            row |= {"unmatched": len(known) - len(matched)}
            row |= {"higher": sum(ratio > 0 for _, ratio in matched), "lower": sum(ratio < 0 for _, ratio in matched)}
            if matched:
                draws = np.mean([_log_draws(one, one.places[-1], level) for one, _ in matched], axis=0)
                low, high = _ends(draws, confidence)
                row |= {"ratio": np.exp(np.mean([ratio for _, ratio in matched]))}
                row |= {"ratio_low": np.exp(low), "ratio_high": np.exp(high)}
            rows.append(row)
    return pd.DataFrame(rows, columns=RATIO_COLUMNS)


def _matched(one: Comparison, place: Place) -> bool:
    """Whether the median loss of a level is that of the lowest one, up to `LARGEST_EXCESS`."""
    return bool(abs(place.row["test_loss"] - one.places[0].row["test_loss"]) <= LARGEST_EXCESS * (1 + 1e-9))


def _of_tasks(standards: Sequence[Place], tasks: Mapping[str, Mapping[str, Any]]) -> Iterator[Comparison]:
    """Tasks of one class that differ in one parameter."""
    tasks_of: dict[str, set[str]] = {}
    for place in standards:
        tasks_of.setdefault(_of_any_task(place.recipe), set()).add(place.row["task"])
    for parameter in PARAMETERS:
        families: dict[tuple[str, str], dict[str, float]] = {}
        for name, of in tasks.items():
            if parameter in of:
                rest = {key: value for key, value in of.items() if key not in (parameter, *WITHOUT)}
                family = str(of["class"]), json.dumps(rest, sort_keys=True, default=str)
                families.setdefault(family, {})[name] = _amount(of[parameter])
        for (of_class, _), members in families.items():
            by_recipe: dict[str, list[Place]] = {}
            for place in standards:
                if place.row["task"] in members:
                    at = replace(place, value=members[place.row["task"]])
                    by_recipe.setdefault(_of_any_task(place.recipe), []).append(at)
            levels = {name: len({place.value for place in places}) for name, places in by_recipe.items()}
            most = max(levels, key=lambda name: (levels[name], len(tasks_of[name])), default=None)
            if most is not None and levels[most] > 1:
                yield Comparison(COMPLEXITY, f"{of_class}: {parameter}", _in_order(by_recipe[most]))


def _amount(value: Any) -> float:
    """A level of complexity as a number: of a span, its end."""
    return float(value[-1] if isinstance(value, (list, tuple)) else value)


def _in_order(places: Sequence[Place]) -> list[Place]:
    """One group per level, the first of those that have the same."""
    found: dict[float, Place] = {}
    for place in places:
        found.setdefault(place.value, place)
    return [found[value] for value in sorted(found)]


def _of_any_task(recipe: Mapping[str, Any]) -> str:
    """A recipe without what may differ between tasks: when training stops."""
    training = {
        key: value for key, value in recipe.get("training", {}).items() if key not in ("loss_bound", "iterations")
    }
    return json.dumps({**recipe, "training": training}, sort_keys=True)


def _apart(recipe: Mapping[str, Any], factor: str) -> tuple[float | None, str]:
    """The level of a factor, None where the recipe does not know it, and the rest of the recipe."""
    network, terms = dict(recipe.get("network", {})), dict(recipe.get("terms", {}))
    if factor in TERMS:
        value = float(terms.pop(factor, {"multiplier": 0.0})["multiplier"])
    else:
        known = network.pop(SETTINGS[factor], None)
        if known is None:
            return None, ""
        value = float(known)
    return value, json.dumps({**recipe, "network": network, "terms": terms}, sort_keys=True)


def _task_alone(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without the terms that compare a network with earlier ones, which do nothing in round 0."""
    terms = {name: term for name, term in recipe.get("terms", {}).items() if not term_settings(name).compares}
    return {**recipe, "terms": terms}


def _log_ratio(one: Comparison, place: Place, level: str) -> float:
    """Logarithm of the degeneracy of a group over that at the lowest level; NaN where none can be taken."""
    return float(_logs(place.row[level]) - _logs(one.places[0].row[level]))


def _log_draws(one: Comparison, place: Place, level: str) -> Float[np.ndarray, "resample"]:
    """The same of the resamples of both."""
    upper, lower = (_logs(group.draws.sel(level=level).values) for group in (place, one.places[0]))
    return upper - lower


def _logs(values: Any) -> np.ndarray:
    """Logarithms; NaN of what has none, such as resamples of one network alone."""
    values = np.asarray(values, float)
    return np.log(values, out=np.full(values.shape, np.nan), where=values > 0)


def _ends(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """Percentiles of the resamples that have a value."""
    known = draws[np.isfinite(draws)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)


def degeneracy_page(rows: pd.DataFrame, factors: pd.DataFrame, ratios: pd.DataFrame, confidence: float) -> str:
    """The three tables as Markdown: what the factors do, where deflation stands, each comparison, and all groups."""
    percent = f"{100 * confidence:g} %"
    parts = ["# How much do networks of one recipe differ?\n", "<!-- Generated by the rule `degeneracy_table`. -->\n"]
    parts.append(
        "Degeneracy at the highest level of each factor over that at the lowest, of alternatives over standards; "
        f"geometric means over comparisons at matched loss, with {percent} intervals over resampled networks. A median "
        f"test loss within {LARGEST_EXCESS:g} of that at the lowest level is matched. Where fewer than two networks "
        "of a level solve the task, there is no ratio.\n"
    )
    parts += [f"| factor | {' | '.join(NAMES.values())} | matched |", "|---" * (len(LEVELS) + 2) + "|"]
    for factor, own in ratios.groupby("factor", sort=False):
        by_level = own.set_index("level")
        cells = [_interval(by_level.loc[level].to_dict(), "ratio") for level in LEVELS]
        counts = f"{own['comparisons'].max()} of {(own['comparisons'] + own['unmatched']).max()}"
        parts.append(f"| {FACTORS.get(str(factor), factor)} | {' | '.join(cells)} | {counts} |")
    parts += ["", "## Comparison by comparison\n"]
    head = "| factor | compared | level | population | task | solved | test loss | matched |"
    parts += [f"{head} {' | '.join(NAMES.values())} |", "|---" * (len(LEVELS) + 8) + "|"]
    for row in factors.to_dict("records"):
        cells = [FACTORS.get(row["factor"], row["factor"]), row["compared"], f"{row['value']:g}", row["population"]]
        cells += [row["task"], str(row["solved"]), cell(row["test_loss"]), "yes" if row["matched"] else "**no**"]
        parts.append(f"| {' | '.join(cells)} | {' | '.join(_interval(row, level) for level in LEVELS)} |")
    parts += ["", "## All groups\n"]
    head = "| task | population | round | solved | test loss, least to largest | DSA of one network, resampled |"
    parts += [f"{head} change of weights | kernel alignment |", "|---" * 8 + "|"]
    for row in rows.to_dict("records"):
        cells = [row["task"], row["population"], str(row["round"]), f"{row['solved']} of {row['networks']}"]
        cells.append(_interval(row, "test_loss"))
        cells += [cell(row[name]) for name in ("null", "weight_change", "kernel_alignment")]
        parts.append(f"| {' | '.join(cells)} |")
    return "\n".join([*parts, ""])


def _interval(row: Mapping[Any, Any], name: str) -> str:
    """A number with the ends of its interval, if it has one."""
    if pd.isna(row[name]):
        return ""
    if pd.isna(row[f"{name}_low"]):
        return cell(row[name])
    return f"{cell(row[name])} ({cell(row[f'{name}_low'])} to {cell(row[f'{name}_high'])})"
