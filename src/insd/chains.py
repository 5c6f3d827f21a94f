"""One chain of networks in a folder, without the workflow: what `insd train`, `insd deflate` and `insd plot` do.

The folder has the trials of the regimes as `train.nc` and `test.nc`, and a folder per round.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insd.errors import InsdError

# Everything else is imported where it is needed: `insd --help` should not take seconds.
if TYPE_CHECKING:
    import xarray as xr

    from insd.settings.config import Settings
    from insd.settings.recipe import Recipe

RECIPE = ("network", "training", "terms")
"""What `--set` can change of any round."""
SECTIONS = (*RECIPE, "trials", "task")
"""What `--set` can change of the first: later rounds have its trials."""
POPULATION = "insd"
"""The population that a chain of the command counts as."""


class CommandError(InsdError):
    """A command cannot be done; the message says why."""


MADE_BY = {
    "trials": "`insd trials` makes one",
    "network": "`insd train` makes one, and `insd import` of what you trained elsewhere",
    "activity": "`insd train` and `insd deflate` make one",
}
"""The commands that write files, by their contract."""


def stored(path: str | Path, contract: str, only: Collection[str] | None = None) -> "xr.Dataset":
    """A file that a command reads (`insd.datasets.read`). The user's own may be of any kind, and is not to be deleted.

    Raises CommandError, which names the command that makes such a file, if it is missing or cannot be used.
    """
    from insd import datasets

    if not Path(path).exists():
        raise CommandError(f"{path}: there is no such file; {MADE_BY[contract]}")
    try:
        return datasets.read(path, contract, only)
    except datasets.DatasetError as error:
        fault = str(error).removesuffix(f"; {datasets.AGAIN}")
        if fault == str(error):
            raise
        if datasets.is_netcdf(path):
            raise CommandError(f"{fault}; make it again: {MADE_BY[contract]}") from None
        how = "if it is a PyTorch checkpoint, `insd import` it first" if contract == "network" else MADE_BY[contract]
        raise CommandError(f"{path}: is not a NetCDF file, as {contract}.nc is; {how}") from None


def task_entry(text: str) -> tuple[str, dict[str, Any]]:
    """Name and entry in a config of a task given by its name or by `module:Class`.

    Raises CommandError if this library has no task of that name.
    """
    from insd import plugins

    if ":" not in text:
        if text not in (known := plugins.names("task")):
            raise CommandError(f"there is no task {text!r}; choose from {', '.join(known)}, or module:Class")
        return text, {}
    name = "".join(character if character.isalnum() else "_" for character in text.rpartition(":")[2].lower())
    return name, {"class": text}


def sample_trials(settings: "Settings", name: str, folder: Path, regimes: Sequence[str]) -> None:
    """Write the trials of some regimes of a task into a folder, as many as the settings say."""
    from insd import datasets
    from insd.provenance import attributes, random_seed, trials_fingerprint

    task = settings.task(name)
    for regime in regimes:
        count = settings.trials.train if regime == "train" else settings.trials.evaluation
        seed = random_seed("trials", name, regime)
        trials = task.sample(regime, count, seed)
        made = {"task": _made(settings, name), "regime": regime, "trials": count}
        fingerprint, path = trials_fingerprint(trials), folder / f"{regime}.nc"
        if path.exists() and stored(path, "trials").attrs["fingerprint"] != fingerprint:
            raise CommandError(f"{path}: holds different trials; choose a different folder, or delete it")
        trials.attrs |= attributes(made, "insd.tasks", seed=str(seed), fingerprint=fingerprint)
        datasets.write(trials, path, "trials")


def _made(settings: "Settings", name: str) -> dict[str, Any]:
    """The record of the task in files."""
    return {"name": name, "parameters": settings.task_parameters(name)}


def settings_of(
    name: str,
    entry: Mapping[str, Any],
    recipe: Mapping[str, Any],
    changes: Sequence[str],
    sampled: Mapping[str, int] | None = None,
) -> "Settings":
    """A config of one task and one chain, with the changes of the command line, checked as any other.

    `sampled` gives the numbers of trials if they already exist; then neither they nor the task can change.
    """
    from insd.settings.base import SettingsError
    from insd.settings.load import load
    from insd.settings.recipe import DEFAULT_TERMS

    defaults = {section: dict(recipe.get(section, {})) for section in RECIPE}
    if "terms" in recipe:
        # Terms that the last round had not.
        defaults["terms"] = {**dict.fromkeys(DEFAULT_TERMS), **defaults["terms"]}
    parameters: dict[str, Any] = dict(entry.get("parameters", {}))
    trials: dict[str, Any] = dict(sampled or {})
    # Laid over the settings of the last round, so that a different architecture drops what only that one had.
    changed: dict[str, dict[str, Any]] = {section: {} for section in RECIPE}
    places = {**changed, "task": parameters, "trials": trials}
    sections = RECIPE if sampled else SECTIONS
    for change in changes:
        key, equals, value = change.partition("=")
        section, _, field = key.partition(".")
        if not equals or section not in sections or not field:
            why = (
                "; later rounds have the trials of the first" if section in SECTIONS and section not in sections else ""
            )
            raise CommandError(
                f"--set {change}: needs SECTION.KEY=VALUE, with one of the sections {', '.join(sections)}{why}"
            )
        given = _value(value)
        place = places[section]
        # A term has keys of its own; null leaves it out.
        if section == "terms" and given is not None:
            term, _, field = field.rpartition(".")
            place = place.setdefault(term, {})
        place[field] = given
    config = {
        "tasks": {name: {**entry, "parameters": parameters}},
        "trials": trials,
        # Not run; its default could exceed the number of trials.
        "analysis": {"robustness": {"trials": 1}},
        "defaults": defaults,
        "populations": {POPULATION: {"seeds": 1, "rounds": 2, **changed}},
    }
    try:
        return load(config)
    except SettingsError as error:
        # What a task has no default of, such as the inputs of recorded trials.
        required = rf"(tasks\.{re.escape(name)}\.parameters\.(\w+): this key is required)$"
        how = r"\1; give it by --set, as in `--set task.\2=VALUE` or, of a list, `'task.\2=[NAME, NAME]'`"
        raise SettingsError(re.sub(required, how, str(error), flags=re.MULTILINE)) from None


def _value(text: str) -> Any:
    """A value of `--set`: of JSON, where lists need no quotes around names; otherwise text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if text.startswith("{"):
            how = 'a mapping is written as in JSON, with quotes: \'{"coherence": ["go_time", "stop_time"]}\''
            raise CommandError(f"--set ...={text}: {how}") from None
        names = re.fullmatch(r"\[\s*([^][{}\"']*?)\s*\]", text)
        return [_value(one.strip()) for one in names[1].split(",")] if names else text


def train_round(settings: "Settings", name: str, folder: Path, number: int, seed: int) -> None:
    """Train a round in a folder as the workflow's job does, and print the outcome."""
    import torch

    from insd import datasets
    from insd.jobs import reuse_freed_memory
    from insd.makers.base import Job, code_of, maker_of, recipe_from
    from insd.provenance import attributes

    torch.set_num_threads(1)
    reuse_freed_memory()
    task, resolved = settings.task(name), settings.made_with(name, POPULATION, number)
    bank, test = (stored(folder / f"{regime}.nc", "trials") for regime in ("train", "test"))
    files = tuple(str(folder / f"round-{earlier}/activity.nc") for earlier in range(number))
    names = ((name, POPULATION, seed, number),)
    job = Job(names, task, bank, test, recipe_from(resolved), files, progress_bar=True)
    result = maker_of(resolved).make(job)
    made = {
        "task": _made(settings, name),
        "recipe": resolved,
        "population": POPULATION,
        "seeds": str(seed),
        "round": number,
    }
    more = {"code_fingerprint": code_of(resolved, type(task)), "maker": resolved["make"]}
    more |= {"role": settings.role(name, POPULATION, number)}
    for file, (dataset, contract) in result.files().items():
        dataset.attrs |= attributes(made, "insd.makers.base", seed=str(seed), **more)
        datasets.write(dataset, folder / f"round-{number}/{file}.nc", contract)
    activity = result.activity
    solved = "solved" if activity["solved"].item() else "not solved"
    print(f"{folder}/round-{number}: {solved}, {task.score_name} {activity['score'].item():.3f}")
    if files and result.network is not None:
        print(*outcome(result.network, job.recipe, null_r2(folder, number)), sep="\n")


def null_r2(folder: Path, number: int) -> list[float]:
    """Null-space r2 of a round of a chain to each earlier one, on the test trials."""
    from insd.measures.pairs import prepare, similarity

    prepared = {str(one): prepare(*_null(folder / f"round-{one}"), []) for one in range(number + 1)}
    r2 = similarity(prepared, [], 0)[0]["r2"].sel(space="null", predictor=str(number))
    return r2.values[:number].tolist()


def _null(folder: Path) -> tuple[Any, Any]:
    """Rates and readout of the network of a round."""
    network = stored(folder / "network.nc", "network")
    rates = stored(folder / "activity.nc", "activity", ["rates"])["rates"]
    return rates.values[0], network["output_weights"].values[0]


def outcome(network: "xr.Dataset", recipe: "Recipe", r2: Sequence[float]) -> Iterator[str]:
    """What a deflated network of a `network.nc` of one seed is like, and what to do if that is not unlike enough.

    `r2` is its null-space r2 to each earlier network.
    """
    from insd.settings.sections import Analyses

    training = recipe.training
    for variable in (str(name) for name in network if str(name).startswith("held_out_penalty")):
        penalties = network[variable].values.ravel().tolist()
        term = variable.removeprefix("held_out_penalty").removeprefix("_")
        yield f"{term or 'S'} to each earlier round: {', '.join(f'{value:.3f}' for value in penalties)}"
        # Without a name, it is that of the only term.
        bound = recipe.terms[term].bound if term else next(iter(recipe.terms.values())).bound
        if max(penalties) > bound:
            yield (
                f"not deflated: {term or 'S'} {max(penalties):.3f}, bound {bound:g}; allow more training.iterations "
                f"({training.iterations}) or a higher training.loss_bound ({training.loss_bound:g})"
            )
    yield f"null-space r2 to each earlier round: {', '.join(f'{value:.3f}' for value in r2)}"
    bound = Analyses().deflated_r2
    if max(r2) > bound:
        yield (
            f"not deflated: null-space r2 {max(r2):.3f}, bound {bound:g}; allow more training.iterations "
            f"({training.iterations}), or lower the bound on S"
        )


def draw_chain(folder: Path, output: Path) -> list[str]:
    """Draw the rounds of a chain side by side as the figure `mechanism` does; the labels of those that are shown.

    Its analyses are run with their defaults and kept nowhere. Raises CommandError if the folder holds no chain.
    """
    import pandas as pd
    import xarray as xr

    from insd import plugins
    from insd.analysis.base import Job
    from insd.cohorts import every_network, network_labels
    from insd.figures.mechanism import mechanism_figure
    from insd.figures.shown import shown_networks
    from insd.figures.theme import save
    from insd.members import Member
    from insd.settings.sections import Analyses
    from insd.settings.tasks import make_task
    from insd.tables.networks import identity, join_columns, with_deflated

    members: list[Member] = []
    while (path := folder / f"round-{len(members)}/network.nc").exists():
        network, activity = stored(path, "network"), stored(path.with_name("activity.nc"), "activity")
        role = network.attrs.get("role", "alternative" if members else "reference")
        members += Member.of_datasets(POPULATION, len(members), role, network, activity)[:1]
    if not members:
        raise CommandError(f"{folder}: holds no round-0; begin with `insd train TASK {folder}`")
    made = members[0].settings["task"]
    task, test = make_task(made["name"], made["parameters"]), stored(folder / "test.nc", "trials")
    found: dict[str, xr.Dataset] = {}
    for name in ("fixed_points", "similarity", "dsa", "decoding"):
        analysis = plugins.find("analysis", name)
        found |= analysis.run(Job(made["name"], task, members, analysis.settings(), {"test": test}))
    rows = [identity(made["name"], member, POPULATION) for member in members]
    joined = join_columns(pd.DataFrame(rows).set_index("label"), {"similarity": found["predictivity"]})
    analyses = Analyses()
    table = with_deflated(joined, analyses.deflated_r2).reset_index(drop=True)
    shown = shown_networks(table, POPULATION)
    points, predictivity, dynamics, decoding = (
        every_network(found[name], network_labels(table))
        for name in ("fixed_points", "predictivity", "dsa", "decoding")
    )
    figure = mechanism_figure(
        task,
        test,
        table,
        shown,
        {member.label: member for member in members},
        points=points,
        predictivity=predictivity,
        dynamics=dynamics,
        decoding=decoding,
        confidence=analyses.comparisons.confidence,
    )
    save(figure, [output])
    return [one.label for one in shown]
