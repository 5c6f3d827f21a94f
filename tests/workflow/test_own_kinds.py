"""What a user adds by one file and one entry: the workflow plans it, and the rest as before."""

import re

import numpy as np
import pytest
import yaml
from conftest import copy_checkout, job_counts, snakemake

from insd.datasets import read

TERM = '''
from insd.objectives.base import Term, mean_over_samples
from insd.objectives.settings.base import TermSettings


class Costs(TermSettings):
    compares = False


class Energy(Term):
    """Mean squared rate."""

    Settings = Costs

    def value(self, rates, networks, stored, trials, valid):
        return mean_over_samples(rates.square(), valid).mean(1, keepdim=True)
'''
MAKER = '''
from insd.makers.base import Made, Maker, Read


class Copy(Maker):
    """The network of the round before, again."""

    description = "Take the network of the round before again."
    chains = True

    def reads(self, population, reference, round_number):
        return (Read(reference if round_number == 1 else population, round_number - 1, ("network",)),)

    def architectures(self, recipe):
        return ("rate",)

    def make(self, job):
        from insd.activity import record_activity
        from insd.datasets import read

        network = read(job.earlier[0], "network")
        return Made(record_activity(network, job.task, job.bank, job.test, job.recipe.terms), network)
'''
COPIES = {"seeds": 2, "rounds": 2, "reference": "insd", "role": "control", "make": "mine:Copy"}
SMOKE = ("--configfile", "config/smoke.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    copy = copy_checkout(tmp_path_factory.mktemp("own-kinds"))
    (copy / "mine.py").write_text(TERM + MAKER)
    return copy


@pytest.fixture(scope="module")
def before(folder):
    """The jobs of the grid as it is."""
    return job_counts(snakemake(folder, "-n", *SMOKE).stdout)


def plan(folder, **config):
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(folder, "-n", *SMOKE, "mine.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


def test_a_term_is_one_file_and_one_entry(folder, before):
    assert job_counts(plan(folder, populations={"insd": {"terms": {"mine:Energy": {"multiplier": 0.5}}}})) == before


def test_a_maker_is_one_file_and_one_entry(folder, before):
    output = plan(folder, populations={"copies": COPIES}, figures={"chain": "insd"})
    after = job_counts(output)
    assert after.pop("make_mine_copy") == 3
    assert after == before | {"total": before["total"] + 3}
    job = re.search(r"rule make_mine_copy:\n.*?input: (.*?)\n.*?output: (.*?)\n", output, re.DOTALL)
    assert re.search(r"results/(\w+)/insd/seeds-0-1/round-0/network.nc", job[1])
    assert "history.nc" not in job[2]


def test_files_of_others_are_a_population(folder):
    (folder / "nets").mkdir()
    for seed in (0, 1):
        weights = np.random.default_rng(seed).standard_normal
        matrices = {"recurrent_weights": weights((6, 6)), "input_weights": weights((6, 3))}
        np.savez(folder / f"nets/flip_flop-{seed}.npz", output_weights=weights((3, 6)), **matrices)
    others = {"seeds": 2, "make": "checkpoint", "checkpoint": {"files": "nets/{task}-*.npz", "tau": 0.1}}
    others |= {"role": "control", "tasks": ["flip_flop"]}
    output = plan(folder, populations={"others": others})
    assert job_counts(output)["make_checkpoint"] == 1
    job = re.search(r"rule make_checkpoint:\n.*?input: (.*?)\n", output, re.DOTALL)
    assert "nets/flip_flop-0.npz, nets/flip_flop-1.npz" in job[1]
    # What can be said without trials is said before the first job.
    (folder / "mine.yaml").write_text(yaml.safe_dump({"populations": {"others": others | {"seeds": 3}}}))
    result = snakemake(folder, "-n", *SMOKE, "mine.yaml")
    assert result.returncode == 1 and "Traceback" not in result.stdout
    assert "  - populations.others.seeds: seed 2 is not in the files, which hold 2 network(s)" in result.stdout
    missing = others | {"checkpoint": {"files": "nets/other-*.pt"}}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"populations": {"others": missing}}))
    says = "populations.others.checkpoint.files = 'nets/other-*.pt': there is no such file"
    # A plan may come before the files; a run may not.
    for arguments, code in ((["-n"], 0), (["--cores", "1"], 1)):
        result = snakemake(folder, *arguments, *SMOKE, "mine.yaml")
        assert result.returncode == code and says in result.stdout, result.stdout[-2000:]


def test_walks_are_a_population(micro_finished):
    walks = {"seeds": 1, "rounds": 2, "reference": "insd", "make": "walk", "walk": {"steps": 2, "iterations": 5}}
    walks |= {"training": {"loss_bound": 10.0}}
    more = {"populations": {"walks": walks}, "figures": {"chain": "insd"}}
    (micro_finished / "walks.yaml").write_text(yaml.safe_dump(more))
    target = "results/flip_flop/walks/seeds-0/round-1/history.nc"
    result = snakemake(micro_finished, target, "--cores", "1", "--configfile", "micro.yaml", "walks.yaml")
    assert result.returncode == 0, result.stdout[-3000:]
    assert job_counts(result.stdout) == {"make_walk": 1, "total": 1}
    files = {name: read(micro_finished / target.replace("history", name), name) for name in ("network", "history")}
    assert files["network"].attrs["role"] == "alternative" and files["history"].sizes["iteration"] == 3
    assert not list((micro_finished / "results").rglob("checkpoint.pt"))
