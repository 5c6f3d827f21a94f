"""What figures show: groups and their names, hollow points for unsolved networks, the values of the data."""

import functools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from conftest import ROOT
from drawn import check_text
from known import GRID
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Path3DCollection
from PIL import Image
from tables import with_blocks

from insd.analysis.robustness import RobustnessSettings as Robustness
from insd.cohorts import OVER_NETWORKS, every_network, network_labels
from insd.datasets import DatasetError
from insd.dynamics.flow import flow_of
from insd.dynamics.limit_cycles import find_cycle
from insd.dynamics.orbits import cycle_orbit
from insd.evaluation.decoding import SCORES
from insd.evaluation.performance import about_score
from insd.figures.collapse import collapse_figure, of_networks
from insd.figures.deflation import deflation_figure
from insd.figures.front import chosen_multiplier, front_figure
from insd.figures.mechanism import mechanism_figure
from insd.figures.networks import networks_figure
from insd.figures.panels import numbers
from insd.figures.regime_grids import regime_grids_figure
from insd.figures.regimes import regimes_figure
from insd.figures.shown import read_shown, shown_networks
from insd.figures.state_space import condition_of
from insd.figures.theme import (
    ROUND_HUES,
    SHUFFLED,
    UNTRAINED_HUE,
    chain_rounds,
    dots,
    groups,
    interval,
    is_standard,
    key,
    new_figure,
    save,
    short_names,
    standards_and_alternatives,
)
from insd.members import Member
from insd.predictivity import leading_components
from insd.tables.comparisons import comparisons
from insd.tasks.flip_flop import FlipFlop

CHAINS = ("insd", "x", "y", "p")
"""The populations of these tests that have alternatives."""
CONFIDENCE = 0.95


def network(population, round_number=0, gain=1.0, seed=0, **more):
    role = "alternative" if round_number else "reference" if population in CHAINS else "standard"
    row = {"task": "flip_flop", "population": population, "round": round_number, "gain": gain, "role": role}
    row |= {"standards": "a b s g0.5 g1.0 g1.5", "matched": True}
    row |= {"seed": seed, "chain": f"{population}/{seed}", "solved": True, "deflated": True if round_number else None}
    return row | more


def alternative(multiplier, r2, solved=True, schedule="constant", ridge=1e-3, number=1, **others):
    more = {
        "score": 0.99,
        "test_loss": 0.05,
        "multiplier": multiplier,
        "r2_null_to_reference": r2,
        "solved": solved,
        "schedule": schedule,
        "ridge": ridge,
        "penalty_bound": 0.15,
    }
    return network("p", number, **more | others)


def test_groups_name_and_colour_populations():
    table = pd.DataFrame(
        [network("a", gain=0.5), network("b", gain=1.5), network("u", role="untrained")]
        + [network("insd", number) for number in range(3)]
    )
    found = groups(table)
    assert [name for name, _, _ in found] == ["a", "b", "u", "reference", "alt-1", "alt-2"]
    assert float(found[0][1]) > float(found[1][1])  # greys: darker for the larger gain
    assert found[2][1] == UNTRAINED_HUE
    assert [colour for _, colour, _ in found[3:]] == ROUND_HUES[:3]
    assert [is_standard(rows) for _, _, rows in found] == [True, True, False, False, False, False]


def test_two_deflated_populations_are_told_apart():
    table = pd.DataFrame([network("x", 0), network("x", 1), network("y", 1)])
    assert [name for name, _, _ in groups(table)] == ["x reference", "x alt-1", "y alt-1"]


def test_the_chosen_multiplier_is_the_most_dissimilar_of_those_that_always_solve():
    rows = [alternative(0.1, 0.9), alternative(0.5, 0.4), alternative(0.5, 0.5), alternative(1.0, 0.1, solved=False)]
    assert chosen_multiplier(pd.DataFrame(rows)) == 0.5
    assert np.isnan(chosen_multiplier(pd.DataFrame(rows[-1:])))


@pytest.mark.parametrize(
    "task, measured",
    {
        # Median r2 and test loss of alt-1 at each constant multiplier of the sweep in docs/science.md.
        "context_integration": [
            (0.937, 0.075),
            (0.843, 0.0655),
            (0.5745, 0.0865),
            (0.269, 0.095),
            (0.1815, 0.0535),
            (0.1155, 0.055),
            (0.051, 0.066),
            (0.043, 0.0905),
        ],
        "flip_flop": [
            (0.366, 0.0015),
            (0.1545, 0.0025),
            (0.097, 0.005),
            (0.04, 0.0095),
            (0.0375, 0.0155),
            (0.0375, 0.022),
            (0.038, 0.0325),
            (0.0305, 0.036),
        ],
        "memory_pro": [
            (0.984, 0.001),
            (0.695, 0.0035),
            (0.433, 0.007),
            (0.2565, 0.012),
            (0.2465, 0.0175),
            (0.0835, 0.0415),
            (0.051, 0.0465),
            (0.045, 0.062),
        ],
    }.items(),
)
def test_the_rule_gives_the_multipliers_of_the_config(task, measured):
    rows = [
        alternative(multiplier, r2, test_loss=loss)
        for multiplier, (r2, loss) in zip((0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0), measured, strict=True)
    ]
    config = yaml.safe_load((ROOT / "config/constant.yaml").read_text())
    of_task = config["populations"]["constant"]["by_task"][task]
    assert chosen_multiplier(pd.DataFrame(rows)) == of_task["terms"]["predictivity"]["multiplier"]


def test_of_multipliers_that_are_as_unlike_that_of_the_least_loss_is_chosen():
    least = alternative(2.0, 0.1, test_loss=0.1)
    for r2, loss, chosen in ((0.109, 0.099, 0.5), (0.109, 0.101, 2.0), (0.111, 0.01, 2.0)):
        assert chosen_multiplier(pd.DataFrame([least, alternative(0.5, r2, test_loss=loss)])) == chosen
    two = [alternative(0.5, 0.105, test_loss=0.04), alternative(0.2, 0.109, test_loss=0.02)]
    assert chosen_multiplier(pd.DataFrame([least, *two])) == 0.2


def test_no_round_has_the_colour_of_something_else():
    assert len(set(ROUND_HUES)) == len(ROUND_HUES) >= 6
    for hue in ROUND_HUES:
        assert hue not in (UNTRAINED_HUE, SHUFFLED)
        red, green, blue = to_rgb(hue)
        assert max(red, green, blue) - min(red, green, blue) > 0.2, "greys are for standards"
    # The README's example of longer chains.
    table = pd.DataFrame([network("u", role="untrained")] + [network("insd", number) for number in range(5)])
    assert len({colour for _, colour, _ in groups(table)}) == 6


def test_the_front_has_a_point_per_alternative_and_rings_the_chosen_one():
    rows = [alternative(0.1, 0.9), alternative(0.5, 0.4), alternative(1.0, 0.1, solved=False)]
    rows += [alternative(0.5, 0.3, ridge=1e-4), alternative(0.1, 0.05, schedule="constrained", number=2)]
    # Of another term: without a multiplier of S.
    other = alternative(1.0, 0.7, schedule=np.nan)
    figure = front_figure(pd.DataFrame([network("p"), *rows, other]), {"flip_flop": FlipFlop()})
    panel = figure.axes[0]
    points = [line for line in panel.lines if line.get_marker() in ("o", "s") and line.get_markersize() < 3]
    assert sorted(line.get_xdata()[0] for line in points) == [0.05, 0.1, 0.3, 0.4, 0.9]
    hollow = [line.get_xdata()[0] for line in points if line.get_markerfacecolor() == "none"]
    assert hollow == [0.1]
    rings = [line for line in panel.lines if line.get_markersize() == 8]
    assert [line.get_xdata()[0] for line in rings] == [0.4]
    assert not panel.texts
    assert {text.get_text() for text in figure.axes[1].texts} == {"0.1", "0.5", "1", "ridge 0.0001"}
    # Hue by round, marker by schedule.
    assert [(line.get_marker(), line.get_color()) for line in points] == [("s", ROUND_HUES[1])] * 4 + [
        ("o", ROUND_HUES[2])
    ]
    assert {text.get_fontsize() for text in figure.axes[1].texts} == {7}


def test_the_front_tells_bounds_apart():
    """Of schedules that seek a bound of S, joined in its order; of constant multipliers, an unusual one is named."""
    rows = [
        alternative(2.0, r2, schedule="yielding", penalty_bound=bound, test_loss=loss)
        for bound, r2, loss in ((0.6, 0.5, 0.02), (0.15, 0.1, 0.1), (0.15, 0.2, 0.2), (0.25, 0.3, 0.05))
    ]
    rows += [alternative(0.5, 0.8), alternative(1.0, 0.7), alternative(0.5, 0.9, penalty_bound=0.3)]
    panel = front_figure(pd.DataFrame(rows), {"flip_flop": FlipFlop()}).axes[1]
    labels = {label.get_text(): label.xy for label in panel.texts}
    assert set(labels) == {"bound 0.15", "bound 0.25", "bound 0.6", "0.5", "1", "bound 0.3"}
    np.testing.assert_allclose(labels["bound 0.15"], (0.15, 0.15))
    joined = [line.get_xdata().tolist() for line in panel.lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(joined[0], [0.15, 0.3, 0.5])
    assert joined[1] == [0.8, 0.7]


def test_a_grid_without_deflation_has_a_front_that_says_so():
    figure = front_figure(pd.DataFrame([network("a")]), {})
    assert "no deflated population" in figure.axes[0].texts[0].get_text()
    assert not any(axes.axison for axes in figure.axes)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_figure_gives_the_same_file(tmp_path, suffix):
    files = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for file in files:
        figure = new_figure(50.0, 40.0)
        figure.subplots().plot([0, 1], [0, 1])
        save(figure, [file])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_png_keeps_the_colours_of_groups(tmp_path):
    figure = new_figure(60.0, 40.0)
    axes = figure.subplots()
    # Many colours beside few pixels of each round.
    axes.imshow(np.random.default_rng(0).random((40, 40)), cmap="viridis")
    axes.legend(handles=[key(hue, color=hue) for hue in ROUND_HUES[:4]])
    save(figure, [tmp_path / "a.png"])
    image = Image.open(tmp_path / "a.png")
    colours = np.array([colour for _, colour in image.convert("RGB").getcolors(256)])
    for hue in ROUND_HUES[:4]:
        assert np.abs(colours - 255 * np.array(to_rgb(hue))).max(1).min() <= 10


def chain(seeds=2, unsolved=(), alike=()):
    """Two standards of each of two gains, an untrained network, and chains of a reference and two alternatives."""
    rows = [network(f"g{gain}", gain=gain, seed=seed) for gain in (0.5, 1.5) for seed in range(2)]
    rows += [network("untrained", role="untrained", solved=False)]
    rows += [network("insd", number, seed=seed) for number in range(3) for seed in range(seeds)]
    table = pd.DataFrame(rows).assign(reference=lambda rows: rows["population"])
    table["solved"] &= ~np.isin(network_labels(table), list(unsolved))
    table.loc[np.isin(network_labels(table), list(alike)), "deflated"] = False
    return table


def crosses(axes):
    """Heights of the crosses of a panel."""
    return sorted(float(value) for line in axes.lines if line.get_marker() == "x" for value in line.get_ydata())


def hollow(axes):
    """Heights of the hollow points of a panel."""
    lines = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "none"]
    return sorted(float(value) for line in lines for value in line.get_ydata())


def filled(axes):
    """Heights of the filled points of a panel, by colour."""
    found = {}
    for line in axes.lines:
        if line.get_marker() == "o" and line.get_linestyle() == "None" and line.get_markerfacecolor() != "none":
            found.setdefault(to_hex(line.get_color()), []).extend(map(float, line.get_ydata()))
    return found


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


# --- The theme


def test_the_interval_of_a_mean():
    values = np.random.default_rng(0).normal(3, 2, (40, 500))
    low, high = interval(values, CONFIDENCE)
    # The half width is near that of Student's interval, and it covers about as often as it should.
    np.testing.assert_allclose((high - low).mean() / 2, 2.02 * 2 / np.sqrt(40), rtol=0.05)
    assert 0.92 < ((low < 3) & (high > 3)).mean() < 0.98


def test_the_interval_of_few_networks():
    low, high = interval(np.array([[1.0, 5.0], [3.0, 5.0]]), CONFIDENCE)
    np.testing.assert_array_equal([low, high], [[1, 5], [3, 5]])
    assert np.isnan(interval(np.array([[1.0, 5.0]]), CONFIDENCE)).all()


@pytest.mark.parametrize("confidence, student", [(0.5, 0.681), (0.99, 2.708)])
def test_the_interval_is_that_of_its_confidence(confidence, student):
    # Quantiles of Student's distribution with 39 degrees of freedom.
    values = np.random.default_rng(0).normal(3, 2, (40, 500))
    low, high = interval(values, confidence)
    np.testing.assert_allclose((high - low).mean() / 2, student * 2 / np.sqrt(40), rtol=0.05)
    assert ((low < 3) & (high > 3)).mean() == pytest.approx(confidence, abs=0.04)


def test_points_of_networks_that_do_not_solve_the_task_are_hollow():
    axes = new_figure(50.0, 40.0).subplots()
    dots(axes, 0, np.array([1.0, 2.0, 4.0]), np.array(["", "not solved", ""]), "#0000ff", CONFIDENCE)
    assert hollow(axes) == [2] and filled(axes) == {"#0000ff": [1, 4]}
    mean = [line for line in axes.lines if line.get_marker() == "None"][-1]
    assert mean.get_ydata()[0] == pytest.approx(7 / 3)


def test_a_point_without_a_value_leaves_the_others():
    axes = new_figure(50.0, 40.0).subplots()
    dots(axes, 0, np.array([np.nan, 2.0]), np.array(["", ""]), "#0000ff", CONFIDENCE)
    dots(axes, 1, np.array([]), np.array([], str), "#0000ff", CONFIDENCE)
    assert [value for value in filled(axes)["#0000ff"] if np.isfinite(value)] == [2]


def test_short_names_of_standards_are_their_gains_unless_two_share_one():
    assert short_names(groups(chain())) == ["g = 0.5", "g = 1.5", "untrained", "reference", "alt-1", "alt-2"]
    twins = pd.DataFrame([network("a", gain=1.0), network("b", gain=1.0)])
    assert short_names(groups(twins)) == ["a", "b"]


def test_what_alternatives_are_compared_with():
    assert [(name, len(rows)) for name, _, rows in standards_and_alternatives(chain(), "insd")] == [
        ("standards", 4),
        ("alt-1", 2),
        ("alt-2", 2),
    ]
    deflated = chain()[lambda rows: rows["population"] == "insd"]
    assert [name for name, _, _ in standards_and_alternatives(deflated, "insd")] == ["reference", "alt-1", "alt-2"]
    alone = chain()[lambda rows: rows["population"] != "insd"]
    assert [name for name, _, _ in standards_and_alternatives(alone, "insd")] == ["standards"]
    controls = [
        network(name, 1, role="control", reference=reference)
        for name, reference in (("long", "insd"), ("other", "elsewhere"), ("longer", "insd"))
    ]
    beside = standards_and_alternatives(pd.concat([chain(), pd.DataFrame(controls)]), "insd")
    assert [name for name, _, _ in beside] == ["standards", "long 1", "longer 1", "alt-1", "alt-2"]
    assert len({colour for _, colour, _ in beside}) == len(beside)
    assert [(name, colour) for name, colour, _ in chain_rounds(chain(), "insd")] == list(
        zip(["reference", "alt-1", "alt-2"], ROUND_HUES, strict=False)
    )
    assert [name for name, _, _ in chain_rounds(alone, "insd")] == ["standards"]


# --- Figure 1


def predictivity_of(table):
    """r2 of every pair a number of its own: the predictor's index in the table, and a hundredth of the target's."""
    names = network_labels(table)
    values = np.arange(len(names))[:, None] / 100 + np.arange(len(names)) / 10000
    r2 = np.stack([values, values / 2])
    return xr.Dataset(
        {"r2": (("space", "predictor", "target"), r2), "r2_shuffled": (("space", "predictor", "target"), r2 / 10)},
        {"space": ["full", "null"], "predictor": names, "target": names},
    )


MEASURES = {
    "predictivity_new_to_reference": ("r² copy → network", "similarity", 1.0),
    "predictivity_reference_to_new": ("r² network → copy", "similarity", 1.0),
    "cka": ("CKA", "similarity", 1.0),
    "rsa": ("RSA", "similarity", 1.0),
    "cca": ("CCA", "similarity", 1.0),
    "svcca": ("SVCCA", "similarity", 1.0),
    "procrustes": ("Procrustes", "distance", np.pi / 2),
}


def responses_of(measures=("predictivity_new_to_reference", "procrustes")):
    shape = (2, len(measures), 3)
    long_name, kind, highest = zip(*(MEASURES[measure] for measure in measures), strict=True)
    value = np.broadcast_to(np.array([0.0, 0.5, 1.0]), shape).copy()
    return xr.Dataset(
        {
            "value": (("change", "measure", "level"), value),
            "amount": (("change", "level"), [[0.0, 0.1, 1.0], [0.1, 1.0, np.nan]]),
            "long_name": ("measure", list(long_name)),
            "kind": ("measure", list(kind)),
            "highest": ("measure", list(highest)),
        },
        {"change": ["added dimensions", "scale"], "measure": list(measures)},
    )


def inputs_of(table, share=0.25):
    """The inputs alone predict the same of all networks, and networks beyond them half of each other."""
    names = network_labels(table)
    beyond = np.full((2, len(names), len(names)), 0.5)
    return xr.Dataset(
        {
            "r2_inputs": (("space", "network"), np.full((2, len(names)), share)),
            "r2_beyond": (("space", "predictor", "target"), beyond),
        },
        {"space": ["full", "null"], "network": names, "predictor": names, "target": names},
    )


def collapse_of(table, responses=None, confidence=CONFIDENCE):
    """The figure of one task."""
    found = (predictivity_of(table), responses_of() if responses is None else responses, inputs_of(table))
    return collapse_figure(table, *({"flip_flop": one} for one in found), confidence)


def levels_of(table):
    """Standards are the same as references by all levels, alternatives by topology, of those that are known."""
    rows = table[(table["role"] != "reference") & (table["role"] != "untrained")]
    standard = (rows["role"] == "standard").to_numpy()
    same = {"same_activity": standard, "same_dynamics": standard, "same_topology": np.full(len(rows), True)}
    return rows[["task", "population", "seed", "round", "solved"]].assign(**same)


def deflation_of(table, histories):
    """The figure of one task."""
    return deflation_figure(table, predictivity_of(table), levels_of(table), histories)


def test_each_network_is_at_its_mean_r2_to_the_others_of_its_group():
    table = chain()
    names = network_labels(table)
    inputs = inputs_of(table)["r2_inputs"].sel(space="full")
    found = {group.name: group for group in of_networks(table, predictivity_of(table).sel(space="full"), inputs)}
    assert list(found) == [
        *("g = 0.5", "g = 1.5", "across g", "untrained", "reference"),
        *("alt-1 → ref.", "alt-2 → ref.", "alt-2 → alt-1"),
    ]

    def r2(predictor, *targets):
        return names.index(predictor) / 100 + np.mean([names.index(target) for target in targets]) / 10000

    np.testing.assert_allclose(found["g = 1.5"].r2, [r2("g1.5/0/0", "g1.5/1/0"), r2("g1.5/1/0", "g1.5/0/0")])
    np.testing.assert_allclose(found["across g"].r2[0], r2("g0.5/0/0", "g1.5/0/0", "g1.5/1/0"))
    np.testing.assert_allclose(found["across g"].r2[2], r2("g1.5/0/0", "g0.5/0/0", "g0.5/1/0"))
    # Alternatives towards the earlier networks of their own chain.
    np.testing.assert_allclose(found["alt-1 → ref."].r2, [r2(f"insd/{s}/1", f"insd/{s}/0") for s in (0, 1)])
    np.testing.assert_allclose(found["alt-2 → alt-1"].r2, [r2(f"insd/{s}/2", f"insd/{s}/1") for s in (0, 1)])
    np.testing.assert_allclose(found["alt-2 → alt-1"].shuffled, found["alt-2 → alt-1"].r2 / 10)
    np.testing.assert_allclose(found["alt-2 → alt-1"].inputs, 0.25)
    assert len(found["untrained"].r2) == 0


def test_the_collapse_shows_unsolved_networks_hollow_and_distances_as_similarities():
    table = chain(unsolved=["insd/1/1"], alike=["insd/0/1"])
    figure = collapse_of(table)
    names = network_labels(table)
    expected, alike = (names.index(f"insd/{s}/1") / 100 + names.index(f"insd/{s}/0") / 10000 for s in (1, 0))
    assert hollow(figure.axes[0]) == pytest.approx([1 - expected])
    assert hollow(figure.axes[1]) == pytest.approx([1 - expected / 2])
    assert crosses(figure.axes[0]) == pytest.approx([1 - alike])
    assert {"not solved", "not deflated", "inputs alone"} <= set(legends(figure))
    without = chain()[lambda rows: rows["population"] != "untrained"]
    assert "not solved" not in legends(collapse_of(without))
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[2].lines}
    np.testing.assert_allclose(lines["r² copy → network"], [0, 0.5, 1])
    np.testing.assert_allclose(lines["1 − d/max (Procrustes)"], [1, 1 - 1 / np.pi, 1 - 2 / np.pi])
    # The second change has fewer levels.
    assert [len(line.get_ydata()) for line in figure.axes[3].lines] == [2, 2]


def test_every_measure_of_the_responses_is_drawn_and_looks_different():
    table = chain()
    many = responses_of(MEASURES)
    more = [
        many.isel(measure=[3]).assign_coords(measure=[f"m{k}"]).assign(long_name=("measure", [f"measure {k}"]))
        for k in range(12)
    ]
    unbounded = (
        many.isel(measure=[-1])
        .assign_coords(measure=["u"])
        .assign(long_name=("measure", ["unbounded"]), highest=("measure", [np.inf]))
    )
    found = xr.concat([many, *more, unbounded], "measure", data_vars="minimal")
    figure = collapse_of(table, found)
    lines = {line.get_label(): line for line in figure.axes[2].lines}
    assert len(lines) == found.sizes["measure"] == 20
    looks = {(to_hex(line.get_color()), line.get_marker(), line.get_linestyle()) for line in lines.values()}
    assert len(looks) == 20
    np.testing.assert_allclose(lines["1/(1 + d) (unbounded)"].get_ydata(), [1, 2 / 3, 1 / 2])
    assert set(lines) <= set(check_text(figure))


@pytest.mark.parametrize(
    "keep",
    [
        pytest.param(lambda rows: rows["population"] != "insd", id="no alternatives"),
        pytest.param(lambda rows: rows["population"] == "insd", id="no standards"),
        pytest.param(lambda rows: rows["seed"] == 0, id="single seeds"),
        pytest.param(lambda rows: rows["population"] == "untrained", id="one untrained network"),
    ],
)
def test_figures_of_parts_of_a_grid(tmp_path, keep):
    table = chain()[keep].reset_index(drop=True)
    data = mechanism_data(table)
    shown = shown_networks(table, "insd")
    save(
        mechanism_figure(
            FlipFlop(), data["trials"], table, shown, data["rounds"], **data["analyses"], confidence=CONFIDENCE
        ),
        [tmp_path / "a.pdf"],
    )
    save(collapse_of(table), [tmp_path / "b.pdf"])
    performance, robustness = scores_of(table)
    compared = comparisons(table, performance, robustness, resamples=99)
    save(regimes_figure(table, "insd", performance, robustness, compared, CONFIDENCE), [tmp_path / "c.pdf"])
    save(regime_grids_figure(table, "insd", performance, compared, CONFIDENCE), [tmp_path / "f.pdf"])
    save(networks_figure(numbers_of(table), {"flip_flop": "sign accuracy"}, CONFIDENCE), [tmp_path / "d.pdf"])
    histories = {(row["population"], row["round"]): [history_of(row["round"])] for row in table.to_dict("records")}
    save(deflation_of(numbers_of(table), histories), [tmp_path / "e.pdf"])
    assert len(list(tmp_path.iterdir())) == 6


# --- Figures 2 to 4

UNITS, TIMES = 5, 40
SHORT = FlipFlop(duration=TIMES * 0.02)


def rate_network(recurrent_weights, inputs):
    """A `network.nc` of one seed, without input and bias."""
    units = len(recurrent_weights)
    return xr.Dataset(
        {
            "recurrent_weights": (("unit", "unit_from"), recurrent_weights),
            "input_weights": (("unit", "input"), np.zeros((units, inputs))),
            "output_weights": (("output", "unit"), np.zeros((1, units))),
            "bias": ("unit", np.zeros(units)),
            "output_bias": ("output", np.zeros(1)),
            "initial_state": ("unit", np.zeros(units)),
        },
        attrs={"dt": 0.02, "tau": 0.1},
    )


def mechanism_data(table, task=SHORT):
    """Files of random networks, each with a stable, an unstable and a slow point."""
    random = np.random.default_rng(0)
    trials = task.sample("test", 12, 0)
    names = network_labels(table)
    rates = {name: np.tanh(random.standard_normal((12, trials.sizes["time"], UNITS))) for name in names}
    conditions = list(task.static_inputs())
    round_of = {
        name: member_of(rate_network(np.zeros((UNITS, UNITS)), trials.sizes["input"]), activity_of(rates[name]))
        for name in names
    }
    count = 3 * len(names)
    points = xr.Dataset(
        {
            "state": (("point", "unit"), random.standard_normal((count, UNITS))),
            "stable": ("point", [True, False, False] * len(names)),
            "eigenvalues_real": (("point", "unit"), -np.arange(count * UNITS).reshape(count, UNITS) / 100),
            "eigenvalues_imag": (("point", "unit"), np.full((count, UNITS), 2 * np.pi)),
            "cycle_state": (("cycle", "unit"), np.zeros((0, UNITS))),
            "cycle_period": ("cycle", np.zeros(0)),
            "cycle_step_artefact": ("cycle", np.zeros(0, bool)),
        },
        {
            "network": ("point", np.repeat(names, 3)),
            "condition": ("point", np.resize(conditions, count)),
            "kind": ("point", ["fixed", "fixed", "slow"] * len(names)),
            "cycle_network": ("cycle", np.zeros(0, str)),
            "cycle_condition": ("cycle", np.zeros(0, str)),
            "searched_condition": conditions,
        },
    )
    times = trials["time"].values[::5]
    kinds = {name: variable.kind for name, variable in task.variables(trials).items()}
    shape = (len(names), len(kinds), len(times), len(times))
    scores = random.uniform(0.4, 1, shape)
    dimensions = ("network", "variable", "time", "time_to")
    decoding = xr.Dataset(
        {
            "score": (dimensions, scores),
            "score_null": (dimensions, scores / 2),
            "score_shuffled": (dimensions[:3], np.full(shape[:3], 0.5)),
            "chance": ("variable", [SCORES[kind][1] for kind in kinds.values()]),
        },
        {
            "network": names,
            "variable": list(kinds),
            "kind": ("variable", list(kinds.values())),
            "score_name": ("variable", [SCORES[kind][0] for kind in kinds.values()]),
            "time": times,
            "time_to": times,
        },
    )
    dynamics = xr.Dataset(
        {"embedding": (("network", "axis"), random.standard_normal((len(names), 2))), "stress": 0.1},
        {"network": names},
    )
    analyses = {
        "points": points,
        "predictivity": predictivity_of(table),
        "dynamics": dynamics,
        "decoding": decoding,
    }
    return {"trials": trials, "rounds": round_of, "analyses": analyses}


def member_of(network, activity):
    """A network and its activity without the dimension of seeds as a member."""
    both = (one.expand_dims(seed=[0]) for one in (network, activity))
    return Member.of_datasets("p", 0, "reference", *both)[0]


def activity_of(rates):
    return xr.Dataset({"rates": (("trial", "time", "unit"), rates)})


def test_the_chain_that_is_shown_is_the_first_whose_networks_are_all_solved():
    shown = shown_networks(chain(seeds=3, unsolved=["insd/0/1"]), "insd")
    assert [one.label for one in shown] == ["insd/1/0", "insd/1/1", "insd/1/2"]
    assert [one.name for one in shown] == ["reference", "alt-1", "alt-2"]
    assert [one.colour for one in shown] == ROUND_HUES[:3]
    # What the lines of decoding are means over: the solved networks of each round.
    assert shown[1].group == ["insd/1/1", "insd/2/1"] and len(shown[0].group) == 3
    shown = shown_networks(chain(unsolved=["insd/0/1", "insd/1/2"]), "insd")
    assert [(one.label, one.state) for one in shown] == [
        ("insd/0/0", ""),
        ("insd/0/1", "not solved"),
        ("insd/0/2", ""),
    ]


def test_a_chain_may_have_its_reference_in_another_population():
    rows = [network("a", role="reference", seed=seed) for seed in range(2)] + [
        network("b", 1, seed=seed) for seed in range(2)
    ]
    table = pd.DataFrame(rows).assign(reference="a", solved=[True, True, False, True])
    assert [one.label for one in shown_networks(table, "b")] == ["a/1/0", "b/1/1"]


def test_without_deflation_the_first_solved_network_of_each_population_is_shown():
    alone = chain(unsolved=["g0.5/0/0"])[lambda rows: rows["population"] != "insd"]
    assert [one.label for one in shown_networks(alone, "insd")] == ["g0.5/1/0", "g1.5/0/0"]


def test_a_network_that_no_file_holds_is_named():
    shown = shown_networks(chain(), "insd")
    with pytest.raises(DatasetError, match="insd/0/0: is in the table of networks, but in none of"):
        read_shown(shown, ["a.nc"], ["b.nc"], [("insd", "5-6", 0, "reference", "made with")])


@pytest.mark.parametrize("name", GRID)
def test_conditions_that_colour_trajectories(name):
    task = GRID[name]()
    trials = task.sample("test", 30, 0)
    condition = condition_of(task.variables(trials), trials)
    assert condition.values.shape == (30, trials.sizes["time"])
    if name == "memory_pro":
        np.testing.assert_array_equal(condition.values[:, 0], trials["angle"])
        np.testing.assert_allclose(condition.colour(-np.pi), condition.colour(np.pi))
        return
    signs = [v.values > 0 for v in task.variables(trials).values() if v.kind == "sign"]
    assert len(condition.names) == 2 ** len(signs) == len({condition.colour(n) for n in range(len(condition.names))})
    for trial, time in ((0, 0), (7, -1), (29, 40)):
        named = condition.names[int(condition.values[trial, time])]
        assert named == " ".join("+" if sign[trial, time] else "−" for sign in signs)


def drawn(data, table, shown):
    return mechanism_figure(
        FlipFlop(), data["trials"], table, shown, data["rounds"], **data["analyses"], confidence=CONFIDENCE
    )


def in_space(axes):
    """Positions of the stable, the unstable and the slow points of a panel in three dimensions, as they are drawn."""
    found = {}
    for collection in axes.collections:
        if isinstance(collection, Path3DCollection):
            places = np.stack(collection._offsets3d, axis=1)
            face = to_hex(collection.get_facecolor()[0]) if len(collection.get_facecolor()) else "none"
            found.setdefault({"#000000": "stable", "#ffffff": "unstable"}.get(face, "slow"), []).extend(places)
    return {kind: np.array(places) for kind, places in found.items()}


def test_points_are_drawn_where_they_are_and_by_stability():
    table = chain()
    data = mechanism_data(table)
    shown = shown_networks(table, "insd")
    figure = drawn(data, table, shown)
    panels = [axes for axes in figure.axes if axes.name == "3d"]
    assert len(panels) == 3
    mean, directions, _ = leading_components(data["rounds"][shown[1].label].rates)
    points = data["analyses"]["points"]
    own = points["state"].values[points["network"].values == shown[1].label]
    expected = (np.tanh(own) - mean) @ directions
    found = in_space(panels[1])
    for row, kind in enumerate(("stable", "unstable", "slow")):
        np.testing.assert_allclose(found[kind], expected[[row]], atol=1e-6)
    assert not any(np.allclose(in_space(panels[0])["stable"], found["stable"]) for _ in range(1))


def test_spectra_show_real_part_and_frequency_of_fixed_points():
    table = chain()
    data = mechanism_data(table)
    shown = shown_networks(table, "insd")
    (axes,) = [axes for axes in drawn(data, table, shown).axes if axes.get_ylabel() == "frequency (Hz)"]
    points = data["analyses"]["points"]
    own = points.isel(point=points["network"].values == shown[0].label)
    every = [line for line in axes.lines if line.get_marker() == "."]
    np.testing.assert_allclose(every[0].get_xdata(), own["eigenvalues_real"].values[:2].ravel())
    np.testing.assert_allclose(every[0].get_ydata(), 1)
    leading = {line.get_markerfacecolor(): line.get_xdata() for line in axes.lines if line.get_marker() == "o"}
    np.testing.assert_allclose(leading[ROUND_HUES[0]], own["eigenvalues_real"].values[:1, 0])
    np.testing.assert_allclose(leading["white"], own["eigenvalues_real"].values[1:2, 0])


def test_maps_and_curves_show_the_scores_of_decoding():
    table = chain(unsolved=["insd/1/2"])
    data = mechanism_data(table)
    shown = shown_networks(table, "insd")
    figure = drawn(data, table, shown)
    score = data["analyses"]["decoding"]["score"]
    by_title = {axes.get_title(): axes for axes in figure.axes}
    for one in shown:
        first = score.sel(network=one.label, variable="bit_1").values
        for space, factor in (("full", 1.0), ("null", 0.5)):
            image = by_title[f"{one.name}, {space}"].images[0]
            np.testing.assert_allclose(image.get_array(), factor * first)
            assert image.get_clim() == (0.5, 1)
    curves = by_title["alt-2 (n = 1)"].lines
    same = score.sel(network="insd/0/2", variable="bit_1").values.diagonal()
    np.testing.assert_allclose(curves[0].get_ydata(), same)
    both = score.sel(network=["insd/0/1", "insd/1/1"], variable="bit_1").mean("network").values.diagonal()
    np.testing.assert_allclose(by_title["alt-1 (n = 2)"].lines[0].get_ydata(), both)


def test_the_scaling_has_every_network_hollow_where_it_is_not_solved_and_rings_at_those_shown():
    table = chain(unsolved=["g0.5/1/0"])
    data = mechanism_data(table)
    (axes,) = [axes for axes in drawn(data, table, shown_networks(table, "insd")).axes if "DSA" in axes.get_title()]
    embedding = data["analyses"]["dynamics"]["embedding"]
    small = [line for line in axes.lines if line.get_markersize() < 3]
    assert sum(len(line.get_ydata()) for line in small) == len(table)
    unfilled = [value for line in small if line.get_markerfacecolor() == "none" for value in line.get_ydata()]
    expected = embedding.sel(network=["g0.5/1/0", "untrained/0/0"]).values[:, 1]
    np.testing.assert_allclose(unfilled, expected)
    rings = [line.get_ydata()[0] for line in axes.lines if line.get_markersize() == 6]
    np.testing.assert_allclose(rings, embedding.sel(network=["insd/0/0", "insd/0/1", "insd/0/2"]).values[:, 1])


def oscillator():
    """Two units that turn: a limit cycle, of a network with a file of its own."""
    return rate_network(1.5 * np.array([[1.0, -1.0], [1.0, 1.0]]), 3)


def test_the_orbit_of_a_cycle_goes_round_once():
    oscillating = oscillator()
    flow = flow_of(oscillating, np.zeros(3), 0.02)
    settled, run = flow.run(torch.tensor([[1.0, 0.0]], dtype=torch.float64), 2000, recorded=1000)
    period, curve = find_cycle(run[:, 0].numpy())
    orbit = cycle_orbit(oscillating, np.zeros(3), settled[0].numpy(), period * 0.02)
    step = np.linalg.norm(np.diff(orbit, axis=0), axis=1).max()
    assert len(orbit) == int(np.ceil(period)) + 1
    np.testing.assert_allclose(orbit[0], settled[0])
    assert np.linalg.norm(orbit[-1] - orbit[0]) < 1.01 * step
    turned = np.unwrap(np.arctan2(orbit[:, 1], orbit[:, 0]))
    assert abs(abs(turned[-1] - turned[0]) - 2 * np.pi) < 2 * np.pi / period
    assert np.linalg.norm(orbit[:, None] - curve[None], axis=2).min(1).max() < step


def test_cycles_are_drawn_but_not_the_artefacts_of_the_step():
    table = pd.DataFrame([network("a")])
    data = mechanism_data(table)
    random = np.random.default_rng(0)
    data["rounds"]["a/0/0"] = member_of(oscillator(), activity_of(np.tanh(random.standard_normal((12, TIMES, 2)))))
    points = data["analyses"]["points"].isel(unit=slice(2), cycle=[])
    points = points.drop_vars(
        ["cycle_state", "cycle_period", "cycle_step_artefact", "cycle_network", "cycle_condition"]
    )
    data["analyses"]["points"] = points.assign(
        cycle_state=(("cycle", "unit"), [[0.9, 0.0], [0.1, 0.1]]),
        cycle_period=("cycle", [0.4, 0.04]),
        cycle_step_artefact=("cycle", [False, True]),
    ).assign_coords(cycle_network=("cycle", ["a/0/0"] * 2), cycle_condition=("cycle", ["hold"] * 2))
    figure = drawn(data, table, shown_networks(table, "insd"))
    (panel,) = [axes for axes in figure.axes if axes.name == "3d"]
    (line,) = panel.lines
    assert len(line.get_data_3d()[0]) == 21


# --- Figure 5

COMPARED = ["task", "population", "round", "measure", "quantity", "level", "duration", "verdict", "difference"]
LEVELS = {
    "noise_level": "noise_levels",
    "jitter_level": "jitter_levels",
    "silenced_share": "silenced_shares",
    "kick_level": "kick_levels",
}
ABOUT = {"long_name": "sign accuracy", "criterion": 0.95, "chance": 0.5, "higher_is_better": 1}


def scores_of(table, task=None):
    """Scores of every network in every condition, each a number of its own, on the grid of a task or a small one."""
    names = network_labels(table)
    base = 0.5 + 0.01 * np.arange(len(names))
    noise = [f"input_noise = {level}" for level in (0.1, 0.2, 0.4)]
    duration = [f"duration = {length}, pulse_rate = 1" for length in (1.8, 3.6)]
    regimes, levels = ["test", "noisy_long"], {name: [0.1, 0.2] for name in LEVELS}
    about = ABOUT
    if task is not None:
        noise, duration = task.grid_labels("noise"), task.grid_labels("duration")
        regimes, about = task.regime_names()[1:], about_score(task)
        levels = {name: getattr(Robustness(), field) for name, field in LEVELS.items()}
        best, chance = (1.0 if task.higher_is_better else 0.0), task.chance
        base = best + (chance - best) * 0.05 * np.arange(len(names))

    def scores(*shape):
        return base.reshape(-1, *[1] * len(shape)) + 0.001 * np.arange(int(np.prod(shape))).reshape(shape)

    def at(name):
        return len(levels[name])

    performance = xr.Dataset(
        {
            "score": (("network", "regime"), scores(len(regimes)), about),
            "loss": (("network", "regime"), scores(len(regimes))),
            "grid_score": (("network", "noise", "duration"), scores(len(noise), len(duration)), about),
            "grid_loss": (("network", "noise", "duration"), scores(len(noise), len(duration))),
        },
        {"network": names, "regime": regimes, "noise": noise, "duration": duration},
    )
    variables = {
        "unperturbed": ("network", base),
        "half_step": ("network", base),
        "noise": (("network", "noise_level"), scores(at("noise_level"))),
        "jitter": (("network", "jitter_level", "draw"), scores(at("jitter_level"), 2)),
        "silence": (("network", "silenced_share", "draw"), scores(at("silenced_share"), 2)),
        "kick": (("network", "kick_level"), scores(at("kick_level"))),
    }
    way_back = np.exp(-np.arange(4)) + np.arange(len(names) * at("kick_level") * 2).reshape(-1, at("kick_level"), 2, 1)
    robustness = xr.Dataset(
        {f"{name}_score": (*variable, about) for name, variable in variables.items()}
        | {f"{name}_loss": variable for name, variable in variables.items()}
        | {"kick_recovery": (("network", "kick_level", "space", "time_after"), way_back)},
        {"network": names, "space": ["full", "null"], "time_after": 0.02 * np.arange(4), **levels},
    )
    return {"flip_flop": with_blocks(performance)}, {"flip_flop": with_blocks(robustness)}


def test_regimes_show_means_over_the_solved_networks_and_the_verdicts():
    table = chain(unsolved=["insd/1/1"])
    performance, robustness = scores_of(table)
    rows = [
        ("flip_flop", "insd", 2, "grid", "score", "input_noise = 0.2", "duration = 3.6, pulse_rate = 1", "better", 0.2),
        ("flip_flop", "insd", 2, "grid", "score", "input_noise = 0.4", "duration = 1.8, pulse_rate = 1", "equal", -0.1),
        ("flip_flop", "insd", 2, "grid", "loss", "input_noise = 0.1", "duration = 1.8, pulse_rate = 1", "worse", -9.0),
        ("flip_flop", "insd", 1, "grid", "score", "input_noise = 0.1", "duration = 1.8, pulse_rate = 1", "worse", -0.4),
        ("flip_flop", "insd", 1, "private noise", "score", "0.1", np.nan, "worse", -0.1),
        ("flip_flop", "insd", 1, "private noise", "loss", "0.2", np.nan, "worse", -0.1),
        ("flip_flop", "insd", 2, "private noise", "score", "0.2", np.nan, "equal", 0.0),
        ("flip_flop", "insd", 2, "half the time step", "score", np.nan, np.nan, "better", 0.1),
    ]
    compared = pd.DataFrame(rows, columns=COMPARED)
    figure = regimes_figure(table, "insd", performance, robustness, compared, CONFIDENCE)
    by_title, by_label = (
        {getattr(axes, f"get_{what}")(): axes for axes in figure.axes} for what in ("title", "xlabel")
    )
    # One alternative is not solved: a point in each regime, and in no mean.
    scores = performance["flip_flop"]["score"].sel(network="insd/1/1").values
    assert hollow(by_title["flip flop"]) == pytest.approx(sorted(scores))

    # Heat maps: noise across, duration up, the largest difference of both maps at the end of the colours.
    expected = {"alt-1": np.full((2, 3), np.nan), "alt-2": np.full((2, 3), np.nan)}
    expected["alt-1"][0, 0], expected["alt-2"][1, 1], expected["alt-2"][0, 2] = -0.4, 0.2, -0.1
    certain = {"alt-1": (0.5, 0.5), "alt-2": (1.5, 1.5)}
    for name, difference in expected.items():
        (mesh,) = by_title[name].collections
        np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), difference)
        assert mesh.get_clim() == (-0.4, 0.4)
        (dotted,) = by_title[name].lines
        assert [tuple(place) for place in dotted.get_xydata()] == [certain[name]]
    assert [tick.get_text() for tick in by_title["alt-1"].get_yticklabels()] == ["1.8", "3.6"]
    assert by_title["alt-1"].get_ylabel() == "duration (s)"

    # The way back after the smallest and the largest kick, of reference and alternatives.
    recovery = robustness["flip_flop"]["kick_recovery"]
    groups_shown = (["insd/0/0", "insd/1/0"], ["insd/0/1"], ["insd/0/2", "insd/1/2"])
    for level in (0.1, 0.2):
        drawn_lines = [line for line in by_title[f"kick {level}"].lines if line.get_color() in ROUND_HUES]
        chosen = [(group, space) for group in groups_shown for space in ("full", "null")]
        for line, (group, space) in zip(drawn_lines, chosen, strict=True):
            way_back = recovery.sel(network=group, kick_level=level, space=space).mean("network")
            np.testing.assert_allclose(line.get_ydata(), way_back)
            assert line.get_linestyle() == {"full": "-", "null": "--"}[space]

    grids = regime_grids_figure(table, "insd", performance, compared, CONFIDENCE)
    grid = performance["flip_flop"]["grid_score"]
    lines = [line for line in grids.axes[1].lines if line.get_marker() == "o"]
    for line, group in zip(
        lines,
        (["g0.5/0/0", "g0.5/1/0", "g1.5/0/0", "g1.5/1/0"], ["insd/0/1"], ["insd/0/2", "insd/1/2"]),
        strict=True,
    ):
        np.testing.assert_allclose(line.get_ydata(), grid.sel(network=group).isel(duration=1).mean("network"))

    def marks(axes):
        return [
            (line.get_marker(), to_hex(line.get_color()), round(float(line.get_xdata()[0]), 1))
            for line in axes.lines
            if line.get_marker() in ("^", "v")
        ]

    assert marks(grids.axes[1]) == [("^", ROUND_HUES[2], 1.0)]
    assert marks(grids.axes[0]) == [("v", ROUND_HUES[1], 0.0)]
    # Without perturbation first, then the levels.
    noise = by_label["private noise σ"]
    assert marks(noise) == [("v", ROUND_HUES[1], 1.0)]
    assert [tick.get_text() for tick in noise.get_xticklabels()] == ["0", ".1", ".2"]
    (steps,) = [axes for axes in figure.axes if "half" in [tick.get_text() for tick in axes.get_xticklabels()]]
    assert [(shape, colour) for shape, colour, _ in marks(steps)] == [("^", ROUND_HUES[2])]
    assert not marks(by_title["flip flop"])


def test_groups_of_networks_that_diverge_are_named_and_leave_a_gap():
    table = chain()
    performance, robustness = scores_of(table)
    hard = {"network": "insd/0/2", "regime": "noisy_long"}
    performance["flip_flop"]["score"].loc[hard] = -np.inf
    robustness["flip_flop"]["noise_score"].loc[{"network": "insd/0/2", "noise_level": 0.2}] = -np.inf
    none = pd.DataFrame(columns=COMPARED)
    figure = regimes_figure(table, "insd", performance, robustness, none, CONFIDENCE)
    figure.canvas.draw()
    told = [axes for axes in figure.axes if any("diverge somewhere:\nalt-2" in text.get_text() for text in axes.texts)]
    assert [axes.get_title() or axes.get_xlabel() for axes in told] == ["flip flop", "private noise σ"]
    assert np.isfinite([axes.get_ylim() for axes in figure.axes]).all()


def legends(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_figures_say_the_confidence_of_their_intervals():
    table = chain()
    performance, robustness = scores_of(table)
    compared = pd.DataFrame(columns=COMPARED)
    figures = [
        collapse_of(table, confidence=0.9),
        regimes_figure(table, "insd", performance, robustness, compared, 0.9),
        regime_grids_figure(table, "insd", performance, compared, 0.9),
    ]
    assert [[text for text in legends(figure) if "interval" in text] for figure in figures] == [
        ["mean and 90 % interval"]
    ] * 3


def test_up_is_better_where_lower_scores_are():
    table = chain()
    performance, robustness = scores_of(table)
    performance["flip_flop"]["score"].attrs |= {"higher_is_better": 0, "chance": 90.0, "criterion": 10.0}
    figure = regimes_figure(table, "insd", performance, robustness, pd.DataFrame(columns=COMPARED), CONFIDENCE)
    (panel,) = [axes for axes in figure.axes if axes.get_title() == "flip flop"]
    bottom, top = panel.get_ylim()
    assert bottom > 90 and top < 0


def test_levels_of_a_grid_are_shown_by_their_numbers_where_they_replace_one_field():
    assert numbers(["input_noise = 0.1", "input_noise = 0.4"]) == ("input noise", ["0.1", "0.4"])
    assert numbers(["delay = 0.2 to 0.8"]) == ("delay", ["0.2 to 0.8"])
    for levels in (["unchanged", "a = 1"], ["a = 1", "b = 1"], ["a = 1, b = 2"]):
        assert numbers(levels) == ("", levels)


# --- The supplement


def numbers_of(table):
    columns = ["score", "test_loss", "restarts", "participation_ratio", "mean_squared_rate", "dominant_frequency"]
    columns += ["n_stable_fixed_points", "n_cycles", "r2_null_to_reference", "dsa_to_reference"]
    columns += ["r2_null_shuffled_to_reference"]
    values = {name: 1.0 + number + np.arange(len(table)) / 100 for number, name in enumerate(columns)}
    later = table["round"] > 0
    values |= {name: np.where(later, values[name], np.nan) for name in columns[-3:]}
    return table.assign(**values)


def test_all_networks_in_numbers():
    table = numbers_of(chain(unsolved=["insd/0/2"]))
    figure = networks_figure(table, {"flip_flop": "sign accuracy"}, CONFIDENCE)
    assert isinstance(figure, Figure) and len(figure.axes) == 9
    assert "sign accuracy" in figure.axes[0].get_title()
    unsolved = table[~table["solved"]]
    assert hollow(figure.axes[1]) == pytest.approx(sorted(unsolved["test_loss"]))
    last = filled(figure.axes[-1])
    first = table.query("round == 1")["dsa_to_reference"]
    np.testing.assert_allclose(last[to_hex(ROUND_HUES[1])], first)
    # References have no distance to themselves.
    assert not np.isfinite(last.get(to_hex(ROUND_HUES[0]), [])).any()


@pytest.mark.parametrize(
    "most, ticks", [(0, [0, 1]), (2, [0, 1, 2]), (8, [0, 1, 8]), (27, [0, 1, 27]), (30, [0, 1, 10, 30])]
)
def test_axes_of_counts_are_labelled_up_to_the_largest(most, ticks):
    table = numbers_of(chain())
    table["n_cycles"] = np.where(np.arange(len(table)) == 0, float(most), 0.0)
    figure = networks_figure(table, {"flip_flop": "sign accuracy"}, CONFIDENCE)
    (panel,) = (axes for axes in figure.axes if axes.get_ylabel() == "cycles")
    assert list(panel.get_yticks()) == ticks
    assert panel.get_ylim()[1] > most


def history_of(number, iterations=4):
    course = np.linspace(1, 0.1, iterations).reshape(1, 1, -1)
    by_earlier = np.repeat(course[..., None], max(number, 1), axis=-1) * np.arange(1, max(number, 1) + 1)
    variables = {"held_out_loss": (("attempt", "seed", "iteration"), course)}
    if number:
        dimensions = ("attempt", "seed", "iteration", "earlier")
        variables |= {"held_out_penalty": (dimensions, by_earlier), "multiplier": (dimensions, 2 * by_earlier)}
    return xr.Dataset(variables, {"iteration": np.arange(iterations)})


def test_learning_curves_show_penalty_and_multiplier_of_each_earlier_round():
    table = chain(seeds=1)
    histories = {(row["population"], row["round"]): [history_of(row["round"])] for row in table.to_dict("records")}
    figure = deflation_of(numbers_of(table), histories)
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    for label, factor in (("held-out penalty S", 1), ("multiplier of S", 2)):
        lines = {line.get_label(): line.get_ydata() for line in panels[label].lines}
        assert list(lines) == ["alt-1 → reference", "alt-2 → reference", "alt-2 → alt-1"]
        np.testing.assert_allclose(lines["alt-2 → alt-1"], factor * 2 * np.linspace(1, 0.1, 4))


def test_training_stops_within_the_bounds_that_are_drawn():
    table = chain(seeds=1)
    recipe = {"training": {"loss_bound": 0.3}, "terms": {"predictivity": {"bound": 0.05}}}
    histories = {
        (row["population"], row["round"]): [
            history_of(row["round"]).assign_attrs(settings=json.dumps({"recipe": recipe}))
        ]
        for row in table.to_dict("records")
    }
    panels = {axes.get_ylabel(): axes for axes in deflation_of(numbers_of(table), histories).axes}
    for label, bound in (("held-out task loss (share of variance)", 0.3), ("held-out penalty S", 0.05)):
        dotted = [line for line in panels[label].lines if line.get_linestyle() == ":" and len(line.get_xdata()) == 2]
        assert [float(line.get_ydata()[0]) for line in dotted] == [bound]


@pytest.mark.parametrize(
    "terms, name", [(["multiplicative"], "S"), (["cka"], "cka"), (["predictivity", "dsa", "own:Mine"], "Mine, S, dsa")]
)
def test_the_penalty_is_called_by_the_terms_of_the_chains(terms, name):
    # One population for each term; that of round 0 acts on nothing.
    recipes = {(term, 1): {term: {"bound": 0.05}} for term in terms} | {("other", 0): {"costs": {"bound": 1.0}}}
    histories = {
        of: [
            history_of(of[1]).assign_attrs(
                settings=json.dumps({"recipe": {"training": {"loss_bound": 0.3}, "terms": acting}})
            )
        ]
        for of, acting in recipes.items()
    }
    labels = [axes.get_ylabel() for axes in deflation_of(numbers_of(chain(seeds=1)), histories).axes]
    assert f"held-out penalty {name}" in labels and f"multiplier of {name}" in labels


def test_levels_are_counted_over_solved_networks_by_group():
    table = chain(seeds=3, unsolved=["insd/1/1"])
    histories = {(row["population"], row["round"]): [history_of(row["round"])] for row in table.to_dict("records")}
    figure = deflation_of(numbers_of(table), histories)
    (panel,) = [axes for axes in figure.axes if "same as a reference" in axes.get_title()]
    found = np.array([text.get_text() for text in panel.texts]).reshape(3, 3)
    assert found[0].tolist() == ["4 of 4"] * 3
    assert found[1].tolist() == ["0 of 2", "0 of 2", "2 of 2"] and found[2].tolist() == ["0 of 3", "0 of 3", "3 of 3"]


def test_r2_of_alternatives_is_that_of_the_table_and_of_others_that_of_all_pairs():
    table = numbers_of(chain(unsolved=["insd/1/1"]))
    histories = {(row["population"], row["round"]): [history_of(row["round"])] for row in table.to_dict("records")}
    figure = deflation_of(table, histories)
    panel = next(axes for axes in figure.axes if axes.get_ylabel().startswith("null-space r²"))
    assert [label.get_text() for label in panel.get_xticklabels()] == ["standards", "alt-1", "alt-2"]
    expected = table.query("round == 1").set_index("seed")["r2_null_to_reference"]
    np.testing.assert_allclose(filled(panel)[to_hex(ROUND_HUES[1])], expected[0])
    assert hollow(panel) == [expected[1]]
    pairs = predictivity_of(table)["r2"].sel(space="null").values[:4, :4]
    greys = [value for colour, values in filled(panel).items() if colour not in ROUND_HUES for value in values]
    np.testing.assert_allclose(sorted(greys), sorted(pairs[~np.eye(4, dtype=bool)]))


def test_a_chain_that_begins_with_a_recording_is_shown_without_it():
    # Round 0 is no network: it is in the table as a name alone, and in no matrix.
    table = numbers_of(chain())[lambda rows: (rows["population"] != "insd") | (rows["round"] > 0)]
    predictivity = predictivity_of(table)
    inputs = inputs_of(table)["r2_inputs"].sel(space="null")
    names = [group.name for group in of_networks(table, predictivity.sel(space="null"), inputs)]
    assert "alt-2 → alt-1" in names and not any(name.endswith("→ ref.") for name in names)
    assert [one.name for one in shown_networks(table, "insd")] == ["alt-1", "alt-2"]
    histories = {(row["population"], row["round"]): [history_of(row["round"])] for row in table.to_dict("records")}
    figure = deflation_of(table, histories)
    panel = next(axes for axes in figure.axes if axes.get_ylabel().startswith("null-space r²"))
    np.testing.assert_allclose(filled(panel)[to_hex(ROUND_HUES[2])], table.query("round == 2")["r2_null_to_reference"])


# --- All figures


def whole_grid():
    """The files of a grid of all tasks, with the names, levels and conditions of the default one."""
    of_task = {}
    for name, task_class in GRID.items():
        table = numbers_of(chain(3, unsolved=["insd/1/2"])).assign(task=name)
        table = table.assign(
            schedule="constrained", ridge=1e-3, multiplier=np.nan, test_loss=np.geomspace(0.002, 0.3, len(table))
        )
        table["r2_null_to_reference"] /= 15
        of_task[name] = table, task_class()
    return of_task


def part_of(result, table, missing):
    """An analysis of all networks but those of some populations, as figures read it."""
    labels = network_labels(table)
    kept = network_labels(table[~table["population"].isin(missing)])
    if "searched_condition" in result.dims:
        result = result.assign(n_cycles=("searched_network", np.zeros(len(labels)))).assign_coords(
            searched_network=labels
        )
    along = [name for name in OVER_NETWORKS if name in result.dims]
    return every_network(result.sel(dict.fromkeys(along, kept)), labels)


@functools.cache
def all_figures(missing=()):
    """A function for each figure of such a grid, by name; analyses are not of the populations in `missing`."""
    of_task = whole_grid()
    everything = pd.concat([table for table, _ in of_task.values()], ignore_index=True)
    performance, robustness = {}, {}
    for name, (table, task) in of_task.items():
        for files, found in zip((performance, robustness), scores_of(table, task), strict=True):
            files[name] = part_of(found["flip_flop"], table, missing)
    compared = comparisons(everything, performance, robustness, resamples=99)
    predictivity = {name: part_of(predictivity_of(table), table, missing) for name, (table, _) in of_task.items()}
    responses = {name: responses_of(MEASURES) for name in of_task}
    inputs = {name: part_of(inputs_of(table), table, missing) for name, (table, _) in of_task.items()}
    made = {name: task for name, (_, task) in of_task.items()}

    def mechanism(name):
        table, task = of_task[name]
        data, shown = mechanism_data(table, task), shown_networks(table, "insd")
        analyses = {kind: part_of(result, table, missing) for kind, result in data["analyses"].items()}
        return mechanism_figure(task, data["trials"], table, shown, data["rounds"], **analyses, confidence=CONFIDENCE)

    def deflation(name):
        table = of_task[name][0].copy()
        table.loc[table["population"].isin(missing), "r2_null_to_reference"] = np.nan
        histories = {(row["population"], row["round"]): [history_of(row["round"])] for row in table.to_dict("records")}
        return deflation_figure(table, predictivity[name], levels_of(table), histories)

    swept = [
        alternative(multiplier, r2, task=name, score=0.97 if name != "memory_pro" else 6.0, test_loss=loss)
        for name in of_task
        for multiplier, r2, loss in (
            (0.1, 0.8, 0.02),
            (0.2, 0.4, 0.02),
            (0.5, 0.12, 0.03),
            (1, 0.11, 0.07),
            (2, 0.1, 0.07),
        )
    ]
    return {
        "collapse": lambda: collapse_figure(everything, predictivity, responses, inputs, CONFIDENCE),
        "regimes": lambda: regimes_figure(everything, "insd", performance, robustness, compared, CONFIDENCE),
        "regime_grids": lambda: regime_grids_figure(everything, "insd", performance, compared, CONFIDENCE),
        "networks": lambda: networks_figure(
            everything, {name: task.score_name for name, task in made.items()}, CONFIDENCE
        ),
        "front": lambda: front_figure(everything, made),
        "front_of_a_sweep": lambda: front_figure(pd.concat([everything, pd.DataFrame(swept)]), made),
        **{f"mechanism_{name}": lambda name=name: mechanism(name) for name in of_task},
        **{f"deflation_{name}": lambda name=name: deflation(name) for name in of_task},
    }


@pytest.mark.parametrize("name", all_figures())
def test_all_text_of_a_figure_can_be_read(name):
    figure = all_figures()[name]()
    # Few settings are no front: there is a note alone.
    assert len(check_text(figure)) > (0 if name == "front" else 10)
    plt.close(figure)


@pytest.mark.parametrize("missing", [("insd",), ("g0.5", "g1.5", "untrained")])
@pytest.mark.parametrize("name", ["collapse", "regimes", "regime_grids", "mechanism_flip_flop", "deflation_memory_pro"])
def test_networks_that_an_analysis_left_out_are_a_labelled_gap(name, missing):
    figure = all_figures(missing)[name]()
    found = " ".join(check_text(figure))
    plt.close(figure)
    # Lines over noise have no place of their own for a group.
    assert ("left out" in found) == (name != "regime_grids")
