"""The config as frozen settings: every key with its type, range, default and meaning, and the cross-checks.

This module is the one source of the config's keys: the schema (`workflow/schemas/config.schema.json`) and the table of
keys (`config/README.md`) are generated from it. Defaults are ours unless a source is given.
"""

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from itertools import product
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from insd import plugins
from insd.makers.base import Maker
from insd.plugins import PluginError
from insd.settings.base import (
    ClassPath,
    Count,
    MakerName,
    PopulationName,
    Repeats,
    Section,
    SettingsError,
    TaskName,
)
from insd.settings.messages import lines
from insd.settings.recipe import Changes, Layer, Recipe, checked, problems_of, recipe_of
from insd.tasks import Task, TaskError, check_task, find_task, task_fingerprint
from insd.tasks.base import Rule

Role = Literal["standard", "untrained", "reference", "alternative", "control"]
REGIME = "[a-z][a-z0-9_]*"
"""The pattern of regime names."""
MOST_STEPS = 100_000
"""Longest duration in time steps: a day-long trial is a slip of the unit."""


def _maker_keys(schema: dict[str, Any]) -> None:
    """Complete the schema of a population by the sections of this library's makers."""
    for name in plugins.names("maker"):
        section = plugins.find("maker", name).Settings
        if section.model_fields:
            schema["properties"][name] = section.model_json_schema()
    schema["additionalProperties"] = False


class Population(Layer):
    """A named recipe by which networks are made."""

    # The maker's own section has the maker's name.
    model_config = ConfigDict(extra="allow", json_schema_extra=_maker_keys)

    seeds: Repeats
    """Number of independent repeats; seeds are 0, 1, ... For a deflated population, one chain each."""
    rounds: Repeats = 1
    """Rounds of each seed: round 0 is the reference, round k is deflated against rounds 0 to k - 1."""
    make: MakerName = "train"
    """How its networks come to be: `train`, by training; `checkpoint`, from files of trained networks; `recording`, not
    at all: recorded activity takes the place of round 0 of the chains that refer to it; or your own, as `module:Class`.
    The keys of the maker are in the section of the population that has its name."""
    tasks: Annotated[list[TaskName], Field(min_length=1)] | None = None
    """The tasks that it is made for; all without it."""
    role: Role | None = None
    """The role of its networks, of the later rounds where it has several. Without it, round 0 of a chain is a
    `reference`, later rounds are `alternative`, networks of 0 iterations `untrained`, and one round of the architecture
    `rate` on the task alone is `standard`; every other population needs this key."""
    reference: PopulationName | None = None
    """Population whose round 0, seed by seed, is the reference; without it, round 0 is made by this population."""
    alternatives: Layer = Layer()
    """What differs for rounds 1, 2, ..., laid over the population's other settings."""

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, given: Any) -> Any:
        """Refuse keys other than those above and the maker's section."""
        if not isinstance(given, dict):
            return given
        unknown = set(given) - set(cls.model_fields) - {given.get("make", "train")}
        if unknown:
            errors = [InitErrorDetails(type="extra_forbidden", loc=(key,), input=given[key]) for key in sorted(unknown)]
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return given


class Figures(Section):
    """Choices of what figures show."""

    chain: PopulationName | None = None
    """The population whose reference and alternatives are shown side by side; needed where several have
    alternatives."""
    own: list[ClassPath] = []
    """Figures of your own, each `module:FIGURE`; the name of the module is that of the files. Modules are looked for in
    the working directory, too."""


class TaskEntry(Section):
    """A task of the grid: one of this library, or any other class."""

    class_path: Annotated[ClassPath | None, Field(alias="class")] = None
    """`module:Class`, a task of another module that can be imported; `neurogym:NAME` or `gymnasium:NAME`, an
    environment, where NAME may begin with the module that registers it; a task without it is found by its name."""
    parameters: dict[str, Any] = {}
    """Numbers of the task that differ from its defaults (the tables of the tasks list them)."""


class Trials(Section):
    """How many trials are drawn."""

    train: Count = 2048
    """Trials of the bank that networks train on, the held-out ones included."""
    evaluation: Count = 256
    """Trials of the regime `test` and of each harder regime."""


class Comparisons(Section):
    """Bootstrap intervals over networks, in tables, claims and figures."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence of each bootstrap interval over networks."""
    resamples: Count = 9999
    """Resamples of the bootstrap."""


class Analyses(Section):
    """Settings of the analyses by name, `analysis.NAME`, each in a table of its own below, and of the comparisons. An
    analysis of your own is named `module:CONSTANT`."""

    model_config = ConfigDict(extra="allow")

    comparisons: Comparisons = Comparisons()
    """Alternatives against standard networks."""


def _without_null(entries: Any) -> Any:
    return {key: entry for key, entry in entries.items() if entry is not None} if isinstance(entries, dict) else entries


class Settings(Section):
    """The whole config."""

    tasks: Annotated[dict[TaskName, TaskEntry], Field(min_length=1)]
    """The tasks, by name."""
    trials: Trials = Trials()
    """How many trials are drawn for each task."""
    seeds_per_job: Count = 1
    """How many seeds one job trains side by side along the network axis."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where jobs train: `cuda`, a GPU, to be filled by many `seeds_per_job`; `auto`, a GPU where PyTorch finds one.
    What is trained already stays."""
    analysis: Analyses = Analyses()
    """Settings of the analyses."""
    claims: list[str] = ["qian_2025"]
    """The papers whose statements are judged, each a file of `src/insd/claims/`, or `module:CLAIMS` for claims of your
    own."""
    figures: Figures = Figures()
    """What figures show."""
    defaults: Layer = Layer()
    """Settings of the networks of all populations."""
    populations: Annotated[dict[PopulationName, Population], Field(min_length=1), BeforeValidator(_without_null)]
    """The populations, by name; null leaves out one that another file defines."""

    def task(self, name: str) -> Task:
        """The task of that name with its parameters; SettingsError if the config has no such task."""
        if name not in self.tasks:
            raise SettingsError(f"task '{name}' is not in the config; its tasks are: {', '.join(self.tasks)}")
        return make_task(name, self._given_parameters(name))

    def task_parameters(self, name: str) -> dict[str, Any]:
        """All parameters of a task, as jobs get them and files keep them (see `make_task`): every field.

        Those of a class of a different module also hold, by the key `class`, which no field can have, where it is found
        and a fingerprint of its code.
        """
        task = self.task(name)
        stored = _task_adapter(type(task)).dump_python(task, mode="json")
        own = {field.name: stored[field.name] for field in fields(task) if field.init}
        return {key: value for key, value in self._given_parameters(name).items() if key == "class"} | own

    def _given_parameters(self, name: str) -> dict[str, Any]:
        """The parameters of a task that the config gives, and where a class of a different module is found."""
        entry = self.tasks[name]
        if entry.class_path is None:
            return entry.parameters
        return {"class": {"path": entry.class_path, "code": self.task_code(name)}, **entry.parameters}

    def task_code(self, name: str) -> str:
        """Fingerprint of the code of a task."""
        return task_fingerprint(find_task(self.tasks[name].class_path or name))

    def analyses(self) -> list[str]:
        """The analyses that are made: those of this library, and others that the config names."""
        return [*plugins.names("analysis"), *(name for name in self.analysis.model_extra or {} if ":" in name)]

    def analysis_settings(self, name: str) -> Any:
        """The settings of an analysis, of its own class; SettingsError where they cannot be used."""
        found = plugins.find("analysis", name)
        section = found.section or name
        given = (self.analysis.model_extra or {}).get(section) or {}
        try:
            return found.settings.model_validate_json(json.dumps(given, default=str), strict=True)
        except ValidationError as error:
            known = ", ".join(found.settings.model_fields)
            raise SettingsError(_explain(error, f"analysis.{section}.", known)) from None

    def held_out_trials(self, task: str) -> int:
        """Trials of the bank that no network of a task was trained on here: all where none was."""
        held_out = [
            self.recipe(task, population, round_number).training.validation_trials
            for population in self.population_names(task)
            if "training" in self.maker(population).sections
            for round_number in self.trained_rounds(population)
        ]
        return min(held_out, default=self.trials.train)

    def population(self, name: str) -> Population:
        """The population of that name; SettingsError if the config has no such population."""
        if name not in self.populations:
            raise SettingsError(
                f"population '{name}' is not in the config; its populations are: {', '.join(self.populations)}"
            )
        return self.populations[name]

    def recipe(self, task: str, population: str, round_number: int) -> Recipe:
        """The resolved recipe of a round: defaults, population and, from round 1 on, its `alternatives`, in layers."""
        entry = self.population(population)
        if round_number == 0 and entry.reference:
            raise SettingsError(
                f"population '{population}' has no round 0: its reference is that of '{entry.reference}'"
            )
        return recipe_of(list(self._layers(task, population, round_number > 0)))

    def maker(self, population: str) -> Maker:
        """The maker of a population; SettingsError where it is not found, or its section cannot be read."""
        entry = self.population(population)
        path = f"populations.{population}"
        try:
            found = plugins.find("maker", entry.make)
        except PluginError as error:
            raise SettingsError(f"{path}.make = {entry.make!r}: {str(error).removeprefix(f'{entry.make}: ')}") from None
        given = (entry.model_extra or {}).get(entry.make, {})
        return found(checked(found.Settings, given, f"{path}.{entry.make}"))

    def makers(self) -> list[str]:
        """The makers that the populations name, in their order."""
        return list(dict.fromkeys(entry.make for entry in self.populations.values()))

    def made_by(self, make: str) -> list[str]:
        """The populations of a maker."""
        return [name for name, entry in self.populations.items() if entry.make == make]

    def made_with(self, task: str, population: str, round_number: int) -> dict[str, Any]:
        """All settings that a round is made with, as jobs get them and files keep them: those that its maker uses."""
        maker, recipe = self.maker(population), self.recipe(task, population, round_number)
        own = {"make": self.population(population).make, "maker": maker.settings.model_dump()}
        return own | {section: recipe.model_dump()[section] for section in maker.sections}

    def _layers(self, task: str, population: str, alternative: bool) -> Iterator[tuple[str, Changes]]:
        """The layers of a recipe by their paths in the config, each laid over those before."""
        entry = self.populations[population]
        layers: list[tuple[str, Layer]] = [("defaults", self.defaults), (f"populations.{population}", entry)]
        if alternative:
            layers.append((f"populations.{population}.alternatives", entry.alternatives))
        for path, layer in layers:
            yield path, layer
            if task in layer.by_task:
                yield f"{path}.by_task.{task}", layer.by_task[task]

    def reference(self, population: str) -> str:
        """The population that round 0 of a population's seeds belongs to."""
        return self.population(population).reference or population

    def population_names(self, task: str) -> list[str]:
        """The populations that are made for a task."""
        return [name for name, entry in self.populations.items() if entry.tasks is None or task in entry.tasks]

    def role(self, task: str, population: str, round_number: int) -> str:
        """The role of the networks of a round, as the config says it; SettingsError where it must and does not."""
        entry = self.population(population)
        if entry.rounds > 1 and round_number == 0:
            return "reference"
        if entry.role is not None:
            return entry.role
        if round_number > 0:
            return "alternative"
        if any(other.reference == population for other in self.populations.values()):
            return "reference"
        if "training" not in self.maker(population).sections:
            raise SettingsError(
                f"populations.{population}.role: needed for networks that are not trained here; choose from: "
                "control, reference"
            )
        recipe = self.recipe(task, population, 0)
        if recipe.training.iterations == 0:
            return "untrained"
        if recipe.network.architecture == "rate":
            return "standard"
        raise SettingsError(
            f"populations.{population}.role: needed for networks of the architecture {recipe.network.architecture!r}, "
            f"which count as standards only where the config says so; choose from: {', '.join(get_args(Role))}"
        )

    def deflated_populations(self) -> list[str]:
        """The populations that have alternatives."""
        return [
            name for name, entry in self.populations.items() if entry.rounds > 1 and entry.role in (None, "alternative")
        ]

    def shown_chain(self) -> str | None:
        """The population whose chain figures show; None where no population has alternatives."""
        deflated = self.deflated_populations()
        return self.figures.chain or (deflated[0] if deflated else None)

    def recordings(self, task: str) -> dict[str, str]:
        """The files of the recordings of a task, by the population that each of them is."""
        return {
            name: self.maker(name).settings.file.replace("{task}", task)
            for name in self.population_names(task)
            if self.population(name).make == "recording"
        }

    def network_populations(self, task: str) -> list[str]:
        """The populations of a task that are networks; recordings are not."""
        return [name for name in self.population_names(task) if "network" in self.maker(name).writes]

    def trained_rounds(self, population: str) -> range:
        """The rounds that a population makes itself."""
        entry = self.population(population)
        return range(1 if entry.reference else 0, entry.rounds)

    def seed_blocks(self, population: str) -> list[str]:
        """The seeds of a population by job, each `first` or `first-last`."""
        seeds = self.population(population).seeds
        starts = range(0, seeds, self.seeds_per_job)
        return [_block(start, min(start + self.seeds_per_job, seeds) - 1) for start in starts]


def seeds_of(block: str) -> list[int]:
    """The seeds that a block `first` or `first-last` names."""
    first, _, last = block.partition("-")
    return list(range(int(first), int(last or first) + 1))


def load(config: Mapping[str, Any]) -> Settings:
    """Check a config and make it settings.

    Raises SettingsError with one line per problem: the key's path, its value and what is allowed.
    """
    try:
        # By way of JSON: strict, so that text is never taken for a number, and yet lists may stand for tuples.
        # What JSON has not, such as the dates that YAML reads, becomes text, which is refused wherever it stands.
        settings = Settings.model_validate_json(json.dumps(config, default=str), strict=True)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    if problems := list(_problems(settings)):
        raise SettingsError(_join(problems))
    return settings


def _problems(settings: Settings) -> Iterator[str]:
    """What each key alone cannot show."""
    tasks: dict[str, Task] = {}
    for name, entry in settings.tasks.items():
        try:
            tasks[name] = _checked_task(settings, name, entry)
        except SettingsError as error:
            yield str(error)
        except TaskError as error:
            yield f"tasks.{name}: {error}"
    yield from _by_task_problems(settings)
    yield from _analysis_problems(settings)
    yield from _claims_problems(settings)
    if wrong := [*_maker_problems(settings)]:
        yield from wrong
        return
    yield from _reference_problems(settings)
    if problems := list(_layer_problems(settings)):
        yield from dict.fromkeys(problems)
        return
    yield from _role_problems(settings)
    for task_name, task in tasks.items():
        outputs = len(task.sample("train", 1, 0)["output"])
        for name in settings.population_names(task_name):
            for round_number in settings.trained_rounds(name)[:2]:
                recipe = settings.recipe(task_name, name, round_number)
                where = f"populations.{name}, task {task_name}, round {round_number}"
                sections = settings.maker(name).sections
                found = _recipe_problems(settings, recipe, sections, task, outputs)
                yield from (f"{where}: {problem}" for problem in found)
            yield from _term_problems(settings, task_name, name)


def _claims_problems(settings: Settings) -> Iterator[str]:
    for name in settings.claims:
        if settings.claims.count(name) > 1:
            yield f"claims: {name!r} is listed twice"
        try:
            # Those of this library are not imported: every job reads the config, and few judge claims.
            plugins.find("claims", name) if ":" in name else plugins.module_of("claims", name)
        except PluginError as error:
            yield f"claims: {error}"


def _checked_task(settings: Settings, name: str, entry: TaskEntry) -> Task:
    """The task, once each of its regimes and each level of its grid makes a task, too, whose trials can be scored."""
    if entry.class_path is None and name not in plugins.names("task"):
        known = ", ".join(plugins.names("task"))
        raise SettingsError(
            f"tasks.{name}: there is no such task; choose from: {known}, or name a class of your own: "
            f"{name}: {{class: 'module:Class'}}"
        )
    parameters = settings._given_parameters(name)
    task = make_task(name, parameters)
    _must_end(task, f"tasks.{name}.parameters")
    plain = {key: value for key, value in parameters.items() if key not in ("regimes", "grid")}
    changed = [(f"regimes.{regime}", changes) for regime, changes in task.regimes.items()]
    changed += [(f"grid.{axis}.{i}", level) for axis, levels in task.grid.items() for i, level in enumerate(levels)]
    for path, changes in changed:
        where = f"tasks.{name}.parameters.{path}"
        if nested := {"regimes", "grid"} & set(changes):
            raise SettingsError(f"{where}.{nested.pop()}: a regime or level replaces numbers of the task alone")
        _must_end(make_task(name, {**plain, "regimes": {}, **changes}, f"{path}."), where)
    if entry.class_path is not None:
        check_task(task)
    _must_make_trials(task, "train", f"tasks.{name}.parameters", entry.parameters)
    for regime in task.regimes:
        where = f"tasks.{name}.parameters.regimes.{regime}"
        if regime in ("train", "test") or not re.fullmatch(REGIME, regime):
            raise SettingsError(f"{where}: choose a name of a-z, 0-9 and _ for this regime, not 'train' or 'test'")
        _must_make_trials(task, regime, where, task.regimes[regime])
    for noise, duration in product(range(len(task.grid["noise"])), range(len(task.grid["duration"]))):
        try:
            level = task.in_grid(noise, duration)
        except ValueError as error:
            raise SettingsError(f"tasks.{name}.parameters.{error}") from None
        if noise == 0:
            where = f"tasks.{name}.parameters.grid.duration.{duration}"
            _must_make_trials(level, "test", where, task.grid["duration"][duration])
    return task


def _must_end(task: Task, where: str) -> None:
    """Raise SettingsError if a task has a duration of very many time steps."""
    for field in fields(task):
        value, rule = getattr(task, field.name), task.rule(field.name)
        longest = value[1] if rule is Rule.SPAN else value if rule is Rule.DURATION else 0.0
        if longest > MOST_STEPS * task.dt:
            raise SettingsError(
                f"{where}: {field.name} = {value} is more than {MOST_STEPS} times the time step dt = {task.dt}"
            )


def _must_make_trials(task: Task, regime: str, where: str, given: Mapping[str, Any]) -> None:
    """Raise SettingsError if a task makes no trials that can be scored; what was given, and where."""
    changed = task.in_regime(regime)
    try:
        trials = task.sample(regime, 2, 0)
    except (ArithmeticError, ValueError, IndexError) as error:
        raise SettingsError(
            f"{where} = {given}: no trials can be made with these durations and rates at dt = {changed.dt} ({error})"
        ) from None
    if not all(np.isfinite(trials[name]).all() for name in ("inputs", "targets")):
        raise SettingsError(f"{where} = {given}: the trials hold values that are not finite; use less noise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = task.score(trials, trials["targets"].values[None])
    if not trials["mask"].any(("trial", "time")).all() or not np.isfinite(score).all():
        raise SettingsError(
            f"{where} = {given}: no time step is left in which the response is scored at dt = {changed.dt}; make the "
            "response longer"
        )


def _analysis_problems(settings: Settings) -> Iterator[str]:
    for name in settings.analysis.model_extra or {}:
        if ":" not in name and name not in plugins.names("analysis"):
            known = ", ".join(["comparisons", *plugins.names("analysis")])
            yield f"analysis.{name}: unknown key; known here: {known}, or one of your own as 'module:ANALYSIS'"
    for name in settings.analyses():
        try:
            own = settings.analysis_settings(name)
        except (SettingsError, PluginError) as error:
            yield str(error) if isinstance(error, SettingsError) else f"analysis.{error}"
            continue
        yield from plugins.find("analysis", name).problems(own, settings)
        for population in own.populations or ():
            if population not in settings.populations:
                known = ", ".join(settings.populations)
                yield f"analysis.{name}.populations: there is no population {population!r}; choose from: {known}"


def _by_task_problems(settings: Settings) -> Iterator[str]:
    layers = [("defaults", settings.defaults)]
    for name, population in settings.populations.items():
        layers += [(f"populations.{name}", population), (f"populations.{name}.alternatives", population.alternatives)]
    for path, layer in layers:
        for name in layer.by_task:
            if name not in settings.tasks:
                yield f"{path}.by_task.{name}: the config has no such task; its tasks are: {', '.join(settings.tasks)}"


def _maker_problems(settings: Settings) -> Iterator[str]:
    for name, population in settings.populations.items():
        try:
            maker = settings.maker(name)
        except SettingsError as error:
            yield from str(error).splitlines()
            continue
        path = f"populations.{name}"
        if not maker.chains:
            if population.rounds > 1:
                yield f"{path}.rounds = {population.rounds}: networks of make = {population.make!r} have one round"
            if population.reference is not None:
                yield f"{path}.reference = {population.reference!r}: make = {population.make!r} takes no reference"
        if "training" not in maker.sections and population.role not in (None, "reference", "control"):
            yield (
                f"{path}.role = {population.role!r}: networks that are not trained here are 'reference' or 'control'"
            )


def _term_problems(settings: Settings, task: str, population: str) -> Iterator[str]:
    """Terms of later rounds that compare them with earlier ones, which keep nothing for them."""
    reference = settings.population(population).reference
    if reference and (reference not in settings.populations or settings.population(reference).reference):
        return  # which is refused for itself
    rounds = range(settings.population(population).rounds)
    owners = [settings.reference(population) if number == 0 else population for number in rounds]
    terms = [settings.recipe(task, owner, number).terms for owner, number in zip(owners, rounds, strict=True)]
    for number in rounds[1:]:
        for name, own in terms[number].items():
            lacking = [owner for owner, kept in zip(owners[:number], terms, strict=False) if name not in kept]
            if own.compares and lacking:
                yield (
                    f"populations.{population}, task {task}, round {number}: terms.{name} compares networks with those "
                    f"of {lacking[0]!r}, whose earlier rounds lack this term; give it to them, too"
                )
                return


def _reference_problems(settings: Settings) -> Iterator[str]:
    own = [name for name, population in settings.populations.items() if not population.reference]
    for name, population in settings.populations.items():
        reference, path = population.reference, f"populations.{name}"
        if reference is None:
            continue
        if population.rounds < 2:
            yield f"{path}.rounds = {population.rounds}: with the reference of another population at least 2"
        if reference not in own:
            yield f"{path}.reference = {reference!r}: choose a population that has a round 0: {', '.join(own)}"
        elif missing := [
            task
            for task in settings.tasks
            if name in settings.population_names(task) and reference not in settings.population_names(task)
        ]:
            yield f"{path}.reference = {reference!r}: is not trained on {', '.join(missing)}, as {name!r} is"
        elif not set(settings.seed_blocks(name)) <= set(settings.seed_blocks(reference)):
            yield (
                f"{path}.seeds = {population.seeds}: '{reference}' has {settings.population(reference).seeds} seeds, "
                f"and seeds_per_job = {settings.seeds_per_job} must part both alike"
            )


def _role_problems(settings: Settings) -> Iterator[str]:
    for name, population in settings.populations.items():
        for task in population.tasks or ():
            if task not in settings.tasks:
                known = ", ".join(settings.tasks)
                yield f"populations.{name}.tasks: the config has no task {task!r}; its tasks are: {known}"
    for name in settings.populations:
        for task in settings.tasks:
            if name in settings.population_names(task) and 0 in settings.trained_rounds(name):
                try:
                    settings.role(task, name, 0)
                except SettingsError as error:
                    yield str(error)
                    break
    for task in settings.tasks:
        if not settings.network_populations(task):
            yield f"tasks.{task}: no population has networks for it; name it in the `tasks` of one"
    deflated, chain = settings.deflated_populations(), settings.figures.chain
    if chain is None and len(deflated) > 1:
        yield (
            f"figures.chain: {len(deflated)} populations have alternatives; name the one that figures show: "
            f"{', '.join(deflated)}"
        )
    elif chain is not None and chain not in deflated:
        choices = ", ".join(deflated) or "there is none"
        yield f"figures.chain = {chain!r}: choose a population that has alternatives: {choices}"


def _layer_problems(settings: Settings) -> Iterator[str]:
    """What is wrong in any combination of layers, as often as it is found."""
    for name in settings.populations:
        # Alternatives are checked even where there is no round for them, as all other keys are.
        kinds = {number > 0 for number in settings.trained_rounds(name)} | {True}
        tasks = [task for task in settings.tasks if name in settings.population_names(task)]
        for task, alternative in product(tasks, sorted(kinds)):
            yield from problems_of(list(settings._layers(task, name, alternative)))


def _recipe_problems(
    settings: Settings, recipe: Recipe, sections: tuple[str, ...], task: Task, outputs: int
) -> Iterator[str]:
    training = recipe.training
    if "network" in sections:
        yield from recipe.network.problems(task.dt, outputs)
    if "training" in sections and training.validation_trials + training.batch_size > settings.trials.train:
        yield (
            f"training.validation_trials = {training.validation_trials} and training.batch_size = "
            f"{training.batch_size} need more than trials.train = {settings.trials.train} trials"
        )
    for name, term in recipe.terms.items():
        yield from term.problems(f"terms.{name}")


def make_task(name: str, parameters: Mapping[str, Any], within: str = "") -> Task:
    """A task from parameters as `Settings.task_parameters` gives them: a task of this library is found by its name."""
    if problems := list(_not_finite(parameters, f"tasks.{name}.parameters.{within}".rstrip("."))):
        raise SettingsError(_join(problems))
    fields = dict(parameters)
    adapter = _task_adapter(find_task(fields.pop("class")["path"] if "class" in fields else name))
    try:
        return adapter.validate_json(json.dumps(fields, default=str), strict=True)
    except ValidationError as error:
        known = ", ".join(adapter.json_schema()["properties"])
        raise SettingsError(_explain(error, f"tasks.{name}.parameters.{within}", known)) from None


@cache
def _task_adapter(chosen: type[Task]) -> Any:
    return TypeAdapter(chosen)


def _not_finite(value: Any, path: str) -> Iterator[str]:
    """The numbers in nested parameters that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} = {value}: input should be a finite number"
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _not_finite(entry, f"{path}.{key}")


def _explain(error: ValidationError, prefix: str = "", known: str = "") -> str:
    return _join(lines(error, lambda key: prefix, lambda place: known or ", ".join(_keys(place))))


def _keys(location: list[str]) -> list[str]:
    """The keys that are known at a place of the config."""
    place: Any = Settings
    for part in location:
        if isinstance(place, type) and issubclass(place, BaseModel):
            place = place.model_fields[part].annotation
        elif get_origin(place) is dict:
            place = get_args(place)[1]
    if not (isinstance(place, type) and issubclass(place, BaseModel)):
        return []
    return [field.alias or name for name, field in place.model_fields.items()]


def _join(lines: list[str]) -> str:
    return "the config cannot be used:\n" + "\n".join(
        f"  - {line.removeprefix('the config cannot be used:').strip().removeprefix('- ')}" for line in lines
    )


def _block(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
