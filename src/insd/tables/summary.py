"""What the grid shows, task by task, in statements that have ids."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from insd.analysis.line_attractor import lines
from insd.cohorts import (
    ALTERNATIVE,
    REFERENCE,
    STANDARD,
    UNTRAINED,
    controls,
    deflated_populations,
    network_labels,
    of_role,
    round_name,
    solved,
    standards_of,
    states,
)
from insd.provenance import random_seed
from insd.tables.comparisons import clustered_interval

COSTS = {
    "sum_squared_weights": "sum of squared weights",
    "mean_squared_rate": "mean squared rate",
    "noise_sensitivity": "noise sensitivity",
}
"""The costs that are compared, by their column of `networks.csv`."""

Rows = dict[str, tuple[str, str]]
"""Statements of one task: by id, the text and the value."""


def summary(
    table: pd.DataFrame,
    predictivity: Mapping[str, xr.Dataset],
    inputs: Mapping[str, xr.Dataset],
    performance: Mapping[str, xr.Dataset],
    confidence: float,
    resamples: int,
) -> dict[str, pd.DataFrame]:
    """By the title of its section, one row per statement, by its id: the text `statement`, and one column per task.

    `table` are the rows of `networks.csv`, the files are by task; `confidence` and `resamples` are those of bootstrap
    intervals.

    Medians of r2 towards the reference are over alternatives of all rounds, solved or not; those of the largest r2
    towards any earlier network, and the rows on dynamics, harder regimes and costs, over the solved ones. Pairs
    are ordered: from each network to every other. Rows that begin with "..." continue the row above.

    An id is `[population:]statement[/group]`, such as `r2_null_to_reference`, `score/standards`, `n_cycles/alt_1` or,
    where a task has several deflated populations, `insd:n_cycles/alt_1`. It stays when the text changes: captions ask
    for statements by it (`insd.report.LiveNumbers.group`).
    """
    sections: dict[str, Callable[[_Task], Rows]] = {
        "Solutions": _solutions,
        "Networks": _networks,
        "Dynamics": _dynamics,
        "Harder trials and perturbations": _perturbed,
        "Costs": partial(_costs, confidence=confidence, resamples=resamples),
    }
    tasks = {
        str(task): _Task(str(task), rows, predictivity[str(task)], inputs[str(task)], performance[str(task)])
        for task, rows in table.groupby("task")
    }
    return {
        title: _section({task: section(of_task) for task, of_task in tasks.items()})
        for title, section in sections.items()
    }


def _section(by_task: Mapping[str, Rows]) -> pd.DataFrame:
    texts = {name: text for rows in by_task.values() for name, (text, _) in rows.items()}
    values = pd.DataFrame({task: {name: value for name, (_, value) in rows.items()} for task, rows in by_task.items()})
    values.insert(0, "statement", [texts[name] for name in values.index])
    return values


@dataclass(frozen=True)
class _Group:
    """Networks of a task that statements are on, and what their texts and ids call them."""

    name: str
    networks: pd.DataFrame
    key: str
    """The name in ids."""
    population: str = ""
    """What ids begin with."""

    def id(self, statement: str) -> str:
        return f"{self.population}{statement}/{self.key}"


class _Task:
    """The networks of one task in the groups that statements are on."""

    def __init__(
        self, name: str, table: pd.DataFrame, predictivity: xr.Dataset, inputs: xr.Dataset, performance: xr.Dataset
    ):
        self.name, self.table, self.predictivity, self.inputs = name, table, predictivity, inputs
        self.performance = performance
        self.chains = deflated_populations(table)
        self.untrained = of_role(table, UNTRAINED)
        self.standards = of_role(table, STANDARD)

    def populations(self) -> Iterable[tuple[str, str, pd.DataFrame]]:
        """What texts and ids of statements on a deflated population begin with, and its networks."""
        for population in self.chains:
            several = len(self.chains) > 1
            rows = self.table[self.table["population"] == population]
            yield f"{population}: " if several else "", f"{population}:" if several else "", rows

    def standards_of(self, networks: pd.DataFrame) -> pd.DataFrame:
        """The standards that the networks of one population are compared with."""
        return standards_of(self.table, networks["population"].iloc[0])

    def groups(self) -> Iterable[_Group]:
        """Standards, all alternatives of each deflated population, and the controls with its references."""
        yield _Group("standards", self.standards, "standards")
        for text, population, rows in self.populations():
            yield _Group(f"{text}alternatives", of_role(rows, ALTERNATIVE), "alternatives", population)
            beside = controls(self.table, rows["population"].iloc[0])
            for control, networks in beside.groupby("population", sort=False):
                yield _Group(f"{text}control {control}", networks, f"control:{control}", population)

    def rounds(self) -> Iterable[_Group]:
        """Standards, solved or not, and the solved networks of each round of each deflated population."""
        yield _Group("standards", self.standards, "standards")
        for text, population, rows in self.populations():
            for number, part in rows.groupby("round"):
                name = round_name(int(str(number)))
                yield _Group(f"{text}{name}", solved(part), name.replace("-", "_"), population)


def _solutions(task: _Task) -> Rows:
    null, beyond = task.predictivity.sel(space="null"), task.inputs["r2_beyond"].sel(space="null")
    residual = "... with trials shuffled, without the time course that all share"
    rows: Rows = {
        "standards_solved": ("standard networks solved", _count(task.standards)),
        "r2_null_between_standards": (
            "null-space r² between standards",
            _spread(_between(task.standards, null["r2"])),
        ),
        "r2_null_shuffled_between_standards": (
            "... with trials shuffled",
            _spread(_between(task.standards, null["r2_shuffled"])),
        ),
        "r2_null_shuffled_residual_between_standards": (
            residual,
            _spread(_between(task.standards, null["r2_shuffled_residual"])),
        ),
        "r2_null_between_untrained": (
            "... between untrained networks (floor)",
            _spread(_between(task.untrained, null["r2"])),
        ),
        "r2_null_inputs_to_standards": (
            "null-space r², filtered inputs alone → standards",
            _spread(task.standards["r2_null_inputs"]),
        ),
        "r2_null_beyond_inputs_between_standards": (
            "null-space r² beyond the inputs, between standards",
            _spread(_between(task.standards, beyond)),
        ),
        "r2_null_beyond_inputs_between_untrained": (
            "... between untrained networks",
            _spread(_between(task.untrained, beyond)),
        ),
    }
    for prefix, population, networks in task.populations():
        of_population = _solutions_of_population(task, networks)
        rows |= {population + name: (prefix + text, value) for name, (text, value) in of_population.items()}
    return rows


def _solutions_of_population(task: _Task, networks: pd.DataFrame) -> Rows:
    alternatives = of_role(networks, ALTERNATIVE)
    solutions = solved(alternatives)
    rows: Rows = {
        "references_solved": ("references solved", _count(of_role(networks, REFERENCE))),
        "alternatives_solved": ("alternatives solved", _count(alternatives)),
        "alternatives_within_bound": (
            "... whose S ended within its bound",
            f"{int((solutions['penalty'] <= solutions['penalty_bound']).sum())} of {len(solutions)}",
        ),
        "alternatives_deflated": (
            "... deflated: within the bound of S, and of null-space r² to every earlier network",
            f"{int((states(solutions) == '').sum())} of {len(solutions)}",
        ),
    }

    def median(column: str, text: str, of: pd.DataFrame = alternatives) -> None:
        rows[column] = text, _spread(of[column])

    median("r2_null_to_reference", "null-space r², alternative → reference")
    for number, part in alternatives.groupby("round"):
        text = f"... of round {number} alone"
        rows[f"r2_null_to_reference_by_round/alt_{number}"] = text, _spread(part["r2_null_to_reference"])
    median("r2_null_shuffled_to_reference", "... with trials of the reference shuffled")
    residual = "... with its trials shuffled, without the time course that all share"
    median("r2_null_shuffled_residual_to_reference", residual)
    median("r2_null_beyond_inputs_to_reference", "... beyond the inputs")
    baseline = _to_references(task, alternatives)
    for name, text in (
        ("r2", "... untrained → reference (floor)"),
        ("r2_shuffled", "... untrained → reference, trials shuffled"),
    ):
        statement = f"{name.replace('r2', 'r2_null')}_untrained_to_reference"
        rows[statement] = text, _spread(baseline[name].values.ravel())
    median("r2_null_max_to_earlier", "largest null-space r², solved alternative → any earlier", solutions)
    median("r2_null_shuffled_max_to_earlier", "... with trials of that network shuffled", solutions)
    return rows


def _networks(task: _Task) -> Rows:
    floor = float(task.performance["floor"].sel(regime="test")) if "floor" in task.performance else np.nan
    rows: Rows = {
        "loss_floor": (
            "test loss of the ideal observer, which no network can beat",
            "none" if np.isnan(floor) else f"{floor:.3g}",
        )
    }
    for group in task.groups():
        networks = group.networks
        for column, text in (
            ("test_loss", "test loss"),
            ("score", "score"),
            ("excess_loss", "... above the median of the standards"),
            ("null_variance_share", "share of variance in the null space"),
        ):
            decimals = 4 if "loss" in column else 3
            rows[group.id(column)] = f"{text}, {group.name}", _spread(networks[column], decimals, "diverged")
        matched = f"{int((networks['matched'] == True).sum())} of {len(networks)}"  # noqa: E712 - may be empty
        rows[group.id("matched")] = f"matched with the standards in distribution, {group.name}", matched
        rows[group.id("restarts")] = f"restarts, {group.name}", str(int(networks["restarts"].sum()))
    return rows


def _dynamics(task: _Task) -> Rows:
    """Points and cycles over all static inputs of the task."""
    rows: Rows = {}
    for group in task.rounds():
        networks = group.networks
        unstable = networks["n_fixed_points"] - networks["n_stable_fixed_points"]
        oscillating = networks["dominant_frequency"] >= networks["lowest_frequency"]
        unsettled = networks["runs_elsewhere"] - networks["runs_drifting"] - networks["runs_recurrent"]
        kinds = [networks["runs_drifting"], networks["runs_recurrent"], unsettled.clip(lower=0)]
        by_kind = " / ".join(f"{kind.mean():.3f}" for kind in kinds if len(kind)) or "none"
        for statement, text, value in (
            ("n_stable_fixed_points", "stable fixed points", _spread(networks["n_stable_fixed_points"], None)),
            ("n_unstable_fixed_points", "unstable fixed points", _spread(unstable, None)),
            (
                "n_not_returned_to",
                "... of which stable by eigenvalues, but not returned to",
                _spread(networks["n_not_returned_to"], None),
            ),
            ("n_cycles", "cycles", _spread(networks["n_cycles"], None)),
            ("runs_elsewhere", "share of long runs that end at none of them", _spread(networks["runs_elsewhere"])),
            ("runs_by_kind", "... in the mean drifting / recurrent / unsettled", by_kind),
            (
                "dominant_frequency",
                "dominant frequency in the null space (Hz)",
                _spread(networks["dominant_frequency"]),
            ),
            ("oscillating", "... of at least two periods a trial", f"{int(oscillating.sum())} of {len(networks)}"),
            (
                "decoded_at_end",
                "task variables decoded at the end of the trial (chance 0, perfect 1)",
                _spread(networks["decoded_at_end"]),
            ),
            ("decoded_null_at_end", "... from the null space", _spread(networks["decoded_null_at_end"])),
        ):
            rows[group.id(statement)] = f"{text}, {group.name}", value
    return rows


def _perturbed(task: _Task) -> Rows:
    score = task.performance["grid_score"]
    hardest = score.isel(noise=-1, duration=-1)
    rows: Rows = {
        "hardest_point": (
            "hardest point of the grid",
            f"{hardest['noise'].item()}; {hardest['duration'].item()}",
        )
    }
    for group in task.groups():
        labels = network_labels(solved(group.networks))
        scores = hardest.sel(network=labels).values
        rows[group.id("score_at_hardest_point")] = f"score there, {group.name}", _spread(scores, infinite="diverged")
    rows["chance"] = "... of a network that guesses (chance)", f"{float(score.attrs['chance']):.3f}"
    for group in task.groups():
        solutions = solved(group.networks)
        still = f"{int(solutions['solved_half_step'].sum())} of {len(solutions)}"
        for column, text, value in (
            ("solved_half_step", "criterion still met at half the time step", still),
            ("kick_half_time", "time to half after the smallest kick (s)", _spread(solutions["kick_half_time"])),
            ("kick_left", "... share that is left at the end of the trial", _spread(solutions["kick_left"])),
        ):
            rows[group.id(column)] = f"{text}, {group.name}", value
    return rows


def _costs(task: _Task, confidence: float, resamples: int) -> Rows:
    rows: Rows = {}
    for column, cost in COSTS.items():
        for group in task.groups():
            rows[group.id(column)] = f"{cost}, {group.name}", _spread(solved(group.networks)[column])
        for prefix, population, networks in task.populations():
            above, below = (
                rows_of[column].set_axis(rows_of["chain"])
                for rows_of in (solved(of_role(networks, ALTERNATIVE)), solved(task.standards_of(networks)))
            )
            seed = random_seed("costs", task.name, column)
            text = f"... {prefix}alternatives over standards, {cost}"
            rows[f"{population}{column}_ratio"] = text, _ratio(above, below, confidence, resamples, seed)
    return rows


def _ratio(first: pd.Series, second: pd.Series, confidence: float, resamples: int, seed: int) -> str:
    """Ratio of the geometric means of a cost, with its interval; networks of one chain are resampled together."""
    above, below = (np.log(costs[costs > 0]) for costs in (first, second))
    low, high = clustered_interval(above, below, confidence, resamples, seed)
    if np.isnan(low):
        return "none"
    return f"× {np.exp(above.mean() - below.mean()):.2f} ({np.exp(low):.2f} to {np.exp(high):.2f})"


def line_table(table: pd.DataFrame, attractors: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The results of `line_attractor.nc` (by task) for solved networks: one row per task, group and static input.

    `points` on the line, its `straightness`, the leading eigenvalue as `growth (1/s)` and `frequency (Hz)`, and for
    each evidence input the `gain` with which the leading mode selects it (`mode_selection`). Medians with their range.
    And how many networks hold the evidence `on a line`, with the leading eigenvalue there, where files say it.
    """
    rows = []
    for name, found in attractors.items():
        task = _Task(name, table[table["task"] == name], *[xr.Dataset()] * 3)
        for group in task.rounds():
            here = found.sel(network=network_labels(solved(group.networks)))
            for condition in found["condition"].values:
                one = here.sel(condition=condition)
                selection = {
                    f"gain of evidence {number + 1}": _spread(one["mode_selection"].isel(evidence=number).values, 2)
                    for number in range(found.sizes["evidence"])
                }
                rows.append(
                    {
                        "task": name,
                        "networks": group.name,
                        "static input": str(condition),
                        "points": _spread(one["n_points"].values, 0),
                        "straightness": _spread(one["straightness"].values, 2),
                        "growth (1/s)": _spread(one["leading_real"].values, 2),
                        "frequency (Hz)": _spread(np.abs(one["leading_imag"].values) / (2 * np.pi), 2),
                        **selection,
                        **_held(one),
                    }
                )
    return pd.DataFrame(rows)


def _held(found: xr.Dataset) -> dict[str, str]:
    """What networks hold of the evidence under one static input."""
    if "held_curve" not in found:
        return {}
    ended = int(found["held_curve"].notnull().sum())
    return {
        "on a line": f"{int(lines(found).sum())} of {ended}" if ended else "none",
        "growth there (1/s)": _spread(found["held_leading_real"].values, 2),
    }


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


def _spread(values: np.ndarray | pd.Series, decimals: int | None = 3, infinite: str = "never in") -> str:
    """Median and range; how many are `infinite` is said, and NaN is left out. Counts have no `decimals`."""
    found = np.asarray(values, dtype=float)
    others, found = int(np.isinf(found).sum()), found[np.isfinite(found)]
    more = f"; {infinite} {others} of {others + found.size}" if others else ""
    if not found.size:
        return more.removeprefix("; ") or "none"
    ends = (np.median(found), found.min(), found.max())
    numbers = [f"{value:g}" if decimals is None else f"{value:.{decimals}f}" for value in ends]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})" + more
