"""The command `insd`: a chain from nothing, what it prints, and its exit codes."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import ROOT
from PIL import Image

from insd import datasets
from insd.cli import main
from insd.measures.predictivity import linear_predictivity
from insd.predictivity import null_projector_array
from insd.provenance import random_seed
from insd.tasks.flip_flop import FlipFlop

SMALL = [
    *("trials.train=96", "trials.evaluation=48", "task.channels=1", "task.duration=0.6", "network.units=10"),
    *("training.iterations=20", "training.batch_size=16", "training.evaluate_every=10"),
    *("training.validation_trials=32", "training.restarts=0"),
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("cli") / "chain")
    assert main(["train", "flip_flop", folder, "--seed", "3", "--set", *SMALL]) == 0
    assert main(["deflate", folder, "--set", "network.gain=1.5"]) == 0
    assert main(["deflate", folder]) == 0
    return folder


def test_a_chain_has_the_files_of_the_workflow(chain, capsys):
    for number in range(3):
        for name in ("network", "activity", "history"):
            stored = datasets.read(f"{chain}/round-{number}/{name}.nc", name)
            assert stored["seed"].values.tolist() == [3]
    assert stored.sizes["earlier"] == 2
    trials = datasets.read(f"{chain}/train.nc", "trials")
    assert trials.sizes["trial"] == 96
    made = json.loads(trials.attrs["settings"])
    # All of them, also those that were not changed.
    parameters = json.loads(json.dumps(asdict(FlipFlop(channels=1, duration=0.6))))
    assert made == {"task": {"name": "flip_flop", "parameters": parameters}, "regime": "train", "trials": 96}
    assert int(trials.attrs["seed"]) == random_seed("trials", "flip_flop", "train")


def test_a_round_has_the_settings_of_the_one_before(chain):
    gains = [
        json.loads(datasets.read(f"{chain}/round-{number}/network.nc", "network").attrs["settings"])["recipe"][
            "network"
        ]
        for number in range(3)
    ]
    assert [gain["gain"] for gain in gains] == [1.0, 1.5, 1.5]
    assert {gain["units"] for gain in gains} == {10}


def test_the_next_round_says_how_it_went(chain, capsys):
    assert main(["deflate", chain]) == 0
    captured = capsys.readouterr()
    assert re.search(r"round-3: (not )?solved, sign accuracy 0\.\d+", captured.out)
    assert len(re.search(r"S to each earlier round: (.*)", captured.out).group(1).split(", ")) == 3
    assert re.search(r"not deflated: S 0\.\d+, bound 0\.05; allow more training\.iterations \(20\)", captured.out)
    # As the workflow's table has it.
    r2 = re.search(r"null-space r2 to each earlier round: (.*)", captured.out).group(1).split(", ")
    last, *earlier = (_null_rates(f"{chain}/round-{number}") for number in (3, 0, 1, 2))
    expected = [linear_predictivity(last, one) for one in earlier]
    np.testing.assert_allclose(np.array(r2, float), expected, atol=2e-3)
    assert f"not deflated: null-space r2 {max(expected):.3f}, bound 0.25" in captured.out
    assert "20/20" in captured.err


def _null_rates(folder):
    rates = datasets.read(f"{folder}/activity.nc", "activity")["rates"].values[0]
    weights = datasets.read(f"{folder}/network.nc", "network")["output_weights"].values[0]
    # Analyses take every second time step.
    return (rates[:, ::2] @ null_projector_array(weights)).reshape(-1, rates.shape[-1])


def test_compare(chain, capsys):
    network = f"{chain}/round-0/network.nc"
    assert main(["compare", network, f"{chain}/round-1/network.nc"]) == 0
    output = capsys.readouterr().out
    for row in ("A -> B", "B -> A", r"cka \(similarity\)", r"procrustes \(distance\)"):
        full, null = map(float, re.search(rf"{row} +(\S+) +(\S+)", output).groups())
        assert 0 <= full <= 2 and 0 <= null <= 2
    assert main(["compare", network, network, "--trials", f"{chain}/test.nc"]) == 0
    output = capsys.readouterr().out
    assert "on 48 trials" in output
    assert re.search(r"A -> B +1\.000 +1\.000", output)


def test_fixed_points(chain, capsys, tmp_path):
    file = tmp_path / "points.nc"
    assert main(["fixed-points", f"{chain}/round-0/network.nc", "--starts", "16", "--output", str(file)]) == 0
    captured = capsys.readouterr()
    assert re.search(r"network/3/0: 100%.* 1/1 ", captured.err)
    counts = re.search(r"hold +(\d+) +(\d+) +(\d+) +(\d+) +\d+ %", captured.out).groups()
    found = datasets.read(file, "fixed_points")
    assert int(counts[0]) == found["n_fixed_points"].item()


def test_an_imported_network_can_be_compared(chain, capsys, tmp_path):
    model = torch.nn.ModuleDict({"rnn": torch.nn.RNN(1, 8), "readout": torch.nn.Linear(8, 1)})
    torch.save(model.state_dict(), tmp_path / "m.pt")
    network = str(tmp_path / "network.nc")
    assert main(["import", str(tmp_path / "m.pt"), network, "--trials", f"{chain}/test.nc"]) == 1
    assert "was with tanh or relu; give it, as in `--nonlinearity tanh`\n" in capsys.readouterr().err
    tanh = ["--nonlinearity", "tanh"]
    assert main(["import", str(tmp_path / "m.pt"), network, "--trials", f"{chain}/test.nc", *tanh]) == 0
    assert "tanh rate network of 8 units" in capsys.readouterr().out
    trials = ["--trials", f"{chain}/test.nc"]
    assert main(["compare", network, f"{chain}/round-0/network.nc", *trials]) == 0
    assert main(["fixed-points", network, *trials, "--starts", "16"]) == 0
    assert re.search(r"hold +\d+", capsys.readouterr().out)
    assert main(["fixed-points", network, *trials, "--task", "memory_pro", "--starts", "16"]) == 1
    assert "the network has 1 input, where the trials have 3 (" in capsys.readouterr().err


def test_no_file_of_the_user_s_is_to_be_deleted(chain, capsys, tmp_path):
    mine, whole, trials = tmp_path / "mine.pt", Path(chain, "round-0/network.nc"), f"{chain}/test.nc"
    torch.save(torch.nn.RNN(1, 8).state_dict(), mine)
    for arguments in (["score", str(mine), trials], ["fixed-points", str(mine)], ["compare", str(mine), str(mine)]):
        assert main(arguments) == 1
        told = f"{mine}: is not a NetCDF file, as network.nc is; if it is a PyTorch checkpoint, `insd import` it first"
        assert told in capsys.readouterr().err
    assert main(["score", str(whole), str(mine)]) == 1
    assert f"{mine}: is not a NetCDF file, as trials.nc is; `insd trials` makes one" in capsys.readouterr().err
    broken = tmp_path / "broken.nc"
    broken.write_bytes(whole.read_bytes()[:5000])
    assert main(["fixed-points", str(broken)]) == 1
    error = capsys.readouterr().err
    assert f"{broken}: truncated" in error and "; make it again: `insd train`" in error and "delete" not in error
    assert main(["fixed-points", str(tmp_path)]) == 1
    assert f"{tmp_path}: is a folder; name a file" in capsys.readouterr().err


def test_a_network_without_a_null_space_has_fixed_points_and_no_null_columns(chain, capsys, tmp_path):
    names = ("recurrent_weights", "input_weights", "output_weights")
    np.savez(tmp_path / "m.npz", **dict(zip(names, (np.eye(1) * 2, np.ones((1, 1)), np.ones((1, 1))), strict=True)))
    network = str(tmp_path / "network.nc")
    trials = ["--trials", f"{chain}/test.nc"]
    assert main(["import", str(tmp_path / "m.npz"), network, *trials, "--tau", "0.1"]) == 0
    assert "1 output(s) of 1 units leave no null space; it can be neither" in capsys.readouterr().out
    # x = 2 tanh(x) has three roots.
    assert main(["fixed-points", network, *trials, "--starts", "16"]) == 0
    assert re.search(r"hold +3 +2 ", capsys.readouterr().out)
    assert main(["compare", f"{chain}/round-0/network.nc", network, *trials]) == 0
    output = capsys.readouterr().out
    assert re.search(r"A -> B +[01]\.\d+ +nan\n.*B -> A +0\.\d+ +nan", output)
    assert all(line.split()[-1] == "nan" for line in output.splitlines() if re.search(r"\(\w+\)  ", line))
    assert output.endswith("null: B: 1 output(s) of 1 units leave no null space\n")


def test_what_leaks_and_what_has_factors_is_said(chain, capsys, tmp_path):
    trials = ["--trials", f"{chain}/test.nc", "--tau", "0.1"]
    factors = {"wi": np.ones((1, 4)), "m": np.ones((4, 1)), "n": np.ones((4, 1)), "wo": np.ones((4, 1))}
    np.savez(tmp_path / "m.npz", **factors)
    for options, kind in ((["--leaky", "rates"], "GRU"), ([], "tanh low-rank network")):
        network = str(tmp_path / f"{kind}.nc")
        assert main(["import", str(tmp_path / "m.npz"), network, *trials, *options]) == 0
        assert f"{kind} of 4 units" in capsys.readouterr().out
        assert datasets.read(network, "network").attrs["tau"] == 0.1


def test_activity_that_is_zero_or_without_bound_ends_in_no_traceback(chain, capsys, tmp_path):
    trials = ["--trials", f"{chain}/test.nc"]
    names = ("recurrent_weights", "input_weights", "output_weights")
    for scale, code in ((0.0, 0), (1e6, 1)):
        weights = (scale * np.ones((4, 4)), scale * np.ones((4, 1)), np.ones((1, 4)))
        np.savez(tmp_path / "m.npz", **dict(zip(names, weights, strict=True)))
        network = str(tmp_path / f"{scale}.nc")
        relu = ["--tau", "0.1", "--nonlinearity", "relu"]
        assert main(["import", str(tmp_path / "m.npz"), network, *trials, *relu]) == 0
        assert main(["fixed-points", network, *trials, "--starts", "4"]) == 0
        capsys.readouterr()
        assert main(["compare", network, network, *trials]) == code
        captured = capsys.readouterr()
        assert ("its activity on these trials grows beyond all numbers" in captured.err) == (code == 1)
        assert code or re.search(r"A -> B +nan +nan", captured.out)


def test_trials_of_an_unknown_task_do_not_name_the_network_s(chain, capsys, tmp_path):
    model = torch.nn.ModuleDict({"rnn": torch.nn.GRU(1, 8), "readout": torch.nn.Linear(8, 1)})
    torch.save(model.state_dict(), tmp_path / "m.pt")
    trials = datasets.read(f"{chain}/test.nc", "trials")
    del trials.attrs["settings"]
    datasets.write(trials, tmp_path / "test.nc", "trials")
    network = str(tmp_path / "network.nc")
    assert main(["import", str(tmp_path / "m.pt"), network, "--trials", str(tmp_path / "test.nc")]) == 0
    assert main(["fixed-points", network]) == 1
    assert "the file does not say its task; name it by --task" in capsys.readouterr().err


def test_the_network_of_a_seed(chain, capsys, tmp_path):
    first, second = (datasets.read(f"{chain}/round-{number}/network.nc", "network") for number in (0, 1))
    second = second.drop_vars("held_out_penalty").assign_coords(seed=[7])
    both = xr.concat([first, second], "seed", combine_attrs="override")
    file = str(tmp_path / "network.nc")
    datasets.write(both, file, "network")

    def r2(*arguments):
        capsys.readouterr()
        assert main(["compare", *arguments, "--trials", f"{chain}/test.nc"]) == 0
        output = capsys.readouterr().out
        return re.search(r"A -> B +(\S+)", output).group(1), re.findall(r"= .*, seed (\d)", output)

    expected, _ = r2(f"{chain}/round-0/network.nc", f"{chain}/round-1/network.nc")
    assert expected != "1.000"
    assert r2(file, file, "--seed", "3", "7") == (expected, ["3", "7"])
    assert r2(file, file) == ("1.000", ["3", "3"])
    assert main(["compare", file, file, "--seed", "3", "4"]) == 1
    assert f"{file}: has no seed 4; its seeds are: 3, 7" in capsys.readouterr().err
    assert main(["fixed-points", file, "--seed", "7", "--starts", "16"]) == 0
    assert "network/7/0" in capsys.readouterr().err
    assert main(["fixed-points", file, "--seed", "4"]) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["train", "flipflop", "x"],
            "error: there is no task 'flipflop'; choose from context_integration, delayed_discrimination, fl",
        ),
        (["train", "nowhere:Mine", "x"], "cannot import 'nowhere'"),
        (
            ["train", "flip_flop", "x", "--set", "units=5"],
            "--set units=5: needs SECTION.KEY=VALUE, with one of the sec",
        ),
        (
            ["train", "flip_flop", "x", "--set", "task.grid={noise: [1]}"],
            "--set ...={noise: [1]}: a mapping is written as in JSON, with quotes",
        ),
        (
            ["train", "flip_flop", "x", "--set", "network.unit=5"],
            "populations.insd.network.unit = 5: unknown key; known here: arch",
        ),
        (["train", "flip_flop", "{chain}"], "round-0: is there already; choose another folder"),
        (["deflate", "x"], "x: holds no round-0; begin with `insd train TASK x`"),
        (
            ["deflate", "{chain}", "--set", "trials.train=300"],
            "--set trials.train=300: needs SECTION.KEY=VALUE, with one of the sections network, training, terms; "
            "later rounds have the trials of the first",
        ),
        (["deflate", "{chain}", "--set", "network.gain=1.2", "task.channels=2"], "--set task.channels=2: needs"),
        (
            ["deflate", "{chain}", "--set", "training.validation_trials=500"],
            "training.validation_trials = 500 and training.batch_size = 16 need more than trials.train = 96 trials",
        ),
        (["train", "flip_flop", ""], "the folder's name is empty; give it a name, or `.` for where you are"),
        (["fixed-points", "{chain}/round-0/network.nc", "--starts", "1"], "error: --starts 1: from 2 to 1000000"),
        (
            ["compare", "a.nc", "b.nc"],
            "a.nc: there is no such file; `insd train` makes one, and `insd import` of what you trained elsewhere",
        ),
        (["score", "{chain}/round-0/network.nc", "a.nc"], "a.nc: there is no such file; `insd trials` makes one"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(chain, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(Path(chain).iterdir())
    assert main([argument.replace("{chain}", chain) for argument in arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert sorted(Path(chain).iterdir()) == before


def test_a_chain_of_a_version_with_other_settings(chain, capsys, tmp_path):
    folder = Path(shutil.copytree(chain, tmp_path / "chain"))
    path = folder / f"round-{len(list(folder.glob('round-*'))) - 1}/network.nc"
    latest = datasets.read(path, "network")
    settings = json.loads(latest.attrs["settings"])
    settings["recipe"]["network"]["old"] = 1
    path.unlink()
    latest.assign_attrs(settings=json.dumps(settings), git_commit="0123").to_netcdf(path)
    assert main(["deflate", str(folder)]) == 1
    message = f"{path}: this version cannot use the settings that it was made with (commit 0123); use that version, or"
    assert message in (told := capsys.readouterr().err) and "defaults.network.old = 1: unknown key" in told


def test_networks_of_other_tasks_are_not_compared(chain, capsys, tmp_path):
    other = str(tmp_path / "other")
    assert main(["train", "memory_pro", other, "--set", *[s for s in SMALL if not s.startswith("task")]]) == 0
    assert main(["compare", f"{chain}/round-0/network.nc", f"{other}/round-0/network.nc"]) == 1
    message = capsys.readouterr().err
    assert (
        f"{other}/round-0/network.nc: the network has " in message and "use trials of the task that it was" in message
    )


def test_help_and_wrong_usage():
    for arguments, code in ((["--help"], 0), (["train", "--help"], 0), ([], 2), (["train"], 2)):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == code


def test_the_command_ends_with_the_exit_code():
    command = "import sys; sys.argv = ['insd', 'deflate', 'nowhere']; from insd.cli import entry_point; entry_point()"
    result = subprocess.run(
        [sys.executable, "-c", command],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "error: nowhere: holds no round-0; begin with `insd train TASK nowhere`\n"


def test_a_network_keeps_its_own_time_step(chain, tmp_path, capsys):
    network, coarse = f"{chain}/round-0/network.nc", tmp_path / "coarse.nc"
    trials = FlipFlop(channels=1, duration=0.6, dt=0.05).sample("test", 16, 0)
    datasets.write(trials.assign_attrs(fingerprint=""), coarse, "trials")
    for command in (["compare", network, network], ["fixed-points", network]):
        assert main([*command, "--trials", str(coarse)]) == 1
        message = capsys.readouterr().err
        assert f"error: {network}: runs at the time step dt = 0.02 s, and the trials are at 0.05 s, where" in message


@pytest.mark.parametrize("row", [0.0, 1.0])
def test_a_readout_of_dependent_outputs_is_compared_without_the_null_space(chain, tmp_path, capsys, row):
    network = datasets.read(f"{chain}/round-0/network.nc", "network")
    twice = xr.concat([network["output_weights"], row * network["output_weights"]], "output")
    changed = network.drop_vars(["output_weights", "output_bias", "output"]).assign(
        output_weights=(("seed", "output", "unit"), twice.transpose("seed", "output", "unit").values),
        output_bias=(("seed", "output"), [[0.0, 0.0]]),
    )
    trials = datasets.read(f"{chain}/test.nc", "trials").isel(output=[0, 0])
    datasets.write(changed, tmp_path / "n.nc", "network")
    datasets.write(trials, tmp_path / "t.nc", "trials")
    assert main(["compare", *[str(tmp_path / "n.nc")] * 2, "--trials", str(tmp_path / "t.nc")]) == 0
    output = capsys.readouterr().out
    assert re.search(r"A -> B +1\.000 +nan", output)
    for label in "AB":
        assert f"\nnull: {label}: 1 of 2 outputs are zero or linear combinations of others: no null space" in output


def test_what_reads_the_output_may_stop(chain):
    network = f"{chain}/round-0/network.nc"
    entry = "from insd.cli import entry_point; entry_point()"
    command = f"{sys.executable} -c '{entry}' compare {network} {network}"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert "Traceback" not in result.stderr and "Broken" not in result.stderr


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999", "x"])
def test_seeds_that_no_file_holds_are_refused(seed, tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(["train", "flip_flop", str(tmp_path / "chain"), "--seed", seed])
    assert refusal.value.code == 2 and "argument --seed:" in capsys.readouterr().err
    assert not (tmp_path / "chain").exists()


def test_trials_alone_and_the_score_of_a_network_on_them(chain, tmp_path, capsys):
    bank = tmp_path / "bank"
    assert main(["trials", "flip_flop", str(bank), "--set", *SMALL[:4]]) == 0
    assert capsys.readouterr().out == f"{bank}/train.nc\n{bank}/test.nc\n"
    for regime in ("train", "test"):
        # Those that a network would be trained on.
        assert datasets.read(bank / f"{regime}.nc", "trials").equals(datasets.read(f"{chain}/{regime}.nc", "trials"))
    few = tmp_path / "few"
    assert main(["trials", "flip_flop", str(few), "--regime", "test", "--set", "trials.evaluation=5"]) == 0
    assert capsys.readouterr().out == f"{few}/test.nc\n"
    assert datasets.read(few / "test.nc", "trials").sizes["trial"] == 5
    with pytest.raises(SystemExit):
        main(["trials", "--help"])
    assert "--set trials.train=2048 for the regime train, trials.evaluation=256 for every other" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["trials", "flip_flop", str(bank), "--set", *SMALL[:4]]) == 1
    assert "train.nc: is there already" in capsys.readouterr().err
    assert main(["train", "flip_flop", str(bank), "--set", *SMALL, "trials.train=97"]) == 1
    assert f"{bank}/train.nc: holds different trials; choose a different folder" in capsys.readouterr().err
    assert main(["trials", "flip_flop", str(bank), "--regime", "loud"]) == 1
    assert "error: --regime loud: choose from train, test, noisy" in capsys.readouterr().err
    network = f"{chain}/round-1/network.nc"
    assert main(["score", network, f"{bank}/test.nc"]) == 0
    activity = datasets.read(f"{chain}/round-1/activity.nc", "activity")
    found = re.search(
        r"sign accuracy (\S+), task loss (\S+) \(lowest possible: 0, of an ideal observer of the inputs\) on 48 trials",
        capsys.readouterr().out,
    )
    assert float(found[1]) == pytest.approx(activity["score"].item(), abs=1e-3)
    assert float(found[2]) == pytest.approx(activity["test_loss"].item(), abs=1e-3)


def test_nothing_is_written_over_what_is_read_or_through_a_link(chain, tmp_path, capsys):
    network, trials = tmp_path / "network.nc", f"{chain}/test.nc"
    network.write_bytes(Path(chain, "round-0/network.nc").read_bytes())
    before = network.read_bytes()
    (tmp_path / "link.nc").symlink_to(network)
    for output, message in (
        (network, "is what the command reads; choose a different name"),
        (tmp_path / "link.nc", "is a link, a folder or a device; name a file"),
        (tmp_path, "is a link, a folder or a device; name a file"),
        ("/dev/null", "is a link, a folder or a device; name a file"),
    ):
        assert main(["fixed-points", str(network), "--trials", trials, "--output", str(output)]) == 1
        assert capsys.readouterr().err == f"error: {output}: {message}\n"
        assert main(["import", str(network), str(output), "--trials", trials]) == 1
        assert capsys.readouterr().err == f"error: {output}: {message}\n"
    assert network.read_bytes() == before


def test_the_rounds_of_a_chain_are_drawn_side_by_side(chain, tmp_path, capsys):
    output = tmp_path / "chain.png"
    assert main(["plot", chain, "--output", str(output)]) == 0
    assert Image.open(output).width > 2000
    assert f"{output}: insd/3/0, insd/3/1, insd/3/2" in capsys.readouterr().out
    for arguments, message in (
        (["plot", chain, "--output", str(tmp_path / "chain.txt")], "a figure is a .png, .svg or .pdf"),
        (["plot", str(tmp_path)], "holds no round-0; begin with `insd train TASK"),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
