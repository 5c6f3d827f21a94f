"""Tasks of other modules: found, checked, fingerprinted, or refused with one message."""

import re
import sys

import numpy as np
import pytest
from conftest import ROOT

from insd import provenance, tasks
from insd.settings.base import SettingsError
from insd.settings.load import load
from insd.settings.tasks import make_task

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
        ("mine", "tasks.my_task.class = 'mine': needs a module and a name in it, as `module:Name`"),
        ("my tasks:Mine", "class = 'my tasks:Mine': the module 'my tasks' has a blank; a module is named by letters"),
        (
            "mine:My-(Own)",
            "class = 'mine:My-(Own)': the name 'My-(Own)' has '(', ')'; it may have letters, digits and _ .",
        ),
        ("recorded:", "tasks.my_task.class = 'recorded:': needs the path of a file after the colon"),
        (
            "recorded:~/a.nwb",
            "the path of the file has '~'; it may have letters, digits and _ . / : + - alone: write it",
        ),
        (
            "recorded:my data/reach (1).nwb",
            "tasks.my_task.class = 'recorded:my data/reach (1).nwb': the path of the file has a blank, '(', ')'; it "
            "may have letters, digits and _ . / : + - alone: rename the file or its folder, or name a link to it",
        ),
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
        (
            "inputs[..., :1]",
            "inputs[:, 0]",
            "ValueError: targets has shape (16, 2); needs (16, ",
        ),
        (
            "targets == targets",
            "targets[..., 0] == targets[..., 0]",
            "ValueError: mask has shape (16, 5); needs (16, 5, 1)",
        ),
        (
            ", {})",
            ", {'a': targets[0, 0]})",
            "condition 'a' has shape (1,); needs (16,), one for each trial",
        ),
        ("return self.dataset", "_ = self.dataset", "`_sample` returned nothing; return `self.dataset(...)`"),
        ("random.standard_normal", "np.random.standard_normal", "the same seed gives other trials; draw all numbers"),
        ("(n_trials, LENGTH", "(7, LENGTH", "the trials of regime 'train': 16 were asked for, 7 came"),
        ("targets == targets", "targets != targets", "'mask' scores no time of the output y"),
        ("* random", "/ 0 * random", "fails: ZeroDivisionError"),
        (
            '(inputs, targets, targets == targets, ["a", "b"]',
            "(inputs[..., :0], targets, targets == targets, []",
            "have 0 inputs and 1 outputs; a network needs at least one of each",
        ),
        (
            ", {})",
            ", {'go/nogo': targets[:, 0, 0]})",
            "the condition 'go/nogo' cannot be the name of a variable in a file",
        ),
        (", {})", ", {'time': targets[:, 0, 0]})", "'time' is along 'trial'; a condition must not have this name"),
        (", {})", ", {}).drop_vars('mask')", "lacks the variable 'mask' of a trials file"),
        (", {})", ", {}) * np.nan", "'inputs' holds values that are not finite"),
        ("    def _s", "    evidence_inputs = ('c',)\n    def _s", "evidence_inputs: c are no inputs; those are: a, b"),
        (
            "    def _s",
            "    def free_running(self, trials):\n        return trials.isel(time=slice(1, None))\n    def _s",
            "free_running: returned trials of the sizes",
        ),
        (
            "    def _s",
            "    criterion = 2.0\n    def _s",
            "the targets themselves score 1 (explained variance), which misses",
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


def test_a_level_of_the_grid_that_fails(module):
    module(CODE.replace("return self.dataset", "{1.0: 0}[self.size]\n        return self.dataset"))
    with pytest.raises(SettingsError) as refusal:
        load(config(grid={"noise": [{}], "duration": [{}, {"size": 2.0}]}))
    place = "tasks.my_task.parameters.grid.duration.1 = {'size': 2.0}: no trials can be made: KeyError: 2.0 ("
    assert place in str(refusal.value) and "mine.py, line " in str(refusal.value)


LABEL = CODE.replace(
    "        targets = inputs[..., :1]\n        return self.dataset(inputs, targets, targets == targets",
    "        random.random(self.salt)\n"
    "        label = np.where(random.random((n_trials, 1, 1)) < self.share, 1.0, self.other)\n"
    "        targets = np.broadcast_to(label, (n_trials, LENGTH, 1))\n"
    "        scored = np.broadcast_to(np.arange(LENGTH)[:, None] == LENGTH - 1, targets.shape)\n"
    "        return self.dataset(inputs, targets, scored & (random.random((n_trials, 1, 1)) < self.answered)",
).replace(
    "    size: float = 1.0\n",
    "    size: float = 1.0\n    salt: int = 0\n    share: float = 0.5\n    other: float = -1.0\n"
    "    answered: float = 1.0\n",
)


@pytest.mark.parametrize("share, answered", [(0.5, 1.0), (0.05, 1.0), (0.5, 0.05)])
def test_checks_of_a_task_do_not_depend_on_luck(module, share, answered):
    # The few trials that a check begins with may have one label, or no answer, of which the score is NaN.
    module(LABEL)
    for salt in range(40):
        assert load(config(salt=salt, share=share, answered=answered)).task("my_task").salt == salt


def test_targets_that_do_not_vary_are_told_from_a_response_that_is_not_scored(module):
    module(LABEL)
    with pytest.raises(SettingsError) as refusal:
        load(config(other=1.0))
    assert "score: the targets themselves score nan (explained variance) on 256 trials; return a finite" in str(
        refusal.value
    )
    assert str(refusal.value).endswith("the scored targets are the same number in all of them")
    with pytest.raises(SettingsError, match="'mask' scores no time of the output y in 256 trials"):
        load(config(answered=0.0))


FREE = CODE.replace(
    "    size: float = 1.0\n",
    "    size: float = 1.0\n    bias: float = 0.0\n    weights: tuple[float, ...] = (-1.0, -2.0)\n"
    "    one: tuple[int, ...] = (1,)\n    names: list[str] = field(default_factory=lambda: ['a'])\n"
    "    delay: Span = (0.1, 0.2)\n    wait: Duration = 0.1\n    noise: NotNegative = 0.1\n",
).replace("import dataclass\n", "import dataclass, field\nfrom insd.tasks import Duration, NotNegative, Span\n")


def test_fields_hold_any_numbers_unless_their_type_says_otherwise(module):
    module(FREE)
    free = {"size": 5000.0, "bias": -0.5, "weights": [2.0, -1.0, 0.0], "one": [-3]}
    task = load(config(**free)).task("my_task")
    assert (task.size, task.bias, task.weights, task.one) == (5000.0, -0.5, (2.0, -1.0, 0.0), (-3,))


def test_a_regime_replaces_fields_of_any_type(module):
    module(FREE)
    changes = {"names": ["b", "c"], "weights": [0, -1], "one": [4], "delay": [1, 2], "bias": -1.0}
    changed = load(config(regimes={"other": changes})).task("my_task").in_regime("other")
    assert (changed.names, changed.weights, changed.one, changed.bias) == (["b", "c"], (0.0, -1.0), (4,), -1.0)
    assert changed.delay == (1.0, 2.0)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"wait": -0.1}, "parameters.wait = -0.1: must not be negative"),
        ({"noise": -0.1}, "parameters.noise = -0.1: must not be negative"),
        ({"delay": [0.2, 0.1]}, "parameters.delay = (0.2, 0.1): needs 0 <= shortest <= longest"),
        ({"wait": 86400.0}, "parameters: wait = 86400.0 is more than 100000 times the time step"),
        ({"regimes": {"x": {"delay": [0.0, 86400.0]}}}, "regimes.x: delay = (0.0, 86400.0) is more than 100000 times"),
        ({"regimes": {"x": {"wait": -1.0}}}, "regimes.x.wait = -1.0: must not be negative"),
    ],
)
def test_durations_and_spans_of_an_own_task_are_checked(module, parameters, message):
    module(FREE)
    with pytest.raises(SettingsError) as refusal:
        load(config(**parameters))
    assert message in str(refusal.value)


def test_annotations_may_be_text(module):
    module("from __future__ import annotations\n" + FREE)
    with pytest.raises(SettingsError, match=r"wait = -1\.0: must not be negative"):
        load(config(wait=-1.0))


VARIABLE = """
    def variables(self, trials):
        return {"v": Variable(VALUES, "value")}
    def _sample"""


@pytest.mark.parametrize(
    "values, message",
    [
        (
            "np.full(trials['inputs'].shape[:2], np.nan)",
            "variable 'v': holds values that are not finite in regime 'train'",
        ),
        (
            "np.zeros((16, 4))",
            "variable 'v': has values of shape (16, 4) and kind 'value'; needs (16, 5)",
        ),
        # Only the trials say of which regime they are.
        (
            "np.where(abs(trials['inputs'][..., 0]) < 1e3, 0.0, np.nan)",
            "holds values that are not finite in regime 'large'",
        ),
    ],
)
def test_variables_that_break_the_contract(module, values, message):
    code = CODE.replace("    def _sample", VARIABLE.replace("VALUES", values), 1)
    code = code.replace("import Task\n", "import Task\nfrom insd.tasks.base import Variable\n")
    module(code)
    with pytest.raises(SettingsError) as refusal:
        load(config(regimes={"large": {"size": 1e6}}))
    assert message in str(refusal.value)


def test_regimes_with_other_channels_are_refused(module):
    module(
        CODE.replace("LENGTH, 2)", "LENGTH, 2 + (self.size > 1))").replace(
            '["a", "b"]', '["a", "b", "c"][:inputs.shape[2]]'
        )
    )
    with pytest.raises(SettingsError) as refusal:
        load(config(regimes={"large": {"size": 2.0}}))
    assert "tasks.my_task: regime 'large': has the inputs a, b, c where 'train' has a, b;" in str(refusal.value)


def test_unknown_parameters_are_refused_with_those_that_there_are(module):
    with pytest.raises(SettingsError, match=r"tasks.my_task.parameters.sice = 1.0: unknown key; known here: dt, reg"):
        load(config(sice=1.0))


@pytest.fixture
def template(request, monkeypatch):
    """The settings of a template of the examples, by the name of its folder."""
    monkeypatch.syspath_prepend(ROOT / "examples" / request.param)
    import yaml  # noqa: PLC0415

    text = (ROOT / "examples" / request.param / "config.yaml").read_text()
    yield load(yaml.safe_load(text))
    for name in ("hold", "match_to_sample"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("template", ["own_task"], indirect=True)
def test_the_template_of_the_examples(template):
    assert template.task("hold").delay == 0.5


@pytest.mark.parametrize("folder", ["own_task/hold.py", "match_to_sample/match_to_sample.py"])
def test_templates_use_public_names_alone(folder):
    text = (ROOT / "examples" / folder).read_text()
    [names] = re.findall(r"^from insd.* import (.*)$", text, re.MULTILINE)
    assert set(names.split(", ")) <= set(tasks.__all__)
    assert len(re.findall("import.*insd|from insd", text)) == 1


@pytest.mark.parametrize("template", ["match_to_sample"], indirect=True)
def test_the_whole_template_is_delayed_match_to_sample(template):
    task = template.task("match_to_sample")
    assert task.regime_names() == ["train", "test", "noisy", "long", "noisy_long"]
    assert (len(task.grid["noise"]), len(task.grid["duration"])) == (4, 3)
    trials = task.sample("train", 400, 0)
    same = trials["sample"].values == trials["test"].values
    np.testing.assert_array_equal(same, trials["match"].values == 1)
    assert 0.4 < same.mean() < 0.6
    inputs, targets = (trials[name].values for name in ("inputs", "targets"))
    time, go, end = (trials[name].values for name in ("time", "go_time", "delay_time"))
    # In the delay there is noise alone.
    in_delay = (time > end[:, None] + 1e-9) & (time <= go[:, None] - task.test_time + 1e-9)
    assert np.abs(inputs[in_delay][:, 1:]).std() < 0.11 < np.abs(inputs[..., 1:]).max()
    at_sample = inputs[:, task.steps(task.fixation) + 1, 1:]
    at_test = inputs[np.arange(len(go)), np.rint(go / task.dt).astype(int) - 1, 1:]
    # Two directions of four are at least the square root of 2 apart, and the noise is .1.
    np.testing.assert_array_equal(np.linalg.norm(at_sample - at_test, axis=1) < 0.9, same)
    assert (targets[time[None] <= go[:, None] + 1e-9] == 0).all()
    after = time[None] > go[:, None] + 1e-9
    assert (targets[..., 0] == np.where(after, trials["match"].values[:, None], 0)).all()
    assert task.score(trials, targets) == 1 and task.score(trials, -targets) == 0
    # Several networks at once.
    assert task.score(trials, np.stack([targets, -targets])).tolist() == [1, 0]
    kinds = {name: variable.kind for name, variable in task.variables(trials).items()}
    assert kinds == {"match": "sign", "sample": "category", "test": "category"}
    assert set(task.static_inputs()) == {"delay", "response"}
    with pytest.raises(SettingsError, match="directions = 1: at least two"):
        load(config("match_to_sample:MatchToSample", directions=1))
