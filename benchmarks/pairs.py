"""What pairs of many networks of a task cost, in blocks: time and memory of a pair of blocks, and of joining all.
Time is that of the processor, on which other work has less influence.

    python benchmarks/pairs.py

Takes less than ten minutes. Networks are untrained, whose activity has more dimensions than that of trained ones, and
only some pairs of two full blocks are compared; what is joined are files of random numbers.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from common import PAGE, forget_peak, one_core, peak, table, write_section

from insd import plugins
from insd.activity import record_activity
from insd.analysis import base
from insd.blocks import divided, pairs_of
from insd.checkpoints import Checkpoint
from insd.datasets import read, write
from insd.dynamics.similarity import network_operators
from insd.kept import Kept
from insd.measures.dsa_spectrum import DSASpectrum
from insd.provenance import settings_fingerprint, trials_fingerprint
from insd.settings.recipe import Recipe
from insd.settings.sections import Analyses
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop()
MOST = Analyses().networks_per_block
TRIALS, UNITS = 256, 64
JOINED = 400
"""Networks whose pairs are joined."""
SIZES = ((400, MOST), (600, MOST), (3400, MOST), (10_000, MOST), (10_000, 4 * MOST))
"""Networks of a task, and most in a block, to which costs are extrapolated."""
FEW = 16
"""Networks in a block of the run that memory is compared with."""
START = 5.0
"""Seconds of a core that a job takes to start (*The paper's grid*, benchmarks.md, with Snakemake's own share)."""
RECIPE: dict[str, Any] = {
    "network": {"units": UNITS, "gain": 1.5},
    "training": {"iterations": 0, "restarts": 0, "batch_size": 8, "validation_trials": 8},
}
MADE = {"task": {"name": "flip_flop", "parameters": {}}, "recipe": RECIPE}
ROWS = {"similarity": (1, 11), "inputs": (1, 11), "dsa": (1, 3)}
"""By analysis, how many networks of the first block are compared with all of the second, in two runs."""


def main() -> None:
    """Measure all and write the section; with arguments, measure one point and print it."""
    if len(sys.argv) > 2:
        one_core()
        torch.set_num_threads(1)
        forget_peak()
        print(json.dumps([*POINTS[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[4:]), name=sys.argv[3]), peak()]))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        found = {name: _pair_of_blocks(folder, name) for name in ROWS}
        joins = {name: _in_a_process("join", folder, name) for name in ROWS}
        spectra = _in_a_process("spectra", folder, "dsa")[0]
    rows = [
        [
            name,
            f"{1e3 * cost.opened:.0f}",
            f"{1e3 * cost.prepared:.0f}",
            f"{1e3 * cost.pair:.1f}",
            f"{1 / cost.pair:.0f}",
            f"{(2 * MOST * (cost.opened + cost.prepared) + MOST**2 * cost.pair) / 60:.1f}",
            f"{cost.megabytes:.0f}",
            f"{cost.of_network:.1f}",
            f"{joins[name][0]:.0f}",
            f"{joins[name][1]:.0f}",
        ]
        for name, cost in found.items()
    ]
    head = [
        *("analysis", "ms to open a network", "ms to prepare it", "ms per pair", "pairs per s"),
        *("min per job", "MB", "MB per network", "joined (s)", "MB joined"),
    ]
    write_section(
        "Measured",
        f"Untrained networks of {UNITS} units on {TRIALS} trials of the 3-bit flip-flop (90 steps), {MOST} in a block, "
        "in time of one core. To open a network is to read its files for their checks and digests; to prepare it, to "
        "compute what its pairs need. Minutes are those of two full blocks, extrapolated from some of their pairs; "
        f"memory is measured with all their networks, start of Python included. *Joined* are {JOINED} networks.\n\n"
        + table(head, rows)
        + f"\nThe distance of spectra alone takes {1e3 * spectra:.2f} ms of a pair of `dsa`; all the rest is the "
        "search for the alignment.\n\n"
        f"Core-hours for one task, extrapolated, with {START:.0f} s for the start of a job, and populations of 10 "
        "networks:\n\n"
        + table(
            [
                "analysis",
                "networks",
                "in a block",
                "jobs",
                "pairs",
                "opened and prepared",
                "starts",
                "core-hours in all",
            ],
            [_hours(name, cost, *size) for name, cost in found.items() for size in SIZES],
        ),
        page=PAGE.with_name("scale.md"),
    )


def _hours(name: str, cost: "Cost", count: int, most: int) -> list[str]:
    """A row of core-hours, of so many networks with so many in a block at most."""
    blocks = len(divided([(f"population-{number // 10}", str(number % 10), 0) for number in range(count)], most))
    jobs = blocks * (blocks + 1) // 2
    # A network is in as many jobs as there are blocks. Operators are kept, and computed in one of them.
    networks = count * (blocks * cost.opened + cost.prepared * (1 if name == "dsa" else blocks))
    hours = np.array([cost.pair * count * (count - 1) / 2, networks, START * jobs]) / 3600
    return [name, f"{count:,}", str(most), f"{jobs:,}", *map(_rounded, [*hours, hours.sum()])]


def _rounded(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2f}"


@dataclass(frozen=True)
class Cost:
    """What an analysis costs in a pair of blocks: seconds to open and to prepare a network, and of a pair; MB."""

    opened: float
    prepared: float
    pair: float
    megabytes: float
    of_network: float


def make(folder: Path) -> None:
    """The files of two blocks of networks, and trials."""
    for number, regime in enumerate(("train", "test")):
        trials = TASK.sample(regime, TRIALS if number else 16, number)
        write(trials.assign_attrs(fingerprint=trials_fingerprint(trials)), folder / f"{regime}.nc", "trials")
    bank, test = (read(folder / f"{regime}.nc", "trials") for regime in ("train", "test"))
    for seed in range(2 * MOST):
        network, _ = train_round(TASK, bank, Recipe.model_validate(RECIPE), [("flip_flop", "u", seed, 0)])
        network = network.assign_coords(seed=[0])
        network.attrs |= {"settings": json.dumps(MADE), "code_fingerprint": "benchmark"}
        write(network, folder / str(seed) / "network.nc", "network")
        write(record_activity(network, TASK, bank, test, {}), folder / str(seed) / "activity.nc", "activity")


def arguments(folder: Path, name: str, count: int) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The inputs of an analysis of so many networks, each of a population of its own, and its other arguments: of more
    networks than there are, files serve again.
    """
    files = [folder / str(number % (2 * MOST)) for number in range(count)]
    inputs = {key: [str(one / f"{file}.nc") for one in files] for key, file in FILES.items()}
    inputs["trials"] = [str(folder / "test.nc")]
    made_with = settings_fingerprint(MADE["task"], MADE["recipe"])
    return inputs, {
        "parameters": {},
        "rounds": [(f"p{number:03d}", "0", 0, "standard", made_with) for number in range(count)],
        "settings": plugins.find("analysis", name).settings().model_dump(),
        "more": {},
    }


FILES = {"networks": "network", "activities": "activity"}
CODE = {"code": "c", "task_code": "t"}


def compared(folder: Path, rows: int, most: int, name: str) -> tuple[float, ...]:
    """Seconds of opening and of preparing two blocks of networks and comparing some of their pairs, and the number of
    these.
    """
    inputs, given = arguments(folder, name, 2 * most)
    start = time.process_time()
    analysis, job, _ = opened(name, inputs, given)
    ready = time.process_time()
    labels = [member.label for member in job.members]
    first, second = labels[:most], labels[most:]
    pairs = [(one, other) for one in first[:rows] for other in second]
    # All networks are prepared.
    pairs += zip(first[rows:], second[rows:], strict=True)
    analysis.compare(job, pairs)
    return ready - start, time.process_time() - ready, len(pairs)


def opened(name: str, inputs: dict[str, list[str]], given: dict[str, Any]) -> tuple[base.Analysis, base.Job, Any]:
    """An analysis, what it works on, and the digests of that, as its jobs have them."""
    analysis, job, _ = base._job(name, "flip_flop", inputs, **given)
    without = {key: value for key, value in given.items() if key != "more"}
    return analysis, job, base._depends_on(analysis, job, inputs, **without, **CODE)


def operators(folder: Path, name: str) -> tuple[float, ...]:
    """Seconds of what is computed once for each network of two blocks."""
    inputs, given = arguments(folder, name, 2 * MOST)
    _, job, _ = base._job(name, "flip_flop", inputs, **given)
    start = time.process_time()
    network_operators(job.members, job.settings.delays, job.settings.rank, job.kept)
    return (time.process_time() - start,)


def spectra(folder: Path, name: str) -> tuple[float, ...]:
    """Seconds of a pair of spectra."""
    random, measure = np.random.default_rng(0), DSASpectrum()
    rank = plugins.find("analysis", name).settings().rank
    values = [np.linalg.eigvals(random.standard_normal((rank, rank)) / rank**0.5) for _ in range(40)]
    start = time.process_time()
    for one, other in combinations(values, 2):
        measure.compare(one, other)
    return ((time.process_time() - start) / (40 * 39 / 2),)


def join(folder: Path, name: str) -> tuple[float, ...]:
    """Seconds of joining the pairs of blocks of many networks, with the check of all files."""
    inputs, given = arguments(folder, name, JOINED)
    analysis, _, (digest, known) = opened(name, inputs, given)
    blocks = {one: block for block, part in divided([one[:3] for one in given["rounds"]], MOST).items() for one in part}
    names = [blocks[one[:3]] for one in given["rounds"]]
    of_label = dict(base._of_labels(given["rounds"], names))
    inputs["pairs"] = []
    for pair in pairs_of(sorted(set(names))):
        labels = [label for label, block in of_label.items() if block in pair]
        kept = Kept({label: known[label] for label in labels}, pairs_alone=pair[0] != pair[1])
        for label in labels:
            kept.networks[label] = random_network(name)
        for one in combinations_with_replacement(labels, 2):
            if {of_label[label] for label in one} == set(pair):
                kept.pairs[one] = random_pair(name)
        path = folder / name / "blocks" / name / f"{'-'.join(pair)}.pt"
        kept.write(Checkpoint(path, digest))
        inputs["pairs"].append(str(path))
    outputs = {file: str(folder / name / f"{file}.nc") for file in analysis.writes}
    forget_peak()
    start = time.process_time()
    base.run_analysis(name, "flip_flop", inputs, outputs, **given, **CODE, blocks=names)
    return (time.process_time() - start,)


def random_network(name: str) -> Mapping[str, xr.Dataset]:
    """What an analysis finds of a network, in its shapes."""
    random = np.random.default_rng()
    if name == "dsa":
        rank = plugins.find("analysis", name).settings().rank
        operator = random.standard_normal((rank, rank)) / rank**0.5
        return {"operator": xr.Dataset({"operator": (("row", "column"), operator), "prediction_error": 0.1})}
    return {"inputs": xr.Dataset({"r2_inputs": ("space", random.random(2))})} if name == "inputs" else {}


def random_pair(name: str) -> Mapping[str, np.ndarray]:
    """What an analysis finds of a pair, in its shapes."""
    random = np.random.default_rng()
    if name == "dsa":
        return dict.fromkeys(("distance", "gradient_norm", "agreement", "spectral_distance"), random.random(()))
    measures = len(plugins.find("analysis", name).settings().measures) if name == "similarity" else 0
    return {"r2": random.random((3, 2, 2)), "value": random.random((measures, 2, 2))}


def _pair_of_blocks(folder: str, name: str) -> Cost:
    few, many = (_in_a_process("compared", folder, name, rows, MOST) for rows in ROWS[name])
    small = _in_a_process("compared", folder, name, 1, FEW)
    pair = (many[1] - few[1]) / (many[2] - few[2])
    prepared = _in_a_process("operators", folder, name)[0] if name == "dsa" else few[1] - few[2] * pair
    of_network = (few[-1] - small[-1]) / (2 * (MOST - FEW))
    return Cost(few[0] / (2 * MOST), prepared / (2 * MOST), pair, many[-1], of_network)


POINTS: dict[str, Callable[..., Sequence[float]]] = {
    "compared": compared,
    "operators": operators,
    "spectra": spectra,
    "join": join,
}


def _in_a_process(point: str, folder: str, name: str, *more: int) -> list[float]:
    print(point, name, *more, flush=True)
    command = [sys.executable, str(Path(__file__)), point, folder, name, *map(str, more)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
    if run.returncode:
        sys.exit(f"error: {point} of {name} failed; see above")
    print(run.stdout.splitlines()[-1], flush=True)
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
