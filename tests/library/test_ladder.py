"""The ladder: what a table of planted networks says of each rung."""

import numpy as np
import pandas as pd
import pytest
from conftest import config_of

from insd.figures.ladder import ladder_figure
from insd.settings.load import load
from insd.tables.existence import existence
from insd.tables.ladder import LADDER_COLUMNS, ladder, ladder_page
from insd.tasks.flip_flop import FlipFlop


def rows(population, role, standards, count, round_number=0, **values):
    base = {
        **{"task": "flip_flop", "population": population, "role": role, "standards": standards, "solved": True},
        **{"round": round_number, "fresh_loss": 0.002, "fresh_score": 1.0, "excess_loss": 0.0, "matched": True},
        **{"r2_null_max_to_earlier": np.nan, "solved_half_step": True, "hard_cells": 8.0, "hard_cells_beaten": 0.125},
        "hard_cells_won": 0.0,
    }
    found = pd.DataFrame([base | {"seed": seed} for seed in range(count)])
    return found.assign(**values)


def planted():
    good = rows("a", "alternative", "sa", 4, 1, r2_null_max_to_earlier=[0.1, 0.2, 0.3, 0.1], hard_cells_beaten=0.5)
    good["hard_cells_won"], good["matched"] = [1.0, 2.0, 0.0, 1.0], [True, True, True, False]
    bad = rows(
        "a", "alternative", "sa", 4, 2, fresh_loss=0.1, excess_loss=0.098, matched=False, solved=[True, False] * 2
    )
    bad["hard_cells_won"], bad["r2_null_max_to_earlier"] = 3.0, 0.1
    other = rows("b", "alternative", "sb", 2, 1, hard_cells=0.0, hard_cells_beaten=np.nan, solved_half_step=False)
    control = rows("c", "control", "sa", 2, 1)
    five = rows("sa", "standard", "sa", 5, fresh_loss=[1.0, 2, 3, 4, 5], hard_cells_won=[0.0, 2.0, 0.0, 1.0, 0.0])
    standards = [five, rows("sb", "standard", "sb", 3)]
    return pd.concat([*standards, good, bad, other, control], ignore_index=True)


def test_each_rung_is_compared_with_its_own_standards():
    found = ladder(planted(), 0.25).set_index(["population", "round"])
    assert list(found.reset_index()[LADDER_COLUMNS].columns) == LADDER_COLUMNS
    first, second, other = found.loc[("a", 1)], found.loc[("a", 2)], found.loc[("b", 1)]
    assert (first["standards"], first["standard_loss"], other["standards"]) == (5, 3.0, 3)
    assert (first["matched"], first["unlike"], first["matched_and_unlike"]) == (3, 3, 2)
    assert (first["r2_largest"], second["excess_loss_lowest"], second["excess_loss_highest"]) == (0.3, 0.098, 0.098)
    assert (first["standards_winning"], other["standards_winning"]) == (2, 0)
    # Two of four chains are matched and win: just enough. Of the second round all win, and none is matched: partly.
    assert (first["chains_winning"], first["verdict"]) == (2, "reproduced")
    assert (second["solved"], second["chains_winning"], second["verdict"]) == (2, 0, "partly")
    assert (other["verdict"], other["solved_half_step"]) == ("no answer", 0)
    assert (found.loc[("c", 1), "role"], found.loc[("c", 1), "verdict"]) == ("control", "")


@pytest.mark.parametrize(
    "won, matched, verdict",
    [
        ([1, 1, 0, 0], [True, True, False, False], "reproduced"),
        ([1, 0, 0, 0], [True, True, True, True], "partly"),
        ([3, 3, 0, 0], [False, False, True, True], "partly"),
        ([3, np.nan, 0, 0], [False, None, True, True], "not"),
        ([0, 0, 0, 0], [True, True, True, True], "not"),
    ],
)
def test_the_criterion_of_existence_is_that_of_its_page(won, matched, verdict):
    """Reproduced: half of the chains win and are matched; partly: half win, or fewer are both (hard_cells.md)."""
    table = pd.DataFrame({"hard_cells": 12.0, "hard_cells_won": won, "matched": matched})
    assert existence(table).verdict == verdict
    assert existence(table.assign(hard_cells=0.0)).verdict == existence(table[:0]).verdict == "no answer"


def test_the_page_and_the_figure_have_all_rungs():
    table = planted()
    page = ladder_page(ladder(table, 0.25))
    assert "| a | alt-1 | 3.0000 | +0.0000 | 3 of 4 | 0.15 | 3 of 4 | 2 of 4 | 4 of 4 | 12 % | 50 % | 2 of 4 |" in page
    assert "| c | control 1 |" in page and "**no answer**" in page
    figure = ladder_figure(ladder(table, 0.25), {"flip_flop": FlipFlop()}, 0.25)
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == ["a", "b", "c"]
    # The largest r2 of `a`, first round: .1, .2, .3 and .1.
    assert 0.3 in np.concatenate([line.get_ydata() for line in figure.axes[1].lines])
    other = pd.concat([table, table.assign(task="flip_flop_1")], ignore_index=True)
    figure = ladder_figure(ladder(other, 0.25), {"flip_flop": FlipFlop(), "flip_flop_1": FlipFlop()}, 0.25)
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == ["a", "b", "c"] * 2
    assert not ladder(table[table["role"] == "standard"], 0.25).size


def test_a_grid_without_hard_cells_says_so_in_the_panel_that_would_be_empty():
    cells, table = "no hard cells in this grid", planted()
    unsolved = table.assign(excess_loss=np.nan, hard_cells_beaten=np.nan, solved=table["role"] != "standard")
    for table, notes in (
        (planted(), []),
        (planted().assign(hard_cells_beaten=np.nan), [cells]),
        (unsolved, ["no standard solves the task", cells]),
    ):
        figure = ladder_figure(ladder(table, 0.25), {"flip_flop": FlipFlop()}, 0.25)
        assert [text.get_text() for axes in figure.axes for text in axes.texts] == notes


@pytest.mark.parametrize(
    "study",
    ["hard_regimes", "equal_training", "context_front", "generators", "degeneracy", "sparse", "classes", "readers"],
)
def test_each_rung_of_a_study_has_standards_of_its_own_tasks(study):
    settings = load(config_of(study))
    for task in settings.tasks:
        for population in settings.population_names(task):
            named = settings.standards(task, population)
            assert set(named) <= set(settings.population_names(task)) and named, (task, population)


def test_an_ideal_observer_solves_the_tasks_of_the_ladder():
    """A task with more noise would have no solved network, and nothing that tells why."""
    settings = load(config_of("hard_regimes"))
    for name in settings.tasks:
        task = settings.task(name)
        trials = task.sample("test", 2048, 0)
        assert task.solved(float(task.score(trials, task.ideal_outputs(trials)))), name
