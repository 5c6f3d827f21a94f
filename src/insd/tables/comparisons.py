"""Where alternatives do better or worse than standard networks, with intervals over networks and trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import scipy.stats
import xarray as xr
from jaxtyping import Float

from insd.cohorts import ALTERNATIVE, network_labels, of_role, solved, standards_of
from insd.provenance import random_seed

CONDITIONS = {
    "": "regime",
    "grid_": "grid",
    "noise_": "private noise",
    "jitter_": "weight jitter",
    "silence_": "silenced units",
    "kick_": "state kick",
    "half_step_": "half the time step",
}
"""The conditions that networks are compared under, by the prefix of score and loss in `performance.nc` and
`robustness.nc`."""
IN_WORDS = {
    "better": "better",
    "equal": "no difference shown",
    "worse": "worse",
    "too few": "too few",
    "not measured": "not measured",
    "diverged": "diverged",
}
"""What people read for each verdict: an interval around 0 shows no difference, which is not that there is none."""
WITHOUT_INTERVAL = ("too few", "not measured", "diverged")
"""The verdicts of comparisons that have no interval, and why."""
COMPARISON_COLUMNS = [
    *("task", "population", "round", "measure", "quantity", "level", "duration"),
    *("n_alternatives", "n_standards", "matched_alternatives", "unsolved_alternatives", "unsolved_standards"),
    *("difference", "low", "high", "effect", "verdict", "n_comparisons"),
]
"""Columns of the table of comparisons, which has them also where there is nothing to compare."""


def comparisons(
    table: pd.DataFrame,
    performance: Mapping[str, xr.Dataset],
    robustness: Mapping[str, xr.Dataset],
    confidence: float = 0.95,
    resamples: int = 9999,
) -> pd.DataFrame:
    """Alternatives against the standard networks of their task under every condition, one row per comparison.

    Alternatives are those of one population and round; standards are those of their population. Only networks that meet
    their criterion in the regime `test` are compared. Draws of a perturbation are averaged for each network first:
    intervals are over networks, and over the trials that all of them see.

    Parameters
    ----------
    table : the rows of `networks.csv`.
    performance, robustness : by task, `performance.nc` and `robustness.nc`.
    confidence : of each interval, without correction for their number.

    Returns
    -------
    measure : one of `CONDITIONS`, at a `level` and, on the grid, a `duration`.
    quantity : "score" or "loss".
    n_alternatives, n_standards, unsolved_alternatives, unsolved_standards : networks compared, and left out.
    matched_alternatives : those compared that are matched with the standards in distribution.
    difference : mean of the alternatives minus that of the standards, in the unit of the quantity but with the sign
        turned where lower is better, so that alternatives are better where it is positive; from `low` to `high`.
    effect : the difference in standard deviations of the standards, empty where they do not vary.
    verdict : "better" or "worse" where the interval excludes 0, "equal" where it does not (no difference shown);
        without an interval, "too few" where a group has fewer than two solved networks, "not measured" where some of
        them have no value, "diverged" where the values of some are infinite (so is the difference, or it is empty).
    n_comparisons : rows of the whole result that have an interval, about 1 - confidence of which would exclude 0 even
        if no alternative differed.
    """
    parts = []
    for task, networks in table.groupby("task", sort=False):
        found = [measured(performance[str(task)]), measured(robustness[str(task)])]
        groups = of_role(networks, ALTERNATIVE).groupby(["population", "round"], sort=False)
        for ((population, number), group), measurements in product(groups, found):
            standards = standards_of(networks, str(population))
            values = measurements.values
            (of_group, group_blocks), (of_standards, standard_blocks) = (
                _analysed(measurements, solved(rows)) for rows in (group, standards)
            )
            n_group, n_standards = of_group.shape[1], of_standards.shape[1]
            both = np.hstack([of_group, of_standards])
            finite = np.isfinite(both).all(axis=1)
            seed = random_seed("comparisons", str(task), str(population), str(number))
            blocks = (group_blocks, standard_blocks)
            low, high = difference_interval(of_group, of_standards, confidence, resamples, seed, blocks)
            with np.errstate(invalid="ignore"):
                difference = _mean(of_group) - _mean(of_standards)
                spread = of_standards.std(axis=1, ddof=1) if n_standards > 1 else np.zeros(len(values))
            fewest_solved = min(len(solved(group)), len(solved(standards)))
            left_out = np.isnan(both).any(axis=1) | (min(n_group, n_standards) < 2 <= fewest_solved)
            part = pd.DataFrame(
                {"task": str(task), "population": str(population), "round": number, **measurements.conditions}
            )
            parts.append(
                part.assign(
                    n_alternatives=n_group,
                    n_standards=n_standards,
                    matched_alternatives=int((solved(group)["matched"] == True).sum()),  # noqa: E712 - may be empty
                    unsolved_alternatives=len(group) - len(solved(group)),
                    unsolved_standards=len(standards) - len(solved(standards)),
                    difference=difference,
                    low=low,
                    high=high,
                    effect=difference / np.where(spread > 0, spread, np.nan),
                    verdict=np.select(
                        [np.full(len(values), fewest_solved < 2), left_out, ~finite, low > 0, high < 0],
                        [*WITHOUT_INTERVAL, "better", "worse"],
                        "equal",
                    ),
                )
            )
    if not parts:
        return pd.DataFrame(columns=COMPARISON_COLUMNS)
    result = pd.concat(parts, ignore_index=True)
    return result.assign(n_comparisons=int((~result["verdict"].isin(WITHOUT_INTERVAL)).sum()))


def number_of_intervals(table: pd.DataFrame) -> int:
    """How many intervals the table of comparisons has, all of whose rows say it."""
    return int(table["n_comparisons"].max()) if len(table) else 0


def expected_by_chance(n_intervals: int, confidence: float) -> float:
    """How many intervals would exclude 0 even if nothing differed."""
    # Rounded first: 1 - 0.95 is a little more than 0.05.
    return round(1 - confidence, 12) * n_intervals


@dataclass(frozen=True)
class Measurements:
    """What each network reaches in the conditions of `performance.nc` or `robustness.nc` of one task.

    Higher is better: losses, and scores where lower is better, are negated. Draws are averaged.
    """

    conditions: pd.DataFrame
    values: pd.DataFrame
    """Conditions by networks."""
    blocks: xr.DataArray
    """How far each block of trials is above the mean of all (condition, network, block); 0 where it has no value."""


def _analysed(
    measurements: Measurements, rows: pd.DataFrame
) -> tuple[Float[np.ndarray, "condition network"], Float[np.ndarray, "condition network block"]]:
    """The values of some networks and those of blocks, without networks that the analysis left out."""
    values = measurements.values[network_labels(rows)].dropna(axis=1, how="all")
    return values.to_numpy(float), measurements.blocks.sel(network=list(values.columns)).values


def measured(result: xr.Dataset) -> Measurements:
    """What each network reaches in the conditions of `performance.nc` or `robustness.nc` of one task."""
    conditions: list[dict[str, str]] = []
    values: list[pd.Series] = []
    blocks: list[xr.DataArray] = []
    for prefix, measure in CONDITIONS.items():
        for quantity in ("score", "loss"):
            name = prefix + quantity
            if name not in result:
                continue
            sign = 1.0 if quantity == "score" and result[name].attrs["higher_is_better"] else -1.0
            array, of_blocks = (
                sign * result[one].mean([dimension for dimension in result[one].dims if dimension == "draw"])
                for one in (name, f"{name}_blocks")
            )
            levels = [dimension for dimension in array.dims if dimension != "network"]
            along = {"level": levels}
            array, of_blocks = (
                one.stack(along).transpose("level", "network", ...) if levels else one.expand_dims("level")
                for one in (array, of_blocks)
            )
            for level in array:
                shown = [str(level[dimension].item()) for dimension in levels] + ["", ""]
                conditions.append({"measure": measure, "quantity": quantity, "level": shown[0], "duration": shown[1]})
                values.append(level.to_series())
            blocks.append(of_blocks.drop_vars([*levels, "level"], errors="ignore"))
    # Few trials do not fill all blocks, and a score may not be defined on all of them.
    found = xr.concat(blocks, "level").transpose("level", "network", "block")
    found = found.where(np.isfinite(found)).dropna("block", how="all")
    return Measurements(pd.DataFrame(conditions), pd.DataFrame(values), (found - found.mean("block")).fillna(0))


def difference_interval(
    first: Float[np.ndarray, "condition first_network"],
    second: Float[np.ndarray, "condition second_network"],
    confidence: float,
    resamples: int,
    seed: int,
    blocks: tuple[
        Float[np.ndarray, "condition first_network block"], Float[np.ndarray, "condition second_network block"]
    ]
    | None = None,
) -> tuple[Float[np.ndarray, "condition"], Float[np.ndarray, "condition"]]:
    """Bootstrap interval of the mean of one group of networks minus that of a second, in each of several conditions.

    Both groups are resampled independently, with the same resamples in all conditions. So are blocks of trials, if
    `blocks` says how far each is above the mean of all: the same blocks for all networks of both groups, since all see
    the same trials. Where networks and trials interact, the interval is a little wide: the variance of the interaction
    counts three times. The interval is between quantiles of the resampled differences (percentile interval). Plain
    quantiles cover too little where a group is small: they are widened as a t interval is, for the smaller group of n
    networks, from the normal quantiles at the tail ``a = (1 - confidence) / 2`` to the tail
    ``Phi(sqrt(n / (n - 1)) t_{n - 1}(a))``. NaN where n < 2, and where the value of a network is not finite.

    Sources: Hesterberg (2015), The American Statistician 69:371 (expanded percentile interval), where the n of the
    smaller group is ours; Owen (2007), Annals of Applied Statistics 1:386 (networks and trials resampled together).
    """
    smaller = min(first.shape[1], second.shape[1])
    if smaller < 2:
        nothing = np.full(len(first), np.nan)
        return nothing, nothing
    random = np.random.default_rng(seed)
    drawn = [_weights(random, group.shape[1], resamples) for group in (first, second)]
    tail = expanded_tail(smaller, confidence)
    low, high = np.full(len(first), np.nan), np.full(len(first), np.nan)
    count = 0 if blocks is None else blocks[0].shape[-1]
    chosen = _weights(random, count, resamples) if count > 1 else None
    for condition in range(len(first)):
        if not (np.isfinite(first[condition]).all() and np.isfinite(second[condition]).all()):
            continue
        differences = drawn[0] @ first[condition] - drawn[1] @ second[condition]
        if blocks is not None and chosen is not None:
            of_blocks = drawn[0] @ blocks[0][condition] - drawn[1] @ blocks[1][condition]
            # Deviations from their own mean are a little small.
            differences += np.sqrt(count / (count - 1)) * (chosen * of_blocks).sum(1)
        low[condition], high[condition] = np.quantile(differences, [tail, 1 - tail])
    return low, high


def _weights(random: np.random.Generator, count: int, resamples: int) -> Float[np.ndarray, "resample _"]:
    """The share of each of `count` things in each resample of them."""
    return random.multinomial(count, np.full(count, 1 / count), size=resamples) / count


def clustered_interval(
    first: pd.Series, second: pd.Series, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Bootstrap interval of the mean of one group of networks minus that of a second, where networks of a chain depend.

    The values are by the clusters that they belong to (such as chains), which may occur several times in the index:
    whole clusters are resampled. Otherwise as `difference_interval`, with n the clusters of the group that has fewer.
    NaN where n < 2.

    Source: the cluster bootstrap, Davison & Hinkley (1997), "Bootstrap methods and their application", section 3.8.
    """
    groups = [values.groupby(level=0).agg(["sum", "count"]).to_numpy(float) for values in (first, second)]
    smaller = min(map(len, groups))
    if smaller < 2:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    means = []
    for group in groups:
        drawn = group[random.integers(len(group), size=(resamples, len(group)))].sum(1)
        means.append(drawn[:, 0] / drawn[:, 1])
    tail = expanded_tail(smaller, confidence)
    low, high = np.quantile(means[0] - means[1], [tail, 1 - tail])
    return float(low), float(high)


def mean_interval(values: pd.Series, confidence: float, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean of the values of networks, and the ends of its bootstrap interval over their clusters, such as chains.

    It is that of `clustered_interval` against as many networks of nothing. All three are NaN without a value, the ends
    for fewer than two clusters.
    """
    nothing = pd.Series(0.0, values.index)
    return float(values.mean()), *clustered_interval(values, nothing, confidence, resamples, seed)


def expanded_tail(count: int, confidence: float) -> float:
    """Tail of the quantiles of a mean of `count` values (at least two), resampled, that make an interval.

    Source: Hesterberg (2015), The American Statistician 69:371 (expanded percentile interval).
    """
    quantile = scipy.stats.t.ppf((1 - confidence) / 2, count - 1)
    return float(scipy.stats.norm.cdf(np.sqrt(count / (count - 1)) * quantile))


def _mean(values: Float[np.ndarray, "condition network"]) -> Float[np.ndarray, "condition"]:
    return values.mean(axis=1) if values.shape[1] else np.full(len(values), np.nan)
