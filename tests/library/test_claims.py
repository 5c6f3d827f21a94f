import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import silhouette_score
from tables import with_roles

from insd import plugins
from insd.claims.base import (
    CLAIM_COLUMNS,
    NO_ANSWER,
    NOT,
    PARTLY,
    REPRODUCED,
    SOLVED_OR_NOT,
    ClaimError,
    Evidence,
    Publication,
    all_reads,
    claims_page,
    judged,
    publications,
)
from insd.claims.mechanisms import clusters_by_gain, residual_vanishes, silhouette
from insd.claims.qian_2025 import CLAIMS, generalisation
from insd.cohorts import network_label

TASKS = ("context_integration", "flip_flop", "memory_pro")


def networks(solved=True):
    """Five standards, five untrained networks, and three chains of three rounds, for each task."""
    rows = []
    for task in TASKS:
        for population, seeds, rounds, iterations in (
            ("standard", 5, 1, 10),
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
                            "deflated": True if later else None,
                            "gain": [0.5, 0.5, 1.5, 1.5, 1.5][seed] if population == "standard" else 1.0,
                            "excess_loss": 0.005 if later else 0.0,
                            "hard_cells": 12,
                            "hard_cells_beaten": 0.4 if later else 0.1,
                            "hard_cells_won": 2 if later else 0,
                        }
                    )
    return with_roles(pd.DataFrame(rows))


def labels(table):
    rows = table[table["task"] == TASKS[0]]
    return [network_label(*key) for key in zip(rows["population"], rows["seed"], rows["round"], strict=True)]


def is_later(label):
    return not label.endswith("/0")


def predictivity(names, between=0.98, floor=0.7, spread=0.0):
    """The same between all trained networks, and a baseline from which each untrained one as a target differs."""
    r2 = np.full((1, len(names), len(names)), between)
    later = [is_later(name) for name in names]
    untrained = [name.startswith("untrained") for name in names]
    r2[0][np.ix_(untrained, untrained)] = floor + spread * np.linspace(-1, 1, sum(untrained))
    r2[0, later] = 0.05
    both, dimensions = np.concatenate([np.maximum(r2, 0.6), r2]), ("space", "predictor", "target")
    return xr.Dataset(
        {"r2": (dimensions, both), "r2_shuffled": (dimensions, 0.02 + 0 * both)},
        {"space": ["full", "null"], "predictor": names, "target": names},
    )


def dsa(names, far=1.0):
    random = np.random.default_rng(1)
    distance = random.uniform(0.1, 0.2, (len(names),) * 2)
    later = np.array([is_later(name) for name in names])
    distance[later[:, None] ^ later[None]] = far
    gains = np.array([name.startswith("standard/") and int(name.split("/")[1]) > 1 for name in names])
    distance[(gains[:, None] ^ gains[None]) & (distance < 0.3)] = 0.3
    return xr.Dataset({"distance": (("network", "network_to"), distance)}, {"network": names, "network_to": names})


def decoding(names, kept=0.1):
    """Standards keep their score at all times, alternatives a share of it."""
    scores = np.ones((len(names), 1, 3, 3))
    for index, name in enumerate(names):
        if is_later(name):
            scores[index, 0][~np.eye(3, dtype=bool)] = kept
    dimensions = ("network", "variable", "time", "time_to")
    return xr.Dataset({"score_null": (dimensions, scores), "chance": ("variable", [0.0])}, {"network": names})


def corners(names, stable=0, unstable=1):
    """Standards have stable points at all corners, alternatives unstable ones."""
    later = np.array([is_later(name) for name in names])[:, None] * np.ones(8, int)
    values = {"stable": np.where(later, stable, 1), "unstable": np.where(later, unstable, 0)}
    return xr.Dataset({key: (("network", "corner"), one) for key, one in values.items()}, {"network": names})


def line_attractor(names, straightness=0.95, leading=-0.2):
    shape = ("network", "condition"), np.ones((len(names), 2))
    values = {"n_points": 9, "straightness": straightness, "leading_real": leading, "extent": 3}
    variables = {key: (shape[0], value * shape[1]) for key, value in values.items()}
    return xr.Dataset(variables, {"network": names, "condition": ["context_1_hold", "context_2_hold"]})


def kernel_decoding(names, relevant=0.2, context=0.6):
    """Standards code all variables; alternatives the relevant coherence alone, and context for a kernel."""
    variables = ["coherence_1", "coherence_2", "relevant_coherence", "irrelevant_coherence", "context"]
    scores = np.full((len(names), 5, 2, 2), 0.9)
    for index, name in enumerate(names):
        if is_later(name):
            scores[index] = np.array([0.0, 0.0, relevant, 0.05, context])[:, None, None]
            scores[index, 4, 1] = 0.95
    return xr.Dataset(
        {
            "score": (("network", "variable", "decoder", "time"), scores),
            "chance": ("variable", [0.0] * 4 + [0.5]),
        },
        {"network": names, "variable": variables, "decoder": ["linear", "rbf"]},
    )


def axes(names, turn=80.0, angle=75.0, peak=0.5):
    """In alternatives the axis turns and passes the output space, and regression is orthogonal to weights."""
    later = np.array([is_later(name) for name in names], float)
    jitter = np.linspace(0, 0.01, len(names))
    rotation = np.stack([0 * later, 5 + later * (turn - 5)], 1)[:, None]
    relevance = np.stack([0.02 + jitter, 0.03 + jitter + later * (peak - 0.03)], 1)[:, None]
    angles = np.stack([89 + 0 * later, 20 + jitter + later * (angle - 20)], 1)
    along = ("network", "variable", "lag")
    return xr.Dataset(
        {
            "rotation": (along, rotation),
            "output_relevance": (along, relevance),
            "weight_angle": (("network", "principal"), angles),
        },
        {"network": names, "variable": ["angle"]},
    )


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
    return pd.DataFrame(rows).assign(difference=0.1, low=0.05, high=0.15, matched_alternatives=3, n_alternatives=3)


PAPER = {"qian_2025": CLAIMS}
MAKERS = {
    **{"predictivity": predictivity, "dsa": dsa, "decoding": decoding, "corners": corners, "axes": axes},
    **{"line_attractor": line_attractor, "kernel_decoding": kernel_decoding},
}


def judge(table=None, verdict="better", papers=PAPER, confidence=0.95, resamples=999, compared=None, **changes):
    table = networks() if table is None else table
    names = labels(table)
    analyses = {name: dict.fromkeys(TASKS, make(names, **changes.get(name, {}))) for name, make in MAKERS.items()}
    tables = {"comparisons": comparisons(verdict) if compared is None else compared}
    return judged(papers, table, analyses, tables, confidence, resamples)


def verdicts(table, name):
    rows = table[table["id"].str.contains(name)]
    assert len(rows), name
    return set(rows["verdict"])


def test_a_grid_that_shows_all_of_it():
    table = judge()
    assert len(table) == sum(len(claim.tasks or TASKS) for claim in CLAIMS.claims)
    # That of gains needs more than five standards for a small p.
    poor = table["id"].str.contains("poor_everywhere|cluster_by_gain")
    assert set(table.loc[~poor, "verdict"]) == {REPRODUCED}
    assert set(table.loc[poor, "verdict"]) == {NOT}
    worse = judge(verdict="worse")
    assert verdicts(worse, "poor_everywhere") == {REPRODUCED}
    # With the size of each difference.
    found = worse.loc[worse["id"].str.contains("poor_everywhere"), "number"]
    assert found.str.contains(r"noisy_long: \+0\.100 \(\+0\.050 to \+0\.150\)").all()
    assert verdicts(judge(verdict="worse"), "better_when") == {NOT}


@pytest.mark.parametrize(
    "changes, name, verdict",
    [
        ({"predictivity": {"between": 0.5}}, "standards_collapse", NOT),
        # No more alike than networks that were never trained.
        ({"predictivity": {"between": 0.98, "floor": 0.99}}, "standards_collapse", NOT),
        # More alike in the median, but not beyond what chance in the choice of networks can do.
        ({"predictivity": {"between": 0.98, "floor": 0.97, "spread": 0.02}}, "standards_collapse", PARTLY),
        ({"predictivity": {"between": 0.98, "floor": 0.93, "spread": 0.002}}, "standards_collapse", REPRODUCED),
        ({"dsa": {"far": 0.15}}, "dsa_separates_alternatives", NOT),
        ({"decoding": {"kept": 1.0}}, "code_of_alternatives_rotates", NOT),
        ({"decoding": {"kept": 0.8}}, "code_of_alternatives_rotates", PARTLY),
        ({"corners": {"stable": 1}}, "alt_2_has_unstable_corners", NOT),
        ({"corners": {"unstable": 0}}, "alt_2_has_unstable_corners", NOT),
        ({"line_attractor": {"straightness": 0.8}}, "line_per_context", NOT),
        ({"line_attractor": {"leading": -3.0}}, "line_per_context", NOT),
        ({"line_attractor": {"straightness": np.nan}}, "line_per_context", NOT),
        ({"kernel_decoding": {"relevant": 0.05}}, "relevant_coherence_alone", PARTLY),
        ({"kernel_decoding": {"relevant": 0.05, "context": 0.9}}, "relevant_coherence_alone", NOT),
        ({"axes": {"angle": 40}}, "orthogonally_to_its_inputs", PARTLY),
        ({"axes": {"angle": 15}}, "orthogonally_to_its_inputs", NOT),
        ({"axes": {"turn": 30}}, "angle_axis_rotates", PARTLY),
        ({"axes": {"turn": 30, "peak": 0.0}}, "angle_axis_rotates", NOT),
    ],
)
def test_what_speaks_against_a_claim_shows(changes, name, verdict):
    assert verdicts(judge(**changes), name) == {verdict}


@pytest.mark.parametrize(
    "changes, verdict",
    [
        ({}, REPRODUCED),
        ({"hard_cells_won": 0}, NOT),
        ({"matched": False}, PARTLY),
        # Nothing is asked of the networks but that they win and are matched.
        ({"solved": False}, REPRODUCED),
        # Two of three chains win, one of them matched; and one of three wins.
        ({"hard_cells_won": [1, 1, 0], "matched": [True, False, True]}, PARTLY),
        ({"hard_cells_won": [1, 0, 0], "matched": [False, True, True]}, NOT),
        ({"hard_cells_won": [1, 1, 0]}, REPRODUCED),
        ({"hard_cells": np.nan}, NO_ANSWER),
    ],
)
def test_who_wins_in_some_hard_cell(changes, verdict):
    table = networks()
    first = table["round"] == 1
    for name, value in changes.items():
        table[name] = table[name].astype(object)
        table.loc[first, name] = value * 3 if isinstance(value, list) else value
    found = judge(table)
    assert verdicts(found, "alt_1_wins_in_some") == {verdict}
    assert verdicts(found, "alt_2_wins_in_some") == {REPRODUCED}
    if verdict == REPRODUCED and not changes:
        assert "wins in at least one of 12 cells in 3 of 3 chains, matched in 3, both in 3" in found["number"].str.cat()
        assert "each against the others: 10 % of cells, 0 of 5 win" in found["number"].str.cat()


def test_controls_stand_beside_the_alternatives_that_win():
    table = networks()
    chains = table[(table["population"] == "insd") & (table["round"] == 1)]
    unlike = {"role": "control", "hard_cells_won": [1, 1, 0] * len(TASKS)}
    controls = [
        chains.assign(population=name, reference=of, **unlike) for name, of in (("unpenalised", "insd"), ("b", "c"))
    ]
    found = judge(pd.concat([table, *controls], ignore_index=True))
    wins = found[found["id"].str.contains("wins_in_some")]
    assert wins["number"].str.endswith("control unpenalised: 2 of 3 win, both in 2").all()
    assert set(wins["verdict"]) == {REPRODUCED}


def test_alternatives_that_are_not_matched_are_not_nearly_equal():
    table = networks()
    table.loc[(table["population"] == "insd") & (table["seed"] > 0), "matched"] = False
    assert verdicts(judge(table), "nearly_equal_in_distribution") == {NOT}


def clustered(apart):
    """Twelve standards of two gains, those of different ones that much farther apart."""
    names = [f"standard/{seed}/0" for seed in range(12)]
    gains = np.repeat([0.5, 1.5], 6)
    random = np.random.default_rng(0)
    distance = random.uniform(0.1, 0.2, (12, 12)) + apart * (gains[:, None] != gains)
    row = {"task": "flip_flop", "population": "standard", "round": 0, "iterations": 10, "solved": True}
    table = with_roles(pd.DataFrame([row | {"seed": seed, "gain": gain} for seed, gain in enumerate(gains)]))
    dsa = xr.Dataset({"distance": (("network", "network_to"), distance)}, {"network": names, "network_to": names})
    return Evidence("flip_flop", "", table, table[:0], {"dsa": dsa}, {}, 0.95, 99)


@pytest.mark.parametrize("apart, verdict", [(0.0, NOT), (0.04, PARTLY), (0.2, REPRODUCED)])
def test_clusters_by_gain(apart, verdict):
    assert clusters_by_gain(clustered(apart))[1] == verdict


def test_silhouette_equals_scikit_learns():
    random = np.random.default_rng(3)
    labels = random.permutation(np.repeat([0, 1, 2], 5))
    distance = np.abs(random.normal(labels, 1)[:, None] - random.normal(labels, 1))
    distance = (distance + distance.T) * (1 - np.eye(15))
    assert silhouette(distance, labels) == pytest.approx(silhouette_score(distance, labels, metric="precomputed"))


@pytest.mark.parametrize("null, full, verdict", [(0.1, 0.6, REPRODUCED), (0.25, 0.6, PARTLY), (0.5, 0.6, NOT)])
def test_residual_predictivity_as_a_pair(null, full, verdict):
    names = ["standard/0/0", "insd/0/1"]
    table = with_roles(
        pd.DataFrame(
            {"task": "flip_flop", "population": ["standard", "insd"], "seed": 0, "round": [0, 1], "iterations": 10}
        ).assign(solved=True)
    )
    dimensions = ("space", "predictor", "target")
    values = np.array([full, null])[:, None, None] * np.ones((2, 2, 2))
    r2 = xr.Dataset(
        {"r2": (dimensions, values), "r2_shuffled": (dimensions, 0 * values + 0.02)},
        {"space": ["full", "null"], "predictor": names, "target": names},
    )
    evidence = Evidence("flip_flop", "insd", table, table[:0], {"predictivity": r2}, {}, 0.95, 99)
    assert residual_vanishes(evidence)[1] == verdict


def test_alternatives_that_can_be_read_out_or_keep_their_points():
    table = networks()
    later = table["round"] > 0
    table.loc[later, "r2_null_max_to_earlier"] = 0.9
    table.loc[later, "n_stable_fixed_points"] = 8
    found = judge(table)
    assert verdicts(found, "alternatives_hide_earlier_solutions") == {NOT}
    assert verdicts(found, "alternatives_oscillate") == {PARTLY}


def test_a_peak_below_two_periods_a_trial_is_no_oscillation():
    table = networks()
    later = table["round"] > 0
    # Still higher than that of the standards.
    table.loc[later, "dominant_frequency"] = 1.0
    found = judge(table)
    assert verdicts(found, "alternatives_oscillate") == {PARTLY}
    numbers = found.loc[found["id"].str.contains("alternatives_oscillate"), "number"]
    assert numbers.str.contains(r"frequency \+0.00 .* two periods a trial or more in 0 of 6 and 0 of 5").all()


def test_collapse_says_how_far_it_is_above_its_baseline():
    found = judge(predictivity={"between": 0.98, "floor": 0.97, "spread": 0.02})
    numbers = found.loc[found["id"].str.contains("standards_collapse"), "number"]
    assert numbers.str.contains("untrained networks 0.970, difference .0.010").all()
    assert numbers.str.contains("is not shown: networks that share no more than their inputs").all()
    found = judge(predictivity={"between": 0.98, "floor": 0.93, "spread": 0.002})
    numbers = found.loc[found["id"].str.contains("standards_collapse"), "number"]
    assert numbers.str.contains("is small: networks that share no more than their inputs").all()
    table = networks()
    without = table[table["population"] != "untrained"]
    assert verdicts(judge(without), "standards_collapse") == {PARTLY}


def test_networks_of_one_chain_do_not_count_twice():
    """Copies of the same chains make no interval narrower."""
    table = networks()
    table = table[table["task"] == TASKS[0]]
    by_seed = np.random.default_rng(0).normal(0.0, 1.0, 10)
    evidence = Evidence(TASKS[0], "insd", table, table[:0], {}, {}, confidence=0.95, resamples=9999)
    values = pd.Series({label: by_seed[int(label.split("/")[1])] for label in labels(table)})
    both = evidence.difference(values)
    one = dataclasses.replace(evidence, table=table[table["round"] < 2]).difference(values)
    assert both == pytest.approx(one, abs=1e-9)
    assert both[2] - both[1] > 0.5


def test_one_standard_of_another_motif():
    table = networks()
    other = (table["population"] == "standard") & (table["seed"] == 0)
    table.loc[other, "n_stable_fixed_points"] = 1
    found = judge(table)
    assert verdicts(found, "standards_share_motif") == {PARTLY}
    assert found["number"].str.contains("8 stable fixed points and 0 cycles in 4 of 5").any()


def test_unsolved_networks_give_no_answer():
    found = judge(networks(solved=False), verdict="too few")
    assert set(found["verdict"]) == {NO_ANSWER}
    of_alternatives = found.loc[found["id"] == "alternatives_hide_earlier_solutions", "number"]
    assert of_alternatives.str.startswith("0 of 6 solved").all()


def test_comparisons_without_an_interval_give_no_answer_and_say_why():
    found = judge(verdict="diverged").set_index("id")
    of_regime = found[found.index.str.contains("better_when|not_better|poor")]
    assert set(of_regime["verdict"]) == {NO_ANSWER}
    assert of_regime["number"].str.endswith(": diverged").all()


def test_a_grid_without_alternatives():
    table = networks()
    table = table[table["population"] != "insd"]
    found = judge(table, compared=pd.DataFrame())
    assert verdicts(found, "standards_collapse") == {REPRODUCED}
    assert verdicts(found, "code_of_alternatives_rotates") == {NO_ANSWER}


def test_generalisation_of_a_static_and_of_a_moving_code():
    names = ["standard/0/0", "insd/0/1"]
    found = generalisation(decoding(names, kept=0.25))
    assert found.to_dict() == {"standard/0/0": 1.0, "insd/0/1": 0.25}
    # Below chance is as good as chance, and where nothing is decoded nothing is kept.
    assert generalisation(decoding(names, kept=-5.0))["insd/0/1"] == 0
    assert np.isnan(generalisation(decoding(names) * 0).iloc[0])


def test_the_page_has_every_claim_with_its_criterion():
    text = claims_page(judge(), PAPER, 480, 0.95)
    # Of each task: two of oscillation, and one of collapse, of dynamical similarity and of rotation each.
    assert "losses are 480, of which about 24 would exclude 0 by chance, and the verdicts below rest on 18 fu" in text
    for claim in CLAIMS.claims:
        assert f"## {claim.text}\n" in text
        assert f"Criterion: {claim.whole_criterion}." in text
    assert text.count("**reproduced**") + text.count("**not**") == sum(
        len(claim.tasks or TASKS) for claim in CLAIMS.claims
    )


def test_the_page_says_which_networks_count():
    """Of some claims those that do not solve the task count, too: then each of these says so."""
    text = claims_page(judge(), PAPER, 480, 0.95)
    assert "Only solved networks count, except where a criterion says 'solved or not'. Intervals" in text
    assert "Criterion: alternatives, solved or not, that are matched" in text
    hard = text[text.index("## There are hard trials on which alt-1 does better") :]
    assert "or both in fewer. Alternatives count, solved or not.\n" in hard[: hard.index("\n## ")]
    without = {"qian_2025": dataclasses.replace(CLAIMS, claims=CLAIMS.claims[:1])}
    text = claims_page(judge(papers=without, resamples=9), without, 480, 0.95)
    assert "Only solved networks count. Intervals" in text


@pytest.mark.parametrize("name", plugins.names("claims"))
def test_a_criterion_for_networks_that_are_not_solved_says_so(name):
    for claim in publications([name])[name].claims:
        assert (SOLVED_OR_NOT in claim.whole_criterion) == bool(claim.unsolved)


def test_claims_read_what_they_name_and_nothing_else():
    assert all_reads(PAPER) == {*MAKERS, "comparisons"}
    ids = [claim.id for claim in CLAIMS.claims]
    reading = {claim.id: claim.reads for claim in CLAIMS.claims if claim.reads}
    # Each is judged without what it does not name, and none can be judged without what it does.
    for name in ids:
        claim = next(claim for claim in CLAIMS.claims if claim.id == name)
        alone = {"one": Publication("Some & Other (2000)", "none", (claim,))}
        assert len(judge(papers=alone, resamples=9)) == len(claim.tasks or TASKS)
        if name in reading:
            silent = {"one": Publication("Some & Other (2000)", "none", (dataclasses.replace(claim, reads=()),))}
            with pytest.raises(ClaimError, match=f"{name}' reads '{reading[name][0]}'; name it in its `reads`"):
                judge(papers=silent)


def test_with_few_standards_or_on_other_tasks_a_statement_is_not_the_papers():
    table = networks()
    few = judge(table[(table["role"] != "standard") | (table["seed"] < 4)])
    assert set(few["verdict"]) == {NO_ANSWER}
    assert few["number"].str.endswith("; 4 solved standards, 5 needed").any()
    text = claims_page(judge().replace({"task": {"flip_flop": "mine"}}), PAPER, 480, 0.95)
    own = text.index("# The same statements, on tasks that Qian & Pehlevan (2026) do not have")
    assert "| mine |" in text[own:] and "| mine |" not in text[:own] and "| memory pro |" not in text[own:]
    assert "on tasks that" not in claims_page(judge(), PAPER, 480, 0.95)


def test_a_claim_that_reads_what_the_rule_does_not_give():
    claim = dataclasses.replace(CLAIMS.claims[0], reads=("predictivity", "performance"))
    with pytest.raises(ClaimError, match=r"qian_2025: the claim 'standards_collapse' reads performance, .* dsa"):
        judge(papers={"qian_2025": Publication("A (2000)", "none", (claim,))})


@pytest.mark.parametrize(
    "ids, message", [(("a", "b", "a"), "2 claims have the id 'a'"), (("A claim",), "'A claim' .* snake_case")]
)
def test_ids_of_claims(ids, message):
    claims = tuple(dataclasses.replace(CLAIMS.claims[0], id=name) for name in ids)
    with pytest.raises(ClaimError, match=message):
        Publication("A (2000)", "none", claims)


def test_the_confidence_is_that_of_the_config():
    """Wider intervals make fewer claims reproduced, and the page says which confidence they have."""
    changes = {"predictivity": {"between": 0.98, "floor": 0.93, "spread": 0.002}}
    table = networks()
    table["dominant_frequency"] += 3.0 * ((table["round"] == 0) & (table["seed"] == 0))
    sure, narrow = (judge(table, confidence=confidence, **changes) for confidence in (0.9999, 0.5))
    assert verdicts(sure, "alternatives_oscillate") == {PARTLY}
    assert verdicts(narrow, "alternatives_oscillate") == {REPRODUCED}
    texts = [rows.loc[rows["id"] == "standards_collapse", "number"].iloc[0] for rows in (sure, narrow)]
    assert texts[0] != texts[1]
    text = claims_page(narrow, PAPER, 480, 0.5)
    assert "Intervals are 50 % bootstrap intervals" in text and "of which about 240 would exclude 0" in text
    table["dominant_frequency"] = np.random.default_rng(0).uniform(2, 9, len(table))
    few, fewer = (judge(table, resamples=count)["number"].tolist() for count in (60, 50))
    assert few != fewer


TOY = """
from insd.claims.base import NOT, REPRODUCED, Claim, Publication


def many(evidence):
    count = len(evidence.standards)
    return f"{count} solved standards", REPRODUCED if count > 3 else NOT


CLAIMS = Publication(
    citation="Toy & Sons (1999)",
    source="nowhere",
    claims=(
        Claim(id="many_standards", text="There are many", criterion="more than three", judge=many),
        Claim(id="many_in_one", text="In one task", criterion="the same", judge=many, tasks=("flip_flop",)),
    ),
)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A module of a user's own with claims."""
    (tmp_path / "toy_claims.py").write_text(TOY)
    (tmp_path / "no_claims.py").write_text("CLAIMS = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.find.cache_clear()
    return "toy_claims:CLAIMS"


def test_claims_of_a_users_own(toy):
    papers = publications([toy, "qian_2025"])
    found = judge(papers=papers)
    own = found[found["paper"] == toy]
    assert own[["id", "task", "number", "verdict"]].values.tolist() == [
        *(["many_standards", task, "5 solved standards", REPRODUCED] for task in TASKS),
        ["many_in_one", "flip_flop", "5 solved standards", REPRODUCED],
    ]
    pd.testing.assert_frame_equal(found[found["paper"] == "qian_2025"].reset_index(drop=True), judge())
    text = claims_page(found, papers, 480, 0.95)
    assert text.index("# The statements of Toy & Sons (1999), claim by claim") < text.index("## There are many\n")
    assert text.index("## In one task\n") < text.index("# The statements of Qian & Pehlevan (2026), claim by claim")
    assert "from toy_claims. -->" in text


def test_names_that_lead_to_no_claims(toy):
    with pytest.raises(plugins.PluginError, match=r"no_claims:CLAIMS: is not an insd.claims.base.Publication"):
        publications(["no_claims:CLAIMS"])
    known = ", ".join(plugins.names("claims"))
    with pytest.raises(plugins.PluginError, match=f"no set of claims 'quian'; choose from {known}"):
        publications(["quian"])


def test_no_claims_at_all():
    found = judge(papers={})
    assert found.empty and list(found) == CLAIM_COLUMNS
    assert claims_page(found, {}, 480, 0.95) == ""


def test_networks_that_were_not_measured_have_no_verdict():
    table = networks().assign(n_stable_fixed_points=np.nan, n_cycles=np.nan)
    analyses = {}
    for name, make in MAKERS.items():
        whole = make(labels(table))
        numbers = [variable for variable in whole if whole[variable].dtype.kind in "biuf"]
        analyses[name] = dict.fromkeys(TASKS, whole.assign(whole[numbers].where(False)))
    found = judged(PAPER, table, analyses, {"comparisons": comparisons("better")}, 0.95, 99)
    without = found[found["verdict"] != NO_ANSWER]
    # By tables alone.
    assert without["id"].str.contains("better|poor_everywhere|hard_cell|hide_earlier|nearly_equal").all(), without
    assert not found["number"].str.contains("not measured").any()
