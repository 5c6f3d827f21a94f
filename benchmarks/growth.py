"""How time and memory grow with the size of networks, trials, chains and analyses, each point in a process of its own.

    python benchmarks/growth.py

Takes less than ten minutes. Activity is that of untrained networks, and components of earlier rounds are random: cost
depends on sizes alone.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from common import PAGE, forget_peak, one_core, peak, side_by_side, table, write_section
from training import STEPS, TASK, attempt, ours

from insd.activity import simulate_trials
from insd.analysis.similarity import SimilaritySettings as Similarity
from insd.dynamics.operators import fit_operator
from insd.dynamics.search import fixed_points
from insd.dynamics.settings import DynamicalSimilarity, FixedPoints
from insd.dynamics.similarity import dynamical_similarity
from insd.evaluation.decoding import decoding
from insd.measures.base import TIME_STRIDE, find_measures
from insd.measures.pairs import prepare, similarity
from insd.members import Member
from insd.objectives.base import Stored
from insd.settings.recipe import Recipe
from insd.training import train_round

PICTURE = PAGE.with_suffix("") / "growth.svg"
COMPONENTS = 18
"""Of an earlier round of 100 units, as networks of the flip-flop keep them in the default grid."""
TOLERANCE = 0.15
"""By how much a fitted exponent may pass the formula's and count as within it: points scatter, and caches overflow."""
MEMORY_TOLERANCE = 0.3
"""The same of memory: a tiny problem's peak, which is taken off, is in part gone when a large problem's comes."""
TRIALS, UNITS = 64, 50
"""Of the analyses of many networks; 256 and 100 in the default grid, with which 400 networks take a quarter hour."""
FEW_ITERATIONS = 4
"""Of the alignment of operators, where it is compared over numbers of networks; a search needs a few hundred."""
MANY = 10_000
"""Networks that the section ends with."""


@dataclass(frozen=True)
class Sweep:
    """What grows, over which sizes, and the largest exponents of time and memory that formulas allow."""

    name: str
    sizes: tuple[int, ...]
    time: int
    memory: int


SWEEPS = {
    "units": Sweep("training, units N", (50, 100, 200, 400, 1000), 2, 2),
    "steps": Sweep("training, time steps", (50, 100, 200, 400, 1000), 1, 1),
    "earlier": Sweep("training, earlier rounds", (1, 2, 5, 10, 20), 1, 1),
    "similarity": Sweep("similarity, networks", (10, 25, 50, 100, 200, 400), 2, 1),
    "dsa": Sweep("dynamical similarity, networks", (10, 20, 40, 80, 160), 2, 1),
    "fixed_points": Sweep("fixed points, networks", (5, 10, 20, 40, 80), 1, 1),
    "decoding": Sweep("decoding, networks", (5, 10, 20, 40, 80), 1, 1),
}

TRAINING = ("units", "steps", "earlier")


def main() -> None:
    """Measure all points and write the section; with two arguments, measure one and print it."""
    if len(sys.argv) == 3:
        one_core()
        torch.set_num_threads(1)
        forget_peak()
        seconds = POINTS[sys.argv[1]](int(sys.argv[2]))
        print(json.dumps([seconds, peak()]))
        return
    measured = {name: np.array([_in_a_process(name, size) for size in sweep.sizes]) for name, sweep in SWEEPS.items()}
    least_training = _in_a_process("least training", 0)[1]
    least = {name: least_training if name in TRAINING else _in_a_process(name, 2)[1] for name in SWEEPS}
    for name, values in measured.items():
        # Differences of less than a few MB are the noise of the libraries.
        values[:, 1] = (values[:, 1] - least[name]).clip(min=3)
    rows: list[list[object]] = []
    for name, sweep in SWEEPS.items():
        times, memory = measured[name].T
        rows.append(
            [
                sweep.name,
                ", ".join(map(str, sweep.sizes)),
                ", ".join(f"{seconds:.2g}" for seconds in times),
                *_judged(fitted(sweep.sizes, times)[0], sweep.time, TOLERANCE),
                ", ".join(f"{mb:.0f}" for mb in memory),
                *_judged(fitted(sweep.sizes, memory)[0], sweep.memory, MEMORY_TOLERANCE),
            ]
        )
    _picture(measured)
    write_section(
        "How cost grows",
        "Seconds of an iteration of training (64 trials, 90 steps, 100 units and no earlier round where they are not "
        f"varied) and of an analysis of all networks, and memory beyond what a tiny problem of the same kind takes, "
        f"{min(least.values()):.0f} to {max(least.values()):.0f} MB, nearly all of it Python and its libraries. "
        f"Analyses are of untrained networks of {UNITS} units on {TRIALS} trials, with few starts, folds and "
        "iterations: their exponents are those of the default grid's, their seconds are not. Exponents are fitted to "
        f"the upper half of the sizes by least squares of the logarithms; what they may be at most follows from the "
        f"formulas, and up to {TOLERANCE} more counts as within, {MEMORY_TOLERANCE} of memory, since part of what the "
        "tiny problem takes is gone when a large one has its peak.\n\n"
        + table(["", "sizes", "s", "exponent", "at most", "", "MB", "exponent", "at most", ""], rows)
        + "\n![Growth of time and memory](benchmarks/growth.svg)\n\n"
        + _limits(),
    )


def fitted(sizes: tuple[int, ...], values: np.ndarray) -> tuple[float, float]:
    """Exponent and logarithm of the factor of a power law, by least squares over the upper half of the sizes."""
    upper = len(sizes) // 2
    exponent, factor = np.polyfit(np.log(sizes[upper:]), np.log(values[upper:]), 1)
    return float(exponent), float(factor)


def _judged(found: float, allowed: int, tolerance: float) -> list[str]:
    return [f"{found:.2f}", str(allowed), "within" if found <= allowed + tolerance else "**exceeds**"]


def _limits() -> str:
    """What breaks first with very many networks, from what was measured."""
    aligned = {count: _in_a_process("dsa, all iterations", count)[0] / _pairs(count) for count in (20, 30)}
    pair = max(aligned.values())
    networks = 16
    compared = _in_a_process("similarity, default size", networks)[0] / _pairs(networks)
    samples = 256 * -(-STEPS // TIME_STRIDE)
    bases = MANY * samples * 100 * 4 / 1e9
    each = " and ".join(f"{1e3 * seconds:.0f} ms among {count} networks" for count, seconds in aligned.items())
    return f"""With all its iterations, dynamical similarity takes {each} for a pair. So 400 networks would take \
{pair * _pairs(400) / 60:.0f} minutes.

At {MANY:,} networks of one task:

- **Training** stays as it is: jobs share nothing. Snakemake plans as many jobs in the time that *Planning* gives; with
  `seeds_per_job` of 10 to 40, a tenth of that and less.
- **Similarity** would break first, by memory: the bases of all networks take {bases:.0f} GB, and
  {_pairs(MANY) / 1e6:.0f} million pairs at {1e3 * compared:.1f} ms each (measured on {networks} networks of the default
  size) take {_days(compared)}. So one job holds the networks of two blocks alone ([scale.md](scale.md)).
- **Dynamical similarity** is next, by time: at {1e3 * pair:.0f} ms a pair it takes {_days(pair)}, in blocks as well.
  The distance of spectra alone is cheap.
- Rules that read every round of a task (tables, fixed points, decoding, performance) grow in proportion, and would
  become one job per block of seeds.
"""


def _pairs(networks: int) -> float:
    return networks * (networks - 1) / 2


def _days(seconds_of_a_pair: float) -> str:
    return f"{seconds_of_a_pair * _pairs(MANY) / 86400:.1f} days of one core"


def training_point(units: int = 100, steps: int = STEPS, rounds: int = 0) -> float:
    """Seconds of an iteration of training."""
    bank = TASK.sample("train", 128, 0)
    chosen = np.arange(steps) % bank.sizes["time"]
    bank = bank.isel(time=chosen).assign_coords(time=np.arange(steps) * bank.attrs["dt"])
    earlier = None
    if rounds:
        earlier = {
            "predictivity": Stored(
                {"components": torch.randn(1, 128, -(-steps // 2), COMPONENTS * rounds)},
                {"membership": torch.eye(rounds).repeat_interleave(COMPONENTS, 0)},
                rounds,
                every=2,
            )
        }
    return side_by_side({"step": ours(attempt(bank, units, earlier=earlier))}, 7)["step"]


def untrained(count: int, trials: xr.Dataset, units: int = UNITS) -> Iterator[Member]:
    """Networks with their activity, one at a time."""
    recipe = Recipe.model_validate(
        {
            "network": {"units": units, "gain": 1.5},
            "training": {"iterations": 0, "restarts": 0, "batch_size": 8, "validation_trials": 8},
        }
    )
    for seed in range(count):
        network, _ = train_round(TASK, trials.isel(trial=slice(16)), recipe, [("flip_flop", "untrained", seed, 0)])
        rates = simulate_trials(network, trials)[0].numpy()
        dimensions = ("seed", "trial", "time", "unit")
        yield from Member.of_datasets(
            "untrained", 0, "untrained", network, xr.Dataset({"rates": (dimensions, rates)}, {"seed": network["seed"]})
        )


def _trials(count: int = TRIALS) -> xr.Dataset:
    return TASK.sample("train", count, 0).assign_attrs(fingerprint="of the benchmark")


def similarity_point(count: int) -> float:
    """Seconds of all measures between so many networks, statistics of each included."""
    return sum(_similarity_seconds(count, TRIALS, UNITS))


def _similarity_seconds(count: int, trials: int, units: int) -> tuple[float, float]:
    """Seconds of the statistics of so many networks, and of all measures between them."""
    measures = find_measures(Similarity().measures)
    prepared, seconds = {}, 0.0
    for number, one in enumerate(untrained(count, _trials(trials), units)):
        rates, weights = one.rates, one.network["output_weights"].values[0]
        start = time.perf_counter()
        prepared[str(number)] = prepare(rates, weights, measures)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    similarity(prepared, measures, 0)
    return seconds, time.perf_counter() - start


def dsa_point(count: int, iterations: int) -> float:
    """Seconds of the alignment of all pairs, operators not counted."""
    rates = (one.rates for one in untrained(count, _trials()))
    settings = DynamicalSimilarity()
    operators = {str(number): fit_operator(one, settings.delays, settings.rank) for number, one in enumerate(rates)}
    start = time.perf_counter()
    dynamical_similarity(operators, dict.fromkeys(operators, 0.0), settings.starts, iterations, 0)
    return time.perf_counter() - start


def fixed_points_point(count: int) -> float:
    """Seconds of the search for points and cycles of so many networks, from few starts and with short runs."""
    trials = _trials()
    rounds = list(untrained(count, trials))
    start = time.perf_counter()
    fixed_points(TASK, rounds, trials, FixedPoints(starts=32, block=2.0, blocks=1))
    return time.perf_counter() - start


def decoding_point(count: int) -> float:
    """Seconds of the decoding from so many networks, at few times and with few folds."""
    trials = _trials()
    rounds = list(untrained(count, trials))
    start = time.perf_counter()
    decoding(rounds, TASK, trials, 0, time_stride=15, folds=3)
    return time.perf_counter() - start


POINTS: dict[str, Callable[[int], float]] = {
    "least training": lambda size: training_point(units=8, rounds=1),
    "units": lambda size: training_point(units=size),
    "steps": lambda size: training_point(steps=size),
    "earlier": lambda size: training_point(rounds=size),
    "similarity": similarity_point,
    "similarity, default size": lambda size: _similarity_seconds(size, 256, 100)[1],
    "dsa": lambda size: dsa_point(size, FEW_ITERATIONS),
    "dsa, all iterations": lambda size: dsa_point(size, DynamicalSimilarity().iterations),
    "fixed_points": fixed_points_point,
    "decoding": decoding_point,
}


def _in_a_process(sweep: str, size: int) -> list[float]:
    print(sweep, size, flush=True)
    command = [sys.executable, str(Path(__file__)), sweep, str(size)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        sys.exit(f"error: {sweep} at {size} failed; see above")
    return json.loads(run.stdout.splitlines()[-1])


def _picture(measured: dict[str, np.ndarray]) -> None:
    """Points, the fitted lines, and dotted what formulas allow."""
    figure, rows = plt.subplots(2, len(SWEEPS), figsize=(2 * len(SWEEPS), 3.6), layout="constrained", sharex="col")
    for column, (name, sweep) in zip(rows.T, SWEEPS.items(), strict=True):
        sizes = np.array(sweep.sizes)
        for axes, values, allowed in zip(column, measured[name].T, (sweep.time, sweep.memory), strict=True):
            exponent, factor = fitted(sweep.sizes, values)
            upper = sizes[len(sizes) // 2 :]
            axes.loglog(sizes, values, "o", color="0.2", markersize=3)
            axes.loglog(upper, np.exp(factor) * upper**exponent, color="C3", linewidth=1)
            axes.loglog(sizes, values[-1] * (sizes / sizes[-1]) ** allowed, ":", color="0.6")
            axes.spines[["top", "right"]].set_visible(False)
        column[1].set_xlabel(sweep.name.replace(", ", "\n"), fontsize=8)
    rows[0, 0].set_ylabel("seconds")
    rows[1, 0].set_ylabel("MB")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
