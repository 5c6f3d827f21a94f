"""The figures of classes of networks: which grids have them, and that they show what their files say."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from drawn import check_text, points
from matplotlib.figure import Figure

from insd.cohorts import network_labels
from insd.figures import files
from insd.figures.base import Figure as Plan
from insd.figures.base import FigureError, planned
from insd.figures.implicit import implicit_figure
from insd.figures.linear import linear_figure
from insd.figures.moments import moments_figure
from insd.figures.panels import OTHER_CLASS, of_class
from insd.figures.spiking import spiking_figure
from insd.grid import Grid
from insd.settings.load import load

CLASSES = ("spiking", "implicit", "moments", "linear")
SEEDS = 3


def table(architecture: str) -> pd.DataFrame:
    """Standards and chains of an architecture, and rate networks; the second seed of each does not solve the task."""
    populations = {"own": ("standard", architecture, 0), "rates": ("standard", "rate", 0)}
    rows = [(name, *about, seed) for name, about in populations.items() for seed in range(SEEDS)]
    rows += [("chain", ("reference", "alternative")[k], architecture, k, s) for k in (0, 1) for s in range(SEEDS)]
    found = pd.DataFrame(rows, columns=["population", "role", "architecture", "round", "seed"])
    later = found["round"] > 0
    more = {"task": "flip_flop", "reference": "chain", "gain": 1.0, "solved": found["seed"] != 1, "deflated": None}
    found = found.assign(**more, score=np.where(later, 0.97, 0.99), test_loss=np.where(later, 0.04, 0.02))
    own = found["architecture"] == architecture
    return found.assign(
        r2_null_to_reference=np.where(later, 0.2 + 0.1 * found["seed"], np.nan),
        n_fixed_points=np.where(own, np.nan, 9.0),
        spike_share=np.where(own, 0.3, np.nan),
        silent_share=np.where(own, 0.1, np.nan),
        shuffled_score=0.5,
    )


def of_networks(rows: pd.DataFrame, **variables: tuple[dict[str, list], np.ndarray]) -> xr.Dataset:
    """Variables by network and further dimensions, with the labels of these."""
    labels = network_labels(rows)
    found = {
        name: xr.DataArray(
            np.broadcast_to(values, (len(labels), *map(len, along.values()))), {"network": labels} | along
        )
        for name, (along, values) in variables.items()
    }
    return xr.Dataset(found)


def predictivity(rows: pd.DataFrame, r2: float) -> xr.DataArray:
    labels = network_labels(rows)
    return xr.DataArray(
        np.full((1, len(labels), len(labels)), r2), {"space": ["null"], "predictor": labels, "target": labels}
    )


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_standards_of_other_architectures_are_told_apart():
    colours = {name: colour for name, colour, _ in of_class(table("lif"), "lif")}
    assert colours["own"] == "0.1" and colours["rates"] == OTHER_CLASS != colours["reference"]


def test_spiking_networks():
    rows = table("lif")
    performance = of_networks(rows, score=({"regime": ["test", "long"]}, np.array([0.98, 0.9])))
    figure = spiking_figure(rows, predictivity(rows, 0.9), performance, "sign accuracy", 0.95)
    check_text(figure)
    scores, spikes, alike, _ = figure.axes
    np.testing.assert_allclose(np.sort(points(scores)), np.sort(rows["score"]))
    assert sorted(np.concatenate([line.get_ydata() for line in scores.lines if line.get_marker() == "x"])) == [0.5] * 12
    assert [text.get_text() for text in spikes.texts] == ["no spikes"]
    np.testing.assert_allclose(np.sort(points(alike)), [0.2, 0.3, 0.4, *[0.9] * 9])
    assert {"not solved", "own", "rates", "reference", "alt-1"} < set(legend(figure))


def test_networks_at_equilibrium():
    rows, steps = table("implicit"), [30, 100]
    own = (rows["architecture"] == "implicit").to_numpy()
    found = of_networks(
        rows,
        n_equilibria=({"condition": ["a", "b"]}, np.where(own, 1.0, np.nan)[:, None]),
        if_error=({"step": steps}, np.where(own[:, None], [0.03, 0.01], np.nan)),
        lif_error=({"step": steps}, np.where(own[:, None], [0.03, 0.02], np.nan)),
    )
    figure = implicit_figure(rows, predictivity(rows, 0.9), found, 0.95)
    check_text(figure)
    # Over both inputs; of rate networks, by the search for fixed points.
    assert sorted(points(figure.axes[0])) == [2.0] * 9 + [9.0] * 3
    solid = [line.get_ydata() for line in figure.axes[1].lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(solid, [[0.03, 0.01]] * 3)
    assert "rates" not in legend(figure)


def test_moments():
    rows, levels, times = table("rate"), [0.05, 0.1], [0.0, 0.5, 1.0]
    rows.loc[rows["population"] == "rates", "architecture"] = "gru"
    known = np.where(rows["architecture"] == "rate", 1.0, np.nan)[:, None]
    of_times = {"noise_level": levels, "time": times}
    found = of_networks(
        rows,
        simulated_sd=(of_times, 0.02 * known[..., None]),
        predicted_sd=(of_times, 0.019 * known[..., None]),
        sd=({"noise_level": levels}, 0.02 * known),
        sd_ratio=({"noise_level": levels}, known * [0.95, 0.8]),
        close_share=({"noise_level": levels}, known * [0.9, 0.6]),
    )
    figure = moments_figure(rows, found, 0.95)
    check_text(figure)
    assert "rates" not in legend(figure) and {"own", "reference", "alt-1", "predicted"} < set(legend(figure))
    ratios = [line.get_ydata() for line in figure.axes[1].lines]
    np.testing.assert_allclose(ratios, [[0.95, 0.8]] * 3)
    assert points(figure.axes[3]).tolist() == [0.02] * 9
    gated = moments_figure(rows.assign(architecture="gru"), found * np.nan, 0.95)
    assert [text.get_text() for text in gated.axes[0].texts] == ["no rate networks"]


def test_linear_networks():
    rows, variables = table("linear"), {"variable": ["integral", "area"]}
    decoders = {"decoder": ["state", "signature"]}
    regimes, levels = {"regime": ["test", "noisy"]}, {"noise_level": [0.05, 0.2]}
    scores = np.array([[[0.9], [0.95]], [[0.1], [0.8]]])
    planted = (
        of_networks(rows, noise_score=(levels, np.array([0.9, 0.8]))),
        of_networks(rows, score=(regimes, np.array([0.95, 0.9]))),
        of_networks(rows, score=(variables | decoders | {"time": [1.0]}, scores)),
    )
    bounds = {f"chain/{seed}/0": 0.1 for seed in (0, 2)}
    labels = network_labels(rows[rows["role"] == "reference"])
    bounds = dict(zip(labels, (0.1, np.nan, 0.15), strict=True))
    figure = linear_figure(rows, *planted, bounds, "sign accuracy", 0.95)
    check_text(figure)
    np.testing.assert_allclose(points(figure.axes[1]), 0.05)
    courses = [line.get_ydata() for line in figure.axes[2].lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(courses, [[0.95, 0.8]] * 2)
    placed = [line for line in figure.axes[3].lines if line.get_linestyle() == "None"]
    placed = np.concatenate([np.column_stack(line.get_data()) for line in placed])
    assert {(0.1, 0.2), (0.15, 0.4)} <= {tuple(row) for row in placed.round(6).tolist()}
    alone = linear_figure(rows[rows["population"] != "chain"], *planted, {}, "sign accuracy", 0.95)
    assert [text.get_text() for text in alone.axes[3].texts] == ["no alternatives\nof this task"]


@pytest.fixture(scope="module")
def settings():
    standard = {"seeds": 2, "role": "standard", "training": {"iterations": 1}, "terms": {"predictivity": None}}
    populations = {
        "rates": standard | {"tasks": ["flip_flop", "path_classification"]},
        "spiking": standard | {"tasks": ["flip_flop"], "network": {"architecture": "lif"}},
        "lines": standard | {"tasks": ["path_classification"], "network": {"architecture": "linear"}},
    }
    sections = {name: {} for name in ("spikes", "equilibria", "moments", "signature_decoding")}
    tasks = {"flip_flop": {}, "path_classification": {}}
    return {"tasks": tasks, "populations": populations, "analysis": sections}


def test_a_class_has_a_figure_of_tasks_with_its_networks_alone(settings):
    grid = Grid(load(settings))
    made = {name for name in files.figure_files(grid) if any(f"/{one}_" in name for one in CLASSES)}
    names = ("spiking_flip_flop", "linear_path_classification", "moments_flip_flop", "moments_path_classification")
    assert made == {f"results/figures/{name}.{end}" for name in names for end in ("svg", "pdf", "png")}
    plain = Grid(load({"tasks": {"flip_flop": {}}, "populations": {"standard": {"seeds": 2}}}))
    assert not [name for name in files.figure_files(plain) if any(f"/{one}_" in name for one in CLASSES)]
    assert grid.architectures("flip_flop") == {"rate", "lif"}
    with pytest.raises(FigureError, match="only a figure per task can be of some architectures"):
        Plan("x", "grid", ("tables/networks",), print, "x", architectures=("lif",))
    assert planned("spiking").architectures == ("lif",)
