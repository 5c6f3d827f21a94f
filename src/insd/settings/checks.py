"""What no key of the config shows alone: the cross-checks."""

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import Any

import numpy as np

from insd import plugins
from insd.errors import InsdError
from insd.plugins import PluginError
from insd.settings.base import Section, SettingsError
from insd.settings.config import Settings
from insd.settings.recipe import Changes, Recipe, problems_of
from insd.settings.sections import Population, TaskEntry
from insd.settings.tasks import make_task
from insd.tasks import Task, TaskError, check_task
from insd.tasks.base import Rule
from insd.tasks.own import failure, scored_trials, targets_vary, unscored_outputs

REGIME = "[a-z][a-z0-9_]*"
"""The pattern of regime names."""
STORED_ALIKE = ("delays", "rank", "time_stride")
"""Keys of this library's terms that say what is kept of earlier networks, which must be kept by the same values to be
compared. The terms' own files do not say it: they are in the fingerprints of networks."""
WALKED_WITH = frozenset({"batch_size", "validation_trials", "loss_bound"})
"""The keys of `training` that walks use."""
MOST_STEPS = 100_000
"""Longest duration in time steps: a day-long trial is a mistake in the unit."""
UNIT_BY_UNIT = ("teacher",)
"""Terms that compare unit i of a network with unit i of an earlier one. Their own files, which are in the fingerprints
of networks, do not say it."""
NOT_ADDITIVE = frozenset(
    {"behaviour_plane", "dendritic_plane", "gru", "implicit", "lif", "linear", "moment", "stochastic_low_rank"}
)
"""Architectures of this library that `adjoint_norm` has no estimate for. Their own files do not say it, for the same
reason; with an architecture of the user's own, the job that trains says it."""


def problems_of_config(settings: Settings) -> Iterator[str]:
    """Problems that no single key shows."""
    tasks: dict[str, Task] = {}
    for name, entry in settings.tasks.items():
        try:
            tasks[name] = _checked_task(settings, name, entry)
        except SettingsError as error:
            yield str(error)
        except TaskError as error:
            yield f"tasks.{name}: {error}"
    yield from _by_task_problems(settings)
    yield from _analysis_problems(settings, tasks)
    yield from _claims_problems(settings)
    if wrong := [*_maker_problems(settings)]:
        yield from wrong
        return
    yield from _reference_problems(settings)
    if problems := list(_layer_problems(settings)):
        yield from dict.fromkeys(problems)
        return
    yield from _chain_problems(settings)
    yield from list(_read_problems(settings)) or _circle_problems(settings)
    wrong = [*_role_problems(settings)]
    yield from wrong or _standards_problems(settings)
    for task_name, task in tasks.items():
        outputs = len(task.sample("train", 1, 0)["output"])
        for name in settings.population_names(task_name):
            for round_number in settings.trained_rounds(name)[:2]:
                recipe = settings.recipe(task_name, name, round_number)
                where = f"populations.{name}, task {task_name}, round {round_number}"
                sections = settings.maker(name).sections
                found = _recipe_problems(settings, recipe, sections, task, outputs)
                yield from (f"{where}: {problem}" for problem in found)
                if round_number > 0 and "training" in sections and recipe.training.iterations == 0:
                    yield f"{where}: training.iterations = 0: an alternative has to be trained; choose a larger number"
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


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the lines of tasks for the log: they would be on trials that the config does not ask for."""
    logger = logging.getLogger("insd.tasks")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@_unlogged()
def _checked_task(settings: Settings, name: str, entry: TaskEntry) -> Task:
    """The task, after checking that the trials of every regime and level of its grid can be made and scored."""
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
    """Raise SettingsError if a duration of the task has too many time steps."""
    for field in fields(task):
        value, rule = getattr(task, field.name), task.rule(field.name)
        longest = value[1] if rule is Rule.SPAN else value if rule is Rule.DURATION else 0.0
        if longest > MOST_STEPS * task.dt:
            raise SettingsError(
                f"{where}: {field.name} = {value} is more than {MOST_STEPS} times the time step dt = {task.dt}"
            )


def _must_make_trials(task: Task, regime: str, where: str, given: Mapping[str, Any]) -> None:
    """Raise SettingsError if a task makes no trials that can be scored; `given` are the values at `where`."""
    changed = task.in_regime(regime)
    try:
        trials, score = scored_trials(task, regime, task.sample(regime, 2, 0))
    except (ArithmeticError, ValueError, IndexError) as error:
        raise SettingsError(
            f"{where} = {given}: no trials can be made with these durations and rates at dt = {changed.dt} ({error})"
        ) from None
    except InsdError:
        raise
    except Exception as error:  # a task of the user's own may fail in any way
        raise SettingsError(f"{where} = {given}: no trials can be made: {failure(error)}") from None
    if not all(np.isfinite(trials[name]).all() for name in ("inputs", "targets")):
        raise SettingsError(f"{where} = {given}: the trials have NaN or infinite values; use less noise")
    if unscored_outputs(trials) or (targets_vary(trials) and not np.isfinite(score)):
        raise SettingsError(
            f"{where} = {given}: at dt = {changed.dt} s the response is never scored; make the response longer"
        )
    if not np.isfinite(score):
        raise SettingsError(
            f"{where} = {given}: the targets do not vary: they are the same number in all of {trials.sizes['trial']} "
            "trials, which leaves no variance to explain"
        )


def _analysis_problems(settings: Settings, tasks: Collection[str]) -> Iterator[str]:
    """What is wrong with the analyses; `tasks` are the names of those that can be used."""
    for name in settings.analysis.model_extra or {}:
        if ":" not in name and name not in plugins.names("analysis"):
            known = ", ".join(["comparisons", *plugins.names("analysis")])
            yield f"analysis.{name}: unknown key; known here: {known}, or one of your own as 'module:ANALYSIS'"
    written: dict[str, str] = {}
    for name in settings.analyses():
        try:
            for file in plugins.find("analysis", name).writes:
                if written.setdefault(file, name) != name:
                    yield f"analysis.{name}: writes {file}.nc, as {written[file]} does; choose a different name"
            own = settings.analysis_settings(name)
        except (SettingsError, PluginError) as error:
            yield str(error) if isinstance(error, SettingsError) else f"analysis.{error}"
            continue
        analysis = plugins.find("analysis", name)
        yield from (_of_default(problem, own) for problem in analysis.problems(own, settings))
        for task in tasks:
            here = settings.population_names(task)
            if own.populations and here and not set(own.populations) & set(here) and analysis.applies(settings, task):
                yield (
                    f"analysis.{name}.populations: names none of the populations of the task {task}; add one of: "
                    f"{', '.join(here)}"
                )
        for population in own.populations or ():
            if population not in settings.populations:
                known = ", ".join(settings.populations)
                yield f"analysis.{name}.populations: there is no population {population!r}; choose from: {known}"


def _of_default(problem: str, own: Section) -> str:
    """The problem; where it is one of a key that the config does not set, it says so, and what to do."""
    found = re.match(r"(analysis\.\S+\.(\w+) = \S+?)(: .*)", problem)
    if found is None or found[2] in own.model_fields_set:
        return problem
    return f"{found[1]} (the default){found[3]}; set this key, too"


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
        needed = getattr(maker, "needs_trials", 0)
        if needed > settings.trials.train:
            yield (
                f"{path}: make = {population.make!r} fits and holds out {needed} trials, and trials.train = "
                f"{settings.trials.train}; raise it, or lower {population.make}.trials or held_out"
            )
        for layer in (population, population.alternatives):
            for section in ("network", "training"):
                if section not in maker.sections and section in layer.model_fields_set:
                    yield f"{path}.{section}: make = {population.make!r} has no use for it; leave it out"
        if population.make == "walk":
            yield from _walk_problems(path, population)
        if not maker.chains:
            if population.rounds > 1:
                yield f"{path}.rounds = {population.rounds}: networks of make = {population.make!r} have one round"
            if population.reference is not None:
                yield f"{path}.reference = {population.reference!r}: make = {population.make!r} takes no reference"
        if "training" not in maker.sections and population.role not in (None, "reference", "control"):
            yield (
                f"{path}.role = {population.role!r}: networks that are not trained here are 'reference' or 'control'"
            )


def _walk_problems(path: str, population: Population) -> Iterator[str]:
    """Keys of `training` of a walk that would be without effect; `path` is that of the population."""
    layers: list[tuple[str, Changes]] = []
    for where, layer in ((path, population), (f"{path}.alternatives", population.alternatives)):
        layers += [(where, layer), *((f"{where}.by_task.{task}", one) for task, one in layer.by_task.items())]
    for where, changes in layers:
        for key in sorted(changes.training.model_fields_set - WALKED_WITH):
            yield (
                f"{where}.training.{key}: make = 'walk' has no use for it, only for "
                f"{', '.join(sorted(WALKED_WITH))}; leave it out"
            )


def _term_problems(settings: Settings, task: str, population: str) -> Iterator[str]:
    """Terms of later rounds that compare them with earlier ones, which keep nothing for them, or something else; and
    walks that nothing steers.
    """
    reference = settings.population(population).reference
    if reference and (
        reference not in settings.populations
        or settings.population(reference).reference
        or reference not in settings.population_names(task)
    ):
        return  # which is refused for itself
    rounds = range(settings.population(population).rounds)
    owners = [settings.reference(population) if number == 0 else population for number in rounds]
    recipes = [settings.recipe(task, owner, number) for owner, number in zip(owners, rounds, strict=True)]
    terms = [recipe.terms for recipe in recipes]
    sized = ["network" in settings.maker(owner).sections for owner in owners]
    for number in rounds[1:]:
        for earlier in range(number):
            if sized[number] and sized[earlier]:
                units = recipes[earlier].network.units
                of_earlier = f"round {earlier} of {owners[earlier]!r}"
                if found := units_problem(settings, task, population, number, of_earlier, units):
                    yield found
                    return
        for name, own in terms[number].items():
            lacking = [owner for owner, kept in zip(owners[:number], terms, strict=False) if name not in kept]
            if own.compares and lacking:
                yield (
                    f"populations.{population}, task {task}, round {number}: terms.{name} compares networks with those "
                    f"of {lacking[0]!r}, whose earlier rounds lack this term; give it to them, too"
                )
                return
            if not own.compares or ":" in name:
                continue
            for owner, kept in zip(owners[:number], terms, strict=False):
                for key in STORED_ALIKE:
                    here, there = getattr(own, key, None), getattr(kept[name], key, None)
                    if here != there:
                        yield (
                            f"populations.{population}, task {task}, round {number}: terms.{name}.{key} = {here}, and "
                            f"{there} in the networks of {owner!r} that it is compared with; give both the same"
                        )
                        return
        maker = settings.maker(population)
        if settings.population(population).make == "walk" and maker.settings.steered and not terms[number]:
            yield (
                f"populations.{population}, task {task}, round {number}: walk.steered = true, and no term steers it; "
                "give it one in `terms`, or set walk.steered to false"
            )
            return


def units_problem(
    settings: Settings, task: str, population: str, round_number: int, earlier: str, units: int
) -> str | None:
    """What is wrong where a term compares the networks of a round unit by unit with earlier ones, of so many units."""
    recipe = settings.recipe(task, population, round_number)
    for name in UNIT_BY_UNIT:
        if name in recipe.terms and units > recipe.network.units:
            return (
                f"populations.{population}, task {task}, round {round_number}: terms.{name} compares unit i with unit "
                f"i, and {earlier} has {units} units, these networks network.units = {recipe.network.units}: set "
                f"populations.{population}.alternatives.network.units to at least {units}, or leave the term out"
            )
    return None


def _reference_problems(settings: Settings) -> Iterator[str]:
    own = [name for name, population in settings.populations.items() if not population.reference]
    for name, population in settings.populations.items():
        reference, path = population.reference, f"populations.{name}"
        if reference is None:
            continue
        if population.rounds < 2:
            yield f"{path}.rounds = {population.rounds}: a population with a `reference` needs at least 2"
        if reference not in own:
            yield f"{path}.reference = {reference!r}: choose a population that has a round 0: {', '.join(own)}"
        elif missing := [
            task
            for task in settings.tasks
            if name in settings.population_names(task) and reference not in settings.population_names(task)
        ]:
            yield f"{path}.reference = {reference!r}: is not trained on {', '.join(missing)}, but {name!r} is"
        elif problem := _seeds_problem(settings, name, reference):
            yield f"{path}{problem}"


def _seeds_problem(settings: Settings, name: str, other: str) -> str:
    """Why seeds of a population cannot read the same seeds of another, after the path of the population; or empty."""
    seeds, most = (settings.populations[population].seeds for population in (name, other))
    where = f".seeds = {seeds}: it reads {other!r}, which has"
    if seeds > most:
        return f"{where} only {most}; lower the first, or raise the second"
    if not set(settings.seed_blocks(name)) <= set(settings.seed_blocks(other)):
        per_job = settings.seeds_per_job
        return f"{where} {most} seeds, and seeds_per_job = {per_job} must divide both into the same blocks"
    return ""


def _read_problems(settings: Settings) -> Iterator[str]:
    """Rounds of other populations that makers read, apart from references, that are not there or not for all seeds."""
    for name in settings.populations:
        maker, reference = settings.maker(name), settings.reference(name)
        needed, path = getattr(maker, "needs_term", None), f"populations.{name}"
        for task in settings.tasks:
            if (
                needed
                and name in settings.population_names(task)
                and needed not in settings.recipe(task, name, 0).terms
            ):
                yield f"{path}, task {task}: make = {settings.populations[name].make!r} needs terms.{needed}; add it"
        reads = [read for number in settings.trained_rounds(name) for read in maker.reads(name, reference, number)]
        for read in dict.fromkeys(reads):
            other = read.population
            if maker.chains and other in (name, reference):
                continue
            where = f"{path}: make = {settings.populations[name].make!r} reads round {read.round_number} of {other!r}"
            lacking = [
                task
                for task in settings.tasks
                if name in settings.population_names(task) and other not in settings.population_names(task)
            ]
            if other not in settings.populations:
                yield f"{where}: there is no such population; choose from: {', '.join(settings.populations)}"
            elif other == name:
                yield f"{where}, which is this population; choose a different one"
            elif read.round_number not in settings.trained_rounds(other):
                rounds = ", ".join(map(str, settings.trained_rounds(other)))
                yield f"{where}: this population makes the rounds {rounds}; choose one of them"
            elif missing := [file for file in read.files if file not in settings.maker(other).writes]:
                made = settings.populations[other].make
                instead = "; name its file by the key `recording`" if made == "recording" else ""
                yield f"{where}: make = {made!r} writes no {missing[0]}{instead}"
            elif lacking:
                yield f"{where}: it is not made for {', '.join(lacking)}, but {name!r} is"
            elif problem := _seeds_problem(settings, name, other):
                yield f"{path}{problem}"


def _circle_problems(settings: Settings) -> Iterator[str]:
    """Rounds that are made, over others, from themselves."""
    reads = {
        (name, number): [
            (read.population, read.round_number)
            for read in settings.maker(name).reads(name, settings.reference(name), number)
        ]
        for name in settings.populations
        for number in settings.trained_rounds(name)
    }
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as error:
        circle = " reads ".join(f"round {number} of {name!r}" for name, number in reversed(error.args[1]))
        yield f"populations.{error.args[1][-1][0]}: {circle}: none of them can be the first; let one read another"


def _chain_problems(settings: Settings) -> Iterator[str]:
    """Roles that contradict the place of a population in chains."""
    for name, population in settings.populations.items():
        path, role = f"populations.{name}.role = {population.role!r}", population.role
        referring = [other for other, entry in settings.populations.items() if entry.reference == name]
        if population.rounds > 1 and role not in (None, "alternative", "control"):
            yield f"{path}: later rounds are 'alternative' or 'control'; round 0 is the reference without being named"
        elif population.rounds == 1 and role == "alternative":
            yield f"{path}: there is no earlier round; set rounds to 2 or more, or choose 'control'"
        elif population.rounds == 1 and referring and role not in (None, "reference"):
            yield f"{path}: it is the reference of {', '.join(referring)}; leave out the role"


def _role_problems(settings: Settings) -> Iterator[str]:
    for name, population in settings.populations.items():
        for task in population.tasks or ():
            if task not in settings.tasks:
                known = ", ".join(settings.tasks)
                yield f"populations.{name}.tasks: the config has no task {task!r}; take it out, or choose from: {known}"
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
            yield f"tasks.{task}: no population has networks for it; add it to the `tasks` of one, or set it to null"
    deflated, chain = settings.deflated_populations(), settings.figures.chain
    if chain is None and len(deflated) > 1:
        yield (
            f"figures.chain: {len(deflated)} populations have alternatives; name the one to show in figures: "
            f"{', '.join(deflated)}"
        )
    elif chain is not None and chain not in deflated:
        choices = ", ".join(deflated) or "there is none"
        yield f"figures.chain = {chain!r}: choose a population with alternatives: {choices}"


def _standards_problems(settings: Settings) -> Iterator[str]:
    """Populations that are named as standards and are none on a task of the population that names them."""
    for name, population in settings.populations.items():
        for other in population.standards or ():
            path = f"populations.{name}.standards"
            if other not in settings.populations:
                yield f"{path}: there is no population {other!r}; choose from: {', '.join(settings.populations)}"
                continue
            for task in settings.tasks:
                if name in settings.population_names(task) and other not in settings.standards(task, name):
                    which = (
                        f"{other!r} has no networks of the role standard on {task}{_begun_from(settings, task, other)}"
                    )
                    yield f"{path}: {which}; name others"
                    break


def _begun_from(settings: Settings, task: str, population: str) -> str:
    """Says which population begins its chains from this one, where that makes this one's networks references."""
    entry = settings.population(population)
    if entry.role is not None or entry.rounds > 1 or population not in settings.population_names(task):
        return ""
    chain = next((name for name, other in settings.populations.items() if other.reference == population), None)
    return f" (populations.{chain}.reference names it, which makes them references)" if chain else ""


def _layer_problems(settings: Settings) -> Iterator[str]:
    """What is wrong in any combination of layers, as often as it is found."""
    for name in settings.populations:
        # Alternatives are checked even if no round uses them, like all other keys.
        kinds = {number > 0 for number in settings.trained_rounds(name)} | {True}
        tasks = [task for task in settings.tasks if name in settings.population_names(task)]
        for task, alternative in product(tasks, sorted(kinds)):
            yield from problems_of(list(settings._layers(task, name, alternative)))


def _recipe_problems(
    settings: Settings, recipe: Recipe, sections: tuple[str, ...], task: Task, outputs: int
) -> Iterator[str]:
    training = recipe.training
    if "network" in sections:
        # Networks run at the time step of the trials, which a regime or a level of the grid may replace.
        changed = [task.in_regime(regime) for regime in task.regime_names()]
        changed += [task.in_grid(noise, 0) for noise in range(len(task.grid["noise"]))]
        changed += [task.in_grid(0, duration) for duration in range(len(task.grid["duration"]))]
        yield from recipe.network.problems(max(one.dt for one in changed), outputs)
        # In no base class, as far as architectures have them: that is in the fingerprint of every network.
        architecture, last = recipe.network.architecture, getattr(recipe.network, "last_inputs", ())
        if last and tuple(task.sample("train", 1, 0)["input"].values[-len(last) :].tolist()) != last:
            yield f"network.architecture = {architecture}: the last inputs of the task must be {', '.join(last)}"
        if "training" in sections and max(training.substeps) > 1 and not getattr(recipe.network, "substeps", True):
            yield (
                f"training.substeps = {training.substeps}: networks of the architecture {architecture} take one "
                "step for an input; leave it out"
            )
    if "training" in sections and training.fresh_noise and "noise_sd" not in task.sample("train", 1, 0):
        yield (
            "training.fresh_noise = true: the trials of the task do not say which noise their inputs have; leave it "
            "out, or let a task of your own give `noise` to `self.dataset`"
        )
    if "training" in sections and training.validation_trials + training.batch_size > settings.trials.train:
        yield (
            f"training.validation_trials = {training.validation_trials} and training.batch_size = "
            f"{training.batch_size} need more than trials.train = {settings.trials.train} trials"
        )
    for name, term in recipe.terms.items():
        yield from term.problems(f"terms.{name}")
    if "network" in sections and recipe.network.architecture in NOT_ADDITIVE:
        asked = {
            "terms.adjoint_norm": "adjoint_norm" in recipe.terms,
            "terms.costs.adjoint_norm": getattr(recipe.terms.get("costs"), "adjoint_norm", 0) > 0,
        }
        for key in [key for key, given in asked.items() if given]:
            yield f"{key}: needs a rate network, not {recipe.network.architecture!r}; leave it out"
    by_class: dict[str, list[str]] = {}
    for name in recipe.terms:
        by_class.setdefault(name.rpartition(":")[2], []).append(name)
    for short, alike in by_class.items():
        if len(alike) > 1:
            yield (
                f"terms {' and '.join(alike)}: the values of both would be {short!r} in history.nc; give one of the "
                "classes a different name, or leave one out"
            )
