"""Training on a GPU: what it takes, next to the same without our kernels, to the products alone, and to other tools.

    python benchmarks/gpu.py [ROWS [SECTION ...]]

Measures for less than six minutes, the cheapest first, and appends each row to the file ROWS (`gpu.jsonl`) as soon as
it has it, so that a stop loses nothing. Sections are methods of `_Measurement`; without any, all are measured. What was
measured before on the same card stays, unless it is measured again. Where there is no GPU, the page is written from
that file if it is there.
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
from insd.objectives import predictivity
from insd.objectives.base import Stored, join_earlier
from insd.objectives.predictivity import deflation_penalty
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
DEFLATED = 24, 5
"""Networks that are deflated: those of the bound, and those of a chain of the paper's grid."""
PENALTY_SETTINGS: tuple[dict[str, Any], ...] = (
    {"ELIMINATION": (32, 8)},
    {"ELIMINATION": (64, 4)},
    {"ELIMINATION": (32, 4)},
    {"MOMENTS_WARPS": 8},
    {"STAGES": 3},
    {"TILE": 32},
)
"""Of the penalty's kernels, other than those of the library."""
NOT_MEASURED = (
    "**Not measured yet**: no machine with a GPU was at hand. `python benchmarks/gpu.py` on one writes this section in "
    "less than six minutes. The bounds that it reports on: an iteration of 40 networks of one task (100 units) in at "
    "most 2 ms and of 400 in at most 10 ms; one that is deflated against two earlier networks in at most 1.5 plain "
    "ones; all training of the paper's grid in at most 60 s; numbers equal to the CPU's to 1e-5."
)

Row = dict[str, Any]


def main() -> None:
    """Measure and write the section."""
    file, sections = Path(sys.argv[1] if len(sys.argv) > 1 else "gpu.jsonl"), sys.argv[2:]
    if torch.cuda.is_available():
        _Measurement(file).run(sections)
    if file.exists():
        write_section(TITLE, page(merged([json.loads(line) for line in file.read_text().splitlines()])))
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
        self.stored: Mapping[str, Stored] | None = None
        self.gpu = device_of("cuda")
        self.bank = TASK.sample("train", 2048, 0).assign_attrs(fingerprint="of the benchmark")
        self.test = TASK.sample("test", 64, 1).assign_attrs(fingerprint="of the test")

    def run(self, sections: Sequence[str]) -> None:
        """Measure one thing after the other, each for a limited time; what fails is a row with the reason."""
        torch.set_num_threads(1)
        known = {
            "equal": 60,
            "kernels": 20,
            "penalty": 40,
            "iterations": 60,
            "deflated": 60,
            "sizes": 60,
            "profiled": 20,
            "papers_grid": 100,
            "solved": 40,
            "penalty_settings": 90,
            "settings": 90,
            "vmap": 40,
            "jax": 60,
            "compiled": 120,
        }
        if unknown := set(sections) - set(known):
            raise SystemExit(f"no section {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
        for name in ("machine", *(name for name in known if not sections or name in sections)):
            seconds, measure = known.get(name, 30), getattr(self, name)
            self.row("section", what=name)
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
        with _by(bptt.persistent), _streamed(bptt.persistent):
            outputs, gradient = _differences(self.gpu, "tanh", 200)
        self.row("equal", nonlinearity="tanh", units=200, by=OURS, outputs=outputs, gradient=gradient)
        outputs, gradient = _penalty_differences(self.gpu)
        self.row("equal", what="S", by=OURS, outputs=outputs, gradient=gradient)

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
        """Networks of other sizes; those of 256 units by streamed weights as well, with tiles of 16 and 32 trials."""
        for units in (64, 256):
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                for trials in (16, 32) if kernels and units == 256 else (16,):
                    with _by(kernels), _streamed(kernels, trials):
                        ms = _iteration_ms(ours(attempt(self.bank, units, networks=40, device=self.gpu)))
                    by = name if trials == 16 else f"{name}, {trials} trials"
                    self.row("iteration", networks=40, units=units, by=by, ms=ms)
                    torch.cuda.empty_cache()

    def penalty(self) -> None:
        """The penalty alone, forward and backward, by our kernels and by PyTorch."""
        for networks in DEFLATED:
            for name, function in _penalties(networks, self.gpu).items():
                self.row("penalty", networks=networks, what=name, ms=_device_ms(function))

    def penalty_settings(self) -> None:
        """The same with one kernel divided in a different way, for who looks for faster settings."""
        kernels = predictivity.null_space
        if kernels is None:
            return
        kept = {name: getattr(kernels, name) for setting in PENALTY_SETTINGS for name in setting}
        try:
            for setting in PENALTY_SETTINGS:
                for name, value in setting.items():
                    setattr(kernels, name, value)
                ms = [_device_ms(function) for function in list(_penalties(DEFLATED[0], self.gpu).values())[:2]]
                self.row("penalty setting", setting=setting, ms=ms)
                for name, value in kept.items():
                    setattr(kernels, name, value)
        finally:
            for name, value in kept.items():
                setattr(kernels, name, value)

    def deflated(self) -> None:
        """Iterations of networks without earlier ones and against two, and an evaluation."""
        for networks in DEFLATED:
            earlier = self.earlier(networks)
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                with _by(kernels):
                    for count, stored in ((0, None), (2, earlier)):
                        run = attempt(_small_bank(), 100, earlier=stored, networks=networks, device=self.gpu)
                        step = ours(run)
                        self.row("deflated", networks=networks, earlier=count, by=name, ms=_iteration_ms(step))
                        graphs = [captured.graph for captured in (run.captured or {}).values() if captured.graph]
                        if kernels and graphs:
                            ms = _device_ms(graphs[0].replay)
                            self.row("replayed", networks=networks, earlier=count, ms=ms)
                            ms = _iteration_ms(lambda run=run: run._evaluate(0), 0.2)
                            self.row("evaluated", networks=networks, earlier=count, ms=ms)

    def earlier(self, networks: int) -> Mapping[str, Stored]:
        """What a round reads of two earlier ones, of as many networks; they are trained once."""
        if self.stored is None:
            self.stored = _two_earlier(self.gpu, max(DEFLATED))
        return {name: stored.select(range(networks)) for name, stored in self.stored.items()}

    def profiled(self) -> None:
        """The kernels of a deflated iteration that take longest, from PyTorch's profiler."""
        for networks in DEFLATED:
            run = attempt(_small_bank(), 100, earlier=self.earlier(networks), networks=networks, device=self.gpu)
            step = ours(run)
            for _ in range(10):
                step()
            torch.cuda.synchronize()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                for _ in range(5):
                    step()
                torch.cuda.synchronize()
            found = sorted(profile.key_averages(), key=lambda one: -one.self_device_time_total)
            for place, one in enumerate(found[:25]):
                calls, ms = one.count / 5, one.self_device_time_total / 5e3
                self.row("profile", networks=networks, place=place, ms=ms, calls=calls, reason=one.key[:80])
            total = sum(one.count for one in found) / 5, sum(one.self_device_time_total for one in found) / 5e3
            self.row("profile", networks=networks, place=-1, ms=total[1], calls=total[0], reason="all")

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
        settings = load({**yaml.safe_load(CONFIG.read_text()), "seeds_per_job": "auto", "device": "cuda"})
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


@contextmanager
def _streamed(kernels: Any, trials: int = 16) -> Iterator[None]:
    """With our kernels for networks of up to 256 units, whose programs have so many trials each."""
    if kernels is None:
        yield
        return
    kept = kernels.MOST_UNITS, kernels.streamed.TILE
    kernels.MOST_UNITS, kernels.streamed.TILE = 256, trials
    try:
        yield
    finally:
        kernels.MOST_UNITS, kernels.streamed.TILE = kept


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
        draw_noise = kernels.draw_noise
        found = {
            "noise": lambda: draw_noise(noise, rates[:, 1:]),
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


def _differences(gpu: torch.device, nonlinearity: str, units: int = 100) -> tuple[float, float]:
    """Largest difference of an output and of a gradient from the CPU's in double precision, relative to the largest."""
    torch.manual_seed(0)
    gain = {"tanh": 1.0}.get(nonlinearity, 0.7)
    shapes = [(4, STEPS, BATCH, 3), (4, units, units), (4, units, 3), (4, units), (4, units), (4, 3, units), (4, 3)]
    scales = [1.0, gain / units**0.5, 1.0, 0.3, 0.3, 0.1, 0.3]
    arguments = [scale * torch.randn(shape, dtype=torch.float64) for scale, shape in zip(scales, shapes, strict=True)]
    noise, weights = 0.05 * torch.randn(4, STEPS, BATCH, units), torch.randn(4, STEPS, BATCH, 3)
    found = []
    for device, kind in ((CPU, torch.float64), (gpu, torch.float32)):
        there = [argument.to(device, kind).requires_grad_() for argument in arguments]
        outputs, _ = simulate_outputs(*there, noise.to(device, kind), ALPHA, None, None, nonlinearity)
        gradients = torch.autograd.grad((outputs * weights.to(device, kind)).sum(), there)
        found.append([one.detach().double().cpu() for one in (outputs, *gradients)])
    first, *others = (float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
    return first, max(others)


def _penalty_arguments(networks: int, device: torch.device, kind: torch.dtype) -> Any:
    """Rates with a mean, readouts, components that are partly theirs, and the two networks that these belong to."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(networks, *shape, dtype=torch.float64, generator=generator)

    # As many dimensions as trained networks have, and little in all others.
    rates = (draw(STEPS // 2 * BATCH, 20) @ draw(20, 100) / 5 + 0.05 * draw(STEPS // 2 * BATCH, 100)).tanh() + 0.2
    earlier = rates @ draw(100, 36) / 10 + draw(STEPS // 2 * BATCH, 36)
    membership = torch.block_diag(torch.ones(17, 1), torch.ones(19, 1))
    found = [part.to(device, kind) for part in (rates, draw(3, 100) / 10, earlier, membership)]
    return found[0].requires_grad_(), found[1].requires_grad_(), *found[2:]


def _penalty_differences(gpu: torch.device) -> tuple[float, float]:
    """As `_differences`, of S and its gradients."""
    found = []
    for device, kind in ((CPU, torch.float64), (gpu, torch.float32)):
        rates, readout, *others = _penalty_arguments(4, device, kind)
        value = deflation_penalty(rates, readout, *others)
        gradients = torch.autograd.grad(value.sum(), (rates, readout))
        found.append([one.detach().double().cpu() for one in (value, *gradients)])
    first, *others = (float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
    return first, max(others)


def _penalties(networks: int, gpu: torch.device) -> dict[str, Callable[[], object]]:
    """Values and gradients of the penalty, by name; and what our kernels do one by one."""
    rates, readout, earlier, membership = _penalty_arguments(networks, gpu, torch.float32)
    found: dict[str, Callable[[], object]] = {}
    if kernels := predictivity.null_space:
        detached = rates.detach().view(networks, STEPS // 2, BATCH, 100)
        stored = earlier.view(networks, STEPS // 2, BATCH, -1).transpose(1, 2).contiguous()
        chosen = torch.arange(BATCH, device=gpu).expand(networks, -1)
        samples, weights = kernels.Samples(detached, stored, chosen, None), readout.detach()
        grad = torch.ones(networks, 2, dtype=torch.float64, device=gpu)
        _, kept = kernels.penalty(samples, weights, membership, 1e-3)
        found["S, kernels"] = _graph(lambda: kernels.penalty(samples, weights, membership, 1e-3))
        found["gradient of S, kernels"] = _graph(
            lambda: kernels.gradients(grad, samples, weights, membership, 1e-3, kept)
        )

    def both() -> None:
        value = predictivity._Penalty.apply(rates, readout, earlier, membership, 1e-3, None)
        torch.autograd.grad(value.sum(), (rates, readout))

    return {**found, "S and gradient, PyTorch": both}


def _graph(function: Callable[[], object]) -> Callable[[], object]:
    """The same as a CUDA graph, as it is run in training."""
    for _ in range(3):
        function()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


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


def merged(rows: Sequence[Row]) -> list[Row]:
    """The rows of the last card, of each section those that were measured last."""
    sections: dict[str, list[Row]] = {}
    card, name, current = None, "", []
    for row in rows:
        if row["kind"] == "section":
            if current:  # one that was stopped, which has no row with its time
                sections[name] = current
            name, current = row["what"], []
        if row["kind"] == "machine" and row["gpu"] != card:
            sections, card = {}, row["gpu"]
        current.append(row)
        if row["kind"] == "time":
            sections[row["what"]], name, current = current, "", []
    if current:
        sections[name] = current
    return [row for part in sections.values() for row in part]


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
        kinds = [row for (*key, by), row in plain.items() if key == [networks, units] and by.startswith(OURS)]
        ours_, graph = min(kinds, key=lambda row: row["ms"], default={}), plain.get((networks, units, GRAPH), {})
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
    if "deflated" in of:
        text += "\nAgainst two earlier networks:\n\n" + _deflated_table(of)
    if "penalty setting" in of:
        text += f"\nS and its gradient of {DEFLATED[0]} networks, with kernels divided in a different way:\n\n" + table(
            ["setting", "ms"],
            [
                [
                    ", ".join(f"{name} = {value}" for name, value in row["setting"].items()),
                    f"{row['ms'][0]:.2f}, {row['ms'][1]:.2f}",
                ]
                for row in of["penalty setting"]
            ],
        )
    if "setting" in of:
        text += "\nForward and backward of 400 networks, by how the loops are divided:\n\n" + table(
            ["trials of a program", "warps", "ms"],
            [[row["trials"], row["warps"], ", ".join(f"{ms:.2f}" for ms in row["ms"])] for row in of["setting"]],
        )
    return text + "\n" + verdicts(_bounds(of, plain)) + _failures(of)


def _deflated_table(of: Mapping[str, Sequence[Row]]) -> str:
    """Iterations without earlier networks and against two, and what the penalty takes of them."""
    times = {(row["networks"], row["earlier"], row["by"]): _ms(row) for row in of["deflated"]}
    parts = {(row["networks"], row["what"]): _ms(row) for row in of.get("penalty", [])}
    more = {(row["kind"], row["networks"], row["earlier"]): _ms(row) for row in of.get("replayed", [])}
    more |= {(row["kind"], row["networks"], row["earlier"]): _ms(row) for row in of.get("evaluated", [])}
    networks = sorted({key[0] for key in times})
    shown = [
        [f"{what}, {by}", *(times.get((count, earlier, by), "") for count in networks)]
        for by in (OURS, GRAPH)
        for earlier, what in ((0, "plain iteration"), (2, "deflated iteration"))
    ]
    for kind, what in (("replayed", "on the card alone"), ("evaluated", "evaluation")):
        shown += [
            [f"{which}, {what}", *(more.get((kind, count, earlier), "") for count in networks)]
            for earlier, which in ((0, "plain"), (2, "deflated"))
        ]
    names = list(dict.fromkeys(what for _, what in parts))
    shown += [[what, *(parts.get((count, what), "") for count in networks)] for what in names]
    return table(["", *(f"ms, {count} networks" for count in networks)], shown)


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
    mine = [row for row in of.get("deflated", []) if row["by"] == OURS and row["networks"] == DEFLATED[0]]
    deflated = {row["earlier"]: row["ms"] for row in mine}
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
    for of_penalty, first in ((False, "outputs"), (True, "S")):
        equal = [row for row in of.get("equal", []) if row["by"] == OURS and ("what" in row) == of_penalty]
        if equal:
            found = [max(row[name] for row in equal) for name in ("outputs", "gradient")]
            what = f"numbers equal to the CPU's to {TOLERANCE:.0e} of the largest"
            bounds.append(Bound(what, f"{first} {found[0]:.1e}, gradients {found[1]:.1e}", max(found) <= TOLERANCE))
    return bounds


def _failures(of: Mapping[str, Sequence[Row]]) -> str:
    failed = [f"- `{row['what']}`: {row['reason']}\n" for row in of.get("failed", [])]
    return "\nNot measured to the end:\n\n" + "".join(failed) if failed else ""


if __name__ == "__main__":
    main()
