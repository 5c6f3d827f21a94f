"""Makers: each keeps what the workflow relies on, files of others become populations, and fingerprints are of what is
used.
"""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from insd import plugins, provenance
from insd.activity import simulate_trials
from insd.grid import Grid
from insd.imported import CheckpointError, import_checkpoint, import_checkpoints
from insd.makers.base import Job, MakerError, code_of, maker_of, recipe_from
from insd.makers.check import check_maker
from insd.makers.recorded_files import recorded_files
from insd.networks.rate import RateRNN
from insd.networks.settings.rate import RateSettings
from insd.objectives.base import join_earlier
from insd.provenance import array_fingerprint
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(channels=1, duration=0.4)
OWN = (ROOT / "docs/own-task.md").read_text().split("## Your own maker")[1]
TOY = (
    re.search(r"```python\n(.*?)```", OWN, re.DOTALL)[1]
    + """

class Forgetful(Jump):
    writes = ("network", "activity", "history")
"""
)


def trials(regime, count, seed):
    made = TASK.sample(regime, count, seed)
    return made.assign_attrs(fingerprint=array_fingerprint(made, ["inputs", "targets", "mask"]))


BANK, TEST = trials("train", 48, 1), trials("test", 16, 2)
TINY_FIT = {"rank": 2, "hidden": 6, "trials": 16, "held_out": 8, "epochs": 2, "batch": 8, "particles": 4}
TRAINING = {"iterations": 10, "batch_size": 8, "evaluate_every": 5, "validation_trials": 16, "restarts": 0}


def matrices(seed, units=6):
    """A rate network of two, as a plain dict."""
    networks = RateRNN.initialise(RateSettings(units=units), 1, 1, 0.2, [torch.Generator().manual_seed(seed)])
    return {name: values[0] + 0.1 for name, values in networks.weights().items()}


def job(**changes):
    names = tuple(("flip_flop", "p", seed, 0) for seed in (0, 1))
    given = {"names": names, "task": TASK, "bank": BANK, "test": TEST}
    recipe = Recipe(network={"units": 8}, training=TRAINING)
    return Job(**(given | {"recipe": recipe} | changes))


@pytest.fixture
def files(tmp_path):
    """Files of each kind that makers read."""
    for seed in (0, 1):
        torch.save(matrices(seed), tmp_path / f"net-{seed}.pt")
    rates = np.random.default_rng(0).standard_normal((48, 20, 7))
    np.savez(tmp_path / "rates.npz", rates=rates, fingerprint=BANK.attrs["fingerprint"])
    return tmp_path


@pytest.mark.parametrize("name", plugins.names("maker"))
def test_every_maker_keeps_what_the_workflow_relies_on(name, files):
    settings = {
        "train": {},
        "recording": {"file": str(files / "rates.npz")},
        "checkpoint": {"files": str(files / "net-*.pt"), "tau": 0.1},
        "walk": {"steps": 1, "iterations": 5, "restoring": 1},
        "teach": {"population": "insd", "round": 1},
        "fit_low_rank": {"population": "insd", "round": 1, **TINY_FIT},
    }[name]
    found = plugins.find("maker", name)
    changes = {"sources": found(found.Settings(**settings)).sources("flip_flop")}
    if name == "walk":
        # Of untrained networks, whose loss is what it is.
        training = {"batch_size": 8, "validation_trials": 16, "loss_bound": 10.0}
        changes |= {"earlier": written_round(files), "recipe": Recipe(training=training)}
    if name == "teach":
        recipe = Recipe(network={"units": 8}, training=TRAINING, terms={"teacher": {"share": 0.5}})
        changes |= {"earlier": written_round(files)[:1], "recipe": recipe}
    if name == "fit_low_rank":
        changes |= {"earlier": written_round(files)[:1]}
    check_maker(found, settings, job(**changes))


def written_round(folder):
    """The files of the network and of the activity of two untrained networks."""
    untrained = Recipe(network={"units": 8}, training=TRAINING | {"iterations": 0})
    made = plugins.find("maker", "train")(None).make(job(recipe=untrained))
    for name, (dataset, _) in made.files().items():
        dataset.assign_attrs(settings="{}").to_netcdf(folder / f"{name}.nc")
    return str(folder / "network.nc"), str(folder / "activity.nc")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_makers.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.find.cache_clear()
    yield "toy_makers"
    sys.modules.pop("toy_makers", None)
    plugins.find.cache_clear()


def test_the_check_says_what_is_wrong(toy, tmp_path):
    made = plugins.find("maker", "train")(None).make(job())
    path = tmp_path / "network.nc"
    made.network.assign_attrs(settings="{}").to_netcdf(path)
    check_maker(plugins.find("maker", f"{toy}:Jump"), {"step": 0.2}, job(earlier=(str(path),)))
    with pytest.raises(
        MakerError, match="Forgetful: it makes activity, network, and declares activity, history, network"
    ):
        check_maker(plugins.find("maker", f"{toy}:Forgetful"), {}, job(earlier=(str(path),)))


def test_populations_of_others_networks_have_their_rates(files, tmp_path):
    model = torch.nn.ModuleDict({"rnn": torch.nn.RNN(1, 5, nonlinearity="relu"), "readout": torch.nn.Linear(5, 1)})
    torch.save(model.state_dict(), tmp_path / "relu.pt")
    maker = maker_of({"make": "checkpoint", "maker": {"files": [str(tmp_path / "relu.pt")], "nonlinearity": "relu"}})
    one = job(names=(("flip_flop", "others", 0, 0),), sources=maker.sources("flip_flop"))
    made = maker.make(one)
    assert made.history is None and made.network.attrs["nonlinearity"] == "relu"
    expected, _ = model["rnn"](torch.from_numpy(TEST["inputs"].values).transpose(0, 1))
    np.testing.assert_allclose(made.activity["rates"][0], expected.detach().transpose(0, 1), atol=1e-4)
    # What later rounds are compared with is there as of any network.
    earlier = join_earlier(Recipe().terms, [made.activity], BANK, ["a.nc"])
    assert earlier["predictivity"].earlier == 1
    with pytest.raises(MakerError, match=r"populations.others.seeds: seed 1 is not in the files, which hold 1 network"):
        maker.make(job(names=(("flip_flop", "others", 1, 0),), sources=maker.sources("flip_flop")))


def test_what_files_do_not_say_is_asked_for_by_its_key_in_the_config(tmp_path):
    module = torch.nn.ModuleDict({"rnn": torch.nn.RNN(1, 8), "readout": torch.nn.Linear(8, 1)})
    torch.save(module.state_dict(), tmp_path / "rnn.pt")
    maker = maker_of({"make": "checkpoint", "maker": {"files": str(tmp_path / "rnn.pt")}})
    with pytest.raises(MakerError, match=r"populations.others: .*give it, as in `checkpoint: {nonlinearity: tanh}`$"):
        maker.make(job(names=(("flip_flop", "others", 0, 0),), sources=maker.sources("flip_flop")))


def test_a_recording_is_one_file(tmp_path):
    for name in ("a[1].npz", "b1.npz", "b2.npz"):
        (tmp_path / name).touch()
    assert recorded_files(f"{tmp_path}/a[1].npz", "flip_flop", "key") == (f"{tmp_path}/a[1].npz",)
    with pytest.raises(MakerError, match=r"^key = .*names 2 files \(.*b1.npz, .*b2.npz\); name one$"):
        recorded_files(f"{tmp_path}/b*.npz", "flip_flop", "key")


def test_files_are_checked_before_the_first_job(tmp_path):
    torch.save(matrices(0), tmp_path / "one.pt")
    torch.save(matrices(0) | {"output_weights": torch.zeros(1, 6)}, tmp_path / "zero.pt")
    task = {"flip_flop": {"parameters": {"channels": 1}}}

    def check(file, seeds, **said):
        section = {"files": str(tmp_path / file), **said}
        others = {"seeds": seeds, "make": "checkpoint", "checkpoint": section, "role": "control"}
        Grid(load({"tasks": task, "populations": {"standard": {"seeds": 1}, "others": others}})).check_sources()

    check("one.pt", 1, tau=0.1)
    check("missing.pt", 1, tau=0.1)
    for arguments, said, message in (
        (("one.pt", 2), {"tau": 0.1}, "  - populations.others.seeds: seed 1 is not in the files, which hold 1 network"),
        (("one.pt", 1), {}, r"  - populations.others: .*one.pt: these .*give it, as in `checkpoint: {tau: 0.1}`"),
        (("zero.pt", 1), {"tau": 0.1}, r"  - populations.others: seed 0 of .*zero.pt: 1 of 1 outputs are zero"),
    ):
        with pytest.raises(SettingsError, match=message):
            check(*arguments, **said)


def test_a_grid_takes_no_network_without_a_null_space(tmp_path):
    torch.save(matrices(0) | {"output_weights": torch.zeros(1, 6)}, tmp_path / "zero.pt")
    maker = maker_of({"make": "checkpoint", "maker": {"files": [str(tmp_path / "zero.pt")], "tau": 0.1}})
    with pytest.raises(
        MakerError, match=r"others: seed 0 of .*zero.pt: 1 of 1 outputs are zero .* `insd import` takes"
    ):
        maker.make(job(names=(("flip_flop", "others", 0, 0),), sources=maker.sources("flip_flop")))


@pytest.mark.parametrize("scale", [0.0, 1e6])
def test_a_grid_takes_no_network_whose_activity_is_zero_or_without_bound(tmp_path, scale):
    content = matrices(0) | {"bias": torch.zeros(6), "initial_state": torch.zeros(6)}
    content |= {"recurrent_weights": scale * torch.ones(6, 6), "input_weights": scale * torch.ones(6, 1)}
    torch.save(content, tmp_path / "n.pt")
    settings = {"files": [str(tmp_path / "n.pt")], "tau": 0.1, "nonlinearity": "relu"}
    maker = maker_of({"make": "checkpoint", "maker": settings})
    with pytest.raises(MakerError, match=r"n.pt: the activity of these networks .* does not vary, or is not finite"):
        maker.make(job(names=(("flip_flop", "others", 0, 0),), sources=maker.sources("flip_flop")))


def test_seeds_are_the_networks_of_all_files_in_order(files):
    maker = maker_of({"make": "checkpoint", "maker": {"files": str(files / "net-*.pt"), "tau": 0.1}})
    sources = maker.sources("flip_flop")
    assert [Path(path).name for path in sources] == ["net-0.pt", "net-1.pt"]
    second = maker.make(job(names=(("flip_flop", "others", 1, 0),), sources=sources)).network
    np.testing.assert_array_equal(second["recurrent_weights"][0], matrices(1)["recurrent_weights"])
    with pytest.raises(MakerError, match=r"checkpoint.files = '.*other-\*.pt': there is no such file in"):
        maker_of({"make": "checkpoint", "maker": {"files": str(files / "other-*.pt")}}).sources("flip_flop")


def _stacked(path):
    stacked = {name: torch.stack([matrices(seed)[name] for seed in range(3)]) for name in matrices(0)}
    torch.save(stacked, path)


def _listed(path):
    torch.save([matrices(seed) for seed in range(3)], path)


def _named(path):
    torch.save({f"net {seed}": matrices(seed) for seed in range(3)}, path)


def _arrays(path):
    np.savez(path, **{f"{seed}/{name}": v.numpy() for seed in range(3) for name, v in matrices(seed).items()})


def _stacked_arrays(path):
    np.savez(path, **{name: np.stack([matrices(seed)[name] for seed in range(3)]) for name in matrices(0)})


@pytest.mark.parametrize(
    "write, suffix",
    [(_stacked, "pt"), (_listed, "pt"), (_named, "pt"), (_arrays, "npz"), (_stacked_arrays, "npz")],
)
def test_a_file_of_several_networks(tmp_path, write, suffix):
    write(tmp_path / f"several.{suffix}")
    found = import_checkpoint(tmp_path / f"several.{suffix}", BANK, tau=0.1)
    assert found["seed"].values.tolist() == [0, 1, 2]
    for seed in range(3):
        for name, values in matrices(seed).items():
            np.testing.assert_array_equal(found[name][seed], values)
    assert torch.isfinite(simulate_trials(found, TEST)[0]).all()


def test_networks_that_differ_in_kind_are_not_one_population(tmp_path):
    torch.save(matrices(0), tmp_path / "a.pt")
    torch.save(matrices(0, units=7), tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"b.pt: has a rate network of 7 units, and .*a.pt a rate network of 6"):
        import_checkpoints([str(tmp_path / "a.pt"), str(tmp_path / "b.pt")], BANK, tau=0.1)
    # One number, such as a time step, is that of all.
    alike = {name: torch.stack([values] * 3) for name, values in matrices(0).items()} | {"alpha": torch.tensor(0.2)}
    torch.save(alike, tmp_path / "d.pt")
    assert import_checkpoints([str(tmp_path / "d.pt")], BANK).sizes["seed"] == 3
    ragged = {name: torch.stack([values] * (2 if name == "bias" else 3)) for name, values in matrices(0).items()}
    torch.save(ragged, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"c.pt: its arrays hold different numbers of networks .*2 in 'bias'"):
        import_checkpoint(tmp_path / "c.pt", BANK, tau=0.1)


def config(**populations):
    return {"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 1}, **populations}}


OTHERS = {"seeds": 3, "make": "checkpoint", "checkpoint": {"files": "nets/{task}-*.pt", "tau": 0.1}, "role": "control"}


def test_settings_of_a_maker():
    settings = load(config(others=OTHERS))
    assert settings.makers() == ["train", "checkpoint"]
    made = settings.made_with("flip_flop", "others", 0)
    assert made["maker"] == {
        **{"files": "nets/{task}-*.pt", "tau": 0.1, "readout": "readout"},
        **{"rnn": None, "nonlinearity": None, "leaky": "states", "mapping": {}, "ignore": []},
    }
    # Nothing of a recipe that does not concern these networks is said of them.
    assert set(made) == {"make", "maker", "terms"}
    assert maker_of(json.loads(json.dumps(made))).settings.files == "nets/{task}-*.pt"
    assert settings.role("flip_flop", "others", 0) == "control"
    assert settings.network_populations("flip_flop") == ["standard", "others"]
    chain = {"seeds": 3, "rounds": 2, "reference": "others"}
    without_role = {key: value for key, value in OTHERS.items() if key != "role"}
    assert load(config(others=without_role, chain=chain)).role("flip_flop", "others", 0) == "reference"
    trained = load(config()).made_with("flip_flop", "standard", 0)
    assert recipe_from(trained) == load(config()).recipe("flip_flop", "standard", 0)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"role": None},
            r"populations.others.role: needed for networks that are not trained here; .*control, reference",
        ),
        ({"role": "standard"}, "populations.others.role = 'standard': networks that are not trained here"),
        (
            {"make": "stroll"},
            r"populations.others.make = 'stroll': there is no maker 'stroll'; choose from .*checkpoint, .*rec",
        ),
        (
            {"make": "nowhere:Maker"},
            "populations.others.make = 'nowhere:Maker': the module 'nowhere' cannot be imported",
        ),
        ({"checkpoint": {"tau": 0.1}}, "populations.others.checkpoint.files: this key is required"),
        ({"checkpoint": {"files": []}}, "populations.others.checkpoint.files.* should have at least 1 item"),
        (
            {"checkpoint": {"files": "x", "dt": 1}},
            "populations.others.checkpoint.dt = 1: unknown key; known here: files",
        ),
        ({"recording": {"file": "x"}}, r"populations.others.recording = .*: unknown key; known here: .*make"),
        ({"rounds": 2}, "populations.others.rounds = 2: networks of make = 'checkpoint' have one round"),
        (
            {"reference": "standard"},
            "populations.others.reference = 'standard': make = 'checkpoint' takes no reference",
        ),
    ],
)
def test_makers_that_cannot_be_used_are_refused(changes, message):
    if changes.get("make") == "stroll":
        changes = changes | {"stroll": {}}
    given = OTHERS | changes
    if given["make"] != "checkpoint":
        del given["checkpoint"]
    with pytest.raises(SettingsError, match=message):
        load(config(others=given))


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library that fingerprints are taken of, to be edited."""
    copy = Path(shutil.copytree(provenance.LIBRARY, tmp_path / "insd", ignore=shutil.ignore_patterns("*.so", "*.pyc")))
    monkeypatch.setattr(provenance, "LIBRARY", copy)
    provenance.code_fingerprint.cache_clear()
    yield copy
    provenance.code_fingerprint.cache_clear()


def codes():
    """The fingerprints of some rounds."""
    chain = {"seeds": 1, "rounds": 2}
    gated = chain | {"network": {"architecture": "gru"}}
    free = {"seeds": 1, "terms": {"predictivity": None}}
    settings = load(config(chain=chain, gated=gated, free=free, others=OTHERS) | {"figures": {"chain": "chain"}})
    provenance.code_fingerprint.cache_clear()
    names = ("standard", "gated", "free", "others")
    return {name: code_of(settings.made_with("flip_flop", name, 0), FlipFlop) for name in names}


def append(path, text):
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize("kind", ["tasks", "networks", "objectives", "makers", "measures", "analysis"])
def test_adding_a_file_changes_no_fingerprint(library, kind):
    before = codes()
    (library / kind / "toy.py").write_text("A = 1\n")
    assert codes() == before


@pytest.mark.parametrize(
    "file, changed",
    [
        ("networks/gru.py", {"gated", "others"}),
        ("networks/rate.py", {"standard", "free", "others"}),
        ("networks/low_rank.py", {"others"}),
        ("objectives/predictivity.py", {"standard", "gated", "others"}),
        ("objectives/schedules.py", {"standard", "gated", "free"}),
        ("makers/train.py", {"standard", "gated", "free"}),
        ("makers/checkpoint.py", {"others"}),
        ("makers/recording.py", set()),
        ("imported.py", {"others"}),
        ("layouts/keras.py", {"others"}),
        ("rounding.py", {"standard", "gated", "free", "others"}),
        ("tasks/flip_flop.py", {"standard", "gated", "free", "others"}),
        ("tasks/memory_pro.py", set()),
        ("progress.py", set()),
        ("datasets.py", set()),
        ("settings/recipe.py", set()),
    ],
)
def test_an_edit_changes_the_fingerprints_of_what_uses_it(library, file, changed):
    before = codes()
    append(library / file, "\nEDITED = 1\n")
    after = codes()
    assert {name for name in before if after[name] != before[name]} == changed


def test_a_line_for_the_log_is_not_in_a_fingerprint(library):
    before = codes()
    path = library / "training.py"
    text = path.read_text()
    assert '"resumed from iteration %d of attempt %d"' in text
    path.write_text(text.replace('"resumed from iteration %d of attempt %d"', '"going on from %d of attempt %d"'))
    assert codes() == before


def test_makers_are_known_without_importing_pytorch():
    config = {"tasks": {"flip_flop": {}}, "populations": {"p": {"seeds": 1}}}
    code = f"""
import sys
from insd import plugins
from insd.settings.load import load
for name in plugins.names("maker"):
    plugins.find("maker", name)
load({config})
assert "torch" not in sys.modules
"""
    path = {"PYTHONPATH": str(Path(importlib.import_module("insd").__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=path, check=False).returncode == 0
