"""The penalty for any PyTorch network, and the examples that use it."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import ROOT

from insd import datasets
from insd.activity import simulate_trials
from insd.deflation import DeflationError, DeflationPenalty, null_space_activity
from insd.imported import import_checkpoint
from insd.measures.predictivity import linear_predictivity
from insd.predictivity import null_projector
from insd.provenance import array_fingerprint
from insd.settings.recipe import Recipe, Training
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round


def rates_and_earlier():
    torch.manual_seed(1)
    rates = torch.randn(20, 15, 12)
    mixing = torch.randn(12, 5)
    earlier = [(rates @ mixing + 2 * torch.randn(20, 15, 5)).numpy(), np.random.default_rng(0).random((20, 15, 3))]
    return rates, earlier


def test_the_penalty_is_the_predictivity_in_the_null_space():
    rates, earlier = rates_and_earlier()
    readout = torch.nn.Linear(12, 2)
    found = DeflationPenalty(earlier, ridge=1e-9, variance_kept=1.0)(rates, readout)
    null = (rates.double() @ null_projector(readout.weight.detach())).reshape(-1, 12).numpy()
    expected = [linear_predictivity(null, activity.reshape(300, -1)) for activity in earlier]
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4)


def test_a_batch_is_compared_with_its_own_trials():
    rates, earlier = rates_and_earlier()
    penalty, weights, chosen = DeflationPenalty(earlier[:1]), torch.randn(2, 12), torch.tensor([3, 1, 7, 12, 5])
    alone = DeflationPenalty([earlier[0][chosen.numpy()]], variance_kept=1.0)(rates[chosen], weights)
    torch.testing.assert_close(penalty(rates[chosen], weights, chosen), alone, atol=0.01, rtol=0)
    assert abs(float(penalty(rates[chosen], weights, chosen.flip(0)) - alone)) > 0.05


def test_what_follows_the_end_of_a_trial_counts_nowhere():
    rates, earlier = rates_and_earlier()
    ended = earlier[0].copy()
    ended[3:9, 8:] = np.nan
    penalty, weights = DeflationPenalty([ended]), torch.randn(2, 12)
    found = []
    for after in (0.0, 7.0, torch.nan):
        given = rates.detach().clone()
        given[3:9, 8:] = after
        given.requires_grad_()
        value = penalty(given, weights)
        value.sum().backward()
        found.append((float(value), given.grad))
    assert len({value for value, _ in found}) == 1
    assert all(torch.equal(gradient, found[0][1]) and not gradient[3:9, 8:].any() for _, gradient in found)


@pytest.mark.parametrize("make", [torch.nn.GRU, torch.nn.RNN])
def test_gradients_reach_the_network_and_its_readout(make):
    _, earlier = rates_and_earlier()
    rnn, readout = make(3, 12, batch_first=True), torch.nn.Linear(12, 2)
    inputs, penalty = torch.randn(20, 15, 3), DeflationPenalty(earlier)
    penalty(rnn(inputs)[0], readout).sum().backward()
    for parameter in (*rnn.parameters(), readout.weight):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda rates, e: DeflationPenalty([]), "there is no earlier activity"),
        (lambda rates, e: DeflationPenalty([e[0], e[0][:5]]), "record them on the same trials"),
        (lambda rates, e: DeflationPenalty([np.ones((20, 15, 3))]), "does not vary"),
        (
            lambda rates, e: DeflationPenalty(e)(rates, torch.nn.Tanh()),
            "the readout, a Tanh, has no weights (output, 12)",
        ),
        (lambda rates, e: DeflationPenalty(e)(rates, torch.nn.Linear(5, 1)), "has no weights (output, 12)"),
        (
            lambda rates, e: DeflationPenalty(e)(rates[:4], torch.ones(1, 12)),
            "on (4, 15) (trials, times) and the earlier",
        ),
        (
            lambda rates, e: DeflationPenalty(e)(rates, torch.randn(12, 12)),
            "12 output(s) of 12 units leave no null space",
        ),
        (
            lambda rates, e: DeflationPenalty(e)(rates, torch.nn.Linear(12, 15)),
            "15 output(s) of 12 units leave no null space",
        ),
        (
            lambda rates, e: DeflationPenalty(e)(rates, torch.ones(2, 12)),
            "1 of 2 outputs are zero or linear combinations of others",
        ),
        (
            lambda rates, e: DeflationPenalty(e)(torch.zeros_like(rates), torch.randn(2, 12)),
            "the rates do not vary in the null space of the readout",
        ),
    ],
)
def test_what_cannot_be_deflated_is_refused(call, message):
    with pytest.raises(DeflationError) as refusal:
        call(*rates_and_earlier())
    assert message in str(refusal.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
def test_a_batch_on_a_gpu_is_compared_with_stored_activity_on_the_cpu():
    rates, earlier = rates_and_earlier()
    penalty, weights, chosen = DeflationPenalty(earlier), torch.randn(2, 12), torch.tensor([3, 1, 7])
    there = penalty(rates[chosen].cuda(), weights.cuda(), chosen.cuda())
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), penalty(rates[chosen], weights, chosen), rtol=1e-3, atol=1e-4)


class Elsewhere(torch.Tensor):
    """Trials on a device from which only `to` fetches them."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.__getitem__:
            raise RuntimeError("indices should be on the same device")
        found = super().__torch_function__(function, types, args, kwargs or {})
        return found.as_subclass(torch.Tensor) if function is torch.Tensor.to else found


def test_trials_are_fetched_to_where_the_stored_activity_is():
    rates, earlier = rates_and_earlier()
    penalty, weights, chosen = DeflationPenalty(earlier), torch.randn(2, 12), torch.tensor([3, 1, 7])
    with pytest.raises(RuntimeError, match="same device"):
        penalty.components[chosen.as_subclass(Elsewhere)]
    found = penalty(rates[chosen], weights, chosen.as_subclass(Elsewhere))
    torch.testing.assert_close(found, penalty(rates[chosen], weights, chosen))


def test_null_space_activity_is_that_of_the_first_seed_or_the_named_one():
    task = FlipFlop(channels=1, duration=0.4)
    trials = task.sample("train", 48, 0)
    settings = Training(iterations=0, batch_size=8, validation_trials=8)
    names = [("t", "p", seed, 0) for seed in (3, 5)]
    network, _ = train_round(task, trials, Recipe(network={"units": 6}, training=settings), names)
    first, second = (null_space_activity(network, trials, seed) for seed in (3, 5))
    np.testing.assert_array_equal(null_space_activity(network, trials), first)
    double = network.assign(
        {name: network[name].astype(float) for name in ("recurrent_weights", "bias", "initial_state")}
    )
    np.testing.assert_array_equal(null_space_activity(double, trials), first)
    assert np.abs(first - second).max() > 0.1
    with pytest.raises(DeflationError, match=r"seed = 0: the network's file has the seeds 3, 5"):
        null_space_activity(network, trials, 0)
    with pytest.raises(DeflationError, match=r"1 output\(s\) of 1 units leave no null space"):
        null_space_activity(network.isel(unit=[0], unit_from=[0]), trials)


def example(name, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / f"examples/{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    ).stdout


def test_the_example_of_a_gru_runs_on_stored_files(tmp_path):
    task = FlipFlop(channels=1, duration=0.4)
    trials = task.sample("train", 96, 0)
    trials.attrs["fingerprint"] = array_fingerprint(trials, ["inputs"])
    settings = Training(iterations=4, batch_size=32, evaluate_every=2, validation_trials=32, restarts=0)
    network, _ = train_round(task, trials, Recipe(network={"units": 10}, training=settings), [("t", "p", 3, 0)])
    datasets.write(trials, tmp_path / "trials.nc", "trials")
    datasets.write(network.assign_attrs(settings="{}"), tmp_path / "network.nc", "network")
    assert re.search(
        r"task loss \d\.\d+, S to the stored network 0\.\d+",
        example("gru", tmp_path / "trials.nc", tmp_path / "network.nc", 20),
    )
    null = null_space_activity(network, trials)
    assert null.shape == (96, 20, 10)
    assert np.abs(null @ network["output_weights"].values[0].T).max() < 1e-5


def readme_loop(made, iterations):
    """The code of the README that has this line's beginning, with fewer iterations."""
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    (code,) = (textwrap.dedent(block) for block in blocks if f"{made} = torch.nn." in block)
    fewer, count = re.subn(r"range\(\d\d+\)", f"range({iterations})", code)
    assert count == 1
    return fewer


def test_the_readme_s_gru_trains_against_a_stored_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = FlipFlop(channels=1, duration=0.4)
    trials = task.sample("train", 96, 0).assign_attrs(fingerprint="f")
    settings = Training(iterations=0, batch_size=32, validation_trials=32)
    network, _ = train_round(task, trials, Recipe(network={"units": 10}, training=settings), [("t", "p", 3, 0)])
    datasets.write(trials, tmp_path / "chain/train.nc", "trials")
    datasets.write(network.assign_attrs(settings="{}"), tmp_path / "chain/round-0/network.nc", "network")
    deflated, plain = {}, {}
    # All that this task has can be read out of a reference that was never trained: with a heavy penalty it is given up.
    for run, multiplier in ((deflated, "0.5"), (plain, "0.0")):
        torch.manual_seed(0)
        exec(readme_loop("gru, readout", 250).replace("0.1 * penalty", f"{multiplier} * penalty"), run)
    assert plain["task_loss"] < 0.02
    last = [run["penalty"](run["rates"], run["readout"], run["batch"]).item() for run in (deflated, plain)]
    assert last[0] < 0.3 and last[1] > 0.8


def test_the_readme_s_rnns_differ_from_all_before(capsys):
    exec(readme_loop("rnn, readout", 300), {})
    lines = re.findall(r"task loss (\d\.\d+), S to each earlier network \[(.*)\]", capsys.readouterr().out)
    assert all(float(loss) < 0.1 for loss, _ in lines)
    predicted = [[float(value) for value in values.split()] for _, values in lines]
    assert [len(values) for values in predicted] == [1, 1, 2]
    assert max(predicted[1] + predicted[2]) < 0.3


def test_the_readme_s_own_network_is_what_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = FlipFlop(channels=1, duration=0.4).sample("train", 96, 0).assign_attrs(fingerprint="f")
    datasets.write(trials, tmp_path / "bank/train.nc", "trials")
    run = {}
    exec(readme_loop("model.rnn", 20), run)
    network = import_checkpoint(tmp_path / "mine.pt", trials, readout="out", nonlinearity="tanh")
    expected = run["model"].out(run["model"].rnn(run["inputs"])[0])
    np.testing.assert_allclose(simulate_trials(network, trials)[1][0], expected.detach(), atol=1e-5)


def test_the_example_of_an_rnn_finds_another_solution():
    output = example("torch_rnn", 300)
    values = re.findall(r"task loss (\d\.\d+), S to the first (\d\.\d+)", output)
    (plain_loss, plain), (other_loss, other) = [tuple(map(float, pair)) for pair in values]
    assert plain_loss < 0.1 and other_loss < 0.1
    assert other < 0.2 and plain > 0.8
