"""Recordings as references: read, made ready, compared with, or refused with one message."""

import re

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from conftest import ROOT

from insd import datasets, plugins
from insd.activity import simulate_trials
from insd.evaluation.recordings import recording_predictivity
from insd.grid import Grid
from insd.imported import import_checkpoint
from insd.makers.base import Job, MakerError
from insd.makers.recording import Recording, RecordingSettings
from insd.members import Member
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings
from insd.objectives.base import join_earlier, variables_of
from insd.predictivity import null_projector_array
from insd.provenance import array_fingerprint
from insd.recordings import read_recording
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop

BANK = FlipFlop(channels=1, duration=0.4).sample("train", 30, 0)
BANK.attrs["fingerprint"] = array_fingerprint(BANK, ["inputs", "targets", "mask"])
GOOD = {
    "rates": np.random.default_rng(0).standard_normal((30, 20, 6)),
    "output_weights": np.random.default_rng(1).standard_normal((1, 6)),
    "fingerprint": BANK.attrs["fingerprint"],
}


def stored(path, **changes):
    content = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        dimensions = {"rates": ("trial", "time", "unit"), "output_weights": ("output", "unit")}
        attributes = {"fingerprint": content.pop("fingerprint")}
        xr.Dataset({name: (dimensions[name], value) for name, value in content.items()}, attrs=attributes).to_netcdf(
            path
        )
    return path


@pytest.mark.parametrize("suffix", ["npz", "nc"])
def test_npz_and_netcdf_files_say_the_same(tmp_path, suffix):
    found = read_recording(stored(tmp_path / f"recording.{suffix}"), BANK)
    np.testing.assert_allclose(found["rates"], GOOD["rates"], rtol=1e-6)
    np.testing.assert_allclose(found["output_weights"], GOOD["output_weights"], rtol=1e-6)


@pytest.mark.parametrize(
    "dims", [("neuron", "trial", "time"), ("unit", "condition", "time"), ("time", "trial", "unit")]
)
def test_dimensions_of_a_netcdf_file_in_another_order_are_named(tmp_path, dims):
    # As many of each: shapes alone would not tell.
    xr.Dataset({"rates": (dims, np.ones((30, 30, 30)))}, attrs={"fingerprint": "f"}).to_netcdf(tmp_path / "r.nc")
    first = "condition" if "condition" in dims else "trial"
    message = rf"r.nc: 'rates' has the dimensions \({', '.join(dims)}\); needs \({first}, time, unit\) in this order"
    with pytest.raises(datasets.DatasetError, match=message):
        read_recording(tmp_path / "r.nc", BANK)


def kept(file, seeds=(0, 1), **changes):
    """The activity file of a recording, as its maker makes it."""
    recipe = Recipe(terms={"predictivity": changes})
    names = tuple(("flip_flop", "recorded", seed, 0) for seed in seeds)
    task = FlipFlop(channels=1, duration=0.4)
    maker = Recording(RecordingSettings(file=str(file)))
    return maker.make(Job(names, task, BANK, BANK, recipe, sources=maker.sources("flip_flop")))


def test_a_reference_is_the_null_space_activity_for_every_seed(tmp_path):
    made = kept(stored(tmp_path / "r.npz"), time_stride=2, variance_kept=1.0)
    assert made.network is None and made.history is None
    ((dataset, contract),) = made.files().values()
    path = tmp_path / "activity.nc"
    datasets.write(dataset, path, contract)
    terms = Recipe().terms
    read = datasets.read(path, "kept", variables_of(terms))
    null = (GOOD["rates"] @ null_projector_array(GOOD["output_weights"]))[:, ::2].reshape(-1, 6)
    null = null - null.mean(0)
    for seed in (0, 1):
        scores = read["null_activity"].sel(seed=seed).values.reshape(-1, read.sizes["component"])
        # Principal components keep all inner products between samples.
        np.testing.assert_allclose(scores @ scores.T, null @ null.T, atol=2e-3)
    earlier = join_earlier(terms, [read], BANK, [str(path)])["predictivity"]
    assert earlier.every == 2
    assert earlier.of_networks["components"].shape == (2, 30, 10, read.sizes["component"])


def test_without_a_readout_all_activity_is_the_reference(tmp_path):
    whole = kept(stored(tmp_path / "r.npz", output_weights=None), [0], time_stride=1, variance_kept=1.0).activity
    assert whole["null_activity"].values.var() * whole.sizes["component"] == pytest.approx(
        GOOD["rates"].reshape(-1, 6).var(0).sum(), rel=1e-3
    )


def test_networks_predict_a_recording_of_themselves(tmp_path):
    weights = RateRNN.initialise(RateSettings(units=8), 1, 1, 0.2, [torch.Generator().manual_seed(s) for s in (0, 1)])
    network = xr.Dataset(
        {name: (RateRNN.dimensions[name], values.numpy()) for name, values in weights.weights().items()},
        coords={"seed": [0, 1]},
        attrs={"tau": 0.1, "dt": 0.02},
    )
    inputs = torch.from_numpy(BANK["inputs"].values).transpose(0, 1).expand(2, -1, -1, -1)
    rates = weights(inputs).detach().transpose(1, 2).numpy()
    recordings = {"p": {"rates": rates[0], "output_weights": network["output_weights"].values[0]}}
    found = recording_predictivity(
        Member.of_datasets("q", 1, "alternative", network, xr.Dataset()), recordings, BANK, 10, 0
    )
    datasets.validate(found, "recordings", "r")
    np.testing.assert_allclose(found["r2"].sel(network="q/0/1"), 1, atol=1e-3)
    assert (found["r2_shuffled"].sel(network="q/0/1") < 0.9).all()


def test_an_imported_network_can_be_recorded(tmp_path):
    model = torch.nn.ModuleDict({"rnn": torch.nn.GRU(1, 6), "readout": torch.nn.Linear(6, 1)})
    torch.save(model.state_dict(), tmp_path / "m.pt")
    network = import_checkpoint(tmp_path / "m.pt", BANK)
    rates, _ = simulate_trials(network, BANK)
    weights = network["output_weights"].values[0]
    found = read_recording(stored(tmp_path / "r.npz", rates=rates[0].numpy(), output_weights=weights), BANK)
    expected, _ = model["rnn"](torch.from_numpy(BANK["inputs"].values).transpose(0, 1))
    np.testing.assert_allclose(found["rates"], expected.detach().transpose(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"fingerprint": None},
            "r.npz: has no 'fingerprint' (the attribute `fingerprint` of the trials of the recording); add it or, for "
            "averages over conditions, `time` and labels",
        ),
        ({"rates": None}, "r.npz: has no 'rates' (activity (trial, time, unit)); add it"),
        ({"fingerprint": "abc"}, "r.npz: is of other trials (fingerprint abc) than those of the config"),
        (
            {"rates": GOOD["rates"][:, 1:]},
            "'rates' has shape (30, 19, 6); needs (trial, time, unit) with 30 trials and 20",
        ),
        ({"rates": GOOD["rates"][0]}, "'rates' has shape (20, 6); needs (trial, time, unit)"),
        ({"rates": GOOD["rates"] * [1, 1, np.nan, 1, 1, 1]}, "'rates' holds values that are not finite numbers"),
        (
            {"output_weights": np.random.default_rng(1).standard_normal((6, 6))},
            "'output_weights': 6 output(s) of 6 units leave no null space; correct the readout",
        ),
        (
            {"output_weights": np.random.default_rng(1).standard_normal((9, 6))},
            "9 output(s) of 6 units leave no null space",
        ),
        ({"output_weights": np.ones((2, 6))}, "1 of 2 outputs are zero or linear combinations of others"),
        ({"output_weights": np.full((1, 6), 1e-200)}, "1 of 1 outputs are zero or linear combinations of others"),
        ({"rates": GOOD["rates"] * 1e300}, "'rates' holds values that are not finite numbers in single precision"),
        ({"output_weights": np.ones((1, 5))}, "'output_weights' has shape (1, 5); needs (output, unit) with 6 units"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(datasets.DatasetError) as refusal:
        read_recording(stored(tmp_path / "r.npz", **changes), BANK)
    assert message in str(refusal.value)


def test_of_other_trials_the_task_and_the_file_to_record_on_are_named(tmp_path):
    bank = BANK.assign_attrs(settings='{"task": {"name": "flip_flop", "parameters": {}}}')
    with pytest.raises(datasets.DatasetError) as refusal:
        read_recording(stored(tmp_path / "r.npz", fingerprint="abc"), bank)
    assert "record the activity on results/flip_flop/trials/train.nc, or give the task flip_flop " in str(refusal.value)


def test_files_that_are_no_recordings_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.ones((30, 20, 6)))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name, content in (
        ("r.npz", b"something else"),
        ("r.nc", b"something else"),
        ("e.npz", b""),
        ("array.npz", None),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(datasets.DatasetError, match=r"no npz file of arrays|truncated, empty or no NetCDF file"):
            read_recording(tmp_path / name, BANK)
    with pytest.raises(datasets.DatasetError, match="there is no such file"):
        read_recording(tmp_path / "missing.npz", BANK)


def config(tape=(), **population):
    made = {"seeds": 2, "make": "recording", "recording": {"file": "data/{task}.npz"}, **dict(tape)}
    chain = {"seeds": 2, "rounds": 3, "reference": "tape", **population}
    return {"tasks": {"flip_flop": {}}, "populations": {"tape": made, "p": chain}}


def test_the_config_of_the_documentation_is_whole(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples/own_task"))
    section = (ROOT / "docs/own-task.md").read_text().split("## A recording as the reference")[1]
    block = re.search(r"^ {7}tasks:\n(?: {7}.*\n)+", section, re.MULTILINE)
    settings = load(yaml.safe_load(block[0]))
    assert settings.shown_chain() == "recorded" and settings.reference("recorded") == "tape"
    # The recording has the seeds of the chain, as the text says.
    blocks = {block[:2] for block in Grid(settings).blocks("hold", ["tape", "recorded"], writes="activity")}
    assert blocks == {(name, seed) for name in ("tape", "recorded") for seed in ("0", "1")}


def test_settings_of_a_recording():
    settings = load(config())
    assert settings.recordings("flip_flop") == {"tape": "data/flip_flop.npz"}
    assert list(settings.trained_rounds("p")) == [1, 2]
    assert list(settings.trained_rounds("tape")) == [0]
    assert settings.reference("p") == "tape"
    assert settings.role("flip_flop", "tape", 0) == "reference"
    assert settings.network_populations("flip_flop") == ["p"]
    made = settings.made_with("flip_flop", "tape", 0)
    assert made["make"] == "recording" and set(made) == {"make", "maker", "terms"}
    with pytest.raises(MakerError, match=r"recording.file = 'data/flip_flop.npz': there is no such file in .*make it"):
        settings.maker("tape").sources("flip_flop")
    for changes, message in (
        ({"rounds": 1}, r"populations.p.rounds = 1: .* at least 2"),
        ({"seeds": 3}, "populations.p.seeds = 3: it reads 'tape', which has only 2"),
        ({"tape": {"rounds": 2}}, "populations.tape.rounds = 2: networks of make = 'recording' have one round"),
        ({"tape": {"recording": {"path": "x"}}}, "populations.tape.recording.file: this key is required"),
        ({"tape": {"checkpoint": {"files": "x"}}}, "populations.tape.checkpoint.* unknown key"),
        (
            {"tape": {"make": "recordings"}},
            "populations.tape.make = 'recordings': there is no maker 'recordings'; choose from "
            f"{', '.join(plugins.names('maker'))}, or name your own as 'module:Class'",
        ),
        (
            {"tape": {"file": "x.npz"}},
            "populations.tape.file = 'x.npz': unknown key; known.* tasks.*, and recording: {fil",
        ),
        ({"reference": "other"}, "populations.p.reference = 'other': choose a population that has a round 0: tape"),
        ({"tape": {"terms": {"predictivity": None}}}, "terms.predictivity compares networks with those of 'tape'"),
    ):
        with pytest.raises(SettingsError, match=message):
            load(config(**changes))


@pytest.mark.parametrize("scale", [1e-15, 1e-5, 1e15])
def test_a_recording_keeps_its_scale(tmp_path, scale):
    one = kept(stored(tmp_path / "one.npz")).activity["null_activity"]
    other = kept(stored(tmp_path / "other.npz", rates=scale * GOOD["rates"])).activity["null_activity"]
    # As precise as what is stored, at any scale; signs of components are free.
    np.testing.assert_allclose(np.abs(other / scale), np.abs(one), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("rates", [np.zeros((30, 20, 6)), np.full((30, 20, 6), 3.0), 1e-60 * GOOD["rates"]])
def test_a_recording_that_does_not_vary_is_refused(tmp_path, rates):
    with pytest.raises(datasets.DatasetError, match=r"r\.npz: the activity does not vary over samples"):
        kept(stored(tmp_path / "r.npz", rates=rates))
