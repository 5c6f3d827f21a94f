"""The page of statements: which networks each is on, and that baselines stand beside what they are baselines of."""

import re
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tables import with_blocks, with_roles

from insd.claims.qian_2025 import CLAIMS
from insd.cohorts import network_labels
from insd.tables.comparisons import COMPARISON_COLUMNS, comparisons
from insd.tables.summary import line_table, summary
from insd.tables.summary_page import outcomes, summary_page

ROOT = Path(__file__).parents[2]
TASK = "context_integration"


@pytest.fixture
def table():
    rows = []
    for population, seeds, rounds in (("standard", 4, 1), ("untrained", 2, 1), ("insd", 3, 3)):
        for seed in range(seeds):
            for number in range(rounds):
                later = number > 0
                rows.append(
                    {"population": population, "seed": seed, "round": number} | {"iterations": 10, "solved": True}
                )
                rows[-1] |= {
                    "n_stable_fixed_points": 0 if later else 8,
                    "n_cycles": 2 if later else 0,
                    "dominant_frequency": 3.0 if number == 2 else 0.5,
                    "kick_half_time": np.inf if later and seed == 0 else 0.1,
                    "sum_squared_weights": 60.0 if later else 20.0,
                    "solved_half_step": number != 2,
                    "penalty": (0.04 if seed else 0.2) if later else np.nan,
                    "deflated": seed == 1 if later else None,
                }
    table = pd.DataFrame(rows).assign(
        task=TASK,
        reference=lambda rows: rows["population"],
        test_loss=0.1,
        excess_loss=0.0,
        score=0.99,
        null_variance_share=0.9,
        restarts=0,
        n_fixed_points=9,
        n_not_returned_to=1,
        runs_elsewhere=0.5,
        runs_drifting=0.125,
        runs_recurrent=0.25,
        lowest_frequency=1.1,
        kick_left=0.2,
        mean_squared_rate=0.3,
        noise_sensitivity=2.0,
        r2_null_to_reference=0.1,
        r2_null_max_to_earlier=0.2,
        r2_null_shuffled_to_reference=0.05,
        r2_null_shuffled_max_to_earlier=0.06,
        r2_null_shuffled_residual_to_reference=0.01,
        r2_null_inputs=0.6,
        decoded_at_end=0.9,
        decoded_null_at_end=0.2,
        r2_null_beyond_inputs_to_reference=0.03,
        penalty_bound=0.05,
    )
    table.loc[table["population"] == "untrained", ["iterations", "solved"]] = 0, False
    # One alternative is not solved.
    unsolved = (table["population"] == "insd") & (table["seed"] == 2) & (table["round"] == 2)
    table.loc[unsolved, "solved"] = False
    table.loc[unsolved, "sum_squared_weights"] = 1e6
    return with_roles(table)


@pytest.fixture
def predictivity(table):
    labels = network_labels(table)
    untrained = np.array([label.startswith("untrained") for label in labels])
    r2 = np.full((1, len(labels), len(labels)), 0.99)
    r2[:, untrained] = 0.4
    r2[0][np.ix_(untrained, untrained)] = 0.7
    dimensions = ("space", "predictor", "target")
    variables = {"r2": r2, "r2_shuffled": r2 / 10, "r2_shuffled_residual": r2 / 100}
    coordinates = {"space": ["null"], "predictor": labels, "target": labels}
    return xr.Dataset({name: (dimensions, values) for name, values in variables.items()}, coordinates)


@pytest.fixture
def performance(table):
    labels = network_labels(table)
    later = (table["round"] > 0).to_numpy(float)
    scores = 0.9 - 0.1 * later[:, None, None] * np.ones((1, 2, 3)) - 0.05 * np.arange(3)
    about = {"chance": 0.5, "higher_is_better": 1}
    random = np.random.default_rng(0)
    near = random.normal(0, 1e-3, (len(labels), 2))
    return xr.Dataset(
        {
            "score": (("network", "regime"), 0.9 + near, about),
            "loss": (("network", "regime"), 0.1 + 0.2 * later[:, None] + near),
            "grid_score": (("network", "noise", "duration"), scores + 1e-6 * random.normal(size=scores.shape), about),
            "grid_loss": (("network", "noise", "duration"), 1 - scores + 1e-6 * random.normal(size=scores.shape)),
        },
        {
            "network": labels,
            "regime": ["test", "noisy"],
            "noise": ["sd = 1", "sd = 4"],
            "duration": ["1 s", "2 s", "4 s"],
        },
    )


@pytest.fixture
def compared(table, performance):
    labels = network_labels(table)
    values = np.random.default_rng(0).normal(size=(len(labels), 2))
    pairs = {
        f"{name}_{quantity}": (("network", f"{name}_level"), values, {"higher_is_better": 1})
        for name in ("noise", "jitter", "silence", "kick")
        for quantity in ("score", "loss")
    }
    half = {
        f"half_step_{quantity}": ("network", values[:, 0], {"higher_is_better": 1}) for quantity in ("score", "loss")
    }
    robustness = xr.Dataset(pairs | half, {"network": labels})
    return comparisons(table, {TASK: with_blocks(performance)}, {TASK: with_blocks(robustness)}, resamples=999)


def shown(table, predictivity, performance, confidence=0.95, resamples=999):
    inputs = xr.Dataset({"r2_beyond": predictivity["r2"] / 2})
    return summary(table, {TASK: predictivity}, {TASK: inputs}, {TASK: performance}, confidence, resamples)


def test_baselines_stand_beside_what_they_are_baselines_of(table, predictivity, performance):
    found = shown(table, predictivity, performance)["Solutions"].set_index("statement")[TASK]
    assert found.to_dict() == {
        "standard networks solved": "4 of 4",
        "null-space r² between standards": "0.990 (0.990 to 0.990)",
        "... with trials shuffled": "0.099 (0.099 to 0.099)",
        "... with trials shuffled, without the time course that all share": "0.010 (0.010 to 0.010)",
        "... between untrained networks (floor)": "0.700 (0.700 to 0.700)",
        "null-space r², filtered inputs alone → standards": "0.600 (0.600 to 0.600)",
        "null-space r² beyond the inputs, between standards": "0.495 (0.495 to 0.495)",
        "... between untrained networks": "0.350 (0.350 to 0.350)",
        "references solved": "3 of 3",
        "alternatives solved": "5 of 6",
        "... whose S ended within its bound": "3 of 5",
        "... deflated: within the bound of S, and of null-space r² to every earlier network": "2 of 5",
        "null-space r², alternative → reference": "0.100 (0.100 to 0.100)",
        "... of round 1 alone": "0.100 (0.100 to 0.100)",
        "... of round 2 alone": "0.100 (0.100 to 0.100)",
        "... with trials of the reference shuffled": "0.050 (0.050 to 0.050)",
        "... with its trials shuffled, without the time course that all share": "0.010 (0.010 to 0.010)",
        "... beyond the inputs": "0.030 (0.030 to 0.030)",
        "... untrained → reference (floor)": "0.400 (0.400 to 0.400)",
        "... untrained → reference, trials shuffled": "0.040 (0.040 to 0.040)",
        "largest null-space r², solved alternative → any earlier": "0.200 (0.200 to 0.200)",
        "... with trials of that network shuffled": "0.060 (0.060 to 0.060)",
    }


def test_what_is_said_of_solved_networks(table, predictivity, performance):
    sections = shown(table, predictivity, performance)
    dynamics, harder, costs = (
        sections[name].set_index("statement")[TASK] for name in ("Dynamics", "Harder trials and perturbations", "Costs")
    )
    assert dynamics["... of at least two periods a trial, standards"] == "0 of 4"
    assert dynamics["... of at least two periods a trial, alt-2"] == "2 of 2"
    assert dynamics["... of which stable by eigenvalues, but not returned to, alt-1"] == "1 (1 to 1)"
    assert dynamics["... in the mean drifting / recurrent / unsettled, alt-1"] == "0.125 / 0.250 / 0.125"
    assert harder["hardest point of the grid"] == "sd = 4; 4 s"
    assert harder["score there, standards"] == "0.800 (0.800 to 0.800)"
    assert harder["score there, alternatives"] == "0.700 (0.700 to 0.700)"
    assert harder["... of a network that guesses (chance)"] == "0.500"
    assert harder["criterion still met at half the time step, standards"] == "4 of 4"
    assert harder["criterion still met at half the time step, alternatives"] == "3 of 5"
    half = harder["time to half after the smallest kick (s), alternatives"]
    assert half == "0.100 (0.100 to 0.100); never in 2 of 5"
    # The unsolved one, with enormous weights, is left out.
    assert costs["... alternatives over standards, sum of squared weights"] == "× 3.00 (3.00 to 3.00)"


def test_losses_stand_beside_those_of_the_ideal_observer(table, predictivity, performance):
    def floor(of_task):
        return shown(table, predictivity, of_task)["Networks"].set_index("statement")[TASK].iloc[0]

    assert floor(performance) == "none"
    known = performance.assign(floor=("regime", [0.01234, 0.5]))
    assert floor(known) == "0.0123"
    assert floor(known.assign(floor=("regime", [np.nan, 0.5]))) == "none"


def test_outcomes_count_the_comparisons_of_every_kind(compared):
    scores, losses = (outcomes(compared, quantity) for quantity in ("score", "loss"))
    assert scores.index[:2].tolist() == ["regime", "grid"] and len(scores) == 7
    assert list(scores) == [f"{TASK}, alt-1", f"{TASK}, alt-2"]
    assert scores.loc["grid"].tolist() == ["0 / 0 / 6", "0 / 0 / 6"]
    assert losses.loc["regime"].tolist() == ["0 / 0 / 2", "0 / 0 / 2"]
    for name, cells in scores.items():
        for kind, cell in cells.items():
            rows = compared[(compared["measure"] == kind) & (compared["quantity"] == "score")]
            rows = rows[rows["round"] == int(name[-1])]
            assert [int(part) for part in cell.split(" / ")] == [
                int((rows["verdict"] == verdict).sum()) for verdict in ("better", "equal", "worse")
            ]
    few = compared.assign(verdict="too few", n_comparisons=0)
    assert (outcomes(few, "score") == "too few").all(axis=None)
    lacking = compared.assign(verdict=compared["verdict"].where(compared["measure"] == "grid", "diverged"))
    assert (outcomes(lacking, "score").drop("grid") == "diverged").all(axis=None)
    assert outcomes(lacking, "score").loc["grid"].tolist() == ["0 / 0 / 6", "0 / 0 / 6"]


def line_attractors(table):
    labels = network_labels(table)
    shape = (len(labels), 1)
    later = (table["round"] > 0).to_numpy(float)[:, None]
    dims = ("network", "condition")
    gains = np.stack([14 - 10 * later, 0.6 * np.ones(shape)], axis=-1)
    return xr.Dataset(
        {
            "n_points": (dims, np.where(later, 2, 9)),
            "straightness": (dims, np.where(later, np.nan, 0.98)),
            "leading_real": (dims, np.full(shape, -0.5)),
            "leading_imag": (dims, np.pi * later),
            "mode_selection": ((*dims, "evidence"), gains),
        },
        {"network": labels, "condition": ["hold"], "evidence": ["evidence_1", "evidence_2"]},
    )


def test_lines_by_group_and_input(table):
    found = line_table(table, {TASK: line_attractors(table)}).set_index("networks")
    assert found.index.tolist() == ["standards", "reference", "alt-1", "alt-2"]
    assert found.loc["standards", "points"] == "9 (9 to 9)" and found.loc["alt-1", "straightness"] == "none"
    assert found.loc["alt-1", "frequency (Hz)"] == "0.50 (0.50 to 0.50)"
    assert found.loc["standards", "gain of evidence 1"] == "14.00 (14.00 to 14.00)"
    assert found.loc["alt-2", "gain of evidence 2"] == "0.60 (0.60 to 0.60)"


def test_lines_on_which_evidence_is_held(table):
    attractors = line_attractors(table)
    later = attractors["n_points"].values < 3
    held = {
        "held_curve": np.where(later, 0.5, 0.95),
        "held_extent": 0.8 + 0 * later,
        "held_leading_real": -0.4 + 0 * later,
    }
    attractors = attractors.assign({name: (("network", "condition"), values) for name, values in held.items()})
    graded = np.stack([0.9 + 0 * later, 0.1 + 0 * later], axis=-1)
    attractors["held_graded"] = ("network", "condition", "evidence"), graded
    found = line_table(table, {TASK: attractors}).set_index("networks")
    assert found["on a line"].tolist() == ["4 of 4", "3 of 3", "0 of 3", "0 of 2"]
    assert found.loc["alt-1", "growth there (1/s)"] == "-0.40 (-0.40 to -0.40)"
    attractors["held_curve"][:] = np.nan
    assert (line_table(table, {TASK: attractors})["on a line"] == "none").all()


def test_the_page(table, predictivity, performance, compared):
    sections = shown(table, predictivity, performance)
    attractors = line_table(table, {TASK: line_attractors(table)})
    text = summary_page(sections, compared, attractors, "a: 1\n", "today", "care", 0.95)
    for title in [*sections, "Alternatives against standards", "Line attractors", "Config"]:
        assert text.count(f"\n## {title}\n") == 1
    assert "|  | context_integration |" in text
    assert f"{len(compared)} intervals without correction" in text
    assert "| grid | 0 / 0 / 6 | 0 / 0 / 6 |" in text
    assert not re.search(r"\bnan\b", text)
    # A grid without alternatives and without evidence has neither of the last tables.
    text = summary_page(sections, compared[:0], attractors[:0], "a: 1\n", "today", "care", 0.95)
    assert "Alternatives against" not in text and "Line attractors" not in text


def test_a_grid_without_alternatives(table, predictivity, performance):
    alone = table[table["population"] != "insd"]
    sections = shown(alone, predictivity, performance)
    assert sections["Solutions"]["statement"].tolist() == [
        "standard networks solved",
        "null-space r² between standards",
        "... with trials shuffled",
        "... with trials shuffled, without the time course that all share",
        "... between untrained networks (floor)",
        "null-space r², filtered inputs alone → standards",
        "null-space r² beyond the inputs, between standards",
        "... between untrained networks",
    ]
    assert not outcomes(pd.DataFrame(columns=COMPARISON_COLUMNS), "score").size


def with_second_population(table, predictivity, performance):
    """The same with each network of `insd` also in a population `other`."""
    added = table[table["population"] == "insd"]
    other = added.assign(
        population="other", reference="other", chain=added["chain"].str.replace("insd", "other"), mean_squared_rate=0.6
    )
    names = {label.replace("insd", "other"): label for label in network_labels(added)}

    def extended(dataset, *dimensions):
        for dimension in dimensions:
            copies = dataset.sel({dimension: list(names.values())}).assign_coords({dimension: list(names)})
            dataset = xr.concat([dataset, copies], dimension)
        return dataset

    everything = pd.concat([table, other], ignore_index=True)
    return everything, extended(predictivity, "predictor", "target"), extended(performance, "network")


def test_every_statement_has_an_id_of_its_own(table, predictivity, performance):
    found = pd.concat(shown(table, predictivity, performance).values())
    assert found.index.is_unique and found["statement"].is_unique
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?", name) for name in found.index)
    assert found.loc["r2_null_to_reference", "statement"] == "null-space r², alternative → reference"
    assert found.loc["n_cycles/alt_2", "statement"] == "cycles, alt-2"
    assert found.loc["n_cycles/alt_2", TASK] == "2 (2 to 2)"
    assert found.loc["r2_null_untrained_to_reference", TASK] == "0.400 (0.400 to 0.400)"


def test_ids_of_several_populations_begin_with_their_names(table, predictivity, performance):
    alone = pd.concat(shown(table, predictivity, performance).values())
    found = pd.concat(shown(*with_second_population(table, predictivity, performance)).values())
    assert found.index.is_unique and found["statement"].is_unique
    own = [name for name in alone.index if f"insd:{name}" in found.index]
    assert set(found.index) == {*alone.index} - {*own} | {f"{p}:{name}" for p in ("insd", "other") for name in own}
    for name in own:
        # Those of the first population say what they said alone.
        assert found.loc[f"insd:{name}", TASK] == alone.loc[name, TASK]
        assert found.loc[f"insd:{name}", "statement"].count("insd: ") == 1
    assert found.loc["other:n_cycles/alt_1", "statement"] == "cycles, other: alt-1"
    assert found.loc["other:r2_null_to_reference", "statement"] == "other: null-space r², alternative → reference"
    assert found.loc["insd:mean_squared_rate_ratio", TASK] == "× 1.00 (1.00 to 1.00)"
    assert found.loc["other:mean_squared_rate_ratio", TASK] == "× 2.00 (2.00 to 2.00)"


def test_ratios_have_the_confidence_of_the_config(table, predictivity, performance):
    table["noise_sensitivity"] = np.random.default_rng(0).uniform(1, 3, len(table))

    def width(confidence):
        found = pd.concat(shown(table, predictivity, performance, confidence).values())
        low, high = re.search(r"\((.*) to (.*)\)", found.loc["noise_sensitivity_ratio", TASK]).groups()
        return float(high) - float(low)

    assert width(0.99) > width(0.9) > width(0.5) > 0


def test_the_page_counts_what_chance_gives_at_its_confidence(table, predictivity, performance, compared):
    sections = shown(table, predictivity, performance)
    for confidence in (0.95, 0.8):
        text = summary_page(sections, compared, pd.DataFrame(), "a: 1\n", "today", "care", confidence)
        assert f"about {(1 - confidence) * len(compared):.0f} would exclude 0 by chance" in text
    assert "r2_null_to_reference" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/report").glob("figure_*.rst")), ids=lambda path: path.stem)
def test_captions_ask_for_ids_that_there_are(table, predictivity, performance, path):
    """Each id by itself, since a caption fails only where it finds none of those that it asks for."""
    statements = {name.partition("/")[0] for name in pd.concat(shown(table, predictivity, performance).values()).index}
    claims = {claim.id for claim in CLAIMS.claims}
    asked = {"group": [], "verdicts": []}

    class Numbers:
        level = "80 %"

        def tasks(self):
            return [TASK]

        def group(self, task, *ids):
            asked["group"] += ids
            return [(name, "1 of 2") for name in ids]

        def verdicts(self, task=None, ids=()):
            asked["verdicts"] += ids
            return [(name, "1 of 2", "partly") for name in ids]

    snakemake = {"wildcards": {"task": TASK}, "params": {"numbers": Numbers()}}
    text = (
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(path.read_text()).render(snakemake=snakemake)
    )
    assert asked["group"] or asked["verdicts"]
    assert set(asked["group"]) <= statements and set(asked["verdicts"]) <= claims
    assert all(name in text for name in asked["group"] + asked["verdicts"])
    assert "95 %" not in text
