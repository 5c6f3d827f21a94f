"""What tests are held against: small trained networks of each task, which data/make_networks.py makes, and oracles."""

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest
import xarray as xr
from known import TASKS

from insd import datasets
from insd.members import Member
from insd.provenance import array_fingerprint
from insd.tasks import Task

FOLDER = Path(__file__).parent / "data"
TRIALS = 256
PARAMETERS = {
    "context_integration": {"levels": (), "stimulus": (0.8, 0.8), "delay": (0.1, 0.3), "target": "sign"},
}
"""Of tasks whose networks were trained before the task's defaults changed."""


def trained_task(name: str) -> Task:
    """The task that the networks of that name are trained on."""
    return TASKS[name](**PARAMETERS.get(name, {}))


def evaluation_trials(name: str) -> xr.Dataset:
    """The trials of the regime `test` that the stored scores are of."""
    trials = trained_task(name).sample("test", TRIALS, 0)
    trials.attrs["fingerprint"] = array_fingerprint(trials, ["inputs", "targets", "mask"])
    return trials


def trained_network(name: str, number: int) -> xr.Dataset:
    """The reference (0) or the alternative (1) of a task, by the contract of `network.nc`."""
    return datasets.read(FOLDER / f"{name}-{number}.nc", "network")


def trained_round(name: str, number: int) -> Member:
    """The same as a round, without activity."""
    return Member.of_datasets("trained", number, "control", trained_network(name, number), xr.Dataset())[0]


def oracle(module: str) -> ModuleType:
    """A published package that results are checked against: the test skips without it, but fails where `CI` is set."""
    return importlib.import_module(module) if os.environ.get("CI") else pytest.importorskip(module)
