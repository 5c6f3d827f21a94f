"""How time and memory grow with the size of networks, trials, chains and analyses, each point in a process of its own.

    python benchmarks/growth.py

Activity is that of untrained networks, and components of earlier rounds are random: cost depends on sizes alone.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from common import PAGE, one_core, side_by_side, table, write_section
from training import STEPS, TASK, attempt, ours

from insd.analysis.dsa import dynamical_similarity, fit_operator
from insd.analysis.similarity import network_statistics, similarity
from insd.training import Earlier

PICTURE = PAGE.with_suffix("") / "growth.svg"
COMPONENTS = 12
"""Of an earlier round, as the default grid keeps them."""
SWEEPS: dict[str, tuple[tuple[int, ...], str, float]] = {
    "units": ((50, 100, 200, 400, 1000), "training, units N", 2.0),
    "steps": ((50, 100, 200, 400, 1000), "training, time steps", 1.0),
    "earlier": ((1, 2, 5, 10, 20), "training, earlier rounds", 1.0),
    "similarity": ((10, 25, 50, 100, 200, 400), "similarity, networks", 2.0),
    "dsa": ((5, 10, 20, 40), "dynamical similarity, networks", 2.0),
}
"""Sizes, what grows, and the largest exponent that the formula allows time to have."""


def main() -> None:
    """Measure all points and write the section; with two arguments, measure one and print it."""
    if len(sys.argv) == 3:
        one_core()
        torch.set_num_threads(1)
        seconds = POINTS[sys.argv[1]](int(sys.argv[2]))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([seconds, memory]))
        return
    measured = {
        sweep: np.array([_in_a_process(sweep, size) for size in sizes]) for sweep, (sizes, _, _) in SWEEPS.items()
    }
    rows: list[list[object]] = []
    for sweep, (sizes, name, allowed) in SWEEPS.items():
        times, memory = measured[sweep].T
        found = _exponent(sizes, times)
        rows.append(
            [
                name,
                ", ".join(map(str, sizes)),
                ", ".join(f"{seconds:.2g}" for seconds in times),
                f"{found:.2f}",
                f"{allowed:.0f}",
                ", ".join(f"{mb:.0f}" for mb in memory),
                f"{_exponent(sizes, memory):.2f}",
            ]
        )
    _picture(measured)
    write_section(
        "How cost grows",
        "Seconds of an iteration of training (64 trials, 90 steps and 100 units where they are not varied) and of an "
        "analysis of all pairs; memory of the whole process, of which Python and its libraries take 450 MB. The "
        "exponents are slopes between the last two sizes.\n\n"
        + table(["", "sizes", "s", "exponent", "at most", "MB", "exponent"], rows)
        + "\n![Growth of time and memory](benchmarks/growth.svg)\n\n"
        + LIMITS,
    )


LIMITS = """At 10,000 networks of one task:

- **Training** stays as it is: jobs share nothing. Snakemake plans as many jobs in the time that *Planning* gives; with
  `seeds_per_job` of 10 to 40, a tenth of that and less.
- **Similarity** breaks first: pairs grow with the square, 50 million of them, and the bases of all networks, which are
  held at once, to tens of GB. Then: one job per block of pairs of networks, which reads the two blocks alone.
- **Dynamical similarity** is next, at some 30 ms a pair: as blocks, or by the spectra's distance alone, which is cheap.
- Rules that read every round of a task (tables, decoding, performance) grow in proportion, and would become one job per
  block of seeds.
"""


def training_point(units: int = 100, steps: int = STEPS, rounds: int = 0) -> float:
    """Seconds of an iteration of training."""
    bank = TASK.sample("train", 128, 0)
    chosen = np.arange(steps) % bank.sizes["time"]
    bank = bank.isel(time=chosen).assign_coords(time=np.arange(steps) * bank.attrs["dt"])
    earlier = None
    if rounds:
        earlier = Earlier(
            torch.randn(1, 128, -(-steps // 2), COMPONENTS * rounds),
            torch.eye(rounds).repeat_interleave(COMPONENTS, 0),
            2,
        )
    return side_by_side({"step": ours(attempt(bank, units, earlier=earlier))}, 7)["step"]


def activity(count: int, units: int = 100) -> list[np.ndarray]:
    """Rates (trial, time, unit) of untrained networks with private noise, on the same 256 trials."""
    trials: xr.Dataset = TASK.sample("train", 256, 0)
    inputs = torch.from_numpy(trials["inputs"].values).transpose(0, 1)[None]
    found = []
    for seed in range(count):
        run = attempt(trials, units)
        generator = torch.Generator().manual_seed(seed)
        networks = run.networks
        with torch.no_grad():
            networks.recurrent_weights.normal_(std=units**-0.5, generator=generator)
            noise = networks.draw_noise(inputs.shape[1], inputs.shape[2], [generator])
            found.append(networks(inputs, noise)[0].transpose(0, 1).contiguous().numpy())
    return found


def similarity_point(count: int) -> float:
    """Seconds of all measures between so many networks."""
    rates = activity(count)
    weights = np.random.default_rng(0).standard_normal((count, 3, 100))
    start = time.perf_counter()
    similarity({str(n): network_statistics(*one) for n, one in enumerate(zip(rates, weights, strict=True))}, 0)
    return time.perf_counter() - start


def dsa_point(count: int) -> float:
    """Seconds of the alignment of all pairs, operators not counted."""
    operators = {str(number): fit_operator(rates, 2, 30) for number, rates in enumerate(activity(count))}
    start = time.perf_counter()
    dynamical_similarity(operators, dict.fromkeys(operators, 0.0), 12, 200, 0)
    return time.perf_counter() - start


POINTS: dict[str, Callable[[int], float]] = {
    "units": lambda size: training_point(units=size),
    "steps": lambda size: training_point(steps=size),
    "earlier": lambda size: training_point(rounds=size),
    "similarity": similarity_point,
    "dsa": dsa_point,
}


def _in_a_process(sweep: str, size: int) -> list[float]:
    print(sweep, size, flush=True)
    command = [sys.executable, str(Path(__file__)), sweep, str(size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _exponent(sizes: tuple[int, ...], values: np.ndarray) -> float:
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def _picture(measured: dict[str, np.ndarray]) -> None:
    figure, rows = plt.subplots(2, len(SWEEPS), figsize=(2 * len(SWEEPS), 3.6), layout="constrained", sharex="col")
    for column, (sweep, (sizes, name, allowed)) in zip(rows.T, SWEEPS.items(), strict=True):
        for axes, values in zip(column, measured[sweep].T, strict=True):
            axes.loglog(sizes, values, "o-", color="0.2", markersize=3)
            axes.spines[["top", "right"]].set_visible(False)
        last = measured[sweep][-1, 0]
        column[0].loglog(sizes, last * (np.array(sizes) / sizes[-1]) ** allowed, ":", color="0.6")
        column[1].set_xlabel(name.replace(", ", "\n"), fontsize=8)
    rows[0, 0].set_ylabel("seconds")
    rows[1, 0].set_ylabel("MB")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
