"""No input of the command line or of a checkpoint, and no task of a user's own, ends in a traceback."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from insd import datasets
from insd.cli import main
from insd.errors import InsdError
from insd.imported import CheckpointError, import_checkpoint
from insd.mapping import MappedWeight
from insd.tasks import Task
from insd.tasks.flip_flop import FlipFlop
from insd.tasks.own import check_task

TRIALS = FlipFlop(duration=0.2).sample("test", 4, 0)
KEYS = (
    "task.dt",
    "task.duration",
    "task.channels",
    "task.regimes",
    "task.grid",
    "task.nothing",
    "task.",
    "trials.train",
)
VALUES = ("", "0", "1", "-1", "0.1", "1e-3", "1e999", "nan", "null", "true", "[]", "[1]", "{}", '{"a": 1}', "x", '"x"')
NAMES = (
    *("recurrent_weights", "input_weights", "output_weights", "bias", "initial_state", "tau", "rnn.weight_hh_l0"),
    *("wi", "wo", "m", "n", "wrec", "si", "b", "alpha", "left_vectors", "right_vectors"),
    *("rnn.weight_ih_l0", "rnn.bias_hh_l0", "weight_hh", "weight_ih", "readout.weight", "readout.bias", "0/bias", "x"),
)
MAPPINGS = st.dictionaries(
    st.sampled_from(get_args(MappedWeight)),
    st.sampled_from([*NAMES, "wi.T", "m @ n.T", "m @ wo", "b + bias", "wrec + m @ n.T", " @ ", ".T", ""]),
    min_size=1,
)
SHAPES = ((), (0,), (3,), (5,), (5, 5), (3, 5), (5, 3), (15, 5), (15, 3), (2, 5, 5))


def tensors():
    return st.builds(
        lambda shape, kind: torch.ones(shape, dtype=kind),
        st.sampled_from(SHAPES),
        st.sampled_from((torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64)),
    )


def contents():
    leaves = tensors() | st.none() | st.integers() | st.text(max_size=3) | st.just(np.ones((5, 5)))
    networks = st.dictionaries(st.sampled_from(NAMES), tensors(), max_size=8)
    keys = st.sampled_from(NAMES) | st.integers(0, 2)
    return networks | st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=150, deadline=None)
@given(
    content=contents(),
    tau=st.sampled_from([None, 0.1, 0.0]),
    rnn=st.sampled_from([None, "rnn", ""]),
    mapping=st.none() | MAPPINGS,
    ignore=st.sampled_from([(), ("*",), ("x", "rnn.*")]),
)
def test_any_checkpoint_is_a_network_or_refused_in_one_line(folder, content, tau, rnn, mapping, ignore):
    torch.save(content, folder / "any.pt")
    try:
        found = import_checkpoint(folder / "any.pt", TRIALS, tau=tau, rnn=rnn, mapping=mapping, ignore=ignore)
    except CheckpointError as error:
        assert "\n" not in str(error) and "any.pt" in str(error)
    else:
        assert found.sizes["unit"] > 0 and found.sizes["output"] == 3


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=3))
def test_any_change_on_the_command_line_is_made_or_refused(folder, changes):
    target = folder / "bank"
    for regime in ("train", "test"):
        (target / f"{regime}.nc").unlink(missing_ok=True)
    few = ["trials.evaluation=2", "trials.train=20", "task.duration=0.4"]
    assert main(["trials", "flip_flop", str(target), "--set", *few, *changes]) in (0, 1)


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["train", "score", "compare", "fixed-points", "import", "inspect", "x", "--seed", "-1", ""])
    )
)
def test_any_words_are_a_command_or_wrong_usage(
    folder,
    words,
):
    try:
        # Nothing that these words name is there.
        code = main([*words, str(folder / "missing")])
    except SystemExit as wrong:
        code = wrong.code
    assert code in (1, 2)


GOOD = {
    # The shape along trials, times and channels, where None is the number of trials that are asked for.
    **{"inputs": (None, 4, 2), "targets": (None, 4, 1), "mask": (None, 4, 1)},
    **{"dtype": "float64", "value": "normal", "masked": 1.0, "input_names": ["a", "b"], "output_names": ["y"]},
    **{"conditions": {}, "change": "nothing", "score": "own", "variables": "none", "static": "own", "regimes": {}},
    "evidence": (),
}
"""A task that is accepted; every example changes some of it."""
SHAPE = st.sampled_from([(None, 4, 2), (None, 4, 1), (None, 4, 0), (None, 0, 2), (None, 1, 1), (None, 4), (None,), ()])
NAME = st.sampled_from(["a", "b", "y", "time", "", " ", "ü", 1, None, "a\nb", ("a", "b")])
CONDITION = st.sampled_from(
    [*("c", "time", "trial", "input", "inputs", "mask", "go/nogo", "", " ", "ü", "a\nb", "a" * 300, "_x", "1"), 1, None]
)
CONDITION_VALUES = ("right", "short", "scalar", "flat", "text", "mixed", "none", "nan", "complex", "dates", "lists")
CHANGES = {
    **{name: st.sampled_from([(5, 4, 2), (5, 4, 1)]) | SHAPE for name in ("inputs", "targets", "mask")},
    "dtype": st.sampled_from(["float32", "int64", "bool", "complex64", "object", "str", "datetime64[s]"]),
    "value": st.sampled_from(["zeros", "nan", "inf", "huge", "one nan"]),
    "masked": st.sampled_from([0.0, 0.5, 2.0, np.nan, "x"]),
    "input_names": st.lists(NAME, min_size=2, max_size=2),
    "output_names": st.lists(NAME, min_size=1, max_size=1),
    "conditions": st.dictionaries(CONDITION, st.sampled_from(CONDITION_VALUES), max_size=2),
    "change": st.sampled_from(
        [
            *("none", "tuple", "array", "no mask", "no time", "no input", "renamed", "turned", "time back", "time nan"),
            *("text attribute", "odd attribute", "further variable", "no variables", "raises"),
            *("to the end", "at no time", "from the second step", "of each trial", "as text"),
        ]
    ),
    "score": st.sampled_from(["default", "none", "text", "complex", "nan", "scalar", "many", "low", "raises"]),
    "variables": st.sampled_from(
        ["good", "none at all", "list", "shape", "kind", "no kind", "nan", "text", "array", "key", "raises"]
    ),
    "static": st.sampled_from(["default", "none at all", "list", "short", "text", "nan", "scalar", "key", "raises"]),
    "regimes": st.sampled_from([{"hard": {}}, {"hard": {"dt": 0.01}}, {"hard": {"no": 1}}, {"hard": {"dt": -1}}]),
    "evidence": st.sampled_from([("a",), ("z",), (1,), "a"]),
}


def values(how, n_trials):
    return {
        "right": np.arange(n_trials),
        "short": np.arange(n_trials - 1),
        "scalar": 1.0,
        "flat": np.ones((n_trials, 2)),
        "text": np.array(["left"] * n_trials),
        "mixed": np.array([1, "left"] * (n_trials // 2) + [None] * (n_trials % 2), dtype=object),
        "none": None,
        "nan": np.full(n_trials, np.nan),
        "complex": np.full(n_trials, 1j),
        "dates": np.full(n_trials, np.datetime64("2026-01-01")),
        "lists": [[1]] * n_trials,
    }[how]


@dataclass(frozen=True, kw_only=True)
class Toy(Task):
    """A task that is as an example says."""

    is_: Mapping[str, Any] = field(default_factory=dict)

    @property
    def evidence_inputs(self):
        return self.is_["evidence"]

    def array(self, name, n_trials, random):
        shape = tuple(n_trials if size is None else size for size in self.is_[name])
        made = random.standard_normal(shape)
        kind = self.is_["value"]
        if kind == "one nan":
            made[(0,) * made.ndim if made.size else ...] = np.nan
        elif kind != "normal":
            made = np.full(shape, {"zeros": 0.0, "nan": np.nan, "inf": np.inf, "huge": 1e300}[kind])
        return made.astype(self.is_["dtype"])

    def _sample(self, n_trials, random):
        if self.is_["change"] == "raises":
            raise RuntimeError("two\nlines")
        mask = np.full(tuple(n_trials if size is None else size for size in self.is_["mask"]), self.is_["masked"])
        arrays = [self.array(name, n_trials, random) for name in ("inputs", "targets")]
        # As `self.dataset` does; tests let it take arrays of the right types alone.
        dims = [("trial", "time", along) for along in ("input", "output", "output")]
        variables = zip(("inputs", "targets", "mask"), dims, (*arrays, mask), strict=True)
        trials = xr.Dataset(
            {name: (along, array.astype(np.float32)) for name, along, array in variables},
            {
                "time": self.dt * np.arange(1, arrays[0].shape[1] + 1),
                "input": self.is_["input_names"],
                "output": self.is_["output_names"],
                **{name: ("trial", values(how, n_trials)) for name, how in self.is_["conditions"].items()},
            },
        )
        valid = np.ones((trials.sizes["trial"], trials.sizes["time"]), dtype=bool)
        return {
            "to the end": lambda: trials.assign(valid=(("trial", "time"), valid)),
            "at no time": lambda: trials.assign(valid=(("trial", "time"), ~valid)),
            "from the second step": lambda: trials.assign(valid=(("trial", "time"), np.cumsum(valid, 1) > 1)),
            "of each trial": lambda: trials.assign(valid=("trial", valid[:, -1])),
            "as text": lambda: trials.assign(valid=(("trial", "time"), np.full(valid.shape, "yes"))),
            "none": lambda: None,
            "tuple": lambda: (trials,),
            "array": lambda: trials["inputs"],
            "no mask": lambda: trials.drop_vars("mask"),
            "no time": lambda: trials.drop_vars("time"),
            "no input": lambda: trials.drop_vars("input"),
            "renamed": lambda: trials.rename(time="t"),
            "turned": lambda: trials.transpose("time", "output", "input", "trial"),
            "time back": lambda: trials.assign_coords(time=trials["time"].values[::-1]),
            "time nan": lambda: trials.assign_coords(time=np.full(trials.sizes["time"], np.nan)),
            "text attribute": lambda: trials.assign_attrs(note="ü"),
            "odd attribute": lambda: trials.assign_attrs(note={"a": None}),
            "further variable": lambda: trials.assign(more=("trial", np.array([{}] * trials.sizes["trial"]))),
            "no variables": xr.Dataset,
            "nothing": lambda: trials,
        }[self.is_["change"]]()

    def _score(self, trials, outputs):
        networks = outputs.shape[:-3]
        return {
            "own": lambda: np.ones(networks),
            "default": lambda: super(Toy, self)._score(trials, outputs),
            "none": lambda: None,
            "text": lambda: "good",
            "complex": lambda: np.full(networks, 1j),
            "nan": lambda: np.full(networks, np.nan),
            "scalar": lambda: 1.0,
            "many": lambda: np.ones((*networks, 2)),
            "low": lambda: np.zeros(networks),
            "raises": lambda: 1 / 0,
        }[self.is_["score"]]()

    def variables(self, trials):
        shape = (trials.sizes["trial"], trials.sizes["time"])
        # Of the library's own class, tests check the types.
        made, ones = partial(SimpleNamespace, kind="value"), np.ones(shape)
        return {
            "none": lambda: {},
            "good": lambda: {"v": made(values=ones)},
            "none at all": lambda: None,
            "list": lambda: ["v"],
            "shape": lambda: {"v": made(values=ones[0])},
            "kind": lambda: {"v": made(values=ones, kind="colour")},
            "no kind": lambda: {"v": made(values=ones, kind=None)},
            "nan": lambda: {"v": made(values=np.nan * ones)},
            "text": lambda: {"v": made(values=np.full(shape, "left"), kind="category")},
            "array": lambda: {"v": ones},
            "key": lambda: {1: made(values=ones)},
            "raises": lambda: 1 / 0,
        }[self.is_["variables"]]()

    def static_inputs(self):
        return {
            "own": lambda: {"none": [0.0] * len(self.is_["input_names"])},
            "default": super().static_inputs,
            "none at all": lambda: None,
            "list": lambda: ["none"],
            "short": lambda: {"none": []},
            "text": lambda: {"none": ["a"] * len(self.is_["input_names"])},
            "nan": lambda: {"none": [np.nan] * len(self.is_["input_names"])},
            "scalar": lambda: {"none": 0.0},
            "key": lambda: {1: [0.0] * len(self.is_["input_names"])},
            "raises": lambda: 1 / 0,
        }[self.is_["static"]]()


@st.composite
def toys(draw):
    """Tasks with one to three faults, or with what looks like one."""
    chosen = draw(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=3, unique=True))
    is_ = GOOD | {name: draw(CHANGES[name]) for name in chosen}
    return Toy(is_=is_, regimes=is_["regimes"])


def test_the_task_that_is_changed_is_accepted():
    check_task(Toy(is_=GOOD))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(task=toys())
def test_any_own_task_is_accepted_or_refused_in_one_line(folder, task):
    try:
        check_task(task)
    except InsdError as error:
        assert "\n" not in str(error)
    else:
        for regime in task.regime_names():
            trials = task.sample(regime, 3, 0).assign_attrs(fingerprint="")
            datasets.write(trials, folder / "any.nc", "trials")
            assert datasets.read(folder / "any.nc", "trials").equals(trials)
