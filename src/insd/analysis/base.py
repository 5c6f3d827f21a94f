"""What an analysis is: a function over the networks of a task that writes one file, and what it needs for it.

What it finds of single networks, or of pairs of them, is kept (`insd.kept`), so that networks that are added to a grid
do not make it compute again what it knows of the others.

An analysis is described by a constant, `ANALYSIS`, in a file that imports neither torch nor scikit-learn, since the
workflow reads all descriptions whenever it starts; its function imports what it needs when it runs.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
import xarray as xr
from pydantic import Field

from insd import plugins
from insd.blocks import related
from insd.cohorts import network_label
from insd.datasets import Contract, read, write
from insd.errors import InsdError
from insd.jobs import return_unused_memory
from insd.kept import Kept, KeptOfBlocks, Pair, kept_in
from insd.provenance import attributes, content_fingerprint, modules_fingerprint, packages_fingerprint
from insd.settings.base import PopulationName, Section
from insd.settings.config import seeds_of
from insd.settings.tasks import make_task
from insd.tasks import Task

if TYPE_CHECKING:
    from insd.members import Member
    from insd.settings.config import Settings

logger = logging.getLogger("insd.analysis")


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
    kept: Kept = field(default_factory=Kept)
    """What is known of the networks and their pairs; an analysis of pairs reads it and adds to it."""


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


def folds_within_trials(name: str) -> Callable[[Any, "Settings"], Iterable[str]]:
    """Of an analysis with folds over the test trials: more folds than there are trials."""

    def problems(own: Any, settings: "Settings") -> Iterable[str]:
        if own.folds > settings.trials.evaluation:
            yield f"analysis.{name}.folds = {own.folds}: at most trials.evaluation = {settings.trials.evaluation}"

    return problems


def no_modules(own: Any) -> list[str]:
    """The settings of the analysis name no modules."""
    return []


def along_networks(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Results of single networks as those of all, along the dimension `network`; the rest is that of the first."""
    return xr.concat(
        parts,
        "network",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="override",
    )


@dataclass(frozen=True)
class Analysis:
    """One analysis. The first file that it writes has the name of the analysis' own file of code, unless it says so."""

    description: str
    """What it finds, in one sentence."""
    writes: Mapping[str, Contract]
    """Names of the files that it writes in `results/{task}/analysis/`, and what each holds."""
    run: Callable[[Job], Mapping[str, xr.Dataset]]
    """The files that it writes, by name."""
    over: Literal["all", "networks", "pairs"] = "all"
    """What its numbers are of. `networks`: of single networks, whichever others there are; `run` is given one at a
    time, of which nothing is kept. `pairs`: of two networks; `run` is given all, and leaves out what `Job.kept` has.
    `all`: of all networks together; nothing is kept."""
    compare: Callable[[Job, Sequence[Pair]], None] | None = None
    """Adds what it finds of these pairs, each of two networks in the order of the grid or of one with itself, to
    `Job.kept`, and what it needs of single networks. With it, an analysis over `pairs` is divided where a task has more
    networks than `analysis.networks_per_block`: this is called once for each pair of blocks of networks, and at last
    `run`, for which nothing is missing. `run` takes pairs from `Kept.found`, then, and reads no activity."""
    join: Callable[[Sequence[xr.Dataset]], xr.Dataset] = along_networks
    """One of its files for all networks, from those of each, in the order of the grid, if it is over `networks`."""
    settings: type[AnalysisSettings] = AnalysisSettings
    section: str = ""
    """The section of `analysis` in the config, if not that of its own name."""
    reads: tuple[str, ...] = ()
    """What it reads besides networks and their activity: `trials/REGIME`, `trials/evaluation` (every regime but
    `train`), `analysis/NAME`."""
    chooses: tuple[str, ...] = ("populations",)
    """The settings that choose networks, and change nothing of any of them: what is kept of these stays."""
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
    task_code: str,
    blocks: Sequence[str] = (),
) -> None:
    """Run an analysis on those networks of a task that have what it needs, and write its files.

    `inputs` and the arguments after `outputs` are those of `insd.grid.Grid.analysis_inputs` and `analysis_params`.
    Which networks were left out, and why, is in the coordinates `left_out` and `reason` of each file. What is kept of
    networks and pairs is in the folder `kept` next to the files. With `blocks`, the block of each round, the files of
    `compare_blocks` are joined, which `inputs` has as `pairs`.
    """
    analysis, job, left_out = _job(name, task, inputs, parameters, rounds, settings, more)
    if analysis.over == "all" or not job.members:
        results = analysis.run(job)
    else:
        digest, known = _depends_on(analysis, job, inputs, rounds, parameters, settings, code, task_code)
        folder = _kept_folder(analysis, next(iter(outputs.values())))
        if blocks:
            of_label = {label: block for label, block in _of_labels(rounds, blocks) if label in known}
            job = replace(job, kept=_of_blocks(inputs["pairs"], digest, known, of_label))
            results = analysis.run(job)
            # What was kept of blocks that are gone.
            current = {Path(path).name for path in inputs["pairs"]}
            for path in [folder.with_suffix(".pt"), *(one for one in folder.glob("*.pt") if one.name not in current)]:
                path.unlink(missing_ok=True)
        else:
            with kept_in(folder.with_suffix(".pt"), digest, known) as kept:
                _log_kept(kept, job)
                job = replace(job, kept=kept)
                results = _of_networks(analysis, job) if analysis.over == "networks" else analysis.run(job)
    about = {"analysis": dict(settings), "rounds": list(rounds)}
    for file, contract in analysis.writes.items():
        result = results[file]
        if left_out:
            result = result.assign_coords(left_out=list(left_out), reason=("left_out", list(left_out.values())))
        result.attrs |= attributes(about, "insd.analysis.base", code_fingerprint=code, analysis=name)
        write(result, outputs[file], contract)


def compare_blocks(
    name: str,
    task: str,
    inputs: Mapping[str, Sequence[str]],
    output: str,
    parameters: Mapping[str, Any],
    rounds: Sequence[tuple[str, str, int, str, str]],
    settings: Mapping[str, Any],
    more: Mapping[str, Any],
    code: str,
    task_code: str,
    blocks: Sequence[str],
) -> None:
    """Compare the networks of one block with those of another, or with each other, and write what an analysis finds of
    these pairs to `results/{task}/analysis/blocks/{analysis}/{block}-{block}.pt`, from where `run_analysis` takes it.

    `inputs` and the arguments after `output` are those of `insd.grid.Grid.block_inputs` and `block_params`, of the
    networks of both blocks. What is kept of pairs is in a file of the same name in `kept/{first file}/`; what is kept
    of networks, in those of a block with itself. A job also looks into what is kept of blocks that its own were divided
    from or made of. Errors name the blocks.
    """
    from insd.checkpoints import Checkpoint

    names = _names(output)
    analysis, job, _ = _job(name, task, inputs, parameters, rounds, settings, more)
    assert analysis.compare is not None
    digest, known = _depends_on(analysis, job, inputs, rounds, parameters, settings, code, task_code)
    of_label = dict(_of_labels(rounds, blocks))
    folder = _kept_folder(analysis, str(Path(output).parents[1]))
    with kept_in(folder / Path(output).name, digest, known, _others(folder, names), names[0] != names[1]) as kept:
        _log_kept(kept, job)
        wanted = [
            pair
            for pair in combinations_with_replacement([member.label for member in job.members], 2)
            if {of_label[label] for label in pair} == set(names) and pair not in kept.pairs
        ]
        where = f"networks of the blocks {' and '.join(dict.fromkeys(names))} of {task}"
        logger.info("%s: %d of its pairs are compared", where, len(wanted))
        try:
            if wanted:
                analysis.compare(replace(job, kept=kept), wanted)
        except InsdError as error:
            raise InsdError(f"{where}: {error}") from None
        except Exception as error:
            error.add_note(f"in {name}, {where}")
            raise
        kept.write(Checkpoint(Path(output), digest))


def _job(
    name: str,
    task: str,
    inputs: Mapping[str, Sequence[str]],
    parameters: Mapping[str, Any],
    rounds: Sequence[tuple[str, str, int, str, str]],
    settings: Mapping[str, Any],
    more: Mapping[str, Any],
) -> tuple[Analysis, Job, dict[str, str]]:
    """The analysis, what it works on, and of the networks that are left out, by label, what they lack."""
    from insd.members import read_members

    analysis: Analysis = plugins.find("analysis", name)
    members, left_out = capable(read_members(inputs["networks"], inputs["activities"], rounds), analysis.needs)
    own = analysis.settings.model_validate(settings)
    trials = {Path(path).stem: read(path, "trials") for path in inputs.get("trials", ())}
    analyses = {Path(path).stem: read(path, Path(path).stem) for path in inputs.get("analysis", ())}
    return analysis, Job(task, make_task(task, parameters), members, own, trials, analyses, more), left_out


def _depends_on(
    analysis: Analysis,
    job: Job,
    inputs: Mapping[str, Sequence[str]],
    rounds: Sequence[tuple[str, str, int, str, str]],
    parameters: Mapping[str, Any],
    settings: Mapping[str, Any],
    code: str,
    task_code: str,
) -> tuple[str, dict[str, str]]:
    """Digest of all that what is found of networks depends on besides them; and of each of them, by label."""
    from insd.members import fingerprints

    known = fingerprints(inputs["networks"], inputs["activities"], rounds)
    used = {key: value for key, value in settings.items() if key not in analysis.chooses}
    files = [(Path(path).name, content_fingerprint(path)) for key in FILES for path in inputs.get(key, ())]
    made_from = [job.name, parameters, used, job.more, files, code, task_code, packages_fingerprint()]
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()
    return digest, {member.label: known[member.label] for member in job.members}


def _kept_folder(analysis: Analysis, file: str) -> Path:
    """Where what is kept of an analysis is, next to one of its files; that of one job has this name and an ending."""
    return Path(file).parent / "kept" / next(iter(analysis.writes))


def _log_kept(kept: Kept, job: Job) -> None:
    of_pairs = f", and {len(kept.pairs)} pairs" if kept.pairs else ""
    count = len({*kept.networks, *chain(*kept.pairs)})
    logger.info("%d of %d networks kept%s", count, len(job.members), of_pairs)


def _of_blocks(
    paths: Sequence[str], digest: str, known: Mapping[str, str], of_label: Mapping[str, str]
) -> KeptOfBlocks:
    """What `compare_blocks` wrote."""
    from insd.checkpoints import Checkpoint

    return KeptOfBlocks(known, {_names(path): Checkpoint(Path(path), digest) for path in paths}, of_label)


def _names(path: str) -> tuple[str, str]:
    """The blocks of a file of `compare_blocks`."""
    one, _, other = Path(path).stem.partition("-")
    return one, other


def _of_labels(rounds: Sequence[tuple[str, str, int, str, str]], blocks: Sequence[str]) -> Iterable[tuple[str, str]]:
    """The labels of networks, and the block of each."""
    for (population, seeds, number, *_), block in zip(rounds, blocks, strict=True):
        for seed in seeds_of(seeds):
            yield network_label(population, seed, number), block


def _others(folder: Path, names: tuple[str, str]) -> list[Path]:
    """Files that may hold something of the networks or pairs of two blocks, besides that of these blocks."""
    found = [folder.with_suffix(".pt")]
    for path in sorted(folder.glob("*.pt")):
        theirs = _names(str(path))
        of_networks = theirs in ((names[0], names[0]), (names[1], names[1]))
        both = [related(a, c) and related(b, d) for a, b in (names, names[::-1]) for c, d in (theirs,)]
        if theirs != names and (of_networks or any(both)):
            found.append(path)
    return found


FILES = ("trials", "analysis", "files")
"""The inputs that what is kept of networks depends on, besides the files of the networks."""


def _of_networks(analysis: Analysis, job: Job) -> dict[str, xr.Dataset]:
    """The files of an analysis of single networks, which is run on those of which nothing is kept."""
    found = job.kept.networks
    missing = [member for member in job.members if member.label not in found]
    for number, member in enumerate(missing, start=1):
        job.kept.add_network(member.label, analysis.run(replace(job, members=[member])))
        # Or the memory of one network adds to that of the next.
        return_unused_memory()
        logger.info("%s: %d of %d networks", member.label, number, len(missing))
    parts = [found[member.label] for member in job.members]
    return {file: analysis.join([part[file] for part in parts]) for file in analysis.writes}


def code_of(name: str, own: Any) -> str:
    """Fingerprint of the code of an analysis with its settings, and of the modules that these name."""
    found: Analysis = plugins.find("analysis", name)
    return modules_fingerprint([plugins.module_of("analysis", name), *found.modules(own)])
