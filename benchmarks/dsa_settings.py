"""How well linear operators of some delays and ranks predict held-out trials of networks of a finished grid.

Prints the one-step error as a share of the activity's variance, per network and as the geometric mean of all, beside
that of predicting no change. The settings of the dynamical similarity analysis were chosen by it.

    python benchmarks/dsa_settings.py results flip_flop
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from insd.datasets import read
from insd.dynamics.operators import persistence_error, prediction_error


def main() -> None:
    """Fit on every second trial, test on the others, from the same time step on for all delays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a finished grid")
    parser.add_argument("task")
    parser.add_argument("--networks", type=int, default=4, help="files of activity, evenly from all of the task")
    parser.add_argument("--delays", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    parser.add_argument("--ranks", type=int, nargs="+", default=[10, 20, 30, 40, 60])
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    files = sorted((arguments.results / arguments.task).glob("*/seeds-*/round-*/activity.nc"))
    if not files:
        parser.error(f"{arguments.results / arguments.task} holds no activity of networks")
    chosen = np.unique(np.linspace(0, len(files) - 1, arguments.networks).round().astype(int))
    first = max(arguments.delays)
    tables, unchanged = [], []
    for file in (files[i] for i in chosen):
        rates = read(file, "activity", ["rates"])["rates"].values[0]
        train, held_out = rates[::2], rates[1::2]
        errors = [
            [
                prediction_error(train, held_out, delays, rank, first) if rank <= delays * rates.shape[-1] else np.nan
                for rank in arguments.ranks
            ]
            for delays in arguments.delays
        ]
        tables.append(np.array(errors))
        unchanged.append(persistence_error(held_out, first))
        show(
            f"{file.parent.relative_to(arguments.results)}: no change {unchanged[-1]:.4f}",
            arguments.delays,
            arguments.ranks,
            tables[-1],
        )
    mean = np.exp(np.log(unchanged).mean())
    show(f"geometric mean: no change {mean:.4f}", arguments.delays, arguments.ranks, np.exp(np.log(tables).mean(0)))


def show(title: str, delays: list[int], ranks: list[int], errors: np.ndarray) -> None:
    """Print one table, delays down and ranks across."""
    print(title)
    print("  delays | rank" + "".join(f"{rank:9d}" for rank in ranks))
    for delay, row in zip(delays, errors, strict=True):
        print(f"  {delay:13d}" + "".join(f"{error:9.4f}" for error in row), flush=True)
    print()


if __name__ == "__main__":
    main()
