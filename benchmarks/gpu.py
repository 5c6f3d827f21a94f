"""Training on a GPU: what it takes, next to the same without our kernels, to the products alone, and to other tools.

    python benchmarks/gpu.py [ROWS]

Measures for less than six minutes, the cheapest first, and appends each row to the file ROWS (`gpu.jsonl`) as soon as
it has it, so that a stop loses nothing. Where there is no GPU, the page is written from that file if it is there.
"""

import copy
import json
import os
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from common import PAGE, Bound, table, verdicts, write_section
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from training import ALPHA, BATCH, NOISE, STEPS, TASK, PlainRNN, attempt, jax_scan, ours

from insd.activity import record_activity
from insd.bank import Bank
from insd.devices import CPU, describe, device_of
from insd.networks.engine import bptt
from insd.networks.engine.bptt import simulate_outputs
from insd.networks.engine.keyed import KeyedNoise
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.objectives.base import Stored, join_earlier
from insd.settings.config import Settings, seeds_of
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.training import train_round

TITLE = "A GPU full of networks"
CONFIG = Path(__file__).resolve().parent.parent / "config" / "config.yaml"
MOST_SECONDS = 350.0
TOLERANCE = 1e-5
"""Largest difference from the CPU's numbers in double precision, relative to the largest of them."""
COUNTS = (1, 10, 40, 100, 400)
OURS, GRAPH = "one kernel", "graph"
"""The loop over time as one kernel, and as a CUDA graph of one kernel or more for each step."""
NOT_MEASURED = (
    "**Not measured yet**: no machine with a GPU was at hand. `python benchmarks/gpu.py` on one writes this section in "
    "less than six minutes. The bounds that it reports on: an iteration of 40 networks of one task (100 units) in at "
    "most 2 ms and of 400 in at most 10 ms; one that is deflated against two earlier networks in at most 1.5 plain "
    "ones; all training of the paper's grid in at most 60 s; numbers equal to the CPU's to 1e-5."
)

Row = dict[str, Any]


def main() -> None:
    """Measure and write the section."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "gpu.jsonl")
    if torch.cuda.is_available():
        file.unlink(missing_ok=True)
        _Measurement(file).run()
    if file.exists():
        write_section(TITLE, page([json.loads(line) for line in file.read_text().splitlines()]))
    elif not PAGE.exists() or f"## {TITLE}" not in PAGE.read_text():
        write_section(TITLE, NOT_MEASURED)
    else:
        print("no GPU here: nothing was measured")


class _TimeIsUpError(Exception):
    """What was measured took too long."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt what runs within with `_TimeIsUpError` after so long."""

    def interrupt(*_: object) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Measurement:
    """All measurements on one GPU, whose rows go to a file."""

    def __init__(self, file: Path):
        self.file, self.started = file, time.monotonic()
        self.gpu = device_of("cuda")
        self.bank = TASK.sample("train", 2048, 0).assign_attrs(fingerprint="of the benchmark")
        self.test = TASK.sample("test", 64, 1).assign_attrs(fingerprint="of the test")

    def run(self) -> None:
        """Measure one thing after the other, each for a limited time; what fails is a row with the reason."""
        torch.set_num_threads(1)
        for seconds, measure in (
            (30, self.machine),
            (40, self.equal),
            (60, self.iterations),
            (20, self.kernels),
            (40, self.sizes),
            (40, self.deflated),
            (40, self.solved),
            (40, self.vmap),
            (60, self.jax),
            (90, self.papers_grid),
            (90, self.settings),
            (120, self.compiled),
        ):
            left = MOST_SECONDS - (time.monotonic() - self.started)
            begun = time.monotonic()
            try:
                with _at_most(min(seconds, left)):
                    measure()
            except _TimeIsUpError:
                self.row("failed", what=measure.__name__, reason=f"time was up ({min(seconds, left):.0f} s)")
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
                self.row("failed", what=measure.__name__, reason=reason)
            torch.cuda.empty_cache()
            self.row("time", what=measure.__name__, seconds=round(time.monotonic() - begun, 1))

    def row(self, kind: str, **values: Any) -> None:
        """Keep a row, and print it."""
        line = json.dumps({"kind": kind, **values})
        print(line, flush=True)
        with self.file.open("a") as rows:
            rows.write(line + "\n")

    def machine(self) -> None:
        """The card, and what one core takes for an iteration of one network."""
        step = ours(attempt(self.bank, 100))
        times = []
        for _ in range(12):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        exact = torch.get_float32_matmul_precision() == "highest"
        triton = __import__("triton").__version__ if bptt.persistent else "none"
        self.row(
            *("machine",),
            **{"gpu": describe(self.gpu), "torch": torch.__version__, "triton": triton, "exact": exact},
            core_ms=1e3 * statistics.median(times[2:]),
            loops="with" if bptt.COMPILED else "without",
        )

    def equal(self) -> None:
        """Differences of outputs and gradients from the CPU's in double precision, by nonlinearity."""
        for nonlinearity in NONLINEARITIES:
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                with _by(kernels):
                    outputs, gradient = _differences(self.gpu, nonlinearity)
                self.row("equal", nonlinearity=nonlinearity, by=name, outputs=outputs, gradient=gradient)

    def iterations(self) -> None:
        """Plain iterations by number of networks, with our kernels and by graphs."""
        for count in COUNTS:
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                with _by(kernels):
                    torch.cuda.reset_peak_memory_stats()
                    ms = _iteration_ms(ours(attempt(self.bank, 100, networks=count, device=self.gpu)))
                memory = torch.cuda.max_memory_allocated() / 2**20
                self.row("iteration", networks=count, units=100, by=name, ms=ms, memory=memory)
                torch.cuda.empty_cache()

    def kernels(self) -> None:
        """Our kernels alone, and the floor: the products of an iteration alone."""
        for count in (40, 400):
            for name, function in _parts(count, self.gpu).items():
                self.row("part", networks=count, what=name, ms=_device_ms(function))

    def sizes(self) -> None:
        """Networks of other sizes."""
        for units in (64, 256):
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                if units == 256 and kernels:
                    continue  # for these the kernels are not used
                with _by(kernels):
                    ms = _iteration_ms(ours(attempt(self.bank, units, networks=40, device=self.gpu)))
                self.row("iteration", networks=40, units=units, by=name, ms=ms)
                torch.cuda.empty_cache()

    def deflated(self) -> None:
        """Iterations of 24 networks without earlier ones and against two."""
        earlier = _two_earlier(self.gpu, 24)
        for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
            with _by(kernels):
                for count, stored in ((0, None), (2, earlier)):
                    run = attempt(_small_bank(), 100, earlier=stored, networks=24, device=self.gpu)
                    self.row("deflated", networks=24, earlier=count, by=name, ms=_iteration_ms(ours(run)))

    def solved(self) -> None:
        """Forty networks from the start to the end of training."""
        recipe = Recipe.model_validate({"training": {"iterations": 1500, "restarts": 0, "patience": 10_000}})
        names = [("flip_flop", "benchmark", seed, 0) for seed in range(40)]
        start = time.monotonic()
        network, _ = train_round(TASK, self.bank, recipe, names, device=self.gpu)
        seconds = time.monotonic() - start
        solved = int(record_activity(network, TASK, self.bank, self.test, recipe.terms)["solved"].sum())
        self.row("solved", networks=40, iterations=1500, seconds=seconds, solved=solved)

    def vmap(self) -> None:
        """Forty networks as one writes it in PyTorch."""
        self.row(
            "peer", what="plain autograd, `vmap`", networks=40, ms=_iteration_ms(_vmapped(self.bank, 40, self.gpu))
        )

    def jax(self) -> None:
        """Forty networks as one writes it in JAX, in single precision."""
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        import jax  # noqa: PLC0415

        if jax.default_backend() != "gpu":
            return
        jax.config.update("jax_default_matmul_precision", "highest")
        for count in (40, 400):
            step = jax_scan(self.bank, 100, count)
            self.row("peer", what="JAX, `vmap` of `lax.scan`", networks=count, ms=_iteration_ms(step))

    def papers_grid(self) -> None:
        """Train the rounds of the paper's grid one after another, all seeds of a population in a job.

        A job may restart its networks, and its time cannot be told before.
        """
        settings = load({**yaml.safe_load(CONFIG.read_text()), "seeds_per_job": 10})
        jobs = [
            (task, population, block, settings.trained_rounds(population))
            for task in settings.tasks
            for population in settings.populations
            for block in settings.seed_blocks(population)
        ]
        self.row("grid", jobs=sum(len(rounds) for *_, rounds in jobs))
        for task, population, block, rounds in jobs:
            self._chain(settings, task, population, block, rounds)

    def _chain(self, settings: Settings, task: str, population: str, block: str, rounds: range) -> None:
        """Train the rounds of one block of seeds."""
        made = settings.task(task)
        bank, test = (
            made.sample(regime, count, number).assign_attrs(fingerprint=regime)
            for number, (regime, count) in enumerate((("train", settings.trials.train), ("test", 64)))
        )
        activities = []
        for number in rounds:
            recipe = settings.recipe(task, population, number)
            names = [(task, population, seed, number) for seed in seeds_of(block)]
            files = [f"round {earlier}" for earlier in range(number)]
            earlier = join_earlier(recipe.terms, activities, bank, files) if activities else None
            start = time.monotonic()
            network, history = train_round(made, bank, recipe, names, earlier, device=self.gpu)
            seconds = time.monotonic() - start
            attempts = int(history.sizes["attempt"])
            self.row(
                "job",
                **{"task": task, "population": population, "round": number, "networks": len(names)},
                **{"attempts": attempts, "seconds": seconds},
            )
            if number + 1 in rounds:
                activities.append(record_activity(network, made, bank, test, recipe.terms))

    def settings(self) -> None:
        """Our loops over time by the trials and warps of a program."""
        kernels = bptt.persistent
        if kernels is None:
            return
        kept = kernels.TILE, kernels.WARPS
        try:
            for trials, warps in ((16, 8), (16, 4), (16, 16), (32, 8)):
                kernels.TILE, kernels.WARPS = trials, warps
                parts = _parts(400, self.gpu)
                ms = [_device_ms(parts[name]) for name in ("forward", "backward")]
                self.row("setting", trials=trials, warps=warps, ms=ms)
        finally:
            kernels.TILE, kernels.WARPS = kept

    def compiled(self) -> None:
        """The same by PyTorch's compiler, which takes the loop over time apart."""
        start = time.monotonic()
        step = _vmapped(self.bank, 40, self.gpu, torch.compile)
        step()
        torch.cuda.synchronize()
        self.row(
            *("peer",),
            **{"what": f"`torch.compile` of it ({time.monotonic() - start:.0f} s to compile)", "networks": 40},
            ms=_iteration_ms(step),
        )


@contextmanager
def _by(kernels: Any) -> Iterator[None]:
    """With these kernels for the loop over time; with None by graphs."""
    kept, bptt.persistent = bptt.persistent, kernels
    try:
        yield
    finally:
        bptt.persistent = kept


def _iteration_ms(step: Callable[[], object], seconds: float = 1.0) -> float:
    """Milliseconds of an iteration among many: the median of runs of ten, after a few that do not count."""
    for _ in range(8):
        step()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times) / 10


def _device_ms(function: Callable[[], object]) -> float:
    """Milliseconds on the GPU, by its own clock: the median of 20 after three that do not count."""
    times = []
    for _ in range(23):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[3:])


def _parts(networks: int, gpu: torch.device) -> dict[str, Callable[[], object]]:
    """Our kernels on random numbers, and the products of an iteration alone, by name."""
    torch.manual_seed(0)
    units, channels, samples = 100, 3, STEPS * BATCH

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(networks, *shape, device=gpu)

    inputs, recurrent, errors = draw(STEPS, BATCH, channels), draw(units, units) / 10, draw(STEPS, BATCH, channels)
    weights = recurrent, draw(units, channels), draw(units), draw(units)
    readout, rates, states = draw(channels, units), draw(STEPS + 1, BATCH, units).tanh_(), draw(STEPS, BATCH, units)
    noise = KeyedNoise(torch.arange(networks, device=gpu), torch.tensor(1, device=gpu), NOISE)
    found: dict[str, Callable[[], object]] = {}
    if kernels := bptt.persistent:
        found = {
            "forward": lambda: kernels.forward(inputs, *weights, noise, ALPHA, 0, rates),
            "forward without noise": lambda: kernels.forward(inputs, *weights, None, ALPHA, 0, rates),
            "backward": lambda: kernels.backward(errors, None, 1, rates, recurrent, readout, ALPHA, 0, states),
            "gradients of weights": lambda: kernels.weight_gradients(inputs, errors, rates, states, ALPHA),
        }
    flat, hidden = states.view(networks, samples, units), rates[:, :-1].flatten(1, 2)
    driving, wrong = inputs.flatten(1, 2), errors.flatten(1, 2)
    into = torch.empty_like(flat)

    def floor() -> None:
        torch.bmm(driving, weights[1].mT, out=into)
        torch.bmm(hidden, recurrent.mT, out=into)
        torch.bmm(hidden, readout.mT)
        torch.bmm(wrong, readout, out=into)
        torch.bmm(flat, recurrent, out=into)
        torch.bmm(flat.mT, hidden)
        torch.bmm(driving.mT, flat)
        torch.bmm(wrong.mT, hidden)

    return {**found, "floor: the products of an iteration": floor}


def _differences(gpu: torch.device, nonlinearity: str) -> tuple[float, float]:
    """Largest difference of an output and of a gradient from the CPU's in double precision, relative to the largest."""
    torch.manual_seed(0)
    gain = {"tanh": 1.0}.get(nonlinearity, 0.7)
    shapes = [(4, STEPS, BATCH, 3), (4, 100, 100), (4, 100, 3), (4, 100), (4, 100), (4, 3, 100), (4, 3)]
    scales = [1.0, gain / 10, 1.0, 0.3, 0.3, 0.1, 0.3]
    arguments = [scale * torch.randn(shape, dtype=torch.float64) for scale, shape in zip(scales, shapes, strict=True)]
    noise, weights = 0.05 * torch.randn(4, STEPS, BATCH, 100), torch.randn(4, STEPS, BATCH, 3)
    found = []
    for device, kind in ((CPU, torch.float64), (gpu, torch.float32)):
        there = [argument.to(device, kind).requires_grad_() for argument in arguments]
        outputs, _ = simulate_outputs(*there, noise.to(device, kind), ALPHA, None, None, nonlinearity)
        gradients = torch.autograd.grad((outputs * weights.to(device, kind)).sum(), there)
        found.append([one.detach().double().cpu() for one in (outputs, *gradients)])
    first, *others = (float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
    return first, max(others)


def _small_bank() -> Any:
    return TASK.sample("train", 512, 0).assign_attrs(fingerprint="of the benchmark")


def _two_earlier(gpu: torch.device, networks: int) -> Mapping[str, Stored]:
    """What a round reads of two briefly trained ones."""
    recipe = Recipe.model_validate({"training": {"iterations": 300, "restarts": 0, "validation_trials": 64}})
    bank, activities = _small_bank(), []
    for number in range(2):
        names = [("flip_flop", "benchmark", seed, number) for seed in range(networks)]
        network, _ = train_round(TASK, bank, recipe, names, device=gpu)
        activities.append(record_activity(network, TASK, bank, bank, recipe.terms))
    return join_earlier(recipe.terms, activities, bank, ["first", "second"])


def _vmapped(
    bank: Any, networks: int, gpu: torch.device, compiled: Callable[[Any], Any] = lambda function: function
) -> Callable[[], object]:
    """One iteration of several plain networks side by side, with one gradient for all."""
    trials = Bank.from_trials(bank).to(gpu)
    parts = [part.contiguous() for part in (trials.inputs, trials.targets, trials.mask)]
    made = [PlainRNN(parts[0].shape[-1], 100, parts[1].shape[-1]).to(gpu) for _ in range(networks)]
    weights, _ = stack_module_state(made)
    base = copy.deepcopy(made[0]).to("meta")
    optimiser = torch.optim.Adam(weights.values(), lr=1e-3, fused=True)

    def loss(own: Any, inputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(base, own, (inputs,))
        return ((outputs - targets).square() * mask).sum() / mask.sum()

    gradient = compiled(vmap(grad_and_value(loss), in_dims=(0, 1, 1, 1), randomness="different"))

    def step() -> None:
        chosen = torch.stack([torch.randperm(parts[0].shape[1], device=gpu)[:BATCH] for _ in range(networks)])
        found, _ = gradient(weights, *(part[:, chosen] for part in parts))
        norms = torch.stack([one.square().flatten(1).sum(1) for one in found.values()]).sum(0).sqrt()
        scale = 1 / norms.clamp(min=1)
        for name, one in found.items():
            weights[name].grad = one * scale.view(-1, *[1] * (one.ndim - 1))
        optimiser.step()

    return step


def page(rows: Sequence[Row]) -> str:
    """The section, from rows as they are in the file."""
    of = {kind: [row for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}
    if "machine" not in of:
        return "Nothing was measured: " + "; ".join(row["reason"] for row in of.get("failed", []))
    (machine,) = of["machine"]
    text = (
        f"{machine['gpu']}, torch {machine['torch']}, Triton {machine['triton']}. {BATCH} trials of {STEPS} steps of "
        f"the 3-bit flip-flop; one core of that machine, {machine['loops']} compiled loops, takes "
        f"{machine['core_ms']:.1f} ms for an iteration of one network of 100 units. Single "
        f"precision: TF32 is {'off' if machine['exact'] else 'on'}. *{OURS}* is the loop "
        f"over time as one kernel and the iteration as one CUDA graph; *{GRAPH}* is the loop over time as a CUDA graph "
        "of a few kernels for each step, which runs where Triton is not installed and for larger networks.\n\n"
    )
    plain = {(row["networks"], row["units"], row["by"]): row for row in of.get("iteration", [])}
    keys = sorted({key[:2] for key in plain}, key=lambda key: (key[1] != 100, key[1], key[0]))
    shown = []
    for networks, units in keys:
        ours_, graph = (plain.get((networks, units, by), {}) for by in (OURS, GRAPH))
        best = min(row["ms"] for row in (ours_, graph) if row)
        cores = f"{networks * machine['core_ms'] / best:.0f}" if units == 100 else ""
        shown.append([networks, units, _ms(ours_), _ms(graph), cores, _memory(ours_ or graph)])
    head = ["networks", "units", f"ms per iteration, {OURS}", f"ms, {GRAPH}", "cores that it stands for", "MB"]
    text += table(head, shown) + "\n"
    parts = {(row["what"], row["networks"]): row for row in of.get("part", [])}
    names = list(dict.fromkeys(name for name, _ in parts))
    peers = {(row["what"], row["networks"]): row for row in of.get("peer", [])}
    names_of_peers = list(dict.fromkeys(name for name, _ in peers))
    text += "Its parts, the products alone, and the iteration of other tools:\n\n" + table(
        ["", "ms, 40 networks", "ms, 400 networks"],
        [[name, *(_ms(parts.get((name, count), {})) for count in (40, 400))] for name in names]
        + [[name, *(_ms(peers.get((name, count), {})) for count in (40, 400))] for name in names_of_peers],
    )
    if "setting" in of:
        text += "\nForward and backward of 400 networks, by how the loops are divided:\n\n" + table(
            ["trials of a program", "warps", "ms"],
            [[row["trials"], row["warps"], ", ".join(f"{ms:.2f}" for ms in row["ms"])] for row in of["setting"]],
        )
    return text + "\n" + verdicts(_bounds(of, plain)) + _failures(of)


def _memory(row: Row) -> str:
    return f"{row['memory']:.0f}" if "memory" in row else ""


def _ms(row: Row) -> str:
    return f"{row['ms']:.2f}" if "ms" in row else ""


def _bounds(of: Mapping[str, Sequence[Row]], plain: Mapping[tuple[int, int, str], Row]) -> list[Bound]:
    bounds = []
    for networks, most in ((40, 2.0), (400, 10.0)):
        row = plain.get((networks, 100, OURS))
        what = f"an iteration of {networks} networks in at most {most:.0f} ms"
        bounds.append(Bound(what, _ms(row or {}), row and row["ms"] <= most))
    deflated = {row["earlier"]: row["ms"] for row in of.get("deflated", []) if row["by"] == OURS}
    if len(deflated) == 2:
        ratio = deflated[2] / deflated[0]
        shown = f"{ratio:.2f} ({deflated[2]:.2f} and {deflated[0]:.2f} ms)"
        bounds.append(
            Bound("24 networks against two earlier ones in at most 1.5 plain iterations", shown, ratio <= 1.5)
        )
    for row in of.get("solved", []):
        what = "40 networks, 1,500 iterations, in less than 20 s"
        bounds.append(Bound(what, f"{row['seconds']:.1f} s, {row['solved']} solved", row["seconds"] < 20))
    for row in of.get("grid", []):
        done = of.get("job", [])
        seconds = sum(job["seconds"] for job in done)
        whole = len(done) == row["jobs"]
        what = f"training of the paper's grid ({row['jobs']} jobs) in at most 60 s"
        bounds.append(Bound(what, f"{seconds:.0f} s for {len(done)} jobs", seconds <= 60 and whole))
    equal = [row for row in of.get("equal", []) if row["by"] == OURS]
    if equal:
        found = [max(row[name] for row in equal) for name in ("outputs", "gradient")]
        what = f"numbers equal to the CPU's to {TOLERANCE:.0e} of the largest"
        bounds.append(Bound(what, f"outputs {found[0]:.1e}, gradients {found[1]:.1e}", max(found) <= TOLERANCE))
    return bounds


def _failures(of: Mapping[str, Sequence[Row]]) -> str:
    failed = [f"- `{row['what']}`: {row['reason']}\n" for row in of.get("failed", [])]
    return "\nNot measured to the end:\n\n" + "".join(failed) if failed else ""


if __name__ == "__main__":
    main()
