"""Networks of PyTorch in network files: the same activity, or one message."""

import os

import numpy as np
import pytest
import torch

from insd import datasets
from insd.activity import simulate_trials
from insd.dynamics.search import fixed_points
from insd.dynamics.settings import FixedPoints
from insd.imported import CheckpointError, import_checkpoint
from insd.members import Member
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
    function = {torch.nn.RNN: "tanh"}.get(kind)
    network = import_checkpoint(
        saved(tmp_path / "m.pt", model.state_dict()), TRIALS, readout="decode", nonlinearity=function
    )
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


@pytest.mark.parametrize("function", ["tanh", "relu"])
@pytest.mark.parametrize("kind", [torch.nn.RNN, torch.nn.RNNCell])
def test_the_function_of_an_rnn_is_the_module_s_or_is_given(tmp_path, kind, function):
    model = torch.nn.ModuleDict({"rnn": kind(3, 10, nonlinearity=function), "readout": torch.nn.Linear(10, 3)})
    path = saved(tmp_path / "m.pt", model.state_dict())
    with pytest.raises(
        CheckpointError, match=r"m.pt: a state dict does not say if .* tanh or relu; give nonlinearity, such as 'tanh'"
    ):
        import_checkpoint(path, TRIALS)
    found = import_checkpoint(model, TRIALS)
    assert found.attrs["nonlinearity"] == function
    assert found.identical(import_checkpoint(path, TRIALS, nonlinearity=function))
    assert found.identical(import_checkpoint(model, TRIALS, nonlinearity=function))
    with pytest.raises(CheckpointError, match=f"ModuleDict: is with {function}, and softplus is given"):
        import_checkpoint(model, TRIALS, nonlinearity="softplus")


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    "content, options, message",
    [
        (lambda: Model(readout=False).state_dict(), {}, "has no linear readout of the rates; save it in the same"),
        (
            lambda: Model().state_dict(),
            {},
            "has no readout 'readout.weight', but decode; give readout, such as 'decode",
        ),
        (lambda: Model().state_dict(), {"readout": "decode", "tau": 0.1}, "leave out tau"),
        (lambda: Model(num_layers=2).state_dict(), {"readout": "decode"}, "has more than one layer or direction"),
        (
            lambda: Model(torch.nn.LSTM).state_dict(),
            {"readout": "decode"},
            "neither a torch.nn.RNN nor a torch.nn.GRU (4",
        ),
        (matrices, {}, "these matrices do not say their time constant, in s; give tau, such as 0.1"),
        (matrices, {"tau": 0.0}, "tau = 0 s is not a time constant"),
        (matrices, {"tau": -0.1}, "tau = -0.1 s is not a time constant"),
        (matrices, {"tau": 0.01}, "tau = 0.01 s is less than the time step of the trials, dt = 0.02 s, and an"),
        (matrices, {"tau": float("nan")}, "tau = nan s is not a time constant"),
        (lambda: matrices(output_weights=None), {"tau": 0.1}, "has no readout: it lacks output_weights"),
        (
            lambda: matrices(input_weights=torch.ones(10, 2)),
            {"tau": 0.1},
            "the network has 2 inputs, where the trials have 3 (pulse_1, pulse_2, pulse_3); use trials of",
        ),
        (lambda: matrices(bias=torch.full((10,), torch.nan)), {"tau": 0.1}, "'bias' holds values that are not finite"),
        (
            lambda: matrices(bias=torch.full((10,), 1e300, dtype=torch.float64)),
            {"tau": 0.1},
            "'bias' holds values that are not finite in single precision",
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
    function = {torch.nn.RNNCell: "tanh"}.get(kind)
    network = import_checkpoint(saved(tmp_path / "m.pt", model.state_dict()), TRIALS, nonlinearity=function)
    expected = model(torch.from_numpy(TRIALS["inputs"].values)).detach()
    np.testing.assert_allclose(simulate_trials(network, TRIALS)[0][0], expected, atol=1e-5)


def test_of_several_recurrent_modules_one_is_named(tmp_path):
    two = torch.nn.ModuleDict({"a": torch.nn.RNN(3, 10), "b": torch.nn.RNN(3, 10), "readout": torch.nn.Linear(10, 3)})
    path = saved(tmp_path / "m.pt", two.state_dict())
    with pytest.raises(CheckpointError, match=r"has 2 recurrent modules, 'a', 'b'; give rnn, such as 'a'"):
        import_checkpoint(path, TRIALS)
    with pytest.raises(CheckpointError, match=r"has no recurrent module 'c'; choose from 'a', 'b'"):
        import_checkpoint(path, TRIALS, rnn="c")
    found = import_checkpoint(path, TRIALS, rnn="b", nonlinearity="tanh")["recurrent_weights"][0]
    np.testing.assert_array_equal(found, two["b"].weight_hh_l0.detach())


def test_what_the_file_says_of_the_time_constant_counts(tmp_path):
    path = saved(tmp_path / "m.pt", matrices(tau=torch.tensor(0.1)))
    assert import_checkpoint(path, TRIALS).attrs["tau"] == pytest.approx(0.1)
    with pytest.raises(
        CheckpointError, match=r"'tau' is 0\.1, so that tau is 0\.1 s, and 0\.2 s is given; leave out one"
    ):
        import_checkpoint(path, TRIALS, tau=0.2)


@pytest.mark.parametrize(
    "content",
    [
        lambda: {"epoch": 3, "model_state_dict": matrices(), "optimizer": torch.optim.SGD(Model().parameters())},
        lambda: {name: value.numpy() for name, value in matrices().items()},
        lambda: {"state": {"model": matrices()}, "epoch": 3},
    ],
    ids=["among other things", "arrays of NumPy", "nested"],
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
        (lambda: {"net": matrices(), "tau": torch.tensor(0.3)}, "has tau next to the network 'net', where it is not"),
        (lambda: {"a": {"net": matrices(), "tau": 0.3}}, "has a/tau next to the network 'a/net', where it is not"),
        (lambda: matrices(tau=torch.ones(10)), "'tau' has shape (10,); all units need one time constant"),
        (
            lambda: matrices(tau=torch.tensor(0.1), bias=torch.ones(10).to_sparse()),
            "'bias' is sparse, quantized, complex or without data",
        ),
        (
            lambda: matrices(tau=torch.tensor(0.1), bias=torch.ones(10) * 1j),
            "'bias' is sparse, quantized, complex or without data",
        ),
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


def test_networks_without_a_null_space_are_networks(tmp_path):
    content = matrices(output_weights=torch.ones(3, 10))
    assert import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, tau=0.1).sizes["output"] == 3
    content = {name: torch.ones(3, 3) for name in ("recurrent_weights", "input_weights", "output_weights")}
    network = import_checkpoint(saved(tmp_path / "n.pt", content), TRIALS, tau=0.1)
    assert (network.sizes["output"], network.sizes["unit"]) == (3, 3)


def factors(**changes):
    """A network of the low-rank literature."""
    random = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=random)

    made = {"wi": normal(3, 10), "si": normal(3), "m": normal(10, 2), "n": normal(10, 2), "b": torch.zeros(10)}
    made |= {"wo": normal(10, 3), "so": normal(3), "h0": normal(10)}
    return {name: value for name, value in (made | changes).items() if value is not None}


def literature(content, inputs, alpha):
    """States and outputs of such a network step by step: outputs of m and n are divided by the number of units."""
    made = {name: value.double().numpy() for name, value in content.items()}
    recurrent = made["wrec"] if "wrec" in made else made["m"] @ made["n"].T / 10
    scale = 1 if "wrec" in made else 10
    state, states, outputs = made["h0"], [], []
    for now in inputs.astype(float):
        drive = recurrent @ np.tanh(state) + (now * made["si"]) @ made["wi"]
        state = state + alpha * (drive - state)
        states.append(np.tanh(state))
        outputs.append(np.tanh(state) @ made["wo"] * made["so"] / scale)
    return np.array(states), np.array(outputs)


@pytest.mark.parametrize(
    "content", [factors(), factors(m=None, n=None, wrec=torch.randn(10, 10) / 3)], ids=["factors", "full rank"]
)
@pytest.mark.parametrize("suffix", ["pt", "npz"])
def test_networks_of_the_low_rank_literature(tmp_path, content, suffix):
    path = tmp_path / f"m.{suffix}"
    if suffix == "pt":
        saved(path, content)
    else:
        np.savez(path, **{name: values.numpy() for name, values in content.items()}, alpha=0.2)
    network = import_checkpoint(path, TRIALS, **({"tau": 0.1} if suffix == "pt" else {}))
    assert network.attrs["architecture"] == ("low_rank" if "m" in content else "rate")
    assert network.attrs["tau"] == pytest.approx(0.1)
    datasets.write(network.assign_attrs(settings="{}"), tmp_path / "network.nc", "network")
    rates, outputs = simulate_trials(datasets.read(tmp_path / "network.nc", "network"), TRIALS)
    for trial, inputs in enumerate(TRIALS["inputs"].values):
        expected = literature(content, inputs, 0.2)
        np.testing.assert_allclose(rates[0, trial], expected[0], atol=1e-5)
        np.testing.assert_allclose(outputs[0, trial], expected[1], atol=1e-5)


def test_factors_by_the_names_of_this_library(tmp_path):
    given = factors()
    left, right = given["m"], given["n"]
    content = matrices(recurrent_weights=None, left_vectors=left, right_vectors=right)
    found = import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, tau=0.1)
    joined = left @ right.T / 10
    np.testing.assert_allclose(found["recurrent_weights"][0], joined, atol=1e-6)
    same = import_checkpoint(saved(tmp_path / "n.pt", matrices(recurrent_weights=joined)), TRIALS, tau=0.1)
    np.testing.assert_allclose(simulate_trials(found, TRIALS)[1], simulate_trials(same, TRIALS)[1], atol=1e-5)
    both = content | {"recurrent_weights": joined}
    assert import_checkpoint(saved(tmp_path / "m.pt", both), TRIALS, tau=0.1).identical(found)
    # Several networks, as for other matrices.
    stacked = {name: torch.stack([value, 2 * value]) for name, value in content.items()}
    two = import_checkpoint(saved(tmp_path / "m.pt", stacked), TRIALS, tau=0.1)
    assert two.sizes["seed"] == 2 and two.isel(seed=[0]).identical(found)


@pytest.mark.parametrize(
    "content, message",
    [
        (factors(b=torch.ones(10)), "'b' is not zero"),
        (factors(wo=None), "lacks wo; needs wi, wo, and either m and n or wrec"),
        (factors(n=None), "lacks n; needs wi"),
        (factors(wrec=torch.eye(10)), "has wrec, m, n; leave out wrec, or m and n"),
        (factors(si=torch.ones(4)), "'si' has shape (4,); 'wi' of (3, 10) needs (3,)"),
        (factors(m=torch.ones(10, 3)), "have shapes (10, 3) and (10, 2); needs (unit, rank)"),
        (
            factors(wi=torch.ones(10, 3), si=None),
            "'input_weights', read from wi.T, has shape (3, 10); needs (10, 3), (unit, input)",
        ),
        (factors(bias=torch.ones(10)), "holds bias besides those of wi, si"),
        (factors(alpha=torch.tensor(1.5)), "'alpha' is 1.5; dt / tau is above 0 and at most 1"),
        (factors(alpha=torch.tensor(0.1)), "'alpha' is 0.1, so that tau is 0.2 s, and 0.1 s is given"),
        (
            matrices(left_vectors=torch.ones(10, 1), right_vectors=torch.ones(10, 1)),
            "'recurrent_weights' are not left_vectors right_vectors^T / 10; leave out one",
        ),
        (matrices(recurrent_weights=None, left_vectors=torch.ones(10, 1)), "lacks right_vectors"),
    ],
)
def test_factors_that_do_not_fit_are_refused(tmp_path, content, message):
    with pytest.raises(CheckpointError) as refusal:
        import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, tau=0.1)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("tau", [0.02, 0.1])
def test_a_network_of_leaky_rates_runs_as_it_is_defined(tmp_path, tau):
    content = matrices(bias=torch.ones(10) / 2, initial_state=torch.linspace(-0.5, 0.5, 10))
    path = saved(tmp_path / "m.pt", content)
    network = import_checkpoint(path, TRIALS, tau=tau, leaky="rates")
    rates, outputs = simulate_trials(network, TRIALS)
    made = {name: value.double().numpy() for name, value in content.items()}
    now = np.tile(made["initial_state"], (8, 1))
    for t in range(20):
        drive = now @ made["recurrent_weights"].T + TRIALS["inputs"].values[:, t] @ made["input_weights"].T + 0.5
        now = now + 0.02 / tau * (np.tanh(drive) - now)
        np.testing.assert_allclose(rates[0, :, t], now, atol=1e-5)
        np.testing.assert_allclose(outputs[0, :, t], now @ made["output_weights"].T, atol=1e-5)
    # Leaky states differ while inputs change, and have the same fixed points, with the same eigenvalues.
    of_states = import_checkpoint(path, TRIALS, tau=tau)
    if tau > 0.02:
        assert np.abs((simulate_trials(of_states, TRIALS)[0] - rates).numpy()).max() > 0.05
    member = [Member.of_datasets(name, 0, "control", one, one) for name, one in (("x", of_states), ("r", network))]
    found = [fixed_points(FlipFlop(duration=0.4), one, TRIALS, FixedPoints(starts=32, blocks=1)) for one in member]
    assert found[0]["n_fixed_points"].item() == found[1]["n_fixed_points"].item() > 0
    zeros, rest = (one.isel(point=one["kind"].values == "fixed") for one in found)
    recurrent = made["recurrent_weights"]
    distances = np.abs((rest["state"].values @ recurrent.T + 0.5)[:, None] - zeros["state"].values).max(2)
    assert distances.min(1).max() < 1e-5
    matched = zeros["eigenvalues_real"].values[distances.argmin(1)]
    np.testing.assert_allclose(rest["eigenvalues_real"], matched, atol=1e-3)


@pytest.mark.parametrize(
    "content, options, message",
    [
        (
            matrices(),
            {"tau": 0.1, "leaky": "rates", "nonlinearity": "relu"},
            "rates that leak are known with tanh alone",
        ),
        (Model().state_dict(), {"leaky": "rates", "readout": "decode"}, "a PyTorch network has no leak"),
    ],
)
def test_leaks_that_are_not_known_are_refused(tmp_path, content, options, message):
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(saved(tmp_path / "m.pt", content), TRIALS, **options)
