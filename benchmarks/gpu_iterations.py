"""What whole iterations need: earlier networks to be deflated against, and the peer in plain PyTorch."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from training import BATCH, TASK, PlainRNN

from insd.activity import record_activity
from insd.bank import Bank
from insd.objectives.base import Stored, join_earlier
from insd.settings.recipe import Recipe
from insd.training import train_round


def small_bank() -> Any:
    """Trials to be deflated on, few enough that two earlier rounds are kept quickly."""
    return TASK.sample("train", 512, 0).assign_attrs(fingerprint="of the benchmark")


def two_earlier(gpu: torch.device, networks: int) -> Mapping[str, Stored]:
    """What a round reads of two briefly trained ones."""
    recipe = Recipe.model_validate({"training": {"iterations": 300, "restarts": 0, "validation_trials": 64}})
    bank, activities = small_bank(), []
    for number in range(2):
        names = [("flip_flop", "benchmark", seed, number) for seed in range(networks)]
        network, _ = train_round(TASK, bank, recipe, names, device=gpu)
        activities.append(record_activity(network, TASK, bank, bank, recipe.terms))
    return join_earlier(recipe.terms, activities, bank, ["first", "second"])


def vmapped(
    bank: Any, networks: int, gpu: torch.device, compiled: Callable[[Any], Any] = lambda function: function
) -> Callable[[], object]:
    """One iteration of several plain networks side by side, with one gradient for all."""
    trials = Bank.from_trials(bank).to(gpu)
    parts = [part.contiguous() for part in (trials.inputs, trials.targets, trials.mask)]
    made = [PlainRNN(parts[0].shape[-1], 100, parts[1].shape[-1]).to(gpu) for _ in range(networks)]
    weights, _ = stack_module_state(made)
    base = copy.deepcopy(made[0]).to("meta")
    optimiser = torch.optim.Adam(weights.values(), lr=1e-3, fused=True)

    def loss(own: Any, inputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(base, own, (inputs,))
        return ((outputs - targets).square() * mask).sum() / mask.sum()

    gradient = compiled(vmap(grad_and_value(loss), in_dims=(0, 1, 1, 1), randomness="different"))

    def step() -> None:
        chosen = torch.stack([torch.randperm(parts[0].shape[1], device=gpu)[:BATCH] for _ in range(networks)])
        found, _ = gradient(weights, *(part[:, chosen] for part in parts))
        norms = torch.stack([one.square().flatten(1).sum(1) for one in found.values()]).sum(0).sqrt()
        scale = 1 / norms.clamp(min=1)
        for name, one in found.items():
            weights[name].grad = one * scale.view(-1, *[1] * (one.ndim - 1))
        optimiser.step()

    return step
