"""The config as frozen settings: every key with its type, range, default and meaning, and the cross-checks.

This module is the one source of the config's keys: the schema (`workflow/schemas/config.schema.json`) and the table of
keys (`config/README.md`) are generated from it. Defaults are ours unless a source is given.
"""

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import product
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, TypeAdapter, ValidationError

from insd import plugins
from insd.networks.settings.base import NetworkSettings, network_settings, settings_class
from insd.plugins import PluginError
from insd.settings.base import (
    ClassPath,
    Count,
    PopulationName,
    Positive,
    Repeats,
    Section,
    SettingsError,
    Share,
    TaskName,
)
from insd.tasks import Task, TaskError, check_task, find_task, task_fingerprint
from insd.tasks.base import Rule

Role = Literal["standard", "untrained", "reference", "alternative", "control"]
REGIME = "[a-z][a-z0-9_]*"
MOST_STEPS = 100_000
"""Longest duration in time steps: a day-long trial is a slip of the unit."""


class Training(Section):
    """Optimisation of one network, by Adam with a one-cycle step size."""

    iterations: Annotated[int, Field(ge=0)] = 1500
    """Most iterations of one attempt; 0 leaves the network untrained."""
    batch_size: Count = 64
    """Trials of the bank per iteration."""
    step_size: Positive = 3e-3
    """Peak step size of Adam."""
    gradient_clip: Positive = 1.0
    """Largest norm of a network's gradient."""
    evaluate_every: Count = 100
    """Iterations between evaluations on the held-out trials of the bank."""
    validation_trials: Count = 256
    """Trials of the bank held out from training."""
    loss_bound: Positive = 0.05
    """Held-out task loss (share of the targets' variance that is not explained) that is good enough."""
    patience: Count = 5
    """Evaluations in a row that must meet every bound before training stops early."""
    restarts: Annotated[int, Field(ge=0)] = 2
    """Most fresh starts of a network that does not solve the held-out trials."""


class Deflation(Section):
    """The penalty on null-space predictivity towards earlier rounds; without effect in round 0."""

    schedule: Literal["constant", "constrained"] = "constrained"
    """`constant`: one lambda for all earlier rounds (the paper's). `constrained`: one multiplier per earlier round,
    raised while its S is above `bound` and the task within `training.loss_bound`, and lowered otherwise."""
    multiplier: Positive = 0.1
    """The weight of each S: lambda of the constant schedule, or where the constrained schedule starts."""
    task_only: Share = 0.1
    """Share of the iterations that train on the task alone, before the penalty starts."""
    ramp: Share = 0.6
    """Constant schedule: share of the iterations over which lambda then rises linearly from 0; 0 for no ramp."""
    bound: Positive = 0.05
    """S towards each earlier round that is low enough: held by the constrained schedule, and needed to stop early."""
    multiplier_rate: Positive = 0.01
    """Constrained schedule: largest change of the logarithm of a multiplier per iteration."""
    multiplier_max: Positive = 10.0
    """Constrained schedule: largest multiplier."""
    ridge: Positive = 1e-3
    """Ridge rho over the mean variance of a unit's null-space rates."""
    time_stride: Count = 2
    """Every how many time steps of the bank a network's null-space activity is stored for later rounds."""
    variance_kept: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Share of null-space variance that the stored principal components hold; S is exact to the share left out."""


def _as_network(given: Any) -> Any:
    return network_settings(given) if isinstance(given, Mapping) else given


class Recipe(Section):
    """Everything that makes the networks of one round."""

    network: Annotated[SerializeAsAny[NetworkSettings], BeforeValidator(_as_network)] = Field(
        default_factory=lambda: network_settings({})
    )
    """The network and its initial weights, by the settings of its architecture."""
    training: Training = Training()
    """The optimisation."""
    deflation: Deflation = Deflation()
    """The penalty towards earlier rounds."""


class Changes(Section):
    """What a layer says of a recipe: only the keys that are given count."""

    network: dict[str, Any] = {}
    """The network and its initial weights: keys of its architecture, checked once all layers are laid over each other.
    A layer that names a different architecture drops the keys that only the one below has."""
    training: Training = Training()
    """The optimisation."""
    deflation: Deflation = Deflation()
    """The penalty towards earlier rounds."""


class Layer(Changes):
    """Settings laid over those of the layers below: only the keys that are given count."""

    by_task: dict[TaskName, Changes] = {}
    """What differs for a task, laid over the rest of this layer."""


class Recording(Section):
    """Activity that takes the place of round 0."""

    file: str
    """An npz or NetCDF file with `rates` (trial, time, unit) on the trials of the bank, their `fingerprint` and, if
    there is one, the readout `output_weights` (output, unit); `{task}` in the path stands for the task."""


class Population(Layer):
    """A named recipe by which networks are made."""

    seeds: Repeats
    """Number of independent repeats; seeds are 0, 1, ... For a deflated population, one chain each."""
    rounds: Repeats = 1
    """Rounds of each seed: round 0 is the reference, round k is deflated against rounds 0 to k - 1."""
    tasks: Annotated[list[TaskName], Field(min_length=1)] | None = None
    """The tasks that it is trained on; all without it."""
    role: Role | None = None
    """The role of its networks, of the later rounds where it has several. Without it, round 0 of a chain is a
    `reference`, later rounds are `alternative`, networks of 0 iterations `untrained`, and one round of the architecture
    `rate` on the task alone is `standard`; every other population needs this key."""
    reference: PopulationName | Recording | None = None
    """Population whose round 0, seed by seed, is the reference, or a recording, `{file: path}`; without it, round 0 is
    trained by this population."""
    alternatives: Layer = Layer()
    """What differs for rounds 1, 2, ..., laid over the population's other settings."""


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
        return make_task(name, self.task_parameters(name))

    def task_parameters(self, name: str) -> dict[str, Any]:
        """The parameters of a task as jobs get them and files keep them (see `make_task`).

        Those of a class of another module also hold, by the key `class`, which no field can have, where it is found and
        a fingerprint of its code.
        """
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
        """Trials of the bank that no network of a task was trained on."""
        return min(
            self.recipe(task, population, round_number).training.validation_trials
            for population in self.population_names(task)
            for round_number in self.trained_rounds(population)
        )

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
        if round_number == 0 and isinstance(entry.reference, Recording):
            raise SettingsError(f"population '{population}' has no round 0: its reference is a recording")
        if round_number == 0 and entry.reference:
            raise SettingsError(
                f"population '{population}' has no round 0: its reference is that of '{entry.reference}'"
            )
        layers = list(self._layers(task, population, round_number > 0))
        resolved: dict[str, Any] = {"network": _network(layers)}
        for section in ("training", "deflation"):
            resolved[section] = {}
            for _, layer in layers:
                resolved[section] |= getattr(layer, section).model_dump(exclude_unset=True)
        return Recipe.model_validate(resolved)

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
        """The population that round 0 of a population's seeds belongs to; itself where that is a recording."""
        reference = self.population(population).reference
        return reference if isinstance(reference, str) else population

    def population_names(self, task: str) -> list[str]:
        """The populations that are trained on a task."""
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
        """The files of the populations of a task whose reference is a recording."""
        found = {name: self.populations[name].reference for name in self.population_names(task)}
        return {
            name: reference.file.replace("{task}", task)
            for name, reference in found.items()
            if isinstance(reference, Recording)
        }

    def trained_rounds(self, population: str) -> range:
        """The rounds that a population trains itself."""
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
    layers = [("defaults", settings.defaults)]
    for name, population in settings.populations.items():
        layers += [(f"populations.{name}", population), (f"populations.{name}.alternatives", population.alternatives)]
    for path, layer in layers:
        for name in layer.by_task:
            if name not in settings.tasks:
                yield f"{path}.by_task.{name}: the config has no such task; its tasks are: {', '.join(settings.tasks)}"
    yield from _analysis_problems(settings)
    yield from _claims_problems(settings)
    yield from _reference_problems(settings)
    if problems := list(_network_problems(settings)):
        yield from dict.fromkeys(problems)
        return
    yield from _role_problems(settings)
    for task_name, task in tasks.items():
        outputs = len(task.sample("train", 1, 0)["output"])
        for name in settings.population_names(task_name):
            for round_number in settings.trained_rounds(name)[:2]:
                recipe = settings.recipe(task_name, name, round_number)
                where = f"populations.{name}, task {task_name}, round {round_number}"
                yield from (f"{where}: {problem}" for problem in _recipe_problems(settings, recipe, task, outputs))


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
    parameters = settings.task_parameters(name)
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


def _reference_problems(settings: Settings) -> Iterator[str]:
    own = [name for name, population in settings.populations.items() if not population.reference]
    for name, population in settings.populations.items():
        reference, path = population.reference, f"populations.{name}"
        if reference is None:
            continue
        if population.rounds < 2:
            yield f"{path}.rounds = {population.rounds}: with the reference of another population at least 2"
        if isinstance(reference, Recording):
            continue
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
        if not settings.population_names(task):
            yield f"tasks.{task}: no population is trained on it; name it in the `tasks` of one"
    deflated, chain = settings.deflated_populations(), settings.figures.chain
    if chain is None and len(deflated) > 1:
        yield (
            f"figures.chain: {len(deflated)} populations have alternatives; name the one that figures show: "
            f"{', '.join(deflated)}"
        )
    elif chain is not None and chain not in deflated:
        choices = ", ".join(deflated) or "there is none"
        yield f"figures.chain = {chain!r}: choose a population that has alternatives: {choices}"


def _network_problems(settings: Settings) -> Iterator[str]:
    """What is wrong with the section `network` in any combination of layers, as often as it is found."""
    for name in settings.populations:
        # Alternatives are checked even where there is no round for them, as all other keys are.
        kinds = {number > 0 for number in settings.trained_rounds(name)} | {True}
        tasks = [task for task in settings.tasks if name in settings.population_names(task)]
        for task, alternative in product(tasks, sorted(kinds)):
            try:
                _network(list(settings._layers(task, name, alternative)))
            except SettingsError as error:
                yield from str(error).splitlines()


def _network(layers: Sequence[tuple[str, Changes]]) -> NetworkSettings:
    """The settings of the network in layers, by those of its architecture.

    Raises SettingsError with one line per problem, each with the path of the layer that the key is from.
    """
    architecture, architecture_from = "rate", ""
    values: dict[str, Any] = {}
    paths: dict[str, str] = {}
    try:
        for path, layer in layers:
            before = architecture
            if "architecture" in layer.network:
                architecture, architecture_from = str(layer.network["architecture"]), f"{path}.network"
            if architecture != before:
                dropped = set(settings_class(before).model_fields) - set(settings_class(architecture).model_fields)
                values = {key: value for key, value in values.items() if key not in dropped}
            values |= layer.network
            paths |= dict.fromkeys(layer.network, f"{path}.network")
        found = settings_class(architecture)
    except PluginError as error:
        why = str(error).removeprefix(f"{architecture}: ")
        raise SettingsError(f"{architecture_from}.architecture = {architecture!r}: {why}") from None
    try:
        return found.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        known = ", ".join(found.model_fields)
        default = architecture_from or f"{layers[-1][0]}.network"
        raise SettingsError("\n".join(_lines(error, lambda key: f"{paths.get(key, default)}.", known))) from None


def _recipe_problems(settings: Settings, recipe: Recipe, task: Task, outputs: int) -> Iterator[str]:
    yield from recipe.network.problems(task.dt, outputs)
    training, deflation = recipe.training, recipe.deflation
    if training.validation_trials + training.batch_size > settings.trials.train:
        yield (
            f"training.validation_trials = {training.validation_trials} and training.batch_size = "
            f"{training.batch_size} need more than trials.train = {settings.trials.train} trials"
        )
    if deflation.task_only + deflation.ramp > 1:
        yield (
            f"deflation.task_only = {deflation.task_only} and deflation.ramp = {deflation.ramp} are shares of the "
            "iterations: together at most 1"
        )


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
    return _join(_lines(error, lambda key: prefix, known))


def _lines(error: ValidationError, prefix: Callable[[str], str], known: str) -> list[str]:
    """One line per problem, each key below a path that depends on its first part."""
    lines = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        path = (prefix(location[0] if location else "") + ".".join(location)).rstrip(".") or "config"
        given = problem["input"]
        shown = "" if isinstance(given, dict | list) and len(str(given)) > 80 else f" = {given!r}"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"{path}{shown}: unknown key; known here: {known or ', '.join(_keys(location[:-1]))}")
        elif problem["type"] == "missing":
            lines.append(f"{path}: this key is required")
        elif problem["type"] == "value_error":
            # The task itself objects, and begins with the name of its field.
            lines.append(f"{path}.{problem['ctx']['error']}")
        else:
            message = problem["msg"]
            hint = ""
            if isinstance(given, str) and problem["type"] in ("float_type", "int_type"):
                hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
            lines.append(f"{path}{shown}: {message[0].lower()}{message[1:]}{hint}")
    return lines


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
