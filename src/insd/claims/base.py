"""Claims of a paper: what each reads, how it is judged, and the table and the page of all of them.

One file per paper holds its claims as `CLAIMS`, a `Publication`, and the key `claims` of the config lists the files by
name. Further claims are named `module:CLAIMS` there.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from insd import plugins
from insd.cohorts import (
    UNTRAINED,
    alternatives,
    controls,
    deflated_populations,
    network_labels,
    of_role,
    solved,
    standards_of,
    trained,
)
from insd.errors import InsdError
from insd.provenance import random_seed
from insd.tables import existence
from insd.tables.comparisons import clustered_interval, expanded_tail, expected_by_chance, mean_interval

REPRODUCED, PARTLY, NOT, NO_ANSWER = existence.REPRODUCED, existence.PARTLY, existence.NOT, existence.NO_ANSWER
"""The verdicts."""
PAIR_RESAMPLES = 1999
"""Most resamples of the interval of a median over pairs, each of which takes a median of all of them."""
TABLES = ("comparisons", "degeneracy_ratios")
"""The tables that claims may read in addition to `networks.csv`; every other name in `Claim.reads` is an analysis."""
CLAIM_COLUMNS = ["paper", "id", "claim", "task", "population", "number", "verdict", "criterion"]
"""The columns of `claims.csv`, also where it has no rows."""

Answer = tuple[str, str]
"""What was found, in words and numbers, and the verdict."""
MOST = 0.9
"""Share of networks that a statement on all of them must hold for (ours)."""
LEAST_STANDARDS = 5
"""With fewer solved standards there is no verdict (ours)."""
ALL_TASKS = "all tasks"
"""What the table has in the place of the task where a claim is on all of them together."""
SOLVED_OR_NOT = "solved or not"
"""What criteria say of networks that count even if they do not solve their task."""
NOT_MEASURED = re.compile(r"[+-]?\bnan\b")
"""How a number that the grid does not have is printed."""
TOO_FEW: Answer = ("too few solved networks in this grid", NO_ANSWER)
"""The answer where nothing can be said."""
Interval = tuple[float, float, float]
"""A difference, and the low and high end of its interval."""


class ClaimError(InsdError):
    """A claim cannot be judged; the message names it, its file, and what to change."""


@dataclass(frozen=True)
class Evidence:
    """What a grid shows of one task and one deflated population, or of all tasks, as far as a claim reads it."""

    task: str
    """`ALL_TASKS` for a claim on all of them."""
    population: str
    """The deflated population; empty where the task has none, and for a claim on all tasks."""
    table: pd.DataFrame
    """The rows of `networks.csv` of the trained networks of the task."""
    untrained: pd.DataFrame
    """The rows of `networks.csv` of its networks that were not trained."""
    analyses: Mapping[str, xr.Dataset]
    """The analyses of the task that the claim reads, by name."""
    tables: Mapping[str, pd.DataFrame]
    """The rows on the task and the population of each table that the claim reads, by name."""
    confidence: float
    """Of each interval."""
    resamples: int
    """Of the bootstrap."""

    @property
    def standards(self) -> pd.DataFrame:
        """Solved standards of the population."""
        return solved(standards_of(self.table, self.population))

    @property
    def alternatives(self) -> pd.DataFrame:
        """The population's alternatives, solved or not."""
        return alternatives(self.table, self.population)

    @property
    def controls(self) -> pd.DataFrame:
        """The controls with the references of the population's alternatives, solved or not."""
        return controls(self.table, self.population)

    @property
    def comparisons(self) -> pd.DataFrame:
        """The rows of `comparisons.csv` on the task and the population."""
        return self.tables["comparisons"]

    def difference(self, values: pd.Series) -> Interval:
        """Mean over solved alternatives minus that over solved standards, and the ends of its bootstrap interval.

        `values` are by the labels of networks; NaN is left out. Alternatives of one chain are resampled together. All
        three are NaN where a group has fewer than two chains.
        """
        first, second = (
            values[network_labels(rows)].set_axis(rows["chain"]).dropna()
            for rows in (solved(self.alternatives), self.standards)
        )
        seed = random_seed("claims", self.task, self.population)
        low, high = clustered_interval(first, second, self.confidence, self.resamples, seed)
        difference = float(first.mean() - second.mean()) if np.isfinite(low) else float("nan")
        return difference, low, high

    def mean(self, values: pd.Series, *stream: str | int) -> Interval:
        """Mean of values by chain, or by another cluster, and the ends of its bootstrap interval (`mean_interval`).

        `stream` tells the draws of one claim apart.
        """
        seed = random_seed("claims", self.task, self.population, *stream)
        return mean_interval(values, self.confidence, self.resamples, seed)


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, and how it is judged."""

    id: str
    """Its name in snake_case, by which captions ask for it; the text may change, the id stays."""
    text: str
    """The statement, in our words."""
    criterion: str
    """When it counts as reproduced, and when as partly reproduced."""
    judge: Callable[[Evidence], Answer]
    """What was found, and the verdict."""
    reads: tuple[str, ...] = ()
    """The analyses, and the tables in `TABLES`, that it reads. All claims read `networks.csv`."""
    tasks: tuple[str, ...] | None = None
    """The tasks that it is about; all if none are named."""
    over: Literal["task", "grid"] = "task"
    """What it is judged on: each task, with each of its deflated populations; or all tasks together, with whole tables
    and no analyses. Which networks are enough for a verdict, a claim on all tasks says itself."""
    intervals: int = 0
    """Intervals that its verdict rests on, in addition to those of `comparisons.csv`."""
    unsolved: str = ""
    """The networks, if any, that count whether they solve their task or not, in words."""

    @property
    def whole_criterion(self) -> str:
        """The criterion, which says of which networks those count, too, that do not solve their task."""
        if not self.unsolved or SOLVED_OR_NOT in self.criterion:
            return self.criterion
        return f"{self.criterion}. {self.unsolved[0].upper()}{self.unsolved[1:]} count, {SOLVED_OR_NOT}"


@dataclass(frozen=True)
class Publication:
    """The claims of one paper, in the order of its argument."""

    citation: str
    """Authors and year, as text quotes them."""
    source: str
    """Where to find the paper."""
    claims: tuple[Claim, ...]
    """Its claims. Raises ClaimError if an id is not in snake_case, or if two claims have the same."""

    tasks: tuple[str, ...] | None = None
    """The tasks that it is on, all if none are named: on others, what is judged are not its own statements."""

    def __post_init__(self) -> None:
        ids = [claim.id for claim in self.claims]
        for name in ids:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ClaimError(f"{self.citation}: the id {name!r} of a claim is not in snake_case")
            if ids.count(name) > 1:
                raise ClaimError(f"{self.citation}: {ids.count(name)} claims have the id {name!r}; give each its own")


def publications(names: Iterable[str]) -> dict[str, Publication]:
    """By the names that the config lists, the papers whose claims are judged.

    Raises PluginError if a name leads to nothing, or to something that is not a `Publication`.
    """
    found = {name: plugins.find("claims", name) for name in names}
    for name, publication in found.items():
        if not isinstance(publication, Publication):
            raise plugins.PluginError(f"{name}: is not an insd.claims.base.Publication, as a set of claims must be")
    return found


def all_reads(papers: Mapping[str, Publication]) -> set[str]:
    """The analyses, and the tables other than `networks.csv`, that the claims of some papers read."""
    return {name for publication in papers.values() for claim in publication.claims for name in claim.reads}


def judged(
    papers: Mapping[str, Publication],
    networks: pd.DataFrame,
    analyses: Mapping[str, Mapping[str, xr.Dataset]],
    tables: Mapping[str, pd.DataFrame],
    confidence: float,
    resamples: int,
) -> pd.DataFrame:
    """One row per claim, task and deflated population: what was found, the verdict, and the criterion.

    Only solved networks count, except for those that a claim names as `unsolved`.

    Parameters
    ----------
    papers : the papers, by name in the config.
    networks : the rows of `networks.csv`.
    analyses : by name and task, what the claims read.
    tables : by name, the rows of the other tables that the claims read.
    confidence, resamples : of each bootstrap interval over networks, without correction for their number.

    Returns
    -------
    paper, id : the name of the paper in the config, and the id of the claim.
    claim, criterion : the texts of both.
    task, population : what it was judged on; `ALL_TASKS` and no population for a claim on all tasks.
    number : what was found.
    verdict : "reproduced", "partly", "not" or, with fewer solved standards than `LEAST_STANDARDS`, too few other solved
        networks or no alternatives, "no answer".

    Raises ClaimError if a claim reads what is not given, or what it does not name in its `reads`.
    """
    rows = []
    for paper, publication in papers.items():
        for claim in publication.claims:
            if missing := [name for name in claim.reads if name not in analyses and name not in tables]:
                raise ClaimError(
                    f"{paper}: the claim {claim.id!r} reads {' and '.join(missing)}, which this grid does not have; "
                    f"leave {paper!r} out of `claims`, add to the config what it reads, or let it read what there is: "
                    f"{', '.join([*analyses, *tables])}"
                )
            for evidence in _evidence(claim, networks, analyses, tables, confidence, resamples):
                number, verdict = claim.judge(evidence)
                few = claim.over == "task" and len(evidence.standards) < LEAST_STANDARDS
                if verdict != NO_ANSWER and few:
                    number = f"{number}; {len(evidence.standards)} solved standards, {LEAST_STANDARDS} needed"
                    verdict = NO_ANSWER
                rows.append(
                    {
                        "paper": paper,
                        "id": claim.id,
                        "claim": claim.text,
                        "task": evidence.task,
                        "population": evidence.population,
                        "number": NOT_MEASURED.sub("not measured", number),
                        "verdict": verdict,
                        "criterion": claim.whole_criterion,
                    }
                )
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def _evidence(
    claim: Claim,
    networks: pd.DataFrame,
    analyses: Mapping[str, Mapping[str, xr.Dataset]],
    tables: Mapping[str, pd.DataFrame],
    confidence: float,
    resamples: int,
) -> Iterable[Evidence]:
    """What a claim is judged on: all tasks together, or task by task and population by population; a grid without
    chains has none of these.
    """
    if claim.over == "grid":
        whole = {name: of for name, of in tables.items() if name in claim.reads}
        rows = trained(networks), of_role(networks, UNTRAINED)
        yield Evidence(ALL_TASKS, "", *rows, _Named(claim, {}), _Named(claim, whole), confidence, resamples)
        return
    for task, of_task in networks.groupby("task", sort=False):
        if claim.tasks is not None and task not in claim.tasks:
            continue
        for population in deflated_populations(of_task) or [""]:
            yield Evidence(
                str(task),
                population,
                trained(of_task),
                of_role(of_task, UNTRAINED),
                _Named(
                    claim,
                    {name: of[str(task)] for name, of in analyses.items() if name in claim.reads and str(task) in of},
                ),
                _Named(
                    claim, {name: _part(of, task, population) for name, of in tables.items() if name in claim.reads}
                ),
                confidence,
                resamples,
            )


class _Named(dict[str, Any]):
    """What a claim names in its `reads`; anything else is refused, so that the names can be relied on."""

    def __init__(self, claim: Claim, content: Mapping[str, Any]):
        super().__init__(content)
        self.claim = claim

    def __missing__(self, name: str) -> Any:
        raise ClaimError(f"the claim {self.claim.id!r} reads {name!r}; name it in its `reads`")


def _part(rows: pd.DataFrame, task: Hashable, population: str) -> pd.DataFrame:
    # Without alternatives, a table may have no columns either.
    return rows[(rows["task"] == task) & (rows["population"] == population)] if len(rows) else rows


def claims_page(table: pd.DataFrame, papers: Mapping[str, Publication], n_comparisons: int, confidence: float) -> str:
    """The claims as a page of Markdown: one table per claim, its criterion below.

    `table` is that of `judged`, `n_comparisons` the number of intervals in `comparisons.csv`.
    """
    several = table["population"].nunique() > 1
    parts = []
    for paper, publication in papers.items():
        own = {claim.id: claim.intervals for claim in publication.claims}
        rows_of_paper = table[table["paper"] == paper]
        answered = rows_of_paper.loc[rows_of_paper["verdict"] != NO_ANSWER, "id"]
        whose = "The paper's statements" if len(papers) == 1 else f"The statements of {publication.citation}"
        by_chance = expected_by_chance(n_comparisons, confidence)
        all_count = any(claim.unsolved for claim in publication.claims if claim.id in set(rows_of_paper["id"]))
        except_where = f", except where a criterion says '{SOLVED_OR_NOT}'" if all_count else ""
        parts += [
            f"# {whose}, claim by claim\n",
            f"<!-- Generated by the rule `claims` from {plugins.module_of('claims', paper)}. -->\n",
            f"What {publication.citation} state, in our words, next to what this grid shows. Verdicts are by the "
            f"criterion under each claim, which is ours. Only solved networks count{except_where}. Intervals are "
            f"{100 * confidence:g} % bootstrap intervals over networks, those of one chain resampled together, and "
            "those of scores and losses over blocks of trials, too. There is no correction for their number: the "
            f"comparisons of scores and losses are {n_comparisons}, of which "
            f"about {by_chance:.0f} would exclude 0 by chance, and the verdicts below rest on "
            f"{sum(own[name] for name in answered)} further intervals. Differences of scores have the sign turned "
            "where lower is better, so that alternatives do better where they are positive.\n",
        ]
        of_paper = rows_of_paper["task"].isin(publication.tasks or rows_of_paper["task"])
        parts += _statements(rows_of_paper[of_paper], several)
        if not of_paper.all():
            parts.append(f"# The same statements, on tasks that {publication.citation} do not have\n")
            parts += _statements(rows_of_paper[~of_paper], several)
    return "\n".join(parts)


def _statements(table: pd.DataFrame, several: bool) -> list[str]:
    """One table per claim, its criterion below; `several` populations are named."""
    parts = []
    for _, rows in table.groupby("id", sort=False):
        parts.append(f"## {rows['claim'].iloc[0]}\n")
        parts.append("| task | what was found | verdict |\n|---|---|---|")
        for row in rows.to_dict("records"):
            task = row["task"].replace("_", " ") + (f" ({row['population']})" if several and row["population"] else "")
            parts.append(f"| {task} | {row['number']} | **{row['verdict']}** |")
        parts.append(f"\nCriterion: {rows['criterion'].iloc[0]}.\n")
    return parts


def by_share(share: float, most: float = MOST) -> str:
    """Reproduced if a statement holds for a share of `most` or more, partly from half on."""
    return REPRODUCED if share >= most else PARTLY if share >= 0.5 else NOT


def by_majority(share: float, most: float = MOST) -> str:
    """The same, but partly above half alone."""
    return REPRODUCED if share >= most else PARTLY if share > 0.5 else NOT


def pairs(matrix: xr.DataArray, networks: list[str]) -> np.ndarray:
    """Values of all ordered pairs of different networks, without NaN; (pair,)."""
    first, second = matrix.dims
    values = matrix.sel({first: networks, second: networks}).values[~np.eye(len(networks), dtype=bool)]
    return values[np.isfinite(values)]


def median_difference(
    matrix: xr.DataArray, first: list[str], second: list[str], confidence: float, resamples: int, seed: int
) -> Interval:
    """Median over pairs of the first networks minus that over pairs of the second, and its bootstrap interval.

    Pairs share networks: networks are resampled, at most `PAIR_RESAMPLES` times, and pairs of different ones are taken
    from each draw. The interval is widened for small groups as in `insd.tables.comparisons.difference_interval`.
    """
    random = np.random.default_rng(seed)
    rows, columns = matrix.dims
    resampled = []
    for labels in (first, second):
        values = matrix.sel({rows: labels, columns: labels}).values
        drawn = random.integers(len(labels), size=(min(resamples, PAIR_RESAMPLES), len(labels)))
        medians = []
        for chosen in drawn:
            different = values[np.ix_(chosen, chosen)][chosen[:, None] != chosen]
            # Of few networks, the same one may be drawn throughout.
            medians.append(np.nanmedian(different) if np.isfinite(different).any() else np.nan)
        resampled.append(np.array(medians))
    tail = expanded_tail(min(len(first), len(second)), confidence)
    low, high = np.nanquantile(resampled[0] - resampled[1], [tail, 1 - tail])
    return float(np.median(pairs(matrix, first)) - np.median(pairs(matrix, second))), float(low), float(high)


def interval_text(values: Interval, decimals: int) -> str:
    """A difference with its interval, with signs."""
    value, low, high = (f"{value:+.{decimals}f}".replace("-", "−") for value in values)
    return f"{value} ({low} to {high})"
