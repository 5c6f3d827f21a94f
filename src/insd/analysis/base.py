"""What an analysis is: a function over the networks of a task that writes one file, and what it needs for it.

An analysis is described by a constant, `ANALYSIS`, in a file that imports neither torch nor scikit-learn, since the
workflow reads all descriptions whenever it starts; its function imports what it needs when it runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
import xarray as xr
from pydantic import Field

from insd import plugins
from insd.datasets import Contract, read, write
from insd.provenance import attributes, modules_fingerprint
from insd.settings.base import PopulationName, Section
from insd.settings.tasks import make_task
from insd.tasks import Task

if TYPE_CHECKING:
    from insd.members import Member
    from insd.settings.config import Settings


class AnalysisSettings(Section):
    """Settings that every analysis has."""

    populations: Annotated[list[PopulationName], Field(min_length=1)] | None = None
    """The populations that are analysed; all without it."""


@dataclass(frozen=True)
class Column:
    """What a column of `networks.csv` holds, in the dictionary of columns and its tooltips."""

    meaning: str
    """In a phrase, with when it is empty."""
    unit: str = ""
    low: int | float | None = None
    """The smallest value that it can have."""
    high: int | float | None = None

    @property
    def range(self) -> str:
        """The values that it can have; empty where any number or text can be."""
        if self.low is None or self.high is None:
            return "" if self.low is None else f"≥ {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Job:
    """What an analysis works on."""

    name: str
    """Name of the task."""
    task: Task
    members: Sequence["Member"]
    """The networks that have what the analysis needs; activity is read when it is asked for."""
    settings: Any
    """Of the analysis' own class."""
    trials: Mapping[str, xr.Dataset] = field(default_factory=dict)
    """Trial files that it reads, by regime."""
    analyses: Mapping[str, xr.Dataset] = field(default_factory=dict)
    """Files of other analyses of the task that it reads, by name."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else of the config it uses (`Analysis.more`)."""


def nothing_more(settings: "Settings", task: str) -> dict[str, Any]:
    """Nothing else of the config is used."""
    return {}


def always(settings: "Settings", task: str) -> bool:
    """The analysis is made for every task."""
    return True


def no_columns(result: xr.Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """`networks.csv` has no column of the analysis."""
    return pd.DataFrame(index=table.index)


def no_problems(own: Any, settings: "Settings") -> Iterable[str]:
    """No key of the analysis depends on others of the config."""
    return ()


def no_modules(own: Any) -> list[str]:
    """The settings of the analysis name no modules."""
    return []


@dataclass(frozen=True)
class Analysis:
    """One analysis. The first file that it writes has the name of the analysis' own file of code, unless it says so."""

    description: str
    """What it finds, in one sentence."""
    writes: Mapping[str, Contract]
    """Names of the files that it writes in `results/{task}/analysis/`, and what each holds."""
    run: Callable[[Job], Mapping[str, xr.Dataset]]
    """The files that it writes, by name."""
    settings: type[AnalysisSettings] = AnalysisSettings
    section: str = ""
    """The section of `analysis` in the config, if not that of its own name."""
    reads: tuple[str, ...] = ()
    """What it reads besides networks and their activity: `trials/REGIME`, `trials/evaluation` (every regime but
    `train`), `analysis/NAME`."""
    needs: tuple[str, ...] = ()
    """Capabilities of networks, classes of `insd.networks.base`; networks without them are left out."""
    networks: Literal["all", "reference"] = "all"
    """`reference`: the first reference of the chain that figures show, alone."""
    applies: Callable[["Settings", str], bool] = always
    """Whether it is made for a task."""
    more: Callable[["Settings", str], dict[str, Any]] = nothing_more
    """What else of the config it uses for a task; values of the key `files` are inputs of the job."""
    problems: Callable[[Any, "Settings"], Iterable[str]] = no_problems
    """What is wrong with its settings given all others."""
    modules: Callable[[Any], list[str]] = no_modules
    """Modules that its settings name, such as those of measures: their code is the analysis' code too."""
    columns: Callable[[xr.Dataset, pd.DataFrame], pd.DataFrame] = no_columns
    """Columns of `networks.csv` from the first file it writes and the identities of the networks of its task (indexed
    by label: see `insd.tables.networks`); in the same order, with the same index."""
    dictionary: Mapping[str, Column] = field(default_factory=dict)
    """What each of these columns holds."""
    completes: tuple[str, ...] = ()
    """Analyses whose columns it is given, too, and returns with more values."""
    memory_mb: int = 2000
    minutes: int = 30


def capable(members: Iterable["Member"], needs: Sequence[str]) -> tuple[list["Member"], dict[str, str]]:
    """The networks that have some capabilities, and of the others by label what they lack."""
    from insd.networks import base

    found, left_out = [], {}
    for member in members:
        if member.network is None:
            left_out[member.label] = "recorded activity, without a network"
            continue
        architecture = base.architecture_of(member.network)
        missing = [name for name in needs if not issubclass(plugins.find("network", architecture), getattr(base, name))]
        if missing:
            left_out[member.label] = f"{architecture}: is not {' or '.join(missing).lower()}"
        else:
            found.append(member)
    return found, left_out


def run_analysis(
    name: str,
    task: str,
    inputs: Mapping[str, Sequence[str]],
    outputs: Mapping[str, str],
    parameters: Mapping[str, Any],
    rounds: Sequence[tuple[str, str, int, str, str]],
    settings: Mapping[str, Any],
    more: Mapping[str, Any],
    code: str,
) -> None:
    """Run an analysis on those networks of a task that have what it needs, and write its files.

    `inputs` and the arguments after `outputs` are those of `insd.grid.Grid.analysis_inputs` and `analysis_params`.
    Which networks were left out, and why, is in the coordinates `left_out` and `reason` of each file.
    """
    from insd.members import read_members

    analysis: Analysis = plugins.find("analysis", name)
    members, left_out = capable(read_members(inputs["networks"], inputs["activities"], rounds), analysis.needs)
    own = analysis.settings.model_validate(settings)
    trials = {Path(path).stem: read(path, "trials") for path in inputs.get("trials", ())}
    analyses = {Path(path).stem: read(path, Path(path).stem) for path in inputs.get("analysis", ())}
    about = {"analysis": dict(settings), "rounds": list(rounds)}
    results = analysis.run(Job(task, make_task(task, parameters), members, own, trials, analyses, more))
    for file, contract in analysis.writes.items():
        result = results[file]
        if left_out:
            result = result.assign_coords(left_out=list(left_out), reason=("left_out", list(left_out.values())))
        result.attrs |= attributes(about, "insd.analysis.base", code_fingerprint=code, analysis=name)
        write(result, outputs[file], contract)


def code_of(name: str, own: Any) -> str:
    """Fingerprint of the code of an analysis with its settings, and of the modules that these name."""
    found: Analysis = plugins.find("analysis", name)
    return modules_fingerprint([plugins.module_of("analysis", name), *found.modules(own)])
