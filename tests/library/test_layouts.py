"""Layouts of networks in files of others: each has the activity of a loop in NumPy; what is broken is one message."""

import os
import zipfile

import netCDF4
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
import yaml

from insd.activity import simulate_trials
from insd.cli import main
from insd.datasets import write
from insd.imported import CheckpointError, import_checkpoint
from insd.inspection import look
from insd.layouts import Said
from insd.makers.checkpoint import Checkpoint, CheckpointSettings
from insd.tasks.flip_flop import FlipFlop

TASK = FlipFlop(duration=0.4, channels=2)
TRIALS = TASK.sample("test", 4, 0).assign_attrs(fingerprint="any")
INPUTS = TRIALS["inputs"].values.astype(float)
N, DT = 6, 0.02
RANDOM = np.random.default_rng(0)
J, W, C = RANDOM.normal(size=(N, N)) / 2, RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(2, N))
B, D, X0 = RANDOM.normal(size=N) / 3, RANDOM.normal(size=2), RANDOM.normal(size=N) / 2
LEFT, RIGHT = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(N, 2))
# Gates of a GRU: reset, update and candidate, with the biases of the inputs and of the rates.
GATES = {"U": RANDOM.normal(size=(3, N, N)) / 2, "W": RANDOM.normal(size=(3, N, 2))}
GATES |= {"b": RANDOM.normal(size=(3, N)), "c": RANDOM.normal(size=(3, N))}
FUNCTIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "softplus": lambda x: np.log1p(np.exp(x))}


def states_leak(recurrent, function="tanh", alpha=1.0, bias=B, start=X0):
    """Rates of ``x <- x + alpha (-x + J f(x) + W u + b)``."""
    f, state, rates = FUNCTIONS[function], np.tile(start, (len(INPUTS), 1)), []
    for t in range(INPUTS.shape[1]):
        state = state + alpha * (f(state) @ recurrent.T + INPUTS[:, t] @ W.T + bias - state)
        rates.append(f(state))
    return np.stack(rates, 1)


def rates_step(function="tanh", alpha=1.0, bias=B):
    """Rates from zero of ``r <- (1 - alpha) r + alpha f(J r + W u + b)``; those of PyTorch and Keras have alpha = 1."""
    now, rates = np.zeros((len(INPUTS), N)), []
    for t in range(INPUTS.shape[1]):
        now = (1 - alpha) * now + alpha * FUNCTIONS[function](now @ J.T + INPUTS[:, t] @ W.T + bias)
        rates.append(now)
    return np.stack(rates, 1)


def gated():
    """Rates of gated units whose reset gate acts behind the recurrent weights."""
    now, rates = np.zeros((len(INPUTS), N)), []
    for t in range(INPUTS.shape[1]):
        of_inputs = [INPUTS[:, t] @ GATES["W"][k].T + GATES["b"][k] for k in range(3)]
        of_rates = [now @ GATES["U"][k].T + GATES["c"][k] for k in range(3)]
        reset, update = (1 / (1 + np.exp(-of_inputs[k] - of_rates[k])) for k in (0, 1))
        now = update * now + (1 - update) * np.tanh(of_inputs[2] + reset * of_rates[2])
        rates.append(now)
    return np.stack(rates, 1)


def keras_gru():
    """Kernel, recurrent kernel and bias of the gated units in the order of Keras: z, r, h, side by side."""
    order = [1, 0, 2]
    kernels = [np.concatenate(GATES[name][order]).T for name in ("W", "U")]
    return [*kernels, np.stack([GATES["b"][order].ravel(), GATES["c"][order].ravel()])]


def pt(content):
    def save(path):
        torch.save({name: _tensor(value) for name, value in content.items()}, path)

    return "m.pt", save


def _tensor(value):
    if isinstance(value, dict):
        return {name: _tensor(one) for name, one in value.items()}
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def npz(*arrays, **named):
    return "m.npz", lambda path: np.savez(path, *arrays, **named)


def mat(**content):
    return "m.mat", lambda path: scipy.io.savemat(path, content)


def hdf5(name, **content):
    """Written as Keras does it."""

    def save(path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file.attrs["backend"] = "tensorflow"
            for place, values in content.items():
                file[place] = values

    return name, save


def hdf5_of_netcdf(name, **content):
    """The same where h5py is not there."""

    def save(path):
        with netCDF4.Dataset(path, "w") as file:
            for number, (place, values) in enumerate(content.items()):
                axes = [f"axis_{number}_{axis}" for axis in range(np.ndim(values))]
                for axis, size in zip(axes, np.shape(values), strict=True):
                    file.createDimension(axis, size)
                file.createVariable(place, values.dtype, axes)[...] = values

    return name, save


KERAS_2 = "model_weights/simple_rnn/simple_rnn/simple_rnn_cell/"
PATHS = {"net/rnn/cell/recurrent_kernel": J.T, "net/rnn/cell/kernel": W.T, "net/rnn/cell/bias": B}
MAPPED = {"recurrent_weights": "rnn.h2h.weight", "input_weights": "rnn.W_in.T", "bias": "rnn.b1 + rnn.b2"}
MAPPED |= {"output_weights": "fc.weight", "output_bias": "fc.bias"}
OTHER_NAMES = {"rnn.h2h.weight": J, "rnn.W_in": W.T.copy(), "rnn.b1": B / 4, "rnn.b2": 3 * B / 4}
OTHER_NAMES |= {"fc.weight": C, "fc.bias": D}
MATRICES = {"recurrent_weights": J, "input_weights": W, "output_weights": C}
LAYOUTS = {
    "torch.nn.RNN with relu, no bias, in a model": (
        pt({"model.rnn.weight_hh_l0": J, "model.rnn.weight_ih_l0": W, "model.out.weight": C, "model.out.bias": D}),
        {"readout": "model.out", "nonlinearity": "relu"},
        lambda: (rates_step("relu", bias=0.0), C, D),
    ),
    "torch.nn.RNNCell of float64 in a checkpoint": (
        pt(
            {
                "model": {"weight_hh": J, "weight_ih": W, "bias_hh": B / 3, "bias_ih": 2 * B / 3, "readout.weight": C},
                "epoch": 3,
            }
        ),
        {"nonlinearity": "tanh"},
        lambda: (rates_step(), C, 0.0),
    ),
    "torch.nn.GRU": (
        pt(
            {
                "rnn.weight_hh_l0": GATES["U"].reshape(-1, N),
                "rnn.weight_ih_l0": GATES["W"].reshape(-1, 2),
                "rnn.bias_hh_l0": GATES["c"].ravel(),
                "rnn.bias_ih_l0": GATES["b"].ravel(),
                "readout.weight": C,
            }
        ),
        {},
        lambda: (gated(), C, 0.0),
    ),
    "matrices, softplus, alpha and a trained initial state": (
        npz(**MATRICES, bias=B, output_bias=D, initial_state=X0, alpha=0.4),
        {"nonlinearity": "softplus"},
        lambda: (states_leak(J, "softplus", 0.4), C, D),
    ),
    "factors": (
        npz(left_vectors=LEFT, right_vectors=RIGHT, input_weights=W, output_weights=C, tau=0.1),
        {"nonlinearity": "relu"},
        lambda: (states_leak(LEFT @ RIGHT.T / N, "relu", 0.2, 0.0, np.zeros(N)), C, 0.0),
    ),
    "factors of the literature, in a model": (
        pt({"net.m": LEFT, "net.n": RIGHT, "net.wi": W.T, "net.si": D, "net.wo": C.T, "net.so": D, "net.h0": X0}),
        {"tau": 0.1},
        lambda: (low_rank_literature(), C * D[:, None] / N, 0.0),
    ),
    "full rank, by the names of the literature": (
        npz(wrec=J, wi=W.T, wo=C.T, b=np.zeros(N), alpha=0.2),
        {},
        lambda: (states_leak(J, alpha=0.2, bias=0.0, start=np.zeros(N)), C, 0.0),
    ),
    "a mapping with a prefix, a transpose and a sum": (
        pt({"state_dict": OTHER_NAMES, "epoch": 3}),
        {"mapping": MAPPED, "tau": 0.1, "nonlinearity": "relu"},
        lambda: (states_leak(J, "relu", 0.2, start=np.zeros(N)), C, D),
    ),
    "a mapping with a product, alpha and tensors to ignore": (
        npz(U=LEFT, V=RIGHT, B=W, C=C, b=B, x0=X0, a=0.5, loss=np.ones(9), loss_test=np.ones(9)),
        {
            "mapping": {
                "recurrent_weights": "U@V.T",
                "input_weights": "B",
                "output_weights": "C",
                "bias": "b",
                "initial_state": "x0",
                "alpha": "a",
            },
            "ignore": ["loss*"],
        },
        lambda: (states_leak(LEFT @ RIGHT.T, alpha=0.5), C, 0.0),
    ),
    "a mapping of leaky rates, without blanks": (
        pt(OTHER_NAMES),
        {"mapping": MAPPED | {"bias": "rnn.b1+rnn.b2"}, "tau": 0.1, "leaky": "rates"},
        lambda: (rates_step(alpha=0.2), C, D),
    ),
    "Keras, the list of get_weights()": (
        npz(W.T, J.T, B, C.T, D),
        {"nonlinearity": "softplus"},
        lambda: (rates_step("softplus"), C, D),
    ),
    "Keras, the list of a GRU": (npz(*keras_gru(), C.T, D), {}, lambda: (gated(), C, D)),
    "Keras, by the paths of weights": (
        npz(**PATHS, **{"net/dense/kernel": C.T, "net/dense/bias": D}),
        {"nonlinearity": "relu"},
        lambda: (rates_step("relu"), C, D),
    ),
    "Keras 2, a model in HDF5": (
        hdf5_of_netcdf(
            "m.h5",
            **{f"{KERAS_2}kernel:0": W.T, f"{KERAS_2}recurrent_kernel:0": J.T},
            **{"model_weights/dense/dense/kernel:0": C.T, "optimizer_weights/Adam/iter:0": np.int64(3)},
        ),
        {"nonlinearity": "tanh"},
        lambda: (rates_step(bias=0.0), C, 0.0),
    ),
    "Keras 3, weights of a GRU in HDF5": (
        hdf5(
            "m.weights.h5",
            **{f"layers/gru/cell/vars/{k}": value for k, value in enumerate(keras_gru())},
            **{"layers/dense/vars/0": C.T, "layers/dense/vars/1": D, "optimizer/vars/0": np.ones(3)},
            **{"layers/gru/cell/seed_generator/vars/0": np.array([1, 2], np.uint32), "note": "text"},
        ),
        {},
        lambda: (gated(), C, D),
    ),
    "MATLAB, a struct with columns": (
        mat(net={**MATRICES, "bias": B[:, None], "output_bias": D[:, None], "tau": DT * 5, "task": "flip-flop"}),
        {"nonlinearity": "relu"},
        lambda: (states_leak(J, "relu", 0.2, start=np.zeros(N)), C, D),
    ),
    "MATLAB, a mapping, sparse and whole numbers": (
        mat(J=scipy.sparse.csc_matrix(np.eye(N)), B=W.T, out=C.T, N=float(N), x0=np.arange(N, dtype=float)[:, None]),
        {
            "mapping": {
                "recurrent_weights": "J",
                "input_weights": "B.T",
                "output_weights": "out.T",
                "initial_state": "x0",
            },
            "ignore": ["N"],
            "tau": 0.1,
        },
        lambda: (states_leak(np.eye(N), alpha=0.2, bias=0.0, start=np.arange(N)), C, 0.0),
    ),
    "several networks by a mapping": (
        npz(A=np.stack([J, J]), B=np.stack([W, 2 * W]), C=np.stack([C, C]), s=np.array([0.1, 0.1])),
        {"mapping": {"recurrent_weights": "A", "input_weights": "B", "output_weights": "C", "tau": "s"}},
        lambda: (states_leak(J, alpha=0.2, bias=0.0, start=np.zeros(N)), C, 0.0),
    ),
}


def low_rank_literature():
    """The states leak, with scaled inputs and ``J = m n^T / units``."""
    state, rates = np.tile(X0, (len(INPUTS), 1)), []
    for t in range(INPUTS.shape[1]):
        drive = np.tanh(state) @ (LEFT @ RIGHT.T).T / N + (INPUTS[:, t] * D) @ W.T
        state = state + 0.2 * (drive - state)
        rates.append(np.tanh(state))
    return np.stack(rates, 1)


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    (name, save), options, truth = LAYOUTS[request.param]
    save(tmp_path / name)
    return tmp_path / name, options, truth


def test_a_network_runs_as_a_loop_in_numpy(layout):
    path, options, truth = layout
    network = import_checkpoint(path, TRIALS, **options).isel(seed=[0])
    rates, readout, bias = truth()
    found, outputs = simulate_trials(network, TRIALS)
    scale = max(1.0, np.abs(rates).max())
    np.testing.assert_allclose(found[0] / scale, rates / scale, atol=2e-5)
    np.testing.assert_allclose(outputs[0] / scale, (rates @ readout.T + bias) / scale, atol=1e-4)


def test_the_lines_for_the_config_read_the_same_network(layout):
    """Of a look that is given all, and of one that must find out what is not said."""
    path, options, _ = layout
    truth = import_checkpoint(path, TRIALS, **options)
    asked = {name: value for name, value in options.items() if name in ("mapping", "ignore", "leaky")}
    for given in (options, asked):
        found = look(path, TRIALS, Said(**given))
        assert found.problem is None
        section = yaml.safe_load("\n".join(found.lines[found.lines.index("checkpoint:") :]))["checkpoint"]
        assert section.pop("files") == str(path)
        assert (
            Checkpoint(CheckpointSettings(files="any", **section)).problems("others", TASK, 1, (str(path),), ()) == ()
        )
        again = import_checkpoint(path, TRIALS, **section)
        assert again.sizes == truth.sizes
        if given is options:
            assert again.identical(truth)


def version_73(path):
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(512))


def keras_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil",)


def with_other(mapping, **changes):
    return {name: value for name, value in ({**mapping, **changes}).items() if value is not None}


DENSE = {"net/dense/kernel": C.T}
BROKEN = {
    "no file": (("m.mat", lambda path: None), {}, "m.mat: there is no such file"),
    "MATLAB 7.3": (
        ("m.mat", version_73),
        {},
        "is a MATLAB file of version 7.3, which SciPy does not read; save it in MATLAB with save('FILE.mat', 'NAME', "
        "..., '-v7')",
    ),
    "complex numbers of MATLAB": (
        mat(**with_other(MATRICES, recurrent_weights=J * (1 + 1j), tau=0.1)),
        {},
        "m.mat: 'recurrent_weights' is sparse, quantized, complex or without data; store it as plain numbers",
    ),
    "no MATLAB": (("m.mat", lambda path: path.write_bytes(b"x" * 500)), {}, "not a checkpoint of tensors alone; save"),
    "no HDF5": (("m.h5", lambda path: path.write_bytes(b"x" * 500)), {}, "alone; save one in Keras with model.save_w"),
    "a Keras archive": (("m.keras", keras_file), {}, "save one in Keras with model.save_weights('FILE.weights.h5')"),
    "objects": (
        ("m.npz", lambda path: np.savez(path, W=np.array([Evil()], dtype=object))),
        {},
        "not a checkpoint of tensors alone; save one with np.savez(path, name=array, ...)",
    ),
    "a name that is not there": (
        pt(OTHER_NAMES),
        {"mapping": with_other(MAPPED, bias="rnn.b3")},
        "has no tensor 'rnn.b3', which mapping.bias names; it has rnn.h2h.weight, rnn.W_in, rnn.b1",
    ),
    "a tensor that is not named": (
        pt(OTHER_NAMES),
        {"mapping": with_other(MAPPED, bias=None)},
        "also holds rnn.b1, rnn.b2, which the mapping does not name; name it there, or in ignore",
    ),
    "no weight of that name": (
        pt(OTHER_NAMES),
        {"mapping": {"W_rec": "rnn.h2h.weight"}},
        "mapping.W_rec: is not a weight; choose from recurrent_weights, ",
    ),
    "a pattern that fits nothing": (
        npz(**MATRICES, tau=0.1),
        {"ignore": ["loss*"]},
        "m.npz: ignore names 'loss*', which fits no tensor; correct it or leave it out; the tensors are recurrent_wei",
    ),
    "a weight that is not mapped": (
        pt(OTHER_NAMES),
        {"mapping": with_other(MAPPED, recurrent_weights=None), "ignore": ["rnn.h2h*"]},
        "lacks recurrent_weights; a dict of matrices needs recurrent_weights, input_weights, output_weights",
    ),
    "a product that is none": (
        npz(U=LEFT, V=RIGHT, B=W, C=C),
        {"mapping": {"recurrent_weights": "U @ V", "input_weights": "B", "output_weights": "C"}},
        "mapping.recurrent_weights = 'U @ V': shapes (6, 2) and (6, 2) cannot be multiplied",
    ),
    "a sum that is none": (
        npz(U=J, B=W, C=C, b=B, c=D),
        {"mapping": {"recurrent_weights": "U", "input_weights": "B", "output_weights": "C", "bias": "b + c"}},
        "mapping.bias = 'b + c': shapes (6,) and (2,) cannot be added",
    ),
    "stored the other way round": (
        npz(**with_other(MATRICES, output_weights=C.T, tau=0.1)),
        {},
        "'output_weights' has shape (6, 2); needs (2, 6), (output, unit): its other weights are of 6 units; its "
        "transpose fits, as `.T` in a mapping",
    ),
    "a struct of other names": (
        mat(net={"J": J, "B": W, "W": C}),
        {},
        "holds net.J, net.B, net.W, which no dict of matrices has; a rate network has",
    ),
    "a struct whose fields a mapping lacks": (
        mat(net={"J": J, "B": W, "W": C}),
        {"mapping": {"recurrent_weights": "net.J", "input_weights": "net.B", "output_weights": "W"}},
        "has no tensor 'W', which mapping.output_weights names; it has net.J, net.B, net.W",
    ),
    "a struct, stored the other way round": (
        mat(net={**MATRICES, "output_weights": C.T, "tau": 0.1}),
        {},
        "'output_weights', read from net.output_weights, has shape (6, 2); needs (2, 6)",
    ),
    "other inputs": (
        npz(**with_other(MATRICES, input_weights=np.ones((N, 5)), tau=0.1)),
        {},
        "the network has 5 inputs, where the trials have 2 (pulse_1, pulse_2); use trials of the task",
    ),
    "names of nowhere": (
        npz(W_rec=J, W_in=W, W_out=C),
        {},
        "holds W_rec, W_in, W_out, which no dict of matrices has; a rate network has",
    ),
    "no activation": (npz(W.T, J.T, B, C.T, D), {}, "weights do not say the activation of their SimpleRNN; give nonl"),
    "two dicts of tensors": (
        pt({"actor": OTHER_NAMES, "critic": OTHER_NAMES | {"value": C}, "optimizer": {"state": {0: {"exp_avg": J}}}}),
        {},
        "holds several dicts of tensors, actor, critic; save one alone, or give a mapping of names in one",
    ),
    "an LSTM": (
        npz(**{"net/cell/kernel": np.ones((2, 4 * N)), "net/cell/recurrent_kernel": np.ones((N, 4 * N))}, **DENSE),
        {},
        "layer 'net/cell' has kernels of shapes (2, 24) and (6, 24); a SimpleRNN has",
    ),
    "a GRU that resets first": (
        npz(*keras_gru()[:2], np.ones(3 * N), C.T, D),
        {},
        "'arr_2' has shape (18,); a GRU with reset_after=True, the default, has (2, 18), and no other",
    ),
    "two recurrent layers": (
        npz(**PATHS, **{"net/more/kernel": J, "net/more/recurrent_kernel": J}, **DENSE),
        {},
        "has 2 recurrent layers: 'net/rnn/cell', 'net/more'; one of each can be imported; save these two alone",
    ),
    "no Dense layer": (npz(**PATHS), {}, "has 0 Dense layers; one of each can be imported"),
    "a layer without its kernel": (
        npz(**with_other(PATHS, **{"net/rnn/cell/kernel": None}), **DENSE),
        {},
        "layer 'net/rnn/cell' lacks its kernel",
    ),
    "a leak where there is none": (
        npz(W.T, J.T, B, C.T, D),
        {"tau": 0.1},
        "the time constant of a Keras SimpleRNN network is the time step; leave out tau",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_line(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (name, save), options, message = BROKEN[case]
    save(tmp_path / name)
    with pytest.raises(CheckpointError) as refusal:
        import_checkpoint(tmp_path / name, TRIALS, **options)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "evil").exists()


def test_a_look_at_a_known_layout(tmp_path, capsys):
    np.savez(tmp_path / "m.npz", W.T, J.T, B, C.T, D)
    assert main(["inspect", str(tmp_path / "m.npz")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["arr_0", "2", "x", "6", "float64"] in lines
    assert ["recurrent_weights", "arr_1.T"] in lines and ["initial_state", "zero"] in lines
    assert ["nonlinearity:", "tanh", "#"] in [line[:3] for line in lines]


@pytest.mark.parametrize(
    ("arrays", "options", "kind"),
    [
        ({"weight_ih_l0": np.ones((12, 2)), "weight_hh_l0": np.ones((12, 4))}, [], "PyTorch: GRU of 4 units"),
        ({"m": np.ones((4, 1)), "n": np.ones((4, 1))}, ["--tau", "0.1"], ": tanh low-rank network of 4 units"),
    ],
)
def test_a_look_names_the_network_as_people_do(tmp_path, capsys, arrays, options, kind):
    torch_names = "weight_ih_l0" in arrays
    readout = {"readout.weight": np.ones((2, 4))} if torch_names else {"wi": np.ones((2, 4)), "wo": np.ones((4, 2))}
    np.savez(tmp_path / "m.npz", **arrays, **readout)
    assert main(["inspect", str(tmp_path / "m.npz"), *options]) == 0
    assert f"{kind}, 2 input(s) and 2 output(s)\n" in capsys.readouterr().out


def test_a_look_at_an_unknown_layout_leaves_what_shapes_do_not_say(tmp_path, capsys):
    path, trials = tmp_path / "m.pt", tmp_path / "trials.nc"
    pt({"net": OTHER_NAMES, "optimizer": {"state": {0: {"exp_avg": J}}}, "epoch": 3})[1](path)
    write(TRIALS, trials, "trials")
    assert main(["inspect", str(path), "--trials", str(trials)]) == 1
    told = capsys.readouterr()
    section = yaml.safe_load(told.out[told.out.index("checkpoint:") :])["checkpoint"]
    assert section["tau"] == 0.1 and section["mapping"]["recurrent_weights"] == "NAME"
    assert "recurrent_weights: NAME    # rnn.h2h.weight or rnn.h2h.weight.T\n" in told.out
    # Two inputs and two outputs: shapes do not tell one from the other.
    assert "input_weights: NAME    # rnn.W_in.T or fc.weight.T\n" in told.out
    assert "output_bias: fc.bias    # zero without this line\n" in told.out
    assert "error: " in told.err and "which no dict of matrices has" in told.err and told.err.count("\n") == 1
    chosen = [f"{weight}={name}" for weight, name in MAPPED.items()]
    words = [str(path), "--trials", str(trials), "--tau", "0.1", "--mapping", *chosen]
    assert main(["inspect", *words]) == 0
    assert "input_weights      rnn.W_in.T\n" in capsys.readouterr().out
    assert main(["import", str(path), str(tmp_path / "network.nc"), *words[1:]]) == 0
    assert main(["inspect", str(path), "--mapping", "recurrent_weights"]) == 1
    assert "--mapping recurrent_weights: say WEIGHT=NAME" in capsys.readouterr().err
    assert main(["inspect", *words, "--ignore", "los*"]) == 1
    assert "ignore names 'los*', which fits no tensor" in capsys.readouterr().err


@pytest.mark.parametrize("with_trials", [False, True])
def test_a_look_offers_each_array_once_and_ignores_the_others(tmp_path, capsys, with_trials):
    """Inputs and outputs are as many, so that shapes alone would offer the weights of one for the other."""
    arrays = {
        "recurrent_weights": J,
        "input_weights": W,
        "readout": C,
        "b": B,
        "loss": np.ones(40),
        "N": 6.0,
        "tau": 0.1,
    }
    scipy.io.savemat(tmp_path / "m.mat", arrays)
    write(TRIALS, tmp_path / "trials.nc", "trials")
    asked = ["--trials", str(tmp_path / "trials.nc")] if with_trials else []
    assert main(["inspect", str(tmp_path / "m.mat"), *asked]) == 1
    told = capsys.readouterr().out
    section = yaml.safe_load(told[told.index("checkpoint:") :])["checkpoint"]
    mapping = {"recurrent_weights": "recurrent_weights", "input_weights": "input_weights", "output_weights": "readout"}
    assert section["mapping"] == mapping | {"bias": "b", "tau": "tau"} and section["ignore"] == ["loss", "N"]
    found = import_checkpoint(section.pop("files"), TRIALS, **section)
    np.testing.assert_allclose(found["output_weights"][0], C, rtol=1e-6)


@pytest.mark.parametrize("tau", [0.0, -0.1, np.nan, np.inf])
@pytest.mark.parametrize("in_file", [False, True])
def test_a_time_constant_that_is_none_is_refused_with_and_without_trials(tmp_path, tau, in_file):
    np.savez(tmp_path / "m.npz", **MATRICES, **({"tau": tau} if in_file else {}))
    for trials in (TRIALS, None):
        found = look(tmp_path / "m.npz", trials, Said() if in_file else Said(tau=tau))
        assert f"m.npz: tau = {tau:g} s is not a time constant: it is above 0 and finite" in found.problem


def test_a_look_at_a_network_of_another_task_names_the_channels(tmp_path, capsys):
    np.savez(tmp_path / "m.npz", **(MATRICES | {"input_weights": np.ones((N, 5))}), tau=0.1)
    write(TRIALS, tmp_path / "trials.nc", "trials")
    assert main(["inspect", str(tmp_path / "m.npz")]) == 0
    assert main(["inspect", str(tmp_path / "m.npz"), "--trials", str(tmp_path / "trials.nc")]) == 1
    assert "has 5 inputs, where the trials have 2 (pulse_1, pulse_2)" in capsys.readouterr().err
