"""The scripts, run as Snakemake runs them: with a plain namespace of paths and parameters."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

from insd.datasets import read, write
from insd.settings.recipe import Recipe, Training

RECIPE = Recipe(
    network={"units": 12},
    training=Training(iterations=4, batch_size=8, evaluate_every=2, validation_trials=8, restarts=0),
)
MADE = {"make": "train", "maker": {}, **RECIPE.model_dump()}


class Named(SimpleNamespace):
    """A namespace whose entries can also be asked for by name."""

    def __getitem__(self, name):
        return getattr(self, name)

    def get(self, name, default):
        return getattr(self, name, default)


CONFIG = {"tasks": {"memory_pro": {}}, "populations": {"insd": {"seeds": 1}}}


def run(script, folder, **parts):
    named = {name: Named(**part) for name, part in parts.items()}
    namespace = SimpleNamespace(threads=1, log=[str(folder / "job.log")], config=CONFIG, **named)
    runpy.run_path(str(ROOT / f"workflow/scripts/{script}.py"), {"snakemake": namespace})


def sample(folder, regime, n_trials, **parameters):
    run(
        "sample_trials",
        folder,
        wildcards={"task": "memory_pro", "regime": regime},
        params={"parameters": parameters, "n_trials": n_trials},
        output={"trials": str(folder / f"{regime}.nc")},
    )


def train(folder, number, seeds="0", earlier=()):
    outputs = {name: str(folder / f"{number}-{name}.nc") for name in ("network", "activity", "history")}
    run(
        "make_round",
        folder,
        wildcards={"task": "memory_pro", "population": "insd", "seeds": seeds, "round": str(number)},
        params={"job": {"parameters": {}, "made": MADE, "code": "c"}},
        input={"bank": str(folder / "train.nc"), "test": str(folder / "test.nc"), "earlier": [str(p) for p in earlier]},
        output=outputs,
    )
    return outputs


@pytest.fixture
def folder(tmp_path):
    sample(tmp_path, "train", 40)
    sample(tmp_path, "test", 10)
    return tmp_path


def fails(capsys, folder, *arguments, **more):
    with pytest.raises(SystemExit) as stop:
        train(folder, *arguments, **more)
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.removeprefix("error: ") in (folder / "job.log").read_text()
    return message


def test_a_chain_of_rounds(folder):
    first = train(folder, 0)
    second = train(folder, 1, earlier=[first["activity"]])
    assert read(second["history"], "history").sizes["earlier"] == 1
    assert "iteration 4/4" in (folder / "job.log").read_text()


def test_activity_of_another_bank(folder, capsys):
    first = train(folder, 0)
    sample(folder, "train", 40, input_noise=0.2)
    message = fails(capsys, folder, 1, earlier=[first["activity"]])
    assert "0-activity.nc: holds activity on a different trial bank" in message
    assert "delete it and run its round again" in message


@pytest.mark.parametrize("content", [b"", b"something else", "half"])
def test_activity_that_is_no_netcdf_file(folder, capsys, content):
    if content == "half":
        whole = (folder / "train.nc").read_bytes()
        content = whole[: len(whole) // 2]
    (folder / "bad.nc").write_bytes(content)
    message = fails(capsys, folder, 1, earlier=[folder / "bad.nc"])
    assert "bad.nc: truncated, empty or no NetCDF file" in message


def test_activity_that_is_not_finite(folder, capsys):
    path = train(folder, 0)["activity"]
    activity = read(path, "activity")
    activity["null_activity"][0, 0, 0, 0] = np.nan
    activity.to_netcdf(path)
    assert "0-activity.nc: 'null_activity' holds values that are not finite" in fails(capsys, folder, 1, earlier=[path])


def test_weights_that_are_not_finite(folder):
    outputs = train(folder, 0)
    network = read(outputs["network"], "network")
    network["recurrent_weights"][0, 0, 0] = np.inf
    with pytest.raises(Exception, match="'recurrent_weights' holds values that are not finite"):
        write(network, outputs["network"], "network")
    network.to_netcdf(outputs["network"])
    message = "'recurrent_weights' holds values that are not finite, first at seed 0; delete the file"
    with pytest.raises(Exception, match=message):
        read(outputs["network"], "network")


def test_errors_that_nobody_foresaw_keep_their_traceback(folder):
    with pytest.raises(ValueError, match="invalid literal"):
        train(folder, 0, seeds="x")
    assert not (folder / "0-network.nc").exists()
