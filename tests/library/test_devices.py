"""Where networks are trained, and that a GPU gives the CPU's numbers where there is one."""

import numpy as np
import pytest
import torch

from insd.activity import record_activity
from insd.attempt import Attempt, TrainingError
from insd.devices import CPU, DeviceError, describe, device_of
from insd.networks.engine.bptt import Workspace, simulate
from insd.objectives.base import join_earlier
from insd.settings.recipe import Recipe
from insd.tasks.flip_flop import FlipFlop
from insd.training import train_round

TASK = FlipFlop()
BANK, TEST = (TASK.sample(regime, 512, 0).assign_attrs(fingerprint=regime) for regime in ("train", "test"))
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")


def trained(device, earlier=None, round_number=0):
    """Two networks without private noise, whose random numbers differ between devices."""
    recipe = Recipe.model_validate(
        {
            "network": {"units": 32, "recurrent_noise": 0.0},
            "training": {"iterations": 40, "evaluate_every": 10, "restarts": 0},
        }
    )
    names = [("flip_flop", "test", seed, round_number) for seed in (0, 1)]
    return train_round(TASK, BANK, recipe, names, earlier, device=device)


def test_a_device_by_its_name():
    assert device_of("cpu") == CPU
    assert describe(CPU) == "cpu"
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch finds a GPU here")
def test_a_gpu_that_is_missing_is_refused():
    with pytest.raises(
        DeviceError, match=r"device = 'cuda': torch .* can use no GPU here; .* set device to cpu or auto"
    ):
        device_of("cuda")


@on_gpu
def test_simulations_on_a_gpu_equal_those_on_the_cpu():
    workspace = Workspace()
    # Later draws replay the graphs that the first one made.
    for seed in range(3):
        torch.manual_seed(seed)
        arguments = [torch.randn(4, 90, 16, 3), torch.randn(4, 100, 100) / 10, torch.randn(4, 100, 3)]
        arguments += [torch.randn(4, 100), torch.randn(4, 100), 0.1 * torch.randn(4, 90, 16, 100)]
        weights = torch.randn(4, 90, 16, 100)
        found = []
        for device in ("cpu", "cuda"):
            there = [argument.to(device).requires_grad_() for argument in arguments]
            rates = simulate(*there, 0.2, workspace if device == "cuda" else None)
            found.append([rates.detach().clone(), *torch.autograd.grad((rates * weights.to(device)).sum(), there)])
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(theirs.cpu(), ours, rtol=1e-3, atol=1e-3 * float(ours.abs().max()))


@on_gpu
def test_an_iteration_in_a_graph_equals_one_by_one():
    """With private noise, and after a graph was captured."""
    recipe = Recipe.model_validate({"network": {"units": 32}, "training": {"iterations": 40}})
    names = [("flip_flop", "test", seed, 0, 0) for seed in (0, 1)]
    found = []
    for captured in (True, False):
        run = Attempt(TASK, BANK, recipe, names, {}, device_of("cuda"))
        if not captured:
            run.captured = None
        losses = []
        for iteration in range(1, 11):
            losses.append(run._step(iteration)["task_loss"])
            run.step_sizes.step()
        assert not captured or run.captured[1].graph is not None
        found.append((torch.stack(losses), run.networks.weights()))
    (losses, weights), (others, other) = found
    torch.testing.assert_close(losses, others)
    for name, values in weights.items():
        torch.testing.assert_close(values, other[name])


@on_gpu
def test_a_loss_that_is_not_finite_on_a_gpu_is_found_at_the_next_evaluation():
    bank = BANK.copy(deep=True)
    bank["inputs"][7, 3] = np.nan  # held-out trials are finite
    recipe = Recipe.model_validate({"network": {"units": 32}, "training": {"iterations": 60, "evaluate_every": 30}})
    with pytest.raises(TrainingError, match=r"flip_flop/test/[01]/0: the loss is not finite"):
        train_round(TASK, bank, recipe, [("flip_flop", "test", seed, 0) for seed in (0, 1)], device=device_of("cuda"))


@on_gpu
def test_training_on_a_gpu_equals_that_on_the_cpu():
    references = [trained(device_of(name)) for name in ("cpu", "cuda")]
    activity = record_activity(references[0][0], TASK, BANK, TEST, Recipe().terms)
    earlier = join_earlier(Recipe().terms, [activity], BANK, ["activity.nc"])
    rounds = [trained(device_of(name), earlier, 1) for name in ("cpu", "cuda")]
    for (network, history), (other, others) in (references, rounds):
        np.testing.assert_allclose(other["recurrent_weights"], network["recurrent_weights"], atol=5e-3)
        np.testing.assert_allclose(others["held_out_loss"], history["held_out_loss"], atol=5e-3)
