"""Trains the networks in this folder: a reference and an alternative of each task, small and quick to train.

    python tests/data/make_networks.py

Each file holds one network by the contract of `network.nc`, with its loss and score on the trials that
`trained.evaluation_trials` samples. Tests read the files; they need no training. It takes about two minutes of a core.
"""

import json
import sys
import time
from pathlib import Path

import torch
from known import GRID

from insd import datasets
from insd.activity import record_activity
from insd.objectives.base import join_earlier
from insd.provenance import array_fingerprint, random_seed
from insd.settings.recipe import Recipe
from insd.training import train_round

sys.path.insert(0, str(Path(__file__).parents[1]))
from trained import FOLDER, evaluation_trials, trained_task

UNITS, BANK_TRIALS = 50, 1024
REFERENCE = {"network": {"units": UNITS}, "training": {"iterations": 1500, "loss_bound": 0.002}}
LOSS_BOUNDS = {"context_integration": 0.15, "flip_flop": 0.05, "memory_pro": 0.075}
"""As in config/config.yaml."""


def main() -> None:
    torch.set_num_threads(1)
    for name in GRID:
        task = trained_task(name)
        bank, test = task.sample("train", BANK_TRIALS, random_seed("trained", name)), evaluation_trials(name)
        bank.attrs["fingerprint"] = array_fingerprint(bank, ["inputs", "targets", "mask"])
        earlier = None
        for number in (0, 1):
            settings = REFERENCE
            if number:
                training = {"iterations": 2500, "loss_bound": LOSS_BOUNDS[name]}
                settings = {"network": {"units": UNITS, "gain": 1.5}, "training": training}
            recipe = Recipe.model_validate(settings)
            started = time.monotonic()
            network, _ = train_round(task, bank, recipe, [(name, "trained", 0, number)], earlier)
            activity = record_activity(network, task, bank, test, recipe.terms)
            earlier = join_earlier(recipe.terms, [activity], bank, ["activity"])
            network.attrs |= {
                "settings": json.dumps({"task": name, "recipe": recipe.model_dump()}),
                "test_loss": float(activity["test_loss"][0]),
                "score": float(activity["score"][0]),
            }
            datasets.write(network, FOLDER / f"{name}-{number}.nc", "network")
            print(
                f"{name} {number}: {time.monotonic() - started:.0f} s, loss {network.attrs['test_loss']:.3f},", end=" "
            )
            print(f"score {network.attrs['score']:.3f}, solved {bool(activity['solved'][0])}")


if __name__ == "__main__":
    main()
