"""Configs that work and configs that are refused, with the text of the refusal."""

import copy
import datetime
import math
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml
from conftest import config_of, laid_over

from insd import plugins
from insd.settings.base import SettingsError
from insd.settings.config import seeds_of
from insd.settings.load import load

ROOT = Path(__file__).parents[2]
GOOD = {
    "tasks": {"flip_flop": {}, "memory_pro": {}},
    "defaults": {"training": {"iterations": 100}, "by_task": {"memory_pro": {"training": {"iterations": 200}}}},
    "populations": {
        "standard": {"seeds": 5},
        "insd": {
            "seeds": 3,
            "rounds": 3,
            "network": {"gain": 0.5},
            "alternatives": {
                "network": {"gain": 1.5},
                "by_task": {"flip_flop": {"terms": {"predictivity": {"multiplier": 0.2}}}},
            },
        },
    },
}


def changed(path, value):
    config = copy.deepcopy(GOOD)
    place = config
    *parents, last = path.split("/")
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return config


def test_recipes_resolve_in_layers():
    settings = load(GOOD)
    assert settings.recipe("flip_flop", "insd", 0).training.iterations == 100
    assert settings.recipe("memory_pro", "insd", 0).training.iterations == 200
    assert settings.recipe("flip_flop", "insd", 0).network.gain == 0.5
    assert settings.recipe("flip_flop", "insd", 2).network.gain == 1.5
    assert settings.recipe("flip_flop", "insd", 1).terms["predictivity"].multiplier == 0.2
    default = load({**GOOD, "defaults": {}}).recipe("memory_pro", "standard", 0)
    assert settings.recipe("memory_pro", "insd", 1).terms == default.terms


def test_fresh_noise_needs_a_task_that_says_its_noise():
    config = changed("defaults/training/fresh_noise", True)
    assert load(config)
    config["tasks"]["context_integration"] = {"parameters": {"target": "integral"}}
    with pytest.raises(
        SettingsError, match=r"task context_integration, round 0: training\.fresh_noise = true: the trials"
    ):
        load(config)
    config["defaults"]["by_task"]["context_integration"] = {"training": {"fresh_noise": False}}
    assert load(config)


def test_each_share_of_the_hard_cells_is_given_once():
    with pytest.raises(SettingsError, match=r"analysis\.hard_cells\.shares = \[0\.5, 0\.5\]: each share once"):
        load(changed("analysis/hard_cells", {"shares": [0.5, 0.5]}))


def test_null_leaves_out_a_population():
    assert list(load(changed("populations/standard", None)).populations) == ["insd"]


def test_a_task_is_left_out_with_what_layers_say_of_it():
    config = changed("tasks/memory_pro", None)
    assert list(load(config).tasks) == ["flip_flop"]
    assert load(config).recipe("flip_flop", "insd", 1).terms["predictivity"].multiplier == 0.2
    del config["tasks"]["memory_pro"]
    with pytest.raises(SettingsError, match=r"defaults.by_task.memory_pro: the config has no such task"):
        load(config)


def test_a_population_may_take_its_reference_from_another():
    two = changed("populations/new", {"seeds": 2, "rounds": 2, "reference": "insd"})
    with pytest.raises(SettingsError, match=r"figures.chain: 2 populations have alternatives; name .*: insd, new"):
        load(two)
    with pytest.raises(
        SettingsError, match=r"figures.chain = 'standard': choose a population with alternatives: insd, new"
    ):
        load(two | {"figures": {"chain": "standard"}})
    settings = load(two | {"figures": {"chain": "new"}})
    assert settings.shown_chain() == "new"
    assert settings.reference("new") == settings.reference("insd") == "insd"
    assert list(settings.trained_rounds("new")) == [1]
    assert list(settings.trained_rounds("insd")) == [0, 1, 2]
    with pytest.raises(SettingsError, match="population 'new' has no round 0: its reference is that of 'insd'"):
        settings.recipe("flip_flop", "new", 0)


def test_roles_are_those_that_the_config_says():
    settings = load(changed("populations/insd/rounds", 2))
    assert [settings.role("flip_flop", "insd", number) for number in range(2)] == ["reference", "alternative"]
    assert settings.role("flip_flop", "standard", 0) == "standard"
    idle = load(changed("populations/standard/training", {"iterations": 0}))
    assert idle.role("flip_flop", "standard", 0) == "untrained"
    gated = {"seeds": 1, "network": {"architecture": "gru"}}
    with pytest.raises(SettingsError, match=r"populations.gated.role: required for .*'gru'.*: standard, untr"):
        load(changed("populations/gated", gated))
    named = load(changed("populations/gated", gated | {"role": "control"}))
    assert named.role("flip_flop", "gated", 0) == "control"
    control = load(changed("populations/insd/role", "control"))
    assert [control.role("flip_flop", "insd", number) for number in range(2)] == ["reference", "control"]
    assert control.shown_chain() is None


def test_a_one_round_population_that_begins_chains_is_a_reference():
    new = {"seeds": 2, "rounds": 2, "reference": "standard"}
    settings = load(changed("populations/new", new) | {"figures": {"chain": "new"}})
    assert settings.role("flip_flop", "standard", 0) == "reference"


def test_a_population_may_be_of_some_tasks_alone():
    settings = load(changed("populations/standard/tasks", ["flip_flop"]))
    assert "standard" in settings.population_names("flip_flop")
    assert "standard" not in settings.population_names("memory_pro")
    with pytest.raises(SettingsError, match=r"populations.standard.tasks: the config has no task 'other'; take it out"):
        load(changed("populations/standard/tasks", ["other"]))
    new = {"seeds": 2, "rounds": 2, "reference": "standard"}
    config = changed("populations/new", new) | {"figures": {"chain": "new"}}
    config["populations"]["standard"]["tasks"] = ["flip_flop"]
    with pytest.raises(SettingsError, match=r"populations.new.reference = 'standard': is not trained on .*memory_pro"):
        load(config)


def test_seed_blocks():
    assert load(GOOD).seed_blocks("standard") == ["0", "1", "2", "3", "4"]
    assert load(changed("seeds_per_job", 2)).seed_blocks("standard") == ["0-1", "2-3", "4"]
    assert load(changed("seeds_per_job", "auto")).seed_blocks("standard") == ["0", "1", "2", "3", "4"]
    assert load(changed("seeds_per_job", "auto") | {"device": "cuda"}).seed_blocks("standard") == ["0-4"]
    assert seeds_of("2-4") == [2, 3, 4]
    assert seeds_of("7") == [7]


def test_task_parameters_reach_the_task():
    settings = load(changed("tasks/memory_pro/parameters", {"delay": [0.5, 1], "regimes": {"x": {"delay": [1, 2]}}}))
    assert settings.task("memory_pro").delay == (0.5, 1.0)
    assert settings.task("memory_pro").in_regime("x").delay == (1, 2)


@pytest.mark.parametrize(
    "path, value, message",
    [
        (
            "sees",
            1,
            "sees = 1: unknown key; known here: tasks, trials, seeds_per_job, device, analysis, claims, figures, "
            "defaults, populations",
        ),
        ("populations/insd/round", 2, "populations.insd.round = 2: unknown key; known here: network, training"),
        ("populations/insd/network/unit", 2, "populations.insd.network.unit = 2: unknown key; known here: archit"),
        ("populations/insd/rounds", 0, "populations.insd.rounds = 0: input should be greater than or equal to 1"),
        ("populations/insd/rounds", 1.5, "populations.insd.rounds = 1.5: input should be a valid integer"),
        ("populations/insd/seeds", None, "populations.insd.seeds = None: input should be a valid integer"),
        ("populations/new", {}, "populations.new.seeds: this key is required"),
        ("populations", {}, "populations: no population is left (null leaves one out); list at least one"),
        ("populations", None, "populations = None: input should be an object"),
        (
            "populations/a b",
            {"seeds": 1},
            "populations.a b = 'a b': choose a name of letters, digits, dots, dashes and _ that begins",
        ),
        ("defaults/training/step_size", "1e-3", "'1e-3': input should be a valid number (YAML reads 1e-3 as text"),
        ("defaults/training/step_size", -1.0, "defaults.training.step_size = -1.0: input should be greater than 0"),
        ("defaults/network/gain", True, "defaults.network.gain = True: input should be a valid number"),
        (
            "defaults/terms/predictivity/schedule",
            "soft",
            "= 'soft': input should be 'constant', 'yielding' or 'constrained'",
        ),
        (
            "defaults/by_task/flipflop",
            {},
            "defaults.by_task.flipflop: the config has no such task; its tasks are: flip",
        ),
        (
            "populations/insd/reference",
            "std",
            "populations.insd.reference = 'std': choose a population that has a round 0",
        ),
        (
            "populations/x",
            {"seeds": 9, "rounds": 2, "reference": "insd"},
            "populations.x.seeds = 9: it reads 'insd', which has only 3; lower the first, or raise the second",
        ),
        (
            "populations/insd/reference",
            "insd",
            "populations.insd.reference = 'insd': choose a population that has a round 0",
        ),
        (
            "populations/x",
            {"seeds": 1, "reference": "insd"},
            "populations.x.rounds = 1: a population with a `ref",
        ),
        ("tasks/flipflop", {}, "tasks.flipflop: there is no such task; choose from: context_integration, delayed_dis"),
        (
            "tasks/flip_flop/parameters",
            {"noise": 1.0},
            "tasks.flip_flop.parameters.noise = 1.0: unknown key; known here: ",
        ),
        ("tasks/flip_flop/parameters", {"duration": "x"}, "flip_flop.parameters.duration = 'x': input should be a val"),
        ("tasks/flip_flop/parameters", {"duration": -1.0}, "flip_flop.parameters.duration = -1.0: must not be negativ"),
        ("tasks/memory_pro/parameters", {"delay": [2, 1]}, "delay = (2.0, 1.0): needs 0 <= shortest <= longest"),
        (
            "tasks/memory_pro/parameters",
            {"regimes": {"hard": {"nose": 1}}},
            "tasks.memory_pro.parameters.regimes.hard.nose = 1: unknown key; known here: dt",
        ),
        (
            "defaults/network/units",
            3,
            "task flip_flop, round 0: network.units = 3: the task's 3 output(s) leave no null",
        ),
        (
            "populations/insd/alternatives/network/tau",
            0.01,
            "round 1: network.tau = 0.01 is shorter than the task's dt",
        ),
        (
            "trials/train",
            300,
            "training.validation_trials = 256 and training.batch_size = 64 need more than trials.trai",
        ),
        (
            "defaults/terms/predictivity/task_only",
            0.6,
            "terms.predictivity.task_only = 0.6 and terms.predictivity.ramp = 0.6 are shares",
        ),
        # Types
        ("seeds_per_job", datetime.date(2026, 1, 1), "seeds_per_job = '2026-01-01': input should be a valid integer"),
        ("seeds_per_job", "all", "seeds_per_job = 'all': input should be a valid integer"),
        ("seeds_per_job", [1], "seeds_per_job = [1]: input should be a valid integer"),
        ("tasks", ["flip_flop"], "tasks = ['flip_flop']: input should be an object"),
        ("defaults/network", 3, "defaults.network = 3: input should be an object"),
        (
            "analysis/robustness/noise_levels",
            0.1,
            "analysis.robustness.noise_levels = 0.1: input should be a valid",
        ),
        # Ranges
        ("seeds_per_job", 0, "seeds_per_job = 0: input should be greater than or equal to 1"),
        ("trials/train", -5, "trials.train = -5: input should be greater than or equal to 1"),
        (
            "populations/insd/seeds",
            10**9,
            "populations.insd.seeds = 1000000000: input should be less than or eq",
        ),
        ("defaults/network/units", 1, "defaults.network.units = 1: input should be greater than or equal to 2"),
        (
            "defaults/network/recurrent_noise",
            -0.1,
            "defaults.network.recurrent_noise = -0.1: input should be greater",
        ),
        ("defaults/network/tau", 0, "defaults.network.tau = 0: input should be greater than 0"),
        ("defaults/training/step_size", math.inf, "defaults.training.step_size = inf: input should be a finite number"),
        (
            "defaults/training/restarts",
            -1,
            "defaults.training.restarts = -1: input should be greater than or",
        ),
        (
            "defaults/training/evaluate_every",
            0,
            "training.evaluate_every = 0: input should be greater than or",
        ),
        (
            "defaults/terms/predictivity/variance_kept",
            0,
            "terms.predictivity.variance_kept = 0: input should be greater than 0",
        ),
        (
            "defaults/terms/predictivity/variance_kept",
            1.1,
            "terms.predictivity.variance_kept = 1.1: input should be less than or",
        ),
        ("analysis/dsa/rank", 1, "analysis.dsa.rank = 1: input should be greater than or equal to 2"),
        ("analysis/decoding/folds", 1, "analysis.decoding.folds = 1: input should be greater than or equal to 2"),
        ("analysis/comparisons/confidence", 1.0, "analysis.comparisons.confidence = 1.0: input should be less than 1"),
        ("analysis/robustness/silenced_shares", [2], "analysis.robustness.silenced_shares.0 = 2: input should be less"),
        (
            "analysis/robustness/kick_levels",
            [],
            "analysis.robustness.kick_levels = []: list should have at least",
        ),
        # Unknown keys at every level
        ("trials/test", 5, "trials.test = 5: unknown key; known here: train, evaluation"),
        ("analysis/dsa/delay", 2, "analysis.dsa.delay = 2: unknown key; known here: delays, rank, starts, iteratio"),
        ("tasks/flip_flop/noise", 1, "tasks.flip_flop.noise = 1: unknown key; known here: class, parameters"),
        (
            "populations/insd/alternatives/rounds",
            2,
            "populations.insd.alternatives.rounds = 2: unknown key; known here: network, training, terms, by_task",
        ),
        (
            "defaults/by_task/memory_pro/trainning",
            {},
            "defaults.by_task.memory_pro.trainning = {}: unknown key; known here: network, training, terms",
        ),
        # Impossible times and rates
        (
            "tasks/flip_flop/parameters",
            {"duration": 0.0},
            "tasks.flip_flop.parameters = {'duration': 0.0}: no trials can be made with these durations and rates",
        ),
        (
            "tasks/flip_flop/parameters",
            {"duration": 1e9},
            "tasks.flip_flop.parameters: duration = 1000000000.0 is more than 100000 times the time step dt = 0.02",
        ),
        ("tasks/flip_flop/parameters", {"dt": 0.0}, "flip_flop.parameters.dt = 0.0: the time step must be positive"),
        ("tasks/flip_flop/parameters", {"dt": math.nan}, "flip_flop.parameters.dt = nan: input should be a finite num"),
        ("tasks/flip_flop/parameters", {"pulse_rate": 0.0}, "parameters = {'pulse_rate': 0.0}: no trials can be made"),
        ("tasks/flip_flop/parameters", {"input_noise": -1.0}, "parameters.input_noise = -1.0: must not be negative"),
        (
            "tasks/flip_flop/parameters",
            {"reaction": 9.0},
            "{'reaction': 9.0}: at dt = 0.02 s the response is never scored",
        ),
        ("tasks/memory_pro/parameters", {"delay": [1]}, "tasks.memory_pro.parameters.delay.1: this key is required"),
        # Regimes and grids
        (
            "tasks/memory_pro/parameters",
            {"regimes": {"train": {"delay": [1, 2]}}},
            "tasks.memory_pro.parameters.regimes.train: choose a name of a-z, 0-9 and _ for this regime, not 'train'",
        ),
        (
            "tasks/memory_pro/parameters",
            {"regimes": {"A b": {}}},
            "parameters.regimes.A b: choose a name of a-z, 0-9",
        ),
        (
            "tasks/memory_pro/parameters",
            {"regimes": {"x": {"regimes": {}}}},
            "tasks.memory_pro.parameters.regimes.x.regimes: a regime or level replaces numbers of the task alone",
        ),
        (
            "tasks/memory_pro/parameters",
            {"grid": {"noise": [{"delay": [1, 2]}], "duration": [{"delay": [2, 3]}]}},
            "tasks.memory_pro.parameters.grid.noise.0, grid.duration.0: both axes replace delay",
        ),
        (
            "tasks/memory_pro/parameters",
            {"grace": 0.3},
            "grace = 0.3 s: must end before the shortest response does (0.3 s)",
        ),
        ("analysis/decoding/folds", 300, "analysis.decoding.folds = 300: at most trials.evaluation = 256"),
        (
            "analysis/signature_decoding",
            {"components": 30},
            "components = 30 and depth = 3: signatures of 30783 numbers, at most 20000; lower one of them",
        ),
        ("analysis/robustness/trials", 999, "analysis.robustness.trials = 999: at most trials.evaluation = 256"),
        (
            "trials/evaluation",
            64,
            "analysis.robustness.trials = 128 (the default): at most trials.evaluation = 64; set this key, too",
        ),
    ],
)
def test_bad_configs_are_refused_with_key_value_and_choices(path, value, message):
    with pytest.raises(SettingsError) as refusal:
        load(changed(path, value))
    assert message in str(refusal.value)


def test_all_problems_are_listed_at_once():
    config = changed("populations/insd/rounds", 0)
    config["populations"]["standard"]["seeds"] = "x"
    with pytest.raises(SettingsError) as refusal:
        load(config)
    assert str(refusal.value).count("\n  - ") == 2


def test_unknown_names_are_refused_with_the_choices():
    settings = load(GOOD)
    with pytest.raises(
        SettingsError, match="population 'std' is not in the config; its populations are: standard, insd"
    ):
        settings.recipe("flip_flop", "std", 0)
    with pytest.raises(SettingsError, match="task 'x' is not in the config; its tasks are: flip_flop, memory_pro"):
        settings.task("x")


@pytest.mark.parametrize("overlay", [None, "demo", "smoke", "sweep", "constant", "pilots"])
def test_the_configs_that_are_shipped_load(overlay):
    config = config_of()
    if overlay:
        config = laid_over(config, yaml.safe_load((ROOT / f"config/{overlay}.yaml").read_text()))
    settings = load(config)
    assert list(settings.tasks) == ["context_integration", "flip_flop", "memory_pro"]
    if overlay == "sweep":
        # What the sweep repeats of the alternatives of `insd` must stay the same.
        for task, population in product(settings.tasks, settings.populations):
            assert settings.recipe(task, population, 1).training == settings.recipe(task, "insd", 1).training
    if overlay is None:
        standards = [name for name in settings.populations if name.startswith("standard")]
        gains = [settings.recipe("flip_flop", name, 0).network.gain for name in standards]
        assert gains == [0.01, 0.5, 1.0, 1.5]
        assert {settings.population(name).seeds for name in standards} == {10}
        assert (settings.population("insd").seeds, settings.population("insd").rounds) == (5, 3)


def test_schema_and_tables_are_current():
    sys.path.insert(0, str(ROOT / "workflow/schemas"))
    import generate  # noqa: PLC0415 - not on the path before

    assert generate.SCHEMA.read_text() == generate.schema(), "run `make schema`"
    assert generate.README.read_text() == generate.readme(), "run `make schema`"
    assert generate.COLUMNS.read_text() == generate.columns(), "run `make schema`"
    for page in generate.WITH_FIGURES:
        text = page.read_text()
        assert text == generate.with_figures(text) and generate.figures() in text, "run `make schema`"
    text = generate.WITH_CLAIMS.read_text()
    claims = generate.claims(generate.CLAIMS.read_text())
    assert text == generate.with_claims(text) and claims in text, "run `make schema`"
    # Negative ones, too.
    assert all(verdict in claims for verdict in ("reproduced", "partly", "not reproduced"))
    assert len(claims.splitlines()) == 2 + generate.CLAIMS.read_text().count("\nCriterion: ")


def test_claims_are_those_of_the_paper_unless_the_config_says_otherwise():
    assert load(GOOD).claims == ["qian_2025"]
    assert load({**GOOD, "claims": []}).claims == []


@pytest.mark.parametrize(
    "names, message",
    [
        (
            ["qian"],
            f"claims: there is no set of claims 'qian'; choose from {', '.join(plugins.names('claims'))}",
        ),
        (["nowhere:CLAIMS"], "claims: nowhere:CLAIMS: the module 'nowhere' cannot be imported"),
        (["insd.claims.qian_2025:CLAIM"], "claims: insd.claims.qian_2025:CLAIM: the module .* has no 'CLAIM'"),
        (["qian_2025", "qian_2025"], "claims: 'qian_2025' is listed twice"),
    ],
)
def test_claims_that_there_are_not(names, message):
    with pytest.raises(SettingsError, match=message):
        load({**GOOD, "claims": names})


def test_reading_the_config_imports_no_claims():
    """Every job reads the config, and few judge claims."""
    code = (
        "import sys; from insd.settings.load import load; "
        "load({'tasks': {'flip_flop': {}}, 'populations': {'standard': {'seeds': 1}}}); "
        "sys.exit('insd.claims.base' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
