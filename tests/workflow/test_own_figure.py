"""A figure is one file, and one entry in the config where it is the user's own; nothing else runs again for it."""

import pandas as pd
import pytest
from conftest import copy_checkout, job_counts, pretend_finished, snakemake
from PIL import Image

SMOKE = ("--configfile", "config/smoke.yaml")
OWN = (*SMOKE, "own.yaml")
TOY = '''"""The score of every network."""

from matplotlib.figure import Figure

from insd.figures import base
from insd.figures.theme import new_figure


def draw(drawing: base.Drawing) -> Figure:
    """The figure, from the files that it reads."""
    figure = new_figure(40.0, 30.0)
    figure.subplots().plot(drawing.table("networks")["score"], "o")
    return figure


FIGURE = base.Figure(
    title="toy", description="the score of every network", per="task", reads=("tables/networks",), draw=draw
)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The smoke grid as if it was finished, and a config with a figure of the user's own."""
    folder = copy_checkout(tmp_path_factory.mktemp("own-figure"))
    rows = [{"task": task, "score": score} for score, task in enumerate(("flip_flop", "memory_pro", "flip_flop"))]
    (folder / "results/tables").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(folder / "results/tables/networks.csv", index=False)
    pretend_finished(folder, *SMOKE)
    (folder / "own.yaml").write_text("figures: {own: ['toy:FIGURE']}\n")
    return folder


def test_a_figure_of_the_users_own(folder):
    (folder / "toy.py").write_text(TOY)
    plan = snakemake(folder, "-n", *OWN)
    assert job_counts(plan.stdout) == {"figure_toy": 3, "all": 1, "total": 4}, plan.stdout[-3000:]
    target = "results/figures/toy_flip_flop.png"
    drawn = snakemake(folder, target, "--cores", "1", *OWN)
    assert drawn.returncode == 0, drawn.stdout[-3000:]
    assert Image.open(folder / target).size == (456, 342)


def test_a_figure_that_cannot_be_used_is_refused_before_anything_runs(folder):
    (folder / "toy.py").write_text(TOY.replace("tables/networks", "networks"))
    plan = snakemake(folder, "-n", *OWN)
    assert plan.returncode == 1 and "figures.own: figure 'toy': cannot read 'networks'" in plan.stdout


def test_a_further_file_of_the_library(folder):
    for drawn in folder.glob("results/figures/toy_*"):
        drawn.unlink()
    module, caption = folder / "src/insd/figures/toy.py", folder / "workflow/report/figure_toy.rst"
    module.write_text(TOY)
    caption.write_text("The score of every network.\n")
    plan = snakemake(folder, "-n", *SMOKE)
    assert job_counts(plan.stdout) == {"figure_toy": 3, "all": 1, "total": 4}, plan.stdout[-3000:]
