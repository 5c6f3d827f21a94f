"""Tasks of other modules: found, checked, fingerprinted, or refused with one message."""

import sys

import numpy as np
import pytest
from conftest import ROOT

from insd import provenance
from insd.settings import SettingsError, load, make_task

CODE = """
from dataclasses import dataclass
import numpy as np
from insd.tasks import Task
from beside import LENGTH

@dataclass(frozen=True, kw_only=True)
class Mine(Task):
    size: float = 1.0
    def _sample(self, n_trials, random):
        inputs = self.size * random.standard_normal((n_trials, LENGTH, 2))
        targets = inputs[..., :1]
        return self.dataset(inputs, targets, targets == targets, ["a", "b"], ["y"], {})

class NoTask:
    pass

class Undecorated(Task):
    def _sample(self, n_trials, random):
        pass

@dataclass(frozen=True, kw_only=True)
class Unfinished(Task):
    pass
"""


def config(path="mine:Mine", **parameters):
    return {
        "tasks": {"my_task": {"class": path, "parameters": parameters}},
        "trials": {"train": 64},
        "defaults": {"training": {"batch_size": 16, "validation_trials": 16}},
        "populations": {"p": {"seeds": 1}},
    }


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the module `mine`, which can then be imported afresh."""
    monkeypatch.syspath_prepend(tmp_path)
    # A file that was changed within a second has the same time stamp as its bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(code=CODE, beside="LENGTH = 5\n"):
        (tmp_path / "mine.py").write_text(code)
        (tmp_path / "beside.py").write_text(beside)
        for name in ("mine", "beside"):
            sys.modules.pop(name, None)
        provenance.code_fingerprint.cache_clear()

    write()
    yield write
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)
    provenance.code_fingerprint.cache_clear()


def test_a_task_is_found_with_its_parameters_and_defaults(module):
    settings = load(config(size=2.0))
    task = settings.task("my_task")
    assert (type(task).__name__, task.size) == ("Mine", 2.0)
    assert task.regime_names() == ["train", "test"]
    assert task.static_inputs() == {"no_input": [0.0, 0.0]}
    # As a job gets it.
    assert make_task("my_task", settings.task_parameters("my_task")) == task


def test_the_score_of_a_task_without_one_is_the_explained_variance(module):
    task = load(config()).task("my_task")
    trials = task.sample("test", 200, 0)
    targets = trials["targets"].values
    noise = np.random.default_rng(0).standard_normal(targets.shape)
    scores = task.score(trials, np.stack([targets, targets + 0.5 * noise, np.full(targets.shape, targets.mean())]))
    np.testing.assert_allclose(scores, [1, 0.75, 0], atol=0.03)
    assert task.solved(scores[0]) and not task.solved(scores[1])


def test_the_fingerprint_covers_the_module_and_what_it_imports_beside_it(module):
    def code():
        return load(config()).task_parameters("my_task")["class"]["code"]

    before = code()
    module(CODE + "\n# a comment\n")
    assert code() == before
    module(CODE.replace("size: float = 1.0", "size: float = 3.0"))
    assert code() != before
    module(beside="LENGTH = 6\n")
    assert code() != before


def test_the_fingerprint_does_not_follow_installed_packages(module):
    assert provenance._imported("mine", set()) == {"mine", "beside"}


@pytest.mark.parametrize(
    "path, message",
    [
        ("nowhere:Mine", "tasks.my_task: class = 'nowhere:Mine': cannot import 'nowhere': ModuleNotFoundError"),
        ("mine:Yours", "class = 'mine:Yours': 'mine' has no class 'Yours'; tasks there: Mine"),
        ("mine:NoTask", "class = 'mine:NoTask': is no task; derive it from insd.tasks.Task"),
        ("mine:Unfinished", "class = 'mine:Unfinished': lacks what every task must define: _sample"),
        ("mine:Undecorated", "needs the decorator @dataclass(frozen=True, kw_only=True)"),
        ("mine", "tasks.my_task.class = 'mine': string should match pattern"),
    ],
)
def test_classes_that_cannot_serve(module, path, message):
    with pytest.raises(SettingsError) as refusal:
        load(config(path))
    assert message in str(refusal.value)
    assert str(refusal.value).count("\n") == 1


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("return self.dataset", "raise KeyError('x') #", "Mine.sample (regime 'train') fails: KeyError: 'x' ("),
        ("inputs[..., :1]", "inputs[:, 0]", "Mine.sample (regime 'train') fails:"),
        ("random.standard_normal", "np.random.standard_normal", "the same seed gives other trials; draw all numbers"),
        ("(n_trials, LENGTH", "(7, LENGTH", "the trials of regime 'train': 16 were asked for, 7 came"),
        ("targets == targets", "targets != targets", "'mask' scores no time of the output y"),
        ("* random", "/ 0 * random", "fails: ZeroDivisionError"),
        (", {})", ", {}).drop_vars('mask')", "lacks the variable 'mask' of a trials file"),
        (", {})", ", {}) * np.nan", "'inputs' holds values that are not finite"),
        ("    def _s", "    evidence_inputs = ('c',)\n    def _s", "evidence_inputs: c are no inputs; those are: a, b"),
        (
            "    def _s",
            "    criterion = 2.0\n    def _s",
            "the targets themselves score 1 (explained variance), which does",
        ),
        (
            "    def _s",
            "    def static_inputs(self):\n        return {'x': [0.0]}\n    def _s",
            "static input 'x': has 1 values for 2 inputs",
        ),
        (
            "    def _s",
            "    def _score(self, trials, outputs):\n        return 1.0\n    def _s",
            "score: has shape () for the outputs of 2 networks; return one number per network",
        ),
    ],
)
def test_datasets_that_break_the_contract(module, old, new, message):
    assert old in CODE
    module(CODE.replace(old, new))
    with pytest.raises(SettingsError) as refusal:
        load(config())
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("the config cannot be used:\n  - tasks.my_task: ")
    assert str(refusal.value).count("\n") == 1


def test_unknown_parameters_are_refused_with_those_that_there_are(module):
    with pytest.raises(SettingsError, match=r"tasks.my_task.parameters.sice = 1.0: unknown key; known here: dt, reg"):
        load(config(sice=1.0))


def test_the_template_of_the_examples(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples/own_task")
    import yaml  # noqa: PLC0415

    settings = load(yaml.safe_load((ROOT / "examples/own_task/config.yaml").read_text()))
    assert settings.task("hold").delay == 0.5
    sys.modules.pop("hold", None)
