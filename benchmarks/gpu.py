"""Training on a GPU: what it takes, next to the same without our kernels, to the products alone, and to other tools.

    python benchmarks/gpu.py [ROWS [SECTION ...]]

Measures for less than six minutes, the cheapest first, so that what comes last is cut. Each row goes to the file ROWS
(`gpu.jsonl`) as soon as it is there, so that a stop loses nothing. Without sections, all are measured. What was
measured before on the same card stays, unless it is measured again. Where there is no GPU, the page is written from
that file if it is there.
"""

import argparse
import json
import os
import signal
import statistics
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from common import PAGE, write_section
from gpu_clock import device_ms, iteration_ms, run_by, streamed
from gpu_iterations import small_bank, two_earlier, vmapped
from gpu_kernels import PENALTY_SETTINGS, parts_of_iteration, penalties
from gpu_numbers import differences, penalty_differences
from gpu_page import DEFLATED, GRAPH, OURS, merged, page
from training import TASK, attempt, jax_scan, ours

from insd.activity import record_activity
from insd.devices import describe, device_of
from insd.networks.engine import bptt
from insd.networks.engine.nonlinearity import NONLINEARITIES
from insd.objectives import predictivity
from insd.objectives.base import Stored, join_earlier
from insd.settings.config import Settings, seeds_of
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.training import train_round

TITLE = "A GPU full of networks"
CONFIG = Path(__file__).resolve().parent.parent / "config" / "config.yaml"
MOST_SECONDS = 350.0
COUNTS = (1, 10, 40, 100, 400)
SECTIONS = {
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
"""Sections, methods of `_Measurement`, with the most seconds that each takes."""
NOT_MEASURED = (
    "**Not measured yet**: no machine with a GPU was at hand. `python benchmarks/gpu.py` on one writes this section in "
    "less than six minutes. The bounds that it reports on: an iteration of 40 networks of one task (100 units) in at "
    "most 2 ms and of 400 in at most 10 ms; one that is deflated against two earlier networks in at most 1.5 plain "
    "ones; all training of the paper's grid in at most 60 s; numbers equal to the CPU's to 1e-5."
)


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=Path, default=Path("gpu.jsonl"), help="file of rows (gpu.jsonl)")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all without")
    chosen = parser.parse_args()
    file, sections, here = chosen.rows, chosen.sections, torch.cuda.is_available()
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}: choose from {', '.join(SECTIONS)}")
    if here:
        _Measurement(file).run(sections)
    if file.exists():
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        write_section(TITLE, page(merged(rows)), measured=here)
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
        for name in ("machine", *(name for name in SECTIONS if not sections or name in sections)):
            seconds, measure = SECTIONS.get(name, 30), getattr(self, name)
            self.row("section", what=name)
            left = MOST_SECONDS - (time.monotonic() - self.started)
            begun = time.monotonic()
            try:
                with _at_most(min(seconds, left)):
                    measure()
            except _TimeIsUpError:
                self.row("failed", what=measure.__name__, reason=f"stopped after {min(seconds, left):.0f} s")
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
                with run_by(kernels):
                    outputs, gradient = differences(self.gpu, nonlinearity)
                self.row("equal", nonlinearity=nonlinearity, by=name, outputs=outputs, gradient=gradient)
        with run_by(bptt.persistent), streamed(bptt.persistent):
            outputs, gradient = differences(self.gpu, "tanh", 200)
        self.row("equal", nonlinearity="tanh", units=200, by=OURS, outputs=outputs, gradient=gradient)
        outputs, gradient = penalty_differences(self.gpu)
        self.row("equal", what="S", by=OURS, outputs=outputs, gradient=gradient)

    def iterations(self) -> None:
        """Plain iterations by number of networks, with our kernels and by graphs."""
        for count in COUNTS:
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                with run_by(kernels):
                    torch.cuda.reset_peak_memory_stats()
                    ms = iteration_ms(ours(attempt(self.bank, 100, networks=count, device=self.gpu)))
                memory = torch.cuda.max_memory_allocated() / 2**20
                self.row("iteration", networks=count, units=100, by=name, ms=ms, memory=memory)
                torch.cuda.empty_cache()

    def kernels(self) -> None:
        """Our kernels alone, and the floor: the products of an iteration alone."""
        for count in (40, 400):
            for name, function in parts_of_iteration(count, self.gpu).items():
                self.row("part", networks=count, what=name, ms=device_ms(function))

    def sizes(self) -> None:
        """Networks of other sizes; those of 256 units by streamed weights as well, with tiles of 16 and 32 trials."""
        for units in (64, 256):
            for name, kernels in ((OURS, bptt.persistent), (GRAPH, None)):
                for trials in (16, 32) if kernels and units == 256 else (16,):
                    with run_by(kernels), streamed(kernels, trials):
                        ms = iteration_ms(ours(attempt(self.bank, units, networks=40, device=self.gpu)))
                    by = name if trials == 16 else f"{name}, {trials} trials"
                    self.row("iteration", networks=40, units=units, by=by, ms=ms)
                    torch.cuda.empty_cache()

    def penalty(self) -> None:
        """The penalty alone, forward and backward, by our kernels and by PyTorch."""
        for networks in DEFLATED:
            for name, function in penalties(networks, self.gpu).items():
                self.row("penalty", networks=networks, what=name, ms=device_ms(function))

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
                ms = [device_ms(function) for function in list(penalties(DEFLATED[0], self.gpu).values())[:2]]
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
                with run_by(kernels):
                    for count, stored in ((0, None), (2, earlier)):
                        run = attempt(small_bank(), 100, earlier=stored, networks=networks, device=self.gpu)
                        step = ours(run)
                        self.row("deflated", networks=networks, earlier=count, by=name, ms=iteration_ms(step))
                        graphs = [captured.graph for captured in (run.captured or {}).values() if captured.graph]
                        if kernels and graphs:
                            ms = device_ms(graphs[0].replay)
                            self.row("replayed", networks=networks, earlier=count, ms=ms)
                            ms = iteration_ms(lambda run=run: run._evaluate(0), 0.2)
                            self.row("evaluated", networks=networks, earlier=count, ms=ms)

    def earlier(self, networks: int) -> Mapping[str, Stored]:
        """What a round reads of two earlier ones, of as many networks; they are trained once."""
        if self.stored is None:
            self.stored = two_earlier(self.gpu, max(DEFLATED))
        return {name: stored.select(range(networks)) for name, stored in self.stored.items()}

    def profiled(self) -> None:
        """The kernels of a deflated iteration that take longest, from PyTorch's profiler."""
        for networks in DEFLATED:
            run = attempt(small_bank(), 100, earlier=self.earlier(networks), networks=networks, device=self.gpu)
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
        self.row("peer", what="plain autograd, `vmap`", networks=40, ms=iteration_ms(vmapped(self.bank, 40, self.gpu)))

    def jax(self) -> None:
        """Forty networks as one writes it in JAX, in single precision."""
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        import jax  # noqa: PLC0415

        if jax.default_backend() != "gpu":
            return
        jax.config.update("jax_default_matmul_precision", "highest")
        for count in (40, 400):
            step = jax_scan(self.bank, 100, count)
            self.row("peer", what="JAX, `vmap` of `lax.scan`", networks=count, ms=iteration_ms(step))

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
                parts = parts_of_iteration(400, self.gpu)
                ms = [device_ms(parts[name]) for name in ("forward", "backward")]
                self.row("setting", trials=trials, warps=warps, ms=ms)
        finally:
            kernels.TILE, kernels.WARPS = kept

    def compiled(self) -> None:
        """The same by PyTorch's compiler, which takes the loop over time apart."""
        start = time.monotonic()
        step = vmapped(self.bank, 40, self.gpu, torch.compile)
        step()
        torch.cuda.synchronize()
        self.row(
            *("peer",),
            **{"what": f"`torch.compile` of it ({time.monotonic() - start:.0f} s to compile)", "networks": 40},
            ms=iteration_ms(step),
        )


if __name__ == "__main__":
    main()
