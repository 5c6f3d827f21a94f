"""The task variables of a task that names none: the conditions of its trials."""

from dataclasses import dataclass

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.text import Text

from insd.evaluation.decoding import chance_of, components_of, decode
from insd.explorer import SHOWN_TRIALS, _colours
from insd.figures.state_space import activity_key, condition_of
from insd.figures.theme import new_figure
from insd.plugins import find
from insd.tasks import Task
from insd.tasks.variables import of_conditions

CONDITIONS = {
    "size": lambda n, random: random.uniform(-1, 1, n),
    "level": lambda n, random: random.choice([0.1, 0.2, 0.4], n),
    "direction": lambda n, random: random.choice(4, n),
    "pair": lambda n, random: random.choice([0.0, 0.5], n),
    "context": lambda n, random: random.choice([-1, 1], n),
    "easy": lambda n, random: random.random(n) < 0.5,
    "cue": lambda n, random: random.choice(["left", "right", "up"], n),
    "many": lambda n, random: random.choice(40, n),
    "constant": lambda n, random: np.full(n, 0.3),
    "rare": lambda n, random: np.arange(n) == 3,
    "undefined": lambda n, random: np.where(np.arange(n) == 3, np.nan, random.random(n)),
    "number": lambda n, random: random.permutation(n),
    "name": lambda n, random: np.array([f"trial {index}" for index in range(n)]),
    "words": lambda n, random: random.choice([f"word {index}" for index in range(20)], n),
    "go_time": lambda n, random: random.uniform(0.2, 0.4, n),
    "steps": lambda n, random: random.integers(2, 5, n),
}


@dataclass(frozen=True, kw_only=True)
class Silent(Task):
    """Conditions of every kind, some of which the input carries, and no `variables`."""

    kept: tuple[str, ...] = tuple(CONDITIONS)

    def _sample(self, n_trials, random):
        conditions = {name: draw(n_trials, random) for name, draw in CONDITIONS.items() if name in self.kept}
        inputs, targets = random.standard_normal((2, n_trials, 5, 1))
        return self.dataset(inputs, targets, np.ones_like(targets), ["x"], ["y"], conditions)


def test_conditions_become_variables_by_what_they_hold():
    trials = Silent().sample("test", 120, 0)
    variables = Silent().variables(trials)
    kinds = {name: variable.kind for name, variable in variables.items()}
    assert kinds == {
        "size": "value",
        "level": "value",
        "direction": "category",
        "pair": "category",
        "context": "sign",
        "easy": "sign",
        "cue": "category",
        "many": "value",
    }
    for name in ("size", "level", "direction", "pair", "context", "many"):
        np.testing.assert_array_equal(variables[name].values, np.repeat(trials[name].values[:, None], 5, 1))
    np.testing.assert_array_equal(variables["easy"].values[:, 2] > 0, trials["easy"].values)
    assert set(np.unique(variables["easy"].values)) == {-1, 1}
    cue = variables["cue"]
    assert [cue.labels[int(number)] for number in cue.values[:, -1]] == trials["cue"].values.tolist()


def test_of_a_single_trial_there_is_none():
    assert of_conditions(Silent().sample("test", 1, 0)) == {}


def test_what_activity_carries_is_decoded_and_the_rest_is_not():
    task = Silent()
    trials = task.sample("test", 200, 0)
    variables = task.variables(trials)
    carried = ("size", "level", "direction", "cue")
    parts = [components_of(variables[name].values, variables[name].kind) for name in carried]
    rates = np.concatenate(parts, axis=-1) @ np.random.default_rng(1).standard_normal((9, 12))
    scores = decode(rates, variables, np.array([1, 4]), 4, 0)
    for (name, variable), score in zip(variables.items(), scores, strict=True):
        if name in carried:
            assert score[0, 1] > 0.95
        else:
            assert score[0, 1] < chance_of(variable) + 0.2


@pytest.mark.parametrize(
    ("kept", "title", "names"),
    [
        (("size", "level", "context", "easy"), "context, easy", ["− −", "+ −", "− +", "+ +"]),
        (("size", "cue", "level"), "cue", ["left", "right", "up"]),
        (("size", "pair"), "pair", ["0", "0.5"]),
        (("level", "many"), "level", []),
        (("constant", "size"), "size", []),
        (("constant",), "", [""]),
    ],
)
def test_trajectories_are_coloured_by_signs_else_by_a_category_else_by_a_number(kept, title, names):
    task = Silent(kept=kept)
    trials = task.sample("test", 60, 0)
    variables = task.variables(trials)
    condition = condition_of({name: variables[name] for name in kept if name in variables}, trials)
    assert (condition.title, condition.names) == (title, names)
    # Two of sixty numbers may be too close for a colour each.
    different = np.unique(condition.values)[:: 5 if title == "size" else 1]
    assert len({condition.colour(value) for value in different}) == len(different)
    if title == "size":
        assert condition.ends == (trials["size"].values.min(), trials["size"].values.max())
    if title == "cue":
        assert [names[int(number)] for number in condition.values[:, 0]] == trials["cue"].values.tolist()


@pytest.mark.parametrize(
    ("kept", "texts"),
    [(("cue",), ["cue:", "left", "right", "up"]), (("many",), ["many  0", "39"]), (("constant",), ["trials"])],
)
def test_the_key_names_what_colours_mean(kept, texts):
    task = Silent(kept=kept)
    trials = task.sample("test", 400, 0)
    figure = new_figure(180.0, 30.0).subfigures()
    activity_key(figure, condition_of(task.variables(trials), trials), ["no_input"])
    shown = [text.get_text() for text in figure.findobj(Text)]
    assert set(texts) <= set(shown)


def test_the_explorer_colours_by_the_variables_of_all_trials():
    """The trials that it shows are too few to say which conditions are constant, or names of trials."""
    task = Silent()
    trials = task.sample("test", 3 * SHOWN_TRIALS, 0)
    colours = _colours(task, trials)
    assert [colour["name"] for colour in colours] == list(task.variables(trials))
    assert {tuple(colour["values"]["shape"]) for colour in colours} == {(SHOWN_TRIALS, 5)}


def test_the_tasks_of_the_library_name_their_own():
    for name in ("flip_flop", "memory_pro", "context_integration"):
        task = find("task", name)
        assert task.variables is not Task.variables


def test_the_template_is_decoded_by_its_condition(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples/own_task")
    from hold import Hold  # noqa: PLC0415 - after the path is there

    variables = Hold().variables(Hold().sample("test", 64, 0))
    assert {name: variable.kind for name, variable in variables.items()} == {"size": "value"}
