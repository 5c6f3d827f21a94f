"""The claims on walks and on costs: planted tables in which each holds, holds in part, or does not."""

import numpy as np
import pandas as pd
import pytest
from tables import with_roles

from insd.claims import huang_2026, qian_2026
from insd.claims.base import NO_ANSWER, NOT, PARTLY, REPRODUCED, Evidence, claims_page, judged

TASK = "flip_flop"
VALUES = {
    **{"score": 1.0, "test_loss": 0.002, "n_stable_fixed_points": 8, "runs_drifting": 0.0, "flat_share": 0.97},
    **{"curved_directions": 15.0, "top_eigenvalue": 5.0, "mean_squared_recurrent_weight": 0.02},
    **{"mean_squared_rate": 0.5, "noise_sensitivity": 0.1},
}


def planted(**changes):
    """Five standards and five chains, whose alternatives differ from them by `changes`: a value, or one per chain."""
    rows = []
    for population, numbers in (("standard", (0,)), ("walk", (0, 1))):
        for seed in range(5):
            # Networks differ a little, so that intervals have a width.
            spread = {name: VALUES[name] * (1 + 0.02 * seed) for name in VALUES if name.startswith(("mean", "noise"))}
            for number in numbers:
                own = {"task": TASK, "population": population, "seed": seed, "round": number, "iterations": 10}
                rows.append({**own, "reference": population, "solved": True, **VALUES, **spread})
    table = with_roles(pd.DataFrame(rows)).astype(dict.fromkeys(VALUES, float))
    for name, value in changes.items():
        table.loc[table["round"] == 1, name] = value
    return table


def verdict(paper, name, table):
    claim = next(claim for claim in paper.CLAIMS.claims if claim.id == name)
    found, answer = claim.judge(Evidence(TASK, "walk", table, table[:0], {}, {}, 0.95, 499))
    assert "nan" not in found
    return answer


NONE_OF_FIVE, HALF = [0, 0, 0, 0, 0], [0, 0, 0, 8, 8]


@pytest.mark.parametrize(
    "changes, changed, dissolved",
    [
        ({}, NOT, NOT),
        ({"n_stable_fixed_points": [9, 9, 9, 8, 8]}, PARTLY, NOT),
        ({"n_stable_fixed_points": NONE_OF_FIVE, "runs_drifting": 0.9}, REPRODUCED, REPRODUCED),
        # Gone, but to cycles.
        ({"n_stable_fixed_points": NONE_OF_FIVE}, REPRODUCED, PARTLY),
        ({"n_stable_fixed_points": HALF, "runs_drifting": 0.9}, PARTLY, PARTLY),
        # At another accuracy or loss there is nothing to say.
        ({"n_stable_fixed_points": NONE_OF_FIVE, "score": 0.99}, NO_ANSWER, NO_ANSWER),
        ({"n_stable_fixed_points": NONE_OF_FIVE, "test_loss": 0.02}, NO_ANSWER, NO_ANSWER),
    ],
)
def test_fixed_points_of_networks_that_are_as_good(changes, changed, dissolved):
    table = planted(**changes)
    assert verdict(huang_2026, "fixed_points_change_at_the_same_accuracy", table) == changed
    assert verdict(huang_2026, "fixed_points_dissolve_into_drift", table) == dissolved


def test_points_are_compared_with_those_of_the_own_reference():
    table = planted(n_stable_fixed_points=8)
    table.loc[(table["population"] == "walk") & (table["round"] == 0), "n_stable_fixed_points"] = [4.0, 4, 4, 4, 4]
    assert verdict(huang_2026, "fixed_points_change_at_the_same_accuracy", table) == REPRODUCED
    table["n_stable_fixed_points"] = 0.0
    assert verdict(huang_2026, "fixed_points_dissolve_into_drift", table) == NO_ANSWER


def test_errors_of_angles_are_no_accuracy():
    """The bound on accuracy is not one on errors in degrees, of which small ones are good."""
    of_loss = [9, 9, 9, 9, 8]
    table = planted(n_stable_fixed_points=of_loss, test_loss=[0.002, 0.002, 0.002, 0.002, 0.02])
    claim = next(one for one in huang_2026.CLAIMS.claims if one.id == "fixed_points_change_at_the_same_accuracy")
    for errors, count in (([0.6, 0.7, 0.8, 1.5, 0.9], 4), ([2.0, 2.5, 3.0, 3.5, 4.0], 4)):
        table.loc[table["round"] == 1, "score"] = errors
        found, answer = claim.judge(Evidence("memory_pro", "walk", table, table[:0], {}, {}, 0.95, 499))
        assert answer == REPRODUCED and found.startswith(f"{count} of 5 below a loss of 0.01; the score of this task")
        assert f"another number in {count} of {count}" in found


def test_flat_directions():
    name = "most_directions_are_flat"
    assert verdict(huang_2026, name, planted()) == REPRODUCED
    assert verdict(huang_2026, name, planted(flat_share=0.5)) == PARTLY
    assert verdict(huang_2026, name, planted().assign(flat_share=0.5)) == NOT
    assert verdict(huang_2026, name, planted(flat_share=np.nan)) == NO_ANSWER
    assert verdict(huang_2026, name, planted().drop(columns="flat_share")) == NO_ANSWER


@pytest.mark.parametrize(
    "changes, answer",
    [
        ({}, REPRODUCED),
        ({"r2_null_to_reference_after": [0.2, 0.2, 0.2, 0.9, 0.9]}, PARTLY),
        ({"r2_null_to_reference_after": 0.9}, NOT),
        # Half of the way from .2 to .9.
        ({"r2_null_to_reference_after": 0.54}, REPRODUCED),
        ({"r2_null_to_reference_after": 0.56}, NOT),
        # Those that are not away, not as good, or not trained further do not count.
        ({"r2_null_to_reference": [0.95, 0.95, 0.95, 0.95, 0.2], "r2_null_to_reference_after": 0.9}, NOT),
        ({"r2_null_to_reference": 0.95}, NO_ANSWER),
        ({"test_loss": 0.02}, NO_ANSWER),
        ({"r2_null_to_reference_after": np.nan}, NO_ANSWER),
        # Fixed points that were not sought before change nothing, and are not shown.
        ({"n_stable_fixed_points": np.nan}, REPRODUCED),
    ],
)
def test_further_training(changes, answer):
    further = {"r2_null_to_reference": 0.2, "r2_null_to_reference_after": 0.3, "test_loss_after": 0.001}
    further["n_stable_fixed_points_after"] = 8.0
    table = planted(**further).assign(r2_null_to_itself_after=0.9)
    for name, value in changes.items():
        table.loc[table["round"] == 1, name] = value
    assert verdict(huang_2026, "further_training_does_not_bring_back", table) == answer
    without = table.drop(columns="r2_null_to_itself_after")
    assert verdict(huang_2026, "further_training_does_not_bring_back", without) == NO_ANSWER


ABOVE = {"excursion": 0.03}


@pytest.mark.parametrize(
    "changes, of_walk, of_penalty",
    [
        ({}, REPRODUCED, NOT),
        (ABOVE, NOT, REPRODUCED),
        ({"excursion_tried": 0.5}, PARTLY, NOT),
        ({"excursion": [0.03, 0.03, 0.03, 0.01, 0.01]}, NOT, PARTLY),
        ({"excursion": [0.03, 0.03, 0.01, 0.01, 0.01]}, NOT, NOT),
        # Only those that are solved and were ever low count.
        ({"excursion": [0.03, 0.03, 0.03, np.nan, np.nan]}, NOT, REPRODUCED),
        (ABOVE | {"solved": [True, False, False, False, False]}, NOT, REPRODUCED),
        ({"excursion": np.nan}, NO_ANSWER, NO_ANSWER),
        (ABOVE | {"solved": False}, NO_ANSWER, NO_ANSWER),
    ],
)
def test_a_ceiling_on_the_way(changes, of_walk, of_penalty):
    name = "penalties_cross_the_ceiling_and_walks_do_not"
    table = planted(excursion=0.01, excursion_tried=0.01, ceiling=0.01).assign(term="predictivity")
    for column, value in changes.items():
        table.loc[table["round"] == 1, column] = value
    assert verdict(huang_2026, name, table) == of_walk
    table["excursion_tried"] = np.nan
    # Of five controls, two rise above it as well, or three.
    controls = table[table["population"] == "standard"].assign(
        role="control", population="control", ceiling=0.01, term=None, excursion_tried=np.nan
    )
    few, many = (controls.assign(excursion=[0.03] * k + [0.01] * (5 - k)) for k in (2, 3))
    assert verdict(huang_2026, name, pd.concat([table, few])) == of_penalty
    without = PARTLY if of_penalty == REPRODUCED else of_penalty
    assert verdict(huang_2026, name, pd.concat([table, many])) == without
    # Controls that walk, or have a penalty, say nothing of training without one.
    for other in ({"excursion_tried": 0.01}, {"term": "predictivity"}):
        calm = controls.assign(excursion=0.01, population="other", **other)
        assert verdict(huang_2026, name, pd.concat([table, many, calm, calm])) == without
    assert verdict(huang_2026, name, table) == without
    assert verdict(huang_2026, name, table.drop(columns="excursion")) == NO_ANSWER


@pytest.mark.parametrize(
    "changes, answer",
    [
        ({"mean_squared_recurrent_weight": 0.005}, REPRODUCED),
        ({"mean_squared_recurrent_weight": 0.005, "n_stable_fixed_points": HALF}, NOT),
        ({"mean_squared_recurrent_weight": 0.005, "n_stable_fixed_points": [0, 0, 8, 8, 8]}, PARTLY),
        ({"mean_squared_recurrent_weight": 0.005, "n_stable_fixed_points": 0, "line_attractors": 2.0}, REPRODUCED),
        ({"mean_squared_recurrent_weight": 0.08}, NO_ANSWER),
        ({"solved": False}, NO_ANSWER),
    ],
)
def test_solutions_with_small_weights(changes, answer):
    assert verdict(qian_2026, "small_weights_hold_by_attractors", planted(**changes)) == answer


@pytest.mark.parametrize(
    "changes, transient, sensitive",
    [
        ({"n_stable_fixed_points": 0, "noise_sensitivity": 0.5}, REPRODUCED, REPRODUCED),
        ({"n_stable_fixed_points": 4, "noise_sensitivity": [0.05, 0.05, 0.1, 0.2, 0.3]}, PARTLY, PARTLY),
        ({"noise_sensitivity": 0.01}, NOT, NOT),
    ],
)
def test_solutions_with_little_activity(changes, transient, sensitive):
    for activity, answers in ((0.1, (transient, sensitive)), (0.9, (NO_ANSWER, NO_ANSWER))):
        table = planted(mean_squared_rate=activity, **changes)
        assert verdict(qian_2026, "little_activity_is_transient", table) == answers[0]
        assert verdict(qian_2026, "little_activity_is_sensitive_to_noise", table) == answers[1]
    unsolved = planted(mean_squared_rate=0.1, solved=False)
    assert verdict(qian_2026, "little_activity_is_transient", unsolved) == NO_ANSWER
    assert verdict(qian_2026, "little_activity_is_sensitive_to_noise", unsolved) == NO_ANSWER


@pytest.mark.parametrize(
    "rate, answer",
    [
        (0.1, REPRODUCED),
        # Two or one of five are beyond the standards, and the rest below them all.
        ([0.1, 0.1, 0.1, 0.9, 0.9], PARTLY),
        ([0.1, 0.9, 0.9, 0.9, 0.9], NOT),
        # The other way round, a ratio divides them, too.
        (2.0, NOT),
    ],
)
def test_a_critical_ratio_of_both_costs(rate, answer):
    table = planted(n_stable_fixed_points=0, mean_squared_rate=rate)
    assert verdict(qian_2026, "points_vanish_at_a_critical_ratio", table) == answer
    assert verdict(qian_2026, "points_vanish_at_a_critical_ratio", planted(mean_squared_rate=rate)) == NO_ANSWER


def test_both_papers_have_a_page_and_other_tasks_stand_apart():
    papers = {"huang_2026": huang_2026.CLAIMS, "qian_2026": qian_2026.CLAIMS}
    found = judged(papers, planted(), {}, {}, 0.95, 99)
    assert len(found) == sum(len(paper.claims) for paper in papers.values())
    page = claims_page(found, papers, 0, 0.95)
    assert page.index("# The same statements, on tasks that Qian") < page.index("## Stable points vanish")


def test_numbers_that_were_not_measured():
    table = planted(n_stable_fixed_points=NONE_OF_FIVE, runs_drifting=np.nan, top_eigenvalue=np.nan)
    found = judged({"huang_2026": huang_2026.CLAIMS}, table, {}, {}, 0.95, 99).set_index("id")
    assert found.loc["fixed_points_dissolve_into_drift", "verdict"] == NO_ANSWER
    assert found.loc["fixed_points_change_at_the_same_accuracy", "verdict"] == REPRODUCED
    assert "largest eigenvalue not measured" in found.loc["most_directions_are_flat", "number"]
    assert not found["number"].str.contains("nan").any()
