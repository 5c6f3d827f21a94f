"""What the workflow knows of a figure before it is drawn, and what a figure may read."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import ROOT, environment

from insd import plugins
from insd.cohorts import left_out
from insd.datasets import DatasetError, write
from insd.figures import files
from insd.figures.base import Drawing, Figure, FigureError, planned
from insd.grid import Grid
from insd.settings.base import SettingsError
from insd.settings.load import load

NAMES = plugins.names("figure")
CONFIG = {
    "tasks": {"flip_flop": {}, "memory_pro": {}},
    "populations": {"standard": {"seeds": 2}, "insd": {"seeds": 1, "rounds": 2}},
}
TOY = """from insd.figures import base

FIGURE = base.Figure(title="toy", description="a toy", per="task", reads=("tables/networks",), draw=print)
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_planned_as_it_is(name):
    plan, figure = planned(name), plugins.find("figure", name)
    assert isinstance(figure, Figure) and replace(plan, draw=figure.draw) == figure
    assert figure.description and not figure.description.endswith(".")


def test_planning_imports_nothing_that_draws():
    code = f"""
import sys
from insd.figures.files import figure_files
from insd.grid import Grid
from insd.settings.load import load

figure_files(Grid(load({CONFIG})))
assert not {{"matplotlib", "seaborn", "torch", "scipy.stats"}} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], env=environment(ROOT), check=True)


def test_files_of_a_figure():
    grid = Grid(load(CONFIG))
    mechanism, collapse, deflation = (planned(name) for name in ("mechanism", "collapse", "deflation"))
    found = files.figure_inputs(grid, mechanism, "flip_flop")
    chain = [f"results/flip_flop/insd/seeds-0/round-{number}/network.nc" for number in (0, 1)]
    assert list(found) == list(mechanism.reads) and found["shown/network"] == chain
    assert found["tables/networks"] == ["results/tables/networks.csv"]
    assert found["trials/test"] == ["results/flip_flop/trials/test.nc"]
    assert files.figure_inputs(grid, collapse, None)["analysis/responses"] == [
        f"results/{task}/analysis/responses.nc" for task in CONFIG["tasks"]
    ]
    histories = files.figure_inputs(grid, deflation, "memory_pro")["rounds/history"]
    assert histories == grid.files("history.nc", "memory_pro")
    assert set(chain) < set(files.files_of_figures(grid))


def test_what_a_figure_uses_of_the_config():
    grid = Grid(load(CONFIG))
    mechanism, collapse, deflation = (planned(name) for name in ("mechanism", "collapse", "deflation"))
    blocks = files.blocks_of(grid, deflation)({"task": "memory_pro"})
    rounds = [("standard", "0", 0), ("standard", "1", 0), ("insd", "0", 0), ("insd", "0", 1)]
    assert list(blocks) == ["rounds"] and [block[:3] for block in blocks["rounds"]] == rounds
    blocks = files.blocks_of(grid, mechanism)({"task": "flip_flop"})
    assert list(blocks) == ["shown"] and [block[:3] for block in blocks["shown"]] == rounds[2:]
    assert files.blocks_of(grid, collapse)({}) == {}
    assert list(files.tasks_of(grid, deflation)({"task": "memory_pro"})) == ["memory_pro"]
    assert files.tasks_of(grid, collapse)({}) == {task: grid.settings.task_parameters(task) for task in CONFIG["tasks"]}
    assert files.figure_settings(grid, mechanism) == {"chain": "insd", "confidence": 0.95}
    assert files.figure_settings(grid, deflation) == {}


def test_one_figure_of_the_grid_or_one_per_task_in_three_formats():
    found = files.figure_files(Grid(load(CONFIG)))
    # Without students, fits, readers, errors of behaviour and other classes of networks, there is no figure of them.
    assert len(found) == len(set(found)) == 3 * (len(NAMES) - 8 + 2)
    assert {"results/figures/collapse.svg", "results/figures/mechanism_memory_pro.png"} < set(found)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of the user's own; the figures of a grid that names it."""
    monkeypatch.syspath_prepend(tmp_path)

    def figures(name, text, path=None):
        (tmp_path / f"{name}.py").write_text(text)
        return files.figures(Grid(load(CONFIG | {"figures": {"own": [path or f"{name}:FIGURE"]}})))

    return figures


def test_a_figure_of_the_users_own_has_the_name_of_its_module(own):
    assert own("toy_figure_1", TOY)["toy_figure_1"] == "toy_figure_1:FIGURE"
    assert planned("toy_figure_1:FIGURE").title == "toy"


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("collapse", TOY, "collapse:FIGURE: the name of the module is that of the figure"),
        ("Toy", TOY, "Toy:FIGURE: the name of the module is that of the figure"),
        ("toy_figure_2", "FIGURE = [", "toy_figure_2.py, line 1: "),
        ("toy_figure_3", "TOY = 1", "module 'toy_figure_3' must have a line that begins with 'FIGURE = '"),
        ("toy_figure_4", TOY.replace('"toy"', '"t" + "oy"'), "title is read without importing the module"),
        (
            "toy_figure_5",
            TOY.replace("title", "name"),
            "toy_figure_5:FIGURE: a figure has no name; choose from: draw, title",
        ),
        ("toy_figure_10", TOY.replace('title="toy", ', ""), "toy_figure_10:FIGURE: a figure needs title"),
        ("toy_figure_6", TOY.replace("tables/", ""), "figure 'toy': cannot read 'networks'; choose from: tables/NAME"),
        (
            "toy_figure_7",
            TOY.replace('"task"', '"network"'),
            "toy_figure_7:FIGURE: per: choose from task, grid, not network",
        ),
        (
            "toy_figure_11",
            TOY.replace("draw=", 'uses=["chains"], draw='),
            "uses: choose from chain, confidence, deflated_r2, not chains",
        ),
        ("toy_figure_8", TOY.replace("task", "grid").replace("tables/networks", "rounds/history"), "per task can read"),
        ("toy_figure_9", TOY.replace("FIGURE = base.Figure(", 'FIGURE = base.Figure("a", '), "with named arguments"),
    ],
)
def test_a_figure_that_cannot_be_used_is_refused(own, name, text, message):
    with pytest.raises(SettingsError, match=r"figures\.own: ") as refusal:
        own(name, text)
    assert message in str(refusal.value)


def test_a_module_that_is_not_there_is_refused(own):
    with pytest.raises(SettingsError, match="toy_figure_0:FIGURE: there is no module 'toy_figure_0'"):
        own("another", TOY, "toy_figure_0:FIGURE")


def test_a_figure_reads_what_it_names_and_nothing_else(tmp_path):
    pd.DataFrame({"task": ["flip_flop", "memory_pro"], "score": [0.5, 1.0]}).to_csv(tmp_path / "table.csv")
    about = {"title": "toy", "description": "a toy", "reads": ("tables/networks",), "draw": print, "uses": ("chain",)}
    paths, settings = {"tables/networks": [str(tmp_path / "table.csv")]}, {"chain": "insd", "confidence": 0.9}
    drawing = Drawing(Figure(per="task", **about), paths, {"memory_pro": {}}, settings, {})
    assert list(drawing.table("networks")["score"]) == [1.0]
    assert drawing.chain == "insd" and drawing.task.score_name == "median angular error (deg)"
    of_grid = Drawing(Figure(per="grid", **about), paths, {"memory_pro": {}}, settings, {})
    assert len(of_grid.table("networks")) == 2
    with pytest.raises(FigureError, match="figure 'toy': uses 'confidence'; name it in `uses`"):
        print(drawing.confidence)
    with pytest.raises(FigureError, match="figure 'toy': reads 'analysis/dsa'; name it in `reads`"):
        drawing.dataset("analysis/dsa")


def test_a_figure_reads_an_analysis_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "toy_speed.py").write_text(
        "from insd.analysis.base import Analysis\n"
        "from insd.datasets import Contract\n\n"
        "ANALYSIS = Analysis('Speed.', writes={'speed': Contract({'speed': ('network',)})}, run=print)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    speed = xr.Dataset({"speed": ("network", [1.0])}, {"network": ["a/0/0"]}, {"analysis": "toy_speed:ANALYSIS"})
    write(speed, tmp_path / "speed.nc", "speed")
    rows = {"task": "flip_flop", "population": "a", "seed": [0, 1], "round": 0}
    pd.DataFrame(rows).to_csv(tmp_path / "networks.csv")
    figure = Figure("toy", "task", ("tables/networks", "analysis/speed"), print, "a toy")
    paths = {"tables/networks": [str(tmp_path / "networks.csv")], "analysis/speed": [str(tmp_path / "speed.nc")]}
    found = Drawing(figure, paths, {"flip_flop": {}}, {}, {}).dataset("analysis/speed")
    # The second network of the table is not in the file.
    assert found["speed"].sel(network="a/0/0") == 1 and np.isnan(found["speed"].sel(network="a/1/0"))
    assert list(left_out(found)) == ["a/1/0"]
    with pytest.raises(DatasetError, match=r"no analysis of this library writes speed\.nc"):
        write(speed.drop_attrs(), tmp_path / "speed.nc", "speed")
