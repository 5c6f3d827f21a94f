"""The jobs and files of a grid, from its settings."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from insd import plugins
from insd.analysis.base import Analysis, code_of
from insd.errors import InsdError
from insd.figures.base import OF_ROUNDS, Figure, planned
from insd.provenance import modules_fingerprint, settings_fingerprint
from insd.settings.base import SettingsError
from insd.settings.config import Settings, seeds_of

ROUND = "results/{task}/{population}/seeds-{seeds}/round-{round}"
"""The folder of a round."""
RoundBlock = tuple[str, str, int]
"""Population, seeds and round of a job."""
Wildcards = Mapping[str, str]
"""What Snakemake found in the name of an output."""


class Grid:
    """The jobs and files of one config."""

    def __init__(self, settings: Settings):
        self.settings = settings
        # All analyses ask for the recipes of all rounds.
        self._recipe = cache(self._resolved)

    def _resolved(self, task: str, population: str, round_number: int) -> dict[str, Any]:
        return self.settings.recipe(task, population, round_number).model_dump()

    # --- Rounds

    def recipe(self, wildcards: Wildcards) -> dict[str, Any]:
        """The resolved settings of a round that is trained."""
        return self._recipe(wildcards["task"], wildcards["population"], int(wildcards["round"]))

    def blocks(self, task: str, populations: Collection[str] | None = None) -> list[RoundBlock]:
        """Population, seeds and round of every job of a task that makes networks, in the order of the config."""
        return [
            (population, seeds, round_number)
            for population in self.settings.population_names(task)
            if populations is None or population in populations
            for seeds in self.settings.seed_blocks(population)
            for round_number in self.settings.trained_rounds(population)
        ]

    def shown_blocks(self, task: str) -> list[RoundBlock]:
        """Population, seeds and round of the jobs whose networks figures show side by side: those of the chain that the
        config names and of its references or, without one, all.
        """
        chain = self.settings.shown_chain()
        if chain not in self.settings.population_names(task):
            return self.blocks(task)
        reference = self.settings.reference(chain)
        return [block for block in self.blocks(task) if block[0] == chain or (block[0] == reference and block[2] == 0)]

    def reference_block(self, task: str) -> RoundBlock:
        """The job of one reference: the first of the chain that figures show or, without one, of the first population.

        A chain that begins with a recording has no network before round 1.
        """
        names, chain = self.settings.population_names(task), self.settings.shown_chain()
        population = self.settings.reference(chain) if chain in names else names[0]
        return population, self.settings.seed_blocks(population)[0], self.settings.trained_rounds(population)[0]

    def files(self, name: str, task: str, blocks: Sequence[RoundBlock] | None = None) -> list[str]:
        """One file of every round of a task, or of some of them, in their order."""
        return [
            f"{ROUND}/{name}".format(task=task, population=population, seeds=seeds, round=round_number)
            for population, seeds, round_number in (self.blocks(task) if blocks is None else blocks)
        ]

    def made_with(self, task: str, blocks: Sequence[RoundBlock]) -> list[tuple[str, str, int, str, str]]:
        """The blocks, each with the role of its networks and the fingerprint of the task and recipe that the config has
        for it: analyses refuse a file that was made with others (`insd.members.Block`).
        """
        about = {"name": task, "parameters": self.settings.task_parameters(task)}
        return [
            (
                *block,
                self.settings.role(task, block[0], block[2]),
                settings_fingerprint(about, self._recipe(task, block[0], block[2])),
            )
            for block in blocks
        ]

    def earlier_activity(self, wildcards: Wildcards) -> list[str]:
        """The activity of all earlier rounds of the same seeds, or the recording in place of round 0; nothing for
        round 0.
        """
        task, population, seeds = (wildcards[name] for name in ("task", "population", "seeds"))
        populations = [population] * int(wildcards["round"])
        if populations:
            populations[0] = self.settings.reference(population)
        files = self.files("activity.nc", task, [(name, seeds, number) for number, name in enumerate(populations)])
        if files and population in self.settings.recordings(task):
            files[0] = f"results/{task}/{population}/seeds-{seeds}/recording.nc"
        return files

    def recording_file(self, wildcards: Wildcards) -> str:
        """The recording that takes the place of a population's round 0."""
        task, population = wildcards["task"], wildcards["population"]
        return existing_file(population, self.settings.recordings(task)[population], task)

    def recording_deflation(self, wildcards: Wildcards) -> dict[str, Any]:
        """How a recording is kept: by the settings of the rounds that read it."""
        return self._recipe(wildcards["task"], wildcards["population"], 1)["deflation"]

    def training_code(self, wildcards: Wildcards) -> str:
        """Fingerprint of the code that trains a round, with that of its architecture and its task."""
        architecture = plugins.module_of("network", self.recipe(wildcards)["network"]["architecture"])
        return modules_fingerprint(["insd.activity", architecture]) + self.settings.task_code(wildcards["task"])

    def rounds_to_come(self, wildcards: Wildcards) -> int:
        """How many rounds of the chain wait for this one: long chains go first, or the last of them would run alone."""
        return self.settings.population(wildcards["population"]).rounds - int(wildcards["round"])

    def training_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory of a round in MB: what it needs at all, and for each network, whose activity on 2,000 trials is most
        of it. Measured with 100 units: 0.8 GB for one network, 1.3 GB for ten.
        """
        return attempt * (1400 + self.recipe(wildcards)["network"]["units"] * len(seeds_of(wildcards["seeds"])))

    def training_minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a round: what all its attempts may take at 20 iterations per second and network, and more."""
        training = self.recipe(wildcards)["training"]
        iterations = training["iterations"] * (training["restarts"] + 1) * len(seeds_of(wildcards["seeds"]))
        return attempt * (10 + iterations // 1200)

    # --- Trials

    def evaluation_regimes(self, task: str) -> list[str]:
        """The regimes that networks are evaluated in: `test` and every harder one."""
        return [regime for regime in self.settings.task(task).regime_names() if regime != "train"]

    def n_trials(self, wildcards: Wildcards) -> int:
        """How many trials a regime has."""
        trials = self.settings.trials
        return trials.train if wildcards["regime"] == "train" else trials.evaluation

    # --- Analyses

    def analyses(self) -> dict[str, Analysis]:
        """The analyses by the names in the config."""
        return {name: plugins.find("analysis", name) for name in self.settings.analyses()}

    def analysis_tasks(self, name: str) -> list[str]:
        """The tasks that an analysis is made for."""
        analysis: Analysis = plugins.find("analysis", name)
        return [task for task in self.settings.tasks if analysis.applies(self.settings, task)]

    def analysis_blocks(self, name: str, task: str) -> list[RoundBlock]:
        """The jobs whose networks an analysis reads."""
        if plugins.find("analysis", name).networks == "reference":
            return [self.reference_block(task)]
        return self.blocks(task, self.settings.analysis_settings(name).populations)

    def analysis_inputs(self, name: str, task: str) -> dict[str, list[str]]:
        """The files that an analysis reads, by what they are."""
        analysis: Analysis = plugins.find("analysis", name)
        blocks = self.analysis_blocks(name, task)
        found = {
            "networks": self.files("network.nc", task, blocks),
            "activities": self.files("activity.nc", task, blocks),
        }
        for key in analysis.reads:
            folder, _, file = key.partition("/")
            names = self.evaluation_regimes(task) if key == "trials/evaluation" else [file]
            found.setdefault(folder, []).extend(f"results/{task}/{folder}/{one}.nc" for one in names)
        for population, path in analysis.more(self.settings, task).get("files", {}).items():
            found.setdefault("files", []).append(existing_file(population, path, task))
        return found

    def analysis_params(self, name: str, task: str) -> dict[str, Any]:
        """What an analysis uses of the config and of code."""
        analysis: Analysis = plugins.find("analysis", name)
        own = self.settings.analysis_settings(name)
        return {
            "parameters": self.settings.task_parameters(task),
            "rounds": self.made_with(task, self.analysis_blocks(name, task)),
            "settings": own.model_dump(),
            "more": analysis.more(self.settings, task),
            "code": code_of(name, own),
        }

    def analysis_files(self) -> list[str]:
        """All files of all analyses."""
        return [
            f"results/{task}/analysis/{file}.nc"
            for name, analysis in self.analyses().items()
            for task in self.analysis_tasks(name)
            for file in analysis.writes
        ]

    def joined(self) -> list[tuple[str, str]]:
        """The analyses whose columns `networks.csv` joins, as (name in the config, name of its rule)."""
        return [(name, self.rule_name(name)) for name, analysis in self.analyses().items() if has_columns(analysis)]

    def table_inputs(self) -> dict[str, list[str]]:
        """Their files by the name of the rule: one per task that has it."""
        return {
            rule: [f"results/{task}/analysis/{first_file(name)}.nc" for task in self.analysis_tasks(name)]
            for name, rule in self.joined()
        }

    def table_analyses(self) -> list[tuple[str, str, list[str]]]:
        """What `joined` says, and the tasks of each."""
        return [(name, rule, self.analysis_tasks(name)) for name, rule in self.joined()]

    def table_code(self) -> str:
        """Fingerprint of the code that makes `networks.csv`."""
        modules = [plugins.module_of("analysis", name) for name, _ in self.joined()]
        return modules_fingerprint(["insd.tables.networks", *modules])

    def rule_name(self, name: str) -> str:
        """The name of an analysis' rule: that of its file or, of the user's own, of the first file that it writes."""
        return first_file(name) if ":" in name else name

    # --- Figures

    def figures(self) -> dict[str, str]:
        """The name by which each figure is found (`insd.figures.base.planned`), by the name of its rule and files:
        those of this library, then the user's own.

        Raises SettingsError if one of the user's own cannot be used.
        """
        found = {name: name for name in plugins.names("figure")}
        for path in self.settings.figures.own:
            name = path.partition(":")[0].rpartition(".")[2]
            try:
                planned(path)
            except InsdError as error:
                raise SettingsError(f"the config cannot be used:\n  - figures.own: {error}") from None
            if name in found or not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise SettingsError(
                    f"the config cannot be used:\n  - figures.own: {path}: the name of the module is that of the "
                    f"figure; choose one of a-z, 0-9 and _ that is not one of {', '.join(found)}"
                )
            found[name] = path
        return found

    def figure_files(self) -> list[str]:
        """All figures in all formats."""
        return [
            f"{stem}.{suffix}"
            for name, path in self.figures().items()
            for stem in dict.fromkeys(
                figure_stem(name, planned(path)).format(task=task) for task in self.settings.tasks
            )
            for suffix in ("svg", "pdf", "png")
        ]

    def figure_tasks(self, figure: Figure, task: str | None) -> list[str]:
        """The tasks of a figure: that of a figure per task, or all."""
        return [task] if figure.per == "task" and task is not None else list(self.settings.tasks)

    def figure_inputs(self, figure: Figure, task: str | None) -> dict[str, list[str]]:
        """The files that a figure reads, by name in `Figure.reads`; `task` is that of a figure per task."""
        return {key: self._figure_files(key, self.figure_tasks(figure, task)) for key in figure.reads}

    def _figure_files(self, key: str, tasks: Sequence[str]) -> list[str]:
        folder, _, name = key.partition("/")
        if folder == "tables":
            return [f"results/tables/{name}.csv"]
        if folder in OF_ROUNDS:
            return [
                path for task in tasks for path in self.files(f"{name}.nc", task, self._figure_blocks(folder, task))
            ]
        return [f"results/{task}/{folder}/{name}.nc" for task in tasks]

    def _figure_blocks(self, folder: str, task: str) -> list[RoundBlock]:
        return self.shown_blocks(task) if folder == "shown" else self.blocks(task)

    def files_of_figures(self) -> list[str]:
        """All files that any figure reads."""
        plans = [planned(path) for path in self.figures().values()]
        read = [self.figure_inputs(plan, task).values() for plan in plans for task in self.settings.tasks]
        return sorted({path for files in read for paths in files for path in paths})

    def figure_params(self, figure: Figure, task: str | None) -> dict[str, Any]:
        """What a figure uses of the config: parameters of its tasks, settings, and which rounds its files hold."""
        used = {
            "chain": self.settings.shown_chain(),
            "confidence": self.settings.analysis.comparisons.confidence,
        }
        folders = dict.fromkeys(key.partition("/")[0] for key in figure.reads)
        return {
            "parameters": {name: self.settings.task_parameters(name) for name in self.figure_tasks(figure, task)},
            "settings": {name: used[name] for name in figure.uses},
            "blocks": {
                folder: self.made_with(str(task), self._figure_blocks(folder, str(task)))
                for folder in folders
                if folder in OF_ROUNDS
            },
        }

    # --- For Snakemake

    def of_task(self, function: Callable[..., Any], *arguments: Any) -> Callable[[Wildcards], Any]:
        """A function of the grid as Snakemake calls it, for the task in the wildcards; None in a job of all tasks."""
        return partial(_of_task, function, arguments)


def _of_task(function: Callable[..., Any], arguments: Sequence[Any], wildcards: Any) -> Any:
    return function(*arguments, wildcards.get("task"))


def figure_stem(name: str, figure: Figure) -> str:
    """The names of a figure's files without their format, with the wildcard of its task."""
    return f"results/figures/{name}_{{task}}" if figure.per == "task" else f"results/figures/{name}"


def first_file(name: str) -> str:
    """The first file that an analysis writes, which its columns are from."""
    return next(iter(plugins.find("analysis", name).writes))


def has_columns(analysis: Analysis) -> bool:
    """Whether an analysis has columns in `networks.csv`."""
    return analysis.columns is not Analysis.__dataclass_fields__["columns"].default


def existing_file(population: str, path: str, task: str) -> str:
    """A recording that a population begins with, which is made of a task's trials; SettingsError if it is not there."""
    if not Path(path).is_file():
        raise SettingsError(
            f"populations.{population}.reference.file = {path!r}: there is no such file in {Path.cwd()}; "
            f"record it on the trials in results/{task}/trials/train.nc"
        )
    return path
