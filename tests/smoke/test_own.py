"""Tasks, networks and recordings that are not in this repository's source: the whole pipeline by config alone."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, snakemake

from insd.datasets import read

TASKS = ("discrimination", "hold", "choice")
# Tables and their figures are those of the smoke grid.
OMITTED = ["table_page", *(f"figure_{name}" for name in ("capacity", "degeneracy", "front", "generators", "ladder"))]
RUN = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2", "--omit-from", *OMITTED)
CLASSES = {"spiking": "lif", "moment": "moment", "linear": "linear", "implicit": "implicit"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of the user's own with a task, its config, and activity recorded on the task's trials."""
    folder = tmp_path_factory.mktemp("own")
    for source in (*(ROOT / "tests/own").iterdir(), ROOT / "examples/own_task/hold.py"):
        if source.is_file():
            shutil.copy(source, folder)
    banks = [f"results/{task}/trials/train.nc" for task in TASKS]
    sampled = snakemake(folder, *banks, *RUN)
    assert sampled.returncode == 0, sampled.stdout[-3000:]
    early = snakemake(folder, *RUN)
    missing = "populations.tape.recording.file = 'choice.npz': there is no such file"
    assert early.returncode == 1 and missing in early.stdout, early.stdout[-3000:]
    random = np.random.default_rng(0)
    for task, bank in zip(TASKS, banks, strict=True):
        trials = read(folder / bank, "trials")
        rates = np.tanh(trials["inputs"].values.cumsum(1) @ random.standard_normal((trials.sizes["input"], 7)))
        np.savez(folder / f"{task}.npz", rates=rates, fingerprint=trials.attrs["fingerprint"])
    result = snakemake(folder, *RUN, timeout=1500)
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def test_every_file_is_made_in_the_users_folder(finished):
    for task in TASKS:
        for name in ("fixed_points", "decoding", "performance", "robustness", "recordings", "dsa"):
            read(finished / f"results/{task}/analysis/{name}.nc", name)
        assert (finished / f"results/figures/deflation_{task}.svg").exists()
    assert not (ROOT / "results/discrimination").exists()
    assert read(finished / "results/discrimination/trials/long.nc", "trials").sizes["trial"] == 24
    # The conditions of tasks that name no variables.
    kinds = {
        task: read(finished / f"results/{task}/analysis/decoding.nc", "decoding")["kind"].to_series().to_dict()
        for task in ("hold", "choice")
    }
    assert kinds == {"hold": {"size": "value"}, "choice": {"coherence": "value", "right": "category"}}


def test_an_environment_is_a_task_like_any_other(finished):
    trials = read(finished / "results/choice/trials/test.nc", "trials")
    assert (trials.sizes["input"], trials.sizes["output"]) == (3, 3)
    assert {"coherence", "right", "steps"} <= set(trials.coords)
    # 600 ms at most and 200 ms of response, at 20 ms a step.
    assert 30 < trials.sizes["time"] <= 40
    scores = read(finished / "results/choice/analysis/performance.nc", "performance")["score"]
    assert scores.attrs["long_name"] == "accuracy of decisions"
    assert scores.sizes["network"] == 6


def test_networks_of_every_architecture_are_in_the_table(finished):
    table = pd.read_csv(finished / "results/tables/networks.csv")
    rows = table.groupby(["task", "population", "round"])["architecture"].first()
    for task in TASKS:
        assert rows[task].to_dict() == {
            ("standard", 0): "rate",
            ("gated", 0): "gru",
            ("gated", 1): "gru",
            ("low-rank", 0): "low_rank",
            ("recorded", 1): "rate",
            ("recorded", 2): "rate",
            **({(name, 0): architecture for name, architecture in CLASSES.items()} if task == "discrimination" else {}),
        }
    later = table["round"] > 0
    assert table.loc[later, "r2_null_to_reference"].between(0, 1).all()


def test_r2_to_a_recording_is_that_on_held_out_trials(finished):
    table = pd.read_csv(finished / "results/tables/networks.csv")
    found = read(finished / "results/hold/analysis/recordings.nc", "recordings").sel(space="null", recording="tape")
    row = table.query("task == 'hold' and population == 'recorded' and round == 2").iloc[0]
    expected = float(found["r2"].sel(network="recorded/0/2"))
    assert row["r2_null_to_reference"] == pytest.approx(expected, abs=1e-5)
    # Standard networks and the recording share the inputs: the baseline is there, too.
    assert 0 < float(found["r2"].sel(network="standard/0/0")) <= 1
    history = read(finished / "results/hold/recorded/seeds-0/round-2/history.nc", "history")
    assert history.sizes["earlier"] == 2


def test_an_edit_of_the_users_module_runs_its_jobs_again_and_no_others(finished):
    assert "Nothing to be done" in snakemake(finished, "-n", *RUN).stdout
    path = finished / "timing.py"
    original = path.read_text()
    try:
        path.write_text(original.replace("0.2", "0.3"))
        output = snakemake(finished, "-n", *RUN).stdout
    finally:
        path.write_text(original)
    outputs = [line for line in output.splitlines() if line.startswith("    output: results/")]
    assert any("results/discrimination/trials/train.nc" in line for line in outputs)
    assert not any("results/hold/trials" in line or "results/hold/standard" in line for line in outputs)


@pytest.mark.parametrize(
    ("folder", "task", "steps"),
    # The delay of the config, 0.5 s, after a pulse of 0.2 s; and 1.4 s with the longest delay.
    [("own_task", "hold", 35), ("match_to_sample", "match_to_sample", 70)],
)
def test_the_templates_train_by_their_own_configs(tmp_path, folder, task, steps):
    for source in (ROOT / "examples" / folder).iterdir():
        if source.is_file():
            shutil.copy(source, tmp_path)
    tiny = "{batch_size: 16, evaluate_every: 5, validation_trials: 16, restarts: 0, iterations: 10}"
    (tmp_path / "tiny.yaml").write_text(
        "trials: {train: 48, evaluation: 16}\nanalysis: {robustness: {trials: 16}}\n"
        f"defaults: {{network: {{units: 8}}, training: {tiny}}}\n"
        "populations: {standard: {seeds: 1}, insd: {alternatives: {training: {iterations: 10}}}}\n"
    )
    files = [f"results/{task}/{path}/history.nc" for path in ("standard/seeds-0/round-0", "insd/seeds-0/round-1")]
    result = snakemake(tmp_path, *files, *RUN[:4], "tiny.yaml", *RUN[4:])
    assert result.returncode == 0, result.stdout[-3000:]
    standard, alternative = (read(tmp_path / file, "history") for file in files)
    assert standard["iteration"].values[-1] == alternative["iteration"].values[-1] == 10
    assert alternative.sizes["earlier"] == 1
    assert read(tmp_path / f"results/{task}/trials/train.nc", "trials").sizes["time"] == steps


def test_a_recording_on_other_trials_is_refused(finished):
    path = finished / "hold.npz"
    original = path.read_bytes()
    try:
        np.savez(path, rates=np.load(path)["rates"], fingerprint="0123")
        result = snakemake(finished, "results/hold/tape/seeds-0/round-0/activity.nc", "--force", *RUN)
    finally:
        path.write_bytes(original)
    assert result.returncode != 0
    assert "error: hold.npz: is of other trials (fingerprint 0123) than those of the config" in result.stdout
