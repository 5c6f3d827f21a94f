"""The config as frozen settings: every key with its type, range, default and meaning.

The sections are the one source of the config's keys: the schema (`workflow/schemas/config.schema.json`) and the table
of keys (`config/README.md`) are generated from them. Defaults are ours unless a source is given.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from insd import plugins
from insd.makers.base import Maker
from insd.plugins import PluginError
from insd.settings.base import (
    CountOrAuto,
    PopulationName,
    Section,
    SettingsError,
    TaskName,
)
from insd.settings.messages import joined, keys_of, lines
from insd.settings.recipe import Changes, Layer, Recipe, checked, recipe_of
from insd.settings.sections import Analyses, Figures, Population, TaskEntry, Trials, without_null
from insd.settings.tasks import make_task, task_adapter
from insd.tasks import Task, find_task, task_fingerprint

ORDER = ("standard", "untrained", "reference", "alternative", "control")
"""Roles in the order of populations."""


class Settings(Section):
    """The whole config."""

    tasks: Annotated[dict[TaskName, TaskEntry], Field(min_length=1), BeforeValidator(without_null)]
    """The tasks, by name; null leaves out one that another file defines."""
    trials: Trials = Trials()
    """How many trials are drawn for each task."""
    seeds_per_job: CountOrAuto = 1
    """How many seeds one job trains side by side along the network axis; `auto`: with `device: cuda` all seeds of a
    population, otherwise 1. Files are named by the seeds of their job: another number trains them again."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where jobs train: `cpu`; `cuda`, a GPU, best with many `seeds_per_job`; `auto`, a GPU if PyTorch finds one.
    A change does not retrain finished networks of the same `seeds_per_job`."""
    analysis: Analyses = Analyses()
    """Settings of the analyses."""
    claims: list[str] = ["qian_2025"]
    """The papers whose statements are judged, each a file of `src/insd/claims/`, or `module:CLAIMS` for claims of your
    own."""
    figures: Figures = Figures()
    """What figures show."""
    defaults: Layer = Layer()
    """Settings of the networks of all populations."""
    populations: Annotated[dict[PopulationName, Population], Field(min_length=1), BeforeValidator(without_null)]
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
        stored = task_adapter(type(task)).dump_python(task, mode="json")
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
        return [*plugins.names("analysis"), *sorted(name for name in self.analysis.model_extra or {} if ":" in name)]

    def analysis_settings(self, name: str) -> Any:
        """The settings of an analysis, of its own class; SettingsError where they cannot be used."""
        found = plugins.find("analysis", name)
        section = found.section or name
        given = (self.analysis.model_extra or {}).get(section)
        try:
            return found.settings.model_validate_json(
                json.dumps({} if given is None else given, default=str), strict=True
            )
        except ValidationError as error:
            known = partial(keys_of, found.settings)
            raise SettingsError(joined(lines(error, lambda key: f"analysis.{section}.", known))) from None

    def has_analysis(self, section: str) -> bool:
        """Whether the config has a section of `analysis`, which may be empty: some are made only where it has."""
        return (self.analysis.model_extra or {}).get(section) is not None

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

    def standards(self, task: str, population: str) -> list[str]:
        """The populations of standards that the networks of a population are compared with on a task.

        Those that it names. Without names, a population that others name as standards is compared with those that they
        name along with it, and any other with all standards of the task.
        """
        lists = [self.populations[name].standards for name in self.population_names(task)]
        along = next((names for names in lists if names and population in names), None)
        named = self.population(population).standards or along
        return [
            name
            for name in self.population_names(task)
            if (named is None or name in named)
            and 0 in self.trained_rounds(name)
            and self.role(task, name, 0) == "standard"
        ]

    def population_names(self, task: str) -> list[str]:
        """The populations that are made for a task."""
        return [name for name, entry in self.populations.items() if entry.tasks is None or task in entry.tasks]

    def role(self, task: str, population: str, round_number: int) -> str:
        """The role of the networks of a round by the config; SettingsError if the config must say it and does not."""
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
        # In no base class of makers: that is in the fingerprint of every network.
        needed = getattr(self.maker(population), "needs_term", None)
        own_terms = [name for name, term in recipe.terms.items() if not term.compares or name == needed]
        if recipe.network.architecture == "rate" and not own_terms:
            return "standard"
        what = f"with terms.{own_terms[0]}" if own_terms else f"of architecture {recipe.network.architecture!r}"
        raise SettingsError(
            f"populations.{population}.role: required for networks {what}, which count as standards only where the "
            "config says so; choose from: standard, untrained, reference, control"
        )

    def in_order(self) -> "Settings":
        """The same settings with tasks and populations in an order of their own, so that nothing depends on that in
        which they are written: tasks by name; standards by gain, then untrained, deflated and other networks, by name.
        """
        tasks = dict(sorted(self.tasks.items()))
        populations = dict(sorted(self.populations.items(), key=lambda entry: self._place(entry[0], list(tasks))))
        return self.model_copy(update={"tasks": tasks, "populations": populations})

    def _place(self, population: str, tasks: Sequence[str]) -> tuple[int, float, str]:
        task = next((name for name in tasks if population in self.population_names(name)), None)
        if task is None:
            return len(ORDER), 0.0, population
        first = self.trained_rounds(population)[0]
        gain = getattr(self.recipe(task, population, first).network, "gain", 0.0)
        return ORDER.index(self.role(task, population, first)), gain, population

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
        seeds, size = self.population(population).seeds, self.seeds_per_job
        if size == "auto":
            size = seeds if self.device == "cuda" else 1
        return [_block(start, min(start + size, seeds) - 1) for start in range(0, seeds, size)]


def seeds_of(block: str) -> list[int]:
    """The seeds that a block `first` or `first-last` names."""
    first, _, last = block.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _block(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
