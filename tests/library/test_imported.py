"""Networks of PyTorch in network files: the same activity, or one message."""

import os

import numpy as np
import pytest
import torch

from insd import datasets
from insd.activity import simulate_trials
from insd.imported import CheckpointError, import_checkpoint
from insd.tasks.flip_flop import FlipFlop

TRIALS = FlipFlop(duration=0.4).sample("test", 8, 0)


class Model(torch.nn.Module):
    """A network as users have it."""

    def __init__(self, kind=torch.nn.RNN, readout=True, **more):
        super().__init__()
        self.cell = kind(3, 10, batch_first=True, **more)
        if readout:
            self.decode = torch.nn.Linear(10, 3)

    def forward(self, inputs):
        rates = self.cell(inputs)[0]
        return rates, self.decode(rates)


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", [torch.nn.RNN, torch.nn.GRU])
@pytest.mark.parametrize("more", [{}, {"bias": False}])
def test_a_module_runs_as_it_did_in_pytorch(tmp_path, kind, more):
    model = Model(kind, **more)
    network = import_checkpoint(saved(tmp_path / "m.pt", model.state_dict()), TRIALS, readout="decode")
    datasets.write(network.assign_attrs(settings="{}"), tmp_path / "network.nc", "network")
    rates, outputs = simulate_trials(datasets.read(tmp_path / "network.nc", "network"), TRIALS)
    expected_rates, expected_outputs = model(torch.from_numpy(TRIALS["inputs"].values))
    np.testing.assert_allclose(rates[0], expected_rates.detach(), atol=1e-5)
    np.testing.assert_allclose(outputs[0], expected_outputs.detach(), atol=1e-5)


def matrices(**changes):
    random = torch.Generator().manual_seed(0)
    made = {
        "recurrent_weights": torch.randn(10, 10, generator=random) / 3,
        "input_weights": torch.randn(10, 3, generator=random),
        "output_weights": torch.randn(3, 10, generator=random),
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def test_a_dict_of_matrices_is_a_rate_network(tmp_path):
    content = matrices(bias=torch.ones(10))
    network = import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, tau=0.1)
    rates = simulate_trials(network, TRIALS)[0][0].numpy()
    state = np.zeros((8, 10))
    for t in range(20):
        drive = np.tanh(state) @ content["recurrent_weights"].numpy().T + 1
        state = state + 0.2 * (drive + TRIALS["inputs"].values[:, t] @ content["input_weights"].numpy().T - state)
        np.testing.assert_allclose(rates[:, t], np.tanh(state), atol=1e-5)


def test_parameters_are_as_good_as_tensors(tmp_path):
    plain, wrapped = (
        import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, tau=0.02)
        for content in (matrices(), {name: torch.nn.Parameter(value) for name, value in matrices().items()})
    )
    assert wrapped.identical(plain)


def test_an_rnn_is_said_to_be_taken_for_one_with_tanh(tmp_path, caplog):
    def told(kind):
        caplog.clear()
        model = Model(kind)
        import_checkpoint(saved(tmp_path / "m.pt", model.state_dict()), TRIALS, readout="decode")
        return caplog.text

    assert "m.pt: taken for a torch.nn.RNN with tanh; a state dict does not say if it was with relu" in told(
        torch.nn.RNN
    )
    assert told(torch.nn.GRU) == ""


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    "content, options, message",
    [
        (lambda: Model(readout=False).state_dict(), {}, "has no readout 'readout.weight'; name the linear readout"),
        (
            lambda: Model().state_dict(),
            {},
            "has no readout 'readout.weight'; name the linear readout of the rates, one of: decode",
        ),
        (lambda: Model().state_dict(), {"readout": "decode", "tau": 0.1}, "leave out tau"),
        (lambda: Model(num_layers=2).state_dict(), {"readout": "decode"}, "has more than one layer or direction"),
        (
            lambda: Model(torch.nn.LSTM).state_dict(),
            {"readout": "decode"},
            "neither a torch.nn.RNN nor a torch.nn.GRU (4",
        ),
        (matrices, {}, "these matrices do not say their time constant; give tau, in s"),
        (matrices, {"tau": 0.0}, "tau = 0.0: at least the time step of the trials, dt = 0.02 s"),
        (matrices, {"tau": -0.1}, "tau = -0.1: at least the time step"),
        (matrices, {"tau": 0.01}, "tau = 0.01: at least the time step"),
        (matrices, {"tau": float("nan")}, "tau = nan: at least the time step"),
        (lambda: matrices(output_weights=None), {"tau": 0.1}, "has no readout: it lacks output_weights"),
        (
            lambda: matrices(input_weights=torch.ones(10, 2)),
            {"tau": 0.1},
            "'input_weights' has shape (10, 2); unit, input",
        ),
        (lambda: matrices(bias=torch.full((10,), torch.nan)), {"tau": 0.1}, "'bias' holds values that are not finite"),
        (
            lambda: {
                "recurrent_weights": torch.eye(3),
                "input_weights": torch.ones(3, 3),
                "output_weights": torch.ones(3, 3),
            },
            {"tau": 0.1},
            "3 output(s) of 3 units leave no null space",
        ),
        (lambda: {"epoch": 3}, {}, "holds more than a dict of tensors"),
        (Model, {}, "not a checkpoint of tensors alone"),
        (lambda: {"x": Evil()}, {}, "not a checkpoint of tensors alone"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, monkeypatch, content, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        import_checkpoint(saved(tmp_path / "m.pt", content()), TRIALS, **options)
    assert str(tmp_path / "m.pt") in str(refusal.value)
    assert message in str(refusal.value)
    assert not (tmp_path / "evil").exists()


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    (tmp_path / "m.pt").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="not a checkpoint of tensors alone"):
        import_checkpoint(tmp_path / "m.pt", TRIALS)
    with pytest.raises(CheckpointError, match="there is no such file"):
        import_checkpoint(tmp_path / "missing.pt", TRIALS)


class Cell(torch.nn.Module):
    """A network that is stepped by hand."""

    def __init__(self, kind):
        super().__init__()
        self.core, self.readout = kind(3, 10), torch.nn.Linear(10, 3)

    def forward(self, inputs):
        state, rates = torch.zeros(len(inputs), 10), []
        for now in inputs.unbind(1):
            state = self.core(now, state)
            rates.append(state)
        return torch.stack(rates, 1)


@pytest.mark.parametrize("kind", [torch.nn.RNNCell, torch.nn.GRUCell])
def test_a_cell_runs_as_it_did_in_pytorch(tmp_path, kind):
    model = Cell(kind)
    network = import_checkpoint(saved(tmp_path / "m.pt", model.state_dict()), TRIALS)
    expected = model(torch.from_numpy(TRIALS["inputs"].values)).detach()
    np.testing.assert_allclose(simulate_trials(network, TRIALS)[0][0], expected, atol=1e-5)


def test_of_several_recurrent_modules_one_is_named(tmp_path):
    two = torch.nn.ModuleDict({"a": torch.nn.RNN(3, 10), "b": torch.nn.RNN(3, 10), "readout": torch.nn.Linear(10, 3)})
    path = saved(tmp_path / "m.pt", two.state_dict())
    with pytest.raises(CheckpointError, match=r"has 2 recurrent modules, 'a', 'b'; name the one to take by rnn"):
        import_checkpoint(path, TRIALS)
    with pytest.raises(CheckpointError, match=r"has no recurrent module 'c'; choose from 'a', 'b'"):
        import_checkpoint(path, TRIALS, rnn="c")
    found = import_checkpoint(path, TRIALS, rnn="b")["recurrent_weights"][0]
    np.testing.assert_array_equal(found, two["b"].weight_hh_l0.detach())


def test_what_the_file_says_of_the_time_constant_counts(tmp_path):
    path = saved(tmp_path / "m.pt", matrices(tau=torch.tensor(0.1)))
    assert import_checkpoint(path, TRIALS).attrs["tau"] == pytest.approx(0.1)
    with pytest.raises(CheckpointError, match=r"'tau' is 0\.1 s in the file, and 0\.2 s is given; leave out one"):
        import_checkpoint(path, TRIALS, tau=0.2)


@pytest.mark.parametrize(
    "content",
    [
        lambda: {"epoch": 3, "model_state_dict": matrices(), "optimizer": torch.optim.SGD(Model().parameters())},
        lambda: {name: value.numpy() for name, value in matrices().items()},
    ],
    ids=["among other things", "arrays of NumPy"],
)
def test_checkpoints_as_they_are_found(tmp_path, content):
    content = content()
    if "optimizer" in content:
        content["optimizer"] = content["optimizer"].state_dict()
    found = import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, tau=0.1)
    assert found.identical(import_checkpoint(saved(tmp_path / "n.pt", matrices()), TRIALS, tau=0.1))


@pytest.mark.parametrize(
    "content, message",
    [
        (lambda: matrices(biases=torch.ones(10)), "holds biases, which no dict of matrices has; a rate network has"),
        (
            lambda: torch.nn.ModuleDict(
                {"encoder": torch.nn.Linear(3, 3), "rnn": torch.nn.RNN(3, 10), "readout": torch.nn.Linear(10, 3)}
            ).state_dict(),
            "also holds encoder.weight, encoder.bias, which is neither of the recurrent module nor of the readout",
        ),
        (lambda: {"a": matrices(), "b": matrices(), "n": 1}, "holds several networks among other things, a, b; save"),
        (lambda: matrices(tau=torch.ones(10)), "'tau' has shape (10,); all units need one time constant"),
        (
            lambda: matrices(tau=torch.tensor(0.1), bias=torch.ones(10).to_sparse()),
            "'bias' is sparse, quantized or complex",
        ),
        (lambda: matrices(tau=torch.tensor(0.1), bias=torch.ones(10) * 1j), "'bias' is sparse, quantized or complex"),
        (
            lambda: {"x": Evil()},
            "not a checkpoint of tensors alone: it holds a posix.mkdir, which could run code; save",
        ),
        (lambda: {"x": np.array([Evil()], dtype=object)}, "not a checkpoint of tensors alone"),
    ],
)
def test_nothing_that_is_given_is_ignored(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        import_checkpoint(saved(tmp_path / "m.pt", content()), TRIALS, tau=None)
    assert message in str(refusal.value) and "\n" not in str(refusal.value) and "\x1b" not in str(refusal.value)
    assert not (tmp_path / "evil").exists()
