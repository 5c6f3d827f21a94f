"""The command `insd`: one network, or one chain of them, without the workflow.

    insd train flip_flop chain               trials and a first network, in the folder `chain`
    insd deflate chain                       a further one, deflated against all before
    insd compare chain/round-0/network.nc chain/round-1/network.nc
    insd fixed-points chain/round-1/network.nc
    insd import checkpoint.pt network.nc --trials chain/test.nc

`insd COMMAND --help` lists the options of each.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insd.errors import InsdError

# Everything else is imported by the command that needs it: `insd --help` should not take seconds.
if TYPE_CHECKING:
    import xarray as xr

    from insd.settings.config import Settings
    from insd.tasks import Task

RECIPE = ("network", "training", "terms")
"""What `--set` can change of any round."""
SECTIONS = (*RECIPE, "trials", "task")
"""What `--set` can change of the first: later rounds have its trials."""
POPULATION = "insd"
"""The population that a chain of the command counts as."""
CHECKPOINT = "made by torch.save, or an npz file of arrays"
"""What `insd import` reads."""


class CommandError(InsdError):
    """A command cannot be done; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 1 after an error, reported in one line. Wrong usage exits with 2."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("insd").setLevel(logging.INFO)
    # Classes of the user's own are found from where the command is typed.
    sys.path.append(str(Path.cwd()))
    try:
        chosen.command(chosen)
    except InsdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def entry_point() -> None:
    """The entry point of the installed command."""
    sys.exit(main())


def train(chosen: argparse.Namespace) -> None:
    """Sample trials and train a first network."""
    from insd import datasets
    from insd.provenance import array_fingerprint, attributes, random_seed

    name, entry = _task_entry(chosen.task)
    settings = _settings(name, entry, {}, chosen.changes)
    folder = Path(chosen.folder)
    if (folder / "round-0").exists():
        raise CommandError(f"{folder}/round-0: is there already; choose another folder, or `insd deflate {folder}`")
    task = settings.task(name)
    for regime, count in (("train", settings.trials.train), ("test", settings.trials.evaluation)):
        seed = random_seed("trials", name, regime)
        trials = task.sample(regime, count, seed)
        made = {"task": _made(settings, name), "regime": regime, "trials": count}
        fingerprint = array_fingerprint(trials, ["inputs", "targets", "mask"])
        trials.attrs |= attributes(made, "insd.tasks", seed=str(seed), fingerprint=fingerprint)
        datasets.write(trials, folder / f"{regime}.nc", "trials")
    _train_round(settings, name, folder, 0, chosen.seed)


def deflate(chosen: argparse.Namespace) -> None:
    """Train the next network of a folder, deflated against all earlier ones, with the settings of the last."""
    from insd import datasets

    folder = Path(chosen.folder)
    rounds = 0
    while (folder / f"round-{rounds}").exists():
        rounds += 1
    if rounds == 0:
        raise CommandError(f"{folder}: holds no round-0; begin with `insd train TASK {folder}`")
    latest = datasets.read(folder / f"round-{rounds - 1}/network.nc", "network")
    made = json.loads(latest.attrs["settings"])
    name, parameters = made["task"]["name"], dict(made["task"]["parameters"])
    entry = {"parameters": parameters}
    if "class" in parameters:
        entry["class"] = parameters.pop("class")["path"]
    sizes = {
        key: datasets.read(folder / f"{regime}.nc", "trials").sizes["trial"]
        for key, regime in (("train", "train"), ("evaluation", "test"))
    }
    settings = _settings(name, entry, made["recipe"], chosen.changes, sizes)
    _train_round(settings, name, folder, rounds, int(latest["seed"][0]))


def compare(chosen: argparse.Namespace) -> None:
    """Predictivity in both directions and similarity measures between two networks."""
    from insd.activity import simulate_trials
    from insd.analysis.similarity import SimilaritySettings
    from insd.measures.base import find_measures
    from insd.measures.pairs import prepare, similarity

    seeds = chosen.seed or (None, None)
    networks = [_network(path, seed) for path, seed in zip((chosen.a, chosen.b), seeds, strict=True)]
    trials = _trials(chosen, networks[0])
    measures = find_measures(SimilaritySettings().measures)
    prepared = {}
    for label, path, network in zip("AB", (chosen.a, chosen.b), networks, strict=True):
        _must_fit(network, trials, path)
        rates = simulate_trials(network, trials)[0][0].numpy()
        prepared[label] = prepare(rates, network["output_weights"].values[0], measures)
    predictivity, similarities = similarity(prepared, measures, 0)
    for label, path, network in zip("AB", (chosen.a, chosen.b), networks, strict=True):
        print(f"{label} = {path}, seed {network['seed'].item()}")
    print(f"on {trials.sizes['trial']} trials\n")
    print(f"{'linear predictivity r2':30s}  {'full':>6s}  {'null':>6s}")
    for predictor, target in ("AB", "BA"):
        values = predictivity["r2"].sel(predictor=predictor, target=target).values
        print(f"{f'{predictor} -> {target}':30s}  {values[0]:6.3f}  {values[1]:6.3f}")
    between = similarities["value"].sel(network="A", network_to="B")
    for measure in measures:
        full, null = (float(between.sel(measure=f"{measure.name}_{space}")) for space in ("full", "null"))
        print(f"{f'{measure.name} ({measure.kind})':30s}  {full:6.3f}  {null:6.3f}")


def fixed_points(chosen: argparse.Namespace) -> None:
    """Fixed points, slow points and cycles of a network under each static input of its task."""
    import torch

    from insd import datasets
    from insd.dynamics import search
    from insd.dynamics.settings import FixedPoints
    from insd.members import Member
    from insd.provenance import attributes

    torch.set_num_threads(1)
    if chosen.starts < 2:
        raise CommandError(f"--starts {chosen.starts}: at least 2")
    network = _network(chosen.network, chosen.seed)
    task, trials = _task(chosen, network), _trials(chosen, network)
    for those in (trials, task.sample("test", 1, 0)):
        _must_fit(network, those, chosen.network)
    settings = FixedPoints(starts=chosen.starts)
    found = search.fixed_points(
        task, Member.of_datasets("network", 0, "control", network, network), trials, settings, progress_bar=True
    )
    columns = ("n_fixed_points", "n_stable_fixed_points", "n_slow_points", "n_cycles", "share_elsewhere")
    print(f"{'static input':20s}  {'fixed':>6s}  {'stable':>6s}  {'slow':>6s}  {'cycles':>6s}  runs that end elsewhere")
    for condition in found["searched_condition"].values:
        row = found.sel(searched_condition=condition).isel(searched_network=0)
        values = [row[name].item() for name in columns]
        print(
            f"{condition:20s}  {values[0]:6d}  {values[1]:6d}  {values[2]:6d}  {values[3]:6d}  {100 * values[4]:.0f} %"
        )
    if chosen.output:
        found.attrs |= attributes(settings.model_dump(), "insd.dynamics.search")
        datasets.write(found, chosen.output, "fixed_points")


def import_network(chosen: argparse.Namespace) -> None:
    """Make a network file from a PyTorch checkpoint."""
    from insd import datasets
    from insd.imported import import_checkpoint
    from insd.provenance import attributes

    trials = datasets.read(chosen.trials, "trials")
    network = import_checkpoint(chosen.checkpoint, trials, chosen.tau, chosen.readout, chosen.nonlinearity, chosen.rnn)
    made = {"checkpoint": str(chosen.checkpoint)}
    if "settings" in trials.attrs:
        made |= {"task": json.loads(trials.attrs["settings"])["task"]}
    network.attrs |= attributes(made, "insd.imported")
    datasets.write(network, chosen.output, "network")
    print(f"{chosen.output}: {network.attrs['architecture']} network of {network.sizes['unit']} units")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="insd", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, *positional: tuple[str, str]) -> argparse.ArgumentParser:
        text = function.__doc__.splitlines()[0]
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=function)
        for argument, meaning in positional:
            added.add_argument(argument, help=meaning)
        return added

    task = ("task", "a task of this library by name, or `module:Class` of your own")
    one = command("train", train, task, ("folder", "new folder for trials and networks"))
    one.add_argument("--seed", type=int, default=0, help="of the network; each gives a different network (default 0)")
    another = command("deflate", deflate, ("folder", "a folder that `insd train` made"))
    for added, sections in ((one, SECTIONS), (another, RECIPE)):
        added.add_argument(
            "--set",
            nargs="+",
            default=[],
            metavar="SECTION.KEY=VALUE",
            dest="changes",
            help=f"settings, such as network.units=50; sections: {', '.join(sections)}; keys: see config/README.md",
        )
    both = command("compare", compare, ("a", "network.nc"), ("b", "network.nc"))
    both.add_argument(
        "--seed", type=int, nargs=2, metavar=("A", "B"), help="seeds, if the files hold several (default: the first)"
    )
    points = command("fixed-points", fixed_points, ("network", "network.nc"))
    points.add_argument("--seed", type=int, help="seed, if the file holds several (default: the first)")
    points.add_argument("--starts", type=int, default=512, help="states to start from (default 512)")
    points.add_argument("--output", help="file for the results, such as fixed_points.nc")
    for added in (both, points):
        added.add_argument("--task", help="the network's task, if its file does not name it")
        added.add_argument("--trials", help="trials to run on (default: 256 new ones of the regime `test`)")
    checkpoint = command("import", import_network, ("checkpoint", CHECKPOINT), ("output", "network.nc"))
    checkpoint.add_argument("--trials", required=True, help="trials that the network was trained for")
    checkpoint.add_argument("--tau", type=float, help="time constant in s, for a dict of matrices")
    checkpoint.add_argument("--readout", default="readout", help="name of the linear readout in the state dict")
    checkpoint.add_argument("--rnn", help="name of the recurrent module, in a state dict that holds several")
    checkpoint.add_argument(
        "--nonlinearity",
        choices=("tanh", "relu", "softplus"),
        help="of a rate network, which files do not say (default: tanh)",
    )
    return parser


def _task_entry(text: str) -> tuple[str, dict[str, Any]]:
    """Name and entry in a config of a task given by its name or by `module:Class`."""
    if ":" not in text:
        return text, {}
    name = "".join(character if character.isalnum() else "_" for character in text.rpartition(":")[2].lower())
    return name, {"class": text}


def _made(settings: "Settings", name: str) -> dict[str, Any]:
    """The record of the task in files."""
    return {"name": name, "parameters": settings.task_parameters(name)}


def _settings(
    name: str,
    entry: Mapping[str, Any],
    recipe: Mapping[str, Any],
    changes: Sequence[str],
    sampled: Mapping[str, int] | None = None,
) -> "Settings":
    """A config of one task and one chain, with the changes of the command line, checked as any other.

    `sampled` gives the numbers of trials if they already exist; then neither they nor the task can change.
    """
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
        try:
            given = json.loads(value)
        except json.JSONDecodeError:
            given = value
        place = places[section]
        # A term has keys of its own; null leaves it out.
        if section == "terms" and given is not None:
            term, _, field = field.rpartition(".")
            place = place.setdefault(term, {})
        place[field] = given
    return load(
        {
            "tasks": {name: {**entry, "parameters": parameters}},
            "trials": trials,
            # Not run; its default could exceed the number of trials.
            "analysis": {"robustness": {"trials": 1}},
            "defaults": defaults,
            "populations": {POPULATION: {"seeds": 1, "rounds": 2, **changed}},
        }
    )


def _train_round(settings: "Settings", name: str, folder: Path, number: int, seed: int) -> None:
    """Train a round in a folder as the workflow's job does, and print the outcome."""
    import numpy as np
    import torch
    import xarray as xr

    from insd import datasets
    from insd.jobs import reuse_freed_memory
    from insd.makers.base import Job, code_of, maker_of, recipe_from
    from insd.provenance import attributes

    torch.set_num_threads(1)
    reuse_freed_memory()
    task, resolved = settings.task(name), settings.made_with(name, POPULATION, number)
    bank, test = (datasets.read(folder / f"{regime}.nc", "trials") for regime in ("train", "test"))
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
    activity, history = result.activity, result.history or xr.Dataset()
    solved = "solved" if activity["solved"].item() else "not solved"
    print(f"{folder}/round-{number}: {solved}, {task.score_name} {activity['score'].item():.3f}")
    if files:
        for variable in (str(name) for name in history if str(name).startswith("held_out_penalty")):
            values = history[variable].isel(seed=0).stack(row=("attempt", "iteration")).dropna("row").isel(row=-1)
            term = variable.removeprefix("held_out_penalty").removeprefix("_") or "S"
            print(f"{term} to each earlier round:", ", ".join(f"{value:.3f}" for value in np.atleast_1d(values)))


def _network(path: str, seed: int | None) -> "xr.Dataset":
    """The network of a seed in a file, or its first."""
    from insd import datasets

    network = datasets.read(path, "network")
    seeds = network["seed"].values.tolist()
    if seed is not None and seed not in seeds:
        raise CommandError(f"{path}: has no seed {seed}; its seeds are: {', '.join(map(str, seeds))}")
    return network.isel(seed=[0 if seed is None else seeds.index(seed)])


def _task(chosen: argparse.Namespace, network: "xr.Dataset") -> "Task":
    """The task that the command names, or that the network was trained on."""
    from insd.settings.tasks import make_task

    if chosen.task:
        name, entry = _task_entry(chosen.task)
        return _settings(name, entry, {}, []).task(name)
    made = json.loads(network.attrs["settings"]).get("task")
    if made is None:
        raise CommandError("the network's file does not say its task; name it by --task")
    return make_task(made["name"], made["parameters"])


def _trials(chosen: argparse.Namespace, network: "xr.Dataset") -> "xr.Dataset":
    """The trials that the command names, or new ones of the network's task."""
    from insd import datasets

    if chosen.trials:
        return datasets.read(chosen.trials, "trials")
    return _task(chosen, network).sample("test", 256, 0)


def _must_fit(network: "xr.Dataset", trials: "xr.Dataset", path: str) -> None:
    for name in ("input", "output"):
        if network.sizes[name] != trials.sizes[name]:
            raise CommandError(
                f"{path}: has {network.sizes[name]} {name}s and the trials {trials.sizes[name]}: they are of different "
                "tasks"
            )
