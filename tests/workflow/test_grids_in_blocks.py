"""Pairs of many networks in blocks: the jobs, and the numbers of one job."""

import re
import shutil

import pytest
import xarray as xr
import yaml
from conftest import copy_checkout, job_counts, pretend_finished, snakemake
from micro_grid import ANALYSIS, run

SMOKE = ("--configfile", "config/smoke.yaml", "own.yaml")
IN_BLOCKS = {"analysis": {"networks_per_block": 6}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The smoke grid as if it was finished, in blocks."""
    folder = copy_checkout(tmp_path_factory.mktemp("blocks"))
    (folder / "own.yaml").write_text(yaml.safe_dump(IN_BLOCKS))
    pretend_finished(folder, *SMOKE)
    return folder


def plan(folder, **config):
    (folder / "own.yaml").write_text(yaml.safe_dump(IN_BLOCKS | config))
    return snakemake(folder, "-n", *SMOKE).stdout


def pairs(output, rule="similarity_block"):
    """The pairs of blocks that are planned."""
    return re.findall(rf"rule {rule}:.*?output: \S+/([01]+-[01]+)\.pt", output, re.DOTALL)


def test_a_pair_of_blocks_that_was_deleted_is_made_again_and_joined(folder):
    assert "Nothing to be done" in plan(folder)
    made = sorted(path.name for path in (folder / "results/flip_flop/analysis/blocks/similarity").iterdir())
    assert len(made) >= 3
    (folder / "results/flip_flop/analysis/blocks/similarity" / made[1]).unlink()
    output = plan(folder)
    assert pairs(output) == [made[1].removesuffix(".pt")]
    counts = job_counts(output)
    assert counts["similarity_block"] == counts["similarity"] == counts["network_table"] == 1
    assert not {"dsa_block", "dsa", "inputs_block", "train_round"} & set(counts)
    (folder / "results/flip_flop/analysis/blocks/similarity" / made[1]).touch()
    assert snakemake(folder, "--touch", "--cores", "1", *SMOKE).returncode == 0


def test_a_population_that_is_added_changes_the_pairs_of_its_block_alone(folder):
    output = plan(folder, populations={"more": {"seeds": 1, "tasks": ["flip_flop"]}})
    changed = pairs(output)
    block = set.intersection(*(set(one.split("-")) for one in changed)).pop()
    everything = re.findall(
        r"similarity/([01]+-[01]+)\.pt", re.search(r"rule similarity:\n.*?input: (.*?)\n", output, re.DOTALL)[1]
    )
    assert set(changed) == {one for one in everything if block in one.split("-")} < set(everything)


def test_a_grid_in_blocks_has_the_numbers_of_one_job(micro_finished):
    target = f"{ANALYSIS}/predictivity.nc"
    assert run(micro_finished, target).returncode == 0
    shutil.move(micro_finished / ANALYSIS, micro_finished / "one job")
    config = micro_finished / "micro.yaml"
    config.write_text(config.read_text().replace("analysis: {", "analysis: {networks_per_block: 1, "))
    in_blocks = run(micro_finished, target)
    assert in_blocks.returncode == 0, in_blocks.stdout[-3000:]
    assert job_counts(in_blocks.stdout)["similarity_block"] == 3
    for name in ("predictivity", "similarity"):
        with (
            xr.open_dataset(micro_finished / "one job" / f"{name}.nc") as expected,
            xr.open_dataset(micro_finished / ANALYSIS / f"{name}.nc") as found,
        ):
            assert found.load().identical(expected.load()), name
