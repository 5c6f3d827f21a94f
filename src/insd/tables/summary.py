"""What the grid shows, task by task, in a few tables on one page."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from insd.cohorts import (
    ALTERNATIVE,
    REFERENCE,
    STANDARD,
    UNTRAINED,
    deflated_populations,
    network_labels,
    of_role,
    round_name,
    solved,
)
from insd.provenance import random_seed
from insd.tables.comparisons import CONDITIONS, IN_WORDS, clustered_interval, number_of_intervals

CONFIDENCE, RESAMPLES = 0.95, 9999
"""Of the intervals of ratios of costs."""
COSTS = {
    "sum_squared_weights": "sum of squared weights",
    "mean_squared_rate": "mean squared rate",
    "noise_sensitivity": "noise sensitivity",
}
"""The costs that are compared, by their column of `networks.csv`."""

Rows = dict[str, str]
"""Statements of one task: name and value."""


def summary(
    table: pd.DataFrame, predictivity: Mapping[str, xr.Dataset], performance: Mapping[str, xr.Dataset]
) -> dict[str, pd.DataFrame]:
    """By the title of its section, one column per task and one row per statement, each with a name of its own.

    `table` are the rows of `networks.csv`, the rest is by task.

    Medians of r2 towards the reference are over alternatives of all rounds, solved or not; those of the largest r2
    towards any earlier network, and all that is said of dynamics, harder regimes and costs, over the solved ones. Pairs
    are ordered: from each network to each other one. Statements that begin with "..." go on from the one above them.
    """
    sections: dict[str, Callable[[_Task], Rows]] = {
        "Solutions": _solutions,
        "Networks": _networks,
        "Dynamics": _dynamics,
        "Harder trials and perturbations": _perturbed,
        "Costs": _costs,
    }
    tasks = {
        str(task): _Task(str(task), rows, predictivity[str(task)], performance[str(task)])
        for task, rows in table.groupby("task")
    }
    return {
        title: pd.DataFrame({task: section(of_task) for task, of_task in tasks.items()})
        for title, section in sections.items()
    }


class _Task:
    """The networks of one task in the groups that statements are on."""

    def __init__(self, name: str, table: pd.DataFrame, predictivity: xr.Dataset, performance: xr.Dataset):
        self.name, self.table, self.predictivity, self.performance = name, table, predictivity, performance
        self.chains = deflated_populations(table)
        self.untrained = of_role(table, UNTRAINED)
        self.standards = of_role(table, STANDARD)

    def populations(self) -> Iterable[tuple[str, pd.DataFrame]]:
        """What the names of statements on a deflated population begin with, and its networks."""
        for population in self.chains:
            prefix = f"{population}: " if len(self.chains) > 1 else ""
            yield prefix, self.table[self.table["population"] == population]

    def groups(self) -> Iterable[tuple[str, pd.DataFrame]]:
        """Standards and all alternatives of each deflated population."""
        yield "standards", self.standards
        for prefix, rows in self.populations():
            yield f"{prefix}alternatives", of_role(rows, ALTERNATIVE)

    def rounds(self) -> Iterable[tuple[str, pd.DataFrame]]:
        """Standards, solved or not, and the solved networks of each round of each deflated population."""
        yield "standards", self.standards
        for prefix, rows in self.populations():
            for number, part in rows.groupby("round"):
                yield f"{prefix}{round_name(int(str(number)))}", solved(part)


def _solutions(task: _Task) -> Rows:
    null = task.predictivity.sel(space="null")
    rows = {
        "standard networks solved": _count(task.standards),
        "null-space r² between standards": _spread(_between(task.standards, null["r2"])),
        "... with trials shuffled": _spread(_between(task.standards, null["r2_shuffled"])),
        "... with trials shuffled, without the time course that all share": _spread(
            _between(task.standards, null["r2_shuffled_residual"])
        ),
        "... between untrained networks (floor)": _spread(_between(task.untrained, null["r2"])),
    }
    for prefix, networks in task.populations():
        alternatives = of_role(networks, ALTERNATIVE)
        solutions = solved(alternatives)
        of_population: Rows = {
            "references solved": _count(of_role(networks, REFERENCE)),
            "alternatives solved": _count(alternatives),
            "null-space r², alternative → reference": _spread(alternatives["r2_null_to_reference"]),
        }
        for number, part in alternatives.groupby("round"):
            of_population[f"... of round {number} alone"] = _spread(part["r2_null_to_reference"])
        floor = _to_references(task, alternatives)
        of_population |= {
            "... with trials of the reference shuffled": _spread(alternatives["r2_null_shuffled_to_reference"]),
            "... with its trials shuffled, without the time course that all share": _spread(
                alternatives["r2_null_shuffled_residual_to_reference"]
            ),
            "... untrained → reference (floor)": _spread(floor["r2"].values.ravel()),
            "... untrained → reference, trials shuffled": _spread(floor["r2_shuffled"].values.ravel()),
            "largest null-space r², solved alternative → any earlier": _spread(solutions["r2_null_max_to_earlier"]),
            "... with trials of that network shuffled": _spread(solutions["r2_null_shuffled_max_to_earlier"]),
        }
        rows |= {prefix + name: value for name, value in of_population.items()}
    return rows


def _networks(task: _Task) -> Rows:
    rows: Rows = {}
    for name, networks in task.groups():
        rows |= {
            f"test loss, {name}": _spread(networks["test_loss"]),
            f"score, {name}": _spread(networks["score"]),
            f"share of variance in the null space, {name}": _spread(networks["null_variance_share"]),
            f"restarts, {name}": str(int(networks["restarts"].sum())),
        }
    return rows


def _dynamics(task: _Task) -> Rows:
    """Points and cycles over all static inputs of the task."""
    rows: Rows = {}
    for name, networks in task.rounds():
        unstable = networks["n_fixed_points"] - networks["n_stable_fixed_points"]
        oscillating = networks["dominant_frequency"] >= networks["lowest_frequency"]
        unsettled = networks["runs_elsewhere"] - networks["runs_drifting"] - networks["runs_recurrent"]
        kinds = [networks["runs_drifting"], networks["runs_recurrent"], unsettled.clip(lower=0)]
        rows |= {
            f"stable fixed points, {name}": _spread(networks["n_stable_fixed_points"]),
            f"unstable fixed points, {name}": _spread(unstable),
            f"... of which stable by eigenvalues, but not returned to, {name}": _spread(networks["n_not_returned_to"]),
            f"cycles, {name}": _spread(networks["n_cycles"]),
            f"share of long runs that end at none of them, {name}": _spread(networks["runs_elsewhere"]),
            f"... in the mean drifting / recurrent / unsettled, {name}": " / ".join(
                f"{kind.mean():.3f}" for kind in kinds if len(kind)
            )
            or "none",
            f"dominant frequency in the null space (Hz), {name}": _spread(networks["dominant_frequency"]),
            f"... of at least two periods a trial, {name}": f"{int(oscillating.sum())} of {len(networks)}",
        }
    return rows


def _perturbed(task: _Task) -> Rows:
    score = task.performance["grid_score"]
    hardest = score.isel(noise=-1, duration=-1)
    rows: Rows = {"hardest point of the grid": f"{hardest['noise'].item()}; {hardest['duration'].item()}"}
    for name, networks in task.groups():
        labels = network_labels(solved(networks))
        rows[f"score there, {name}"] = _spread(hardest.sel(network=labels).values)
    rows["... of a network that guesses (chance)"] = f"{float(score.attrs['chance']):.3f}"
    for name, networks in task.groups():
        solutions = solved(networks)
        rows |= {
            f"criterion still met at half the time step, {name}": (
                f"{int(solutions['solved_half_step'].sum())} of {len(solutions)}"
            ),
            f"time to half after the smallest kick (s), {name}": _spread(solutions["kick_half_time"]),
            f"... share that is left at the end of the trial, {name}": _spread(solutions["kick_left"]),
        }
    return rows


def _costs(task: _Task) -> Rows:
    rows: Rows = {}
    for column, cost in COSTS.items():
        for name, networks in task.groups():
            rows[f"{cost}, {name}"] = _spread(solved(networks)[column])
        for prefix, networks in task.populations():
            ratio = _ratio(task.name, column, solved(of_role(networks, ALTERNATIVE)), solved(task.standards))
            rows[f"... {prefix}alternatives over standards, {cost}"] = ratio
    return rows


def _ratio(task: str, column: str, first: pd.DataFrame, second: pd.DataFrame) -> str:
    """Ratio of the geometric means of a cost, with its interval; networks of one chain are resampled together."""
    above, below = (np.log(rows[column]).set_axis(rows["chain"].tolist()) for rows in (first, second))
    low, high = clustered_interval(above, below, CONFIDENCE, RESAMPLES, random_seed("costs", task, column))
    if np.isnan(low):
        return "none"
    return f"× {np.exp(above.mean() - below.mean()):.2f} ({np.exp(low):.2f} to {np.exp(high):.2f})"


def outcomes(comparisons: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """In how many comparisons of each kind alternatives do better, show no difference, and do worse.

    One row per kind of comparison, one column per task and round (and population, if there are several); cells are
    "better / no difference shown / worse". `quantity` is "score" or "loss". Kinds without an interval are "too few".
    """
    rows = comparisons[comparisons["quantity"] == quantity] if len(comparisons) else comparisons
    several = len(rows) and rows["population"].nunique() > 1
    columns: dict[str, dict[str, str]] = {}
    for (task, population, number), group in rows.groupby(["task", "population", "round"], sort=False):
        name = f"{task}, {population} " if several else f"{task}, "
        counts = {kind: part["verdict"].value_counts() for kind, part in group.groupby("measure")}
        columns[name + round_name(int(str(number)))] = {
            kind: " / ".join(str(counts[kind].get(verdict, 0)) for verdict in ("better", "equal", "worse"))
            if set(counts[kind].index) != {"too few"}
            else IN_WORDS["too few"]
            for kind in CONDITIONS.values()
            if kind in counts
        }
    return pd.DataFrame(columns).reindex([kind for kind in CONDITIONS.values() if kind in set(rows["measure"])])


def lines(table: pd.DataFrame, attractors: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """What `line_attractor.nc` (by task) says of solved networks: one row per task, group and static input.

    `points` on the line, its `straightness`, the leading eigenvalue as `growth (1/s)` and `frequency (Hz)`, and for
    each evidence input the `gain` with which the leading mode selects it (`mode_selection`). Medians with their range.
    """
    rows = []
    for name, found in attractors.items():
        task = _Task(name, table[table["task"] == name], xr.Dataset(), xr.Dataset())
        for group, networks in task.rounds():
            here = found.sel(network=network_labels(solved(networks)))
            for condition in found["condition"].values:
                one = here.sel(condition=condition)
                selection = {
                    f"gain of evidence {number + 1}": _spread(one["mode_selection"].isel(evidence=number).values, 2)
                    for number in range(found.sizes["evidence"])
                }
                rows.append(
                    {
                        "task": name,
                        "networks": group,
                        "static input": str(condition),
                        "points": _spread(one["n_points"].values, 0),
                        "straightness": _spread(one["straightness"].values, 2),
                        "growth (1/s)": _spread(one["leading_real"].values, 2),
                        "frequency (Hz)": _spread(np.abs(one["leading_imag"].values) / (2 * np.pi), 2),
                        **selection,
                    }
                )
    return pd.DataFrame(rows)


def page(
    sections: Mapping[str, pd.DataFrame],
    comparisons: pd.DataFrame,
    line_attractors: pd.DataFrame,
    config: str,
    date: str,
    made_with: str,
) -> str:
    """The statements as a page of Markdown, with what they were made with.

    `sections` are those of `summary`, `comparisons` the rows of `comparisons.csv`, `line_attractors` those of `lines`;
    `config` is the text of the config, `made_with` names versions and machine.
    """
    n_intervals = number_of_intervals(comparisons)
    parts = [
        f"""\
# Results of the grid

<!-- Generated by the rule `summary`. -->

Made on {date} with {made_with}.

Numbers over networks or pairs are the median (smallest to largest). Networks are tested on the regime `test`,
without noise in the dynamics; r² is without ridge. Definitions: [science.md](science.md).
"""
    ]
    parts += [f"## {title}\n\n{_markdown(part.rename_axis('').reset_index())}\n" for title, part in sections.items()]
    if n_intervals:
        parts.append(f"""\
## Alternatives against standards

In how many comparisons solved alternatives do better / no difference is shown / they do worse than solved standards:
the interval of the difference lies above, around or below 0. {n_intervals} intervals without correction for their
number, of which about {0.05 * n_intervals:.0f} would exclude 0 by chance. Each is in `results/tables/comparisons.csv`.
""")
        for quantity in ("score", "loss"):
            counts = outcomes(comparisons, quantity).rename_axis(quantity).reset_index()
            parts.append(_markdown(counts) + "\n")
    if len(line_attractors):
        parts.append(f"""\
## Line attractors

Of solved networks, under each static input: the points found, how straight they lie, the leading eigenvalue at them,
and how strongly its mode selects each evidence input.

{_markdown(line_attractors)}
""")
    parts.append(f"## Config\n\n```yaml\n{config}```\n")
    return "\n".join(parts)


def _markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; cells without a value are empty."""
    body = table.astype(object).where(table.notna(), "")
    lines = [list(table.columns), ["---"] * table.shape[1], *body.values.tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _between(rows: pd.DataFrame, r2: xr.DataArray) -> np.ndarray:
    """Values of all ordered pairs of different networks."""
    labels = network_labels(rows)
    values = r2.sel(predictor=labels, target=labels).values
    return values[~np.eye(len(labels), dtype=bool)]


def _to_references(task: _Task, alternatives: pd.DataFrame) -> xr.Dataset:
    """Null-space predictivity from untrained networks to the references of alternatives; none to recordings."""
    references = list(dict.fromkeys(alternatives["reference"] + "/" + alternatives["seed"].astype(str) + "/0"))
    known = [label for label in references if label in task.predictivity["target"].values]
    return task.predictivity.sel(space="null", predictor=network_labels(task.untrained), target=known)


def _count(rows: pd.DataFrame) -> str:
    return f"{int(rows['solved'].sum())} of {len(rows)}"


def _spread(values: np.ndarray | pd.Series, decimals: int = 3) -> str:
    """Median and range; how many are infinite is said, and those that are not numbers are left out."""
    found = np.asarray(values, dtype=float)
    never, found = int(np.isinf(found).sum()), found[np.isfinite(found)]
    beside = f"; never in {never} of {never + found.size}" if never else ""
    if not found.size:
        return beside.removeprefix("; ") or "none"
    numbers = [f"{value:.{decimals}f}" for value in (np.median(found), found.min(), found.max())]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})" + beside
