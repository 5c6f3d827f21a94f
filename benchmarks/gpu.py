"""Training on a GPU beside one core of the CPU, in one go of less than eight minutes.

    python benchmarks/gpu.py

Without a GPU, the page says that nothing was measured, unless it holds numbers of a machine that has one.
"""

import copy
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from common import PAGE, Bound, one_core, table, verdicts, write_section
from training import ALPHA, BATCH, STEPS, TASK, attempt, ours

from insd.activity import record_activity
from insd.devices import CPU, describe, device_of
from insd.networks.engine.bptt import Workspace
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings
from insd.objectives.base import join_earlier
from insd.settings.config import Settings, seeds_of
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.training import train_round

TITLE = "A GPU full of networks"
CONFIG = Path(__file__).resolve().parent.parent / "config" / "config.yaml"
MOST_SECONDS = 450.0
"""The paper's grid is given up after this; what follows takes no time."""
TOLERANCE = 1e-4
"""Largest difference from the CPU's numbers, relative to the largest of them, that is single precision's."""


def main() -> None:
    """Measure and write the section."""
    started = time.monotonic()
    if not torch.cuda.is_available():
        if not PAGE.exists() or f"## {TITLE}" not in PAGE.read_text():
            write_section(
                TITLE,
                "**Not measured yet**: no machine with a GPU was at hand. `python benchmarks/gpu.py` on one writes "
                "this section in less than eight minutes. The bounds that it reports on: 40 networks of one task "
                "(100 units, 1,500 iterations) in less than 20 s; all training of the paper's grid in less than "
                "3 minutes; at least 100 times the networks per hour of one core of a CPU; numbers equal to the CPU's "
                "in single precision.",
            )
        print("no GPU here: nothing was measured")
        return
    one_core()
    torch.set_num_threads(1)
    gpu = device_of("cuda")
    bank = TASK.sample("train", 2048, 0).assign_attrs(fingerprint="of the benchmark")
    test = TASK.sample("test", 64, 1).assign_attrs(fingerprint="of the test")

    cpu_ms = 1e3 * _median(ours(attempt(bank, 100)), 10, lambda: None)
    rows = []
    for count in (1, 10, 40, 100, 400):
        torch.cuda.reset_peak_memory_stats()
        step = ours(attempt(bank, 100, networks=count, device=gpu))
        ms = 1e3 * _median(step, 20, torch.cuda.synchronize)
        memory = torch.cuda.max_memory_allocated() / 2**20
        rows.append([count, f"{ms:.2f}", f"{count * cpu_ms / ms:.0f}", f"{memory:.0f}"])
    most = max(float(row[2]) for row in rows)

    recipe = Recipe.model_validate({"training": {"iterations": 1500, "restarts": 0, "patience": 10_000}})
    names = [("flip_flop", "benchmark", seed, 0) for seed in range(40)]
    start = time.monotonic()
    network, _ = train_round(TASK, bank, recipe, names, device=gpu)
    forty = time.monotonic() - start
    solved = int(record_activity(network, TASK, bank, test, recipe.terms)["solved"].sum())

    rate, gradient = _differences(gpu)
    exact = torch.get_float32_matmul_precision() == "highest"
    done, jobs, grid = _papers_grid(gpu, started)
    unfinished = "" if done == jobs else f", of which {done} were run before time was up"
    write_section(
        TITLE,
        f"{describe(gpu)}. {BATCH} trials of {STEPS} steps, 100 units; one core of the CPU takes {cpu_ms:.1f} ms for "
        f"an iteration of one network. TF32 is {'off' if exact else 'on'}.\n\n"
        + table(["networks", "ms per iteration", "networks per hour, of one core's", "MB of its memory"], rows)
        + "\n"
        + verdicts(
            [
                Bound(
                    "40 networks, 1,500 iterations, in less than 20 s", f"{forty:.1f} s, {solved} solved", forty < 20
                ),
                Bound(
                    f"training of the paper's grid ({jobs} jobs{unfinished}) in less than 180 s",
                    f"{grid:.0f} s",
                    grid < 180 and done == jobs,
                    "" if done == jobs else "time was up before all jobs were done",
                ),
                Bound("at least 100 times one core", f"{most:.0f}", most >= 100),
                Bound(
                    f"numbers equal to the CPU's to {TOLERANCE:.0e} of the largest",
                    f"rates {rate:.1e}, gradient {gradient:.1e}",
                    max(rate, gradient) <= TOLERANCE,
                ),
            ]
        ),
    )


class _TimeIsUpError(Exception):
    """A job of the paper's grid was interrupted."""


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


def _papers_grid(gpu: torch.device, started: float) -> tuple[int, int, float]:
    """Train the rounds of the paper's grid one after another, all seeds of a population in a job; jobs done and in all,
    and seconds.

    A job may restart its networks, and its time cannot be told before: it is interrupted when time is up.
    """
    settings = load({**yaml.safe_load(CONFIG.read_text()), "seeds_per_job": 10})
    jobs = [
        (task, population, block, settings.trained_rounds(population))
        for task in settings.tasks
        for population in settings.populations
        for block in settings.seed_blocks(population)
    ]
    finished: list[float] = []
    try:
        with _at_most(MOST_SECONDS - (time.monotonic() - started)):
            for task, population, block, rounds in jobs:
                _train_chain(settings, task, population, block, rounds, gpu, finished)
    except _TimeIsUpError:
        pass
    return len(finished), sum(len(rounds) for *_, rounds in jobs), sum(finished)


def _train_chain(
    settings: Settings, task: str, population: str, block: str, rounds: range, gpu: torch.device, finished: list[float]
) -> None:
    """Train the rounds of one block of seeds, and add the seconds of each to those that are finished."""
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
        network, _ = train_round(made, bank, recipe, names, earlier, device=gpu)
        finished.append(time.monotonic() - start)
        if number + 1 in rounds:
            activities.append(record_activity(network, made, bank, test, recipe.terms))


def _differences(gpu: torch.device) -> tuple[float, float]:
    """Largest difference of a rate and of a gradient of recurrent weights from the CPU's, relative to the largest."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    networks = RateRNN.initialise(RateSettings(), 3, 3, ALPHA, generators)
    torch.manual_seed(0)
    inputs, noise = torch.randn(4, STEPS, BATCH, 3), 0.05 * torch.randn(4, STEPS, BATCH, 100)
    weights = torch.randn(4, STEPS, BATCH, 100)
    found = []
    for device in (CPU, gpu):
        there = copy.deepcopy(networks).to(device)
        rates = there(inputs.to(device), noise.to(device), Workspace())
        (gradient,) = torch.autograd.grad((rates * weights.to(device)).sum(), there.recurrent_weights)
        found.append((rates.detach().cpu(), gradient.cpu()))
    rates, gradient = (float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
    return rates, gradient


def _median(step: Callable[[], object], repeats: int, wait: Callable[[], object]) -> float:
    times = []
    for _ in range(repeats + 5):
        wait()
        start = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times[5:])


if __name__ == "__main__":
    main()
