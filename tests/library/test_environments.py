"""Environments of Gymnasium as tasks, on one that keeps to the interface and some that do not."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from insd import provenance
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.tasks import find_task
from insd.tasks.environments import TrialsError, make_environment

gymnasium = pytest.importorskip("gymnasium")


class Choice(gymnasium.Env):
    """Two noisy inputs after fixation; say which was larger at the end. Trials differ in length."""

    def __init__(self, dt=100, sigma=0.1):
        self.dt, self.sigma = dt, sigma
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.random = np.random.RandomState(0)

    def seed(self, number):
        self.random = np.random.RandomState(number)

    def new_trial(self):
        right, steps = self.random.randint(1, 3), self.random.randint(6, 10)
        self.ob = self.sigma * self.random.standard_normal((steps, 3)).astype(np.float32)
        self.ob[:-2, 0] += 1
        self.ob[:-2, right] += 1
        self.gt = np.zeros(steps, int)
        self.gt[-2:] = right
        return {"right": right, "easy": self.random.rand() > 0.5, "cue": "ab"[right - 1], "path": [1, 2]}


class Go(Choice):
    """The same with two actions: 1, at the end of half of the trials, and 0."""

    def __init__(self, dt=100):
        super().__init__(dt)
        self.action_space = gymnasium.spaces.Discrete(2)

    def new_trial(self):
        told = super().new_trial()
        self.gt = (self.gt == 1).astype(int)
        return told


class Reach(Choice):
    """The same with continuous actions."""

    def __init__(self, dt=100):
        super().__init__(dt)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def new_trial(self):
        told = super().new_trial()
        self.gt = np.repeat(self.gt[:, None], 2, 1).astype(float)
        return told


class Silent(Choice):
    """Says no right action."""

    def new_trial(self):
        super().new_trial()
        del self.gt


class Picture(Choice):
    """Observations of two axes."""

    def __init__(self, dt=100):
        super().__init__(dt)
        self.observation_space = gymnasium.spaces.Box(0, 1, (4, 4), np.float32)


class Rare(Choice):
    """Asks for a decision in few trials."""

    def new_trial(self):
        told = super().new_trial()
        if self.random.rand() > 0.1:
            self.gt[:] = 0
        return told


class Still(Choice):
    """Asks for nothing but the first action."""

    def new_trial(self):
        told = super().new_trial()
        self.gt[:] = 1
        return told


for made in (Choice, Go, Reach, Silent, Picture, Rare, Still):
    gymnasium.register(f"InsdTest{made.__name__}-v0", made)


def config(name, **options):
    return {
        "tasks": {"env": {"class": f"gymnasium:InsdTest{name}-v0", "parameters": {"options": options}}},
        "trials": {"train": 64},
        "defaults": {"training": {"batch_size": 16, "validation_trials": 16}},
        "populations": {"p": {"seeds": 1}},
    }


def test_trials_of_an_environment():
    task = load(config("Choice", sigma=0.0)).task("env")
    trials = task.sample("test", 40, 0)
    assert trials.sizes["trial"] == 40 and trials.sizes["input"] == trials.sizes["output"] == 3
    for trial in range(40):
        one = trials.isel(trial=trial)
        steps = int(one["steps"])
        assert one["mask"].values[:steps].all() and not one["mask"].values[steps:].any()
        assert not one["inputs"].values[steps:].any()
        assert one["targets"].values[: steps - 2].argmax(-1).tolist() == [0] * (steps - 2)
        assert one["targets"].values[steps - 2 : steps].argmax(-1).tolist() == [int(one["right"])] * 2
        np.testing.assert_array_equal(one["inputs"].values[0], np.eye(3)[0] + np.eye(3)[int(one["right"])])
    assert trials["cue"].values.tolist() == ["ab"[right - 1] for right in trials["right"].values]
    assert set(np.unique(trials["easy"])) == {0, 1}
    assert "path" not in trials.coords


def test_the_score_is_the_accuracy_of_decisions():
    task = load(config("Choice")).task("env")
    trials = task.sample("test", 200, 0)
    targets = trials["targets"].values
    swapped, fixating = targets[..., [0, 2, 1]], np.broadcast_to([1.0, 0.0, 0.0], targets.shape)
    np.testing.assert_allclose(task.score(trials, np.stack([targets, swapped, fixating])), [1, 0, 0])
    assert task.chance == 0.5
    assert task.solved(0.9) and not task.solved(0.89)
    lower = config("Choice")
    lower["tasks"]["env"]["parameters"]["solved_from"] = 0.8
    assert load(lower).task("env").solved(0.89)


def test_trials_without_any_decision_are_scored_at_all_times():
    task = load(config("Rare", sigma=0.0)).task("env")
    trials = task.sample("test", 100, 0)
    idle = trials.isel(trial=[t for t in range(100) if not trials["targets"].values[t, :, 1:].any()][:5])
    right, wrong = idle["targets"].values, idle["targets"].values[..., [1, 0, 2]]
    np.testing.assert_allclose(task.score(idle, np.stack([right, wrong])), [1, 0])


def test_of_two_actions_both_count_as_much():
    task = load(config("Go")).task("env")
    trials = task.sample("test", 100, 0)
    targets = trials["targets"].values
    always, never = (np.broadcast_to(answer, targets.shape) for answer in ([0.0, 1.0], [1.0, 0.0]))
    np.testing.assert_allclose(task.score(trials, np.stack([targets, always, never])), [1, 0.5, 0.5])
    assert task.chance == 0.5


def test_continuous_actions_are_scored_by_explained_variance():
    task = load(config("Reach")).task("env")
    trials = task.sample("test", 20, 0)
    assert trials.sizes["output"] == 2
    assert task.score_name == "explained variance"
    assert float(task.score(trials, trials["targets"].values[None])[0]) == pytest.approx(1)


def test_the_time_step_reaches_the_environment():
    made = find_task("gymnasium:InsdTestChoice-v0")
    assert made(dt=0.05).sample("train", 1, 0).attrs["dt"] == 0.05


@pytest.mark.parametrize(
    "name, message",
    [
        ("gymnasium:InsdTestSilent-v0", "says no right action at each time (`gt`)"),
        ("gymnasium:InsdTestStill-v0", "the correct action (`gt`) changes in none of 64 trials"),
        ("gymnasium:InsdTestPicture-v0", "its observations have the space"),
        ("gymnasium:InsdTestNothing-v0", "'InsdTestNothing-v0': cannot be made: NameNotFound"),
        ("gymnasium:nowhere:Nothing-v0", "'nowhere:Nothing-v0': cannot be made: ModuleNotFoundError: No module named"),
    ],
)
def test_environments_that_do_not_fit(name, message):
    bad = config("Choice")
    bad["tasks"]["env"]["class"] = name
    with pytest.raises(SettingsError) as refusal:
        load(bad)
    assert f"tasks.env: class = '{name}': " in str(refusal.value)
    assert message in str(refusal.value)


def example(*arguments, path):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples/environments.py"), *arguments],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{path}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_environments_of_a_package_that_fit(tmp_path):
    (tmp_path / "several.py").write_text(
        "import gymnasium\nfrom two_alternatives import TwoAlternatives\n"
        "class Untold(TwoAlternatives):\n    def new_trial(self):\n        super().new_trial()\n        del self.gt\n"
        "gymnasium.register('Untold-v0', Untold)\n"
    )
    output = example("several", path=f"{tmp_path}:{ROOT / 'tests/own'}")
    assert output.startswith("1 of 2 environments fit:\nTwoAlternatives-v0\n")
    assert "Untold-v0: 'several:Untold-v0': says no right action at each time" in output


@pytest.mark.parametrize(
    "name, outputs, score_name",
    [
        ("GoNogo", 2, "accuracy of decisions"),
        ("PerceptualDecisionMaking", 3, "accuracy of decisions"),
        ("ReachingDelayResponse", 2, "explained variance"),
    ],
)
def test_environments_of_neurogym(name, outputs, score_name):
    pytest.importorskip("neurogym")
    chosen = config("Choice")
    chosen["tasks"]["env"] = {"class": f"neurogym:{name}-v0"}
    task = load(chosen).task("env")
    trials = task.sample("test", 20, 0)
    assert (trials.sizes["output"], task.score_name) == (outputs, score_name)
    np.testing.assert_allclose(task.score(trials, trials["targets"].values[None]), 1)
    assert "neurogym.core" in task.sources
    # What the environment records of a trial is decoded.
    assert set(task.variables(trials)) <= set(trials.coords) - {"steps"}
    assert task.static_inputs() == {"no_input": [0.0] * trials.sizes["input"]}


def test_only_without_gymnasium_the_extra_is_asked_for(monkeypatch):
    def refusal():
        with pytest.raises(TrialsError) as error:
            make_environment("nowhere:Nothing-v0", 20.0, {})
        return str(error.value)

    assert "insd[environments]" not in refusal()
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    assert "install the extra `insd[environments]`" in refusal()


def test_options_that_the_environment_does_not_have():
    with pytest.raises(SettingsError, match="cannot be made: TypeError"):
        load(config("Choice", speed=3))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes an environment's modules, `insd_registers` and `insd_made` that it does not import; its fingerprint."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = ("insd_registers", "insd_made")

    def write(registers="", made="", version="1.0"):
        (tmp_path / "insd_registers.py").write_text(
            "import gymnasium\n"
            "if 'InsdTestWritten-v0' not in gymnasium.registry:\n"
            f"    gymnasium.register('InsdTestWritten-v0', 'insd_made:Written')\n{registers}"
        )
        (tmp_path / "insd_made.py").write_text(
            f"from test_environments import Choice\nclass Written(Choice):\n    pass\n{made}"
        )
        metadata = tmp_path / "insd_made.dist-info/METADATA"
        metadata.parent.mkdir(exist_ok=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: insd_made\nVersion: {version}\n")
        provenance.code_fingerprint.cache_clear()
        bad = config("Choice")
        bad["tasks"]["env"]["class"] = "gymnasium:insd_registers:InsdTestWritten-v0"
        return load(bad).task_parameters("env")["class"]["code"]

    yield write
    for name in names:
        sys.modules.pop(name, None)
    provenance.code_fingerprint.cache_clear()


def test_the_fingerprint_covers_what_registers_and_defines_the_environment(package):
    before = package()
    assert package(registers="# a comment\n") == before
    assert package(registers="A = 1\n") != before
    assert package(made="B = 1\n") != before
    assert package(version="1.1") != before
    assert package() == before
