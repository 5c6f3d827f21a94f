"""What figures show: groups and their names, hollow points for unsolved networks, the chosen multiplier."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from insd.plotting.front import chosen_multiplier, front_figure
from insd.plotting.theme import ROUND_HUES, UNTRAINED, groups, is_standard, new_figure, save


def network(population, round_number=0, gain=1.0, iterations=100, **more):
    row = {"task": "flip_flop", "population": population, "round": round_number, "gain": gain, "iterations": iterations}
    return row | {"seed": 0, "solved": True} | more


def alternative(multiplier, r2, solved=True, schedule="constant", ridge=1e-3):
    more = {
        "multiplier": multiplier,
        "r2_null_to_reference": r2,
        "solved": solved,
        "schedule": schedule,
        "ridge": ridge,
    }
    return network("p", 1, score=0.99, test_loss=0.05, **more)


def test_groups_name_and_colour_populations():
    table = pd.DataFrame(
        [network("a", gain=0.5), network("b", gain=1.5), network("u", iterations=0)]
        + [network("insd", number) for number in range(3)]
    )
    found = groups(table)
    assert [name for name, _, _ in found] == ["a", "b", "u", "reference", "alt-1", "alt-2"]
    assert float(found[0][1]) > float(found[1][1])  # greys: darker for the larger gain
    assert found[2][1] == UNTRAINED
    assert [colour for _, colour, _ in found[3:]] == ROUND_HUES[:3]
    assert [is_standard(rows) for _, _, rows in found] == [True, True, False, True, False, False]


def test_two_deflated_populations_are_told_apart():
    table = pd.DataFrame([network("x", 0), network("x", 1), network("y", 1)])
    assert [name for name, _, _ in groups(table)] == ["x reference", "x alt-1", "y alt-1"]


def test_the_chosen_multiplier_is_the_most_dissimilar_of_those_that_always_solve():
    rows = [alternative(0.1, 0.9), alternative(0.5, 0.4), alternative(0.5, 0.5), alternative(1.0, 0.1, solved=False)]
    assert chosen_multiplier(pd.DataFrame(rows)) == 0.5
    assert np.isnan(chosen_multiplier(pd.DataFrame(rows[-1:])))


def test_the_front_has_a_point_per_alternative_and_rings_the_chosen_one():
    rows = [alternative(0.1, 0.9), alternative(0.5, 0.4), alternative(1.0, 0.1, solved=False)]
    rows += [alternative(0.5, 0.3, ridge=1e-4), alternative(0.1, 0.05, schedule="constrained")]
    figure = front_figure(pd.DataFrame([network("p"), *rows]))
    panel = figure.axes[0]
    points = [line for line in panel.lines if line.get_marker() == "o" and line.get_markersize() < 3]
    assert sorted(line.get_xdata()[0] for line in points) == [0.05, 0.1, 0.3, 0.4, 0.9]
    hollow = [line.get_xdata()[0] for line in points if line.get_markerfacecolor() == "none"]
    assert hollow == [0.1]
    rings = [line for line in panel.lines if line.get_markersize() == 8]
    assert [line.get_xdata()[0] for line in rings] == [0.4]
    assert {text.get_text() for text in panel.texts} == {"0.1", "0.5", "1", "ridge 0.0001"}
    assert to_hex(points[-1].get_color()) == to_hex(ROUND_HUES[1])


def test_a_grid_without_deflation_has_a_front_that_says_so():
    assert "no deflated population" in front_figure(pd.DataFrame([network("a")])).axes[0].texts[0].get_text()


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_the_same_figure_gives_the_same_file(tmp_path, suffix):
    files = [tmp_path / f"{number}.{suffix}" for number in range(2)]
    for file in files:
        figure = new_figure(50.0, 40.0)
        figure.subplots().plot([0, 1], [0, 1])
        save(figure, [file])
    assert files[0].read_bytes() == files[1].read_bytes()
