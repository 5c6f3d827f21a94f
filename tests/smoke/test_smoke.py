"""A real run of the smoke grid, and what it leaves behind."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import SMOKE_RUN as RUN
from conftest import snakemake
from tables import assert_described

from insd.datasets import read

ANALYSES = ("predictivity", "similarity", "responses", "dsa", "fixed_points", "decoding", "performance", "robustness")
TASKS = ("context_integration", "flip_flop", "memory_pro")


def round_file(folder, name, task="flip_flop", population="insd", seeds="0-1", number=2):
    return folder / f"results/{task}/{population}/seeds-{seeds}/round-{number}/{name}.nc"


def test_everything_is_made_and_keeps_its_contract(finished):
    results = finished / "results"
    for task in TASKS:
        for regime in ("train", "test", "noisy", "long", "noisy_long"):
            read(results / f"{task}/trials/{regime}.nc", "trials")
        for name in ANALYSES:
            read(results / f"{task}/analysis/{name}.nc", name)
        for number in range(3):
            for name in ("network", "activity", "history"):
                read(round_file(finished, name, task, number=number), name)
    by_task = [f"{name}_{task}" for name in ("mechanism", "deflation") for task in TASKS]
    for name in (
        "collapse",
        "regimes",
        "regime_grids",
        "networks",
        "front",
        "ladder",
        "capacity",
        "generators",
        "degeneracy",
        *by_task,
    ):
        for suffix, start in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
            assert (results / f"figures/{name}.{suffix}").read_bytes().startswith(start)
    read(results / "context_integration/analysis/line_attractor.nc", "line_attractor")
    # Three standard networks against each of two references, and two alternatives of each of two chains.
    assert len(pd.read_csv(results / "tables/levels.csv")) == 3 * (3 * 2 + 2 * 2)
    # Two chains of each task, of two alternatives: the first has one earlier network, the second two.
    assert len(pd.read_csv(results / "tables/capacity.csv")) == 3 * 2
    assert len(pd.read_csv(results / "tables/capacity_pairs.csv")) == 3 * 2 * (1 + 2)
    # The same networks, each with the time of the job that made both chains.
    generators = pd.read_csv(results / "tables/generators.csv")
    assert len(generators) == 3 * 2 * 2 and (generators["core_minutes"] > 0).all()
    assert generators[["distance_r2", "distance_cka", "distance_dsa"]].notna().all(axis=None)
    assert len(pd.read_csv(results / "tables/generators_summary.csv")) == 3
    assert not list(results.rglob("*.part"))


def test_dimensions_of_the_contract(finished):
    network, activity = (read(round_file(finished, name), name) for name in ("network", "activity"))
    assert dict(network.sizes) == {"seed": 2, "unit": 16, "unit_from": 16, "input": 3, "output": 3, "earlier": 2}
    assert dict(activity["rates"].sizes) == {"seed": 2, "trial": 32, "time": 90, "unit": 16}
    assert activity["null_activity"].sizes["bank_trial"] == 128
    assert activity["null_activity"].sizes["bank_time"] == 45
    history = read(round_file(finished, "history"), "history")
    assert history.sizes["earlier"] == 2
    assert history.sizes["attempt"] == 2


def test_every_file_says_where_it_comes_from(finished):
    for path in (finished / "results").rglob("*.nc"):
        with xr.open_dataset(path) as dataset:
            for name in ("settings", "code_fingerprint", "git_commit", "torch_version", "snakemake_version"):
                assert dataset.attrs[name], path
    attributes = read(round_file(finished, "network"), "network").attrs
    settings = json.loads(attributes["settings"])
    assert settings["recipe"]["network"]["units"] == 16
    assert settings["recipe"]["training"]["iterations"] == 20


def test_the_table_has_a_row_for_every_network(finished):
    table = pd.read_csv(finished / "results/tables/networks.csv")
    assert len(table) == 3 * (1 + 2 + 1 + 2 * 3)
    assert_described(table)
    assert (table["iterations"] == np.where(table["role"] == "untrained", 0, 20)).all()
    later = table["round"] > 0
    assert table.loc[later, "r2_null_to_reference"].between(0, 1).all()
    assert table.loc[~later, "r2_null_to_reference"].isna().all()
    stored = read(finished / "results/flip_flop/analysis/predictivity.nc", "predictivity")
    row = table.query("task == 'flip_flop' and population == 'insd' and seed == 1 and round == 2").iloc[0]
    r2 = stored["r2"].sel(space="null", predictor="insd/1/2", target=["insd/1/0", "insd/1/1"])
    assert row["r2_null_to_reference"] == pytest.approx(float(r2[0]), abs=1e-5)
    assert row["r2_null_max_to_earlier"] == pytest.approx(float(r2.max()), abs=1e-5)


def test_the_summary_counts_what_the_table_has(finished):
    page = (finished / "results/tables/summary.md").read_text()
    assert "|  | context_integration | flip_flop | memory_pro |" in page
    assert "| standard networks solved | 0 of 3 | 0 of 3 | 0 of 3 |" in page
    assert "| alternatives solved | 0 of 4 | 0 of 4 | 0 of 4 |" in page
    table = pd.read_csv(finished / "results/tables/networks.csv")
    values = table.query("task == 'flip_flop' and round > 0")["r2_null_to_reference"]
    assert f"{values.median():.3f} ({values.min():.3f} to {values.max():.3f})" in page


def test_the_regime_test_reproduces_the_stored_score(finished):
    performance = read(finished / "results/memory_pro/analysis/performance.nc", "performance")
    activity = read(round_file(finished, "activity", "memory_pro", number=1), "activity")
    for seed in (0, 1):
        one = performance.sel(network=f"insd/{seed}/1", regime="test")
        assert float(one["score"]) == float(activity["score"].sel(seed=seed))
        assert float(one["loss"]) == pytest.approx(float(activity["test_loss"].sel(seed=seed)), rel=1e-6)


def test_a_second_run_does_nothing(finished):
    result = snakemake(finished, "-n", *RUN)
    assert "Nothing to be done" in result.stdout, result.stdout


def test_a_deleted_round_is_made_again_with_equal_arrays(finished):
    path = round_file(finished, "network", seeds="0-1", number=1)
    before = read(path, "network")
    others = {p: p.stat().st_mtime for p in (finished / "results/memory_pro").rglob("network.nc")}
    path.unlink()
    result = snakemake(finished, str(path.relative_to(finished)), *RUN)
    assert result.returncode == 0, result.stdout[-3000:]
    assert read(path, "network").equals(before)
    assert {p: p.stat().st_mtime for p in others} == others
    assert snakemake(finished, *RUN).returncode == 0


def test_a_changed_key_runs_only_what_depends_on_it(finished, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("populations: {insd: {alternatives: {network: {gain: 1.2}}}}")
    output = snakemake(finished, "-n", *RUN, str(overlay)).stdout
    trained = {
        line.split()[1]
        for line in output.splitlines()
        if line.startswith("    output: results/") and "network.nc" in line
    }
    assert trained == {
        f"results/{task}/insd/seeds-0-1/round-{number}/network.nc," for task in TASKS for number in (1, 2)
    }


def test_a_truncated_activity_file_is_named_and_nothing_else_is_lost(finished):
    path = round_file(finished, "activity", number=1)
    target = round_file(finished, "network", number=2)
    before = read(target, "network")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    result = snakemake(finished, str(target.relative_to(finished)), *RUN)
    assert result.returncode != 0
    assert f"error: {path.relative_to(finished)}: truncated, empty or no NetCDF file" in result.stdout
    # What the message says: delete the file, and run again.
    path.unlink()
    assert snakemake(finished, str(target.relative_to(finished)), *RUN).returncode == 0
    assert read(target, "network").equals(before)
    # What was made of these arrays need not be made again.
    assert snakemake(finished, "--touch", *RUN).returncode == 0


def test_progress_is_in_the_log(finished):
    log = (finished / "results/logs/train_round/flip_flop/insd/seeds-0-1/round-1.log").read_text()
    assert "iteration 20/20: task loss" in log
    assert "did not solve the held-out trials: flip_flop/insd/0/1, flip_flop/insd/1/1" in log
