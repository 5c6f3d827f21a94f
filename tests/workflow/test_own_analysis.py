"""An analysis is one file and one entry in the config; a further file of the library runs nothing again."""

import re

import pytest
import yaml
from conftest import ROOT, copy_checkout, job_counts, pretend_finished, snakemake

SMOKE = ("--configfile", "config/smoke.yaml")
DOCS = (ROOT / "docs/own-task.md").read_text().split("## Your own analysis")[1]
SPREAD = re.search(r"```python\n(.*?)```", DOCS, re.DOTALL)[1].replace("    columns=columns,\n", "    COLUMNS\n")
OWN = {"analysis": {"spread:ANALYSIS": {"power": 2}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The smoke grid as if it was finished."""
    folder = copy_checkout(tmp_path_factory.mktemp("own-analysis"))
    pretend_finished(folder, *SMOKE)
    return folder


def plan(folder, **config):
    (folder / "own.yaml").write_text(yaml.safe_dump(config))
    return snakemake(folder, "-n", *SMOKE, "own.yaml").stdout


def test_an_analysis_of_the_users_own(folder):
    (folder / "spread.py").write_text(SPREAD.replace("COLUMNS\n", "\n"))
    # The summary prints the config.
    assert job_counts(plan(folder, **OWN)) == {"spread": 3, "summary": 1, "table_page": 1, "all": 1, "total": 6}


def test_the_order_of_the_config_runs_nothing_again(folder):
    """Where all files are named, Snakemake lays them over each other in a different order."""
    output = snakemake(folder, "-n", "--configfile", "config/config.yaml", "config/smoke.yaml").stdout
    assert "Nothing to be done" in output, output[-2000:]


def test_its_columns_are_joined_to_the_table_and_nothing_else_is_analysed_again(folder):
    (folder / "spread.py").write_text(SPREAD.replace("COLUMNS\n", "columns=columns,\n"))
    output = plan(folder, **OWN)
    counts = job_counts(output)
    assert counts["spread"] == 3 and counts["network_table"] == 1
    # What reads the table runs again, too.
    assert not {"train_round", "sample_trials", "dsa", "similarity", "decoding", "fixed_points"} & set(counts)
    table = re.search(r"rule network_table:\n.*?input: (.*?)\n", output, re.DOTALL)[1]
    assert "results/memory_pro/analysis/spread.nc" in table


def test_what_cannot_be_used_is_refused(folder):
    (folder / "spread.py").write_text(SPREAD.replace("COLUMNS\n", "\n"))
    output = plan(folder, analysis={"spread:ANALYSIS": {"powr": 2}})
    assert "analysis.spread:ANALYSIS.powr = 2: unknown key; known here: populations, power" in output
    assert "analysis.sprd: unknown key; known here: comparisons, axes" in plan(folder, analysis={"sprd": {}})
    assert "analysis.dsa.populations: there is no population 'none'" in plan(
        folder, analysis={"dsa": {"populations": ["none"]}}
    )


def test_an_analysis_of_some_populations(folder):
    output = plan(folder, analysis={"decoding": {"populations": ["insd"]}})
    job = re.search(r"rule decoding:\n.*?input: (.*?)\n", output, re.DOTALL)[1]
    assert set(re.findall(r"results/\w+/([\w.-]+)/seeds", job)) == {"insd"}


@pytest.mark.parametrize(
    "kind, text",
    {
        "tasks": "from insd.tasks.flip_flop import FlipFlop\n\n\nclass Toy(FlipFlop):\n    '''Another name.'''\n",
        "networks": "from insd.networks.rate import RateRNN\n\n\nclass Toy(RateRNN):\n    '''Another name.'''\n",
        "objectives": "from insd.objectives.predictivity import Predictivity\n\n\nclass Toy(Predictivity):\n    pass\n",
        "makers": "from insd.makers.train import Train\n\n\nclass Toy(Train):\n    '''Another name.'''\n",
        "claims": "CLAIMS = None\n",
        "measures": "from insd.measures.cka import CKA\n\n\nclass Toy(CKA):\n    '''Another.'''\n\n    name = 'toy'\n",
    }.items(),
)
def test_a_further_file_of_the_library_runs_nothing_again(folder, kind, text):
    module = folder / "src/insd" / kind / "toy.py"
    module.write_text(text)
    try:
        assert "Nothing to be done" in snakemake(folder, "-n", *SMOKE).stdout
    finally:
        module.unlink()
