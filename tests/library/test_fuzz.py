"""No input of the command line or of a checkpoint ends in a traceback."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insd.cli import main
from insd.imported import CheckpointError, import_checkpoint
from insd.tasks.flip_flop import FlipFlop

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
@given(content=contents(), tau=st.sampled_from([None, 0.1, 0.0]), rnn=st.sampled_from([None, "rnn", ""]))
def test_any_checkpoint_is_a_network_or_refused_in_one_line(folder, content, tau, rnn):
    torch.save(content, folder / "any.pt")
    try:
        found = import_checkpoint(folder / "any.pt", TRIALS, tau=tau, rnn=rnn)
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
    words=st.lists(st.sampled_from(["train", "score", "compare", "fixed-points", "import", "x", "--seed", "-1", ""]))
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
