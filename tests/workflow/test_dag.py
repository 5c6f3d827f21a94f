"""The workflow without training: its jobs, its targets, its lint."""

import re
import tomllib
from pathlib import PurePath

import pytest
import yaml
from conftest import ROOT, job_counts, snakemake

from insd.claims.base import all_reads, publications

BY_TASK = (
    *("similarity", "responses", "dsa", "fixed_points", "decoding", "performance", "robustness", "dimensions", "costs"),
    "inputs",
    *("hard_cells", "kernel_decoding"),
)
"""Analyses that are one job for each task."""
FIGURES = (
    "figure_collapse",
    "figure_regimes",
    "figure_regime_grids",
    "figure_networks",
    "figure_front",
    "figure_ladder",
    "figure_capacity",
    "figure_generators",
    "figure_degeneracy",
)
"""Figures of all tasks in one."""
SMOKE = ("--configfile", "config/smoke.yaml")


def test_the_papers_grid(checkout):
    result = snakemake(checkout, "-n")
    assert result.returncode == 0, result.stdout[-3000:]
    # Nothing is written while the workflow is read.
    assert not (checkout / "results").exists()
    assert job_counts(result.stdout) == {
        "sample_trials": 3 * 5,
        "train_round": 3 * (4 * 10 + 5 + 5 * 3),
        **dict.fromkeys(BY_TASK, 3),
        # Context integration alone integrates evidence.
        "line_attractor": 1,
        # The flip-flop alone holds signs, and the other two have a delay.
        "corners": 1,
        "axes": 2,
        "network_table": 1,
        "levels": 1,
        "ladder": 1,
        "capacity": 1,
        "generators": 1,
        "degeneracy_table": 1,
        "comparisons": 1,
        "summary": 1,
        "claims": 1,
        "table_page": 9,
        "explorer": 3,
        **dict.fromkeys(("figure_mechanism", "figure_deflation"), 3),
        **dict.fromkeys(FIGURES, 1),
        "all": 1,
        "total": 15 + 180 + 3 * len(BY_TASK) + 4 + 9 + 9 + 3 + (3 + 3 + len(FIGURES)) + 1,
    }


@pytest.mark.parametrize(
    "target, rules",
    [
        ("rounds", {"sample_trials", "train_round", "rounds"}),
        (
            "analysis",
            {
                *("sample_trials", "train_round", *BY_TASK, "line_attractor", "corners", "axes"),
                *("network_table", "levels", "ladder", "capacity", "generators", "comparisons", "summary"),
                *("degeneracy_table", "claims", "table_page", "analysis"),
            },
        ),
        (
            "figures",
            {
                *(
                    "sample_trials",
                    "train_round",
                    "line_attractor",
                    "network_table",
                    "levels",
                    "ladder",
                    "capacity",
                    "generators",
                    "degeneracy_table",
                    "comparisons",
                ),
                # Claims alone read what a kernel decodes.
                *(set(BY_TASK) - {"kernel_decoding"}),
                *("figure_mechanism", "figure_deflation", *FIGURES, "figures"),
            },
        ),
    ],
)
def test_named_targets(checkout, target, rules):
    counts = job_counts(snakemake(checkout, target, "-n", *SMOKE).stdout)
    assert set(counts) - {"total"} == rules
    # Seeds 0 and 1 in one job: 2 standard populations, 1 untrained, and 3 rounds of deflation, for 3 tasks.
    assert counts["train_round"] == 3 * (2 + 1 + 3)


def test_the_claims_get_what_they_read(checkout):
    job = snakemake(checkout, "results/tables/claims.csv", "-n", *SMOKE).stdout.split("rule claims:")[1]
    given = {PurePath(path).stem for path in re.search(r"input: (.*)", job).group(1).split(", ")}
    assert given == {"networks"} | all_reads(publications(["qian_2025"]))
    # Few papers read scores.
    output = snakemake(checkout, "results/tables/claims.csv", "-n", *SMOKE, "--config", "claims=[boutaib_2022]").stdout
    inputs = re.search(r"input: (.*)", output.split("rule claims:")[1]).group(1)
    assert [inputs.count(f"/{name}.nc") for name in sorted(all_reads(publications(["boutaib_2022"])))] == [3, 3]


def test_a_round_reads_the_activity_of_all_earlier_rounds_of_its_seeds(checkout):
    target = "results/flip_flop/insd/seeds-3/round-2/network.nc"
    jobs = snakemake(checkout, target, "-n").stdout.split("rule train_round:")[1:]
    inputs = [re.search(r"input: (.*)", job).group(1) for job in jobs]
    earlier = {len(found): found for found in (re.findall(r"results/\S+activity.nc", line) for line in inputs)}
    folder = "results/flip_flop/insd/seeds-3"
    assert earlier[0] == []
    assert earlier[1] == [f"{folder}/round-0/activity.nc"]
    assert earlier[2] == [f"{folder}/round-0/activity.nc", f"{folder}/round-1/activity.nc"]


def test_a_sweep_shares_the_references_of_one_population(checkout):
    output = snakemake(checkout, "-n", "--configfile", "config/sweep.yaml").stdout
    # 2 seeds of a reference and 11 alternatives to it, for 3 tasks.
    assert job_counts(output)["train_round"] == 3 * 2 * (1 + 11)
    job = re.search(r"input: (.*)\n    output: results/flip_flop/lambda-0.5/seeds-1/round-1", output).group(1)
    assert re.findall(r"results/\S+activity.nc", job) == ["results/flip_flop/insd/seeds-1/round-0/activity.nc"]


def test_lint_and_rulegraph(checkout):
    lint = snakemake(checkout, "--lint")
    assert lint.returncode == 0, lint.stdout
    graph = snakemake(checkout, "--rulegraph", "mermaid-js", *SMOKE)
    assert graph.returncode == 0, graph.stdout
    assert "flowchart" in graph.stdout and "train_round" in graph.stdout


def test_the_conda_environment_has_the_versions_that_are_tested():
    lines = (ROOT / "envs/constraints.txt").read_text().lower().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    conda = yaml.safe_load((ROOT / "envs/insd.yaml").read_text())["dependencies"][-1]["pip"]
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert dict(line.split("==") for line in conda) == {
        name: pins[name] for name in (re.split("[<>=]", line)[0] for line in needed)
    }
    assert pins["torch"] == "2.13.0"


def test_the_profile_of_slurm(checkout):
    """It is read, and every rule has resources of its own, where SLURM is not installed, too."""
    result = snakemake(checkout, "--profile", "slurm", "-n", *SMOKE)
    assert result.returncode == 0, result.stdout[-2000:]
    assert job_counts(result.stdout)["train_round"] == 3 * (2 + 1 + 3)
    jobs = re.split(r"^rule ", result.stdout, flags=re.MULTILINE)[1:]
    assert all(re.search(r"mem_mb=\d+.* runtime=\d+", job) for job in jobs)


def test_every_entry_of_the_profile_has_its_reason():
    lines = (ROOT / "slurm/config.yaml").read_text().splitlines()
    entries = [number for number, line in enumerate(lines) if line and line[0] not in "# "]
    assert len(entries) > 8
    assert [lines[number] for number in entries if not lines[number - 1].startswith("# ")] == []
    # Files beside it would be taken for values of its keys.
    assert [path.name for path in (ROOT / "slurm").iterdir()] == ["config.yaml"]


def test_rounds_ask_for_a_gpu_where_the_config_does(checkout):
    round_0 = "results/flip_flop/insd/seeds-0-1/round-0/network.nc"
    for device, count in (("cpu", 0), ("auto", 0), ("cuda", 1)):
        plan = snakemake(checkout, "-n", round_0, *SMOKE, "--config", f"device={device}").stdout
        assert re.findall(r"gpu=(\d)", plan) == [str(count)], plan


def test_snakemake_looks_for_new_jobs_when_one_has_ended_and_not_all_the_time(checkout):
    regimes = ("test", "noisy", "long", "noisy_long", "train")
    files = [f"results/flip_flop/trials/{regime}.nc" for regime in regimes]
    output = snakemake(checkout, *files, "--cores", "1", "--verbose", *SMOKE).stdout
    assert "5 of 5 steps (100%) done" in output, output[-3000:]
    assert output.count("Ready jobs: ") == 5


def test_a_grid_is_planned_before_its_recordings_are_there(checkout, tmp_path):
    file = tmp_path / "overlay.yaml"
    tape = {"seeds": 1, "make": "recording", "recording": {"file": f"{tmp_path}/{{task}}.npz"}}
    chain = {"seeds": 1, "rounds": 2, "reference": "tape", "tasks": ["flip_flop"]}
    populations = {"tape": tape | {"tasks": ["flip_flop"]}, "recorded": chain}
    file.write_text(yaml.safe_dump({"populations": populations, "figures": {"chain": "insd"}}))
    grid = ("--configfile", "config/smoke.yaml", str(file))
    plan = snakemake(checkout, "-n", *grid)
    assert plan.returncode == 0, plan.stdout[-2000:]
    missing = f"populations.tape.recording.file = '{tmp_path}/flip_flop.npz': there is no such file"
    assert plan.stdout.count(missing) == 1 and "planned without it" in plan.stdout
    assert job_counts(plan.stdout)["make_recording"] == 1
    run = snakemake(checkout, "results/flip_flop/tape/seeds-0/round-0/activity.nc", "--cores", "1", *grid)
    assert run.returncode != 0 and run.stdout.count(missing) == 1, run.stdout[-2000:]
    # Snakemake then refuses in its own words.
    assert "Missing input files for rule make_recording" in run.stdout and "Traceback" not in run.stdout
    (tmp_path / "flip_flop.npz").touch()
    assert missing not in snakemake(checkout, "-n", *grid).stdout
