"""The jobs and files of a grid, from its settings."""

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from insd import plugins
from insd.analysis.base import Analysis, code_of
from insd.blocks import divided, pairs_of
from insd.errors import InsdError
from insd.makers.base import Maker, MakerError, MissingFileError
from insd.makers.base import code_of as code_of_round
from insd.memory import training_memory
from insd.provenance import modules_fingerprint, settings_fingerprint
from insd.settings.base import SettingsError
from insd.settings.checks import UNIT_BY_UNIT, units_problem
from insd.settings.config import Settings, seeds_of
from insd.settings.messages import joined
from insd.settings.recipe import Recipe

logger = logging.getLogger("insd.grid")

ROUND = "results/{task}/{population}/seeds-{seeds}/round-{round}"
"""The folder of a round."""
RoundBlock = tuple[str, str, int]
"""Population, seeds and round of a job."""
Wildcards = Mapping[str, str]
"""What Snakemake found in the name of an output."""


class Grid:
    """The jobs and files of one config.

    Parameters
    ----------
    settings : the config.
    dry_run : says whether jobs are planned and not run. Then the user's own files, such as recordings on trials that do
        not exist yet, may be missing.
    """

    def __init__(self, settings: Settings, dry_run: Callable[[], bool] = lambda: False):
        self.settings, self._dry_run = settings, dry_run
        self._missing: set[str] = set()
        # All analyses ask for all rounds.
        self._made = cache(settings.made_with)
        self._identity = cache(self._identity_of)
        # All pairs of blocks ask for them.
        self.network_blocks = cache(self._network_blocks)
        self._order = cache(self._order_of)
        self._sampled = cache(lambda task: self.settings.task(task).sample("train", 16, 0))
        # Each figure and table asks for those of all analyses, some of which sample trials for it.
        self.analysis_tasks = cache(self._analysis_tasks)

    # --- Rounds

    def makers(self) -> dict[str, type[Maker]]:
        """The makers that the config uses, by their names there."""
        return {name: plugins.find("maker", name) for name in self.settings.makers()}

    def round_rule(self, maker: str) -> str:
        """The name of the rule of a maker."""
        return "train_round" if maker == "train" else "make_" + re.sub(r"\W", "_", maker).lower()

    def made_by(self, maker: str) -> str:
        """The populations of a maker, as what the wildcard may be: of the first maker, all that are not of another, so
        that a name that is not in the config gets to where it is refused.
        """
        first, *_ = self.settings.makers()
        if maker != first:
            return "|".join(map(re.escape, self.settings.made_by(maker)))
        others = [name for name in self.settings.populations if name not in self.settings.made_by(maker)]
        return "".join(f"(?!{re.escape(name)}/)" for name in others) + "[A-Za-z0-9][A-Za-z0-9._-]*"

    def blocks(
        self, task: str, populations: Collection[str] | None = None, writes: str = "network"
    ) -> list[RoundBlock]:
        """Population, seeds and round of every job of a task that writes a file, in the order of the config: without a
        name of the file, of those that make networks.
        """
        return [
            (population, seeds, round_number)
            for population in self.settings.population_names(task)
            if (populations is None or population in populations) and writes in self.settings.maker(population).writes
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
        names, chain = self.settings.network_populations(task), self.settings.shown_chain()
        if chain not in names:
            chain = names[0]
        reference = self.settings.reference(chain)
        population = reference if reference in names else chain
        return population, self.settings.seed_blocks(population)[0], self.settings.trained_rounds(population)[0]

    def architectures(self, task: str) -> set[str]:
        """The architectures that the config gives the networks of a task; those of files of the user's own are in the
        files.
        """
        return {
            self.settings.recipe(task, population, number).network.architecture
            for population in self.settings.population_names(task)
            if "network" in self.settings.maker(population).sections
            for number in self.settings.trained_rounds(population)
        }

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
        return [(*block, *self._identity(task, block[0], block[2])) for block in blocks]

    def _identity_of(self, task: str, population: str, round_number: int) -> tuple[str, str]:
        about = {"name": task, "parameters": self.settings.task_parameters(task)}
        made = self._made(task, population, round_number)
        return self.settings.role(task, population, round_number), settings_fingerprint(about, made)

    def round_files(self, task: str, names: Collection[str]) -> list[str]:
        """The files of these names of all rounds of a task, as far as their makers write them."""
        return [file for name in names for file in self.files(f"{name}.nc", task, self.blocks(task, writes=name))]

    def all_rounds(self, names: Collection[str] = ("network", "activity", "history")) -> list[str]:
        """The files of all rounds of all tasks, as far as their makers write them."""
        return [path for task in self.settings.tasks for path in self.round_files(task, names)]

    def network_benchmarks(self, task: str) -> list[tuple[str, int, int, str]]:
        """Population, seed and round of every network of a task, and the benchmark file of the job that makes it."""
        folder = ROUND.replace("results/", "results/benchmarks/{rule}/", 1)
        found = []
        for population, seeds, number in self.blocks(task):
            rule = self.round_rule(self.settings.population(population).make)
            path = f"{folder}.tsv".format(rule=rule, task=task, population=population, seeds=seeds, round=number)
            found += [(population, seed, number, path) for seed in seeds_of(seeds)]
        return found

    def round_inputs(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """What a round reads besides trials: `earlier` rounds of the same seeds, and `sources`, the user's own files.

        A file that is not there is left out of dry runs, with a warning. In runs it stays, for Snakemake to refuse,
        after a line that says where it is named: what is raised here would be printed with a traceback.
        """
        task, population = wildcards["task"], wildcards["population"]
        maker = self.settings.maker(population)
        reads = maker.reads(population, self.settings.reference(population), int(wildcards["round"]))
        return {
            "earlier": [
                file
                for read in reads
                for name in read.files
                for file in self.files(f"{name}.nc", task, [(read.population, wildcards["seeds"], read.round_number)])
            ],
            "sources": self._sources(task, population),
        }

    def check_sources(self) -> None:
        """Refuse the user's files of which a maker can tell (`problems`) that no job could use them; those that are
        missing are said when jobs are planned. Raises SettingsError, with one line per problem.
        """
        problems: list[str] = []
        for task in self.settings.tasks:
            for population in self.settings.population_names(task):
                maker, seeds = self.settings.maker(population), self.settings.population(population).seeds
                # In no base class: that is in the fingerprint of every network.
                if not hasattr(maker, "problems"):
                    continue
                with suppress(MakerError):
                    sources, recipes = maker.sources(task), self._recipes(task, population)
                    problems += maker.problems(population, self.settings.task(task), seeds, sources, recipes)
            problems += self._unit_problems(task)
        if problems:
            raise SettingsError(joined(problems))

    def _unit_problems(self, task: str) -> Iterator[str]:
        """Chains that compare their networks unit by unit with a recording, or a network in a file, of more units."""
        for population in self.settings.population_names(task):
            reference = self.settings.reference(population)
            if reference == population or "network" in self.settings.maker(reference).sections:
                continue
            if not set(UNIT_BY_UNIT) & set(self.settings.recipe(task, population, 1).terms):
                continue
            # What is wrong with the file is said for itself.
            with suppress(InsdError):
                if (units := self._units_in_file(task, reference)) is None:
                    continue
                what = "recording" if self.settings.population(reference).make == "recording" else "network in"
                of_earlier = f"the {what} {self.settings.maker(reference).sources(task)[0]}"
                if found := units_problem(self.settings, task, population, 1, of_earlier, units):
                    yield found

    def _units_in_file(self, task: str, population: str) -> int | None:
        """The units of a recording, or of networks in files; None where a population is neither.

        Raises an InsdError if there is no such file, or if it cannot be used.
        """
        maker, make = self.settings.maker(population), self.settings.population(population).make
        trials = self.settings.task(task).sample("train", 1, 0)
        if make == "recording":
            from insd.recordings import count_units  # noqa: PLC0415 - few configs need it

            return count_units(maker.sources(task)[0], trials)
        if make == "checkpoint":
            # Not by a method for it: the maker's code is in the fingerprint of its networks.
            found: int = maker._networks(population, maker.sources(task), trials, [0]).sizes["unit"]  # type: ignore[attr-defined]
            return found
        return None

    def _recipes(self, task: str, population: str) -> tuple[Recipe | None, ...]:
        """The recipes of a population's first round and of those that it reads; None where networks follow none. Of
        networks in files, it has their number of units alone.
        """
        first = self.settings.trained_rounds(population)[0]
        reads = self.settings.maker(population).reads(population, self.settings.reference(population), first)
        return (
            self._recipe(task, population, first),
            *(self._recipe(task, one.population, one.round_number) for one in reads),
        )

    def _recipe(self, task: str, population: str, number: int) -> Recipe | None:
        if "network" in self.settings.maker(population).sections:
            return self.settings.recipe(task, population, number)
        if self.settings.population(population).make != "checkpoint":
            return None
        # What is wrong with the file is said for itself.
        with suppress(InsdError):
            return Recipe.model_validate({"network": {"units": self._units_in_file(task, population)}})
        return None

    def _sources(self, task: str, population: str) -> list[str]:
        try:
            return list(self.settings.maker(population).sources(task))
        except MissingFileError as error:
            message, dry_run = f"populations.{population}.{error}", self._dry_run()
            if message not in self._missing:
                self._missing.add(message)
                log, more = (logger.warning, "; planned without it") if dry_run else (logger.error, "")
                log("%s%s", message, more)
            return [] if dry_run else [error.path]
        except MakerError as error:
            raise MakerError(f"populations.{population}.{error}") from None

    def round_params(self, wildcards: Wildcards) -> dict[str, Any]:
        """What a round uses of the config and of code."""
        task = wildcards["task"]
        made = self._made(task, wildcards["population"], int(wildcards["round"]))
        return {
            "parameters": self.settings.task_parameters(task),
            "made": made,
            "code": code_of_round(made, type(self.settings.task(task))),
        }

    def round_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory of a round in MB: what its maker says or, of many trials or large drifts, what training takes then.

        Not in makers and architectures, which are in the fingerprints of their networks.
        """
        maker, (recipe, networks) = self._maker(wildcards), self._size(wildcards)
        memory = maker.memory_mb(recipe, networks)
        if {"network", "training"} <= set(maker.sections):
            trials, sample = self.settings.trials.train, self._sampled(wildcards["task"])
            memory = max(memory, training_memory(recipe, networks, int(wildcards["round"]), trials, sample))
        return attempt * memory

    def round_minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit of a round in minutes."""
        return attempt * self._maker(wildcards).minutes(*self._size(wildcards))

    def _maker(self, wildcards: Wildcards) -> Maker:
        return self.settings.maker(wildcards["population"])

    def _size(self, wildcards: Wildcards) -> tuple[Recipe, int]:
        """The recipe of a round, and its number of networks."""
        recipe = self.settings.recipe(wildcards["task"], wildcards["population"], int(wildcards["round"]))
        return recipe, len(seeds_of(wildcards["seeds"]))

    def rounds_to_come(self, wildcards: Wildcards) -> int:
        """How many rounds of the chain wait for this one: long chains go first, or the last of them would run alone."""
        return self.settings.population(wildcards["population"]).rounds - int(wildcards["round"])

    # --- Trials

    def evaluation_regimes(self, task: str) -> list[str]:
        """The regimes that networks are evaluated in: `test` and every harder one."""
        return [regime for regime in self.settings.task(task).regime_names() if regime != "train"]

    def n_trials(self, wildcards: Wildcards) -> int:
        """How many trials a regime has."""
        trials = self.settings.trials
        return trials.train if wildcards["regime"] == "train" else trials.evaluation

    def trial_files(self) -> list[str]:
        """The trials of all regimes of all tasks."""
        return [
            f"results/{task}/trials/{regime}.nc"
            for task in self.settings.tasks
            for regime in ["train", *self.evaluation_regimes(task)]
        ]

    # --- Analyses

    def analyses(self) -> dict[str, Analysis]:
        """The analyses by the names in the config."""
        return {name: plugins.find("analysis", name) for name in self.settings.analyses()}

    def _analysis_tasks(self, name: str) -> list[str]:
        """The tasks that an analysis is made for."""
        analysis: Analysis = plugins.find("analysis", name)
        return [task for task in self.settings.tasks if analysis.applies(self.settings, task)]

    def analysis_blocks(self, name: str, task: str) -> list[RoundBlock]:
        """The jobs whose networks an analysis reads."""
        if plugins.find("analysis", name).networks == "reference":
            return [self.reference_block(task)]
        return self.blocks(task, self.settings.analysis_settings(name).populations)

    def analysis_inputs(self, name: str, task: str) -> dict[str, list[str]]:
        """The files that an analysis reads, by what they are; of one that is divided, those of its pairs of blocks."""
        found = self._inputs(name, task, self.analysis_blocks(name, task))
        pairs = self._pair_files(name, task)
        return found | ({"pairs": pairs} if pairs else {})

    def _pair_files(self, name: str, task: str) -> list[str]:
        """The files of the pairs of blocks of an analysis; none where it is one job."""
        folder = f"results/{task}/analysis/blocks/{self.rule_name(name)}"
        return [f"{folder}/{one}-{other}.pt" for one, other in pairs_of(list(self.network_blocks(name, task)))]

    def pair_files(self) -> list[str]:
        """The files of all pairs of blocks of all analyses."""
        return [
            file
            for name in self.divided_analyses()
            for task in self.analysis_tasks(name)
            for file in self._pair_files(name, task)
        ]

    def _inputs(self, name: str, task: str, blocks: Sequence[RoundBlock]) -> dict[str, list[str]]:
        analysis: Analysis = plugins.find("analysis", name)
        found = {
            "networks": self.files("network.nc", task, blocks),
            "activities": self.files("activity.nc", task, blocks),
        }
        for key in analysis.reads:
            folder, _, file = key.partition("/")
            names = self.evaluation_regimes(task) if key == "trials/evaluation" else [file]
            found.setdefault(folder, []).extend(f"results/{task}/{folder}/{one}.nc" for one in names)
        for population in analysis.more(self.settings, task).get("files", {}):
            found.setdefault("files", []).extend(self._sources(task, population))
        return found

    def analysis_params(self, name: str, task: str) -> dict[str, Any]:
        """What an analysis uses of the config and of code; of one that is divided, also the block of each round."""
        blocks = self.analysis_blocks(name, task)
        own_blocks = self.network_blocks(name, task)
        return self._params(name, task, blocks) | ({"blocks": _names_of(blocks, own_blocks)} if own_blocks else {})

    def _params(self, name: str, task: str, blocks: Sequence[RoundBlock]) -> dict[str, Any]:
        analysis: Analysis = plugins.find("analysis", name)
        own = self.settings.analysis_settings(name)
        return {
            "parameters": self.settings.task_parameters(task),
            "rounds": self.made_with(task, blocks),
            "settings": own.model_dump(),
            "more": analysis.more(self.settings, task),
            "code": code_of(name, own),
        }

    def _network_blocks(self, name: str, task: str) -> dict[str, list[RoundBlock]]:
        """The blocks of networks that an analysis is divided by for a task; none where it is one job."""
        if plugins.find("analysis", name).compare is None:
            return {}
        found = divided(self.analysis_blocks(name, task), self.settings.analysis.networks_per_block)
        return found if len(found) > 1 else {}

    def divided_analyses(self) -> dict[str, Analysis]:
        """The analyses by the names in the config that are divided for a task."""
        return {
            name: analysis
            for name, analysis in self.analyses().items()
            if any(self.network_blocks(name, task) for task in self.analysis_tasks(name))
        }

    def _order_of(self, name: str, task: str) -> dict[RoundBlock, int]:
        return {one: number for number, one in enumerate(self.analysis_blocks(name, task))}

    def _pair(self, name: str, wildcards: Wildcards) -> list[RoundBlock]:
        """The jobs of the networks of two blocks, in the order of the grid."""
        blocks = self.network_blocks(name, wildcards["task"])
        names = dict.fromkeys((wildcards["block"], wildcards["block_to"]))
        if unknown := [one for one in names if one not in blocks]:
            raise SettingsError(
                f"{name}: there is no block '{unknown[0]}' of the networks of {wildcards['task']}; its blocks are: "
                f"{', '.join(blocks) or 'none, for it is one job'}"
            )
        order = self._order(name, wildcards["task"])
        return sorted((one for block in names for one in blocks[block]), key=order.__getitem__)

    def block_inputs(self, name: str, wildcards: Wildcards) -> dict[str, list[str]]:
        """The files that a pair of blocks of an analysis reads, by what they are."""
        return self._inputs(name, wildcards["task"], self._pair(name, wildcards))

    def block_params(self, name: str, wildcards: Wildcards) -> dict[str, Any]:
        """What a pair of blocks of an analysis uses of the config and of code, and the block of each round."""
        task, blocks = wildcards["task"], self._pair(name, wildcards)
        return self._params(name, task, blocks) | {"blocks": _names_of(blocks, self.network_blocks(name, task))}

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

    def column_analyses(self) -> list[str]:
        """The names in the config of the analyses whose columns `networks.csv` joins."""
        return [name for name, _ in self.joined()]

    def table_inputs(self) -> dict[str, list[str]]:
        """Their files by the name of the rule: one per task that has it."""
        return {
            rule: [f"results/{task}/analysis/{first_file(name)}.nc" for task in self.analysis_tasks(name)]
            for name, rule in self.joined()
        }

    def table_analyses(self) -> list[tuple[str, str, list[str]]]:
        """What `joined` says, and the tasks of each."""
        return [(name, rule, self.analysis_tasks(name)) for name, rule in self.joined()]

    def standards(self, task: str) -> dict[str, list[str]]:
        """By population, the populations of standards that its networks are compared with."""
        return {name: self.settings.standards(task, name) for name in self.settings.population_names(task)}

    def scores(self, task: str) -> dict[str, float | bool]:
        """What one point of a task's score is, and whether higher is better."""
        found = type(self.settings.task(task))
        return {"score_point": found.score_point, "higher_is_better": found.higher_is_better}

    def table_code(self) -> str:
        """Fingerprint of the code that makes `networks.csv`."""
        modules = [plugins.module_of("analysis", name) for name, _ in self.joined()]
        return modules_fingerprint(["insd.tables.networks", *modules])

    def tasks_by_class(self) -> dict[str, dict[str, Any]]:
        """By task, all its parameters, and by the key `class` the name of its class."""
        return {
            name: {**self.settings.task_parameters(name), "class": type(self.settings.task(name)).__name__}
            for name in self.settings.tasks
        }

    def file_tasks(self) -> dict[str, list[str]]:
        """The tasks that have each file of an analysis, by the name of the file."""
        return {file: self.analysis_tasks(name) for name, one in self.analyses().items() for file in one.writes}

    def rule_name(self, name: str) -> str:
        """The name of an analysis' rule: that of its file or, of the user's own, of the first file that it writes."""
        return first_file(name) if ":" in name else name

    def of_pair(self, function: Callable[..., Any], name: str) -> Callable[[Wildcards], Any]:
        """A function of the grid as Snakemake calls it, for an analysis and the blocks in the wildcards."""
        return partial(function, name)

    def of_task(self, function: Callable[..., Any], *arguments: Any) -> Callable[[Wildcards], Any]:
        """A function of the grid as Snakemake calls it, for the task in the wildcards."""
        return partial(_of_task, function, arguments)


def _names_of(rounds: Sequence[RoundBlock], blocks: Mapping[str, Sequence[RoundBlock]]) -> list[str]:
    """The block of each round."""
    names = {one: name for name, part in blocks.items() for one in part}
    return [names[one] for one in rounds]


def _of_task(function: Callable[..., Any], arguments: Sequence[Any], wildcards: Any) -> Any:
    return function(*arguments, wildcards["task"] if isinstance(wildcards, Mapping) else wildcards.task)


def first_file(name: str) -> str:
    """The first file that an analysis writes, which its columns are from."""
    return next(iter(plugins.find("analysis", name).writes))


def has_columns(analysis: Analysis) -> bool:
    """Whether an analysis has columns in `networks.csv`."""
    return analysis.columns is not Analysis.__dataclass_fields__["columns"].default
