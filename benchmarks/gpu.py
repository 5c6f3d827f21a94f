"""Training on a GPU beside one core of the CPU, in one go of less than eight minutes.

    python benchmarks/gpu.py

Without a GPU, the page says that nothing was measured, unless it holds numbers of a machine that has one.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from common import PAGE, one_core, table, write_section
from training import ALPHA, BATCH, STEPS, TASK, attempt, ours

from insd.activity import join_earlier, record_activity
from insd.bptt import Workspace, simulate
from insd.devices import CPU, describe, device_of
from insd.settings import Recipe, load, seeds_of
from insd.training import train_round

TITLE = "A GPU full of networks"
CONFIG = Path(__file__).resolve().parent.parent / "config" / "config.yaml"
MOST_SECONDS = 420.0
"""No further job of the paper's grid starts after this."""


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
    solved = int(record_activity(network, TASK, bank, test, recipe.deflation)["solved"].sum())

    done, jobs, grid = _papers_grid(gpu, started)
    unfinished = "" if done == jobs else f", of which {done} were run before time was up"
    write_section(
        TITLE,
        f"{describe(gpu)}. {BATCH} trials of {STEPS} steps, 100 units; one core of the CPU takes {cpu_ms:.1f} ms for "
        "an iteration of one network.\n\n"
        + table(["networks", "ms per iteration", "networks per hour, of one core's", "MB of its memory"], rows)
        + f"\nLargest difference of a rate and of a gradient from the CPU's, relative to the largest: "
        f"{' and '.join(f'{difference:.1e}' for difference in _differences(gpu))}.\n\n"
        + table(
            ["bound", "measured", ""],
            [
                [
                    "40 networks, 1,500 iterations, in less than 20 s",
                    f"{forty:.1f} s, {solved} solved",
                    _met(forty < 20),
                ],
                [
                    f"training of the paper's grid ({jobs} jobs{unfinished}) in less than 180 s",
                    f"{grid:.0f} s",
                    _met(grid < 180 and done == jobs),
                ],
                ["at least 100 times one core", f"{most:.0f}", _met(most >= 100)],
            ],
        ),
    )


def _papers_grid(gpu: torch.device, started: float) -> tuple[int, int, float]:
    """Train the rounds of the paper's grid one after another, all seeds of a population in a job; jobs done and in all,
    and seconds."""
    settings = load({**yaml.safe_load(CONFIG.read_text()), "seeds_per_job": 10})
    jobs = [
        (task, population, block, settings.trained_rounds(population))
        for task in settings.tasks
        for population in settings.populations
        for block in settings.seed_blocks(population)
    ]
    done, seconds = 0, 0.0
    for task, population, block, rounds in jobs:
        made = settings.task(task)
        bank, test = (
            made.sample(regime, count, number).assign_attrs(fingerprint=regime)
            for number, (regime, count) in enumerate((("train", settings.trials.train), ("test", 64)))
        )
        activities = []
        for number in rounds:
            if time.monotonic() - started > MOST_SECONDS:
                break
            recipe = settings.recipe(task, population, number)
            names = [(task, population, seed, number) for seed in seeds_of(block)]
            files = [f"round {earlier}" for earlier in range(number)]
            earlier = join_earlier(activities, bank, files) if activities else None
            start = time.monotonic()
            network, _ = train_round(made, bank, recipe, names, earlier, device=gpu)
            seconds += time.monotonic() - start
            done += 1
            if number + 1 in rounds:
                activities.append(record_activity(network, made, bank, test, recipe.deflation))
    return done, sum(len(rounds) for *_, rounds in jobs), seconds


def _differences(gpu: torch.device) -> tuple[float, float]:
    torch.manual_seed(0)
    arguments = [torch.randn(4, STEPS, BATCH, 3), torch.randn(4, 100, 100) / 10, torch.randn(4, 100, 3)]
    arguments += [torch.randn(4, 100), torch.zeros(4, 100), 0.05 * torch.randn(4, STEPS, BATCH, 100)]
    weights = torch.randn(4, STEPS, BATCH, 100)
    found = []
    for device in (CPU, gpu):
        there = [argument.to(device).requires_grad_() for argument in arguments]
        rates = simulate(*there, ALPHA, Workspace())
        gradient = torch.autograd.grad((rates * weights.to(device)).sum(), there)[1]
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


def _met(met: bool) -> str:
    return "met" if met else "not met"


if __name__ == "__main__":
    main()
