"""Roles that the config says, and an order of populations that it does not."""

import json

import pandas as pd
import pytest

from insd.cohorts import alternatives, network_labels, read_table
from insd.grid import Grid
from insd.settings.base import SettingsError
from insd.settings.load import load

GRID = {
    "tasks": {"flip_flop": {}, "memory_pro": {}},
    "populations": {
        "standard-g0.5": {"seeds": 2, "network": {"gain": 0.5}},
        "standard-g1.0": {"seeds": 2, "network": {"gain": 1.0}},
        "untrained": {"seeds": 1, "training": {"iterations": 0}},
        "insd": {"seeds": 2, "rounds": 2},
        "gated": {"seeds": 1, "role": "control", "network": {"architecture": "gru"}},
    },
    "analysis": {"dsa": {"rank": 10}, "similarity": {"measures": ["cka"]}},
}


def with_population(**more):
    return GRID | {"populations": {**GRID["populations"], **more}}


def reversed_keys(value):
    return {key: reversed_keys(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_nothing_depends_on_the_order_of_keys():
    grid, other = Grid(load(GRID)), Grid(load(reversed_keys(GRID)))
    assert list(grid.settings.populations) == list(GRID["populations"])
    for task in GRID["tasks"]:
        for name in grid.analyses():
            assert json.dumps(grid.analysis_params(name, task)) == json.dumps(other.analysis_params(name, task))
            assert grid.analysis_inputs(name, task) == other.analysis_inputs(name, task)
        assert grid.reference_block(task) == other.reference_block(task)
    assert grid.analysis_files() == other.analysis_files()


@pytest.mark.parametrize(
    "population, message",
    [
        (
            {"seeds": 1, "role": "alternative"},
            "role = 'alternative': there is no earlier round; set rounds to 2 or more",
        ),
        (
            {"seeds": 1, "rounds": 2, "role": "reference"},
            "role = 'reference': later rounds are 'alternative' or 'contro",
        ),
        (
            {"seeds": 1, "rounds": 2, "role": "untrained"},
            "role = 'untrained': later rounds are 'alternative' or 'contr",
        ),
        ({"seeds": 1, "make": ["a"]}, "make = ['a']: input should be a valid string"),
        (
            {
                "seeds": 1,
                "make": "checkpoint",
                "checkpoint": {"files": "x.pt"},
                "role": "control",
                "network": {"units": 5},
            },
            "network: make = 'checkpoint'",
        ),
    ],
)
def test_roles_and_keys_that_contradict_the_rest_are_refused(population, message):
    with pytest.raises(SettingsError) as refusal:
        load(with_population(new=population))
    assert f"populations.new.{message}" in str(refusal.value)


@pytest.mark.parametrize("role", ["control", "standard"])
def test_what_chains_refer_to_is_a_reference(role):
    chain = {"seeds": 1, "rounds": 2, "reference": "first"}
    config = {"tasks": {"flip_flop": {}}, "populations": {"first": {"seeds": 1, "role": role}, "chain": chain}}
    with pytest.raises(SettingsError, match=f"populations.first.role = '{role}': it is the reference of chain; leave"):
        load(config)
    del config["populations"]["first"]["role"]
    assert load(config).role("flip_flop", "first", 0) == "reference"


def test_a_population_names_the_standards_that_it_is_compared_with():
    chain = {"seeds": 1, "rounds": 2, "standards": ["standard-g1.0"]}
    settings = load(with_population(rung=chain) | {"figures": {"chain": "insd"}})
    assert settings.standards("flip_flop", "rung") == ["standard-g1.0"]
    assert settings.standards("flip_flop", "insd") == ["standard-g0.5", "standard-g1.0"]
    assert settings.standards("flip_flop", "standard-g1.0") == ["standard-g1.0"]
    more = Grid(settings).analysis_params("hard_cells", "memory_pro")["more"]
    assert more["standards"]["rung"] == ["standard-g1.0"]


@pytest.mark.parametrize(
    "named, message",
    [
        ("nobody", "standards: there is no population 'nobody'"),
        ("insd", "standards: 'insd' has no networks of the role standard on flip_flop"),
        ("untrained", "standards: 'untrained' has no networks of the role standard"),
        ("elsewhere", "standards: 'elsewhere' has no networks of the role standard on flip_flop"),
    ],
)
def test_what_is_no_standard_is_refused_by_name(named, message):
    elsewhere = {"seeds": 1, "tasks": ["memory_pro"]}
    with pytest.raises(SettingsError, match=f"populations.rung.{message}"):
        rung = {"seeds": 1, "rounds": 2, "standards": [named]}
        load(with_population(elsewhere=elsewhere, rung=rung) | {"figures": {"chain": "insd"}})


def test_standards_that_another_population_begins_from_are_refused_with_the_key_that_does_it():
    more = {"role": "control", "seeds": 1, "rounds": 2, "reference": "standard-g1.0"}
    rung = {"seeds": 1, "rounds": 2, "standards": ["standard-g1.0"]}
    message = r"'standard-g1.0' has no networks .* on flip_flop .populations.more.reference names it"
    with pytest.raises(SettingsError, match=message):
        load(with_population(more=more, rung=rung) | {"figures": {"chain": "insd"}})


def test_an_alternative_without_training_is_refused():
    untrained = {"seeds": 2, "rounds": 2, "alternatives": {"training": {"iterations": 0}}}
    with pytest.raises(SettingsError, match=r"populations.insd, task flip_flop, round 1: training.iterations = 0"):
        load(with_population(insd=untrained))


def test_a_task_without_networks_is_named_once():
    """Analyses that list populations have none to add for it."""
    populations = {name: one | {"tasks": ["flip_flop"]} for name, one in GRID["populations"].items()}
    config = GRID | {"populations": populations, "analysis": {"dsa": {"populations": ["insd"]}}}
    with pytest.raises(SettingsError) as error:
        load(config)
    assert "tasks.memory_pro: no population has networks for it" in str(error.value)
    assert "analysis.dsa" not in str(error.value)


def test_an_analysis_without_a_network_on_a_task_is_refused():
    elsewhere = {"seeds": 1, "tasks": ["memory_pro"], "role": "standard"}
    config = with_population(elsewhere=elsewhere) | {"analysis": {"dsa": {"populations": ["elsewhere"]}}}
    message = "analysis.dsa.populations: names none of the populations of the task flip_flop; add one of: standard"
    with pytest.raises(SettingsError, match=message):
        load(config)
    load(config | {"analysis": {"dsa": {"populations": ["elsewhere", "insd"]}}})


def test_networks_with_a_term_of_their_own_are_not_standards_unless_the_config_says_so(tmp_path, monkeypatch):
    (tmp_path / "toy_costs.py").write_text(
        "from insd.objectives.base import Term, mean_over_samples\n"
        "from insd.objectives.settings.base import TermSettings\n\n\n"
        "class CostSettings(TermSettings):\n    compares: bool = False\n\n\n"
        "class Cost(Term):\n    Settings = CostSettings\n\n"
        "    def value(self, rates, networks, stored, trials, valid):\n"
        "        return mean_over_samples(rates.square(), valid).mean(1, keepdim=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    costly = {"seeds": 1, "terms": {"toy_costs:Cost": {}}}
    with pytest.raises(SettingsError, match=r"costly\.role: required for networks with terms\.toy_costs"):
        load(with_population(costly=costly))
    settings = load(with_population(costly=costly | {"role": "control"}))
    assert settings.role("flip_flop", "costly", 0) == "control"


@pytest.mark.parametrize(
    "text, message",
    [
        ("raise RuntimeError('boom')\n", "RuntimeError: boom, {path}, line 1"),
        ("def (\n", "SyntaxError: invalid syntax, {path}, line 1"),
    ],
)
@pytest.mark.parametrize("where", ["make", "claims", "analysis"])
def test_a_module_of_the_users_own_that_fails_is_named_with_its_line(tmp_path, monkeypatch, where, text, message):
    name = f"toy_{where}_{text[0]}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    config = {
        "make": with_population(new={"seeds": 1, "role": "control", "make": f"{name}:Own"}),
        "claims": GRID | {"claims": [f"{name}:CLAIMS"]},
        "analysis": GRID | {"analysis": {f"{name}:ANALYSIS": {}}},
    }[where]
    with pytest.raises(SettingsError) as refusal:
        load(config)
    assert message.format(path=tmp_path / f"{name}.py") in str(refusal.value)
    assert str(refusal.value).count("\n") == 1


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"analysis": {"insd.analysis.base:Analysis": {}}},
            "is not an insd.analysis.base.Analysis, as an analysis must",
        ),
        ({"claims": ["insd.claims.base:Claim"]}, "is not an insd.claims.base.Publication, as a set of claims must be"),
        ({"analysis": {"insd.analysis.dsa:ANALYSIS": {}}}, "writes dsa.nc, as dsa does; choose a different name"),
        ({"analysis": {"dsa": {"populations": []}}}, "analysis.dsa.populations = []: list should have at least 1 item"),
    ],
)
def test_constants_of_another_kind_are_refused(changes, message):
    with pytest.raises(SettingsError) as refusal:
        load(GRID | changes)
    assert message in str(refusal.value)


def test_tasks_and_populations_of_another_file_can_be_left_out():
    settings = load(GRID | {"tasks": {"flip_flop": {}, "memory_pro": None}})
    assert list(settings.tasks) == ["flip_flop"]


def test_names_of_a_table_stay_text(tmp_path):
    rows = [
        {"population": name, "seed": 0, "round": number, "role": role, "reference": name, "gain": value}
        for name, value in (("03", 1.5), ("NA", None), ("1e5", 2.0))
        for number, role in enumerate(("reference", "alternative"))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "networks.csv", index=False)
    table = read_table(tmp_path / "networks.csv")
    assert network_labels(alternatives(table, "03")) == ["03/0/1"]
    assert list(table["population"]) == [row["population"] for row in rows]
    assert table["gain"].dtype == float and table["gain"].isna().sum() == 2
