"""Configs drawn from the schema: each is refused with one message or makes a workflow."""

import json
import os

import pytest
import yaml
from conftest import ROOT, copy_checkout, snakemake
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from known import TASKS

from insd.makers.base import maker_of
from insd.settings.base import SettingsError
from insd.settings.config import seeds_of
from insd.settings.load import load
from insd.settings.recipe import Recipe

SCHEMA = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
# What nobody means to write, and everybody may.
NONSENSE = st.sampled_from(
    [None, "", "x", "1e-3", True, -1, 0, 0.5, 1e300, float("nan"), float("inf"), [], [None], {}, {"x": 1}]
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["dt", "duration", "delay", "input_noise", "channels", "grace", "pulse_rate", "regimes", "grid"]),
    st.one_of(
        st.sampled_from([0.02, 0.1, 1.0, 5, [0.1, 0.4], [2, 1], {}, {"x": {}}, {"noise": [{}], "duration": [{}]}]),
        NONSENSE,
    ),
    max_size=2,
)


def values(schema):
    """Mostly values that a part of the schema allows, and sometimes nonsense."""
    # Not at an end of the range, which hypothesis draws more often.
    return st.integers(0, 79).flatmap(lambda draw: NONSENSE if draw == 23 else _allowed(schema))


def _allowed(schema):
    """Values that a part of the schema allows, small where they are counts."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return PARAMETERS_OF_A_TASK if name == "TaskEntry" else _object(SCHEMA["$defs"][name])
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    most = schema.get("maximum", schema.get("exclusiveMaximum", least + 1))
    makers = {
        "anyOf": lambda: st.one_of([_allowed(choice) for choice in schema["anyOf"]]),
        "oneOf": lambda: st.one_of([_allowed(choice) for choice in schema["oneOf"]]),
        "enum": lambda: st.sampled_from(schema["enum"]),
        "const": lambda: st.just(schema["const"]),
        "object": lambda: _object(schema),
        "array": lambda: st.lists(_allowed(schema["items"]), min_size=schema.get("minItems", 0), max_size=3),
        "integer": lambda: st.integers(least, least + 3),
        "number": lambda: st.floats(least, most),
        "string": lambda: st.just("insd"),
        "boolean": st.booleans,
        "null": st.none,
    }
    return makers[next((kind for kind in ("anyOf", "oneOf", "enum", "const") if kind in schema), schema.get("type"))]()


def _object(schema):
    if "properties" not in schema:
        (entry,) = (schema.get("patternProperties") or {"any": schema["additionalProperties"]}).values()
        is_task = any(kind in str(entry) for kind in ("TaskEntry", "Recipe", "Changes"))
        names = st.sampled_from(sorted(TASKS)) if is_task else st.sampled_from(["insd", "standard", "A.b-c_1"])
        return st.dictionaries(names, values(entry), min_size=schema.get("minProperties", 0), max_size=2)
    known = {name: values(part) for name, part in schema["properties"].items()}
    required = schema.get("required", [])
    drawn = st.lists(st.sampled_from(sorted(known)), max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: known[name] for name in sorted({*names, *required})})
    )
    return drawn.map(_with_its_maker) if "make" in known else drawn


def _with_its_maker(population):
    """A population that has the section of a maker mostly names that maker, and a role that it may have."""
    roles = {"checkpoint": "reference", "recording": "reference", "walk": "alternative"}
    named = {name: {"make": name, "role": role} for name, role in roles.items() if name in population}
    of_maker = next(iter(named.values()), {"make": "train"} if population.get("make") == "insd" else {})
    return {"role": "control", **population, **of_maker} if len(named) < 2 and of_maker else population


PARAMETERS_OF_A_TASK = st.fixed_dictionaries({}, optional={"parameters": PARAMETERS})
CONFIGS = _object(SCHEMA)
# The same configs in every run: INSD_SEARCH=1000 looks at that many others.
SEARCH = int(os.environ.get("INSD_SEARCH", "0"))
ANY = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=not SEARCH)


def _gives_what_rules_ask(loaded):
    for task in loaded.tasks:
        made = loaded.task(task)
        for regime in made.regime_names():
            assert made.sample(regime, 2, 1).sizes["trial"] == 2
        for population in loaded.populations:
            for number in loaded.trained_rounds(population):
                recipe = loaded.recipe(task, population, number)
                assert Recipe.model_validate(recipe.model_dump()) == recipe
                made = json.loads(json.dumps(loaded.made_with(task, population, number)))
                assert maker_of(made).settings == loaded.maker(population).settings
            assert [seed for block in loaded.seed_blocks(population) for seed in seeds_of(block)]


def test_a_config_is_refused_with_its_keys_or_gives_all_that_the_rules_ask_of_it():
    accepted = []

    @settings(ANY, max_examples=SEARCH or 300)
    @given(CONFIGS)
    def check(config):
        try:
            loaded = load(config)
        except SettingsError as refusal:
            lines = str(refusal).splitlines()
            assert lines[0] == "the config cannot be used:" and len(lines) > 1
            assert all(line.startswith("  - ") for line in lines[1:])
            accepted.append(False)
            return
        _gives_what_rules_ask(loaded)
        accepted.append(True)

    check()
    # Or this would be a test of refusals alone.
    share = sum(accepted) / len(accepted)
    print(f"accepted: {sum(accepted)} of {len(accepted)}")
    assert share > 0.4


def _loads(config):
    try:
        load(config)
    except SettingsError:
        return False
    return True


@pytest.fixture(scope="module")
def own_checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("any-config"))


@settings(ANY, max_examples=SEARCH or 6)
@given(config=CONFIGS)
def test_a_config_that_is_accepted_makes_a_workflow(own_checkout, config):
    assume(_loads(config))
    # Laid over config.yaml it would be another one.
    (own_checkout / "config/config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(own_checkout, "-n", "--quiet", "rules")
    missing = "MakerError: populations." in result.stdout and "there is no such file" in result.stdout
    assert result.returncode == missing, result.stdout[-3000:]
