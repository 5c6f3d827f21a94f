"""The config as frozen settings: every key with its type, range, default and meaning, and the cross-checks.

This module is the one source of the config's keys: the schema (`workflow/schemas/config.schema.json`) and the table of
keys (`config/README.md`) are generated from it. Defaults are ours unless a source is given.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from insd.errors import InsdError
from insd.tasks import TASKS, Task


class SettingsError(InsdError):
    """The config cannot be used; the message names each key, its value and what is allowed."""


class Section(BaseModel):
    """A closed, frozen section of the config: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
PopulationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Network(Section):
    """The rate network and its initial weights."""

    units: Annotated[int, Field(ge=2)] = 100
    """Number of units N."""
    gain: NotNegative = 1.0
    """Initial gain g: recurrent weights start as N(0, g²/N) (Qian & Pehlevan 2026)."""
    tau: Positive = 0.1
    """Time constant in s; the Euler step is alpha = dt / tau."""
    recurrent_noise: NotNegative = 0.05
    """Private noise sigma_rec of the state during training, scaled by sqrt(2 / alpha)."""


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


class Recipe(Section):
    """Everything that makes the networks of one round."""

    network: Network = Network()
    """The network and its initial weights."""
    training: Training = Training()
    """The optimisation."""
    deflation: Deflation = Deflation()
    """The penalty towards earlier rounds."""


class Layer(Recipe):
    """Settings laid over those of the layers below: only the keys that are given count."""

    by_task: dict[TaskName, Recipe] = {}
    """What differs for a task, laid over the rest of this layer."""


class Population(Layer):
    """A named recipe by which networks are made."""

    seeds: Count
    """Number of independent repeats; seeds are 0, 1, ... For a deflated population, one chain each."""
    rounds: Count = 1
    """Rounds of each seed: round 0 is the reference, round k is deflated against rounds 0 to k - 1."""
    reference: PopulationName | None = None
    """Population whose round 0, seed by seed, is the reference; without it, round 0 is trained by this population."""
    alternatives: Layer = Layer()
    """What differs for rounds 1, 2, ..., laid over the population's other settings."""


class TaskEntry(Section):
    """A task of the grid."""

    parameters: dict[str, Any] = {}
    """Numbers of the task that differ from its defaults (the tables of the tasks list them)."""


class Trials(Section):
    """How many trials are drawn."""

    train: Count = 2048
    """Trials of the bank that networks train on, the held-out ones included."""
    evaluation: Count = 256
    """Trials of the regime `test` and of each harder regime."""


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
    defaults: Layer = Layer()
    """Settings of the networks of all populations."""
    populations: Annotated[dict[PopulationName, Population], Field(min_length=1), BeforeValidator(_without_null)]
    """The populations, by name; null leaves out one that another file defines."""

    def task(self, name: str) -> Task:
        """The task of that name with its parameters; SettingsError if the config has no such task."""
        if name not in self.tasks:
            raise SettingsError(f"task '{name}' is not in the config; its tasks are: {', '.join(self.tasks)}")
        return make_task(name, self.tasks[name].parameters)

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
        layers: list[Layer] = [self.defaults, entry] + ([entry.alternatives] if round_number > 0 else [])
        resolved: dict[str, dict[str, Any]] = {section: {} for section in Recipe.model_fields}
        for layer in layers:
            for part in (layer, layer.by_task.get(task, Recipe())):
                for section, values in resolved.items():
                    values.update(getattr(part, section).model_dump(exclude_unset=True))
        return Recipe.model_validate(resolved)

    def reference(self, population: str) -> str:
        """The population that round 0 of a population's seeds belongs to."""
        return self.population(population).reference or population

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
        settings = Settings.model_validate_json(json.dumps(config), strict=True)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    if problems := list(_problems(settings)):
        raise SettingsError(_join(problems))
    return settings


def _problems(settings: Settings) -> Iterator[str]:
    """What each key alone cannot show."""
    tasks: dict[str, Task] = {}
    for name, entry in settings.tasks.items():
        if name not in TASKS:
            yield f"tasks.{name}: there is no such task; choose from: {', '.join(TASKS)}"
            continue
        try:
            tasks[name] = make_task(name, entry.parameters)
            for regime, changes in tasks[name].regimes.items():
                make_task(name, {**entry.parameters, "regimes": {}, **changes}, f"regimes.{regime}.")
        except SettingsError as error:
            yield str(error)
    layers = [("defaults", settings.defaults)]
    for name, population in settings.populations.items():
        layers += [(f"populations.{name}", population), (f"populations.{name}.alternatives", population.alternatives)]
    for path, layer in layers:
        for name in layer.by_task:
            if name not in settings.tasks:
                yield f"{path}.by_task.{name}: the config has no such task; its tasks are: {', '.join(settings.tasks)}"
    yield from _reference_problems(settings)
    for task_name, task in tasks.items():
        # One trial is enough to learn how many outputs the readout has.
        outputs = task.sample("train", 1, 0).sizes["output"]
        for name in settings.populations:
            for round_number in settings.trained_rounds(name)[:2]:
                recipe = settings.recipe(task_name, name, round_number)
                where = f"populations.{name}, task {task_name}, round {round_number}"
                yield from (f"{where}: {problem}" for problem in _recipe_problems(settings, recipe, task, outputs))


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
        elif not set(settings.seed_blocks(name)) <= set(settings.seed_blocks(reference)):
            yield (
                f"{path}.seeds = {population.seeds}: '{reference}' has {settings.population(reference).seeds} seeds, "
                f"and seeds_per_job = {settings.seeds_per_job} must part both alike"
            )


def _recipe_problems(settings: Settings, recipe: Recipe, task: Task, outputs: int) -> Iterator[str]:
    network, training, deflation = recipe.network, recipe.training, recipe.deflation
    if task.dt > network.tau:
        yield f"network.tau = {network.tau} is shorter than the task's dt = {task.dt}; the Euler step needs tau >= dt"
    if network.units <= outputs:
        yield f"network.units = {network.units}: the task's {outputs} output(s) leave no null space; use more units"
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
    """A task from parameters as the config has them."""
    try:
        return TypeAdapter(TASKS[name]).validate_json(json.dumps(parameters), strict=True)
    except ValidationError as error:
        fields = ", ".join(TypeAdapter(TASKS[name]).json_schema()["properties"])
        raise SettingsError(_explain(error, f"tasks.{name}.parameters.{within}", fields)) from None


def _explain(error: ValidationError, prefix: str = "", known: str = "") -> str:
    lines = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"] if part != "[key]"]
        path = (prefix + ".".join(location)).rstrip(".") or "config"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"{path}: unknown key; known here: {known or ', '.join(_keys(location[:-1]))}")
        elif problem["type"] == "missing":
            lines.append(f"{path}: this key is required")
        elif problem["type"] == "value_error":
            # The task itself objects, and begins with the name of its field.
            lines.append(f"{path}.{problem['ctx']['error']}")
        else:
            message = problem["msg"]
            given = problem["input"]
            shown = "" if isinstance(given, dict | list) and len(str(given)) > 80 else f" = {given!r}"
            hint = ""
            if isinstance(given, str) and problem["type"] in ("float_type", "int_type"):
                hint = " (YAML reads 1e-3 as text: write 1.0e-3)"
            lines.append(f"{path}{shown}: {message[0].lower()}{message[1:]}{hint}")
    return _join(lines)


def _keys(location: list[str]) -> list[str]:
    """The keys that are known at a place of the config."""
    place: Any = Settings
    for part in location:
        if isinstance(place, type) and issubclass(place, BaseModel):
            place = place.model_fields[part].annotation
        elif get_origin(place) is dict:
            place = get_args(place)[1]
    return list(place.model_fields) if isinstance(place, type) and issubclass(place, BaseModel) else []


def _join(lines: list[str]) -> str:
    return "the config cannot be used:\n" + "\n".join(
        f"  - {line.removeprefix('the config cannot be used:').strip().removeprefix('- ')}" for line in lines
    )


def _block(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
