import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tables import with_roles

from insd.analysis.claims import CLAIMS, NO_ANSWER, NOT, PARTLY, REPRODUCED, Evidence, claims, generalisation, page
from insd.members import network_label

TASKS = ("context_integration", "flip_flop", "memory_pro")


def networks(solved=True):
    """Four standards, two untrained networks, and three chains of three rounds, for each task."""
    rows = []
    for task in TASKS:
        for population, seeds, rounds, iterations in (
            ("standard", 4, 1, 10),
            ("untrained", 5, 1, 0),
            ("insd", 3, 3, 10),
        ):
            for seed in range(seeds):
                for number in range(rounds):
                    later = number > 0
                    rows.append(
                        {
                            **{"task": task, "population": population, "reference": population, "seed": seed},
                            **{"round": number, "iterations": iterations, "solved": solved and iterations > 0},
                            "n_stable_fixed_points": 0 if later else 8,
                            "n_cycles": 2 if later else 0,
                            "dominant_frequency": 2.0 + 0.1 * seed if later else 0.5 + 0.1 * seed,
                            "lowest_frequency": 1.1,
                            "r2_null_to_reference": 0.05 if later else np.nan,
                            "r2_null_max_to_earlier": 0.1 if later else np.nan,
                        }
                    )
    return with_roles(pd.DataFrame(rows))


def labels(table):
    rows = table[table["task"] == TASKS[0]]
    return [network_label(*key) for key in zip(rows["population"], rows["seed"], rows["round"], strict=True)]


def is_later(label):
    return not label.endswith("/0")


def predictivity(names, between=0.98, floor=0.7, spread=0.0):
    """The same between all trained networks, and a floor from which each untrained one as a target differs."""
    r2 = np.full((1, len(names), len(names)), between)
    untrained = [name.startswith("untrained") for name in names]
    r2[0][np.ix_(untrained, untrained)] = floor + spread * np.linspace(-1, 1, sum(untrained))
    return xr.Dataset(
        {"r2": (("space", "predictor", "target"), r2)}, {"space": ["null"], "predictor": names, "target": names}
    )


def dsa(names, far=1.0):
    random = np.random.default_rng(1)
    distance = random.uniform(0.1, 0.2, (len(names),) * 2)
    later = np.array([is_later(name) for name in names])
    distance[later[:, None] ^ later[None]] = far
    return xr.Dataset({"distance": (("network", "network_to"), distance)}, {"network": names, "network_to": names})


def decoding(names, kept=0.1):
    """Standards keep their score at all times, alternatives a share of it."""
    scores = np.ones((len(names), 1, 3, 3))
    for index, name in enumerate(names):
        if is_later(name):
            scores[index, 0][~np.eye(3, dtype=bool)] = kept
    dimensions = ("network", "variable", "time", "time_to")
    return xr.Dataset({"score_null": (dimensions, scores), "chance": ("variable", [0.0])}, {"network": names})


def comparisons(verdict):
    """The same verdict everywhere but in distribution, where all are equal."""
    rows = []
    for task in TASKS:
        for number in (1, 2):
            common = {"task": task, "population": "insd", "round": number, "quantity": "score"}
            for regime in ("test", "noisy", "long", "noisy_long"):
                one = "equal" if regime == "test" and verdict == "better" else verdict
                rows.append({**common, "measure": "regime", "level": regime, "duration": "", "verdict": one})
            rows += [
                {**common, "measure": "grid", "level": noise, "duration": duration, "verdict": verdict}
                for noise in ("noise = 0.1", "noise = 0.8")
                for duration in ("1 s", "2 s")
            ]
    return pd.DataFrame(rows).assign(difference=0.1, low=0.05, high=0.15)


def judged(table=None, verdict="better", **changes):
    table = networks() if table is None else table
    names = labels(table)
    by_task = {
        name: dict.fromkeys(TASKS, make(names, **changes.get(name, {})))
        for name, make in (("predictivity", predictivity), ("dsa", dsa), ("decoding", decoding))
    }
    return claims(table, comparisons(verdict), **by_task)


def verdicts(table, text):
    rows = table[table["claim"].str.contains(text)]
    assert len(rows), text
    return set(rows["verdict"])


def test_a_grid_that_shows_all_of_it():
    table = judged()
    assert len(table) == sum(len(claim.tasks or TASKS) for claim in CLAIMS)
    poor = table["claim"].str.contains("poor everywhere")
    assert set(table.loc[~poor, "verdict"]) == {REPRODUCED}
    assert set(table.loc[poor, "verdict"]) == {NOT}
    worse = judged(verdict="worse")
    assert verdicts(worse, "poor everywhere") == {REPRODUCED}
    # With the size of each difference.
    found = worse.loc[worse["claim"].str.contains("poor everywhere"), "number"]
    assert found.str.contains(r"noisy_long: \+0\.100 \(\+0\.050 to \+0\.150\)").all()
    assert verdicts(judged(verdict="worse"), "does better") == {NOT}


@pytest.mark.parametrize(
    "changes, text, verdict",
    [
        ({"predictivity": {"between": 0.5}}, "collapse", NOT),
        # No more alike than networks that were never trained.
        ({"predictivity": {"between": 0.98, "floor": 0.99}}, "collapse", NOT),
        # More alike in the median, but not beyond what chance in the choice of networks can do.
        ({"predictivity": {"between": 0.98, "floor": 0.97, "spread": 0.02}}, "collapse", PARTLY),
        ({"predictivity": {"between": 0.98, "floor": 0.93, "spread": 0.002}}, "collapse", REPRODUCED),
        ({"dsa": {"far": 0.15}}, "Dynamical similarity", NOT),
        ({"decoding": {"kept": 1.0}}, "rotates", NOT),
        ({"decoding": {"kept": 0.8}}, "rotates", PARTLY),
    ],
)
def test_what_speaks_against_a_claim_shows(changes, text, verdict):
    assert verdicts(judged(**changes), text) == {verdict}


def test_alternatives_that_can_be_read_out_or_keep_their_points():
    table = networks()
    later = table["round"] > 0
    table.loc[later, "r2_null_max_to_earlier"] = 0.9
    table.loc[later, "n_stable_fixed_points"] = 8
    found = judged(table)
    assert verdicts(found, "cannot be read out") == {NOT}
    assert verdicts(found, "trade fixed points") == {PARTLY}


def test_a_peak_below_two_periods_a_trial_is_no_oscillation():
    table = networks()
    later = table["round"] > 0
    # Still higher than that of the standards.
    table.loc[later, "dominant_frequency"] = 1.0
    found = judged(table)
    assert verdicts(found, "trade fixed points") == {PARTLY}
    numbers = found.loc[found["claim"].str.contains("trade fixed points"), "number"]
    assert numbers.str.contains(r"frequency \+0.00 .* two periods a trial or more in 0 of 6 and 0 of 4").all()


def test_collapse_says_how_far_it_is_above_the_floor():
    found = judged(predictivity={"between": 0.98, "floor": 0.97, "spread": 0.02})
    numbers = found.loc[found["claim"].str.contains("collapse"), "number"]
    assert numbers.str.contains("untrained networks 0.970, difference .0.010").all()
    assert numbers.str.contains("is not shown: networks that share no more than their inputs").all()
    found = judged(predictivity={"between": 0.98, "floor": 0.93, "spread": 0.002})
    numbers = found.loc[found["claim"].str.contains("collapse"), "number"]
    assert numbers.str.contains("is small: networks that share no more than their inputs").all()
    table = networks()
    without = table[table["population"] != "untrained"]
    assert verdicts(judged(without), "collapse") == {PARTLY}


def test_networks_of_one_chain_do_not_count_twice():
    """Copies of the same chains make no interval narrower."""
    table = networks()
    table = table[table["task"] == TASKS[0]]
    by_seed = np.random.default_rng(0).normal(0.0, 1.0, 10)
    evidence = Evidence(TASKS[0], "insd", table, xr.Dataset(), xr.Dataset(), xr.Dataset(), pd.DataFrame(), table[:0])
    values = pd.Series({label: by_seed[int(label.split("/")[1])] for label in labels(table)})
    both = evidence.difference(values)
    one = dataclasses.replace(evidence, table=table[table["round"] < 2]).difference(values)
    assert both == pytest.approx(one, abs=1e-9)
    assert both[2] - both[1] > 0.5


def test_one_standard_of_another_motif():
    table = networks()
    other = (table["population"] == "standard") & (table["seed"] == 0)
    table.loc[other, "n_stable_fixed_points"] = 1
    found = judged(table)
    assert verdicts(found, "same motif") == {PARTLY}
    assert found["number"].str.contains("8 stable fixed points and 0 cycles in 3 of 4").any()


def test_unsolved_networks_give_no_answer():
    found = judged(networks(solved=False), verdict="too few")
    assert verdicts(found, "cannot be read out") == {NOT}
    assert set(found.loc[~found["claim"].str.contains("cannot be read out"), "verdict"]) == {NO_ANSWER}


def test_a_grid_without_alternatives():
    table = networks()
    table = table[table["population"] != "insd"]
    names = labels(table)
    by_task = [dict.fromkeys(TASKS, make(names)) for make in (predictivity, dsa, decoding)]
    found = claims(table, pd.DataFrame(), *by_task)
    assert verdicts(found, "collapse") == {REPRODUCED}
    assert verdicts(found, "rotates") == {NO_ANSWER}


def test_generalisation_of_a_static_and_of_a_moving_code():
    names = ["standard/0/0", "insd/0/1"]
    found = generalisation(decoding(names, kept=0.25))
    assert found.to_dict() == {"standard/0/0": 1.0, "insd/0/1": 0.25}
    # Below chance is as good as chance, and where nothing is decoded nothing is kept.
    assert generalisation(decoding(names, kept=-5.0))["insd/0/1"] == 0
    assert np.isnan(generalisation(decoding(names) * 0).iloc[0])


def test_the_page_has_every_claim_with_its_criterion():
    text = page(judged(), 480)
    # Of each task: two of oscillation, and one of collapse, of dynamical similarity and of rotation each.
    assert "losses are 480, of which about 24 would exclude 0 by chance, and the verdicts below rest on 15 fu" in text
    for claim in CLAIMS:
        assert f"## {claim.text}\n" in text
        assert f"Criterion: {claim.criterion}." in text
    assert text.count("**reproduced**") + text.count("**not**") == sum(len(claim.tasks or TASKS) for claim in CLAIMS)
