"""Ways to other solutions side by side: planted ways, costs and distances come out as they were planted."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import config_of
from drawn import check_text

from insd.figures.generators import MARKERS, generators_figure
from insd.figures.theme import MANY_HUES
from insd.tables.excursions import Way, ways, with_excursions
from insd.tables.generators import GENERATOR_COLUMNS, SUMMARY_COLUMNS, costs_of, generators, generators_page, summary

NAN = np.nan


def trained(losses, scores):
    """The history of two networks, each with its attempts; empty from the end of an attempt on."""
    dimensions = ("attempt", "seed", "iteration")
    return xr.Dataset({"held_out_loss": (dimensions, losses), "held_out_score": (dimensions, scores)}, {"seed": [3, 5]})


def test_the_way_of_training_is_that_of_the_attempt_that_is_kept():
    losses = [[[1.0, 0.3, 0.2], [1.0, 0.01, NAN]], [[1.0, 0.005, 0.04], [NAN] * 3]]
    scores = [[[0.1, 0.5, 0.6], [0.1, 0.99, NAN]], [[0.1, 0.99, 0.98], [NAN] * 3]]
    found = dict(ways(trained(losses, scores), True))
    assert found[3].losses.tolist() == [1.0, 0.005, 0.04] and found[5].losses.tolist() == [1.0, 0.01]
    # Where a lower score is better, the first attempt is kept.
    assert dict(ways(trained(losses, scores), False))[3].losses.tolist() == [1.0, 0.3, 0.2]


@pytest.mark.parametrize(
    "losses, excursion",
    [
        # What comes before it is low counts for nothing.
        ([1.0, 0.5, 0.01, 0.03, 0.02], 0.03),
        ([1.0, 0.005, 0.004], 0.005),
        ([0.01, 0.5, 0.003, 0.2], 0.5),
        ([1.0, 0.5, 0.02], NAN),
        ([], NAN),
    ],
)
def test_an_excursion_begins_where_the_loss_was_low(losses, excursion):
    np.testing.assert_equal(Way(np.array(losses)).excursion(0.01), excursion)


def test_a_walk_has_a_ceiling_and_what_it_tried():
    along = ("attempt", "seed", "iteration")
    history = xr.Dataset(
        {"kept_loss": (along, [[[0.002, 0.008, 0.007]]]), "excursion": (along, [[[0.002, 0.3, 0.01]]])}
        | {name: (along, [[[0.5, 0.5, 0.5]]]) for name in ("held_out_loss", "held_out_score")},
        {"seed": [1]},
    )
    history["ceiling"] = ("seed", [0.02])
    ((seed, way),) = ways(history, True)
    table = pd.DataFrame(
        {"fresh_loss": [0.012, 0.03, 0.03], "excess_loss": [0.007, 0.025, NAN]}, ["walk/1/1", "insd/1/1", "alone/1/1"]
    )
    trained = Way(np.array([1.0, 0.014, 0.016]))
    found = with_excursions(table, {"walk/1/1": way, "insd/1/1": trained, "alone/1/1": trained}, 0.01)
    np.testing.assert_allclose(found["ceiling"], [0.02, 0.015, NAN])
    np.testing.assert_allclose(found["excursion"], [0.008, 0.016, NAN])
    np.testing.assert_allclose(found["excursion_tried"], [0.3, NAN, NAN])
    # Activity that was recorded has no history.
    assert with_excursions(table, {}, 0.01)["excursion"].isna().all()
    assert seed == 1


def network(population, seed, number, **changes):
    role = "standard" if population == "standard" else "alternative" if number else "reference"
    role = "control" if population == "control" and number else role
    known = {"task": "flip_flop", "population": population, "seed": seed, "round": number, "role": role}
    known |= {"reference": "insd", "standards": "standard", "chain": f"{population}/{seed}", "term": NAN}
    known |= {"solved": True, "matched": True, "excess_loss": 0.001, "ceiling": 0.012, "excursion": 0.01}
    known |= {"excursion_tried": NAN, "n_stable_fixed_points": 8.0, "n_cycles": 0.0}
    return known | changes


PLANTED = {"insd": 0.7, "walk": 0.3, "control": 0.1}
"""How far networks are from their references: 1 minus r2; half of it in CKA, and the same in rad."""


def planted(chains=4):
    """Three standards; references; alternatives by INSD, of which the last is not matched, and by walks; controls."""
    rows = [network("standard", seed, 0) for seed in range(3)]
    rows += [network("insd", seed, 0) for seed in range(chains)]
    for seed in range(chains):
        rows.append(network("insd", seed, 1, term="predictivity", excursion=0.05, n_stable_fixed_points=seed))
        rows.append(network("walk", seed, 1, excursion_tried=0.2, n_cycles=2.0))
        rows.append(network("control", seed, 1, excursion=NAN))
    table = pd.DataFrame(rows)
    table.loc[(table["population"] == "insd") & (table["round"] == 1) & (table["seed"] == chains - 1), "matched"] = (
        False
    )
    labels = [f"{row['population']}/{row['seed']}/{row['round']}" for row in rows]
    distance = pd.DataFrame(0.9, labels, labels)
    for name, value in PLANTED.items():
        for seed in range(chains):
            # Chains differ a little; nothing is wrong with the other way round.
            distance.loc[f"{name}/{seed}/1", f"insd/{seed}/0"] = value + 0.02 * (seed - 1)
    standards = [label for label in labels if label.startswith("standard")]
    distance.loc[standards, standards] = 0.2
    distance.loc["standard/0/0", "standard/1/0"] = 0.25
    return table, distance


def files(distance):
    """What is read of the three analyses."""
    labels, values = list(distance.index), distance.to_numpy()
    null = {"r2": (("space", "predictor", "target"), np.stack([np.zeros_like(values), 1 - values]))}
    predictivity = xr.Dataset(null, {"space": ["full", "null"], "predictor": labels, "target": labels})
    places = {"network": labels, "network_to": labels}
    similar = xr.Dataset(
        {"value": (("measure", *places), np.stack([1 - values / 2, values]))},
        {"measure": ["cka_full", "cka_null"], **places},
    )
    dsa = xr.Dataset({"distance": (tuple(places), values)}, places)
    return {"flip_flop": predictivity}, {"flip_flop": similar}, {"flip_flop": dsa}


def test_distances_costs_and_topology_are_those_that_were_planted():
    table, distance = planted()
    costs = {f"walk/{seed}/1": 2.0 + seed for seed in range(4)}
    rows = generators(table, *files(distance), {"flip_flop": costs})
    assert list(rows) == GENERATOR_COLUMNS and len(rows) == 12
    walks = rows[rows["population"] == "walk"]
    np.testing.assert_allclose(walks["distance_r2"], [0.28, 0.30, 0.32, 0.34])
    np.testing.assert_allclose(walks["distance_cka"], [0.14, 0.15, 0.16, 0.17])
    np.testing.assert_allclose(walks["distance_dsa"], walks["distance_r2"])
    np.testing.assert_allclose(rows[["far_r2", "far_dsa"]], 0.25)
    np.testing.assert_allclose(rows["far_cka"], 0.125)
    assert walks["core_minutes"].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert rows[rows["population"] == "insd"]["core_minutes"].isna().all()
    assert walks["cycles"].tolist() == [2.0] * 4 and (rows["stable_points_of_reference"] == 8).all()
    # CKA may not be measured.
    predictivity, similar, dsa = files(distance)
    without = {"flip_flop": similar["flip_flop"].sel(measure=["cka_null"])}
    found = generators(table, predictivity, without, dsa, {"flip_flop": costs})
    assert found[["distance_cka", "far_cka"]].isna().all(axis=None) and found["distance_r2"].notna().all()
    # What was not measured is not counted as 0.
    found = found.assign(stable_points=NAN)
    means = summary(found, "insd", 0.95, 99)
    assert means[["beyond_cka", "stable_points_changed"]].isna().all(axis=None) and means["beyond_r2"].notna().all()
    assert "| 3, –, 3 |" in generators_page(found, means, 0.95)
    # Nor are there alternatives in every grid.
    none = generators(table[table["round"] == 0], predictivity, similar, dsa, {"flip_flop": {}})
    assert list(none) == GENERATOR_COLUMNS and not len(none)
    assert list(summary(none, "insd", 0.95, 99)) == SUMMARY_COLUMNS


def test_means_are_of_matched_networks_with_intervals_over_chains():
    table, distance = planted()
    rows = generators(table, *files(distance), {"flip_flop": {"walk/0/1": 3.0, "walk/1/1": 5.0}})
    means = summary(rows, "insd", 0.95, 999).set_index("population")
    assert means[["networks", "matched", "chains"]].loc["insd"].tolist() == [4, 3, 3]
    # Without the last, which is not matched.
    assert means.loc["insd", "distance_r2"] == pytest.approx(0.70)
    assert means.loc["walk", "distance_r2"] == pytest.approx(0.31)
    assert means.loc["walk", "distance_r2_low"] < 0.31 < means.loc["walk", "distance_r2_high"]
    assert means.loc["walk", "core_minutes"] == 4.0 and np.isnan(means.loc["insd", "core_minutes"])
    assert means["beyond_r2"].to_dict() == {"insd": 3, "walk": 4, "control": 0}
    assert means["stable_points_changed"].to_dict() == {"insd": 3, "walk": 0, "control": 0}
    assert means["cycles_changed"].to_dict() == {"insd": 0, "walk": 4, "control": 0}
    assert means["low"].to_dict() == {"insd": 4, "walk": 4, "control": 0}
    assert means["above_ceiling"].to_dict() == {"insd": 4, "walk": 0, "control": 0}
    assert means.loc["walk", "largest_tried"] == 0.2 and np.isnan(means.loc["control", "largest_excursion"])
    assert means.loc["walk", "difference_r2"] == pytest.approx(0.31 - 0.70)
    assert means.loc["walk", "difference_r2_high"] < 0 and pd.isna(means.loc["insd", "compared_to"])
    page = generators_page(rows, means.reset_index(), 0.95)
    assert "| insd | predictivity | 3 of 4 | 0.70 (" in page and "| walk | −0.39 (−0." in page
    assert "Largest distance between two standards: 1 − null-space r² 0.25, 1 − CKA 0.12, DSA (rad) 0.25." in page
    assert "nan" not in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {17, 5}


def test_two_networks_of_one_chain_are_drawn_together():
    table, distance = planted()
    rows = generators(table, *files(distance), {"flip_flop": {}})
    twice = pd.concat([rows, rows])
    one, two = (summary(part, None, 0.95, 999).set_index("population") for part in (rows, twice))
    ends = ["distance_r2", "distance_r2_low", "distance_r2_high"]
    pd.testing.assert_frame_equal(one[ends], two[ends])
    # A single chain has no interval.
    alone = summary(rows[rows["seed"] == 0], None, 0.95, 99).set_index("population")
    assert alone.loc["walk", "distance_r2"] == pytest.approx(0.28) and np.isnan(alone.loc["walk", "distance_r2_low"])


def test_the_cost_is_shared_by_the_networks_of_a_job(tmp_path):
    path = tmp_path / "round-1.tsv"
    path.write_text("s\th:m:s\tmean_load\tcpu_time\n360.0\t0:06:00\t99.0\tNA\n")
    broken = tmp_path / "broken.tsv"
    broken.write_text("")
    jobs = [("insd", 0, 1, str(path)), ("insd", 1, 1, str(path)), ("walk", 0, 1, str(tmp_path / "missing.tsv"))]
    jobs.append(("walk", 1, 1, str(broken)))
    np.testing.assert_equal(costs_of(jobs), {"insd/0/1": 3.0, "insd/1/1": 3.0, "walk/0/1": NAN, "walk/1/1": NAN})


def test_the_figure_has_every_network_mean_and_bound():
    table, distance = planted()
    costs = {f"{name}/{seed}/1": 2.0 + seed for name in PLANTED for seed in range(4)}
    rows = generators(table, *files(distance), {"flip_flop": costs})
    figure = generators_figure(rows, summary(rows, "insd", 0.95, 199))
    assert "core-minutes" in check_text(figure)
    first, points, cost, loss = (figure.axes[number] for number in (0, 3, 4, 7))
    # Twelve networks in six lines by population and state, and three means with two intervals each.
    drawn, of_cost = ([line for line in axes.lines if line.get_marker() != "None"] for axes in (first, cost))
    assert sum(len(line.get_xdata()) for line in drawn) == 12 + 3
    hollow = [line for line in drawn if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in hollow] == [[pytest.approx(0.74)]]
    means = [line for line in drawn if line.get_markersize() > 5]
    np.testing.assert_allclose([line.get_ydata()[0] for line in means], [0.70, 0.31, 0.11])
    assert len({(line.get_color(), line.get_marker()) for line in means}) == 3
    assert [list(line.get_xdata()) for line in of_cost if line.get_markersize() > 5] == [[3.0], [3.5], [3.5]]
    cycles = [y for line in points.lines if line.get_marker() == "x" for y in line.get_ydata()]
    assert sorted(cycles) == [0.0] * 8 + [2.0] * 4
    tried = [line for line in loss.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in tried] == [[0.2] * 4]
    keys = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"not matched", "mean of matched", "largest matched loss", "cycles, or tried steps"} < keys
    # What was not measured is said, and has no key.
    nothing = dict.fromkeys(["core_minutes", "distance_cka", "excursion", "excursion_tried"], NAN)
    rows = rows[rows["matched"]].assign(**nothing, stable_points=NAN, cycles=NAN)
    figure = generators_figure(rows, summary(rows, None, 0.95, 99))
    assert keys - {text.get_text() for text in figure.legends[0].get_texts()} == {
        "not matched",
        "cycles, or tried steps",
    }
    notes = check_text(figure)
    missing = (
        "no core-minutes\nin this grid",
        "not measured",
        "no loss was\never low",
        "no fixed points\nin this grid",
    )
    assert set(missing) <= set(notes)
    assert "no alternatives" in check_text(generators_figure(rows[:0], summary(rows[:0], None, 0.95, 99)))


def test_each_population_of_the_study_has_its_own_colour():
    names = [name for name, entry in config_of("generators")["populations"].items() if entry and entry.get("rounds")]
    table, distance = planted()
    rows = generators(table, *files(distance), {"flip_flop": {}})
    rows = pd.concat([rows[rows["population"] == "walk"].assign(population=name) for name in names])
    figure = generators_figure(rows, summary(rows, None, 0.95, 99))
    means = [line for line in figure.axes[0].lines if line.get_markersize() > 5 and line.get_marker() != "None"]
    assert len(means) == len(names) == len({line.get_color() for line in means}) == 17


def test_colours_and_markers_tell_populations_apart():
    looks = {(MANY_HUES[k % len(MANY_HUES)], MARKERS[k % len(MARKERS)]) for k in range(168)}
    assert len(looks) == 168 and len(set(MANY_HUES)) == len(MANY_HUES)
