"""The command `insd`: one network, or one chain of them, without the workflow.

    insd trials flip_flop bank               trials alone, in the folder `bank`
    insd train flip_flop chain               trials and a first network, in the folder `chain`
    insd deflate chain                       a further one, deflated against all before
    insd compare chain/round-0/network.nc chain/round-1/network.nc
    insd fixed-points chain/round-1/network.nc
    insd inspect checkpoint.pt               its tensors, and as which network they would be read
    insd import checkpoint.pt network.nc --trials chain/test.nc
    insd score network.nc chain/test.nc      loss and score of its outputs
    insd errors responses.csv                shares of swaps and guesses among responses to several items

`insd COMMAND --help` lists the options of each.
"""

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insd.chains import RECIPE, SECTIONS, CommandError, sample_trials, settings_of, stored, task_entry, train_round
from insd.errors import InsdError

# Everything else is imported by the command that needs it: `insd --help` should not take seconds.
if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from insd.tasks import Task

MOST_STARTS = 1_000_000
"""More states to start from than memory holds."""
MOST_RESAMPLES = 100_000
"""More than anyone waits for."""
CHECKPOINT = "made by torch.save, or an npz, MATLAB (.mat) or HDF5 (.h5) file of arrays"
"""What `insd import` and `insd inspect` read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, or 1 after an error, reported in one line. Wrong usage exits with 2."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("insd").setLevel(logging.INFO)
    # Classes of the user's own are found from where the command is typed.
    sys.path.append(str(Path.cwd()))
    try:
        _must_be_names([text for text in vars(chosen).values() if isinstance(text, str)])
        chosen.command(chosen)
        sys.stdout.flush()
    except BrokenPipeError:
        # What reads the output, such as `head`, has had enough. Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InsdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _must_be_names(texts: Sequence[str]) -> None:
    """Refuse names of files that NetCDF cannot write: they must be text in UTF-8."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise CommandError(f"{text!a}: is not UTF-8, which names of NetCDF files must be") from None


def _folder(text: str) -> Path:
    if not text:
        raise CommandError("the folder's name is empty; give it a name, or `.` for where you are")
    return Path(text)


def entry_point() -> None:
    """The entry point of the installed command."""
    sys.exit(main())


def trials(chosen: argparse.Namespace) -> None:
    """Sample the trials of a task, without a network."""
    name, entry = task_entry(chosen.task)
    # Whether they are enough to train on is not asked.
    settings = settings_of(name, entry, {"training": {"validation_trials": 1, "batch_size": 1}}, chosen.changes)
    known, folder = settings.task(name).regime_names(), _folder(chosen.folder)
    if unknown := [regime for regime in chosen.regime or () if regime not in known]:
        raise CommandError(f"--regime {unknown[0]}: choose from {', '.join(known)}")
    chosen_regimes = chosen.regime or ["train", "test"]
    if there := [regime for regime in chosen_regimes if (folder / f"{regime}.nc").exists()]:
        raise CommandError(f"{folder}/{there[0]}.nc: is there already; choose a different folder, or delete it")
    sample_trials(settings, name, folder, chosen_regimes)
    print("\n".join(f"{folder}/{regime}.nc" for regime in chosen_regimes))


def train(chosen: argparse.Namespace) -> None:
    """Sample trials and train a first network."""
    name, entry = task_entry(chosen.task)
    settings = settings_of(name, entry, {}, chosen.changes)
    folder = _folder(chosen.folder)
    if (folder / "round-0").exists():
        raise CommandError(f"{folder}/round-0: is there already; choose another folder, or `insd deflate {folder}`")
    sample_trials(settings, name, folder, ("train", "test"))
    train_round(settings, name, folder, 0, chosen.seed)


def deflate(chosen: argparse.Namespace) -> None:
    """Train the next network of a folder, deflated against all earlier ones, with the settings of the last."""

    folder = Path(chosen.folder)
    rounds = 0
    while (folder / f"round-{rounds}").exists():
        rounds += 1
    if rounds == 0:
        raise CommandError(f"{folder}: holds no round-0; begin with `insd train TASK {folder}`")
    path = folder / f"round-{rounds - 1}/network.nc"
    latest = stored(path, "network")
    made = json.loads(latest.attrs["settings"])
    name, parameters = made["task"]["name"], dict(made["task"]["parameters"])
    entry = {"parameters": parameters}
    if "class" in parameters:
        entry["class"] = parameters.pop("class")["path"]
    sizes = {
        key: stored(folder / f"{regime}.nc", "trials").sizes["trial"]
        for key, regime in (("train", "train"), ("evaluation", "test"))
    }
    try:
        settings = settings_of(name, entry, made["recipe"], chosen.changes, sizes)
    except InsdError:
        try:
            settings_of(name, entry, made["recipe"], [], sizes)
        except InsdError as error:
            raise CommandError(
                f"{path}: this version cannot use the settings that it was made with (commit "
                f"{latest.attrs.get('git_commit', 'none')}); use that version, or begin a new chain: {error}"
            ) from None
        raise
    train_round(settings, name, folder, rounds, int(latest["seed"][0]))


def compare(chosen: argparse.Namespace) -> None:
    """Predictivity in both directions and similarity measures between two networks."""
    import numpy as np

    from insd.activity import simulate_trials
    from insd.analysis.similarity import SimilaritySettings
    from insd.measures.base import find_measures
    from insd.measures.pairs import prepare, similarity
    from insd.samples import valid_steps

    seeds = chosen.seed or (None, None)
    networks = [_network(path, seed) for path, seed in zip((chosen.a, chosen.b), seeds, strict=True)]
    trials = _trials(chosen, networks[0])
    measures = find_measures(chosen.measures or SimilaritySettings().measures)
    prepared, outputs = {}, {}
    for label, path, network in zip("AB", (chosen.a, chosen.b), networks, strict=True):
        _must_fit(network, trials, path)
        simulated, outputs[label] = simulate_trials(network, trials)
        rates = simulated[0].numpy()
        if not np.isfinite(rates[valid_steps(trials)]).all():
            raise CommandError(
                f"{path}: its activity on these trials grows beyond all numbers; nothing can be compared"
            )
        prepared[label] = prepare(rates, network["output_weights"].values[0], measures)
    predictivity, similarities = similarity(prepared, measures, 0)
    for label, path, network in zip("AB", (chosen.a, chosen.b), networks, strict=True):
        print(f"{label} = {path}, seed {network['seed'].item()}")
    print(f"on {trials.sizes['trial']} trials\n")
    made = json.loads(trials.attrs.get("settings", "{}")).get("task")
    if chosen.task or not chosen.trials or made:
        task = _task(chosen, trials if made else networks[0])
        for label, network in zip("AB", networks, strict=True):
            _print_score(task, network, outputs[label], trials, label)
        print()
    without = [label for label, network in zip("AB", networks, strict=True) if _why_no_null_space(network)]
    print(f"{'linear predictivity r2':30s}  {'full':>6s}  {'null':>6s}")

    def row(name: str, full: float, null: float) -> None:
        print(f"{name:30s}  {full:6.3f}  {math.nan if without else null:6.3f}")

    for predictor, target in ("AB", "BA"):
        row(f"{predictor} -> {target}", *predictivity["r2"].sel(predictor=predictor, target=target).values)
    between = similarities["value"].sel(network="A", network_to="B")
    for measure in measures:
        values = (float(between.sel(measure=f"{measure.name}_{space}")) for space in ("full", "null"))
        row(f"{measure.name} ({measure.kind})", *values)
    for label in without:
        print(f"\nnull: {label}: {_why_no_null_space(networks['AB'.index(label)])}")


def plot(chosen: argparse.Namespace) -> None:
    """Draw the rounds of a chain side by side: activity, fixed points, spectra, predictivity, decoding."""
    import torch

    from insd.chains import draw_chain

    torch.set_num_threads(1)
    output = Path(chosen.output or Path(chosen.folder) / "mechanism.png")
    if output.suffix not in (".png", ".svg", ".pdf"):
        raise CommandError(f"{output}: a figure is a .png, .svg or .pdf; name one of these")
    _must_be_a_file(str(output))
    shown = draw_chain(Path(chosen.folder), output)
    print(f"{output}: {', '.join(shown)}")


def fixed_points(chosen: argparse.Namespace) -> None:
    """Fixed points, slow points and cycles of a network under each static input of its task."""
    import torch

    from insd import datasets
    from insd.dynamics import search
    from insd.dynamics.settings import FixedPoints
    from insd.members import Member
    from insd.provenance import attributes

    torch.set_num_threads(1)
    if not 2 <= chosen.starts <= MOST_STARTS:
        raise CommandError(f"--starts {chosen.starts}: from 2 to {MOST_STARTS}")
    if chosen.output:
        _must_be_a_file(chosen.output, chosen.network, *([chosen.trials] if chosen.trials else []))
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


def inspect(chosen: argparse.Namespace) -> None:
    """Print the tensors of a checkpoint, the network that they would be read as, and the lines for the config."""
    from insd.inspection import look
    from insd.layouts import Said

    trials = stored(chosen.trials, "trials") if chosen.trials else None
    found = look(chosen.checkpoint, trials, Said(*_said(chosen)))
    print("\n".join(found.lines))
    if found.problem:
        raise CommandError(found.problem)


def _said(chosen: argparse.Namespace) -> tuple[Any, ...]:
    """What the command says of the networks in a checkpoint, in the order of `import_checkpoint`."""
    mapping = dict(one.partition("=")[::2] for one in chosen.mapping)
    if unnamed := [weight for weight, name in mapping.items() if not name]:
        raise CommandError(f"--mapping {unnamed[0]}: say WEIGHT=NAME, as in recurrent_weights=model.W")
    return chosen.tau, chosen.readout, chosen.nonlinearity, chosen.rnn, chosen.leaky, mapping, chosen.ignore


def import_network(chosen: argparse.Namespace) -> None:
    """Make a network file from a checkpoint."""
    from insd import datasets
    from insd.imported import import_checkpoint
    from insd.inspection import kind_of
    from insd.provenance import attributes
    from insd.tensor_files import UnsaidError

    _must_be_a_file(chosen.output, chosen.checkpoint, chosen.trials)
    trials = stored(chosen.trials, "trials")
    try:
        network = import_checkpoint(chosen.checkpoint, trials, *_said(chosen))
    except UnsaidError as error:
        raise CommandError(f"{error.problem}; give it, as in `--{error.setting} {error.example}`") from None
    made: dict[str, Any] = {"checkpoint": str(chosen.checkpoint)}
    if "settings" in trials.attrs:
        made |= {"task": json.loads(trials.attrs["settings"])["task"]}
    network.attrs |= attributes(made, "insd.imported")
    datasets.write(network, chosen.output, "network")
    several = f", {network.sizes['seed']} of them, as seeds" if network.sizes["seed"] > 1 else ""
    kind = kind_of(network.attrs["architecture"], network.attrs["nonlinearity"])
    print(f"{chosen.output}: {kind} of {network.sizes['unit']} units{several}")
    if why := _why_no_null_space(network):
        print(f"{chosen.output}: {why}; it can be neither deflated nor compared there")
    if "task" in made:
        from insd.settings.tasks import make_task

        task = make_task(made["task"]["name"], made["task"]["parameters"])
        first = network.isel(seed=[0])
        _print_score(task, first, _outputs(first, trials, chosen.output), trials, chosen.output)


def score(chosen: argparse.Namespace) -> None:
    """Loss and score of a network's outputs on trials of its task."""

    network, trials = _network(chosen.network, chosen.seed), stored(chosen.trials, "trials")
    outputs = _outputs(network, trials, chosen.network)
    _print_score(_task(chosen, trials), network, outputs, trials, chosen.network)


def errors(chosen: argparse.Namespace) -> None:
    """Fit a mixture of the cued item, swaps and guesses to a table of responses."""
    from insd.behaviour.mixtures import COMPONENTS, fit_mixture
    from insd.behaviour.response_tables import read_responses

    if not 0 <= chosen.resamples <= MOST_RESAMPLES:
        raise CommandError(f"--resamples {chosen.resamples}: from 0 to {MOST_RESAMPLES}")
    table = read_responses(chosen.table, chosen.degrees)
    trials = table.responses, table.items, table.cued
    largest = max(abs(angle) for part in trials[:2] for angle in part.ravel() if math.isfinite(angle))
    if chosen.degrees and largest <= 2 * math.pi * math.pi / 180:
        print(f"{chosen.table}: no angle is above 6.3 degrees; leave out --degrees if they are in rad", file=sys.stderr)
    mixture = fit_mixture(*trials, resamples=chosen.resamples, seed=chosen.seed)
    intervals = mixture.intervals or {}

    def row(name: str, value: float, of: str) -> None:
        ends = "  ({:.3f} to {:.3f})".format(*intervals[of]) if of in intervals else ""
        print(f"{name:30s}  {value:8.3f}{ends}")

    print(f"{chosen.table}: {mixture.trials} trials, up to {table.items.shape[1]} items")
    for name in COMPONENTS:
        row(f"weight, {name}", mixture.weights[name], name)
    row("concentration (kappa)", mixture.concentration, "concentration")
    print(f"{'circular SD (deg)':30s}  {math.degrees(mixture.sd):8.2f}")
    print(f"{'log-likelihood':30s}  {mixture.log_likelihood:8.1f}")
    if table.items.shape[1] > 1:
        without = fit_mixture(*trials, components=("cued", "uniform"))
        print(f"{'BIC without swaps minus with':30s}  {without.bic - mixture.bic:8.1f}")


def _outputs(network: "xr.Dataset", trials: "xr.Dataset", path: str) -> "Tensor":
    from insd.activity import simulate_trials

    _must_fit(network, trials, path)
    return simulate_trials(network, trials)[1]


def _print_score(task: "Task", network: "xr.Dataset", outputs: "Tensor", trials: "xr.Dataset", path: str) -> None:
    from insd.activity import free_running_score, loss_and_score

    (loss,), (score,) = loss_and_score(task, outputs, trials)
    if json.loads(trials.attrs.get("settings", "{}")).get("regime") == "train":
        (score,) = free_running_score(task, network, outputs, trials)
    solved = "solved" if task.solved(score) else "not solved"
    floor = task.floor(trials)
    ideal = "" if floor is None else f" (lowest possible: {floor:.2g}, of an ideal observer of the inputs)"
    count = trials.sizes["trial"]
    print(f"{path}: {solved}, {task.score_name} {score:.3f}, task loss {loss:.4f}{ideal} on {count} trials")


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

    task = ("task", "a task of this library by name, `module:Class` of your own, or recorded:FILE")
    bank = command("trials", trials, task, ("folder", "where to write them"))
    bank.epilog = "How many: --set trials.train=2048 for the regime train, trials.evaluation=256 for every other."
    bank.add_argument("--regime", nargs="+", help="the regimes to sample (default: train and test)")
    one = command("train", train, task, ("folder", "new folder for trials and networks"))
    one.add_argument("--seed", type=_seed, default=0, help="of the network; each gives a different network (default 0)")
    another = command("deflate", deflate, ("folder", "a folder that `insd train` made"))
    for added, sections in ((bank, ("trials", "task")), (one, SECTIONS), (another, RECIPE)):
        added.add_argument(
            "--set",
            nargs="+",
            default=[],
            metavar="SECTION.KEY=VALUE",
            dest="changes",
            help=f"settings, such as network.units=50; sections: {', '.join(sections)}; keys: see config/README.md",
        )
    drawn = command("plot", plot, ("folder", "a folder that `insd train` made"))
    drawn.add_argument("--output", help="file for the figure (default: mechanism.png in the folder)")
    both = command("compare", compare, ("a", "network.nc"), ("b", "network.nc"))
    both.add_argument(
        "--seed", type=int, nargs=2, metavar=("A", "B"), help="seeds, if the files hold several (default: the first)"
    )
    both.add_argument(
        "--measures", nargs="+", help="by name, or `module:Class` of your own (default: those of the config)"
    )
    points = command("fixed-points", fixed_points, ("network", "network.nc"))
    points.add_argument("--seed", type=int, help="seed, if the file holds several (default: the first)")
    points.add_argument("--starts", type=int, default=512, help="states to start from (default 512)")
    points.add_argument("--output", help="file for the results, such as fixed_points.nc")
    for added in (both, points):
        added.add_argument("--task", help="the network's task, if its file does not name it")
        added.add_argument("--trials", help="trials to run on (default: 256 new ones of the regime `test`)")
    scored = command("score", score, ("network", "network.nc"), ("trials", "trials of its task, such as test.nc"))
    scored.add_argument("--seed", type=int, help="seed, if the file holds several (default: the first)")
    scored.add_argument("--task", help="the task, if the trials do not name it")
    fitted = command(
        "errors",
        errors,
        ("table", "CSV file, one trial a row: response, cue (1 for the first item), item_1, item_2, ..."),
    )
    fitted.add_argument("--degrees", action="store_true", help="angles are in degrees (default: rad)")
    fitted.add_argument(
        "--resamples", type=int, default=200, help="of the bootstrap for 95 %% intervals (default 200; 0 for none)"
    )
    fitted.add_argument("--seed", type=_seed, default=0, help="of the bootstrap (default 0)")
    checkpoint = command("import", import_network, ("checkpoint", CHECKPOINT), ("output", "network.nc"))
    checkpoint.add_argument("--trials", required=True, help="trials that the network was trained for")
    seen = command("inspect", inspect, ("checkpoint", CHECKPOINT))
    seen.add_argument("--trials", help="trials that the network was trained for (default: its inputs are not checked)")
    for added in (checkpoint, seen):
        added.add_argument("--tau", type=float, help="time constant in s, for a dict of matrices")
        added.add_argument("--readout", default="readout", help="name of the linear readout in the state dict")
        added.add_argument("--rnn", help="name of the recurrent module, in a state dict that holds several")
        added.add_argument(
            "--nonlinearity",
            choices=("tanh", "relu", "softplus"),
            help="of a rate network, which files do not say (default for matrices: tanh)",
        )
        added.add_argument(
            "--leaky",
            choices=("states", "rates"),
            default="states",
            help="what leaks in a network of matrices: its states x, with rates f(x), or its rates (default: states)",
        )
        added.add_argument(
            "--mapping",
            nargs="+",
            default=[],
            metavar="WEIGHT=NAME",
            help="names of weights in a file of an unknown layout, such as input_weights=model.W_in.T",
        )
        added.add_argument(
            "--ignore", nargs="+", default=[], metavar="NAME", help="tensors that the network runs without, or patterns"
        )
    return parser


def _seed(text: str) -> int:
    """A seed as files can hold it."""
    try:
        seed = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number") from None
    if not 0 <= seed < 2**63:
        raise argparse.ArgumentTypeError(f"{text}: from 0 to {2**63 - 1}")
    return seed


def _network(path: str, seed: int | None) -> "xr.Dataset":
    """The network of a seed in a file, or its first, in single precision as all that is simulated."""
    import numpy as np

    network = stored(path, "network")
    network = network.assign(
        {name: values.astype(np.float32) for name, values in network.items() if values.dtype == np.float64}
    )
    seeds = network["seed"].values.tolist()
    if seed is not None and seed not in seeds:
        raise CommandError(f"{path}: has no seed {seed}; its seeds are: {', '.join(map(str, seeds))}")
    return network.isel(seed=[0 if seed is None else seeds.index(seed)])


def _task(chosen: argparse.Namespace, network: "xr.Dataset") -> "Task":
    """The task that the command names, or that the network was trained on."""
    from insd.settings.tasks import make_task

    if chosen.task:
        name, entry = task_entry(chosen.task)
        return settings_of(name, entry, {}, []).task(name)
    made = json.loads(network.attrs.get("settings", "{}")).get("task")
    if made is None:
        raise CommandError("the file does not say its task; name it by --task")
    return make_task(made["name"], made["parameters"])


def _trials(chosen: argparse.Namespace, network: "xr.Dataset") -> "xr.Dataset":
    """The trials that the command names, or new ones of the network's task."""

    if chosen.trials:
        return stored(chosen.trials, "trials")
    return _task(chosen, network).sample("test", 256, 0)


def _must_be_a_file(output: str, *inputs: str) -> None:
    """Refuse to write over what is read, or where writing would not make a file."""
    path = Path(output)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise CommandError(f"{output}: is a link, a folder or a device; name a file")
    if path.exists() and any(Path(one).exists() and path.samefile(one) for one in inputs):
        raise CommandError(f"{output}: is what the command reads; choose a different name")


def _must_fit(network: "xr.Dataset", trials: "xr.Dataset", path: str) -> None:
    from insd.samples import other_sizes

    sizes = {name: network.sizes[name] for name in ("input", "output")}
    if why := other_sizes(sizes, trials):
        raise CommandError(f"{path}: {why}")
    own, given = float(network.attrs["dt"]), float(trials.attrs["dt"])
    if not math.isclose(own, given):
        raise CommandError(
            f"{path}: runs at the time step dt = {own:g} s, and the trials are at {given:g} s, where it would be a "
            f"different network; give it trials at its own step (--trials, or a task with dt = {own:g})"
        )


def _why_no_null_space(network: "xr.Dataset") -> str | None:
    from insd.readouts import why_no_null_space

    return why_no_null_space(network["output_weights"].values[0])
